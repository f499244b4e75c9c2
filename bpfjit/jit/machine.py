"""What the runtime's structures hold, read by native code itself: members of maps, the CPU that it runs on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..program import MapInfo
from .memory import INVARIANT, at
from .values import Value

if TYPE_CHECKING:
    from .emit import FunctionEmitter


def field(f: FunctionEmitter, base: Value, name: str, width: int, facts: str = INVARIANT) -> Value:
    """The member `name` of the structure at `base`; width 0 for a pointer."""
    address = f.offset(base, at(name))
    return f.assign(width, f"load {Value('', width).type}, ptr {address.text}, align {width // 8 or 8}{facts}")


def this_cpu(f: FunctionEmitter) -> Value:
    """The CPU that this execution holds: the same one until it ends."""
    f.module.symbols["rt_this_cpu"] = "@rt_this_cpu = external global i8"
    place = "inttoptr (i64 ptrtoint (ptr @rt_this_cpu to i64) to ptr addrspace(257))"
    return f.assign(0, f"load ptr, ptr addrspace(257) {place}, align 8{INVARIANT}")


# -- maps --------------------------------------------------------------------------------------------


def map_of(f: FunctionEmitter, m: MapInfo, index: int) -> Value:
    """The address of the map in r1: known, but for one that came out of a map of maps."""
    return f.ptr_of(1) if m.template else f.module.map_symbol(index)


def stride(m: MapInfo) -> int:
    """Bytes from one value to the next."""
    return -(-m.value_size // 8) * 8


def array_values(f: FunctionEmitter, m: MapInfo, array: Value, index: int) -> Value:
    """An array's first value; of a per-CPU one, that of this CPU."""
    if m.type.per_cpu:
        block = f.mul(field(f, array, "array.block_bytes", 64), f.zext(field(f, this_cpu(f), "cpu.index", 32), 64))
        return f.offset(field(f, array, "array.values", 0), block)
    return field(f, array, "array.values", 0) if m.template else f.module.map_values(index)
