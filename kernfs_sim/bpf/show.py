"""How a pinned map reads: two lines of warning, then `key: value`, types by BTF."""

from __future__ import annotations

from bpfjit.btf.values import compact_text

from ..objects import MapObject

_WARNING = "# WARNING!! The output is for debug purpose only\n# WARNING!! The output format will change\n"


def map_text(m: MapObject) -> bytes:
    """The text of a map's pin."""
    assert m.btf is not None
    types, native = m.btf.types, m.native
    out = [_WARNING]
    key = native.next_key(None)
    while key is not None:
        value = native.lookup(key)
        if value is not None:
            name = compact_text(types, m.btf_key_type_id, key) if m.btf_key_type_id else str(int.from_bytes(key, "little"))
            if m.type.per_cpu:
                stride = -(-m.value_size // 8) * 8
                cpus = [value[i : i + m.value_size] for i in range(0, len(value), stride)]
                lines = "".join(f"\tcpu{i}: {compact_text(types, m.btf_value_type_id, v)}\n" for i, v in enumerate(cpus))
                out.append(f"{name}: {{\n{lines}}}\n")
            else:
                out.append(f"{name}: {compact_text(types, m.btf_value_type_id, value)}\n")
        key = native.next_key(key)
    return "".join(out).encode()
