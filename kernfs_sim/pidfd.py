"""pidfds: open files that stand for tasks; and files of tasks, taken over through them."""

from __future__ import annotations

import errno
import stat
from typing import TYPE_CHECKING, Any

from bpfjit.errors import refuse
from runtime import ffi

from .caller import Caller
from .fs.inode import OpenFile
from .task import Task
from .task_files import KernelFile

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


class TaskFile(OpenFile):
    """A file that a task has open, in somebody else's table: what pidfd_getfd(2) gives. Not to be read."""

    def __init__(self, file: KernelFile) -> None:
        super().__init__(None, file.row.flags)
        self.kernel_file = file.get()

    @property
    def sock(self) -> Any:
        """The struct sock behind a socket's file, else NULL."""
        f = self.kernel_file.c
        is_socket = f.f_inode and stat.S_ISSOCK(f.f_inode.i_mode) and f.private_data
        return ffi.cast("struct socket *", f.private_data).sk if is_socket else ffi.NULL

    def release(self) -> None:
        self.kernel_file.put()


def pidfd_getfd(kernel: Kernel, caller: Caller, pidfd: int, target_fd: int) -> int:
    """An fd of the file that a task has at `target_fd`. Raises EBADF for either fd, ESRCH for a task that is gone."""
    file = caller.fds.get(pidfd)
    if not isinstance(file, PidFile):
        raise refuse(errno.EBADF, f"fd {pidfd} is no pidfd")
    task = file.pidfd_task
    if task is None:
        raise refuse(errno.ESRCH, f"the task of pidfd {pidfd} is gone")
    found = task.files.by_fd.get(target_fd)
    if found is None:
        raise refuse(errno.EBADF, f"fd {target_fd} of task {task.pid} is not open")
    return caller.fds.install(TaskFile(found))
