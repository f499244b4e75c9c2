"""Helpers that call back, where the callback is known: loops around a direct call, which LLVM makes loops of."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..program import MapInfo
from . import calls
from .machine import array_values, field, map_of, stride
from .values import NULL, ZERO, Value

if TYPE_CHECKING:
    from .emit import FunctionEmitter

_MAX_LOOPS = 1 << 23  # BPF_MAX_LOOPS
_CURSOR_BYTES = 32  # struct rt_cursor
_FUNCTION = re.compile(r"@\w+\.(\d+)$")


def _callback(f: FunctionEmitter) -> int | None:
    """Which of the program's functions r2 surely is; None where the verifier never entered it: it is not called."""
    known = _FUNCTION.fullmatch(f.regs.get(2, ZERO).text)
    if known is None or not f.facts.visited[f.facts.subprogs[int(known[1])].start]:
        return None
    return int(known[1])


def loop(f: FunctionEmitter, m: MapInfo | None, index: int) -> bool:
    """bpf_loop(count, callback, ctx, flags) with a callback that is known: a loop around a direct call."""
    callback = _callback(f)
    if callback is None:
        return False
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


def for_each(f: FunctionEmitter, m: MapInfo | None, index: int) -> bool:
    """for_each_map_elem(map, callback, ctx, flags): an array is counted through, a hash walked by the runtime."""
    callback = _callback(f)
    if callback is None or m is None or m.type.walk_order not in _WALKS:
        return False
    there, ctx = map_of(f, m, index), f.regs.get(3, NULL)
    key = f.name()
    f.allocas.append(f"  {key} = alloca i64, align 8")
    step = _WALKS[m.type.walk_order](f, m, there, index, Value(key, 0))
    before, head, body, done = f.block.last_label, f.label("head"), f.label("body"), f.label("done")
    f.emit(f"br i1 {f.eq(f.int_of(4), ZERO).text}, label %{head}, label %{done}")
    f.begin(head)
    i, following = f.name(), f.name()
    f.emit(f"{i} = phi i64 [ 0, %{before} ], [ {following}, %{body} ]")
    more, at, value = step(Value(i, 64))
    end = f.block.last_label
    f.emit(f"br i1 {more.text}, label %{body}, label %{done}")
    f.begin(body)
    result = f.to_int(calls.function(f, callback, {1: there, 2: at, 3: value(), 4: ctx}))
    f.emit(f"{following} = add nuw i64 {i}, 1")
    f.emit(f"br i1 {f.eq(result, ZERO).text}, label %{head}, label %{done}")
    f.begin(done)
    f.set(0, f.assign(64, f"phi i64 [ {-errno.EINVAL}, %{before} ], [ {i}, %{end} ], [ {following}, %{body} ]"))
    return True


Step = Callable[
    [Value], tuple[Value, Value, Callable[[], Value]]
]  # i -> (is there an i-th?, its key's address, its value's)


def _array(f: FunctionEmitter, m: MapInfo, array: Value, index: int, key: Value) -> Step:
    """The key that a callback sees is a copy."""
    values = array_values(f, m, array, index)
    entries = f.zext(field(f, array, "map.max_entries", 32), 64) if m.template else f.const(64, m.max_entries)

    def step(i: Value) -> tuple[Value, Value, Callable[[], Value]]:
        f.emit(f"store {f.trunc(i, 32)}, ptr {key.text}, align 4")
        return f.ult(i, entries), key, lambda: f.offset(values, f.mul(i, f.const(64, stride(m))))

    return step


def _hash(f: FunctionEmitter, m: MapInfo, table: Value, index: int, key: Value) -> Step:
    cursor, value = f.name(), f.name()
    f.allocas.append(f"  {cursor} = alloca [{_CURSOR_BYTES} x i8], align 8")
    f.allocas.append(f"  {value} = alloca ptr, align 8")
    f.emit(f"store [{_CURSOR_BYTES} x i8] zeroinitializer, ptr {cursor}, align 8")
    f.module.symbols["rt_hash_walk"] = "declare i32 @rt_hash_walk(ptr, ptr, ptr, ptr) nounwind"

    def step(i: Value) -> tuple[Value, Value, Callable[[], Value]]:
        more = f.assign(32, f"call i32 @rt_hash_walk({table}, ptr {cursor}, {key}, ptr {value})")
        at = f.assign(0, f"load ptr, ptr {key.text}, align 8")
        return f.not_(f.eq(more, f.const(32, 0))), at, lambda: f.assign(0, f"load ptr, ptr {value}, align 8")

    return step


_WALKS = {"index": _array, "hash": _hash}
