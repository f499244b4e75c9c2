"""Tasks: struct task_struct on the native heap, and which cgroup each is in."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bpfjit.errors import refuse
from runtime import Index, KernelHandle, ffi

if TYPE_CHECKING:
    from .cgroup import Cgroup

COMM_BYTES = 15
MAX_PID = 1 << 22


class Task:
    """One task; `c` is its struct task_struct."""

    def __init__(self, tasks: Tasks, pid: int, tgid: int, comm: str, uid: int, gid: int, leader: Task | None) -> None:
        native = tasks.native
        self.pid = pid
        self.tgid = tgid
        self.comm = comm
        self.c: Any = native.new("struct task_struct")
        self._cred: Any = native.new("struct cred")
        c = self.c
        c.pid, c.tgid, c.comm = pid, tgid, os.fsencode(comm)[:COMM_BYTES]
        c.group_leader = leader.c if leader else c
        c.prio = c.normal_prio = c.static_prio = 120
        c.nr_cpus_allowed = native.cpus
        cred = self._cred
        cred.uid.val = cred.euid.val = uid
        cred.gid.val = cred.egid.val = gid
        c.cred = c.real_cred = cred
        init = tasks.find(1)
        c.real_parent = c.parent = init.c if init else c
        self.cgroup: Cgroup | None = None


class Tasks:
    """All tasks by pid; `home` is the cgroup that new ones are born in (the root)."""

    def __init__(self, native: KernelHandle) -> None:
        self.native = native
        self.home: Cgroup | None = None
        self._by_pid: dict[int, Task] = {}
        self.index = Index(native)

    def create(
        self, pid: int, comm: str = "", cgroup: Cgroup | None = None, *, tgid: int | None = None, uid: int = 0, gid: int = 0
    ) -> Task:
        """A new task (a thread of `tgid`, if given) in a cgroup. Raises EEXIST, EINVAL."""
        if not 0 < pid <= MAX_PID:
            raise refuse(errno.EINVAL, f"pid {pid}, wanted 1 to {MAX_PID}")
        if pid in self._by_pid:
            raise refuse(errno.EEXIST, f"task {pid} exists")
        leader = self._by_pid.get(tgid) if tgid is not None and tgid != pid else None
        task = Task(self, pid, tgid if tgid is not None else pid, comm, uid, gid, leader)
        self._by_pid[pid] = task
        self.index.add(pid, task.c)
        home = cgroup or self.home
        assert home is not None
        self.move(task, home)
        return task

    def create_idle(self, home: Cgroup) -> Task:
        """The idle task, pid 0 and in no list: what is current where no other task does the work."""
        task = Task(self, 0, 0, "swapper/0", 0, 0, None)
        task.c.cgroups = home.cset
        task.c.sched_task_group = home.task_group
        return task

    def find(self, pid: int) -> Task | None:
        return self._by_pid.get(pid)

    def move(self, task: Task, cgroup: Cgroup) -> None:
        """Put a task into a cgroup."""
        self._leave(task)
        task.cgroup = cgroup
        cgroup.tasks.append(task)
        c = task.c
        c.cgroups = cgroup.cset
        c.sched_task_group = cgroup.task_group
        cgroup.cset.nr_tasks += 1

    def _leave(self, task: Task) -> None:
        if task.cgroup is not None:
            task.cgroup.tasks.remove(task)
            task.cgroup.cset.nr_tasks -= 1
            task.cgroup = None

    def remove(self, task: Task) -> None:
        """The task exits."""
        self._leave(task)
        del self._by_pid[task.pid]
        self.index.remove(task.pid)
        self.native.free(task.c, ffi.sizeof("struct task_struct"))
        self.native.free(task._cred, ffi.sizeof("struct cred"))

    def __iter__(self) -> Iterator[Task]:
        return iter([self._by_pid[pid] for pid in sorted(self._by_pid)])
