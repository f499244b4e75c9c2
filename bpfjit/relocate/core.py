"""CO-RE: a relocation's value for a kernel, and the instruction changed to it."""

from __future__ import annotations

from collections.abc import Callable

from ..btf import Btf, CoreRelo, Kind, Type
from ..btf.types import ENUMS, MAX_RESOLVE_DEPTH, POINTER_BYTES, essential
from ..dataclass import dataclass
from ..errors import BtfError, LoadError
from ..isa.encoding import ALU, ALU64, ATOMIC, CALL, DW, LD_IMM64, LDX, ST, STX, B, H, Insn, W, imm64, ld_imm64
from ..uapi import bpf as uapi
from .match import Field, candidates, local_field, parse_access, target_field, types_agree, types_match

# What libbpf leaves in place of an instruction that cannot be relocated: a call that no verifier accepts.
POISON = Insn(CALL, 0, 0, 0, 195896080)
_SIZE_BITS = {1: B, 2: H, 4: W, 8: DW}
U64 = 0xFFFFFFFFFFFFFFFF


_KINDS = {
    value: name.removeprefix("BPF_CORE_").lower() for name, value in vars(uapi).items() if name.startswith("BPF_CORE_")
}


@dataclass(frozen=True, slots=True)
class Value:
    """What a relocation puts into its instruction.

    local: what the compiler put there, None where it may have put anything. size, local_size: the field's bytes in
    the kernel and in the object, where a load or store must follow suit; resizable: whether it may (a pointer or an
    unsigned integer, whose upper bits are zero). poison: why there is no value.
    """

    value: int
    local: int | None = None
    size: int = 0
    local_size: int = 0
    resizable: bool = True
    poison: str = ""


def _load_bytes(btf: Btf, f: Field) -> tuple[int, int]:
    """(byte offset, bytes) of the load that covers a field, bitfields included."""
    size = btf.size_of(f.type_id)
    if not f.bitfield_bits:
        return f.bit_offset // 8, size
    if size not in _SIZE_BITS:
        raise BtfError(f"bitfield in a {btf.describe(f.type_id)} of {size} bytes")
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


def _element(btf: Btf, type_id: int) -> Type:
    """What a load of a field loads: of an array, one element."""
    t = btf.resolve(type_id)
    for _ in range(MAX_RESOLVE_DEPTH):
        if t.kind is not Kind.ARRAY:
            break
        type_id = t.ref
        t = btf.resolve(type_id)
    return t


def _resizable(a: Type, b: Type) -> bool:
    if a.kind is Kind.PTR and b.kind is Kind.PTR:
        return True
    return a.kind is Kind.INT and b.kind is Kind.INT and not a.signed and not b.signed


def _resolve_field(local: Btf, relo: CoreRelo, btf: Btf, root: int) -> Value | None:
    path = local_field(local, relo.type_id, relo.access)
    found = target_field(local, path, btf, root)
    if found is None:
        return None
    if relo.kind == uapi.BPF_CORE_FIELD_EXISTS:
        return Value(1, 1)
    value = _FIELD[relo.kind](btf, found)
    # A shift is chosen freely by the compiler, and so is the load that covers a bitfield.
    free = path.bitfield_bits or relo.kind in (uapi.BPF_CORE_FIELD_LSHIFT_U64, uapi.BPF_CORE_FIELD_RSHIFT_U64)
    before = None if free else _FIELD[relo.kind](local, path)
    if relo.kind != uapi.BPF_CORE_FIELD_BYTE_OFFSET or path.bitfield_bits or found.bitfield_bits:
        return Value(value, before)
    ours, theirs = _element(local, path.type_id), _element(btf, found.type_id)
    size, local_size = (POINTER_BYTES if t.kind is Kind.PTR else t.size for t in (theirs, ours))
    return Value(value, before, size, local_size, _resizable(ours, theirs))


def _whole_type(relo: CoreRelo) -> None:
    if relo.access != "0":
        raise BtfError(f"CO-RE access string {relo.access[:80]!r} of a type, wanted '0'")


