"""A process's open files as programs see them: files_struct, its fdtable, files, dentries and inodes."""

from __future__ import annotations

import errno
import os
import stat
from typing import Any

from bpfjit.dataclass import dataclass
from bpfjit.errors import refuse
from runtime import KernelHandle, ffi

_FIRST_FDS = 64  # what a table has room for at first
_MAX_FD = 1 << 20
FMODE_READ, FMODE_WRITE = 1, 2
O_ACCMODE, O_WRONLY, O_RDWR = 3, 1, 2


@dataclass(frozen=True, slots=True)
class FileRow:
    """One open file. path: as readlink of /proc/PID/fd/N shows it ("/etc/passwd", "socket:[12]"); dev: st_dev's number."""

    path: str
    flags: int = 0
    pos: int = 0
    ino: int = 0
    mode: int = stat.S_IFREG | 0o644
    dev: int = 0
    size: int = 0
    uid: int = 0
    gid: int = 0

    @property
    def identity(self) -> tuple[str, int, int]:
        """What makes it the same file at another time."""
        return self.path, self.dev, self.ino

    @property
    def kernel_dev(self) -> int:
        """dev_t as the kernel has it: 12 bits of major above 20 of minor."""
        return os.major(self.dev) << 20 | os.minor(self.dev)


class Held:
    """Structures on the native heap that go together."""

    def __init__(self, native: KernelHandle) -> None:
        self.native = native
        self._made: dict[Any, int] = {}  # with the bytes of each

    def new(self, ctype: str, extra_bytes: int = 0) -> Any:
        made = self.native.new(ctype, extra_bytes)
        self._made[made] = ffi.sizeof(ctype) + extra_bytes
        return made

    def string(self, text: bytes) -> Any:
        made = self.native.string(text)
        self._made[made] = len(text) + 1
        return made

    def release(self, obj: Any) -> None:
        """One of them goes before the others."""
        self.native.free(obj, self._made.pop(obj))

    def free(self) -> None:
        for obj, size in self._made.items():
            self.native.free(obj, size)
        self._made = {}


class KernelFile(Held):
    """A struct file (`c`) with its own inode and the dentries of its path: what d_path() walks."""

    def __init__(self, native: KernelHandle, row: FileRow, inode: Any = None) -> None:
        super().__init__(native)
        self.refs = 1
        f = self.c = self.new("struct file")
        sb = self.new("struct super_block")
        sb.s_dev = row.kernel_dev
        node = self.new("struct inode") if inode is None else inode
        node.i_ino, node.i_sb, node.i_nlink = row.ino, sb, 1
        f.f_inode = node
        self.update(row)
        mount = self.new("struct vfsmount")
        f.f_path.mnt, mount.mnt_sb = mount, sb
        f.f_path.dentry = self._dentries(row.path, sb, mount)
        f.f_path.dentry.d_inode = node

    def update(self, row: FileRow) -> None:
        """The file has other figures by now; it is still the one of that path, device and inode."""
        self.row = row
        f, node, access = self.c, self.c.f_inode, row.flags & O_ACCMODE
        f.f_flags, f.f_pos = row.flags, row.pos
        f.f_mode = (FMODE_READ if access != O_WRONLY else 0) | (FMODE_WRITE if access in (O_WRONLY, O_RDWR) else 0)
        node.i_mode, node.i_size = row.mode, row.size
        node.i_uid.val, node.i_gid.val = row.uid, row.gid

    def _dentries(self, path: str, sb: Any, mount: Any) -> Any:
        """The chain of dentries that spells a path; one alone, its own parent and no root, for what has a name only."""
        if not path.startswith("/"):
            lone = self._dentry(path, sb, None)
            mount.mnt_root = ffi.NULL
            return lone
        at = mount.mnt_root = sb.s_root = self._dentry("/", sb, None)
        for name in path.split("/"):
            if name:
                at = self._dentry(name, sb, at)
        return at

    def _dentry(self, name: str, sb: Any, parent: Any) -> Any:
        raw = os.fsencode(name)
        d = self.new("struct dentry")
        d.d_name.len, d.d_name.name = len(raw), ffi.cast("unsigned char *", self.string(raw))
        d.d_parent, d.d_sb = parent if parent is not None else d, sb
        return d

    def get(self) -> KernelFile:
        self.refs += 1
        return self

    def put(self) -> None:
        self.refs -= 1
        if not self.refs:
            self.free()


class TaskFiles(Held):
    """The files of a process, by fd; its structures are made with the first one. Shared by its threads."""

    def __init__(self, native: KernelHandle) -> None:
        super().__init__(native)
        self.by_fd: dict[int, KernelFile] = {}
        self.c: Any = None
        self._tasks: list[Any] = []

    def share(self, task: Any) -> None:
        """One more thread (a struct task_struct) has these files."""
        self._tasks.append(task)
        if self.c is not None:
            task.files = self.c

    def leave(self, task: Any) -> None:
        """A thread has gone; with the last one all files are closed."""
        self._tasks.remove(task)
        if not self._tasks:
            for file in self.by_fd.values():
                file.put()
            self.by_fd = {}
            self.free()

    def open(self, row: FileRow, fd: int | None = None) -> int:
        """A new file at `fd`, or at the lowest number that is free. Raises EEXIST, EMFILE."""
        return self.install(KernelFile(self.native, row), fd)

    def install(self, file: KernelFile, fd: int | None = None) -> int:
        """A file that was made already, whose reference the table takes over."""
        if fd is None:
            fd = next(i for i in range(_MAX_FD) if i not in self.by_fd)
        if not 0 <= fd < _MAX_FD:
            raise refuse(errno.EMFILE, f"fd {fd}, wanted 0 to {_MAX_FD - 1}")
        if fd in self.by_fd:
            raise refuse(errno.EEXIST, f"fd {fd} is open")
        self.by_fd[fd] = file
        if self.c is None:
            self.c = self.new("struct files_struct")
            self._table(_FIRST_FDS)
            for task in self._tasks:
                task.files = self.c
        if fd >= self.c.fdt.max_fds:
            self._table(1 << fd.bit_length())
        self.c.fdt.fd[fd] = file.c
        return fd

    def _table(self, room: int) -> None:
        """A larger fdtable in place of the one there is, which readers may still be walking."""
        table = self.new("struct fdtable")
        table.max_fds = room
        slots = self.native.string(bytes(8 * room))
        self._made[slots] = 8 * room + 1
        table.fd = ffi.cast("struct file **", slots)
        for fd, file in self.by_fd.items():
            if fd < room:
                table.fd[fd] = file.c
        self.c.fdt = table

    def close(self, fd: int) -> None:
        """Raises EBADF."""
        file = self.by_fd.pop(fd, None)
        if file is None:
            raise refuse(errno.EBADF, f"fd {fd} is not open")
        self.c.fdt.fd[fd] = ffi.NULL
        file.put()

    def close_all(self) -> None:
        for fd in list(self.by_fd):
            self.close(fd)
