"""kernfs: file systems whose files show kernel objects, and BPF objects exposed in them.

Exposing is not pinning: the node holds no reference. It is tied to the object's backing inode in bpffs and
goes with it (RFC, patches 3, 4 and 7).
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING

from bpfjit.errors import refuse

from ..caller import Caller
from ..objects import Object
from .bpffs import Pin
from .inode import Directory, Inode, OpenFile, SuperBlock, TextFile

if TYPE_CHECKING:
    from ..views import Views

SYSFS_MAGIC = 0x62656572
REMOVE = b"rm"


class KernfsDir(Directory):
    """A directory of a kernfs. `views` says what an exposed object shows here; None: nothing does."""

    @property
    def views(self) -> Views | None:
        return None

    def __init__(self, sb: SuperBlock, mode: int, uid: int = 0, gid: int = 0, ino: int | None = None) -> None:
        super().__init__(sb, mode, uid, gid, ino)
        self.removed = False

    def check_name(self, name: str, *, creating: bool) -> None:
        if creating and self.removed:
            raise refuse(errno.ENOENT, f"{name}: the directory has been removed")

    def pin(self, caller: Caller, name: str, obj: object) -> None:
        assert isinstance(obj, Object)
        backing = obj.backing_inode
        if backing is None:
            raise refuse(errno.ENXIO, f"{name}: {obj.kind} {obj.id} is not pinned in bpffs, so it cannot be exposed")
        assert isinstance(backing, Pin)
        if self.removed:
            raise refuse(errno.ENOENT, f"{name}: the directory has been removed")
        if self.lookup(name) is not None:
            raise refuse(errno.EEXIST, f"{name}: exists; a program's file never takes another's name")
        self.add(name, ExposedFile(self, name, backing, 0o600 & ~caller.umask))

    def remove(self, name: str) -> None:
        """kernfs_remove(): the node is gone for everyone, also for those who have it open."""
        with self.sb.changing:
            child = self.children.get(name)
            if child is None:
                return
            if isinstance(child, KernfsDir):
                child.removed = True
                for inner in list(child.children):
                    child.remove(inner)
            if isinstance(child, KernfsFile):
                child.deactivate()
            self.drop(name)


class KernfsFile(Inode):
    """A file in a kernfs; once its node is removed, open files of it can only be closed."""

    def __init__(self, parent: KernfsDir, mode: int, uid: int = 0, gid: int = 0) -> None:
        super().__init__(parent.sb, stat.S_IFREG | mode, uid, gid)
        parent.get()
        self.parent = parent  # what a file shows outlives its directory's name
        self.active = True
        self.event = int(parent.sb.eventful)
        self.pollers: list[Callable[[], None]] = []

    def notify(self) -> None:
        """kernfs_notify(): what the file shows has changed, and those who poll it are told."""
        self.event += 1
        for tell in list(self.pollers):
            tell()

    def free(self) -> None:
        self.parent.put()

    def deactivate(self) -> None:
        self.active = False
        self.event += int(self.sb.eventful)  # nobody is woken, as on Linux; who asks is told

    def need_active(self) -> None:
        if not self.active or self.parent.removed:
            raise refuse(errno.ENODEV, "the file has been removed")

    def truncate(self, size: int) -> None:
        """Succeeds and does nothing: what a kernfs file shows is not stored."""


class OpenKernfs(OpenFile):
    """An open file of a kernfs: poll(2) tells of what its inode is notified of."""

    __slots__ = ()

    def subscribe(self, tell: Callable[[], None]) -> Callable[[], None]:
        assert isinstance(self.inode, KernfsFile)
        pollers = self.inode.pollers
        pollers.append(tell)
        return lambda: pollers.remove(tell)


class DataFile(KernfsFile):
    """A file of bytes that stay as they are, with their size: /sys/kernel/btf/vmlinux."""

    def __init__(self, parent: KernfsDir, mode: int, data: bytes) -> None:
        super().__init__(parent, mode)
        self._data = data

    def size(self) -> int:
        return len(self._data)

    def open(self, caller: Caller, flags: int) -> OpenFile:
        self.need_active()
        return TextFile(self, flags, lambda: self._data)


class AttrFile(KernfsFile):
    """A file that a subsystem defines: its text, and what a write does."""

    def __init__(
        self,
        parent: KernfsDir,
        mode: int,
        show: Callable[[Caller], str] | None,
        store: Callable[[Caller, bytes], None] | None = None,
        uid: int = 0,
        gid: int = 0,
    ) -> None:
        super().__init__(parent, mode, uid, gid)
        self._show = show
        self._store = store

    def open(self, caller: Caller, flags: int) -> OpenFile:
        self.need_active()
        return _OpenAttr(self, flags, caller)

    def show(self, caller: Caller) -> bytes:
        self.need_active()
        if self._show is None:
            raise refuse(errno.EINVAL, "file is write-only")
        return self._show(caller).encode()

    def store(self, caller: Caller, data: bytes) -> int:
        self.need_active()
        if self._store is None:
            raise refuse(errno.EINVAL, "file is read-only")
        self._store(caller, data)
        return len(data)


class _OpenAttr(TextFile, OpenKernfs):
    __slots__ = ("_attr",)

    def __init__(self, attr: AttrFile, flags: int, caller: Caller) -> None:
        super().__init__(attr, flags, lambda: attr.show(caller))
        self._attr = attr

    def pread(self, caller: Caller, size: int, pos: int) -> bytes:
        self._attr.need_active()
        return super().pread(caller, size, pos)

    def write(self, caller: Caller, data: bytes) -> int:
        if not self.writable:
            raise refuse(errno.EBADF, "file is not open for writing")
        return self._attr.store(caller, data)


class ExposedFile(KernfsFile):
    """A BPF object's file: read as its directory's views say, removed by writing `rm` or with its backing inode."""

    def __init__(self, parent: KernfsDir, name: str, backing: Pin, mode: int) -> None:
        super().__init__(parent, mode)
        self.name = name
        self.backing: Pin | None = backing
        backing.watch(self._backing_freed)

    def _backing_freed(self, inode: Inode) -> None:
        self.backing = None
        self.parent.remove(self.name)

    def free(self) -> None:
        if self.backing is not None:
            self.backing.unwatch(self._backing_freed)
        super().free()

    def deactivate(self) -> None:
        super().deactivate()
        if self.backing is not None:
            self.backing.unwatch(self._backing_freed)
            self.backing = None

    def open(self, caller: Caller, flags: int) -> OpenFile:
        self.need_active()
        views = self.parent.views
        if views is None:
            return _OpenExposed(self, flags)
        return views.open(self, flags)

    def read_whole(self, caller: Caller) -> bytes:
        views = self.parent.views
        return super().read_whole(caller) if views is None else views.read_whole(self, caller)

    def remove_self(self) -> None:
        self.need_active()
        self.parent.remove(self.name)


class _OpenExposed(OpenFile):
    """An exposed object where nothing can be shown; views read differently and share the write."""

    __slots__ = ("_exposed",)

    def __init__(self, inode: ExposedFile, flags: int) -> None:
        super().__init__(inode, flags)
        self._exposed = inode

    def pread(self, caller: Caller, size: int, pos: int) -> bytes:
        self._exposed.need_active()
        raise refuse(errno.EIO, f"{self._exposed.name}: no view for {self._exposed.sb.fstype}")

    def write(self, caller: Caller, data: bytes) -> int:
        return write_command(self._exposed, self, data)


def write_command(inode: ExposedFile, file: OpenFile, data: bytes) -> int:
    """Writing `rm`, with or without a newline or NUL, removes the file; anything else is EINVAL."""
    if not file.writable:
        raise refuse(errno.EBADF, "file is not open for writing")
    inode.need_active()
    command = data.split(b"\0", 1)[0]
    if command.removesuffix(b"\n") != REMOVE:
        raise refuse(errno.EINVAL, f"{inode.name}: unknown command {data[:16]!r}, wanted 'rm'")
    inode.remove_self()
    return len(data)


def new_sysfs(directories: tuple[str, ...]) -> KernfsDir:
    """A sysfs with the given directories: a kernfs in which no view shows anything."""
    sb = SuperBlock("sysfs", SYSFS_MAGIC)
    root = KernfsDir(sb, 0o755)
    for path in directories:
        at: Directory = root
        for name in path.strip("/").split("/"):
            child = at.lookup(name)
            if child is None:
                child = KernfsDir(sb, 0o755)
                at.add(name, child)
            assert isinstance(child, Directory)
            at = child
    return root
