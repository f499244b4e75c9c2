"""One instruction as the walk wants it: decoded once, with what its encoding says looked up.

The fields of isa.Insn by the same names, and: kind, what to do with it; name, symbol and width of arithmetic and of
conditions; by_register: the second operand is a register; by_value: a register is stored; const: its immediate operand
as a number; adds: an addition or subtraction; uses, defs: registers read and written (bits; of a call without
its arguments); forks: 0 and -1 are walked apart (alu.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from ..isa.encoding import ALU64, CALL, EXIT, IND, JA, JA32, JCOND, JMP32, LD_IMM64, LDX, ST, STX, Insn, X
from ..isa.ops import ALU_END, CMPXCHG, JUMP_OPS, LOAD_ACQ, STORE_REL, XCHG, alu_op, is_atomic, is_cast
from .state import Reg, const_scalar

(
    MOVE,
    ARITHMETIC,
    NEGATE,
    SWAP,
    LOAD_IMMEDIATE,
    LOAD,
    ATOMIC,
    STORE,
    CALLS,
    EXITS,
    JUMP,
    BRANCH,
    OTHER,
) = range(13)


_CALLER_SAVED = 0b111111  # r0-r5


def uses_defs(insn: Insn, nargs: int) -> tuple[int, int]:
    """Registers read and written, as bits."""
    cls, dst, src = insn.code & 7, 1 << insn.dst, 1 << insn.src
    if cls in (4, 7):
        op = insn.code & 0xF0
        used = src if insn.code & X and op != ALU_END else 0
        return (used if op == 0xB0 else used | dst), dst
    if insn.code == CALL:
        return (2 << nargs) - 2, _CALLER_SAVED
    if insn.code == EXIT:
        return 1, 0
    if cls in (5, 6):
        used = dst | (src if insn.code & X else 0)
        return (0 if insn.code in (JA, JA32, JCOND) else used), 0
    if cls == LDX:
        return src, dst
    if cls == ST:
        return dst, 0
    if is_atomic(insn):
        if insn.imm == LOAD_ACQ:
            return src, dst
        if insn.imm == STORE_REL:
            return src | dst, 0
        if insn.imm == CMPXCHG:
            return src | dst | 1, 1
        return src | dst, src if insn.imm & 1 or insn.imm == XCHG else 0
    if cls == STX:
        return src | dst, 0
    if insn.code == LD_IMM64:
        return 0, dst
    # LD_ABS/IND: the context in r6; r0 is the result and r1-r5 are lost.
    return 1 << 6 | (src if insn.code & 0xE0 == IND else 0), _CALLER_SAVED


class Op:
    __slots__ = (
        *("adds", "by_register", "by_value", "code", "const", "defs", "dst", "forks", "imm"),
        *("kind", "name", "off", "size", "src", "symbol", "uses", "width"),
    )

    def __init__(self, insn: Insn) -> None:
        self.code, self.dst, self.src, self.off, self.imm = insn
        self.kind = OTHER
        self.name = self.symbol = ""
        self.by_register = bool(insn.code & X)
        self.by_value = insn.code & 7 == STX
        self.adds = self.forks = False
        self.size = insn.size
        self.width = 64
        self.const: Reg | None = None
        self.uses, self.defs = uses_defs(insn, 0)
        self._look_up(insn)

    def _look_up(self, insn: Insn) -> None:
        cls = insn.code & 7
        if cls in (4, 7):
            self.width = 64 if cls == ALU64 else 32
            row = alu_op(insn)
            if is_cast(insn):
                self.kind, self.name = MOVE, "cast"
            elif insn.code & 0xF0 == ALU_END:
                self.kind = SWAP
            elif row is not None:
                self.kind = MOVE if row.code == 0xB0 else NEGATE if row.name == "neg" else ARITHMETIC
                self.name, self.symbol = row.name, row.symbol
                self.adds = row.name in ("add", "sub")
                self.forks = row.name in ("and", "or")
                if not self.by_register:
                    short = self.kind == MOVE and self.width == 32
                    self.const = const_scalar(insn.imm & 0xFFFFFFFF if short else insn.imm)
        elif insn.code == LD_IMM64:
            self.kind = LOAD_IMMEDIATE
        elif cls == LDX:
            self.kind = LOAD
        elif is_atomic(insn):
            self.kind = ATOMIC
        elif cls in (ST, STX):
            self.kind = STORE
            if cls == ST:
                self.const = const_scalar(insn.imm)
        elif insn.code in (CALL, EXIT, JA, JA32):
            self.kind = {CALL: CALLS, EXIT: EXITS, JA: JUMP, JA32: JUMP}[insn.code]
        elif cls in (5, JMP32) and insn.code & 0xF0 in JUMP_OPS:
            self.kind = BRANCH
            self.width = 32 if cls == JMP32 else 64
            self.name = JUMP_OPS[insn.code & 0xF0].name
            if not self.by_register:
                self.const = const_scalar(insn.imm)


def ops_of(insns: Sequence[Insn]) -> list[Op]:
    """The program's instructions; equal ones are one object."""
    known: dict[Insn, Op] = {}
    found = []
    for insn in insns:
        op = known.get(insn)
        if op is None:
            op = known[insn] = Op(insn)
        found.append(op)
    return found
