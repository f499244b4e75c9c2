"""Context structures as program types see them: which members they read and write, which are packet pointers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

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


# The runtime keeps the 64-bit packet pointers right behind the UAPI structure (runtime/include/rt.h).
_XDP = uapi.LAYOUTS["xdp_md"].size
_SKB = uapi.LAYOUTS["__sk_buff"].size
_SKB_DATA: Native = {"data": (FieldKind.PACKET, _SKB), "data_end": (FieldKind.PACKET_END, _SKB + 8)}

XDP_MD = layout(
    "xdp_md",
    {
        "data": (FieldKind.PACKET, _XDP),
        "data_end": (FieldKind.PACKET_END, _XDP + 8),
        "data_meta": (FieldKind.PACKET_META, _XDP + 16),
    },
    hidden={"egress_ifindex"},
)
_POINTERS = {"data", "data_end", "data_meta", "flow_keys", "sk", "tc_classid", "tstamp", "hwtstamp", "tstamp_type"}
_SOCKET = {"family", "remote_ip4", "local_ip4", "remote_ip6", "local_ip6", "remote_port", "local_port"}
_TIMES = {"tstamp", "hwtstamp"}
SK_BUFF_FILTER = layout("__sk_buff", writable={"cb"}, hidden=_POINTERS | _SOCKET | {"wire_len"})
SK_BUFF_TC = layout(
    "__sk_buff",
    {**_SKB_DATA, "data_meta": (FieldKind.PACKET_META, _SKB + 16)},
    writable={"mark", "tc_index", "priority", "tc_classid", "cb", "tstamp", "queue_mapping"},
    hidden={"flow_keys", "sk"} | _SOCKET,
    whole=_TIMES,
)
SK_BUFF_CGROUP = layout(
    "__sk_buff",
    _SKB_DATA,
    writable={"mark", "priority", "cb", "tstamp"},
    hidden={"tc_classid", "data_meta", "wire_len", "flow_keys", "sk", "tstamp_type"},
    whole=_TIMES | {"remote_ip4", "local_ip4", "remote_ip6", "local_ip6"},
    words=_SOCKET,
)
