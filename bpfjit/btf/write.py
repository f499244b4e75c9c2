"""Btf -> BTF bytes."""

from __future__ import annotations

import struct

from .parse import HEADER, MAGIC
from .types import COMPOSITES, Btf, Kind, Type


class _Strings:
    def __init__(self, initial: bytes) -> None:
        self.data = bytearray(initial)
        self._at: dict[str, int] = {}
        at = 0
        for text in initial.split(b"\0")[:-1]:
            self._at.setdefault(text.decode("utf-8", "replace"), at)
            at += len(text) + 1

    def add(self, text: str) -> int:
        if text not in self._at:
            self._at[text] = len(self.data)
            self.data += text.encode() + b"\0"
        return self._at[text]


def write_btf(btf: Btf, strings_first: bytes = b"\0") -> bytes:
    """The table as a BTF blob, strings shared, ids kept.

    `strings_first` begins the string section: BTF.ext refers into it by offset, so a rewritten table keeps it.
    """
    strings = _Strings(strings_first)
    body = b"".join(_encode(t, strings) for _, t in btf.items())
    header = HEADER.pack(MAGIC, 1, 0, HEADER.size, 0, len(body), len(body), len(strings.data))
    return header + body + bytes(strings.data)


def _encode(t: Type, strings: _Strings) -> bytes:
    flag, vlen, size, tail = False, 0, t.size, b""
    if t.kind is Kind.INT:
        tail = struct.pack("<I", t.encoding << 24 | t.bit_offset << 16 | t.bits)
    elif t.kind is Kind.ARRAY:
        tail = struct.pack("<III", t.ref, t.index_id, t.nelems)
    elif t.kind in COMPOSITES:
        flag = any(m.bitfield_bits for m in t.members)
        vlen = len(t.members)
        tail = b"".join(
            struct.pack("<III", strings.add(m.name), m.type_id, m.bit_offset | m.bitfield_bits << 24) for m in t.members
        )
    elif t.kind is Kind.ENUM:
        flag, vlen = t.signed, len(t.values)
        tail = b"".join(struct.pack("<II", strings.add(v.name), v.value & 0xFFFFFFFF) for v in t.values)
    elif t.kind is Kind.ENUM64:
        flag, vlen = t.signed, len(t.values)
        tail = b"".join(
            struct.pack("<III", strings.add(v.name), v.value & 0xFFFFFFFF, v.value >> 32 & 0xFFFFFFFF) for v in t.values
        )
    elif t.kind is Kind.FUNC_PROTO:
        vlen, size = len(t.params), t.ref
        tail = b"".join(struct.pack("<II", strings.add(p.name), p.type_id) for p in t.params)
    elif t.kind is Kind.DATASEC:
        vlen = len(t.secvars)
        tail = b"".join(struct.pack("<III", v.type_id, v.offset, v.size) for v in t.secvars)
    elif t.kind is Kind.VAR:
        size, tail = t.ref, struct.pack("<I", t.linkage)
    elif t.kind is Kind.DECL_TAG:
        size, tail = t.ref, struct.pack("<i", t.component)
    elif t.kind is Kind.FUNC:
        vlen, size = t.linkage, t.ref
    elif t.kind is Kind.FWD:
        flag = t.fwd_union
    elif t.kind is not Kind.FLOAT:
        size = t.ref
    head = struct.pack("<III", strings.add(t.name), flag << 31 | t.kind << 24 | vlen, size)
    return head + tail
