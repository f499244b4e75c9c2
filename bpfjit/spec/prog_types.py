"""Program types and their contexts: rows. Access rules were read off Linux 6.18 (bpf_verifier's own refusals)."""

from __future__ import annotations

from ..uapi import bpf as uapi
from .cgroup_progs import CGROUP_PROG_TYPES
from .contexts import SK_BUFF_FILTER, SK_BUFF_TC, XDP_MD, XDP_MD_DEVMAP
from .kinds import CtxKind, ProgType
from .socket_progs import SOCKET_PROG_TYPES

_TRACE = frozenset({"all", "trace"})
PROG_TYPES: tuple[ProgType, ...] = (
    ProgType(
        uapi.BPF_PROG_TYPE_SOCKET_FILTER,
        "socket_filter",
        CtxKind.FIELDS,
        frozenset({"all", "net", "skb"}),
        layout=SK_BUFF_FILTER,
        loads_packet=True,
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
        loads_packet=True,
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
        loads_packet=True,
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
        layouts={uapi.BPF_XDP_DEVMAP: XDP_MD_DEVMAP},
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
    ProgType(
        uapi.BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE,
        "raw_tracepoint_writable",
        CtxKind.RAW_ARGS,
        _TRACE,
        ctx_size=8 * 12,
        writes_argument=True,
        ctx_names=frozenset({"bpf_raw_tracepoint_args"}),
        kern_ctx="",
    ),
    ProgType(
        uapi.BPF_PROG_TYPE_TRACING,
        "tracing",
        CtxKind.BTF_ARGS,
        _TRACE | {"tracing"},
        kfunc_hook="tracing",
        ret_ranges={
            uapi.BPF_TRACE_ITER: (0, 1),
            uapi.BPF_TRACE_FENTRY: (0, 0),
            uapi.BPF_TRACE_FEXIT: (0, 0),
        },
    ),
    ProgType(
        uapi.BPF_PROG_TYPE_LSM,
        "lsm",
        CtxKind.BTF_ARGS,
        _TRACE | {"tracing", "lsm"},
        kfunc_hook="tracing",
        attach_types=(uapi.BPF_LSM_MAC, uapi.BPF_LSM_CGROUP),
    ),
    ProgType(
        uapi.BPF_PROG_TYPE_SYSCALL,
        "syscall",
        CtxKind.RW_BUFFER,
        frozenset({"all", "trace", "syscall"}),
        ctx_size=65535,
        test_run=True,
        kfunc_hook="syscall",
    ),
    *CGROUP_PROG_TYPES,
    *SOCKET_PROG_TYPES,
)
PROG_TYPE_BY_ID = {row.id: row for row in PROG_TYPES}

# Not a Linux type: bare instruction bytes over a piece of memory, for ISA suites. It cannot cross bpf(2).
# Its helpers are those that every program has: suites call one to see r1-r5 clobbered and r0 set.
RAW = ProgType(-1, "raw", CtxKind.MEMORY, frozenset({"all"}))


def helper_groups(prog_type: ProgType, attach_type: int) -> frozenset[str]:
    """The helper groups a program may call, its type's own name among them: iterators and views add the seq helpers."""
    groups = prog_type.groups | {prog_type.name}
    return groups | {"seq"} if attach_type in (uapi.BPF_TRACE_ITER, uapi.BPF_TRACE_VIEW) else groups
