"""iter/ipv6_route, netlink, tcp, udp and unix: what the reader's network namespace has."""

from __future__ import annotations

from typing import Any

from ..caller import Caller
from .base import IndexTarget


class _NetTarget(IndexTarget):
    def index(self, caller: Caller) -> Any:
        return caller.namespaces.net_ns(self.kernel).indexes[self.name].ptr


class Ipv6RouteTarget(_NetTarget):
    name = "ipv6_route"


class NetlinkTarget(_NetTarget):
    name = "netlink"


class TcpTarget(_NetTarget):
    name = "tcp"


class UdpTarget(_NetTarget):
    name = "udp"


class UnixTarget(_NetTarget):
    name = "unix"
