"""Section names -> program types: what libbpf's SEC() means, and the RFC's view and dump."""

from __future__ import annotations

from .kinds import Section

SECTIONS: tuple[Section, ...] = (
    Section("socket", "SOCKET_FILTER"),
    Section("xdp", "XDP", "XDP"),
    Section("xdp.frags", "XDP", "XDP"),
    Section("tc", "SCHED_CLS"),
    Section("tc/ingress", "SCHED_CLS", "TCX_INGRESS"),
    Section("tc/egress", "SCHED_CLS", "TCX_EGRESS"),
    Section("tcx/ingress", "SCHED_CLS", "TCX_INGRESS"),
    Section("tcx/egress", "SCHED_CLS", "TCX_EGRESS"),
    Section("classifier", "SCHED_CLS"),
    Section("action", "SCHED_ACT"),
    Section("kprobe", "KPROBE"),
    Section("kretprobe", "KPROBE"),
    Section("tracepoint", "TRACEPOINT"),
    Section("tp", "TRACEPOINT"),
    Section("raw_tracepoint", "RAW_TRACEPOINT", attach="raw_tp"),
    Section("raw_tp", "RAW_TRACEPOINT", attach="raw_tp"),
    Section("tp_btf", "TRACING", "TRACE_RAW_TP", attach="tp_btf", btf_prefix="btf_trace_", btf_kind="typedef"),
    Section("iter", "TRACING", "TRACE_ITER", attach="iter", btf_prefix="bpf_iter_"),
    Section("iter.s", "TRACING", "TRACE_ITER", attach="iter", btf_prefix="bpf_iter_", sleepable=True),
    Section("view", "TRACING", "TRACE_VIEW", attach="view", btf_prefix="bpf_view_"),
    Section("syscall", "SYSCALL", sleepable=True, exact=True),
)


def match_section(name: str) -> tuple[Section, str] | None:
    """The row for a section name (longest prefix) and what follows the slash ("" if nothing)."""
    best: tuple[Section, str] | None = None
    for row in SECTIONS:
        if name == row.prefix:
            return row, ""
        if not row.exact and name.startswith(row.prefix + "/"):
            if best is None or len(row.prefix) > len(best[0].prefix):
                best = row, name[len(row.prefix) + 1 :]
    return best
