"""Views whose files are opened, read and closed without Python: which they are, and until when."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from runtime import FuseDevice

from .inode import POLLERR, POLLPRI, READY, Inode
from .kernfs import ExposedFile

if TYPE_CHECKING:
    from ..kernel import Kernel
    from ..views import OpenView


class HotViews:
    """The native side's knowledge of views.

    A view's file becomes hot when it is opened once. Whenever a name goes or a link gets another program, all cool
    down: such things are rare, and which files they concern is not looked into.
    """

    def __init__(self, kernel: Kernel, device: FuseDevice) -> None:
        self.device = device
        self._kernel = kernel
        self._changes = 0  # counted, so that what became stale while it was being told of is taken back

    def changes(self) -> int:
        return self._changes

    def cool(self) -> None:
        self._changes += 1
        self.device.retire()

    def show(self, nodeid: int, inode: Inode, file: OpenView, changes: int) -> None:
        """A node's file has been opened well, `changes` having been counted before."""
        if self._kernel.engine != "jit" or not isinstance(inode, ExposedFile) or not file.lasting or self._kernel.follows:
            return  # the interpreter is Python's, and tells of its findings there
        native = self._kernel.native
        prog, subject = file.shown()
        native.hold()
        prog.get()
        inode.get()

        def let_go() -> None:
            inode.put()
            prog.put()
            native.drop()

        self.device.show(nodeid, native, prog.fn, subject, inode, let_go)
        if changes != self._changes:
            self.device.forget(nodeid)

    def read(self, handle: int, size: int, pos: int) -> bytes:
        """A read of an open that was hot once. Raises ENODEV where the file has been removed meanwhile."""
        exposed: ExposedFile = self.device.subject(handle)
        exposed.need_active()
        return self.device.read(handle, size, pos)

    def ready(self, handle: int) -> int:
        """What poll(2) finds of an open that was hot once; nothing is notified of views. Raises EBADF."""
        exposed: ExposedFile = self.device.subject(handle)
        shown = exposed.active and (not exposed.event or self.device.made(handle))
        return READY if shown else READY | POLLPRI | POLLERR

    def watch(self) -> Callable[[], None]:
        """Cool down whenever there is a reason; what this returns ends it."""
        filesystems = self._kernel.vfs.filesystems()

        def dropped(directory: Inode, name: str) -> None:
            self.cool()

        for sb in filesystems:
            sb.on_drop.append(dropped)
        self._kernel.on_link_update.append(self.cool)

        def end() -> None:
            for sb in filesystems:
                sb.on_drop.remove(dropped)
            self._kernel.on_link_update.remove(self.cool)

        return end
