"""Paths: mounts, the walk from a path to an inode, and the system calls on files."""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable

from bpfjit.errors import refuse

from ..caller import Caller
from .inode import (
    MAY_EXEC,
    MAY_READ,
    MAY_WRITE,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_TRUNC,
    Directory,
    Inode,
    OpenFile,
    Stat,
    SuperBlock,
    Symlink,
)

_MAX_LINKS = 40
_NAME_MAX = 255
_PATH_MAX = 4096


class RootFs(Directory):
    """The plain file system at /: directories to mount on."""

    def mkdir(self, caller: Caller, name: str, mode: int) -> Directory:
        made = RootFs(self.sb, mode)
        self.add(name, made)
        return made


class Vfs:
    """One mount namespace."""

    def __init__(self) -> None:
        self.root: Directory = RootFs(SuperBlock("rootfs", 0x858458F6), 0o755)
        self._mounts: dict[Inode, Directory] = {}
        self._covers: dict[Directory, Directory] = {}
        # Paths that root walked before; any change of names, modes or mounts empties it.
        self._walked: dict[str, Inode] = {}

    def mount(self, caller: Caller, path: str, root: Directory) -> None:
        """Mount a file system's root on a directory. Raises EBUSY where one is mounted."""
        at = self.lookup(caller, path)
        if not isinstance(at, Directory):
            raise refuse(errno.ENOTDIR, f"{path} is no directory")
        if at in self._covers or at in self._mounts:
            raise refuse(errno.EBUSY, f"{path} has a file system mounted already")
        self._mounts[at] = root
        self._covers[root] = at
        self.changed()

    def changed(self) -> None:
        self._walked.clear()

    # -- the walk ------------------------------------------------------------------------------------

    def lookup(self, caller: Caller, path: str, *, follow: bool = True) -> Inode:
        """The inode a path names. Raises ENOENT, ENOTDIR, EACCES, ELOOP, ENAMETOOLONG."""
        privileged = caller.cred.uid == 0
        if privileged and follow:
            found = self._walked.get(path)
            if found is not None:
                return found
        inode = self._walk(caller, path, follow, 0)
        if privileged and follow:
            self._walked[path] = inode
        return inode

    def _walk(self, caller: Caller, path: str, follow: bool, links: int) -> Inode:
        if not path.startswith("/"):
            raise refuse(errno.ENOENT, f"{path!r}: paths begin with /")
        if len(path) >= _PATH_MAX:
            raise refuse(errno.ENAMETOOLONG, f"path of {len(path)} characters")
        at: Inode = self._mounts.get(self.root, self.root)
        parts = [p for p in path.split("/") if p and p != "."]
        for i, name in enumerate(parts):
            if not isinstance(at, Directory):
                raise refuse(errno.ENOTDIR, f"{path}: {parts[i - 1]} is no directory")
            if not at.permits(caller, MAY_EXEC):
                raise refuse(errno.EACCES, f"{path}: permission denied at {name}")
            if name == "..":
                at = self._parent(at)
                continue
            if len(name) > _NAME_MAX:
                raise refuse(errno.ENAMETOOLONG, f"name of {len(name)} characters")
            child = at.lookup(name)
            if child is None:
                at.check_name(name, creating=False)
                raise refuse(errno.ENOENT, f"{path}: no such file or directory")
            if isinstance(child, Symlink) and (follow or i < len(parts) - 1):
                if links >= _MAX_LINKS:
                    raise refuse(errno.ELOOP, f"{path}: too many symbolic links")
                base = "" if child.target.startswith("/") else "/" + "/".join(parts[:i]) + "/"
                rest = "/".join(parts[i + 1 :])
                return self._walk(caller, f"{base}{child.target}/{rest}", follow, links + 1)
            at = self._mounts.get(child, child)
        return at

    def _parent(self, at: Directory) -> Directory:
        covered = self._covers.get(at, at)
        return covered.parent or covered

    def parent_of(self, caller: Caller, path: str) -> tuple[Directory, str]:
        """The directory that a path's last name is (or would be) in. Raises as lookup()."""
        head, _, name = path.rstrip("/").rpartition("/")
        if not name or name in (".", ".."):
            raise refuse(
                errno.EEXIST if name in (".", "..") or path.strip("/") == "" else errno.ENOENT, f"{path!r}: no name"
            )
        if len(name) > _NAME_MAX:
            raise refuse(errno.ENAMETOOLONG, f"name of {len(name)} characters")
        directory = self.lookup(caller, head or "/")
        if not isinstance(directory, Directory):
            raise refuse(errno.ENOTDIR, f"{head} is no directory")
        return directory, name

    def _free_name(self, caller: Caller, path: str) -> tuple[Directory, str]:
        """As parent_of(), for a name to be made: it must be free and the directory writable."""
        directory, name = self.parent_of(caller, path)
        if not directory.permits(caller, MAY_EXEC):
            raise refuse(errno.EACCES, f"{path}: permission denied")
        if directory.lookup(name) is not None:
            raise refuse(errno.EEXIST, f"{path}: exists")
        directory.check_name(name, creating=True)
        if not directory.permits(caller, MAY_WRITE):
            raise refuse(errno.EACCES, f"{path}: permission denied")
        return directory, name

    def _taken_name(self, caller: Caller, path: str) -> tuple[Directory, str, Inode]:
        directory, name = self.parent_of(caller, path)
        inode = directory.lookup(name)
        if inode is None:
            directory.check_name(name, creating=False)
            raise refuse(errno.ENOENT, f"{path}: no such file or directory")
        if not directory.permits(caller, MAY_WRITE | MAY_EXEC):
            raise refuse(errno.EACCES, f"{path}: permission denied")
        sticky = directory.mode & stat.S_ISVTX and caller.cred.uid not in (0, inode.uid, directory.uid)
        if sticky:
            raise refuse(errno.EPERM, f"{path}: not the owner in a sticky directory")
        return directory, name, inode

    # -- system calls --------------------------------------------------------------------------------

    def open(self, caller: Caller, path: str, flags: int = 0, mode: int = 0o666) -> OpenFile:
        """open(2). Raises OSError."""
        try:
            inode = self.lookup(caller, path)
        except FileNotFoundError:
            if not flags & O_CREAT:
                raise
            directory, name = self._free_name(caller, path)
            inode = directory.create(caller, name, mode & ~caller.umask)
            self.changed()
        else:
            if flags & O_CREAT and flags & O_EXCL:
                raise refuse(errno.EEXIST, f"{path}: exists")
        access = flags & 3
        want = (MAY_READ if access != 1 else 0) | (MAY_WRITE if access else 0)
        if not inode.permits(caller, want):
            raise refuse(errno.EACCES, f"{path}: permission denied")
        if flags & O_DIRECTORY and not inode.is_dir:
            raise refuse(errno.ENOTDIR, f"{path} is no directory")
        if flags & O_TRUNC and not inode.is_dir:
            inode.truncate(0)
        return inode.open(caller, flags)

    def stat(self, caller: Caller, path: str, *, follow: bool = True) -> Stat:
        return self.lookup(caller, path, follow=follow).stat()

    def statfs(self, caller: Caller, path: str) -> int:
        """The file system's magic number (f_type)."""
        return self.lookup(caller, path).sb.magic

    def readdir(self, caller: Caller, path: str) -> list[str]:
        """Names in a directory, `.` and `..` left out."""
        inode = self.lookup(caller, path)
        if not isinstance(inode, Directory):
            raise refuse(errno.ENOTDIR, f"{path} is no directory")
        if not inode.permits(caller, MAY_READ):
            raise refuse(errno.EACCES, f"{path}: permission denied")
        return inode.names()

    def readlink(self, caller: Caller, path: str) -> str:
        inode = self.lookup(caller, path, follow=False)
        if not isinstance(inode, Symlink):
            raise refuse(errno.EINVAL, f"{path} is no symbolic link")
        return inode.target

    def _change(self, change: Callable[[], None]) -> None:
        try:
            change()
        finally:
            self.changed()

    def mkdir(self, caller: Caller, path: str, mode: int = 0o777) -> None:
        directory, name = self._free_name(caller, path)
        self._change(lambda: void(directory.mkdir(caller, name, mode & ~caller.umask)))

    def rmdir(self, caller: Caller, path: str) -> None:
        directory, name, inode = self._taken_name(caller, path)
        if not isinstance(inode, Directory):
            raise refuse(errno.ENOTDIR, f"{path} is no directory")
        if inode in self._mounts:
            raise refuse(errno.EBUSY, f"{path} is a mount point")
        self._change(lambda: directory.rmdir(caller, name))

    def unlink(self, caller: Caller, path: str) -> None:
        directory, name, inode = self._taken_name(caller, path)
        if inode.is_dir:
            raise refuse(errno.EISDIR, f"{path} is a directory")
        self._change(lambda: directory.unlink(caller, name))

    def symlink(self, caller: Caller, target: str, path: str) -> None:
        directory, name = self._free_name(caller, path)
        self._change(lambda: directory.symlink(caller, name, target))

    def link(self, caller: Caller, old: str, new: str) -> None:
        inode = self.lookup(caller, old, follow=False)
        directory, name = self._free_name(caller, new)
        if inode.sb is not directory.sb:
            raise refuse(errno.EXDEV, f"{new}: another file system than {old}")
        if inode.is_dir:
            raise refuse(errno.EPERM, f"{old} is a directory")
        self._change(lambda: directory.link(caller, name, inode))

    def mkfifo(self, caller: Caller, path: str) -> None:
        directory, name = self._free_name(caller, path)
        self._change(lambda: directory.mkfifo(caller, name))

    def mknod(self, caller: Caller, path: str, mode: int = 0o600) -> None:
        """mknod(2) of a regular file."""
        directory, name = self._free_name(caller, path)
        self._change(lambda: void(directory.create(caller, name, mode)))

    def rename(self, caller: Caller, old: str, new: str) -> None:
        directory, name, inode = self._taken_name(caller, old)
        to, new_name = self.parent_of(caller, new)
        if inode.sb is not to.sb:
            raise refuse(errno.EXDEV, f"{new}: another file system than {old}")
        if to.lookup(new_name) is None:
            to.check_name(new_name, creating=True)
        if not to.permits(caller, MAY_WRITE | MAY_EXEC):
            raise refuse(errno.EACCES, f"{new}: permission denied")
        self._change(lambda: directory.rename(caller, name, to, new_name))

    def truncate(self, caller: Caller, path: str, size: int) -> None:
        inode = self.lookup(caller, path)
        if not inode.permits(caller, MAY_WRITE):
            raise refuse(errno.EACCES, f"{path}: permission denied")
        inode.truncate(size)

    def chmod(self, caller: Caller, path: str, mode: int) -> None:
        inode = self.lookup(caller, path)
        if caller.cred.uid not in (0, inode.uid):
            raise refuse(errno.EPERM, f"{path}: not the owner")
        self._change(lambda: inode.chmod(mode))

    def chown(self, caller: Caller, path: str, uid: int, gid: int) -> None:
        inode = self.lookup(caller, path)
        if caller.cred.uid != 0:
            raise refuse(errno.EPERM, f"{path}: only root changes owners")
        self._change(lambda: inode.chown(uid, gid))

    def pin(self, caller: Caller, path: str, obj: object) -> None:
        """BPF_OBJ_PIN: a name for a BPF object."""
        directory, name = self._free_name(caller, path)
        self._change(lambda: directory.pin(caller, name, obj))


def void(_: object) -> None:
    """For calls whose result is of no use here."""
