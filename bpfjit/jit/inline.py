"""Helpers lowered in place: what they read lies where the runtime's C says (runtime.offsets()), so no call is needed.

A lowering gets the emitter at the call and the map that it is on, if that is one; it says whether it took the call.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..program import MapInfo
from . import calls, printf, tail
from .hash import lookup_function
from .memory import INVARIANT, RUNTIME, at, layout
from .values import NULL, ZERO, Value

if TYPE_CHECKING:
    from .emit import FunctionEmitter

Lowering = Callable[["FunctionEmitter", MapInfo | None, int], bool]
_MAX_LOOPS = 1 << 23  # BPF_MAX_LOOPS
_LONGEST_KEY = 64  # of a hash that is searched in place
_FUNCTION = re.compile(r"@\w+\.(\d+)$")


def field(f: FunctionEmitter, base: Value, name: str, width: int, facts: str = INVARIANT) -> Value:
    """The member `name` of the structure at `base`; width 0 for a pointer."""
    address = f.offset(base, at(name))
    return f.assign(width, f"load {Value('', width).type}, ptr {address.text}, align {width // 8 or 8}{facts}")


def this_cpu(f: FunctionEmitter) -> Value:
    """The CPU that this execution holds: the same one until it ends."""
    f.module.symbols["rt_this_cpu"] = "@rt_this_cpu = external global i8"
    place = "inttoptr (i64 ptrtoint (ptr @rt_this_cpu to i64) to ptr addrspace(257))"
    return f.assign(0, f"load ptr, ptr addrspace(257) {place}, align 8{INVARIANT}")


# -- maps --------------------------------------------------------------------------------------------


def _map_lookup(f: FunctionEmitter, m: MapInfo | None, index: int) -> bool:
    """map_lookup_elem: by the map's row."""
    found = _LOOKUPS[m.type.lookup](f, m, index) if m is not None and m.type.lookup in _LOOKUPS else None
    if found is None:
        return False
    f.set(0, found)
    return True


