"""A ring buffer's reserve, submit and discard as LLVM IR: what runtime/src/map_ringbuf.c does where nobody is in the way.

Whoever finds the lock taken, no room, or a reader to be woken calls the runtime. An execution that finds none of these takes
a lock and hands a record over: two locked instructions, which are most of what is left.
"""

from __future__ import annotations

from string import Template
from typing import TYPE_CHECKING

from ..program import MapInfo
from ..uapi import bpf as uapi
from .machine import map_of
from .memory import INVARIANT, layout
from .values import Value

if TYPE_CHECKING:
    from .emit import FunctionEmitter

_RESERVE = """\
define internal fastcc ptr @ring.reserve(ptr nonnull %map, i64 %size, i64 %flags) nounwind alwaysinline {
  %ring.at = getelementptr i8, ptr %map, i64 $map_ring
  %ring = load ptr, ptr %ring.at, align 8$invariant
  %odd = icmp ne i64 %flags, 0
  %long = icmp ugt i64 %size, $longest
  %other = or i1 %odd, %long
  br i1 %other, label %slow, label %try
try:
  %mask.at = getelementptr i8, ptr %ring, i64 $mask
  %mask = load i64, ptr %mask.at, align 8$invariant
  %with = add i64 %size, 15
  %bytes = and i64 %with, -8
  %lock = getelementptr i8, ptr %ring, i64 $lock
  %held = atomicrmw xchg ptr %lock, i32 1 acquire
  %busy = icmp ne i32 %held, 0
  br i1 %busy, label %slow, label %locked
locked:
  %producer = getelementptr i8, ptr %ring, i64 $producer
  %at = load i64, ptr %producer, align 8
  %end = add i64 %at, %bytes
  %consumed.at = getelementptr i8, ptr %ring, i64 $consumed
  %consumed = load i64, ptr %consumed.at, align 8
  %unread = sub i64 %end, %consumed
  %full = icmp ugt i64 %unread, %mask
  %pending.at = getelementptr i8, ptr %ring, i64 $pending
  %first = load i64, ptr %pending.at, align 8
  br i1 %full, label %unlock, label %look
look:
  %pending = phi i64 [ %first, %locked ], [ %later, %closed ]
  %open = sub i64 %end, %pending
  %kept = icmp ugt i64 %open, %mask
  br i1 %kept, label %one, label %fits
one:
  %oldest.place = and i64 %pending, %mask
  %oldest.offset = add i64 %oldest.place, $data
  %oldest.at = getelementptr i8, ptr %ring, i64 %oldest.offset
  %oldest = load atomic i32, ptr %oldest.at acquire, align 8
  %oldest.busy = icmp slt i32 %oldest, 0
  br i1 %oldest.busy, label %unlock, label %closed
closed:
  %length = and i32 %oldest, $longest
  %length64 = zext i32 %length to i64
  %length.with = add i64 %length64, 15
  %length.bytes = and i64 %length.with, -8
  %later = add i64 %pending, %length.bytes
  store i64 %later, ptr %pending.at, align 8
  br label %look
unlock:
  store atomic i32 0, ptr %lock release, align 4
  br label %slow
fits:
  %place = and i64 %at, %mask
  %offset = add i64 %place, $data
  %header = getelementptr i8, ptr %ring, i64 %offset
  %page = lshr i64 %offset, $page_bits
  %page32 = trunc i64 %page to i32
  %page.at = getelementptr i8, ptr %header, i64 4
  store i32 %page32, ptr %page.at, align 4
  %size32 = trunc i64 %size to i32
  %marked = or i32 %size32, $busy
  store atomic i32 %marked, ptr %header monotonic, align 8
  store atomic i64 %end, ptr %producer release, align 8
  store atomic i32 0, ptr %lock release, align 4
  %record = getelementptr i8, ptr %header, i64 8
  ret ptr %record
slow:
  %called = call ptr @rt_ringbuf_reserve(ptr %map, i64 %size, i64 %flags)
  ret ptr %called
}"""

