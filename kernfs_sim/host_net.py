"""This machine's network namespaces from /proc/PID/net: sockets of every family, IPv6 routes, in the order of the files."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from bpfjit.dataclass import replace

from .namespaces import NetNs
from .routes import RTF_GATEWAY, RouteRow
from .sockets import (
    AF_INET6,
    IPPROTO_TCP,
    IPPROTO_UDP,
    SOCK_SEQPACKET,
    TCP_CLOSE,
    TCP_ESTABLISHED,
    TCP_LISTEN,
    TCP_NEW_SYN_RECV,
    Endpoint,
    InetRow,
    NetlinkRow,
    SocketRow,
    TcpTimer,
    UnixRow,
)

if TYPE_CHECKING:
    from .kernel import Kernel

_SYN_RECV = 3
_SO_ACCEPTCON = 0x10000
_SS_CONNECTED = 3
_NETLINK_SOCK_DIAG, _TCPDIAG_GETSOCK, _NLM_F_REQUEST_DUMP, _NLMSG_ERROR, _NLMSG_DONE = 4, 18, 0x301, 2, 3
_ALL_STATES = 0xFFFFFFFF
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_DIAG = struct.Struct("=B3xHH16s16s12x16xI")  # struct inet_diag_msg: family, ports, addresses, inode number
_Place = tuple[Endpoint, Endpoint, int]
_PROTOCOLS = {"tcp": IPPROTO_TCP, "tcp6": IPPROTO_TCP, "udp": IPPROTO_UDP, "udp6": IPPROTO_UDP}


def _endpoint(text: str) -> Endpoint:
    """ "0100007F:0016": 32-bit words as the machine has them, the port as a number."""
    words, port = text.split(":")
    raw = b"".join(int(words[i : i + 8], 16).to_bytes(4, "little") for i in range(0, len(words), 8))
    return Endpoint(ipaddress.ip_address(raw), int(port, 16))


def inet_rows(name: str, text: str) -> Iterator[InetRow]:
    """The lines of /proc/net/tcp, tcp6, udp or udp6."""
    protocol = _PROTOCOLS[name]
    for line in text.splitlines()[1:]:
        f = line.split()
        tx, rx = (int(x, 16) for x in f[4].split(":"))
        active, due = (int(x, 16) for x in f[5].split(":"))
        state, ino = int(f[3], 16), int(f[9])
        row = InetRow(protocol, _endpoint(f[1]), _endpoint(f[2]), state, int(f[7]), ino, int(f[10]), tx, rx)
        if protocol == IPPROTO_UDP:
            yield replace(row, bucket=int(f[0].rstrip(":")), drops=int(f[12]))
            continue
        if state == _SYN_RECV and not ino and len(f) <= 12:
            row = replace(row, state=TCP_NEW_SYN_RECV)  # a request: the file shows it as SYN_RECV
        row = replace(row, timer=TcpTimer(active, due, int(f[6], 16), int(f[8])))
        if len(f) >= 17:
            # The first two are clock ticks in the file and jiffies in the kernel.
            rto, ato = (int(x) * 250 // 100 for x in f[12:14])
            row = replace(row, rto=rto, ato=ato, quick=int(f[14]), cwnd=int(f[15]), ssthresh=int(f[16]))
        yield row


def unix_rows(text: str) -> Iterator[tuple[UnixRow, int | None]]:
    for line in text.splitlines()[1:]:
        num, refs, _, flags, kind, st, *rest = line.split(None, 6)
        ino, _, path = rest[0].partition(" ") if rest else ("0", "", "")
        listening = int(flags, 16) & _SO_ACCEPTCON
        state = TCP_LISTEN if listening else TCP_ESTABLISHED if int(st, 16) == _SS_CONNECTED else TCP_CLOSE
        if int(kind, 16) > SOCK_SEQPACKET:
            continue
        path = "\0" + path[1:].replace("@", "\0") if path.startswith("@") else path
        yield UnixRow(path, int(kind, 16), state, 0, int(ino), int(refs, 16)), int(num.rstrip(":"), 16)


def netlink_rows(text: str) -> Iterator[tuple[NetlinkRow, int | None]]:
    for line in text.splitlines()[1:]:
        f = line.split()
        row = NetlinkRow(
            int(f[1]), int(f[2]), int(f[3], 16), int(f[4]), int(f[5]), f[6] != "0", int(f[7]), int(f[8]), int(f[9])
        )
        yield row, int(f[0], 16)


def route_rows(text: str) -> Iterator[RouteRow]:
    for line in text.splitlines():
        dst, dst_len, src, src_len, via, metric, refs, _, flags, dev = line.split()
        gateway = ipaddress.IPv6Address(bytes.fromhex(via)) if int(flags, 16) & RTF_GATEWAY else None
        yield RouteRow(
            _network(dst, dst_len), dev, gateway, int(metric, 16), int(flags, 16), int(refs, 16), _network(src, src_len)
        )


def _network(address: str, length: str) -> ipaddress.IPv6Network:
    return ipaddress.IPv6Network((bytes.fromhex(address), int(length, 16)), strict=False)


def tcp_places() -> dict[_Place, int]:
    """Where this network namespace's TCP sockets stand in the order of their hashes, which no file tells for both families.

    Empty where sock_diag(7) is not to be had. Source: the request of before 3.3 (TCPDIAG_GETSOCK), which alone asks for all.
    """
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as sock:
            body = struct.pack("=52xII", _ALL_STATES, 0)
            sock.settimeout(1)
            sock.send(_HEADER.pack(_HEADER.size + len(body), _TCPDIAG_GETSOCK, _NLM_F_REQUEST_DUMP, 0, 0) + body)
            return {place: i for i, place in enumerate(_answers(sock))}
    except OSError:
        return {}


def _answers(sock: socket.socket) -> Iterator[_Place]:
    while True:
        data, at = sock.recv(1 << 16), 0
        while at < len(data):
            length, kind, *_ = _HEADER.unpack_from(data, at)
            if kind == _NLMSG_DONE:
                return
            if kind == _NLMSG_ERROR:
                raise OSError(-struct.unpack_from("=i", data, at + _HEADER.size)[0], "sock_diag")
            family, sport, dport, src, dst, ino = _DIAG.unpack_from(data, at + _HEADER.size)
            size = 16 if family == AF_INET6 else 4
            yield _place(src[:size], sport), _place(dst[:size], dport), ino
            at += (length + 3) & ~3


def _place(address: bytes, port: int) -> Endpoint:
    return Endpoint(ipaddress.ip_address(address), socket.ntohs(port))


def _in_order(rows: Iterable[InetRow], places: Mapping[_Place, int]) -> Iterator[InetRow]:
    """TCP as Linux walks it, by its hashes where they are known; UDP by its buckets, as the files have it."""
    rows = list(rows)
    tcp = [r for r in rows if r.protocol == IPPROTO_TCP]
    yield from sorted(tcp, key=lambda r: places.get((r.local, r.remote, r.ino), len(places)))
    yield from sorted((r for r in rows if r.protocol == IPPROTO_UDP), key=lambda r: r.bucket)


def update(kernel: Kernel, net: NetNs, text: Mapping[str, str], places: Mapping[_Place, int]) -> None:
    """The sockets and routes of one namespace are what its files in /proc/PID/net say; `places` is tcp_places() of it."""
    inet = [row for name in _PROTOCOLS for row in inet_rows(name, text[name])]
    rows: list[tuple[SocketRow, int | None]] = [(row, None) for row in _in_order(inet, places)]
    rows += ((row, pointer or None) for row, pointer in unix_rows(text["unix"]))
    rows += ((row, pointer or None) for row, pointer in netlink_rows(text["netlink"]))
    kernel.sockets.become(net, rows)
    kernel.routes.become(net, route_rows(text["ipv6_route"]))
