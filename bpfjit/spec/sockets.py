"""Where the members of bpf_sock and bpf_tcp_sock, as programs see them, lie in the kernel's own structures.

Source: what Linux reads in their place; a member without a row has nothing behind it here, and is not compiled.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..btf import Btf, Kind
from ..btf.types import COMPOSITES

_COMMON = {
    name: f"__sk_common.skc_{name}" for name in ("bound_dev_if", "family", "state", "dport", "num", "rx_queue_mapping")
}
SOCK_MEMBERS: Mapping[str, str] = {
    "bound_dev_if": _COMMON["bound_dev_if"],
    "family": _COMMON["family"],
    "type": "sk_type",
    "protocol": "sk_protocol",
    "mark": "sk_mark",
    "priority": "sk_priority",
    "src_ip4": "__sk_common.skc_rcv_saddr",
    "src_ip6": "__sk_common.skc_v6_rcv_saddr",
    "src_port": _COMMON["num"],
    "dst_port": _COMMON["dport"],
    "dst_ip4": "__sk_common.skc_daddr",
    "dst_ip6": "__sk_common.skc_v6_daddr",
    "state": _COMMON["state"],
    "rx_queue_mapping": _COMMON["rx_queue_mapping"],
}
_ELSEWHERE = {"rtt_min": "rtt_min.s.v", "icsk_retransmits": "inet_conn.icsk_retransmits"}
TCP_MEMBERS: Mapping[str, str] = {
    name: _ELSEWHERE.get(name, name)
    for name in (
        *("snd_cwnd", "srtt_us", "rtt_min", "snd_ssthresh", "rcv_nxt", "snd_nxt", "snd_una", "mss_cache", "ecn_flags"),
        *("rate_delivered", "rate_interval_us", "packets_out", "retrans_out", "total_retrans", "segs_in", "data_segs_in"),
        *("segs_out", "data_segs_out", "lost_out", "sacked_out", "bytes_received", "bytes_acked", "dsack_dups", "delivered"),
        *("delivered_ce", "icsk_retransmits"),
    )
}
# The kernel says "no queue" with all bits of 16; programs are told -1.
NO_QUEUE = "rx_queue_mapping"


def place(btf: Btf, struct: str, path: str) -> tuple[int, int] | None:
    """Offset and size in bytes of a member by its path, the first element of an array; None where there is none."""
    type_id = btf.find(Kind.STRUCT, struct)
    offset = size = 0
    for name in path.split("."):
        found = _member(btf, type_id, name) if type_id is not None else None
        if found is None:
            return None
        offset += found[0]
        type_id = btf.skip(found[1])
        while btf.type(type_id).kind is Kind.ARRAY:
            type_id = btf.skip(btf.type(type_id).ref)
        size = btf.size_of(type_id)
    return offset, size


def _member(btf: Btf, type_id: int, name: str) -> tuple[int, int] | None:
    for m in btf.type(type_id).members:
        if m.name == name:
            return m.bit_offset // 8, m.type_id
        inner = btf.skip(m.type_id)
        if not m.name and btf.type(inner).kind in COMPOSITES and (found := _member(btf, inner, name)) is not None:
            return m.bit_offset // 8 + found[0], found[1]
    return None
