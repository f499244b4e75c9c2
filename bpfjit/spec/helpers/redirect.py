"""Helpers that send packets, messages and connections elsewhere: to devices, CPUs and sockets, by maps of those.

In a test run the verdict is all that comes of it. Those of sk_skb, sk_msg and sk_reuseport programs have no code: nothing
here runs such programs. Which program types may call which was read off Linux 6.18.
"""

from __future__ import annotations

from typing import Any

from ...dataclass import replace
from ..kinds import ANYTHING, CTX, INTEGER, MAP_KEY, MAP_PTR, MEM, SIZE_OR_ZERO, Arg, Helper
from .sockets import SOCK

_SKB = "struct __sk_buff *skb"
_OPS = "struct bpf_sock_ops *skops"
_MSG = "struct sk_msg_md *msg"


def _row(id_: int, name: str, decl: str, types: str, args: tuple[Arg, ...], symbol: str = "", **rules: Any) -> Helper:
    return Helper(id_, name, decl, args=args, ret=INTEGER, symbol=symbol, groups=frozenset(types.split()), **rules)


def _by_key(id_: int, name: str, ctx: str, types: str, map_use: str, symbol: str = "", **rules: Any) -> Helper:
    """A helper that is handed its context, a map, a key by its address, and flags."""
    decl = f"long (*%s)({ctx}, void *map, void *key, __u64 flags)"
    return _row(id_, name, decl, types, (CTX, MAP_PTR, MAP_KEY, ANYTHING), symbol, map_use=map_use, **rules)


def _by_index(id_: int, name: str, ctx: str, types: str) -> Helper:
    decl = f"long (*%s)({ctx}, void *map, __u32 key, __u64 flags)"
    return _row(id_, name, decl, types, (CTX, MAP_PTR, ANYTHING, ANYTHING), map_use="sockmap")


_REDIRECT = _row(
    23,
    "redirect",
    "long (*%s)(__u32 ifindex, __u64 flags)",
    "sched_cls sched_act xdp lwt_xmit",
    (ANYTHING, ANYTHING),
    "rt_redirect",
)

REDIRECT_HELPERS = (
    replace(_REDIRECT, by_type={"xdp": replace(_REDIRECT, symbol="rt_xdp_redirect")}),
    _row(
        51,
        "redirect_map",
        "long (*%s)(void *map, __u64 key, __u64 flags)",
        "xdp",
        (MAP_PTR, ANYTHING, ANYTHING),
        "rt_redirect_map",
        map_use="redirect",
    ),
    _by_index(52, "sk_redirect_map", _SKB, "sk_skb"),
    _by_key(53, "sock_map_update", _OPS, "sock_ops", "sockmap", "rt_sock_map_update", takes_packet=True),
    _by_index(60, "msg_redirect_map", _MSG, "sk_msg"),
    _by_key(70, "sock_hash_update", _OPS, "sock_ops", "sockhash", "rt_sock_map_update", takes_packet=True),
    _by_key(71, "msg_redirect_hash", _MSG, "sk_msg", "sockhash"),
    _by_key(72, "sk_redirect_hash", _SKB, "sk_skb", "sockhash"),
    _by_key(82, "sk_select_reuseport", "struct sk_reuseport_md *reuse", "sk_reuseport", "select_reuseport"),
    _row(
        86,
        "sk_release",
        "long (*%s)(void *sock)",
        "sched_cls sched_act xdp cgroup_skb sk_skb cgroup_sock_addr sk_lookup",
        (SOCK,),
        "rt_sk_release",
        releases=1,
    ),
    _row(
        152,
        "redirect_neigh",
        "long (*%s)(__u32 ifindex, struct bpf_redir_neigh *params, int plen, __u64 flags)",
        "sched_cls sched_act",
        (ANYTHING, MEM.or_null(), SIZE_OR_ZERO, ANYTHING),
        "rt_redirect_neigh",
    ),
    _row(
        155,
        "redirect_peer",
        "long (*%s)(__u32 ifindex, __u64 flags)",
        "sched_cls sched_act",
        (ANYTHING, ANYTHING),
        "rt_redirect_peer",
    ),
)
