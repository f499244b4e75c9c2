"""IPv6 routes on the native heap, in the figures that /proc/net/ipv6_route has."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any

from bpfjit.dataclass import dataclass
from runtime import ffi

from .namespaces import NetNs
from .sockets import AF_INET6
from .task_files import Held

RTF_UP, RTF_GATEWAY, RTF_HOST = 0x0001, 0x0002, 0x0004
_ANY = ipaddress.IPv6Network("::/0")


@dataclass(frozen=True, slots=True)
class RouteRow:
    """A route: `via` None for one without a gateway. flags: RTF_*, RTF_GATEWAY left to `via`."""

    dst: ipaddress.IPv6Network
    dev: str
    via: ipaddress.IPv6Address | None = None
    metric: int = 1024
    flags: int = RTF_UP
    refs: int = 1
    src: ipaddress.IPv6Network = _ANY


class Route(Held):
    """One route of a network namespace; `c` is its struct fib6_info."""

    def __init__(self, net: NetNs, row: RouteRow) -> None:
        super().__init__(net.native)
        self.net = net
        self.row = row
        rt: Any = self.new("struct fib6_info", ffi.sizeof("struct fib6_nh"))
        self.c = rt
        for key, network in ((rt.fib6_dst, row.dst), (rt.fib6_src, row.src)):
            ffi.memmove(ffi.addressof(key, "addr"), network.network_address.packed, 16)
            key.plen = network.prefixlen
        rt.fib6_metric, rt.fib6_flags, rt.fib6_ref.refs.counter = row.metric, row.flags & ~RTF_GATEWAY, row.refs
        hop = ffi.cast("struct fib6_nh *", ffi.addressof(rt, "fib6_nh")).nh_common
        hop.nhc_family, hop.nhc_dev = AF_INET6, net.device(row.dev)
        hop.nhc_oif = hop.nhc_dev.ifindex
        if row.via is not None:
            hop.nhc_gw_family = AF_INET6
            ffi.memmove(ffi.addressof(hop.nhc_gw), row.via.packed, 16)
        self.number = net.add("ipv6_route", rt)

    def close(self) -> None:
        self.net.remove("ipv6_route", self.number)
        self.free()


class Routes:
    """All routes of a kernel."""

    def __init__(self) -> None:
        self.all: list[Route] = []

    def add(self, net: NetNs, row: RouteRow) -> Route:
        made = Route(net, row)
        self.all.append(made)
        return made

    def remove(self, route: Route) -> None:
        self.all.remove(route)
        route.close()

    def become(self, net: NetNs, rows: Iterable[RouteRow]) -> None:
        """The routes of a namespace are these, in this order. What has not changed stays the object that it was."""
        old, wanted = [r for r in self.all if r.net is net], list(rows)
        same = next(
            (i for i, (r, row) in enumerate(zip(old, wanted, strict=False)) if r.row != row), min(len(old), len(wanted))
        )
        for route in old[same:]:
            self.remove(route)
        for row in wanted[same:]:
            self.add(net, row)
