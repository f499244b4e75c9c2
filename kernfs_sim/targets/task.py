"""iter/task, task_file and task_vma: the tasks of the reader's pid namespace, their files, their memory."""

from __future__ import annotations

import errno
from typing import Any

from bpfjit.errors import refuse

from ..caller import Caller
from ..objects import ProgObject
from ..task_files import Held
from .base import IterTarget, LinkInfo, PutInfo, Rows


class TaskTarget(IterTarget):
    name = "task"
    tid = tgid = 0

    def attach(self, caller: Caller, info: LinkInfo, prog: ProgObject) -> None:
        tid, pid, pid_fd = info["task.tid"], info["task.pid"], info["task.pid_fd"]
        if (tid != 0) + (pid != 0) + (pid_fd != 0) > 1:
            raise refuse(errno.EINVAL, f"tid {tid}, pid {pid}, pid_fd {pid_fd}: wanted one of them")
        self.tid, self.tgid = tid, pid
        if pid_fd:
            task = getattr(caller.fds.get(pid_fd), "pidfd_task", None)
            if task is None:
                raise refuse(errno.EBADF, f"pid_fd {pid_fd} is no pidfd")
            self.tgid = task.leader.numbers.get(caller.namespaces.pid_ns(self.kernel), 0)

    def begin(self, caller: Caller, how: Any) -> Held | None:
        how.subject = caller.namespaces.pid_ns(self.kernel).index.ptr
        how.tid, how.tgid = self.tid, self.tgid
        return None

    def fdinfo(self) -> Rows:
        if self.tid:
            return [("task_type", "TID"), ("tid", self.tid)]
        return [("task_type", "PID"), ("pid", self.tgid)] if self.tgid else [("task_type", "ALL")]

    def fill_info(self, put: PutInfo) -> None:
        put("iter.task.tid", self.tid)
        if self.tgid:
            put("iter.task.pid", self.tgid)


class TaskFileTarget(TaskTarget):
    name = "task_file"


class TaskVmaTarget(TaskTarget):
    name = "task_vma"
