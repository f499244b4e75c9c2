"""The simulated kernel's files served to this machine's kernel: one handler a FUSE request.

The machine's kernel walks paths and checks modes and owners (default_permissions) by the attributes that we give it;
what a file system of ours refuses besides comes from the same calls that the simulated system calls make.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat
import threading
import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING

from bpfjit.errors import refuse
from runtime import FuseDevice

from ..views import OpenView
from . import fuse_wire as wire
from .fuse_callers import Callers, IdMap
from .fuse_hot import HotViews
from .fuse_nodes import Nodes, Notifier
from .inode import Directory, Inode, OpenFile, Symlink

if TYPE_CHECKING:
    from ..kernel import Kernel

_FLUSH_S = 0.05  # how long a reply waits for what it changed elsewhere to be told
_RELEVANT_FLAGS = os.O_ACCMODE | os.O_TRUNC | os.O_APPEND | os.O_DIRECTORY


class _Handle:
    """An open file or directory by number. Reads of one open file come one at a time."""

    __slots__ = ("entries", "file", "lock", "unsubscribe")

    def __init__(self, file: OpenFile) -> None:
        self.file = file
        self.lock = threading.Lock()
        self.entries: list[tuple[bytes, Inode]] | None = None
        self.unsubscribe: Callable[[], None] | None = None  # where somebody waits for what poll(2) tells

    def put(self) -> None:
        if self.unsubscribe is not None:
            self.unsubscribe()
        _put_entries(self)
        self.file.put()


_Handler = Callable[["Server", wire.Request], bytes]


class Server:
    """Requests in, replies out. `write` puts a message into the device; serve() may be called from many threads.

    `device` serves views that have been opened once; what it does not comes here.
    """

    def __init__(
        self,
        kernel: Kernel,
        write: Callable[[bytes], None],
        ids: IdMap | None = None,
        device: FuseDevice | None = None,
    ) -> None:
        self.kernel = kernel
        self.vfs = kernel.vfs
        self.ids = ids or IdMap()
        self.nodes = Nodes(self.vfs.top(self.vfs.root), self.ids)
        self.notifier = Notifier(self.nodes, write)
        self._write = write
        self._hot = HotViews(kernel, device) if device is not None else None
        self._unwatch: Callable[[], None] | None = None
        self._names = threading.Lock()  # names change one at a time
        self._handles: dict[int, _Handle] = {}
        self._numbers = itertools.count(1)
        self._callers = Callers(kernel, self.ids)

    def start(self) -> None:
        self.notifier.start(self.vfs.filesystems())
        if self._hot is not None:
            self._unwatch = self._hot.watch()

    def close(self) -> None:
        """The connection is gone: what it held is let go."""
        self.notifier.stop()
        self.notifier.join(1.0)
        if self._unwatch is not None:
            self._unwatch()
        handles, self._handles = self._handles, {}
        for handle in handles.values():
            handle.put()
        self.nodes.drop_all()

    # -- the one place where requests become calls, and OSErrors replies --------------------------------

    def serve(self, raw: bytes | memoryview) -> bytes:
        """The reply to one request; b"" where none is due. Raises nothing."""
        try:
            request = wire.parse(raw)
        except wire.Malformed as e:
            return wire.refusal(e.unique, e.errno) if e.unique else b""
        unique = request.unique
        handler = _HANDLERS.get(request.op.name)
        if handler is None:
            return wire.refusal(unique, errno.ENOSYS)
        try:
            body = handler(self, request)
        except OSError as e:
            return b"" if request.op.silent else wire.refusal(unique, e.errno or errno.EIO)
        except wire.Malformed as e:
            return wire.refusal(unique, e.errno)
        except Exception:  # a bug of ours must not leave the caller waiting for ever
            traceback.print_exc()
            return b"" if request.op.silent else wire.refusal(unique, errno.EIO)
        return b"" if request.op.silent else body if request.op.name == "init" else wire.reply(unique, body)

    # -- who, what ---------------------------------------------------------------------------------------

    def _inode(self, number: int) -> Inode:
        inode = self.nodes.find(number)
        if inode is None:
            raise refuse(errno.ESTALE, f"node {number} is unknown")
        return inode

    def _dir(self, number: int) -> Directory:
        inode = self._inode(number)
        if not isinstance(inode, Directory):
            raise refuse(errno.ENOTDIR, f"node {number} is no directory")
        return inode

    def _handle(self, number: int) -> _Handle:
        handle = self._handles.get(number)
        if handle is None:
            raise refuse(errno.EBADF, f"no open file {number}")
        return handle

    def _entry(self, directory: Directory, name: str) -> bytes:
        entry = self.nodes.entry_out(self.vfs.top(self.vfs.child(directory, name, name)))
        if not entry:
            raise refuse(errno.ENOENT, f"{name}: going away")
        return entry

    def _changing(self, change: Callable[[], None], *directories: Inode, wait: bool = False) -> None:
        """Change names as a request wants it; `wait` for what else went with them to be told before the reply."""
        self.notifier.begin(*directories)
        try:
            with self._names:
                change()
        finally:
            elsewhere = self.notifier.end()
        if wait and elsewhere:
            self.notifier.flush(_FLUSH_S)

    # -- nodes -------------------------------------------------------------------------------------------

    def lookup(self, request: wire.Request) -> bytes:
        directory, name = self._dir(request.nodeid), request.names[0]
        try:
            return self._entry(directory, name)
        except FileNotFoundError:
            if not self.kernel.follows:
                raise
            self.kernel.refresh()  # it may have come meanwhile
            return self._entry(directory, name)

    def forget(self, request: wire.Request) -> bytes:
        for number, lookups in wire.forgets(request):
            if self.nodes.forget(number, lookups) and self._hot is not None:
                self._hot.device.forget(number)
        return b""

    def getattr(self, request: wire.Request) -> bytes:
        return self.nodes.attr_out(self._inode(request.nodeid))

    def setattr(self, request: wire.Request) -> bytes:
        inode, caller, what = self._inode(request.nodeid), self._callers.of(request), f"node {request.nodeid}"
        f = request.fields
        valid = f[0]
        if valid & wire.FATTR_MODE:
            self.vfs.chmod_inode(caller, inode, f[11], what)
        if valid & (wire.FATTR_UID | wire.FATTR_GID):
            uid = self.ids.uid_in(f[13]) if valid & wire.FATTR_UID else -1
            gid = self.ids.gid_in(f[14]) if valid & wire.FATTR_GID else -1
            self.vfs.chown_inode(caller, inode, uid, gid, what)
        if valid & wire.FATTR_SIZE:
            self.vfs.truncate_inode(caller, inode, f[3], what)
        if valid & wire.FATTR_MTIME:
            inode.ctime_ns = time.time_ns()
            inode.mtime_ns = inode.ctime_ns if valid & wire.FATTR_MTIME_NOW else f[6] * 1_000_000_000 + f[9]
        return self.nodes.attr_out(inode)

    def readlink(self, request: wire.Request) -> bytes:
        inode = self._inode(request.nodeid)
        if not isinstance(inode, Symlink):
            raise refuse(errno.EINVAL, f"node {request.nodeid} is no symbolic link")
        return os.fsencode(inode.to(self._callers.of(request)))

    def access(self, request: wire.Request) -> bytes:
        if not self._inode(request.nodeid).permits(self._callers.of(request), request.fields[0] & 7):
            raise refuse(errno.EACCES, f"node {request.nodeid}: permission denied")
        return b""

    def statfs(self, request: wire.Request) -> bytes:
        return wire.STATFS_OUT.pack(0, 0, 0, len(self.nodes), 0, 4096, 255, 4096, 0)

    # -- names -------------------------------------------------------------------------------------------

    def mkdir(self, request: wire.Request) -> bytes:
        directory, caller, name = self._dir(request.nodeid), self._callers.of(request), request.names[0]

        def make() -> None:
            self.vfs.check_free(caller, directory, name, name)
            self.vfs.mkdir_in(caller, directory, name, request.fields[0] & 0o7777)

        self._changing(make, directory)
        return self._entry(directory, name)

    def mknod(self, request: wire.Request) -> bytes:
        directory, caller, name = self._dir(request.nodeid), self._callers.of(request), request.names[0]
        mode = request.fields[0]

        def make() -> None:
            self.vfs.check_free(caller, directory, name, name)
            if stat.S_ISREG(mode) or not stat.S_IFMT(mode):
                directory.mknod(caller, name, mode & 0o7777)
            else:
                directory.mkfifo(caller, name)

        self._changing(make, directory)
        return self._entry(directory, name)

    def symlink(self, request: wire.Request) -> bytes:
        directory, caller, (name, target) = self._dir(request.nodeid), self._callers.of(request), request.names
        self._changing(lambda: self.vfs.symlink_in(caller, directory, name, target, name), directory)
        return self._entry(directory, name)

    def link(self, request: wire.Request) -> bytes:
        directory, caller, name = self._dir(request.nodeid), self._callers.of(request), request.names[0]
        inode = self._inode(request.fields[0])
        self._changing(lambda: self.vfs.link_in(caller, inode, directory, name, name), directory)
        return self._entry(directory, name)

    def unlink(self, request: wire.Request) -> bytes:
        directory, caller, name = self._dir(request.nodeid), self._callers.of(request), request.names[0]
        # What is exposed in cgroups goes with its pin.
        self._changing(lambda: self.vfs.unlink_in(caller, directory, name, name), directory, wait=True)
        return b""

    def rmdir(self, request: wire.Request) -> bytes:
        directory, caller, name = self._dir(request.nodeid), self._callers.of(request), request.names[0]
        victim = self.vfs.child(directory, name, name)
        self._changing(lambda: self.vfs.rmdir_in(caller, directory, name, name), directory, victim)
        return b""

    def rename(self, request: wire.Request) -> bytes:
        from_dir, to_dir = self._dir(request.nodeid), self._dir(request.fields[0])
        flags = request.fields[1] if request.op.name == "rename2" else 0
        caller, (old, new) = self._callers.of(request), request.names
        if flags & ~wire.RENAME_NOREPLACE:
            raise refuse(errno.EINVAL, f"rename flags {flags:#x}")

        def rename() -> None:
            if flags and to_dir.lookup(new) is not None:
                raise refuse(errno.EEXIST, f"{new}: exists")
            self.vfs.rename_in(caller, from_dir, old, to_dir, new, old, new)

        self._changing(rename, from_dir, to_dir)
        return b""

    # -- open files --------------------------------------------------------------------------------------

    def _install(self, file: OpenFile) -> int:
        number = next(self._numbers)
        self._handles[number] = _Handle(file)
        return number

    def _opened(self, file: OpenFile) -> bytes:
        flags = wire.FOPEN_DIRECT_IO | wire.FOPEN_NOFLUSH | (0 if file.seekable else wire.FOPEN_NONSEEKABLE)
        return wire.OPEN_OUT.pack(self._install(file), flags, 0)

    def open(self, request: wire.Request) -> bytes:
        self.kernel.refresh()
        inode = self._inode(request.nodeid)
        if not inode.nlink:
            # The kernel walks the path again, and finds the name gone.
            raise refuse(errno.ESTALE, f"node {request.nodeid} has no name left")
        flags = request.fields[0] & _RELEVANT_FLAGS
        changes = self._hot.changes() if self._hot is not None else 0
        file = self.vfs.open_inode(self._callers.of(request), inode, flags, f"node {request.nodeid}")
        if self._hot is not None and isinstance(file, OpenView) and not flags & os.O_ACCMODE:
            with contextlib.suppress(OSError):  # what is no view says so when it is read
                self._hot.show(request.nodeid, inode, file, changes)
        return self._opened(file)

    def create(self, request: wire.Request) -> bytes:
        directory, caller, name = self._dir(request.nodeid), self._callers.of(request), request.names[0]
        flags, mode = request.fields[:2]

        def make() -> None:
            self.vfs.check_free(caller, directory, name, name)
            directory.create(caller, name, mode & 0o7777)

        self._changing(make, directory)
        inode = self.vfs.child(directory, name, name)
        file = self.vfs.open_inode(caller, inode, flags & _RELEVANT_FLAGS, name)
        return self._entry(directory, name) + self._opened(file)

    def read(self, request: wire.Request) -> bytes:
        number, offset, size = request.fields[:3]
        if number >= FuseDevice.OURS and self._hot is not None:
            return self._hot.read(number, size, offset)
        handle, caller = self._handle(number), self._callers.of(request)
        file = handle.file
        with handle.lock:
            return file.pread(caller, size, offset) if file.seekable else file.read(caller, size)

    def write(self, request: wire.Request) -> bytes:
        handle, caller = self._handle(request.fields[0]), self._callers.of(request)
        self.notifier.begin()
        try:
            with handle.lock:
                taken = handle.file.write(caller, request.data)
        finally:
            elsewhere = self.notifier.end()
        if elsewhere:  # `rm`, or a task that was moved
            self.notifier.flush(_FLUSH_S)
        return wire.WRITE_OUT.pack(taken, 0)

    def release(self, request: wire.Request) -> bytes:
        if request.fields[0] >= FuseDevice.OURS and self._hot is not None:
            self._hot.device.release(request.fields[0])
            return b""
        handle = self._handles.pop(request.fields[0], None)
        if handle is not None:
            handle.put()
        return b""

    def nothing(self, request: wire.Request) -> bytes:
        """FLUSH, FSYNC, INTERRUPT and the like: every request of ours is short, and nothing is kept back."""
        return b""

    def ioctl(self, request: wire.Request) -> bytes:
        raise refuse(errno.ENOTTY, "no file here takes an ioctl")

    def poll(self, request: wire.Request) -> bytes:
        number, kernel_handle, flags, _ = request.fields
        if number >= FuseDevice.OURS and self._hot is not None:
            return wire.POLL_OUT.pack(self._hot.ready(number), 0)
        handle = self._handle(number)
        if flags & wire.POLL_SCHEDULE_NOTIFY and handle.unsubscribe is None:
            tell = wire.notify_poll(kernel_handle)
            handle.unsubscribe = handle.file.subscribe(lambda: self._write(tell))
        return wire.POLL_OUT.pack(handle.file.ready(), 0)

    def init(self, request: wire.Request) -> bytes:
        return wire.init_reply(request)

    # -- directories -------------------------------------------------------------------------------------

    def opendir(self, request: wire.Request) -> bytes:
        self.kernel.refresh()
        directory = self._dir(request.nodeid)
        return wire.OPEN_OUT.pack(self._install(directory.open(self._callers.of(request), 0)), 0, 0)

    def _entries(self, handle: _Handle, offset: int) -> list[tuple[bytes, Inode]]:
        """The directory as it is at a reading's begin: names with their inodes, held."""
        if handle.entries is None or offset == 0:
            _put_entries(handle)
            directory = handle.file.inode
            assert isinstance(directory, Directory)
            parent = self.vfs.parent_of(directory)
            entries: list[tuple[bytes, Inode]] = []
            with self._names:
                inodes: list[tuple[bytes, Inode]] = [(b".", directory), (b"..", parent)]
                for name in directory.names():
                    found = directory.lookup(name)
                    if found is not None:
                        inodes.append((os.fsencode(name), self.vfs.top(found)))
                for raw, inode in inodes:
                    if inode.try_get():
                        entries.append((raw, inode))
            handle.entries = entries
        return handle.entries

    def readdir(self, request: wire.Request) -> bytes:
        number, offset, size = request.fields[:3]
        handle = self._handle(number)
        if not isinstance(handle.file.inode, Directory):
            raise refuse(errno.ENOTDIR, f"open file {number} is no directory")
        plus = request.op.name == "readdirplus"
        out = bytearray()
        with handle.lock:
            entries = self._entries(handle, offset)
            for i in range(offset, len(entries)):
                name, inode = entries[i]
                entry = wire.dirent(self.nodes.ino(inode), i + 1, name, self.nodes.dirent_kind(inode))
                if len(out) + len(entry) + (wire.ENTRY_OUT.size if plus else 0) > size:
                    break
                if plus:
                    # `.` and `..` are listed, and no lookups.
                    looked_up = b"" if name in (b".", b"..") else self.nodes.entry_out(inode)
                    out += looked_up or bytes(wire.ENTRY_OUT.size)
                out += entry
        return bytes(out)


