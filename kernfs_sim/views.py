"""Views: links of view programs shown as files, one kernel object a file; and many of them read at once."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from bpfjit.errors import refuse
from bpfjit.uapi import bpf as uapi
from runtime import KernelHandle, View, ffi, lib, ok

from .caller import Caller
from .fs.inode import OpenFile
from .fs.kernfs import ExposedFile, write_command
from .objects import LinkObject, Object, ProgObject

if TYPE_CHECKING:
    from .cgroup import Cgroup

MAX_READ_BYTES = 1 << 21
_PAGE = 4096
_BULK_BYTES = 64  # room that a batch gives each text at first


class Views:
    """What a directory shows of exposed objects: `target` is the view target, `subject` its kernel object.

    owner: what the subject belongs to, where the directory itself does not keep it; each read does.
    """

    def __init__(
        self, native: KernelHandle, target: str, subject: Any, scratch: list[Any], owner: Object | None = None
    ) -> None:
        self.native = native
        self.target = target
        self.subject = subject
        self.subjects = ffi.new("void *[1]", [subject])
        self.scratch = scratch  # buffers of one page that no reader uses now
        self.owner = owner

    def keep(self) -> Object | None:
        """A reference to the owner, for a read. Raises ENODEV where it is about to go."""
        if self.owner is None:
            return None
        if not self.owner.refs:
            raise refuse(errno.ENODEV, "the object has gone")
        owner: Object = self.owner.get()
        return owner

    def open(self, inode: ExposedFile, flags: int) -> OpenFile:
        return OpenView(self, inode, flags)

    def read_whole(self, inode: ExposedFile, caller: Caller) -> bytes:
        """A file's whole text in one native call, with no open file made where it fits a page."""
        inode.need_active()
        backing = inode.backing
        prog = view_link(backing.object if backing is not None else None, self.target, inode.name).prog.hold()
        inode.get()  # and with it the object that is shown
        kept = self.keep()
        native = self.native
        native.hold()
        try:
            try:
                page, end = self.scratch.pop()
            except IndexError:
                page, end = ffi.new("char[]", _PAGE), ffi.new("u64 *")
            n = lib.rt_view_read_many(native.ptr, prog.fn, self.subjects, 1, page, _PAGE, end, ffi.NULL)
            data = ffi.unpack(page, end[0]) if n == 1 and end[0] else b""
            self.scratch.append((page, end))
            prog.check_fault()
        finally:
            native.drop()
            inode.put()
            prog.put()
            if kept is not None:
                kept.put()
        if n == 1:
            return data
        if n != -errno.EOVERFLOW:
            raise refuse(-n, f"{inode.name}: the program returned {n}, {os.strerror(-n)}")
        file = OpenView(self, inode, 0)
        try:
            file.begin_past_page()
            return file.read_all(caller)
        finally:
            file.put()


def view_link(obj: Object | None, target: str, name: str) -> LinkObject:
    """The object as a link to a view of `target`. Raises ENXIO for none, EACCES for anything else."""
    if obj is None:
        raise refuse(errno.ENXIO, f"{name}: the object is no longer pinned")
    if not isinstance(obj, LinkObject) or obj.type != uapi.BPF_LINK_TYPE_VIEW or obj.target != target:
        raise refuse(errno.EACCES, f"{name}: a {obj.kind} is not a view of a {target}")
    return obj


