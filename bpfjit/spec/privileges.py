"""Which capability which program and map types want (Linux 6.18). CAP_SYS_ADMIN stands in for each of them."""

from __future__ import annotations

from ..uapi import bpf as uapi


def _progs(names: str) -> frozenset[int]:
    return frozenset(getattr(uapi, f"BPF_PROG_TYPE_{name}") for name in names.split())


# Programs that an ordinary user may load where kernel.unprivileged_bpf_disabled is 0: short, and never over kernel pointers.
UNPRIVILEGED_PROGS = _progs("SOCKET_FILTER CGROUP_SKB")
UNPRIVILEGED_INSNS = 4096
# With CAP_BPF, and besides CAP_NET_ADMIN or CAP_PERFMON. A cgroup_skb program is asked for it when it is attached.
NET_ADMIN_PROGS = _progs(
    "SCHED_CLS SCHED_ACT XDP LWT_IN LWT_OUT LWT_XMIT LWT_SEG6LOCAL SK_SKB SK_MSG FLOW_DISSECTOR CGROUP_DEVICE CGROUP_SOCK "
    "CGROUP_SOCK_ADDR CGROUP_SOCKOPT CGROUP_SYSCTL SOCK_OPS EXT NETFILTER"
)
PERFMON_PROGS = _progs("KPROBE TRACEPOINT PERF_EVENT RAW_TRACEPOINT RAW_TRACEPOINT_WRITABLE TRACING LSM STRUCT_OPS EXT")
# Maps that want no capability where unprivileged_bpf_disabled is 0.
UNPRIVILEGED_MAPS = frozenset(
    getattr(uapi, f"BPF_MAP_TYPE_{name}")
    for name in (
        *("ARRAY", "PERCPU_ARRAY", "PROG_ARRAY", "PERF_EVENT_ARRAY", "CGROUP_ARRAY", "ARRAY_OF_MAPS", "HASH", "PERCPU_HASH"),
        *("HASH_OF_MAPS", "RINGBUF", "USER_RINGBUF", "CGROUP_STORAGE", "PERCPU_CGROUP_STORAGE"),
    )
)
# With unprivileged_bpf_disabled CAP_BPF too, and always this one.
NET_ADMIN_MAPS = frozenset(
    getattr(uapi, f"BPF_MAP_TYPE_{name}") for name in ("SOCKMAP", "SOCKHASH", "DEVMAP", "DEVMAP_HASH", "XSKMAP")
)
