"""What this machine's processes have open and mapped, from /proc: made once, and made to agree at every later look."""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bpfjit.dataclass import replace
from runtime import ffi

from .namespaces import NetNs
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
from .task_files import FileRow, KernelFile
from .task_mm import Area, vm_flags

if TYPE_CHECKING:
    from .kernel import Kernel

FORBIDDEN = (errno.EACCES, errno.EPERM)
_PIECE_BYTES = 1 << 16
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
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # not open(): a look at a machine is a thousand of these
    except OSError:
        return b""
    pieces = []
    try:
        while piece := os.read(fd, _PIECE_BYTES):
            pieces.append(piece)
    except OSError:
        return b""
    finally:
        os.close(fd)
    return b"".join(pieces)


class HostOpen:
    """Files and memory of processes. `unseen` counts, by kind, the processes of which something could not be seen."""

    def __init__(self, kernel: Kernel, proc: Path, unseen: Counter[str]) -> None:
        self.kernel = kernel
        self.proc = proc
        self.unseen = unseen
        self._maps: dict[int, bytes] = {}  # by pid, the text that its areas were made of
        self._inos: set[int] = set()  # of sockets that somebody has open

    def begin(self) -> None:
        self._inos.clear()

    def end(self) -> None:
        """All processes have been looked at: sockets that only a file had, and that no file has any more, go."""
        sockets = self.kernel.sockets
        for socket in [s for s in sockets.all if not s.listed]:
            ino = socket.row.ino
            if ino not in self._inos or sockets.by_ino(ino) is not socket:  # closed, or in a list by now
                sockets.remove(socket)

    def forget(self, pid: int) -> None:
        self._maps.pop(pid, None)

    # -- files ---------------------------------------------------------------------------------------

    def files(self, task: Task) -> None:
        """The process's table of files is what it is on the machine now."""
        where, have = f"{self.proc}/{task.pid}/fd", task.files.by_fd
        try:
            fds = sorted(int(fd) for fd in os.listdir(where) if fd.isdigit())
        except OSError as e:
            self.unseen["files"] += e.errno in FORBIDDEN  # else it has ended
            fds = []
        for fd in set(have).difference(fds):
            task.files.close(fd)
        for fd in fds:
            row = self._row(task.pid, fd, where)
            socket = self._socket(row, f"{where}/{fd}", task.net) if row is not None else None
            file = have.get(fd)
            if file is not None and row is not None and _same(file, row, socket):
                file.update(row)
                continue
            if file is not None:
                task.files.close(fd)
            if row is not None:
                task.files.install(socket.file(row.flags) if socket else KernelFile(self.kernel.native, row), fd)

    def _row(self, pid: int, fd: int, where: str) -> FileRow | None:
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

    def _socket(self, row: FileRow, link: str, net: NetNs) -> Socket | None:
        """The socket that a file is of. One that no file of /proc/net has is known by its protocol's name alone."""
        m = _SOCKET.fullmatch(row.path)
        if m is None:
            return None
        ino = int(m[1])
        self._inos.add(ino)
        known = self.kernel.sockets.by_ino(ino)
        if known is not None:
            return known
        try:
            name = os.getxattr(link, "system.sockprotoname").rstrip(b"\0").decode()
        except OSError:
            return None
        unlisted = _UNLISTED.get(name)
        return self.kernel.sockets.add(net, replace(unlisted, ino=ino), listed=False) if unlisted is not None else None

    # -- memory --------------------------------------------------------------------------------------

    def memory(self, task: Task, stat_fields: list[bytes]) -> None:
        """The process's areas, and what its mm_struct says of them; `stat_fields` are /proc/PID/stat's from the state on."""
        try:
            text = Path(f"{self.proc}/{task.pid}/maps").read_bytes()
        except OSError as e:
            self.unseen["memory"] += e.errno in FORBIDDEN
            text = b""
        if text != self._maps.get(task.pid, b""):
            self._maps[task.pid] = text
            task.mm.become(_areas(text.decode("utf-8", "surrogateescape")))
        mm: Any = task.mm.c
        if mm is not None and len(stat_fields) >= 50:
            mm.start_code, mm.end_code, mm.start_stack = (int(w) for w in stat_fields[23:26])
            mm.start_data, mm.end_data, mm.start_brk = (int(w) for w in stat_fields[42:45])
            mm.arg_start, mm.arg_end, mm.env_start, mm.env_end = (int(w) for w in stat_fields[45:49])


def _same(file: KernelFile, row: FileRow, socket: Socket | None) -> bool:
    if file.c.f_inode == ffi.NULL:  # of a socket that has gone
        return False
    if socket is not None and file.c.private_data != ffi.cast("struct sock *", socket.c).sk_socket:
        return False
    return file.row.identity == (row if socket is None else socket.file_row(row.flags)).identity


def _areas(text: str) -> Iterator[Area]:
    for line in text.splitlines():
        m = _AREA.fullmatch(line)
        if m is None:
            continue
        start, end, offset = int(m[1], 16), int(m[2], 16), int(m[4], 16)
        if start >> 63:
            continue  # vsyscall: a page of the kernel's that is in no process's list
        dev, ino = os.makedev(int(m[5], 16), int(m[6], 16)), int(m[7])
        file = FileRow(m[8], ino=ino, dev=dev, mode=stat.S_IFREG | 0o644) if ino else None
        yield Area(start, end, vm_flags(m[3]), file, offset)
