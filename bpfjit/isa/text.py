"""Instructions as text, in the form of the kernel's verifier log (and of `bpftool prog dump xlated`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..uapi import bpf as uapi
from .encoding import (
    ABS,
    ALU,
    ALU64,
    CALL,
    EXIT,
    IND,
    JA,
    JA32,
    JCOND,
    JMP32,
    LD,
    LD_IMM64,
    LDX,
    MEM,
    MEMSX,
    ST,
    STX,
    U32,
    Insn,
    X,
    imm64,
)
from .ops import (
    ALU_END,
    ATOMIC_OPS,
    CMPXCHG,
    FETCH,
    JUMP_OPS,
    LOAD_ACQ,
    STORE_REL,
    XCHG,
    alu_op,
    end_bits,
    is_atomic,
    is_cast,
)

_SIZE = {1: "u8", 2: "u16", 4: "u32", 8: "u64"}
_VALUES = frozenset({uapi.BPF_PSEUDO_MAP_VALUE, uapi.BPF_PSEUDO_MAP_IDX_VALUE})
_BY_FD = frozenset({uapi.BPF_PSEUDO_MAP_FD, uapi.BPF_PSEUDO_MAP_VALUE})
_REFERENCES = frozenset({*_BY_FD, uapi.BPF_PSEUDO_MAP_IDX, uapi.BPF_PSEUDO_MAP_IDX_VALUE, uapi.BPF_PSEUDO_FUNC})


def _mem(insn: Insn, reg: str, prefix: str = "u") -> str:
    return f"*({prefix}{insn.size * 8} *)({reg} {insn.off:+d})"


def _alu(insn: Insn) -> str:
    r = "w" if insn.code & 7 == ALU else "r"
    if insn.code & 0xF0 == ALU_END:
        if insn.code & 7 == ALU64:
            return f"r{insn.dst} = bswap{end_bits(insn)} r{insn.dst}"
        return f"r{insn.dst} = {'be' if insn.code & X else 'le'}{end_bits(insn)} r{insn.dst}"
    if is_cast(insn):
        return f"r{insn.dst} = addr_space_cast(r{insn.src}, {insn.imm >> 16}, {insn.imm & 0xFFFF})"
    op = alu_op(insn)
    if op is None:
        return f"BUG_alu_{insn.code:02x}"
    if op.name == "neg":
        return f"{r}{insn.dst} = -{r}{insn.dst}"
    operand = f"{r}{insn.src}" if insn.code & X else str(insn.imm)
    return f"{r}{insn.dst} {op.symbol}{'' if op.symbol.endswith(')') else ' '}{operand}"


def _atomic(insn: Insn) -> str:
    # The registers are r's for 32 bits too: so Linux prints them.
    place, wide = f"({_SIZE[insn.size]} *)(r{insn.dst} {insn.off:+d})", "64" if insn.size == 8 else ""
    if insn.imm == CMPXCHG:
        return f"r0 = atomic{wide}_cmpxchg({place}, r0, r{insn.src})"
    if insn.imm == XCHG:
        return f"r{insn.src} = atomic{wide}_xchg({place}, r{insn.src})"
    if insn.imm == LOAD_ACQ:
        return f"r{insn.dst} = load_acquire(({_SIZE[insn.size]} *)(r{insn.src} {insn.off:+d}))"
    if insn.imm == STORE_REL:
        return f"store_release({place}, r{insn.src})"
    op = ATOMIC_OPS.get(insn.imm)
    if op is None:
        return f"BUG_{insn.code:02x}"
    if insn.imm & FETCH:
        return f"r{insn.src} = atomic{wide}_fetch_{op.name}({place}, r{insn.src})"
    return f"lock *{place} {op.symbol} r{insn.src}"


def _jump(insn: Insn, call_name: Callable[[Insn], str] | None) -> str:
    if insn.code == CALL:
        if call_name is not None:
            return f"call {call_name(insn)}"
        return f"call pc{insn.imm:+d}" if insn.src == 1 else f"call {'kernel-function#' if insn.src == 2 else '#'}{insn.imm}"
    if insn.code == EXIT:
        return "exit"
    if insn.code == JA:
        return f"goto pc{insn.off:+d}"
    if insn.code == JA32:
        return f"gotol pc{insn.imm:+d}"
    if insn.code == JCOND:
        return f"may_goto pc{insn.off:+d}"
    op = JUMP_OPS.get(insn.code & 0xF0)
    if op is None:
        return f"BUG_jmp_{insn.code:02x}"
    r = "w" if insn.code & 7 == JMP32 else "r"
    operand = f"{r}{insn.src}" if insn.code & X else f"{insn.imm & U32:#x}"
    return f"if {r}{insn.dst} {op.symbol} {operand} goto pc{insn.off:+d}"


def _reference(insns: Sequence[Insn], pc: int) -> str:
    """What a ld_imm64 with a pseudo source stands for."""
    insn, value_off = insns[pc], insns[pc + 1].imm & U32
    if insn.src == uapi.BPF_PSEUDO_FUNC:
        return f"subprog[{insn.imm:+d}]"
    by = "fd" if insn.src in _BY_FD else "idx"
    place = f"[0]+{value_off}" if insn.src in _VALUES else ""
    return f"map[{by}:{insn.imm & U32}]{place}"


def disasm(
    insns: Sequence[Insn], pc: int, call_name: Callable[[Insn], str] | None = None, *, references: bool = False
) -> str:
    """The instruction at `pc` as text; `call_name` names helpers and functions.

    With `references`, a ld_imm64 of a map or function says so ("map[fd:3][0]+8", "subprog[+2]"), so that
    bpfjit.isa.asm reads back what was there; without, it shows the number, as a verifier log does.
    """
    insn = insns[pc]
    cls, mode = insn.code & 7, insn.code & 0xE0
    if cls in (ALU, ALU64):
        return _alu(insn)
    if insn.code == LD_IMM64:
        if pc + 1 < len(insns):
            if references and insn.src in _REFERENCES:
                return f"r{insn.dst} = {_reference(insns, pc)}"
            return f"r{insn.dst} = {imm64(insns, pc):#x}"
        return f"r{insn.dst} = {insn.imm:#x} (cut short)"
    if cls == LDX and mode in (MEM, MEMSX):
        return f"r{insn.dst} = {_mem(insn, f'r{insn.src}', 's' if mode == MEMSX else 'u')}"
    if is_atomic(insn):
        return _atomic(insn)
    if cls == STX and mode == MEM:
        return f"{_mem(insn, f'r{insn.dst}')} = r{insn.src}"
    if cls == ST and mode == MEM:
        return f"{_mem(insn, f'r{insn.dst}')} = {insn.imm}"
    if cls == LD and mode == ABS:
        return f"r0 = *({_SIZE[insn.size]} *)skb[{insn.imm}]"
    if cls == LD and mode == IND:
        return f"r0 = *({_SIZE[insn.size]} *)skb[r{insn.src} + {insn.imm}]"
    if cls in (5, 6):
        return _jump(insn, call_name)
    return f"BUG_{insn.code:02x}"
