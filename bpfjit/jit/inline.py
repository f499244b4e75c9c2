"""Helpers lowered in place: what they read lies where the runtime's C says (runtime.offsets()), so no call is needed.

A lowering gets the emitter at the call and the map that it is on, if that is one; it says whether it took the call.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..program import MapInfo
from . import loops, printf, ring, tail
from .hash import lookup_call, lookup_function
from .machine import array_values, field, map_of, stride, this_cpu
from .memory import RUNTIME, at, layout
from .values import NULL, ZERO, Value

if TYPE_CHECKING:
    from .emit import FunctionEmitter

Lowering = Callable[["FunctionEmitter", MapInfo | None, int], bool]
_COMM_BYTES = 16  # TASK_COMM_LEN
_LONGEST_KEY = 64  # of a hash that is searched in place


# -- maps --------------------------------------------------------------------------------------------


def _map_lookup(f: FunctionEmitter, m: MapInfo | None, index: int) -> bool:
    """map_lookup_elem: by the map's row."""
    found = _LOOKUPS[m.type.lookup](f, m, index) if m is not None and m.type.lookup in _LOOKUPS else None
    if found is None:
        return False
    f.set(0, found)
    return True


def _element(f: FunctionEmitter, m: MapInfo, array: Value, values: Value) -> Value:
    """The element that the key in r2 names, or NULL. Nothing is promised of the key's alignment."""
    key = f.assign(32, f"load i32, ptr {f.ptr_of(2).text}, align 1")
    entries = field(f, array, "map.max_entries", 32) if m.template else f.const(32, m.max_entries)
    inside = f.ult(key, entries)
    address = f.offset(values, f.mul(f.zext(key, 64), f.const(64, stride(m))))
    return f.select(inside, address, NULL)


def _array(f: FunctionEmitter, m: MapInfo, index: int) -> Value:
    array = map_of(f, m, index)
    return _element(f, m, array, array_values(f, m, array, index))


def _hash(f: FunctionEmitter, m: MapInfo, index: int) -> Value | None:
    return _found(f, m, index, "hash.lookup")


def _found(f: FunctionEmitter, m: MapInfo, index: int, what: str) -> Value | None:
    """A hash's value; what: how its function is named."""
    if m.key_size > _LONGEST_KEY:
        return None
    offset = ZERO
    if m.type.per_cpu:
        offset = f.mul(f.zext(field(f, this_cpu(f), "cpu.index", 32), 64), f.const(64, stride(m)))
    lru = m.type.lookup == "lru_hash"
    name = f"{what}.{m.key_size}" + (".lru" if lru else "")
    f.module.library[name] = lookup_function(name, m.key_size, layout(), lru=lru)
    if not m.type.holds:
        f.module.calls_instead[name] = lookup_call(name)
    return f.assign(0, f"call fastcc ptr @{name}({map_of(f, m, index)}, {f.ptr_of(2)}, {offset})")


def _held(f: FunctionEmitter, slot: Value, there: Value) -> Value:
    """What a slot holds, NULL where it is not `there`. The control side changes it at any time."""
    before, look, done = f.block.last_label, f.label("look"), f.label("done")
    f.emit(f"br i1 {there.text}, label %{look}, label %{done}")
    f.begin(look)
    found = f.assign(0, f"load atomic ptr, ptr {slot.text} acquire, align 8{RUNTIME}")
    f.emit(f"br label %{done}")
    f.begin(done)
    return f.assign(0, f"phi ptr [ {found.text}, %{look} ], [ null, %{before} ]")


def _array_of_maps(f: FunctionEmitter, m: MapInfo, index: int) -> Value:
    key = f.assign(32, f"load i32, ptr {f.ptr_of(2).text}, align 1")
    slots = field(f, map_of(f, m, index), "held.slot", 0)
    slot = f.offset(slots, f.mul(f.zext(key, 64), f.const(64, 8)))
    return _held(f, slot, f.ult(key, f.const(32, m.max_entries)))


def _hash_of_maps(f: FunctionEmitter, m: MapInfo, index: int) -> Value | None:
    slot = _found(f, m, index, "hash.slot")
    return None if slot is None else _held(f, slot, f.assign(1, f"icmp ne ptr {slot.text}, null"))


_LOOKUPS: dict[str, Callable[[FunctionEmitter, MapInfo, int], Value | None]] = {
    "array": _array,
    "percpu_array": _array,
    "hash": _hash,
    "lru_hash": _hash,
    "array_of_maps": _array_of_maps,
    "hash_of_maps": _hash_of_maps,
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


def _uid_gid(f: FunctionEmitter, m: MapInfo | None, index: int) -> bool:
    """gid << 32 | uid."""

    def read(task: Value) -> Value:
        cred = field(f, task, "task.cred", 0, RUNTIME)
        uid, gid = (f.zext(field(f, cred, f"cred.{name}", 32, RUNTIME), 64) for name in ("uid", "gid"))
        return f.or_(f.shl(gid, f.const(64, 32)), uid)

    return _of_task(f, -errno.EINVAL, read)


def _comm(f: FunctionEmitter, m: MapInfo | None, index: int) -> bool:
    """get_current_comm into 16 bytes, as everybody has it: 15 of them and a NUL."""
    if f.regs.get(2, ZERO).number != _COMM_BYTES:
        return False
    buf = f.ptr_of(1)
    f.emit(f"store i128 0, ptr {buf.text}, align 1")

    def read(task: Value) -> Value:
        comm = f.offset(task, at("task.comm"))
        f.emit(f"call void @llvm.memcpy.p0.p0.i64({buf}, {comm}, i64 {_COMM_BYTES - 1}, i1 false)")
        return ZERO

    return _of_task(f, -errno.EINVAL, read)


def _cgroup_id(f: FunctionEmitter, m: MapInfo | None, index: int) -> bool:
    """task->cgroups->dfl_cgrp->kn->id."""

    def read(task: Value) -> Value:
        step = task
        for name in ("task.cgroups", "css_set.dfl_cgrp", "cgroup.kn"):
            step = field(f, step, name, 0, RUNTIME)
        return field(f, step, "kernfs_node.id", 64, RUNTIME)

    return _of_task(f, 0, read)


INLINE: dict[str, Lowering] = {
    "map_lookup": _map_lookup,
    "cpu_id": _cpu_id,
    "task": _task,
    "pid_tgid": _pid_tgid,
    "uid_gid": _uid_gid,
    "comm": _comm,
    "cgroup_id": _cgroup_id,
    "loop": loops.loop,
    "for_each": loops.for_each,
    "tail_call": tail.call,
    "ring_reserve": ring.reserve,
    "ring_submit": ring.submit,
    "ring_discard": ring.discard,
    "seq_printf": printf.seq_printf,
    "seq_write": printf.seq_write,
    "snprintf": printf.snprintf,
    "trace_printk": printf.trace_printk,
    "trace_vprintk": printf.trace_vprintk,
}
