"""This machine's tasks from /proc: threads, figures, the namespaces that they are in."""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from .cgroup import Cgroup
from .host_open import FORBIDDEN, HostOpen, read
from .namespaces import NetNs, PidNs
from .task import Task

if TYPE_CHECKING:
    from .kernel import Kernel

_NS_GET_PARENT = 0xB702
_PF_KTHREAD = 0x00200000
_TICK_NS = 10_000_000
_STATES = {"R": 0, "S": 1, "D": 2, "T": 4, "t": 8, "Z": 0, "X": 0, "I": 0x402}


class HostTasks:
    """Reads tasks into a kernel. `unseen` counts, by kind, the tasks of which something could not be seen."""

    def __init__(self, kernel: Kernel, proc: Path) -> None:
        self.kernel = kernel
        self.proc = proc
        self.unseen: Counter[str] = Counter()
        self.open = HostOpen(kernel, proc, self.unseen)
        self.net: dict[int, NetNs] = {}  # by inode number of the namespace
        self.net_seen_at: dict[int, Path] = {}
        self._born: dict[int, bytes] = {}  # pid -> start time: a number may have been given again
        self._parent: dict[int, int] = {}
        self._pid_ns: dict[int, PidNs] = {}
        self._own_namespaces()

    def _own_namespaces(self) -> None:
        namespaces = self.kernel.namespaces
        pid, net = self._ns_inum("self", "pid"), self._ns_inum("self", "net")
        if pid:
            self._pid_ns[pid] = namespaces.pid[""]
            namespaces.pid[""].c.ns.inum = pid
        if net:
            namespaces.net[""].c.ns.inum = net
        self.net[net] = namespaces.net[""]
        self._own_net = net

    def _ns_inum(self, pid: int | str, kind: str) -> int:
        try:
            link = os.readlink(f"{self.proc}/{pid}/ns/{kind}")
        except OSError as e:
            if e.errno in FORBIDDEN:
                self.unseen[f"{kind} namespace"] += 1
            return 0
        digits = link[link.find("[") + 1 : -1]
        return int(digits) if digits.isdigit() else 0

    def _where(self, pid: int, tgid: int) -> str:
        return f"{self.proc}/{tgid}/task/{pid}" if pid != tgid else f"{self.proc}/{pid}"

    def begin(self) -> None:
        self.unseen.clear()
        self.net_seen_at = {self._own_net: self.proc / "self/net"}

    def drop_ended(self) -> None:
        """What has ended goes, and what has another's number now."""
        for task in list(self.kernel.tasks):
            born = self._born.get(task.pid)
            if born is not None and _start_time(_stat(self._where(task.pid, task.tgid))) != born:
                self.kernel.tasks.remove(task)
                del self._born[task.pid], self._parent[task.pid]
                self.open.forget(task.pid)

    def look(self, members: list[tuple[Cgroup, list[int]]]) -> list[Task]:
        """Tasks are what they are now, by the processes (or, of a threaded cgroup, threads) of each cgroup.

        Returns the processes, for look_into().
        """
        home = {pid: cgroup for cgroup, pids in members for pid in pids}
        leaders = []
        for pid, cgroup in home.items():
            leader = self._look_at(pid, pid, cgroup)
            if leader is None or leader.leader is not leader:
                continue
            try:
                tids = sorted(int(t) for t in os.listdir(f"{self.proc}/{pid}/task") if t.isdigit())
            except OSError:
                tids = []
            for tid in tids:
                if tid != pid and tid not in home:
                    self._look_at(tid, pid, cgroup)
            leaders.append(leader)
        tasks = self.kernel.tasks
        for task in tasks:  # all are known by now: a parent may have the higher number
            if task.pid in self._parent:
                parent = tasks.find(self._parent[task.pid]) or tasks.find(1) or task
                task.c.real_parent = task.c.parent = parent.c
        return leaders

    def look_into(self, processes: list[Task]) -> None:
        """Their files and memory. One that has ended, and waits for its parent, has none."""
        self.open.begin()
        for leader in processes:
            if leader.c.exit_state:
                leader.files.close_all()
                leader.mm.become(())
                continue
            self.open.files(leader)
            if not leader.c.flags & _PF_KTHREAD:
                self.open.memory(leader, _stat(self._where(leader.pid, leader.pid)))
        self.open.end()

    def _look_at(self, pid: int, tgid: int, cgroup: Cgroup) -> Task | None:
        """One task as it is now; None for one that has ended meanwhile."""
        where = self._where(pid, tgid)
        comm = read(f"{where}/comm")
        fields = dict(line.split(b":", 1) for line in read(f"{where}/status").splitlines() if b":" in line)
        try:
            tgid, uid = int(fields[b"Tgid"]), int(fields[b"Uid"].split()[1])
            gid = int(fields.get(b"Gid", b"0 0").split()[1])
        except (KeyError, ValueError, IndexError):
            return None  # it has ended
        if not comm:
            return None
        name, net = os.fsdecode(comm.removesuffix(b"\n")[:15]), self._net_namespace(pid)
        task = self.kernel.tasks.find(pid)
        if task is None:
            numbers = [int(n) for n in fields.get(b"NSpid", b"").split()]
            task = self.kernel.tasks.create(
                pid,
                name,
                cgroup,
                tgid=tgid,
                uid=uid,
                gid=gid,
                pid_ns=self._pid_namespace(pid, numbers),
                ns_pid=numbers[-1] if len(numbers) > 1 else None,
                net_ns=net,
            )
        else:
            task.rename(name)
            task.become(uid, gid)
            if net is not None:
                task.enter_net(net)
            if task.cgroup is not cgroup:
                self.kernel.tasks.move(task, cgroup)
        if fields.get(b"Kthread", b"").strip() == b"1":
            task.c.flags |= _PF_KTHREAD
        task.c.nvcsw = int(fields.get(b"voluntary_ctxt_switches", b"0"))
        task.c.nivcsw = int(fields.get(b"nonvoluntary_ctxt_switches", b"0"))
        self._figures(task, _stat(where))
        return task

    def _figures(self, task: Task, f: list[bytes]) -> None:
        """/proc/PID/stat, from what stands behind the name in parentheses."""
        if len(f) < 20:
            return
        self._born[task.pid] = f[19]
        c = task.c
        setattr(c, "__state", _STATES.get(f[0].decode(), 0))
        c.exit_state = {b"Z": 0x20, b"X": 0x10}.get(f[0], 0)
        self._parent[task.pid] = int(f[1])
        c.min_flt, c.maj_flt = int(f[7]), int(f[9])
        c.utime, c.stime = int(f[11]) * _TICK_NS, int(f[12]) * _TICK_NS
        c.prio, c.static_prio = 100 + int(f[15]), 120 + int(f[16])
        c.start_time = c.start_boottime = int(f[19]) * _TICK_NS

    # -- namespaces ----------------------------------------------------------------------------------

    def _pid_namespace(self, pid: int, numbers: list[int]) -> PidNs | None:
        if len(numbers) < 2:
            return None
        inum = self._ns_inum(pid, "pid")
        if inum not in self._pid_ns:
            try:
                fd = os.open(f"{self.proc}/{pid}/ns/pid", os.O_RDONLY)
            except OSError:
                return None
            self._pid_ns[inum] = self._below(fd, inum)
        return self._pid_ns[inum]

    def _below(self, fd: int, inum: int) -> PidNs:
        """The namespace behind an fd, which is closed; its parents are made first."""
        try:
            above = fcntl.ioctl(fd, _NS_GET_PARENT)
            parent_inum = os.fstat(above).st_ino
        finally:
            os.close(fd)
        if parent_inum in self._pid_ns:
            os.close(above)
        else:
            self._pid_ns[parent_inum] = self._below(above, parent_inum)
        made = PidNs(self.kernel.native, inum, self._pid_ns[parent_inum])
        self.kernel.namespaces.pid[str(inum)] = made
        return made

    def _net_namespace(self, pid: int) -> NetNs | None:
        inum = self._ns_inum(pid, "net")
        if not inum:
            return None
        if inum not in self.net:
            made = self.net[inum] = self.kernel.namespaces.add_net(str(inum))
            made.c.ns.inum = inum
        self.net_seen_at.setdefault(inum, self.proc / str(pid) / "net")
        return self.net[inum]


def _stat(where: str) -> list[bytes]:
    """The fields of a task's stat from its state on, which is the third."""
    text = read(f"{where}/stat")
    return text[text.rfind(b")") + 2 :].split()


def _start_time(fields: list[bytes]) -> bytes:
    return fields[19] if len(fields) > 19 else b""
