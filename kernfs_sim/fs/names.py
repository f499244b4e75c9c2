"""The system calls on files where directory, name and inode are known: what Vfs does by path and FUSE by node number."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from bpfjit.errors import refuse

from ..caller import CAP_CHOWN, CAP_FOWNER, Caller
from .inode import MAY_EXEC, MAY_READ, MAY_WRITE, O_DIRECTORY, O_TRUNC, Directory, Inode, OpenFile

if TYPE_CHECKING:
    from ..lsm import Security

_NAME_MAX = 255


def check_length(name: str) -> None:
    """Raises ENAMETOOLONG."""
    if len(os.fsencode(name)) > _NAME_MAX:  # bytes, not characters
        raise refuse(errno.ENAMETOOLONG, f"name of {len(name)} characters")


def _is_within(directory: Directory | None, inode: Inode) -> bool:
    while directory is not None and directory is not inode:
        directory = directory.parent
    return directory is inode


class Names:
    """A mount namespace below its paths; `what` is how a message names the file."""

    def __init__(self) -> None:
        self._mounts: dict[Inode, Directory] = {}
        self._covers: dict[Directory, Directory] = {}
        self.security: Security | None = None  # asked before what it has hooks for

    def child(self, directory: Directory, name: str, what: str) -> Inode:
        """The inode that a name stands for, not crossing mounts. Raises ENOENT, ENAMETOOLONG."""
        found = directory.lookup(name)
        if found is None:
            check_length(name)
            directory.check_name(name, creating=False)
            raise refuse(errno.ENOENT, f"{what}: no such file or directory")
        return found

    def top(self, inode: Inode) -> Inode:
        """What a walk that comes to the inode goes on with: the root of what is mounted there."""
        return self._mounts.get(inode, inode)

    # -- names made, taken away, changed ---------------------------------------------------------------

    def check_free(self, caller: Caller, directory: Directory, name: str, what: str) -> None:
        """A name is to be made here: it must be free and the directory writable. Raises EEXIST, EPERM, EACCES, …"""
        check_length(name)
        if name in ("", ".", "..") or directory.lookup(name) is not None:
            raise refuse(errno.EEXIST, f"{what}: exists")
        directory.check_name(name, creating=True)
        if not directory.permits(caller, MAY_WRITE):
            raise refuse(errno.EACCES, f"{what}: permission denied")

    def _may_delete(self, caller: Caller, directory: Directory, inode: Inode, what: str) -> None:
        cred = caller.cred
        if not directory.permits(caller, MAY_WRITE | MAY_EXEC):
            raise refuse(errno.EACCES, f"{what}: permission denied")
        if directory.mode & stat.S_ISVTX and cred.uid not in (inode.uid, directory.uid) and not cred.may(CAP_FOWNER):
            raise refuse(errno.EPERM, f"{what}: not the owner in a sticky directory")

    def rmdir_in(self, caller: Caller, directory: Directory, name: str, what: str) -> None:
        with directory.sb.changing:
            inode = self.child(directory, name, what)
            self._may_delete(caller, directory, inode, what)
            if not isinstance(inode, Directory):
                raise refuse(errno.ENOTDIR, f"{what} is no directory")
            if inode in self._mounts:
                raise refuse(errno.EBUSY, f"{what} is a mount point")
            if self.security is not None and "inode_rmdir" in self.security.active:
                self.security.name(caller, "inode_rmdir", directory, name)
            directory.rmdir(caller, name)

    def unlink_in(self, caller: Caller, directory: Directory, name: str, what: str) -> None:
        with directory.sb.changing:
            inode = self.child(directory, name, what)
            self._may_delete(caller, directory, inode, what)
            if inode.is_dir:
                raise refuse(errno.EISDIR, f"{what} is a directory")
            if what.endswith("/"):
                raise refuse(errno.ENOTDIR, f"{what} is no directory")
            if self.security is not None and "inode_unlink" in self.security.active:
                self.security.name(caller, "inode_unlink", directory, name)
            directory.unlink(caller, name)

    def symlink_in(self, caller: Caller, directory: Directory, name: str, target: str, what: str) -> None:
        self.check_free(caller, directory, name, what)
        directory.symlink(caller, name, target)

    def link_in(self, caller: Caller, inode: Inode, directory: Directory, name: str, what: str) -> None:
        self.check_free(caller, directory, name, what)
        if inode.sb is not directory.sb:
            raise refuse(errno.EXDEV, f"{what}: another file system")
        if inode.is_dir:
            raise refuse(errno.EPERM, f"{what}: a directory has one name")
        directory.link(caller, name, inode)

    def rename_in(
        self, caller: Caller, from_dir: Directory, old_name: str, to_dir: Directory, new_name: str, old: str, new: str
    ) -> None:
        """rename(2). Raises EXDEV, EBUSY, ENOENT, EINVAL (into itself), EISDIR, ENOTDIR, ENOTEMPTY, …"""
        with from_dir.sb.changing:
            self._rename(caller, from_dir, old_name, to_dir, new_name, old, new)

    def _rename(
        self, caller: Caller, from_dir: Directory, old_name: str, to_dir: Directory, new_name: str, old: str, new: str
    ) -> None:
        if from_dir.sb is not to_dir.sb:
            raise refuse(errno.EXDEV, f"{new}: another file system than {old}")
        if {old_name, new_name} & {"", ".", ".."}:
            raise refuse(errno.EBUSY, f"{old} to {new}: not names that can be changed")
        check_length(new_name)
        inode, target = self.child(from_dir, old_name, old), to_dir.lookup(new_name)
        if target is None:
            to_dir.check_name(new_name, creating=True)
        if not inode.is_dir and (old.endswith("/") or new.endswith("/")):
            raise refuse(errno.ENOTDIR, f"{old} is no directory")
        if _is_within(to_dir, inode):
            raise refuse(errno.EINVAL, f"{new} lies within {old}")
        if target is not None and _is_within(from_dir, target):
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

    # -- inodes ----------------------------------------------------------------------------------------

    def open_inode(self, caller: Caller, inode: Inode, flags: int, what: str) -> OpenFile:
        """open(2) of what is there. Raises EACCES, EISDIR, ENOTDIR, and what the inode's kind refuses."""
        access = flags & 3
        want = (MAY_READ if access != 1 else 0) | (MAY_WRITE if access or flags & O_TRUNC else 0)
        if flags & O_DIRECTORY and not inode.is_dir:
            raise refuse(errno.ENOTDIR, f"{what} is no directory")
        if inode.is_dir and (access or flags & O_TRUNC):
            raise refuse(errno.EISDIR, f"{what}: is a directory")
        if not inode.permits(caller, want):
            raise refuse(errno.EACCES, f"{what}: permission denied")
        self.check_open(caller, inode, flags, what)
        opened = inode.open(caller, flags)
        if flags & O_TRUNC:
            try:
                inode.truncate(0)
            except BaseException:
                opened.put()
                raise
        return opened

    def check_open(self, caller: Caller, inode: Inode, flags: int, what: str) -> None:
        """Raises what the programs at file_open answer."""
        if self.security is not None and "file_open" in self.security.active:
            self.security.file_open(caller, inode, what, flags)

    def mkdir_in(self, caller: Caller, directory: Directory, name: str, mode: int) -> None:
        """mkdir(2) of a name that check_free() has looked at."""
        if self.security is not None and "inode_mkdir" in self.security.active:
            self.security.name(caller, "inode_mkdir", directory, name, mode)
        directory.mkdir(caller, name, mode)

    def truncate_inode(self, caller: Caller, inode: Inode, size: int, what: str) -> None:
        if size < 0:
            raise refuse(errno.EINVAL, f"{what}: size {size}")
        if inode.is_dir:
            raise refuse(errno.EISDIR, f"{what}: is a directory")
        if not inode.permits(caller, MAY_WRITE):
            raise refuse(errno.EACCES, f"{what}: permission denied")
        inode.truncate(size)

    def chmod_inode(self, caller: Caller, inode: Inode, mode: int, what: str) -> None:
        if caller.cred.uid != inode.uid and not caller.cred.may(CAP_FOWNER):
            raise refuse(errno.EPERM, f"{what}: not the owner")
        inode.chmod(mode)

    def chown_inode(self, caller: Caller, inode: Inode, uid: int, gid: int, what: str) -> None:
        cred = caller.cred
        keeps_owner = cred.uid == inode.uid and uid in (-1, inode.uid) and gid in (-1, inode.gid, cred.gid)
        if not keeps_owner and not cred.may(CAP_CHOWN):
            raise refuse(errno.EPERM, f"{what}: only CAP_CHOWN changes owners")
        inode.chown(uid, gid)
