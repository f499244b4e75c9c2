"""Paths: mounts, the walk from a path to an inode, and the system calls on files."""

from __future__ import annotations

import errno
import os
import stat

from bpfjit.errors import refuse

from ..caller import CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, Caller
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
        made = RootFs(self.sb, mode, caller.cred.uid, caller.cred.gid)
        self.add(name, made)
        return made


class Vfs:
    """One mount namespace."""

    def __init__(self) -> None:
        self.root: Directory = RootFs(SuperBlock("rootfs", 0x858458F6), 0o755)
        self._mounts: dict[Inode, Directory] = {}
        self._covers: dict[Directory, Directory] = {}
        # Paths that were walked before by someone who may search every directory; emptied when a name goes.
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
        root.sb.on_drop.append(self.changed)
        self.changed()

    def changed(self) -> None:
        """A name was taken away or covered."""
        self._walked.clear()

    # -- the walk ------------------------------------------------------------------------------------

    def lookup(self, caller: Caller, path: str, *, follow: bool = True, at: Inode | None = None) -> Inode:
        """The inode a path names; one that does not begin with / is walked from `at`.

        Raises ENOENT, ENOTDIR, EACCES, ELOOP, ENAMETOOLONG.
        """
        if at is None and follow and CAP_DAC_OVERRIDE in caller.cred.capabilities:
            found = self._walked.get(path)
            if found is None:
                found = self._walked[path] = self._walk(caller, path, True, 0, None)
            return found
        return self._walk(caller, path, follow, 0, at)

    def _walk(self, caller: Caller, path: str, follow: bool, links: int, start: Inode | None) -> Inode:
        from_root = path.startswith("/")
        if not from_root and (start is None or not path):
            raise refuse(errno.ENOENT, f"{path!r}: paths begin with /")
        if len(os.fsencode(path)) >= _PATH_MAX:
            raise refuse(errno.ENAMETOOLONG, f"path of {len(path)} characters")
        at: Inode = self._mounts.get(self.root, self.root) if from_root or start is None else start
        parts = [p for p in path.split("/") if p and p != "."]
        wants_dir = path.endswith(("/", "/."))
        for i, name in enumerate(parts):
            at = self._searched(caller, at, path)
            if name == "..":
                at = self._parent(at)
                continue
            child = at.lookup(name)
            if child is None:
                _check_length(name)
                at.check_name(name, creating=False)
                raise refuse(errno.ENOENT, f"{path}: no such file or directory")
            if isinstance(child, Symlink) and (follow or wants_dir or i < len(parts) - 1):
                if links >= _MAX_LINKS:
                    raise refuse(errno.ELOOP, f"{path}: too many symbolic links")
                base = (
                    "" if child.target.startswith("/") else ("/" if from_root else "") + "".join(f"{p}/" for p in parts[:i])
                )
                rest = "/".join(parts[i + 1 :]) + ("/" if wants_dir else "")
                return self._walk(caller, f"{base}{child.target}{'/' if rest else ''}{rest}", follow, links + 1, start)
            at = self._mounts.get(child, child)
        if wants_dir and not isinstance(at, Directory):
            raise refuse(errno.ENOTDIR, f"{path}: no directory")
        return at

    def _searched(self, caller: Caller, at: Inode, path: str) -> Directory:
        if not isinstance(at, Directory):
            raise refuse(errno.ENOTDIR, f"{path}: a file stands where a directory should")
        if not at.permits(caller, MAY_EXEC):
            raise refuse(errno.EACCES, f"{path}: permission denied")
        return at

    def _parent(self, at: Directory) -> Directory:
        covered = self._covers.get(at, at)
        return covered.parent or covered

    def _split(self, caller: Caller, path: str, at: Inode | None = None) -> tuple[Directory, str]:
        """The directory that a path's last name is (or would be) in, and that name: "" for the root, "." or ".."."""
        if not path:
            raise refuse(errno.ENOENT, "empty path")
        head, _, name = path.rstrip("/").rpartition("/")
        head = head or ("/" if path.startswith("/") else "." if at is not None else path)
        directory = self._searched(caller, self.lookup(caller, head, at=at), path)
        _check_length(name)
        return directory, name

    def _free_name(
        self, caller: Caller, path: str, *, for_dir: bool = False, at: Inode | None = None
    ) -> tuple[Directory, str]:
        """For a name to be made: it must be free and the directory writable. Raises EEXIST, EPERM, EACCES, …"""
        directory, name = self._split(caller, path, at)
        if name in ("", ".", "..") or directory.lookup(name) is not None:
            raise refuse(errno.EEXIST, f"{path}: exists")
        directory.check_name(name, creating=True)
        if path.endswith("/") and not for_dir:
            raise refuse(errno.ENOENT, f"{path}: no such directory")
        if not directory.permits(caller, MAY_WRITE):
            raise refuse(errno.EACCES, f"{path}: permission denied")
        return directory, name

    def _taken_name(self, caller: Caller, path: str, dots: dict[str, int]) -> tuple[Directory, str, Inode]:
        """For a name to be taken away. `dots` has the errno for "", "." and "..", which no call takes."""
        directory, name = self._split(caller, path)
        if name in dots:
            raise refuse(dots[name], f"{path}: not a name that can be taken away")
        inode = directory.lookup(name)
        if inode is None:
            directory.check_name(name, creating=False)
            raise refuse(errno.ENOENT, f"{path}: no such file or directory")
        self._may_delete(caller, directory, inode, path)
        return directory, name, inode

    def _may_delete(self, caller: Caller, directory: Directory, inode: Inode, path: str) -> None:
        cred = caller.cred
        if not directory.permits(caller, MAY_WRITE | MAY_EXEC):
            raise refuse(errno.EACCES, f"{path}: permission denied")
        if directory.mode & stat.S_ISVTX and cred.uid not in (inode.uid, directory.uid) and not cred.may(CAP_FOWNER):
            raise refuse(errno.EPERM, f"{path}: not the owner in a sticky directory")

    # -- system calls --------------------------------------------------------------------------------

    def open(self, caller: Caller, path: str, flags: int = 0, mode: int = 0o666) -> OpenFile:
        """open(2). Raises OSError."""
        if flags & O_CREAT:
            return self._open_creating(caller, path, flags, mode)
        inode = self.lookup(caller, path)
        return self._open_found(caller, inode, path, flags) if flags else self._open_plainly(caller, inode, path)

    def _open_plainly(self, caller: Caller, inode: Inode, path: str) -> OpenFile:
        if not inode.permits(caller, MAY_READ):
            raise refuse(errno.EACCES, f"{path}: permission denied")
        return inode.open(caller, 0)

    def read(self, caller: Caller, path: str) -> bytes:
        """The whole of a file, as open, read to the end and close give it. Raises OSError."""
        inode = self.lookup(caller, path)
        if not inode.permits(caller, MAY_READ):
            raise refuse(errno.EACCES, f"{path}: permission denied")
        return inode.read_whole(caller)

    def _open_creating(self, caller: Caller, path: str, flags: int, mode: int) -> OpenFile:
        try:
            inode = self.lookup(caller, path)
        except FileNotFoundError:
            directory, name = self._free_name(caller, path)
            inode = directory.create(caller, name, mode & ~caller.umask)
        else:
            if flags & O_EXCL:
                raise refuse(errno.EEXIST, f"{path}: exists")
            if inode.is_dir:
                raise refuse(errno.EISDIR, f"{path}: is a directory")
        return self._open_found(caller, inode, path, flags)

    def _open_found(self, caller: Caller, inode: Inode, path: str, flags: int) -> OpenFile:
        access = flags & 3
        want = (MAY_READ if access != 1 else 0) | (MAY_WRITE if access or flags & O_TRUNC else 0)
        if flags & O_DIRECTORY and not inode.is_dir:
            raise refuse(errno.ENOTDIR, f"{path} is no directory")
        if inode.is_dir and (access or flags & O_TRUNC):
            raise refuse(errno.EISDIR, f"{path}: is a directory")
        if not inode.permits(caller, want):
            raise refuse(errno.EACCES, f"{path}: permission denied")
        opened = inode.open(caller, flags)
        if flags & O_TRUNC:
            try:
                inode.truncate(0)
            except BaseException:
                opened.put()
                raise
        return opened

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

    def mkdir(self, caller: Caller, path: str, mode: int = 0o777) -> None:
        directory, name = self._free_name(caller, path, for_dir=True)
        directory.mkdir(caller, name, mode & ~caller.umask)

    def rmdir(self, caller: Caller, path: str) -> None:
        dots = {"": errno.EBUSY, ".": errno.EINVAL, "..": errno.ENOTEMPTY}
        directory, name, inode = self._taken_name(caller, path, dots)
        if not isinstance(inode, Directory):
            raise refuse(errno.ENOTDIR, f"{path} is no directory")
        if inode in self._mounts:
            raise refuse(errno.EBUSY, f"{path} is a mount point")
        directory.rmdir(caller, name)

    def unlink(self, caller: Caller, path: str) -> None:
        dots = dict.fromkeys(("", ".", ".."), errno.EISDIR)
        directory, name, inode = self._taken_name(caller, path, dots)
        if inode.is_dir:
            raise refuse(errno.EISDIR, f"{path} is a directory")
        if path.endswith("/"):
            raise refuse(errno.ENOTDIR, f"{path} is no directory")
        directory.unlink(caller, name)

    def symlink(self, caller: Caller, target: str, path: str) -> None:
        if not target:
            raise refuse(errno.ENOENT, f"{path}: a symbolic link to nothing")
        directory, name = self._free_name(caller, path)
        directory.symlink(caller, name, target)

    def link(self, caller: Caller, old: str, new: str) -> None:
        inode = self.lookup(caller, old, follow=False)
        directory, name = self._free_name(caller, new)
        if inode.sb is not directory.sb:
            raise refuse(errno.EXDEV, f"{new}: another file system than {old}")
        if inode.is_dir:
            raise refuse(errno.EPERM, f"{old} is a directory")
        directory.link(caller, name, inode)

    def mkfifo(self, caller: Caller, path: str) -> None:
        directory, name = self._free_name(caller, path)
        directory.mkfifo(caller, name)

    def mknod(self, caller: Caller, path: str, mode: int = 0o600) -> None:
        """mknod(2) of a regular file."""
        directory, name = self._free_name(caller, path)
        directory.mknod(caller, name, mode & ~caller.umask)

    def rename(self, caller: Caller, old: str, new: str) -> None:
        """rename(2). Raises EXDEV, EBUSY, ENOENT, EINVAL (into itself), EISDIR, ENOTDIR, ENOTEMPTY, …"""
        from_dir, old_name = self._split(caller, old)
        to_dir, new_name = self._split(caller, new)
        if from_dir.sb is not to_dir.sb:
            raise refuse(errno.EXDEV, f"{new}: another file system than {old}")
        if {old_name, new_name} & {"", ".", ".."}:
            raise refuse(errno.EBUSY, f"{old} to {new}: not names that can be changed")
        inode, target = from_dir.lookup(old_name), to_dir.lookup(new_name)
        if inode is None:
            from_dir.check_name(old_name, creating=False)
            raise refuse(errno.ENOENT, f"{old}: no such file or directory")
        if target is None:
            to_dir.check_name(new_name, creating=True)
        if not inode.is_dir and (old.endswith("/") or new.endswith("/")):
            raise refuse(errno.ENOTDIR, f"{old} is no directory")
        if self._is_within(to_dir, inode):
            raise refuse(errno.EINVAL, f"{new} lies within {old}")
        if target is not None and self._is_within(from_dir, target):
            raise refuse(errno.ENOTEMPTY, f"{old} lies within {new}")
        if inode is target:
            return
        self._may_delete(caller, from_dir, inode, old)
        if target is not None:
            self._may_delete(caller, to_dir, target, new)
            if inode.is_dir != target.is_dir:
                raise refuse(errno.ENOTDIR if inode.is_dir else errno.EISDIR, f"{old} cannot replace {new}")
        elif not to_dir.permits(caller, MAY_WRITE | MAY_EXEC):
            raise refuse(errno.EACCES, f"{new}: permission denied")
        if inode in self._mounts or target in self._mounts:
            raise refuse(errno.EBUSY, f"{old} or {new} is a mount point")
        from_dir.rename(caller, old_name, to_dir, new_name)

    def _is_within(self, directory: Directory | None, inode: Inode) -> bool:
        while directory is not None and directory is not inode:
            directory = directory.parent
        return directory is inode

    def truncate(self, caller: Caller, path: str, size: int) -> None:
        inode = self.lookup(caller, path)
        if size < 0:
            raise refuse(errno.EINVAL, f"{path}: size {size}")
        if inode.is_dir:
            raise refuse(errno.EISDIR, f"{path}: is a directory")
        if not inode.permits(caller, MAY_WRITE):
            raise refuse(errno.EACCES, f"{path}: permission denied")
        inode.truncate(size)

    def chmod(self, caller: Caller, path: str, mode: int) -> None:
        inode = self.lookup(caller, path)
        if caller.cred.uid != inode.uid and not caller.cred.may(CAP_FOWNER):
            raise refuse(errno.EPERM, f"{path}: not the owner")
        inode.chmod(mode)

    def chown(self, caller: Caller, path: str, uid: int, gid: int) -> None:
        inode = self.lookup(caller, path)
        cred = caller.cred
        keeps_owner = cred.uid == inode.uid and uid in (-1, inode.uid) and gid in (-1, inode.gid, cred.gid)
        if not keeps_owner and not cred.may(CAP_CHOWN):
            raise refuse(errno.EPERM, f"{path}: only CAP_CHOWN changes owners")
        inode.chown(uid, gid)

    def pin(self, caller: Caller, path: str, obj: object, at: Inode | None = None) -> None:
        """BPF_OBJ_PIN: a name for a BPF object."""
        directory, name = self._free_name(caller, path, at=at)
        directory.pin(caller, name, obj)


def _check_length(name: str) -> None:
    if len(os.fsencode(name)) > _NAME_MAX:  # bytes, not characters
        raise refuse(errno.ENAMETOOLONG, f"name of {len(name)} characters")
