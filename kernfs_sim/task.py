"""Tasks: struct task_struct on the native heap, their numbers in pid namespaces, which cgroup each is in."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from bpfjit.errors import refuse
from runtime import KernelHandle, ffi, lib

from .cgroup_files import update_populated
from .namespaces import Namespaces, NamespaceSet, NetNs, PidNs
from .task_files import TaskFiles
from .task_mm import TaskMm

if TYPE_CHECKING:
    from .cgroup import Cgroup

COMM_BYTES = 15
MAX_PID = 1 << 22


class Task:
    """One task; `c` is its struct task_struct. pid and tgid are the initial namespace's, `numbers` every namespace's."""

    def __init__(
        self,
        tasks: Tasks,
        pid: int,
        leader: Task | None,
        comm: str,
        uid: int,
        gid: int,
        net: NetNs,
        numbers: dict[PidNs, int],
    ) -> None:
        native = self._native = tasks.native
        self.pid = pid
        self.tgid = leader.pid if leader is not None else pid
        self.leader = leader or self
        self.threads = 0  # of the process, kept by its leader
        self.leader.threads += 1
        self.numbers = numbers
        self.c: Any = native.new("struct task_struct")
        self._cred: Any = native.new("struct cred")
        self._pid: Any = native.new("struct pid", ffi.sizeof("struct upid") * len(numbers))
        self._nsproxy: Any = native.new("struct nsproxy")
        c = self.c
        c.pid, c.tgid = pid, self.tgid
        self.rename(comm)
        c.group_leader = leader.c if leader else c
        c.prio = c.normal_prio = c.static_prio = 120
        c.usage.refs.counter = 1
        c.nr_cpus_allowed = native.cpus
        c.cpus_mask.bits[0] = (1 << native.cpus) - 1
        c.cpus_ptr = ffi.addressof(c, "cpus_mask")
        c.cred = c.real_cred = self._cred
        self.become(uid, gid)
        init = tasks.find(1)
        c.real_parent = c.parent = init.c if init else c
        c.thread_pid, c.nsproxy = self._pid, self._nsproxy
        upids = ffi.cast("struct upid *", ffi.addressof(self._pid, "numbers"))
        for i, (ns, nr) in enumerate(numbers.items()):
            upids[i].nr, upids[i].ns = nr, ns.c
            self._pid.level = i
            self._nsproxy.pid_ns_for_children = ns.c
        self.enter_net(net)
        self.files: TaskFiles = leader.files if leader is not None else TaskFiles(native)
        self.mm: TaskMm = leader.mm if leader is not None else TaskMm(native)
        self.files.share(c)
        self.mm.share(c)
        self.cgroup: Cgroup | None = None

    def set_stack(self, kernel: Sequence[int] = (), user: Sequence[int] = ()) -> None:
        """What bpf_get_stackid() and its like find of it: addresses, innermost first. Raises E2BIG above 127 of each."""
        arrays = ffi.new("u64[]", list(kernel)), ffi.new("u64[]", list(user))
        error = lib.rt_task_stack(self._native.ptr, self.c, arrays[0], len(kernel), arrays[1], len(user))
        if error:
            raise refuse(-error, f"task {self.pid}: stacks of {len(kernel)} and {len(user)} addresses")

    def rename(self, comm: str) -> None:
        self.comm = comm
        self.c.comm = os.fsencode(comm)[:COMM_BYTES]

    def become(self, uid: int, gid: int) -> None:
        """The task acts as this user from now on."""
        cred = self._cred
        cred.uid.val = cred.euid.val = uid
        cred.gid.val = cred.egid.val = gid

    def enter_net(self, net: NetNs) -> None:
        self.net = net
        self._nsproxy.net_ns = net.c

    @property
    def namespaces(self) -> Namespaces:
        """What the task, as a reader, sees."""
        return Namespaces(next(reversed(self.numbers)), self.net)


Traced = Callable[[str, list[int], Callable[[], None]], None]


class Tasks:
    """All tasks by pid; `home` is the cgroup that new ones are born in (the root)."""

    def __init__(self, native: KernelHandle, namespaces: NamespaceSet) -> None:
        self.native = native
        self.namespaces = namespaces
        self.home: Cgroup | None = None
        self._by_pid = namespaces.pid[""].by_nr
        # How a kernel function is called that programs may trace: its name, its arguments, what it does.
        self.traced: Traced = lambda name, args, body: body()
        self.on_exit: list[Callable[[Task], None]] = []  # told of a task that has gone

    def create(
        self,
        pid: int,
        comm: str = "",
        cgroup: Cgroup | None = None,
        *,
        tgid: int | None = None,
        uid: int = 0,
        gid: int = 0,
        pid_ns: PidNs | None = None,
        ns_pid: int | None = None,
        net_ns: NetNs | None = None,
    ) -> Task:
        """A new task (a thread of `tgid`, if given) in a cgroup. Raises EEXIST, EINVAL.

        pid_ns: its pid namespace, where its number is ns_pid or the next that is free (as in those between); net_ns: its
        network namespace. A thread is in its process's.
        """
        if not 0 < pid <= MAX_PID:
            raise refuse(errno.EINVAL, f"pid {pid}, wanted 1 to {MAX_PID}")
        if pid in self._by_pid:
            raise refuse(errno.EEXIST, f"task {pid} exists")
        leader = self._by_pid.get(tgid) if tgid is not None and tgid != pid else None
        if leader is not None:
            pid_ns, net_ns = pid_ns or next(reversed(leader.numbers)), net_ns or leader.net
        numbers: dict[PidNs, int] = {}
        for ns in (pid_ns or self.namespaces.pid[""]).chain():
            numbers[ns] = pid if ns.parent is None else ns_pid if ns is pid_ns and ns_pid is not None else ns.free_nr()
            if numbers[ns] in ns.by_nr:
                raise refuse(errno.EEXIST, f"task {numbers[ns]} exists in the pid namespace")
        task = Task(self, pid, leader, comm, uid, gid, net_ns or self.namespaces.net[""], numbers)
        if leader is None and tgid is not None:
            task.tgid = task.c.tgid = tgid  # of a process that is not here
        for ns, nr in numbers.items():
            ns.add(nr, task)
        home = cgroup or self.home
        assert home is not None
        self.move(task, home)
        return task

    def create_idle(self, home: Cgroup) -> Task:
        """The idle task, pid 0 and in no list: what is current where no other task does the work."""
        root = self.namespaces.pid[""]
        task = Task(self, 0, None, "swapper/0", 0, 0, self.namespaces.net[""], {root: 0})
        task.c.cgroups = home.cset
        task.c.sched_task_group = home.task_group
        return task

    def find(self, pid: int) -> Task | None:
        return self._by_pid.get(pid)

    def move(self, task: Task, cgroup: Cgroup) -> None:
        """Put a task into a cgroup; out of another, it is the kernel's cgroup_attach_task()."""
        if task.cgroup is None:
            self._enter(task, cgroup)
            return
        args = [int(ffi.cast("uintptr_t", c)) for c in (cgroup.c, task.c)]
        self.traced("cgroup_attach_task", [*args, 0], lambda: self._enter(task, cgroup))

    def _enter(self, task: Task, cgroup: Cgroup) -> None:
        self._leave(task)
        task.cgroup = cgroup
        cgroup.tasks.append(task)
        c = task.c
        c.cgroups = cgroup.cset
        c.sched_task_group = cgroup.task_group
        cgroup.cset.nr_tasks += 1
        if len(cgroup.tasks) == 1:
            update_populated(cgroup, 1)

    def _leave(self, task: Task) -> None:
        if task.cgroup is not None:
            task.cgroup.tasks.remove(task)
            task.cgroup.cset.nr_tasks -= 1
            if not task.cgroup.tasks:
                update_populated(task.cgroup, -1)
            task.cgroup = None

    def remove(self, task: Task) -> None:
        """The task exits."""
        self._leave(task)
        task.leader.threads -= 1
        for ns, nr in task.numbers.items():
            ns.remove(nr)
        for tell in self.on_exit:
            tell(task)
        task.c.files = task.c.mm = ffi.NULL  # whoever still holds the task finds it without
        task.files.leave(task.c)
        task.mm.leave(task.c)
        if self.native.ptr != ffi.NULL:
            lib.rt_task_put(self.native.ptr, task.c)

    def __iter__(self) -> Iterator[Task]:
        return iter([self._by_pid[pid] for pid in sorted(self._by_pid)])
