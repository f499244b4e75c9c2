"""Cgroup programs: their types, what each attach type lets them see, and what they may return (Linux 6.18)."""

from __future__ import annotations

from ..uapi import bpf as uapi
from .contexts import SK_BUFF_CGROUP, SOCK_FIRST, layout, pointers, with_port
from .kinds import CtxKind, CtxLayout, FieldKind, ProgType

_CURRENT = frozenset({"all"})


def _sock(attach_type: int) -> CtxLayout:
    """struct bpf_sock: a socket that is made or released is written, one that has been bound shows its address."""
    hidden = {"src_ip4", "src_ip6", "src_port", "__pad"}
    if attach_type == uapi.BPF_CGROUP_INET4_POST_BIND:
        hidden -= {"src_ip4", "src_port"}
    elif attach_type == uapi.BPF_CGROUP_INET6_POST_BIND:
        hidden -= {"src_ip6", "src_port"}
    own = {"bound_dev_if", "mark", "priority"}
    bound = attach_type in (uapi.BPF_CGROUP_INET4_POST_BIND, uapi.BPF_CGROUP_INET6_POST_BIND)
    return with_port(
        layout(
            "bpf_sock",
            hidden=hidden | (own if bound else set()),
            writable=own,
            whole=own,
            words={"src_ip6", "dst_ip6"},
            first=SOCK_FIRST,
        )
    )


_V4 = (
    uapi.BPF_CGROUP_INET4_BIND,
    uapi.BPF_CGROUP_INET4_CONNECT,
    uapi.BPF_CGROUP_INET4_GETPEERNAME,
    uapi.BPF_CGROUP_INET4_GETSOCKNAME,
    uapi.BPF_CGROUP_UDP4_SENDMSG,
    uapi.BPF_CGROUP_UDP4_RECVMSG,
)
_V6 = (
    uapi.BPF_CGROUP_INET6_BIND,
    uapi.BPF_CGROUP_INET6_CONNECT,
    uapi.BPF_CGROUP_INET6_GETPEERNAME,
    uapi.BPF_CGROUP_INET6_GETSOCKNAME,
    uapi.BPF_CGROUP_UDP6_SENDMSG,
    uapi.BPF_CGROUP_UDP6_RECVMSG,
)
_UNIX = (
    uapi.BPF_CGROUP_UNIX_CONNECT,
    uapi.BPF_CGROUP_UNIX_GETPEERNAME,
    uapi.BPF_CGROUP_UNIX_GETSOCKNAME,
    uapi.BPF_CGROUP_UNIX_SENDMSG,
    uapi.BPF_CGROUP_UNIX_RECVMSG,
)


def _sock_addr(attach_type: int) -> CtxLayout:
    """struct bpf_sock_addr: the addresses of the attach type's own family; what sendmsg sends from besides."""
    hidden = {"user_ip4", "user_ip6", "msg_src_ip4", "msg_src_ip6"}
    if attach_type in _V4:
        hidden -= {"user_ip4", *(("msg_src_ip4",) if attach_type == uapi.BPF_CGROUP_UDP4_SENDMSG else ())}
    if attach_type in _V6:
        hidden -= {"user_ip6", *(("msg_src_ip6",) if attach_type == uapi.BPF_CGROUP_UDP6_SENDMSG else ())}
    return layout(
        "bpf_sock_addr",
        pointers("bpf_sock_addr", sk=FieldKind.SOCKET),
        hidden=hidden,
        writable={"user_ip4", "user_ip6", "user_port", "msg_src_ip4", "msg_src_ip6"},
        whole={"user_family", "family", "type", "protocol"},
    )


def _sockopt(attach_type: int) -> CtxLayout:
    """struct bpf_sockopt: setsockopt may change what is asked, getsockopt what is answered."""
    words = {"level", "optname", "optlen", "retval"}
    setting = attach_type == uapi.BPF_CGROUP_SETSOCKOPT
    return layout(
        "bpf_sockopt",
        pointers("bpf_sockopt", sk=FieldKind.SOCKET, optval=FieldKind.PACKET, optval_end=FieldKind.PACKET_END),
        hidden=set() | ({"retval"} if setting else set()),
        writable={"optlen", "level", "optname"} if setting else {"optlen", "retval"},
        whole=words,
    )


_SOCK_TYPES = (
    uapi.BPF_CGROUP_INET_SOCK_CREATE,
    uapi.BPF_CGROUP_INET_SOCK_RELEASE,
    uapi.BPF_CGROUP_INET4_POST_BIND,
    uapi.BPF_CGROUP_INET6_POST_BIND,
)
_ADDR_TYPES = (*_V4, *_V6, *_UNIX)
_ALWAYS_ONE = tuple(
    getattr(uapi, f"BPF_CGROUP_{name}")
    for name in (
        *("UDP4_RECVMSG", "UDP6_RECVMSG", "UNIX_RECVMSG"),
        *("INET4_GETPEERNAME", "INET6_GETPEERNAME", "UNIX_GETPEERNAME"),
        *("INET4_GETSOCKNAME", "INET6_GETSOCKNAME", "UNIX_GETSOCKNAME"),
    )
)
_OPT_TYPES = (uapi.BPF_CGROUP_GETSOCKOPT, uapi.BPF_CGROUP_SETSOCKOPT)
_YES_OR_NO = (0, 1)

