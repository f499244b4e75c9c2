"""Processes of this machine as callers of the simulated kernel: their ids, groups and namespaces in it."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import TYPE_CHECKING

from bpfjit.dataclass import dataclass, field
from bpfjit.errors import refuse

from ..caller import ALL_CAPABILITIES, Cred, FdTable
from ..namespaces import INITIAL, Namespaces
from .fuse_wire import Request

if TYPE_CHECKING:
    from ..kernel import Kernel

_NOBODY = 65534
_MAX_CALLERS = 1024


@dataclass(frozen=True, slots=True)
class IdMap:
    """Who is who: a mount that an ordinary user makes has that user for root, as a user namespace of one would."""

    root_uid: int = 0
    root_gid: int = 0

    def uid_in(self, uid: int) -> int:
        """The simulated kernel's number for one of this machine's users."""
        return uid if not self.root_uid else 0 if uid == self.root_uid else _NOBODY

    def gid_in(self, gid: int) -> int:
        return gid if not self.root_uid else 0 if gid == self.root_gid else _NOBODY

    def cred(self, uid: int, gid: int, groups: Iterable[int]) -> Cred:
        """The simulated credentials of one of this machine's processes: root has every capability, others none."""
        inner = self.uid_in(uid)
        inner_groups = frozenset(self.gid_in(group) for group in groups)
        return Cred(inner, self.gid_in(gid), frozenset() if inner else ALL_CAPABILITIES, inner_groups)

    def uid_out(self, uid: int) -> int:
        return uid if not self.root_uid else _NOBODY if uid else self.root_uid

    def gid_out(self, gid: int) -> int:
        return gid if not self.root_uid else _NOBODY if gid else self.root_gid


@dataclass(slots=True)
class FuseCaller:
    """Who a request is made for: the ids that the kernel gives; no memory, no fds of ours."""

    cred: Cred
    pid: int
    umask: int = 0  # the kernel has taken it off already
    fds: FdTable = field(default_factory=FdTable)
    is_here: bool = False
    namespaces: Namespaces = INITIAL

    def read(self, addr: int, size: int) -> bytes:
        raise refuse(errno.EFAULT, "a request by FUSE has no memory")

    def write(self, addr: int, data: bytes) -> None:
        raise refuse(errno.EFAULT, "a request by FUSE has no memory")


def namespaces_of(kernel: Kernel, pid: int) -> Namespaces:
    """The initial ones, but for a process of the machine that the kernel shows: that one is in its own."""
    task = kernel.tasks.find(pid) if kernel.host is not None else None
    return task.namespaces if task is not None else INITIAL


def _groups_of(pid: int) -> list[int]:
    """A process's supplementary groups, which a request does not tell; none for a process that we do not see."""
    try:
        with open(f"/proc/{pid}/status") as f:
            line = next((line for line in f if line.startswith("Groups:")), "Groups:")
    except OSError:
        return []
    return [int(group) for group in line.split()[1:]]


class Callers:
    """The callers that requests come from, each made once."""

    def __init__(self, kernel: Kernel, ids: IdMap) -> None:
        self._kernel = kernel
        self._ids = ids
        self._made: dict[tuple[int, int, int], FuseCaller] = {}

    def of(self, request: Request) -> FuseCaller:
        key = request.uid, request.gid, request.pid
        found = self._made.get(key)
        if found is None:
            if len(self._made) >= _MAX_CALLERS:
                self._made.clear()
            groups = _groups_of(request.pid) if request.uid else []
            cred = self._ids.cred(request.uid, request.gid, groups)
            found = FuseCaller(cred, request.pid, namespaces=namespaces_of(self._kernel, request.pid))
            if self._kernel.host is None:  # else what a number stands for may change
                self._made[key] = found
        return found
