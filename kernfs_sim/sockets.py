"""Sockets on the native heap: TCP in its three kinds, UDP, Unix and netlink, as iterators and files show them."""

from __future__ import annotations

import ipaddress
import stat
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

from bpfjit.dataclass import dataclass
from runtime import KernelHandle, ffi

from .namespaces import NetNs
from .task_files import FileRow, Held, KernelFile

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET = 1, 2, 3, 5
IPPROTO_TCP, IPPROTO_UDP = 6, 17
TCP_ESTABLISHED, TCP_TIME_WAIT, TCP_CLOSE, TCP_LISTEN, TCP_NEW_SYN_RECV = 1, 6, 7, 10, 12
TCP_STATES = {
    "established": 1, "syn_sent": 2, "syn_recv": 3, "fin_wait1": 4, "fin_wait2": 5, "time_wait": 6, "close": 7,
    "close_wait": 8, "last_ack": 9, "listen": 10, "closing": 11, "new_syn_recv": 12,
}  # fmt: skip
SS_UNCONNECTED, SS_CONNECTED = 1, 3
_HZ = 250
_NO_SSTHRESH = 0x7FFFFFFF


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address and a port."""

    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """ "192.0.2.1:80" or "[2001:db8::1]:80"; without a port it is 0. Raises ValueError."""
        host, port = text, ""
        if text.startswith("["):
            host, closing, port = text[1:].partition("]")
            if not closing or (port and not port.startswith(":")):
                raise ValueError("wanted [ADDRESS]:PORT")
            port = port[1:]
        elif text.count(":") == 1:
            host, _, port = text.partition(":")
        number = int(port or 0)
        if not 0 <= number <= 0xFFFF:
            raise ValueError(f"port {number}")
        return cls(ipaddress.ip_address(host), number)


@dataclass(frozen=True, slots=True)
class TcpTimer:
    """A timer as /proc/net/tcp shows it: 0 none, 1 retransmit, 2 keepalive, 4 probe; due in clock ticks (100 a second)."""

    active: int = 0
    due_ticks: int = 0
    retransmits: int = 0
    probes: int = 0


@dataclass(frozen=True, slots=True)
class InetRow:
    """A TCP or UDP socket, in the figures that /proc/net/tcp, udp and their IPv6 twins have."""

    protocol: int
    local: Endpoint
    remote: Endpoint
    state: int
    uid: int = 0
    ino: int = 0
    refs: int = 1
    tx_queue: int = 0
    rx_queue: int = 0
    drops: int = 0
    bucket: int = 0
    timer: TcpTimer = TcpTimer()
    rto: int = 1000  # jiffies, as what follows
    ato: int = 40
    quick: int = 0  # (quick << 1) | pingpong
    cwnd: int = 10
    ssthresh: int = -1

    @property
    def family(self) -> int:
        return AF_INET6 if self.local.address.version == 6 else AF_INET


@dataclass(frozen=True, slots=True)
class UnixRow:
    """A Unix socket. path: as bound, "\\0name" for an abstract one, "" for none."""

    path: str = ""
    type: int = SOCK_STREAM
    state: int = TCP_CLOSE
    uid: int = 0
    ino: int = 0
    refs: int = 1


@dataclass(frozen=True, slots=True)
class NetlinkRow:
    """A netlink socket, in the figures that /proc/net/netlink has."""

    protocol: int
    portid: int = 0
    groups: int = 0
    rmem: int = 0
    wmem: int = 0
    dump: bool = False
    refs: int = 1
    drops: int = 0
    ino: int = 0


SocketRow = InetRow | UnixRow | NetlinkRow


def _identity(row: SocketRow, pointer_name: int | None) -> tuple[object, ...]:
    """What makes it the same socket at another time: its inode where a process has it, else its addresses."""
    if isinstance(row, InetRow):
        return _structure(row), row.ino or (row.local, row.remote)
    if isinstance(row, UnixRow):
        return "unix", pointer_name, row.ino, row.type, row.path
    return "netlink", pointer_name, row.ino, row.protocol, row.portid, row.groups


class Socket(Held):
    """One socket in a network namespace; `c` is its structure, from which programs cast."""

    def __init__(self, net: NetNs, row: SocketRow, pointer_name: int | None = None, *, listed: bool = True) -> None:
        super().__init__(net.native)
        self.net = net
        self.row = row
        self.listed = listed  # one that is neither bound nor connected is in no list, and only its file shows it
        self.files: list[KernelFile] = []
        self.inode: Any = None  # it lies in the struct socket_alloc
        self.identity = _identity(row, pointer_name)
        self.kind = _kind(row)
        self.c: Any = self.new(_structure(row))
        ffi.cast("struct sock_common *", self.c).skc_net.net = net.c
        self.update(row)
        self.named = pointer_name is not None
        if pointer_name is not None:
            self.native.name_pointer(self.c, pointer_name)
        self.number = net.add(self.kind, self.c) if listed else 0

    def update(self, row: SocketRow) -> None:
        """The socket has other figures by now, its identity being the same."""
        self.row = row
        _FILLERS[type(row)](self, row)
        ffi.cast("struct sock_common *", self.c).skc_refcnt.refs.counter = row.refs

    def put_last(self) -> None:
        """Behind all others of its kind."""
        self.net.remove(self.kind, self.number)
        self.number = self.net.add(self.kind, self.c)

    def close(self) -> None:
        """The socket goes; who walks over it goes on."""
        if self.listed:
            self.net.remove(self.kind, self.number)
        if self.named:
            self.native.name_pointer(self.c, 0)
        for file in self.files:
            if file.refs:  # somebody still has it open: a file without a socket from now on
                file.c.private_data = file.c.f_inode = ffi.NULL
        if self.inode is not None:
            self.native.forget(self.inode)
        self.native.sock_closed(self.c)
        self.free()

    def file_row(self, flags: int) -> FileRow:
        return FileRow(f"socket:[{self.row.ino}]", flags, ino=self.row.ino, mode=stat.S_IFSOCK | 0o777, uid=self._uid())

    def file(self, flags: int = 2) -> KernelFile:
        """An open file of this socket, to be installed in a task's table."""
        row = self.file_row(flags)
        sock = ffi.cast("struct sock *", self.c).sk_socket
        inode = ffi.addressof(ffi.cast("struct socket_alloc *", sock), "vfs_inode") if sock else None
        made = KernelFile(self.native, row, inode)
        made.c.private_data = sock
        if sock:
            sock.file = made.c
        self.files = [*(f for f in self.files if f.refs), made]
        return made

    def _uid(self) -> int:
        return getattr(self.row, "uid", 0)

    def attach_inode(self, sock: Any, state: int) -> None:
        """The struct socket that a process has, with the inode behind it; none where there is no inode number."""
        sock.sk_ino = self.row.ino
        if not self.row.ino:
            return
        made = sock.sk_socket
        both = ffi.cast("struct socket_alloc *", made) if made else self.new("struct socket_alloc")
        both.socket.sk, both.socket.state, both.socket.type = sock, state, sock.sk_type
        both.vfs_inode.i_ino, both.vfs_inode.i_mode = self.row.ino, stat.S_IFSOCK | 0o777
        both.vfs_inode.i_uid.val = self._uid()
        sock.sk_socket, self.inode = ffi.addressof(both, "socket"), ffi.addressof(both, "vfs_inode")


