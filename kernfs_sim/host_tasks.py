"""This machine's tasks from /proc: threads, figures, open files, memory areas, the namespaces that they are in."""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import os
import re
import stat
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bpfjit.dataclass import replace

from .cgroup import Cgroup
from .namespaces import NetNs, PidNs
from .sockets import (
    IPPROTO_TCP,
    IPPROTO_UDP,
    SOCK_DGRAM,
    TCP_CLOSE,
    Endpoint,
    InetRow,
    NetlinkRow,
    Socket,
    SocketRow,
    UnixRow,
)
from .task import Task
from .task_files import FileRow
from .task_mm import vm_flags

if TYPE_CHECKING:
    from .kernel import Kernel

_FORBIDDEN = (errno.EACCES, errno.EPERM)
_NS_GET_PARENT = 0xB702
_PF_KTHREAD = 0x00200000
_TICK_NS = 10_000_000
_STATES = {"R": 0, "S": 1, "D": 2, "T": 4, "t": 8, "Z": 0, "X": 0, "I": 0x402}
_AREA = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) ([0-9a-f]+) ([0-9a-f]+):([0-9a-f]+) (\d+) *(.*)")
_NO_4, _NO_6 = Endpoint(ipaddress.IPv4Address(0)), Endpoint(ipaddress.IPv6Address(0))
_UNLISTED: dict[str, SocketRow] = {
    "TCP": InetRow(IPPROTO_TCP, _NO_4, _NO_4, TCP_CLOSE),
    "TCPv6": InetRow(IPPROTO_TCP, _NO_6, _NO_6, TCP_CLOSE),
    "UDP": InetRow(IPPROTO_UDP, _NO_4, _NO_4, TCP_CLOSE),
    "UDPv6": InetRow(IPPROTO_UDP, _NO_6, _NO_6, TCP_CLOSE),
    "UNIX": UnixRow(type=SOCK_DGRAM),
    "UNIX-STREAM": UnixRow(),
    "NETLINK": NetlinkRow(0),
}
_SOCKET = re.compile(r"socket:\[(\d+)\]")


def read(path: str | Path) -> bytes:
    """A file's contents; nothing where it has gone or may not be read."""
    try:
        with open(path, "rb") as f:
            return f.read()
    except OSError:
        return b""