_COMMIT = """\
define internal fastcc void @ring.$what(ptr nonnull %record, i64 %flags) nounwind alwaysinline {
  %header = getelementptr i8, ptr %record, i64 -8
  %page.at = getelementptr i8, ptr %record, i64 -4
  %page = load i32, ptr %page.at, align 4
  %was = atomicrmw xor ptr %header, i32 $change seq_cst
  %start = call ptr @llvm.ptrmask.p0.i64(ptr %header, i64 $page_mask)
  %pages = zext i32 %page to i64
  %back = shl i64 %pages, $page_bits
  %before = sub i64 $event, %back
  %event.at = getelementptr i8, ptr %start, i64 %before
  %event = load atomic i32, ptr %event.at seq_cst, align 4
  %quiet = icmp slt i32 %event, 0
  br i1 %quiet, label %out, label %wake
wake:
  call void @rt_ringbuf_committed(ptr %record, i64 %flags)
  ret void
out:
  ret void
}"""

_RESERVE_CALL = """\
define internal fastcc ptr @ring.reserve(ptr %map, i64 %size, i64 %flags) nounwind {
  %called = call ptr @rt_ringbuf_reserve(ptr %map, i64 %size, i64 %flags)
  ret ptr %called
}"""
_COMMIT_CALL = """\
define internal fastcc void @ring.$what(ptr %record, i64 %flags) nounwind {
  call void @rt_ringbuf_$what(ptr %record, i64 %flags)
  ret void
}"""
PAGE_BITS = 12  # RT_PAGE


def _text(template: str, **more: object) -> str:
    members = {name.removeprefix("ring."): n for name, n in layout().items() if name.startswith("ring.")}
    page = 1 << PAGE_BITS
    return Template(template).substitute(
        members,
        map_ring=layout()["map.ring"],
        invariant=INVARIANT,
        longest=(1 << 30) - 1,
        producer=2 * page,
        data=3 * page,
        page_bits=PAGE_BITS,
        page_mask=-page,
        busy=uapi.BPF_RINGBUF_BUSY_BIT,
        **more,
    )


def reserve(f: FunctionEmitter, m: MapInfo | None, index: int) -> bool:
    """bpf_ringbuf_reserve(ringbuf, size, flags): the record, NULL where there is no room."""
    if m is None:
        return False
    f.module.symbols["rt_ringbuf_reserve"] = "declare ptr @rt_ringbuf_reserve(ptr, i64, i64) nounwind"
    f.module.library["ring.reserve"] = _text(_RESERVE)
    f.module.calls_instead["ring.reserve"] = _text(_RESERVE_CALL)
    f.set(0, f.assign(0, f"call fastcc ptr @ring.reserve({map_of(f, m, index)}, {f.int_of(2)}, {f.int_of(3)})"))
    return True


def _commit(f: FunctionEmitter, what: str, change: int) -> bool:
    for symbol in ("committed", what):
        f.module.symbols[f"rt_ringbuf_{symbol}"] = f"declare void @rt_ringbuf_{symbol}(ptr, i64) nounwind"
    f.module.library[f"ring.{what}"] = _text(_COMMIT, what=what, change=change)
    f.module.calls_instead[f"ring.{what}"] = _text(_COMMIT_CALL, what=what)
    f.emit(f"call fastcc void @ring.{what}({f.ptr_of(1)}, {f.int_of(2)})")
    f.set(0, Value("0", 64))
    return True


def submit(f: FunctionEmitter, m: MapInfo | None, index: int) -> bool:
    return _commit(f, "submit", uapi.BPF_RINGBUF_BUSY_BIT)


def discard(f: FunctionEmitter, m: MapInfo | None, index: int) -> bool:
    return _commit(f, "discard", uapi.BPF_RINGBUF_BUSY_BIT | uapi.BPF_RINGBUF_DISCARD_BIT)
