"""Section names -> program types: what libbpf's SEC() means, and the RFC's view and dump."""

from __future__ import annotations

from ..dataclass import replace
from .kinds import Section


def _btf(
    prefix: str, attach_type: str, *, attach: str = "", btf_prefix: str = "", prog_type: str = "TRACING"
) -> tuple[Section, ...]:
    """A section that names a kernel function, and its sleepable twin."""
    return tuple(
        Section(prefix + suffix, prog_type, attach_type, attach, btf_prefix, btf_attach=True, sleepable=bool(suffix))
        for suffix in ("", ".s")
    )


def _cgroup(attach_types: dict[str, str], prog_type: str) -> tuple[Section, ...]:
    return tuple(Section(f"cgroup/{name}", prog_type, attach_type) for name, attach_type in attach_types.items())


_SOCK_ADDR = {
    f"{verb}{family}": f"CGROUP_{'INET' if family != '_unix' else ''}{family.strip('_').upper()}_{verb.upper()}"
    for family in ("4", "6", "_unix")
    for verb in ("bind", "connect", "sendmsg", "recvmsg", "getpeername", "getsockname")
    if (verb, family) != ("bind", "_unix")
}
# sendmsg and recvmsg hooks are those of UDP sockets.
_SOCK_ADDR = {k: v.replace("_INET", "_UDP") if k[:7] in ("sendmsg", "recvmsg") else v for k, v in _SOCK_ADDR.items()}

_ITER = _btf("iter", "TRACE_ITER", attach="iter", btf_prefix="bpf_iter_")
# The proposal for bpfdump names a target by its directory, with or without the mount before it.
_BPFDUMP = "/sys/kernel/bpfdump/"

