"""pidfds: open files that stand for tasks."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from bpfjit.errors import refuse

from .caller import Caller
from .fs.inode import OpenFile
from .task import Task

if TYPE_CHECKING:
    from .kernel import Kernel


class PidFile(OpenFile):
    """What pidfd_open(2) gives: `pidfd_task` is the task, None once it is gone."""

    def __init__(self, kernel: Kernel, pid: int) -> None:
        super().__init__(None, 2)
        self._kernel = kernel
        self._pid = pid

    @property
    def pidfd_task(self) -> Task | None:
        return self._kernel.tasks.find(self._pid)


def pidfd_open(kernel: Kernel, caller: Caller, pid: int) -> int:
    """An fd of the task `pid`. Raises ESRCH."""
    if kernel.tasks.find(pid) is None:
        raise refuse(errno.ESRCH, f"no task {pid}")
    return caller.fds.install(PidFile(kernel, pid))
