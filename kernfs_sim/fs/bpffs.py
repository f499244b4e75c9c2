"""bpffs: pins of programs, maps and links, and directories of them.

Rules measured on Linux 6.18; see tests/unit/test_bpffs.py.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable
from typing import cast

from bpfjit.errors import refuse

from ..caller import Caller
from ..objects import LinkObject, MapObject, Object
from .inode import Directory, Inode, OpenFile, SuperBlock, Symlink, TextFile

BPF_FS_MAGIC = 0xCAFE4A11
MapText = Callable[[MapObject], bytes]
IterOpen = Callable[[Caller, LinkObject, int], OpenFile]


class BpfFs(SuperBlock):
    """One bpffs; the kernel says how a map is printed and an iterator link is opened."""

    def __init__(self, map_text: MapText, iter_open: IterOpen) -> None:
        super().__init__("bpf", BPF_FS_MAGIC)
        self.map_text = map_text
        self.iter_open = iter_open


class Pin(Inode):
    """The inode behind a pin: it holds one reference of the object. The first one becomes the object's backing inode."""

    def __init__(self, sb: BpfFs, obj: Object, mode: int, uid: int, gid: int) -> None:
        super().__init__(sb, stat.S_IFREG | mode, uid, gid)
        self.fs = sb
        self._size = 0
        self.object = obj.get()
        obj.opened()
        if obj.backing_inode is None:
            obj.backing_inode = self

    def free(self) -> None:
        if self.object.backing_inode is self:
            self.object.backing_inode = None
        self.object.closed()
        self.object.put()

    def open(self, caller: Caller, flags: int) -> OpenFile:
        obj = self.object
        if isinstance(obj, MapObject) and obj.btf is not None and obj.btf_value_type_id:
            return TextFile(self, flags, lambda: self.fs.map_text(obj))
        if isinstance(obj, LinkObject):
            opened = self.fs.iter_open(caller, obj, flags)
            if opened.inode is None:
                opened.inode = self.get()
            return opened
        raise refuse(errno.EIO, f"a pinned {obj.kind} cannot be read")

    def size(self) -> int:
        return self._size

    def truncate(self, size: int) -> None:
        """A pin has no contents; its size is what it was last cut to."""
        self._size = size


class Preloaded(Inode):
    """An iterator of the kernel's own, shown from the start: its program is loaded when somebody first asks.

    Mode 0400, and nobody takes it away: names with dots are the kernel's.
    """

    def __init__(self, sb: BpfFs, link: Callable[[], LinkObject]) -> None:
        super().__init__(sb, stat.S_IFREG | 0o400, 0, 0)
        self.fs = sb
        self._link = link

    def open(self, caller: Caller, flags: int) -> OpenFile:
        opened = self.fs.iter_open(caller, self._link(), flags)
        if opened.inode is None:
            opened.inode = self.get()
        return opened


class BpfDir(Directory):
    def fs(self) -> BpfFs:
        return cast(BpfFs, self.sb)

    def check_name(self, name: str, *, creating: bool) -> None:
        # Names with dots are kept for the kernel's own (maps.debug), which are looked up as any other.
        if "." in name:
            raise refuse(errno.EPERM, f"{name}: names in bpffs have no dots")

    def names(self) -> list[str]:
        return list(reversed(self.children))  # as Linux lists directories that live in memory: the newest first

    def mkdir(self, caller: Caller, name: str, mode: int) -> Directory:
        made = BpfDir(self.sb, mode, caller.cred.uid, caller.cred.gid)
        self.add(name, made)
        return made

    def rmdir(self, caller: Caller, name: str) -> None:
        child = self.children[name]
        if isinstance(child, Directory) and child.children:
            raise refuse(errno.ENOTEMPTY, f"{name}: directory not empty")
        self.drop(name)

    def unlink(self, caller: Caller, name: str) -> None:
        self.check_name(name, creating=False)
        self.drop(name)

    def symlink(self, caller: Caller, name: str, target: str) -> None:
        self.add(name, Symlink(self.sb, target, caller.cred.uid, caller.cred.gid))

    def link(self, caller: Caller, name: str, inode: Inode) -> None:
        inode.nlink += 1
        self.add(name, inode.get())

    def rename(self, caller: Caller, name: str, to: Directory, new: str) -> None:
        self.check_name(name, creating=False)
        inode, old = self.children[name], to.children.get(new)
        if isinstance(old, Directory) and old.children:
            raise refuse(errno.ENOTEMPTY, f"{new}: directory not empty")
        if old is not None:
            to.drop(new)
        inode.get()
        inode.nlink += 1
        self.drop(name)
        to.add(new, inode)

    def pin(self, caller: Caller, name: str, obj: object) -> None:
        assert isinstance(obj, Object)
        mode = 0o600 & ~caller.umask
        self.add(name, Pin(self.fs(), obj, mode, caller.cred.uid, caller.cred.gid))


def new_bpffs(map_text: MapText, iter_open: IterOpen) -> BpfDir:
    """A fresh bpffs: its root directory, open to all as Linux mounts it (mode 1777)."""
    return BpfDir(BpfFs(map_text, iter_open), 0o1777)
