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


def _task(file: Any) -> Any:
    task = getattr(file, "pidfd_task", None)
    return None if task is None else task.c


def _cgroup(file: Any) -> Any:
    inode = getattr(file, "inode", None)
    return inode.c if isinstance(inode, Cgroup) else None


def _none(file: Any) -> Any:
    return None  # the simulation has no sockets or files of its own behind fds


_OWNERS: dict[str, Callable[[Any], Any]] = {"task": _task, "cgroup": _cgroup, "inode": _none, "sock": _none}


def key_of(caller: Caller, m: MapObject, key: bytes) -> bytes:
    """The object's address, by which the map knows its value. Raises EBADF for an fd of something else."""
    fd = int.from_bytes(key, "little")
    owner = _OWNERS[m.type.owner](caller.fds.get(fd))
    if owner is None:
        raise refuse(errno.EBADF, f"fd {fd} is no {m.type.owner}")
    return int(ffi.cast("uintptr_t", owner)).to_bytes(8, "little")
