"""Bytes as values by their BTF type: a tree of what JSON knows, as bpftool prints maps; the kernel's own compact text."""

from __future__ import annotations

from typing import Any

from ..dataclass import dataclass
from .types import COMPOSITES, ENUMS, Btf, Kind, Type

_CHAR, _BOOL = 2, 4  # of an integer's encoding
_MODIFIERS = frozenset({Kind.CONST, Kind.VOLATILE, Kind.RESTRICT})


@dataclass(frozen=True, slots=True)
class Members:
    """A structure: its members in order. Names may be empty, and then there may be several."""

    items: tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Spelled:
    """A value that is spelled one way for people and another in JSON (both as they stand in the output)."""

    plain: str
    json: str


def value_tree(btf: Btf, type_id: int, data: bytes) -> Any:
    """The value that `data` holds: int, bool, str, list, Members or Spelled. Shorter data counts as zeroes behind it.

    Pointers are hexadecimal for people and numbers in JSON, bit fields hexadecimal in both; an array of char with printable
    characters up to a NUL is a string.
    """
    t = btf.resolve(type_id)
    if t.kind is Kind.VAR:
        t = btf.resolve(type_id := t.ref)
    if t.kind is Kind.INT:
        return _integer(t, data)
    if t.kind in ENUMS:
        value = int.from_bytes(data[: t.size], "little", signed=t.kind is Kind.ENUM or t.signed)
        unsigned = value % (1 << 8 * t.size)
        return next((v.name for v in t.values if v.value % (1 << 8 * t.size) == unsigned), value)
    if t.kind is Kind.PTR:
        value = int.from_bytes(data[:8], "little")
        return Spelled(f"{value:#x}" if value else "(nil)", str(value))
    if t.kind is Kind.ARRAY:
        text = _string(btf, t, data)
        size = btf.size_of(t.ref)
        return text if text is not None else [value_tree(btf, t.ref, data[i * size :]) for i in range(t.nelems)]
    if t.kind in COMPOSITES:
        return Members(tuple((m.name, _member(btf, m.type_id, m.bit_offset, m.bitfield_bits, data)) for m in t.members))
    if t.kind is Kind.DATASEC:
        found = [Members(((btf.type(v.type_id).name, value_tree(btf, v.type_id, data[v.offset :])),)) for v in t.secvars]
        return Members(((t.name, found),))
    return data.hex()


def _member(btf: Btf, type_id: int, bit_offset: int, bits: int, data: bytes) -> Any:
    rest = data[bit_offset // 8 :]
    return (
        hexadecimal(int.from_bytes(rest[:17], "little") >> bit_offset % 8 & (1 << bits) - 1)
        if bits
        else value_tree(btf, type_id, rest)
    )


def hexadecimal(value: int) -> Spelled:
    return Spelled(f"{value:#x}", f'"{value:#x}"')


def _integer(t: Type, data: bytes) -> Any:
    value = int.from_bytes(data[: t.size], "little", signed=t.signed)
    if t.encoding & _BOOL:
        return bool(value)
    if t.encoding & _CHAR:
        return chr(value) if 32 <= value < 127 else Spelled(f"{value & 0xFF:#x}", f'"\\u00{value & 0xFF:02x}"')
    return value if t.size <= 8 else hexadecimal(value % (1 << 8 * t.size))


def _string(btf: Btf, array: Type, data: bytes) -> str | None:
    """The text of an array of char, None where it is none. A typedef of char is no char."""
    t = btf.type(array.ref)
    while t.kind in _MODIFIERS:
        t = btf.type(t.ref)
    if t.kind is not Kind.INT or t.size != 1 or not (t.encoding & _CHAR or t.name == "char"):
        return None
    text, end, _ = data[: array.nelems].partition(b"\0")
    return text.decode() if end and all(0x1F < c < 0x7F for c in text) else None


# -- the kernel's own way ------------------------------------------------------------------------------


def _compact_number(t: Type, data: bytes) -> str:
    value = int.from_bytes(data[: t.size], "little", signed=t.signed)
    if t.encoding & 4:
        return "true" if value else "false"
    if t.encoding & 2 and 32 <= value < 127:
        return f"'{chr(value)}'"
    return str(value)


def _bits(data: bytes, offset: int, width: int) -> int:
    return int.from_bytes(data, "little") >> offset & (1 << width) - 1


def compact_text(btf: Btf, type_id: int, data: bytes) -> str:
    """Bytes as the kernel shows them where maps are read as files: numbers, {…} for structures, […] for arrays."""
    t = btf.resolve(type_id)
    if t.kind is Kind.INT:
        return _compact_number(t, data)
    if t.kind in ENUMS:
        value = int.from_bytes(data[: t.size], "little", signed=t.signed)
        return next((v.name for v in t.values if v.value == value), str(value))
    if t.kind is Kind.PTR:
        return f"0x{int.from_bytes(data[:8], 'little'):x}"
    if t.kind is Kind.ARRAY:
        each = btf.size_of(t.ref)
        return "[" + ",".join(compact_text(btf, t.ref, data[i * each : (i + 1) * each]) for i in range(t.nelems)) + "]"
    if t.kind in COMPOSITES:
        parts = []
        for m in t.members:
            if m.bitfield_bits:
                parts.append(str(_bits(data, m.bit_offset, m.bitfield_bits)))
            else:
                parts.append(compact_text(btf, m.type_id, data[m.bit_offset // 8 :]))
        return "{" + ",".join(parts) + "}"
    if t.kind is Kind.DATASEC:
        parts = [compact_text(btf, btf.type(v.type_id).ref, data[v.offset : v.offset + v.size]) for v in t.secvars]
        return "{" + ",".join(parts) + "}"
    return data.hex()