CGROUP_PROG_TYPES: tuple[ProgType, ...] = (
    ProgType(
        uapi.BPF_PROG_TYPE_CGROUP_SKB,
        "cgroup_skb",
        CtxKind.FIELDS,
        frozenset({"all", "net", "skb"}),
        layout=SK_BUFF_CGROUP,
        ret_range=_YES_OR_NO,
        test_run=True,
        attach_types=(uapi.BPF_CGROUP_INET_INGRESS, uapi.BPF_CGROUP_INET_EGRESS),
        ret_ranges={uapi.BPF_CGROUP_INET_EGRESS: (0, 3)},
        kfunc_hook="cgroup",
        ctx_names=frozenset({"__sk_buff"}),
        kern_ctx="sk_buff",
    ),
    ProgType(
        uapi.BPF_PROG_TYPE_CGROUP_SOCK,
        "cgroup_sock",
        CtxKind.FIELDS,
        _CURRENT,
        layout=_sock(uapi.BPF_CGROUP_INET_SOCK_CREATE),
        ret_range=_YES_OR_NO,
        attach_types=_SOCK_TYPES,
        layouts={t: _sock(t) for t in _SOCK_TYPES},
        kfunc_hook="cgroup",
        ctx_names=frozenset({"bpf_sock"}),
        kern_ctx="sock",
    ),
    ProgType(
        uapi.BPF_PROG_TYPE_CGROUP_DEVICE,
        "cgroup_device",
        CtxKind.FIELDS,
        _CURRENT,
        layout=layout("bpf_cgroup_dev_ctx", whole={"major", "minor"}),
        ret_range=_YES_OR_NO,
        kfunc_hook="cgroup",
        ctx_names=frozenset({"bpf_cgroup_dev_ctx"}),
        kern_ctx="bpf_cgroup_dev_ctx",
    ),
    ProgType(
        uapi.BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
        "cgroup_sock_addr",
        CtxKind.FIELDS,
        _CURRENT,
        layout=_sock_addr(uapi.BPF_CGROUP_UNIX_CONNECT),
        ret_range=_YES_OR_NO,
        attach_types=_ADDR_TYPES,
        layouts={t: _sock_addr(t) for t in _ADDR_TYPES},
        ret_ranges={
            **dict.fromkeys(_ALWAYS_ONE, (1, 1)),
            uapi.BPF_CGROUP_INET4_BIND: (0, 3),
            uapi.BPF_CGROUP_INET6_BIND: (0, 3),
        },
        kfunc_hook="cgroup",
        ctx_names=frozenset({"bpf_sock_addr"}),
        kern_ctx="bpf_sock_addr_kern",
    ),
    ProgType(
        uapi.BPF_PROG_TYPE_CGROUP_SYSCTL,
        "cgroup_sysctl",
        CtxKind.FIELDS,
        _CURRENT,
        layout=layout("bpf_sysctl", writable={"file_pos"}),
        ret_range=_YES_OR_NO,
        kfunc_hook="cgroup",
        ctx_names=frozenset({"bpf_sysctl"}),
        kern_ctx="bpf_sysctl_kern",
    ),
    ProgType(
        uapi.BPF_PROG_TYPE_CGROUP_SOCKOPT,
        "cgroup_sockopt",
        CtxKind.FIELDS,
        _CURRENT,
        layout=_sockopt(uapi.BPF_CGROUP_GETSOCKOPT),
        packet_writable=True,
        ret_range=_YES_OR_NO,
        attach_types=_OPT_TYPES,
        layouts={t: _sockopt(t) for t in _OPT_TYPES},
        kfunc_hook="cgroup",
        ctx_names=frozenset({"bpf_sockopt"}),
        kern_ctx="bpf_sockopt_kern",
    ),
)

# Attach type -> the program type that attaches there, for all that a cgroup has a list of.
CGROUP_ATTACH_TYPES: dict[int, int] = {
    **{t: row.id for row in CGROUP_PROG_TYPES for t in row.attach_types},
    uapi.BPF_CGROUP_DEVICE: uapi.BPF_PROG_TYPE_CGROUP_DEVICE,
    uapi.BPF_CGROUP_SYSCTL: uapi.BPF_PROG_TYPE_CGROUP_SYSCTL,
    uapi.BPF_CGROUP_SOCK_OPS: uapi.BPF_PROG_TYPE_SOCK_OPS,
    uapi.BPF_LSM_CGROUP: uapi.BPF_PROG_TYPE_LSM,
}
