"""Helpers on packets."""

from __future__ import annotations

from ..kinds import ANYTHING, CTX, INTEGER, MEM, SIZE, SIZE_OR_ZERO, UNINIT_MEM, Arg, Helper, header

_READERS = frozenset({"skb", "lwt_in", "lwt_out", "lwt_xmit", "lwt_seg6local", "sk_skb", "sk_reuseport", "flow_dissector"})


def _cookie(id_: int, name: str, decl: str, *args: Arg) -> Helper:
    """A SYN cookie made or looked at, of headers that may lie in the packet; Linux's code for it is GPL."""
    groups = frozenset({"xdp", "sched_cls", "sched_act"})
    return Helper(id_, name, decl, args=args, ret=INTEGER, symbol="", groups=groups, gpl=True, takes_packet=True)


_IPV4, _IPV6, _TCP = header(20), header(40), header(20)
_GEN, _CHECK = "(*%s)(struct {0} *iph, struct tcphdr *th, __u32 th_len)", "(*%s)(struct {0} *iph, struct tcphdr *th)"

NET_HELPERS = (
    Helper(
        26,
        "skb_load_bytes",
        "long (*%s)(const void *skb, __u32 offset, void *to, __u32 len)",
        args=(CTX, ANYTHING, UNINIT_MEM, SIZE),
        ret=INTEGER,
        symbol="rt_skb_load_bytes",
        groups=_READERS,
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
    _cookie(204, "tcp_raw_gen_syncookie_ipv4", "__s64 " + _GEN.format("iphdr"), _IPV4, MEM, SIZE_OR_ZERO),
    _cookie(205, "tcp_raw_gen_syncookie_ipv6", "__s64 " + _GEN.format("ipv6hdr"), _IPV6, MEM, SIZE_OR_ZERO),
    _cookie(206, "tcp_raw_check_syncookie_ipv4", "long " + _CHECK.format("iphdr"), _IPV4, _TCP),
    _cookie(207, "tcp_raw_check_syncookie_ipv6", "long " + _CHECK.format("ipv6hdr"), _IPV6, _TCP),
)