SECTIONS: tuple[Section, ...] = (
    Section("socket", "SOCKET_FILTER"),
    Section("xdp", "XDP", "XDP"),
    Section("xdp.frags", "XDP", "XDP", frags=True),
    Section("xdp/devmap", "XDP", "XDP_DEVMAP"),
    Section("xdp/cpumap", "XDP", "XDP_CPUMAP"),
    Section("xdp.frags/devmap", "XDP", "XDP_DEVMAP", frags=True),
    Section("xdp.frags/cpumap", "XDP", "XDP_CPUMAP", frags=True),
    Section("tc", "SCHED_CLS"),
    Section("tc/ingress", "SCHED_CLS", "TCX_INGRESS"),
    Section("tc/egress", "SCHED_CLS", "TCX_EGRESS"),
    Section("tcx/ingress", "SCHED_CLS", "TCX_INGRESS"),
    Section("tcx/egress", "SCHED_CLS", "TCX_EGRESS"),
    Section("classifier", "SCHED_CLS"),
    Section("action", "SCHED_ACT"),
    Section("kprobe", "KPROBE"),
    Section("kretprobe", "KPROBE"),
    Section("kprobe.multi", "KPROBE", "TRACE_KPROBE_MULTI"),
    Section("kretprobe.multi", "KPROBE", "TRACE_KPROBE_MULTI"),
    Section("kprobe.session", "KPROBE", "TRACE_KPROBE_SESSION"),
    Section("ksyscall", "KPROBE"),
    Section("kretsyscall", "KPROBE"),
    Section("uprobe", "KPROBE"),
    Section("uprobe.s", "KPROBE", sleepable=True),
    Section("uretprobe", "KPROBE"),
    Section("uretprobe.s", "KPROBE", sleepable=True),
    Section("usdt", "KPROBE"),
    Section("usdt.s", "KPROBE", sleepable=True),
    Section("tracepoint", "TRACEPOINT"),
    Section("tp", "TRACEPOINT"),
    Section("perf_event", "PERF_EVENT"),
    Section("raw_tracepoint", "RAW_TRACEPOINT", attach="raw_tp"),
    Section("raw_tp", "RAW_TRACEPOINT", attach="raw_tp"),
    Section("raw_tracepoint.w", "RAW_TRACEPOINT_WRITABLE", attach="raw_tp"),
    Section("raw_tp.w", "RAW_TRACEPOINT_WRITABLE", attach="raw_tp"),
    Section(
        "tp_btf", "TRACING", "TRACE_RAW_TP", attach="tp_btf", btf_prefix="btf_trace_", btf_kind="typedef", btf_attach=True
    ),
    *_btf("fentry", "TRACE_FENTRY", attach="function"),
    *_btf("fexit", "TRACE_FEXIT", attach="function"),
    *_btf("fmod_ret", "MODIFY_RETURN", attach="function"),
    *_btf("lsm", "LSM_MAC", attach="function", btf_prefix="bpf_lsm_", prog_type="LSM"),
    Section("lsm_cgroup", "LSM", "LSM_CGROUP", btf_prefix="bpf_lsm_", btf_attach=True),
    *_ITER,
    *(replace(row, prefix=row.prefix.replace("iter", "dump"), dumper=True) for row in _ITER),
    Section("view", "TRACING", "TRACE_VIEW", attach="view", btf_prefix="bpf_view_", btf_attach=True),
    Section("syscall", "SYSCALL", sleepable=True, exact=True),
    Section("cgroup_skb/ingress", "CGROUP_SKB", "CGROUP_INET_INGRESS"),
    Section("cgroup_skb/egress", "CGROUP_SKB", "CGROUP_INET_EGRESS"),
    Section("cgroup/skb", "CGROUP_SKB"),
    *_cgroup(
        {
            "sock": "CGROUP_INET_SOCK_CREATE",
            "sock_create": "CGROUP_INET_SOCK_CREATE",
            "sock_release": "CGROUP_INET_SOCK_RELEASE",
            "post_bind4": "CGROUP_INET4_POST_BIND",
            "post_bind6": "CGROUP_INET6_POST_BIND",
        },
        "CGROUP_SOCK",
    ),
    *_cgroup(_SOCK_ADDR, "CGROUP_SOCK_ADDR"),
    *_cgroup({"getsockopt": "CGROUP_GETSOCKOPT", "setsockopt": "CGROUP_SETSOCKOPT"}, "CGROUP_SOCKOPT"),
    *_cgroup({"sysctl": "CGROUP_SYSCTL"}, "CGROUP_SYSCTL"),
    *_cgroup({"dev": "CGROUP_DEVICE"}, "CGROUP_DEVICE"),
    Section("sockops", "SOCK_OPS", "CGROUP_SOCK_OPS"),
    Section("sk_skb", "SK_SKB"),
    Section("sk_skb/stream_parser", "SK_SKB", "SK_SKB_STREAM_PARSER"),
    Section("sk_skb/stream_verdict", "SK_SKB", "SK_SKB_STREAM_VERDICT"),
    Section("sk_skb/verdict", "SK_SKB", "SK_SKB_VERDICT"),
    Section("sk_msg", "SK_MSG", "SK_MSG_VERDICT"),
    Section("sk_lookup", "SK_LOOKUP", "SK_LOOKUP"),
    Section("sk_reuseport", "SK_REUSEPORT", "SK_REUSEPORT_SELECT"),
    Section("sk_reuseport/migrate", "SK_REUSEPORT", "SK_REUSEPORT_SELECT_OR_MIGRATE"),
    Section("flow_dissector", "FLOW_DISSECTOR", "FLOW_DISSECTOR"),
    Section("lwt_in", "LWT_IN"),
    Section("lwt_out", "LWT_OUT"),
    Section("lwt_xmit", "LWT_XMIT"),
    Section("lwt_seg6local", "LWT_SEG6LOCAL"),
    Section("lirc_mode2", "LIRC_MODE2", "LIRC_MODE2"),
    Section("netfilter", "NETFILTER", "NETFILTER"),
    Section("struct_ops", "STRUCT_OPS", unsupported="struct_ops programs are not supported"),
    Section("struct_ops.s", "STRUCT_OPS", unsupported="struct_ops programs are not supported"),
    Section("freplace", "EXT", attach="function", btf_attach=True),
)
_BY_PREFIX = {row.prefix: row for row in SECTIONS}


def match_section(name: str) -> tuple[Section, str] | None:
    """The row for a section name (longest prefix) and what follows the slash ("" if nothing)."""
    head, tail = name, ""
    while True:
        row = _BY_PREFIX.get(head)
        if row is not None and not (tail and row.exact):
            return row, tail.removeprefix(_BPFDUMP).replace("/", "_") if row.dumper else tail
        head, slash, last = head.rpartition("/")
        if not slash:
            return None
        tail = f"{last}/{tail}" if tail else last
