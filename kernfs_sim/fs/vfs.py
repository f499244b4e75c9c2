"""Paths: mounts, the walk from a path to an inode, and the system calls on files."""

from __future__ import annotations

import errno
import os

from bpfjit.errors import refuse

from ..caller import CAP_DAC_OVERRIDE, Caller
from .inode import MAY_EXEC, MAY_READ, O_CREAT, O_EXCL, Directory, Inode, OpenFile, Stat, SuperBlock, Symlink
from .names import Names, check_length

_MAX_LINKS = 40
_PATH_MAX = 4096


class RootFs(Directory):
    """The plain file system at /: directories to mount on."""

    def mkdir(self, caller: Caller, name: str, mode: int) -> Directory:
        made = RootFs(self.sb, mode, caller.cred.uid, caller.cred.gid)
        self.add(name, made)
        return made


class Vfs(Names):
    """One mount namespace."""

    def __init__(self) -> None:
        super().__init__()
        self.root: Directory = RootFs(SuperBlock("rootfs", 0x858458F6), 0o755)
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
        root.sb.on_drop.append(self._dropped)
        self._walked.clear()

    def filesystems(self) -> list[SuperBlock]:
        """Every mounted file system, the one at / first."""
        return [self.root.sb, *(root.sb for root in self._mounts.values())]

    def _dropped(self, directory: Directory, name: str) -> None:
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
                at = self.parent_of(at)
                continue
            child = self.child(at, name, path)
            if isinstance(child, Symlink) and (follow or wants_dir or i < len(parts) - 1):
                if links >= _MAX_LINKS:
                    raise refuse(errno.ELOOP, f"{path}: too many symbolic links")
                target = child.to(caller)
                base = "" if target.startswith("/") else ("/" if from_root else "") + "".join(f"{p}/" for p in parts[:i])
                rest = "/".join(parts[i + 1 :]) + ("/" if wants_dir else "")
                return self._walk(caller, f"{base}{target}{'/' if rest else ''}{rest}", follow, links + 1, start)
            at = self.top(child)
        if wants_dir and not isinstance(at, Directory):
            raise refuse(errno.ENOTDIR, f"{path}: no directory")
        return at

    def _searched(self, caller: Caller, at: Inode, path: str) -> Directory:
        if not isinstance(at, Directory):
            raise refuse(errno.ENOTDIR, f"{path}: a file stands where a directory should")
        if not at.permits(caller, MAY_EXEC):
            raise refuse(errno.EACCES, f"{path}: permission denied")
        return at

    def parent_of(self, at: Directory) -> Directory:
        """What `..` is there; the root is its own."""
        covered = self._covers.get(at, at)
        return covered.parent or covered

    def _split(self, caller: Caller, path: str, at: Inode | None = None) -> tuple[Directory, str]:
        """The directory that a path's last name is (or would be) in, and that name: "" for the root, "." or ".."."""
        if not path:
            raise refuse(errno.ENOENT, "empty path")
        head, _, name = path.rstrip("/").rpartition("/")
        head = head or ("/" if path.startswith("/") else "." if at is not None else path)
        directory = self._searched(caller, self.lookup(caller, head, at=at), path)
        check_length(name)
        return directory, name

    def _free_name(
        self, caller: Caller, path: str, *, for_dir: bool = False, at: Inode | None = None
    ) -> tuple[Directory, str]:
        """For a name to be made: it must be free and the directory writable. Raises EEXIST, EPERM, EACCES, …"""
        directory, name = self._split(caller, path, at)
        if path.endswith("/") and not for_dir and directory.lookup(name) is None:
            directory.check_name(name, creating=True)
            raise refuse(errno.ENOENT, f"{path}: no such directory")
        self.check_free(caller, directory, name, path)
        return directory, name

    def _taken_name(self, caller: Caller, path: str, dots: dict[str, int]) -> tuple[Directory, str]:
        """For a name to be taken away. `dots` has the errno for "", "." and "..", which no call takes."""
        directory, name = self._split(caller, path)
        if name in dots:
            raise refuse(dots[name], f"{path}: not a name that can be taken away")
        return directory, name

    # -- system calls --------------------------------------------------------------------------------

    def open(self, caller: Caller, path: str, flags: int = 0, mode: int = 0o666) -> OpenFile:
        """open(2). Raises OSError."""
        if flags & O_CREAT:
            return self._open_creating(caller, path, flags, mode)
        inode = self.lookup(caller, path)
        return self.open_inode(caller, inode, flags, path) if flags else self._open_plainly(caller, inode, path)

    def _open_plainly(self, caller: Caller, inode: Inode, path: str) -> OpenFile:
        if not inode.permits(caller, MAY_READ):
            raise refuse(errno.EACCES, f"{path}: permission denied")
        if self.security is not None:
            self.check_open(caller, inode, 0, path)
        return inode.open(caller, 0)

    def read(self, caller: Caller, path: str) -> bytes:
        """The whole of a file, as open, read to the end and close give it. Raises OSError."""
        inode = self.lookup(caller, path)
        if not inode.permits(caller, MAY_READ):
            raise refuse(errno.EACCES, f"{path}: permission denied")
        if self.security is not None:
            self.check_open(caller, inode, 0, path)
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
        return self.open_inode(caller, inode, flags, path)

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
        return inode.to(caller)

    def mkdir(self, caller: Caller, path: str, mode: int = 0o777) -> None:
        directory, name = self._free_name(caller, path, for_dir=True)
        self.mkdir_in(caller, directory, name, mode & ~caller.umask)

    def rmdir(self, caller: Caller, path: str) -> None:
        dots = {"": errno.EBUSY, ".": errno.EINVAL, "..": errno.ENOTEMPTY}
        directory, name = self._taken_name(caller, path, dots)
        self.rmdir_in(caller, directory, name, path)

    def unlink(self, caller: Caller, path: str) -> None:
        directory, name = self._taken_name(caller, path, dict.fromkeys(("", ".", ".."), errno.EISDIR))
        self.unlink_in(caller, directory, name, path)

    def symlink(self, caller: Caller, target: str, path: str) -> None:
        if not target:
            raise refuse(errno.ENOENT, f"{path}: a symbolic link to nothing")
        directory, name = self._free_name(caller, path)
        self.symlink_in(caller, directory, name, target, path)

    def link(self, caller: Caller, old: str, new: str) -> None:
        inode = self.lookup(caller, old, follow=False)
        directory, name = self._free_name(caller, new)
        self.link_in(caller, inode, directory, name, new)

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
        self.rename_in(caller, from_dir, old_name, to_dir, new_name, old, new)

    def truncate(self, caller: Caller, path: str, size: int) -> None:
        self.truncate_inode(caller, self.lookup(caller, path), size, path)

    def chmod(self, caller: Caller, path: str, mode: int) -> None:
        self.chmod_inode(caller, self.lookup(caller, path), mode, path)

    def chown(self, caller: Caller, path: str, uid: int, gid: int) -> None:
        self.chown_inode(caller, self.lookup(caller, path), uid, gid, path)

    def pin(self, caller: Caller, path: str, obj: object, at: Inode | None = None) -> None:
        """BPF_OBJ_PIN: a name for a BPF object."""
        directory, name = self._free_name(caller, path, at=at)
        directory.pin(caller, name, obj)
