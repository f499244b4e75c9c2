"""This machine, as far as whoever runs us sees it, built in a simulated kernel, and followed as it changes."""

from __future__ import annotations

import errno
import os
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from bpfjit.errors import refuse

from . import host_net
from .cgroup import Cgroup
from .host_open import read
from .host_tasks import HostTasks
from .namespaces import NetNs

if TYPE_CHECKING:
    from .kernel import Kernel

_PROC = Path("/proc")
_MEMORY_EVENTS = ("low", "high", "max", "oom", "oom_kill", "oom_group_kill")


def cgroup2_mount(proc: Path = _PROC) -> Path:
    """Where this machine's cgroup2 hierarchy is mounted. Raises ENOENT when it is not."""
    for line in (proc / "self/mounts").read_bytes().splitlines():
        fields = line.split(b" ")
        if len(fields) > 2 and fields[2] == b"cgroup2":
            return Path(os.fsdecode(_unescape(fields[1])))
    raise refuse(errno.ENOENT, "no cgroup2 hierarchy is mounted on this machine")


def _unescape(field: bytes) -> bytes:
    """A field of /proc/PID/mounts, where white space and backslashes are \\ooo."""
    return re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8) & 0xFF]), field)


class Host:
    """A machine in a kernel: cgroups with their ids, tasks in them, what they have open, sockets and routes.

    What vanishes meanwhile is left out; what may not be seen is counted in `unseen`. proc: where procfs is mounted.
    """

    def __init__(self, kernel: Kernel, proc: Path = _PROC) -> None:
        self.kernel = kernel
        self.proc = proc
        self.top = os.fspath(cgroup2_mount(proc))
        self.tasks = HostTasks(kernel, proc)
        self._unreadable: Counter[str] = Counter()
        self._net_text: dict[int, dict[str, bytes]] = {}
        root_id = os.stat(self.top).st_ino
        if root_id != kernel.cgroups.root.id:
            kernel.cgroups.renumber_root(root_id)

    @property
    def unseen(self) -> list[str]:
        """One line for each kind of thing that could not be seen."""
        lines = [f"{kind} of {count} tasks could not be seen" for kind, count in sorted(self.tasks.unseen.items()) if count]
        return lines + [f"{what} could not be read" for what in sorted(self._unreadable)]

    def refresh(self) -> None:
        """Make the kernel what the machine is now: what is new is added, what has gone is removed."""
        kernel, tasks = self.kernel, self.tasks
        tasks.begin()
        seen_cgroups, members = self._cgroups()
        tasks.drop_ended()
        processes = tasks.look(members)
        for inum, net in tasks.net.items():
            self._network(net, tasks.net_seen_at.get(inum), inum)
        tasks.look_into(processes)  # sockets are known by now
        for cgroup in reversed(list(kernel.cgroups)):
            if cgroup.id not in seen_cgroups and cgroup.up is not None and not cgroup.tasks:
                if not any(True for _ in cgroup.subgroups()):
                    kernel.cgroups.remove(cgroup)

    # -- cgroups -------------------------------------------------------------------------------------

    def _cgroups(self) -> tuple[set[int], list[tuple[Cgroup, list[int]]]]:
        """Build what is new of the hierarchy; the ids that there are, and who is in which cgroup."""
        cgroups = self.kernel.cgroups
        seen = {cgroups.root.id}
        members = []
        todo: list[tuple[str, Cgroup]] = [(self.top, cgroups.root)]
        while todo:
            path, cgroup = todo.pop()
            members.append((cgroup, self._fill(path, cgroup)))
            below = []
            for kn_id, name in _subdirectories(path):
                child = cgroups.by_id(kn_id)
                if child is not None and (child.up is not cgroup or child.name != name):
                    continue  # the id of one that was removed, given again while we looked
                if child is None and cgroup.lookup(name) is not None:
                    continue
                child = child or cgroups.create_in(cgroup, name, id=kn_id)
                seen.add(kn_id)
                below.append((f"{path}/{name}", child))
            todo += reversed(below)
        return seen, members

    def _fill(self, path: str, cgroup: Cgroup) -> list[int]:
        """A cgroup's figures; the processes (or, in a threaded one, the threads) in it."""
        cgroup.set_memory(_number(read(f"{path}/memory.current")))
        events = dict(line.split() for line in read(f"{path}/memory.events").splitlines() if len(line.split()) == 2)
        for i, name in enumerate(_MEMORY_EVENTS):
            cgroup.memcg.memory_events[i].counter = int(events.get(name.encode(), 0))
        cpu = dict(line.split() for line in read(f"{path}/cpu.stat").splitlines() if len(line.split()) == 2)
        cputime = cgroup.c.bstat.cputime
        cputime.utime, cputime.stime = (int(cpu.get(k, 0)) * 1000 for k in (b"user_usec", b"system_usec"))
        cputime.sum_exec_runtime = int(cpu.get(b"usage_usec", 0)) * 1000
        cgroup.c.bstat.ntime = int(cpu.get(b"nice_usec", 0)) * 1000
        pids = read(f"{path}/cgroup.procs")
        if not pids:
            pids = read(f"{path}/cgroup.threads")  # a threaded cgroup's processes cannot be read
        # 0: a task of another pid namespace
        return sorted(int(word) for word in pids.split() if word.isdigit() and word != b"0")

    # -- the network ---------------------------------------------------------------------------------

    def _network(self, net: NetNs, directory: Path | None, key: int) -> None:
        """A namespace's sockets and routes, where its files have changed; none where nobody is in it any more."""
        names = ("tcp", "tcp6", "udp", "udp6", "unix", "netlink", "ipv6_route")
        text = {name: read(directory / name) if directory is not None else b"" for name in names}
        if self._net_text.get(key) == text:
            return
        self._net_text[key] = text
        for path in (directory / n for n in names if directory is not None and not text[n]):
            if path.exists() and not os.access(path, os.R_OK):
                self._unreadable[f"{path}"] += 1
        own = net is self.kernel.namespaces.net[""] and self.proc == _PROC
        places = host_net.tcp_places() if own else {}
        host_net.update(self.kernel, net, {n: t.decode("utf-8", "surrogateescape") for n, t in text.items()}, places)


def populate(kernel: Kernel, proc: Path = _PROC) -> Host:
    """Build this machine in a kernel. Raises ENOENT where it has no cgroup2 hierarchy."""
    host = Host(kernel, proc)
    host.refresh()
    return host


def _subdirectories(path: str) -> list[tuple[int, str]]:
    """Ids and names; a cgroup's id is its directory's inode number. Ids grow with age: siblings in order of creation."""
    found = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    found.append((entry.inode(), entry.name))
    except OSError:
        return []  # removed, or another user's
    return sorted(found)


def _number(text: bytes) -> int:
    return int(text) if text.strip().isdigit() else 0
