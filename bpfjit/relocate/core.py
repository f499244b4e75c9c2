"""CO-RE: a relocation's value for a kernel, and the instruction changed to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..btf import Btf, CoreRelo, Kind
from ..btf.types import ENUMS
from ..errors import BtfError, LoadError
from ..isa.encoding import CALL, DW, LD_IMM64, LDX, ST, STX, B, H, Insn, W, ld_imm64
from ..uapi import bpf as uapi
from .match import Field, candidates, essential, local_field, target_field, types_agree, types_match

# What libbpf leaves in place of an instruction that cannot be relocated: a call that no verifier accepts.
POISON = Insn(CALL, 0, 0, 0, 195896080)
_SIZE_BITS = {1: B, 2: H, 4: W, 8: DW}
U64 = 0xFFFFFFFFFFFFFFFF


@dataclass(frozen=True, slots=True)
class Value:
    """What a relocation puts into its instruction. `size`: the field's bytes where a load or store must follow suit."""

    value: int
    size: int = 0
    local_size: int = 0
    poison: bool = False


_POISONED = Value(0, poison=True)


def _load_bytes(btf: Btf, f: Field) -> tuple[int, int]:
    """(byte offset, bytes) of the load that covers a field, bitfields included."""
    size = btf.size_of(f.type_id)
    if not f.bitfield_bits:
        return f.bit_offset // 8, size
    at = f.bit_offset // 8 // size * size
    while f.bit_offset + f.bitfield_bits > (at + size) * 8:
        if size >= 8:
            raise BtfError(f"bitfield of {f.bitfield_bits} bits at bit {f.bit_offset} needs more than 8 bytes")
        size *= 2
        at = f.bit_offset // 8 // size * size
    return at, size


def _field_offset(btf: Btf, f: Field) -> int:
    return _load_bytes(btf, f)[0]


def _field_size(btf: Btf, f: Field) -> int:
    return _load_bytes(btf, f)[1]


def _field_signed(btf: Btf, f: Field) -> int:
    t = btf.resolve(f.type_id)
    return int(t.signed) if t.kind is Kind.INT or t.kind in ENUMS else 0


def _field_bits(btf: Btf, f: Field) -> int:
    return f.bitfield_bits or btf.size_of(f.type_id) * 8


def _field_lshift(btf: Btf, f: Field) -> int:
    return 64 - (f.bit_offset + _field_bits(btf, f) - _load_bytes(btf, f)[0] * 8)


def _field_rshift(btf: Btf, f: Field) -> int:
    return 64 - _field_bits(btf, f)


_FIELD: dict[int, Callable[[Btf, Field], int]] = {
    uapi.BPF_CORE_FIELD_BYTE_OFFSET: _field_offset,
    uapi.BPF_CORE_FIELD_BYTE_SIZE: _field_size,
    uapi.BPF_CORE_FIELD_SIGNED: _field_signed,
    uapi.BPF_CORE_FIELD_LSHIFT_U64: _field_lshift,
    uapi.BPF_CORE_FIELD_RSHIFT_U64: _field_rshift,
}


def _resolve_field(local: Btf, relo: CoreRelo, btf: Btf, root: int) -> Value | None:
    path = local_field(local, relo.type_id, relo.access)
    found = target_field(local, path, btf, root)
    if relo.kind == uapi.BPF_CORE_FIELD_EXISTS:
        return Value(int(found is not None))
    if found is None:
        return None
    value = _FIELD[relo.kind](btf, found)
    if relo.kind != uapi.BPF_CORE_FIELD_BYTE_OFFSET:
        return Value(value)
    sizes = [0, 0]
    for i, (table, f) in enumerate(((btf, found), (local, path))):
        if table.resolve(f.type_id).kind is not Kind.ARRAY:
            sizes[i] = _load_bytes(table, f)[1]
    return Value(value, sizes[0], sizes[1])


def _resolve_type(local: Btf, relo: CoreRelo, btf: Btf, root: int) -> Value | None:
    if relo.kind == uapi.BPF_CORE_TYPE_MATCHES:
        return Value(int(types_match(local, relo.type_id, btf, root)))
    if not types_agree(local, relo.type_id, btf, root):
        return None
    if relo.kind == uapi.BPF_CORE_TYPE_EXISTS:
        return Value(1)
    if relo.kind == uapi.BPF_CORE_TYPE_ID_TARGET:
        return Value(root)
    return Value(btf.size_of(root))


