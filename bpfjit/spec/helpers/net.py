"""Helpers on packets."""

from __future__ import annotations

from ..kinds import ANYTHING, CTX, INTEGER, SIZE, UNINIT_MEM, Helper

_READERS = frozenset({"skb", "lwt_in", "lwt_out", "lwt_xmit", "lwt_seg6local", "sk_skb", "sk_reuseport", "flow_dissector"})

NET_HELPERS = (
    Helper(
        26,
        "skb_load_bytes",
        "long (*%s)(const void *skb, __u32 offset, void *to, __u32 len)",
        args=(CTX, ANYTHING, UNINIT_MEM, SIZE),
        ret=INTEGER,
        symbol="rt_skb_load_bytes",
        groups=frozenset(
            ["skb", "lwt_in", "lwt_out", "lwt_xmit", "lwt_seg6local", "sk_skb", "sk_reuseport", "flow_dissector"]
        ),
    ),
    Helper(
        44,
        "xdp_adjust_head",
        "long (*%s)(struct xdp_md *xdp_md, int delta)",
        args=(CTX, ANYTHING),
        ret=INTEGER,
        symbol="rt_xdp_adjust_head",
        groups=frozenset({"xdp"}),
        changes_packet=True,
    ),
    Helper(
        65,
        "xdp_adjust_tail",
        "long (*%s)(struct xdp_md *xdp_md, int delta)",
        args=(CTX, ANYTHING),
        ret=INTEGER,
        symbol="rt_xdp_adjust_tail",
        groups=frozenset({"xdp"}),
        changes_packet=True,
    ),
)
