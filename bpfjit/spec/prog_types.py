"""Program types and their contexts: rows. Access rules were read off Linux 6.18 (bpf_verifier's own refusals)."""

from __future__ import annotations

from ..uapi import bpf as uapi
from .kinds import CtxField, CtxKind, CtxLayout, FieldKind, ProgType


def _layout(struct: str, native: dict[str, tuple[FieldKind, int]], writable: set[str], hidden: set[str]) -> CtxLayout:
    """Fields of a UAPI struct: which are packet pointers (and where the pointer lies), written, not to be had."""
    layout = uapi.LAYOUTS[struct]
    fields = []
    for name, (offset, size) in layout.fields.items():
        kind, slot = native.get(name, (FieldKind.SCALAR, -1))
        if name not in hidden:
            fields.append(CtxField(name, offset, size, kind, name in writable, native=slot))
    return CtxLayout(struct, layout.size, tuple(fields))


# The runtime keeps the 64-bit packet pointers right behind the UAPI structure (runtime/include/rt.h).
_XDP = uapi.LAYOUTS["xdp_md"].size
_SKB = uapi.LAYOUTS["__sk_buff"].size

XDP_MD = _layout(
    "xdp_md",
    {
        "data": (FieldKind.PACKET, _XDP),
        "data_end": (FieldKind.PACKET_END, _XDP + 8),
        "data_meta": (FieldKind.PACKET_META, _XDP + 16),
    },
    writable=set(),
    hidden={"egress_ifindex"},
)
SK_BUFF_POINTERS = {"data", "data_end", "data_meta", "flow_keys", "sk", "tc_classid", "tstamp", "hwtstamp", "tstamp_type"}
SK_BUFF_SOCKET = {"family", "remote_ip4", "local_ip4", "remote_ip6", "local_ip6", "remote_port", "local_port"}
SK_BUFF_FILTER = _layout("__sk_buff", {}, writable={"cb"}, hidden=SK_BUFF_POINTERS | SK_BUFF_SOCKET | {"wire_len"})
SK_BUFF_TC = _layout(
    "__sk_buff",
    {
        "data": (FieldKind.PACKET, _SKB),
        "data_end": (FieldKind.PACKET_END, _SKB + 8),
        "data_meta": (FieldKind.PACKET_META, _SKB + 16),
    },
    writable={"mark", "tc_index", "priority", "tc_classid", "cb", "tstamp", "queue_mapping"},
    hidden={"flow_keys", "sk"} | SK_BUFF_SOCKET,
)

_TRACE = frozenset({"all", "trace"})
PROG_TYPES: tuple[ProgType, ...] = (
    ProgType(
        uapi.BPF_PROG_TYPE_SOCKET_FILTER,
        "socket_filter",
        CtxKind.FIELDS,
        frozenset({"all", "net", "skb"}),
        layout=SK_BUFF_FILTER,
        test_run=True,
        ctx_names=frozenset({"__sk_buff"}),
        kern_ctx="sk_buff",
        kfunc_hook="socket_filter",
    ),
    ProgType(
        uapi.BPF_PROG_TYPE_KPROBE,
        "kprobe",
        CtxKind.BUFFER,
        _TRACE,
        ctx_size=168,
        ctx_names=frozenset({"bpf_user_pt_regs_t", "pt_regs"}),
        kern_ctx="pt_regs",
        kfunc_hook="kprobe",
    ),
    ProgType(
        uapi.BPF_PROG_TYPE_SCHED_CLS,
        "sched_cls",
        CtxKind.FIELDS,
        frozenset({"all", "net", "skb"}),
        layout=SK_BUFF_TC,
        test_run=True,
        packet_writable=True,
        ctx_names=frozenset({"__sk_buff"}),
        kern_ctx="sk_buff",
        kfunc_hook="sched_cls",
    ),
    ProgType(
        uapi.BPF_PROG_TYPE_SCHED_ACT,
        "sched_act",
        CtxKind.FIELDS,
        frozenset({"all", "net", "skb"}),
        layout=SK_BUFF_TC,
        test_run=True,
        packet_writable=True,
        ctx_names=frozenset({"__sk_buff"}),
        kern_ctx="sk_buff",
        kfunc_hook="sched_act",
    ),
    ProgType(
        uapi.BPF_PROG_TYPE_TRACEPOINT, "tracepoint", CtxKind.BUFFER, _TRACE, ctx_size=8192, ctx_start=8, kfunc_hook="tracing"
    ),
    ProgType(
        uapi.BPF_PROG_TYPE_XDP,
        "xdp",
        CtxKind.FIELDS,
        frozenset({"all", "net", "xdp"}),
        layout=XDP_MD,
        test_run=True,
        packet_writable=True,
        ctx_names=frozenset({"xdp_md"}),
        kern_ctx="xdp_buff",
        kfunc_hook="xdp",
    ),
    ProgType(
        uapi.BPF_PROG_TYPE_RAW_TRACEPOINT,
        "raw_tracepoint",
        CtxKind.RAW_ARGS,
        _TRACE,
        ctx_size=8 * 12,
        test_run=True,
        ctx_names=frozenset({"bpf_raw_tracepoint_args"}),
        kern_ctx="",
    ),
    ProgType(uapi.BPF_PROG_TYPE_TRACING, "tracing", CtxKind.BTF_ARGS, _TRACE, kfunc_hook="tracing"),
    ProgType(
        uapi.BPF_PROG_TYPE_SYSCALL,
        "syscall",
        CtxKind.RW_BUFFER,
        frozenset({"all", "trace", "syscall"}),
        ctx_size=65535,
        test_run=True,
        kfunc_hook="syscall",
    ),
)
PROG_TYPE_BY_ID = {row.id: row for row in PROG_TYPES}

# Not a Linux type: bare instruction bytes over a piece of memory, for ISA suites. It cannot cross bpf(2).
# Its helpers are those that every program has: suites call one to see r1-r5 clobbered and r0 set.
RAW = ProgType(-1, "raw", CtxKind.MEMORY, frozenset({"all"}))


def helper_groups(prog_type: ProgType, attach_type: int) -> frozenset[str]:
    """The helper groups a program may call: iterators and views add the seq helpers."""
    if attach_type in (uapi.BPF_TRACE_ITER, uapi.BPF_TRACE_VIEW):
        return prog_type.groups | {"seq"}
    return prog_type.groups