def _resolve_enum(local: Btf, relo: CoreRelo, btf: Btf, root: int) -> Value | None:
    values = local.resolve(relo.type_id).values
    index = int(relo.access)
    if index >= len(values):
        raise BtfError(f"CO-RE enumerator {index} of {len(values)}")
    wanted = essential(values[index].name)
    for v in btf.resolve(root).values:
        if essential(v.name) == wanted:
            return Value(1 if relo.kind == uapi.BPF_CORE_ENUMVAL_EXISTS else v.value)
    return None


_Resolver = Callable[[Btf, CoreRelo, Btf, int], Value | None]
_BY_KIND: dict[int, _Resolver] = {
    **dict.fromkeys((*_FIELD, uapi.BPF_CORE_FIELD_EXISTS), _resolve_field),
    **dict.fromkeys(
        (
            uapi.BPF_CORE_TYPE_EXISTS,
            uapi.BPF_CORE_TYPE_MATCHES,
            uapi.BPF_CORE_TYPE_SIZE,
            uapi.BPF_CORE_TYPE_ID_TARGET,
        ),
        _resolve_type,
    ),
    **dict.fromkeys((uapi.BPF_CORE_ENUMVAL_EXISTS, uapi.BPF_CORE_ENUMVAL_VALUE), _resolve_enum),
}
_ABSENT_IS_ZERO = frozenset(
    {
        uapi.BPF_CORE_FIELD_EXISTS,
        uapi.BPF_CORE_TYPE_EXISTS,
        uapi.BPF_CORE_TYPE_MATCHES,
        uapi.BPF_CORE_TYPE_SIZE,
        uapi.BPF_CORE_ENUMVAL_EXISTS,
    }
)


def resolve(local: Btf, relo: CoreRelo, kernel: Btf) -> Value:
    """A relocation's value in a kernel. Raises BtfError where the record or the kernel contradicts itself."""
    if relo.kind == uapi.BPF_CORE_TYPE_ID_LOCAL:
        return Value(relo.type_id)
    resolver = _BY_KIND.get(relo.kind)
    if resolver is None:
        raise BtfError(f"CO-RE relocation of unknown kind {relo.kind}")
    found: Value | None = None
    for root in candidates(local, relo.type_id, kernel):
        value = resolver(local, relo, kernel, root)
        if value is None:
            continue
        if found is not None and found.value != value.value and relo.kind not in _ABSENT_IS_ZERO:
            raise BtfError(f"CO-RE relocation against {local.describe(relo.type_id)} is ambiguous")
        found = value if found is None or value.value else found
    if found is not None:
        return found
    return Value(0) if relo.kind in _ABSENT_IS_ZERO else _POISONED


def patch(insns: list[Insn], relo: CoreRelo, value: Value) -> None:
    """Change the instruction at relo.insn_off to the value. Raises LoadError where it cannot hold it."""
    pc = relo.insn_off
    if not 0 <= pc < len(insns):
        raise LoadError(f"CO-RE relocation at instruction {pc} of {len(insns)}")
    insn = insns[pc]
    cls = insn.code & 7
    if value.poison:
        insns[pc] = POISON
        if insn.code == LD_IMM64:
            insns[pc + 1] = POISON
        return
    if insn.code == LD_IMM64:
        insns[pc : pc + 2] = ld_imm64(insn.dst, value.value & U64, insn.src)
        return
    if cls in (4, 7):
        if not -(1 << 31) <= value.value < 1 << 32:
            raise LoadError(f"CO-RE value {value.value:#x} does not fit instruction {pc}")
        imm = value.value & 0xFFFFFFFF
        insns[pc] = insn._replace(imm=imm - (1 << 32) if imm >> 31 else imm)
        return
    if cls not in (LDX, ST, STX):
        raise LoadError(f"CO-RE relocation at opcode {insn.code:#04x} of instruction {pc}")
    if not -(1 << 15) <= value.value < 1 << 15:
        raise LoadError(f"CO-RE offset {value.value} does not fit instruction {pc}")
    insn = insn._replace(off=value.value)
    if value.size != value.local_size:
        if cls != LDX or value.size not in _SIZE_BITS or insn.code & 0xE0 == 0x80:
            raise LoadError(f"CO-RE: the field at instruction {pc} has {value.size} bytes here, not {value.local_size}")
        insn = insn._replace(code=insn.code & ~0x18 | _SIZE_BITS[value.size])
    insns[pc] = insn


def relocate(insns: list[Insn], relos: list[CoreRelo], local: Btf, kernel: Btf, program: str) -> None:
    """Apply every CO-RE relocation of a program in place. Raises LoadError naming the program."""
    for relo in relos:
        try:
            patch(insns, relo, resolve(local, relo, kernel))
        except (BtfError, LoadError) as e:
            raise LoadError(e.cause, program=program, offset=relo.insn_off * 8) from None
