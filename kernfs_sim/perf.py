"""Perf events that programs write to: what perf_event_open(2) of PERF_COUNT_SW_BPF_OUTPUT gives."""

from __future__ import annotations

import errno
import select
from typing import Any

from bpfjit.errors import refuse
from runtime import KernelHandle, ffi, lib

from .fs.inode import OpenFile

_PAGE = 4096


class PerfEvent(OpenFile):
    """An open event of one CPU: `c` is its native ring of `pages` (a power of two) pages."""

    def __init__(self, native: KernelHandle, cpu: int, pages: int) -> None:
        super().__init__(None, 2)
        if not 0 <= cpu < native.cpus:
            raise refuse(errno.EINVAL, f"cpu {cpu}, there are {native.cpus}")
        if pages < 1 or pages & (pages - 1):
            raise refuse(errno.EINVAL, f"a ring of {pages} pages, wanted a power of two")
        native.hold()
        self._native = native
        self.c: Any = lib.rt_perf_event_new(native.ptr, cpu, pages)
        if self.c == ffi.NULL:
            native.drop()
            raise refuse(errno.ENOMEM, f"no room for a ring of {pages} pages")

    def release(self) -> None:
        lib.rt_perf_event_free(self.c)
        self._native.drop()

    def mmap(self, size: int, writable: bool, offset: int) -> memoryview:
        """The page with head and tail, and the records behind it; read-only unless `writable`. Raises EINVAL."""
        room = ffi.new("u64 *")
        start = lib.rt_perf_event_memory(self.c, room)
        if offset or size > room[0]:
            raise refuse(errno.EINVAL, f"{size} bytes from {offset} on, there are {room[0]}")
        self.get()
        view = memoryview(ffi.buffer(ffi.gc(ffi.cast("char *", start), lambda _: self.put()), size))
        return view if writable else view.toreadonly()

    def poll(self, timeout_ms: int) -> int:
        """POLLIN once there are records that were not read, 0 when the time is over."""
        waiter = select.poll()
        waiter.register(lib.rt_perf_event_fd(self.c), select.POLLIN)
        if not lib.rt_perf_event_ready(self.c):
            waiter.poll(None if timeout_ms < 0 else timeout_ms)
        return select.POLLIN if lib.rt_perf_event_ready(self.c) else 0