def _resolve_type(local: Btf, relo: CoreRelo, btf: Btf, root: int) -> Value | None:
    _whole_type(relo)
    if relo.kind == uapi.BPF_CORE_TYPE_MATCHES:
        return Value(1, 1) if types_match(local, relo.type_id, btf, root) else None
    if not types_agree(local, relo.type_id, btf, root):
        return None
    if relo.kind == uapi.BPF_CORE_TYPE_EXISTS:
        return Value(1, 1)
    if relo.kind == uapi.BPF_CORE_TYPE_ID_TARGET:
        return Value(root)
    return Value(btf.size_of(root), local.size_of(relo.type_id))


def _resolve_enum(local: Btf, relo: CoreRelo, btf: Btf, root: int) -> Value | None:
    values = local.resolve(relo.type_id).values
    (index, *rest) = parse_access(relo.access)
    if index >= len(values) or rest:
        raise BtfError(f"CO-RE enumerator {relo.access[:80]} of {len(values)}")
    wanted = essential(values[index].name)
    for v in btf.resolve(root).values:
        if essential(v.name) == wanted:
            return Value(1, 1) if relo.kind == uapi.BPF_CORE_ENUMVAL_EXISTS else Value(v.value, values[index].value)
    return None


_Resolver = Callable[[Btf, CoreRelo, Btf, int], Value | None]
_TYPE_KINDS = (
    uapi.BPF_CORE_TYPE_EXISTS,
    uapi.BPF_CORE_TYPE_MATCHES,
    uapi.BPF_CORE_TYPE_SIZE,
    uapi.BPF_CORE_TYPE_ID_TARGET,
)
_BY_KIND: dict[int, _Resolver] = {
    **dict.fromkeys((*_FIELD, uapi.BPF_CORE_FIELD_EXISTS), _resolve_field),
    **dict.fromkeys(_TYPE_KINDS, _resolve_type),
    **dict.fromkeys((uapi.BPF_CORE_ENUMVAL_EXISTS, uapi.BPF_CORE_ENUMVAL_VALUE), _resolve_enum),
}
# Without a counterpart these are answered with 0; the others leave an instruction that must not be reached.
_ABSENT_IS_ZERO = frozenset({*_TYPE_KINDS, uapi.BPF_CORE_FIELD_EXISTS, uapi.BPF_CORE_ENUMVAL_EXISTS})


def describe_relo(local: Btf, relo: CoreRelo) -> str:
    """A relocation as a person would name it: "field_byte_offset of struct task_struct.cred"."""
    text = local.describe(relo.type_id)
    if relo.kind in _FIELD or relo.kind == uapi.BPF_CORE_FIELD_EXISTS:
        steps = local_field(local, relo.type_id, relo.access).steps[1:]
        text += "".join(f".{s.name}" if s.name else f"[{s.index}]" for s in steps)
    elif relo.kind in (uapi.BPF_CORE_ENUMVAL_EXISTS, uapi.BPF_CORE_ENUMVAL_VALUE):
        text += f"::{local.resolve(relo.type_id).values[int(relo.access)].name}"
    return f"{_KINDS[relo.kind]} of {text}"


def resolve(local: Btf, relo: CoreRelo, kernel: Btf) -> Value:
    """A relocation's value in a kernel. Raises BtfError where the record or the kernel contradicts itself."""
    if relo.kind == uapi.BPF_CORE_TYPE_ID_LOCAL:
        local.type(relo.type_id)
        _whole_type(relo)
        return Value(relo.type_id)
    resolver = _BY_KIND.get(relo.kind)
    if resolver is None:
        raise BtfError(f"CO-RE relocation of unknown kind {relo.kind}")
    own = resolver(local, relo, local, relo.type_id)  # the record must make sense on its own types
    found: Value | None = None
    for root in candidates(local, relo.type_id, kernel):
        value = resolver(local, relo, kernel, root)
        if value is None:
            continue
        if found is not None and found.value != value.value and relo.kind != uapi.BPF_CORE_TYPE_ID_TARGET:
            raise BtfError(f"{describe_relo(local, relo)} is ambiguous: {found.value} or {value.value}")
        found = found or value
    if found is not None:
        return found
    if relo.kind in _ABSENT_IS_ZERO:
        return Value(0, own.local if own is not None else None)
    return Value(0, poison=f"no {describe_relo(local, relo)} in this kernel")


