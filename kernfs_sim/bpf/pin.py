"""BPF_OBJ_PIN and BPF_OBJ_GET."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from bpfjit.errors import refuse
from bpfjit.uapi import bpf as uapi

from ..caller import Caller, read_string
from ..fs.bpffs import Pin
from ..fs.inode import MAY_READ, MAY_WRITE, Inode
from ..objects import LinkObject
from .fd import install, object_of

if TYPE_CHECKING:
    from ..kernel import Kernel

_ACCESS = uapi.BPF_F_RDONLY | uapi.BPF_F_WRONLY
_AT_FDCWD = -100  # here every process works in the root directory


def _path(kernel: Kernel, caller: Caller, attr: uapi.Obj) -> tuple[str, Inode | None]:
    """The path, and the directory that a relative one begins in."""
    path = read_string(caller, attr.pathname, 4096).decode("utf-8", "surrogateescape")
    if path.startswith("/") or not attr.file_flags & uapi.BPF_F_PATH_FD:
        return path, None
    if attr.path_fd == _AT_FDCWD:
        return path, kernel.vfs.root
    inode: Inode | None = caller.fds.get(attr.path_fd).inode
    if inode is None or not inode.is_dir:
        raise refuse(errno.ENOTDIR, f"path_fd {attr.path_fd} is no directory")
    return path, inode


def pin(kernel: Kernel, caller: Caller, attr: uapi.Obj) -> int:
    """Give an object a name in bpffs, or expose it in a kernfs. Raises EINVAL, EEXIST, EPERM, ENXIO, …"""
    flags = attr.file_flags
    if flags & ~uapi.BPF_F_PATH_FD or (attr.path_fd and not flags):
        raise refuse(errno.EINVAL, f"pin flags {flags:#x}, path_fd {attr.path_fd}")
    obj = object_of(caller, attr.bpf_fd)
    path, at = _path(kernel, caller, attr)
    kernel.vfs.pin(caller, path, obj, at)
    return 0


def get(kernel: Kernel, caller: Caller, attr: uapi.Obj) -> int:
    """An fd for a pinned object. Raises EACCES for a file that is no pin or not permitted."""
    with_fd, access = attr.file_flags & uapi.BPF_F_PATH_FD, attr.file_flags & ~uapi.BPF_F_PATH_FD
    if attr.bpf_fd or access & ~_ACCESS or access == _ACCESS or (attr.path_fd and not with_fd):
        raise refuse(errno.EINVAL, f"get flags {attr.file_flags:#x}, fd {attr.bpf_fd}, path_fd {attr.path_fd}")
    path, at = _path(kernel, caller, attr)
    inode = kernel.vfs.lookup(caller, path, at=at)
    reads, writes = access != uapi.BPF_F_WRONLY, access != uapi.BPF_F_RDONLY
    if not inode.permits(caller, reads * MAY_READ | writes * MAY_WRITE) or not isinstance(inode, Pin):
        raise refuse(errno.EACCES, f"{path} is no BPF pin, or not permitted")
    if isinstance(inode.object, LinkObject) and not (reads and writes):
        raise refuse(errno.EINVAL, f"{path}: a link is got for reading and writing")
    return install(caller, inode.object, may_read=reads, may_write=writes)
