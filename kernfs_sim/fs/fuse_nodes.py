"""What the kernel on the other side of /dev/fuse knows of our inodes: node numbers, attributes, and when they change."""

from __future__ import annotations

import os
import queue
import stat
import threading
from collections.abc import Callable

from . import fuse_wire as wire
from .fuse_callers import IdMap
from .inode import Directory, Inode, SuperBlock

_CGROUP2 = "cgroup2"


class Nodes:
    """Inodes by node number. A number is never given twice; an inode is held until the kernel forgets it."""

    def __init__(self, root: Inode, ids: IdMap) -> None:
        self.ids = ids
        self._lock = threading.Lock()
        self._inodes: dict[int, Inode] = {}
        self._numbers: dict[Inode, int] = {}
        self._lookups: dict[int, int] = {}
        self._next = wire.ROOT_ID
        self._filesystems: dict[SuperBlock, int] = {}
        self.remember(root)

    def __len__(self) -> int:
        return len(self._inodes)

    def remember(self, inode: Inode, lookups: int = 1) -> int:
        """The inode's node number, which the kernel is about to be told; 0 for an inode that is going away."""
        with self._lock:
            number = self._numbers.get(inode)
            if number is None:
                if not inode.try_get():
                    return 0
                number = self._next
                self._next += 1
                self._inodes[number], self._numbers[inode], self._lookups[number] = inode, number, 0
            self._lookups[number] += lookups
            return number

    def forget(self, number: int, lookups: int) -> bool:
        """The kernel has dropped that many of its references; whether it knows the node no more.

        More than it had is all it had; of no node, nothing.
        """
        with self._lock:
            left = self._lookups.get(number)
            if left is None or number == wire.ROOT_ID:
                return False
            if left > lookups:
                self._lookups[number] = left - lookups
                return False
            inode = self._inodes.pop(number)
            del self._numbers[inode], self._lookups[number]
        inode.put()
        return True

    def find(self, number: int) -> Inode | None:
        return self._inodes.get(number)

    def number_of(self, inode: Inode) -> int | None:
        return self._numbers.get(inode)

    def drop_all(self) -> None:
        """The kernel is gone."""
        with self._lock:
            inodes = list(self._numbers)
            self._inodes, self._numbers, self._lookups = {}, {}, {}
        for inode in inodes:
            inode.put()

    # -- attributes ------------------------------------------------------------------------------------

    def ino(self, inode: Inode) -> int:
        """st_ino within the one mount. A cgroup's is its id, as on Linux; others are told apart by file system."""
        if inode.sb.fstype == _CGROUP2 and inode.is_dir:
            return inode.ino
        tag = self._filesystems.get(inode.sb)
        if tag is None:
            tag = self._filesystems.setdefault(inode.sb, len(self._filesystems) + 1)
        return inode.ino | tag << 48

    def attr(self, inode: Inode) -> tuple[int, ...]:
        """The fields of struct fuse_attr."""
        st, ids = inode.stat(), self.ids
        mtime, mtime_ns = divmod(st.st_mtime_ns, 1_000_000_000)
        ctime, ctime_ns = divmod(st.st_ctime_ns, 1_000_000_000)
        return (
            self.ino(inode), st.st_size, -(-st.st_size // 512), mtime, mtime, ctime, mtime_ns, mtime_ns, ctime_ns,
            st.st_mode, st.st_nlink, ids.uid_out(st.st_uid), ids.gid_out(st.st_gid), 0, 4096, 0,
        )  # fmt: skip

    def attr_out(self, inode: Inode) -> bytes:
        return wire.ATTR_OUT.pack(wire.FOREVER_S, 0, 0, *self.attr(inode))

    def entry_out(self, inode: Inode) -> bytes:
        """The reply that gives the kernel a node; b"" for an inode that is going away."""
        number = self.remember(inode)
        if not number:
            return b""
        return wire.ENTRY_OUT.pack(number, 0, wire.FOREVER_S, wire.FOREVER_S, 0, 0, *self.attr(inode))

    def dirent_kind(self, inode: Inode) -> int:
        return stat.S_IFMT(inode.mode) >> 12


class Notifier:
    """Tells the kernel what changed behind its back.

    Names and attributes are given out for good, so every change must be told. A thread of its own writes, because
    dropping a name waits for whoever works in that directory, who may in turn wait for a reply of ours.
    """

    def __init__(self, nodes: Nodes, write: Callable[[bytes], None]) -> None:
        self._nodes = nodes
        self._write = write
        self._queue: queue.SimpleQueue[bytes | threading.Event | None] = queue.SimpleQueue()
        self._own = threading.local()  # what the kernel changes itself, by the request that this thread serves
        self._thread = threading.Thread(target=self._run, name="fuse-notify", daemon=True)
        self._watched: list[SuperBlock] = []

    def start(self, filesystems: list[SuperBlock]) -> None:
        self._thread.start()
        for sb in filesystems:
            sb.on_add.append(self._added)
            sb.on_drop.append(self._dropped)
            sb.on_chattr.append(self._changed)
            self._watched.append(sb)

    def stop(self) -> None:
        for sb in self._watched:
            sb.on_add.remove(self._added)
            sb.on_drop.remove(self._dropped)
            sb.on_chattr.remove(self._changed)
        self._watched = []
        self._queue.put(None)

    def join(self, seconds: float) -> None:
        if self._thread.is_alive():
            self._thread.join(seconds)

    def begin(self, *directories: Inode) -> None:
        """This thread serves a request that changes these directories: the kernel has them locked, and knows."""
        self._own.directories = directories
        self._own.told = False

    def end(self) -> bool:
        """That request is done; whether it changed anything elsewhere."""
        self._own.directories = ()
        return bool(getattr(self._own, "told", False))

    def flush(self, seconds: float) -> bool:
        """Wait until all that has changed so far has been told; False where that took longer."""
        done = threading.Event()
        self._queue.put(done)
        return done.wait(seconds)

    def _tell(self, message: bytes) -> None:
        self._own.told = True
        self._queue.put(message)

    def _added(self, directory: Directory, name: str) -> None:
        # Names that are not there are not remembered by the kernel; only the directory's attributes are stale.
        if directory in getattr(self._own, "directories", ()):
            return
        number = self._nodes.number_of(directory)
        if number is not None:
            self._tell(wire.inval_inode(number))

    def _dropped(self, directory: Directory, name: str) -> None:
        if directory in getattr(self._own, "directories", ()):
            return
        number = self._nodes.number_of(directory)
        if number is not None:
            self._tell(wire.inval_entry(number, os.fsencode(name)))
            self._tell(wire.inval_inode(number))

    def _changed(self, inode: Inode) -> None:
        number = self._nodes.number_of(inode)
        if number is not None:
            self._tell(wire.inval_inode(number))

    def _run(self) -> None:
        while True:
            item = self._queue.get()
            if item is None:
                return
            if isinstance(item, threading.Event):
                item.set()
            else:
                self._write(item)
