"""mmap(2) and poll(2) of maps for callers in this process: a map's memory itself, without a copy."""

from __future__ import annotations

import errno
import select
import time
from typing import Any

from bpfjit.errors import ENOTSUPP, refuse
from bpfjit.uapi import bpf as uapi
from runtime import ffi, lib

from ..caller import Caller
from ..objects import MapObject
from ..perf import PerfEvent
from .fd import ObjectFile, map_of

_PAGE = 4096


def mmap(caller: Caller, fd: int, size: int, writable: bool, offset: int = 0, addr: int = 0) -> memoryview:
    """A shared mapping of `size` bytes from `offset` on, read-only unless `writable`; it keeps the map while it is in use.

    An array gives its elements (BPF_F_MMAPABLE), a ring buffer a page with the consumer's position, one with the
    producer's, and its data twice; an arena, whose user's address is `addr` (0: to be chosen), its pages. Raises EBADF,
    ENODEV for other files, EACCES, EPERM, EINVAL, E2BIG, ENOTSUPP.
    """
    file = caller.fds.get(fd)
    if isinstance(file, PerfEvent):
        return file.mmap(size, writable, offset)
    m = file.object if isinstance(file, ObjectFile) else None
    if not isinstance(m, MapObject):
        raise refuse(errno.ENODEV, f"fd {fd} is no map")
    if not file.may_read or (writable and not file.may_write):
        raise refuse(errno.EACCES, f"map fd {fd} does not allow {'writing' if writable else 'reading'}")
    if not size or offset % _PAGE:
        raise refuse(errno.EINVAL, f"{size} bytes from {offset} on, wanted some, from a page's start on")
    if m.record or not (m.type.ring or m.type.direct or m.type.arena):
        raise refuse(ENOTSUPP, f"a {m.type.name} map{' with special fields' if m.record else ''} has no mapping")
    if not file.may_write:  # such a mapping is not shared, and maps know no other
        raise refuse(errno.EINVAL, f"map {m.name} cannot be mapped through a read-only fd")
    if writable and (m.frozen or m.flags & uapi.BPF_F_RDONLY_PROG):
        raise refuse(errno.EPERM if m.frozen else errno.EACCES, f"map {m.name} cannot be mapped for writing")
    if m.type.arena:
        return _arena(m, size, writable, offset, addr)
    start, room = _ring(m, size, writable, offset) if m.type.ring else _array(m)
    if offset + size > -(-room // _PAGE) * _PAGE:
        raise refuse(errno.EINVAL, f"map {m.name}: {size} bytes from {offset} on, there are {room}")
    memory = ffi.gc(ffi.cast("char *", start + offset), lambda _: _unmap(m, writable))
    m.get()
    m.written_through += writable
    view = memoryview(ffi.buffer(memory, size))
    return view if writable else view.toreadonly()


def _arena(m: MapObject, size: int, writable: bool, offset: int, addr: int) -> memoryview:
    if offset:
        raise refuse(errno.EINVAL, f"arena {m.name} is mapped from its beginning")
    at = int(lib.rt_arena_mmap(m.native.ptr, addr, size, writable))
    if at < 0:
        start, room = m.native.user
        raise refuse(-at, f"arena {m.name}: {size} bytes at {addr:#x}, wanted {room} at {start:#x}")
    m.get()
    m.written_through += writable
    memory = ffi.gc(ffi.cast("char *", at), lambda p: _unmap_arena(m, p, writable))
    view = memoryview(ffi.buffer(memory, size))
    return view if writable else view.toreadonly()


def _unmap_arena(m: MapObject, at: Any, writable: bool) -> None:
    if m.native.ptr != ffi.NULL:  # the garbage collector takes a map and its mapping in any order
        lib.rt_arena_munmap(m.native.ptr, at)
    _unmap(m, writable)


def _array(m: MapObject) -> tuple[int, int]:
    if not m.flags & uapi.BPF_F_MMAPABLE:
        raise refuse(errno.EINVAL, f"map {m.name} was not made to be mapped")
    return m.native.direct, -(-m.value_size // 8) * 8 * m.max_entries


def _ring(m: MapObject, size: int, writable: bool, offset: int) -> tuple[int, int]:
    """Each side may write its own position; a user's producer the data, too."""
    kernel_produces = m.type.id == uapi.BPF_MAP_TYPE_RINGBUF
    own = (offset == 0 and size <= _PAGE) if kernel_produces else offset != 0
    if writable and not own:
        raise refuse(errno.EPERM, f"ring buffer {m.name}: no writing at {offset}")
    room = ffi.new("u64 *")
    start = int(ffi.cast("uintptr_t", lib.rt_ring_memory(m.native.ptr, room)))
    return start, int(room[0])


def _unmap(m: MapObject, writable: bool) -> None:
    m.written_through -= writable
    m.put()


def poll(caller: Caller, fd: int, timeout_ms: int) -> int:
    """Wait until a ring buffer has data (POLLIN), or a user's one has room (POLLOUT); 0 when the time is over.

    timeout_ms below 0: for as long as it takes. Raises EBADF, EINVAL.
    """
    file = caller.fds.get(fd)
    if isinstance(file, PerfEvent):
        return file.poll(timeout_ms)
    m = _ring_of(caller, fd)
    ready = select.POLLIN if m.type.id == uapi.BPF_MAP_TYPE_RINGBUF else select.POLLOUT
    waiter = select.poll()
    waiter.register(event_fd(caller, fd), select.POLLIN)
    end = None if timeout_ms < 0 else time.monotonic() + timeout_ms / 1000
    while not lib.rt_ring_ready(m.native.ptr):
        left = None if end is None else (end - time.monotonic()) * 1000
        if left is not None and left <= 0:
            return 0
        if waiter.poll(left):
            lib.rt_ring_seen(m.native.ptr)
    return ready


def event_fd(caller: Caller, fd: int) -> int:
    """An eventfd of this process that a ring buffer's wakeups count up, for an epoll of one's own; the map owns it."""
    found = int(lib.rt_ring_event(_ring_of(caller, fd).native.ptr))
    if found < 0:
        raise refuse(-found, "no eventfd")
    return found


def _ring_of(caller: Caller, fd: int) -> MapObject:
    m = map_of(caller, fd)
    if not m.type.ring:
        raise refuse(errno.EINVAL, f"a {m.type.name} map is not waited for")
    return m
