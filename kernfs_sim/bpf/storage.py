"""Local storage from syscalls: an element's key is an fd of the object that it belongs to."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from bpfjit.errors import refuse
from runtime import ffi

from ..caller import Caller
from ..cgroup import Cgroup
from ..objects import MapObject
from ..pidfd import TaskFile


def _task(m: MapObject, file: Any) -> Any:
    task = getattr(file, "pidfd_task", None)
    return None if task is None else task.c


def _cgroup(m: MapObject, file: Any) -> Any:
    inode = getattr(file, "inode", None)
    return inode.c if isinstance(inode, Cgroup) else None


def _inode(m: MapObject, file: Any) -> Any:
    """Every open file has an inode; those without a name share one."""
    if isinstance(file, TaskFile):
        return file.kernel_file.c.f_inode or None
    inode = getattr(file, "inode", None)
    native = m.native.kernel
    return native.anon_inode if inode is None else inode.structure(native)


def _sock(m: MapObject, file: Any) -> Any:
    return file.sock if isinstance(file, TaskFile) and file.sock else None


# By owner: who it is, and what Linux says of an fd of something else.
_OWNERS: dict[str, tuple[Callable[[MapObject, Any], Any], int]] = {
    "task": (_task, errno.EBADF),
    "cgroup": (_cgroup, errno.EBADF),
    "inode": (_inode, errno.EBADF),
    "sock": (_sock, errno.ENOTSOCK),
}


def key_of(caller: Caller, m: MapObject, key: bytes) -> bytes:
    """The object's address, by which the map knows its value. Raises EBADF, or ENOTSOCK for an fd of something else."""
    fd = int.from_bytes(key, "little")
    find, unlike = _OWNERS[m.type.owner]
    owner = find(m, caller.fds.get(fd))
    if owner is None:
        raise refuse(unlike, f"fd {fd} is no {m.type.owner}")
    return int(ffi.cast("uintptr_t", owner)).to_bytes(8, "little")
