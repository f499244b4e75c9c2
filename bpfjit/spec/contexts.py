"""Context structures as program types see them: which members they read and write, which are packet pointers."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ..dataclass import replace
from ..uapi import bpf as uapi
from .kinds import CtxField, CtxLayout, FieldKind

Native = Mapping[str, tuple[FieldKind, int]]


def layout(
    struct: str,
    native: Native | None = None,
    *,
    writable: Collection[str] = (),
    hidden: Collection[str] = (),
    whole: Collection[str] = (),
    words: Collection[str] = (),
    first: Collection[str] = (),
) -> CtxLayout:
    """Fields of a UAPI struct: which are packet pointers (and where the pointer lies), written, not to be had.

    whole: read in their full size only, arrays word by word. words: arrays that no access of 8 bytes reaches into.
    first: a part of them is read at their first byte only.
    """
    fields = []
    for name, (offset, size) in uapi.LAYOUTS[struct].fields.items():
        kind, slot = (native or {}).get(name, (FieldKind.SCALAR, -1))
        if name not in hidden:
            narrow = name not in whole
            widest = 4 if name in words else 8
            row = CtxField(name, offset, size, kind, name in writable, narrow, slot, widest=widest, at_start=name in first)
            fields.append(replace(row, parts_written=True) if name == "cb" else row)
    return CtxLayout(struct, uapi.LAYOUTS[struct].size, tuple(fields))


SOCK_FIRST = {"family", "type", "protocol", "src_port", "state", "rx_queue_mapping"}


def with_port(rows: CtxLayout) -> CtxLayout:
    """bpf_sock's dst_port, of 4 bytes once, may still be read as that."""
    port = uapi.LAYOUTS["bpf_sock"].fields["dst_port"][0]
    return replace(rows, fields=(*rows.fields, CtxField("dst_port", port, 4, narrow=False)))


# The runtime keeps the 64-bit packet pointers right behind the UAPI structure (runtime/include/rt.h).
_XDP = uapi.LAYOUTS["xdp_md"].size
_SKB = uapi.LAYOUTS["__sk_buff"].size
_SKB_DATA: Native = {"data": (FieldKind.PACKET, _SKB), "data_end": (FieldKind.PACKET_END, _SKB + 8)}

_SOCK_POINTER: Native = {"sk": (FieldKind.SOCK_COMMON, uapi.LAYOUTS["__sk_buff"].fields["sk"][0])}

_XDP_DATA: Native = {
    "data": (FieldKind.PACKET, _XDP),
    "data_end": (FieldKind.PACKET_END, _XDP + 8),
    "data_meta": (FieldKind.PACKET_META, _XDP + 16),
}
XDP_MD = layout("xdp_md", _XDP_DATA, hidden={"egress_ifindex"})
XDP_MD_DEVMAP = layout("xdp_md", _XDP_DATA)  # where a packet leaves, its device is known
_POINTERS = {"data", "data_end", "data_meta", "flow_keys", "sk", "tc_classid", "tstamp", "hwtstamp", "tstamp_type"}
_SOCKET = {"family", "remote_ip4", "local_ip4", "remote_ip6", "local_ip6", "remote_port", "local_port"}
_TIMES = {"tstamp", "hwtstamp"}
SK_BUFF_FILTER = layout("__sk_buff", _SOCK_POINTER, writable={"cb"}, hidden=_POINTERS - {"sk"} | _SOCKET | {"wire_len"})
SK_BUFF_TC = layout(
    "__sk_buff",
    {**_SKB_DATA, **_SOCK_POINTER, "data_meta": (FieldKind.PACKET_META, _SKB + 16)},
    writable={"mark", "tc_index", "priority", "tc_classid", "cb", "tstamp", "queue_mapping"},
    hidden={"flow_keys"} | _SOCKET,
    whole=_TIMES,
)
SK_BUFF_CGROUP = layout(
    "__sk_buff",
    {**_SKB_DATA, **_SOCK_POINTER},
    writable={"mark", "priority", "cb", "tstamp"},
    hidden={"tc_classid", "data_meta", "wire_len", "flow_keys", "tstamp_type"},
    whole=_TIMES | {"remote_ip4", "local_ip4", "remote_ip6", "local_ip6"},
    words=_SOCKET,
)
SK_BUFF_LWT = layout(
    "__sk_buff",
    {**_SKB_DATA, **_SOCK_POINTER},
    writable={"mark", "priority", "cb"},
    hidden=_SOCKET | _TIMES | {"tc_classid", "data_meta", "wire_len", "flow_keys", "tstamp_type"},
)
SK_BUFF_LWT_XMIT = SK_BUFF_LWT
SK_BUFF_PARSER = layout(
    "__sk_buff",
    {**_SKB_DATA, **_SOCK_POINTER},
    writable={"tc_index", "priority"},
    hidden=_TIMES | {"tc_classid", "data_meta", "wire_len", "flow_keys", "mark", "tstamp_type"},
    whole={"remote_ip4", "local_ip4", "remote_ip6", "local_ip6"},
    words=_SOCKET,
)
_FLOW = {"data", "data_end", "flow_keys"}
FLOW_KEYS_BUFF = layout(
    "__sk_buff",
    {**_SKB_DATA, "flow_keys": (FieldKind.FLOW_KEYS, uapi.LAYOUTS["__sk_buff"].fields["flow_keys"][0])},
    hidden=set(uapi.LAYOUTS["__sk_buff"].fields) - _FLOW,
)


