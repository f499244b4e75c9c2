"""Which instructions there are, and which of their fields must be zero.

As in Linux an opcode that does not exist is refused wherever it stands, a reserved field that is used only where a path
comes by: code that none reaches may hold anything else.
"""

from __future__ import annotations

import errno

from ..isa.encoding import (
    ABS,
    ALU64,
    ATOMIC,
    CALL,
    EXIT,
    IND,
    JCOND,
    JMP32,
    LD,
    LD_IMM64,
    LDX,
    MEM,
    MEMSX,
    ST,
    X,
)
from ..isa.ops import ALU_END, ATOMIC_OPS, CMPXCHG, JUMP_OPS, LOAD_ACQ, STORE_REL
from ..program import Program
from .op import Op
from .refusal import Refusal

_NEG = 0x80


def check(program: Program, ops: list[Op]) -> dict[int, str]:
    """By instruction, what is wrong with it if the walk comes there. Raises Refusal for what is no instruction at all."""
    raw = program.type.name == "raw"
    seen: dict[Op, str] = {}
    found: dict[int, str] = {}
    pc, count = 0, len(ops)
    while pc < count:
        insn = ops[pc]
        if insn.code == LD_IMM64:
            _check_wide(ops, pc)
            pc += 2
            continue
        problem = seen.get(insn)
        if problem is None:
            problem = _unknown(insn)
            if problem:
                raise Refusal(problem, errno.EINVAL, pc)
            problem = seen[insn] = _problem(insn, raw)
        if problem:
            found[pc] = problem
        pc += 1
    return found


def _check_wide(ops: list[Op], pc: int) -> None:
    insn = ops[pc]
    if insn.dst > 10:
        raise Refusal(f"R{insn.dst} is invalid", errno.EINVAL, pc)
    if pc + 1 >= len(ops):
        raise Refusal("last insn is not an exit or jmp", errno.EINVAL, pc)
    high = ops[pc + 1]
    if high.code or high.dst or high.src or high.off or insn.off:
        raise Refusal("invalid bpf_ld_imm64 insn", errno.EINVAL, pc)
    if insn.dst == 10:
        raise Refusal("frame pointer is read only", errno.EACCES, pc)


def _unknown(insn: Op) -> str:
    cls, mode, op = insn.code & 7, insn.code & 0xE0, insn.code & 0xF0
    if cls == LDX:
        if mode not in (MEM, MEMSX) or insn.imm:
            return "BPF_LDX uses reserved fields"
        known = mode == MEM or insn.size != 8
    elif cls in (4, 7):
        known = op <= 0xD0 and not (op == _NEG and insn.code & X) and not (op == ALU_END and cls == ALU64 and insn.code & X)
    elif cls in (5, 6):
        known = insn.code in (CALL, EXIT, JCOND) or (op == 0 and not insn.code & X) or op in JUMP_OPS
    elif cls == LD:
        known = mode in (ABS, IND) and insn.size != 8
    else:
        known = mode == MEM or (mode == ATOMIC and cls != ST)
    return "" if known else f"unknown opcode {insn.code:02x}"


def _problem(insn: Op, raw: bool) -> str:
    return _reserved(insn, raw) or (f"R{max(insn.dst, insn.src)} is invalid" if max(insn.dst, insn.src) > 10 else "")


def _reserved(insn: Op, raw: bool) -> str:
    cls = insn.code & 7
    if cls in (4, 7):
        return _alu(insn, raw)
    if cls in (5, 6):
        return _jump(insn)
    if cls == LD:
        ok = not insn.off and not insn.dst and (insn.code & 0xE0 == IND or not insn.src)
        return "" if ok else "BPF_LD_[ABS|IND] uses reserved fields"
    if cls == ST:
        return "BPF_ST uses reserved fields" if insn.src else ""
    if insn.code & 0xE0 == ATOMIC:
        if insn.imm in (LOAD_ACQ, STORE_REL):
            return ""
        if insn.imm not in ATOMIC_OPS and insn.imm != CMPXCHG:
            return f"BPF_ATOMIC uses invalid atomic opcode {insn.imm & 0xFFFFFFFF:02x}"
        return "invalid atomic operand size" if insn.size < 4 else ""
    return "BPF_STX uses reserved fields" if cls != LDX and insn.imm else ""


def _alu(insn: Op, raw: bool) -> str:
    op = insn.code & 0xF0
    if op == ALU_END:
        ok = not insn.src and not insn.off and insn.imm in (16, 32, 64)
        ok = ok and not (insn.code & 7 == ALU64 and insn.code & X)
        return "" if ok else "BPF_END uses reserved fields"
    if op == _NEG:
        return "BPF_NEG uses reserved fields" if insn.imm or insn.src or insn.off else ""
    if insn.name == "cast" and not raw:
        return ""  # looked at where the walk comes by
    if not insn.name or insn.name == "cast":
        return "BPF_MOV uses reserved fields" if op == 0xB0 else "BPF_ALU uses reserved fields"
    if (insn.code & X and insn.imm) or (not insn.code & X and insn.src):
        return "BPF_MOV uses reserved fields" if op == 0xB0 else "BPF_ALU uses reserved fields"
    if not insn.code & X:
        width = 64 if insn.code & 7 == ALU64 else 32
        if op in (0x30, 0x90) and insn.imm == 0 and not raw:
            return "div by zero"
        if op in (0x60, 0x70, 0xC0) and not 0 <= insn.imm < width and not raw:
            return f"invalid shift {insn.imm}"
    return ""


def _jump(insn: Op) -> str:
    op, is32 = insn.code & 0xF0, insn.code & 7 == JMP32
    if insn.code == CALL:
        if insn.dst or insn.src > 2 or (insn.off and insn.src != 2):
            return "BPF_CALL uses reserved fields"
        return ""
    if insn.code == EXIT:
        return "BPF_EXIT uses reserved fields" if insn.imm or insn.src or insn.dst or insn.off else ""
    if op == 0 and not insn.code & X:
        unused = insn.off if is32 else insn.imm
        return "BPF_JA uses reserved fields" if unused or insn.src or insn.dst else ""
    if insn.code == JCOND:
        return f"invalid may_goto imm {insn.imm}" if insn.src or insn.dst or insn.imm else ""
    if (insn.code & X and insn.imm) or (not insn.code & X and insn.src):
        return "BPF_JMP/JMP32 uses reserved fields"
    return ""
