"""This machine's network namespaces from /proc/PID/net: sockets of every family, IPv6 routes, in the order of the files."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from bpfjit.dataclass import replace

from .namespaces import NetNs
from .routes import RTF_GATEWAY, RouteRow
from .sockets import (
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


def update(kernel: Kernel, net: NetNs, text: Mapping[str, str]) -> None:
    """The sockets and routes of one namespace are what its files in /proc/PID/net say."""
    rows: list[tuple[SocketRow, int | None]] = [(row, None) for name in _PROTOCOLS for row in inet_rows(name, text[name])]
    rows += ((row, pointer or None) for row, pointer in unix_rows(text["unix"]))
    rows += ((row, pointer or None) for row, pointer in netlink_rows(text["netlink"]))
    kernel.sockets.become(net, rows)
    kernel.routes.become(net, route_rows(text["ipv6_route"]))
