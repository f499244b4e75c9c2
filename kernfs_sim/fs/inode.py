"""Inodes, open files, and watching an inode's end.

An inode lives as long as a name or an open file refers to it. What must happen when it goes is registered
with watch(): the mechanism that the RFC builds on fsnotify marks, usable by any file system.
"""

from __future__ import annotations

import errno
import itertools
import stat
import threading
import time
from collections.abc import Callable
from typing import Any

from bpfjit.dataclass import dataclass
from bpfjit.errors import refuse
from runtime import KernelHandle, ffi

from ..caller import CAP_DAC_OVERRIDE, Caller

MAY_EXEC, MAY_WRITE, MAY_READ = 1, 2, 4
O_ACCMODE, O_WRONLY, O_RDWR, O_CREAT, O_EXCL, O_TRUNC, O_DIRECTORY = 3, 1, 2, 0o100, 0o200, 0o1000, 0o200000
READ_BYTES = 1 << 16
POLLPRI, POLLERR = 0x2, 0x8
READY = 0x145  # POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM: a regular file never blocks


@dataclass(frozen=True, slots=True)
class Stat:
    """What stat(2) tells; times in ns."""

    st_ino: int
    st_mode: int
    st_nlink: int
    st_uid: int
    st_gid: int
    st_size: int
    st_mtime_ns: int
    st_ctime_ns: int


class SuperBlock:
    """A mounted file system: its magic number, inode numbers, and who is told when a name comes or goes.

    `on_add` and `on_drop` are called with the directory and the name, once it is there or gone; `on_chattr` with an inode
    whose mode or owner has changed.
    """

    def __init__(self, fstype: str, magic: int, *, eventful: bool = True) -> None:
        self.fstype = fstype
        self.eventful = eventful  # whether those who poll(2) its files hear of changes, as in a kernfs
        self.magic = magic
        self.changing = threading.RLock()  # held while names are taken away or exchanged
        self.on_add: list[Callable[[Directory, str], None]] = []
        self.on_drop: list[Callable[[Directory, str], None]] = []
        self.on_chattr: list[Callable[[Inode], None]] = []
        self._inos = itertools.count(2)

    def new_ino(self) -> int:
        return next(self._inos)


