"""Helpers on sockets: those of cgroup programs, and of whoever else has one in hand.

Which program types may call which was read off Linux 6.18, attach type by attach type.
"""

from __future__ import annotations

from typing import Any

from ...dataclass import replace
from ...uapi import bpf as uapi
from ..kinds import (
    ANYTHING,
    CTX,
    INTEGER,
    MAP_PTR,
    MAP_VALUE,
    MAP_VALUE_OR_NULL,
    MEM,
    SIZE,
    SOCK_COMMON,
    UNINIT_MEM,
    Arg,
    ArgKind,
    Helper,
    RetKind,
)

SOCK = Arg(ArgKind.BTF_PTR, btf="sock_common", expected="sock_common, sock, tcp_sock, xdp_sock, ptr_, trusted_ptr_")

_ADDRESSES = ("INET4_BIND", "INET6_BIND", "INET4_CONNECT", "INET6_CONNECT", "UDP4_SENDMSG", "UDP6_SENDMSG")
# The events of addresses that a program's verdict decides on.
_DECIDED = tuple(getattr(uapi, f"BPF_CGROUP_{name}") for name in (*_ADDRESSES, "UNIX_CONNECT", "UNIX_SENDMSG"))
_ANSWERING = "cgroup_sock cgroup_sock_addr cgroup_sockopt cgroup_device cgroup_sysctl lsm"
# As in Linux programs on devices and sysctls that were loaded without their attach type do not have these.
_ANSWERS = {
    "cgroup_sock_addr": _DECIDED,
    "cgroup_device": (uapi.BPF_CGROUP_DEVICE,),
    "cgroup_sysctl": (uapi.BPF_CGROUP_SYSCTL,),
    "lsm": (uapi.BPF_LSM_CGROUP,),
}
_COOKIE = "socket_filter sched_cls sched_act cgroup_skb cgroup_sock sock_ops sk_skb cgroup_sock_addr sk_reuseport"
_SETTING = (uapi.BPF_CGROUP_SETSOCKOPT,)
_STORING = "sched_cls sched_act cgroup_skb cgroup_sock_addr cgroup_sockopt sock_ops sk_msg tracing syscall"


def _row(id_: int, name: str, decl: str, types: str, args: tuple[Arg, ...], ret: RetKind = INTEGER, **rules: Any) -> Helper:
    groups, symbol = frozenset(types.split()), f"rt_{name.removeprefix('sk_') if 'storage' in name else name}"
    return Helper(id_, name, decl, args=args, ret=ret, symbol=symbol, groups=groups, **rules)


def _option(id_: int, name: str, memory: Arg) -> Helper:
    """Where the context has the socket it is named by that, else by itself."""
    row = _row(
        id_,
        name,
        "long (*%s)(void *bpf_socket, int level, int optname, void *optval, int optlen)",
        "sock_ops cgroup_sock_addr cgroup_sockopt iter_socket",
        (CTX, ANYTHING, ANYTHING, memory, SIZE),
        only={"cgroup_sockopt": _SETTING},
    )
    own = replace(row, args=(SOCK, *row.args[1:]), symbol=f"rt_sk_{name}")
    return replace(row, by_type={"cgroup_sockopt": own, "tracing": own})


def _storage(row: Helper) -> Helper:
    """Tracing programs may bring NULL, others never do; those of a cgroup's sockets have theirs as the context."""
    seen = replace(row, args=(row.args[0], replace(SOCK, nullable=True), *row.args[2:]))
    own = replace(row, args=(row.args[0], CTX, *row.args[2:]), symbol="rt_ctx_storage_get")
    return replace(row, probes={"syscall": (0,)}, by_type={"tracing": seen, "cgroup_sock": own})


def _cookie(row: Helper) -> Helper:
    """Who has a context with a socket names it by that, others bring the socket, or NULL."""
    own = replace(row, args=(replace(SOCK, nullable=True),), symbol="rt_sk_cookie")
    return replace(row, by_type=dict.fromkeys(("tracing", "lsm", "sk_reuseport", "syscall"), own))


SOCKET_HELPERS = (
    _cookie(
        _row(
            46,
            "get_socket_cookie",
            "__u64 (*%s)(void *ctx)",
            f"{_COOKIE} tracing seq syscall",
            (CTX,),
        )
    ),
    _option(49, "setsockopt", MEM),
    _option(57, "getsockopt", UNINIT_MEM),
    _row(59, "sock_ops_cb_flags_set", "long (*%s)(struct bpf_sock_ops *bpf_sock, int argval)", "sock_ops", (CTX, ANYTHING)),
    _row(
        64,
        "bind",
        "long (*%s)(struct bpf_sock_addr *ctx, struct sockaddr *addr, int addr_len)",
        "cgroup_sock_addr",
        (CTX, MEM, SIZE),
        only={"cgroup_sock_addr": (uapi.BPF_CGROUP_INET4_CONNECT, uapi.BPF_CGROUP_INET6_CONNECT)},
    ),
    _row(
        95,
        "sk_fullsock",
        "struct bpf_sock *(*%s)(struct bpf_sock *sk)",
        "sched_cls sched_act cgroup_skb",
        (SOCK_COMMON,),
        RetKind.SOCKET_OR_NULL,
        passes_reference=1,
    ),
    _row(
        96,
        "tcp_sock",
        "struct bpf_tcp_sock *(*%s)(struct bpf_sock *sk)",
        "sched_cls sched_act cgroup_skb sock_ops cgroup_sockopt",
        (SOCK_COMMON,),
        RetKind.TCP_SOCK_OR_NULL,
        passes_reference=1,
    ),
    _storage(
        _row(
            107,
            "sk_storage_get",
            "void *(*%s)(void *map, void *sk, void *value, __u64 flags)",
            f"{_STORING} cgroup_sock",
            (MAP_PTR, SOCK, MAP_VALUE.or_null(), ANYTHING),
            MAP_VALUE_OR_NULL,
            map_use="sk_storage",
        )
    ),
    _storage(
        _row(
            108,
            "sk_storage_delete",
            "long (*%s)(void *map, void *sk)",
            _STORING,
            (MAP_PTR, SOCK),
            map_use="sk_storage",
        )
    ),
    _row(
        122,
        "get_netns_cookie",
        "__u64 (*%s)(void *ctx)",
        "socket_filter sched_cls sched_act cgroup_skb cgroup_sock sock_ops sk_msg cgroup_sock_addr cgroup_sockopt",
        (CTX.or_null(),),
    ),
    _row(128, "sk_cgroup_id", "__u64 (*%s)(void *sk)", "cgroup_skb", (SOCK,)),
    _row(
        186,
        "get_retval",
        "int (*%s)(void)",
        _ANSWERING,
        (),
        only=_ANSWERS,
    ),
    _row(
        187,
        "set_retval",
        "int (*%s)(int retval)",
        _ANSWERING,
        (ANYTHING,),
        only=_ANSWERS,
    ),
)