class OpenView(OpenFile):
    """An open file of an exposed object. Whatever happens to pins and links, the object stays until it is closed."""

    __slots__ = ("_exposed", "_object", "_prog", "_view", "_views")

    def __init__(self, views: Views, inode: ExposedFile, flags: int) -> None:
        views.native.hold()  # kernel memory outlives a kernel's close() for as long as a reader may be in it
        super().__init__(inode, flags)
        self._views = views
        self._exposed = inode
        backing = inode.backing
        self._object: Object | None = backing.object.get() if backing is not None else None
        self._view: View | None = None
        # The program it begins with, whatever becomes of the link.
        self._prog: ProgObject | None = self._object.prog.get() if isinstance(self._object, LinkObject) else None

    def _program(self) -> ProgObject:
        """The view's program. Raises ENXIO and EACCES as view_link() does."""
        view_link(self._object, self._views.target, self._exposed.name)
        assert self._prog is not None
        return self._prog

    @property
    def lasting(self) -> bool:
        """Whether what is shown stays for as long as the file is open."""
        return self._views.owner is None

    def shown(self) -> tuple[ProgObject, Any]:
        """The program and the kernel object that it is run for. Raises ENXIO and EACCES as view_link() does."""
        return self._program(), self._views.subject

    def pread(self, caller: Caller, size: int, pos: int) -> bytes:
        self._exposed.need_active()
        view = self._view
        views = self._views
        prog, event = self._program(), self._exposed.event
        if view is None:
            view = self._view = View(views.native, prog.fn, views.subject)
        kept = views.keep()
        try:
            data = view.read(min(size, MAX_READ_BYTES), pos, ffi.NULL)
        finally:
            if kept is not None:
                kept.put()
        prog.check_fault()
        if size:
            self.seen = event
        return data

    def begin_past_page(self) -> None:
        """A page has been tried and is too small: the next buffer is twice that, as it would be for one reader."""
        prog = self._program()
        self._view = View(self._views.native, prog.fn, self._views.subject)
        ok(lib.rt_view_past_page(self._view.ptr), self._exposed.name)

    def write(self, caller: Caller, data: bytes) -> int:
        return write_command(self._exposed, self, data)

    def release(self) -> None:
        if self._view is not None:
            self._view.close()
            self._view = None
        if self._prog is not None:
            self._prog.put()
        if self._object is not None:
            self._object.put()
        self._views.native.drop()


class ViewBatch:
    """One view of many cgroups, read in one foreign call that releases the GIL; a context manager.

    `cgroups` are those shown, in order; the ones removed since are left out at the next read.
    """

    def __init__(self, native: KernelHandle, link: Object | None, cgroups: Sequence[Cgroup]) -> None:
        checked = view_link(link, "cgroup", "batch")
        native.hold()
        self._native = native
        self._link: LinkObject = checked.get()
        for cgroup in cgroups:
            cgroup.get()
        self._held = list(cgroups)
        self.cgroups: list[Cgroup] = []
        self._removals = -1
        self._objects: Any = None
        self._buffer: Any = None
        self._ends: Any = ffi.new("u64[]", max(len(cgroups), 1))
        self._refresh()

    def _refresh(self) -> None:
        removals = self._held[0].fs.removals if self._held else 0
        if removals == self._removals:
            return
        self._removals = removals
        self.cgroups = [c for c in self._held if not c.removed]
        self._objects = ffi.new("void *[]", [c.c for c in self.cgroups])
        if self._buffer is None:
            self._buffer = ffi.new("char[]", max(_PAGE, len(self.cgroups) * _BULK_BYTES))

    def read(self) -> tuple[memoryview, Sequence[int]]:
        """The texts of all, one after another, and where each ends; both are valid until the next read.

        Raises the errno that a program returns, ENODEV after close().
        """
        if self._objects is None:
            raise refuse(errno.ENODEV, "the batch is closed")
        self._refresh()
        prog = self._link.prog.get()  # the link may be given another while we read
        try:
            return self._read(prog)
        finally:
            prog.put()

    def _read(self, prog: ProgObject) -> tuple[memoryview, Sequence[int]]:
        count = len(self.cgroups)
        done = used = 0
        while done < count:
            room = len(self._buffer) - used
            n = lib.rt_view_read_many(
                self._native.ptr, prog.fn, self._objects + done, count - done, self._buffer + used, room,
                self._ends + done, ffi.NULL,
            )  # fmt: skip
            prog.check_fault()
            if n < 0 and n != -errno.EOVERFLOW:
                raise refuse(-n, f"{self.cgroups[done].path}: the program returned {n}")
            if done:
                for i in range(done, done + max(n, 0)):
                    self._ends[i] += used
            done += max(n, 0)
            used = self._ends[done - 1] if done else 0
            if n <= 0 or done < count:
                larger = ffi.new("char[]", 2 * len(self._buffer))
                ffi.memmove(larger, self._buffer, used)
                self._buffer = larger
        return memoryview(ffi.buffer(self._buffer, used)), ffi.unpack(self._ends, count)

    def texts(self) -> list[bytes]:
        """The texts of `cgroups`, read anew."""
        data, ends = self.read()
        whole = bytes(data)
        return [whole[start:end] for start, end in pairwise([0, *ends])]

    def close(self) -> None:
        if self._objects is not None:
            self._objects = None
            self._link.put()
            for cgroup in self._held:
                cgroup.put()
            self._native.drop()

    def __enter__(self) -> ViewBatch:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
