"""BTF bytes -> Btf. The table is indexed in one pass; a type is decoded when it is first asked for.

The live kernel's BTF has 150,000 types of which a program touches dozens, hence the laziness.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterator

from ..errors import BtfError
from .types import (
    COMPOSITES,
    ENUMS,
    MAX_RESOLVE_DEPTH,
    MODIFIERS,
    VOID_TYPE,
    Btf,
    BtfId,
    Enumerator,
    Kind,
    Member,
    Param,
    SecVar,
    Type,
)

MAGIC = 0xEB9F
HEADER = struct.Struct("<HBBIIIII")
_HEAD = struct.Struct("<III")
_MAX_TYPES = 0xFFFFF  # BTF_MAX_TYPE
_MAX_BYTES = 16 << 20  # BTF_MAX_SIZE
_MAX_NAME = 512  # KSYM_NAME_LEN
_MAX_SEARCHES = 16  # after which an index of all names is cheaper

# What follows the 12-byte head of each kind: fixed bytes, bytes per vlen.
_TAIL = {
    Kind.INT: (4, 0),
    Kind.PTR: (0, 0),
    Kind.ARRAY: (12, 0),
    Kind.STRUCT: (0, 12),
    Kind.UNION: (0, 12),
    Kind.ENUM: (0, 8),
    Kind.FWD: (0, 0),
    Kind.TYPEDEF: (0, 0),
    Kind.VOLATILE: (0, 0),
    Kind.CONST: (0, 0),
    Kind.RESTRICT: (0, 0),
    Kind.FUNC: (0, 0),
    Kind.FUNC_PROTO: (0, 8),
    Kind.VAR: (4, 0),
    Kind.DATASEC: (0, 12),
    Kind.FLOAT: (0, 0),
    Kind.DECL_TAG: (4, 0),
    Kind.TYPE_TAG: (0, 0),
    Kind.ENUM64: (0, 12),
}
_FIXED = [0] * 32
_EACH = [-1] * 32
for _kind, (_fixed, _each) in _TAIL.items():
    _FIXED[_kind] = _fixed + 12
    _EACH[_kind] = _each


class RawBtf(Btf):
    """BTF as bytes, decoded on demand; `data` is the whole blob."""

    def __init__(self, data: bytes) -> None:
        if len(data) < HEADER.size:
            raise BtfError(f"BTF of {len(data)} bytes, shorter than its {HEADER.size}-byte header")
        if len(data) > _MAX_BYTES:
            raise BtfError(f"BTF of {len(data)} bytes, larger than {_MAX_BYTES}")
        magic, version, _flags, hdr_len, type_off, type_len, str_off, str_len = HEADER.unpack_from(data)
        if magic != MAGIC:
            raise BtfError(f"BTF magic {magic:#06x}, wanted {MAGIC:#06x}")
        if version != 1:
            raise BtfError(f"BTF version {version}, wanted 1")
        if hdr_len < HEADER.size or hdr_len + max(type_off + type_len, str_off + str_len) > len(data):
            raise BtfError("BTF sections reach past the end of the data")
        if type_off % 4 or type_len % 4:
            raise BtfError("BTF type section not aligned to 4 bytes")
        self.data = bytes(data)
        self.strings = self.data[hdr_len + str_off : hdr_len + str_off + str_len]
        if not self.strings or self.strings[0] or self.strings[-1]:
            raise BtfError("BTF string section does not begin and end with a NUL")
        self._searches = 0
        start = hdr_len + type_off
        self._extent = start, start + type_len
        self._offsets = self._scan(start, start + type_len)
        self._cache: dict[int, Type] = {0: VOID_TYPE}
        super().__init__([])

    def _scan(self, pos: int, end: int) -> list[int]:
        offsets = [0]
        data, unpack, fixed, each = self.data, _HEAD.unpack_from, _FIXED, _EACH
        while pos < end:
            if end - pos < 12:
                raise BtfError("BTF type section ends inside a type", offset=pos)
            info = unpack(data, pos)[1]
            kind = (info >> 24) & 31
            per = each[kind]
            if per < 0:
                raise BtfError(f"BTF type {len(offsets)} of unknown kind {kind}", offset=pos)
            offsets.append(pos)
            pos += fixed[kind] + per * (info & 0xFFFF)
        if pos != end:
            raise BtfError("BTF type section ends inside a type", offset=pos)
        if len(offsets) > _MAX_TYPES:
            raise BtfError(f"BTF of {len(offsets)} types, more than {_MAX_TYPES}")
        return offsets

    def __len__(self) -> int:
        return len(self._offsets)

    def string(self, offset: int) -> str:
        """The NUL-terminated string at `offset` of the string section. Raises BtfError outside it."""
        if not 0 <= offset < len(self.strings):
            raise BtfError(f"BTF string offset {offset} outside the {len(self.strings)} bytes of strings")
        return self.strings[offset : self.strings.index(0, offset)].decode("utf-8", "replace")

    def _name(self, offset: int) -> str:
        name = self.string(offset)
        if len(name) > _MAX_NAME:
            raise BtfError(f"BTF name of {len(name)} characters, wanted at most {_MAX_NAME}")
        return name

    def type(self, type_id: int) -> Type:
        found = self._cache.get(type_id)
        if found is None:
            if not 0 <= type_id < len(self._offsets):
                raise BtfError(f"type id {type_id} outside the table of {len(self._offsets)}")
            found = self._cache[type_id] = self._decode(self._offsets[type_id])
        return found

    def named(self, name: str) -> list[BtfId]:
        """Every type of that name, of whatever kind, in order of their ids."""
        # Whoever asks for few is spared the index of all; "\ufffd" stands for bytes that are no text.
        if self._names is not None or self._searches == _MAX_SEARCHES or not name or "\ufffd" in name:
            return super().named(name)
        self._searches += 1
        return sorted(i for offset in _places(self.strings, name.encode() + b"\0") for i in self._called(offset))

    def _called(self, offset: int) -> list[BtfId]:
        """The types whose name is the string at an offset."""
        raw, offsets = offset.to_bytes(4, "little"), self._offsets
        found = []
        for pos in _places(self.data, raw, *self._extent):
            i = bisect_left(offsets, pos)
            if i < len(offsets) and offsets[i] == pos:
                found.append(BtfId(i))
        return found

    def _index(self) -> dict[str, list[BtfId]]:
        # Names without decoding types: kind and string offset are in the head.
        by_offset: dict[int, list[BtfId]] = {}
        data, unpack = self.data, _HEAD.unpack_from
        for type_id in range(1, len(self._offsets)):
            by_offset.setdefault(unpack(data, self._offsets[type_id])[0], []).append(BtfId(type_id))
        by_offset.pop(0, None)
        names: dict[str, list[BtfId]] = {}
        for offset, ids in by_offset.items():
            found = names.setdefault(self._name(offset), ids)
            if found is not ids:  # the same text twice in the string section
                found[:] = sorted({*found, *ids})
        return names

    def kind_of(self, type_id: int) -> Kind:
        return Kind((_HEAD.unpack_from(self.data, self._offsets[type_id])[1] >> 24) & 31) if type_id else Kind.VOID

    def _decode(self, pos: int) -> Type:
        data = self.data
        name_off, info, size = _HEAD.unpack_from(data, pos)
        kind = Kind((info >> 24) & 31)
        vlen = info & 0xFFFF
        flag = bool(info >> 31)
        name = self._name(name_off) if name_off else ""
        pos += 12
        if kind is Kind.INT:
            (word,) = struct.unpack_from("<I", data, pos)
            encoding = (word >> 24) & 15
            return Type(
                kind,
                name,
                size,
                bits=word & 0xFF,
                bit_offset=(word >> 16) & 0xFF,
                encoding=encoding,
                signed=bool(encoding & 1),
            )
        if kind is Kind.ARRAY:
            elem, index, nelems = _HEAD.unpack_from(data, pos)
            return Type(kind, name, ref=BtfId(elem), index_id=BtfId(index), nelems=nelems)
        if kind in COMPOSITES:
            members = []
            for i in range(vlen):
                m_name, m_type, m_off = _HEAD.unpack_from(data, pos + 12 * i)
                bits = m_off >> 24 if flag else 0
                members.append(Member(self._name(m_name), BtfId(m_type), m_off & 0xFFFFFF if flag else m_off, bits))
            return Type(kind, name, size, members=tuple(members))
        if kind is Kind.ENUM:
            form = "<Ii" if flag else "<II"
            pairs = [struct.unpack_from(form, data, pos + 8 * i) for i in range(vlen)]
            return Type(kind, name, size, values=tuple(Enumerator(self._name(n), v) for n, v in pairs), signed=flag)
        if kind is Kind.ENUM64:
            values = []
            for i in range(vlen):
                n, low, high = _HEAD.unpack_from(data, pos + 12 * i)
                value = low | high << 32
                values.append(Enumerator(self._name(n), value - (1 << 64) if flag and value >> 63 else value))
            return Type(kind, name, size, values=tuple(values), signed=flag)
        if kind is Kind.FUNC_PROTO:
            params = [struct.unpack_from("<II", data, pos + 8 * i) for i in range(vlen)]
            return Type(kind, name, ref=BtfId(size), params=tuple(Param(self._name(n), BtfId(t)) for n, t in params))
        if kind is Kind.FUNC:
            return Type(kind, name, ref=BtfId(size), linkage=vlen)
        if kind is Kind.VAR:
            (linkage,) = struct.unpack_from("<I", data, pos)
            return Type(kind, name, ref=BtfId(size), linkage=linkage)
        if kind is Kind.DATASEC:
            secvars = [_HEAD.unpack_from(data, pos + 12 * i) for i in range(vlen)]
            return Type(kind, name, size, secvars=tuple(SecVar(BtfId(t), o, s) for t, o, s in secvars))
        if kind is Kind.DECL_TAG:
            (component,) = struct.unpack_from("<i", data, pos)
            return Type(kind, name, ref=BtfId(size), component=component)
        if kind is Kind.FWD:
            return Type(kind, name, fwd_union=flag)
        if kind is Kind.FLOAT:
            return Type(kind, name, size)
        return Type(kind, name, ref=BtfId(size))  # PTR and the modifiers


def _places(data: bytes, wanted: bytes, start: int = 0, end: int | None = None) -> Iterator[int]:
    at = data.find(wanted, start, end)
    while at >= 0:
        yield at
        at = data.find(wanted, at + 1, end)


def parse_btf(data: bytes) -> RawBtf:
    """Parse a BTF blob. Raises BtfError; types are decoded (and their strings checked) on first use."""
    return RawBtf(data)


def validate(btf: Btf) -> None:
    """Check every type of a table that comes from outside: references, sizes, cycles. Raises BtfError.

    What Linux refuses in BTF_LOAD because it could mislead a reader of the types is refused here:
    wild type ids, types that contain themselves, members past the end, modifier loops.
    """
    count = len(btf)
    for type_id, t in btf.items():
        where = f"BTF type {type_id} ({t.kind.name} {t.name or 'anon'})"
        refs = [t.ref, *(m.type_id for m in t.members), *(p.type_id for p in t.params)]
        for ref in [*refs, t.index_id, *(v.type_id for v in t.secvars)]:
            if ref >= count:
                raise BtfError(f"{where}: refers to type {ref} of {count}")
        if t.kind in MODIFIERS:
            btf.skip(type_id)
        if t.kind is Kind.INT and not (0 < t.bits <= 128 and t.size in (1, 2, 4, 8, 16) and t.bits <= t.size * 8):
            raise BtfError(f"{where}: {t.bits} bits in {t.size} bytes")
        if t.kind in ENUMS and t.size not in (1, 2, 4, 8):
            raise BtfError(f"{where}: enum of {t.size} bytes")
        if t.kind is Kind.FUNC and btf.type(t.ref).kind is not Kind.FUNC_PROTO:
            raise BtfError(f"{where}: type {t.ref} is no function prototype")
        if t.kind is Kind.DATASEC and any(btf.type(v.type_id).kind not in (Kind.VAR, Kind.FUNC) for v in t.secvars):
            raise BtfError(f"{where}: holds what is no variable")
        if t.kind is Kind.VAR and btf.resolve(t.ref).kind in (Kind.VAR, Kind.DATASEC):
            raise BtfError(f"{where}: declares what is no data type")
    _check_chains(btf)
    depths: dict[int, int] = {}
    for type_id, t in btf.items():
        if t.kind in COMPOSITES or t.kind is Kind.ARRAY:
            _nesting(btf, type_id, depths, 0)
    for type_id, t in btf.items():
        if t.kind in COMPOSITES:
            _check_members(btf, type_id, t)


def _check_chains(btf: Btf) -> None:
    """Pointers, modifiers and arrays lead to something else within MAX_RESOLVE_DEPTH steps."""
    steps: dict[int, int] = {}
    for start, _ in btf.items():
        chain, at = [], int(start)
        while at not in steps:
            t = btf.type(at)
            if t.kind not in MODIFIERS and t.kind not in (Kind.PTR, Kind.ARRAY):
                steps[at] = 0
                break
            chain.append(at)
            if len(chain) > MAX_RESOLVE_DEPTH:
                raise BtfError(f"BTF type {start}: leads to itself, or deeper than {MAX_RESOLVE_DEPTH}")
            at = t.ref
        for n, type_id in enumerate(reversed(chain), 1):
            steps[type_id] = steps[at] + n
            if steps[type_id] > MAX_RESOLVE_DEPTH:
                raise BtfError(f"BTF type {start}: leads deeper than {MAX_RESOLVE_DEPTH}")


def _nesting(btf: Btf, type_id: int, depths: dict[int, int], depth: int) -> int:
    """How deep a type holds others by value; what is under way stands at -1, so that a cycle is met again."""
    type_id = btf.skip(type_id)
    known = depths.get(type_id)
    if known == -1 or depth + (known or 0) > MAX_RESOLVE_DEPTH:
        raise BtfError(f"BTF type {type_id} contains itself or is nested deeper than {MAX_RESOLVE_DEPTH}")
    if known is not None:
        return known
    t = btf.type(type_id)
    held = [t.ref] if t.kind is Kind.ARRAY else [m.type_id for m in t.members]
    depths[type_id] = -1
    depths[type_id] = max((_nesting(btf, i, depths, depth + 1) + 1 for i in dict.fromkeys(held)), default=0)
    return depths[type_id]


def _check_members(btf: Btf, type_id: int, t: Type) -> None:
    for m in t.members:
        bits = m.bitfield_bits or btf.size_of(m.type_id) * 8
        if m.bit_offset + bits > t.size * 8:
            raise BtfError(f"BTF type {type_id} ({t.name or 'anon'}): member {m.name or 'anon'} ends past {t.size} bytes")
