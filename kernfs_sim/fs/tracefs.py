"""/sys/kernel/tracing/trace_pipe: what programs print with bpf_printk(), gone once it is read."""

from __future__ import annotations

from runtime import KernelHandle, ffi, lib

from ..caller import Caller
from .inode import OpenFile
from .kernfs import KernfsDir, KernfsFile


class TracePipe(KernfsFile):
    """The text as programs wrote it, without Linux's columns of who and when; where Linux waits for more, this ends."""

    def __init__(self, parent: KernfsDir, native: KernelHandle) -> None:
        super().__init__(parent, 0o444)
        self._native = native

    def open(self, caller: Caller, flags: int) -> OpenFile:
        self.need_active()
        return _OpenPipe(self, flags, self._native)


class _OpenPipe(OpenFile):
    __slots__ = ("_native",)

    def __init__(self, inode: TracePipe, flags: int, native: KernelHandle) -> None:
        super().__init__(inode, flags)
        self._native = native

    def pread(self, caller: Caller, size: int, pos: int) -> bytes:
        buf = ffi.new("char[]", size)
        return bytes(ffi.buffer(buf, lib.rt_trace_read(self._native.ptr, buf, size))) if size else b""
