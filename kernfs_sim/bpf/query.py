"""BPF_TASK_FD_QUERY, what a task's fd is attached to; and BPF_TOKEN_CREATE, which has no answer here."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from bpfjit.errors import ENOTSUPP, refuse
from bpfjit.uapi import bpf as uapi

from ..caller import CAP_BPF, CAP_SYS_ADMIN, Caller
from ..fs.bpffs import BpfDir
from .fd import ObjectFile
from .links import RawTpLink

if TYPE_CHECKING:
    from ..kernel import Kernel


def task_fd(kernel: Kernel, caller: Caller, attr: uapi.TaskFdQuery) -> int:
    """The tracepoint behind a raw tracepoint link's fd. Raises ENOENT, EBADF, ENOTSUPP, ENOSPC with a name cut short.

    Only the caller's own fds are known: a simulated task has none.
    """
    if not caller.cred.may(CAP_SYS_ADMIN):
        raise refuse(errno.EPERM, "asking after a task's fds wants CAP_SYS_ADMIN")
    if attr.flags:
        raise refuse(errno.EINVAL, f"query flags {attr.flags:#x}")
    if attr.pid != caller.pid and kernel.tasks.find(attr.pid) is None:
        raise refuse(errno.ENOENT, f"no task {attr.pid}")
    file = caller.fds.find(attr.fd) if attr.pid == caller.pid else None
    if file is None:
        raise refuse(errno.EBADF, f"task {attr.pid} has no fd {attr.fd}")
    link = file.object if isinstance(file, ObjectFile) else None
    if not isinstance(link, RawTpLink):
        raise refuse(ENOTSUPP, f"fd {attr.fd} is no raw tracepoint's")
    name, room = link.target.encode() + b"\0", attr.buf_len
    attr.buf_len, attr.prog_id, attr.fd_type = len(name) - 1, link.prog.id, uapi.BPF_FD_TYPE_RAW_TRACEPOINT
    attr.probe_offset = attr.probe_addr = 0
    if room and attr.buf:
        caller.write(attr.buf, name if room >= len(name) else name[: room - 1] + b"\0")
        if room < len(name):
            raise refuse(errno.ENOSPC, f"name of {len(name)} bytes, room for {room}")
    return 0


def token_create(kernel: Kernel, caller: Caller, attr: uapi.TokenCreate) -> int:
    """Linux makes tokens for user namespaces other than the first, and here is none. Raises EOPNOTSUPP, EINVAL, EBADF."""
    if attr.flags:
        raise refuse(errno.EINVAL, f"token flags {attr.flags:#x}")
    inode = caller.fds.get(attr.bpffs_fd).inode
    if not isinstance(inode, BpfDir) or inode.parent is not None:
        raise refuse(errno.EINVAL, f"fd {attr.bpffs_fd} is no root of a bpffs")
    if not caller.cred.may(CAP_BPF):  # here CAP_SYS_ADMIN does not stand in
        raise refuse(errno.EPERM, "a token is made with CAP_BPF")
    raise refuse(errno.EOPNOTSUPP, "this bpffs belongs to the first user namespace, which delegates nothing")
