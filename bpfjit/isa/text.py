"""Instructions as text, in the form of the kernel's verifier log (and of `bpftool prog dump xlated`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
)

_SIZE = {1: "u8", 2: "u16", 4: "u32", 8: "u64"}


def _mem(insn: Insn, reg: str, prefix: str = "u") -> str:
    return f"*({prefix}{insn.size * 8} *)({reg} {insn.off:+d})"


def _alu(insn: Insn) -> str:
    r = "w" if insn.code & 7 == ALU else "r"
    if insn.code & 0xF0 == ALU_END:
        if insn.code & 7 == ALU64:
            return f"r{insn.dst} = bswap{end_bits(insn)} r{insn.dst}"
        return f"r{insn.dst} = {'be' if insn.code & X else 'le'}{end_bits(insn)} r{insn.dst}"
    op = alu_op(insn)
    if op is None:
        return f"BUG_alu_{insn.code:02x}"
    if op.name == "neg":
        return f"{r}{insn.dst} = -{r}{insn.dst}"
    operand = f"{r}{insn.src}" if insn.code & X else str(insn.imm)
    return f"{r}{insn.dst} {op.symbol}{'' if op.symbol.endswith(')') else ' '}{operand}"


def _atomic(insn: Insn) -> str:
    size, s = insn.size * 8, "r" if insn.size == 8 else "w"
    place = f"({_SIZE[insn.size]} *)(r{insn.dst} {insn.off:+d})"
    if insn.imm == CMPXCHG:
        return f"r0 = atomic{'64' if size == 64 else ''}_cmpxchg((r{insn.dst} {insn.off:+d}), r0, r{insn.src})"
    if insn.imm == XCHG:
        return f"{s}{insn.src} = atomic{'64' if size == 64 else ''}_xchg((r{insn.dst} {insn.off:+d}), {s}{insn.src})"
    if insn.imm == LOAD_ACQ:
        return f"r{insn.dst} = load_acquire(({_SIZE[insn.size]} *)(r{insn.src} {insn.off:+d}))"
    if insn.imm == STORE_REL:
        return f"store_release({place}, r{insn.src})"
    op = ATOMIC_OPS.get(insn.imm)
    if op is None:
        return f"BUG_{insn.code:02x}"
    if insn.imm & FETCH:
        return (
            f"{s}{insn.src} = atomic{'64' if size == 64 else ''}_fetch_{op.name}((r{insn.dst} {insn.off:+d}), {s}{insn.src})"
        )
    return f"lock *{place} {op.symbol} {s}{insn.src}"


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
    operand = (
        f"{r}{insn.src}" if insn.code & X else f"{insn.imm & 0xFFFFFFFFFFFFFFFF:#x}" if insn.imm >= 0 else str(insn.imm)
    )
    return f"if {r}{insn.dst} {op.symbol} {operand} goto pc{insn.off:+d}"


def disasm(insns: Sequence[Insn], pc: int, call_name: Callable[[Insn], str] | None = None) -> str:
    """The instruction at `pc` as text; `call_name` names helpers and functions."""
    insn = insns[pc]
    cls, mode = insn.code & 7, insn.code & 0xE0
    if cls in (ALU, ALU64):
        return _alu(insn)
    if insn.code == LD_IMM64:
        if pc + 1 < len(insns):
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