def _bytes_of(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bytes:
    return address.packed


def _fill_common(common: Any, row: InetRow) -> None:
    common.skc_family, common.skc_state = row.family, row.state
    common.skc_dport = int.from_bytes(row.remote.port.to_bytes(2, "big"), "little")
    common.skc_num, common.skc_hash = row.local.port, row.bucket
    if row.family == AF_INET6:
        ffi.memmove(ffi.addressof(common.skc_v6_rcv_saddr), _bytes_of(row.local.address), 16)
        ffi.memmove(ffi.addressof(common.skc_v6_daddr), _bytes_of(row.remote.address), 16)
    else:
        common.skc_rcv_saddr = int.from_bytes(_bytes_of(row.local.address), "little")
        common.skc_daddr = int.from_bytes(_bytes_of(row.remote.address), "little")


def _due(ticks: int) -> int:
    """A moment in jiffies, so many clock ticks from now."""
    return int((time.clock_gettime(time.CLOCK_MONOTONIC) + ticks / 100) * _HZ)


def _kind(row: SocketRow) -> str:
    """The list that it is in."""
    if isinstance(row, InetRow):
        return "tcp" if row.protocol == IPPROTO_TCP else "udp"
    return "unix" if isinstance(row, UnixRow) else "netlink"


def _structure(row: SocketRow) -> str:
    if isinstance(row, UnixRow):
        return "struct unix_sock"
    if isinstance(row, NetlinkRow):
        return "struct netlink_sock"
    short = {TCP_TIME_WAIT: "struct tcp_timewait_sock", TCP_NEW_SYN_RECV: "struct tcp_request_sock"}
    if row.protocol == IPPROTO_TCP and row.state in short:
        return short[row.state]
    return f"struct {_kind(row)}{'6' if row.family == AF_INET6 else ''}_sock"


def _inet(s: Socket, row: InetRow) -> None:
    if row.protocol == IPPROTO_TCP and row.state == TCP_TIME_WAIT:
        tw = s.c
        _fill_common(tw.tw_sk.__tw_common, row)
        tw.tw_sk.tw_substate = row.state
        tw.tw_sk.tw_sport = int.from_bytes(row.local.port.to_bytes(2, "big"), "little")
        tw.tw_sk.tw_timer.expires = _due(row.timer.due_ticks)
        return
    if row.protocol == IPPROTO_TCP and row.state == TCP_NEW_SYN_RECV:
        base = s.c.req.req
        _fill_common(base.__req_common, row)
        base.num_timeout, base.rsk_timer.expires = row.timer.retransmits, _due(row.timer.due_ticks)
        return
    six = row.family == AF_INET6
    if row.protocol == IPPROTO_TCP:
        tcp = s.c.tcp if six else s.c
        _fill_tcp(tcp, row)
        inet = tcp.inet_conn.icsk_inet
    else:
        inet = (s.c.udp if six else s.c).inet
    if six:
        inet.pinet6 = ffi.addressof(s.c, "inet6")
    inet.inet_sport = int.from_bytes(row.local.port.to_bytes(2, "big"), "little")
    _fill_sock(inet.sk, row.protocol, SOCK_STREAM if row.protocol == IPPROTO_TCP else SOCK_DGRAM, row.uid, row.drops)
    _fill_common(inet.sk.__sk_common, row)
    inet.inet_saddr = inet.sk.__sk_common.skc_rcv_saddr
    if row.protocol == IPPROTO_UDP:
        inet.sk.sk_wmem_alloc.refs.counter, inet.sk.sk_backlog.rmem_alloc.counter = 1 + row.tx_queue, row.rx_queue
    s.attach_inode(ffi.addressof(inet, "sk"), SS_CONNECTED if row.state == TCP_ESTABLISHED else SS_UNCONNECTED)


def _fill_tcp(tcp: Any, row: InetRow) -> None:
    icsk, timer = tcp.inet_conn, row.timer
    tcp.write_seq, tcp.rcv_nxt = row.tx_queue, 0 if row.state == TCP_LISTEN else row.rx_queue
    listens = row.state == TCP_LISTEN
    icsk.icsk_inet.sk.sk_ack_backlog = row.rx_queue if listens else 0
    icsk.icsk_accept_queue.fastopenq.max_qlen = max(row.ssthresh, 0) if listens else 0
    icsk.icsk_retransmits, icsk.icsk_probes_out = timer.retransmits, timer.probes
    icsk.icsk_pending = {1: 1, 4: 3}.get(timer.active, 0)  # ICSK_TIME_RETRANS, ICSK_TIME_PROBE0
    if icsk.icsk_pending:
        icsk.icsk_retransmit_timer.expires = _due(timer.due_ticks)
    icsk.icsk_rto = row.rto
    icsk.icsk_ack.ato, icsk.icsk_ack.quick, icsk.icsk_ack.pingpong = min(row.ato, 255), row.quick >> 1, 3 * (row.quick & 1)
    tcp.snd_cwnd, tcp.snd_ssthresh = row.cwnd, _NO_SSTHRESH if row.ssthresh < 0 else row.ssthresh


def _fill_sock(sk: Any, protocol: int, type: int, uid: int, drops: int = 0) -> None:
    sk.sk_protocol, sk.sk_type, sk.sk_uid.val, sk.sk_drops.counter = protocol, type, uid, drops
    sk.sk_wmem_alloc.refs.counter = 1


def _unix(s: Socket, row: UnixRow) -> None:
    u = s.c
    _fill_sock(u.sk, 0, row.type, row.uid)
    common = u.sk.__sk_common
    common.skc_family, common.skc_state = AF_UNIX, row.state
    if row.path and not u.addr:
        raw = row.path.encode("utf-8", "surrogateescape")[:108]
        address = u.addr = s.new("struct unix_address", ffi.sizeof("struct sockaddr_un") + 8)
        name = ffi.cast("struct sockaddr_un *", ffi.addressof(address, "name"))
        name.sun_family = AF_UNIX
        ffi.memmove(name.sun_path, raw, len(raw))
        # An abstract name's length is all that says where it ends; a path has its NUL.
        address.len = 2 + len(raw) + (0 if raw.startswith(b"\0") else 1)
    s.attach_inode(ffi.addressof(u, "sk"), SS_CONNECTED if row.state == TCP_ESTABLISHED else SS_UNCONNECTED)


def _netlink(s: Socket, row: NetlinkRow) -> None:
    n = s.c
    _fill_sock(n.sk, row.protocol, SOCK_RAW, 0, row.drops)
    n.sk.__sk_common.skc_family = AF_NETLINK
    n.sk.sk_backlog.rmem_alloc.counter, n.sk.sk_wmem_alloc.refs.counter = row.rmem, 1 + row.wmem
    n.portid, n.cb_running = row.portid, row.dump
    if row.groups and not n.groups:
        n.ngroups = 32
        n.groups = ffi.cast("unsigned long *", s.new("struct list_head"))
        n.groups[0] = row.groups
    s.attach_inode(ffi.addressof(n, "sk"), SS_UNCONNECTED)


_FILLERS: dict[type, Any] = {InetRow: _inet, UnixRow: _unix, NetlinkRow: _netlink}


class Sockets:
    """All sockets of a kernel."""

    def __init__(self, native: KernelHandle) -> None:
        self.native = native
        self.all: dict[Socket, None] = {}
        self._by_ino: dict[int, Socket] = {}

    def add(self, net: NetNs, row: SocketRow, pointer_name: int | None = None, *, listed: bool = True) -> Socket:
        made = Socket(net, row, pointer_name, listed=listed)
        self.all[made] = None
        if row.ino:
            self._by_ino[row.ino] = made
        return made

    def remove(self, socket: Socket) -> None:
        del self.all[socket]
        if self._by_ino.get(socket.row.ino) is socket:
            del self._by_ino[socket.row.ino]
        socket.close()

    def by_ino(self, ino: int) -> Socket | None:
        return self._by_ino.get(ino)

    def become(self, net: NetNs, rows: Iterable[tuple[SocketRow, int | None]]) -> None:
        """The sockets of a namespace's lists, each with its %p name, are these, in this order.

        One that was there stays the object that it was, with what programs have stored for it.
        """
        there: dict[tuple[object, ...], deque[Socket]] = {}
        for socket in sorted((s for s in self.all if s.net is net and s.listed), key=lambda s: s.number):
            there.setdefault(socket.identity, deque()).append(socket)
        plan = []
        for row, name in rows:
            same = there.get(_identity(row, name))
            plan.append((row, name, same.popleft() if same else None))
        for left in there.values():
            for socket in left:
                self.remove(socket)
        last: dict[str, int] = {}
        for row, name, known in plan:
            if known is None:
                known = self.add(net, row, name)
            else:
                known.update(row)
                if known.number < last.get(known.kind, 0):
                    known.put_last()
            last[known.kind] = known.number
