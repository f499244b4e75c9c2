"""Helpers on packets: bytes, sizes, checksums, tags, times.

Which program types may call which was read off Linux 6.18 by loading one call of each.
"""

from __future__ import annotations

from typing import Any

from ...dataclass import replace
from ..kinds import ANYTHING, CTX, INTEGER, MEM, SIZE, SIZE_OR_ZERO, UNINIT_MEM, Arg, Helper, RetKind, btf_ptr, fixed_mem


def _row(id_: int, name: str, decl: str, types: str, args: tuple[Arg, ...], ret: RetKind, **rules: Any) -> Helper:
    """`types`: the program types that may call it, or "all"."""
    return Helper(id_, name, decl, args=args, ret=ret, symbol=f"rt_{name}", groups=frozenset(types.split()), **rules)


def _check_mtu(row: Helper) -> Helper:
    """The packet's own size is asked where the program has it."""
    frames = replace(row, symbol="rt_xdp_check_mtu")
    return replace(row, symbol="rt_skb_check_mtu", by_type={"xdp": frames})


def _buff_len(row: Helper) -> Helper:
    """Tracing programs bring the kernel's frame, of which the simulated kernel has none."""
    return replace(row, by_type={"tracing": replace(row, args=(btf_ptr("xdp_buff"),), symbol="")})


