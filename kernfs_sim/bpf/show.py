"""How a pinned map reads: two lines of warning, then `key: value`, types by BTF."""

from __future__ import annotations

from bpfjit.btf import Btf, Kind, Type
from bpfjit.btf.types import COMPOSITES, ENUMS

from ..objects import MapObject

_WARNING = "# WARNING!! The output is for debug purpose only\n# WARNING!! The output format will change\n"


def _number(t: Type, data: bytes) -> str:
    value = int.from_bytes(data[: t.size], "little", signed=t.signed)
    if t.encoding & 4:
        return "true" if value else "false"
    if t.encoding & 2 and 32 <= value < 127:
        return f"'{chr(value)}'"
    return str(value)


def _bits(data: bytes, offset: int, width: int) -> int:
    return int.from_bytes(data, "little") >> offset & (1 << width) - 1


def value_text(btf: Btf, type_id: int, data: bytes) -> str:
    """Bytes as the kernel's compact form shows them: numbers, {…} for structures, […] for arrays."""
    t = btf.resolve(type_id)
    if t.kind is Kind.INT:
        return _number(t, data)
    if t.kind in ENUMS:
        value = int.from_bytes(data[: t.size], "little", signed=t.signed)
        return next((v.name for v in t.values if v.value == value), str(value))
    if t.kind is Kind.PTR:
        return f"0x{int.from_bytes(data[:8], 'little'):x}"
    if t.kind is Kind.ARRAY:
        each = btf.size_of(t.ref)
        return "[" + ",".join(value_text(btf, t.ref, data[i * each : (i + 1) * each]) for i in range(t.nelems)) + "]"
    if t.kind in COMPOSITES:
        parts = []
        for m in t.members:
            if m.bitfield_bits:
                parts.append(str(_bits(data, m.bit_offset, m.bitfield_bits)))
            else:
                parts.append(value_text(btf, m.type_id, data[m.bit_offset // 8 :]))
        return "{" + ",".join(parts) + "}"
    if t.kind is Kind.DATASEC:
        parts = [value_text(btf, btf.type(v.type_id).ref, data[v.offset : v.offset + v.size]) for v in t.secvars]
        return "{" + ",".join(parts) + "}"
    return data.hex()


def map_text(m: MapObject) -> bytes:
    """The text of a map's pin."""
    assert m.btf is not None
    types, native = m.btf.types, m.native
    out = [_WARNING]
    key = native.next_key(None)
    while key is not None:
        value = native.lookup(key)
        if value is not None:
            name = value_text(types, m.btf_key_type_id, key) if m.btf_key_type_id else str(int.from_bytes(key, "little"))
            if m.type.per_cpu:
                stride = -(-m.value_size // 8) * 8
                cpus = [value[i : i + m.value_size] for i in range(0, len(value), stride)]
                lines = "".join(f"\tcpu{i}: {value_text(types, m.btf_value_type_id, v)}\n" for i, v in enumerate(cpus))
                out.append(f"{name}: {{\n{lines}}}\n")
            else:
                out.append(f"{name}: {value_text(types, m.btf_value_type_id, value)}\n")
        key = native.next_key(key)
    return "".join(out).encode()