def _stride(m: MapInfo) -> int:
    return -(-m.value_size // 8) * 8


def _element(f: FunctionEmitter, m: MapInfo, values: Value) -> Value:
    """The element that the key in r2 names, or NULL. Nothing is promised of the key's alignment."""
    key = f.assign(32, f"load i32, ptr {f.ptr_of(2).text}, align 1")
    inside = f.assign(1, f"icmp ult i32 {key.text}, {m.max_entries}")
    address = f.offset(values, f.mul(f.zext(key, 64), f.const(64, _stride(m))))
    return f.assign(0, f"select i1 {inside.text}, ptr {address.text}, ptr null")


def _array(f: FunctionEmitter, m: MapInfo, index: int) -> Value:
    return _element(f, m, f.module.map_values(index))


def _percpu_array(f: FunctionEmitter, m: MapInfo, index: int) -> Value:
    array = f.module.map_symbol(index)
    block = f.mul(field(f, array, "array.block_bytes", 64), f.zext(field(f, this_cpu(f), "cpu.index", 32), 64))
    return _element(f, m, f.offset(field(f, array, "array.values", 0), block))


def _hash(f: FunctionEmitter, m: MapInfo, index: int) -> Value | None:
    if m.key_size > _LONGEST_KEY:
        return None
    offset = ZERO
    if m.type.per_cpu:
        offset = f.mul(f.zext(field(f, this_cpu(f), "cpu.index", 32), 64), f.const(64, _stride(m)))
    lru = m.type.lookup == "lru_hash"
    name = f"hash.lookup.{m.key_size}" + (".lru" if lru else "")
    f.module.library[name] = lookup_function(name, m.key_size, layout(), lru=lru)
    return f.assign(0, f"call fastcc ptr @{name}({f.module.map_symbol(index)}, {f.ptr_of(2)}, {offset})")


_LOOKUPS: dict[str, Callable[[FunctionEmitter, MapInfo, int], Value | None]] = {
    "array": _array,
    "percpu_array": _percpu_array,
    "hash": _hash,
    "lru_hash": _hash,
}


# -- what a CPU and its task know ---------------------------------------------------------------------


def _cpu_id(f: FunctionEmitter, m: MapInfo | None, index: int) -> bool:
    f.set(0, f.zext(field(f, this_cpu(f), "cpu.index", 32), 64))
    return True


def _task(f: FunctionEmitter, m: MapInfo | None, index: int) -> bool:
    # Who is current may change between two calls: a syscall program's own doing.
    f.set(0, field(f, this_cpu(f), "cpu.current", 0, RUNTIME))
    return True


def _of_task(f: FunctionEmitter, without: int, read: Callable[[Value], Value]) -> bool:
    """What `read` makes of the current task; a bare runtime has none, and the answer is `without` then."""
    task = field(f, this_cpu(f), "cpu.current", 0, RUNTIME)
    before, there, done = f.block.last_label, f.label("task"), f.label("done")
    f.emit(f"br i1 {f.assign(1, f'icmp ne ptr {task.text}, null').text}, label %{there}, label %{done}")
    f.begin(there)
    value = read(task)
    f.emit(f"br label %{done}")
    f.begin(done)
    f.set(0, f.assign(64, f"phi i64 [ {value.text}, %{there} ], [ {without}, %{before} ]"))
    return True


def _pid_tgid(f: FunctionEmitter, m: MapInfo | None, index: int) -> bool:
    """tgid << 32 | pid."""

    def read(task: Value) -> Value:
        pid, tgid = (f.zext(field(f, task, f"task.{name}", 32, RUNTIME), 64) for name in ("pid", "tgid"))
        return f.or_(f.shl(tgid, f.const(64, 32)), pid)

    return _of_task(f, -errno.EINVAL, read)


def _cgroup_id(f: FunctionEmitter, m: MapInfo | None, index: int) -> bool:
    """task->cgroups->dfl_cgrp->kn->id."""

    def read(task: Value) -> Value:
        step = task
        for name in ("task.cgroups", "css_set.dfl_cgrp", "cgroup.kn"):
            step = field(f, step, name, 0, RUNTIME)
        return field(f, step, "kernfs_node.id", 64, RUNTIME)

    return _of_task(f, 0, read)


# -- loops ---------------------------------------------------------------------------------------------


def _loop(f: FunctionEmitter, m: MapInfo | None, index: int) -> bool:
    """bpf_loop(count, callback, ctx, flags) with a callback that is known: a loop around a direct call."""
    known = _FUNCTION.fullmatch(f.regs.get(2, ZERO).text)
    if known is None:
        return False
    callback = int(known[1])
    if not f.facts.visited[f.facts.subprogs[callback].start]:
        return False  # the verifier never entered it: it is not called
    count, flags, ctx = f.trunc(f.int_of(1), 32), f.int_of(4), f.regs.get(3, NULL)
    whole = f.zext(count, 64)
    plain, few = f.eq(flags, ZERO), f.ule(count, f.const(32, _MAX_LOOPS))
    error = f.select(plain, f.const(64, -errno.E2BIG), f.const(64, -errno.EINVAL))
    good, before = f.and_(plain, few), f.block.last_label
    head, body, done = f.label("head"), f.label("body"), f.label("done")
    f.emit(f"br i1 {good.text}, label %{head}, label %{done}")
    f.begin(head)
    i, following = f.name(), f.name()
    f.emit(f"{i} = phi i32 [ 0, %{before} ], [ {following}, %{body} ]")
    f.emit(f"br i1 {f.ult(Value(i, 32), count).text}, label %{body}, label %{done}")
    f.begin(body)
    f.emit(f"{following} = add nuw i32 {i}, 1")
    result = f.to_int(calls.function(f, callback, {1: f.zext(Value(i, 32), 64), 2: ctx}))
    ended = f.zext(Value(following, 32), 64)
    f.emit(f"br i1 {f.eq(result, ZERO).text}, label %{head}, label %{done}")
    f.begin(done)
    ways = f"[ {error.text}, %{before} ], [ {whole.text}, %{head} ], [ {ended.text}, %{body} ]"
    f.set(0, f.assign(64, f"phi i64 {ways}"))
    return True


INLINE: dict[str, Lowering] = {
    "map_lookup": _map_lookup,
    "cpu_id": _cpu_id,
    "task": _task,
    "pid_tgid": _pid_tgid,
    "cgroup_id": _cgroup_id,
    "loop": _loop,
    "tail_call": tail.call,
    "seq_printf": printf.seq_printf,
    "seq_write": printf.seq_write,
    "snprintf": printf.snprintf,
    "trace_printk": printf.trace_printk,
}
