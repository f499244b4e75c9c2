"""Views: links of view programs shown as files, one kernel object a file."""

from __future__ import annotations

import errno
from typing import Any

from bpfjit.errors import refuse
from bpfjit.uapi import bpf as uapi
from runtime import KernelHandle, View, ffi

from .caller import Caller
from .fs.inode import OpenFile
from .fs.kernfs import ExposedFile, write_command
from .objects import LinkObject, ProgObject

MAX_READ_BYTES = 1 << 21


class Views:
    """What a directory shows of exposed objects: `target` is the view target, `subject` its kernel object."""

    def __init__(self, native: KernelHandle, target: str, subject: Any) -> None:
        self.native = native
        self.target = target
        self.subject = subject

    def open(self, inode: ExposedFile, flags: int) -> OpenFile:
        return OpenView(self, inode, flags)

    def link_of(self, inode: ExposedFile) -> LinkObject:
        """The view link behind a file. Raises ENXIO for a dead inode, EACCES for what is no such view."""
        obj = inode.object
        if not isinstance(obj, LinkObject) or obj.type != uapi.BPF_LINK_TYPE_VIEW or obj.target != self.target:
            raise refuse(errno.EACCES, f"{inode.name}: a {obj.kind} is not a view of a {self.target}")
        return obj


class OpenView(OpenFile):
    """An open view file. The program stays loaded as long as it is open."""

    def __init__(self, views: Views, inode: ExposedFile, flags: int) -> None:
        super().__init__(inode, flags)
        self._views = views
        self._exposed = inode
        self._view: View | None = None
        self._prog: ProgObject | None = None

    def _native(self) -> View:
        if self._view is None:
            # The program it begins with, whatever becomes of the link.
            self._prog = self._views.link_of(self._exposed).prog.get()
            fn = ffi.cast("rt_prog_fn", self._prog.native.addr)
            self._view = View(self._views.native, fn, self._views.subject)
        return self._view

    def pread(self, caller: Caller, size: int, pos: int) -> bytes:
        self._exposed.need_active()
        data = self._native().read(min(size, MAX_READ_BYTES), pos, ffi.NULL)
        assert self._prog is not None
        self._prog.check_fault()
        return data

    def write(self, caller: Caller, data: bytes) -> int:
        return write_command(self._exposed, self, data)

    def release(self) -> None:
        if self._view is not None:
            self._view.close()
        if self._prog is not None:
            self._prog.put()