class Inode:
    """A file of any kind; subclasses say what it does. Operations that a kind does not have raise EPERM or EINVAL."""

    event = 0  # counts what pollers are told of

    def __init__(self, sb: SuperBlock, mode: int, uid: int = 0, gid: int = 0, ino: int | None = None) -> None:
        self.sb = sb
        self.ino = sb.new_ino() if ino is None else ino
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.nlink = 1
        self.refs = 1
        self.freeing = False
        self.mtime_ns = self.ctime_ns = time.time_ns()
        self._watches: list[Callable[[Inode], None]] | None = None
        self._node: Any = None  # the struct inode
        self._free_node: Callable[[], None] | None = None

    # -- life ----------------------------------------------------------------------------------------

    def get(self) -> Inode:
        # The interpreter switches threads between statements, never inside `+=` of an attribute.
        assert not self.freeing, f"inode {self.ino} of {self.sb.fstype} is being freed"
        self.refs += 1
        return self

    def try_get(self) -> bool:
        """A reference, unless the inode is being freed: for those who found it by no name."""
        if self.freeing:
            return False
        self.refs += 1
        return True

    def put(self) -> None:
        self.refs -= 1
        if not self.refs:
            self.freeing = True
            while self._watches:
                self._watches.pop(0)(self)
            self.free()
            if self._free_node is not None:
                self._free_node()

    def watch(self, on_free: Callable[[Inode], None]) -> None:
        """Call `on_free(inode)` once, when the inode is about to be freed; several watches in order of arrival."""
        assert not self.freeing, f"inode {self.ino} of {self.sb.fstype} is being freed"
        if self._watches is None:
            self._watches = []
        self._watches.append(on_free)

    def unwatch(self, on_free: Callable[[Inode], None]) -> None:
        """Take a watch back; one that is not there is no error."""
        if self._watches and on_free in self._watches:
            self._watches.remove(on_free)

    def structure(self, native: KernelHandle) -> Any:
        """The struct inode by which programs and local storage know the file; made when it is first asked for."""
        if self._node is None:
            node = native.new("struct inode")
            node.i_ino, node.i_mode, node.i_nlink = self.ino, self.mode, self.nlink
            node.i_uid.val, node.i_gid.val = self.uid, self.gid
            self._node = node
            self._free_node = lambda: native.free(node, ffi.sizeof("struct inode"))
        return self._node

    def free(self) -> None:
        """The last name and the last open file are gone."""

    # -- attributes ----------------------------------------------------------------------------------

    @property
    def is_dir(self) -> bool:
        return stat.S_ISDIR(self.mode)

    def size(self) -> int:
        return 0

    def stat(self) -> Stat:
        return Stat(self.ino, self.mode, self.nlink, self.uid, self.gid, self.size(), self.mtime_ns, self.ctime_ns)

    def permits(self, caller: Caller, want: int) -> bool:
        """Mode bits against the caller's ids (CAP_DAC_OVERRIDE passes)."""
        cred = caller.cred
        if CAP_DAC_OVERRIDE in cred.capabilities:
            return True
        shift = 6 if cred.uid == self.uid else 3 if self.gid == cred.gid or self.gid in cred.groups else 0
        return (self.mode >> shift) & want == want

    def chmod(self, mode: int) -> None:
        self.mode = stat.S_IFMT(self.mode) | (mode & 0o7777)
        self._changed()

    def _changed(self) -> None:
        self.ctime_ns = time.time_ns()
        for tell in self.sb.on_chattr:
            tell(self)

    def chown(self, uid: int, gid: int) -> None:
        """A new owner (-1 keeps); a file loses its set-id bits, as for everyone on Linux."""
        self.uid = self.uid if uid < 0 else uid
        self.gid = self.gid if gid < 0 else gid
        if not self.is_dir:
            self.mode &= ~stat.S_ISUID
            if self.mode & stat.S_IXGRP:
                self.mode &= ~stat.S_ISGID
        self._changed()

    # -- operations ----------------------------------------------------------------------------------

    def open(self, caller: Caller, flags: int) -> OpenFile:
        raise refuse(errno.EIO, f"inode {self.ino} of {self.sb.fstype} cannot be opened")

    def read_whole(self, caller: Caller) -> bytes:
        """open, read to the end, close: for files that have a shorter way to the same."""
        file = self.open(caller, 0)
        try:
            return file.read_all(caller)
        finally:
            file.put()

    def truncate(self, size: int) -> None:
        raise refuse(errno.EINVAL, f"inode {self.ino} of {self.sb.fstype} cannot be truncated")


