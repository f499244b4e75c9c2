"""BPF_ENABLE_STATS: runs are counted for as long as somebody holds the fd that it returns."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from bpfjit.errors import refuse
from bpfjit.uapi import bpf as uapi
from runtime import KernelHandle, lib

from ..caller import CAP_SYS_ADMIN, Caller
from ..fs.inode import OpenFile

if TYPE_CHECKING:
    from ..kernel import Kernel


class StatsFile(OpenFile):
    __slots__ = ("_native",)

    def __init__(self, native: KernelHandle) -> None:
        super().__init__(None, 0)
        native.hold()
        self._native = native
        lib.rt_stats_users(native.ptr, 1)

    def release(self) -> None:
        lib.rt_stats_users(self._native.ptr, -1)
        self._native.drop()


def enable(kernel: Kernel, caller: Caller, attr: uapi.EnableStats) -> int:
    """An fd that keeps run_cnt and run_time_ns of every program counting. Raises EPERM, EINVAL."""
    if not caller.cred.may(CAP_SYS_ADMIN):
        raise refuse(errno.EPERM, "statistics want CAP_SYS_ADMIN")
    if attr.type != uapi.BPF_STATS_RUN_TIME:
        raise refuse(errno.EINVAL, f"statistics of type {attr.type}")
    return caller.fds.install(StatsFile(kernel.native))