PACKET_HELPERS = (
    _row(
        9,
        "skb_store_bytes",
        "long (*%s)(struct __sk_buff *skb, __u32 offset, const void *from, __u32 len, __u64 flags)",
        "sched_cls sched_act lwt_xmit sk_skb",
        (CTX, ANYTHING, MEM, SIZE, ANYTHING),
        INTEGER,
        changes_packet=True,
    ),
    _row(
        10,
        "l3_csum_replace",
        "long (*%s)(struct __sk_buff *skb, __u32 offset, __u64 from, __u64 to, __u64 size)",
        "sched_cls sched_act lwt_xmit",
        (CTX, ANYTHING, ANYTHING, ANYTHING, ANYTHING),
        INTEGER,
        changes_packet=True,
    ),
    _row(
        11,
        "l4_csum_replace",
        "long (*%s)(struct __sk_buff *skb, __u32 offset, __u64 from, __u64 to, __u64 flags)",
        "sched_cls sched_act lwt_xmit",
        (CTX, ANYTHING, ANYTHING, ANYTHING, ANYTHING),
        INTEGER,
        changes_packet=True,
    ),
    _row(
        18,
        "skb_vlan_push",
        "long (*%s)(struct __sk_buff *skb, __be16 vlan_proto, __u16 vlan_tci)",
        "sched_cls sched_act",
        (CTX, ANYTHING, ANYTHING),
        INTEGER,
        changes_packet=True,
    ),
    _row(
        28,
        "csum_diff",
        "__s64 (*%s)(__be32 *from, __u32 from_size, __be32 *to, __u32 to_size, __wsum seed)",
        "sched_cls sched_act xdp lwt_in lwt_out lwt_xmit lwt_seg6local",
        (MEM.or_null(), SIZE_OR_ZERO, MEM.or_null(), SIZE_OR_ZERO, ANYTHING),
        INTEGER,
        takes_packet=True,
    ),
    _row(
        31,
        "skb_change_proto",
        "long (*%s)(struct __sk_buff *skb, __be16 proto, __u64 flags)",
        "sched_cls sched_act",
        (CTX, ANYTHING, ANYTHING),
        INTEGER,
        changes_packet=True,
    ),
    _row(
        32,
        "skb_change_type",
        "long (*%s)(struct __sk_buff *skb, __u32 type)",
        "sched_cls sched_act",
        (CTX, ANYTHING),
        INTEGER,
    ),
    _row(
        34,
        "get_hash_recalc",
        "__u32 (*%s)(struct __sk_buff *skb)",
        "sched_cls sched_act lwt_in lwt_out lwt_xmit lwt_seg6local",
        (CTX,),
        INTEGER,
    ),
    _row(
        38,
        "skb_change_tail",
        "long (*%s)(struct __sk_buff *skb, __u32 len, __u64 flags)",
        "sched_cls sched_act lwt_xmit sk_skb",
        (CTX, ANYTHING, ANYTHING),
        INTEGER,
        changes_packet=True,
    ),
    _row(
        39,
        "skb_pull_data",
        "long (*%s)(struct __sk_buff *skb, __u32 len)",
        "sched_cls sched_act lwt_in lwt_out lwt_xmit sk_skb lwt_seg6local",
        (CTX, ANYTHING),
        INTEGER,
        changes_packet=True,
    ),
    _row(
        40,
        "csum_update",
        "__s64 (*%s)(struct __sk_buff *skb, __wsum csum)",
        "sched_cls sched_act lwt_xmit",
        (CTX, ANYTHING),
        INTEGER,
    ),
    _row(
        43,
        "skb_change_head",
        "long (*%s)(struct __sk_buff *skb, __u32 len, __u64 flags)",
        "sched_cls sched_act lwt_xmit sk_skb",
        (CTX, ANYTHING, ANYTHING),
        INTEGER,
        changes_packet=True,
    ),
    _row(
        54,
        "xdp_adjust_meta",
        "long (*%s)(struct xdp_md *xdp_md, int delta)",
        "xdp",
        (CTX, ANYTHING),
        INTEGER,
        changes_packet=True,
    ),
    _row(
        68,
        "skb_load_bytes_relative",
        "long (*%s)(const void *skb, __u32 offset, void *to, __u32 len, __u32 start_header)",
        "socket_filter sched_cls sched_act cgroup_skb sk_reuseport",
        (CTX, ANYTHING, UNINIT_MEM, SIZE, ANYTHING),
        INTEGER,
    ),
    _row(
        135,
        "csum_level",
        "long (*%s)(struct __sk_buff *skb, __u64 level)",
        "sched_cls sched_act lwt_xmit",
        (CTX, ANYTHING),
        INTEGER,
    ),
    _check_mtu(
        _row(
            163,
            "check_mtu",
            "long (*%s)(void *ctx, __u32 ifindex, __u32 *mtu_len, __s32 len_diff, __u64 flags)",
            "sched_cls sched_act xdp",
            (CTX, ANYTHING, fixed_mem(4), ANYTHING, ANYTHING),
            INTEGER,
        )
    ),
    _row(
        189,
        "xdp_load_bytes",
        "long (*%s)(struct xdp_md *xdp_md, __u32 offset, void *buf, __u32 len)",
        "xdp",
        (CTX, ANYTHING, UNINIT_MEM, SIZE),
        INTEGER,
    ),
    _row(
        190,
        "xdp_store_bytes",
        "long (*%s)(struct xdp_md *xdp_md, __u32 offset, void *buf, __u32 len)",
        "xdp",
        (CTX, ANYTHING, MEM, SIZE),
        INTEGER,
    ),
    _row(
        192,
        "skb_set_tstamp",
        "long (*%s)(struct __sk_buff *skb, __u64 tstamp, __u32 tstamp_type)",
        "sched_cls sched_act",
        (CTX, ANYTHING, ANYTHING),
        INTEGER,
    ),
    _row(
        19, "skb_vlan_pop", "long (*%s)(struct __sk_buff *skb)", "sched_cls sched_act", (CTX,), INTEGER, changes_packet=True
    ),
    _row(41, "set_hash_invalid", "void (*%s)(struct __sk_buff *skb)", "sched_cls sched_act lwt_xmit", (CTX,), INTEGER),
    _row(48, "set_hash", "long (*%s)(struct __sk_buff *skb, __u32 hash)", "sched_cls sched_act", (CTX, ANYTHING), INTEGER),
    _buff_len(
        _row(188, "xdp_get_buff_len", "__u64 (*%s)(struct xdp_md *xdp_md)", "xdp tracing seq syscall", (CTX,), INTEGER)
    ),
    _row(17, "get_cgroup_classid", "__u32 (*%s)(struct __sk_buff *skb)", "all", (CTX,), INTEGER),
    _row(
        24,
        "get_route_realm",
        "__u32 (*%s)(struct __sk_buff *skb)",
        "sched_cls sched_act lwt_in lwt_out lwt_xmit lwt_seg6local",
        (CTX,),
        INTEGER,
    ),
    _row(
        47,
        "get_socket_uid",
        "__u32 (*%s)(struct __sk_buff *skb)",
        "socket_filter sched_cls sched_act cgroup_skb sk_skb",
        (CTX,),
        INTEGER,
    ),
    _row(97, "skb_ecn_set_ce", "long (*%s)(struct __sk_buff *skb)", "sched_cls sched_act cgroup_skb", (CTX,), INTEGER),
    _row(151, "skb_cgroup_classid", "__u64 (*%s)(struct __sk_buff *skb)", "sched_cls sched_act", (CTX,), INTEGER),
)
