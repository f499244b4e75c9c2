"""BPF_OBJ_PIN and BPF_OBJ_GET."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from bpfjit.errors import refuse
from bpfjit.uapi import bpf as uapi

from ..caller import Caller, read_string
from ..fs.bpffs import Pin
from ..fs.inode import MAY_READ, MAY_WRITE
from ..objects import LinkObject
from .fd import install, object_of

if TYPE_CHECKING:
    from ..kernel import Kernel

_ACCESS = uapi.BPF_F_RDONLY | uapi.BPF_F_WRONLY


def pin(kernel: Kernel, caller: Caller, attr: uapi.Obj) -> int:
    """Give an object a name in bpffs, or expose it in a kernfs. Raises EINVAL, EEXIST, EPERM, ENXIO, …"""
    if attr.file_flags or attr.path_fd:
        raise refuse(errno.EINVAL, f"pin flags {attr.file_flags:#x}; path_fd is not simulated yet")
    obj = object_of(caller, attr.bpf_fd)
    kernel.vfs.pin(caller, read_string(caller, attr.pathname, 4096).decode("utf-8", "surrogateescape"), obj)
    return 0


def get(kernel: Kernel, caller: Caller, attr: uapi.Obj) -> int:
    """An fd for a pinned object. Raises EACCES for a file that is no pin or not permitted."""
    if attr.bpf_fd or attr.file_flags & ~_ACCESS or attr.file_flags == _ACCESS or attr.path_fd:
        raise refuse(errno.EINVAL, f"get flags {attr.file_flags:#x}, fd {attr.bpf_fd}")
    path = read_string(caller, attr.pathname, 4096).decode("utf-8", "surrogateescape")
    inode = kernel.vfs.lookup(caller, path)
    reads, writes = attr.file_flags != uapi.BPF_F_WRONLY, attr.file_flags != uapi.BPF_F_RDONLY
    if not inode.permits(caller, reads * MAY_READ | writes * MAY_WRITE) or not isinstance(inode, Pin):
        raise refuse(errno.EACCES, f"{path} is no BPF pin, or not permitted")
    if isinstance(inode.object, LinkObject) and not (reads and writes):
        raise refuse(errno.EINVAL, f"{path}: a link is got for reading and writing")
    return install(caller, inode.object, may_read=reads, may_write=writes)
