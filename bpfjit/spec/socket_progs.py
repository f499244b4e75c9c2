"""Programs on sockets, tunnels and packets beside XDP and tc: their types and contexts (Linux 6.18)."""

from __future__ import annotations

from ..uapi import bpf as uapi
from .contexts import (
    FLOW_KEYS_BUFF,
    NETFILTER_CTX,
    PERF_EVENT,
    SK_BUFF_LWT,
    SK_BUFF_LWT_XMIT,
    SK_BUFF_PARSER,
    SK_LOOKUP,
    SK_MSG,
    SK_REUSEPORT,
    SOCK_OPS,
)
from .kinds import CtxKind, CtxLayout, ProgType

_SKB = frozenset({"__sk_buff"})
_YES_OR_NO = (0, 1)


def _lwt(id_: int, name: str, layout: CtxLayout = SK_BUFF_LWT, *, packet_writable: bool = False) -> ProgType:
    return ProgType(
        id_,
        name,
        CtxKind.FIELDS,
        frozenset({"all", "net", name}),
        layout=layout,
        packet_writable=packet_writable,
        kfunc_hook="lwt",
        ctx_names=_SKB,
        kern_ctx="sk_buff",
    )


SOCKET_PROG_TYPES: tuple[ProgType, ...] = (
    ProgType(
        uapi.BPF_PROG_TYPE_PERF_EVENT,
        "perf_event",
        CtxKind.FIELDS,
        frozenset({"all", "trace", "perf_event"}),
        layout=PERF_EVENT,
        kfunc_hook="tracing",
        ctx_names=frozenset({"bpf_perf_event_data"}),
        kern_ctx="bpf_perf_event_data_kern",
    ),
    _lwt(uapi.BPF_PROG_TYPE_LWT_IN, "lwt_in"),
    _lwt(uapi.BPF_PROG_TYPE_LWT_OUT, "lwt_out"),
    _lwt(uapi.BPF_PROG_TYPE_LWT_XMIT, "lwt_xmit", SK_BUFF_LWT_XMIT, packet_writable=True),
    _lwt(uapi.BPF_PROG_TYPE_LWT_SEG6LOCAL, "lwt_seg6local"),
    ProgType(
        uapi.BPF_PROG_TYPE_SOCK_OPS,
        "sock_ops",
        CtxKind.FIELDS,
        frozenset({"all", "net", "sock_ops"}),
        layout=SOCK_OPS,
        ret_range=_YES_OR_NO,
        kfunc_hook="cgroup",
        ctx_names=frozenset({"bpf_sock_ops"}),
        kern_ctx="bpf_sock_ops_kern",
    ),
    ProgType(
        uapi.BPF_PROG_TYPE_SK_SKB,
        "sk_skb",
        CtxKind.FIELDS,
        frozenset({"all", "net", "sk_skb"}),
        layout=SK_BUFF_PARSER,
        packet_writable=True,
        kfunc_hook="sk_skb",
        ctx_names=_SKB,
        kern_ctx="sk_buff",
    ),
    ProgType(
        uapi.BPF_PROG_TYPE_SK_MSG,
        "sk_msg",
        CtxKind.FIELDS,
        frozenset({"all", "net", "sk_msg"}),
        layout=SK_MSG,
        packet_writable=True,
        ctx_names=frozenset({"sk_msg_md"}),
        kern_ctx="sk_msg",
    ),
    ProgType(
        uapi.BPF_PROG_TYPE_SK_REUSEPORT,
        "sk_reuseport",
        CtxKind.FIELDS,
        frozenset({"all", "net", "sk_reuseport"}),
        layout=SK_REUSEPORT,
        ctx_names=frozenset({"sk_reuseport_md"}),
        kern_ctx="sk_reuseport_kern",
    ),
    ProgType(
        uapi.BPF_PROG_TYPE_FLOW_DISSECTOR,
        "flow_dissector",
        CtxKind.FIELDS,
        frozenset({"all", "net", "flow_dissector"}),
        layout=FLOW_KEYS_BUFF,
        ctx_names=_SKB,
        kern_ctx="bpf_flow_dissector",
    ),
    ProgType(
        uapi.BPF_PROG_TYPE_SK_LOOKUP,
        "sk_lookup",
        CtxKind.FIELDS,
        frozenset({"all", "net", "sk_lookup"}),
        layout=SK_LOOKUP,
        ret_range=_YES_OR_NO,
        attach_types=(uapi.BPF_SK_LOOKUP,),
        ctx_names=frozenset({"bpf_sk_lookup"}),
        kern_ctx="bpf_sk_lookup_kern",
    ),
    ProgType(
        uapi.BPF_PROG_TYPE_NETFILTER,
        "netfilter",
        CtxKind.FIELDS,
        frozenset({"all", "netfilter"}),
        layout=NETFILTER_CTX,
        ret_range=_YES_OR_NO,
        attach_types=(uapi.BPF_NETFILTER,),
        kfunc_hook="netfilter",
        ctx_names=frozenset({"bpf_nf_ctx"}),
        kern_ctx="bpf_nf_ctx",
    ),
)