class OpenFile:
    """An open file description: position, flags, the inode (None for anonymous files). Kinds override read and write."""

    __slots__ = ("flags", "inode", "pos", "refs", "seen")
    seekable = True  # whether reads may be at any position

    def __init__(self, inode: Inode | None, flags: int) -> None:
        if inode is not None and not inode.try_get():
            raise refuse(errno.ENOENT, f"inode {inode.ino} of {inode.sb.fstype} has gone since its name was looked up")
        self.inode = inode
        self.flags = flags
        self.pos = 0
        self.refs = 1
        self.seen = 0  # the inode's event that the last read has shown

    def get(self) -> OpenFile:
        self.refs += 1
        return self

    def put(self) -> None:
        self.refs -= 1
        if not self.refs:
            self.release()
            inode, self.inode = self.inode, None
            if inode is not None:
                inode.put()

    def release(self) -> None:
        """The last fd is closed."""

    def ready(self) -> int:
        """What poll(2) finds at once: POLL* bits. POLLPRI and POLLERR: the file has not been read since it changed."""
        return READY if self.inode is None or self.inode.event == self.seen else READY | POLLPRI | POLLERR

    def subscribe(self, tell: Callable[[], None]) -> Callable[[], None]:
        """Call `tell()` whenever ready() may say more than before; what this returns ends it."""
        return lambda: None

    def wait(self, events: int = READY | POLLPRI, timeout_ms: int = 0) -> int:
        """poll(2) of this file alone: those of `events` (and POLLERR) that there are, 0 when the time is over.

        timeout_ms: negative waits for ever.
        """
        changed = threading.Event()
        end_it = self.subscribe(changed.set)
        try:
            end = time.monotonic() + timeout_ms / 1000
            while not (found := self.ready() & (events | POLLERR)):
                if not changed.wait(None if timeout_ms < 0 else max(0.0, end - time.monotonic())):
                    return self.ready() & (events | POLLERR)  # there is that of which nobody is told
                changed.clear()
            return found
        finally:
            end_it()

    @property
    def readable(self) -> bool:
        return self.flags & O_ACCMODE != O_WRONLY

    @property
    def writable(self) -> bool:
        return self.flags & O_ACCMODE in (O_WRONLY, O_RDWR)

    def read(self, caller: Caller, size: int) -> bytes:
        """Read at the file's position, which moves. Raises EBADF for a file not open for reading."""
        if not self.readable:
            raise refuse(errno.EBADF, "file is not open for reading")
        data = self.pread(caller, size, self.pos)
        self.pos += len(data)
        return data

    def read_all(self, caller: Caller) -> bytes:
        """From the position to the end: a short read is not the end of every file, only an empty one is."""
        parts = []
        while data := self.read(caller, READ_BYTES):
            parts.append(data)
        return b"".join(parts)

    def pread(self, caller: Caller, size: int, pos: int) -> bytes:
        raise refuse(errno.EINVAL, "file cannot be read")

    def write(self, caller: Caller, data: bytes) -> int:
        """The bytes taken. Raises EBADF for a file not open for writing, EINVAL for one that takes none."""
        raise refuse(errno.EINVAL if self.writable else errno.EBADF, "file cannot be written")

    def lseek(self, pos: int) -> int:
        if pos < 0:
            raise refuse(errno.EINVAL, f"position {pos}")
        self.pos = pos
        return pos

    def fdinfo(self) -> str:
        """The lines of /proc/PID/fdinfo/N."""
        ino = self.inode.ino if self.inode is not None else 0
        return f"pos:\t{self.pos}\nflags:\t0{self.flags | 0o100000:o}\nmnt_id:\t1\nino:\t{ino}\n"


class TextFile(OpenFile):
    """A file whose whole text is made when it is first read, and anew when reading does not go on where it was."""

    __slots__ = ("_make", "_next", "_text")

    def __init__(self, inode: Inode | None, flags: int, make: Callable[[], bytes]) -> None:
        super().__init__(inode, flags)
        self._make = make
        self._text: bytes | None = None
        self._next = 0

    def pread(self, caller: Caller, size: int, pos: int) -> bytes:
        if not size:
            return b""
        if pos == 0 or self._text is None or pos != self._next:
            event = self.inode.event if self.inode is not None else 0
            self._text = self._make()
            if self._text:  # a list of nothing shows nothing: whoever polls is told again
                self.seen = event
        data = self._text[pos : pos + size]
        self._next = pos + len(data)
        return data