def _put_entries(handle: _Handle) -> None:
    entries, handle.entries = handle.entries, None
    for _, inode in entries or ():
        inode.put()


_HANDLERS: dict[str, _Handler] = {
    "init": Server.init,
    "lookup": Server.lookup,
    "forget": Server.forget,
    "batch_forget": Server.forget,
    "getattr": Server.getattr,
    "setattr": Server.setattr,
    "readlink": Server.readlink,
    "access": Server.access,
    "statfs": Server.statfs,
    "mkdir": Server.mkdir,
    "mknod": Server.mknod,
    "symlink": Server.symlink,
    "link": Server.link,
    "unlink": Server.unlink,
    "rmdir": Server.rmdir,
    "rename": Server.rename,
    "rename2": Server.rename,
    "open": Server.open,
    "create": Server.create,
    "read": Server.read,
    "write": Server.write,
    "release": Server.release,
    "opendir": Server.opendir,
    "readdir": Server.readdir,
    "readdirplus": Server.readdir,
    "releasedir": Server.release,
    "flush": Server.nothing,
    "fsync": Server.nothing,
    "fsyncdir": Server.nothing,
    "interrupt": Server.nothing,
    "destroy": Server.nothing,
    "notify_reply": Server.nothing,
    "ioctl": Server.ioctl,
    "poll": Server.poll,
    # Extended attributes and lseek's holes: ENOSYS, and the kernel does not ask again.
}