class HostTasks:
    """Reads tasks into a kernel. `unseen` counts, by kind, the tasks of which something could not be seen."""

    def __init__(self, kernel: Kernel, proc: Path) -> None:
        self.kernel = kernel
        self.proc = proc
        self.unseen: Counter[str] = Counter()
        self.born: dict[int, bytes] = {}  # pid -> start time: a number may have been given again
        self.net: dict[int, NetNs] = {}  # by inode number of the namespace
        self.net_seen_at: dict[int, Path] = {}
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
        self.net_seen_at[net] = self.proc / "self/net"

    def _ns_inum(self, pid: int | str, kind: str) -> int:
        try:
            link = os.readlink(f"{self.proc}/{pid}/ns/{kind}")
        except OSError as e:
            if e.errno in _FORBIDDEN:
                self.unseen[f"{kind} namespace"] += 1
            return 0
        digits = link[link.find("[") + 1 : -1]
        return int(digits) if digits.isdigit() else 0

    def add(self, pid: int, cgroup: Cgroup) -> None:
        """A task and, if it leads a process, the process's threads. What has ended meanwhile is left out."""
        leader = self._add_one(f"{self.proc}/{pid}", pid, cgroup)
        if leader is None or leader.leader is not leader:
            return
        try:
            tids = sorted(int(t) for t in os.listdir(f"{self.proc}/{pid}/task") if t.isdigit())
        except OSError:
            tids = []
        for tid in tids:
            if self.kernel.tasks.find(tid) is None:
                self._add_one(f"{self.proc}/{pid}/task/{tid}", tid, cgroup)
        if not leader.c.exit_state:
            self._files(leader)
            if not leader.c.flags & _PF_KTHREAD:
                self._memory(leader)

    def _add_one(self, where: str, pid: int, cgroup: Cgroup) -> Task | None:
        comm = read(f"{where}/comm")
        fields = dict(line.split(b":", 1) for line in read(f"{where}/status").splitlines() if b":" in line)
        try:
            tgid, uid = int(fields[b"Tgid"]), int(fields[b"Uid"].split()[1])
            gid = int(fields.get(b"Gid", b"0 0").split()[1])
        except (KeyError, ValueError, IndexError):
            return None  # it has ended
        if not comm:
            return None
        numbers = [int(n) for n in fields.get(b"NSpid", b"").split()]
        task = self.kernel.tasks.create(
            pid,
            os.fsdecode(comm.removesuffix(b"\n")[:15]),
            cgroup,
            tgid=tgid,
            uid=uid,
            gid=gid,
            pid_ns=self._pid_namespace(pid, numbers),
            ns_pid=numbers[-1] if len(numbers) > 1 else None,
            net_ns=self._net_namespace(pid),
        )
        if fields.get(b"Kthread", b"").strip() == b"1":
            task.c.flags |= _PF_KTHREAD
        task.c.nvcsw = int(fields.get(b"voluntary_ctxt_switches", b"0"))
        task.c.nivcsw = int(fields.get(b"nonvoluntary_ctxt_switches", b"0"))
        self._figures(task, read(f"{where}/stat"))
        return task

    def _figures(self, task: Task, text: bytes) -> None:
        """/proc/PID/stat, from what stands behind the name in parentheses."""
        f = text[text.rfind(b")") + 2 :].split()
        if len(f) < 20:
            return
        self.born[task.pid] = f[19]
        c = task.c
        setattr(c, "__state", _STATES.get(f[0].decode(), 0))
        c.exit_state = {b"Z": 0x20, b"X": 0x10}.get(f[0], 0)
        parent = self.kernel.tasks.find(int(f[1]))
        if parent is not None:
            c.real_parent = c.parent = parent.c
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
            self.net_seen_at[inum] = self.proc / str(pid) / "net"
        return self.net[inum]

    # -- files and memory ----------------------------------------------------------------------------

    def _files(self, task: Task) -> None:
        where = f"{self.proc}/{task.pid}/fd"
        try:
            fds = sorted(int(fd) for fd in os.listdir(where) if fd.isdigit())
        except OSError as e:
            self.unseen["files"] += e.errno in _FORBIDDEN  # else it has ended
            return
        for fd in fds:
            row = self._file(task.pid, fd, where)
            if row is not None:
                socket = _SOCKET.fullmatch(row.path)
                known = self.kernel.sockets.by_ino(int(socket[1])) if socket else None
                if socket and known is None:
                    known = self._unlisted(f"{where}/{fd}", task.net, int(socket[1]))
                if known is not None:
                    task.files.install(known.file(row.flags), fd)
                else:
                    task.files.open(row, fd)

    def _file(self, pid: int, fd: int, where: str) -> FileRow | None:
        try:
            path = os.readlink(f"{where}/{fd}")
            # Whoever serves a mount never asks it for anything: the answer would be waited for by who should give it.
            if any(path == top or path.startswith(top + "/") for top in self.kernel.own_mounts):
                return None
            st = os.stat(f"{where}/{fd}")
        except OSError:
            return None
        info = dict(line.split(b":", 1) for line in read(f"{self.proc}/{pid}/fdinfo/{fd}").splitlines() if b":" in line)
        flags, pos = int(info.get(b"flags", b"0"), 8) & ~os.O_CLOEXEC, int(info.get(b"pos", b"0"))  # that is the fd's
        return FileRow(path, flags, pos, st.st_ino, st.st_mode, st.st_dev, st.st_size, st.st_uid, st.st_gid)

    def _unlisted(self, link: str, net: NetNs, ino: int) -> Socket | None:
        """A socket that no file of /proc/net has: all that is known of it is its protocol's name."""
        try:
            name = os.getxattr(link, "system.sockprotoname").rstrip(b"\0").decode()
        except OSError:
            return None
        row = _UNLISTED.get(name)
        return self.kernel.sockets.add(net, replace(row, ino=ino), listed=False) if row is not None else None

    def _memory(self, task: Task) -> None:
        try:
            text = Path(f"{self.proc}/{task.pid}/maps").read_text(errors="surrogateescape")
        except OSError as e:
            self.unseen["memory"] += e.errno in _FORBIDDEN
            return
        for line in text.splitlines():
            m = _AREA.fullmatch(line)
            if m is None:
                continue
            start, end, offset = int(m[1], 16), int(m[2], 16), int(m[4], 16)
            if start >> 63:
                continue  # vsyscall: a page of the kernel's that is in no process's list
            dev, ino = os.makedev(int(m[5], 16), int(m[6], 16)), int(m[7])
            file = FileRow(m[8], ino=ino, dev=dev, mode=stat.S_IFREG | 0o644) if ino else None
            task.mm.add(start, end, vm_flags(m[3]), file, offset)
        mm: Any = task.mm.c
        if mm is None:
            return
        f = read(f"{self.proc}/{task.pid}/stat")
        f = f[f.rfind(b")") + 2 :]
        words = f.split()
        if len(words) >= 50:
            mm.start_code, mm.end_code, mm.start_stack = (int(w) for w in words[23:26])
            mm.start_data, mm.end_data, mm.start_brk = (int(w) for w in words[42:45])
            mm.arg_start, mm.arg_end, mm.env_start, mm.env_end = (int(w) for w in words[45:49])
