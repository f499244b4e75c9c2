"""What iterators walk and views show: one short file for each kind of target, listed here and nowhere else."""

from __future__ import annotations

from .base import IterTarget, LinkInfo, Rows
from .cgroup import CgroupTarget
from .ksym import KsymTarget
from .map_elem import MapElemTarget, SkStorageTarget, SockmapTarget
from .net import Ipv6RouteTarget, NetlinkTarget, TcpTarget, UdpTarget, UnixTarget
from .objects import BpfLinkTarget, BpfMapTarget, BpfProgTarget
from .task import TaskFileTarget, TaskTarget, TaskVmaTarget

TARGETS: tuple[type[IterTarget], ...] = (
    TaskTarget,
    TaskFileTarget,
    TaskVmaTarget,
    CgroupTarget,
    BpfMapTarget,
    MapElemTarget,
    SkStorageTarget,
    SockmapTarget,
    BpfProgTarget,
    BpfLinkTarget,
    Ipv6RouteTarget,
    NetlinkTarget,
    TcpTarget,
    UdpTarget,
    UnixTarget,
    KsymTarget,
)

__all__ = ["TARGETS", "IterTarget", "LinkInfo", "Rows"]