def pointers(struct: str, **kinds: FieldKind) -> Native:
    """Pointers that lie where the UAPI structure has them."""
    return {name: (kind, uapi.LAYOUTS[struct].fields[name][0]) for name, kind in kinds.items()}


_OPS = set(uapi.LAYOUTS["bpf_sock_ops"].fields)
SOCK_OPS = layout(
    "bpf_sock_ops",
    pointers("bpf_sock_ops", sk=FieldKind.SOCKET_OR_NULL, skb_data=FieldKind.PACKET, skb_data_end=FieldKind.PACKET_END),
    writable={"reply", "sk_txhash"},
    hidden={"args"},
    whole=_OPS - {"skb_tcp_flags"},
    first={"skb_tcp_flags"},
)
SK_MSG = layout(
    "sk_msg_md",
    pointers("sk_msg_md", data=FieldKind.PACKET, data_end=FieldKind.PACKET_END, sk=FieldKind.SOCKET),
    whole=set(uapi.LAYOUTS["sk_msg_md"].fields),
)
_LOOKUP = layout(
    "bpf_sk_lookup",
    pointers("bpf_sk_lookup", sk=FieldKind.SOCKET_OR_NULL),
    hidden={"cookie", "__pad"},
    words={"remote_ip6", "local_ip6"},
)
# The port of 2 bytes was one of 4 once, and may still be read as that.
SK_LOOKUP = replace(_LOOKUP, fields=tuple(replace(f, size=4) if f.name == "remote_port" else f for f in _LOOKUP.fields))
_REUSEPORT = layout(
    "sk_reuseport_md",
    pointers(
        "sk_reuseport_md",
        data=FieldKind.PACKET,
        data_end=FieldKind.PACKET_END,
        sk=FieldKind.SOCKET,
        migrating_sk=FieldKind.SOCK_COMMON,
    ),
    whole={"hash"},
    hidden={"eth_protocol"},
)
_HALVES = (
    CtxField("eth_protocol", 20, 4, narrow=False),
    CtxField("eth_protocol", 20, 2, narrow=False),
    CtxField("eth_protocol", 22, 2, narrow=False),
)
SK_REUSEPORT = replace(_REUSEPORT, fields=(*_REUSEPORT.fields, *_HALVES))
# pt_regs, a register at a time, then sample_period and addr.
PERF_EVENT = CtxLayout(
    "bpf_perf_event_data",
    184,
    (
        *(CtxField(f"regs[{i}]", 8 * i, 8, narrow=False) for i in range(21)),
        CtxField("sample_period", 168, 8),
        CtxField("addr", 176, 8),
    ),
)
NETFILTER_CTX = CtxLayout(
    "bpf_nf_ctx",
    16,
    (
        CtxField("state", 0, 8, FieldKind.BTF, native=0, btf="nf_hook_state"),
        CtxField("skb", 8, 8, FieldKind.BTF, native=8, btf="sk_buff"),
    ),
)
# Sockets as pointers of the verifier's own show them.
SOCK_FIELDS = with_port(layout("bpf_sock", words={"src_ip6", "dst_ip6"}, first=SOCK_FIRST, hidden={"__pad"}))
SOCK_COMMON_FIELDS = with_port(
    layout(
        "bpf_sock",
        words={"src_ip6", "dst_ip6"},
        first=SOCK_FIRST,
        hidden={"__pad", "type", "protocol", "mark", "priority", "rx_queue_mapping"},
    )
)
TCP_SOCK_FIELDS = layout("bpf_tcp_sock", whole=set(uapi.LAYOUTS["bpf_tcp_sock"].fields))
XDP_SOCK_FIELDS = layout("bpf_xdp_sock", whole={"queue_id"})