def _expect(pc: int, found: int, value: Value, bits: int) -> None:
    """The instruction holds what the compiler computed from the object's own types, or the record is not its own."""
    if value.local is not None and (found ^ value.local) & ((1 << bits) - 1):
        raise LoadError(f"CO-RE relocation at instruction {pc}, which holds {found} and not {value.local}")


def patch(insns: list[Insn], relo: CoreRelo, value: Value) -> str:
    """Change the instruction at relo.insn_off to the value; why it was poisoned, "" if not.

    Raises LoadError where it cannot hold the value, or did not hold the object's own.
    """
    pc = relo.insn_off
    if not 0 <= pc < len(insns):
        raise LoadError(f"CO-RE relocation at instruction {pc} of {len(insns)}")
    insn = insns[pc]
    cls = insn.code & 7
    two = insn.code == LD_IMM64
    if two and pc + 1 == len(insns):
        raise LoadError(f"CO-RE relocation at half an instruction, {pc} of {len(insns)}")
    poison = value.poison
    if cls in (LDX, ST, STX) and value.size != value.local_size and not value.resizable:
        poison = f"a field of {value.size} bytes in this kernel, not {value.local_size}, that may be signed"
    if poison:
        insns[pc] = POISON
        if two:
            insns[pc + 1] = POISON
    elif two:
        _expect(pc, imm64(insns, pc), value, 32)
        insns[pc : pc + 2] = ld_imm64(insn.dst, value.value & U64, insn.src)
    elif cls in (ALU, ALU64) and not insn.is_x:
        _expect(pc, insn.imm, value, 32)
        if not -(1 << 31) <= value.value < 1 << 32:
            raise LoadError(f"CO-RE value {value.value:#x} does not fit instruction {pc}")
        imm = value.value & 0xFFFFFFFF
        insns[pc] = insn._replace(imm=imm - (1 << 32) if imm >> 31 else imm)
    elif cls in (LDX, ST, STX):
        _expect(pc, insn.off, value, 16)
        insns[pc] = _with_offset(insn, pc, value)
    else:
        raise LoadError(f"CO-RE relocation at opcode {insn.code:#04x} of instruction {pc}")
    return poison


def _with_offset(insn: Insn, pc: int, value: Value) -> Insn:
    if not -(1 << 15) <= value.value < 1 << 15:
        raise LoadError(f"CO-RE offset {value.value} does not fit instruction {pc}")
    code = insn.code
    if value.size != value.local_size:
        if insn.size != value.local_size or value.size not in _SIZE_BITS or insn.mode == ATOMIC:
            raise LoadError(f"CO-RE: the field at instruction {pc} has {value.size} bytes here, not {value.local_size}")
        code = code & ~0x18 | _SIZE_BITS[value.size]
    return insn._replace(code=code, off=value.value)


def relocate(insns: list[Insn], relos: list[CoreRelo], local: Btf, kernel: Btf, program: str) -> dict[int, str]:
    """Apply every CO-RE relocation of a program in place; why, by instruction, where there was nothing to apply.

    Such instructions are calls that no verifier accepts if it reaches them. Raises LoadError naming the program.
    """
    poisoned: dict[int, str] = {}
    for relo in relos:
        try:
            why = patch(insns, relo, resolve(local, relo, kernel))
        except (BtfError, LoadError) as e:
            raise LoadError(e.cause, program=program, offset=relo.insn_off * 8) from None
        if why:
            poisoned[relo.insn_off] = why
    return poisoned