class Directory(Inode):
    """A directory with its children in memory, in order of creation."""

    def __init__(self, sb: SuperBlock, mode: int, uid: int = 0, gid: int = 0, ino: int | None = None) -> None:
        super().__init__(sb, stat.S_IFDIR | mode, uid, gid, ino)
        self.nlink = 2
        self.children: dict[str, Inode] = {}
        self.parent: Directory | None = None

    def lookup(self, name: str) -> Inode | None:
        return self.children.get(name)

    def add(self, name: str, inode: Inode) -> None:
        """Give an inode a name here; the name takes over the caller's reference. Raises EEXIST for a taken name."""
        if self.lookup(name) is not None:
            raise refuse(errno.EEXIST, f"{name}: exists in this directory of {self.sb.fstype}")
        if self.children.setdefault(name, inode) is not inode:  # two threads found the name free
            raise refuse(errno.EEXIST, f"{name}: exists in this directory of {self.sb.fstype}")
        self.mtime_ns = inode.ctime_ns
        if isinstance(inode, Directory):
            inode.parent = self
            self.nlink += 1
        for tell in self.sb.on_add:
            tell(self, name)

    def drop(self, name: str) -> None:
        """Take a name away, and with it a reference."""
        inode = self.children.pop(name)
        for tell in self.sb.on_drop:
            tell(self, name)
        self.mtime_ns = inode.ctime_ns = time.time_ns()
        inode.nlink -= 1
        if isinstance(inode, Directory):
            self.nlink -= 1
        inode.put()

    def names(self) -> list[str]:
        return list(self.children)

    # What a directory refuses unless its file system says otherwise.

    def check_name(self, name: str, *, creating: bool) -> None:
        """Raises for names that this file system does not take."""

    def create(self, caller: Caller, name: str, mode: int) -> Inode:
        raise refuse(errno.EACCES, f"{name}: {self.sb.fstype} has no plain files to create")

    def mknod(self, caller: Caller, name: str, mode: int) -> None:
        """A plain file by mknod(2): as create(), in file systems that do not tell the two apart."""
        self.create(caller, name, mode)

    def mkdir(self, caller: Caller, name: str, mode: int) -> Directory:
        raise refuse(errno.EPERM, f"{name}: no directories can be made in {self.sb.fstype}")

    def rmdir(self, caller: Caller, name: str) -> None:
        raise refuse(errno.EPERM, f"{name}: no directories can be removed from {self.sb.fstype}")

    def unlink(self, caller: Caller, name: str) -> None:
        raise refuse(errno.EPERM, f"{name}: no files can be removed from {self.sb.fstype}")

    def symlink(self, caller: Caller, name: str, target: str) -> None:
        raise refuse(errno.EPERM, f"{name}: no links can be made in {self.sb.fstype}")

    def link(self, caller: Caller, name: str, inode: Inode) -> None:
        raise refuse(errno.EPERM, f"{name}: no links can be made in {self.sb.fstype}")

    def mkfifo(self, caller: Caller, name: str) -> None:
        raise refuse(errno.EPERM, f"{name}: no special files can be made in {self.sb.fstype}")

    def rename(self, caller: Caller, name: str, to: Directory, new: str) -> None:
        raise refuse(errno.EPERM, f"{name}: nothing can be renamed in {self.sb.fstype}")

    def pin(self, caller: Caller, name: str, obj: object) -> None:
        """BPF_OBJ_PIN here."""
        raise refuse(errno.EPERM, f"pin {name}: {self.sb.fstype} is neither bpffs nor kernfs")

    def open(self, caller: Caller, flags: int) -> OpenFile:
        if flags & O_ACCMODE:
            raise refuse(errno.EISDIR, "directory opened for writing")
        return OpenDirectory(self, flags)


class OpenDirectory(OpenFile):
    __slots__ = ()

    def pread(self, caller: Caller, size: int, pos: int) -> bytes:
        raise refuse(errno.EISDIR, "a directory is not read as a file")


class Symlink(Inode):
    def __init__(self, sb: SuperBlock, target: str, uid: int = 0, gid: int = 0) -> None:
        super().__init__(sb, stat.S_IFLNK | 0o777, uid, gid)
        self.target = target

    def to(self, caller: Caller) -> str:
        """Where it leads who follows it. Raises OSError where it leads this caller nowhere."""
        return self.target

    def size(self) -> int:
        return len(self.target.encode(errors="surrogateescape"))
