"""The one table of what instructions mean.

Arithmetic, jumps and atomics are rows; a row's `meaning` is written once over a small Domain
(domain.py) and read by the interpreter (Python ints), the JIT (LLVM values) and, by name, by the
verifier's abstract transfer.

Source: RFC 9669, sections 4 and 5: division by zero gives 0, modulo by zero leaves the dividend,
shift amounts are masked to the width, INT_MIN / -1 is INT_MIN and INT_MIN % -1 is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..dataclass import dataclass
from .domain import Domain
from .encoding import ALU64, ATOMIC, JMP32, STX, Insn, X

Meaning = Callable[[Domain[Any], int, Any, Any], Any]


@dataclass(frozen=True, slots=True)
class AluOp:
    """`dst = meaning(dst, src)` on `width` bits (32 or 64); 32-bit results are zero-extended by the engines."""

    name: str
    code: int
    off: int
    symbol: str
    meaning: Meaning


@dataclass(frozen=True, slots=True)
class JumpOp:
    """A conditional jump: taken when meaning(dst, src) is true; `negated` names the opposite condition."""

    name: str
    code: int
    symbol: str
    meaning: Meaning
    negated: str


@dataclass(frozen=True, slots=True)
class AtomicOp:
    """A read-modify-write: memory becomes meaning(old, src); `fetch` puts the old value into src."""

    name: str
    imm: int
    symbol: str
    meaning: Meaning
    rmw: str  # LLVM's atomicrmw operation


def _udiv(d: Domain[Any], w: int, a: Any, b: Any) -> Any:
    zero = d.eq(b, d.const(w, 0))
    return d.select(zero, d.const(w, 0), d.udiv(a, d.select(zero, d.const(w, 1), b)))


def _umod(d: Domain[Any], w: int, a: Any, b: Any) -> Any:
    zero = d.eq(b, d.const(w, 0))
    return d.select(zero, a, d.urem(a, d.select(zero, d.const(w, 1), b)))


def _sdiv(d: Domain[Any], w: int, a: Any, b: Any) -> Any:
    # -1 is handled apart: INT_MIN / -1 overflows in hardware and in LLVM, and is INT_MIN in BPF.
    zero, minus = d.eq(b, d.const(w, 0)), d.eq(b, d.const(w, -1))
    safe = d.select(d.or_(zero, minus), d.const(w, 1), b)
    quotient = d.sdiv(a, safe)
    return d.select(zero, d.const(w, 0), d.select(minus, d.sub(d.const(w, 0), a), quotient))


def _smod(d: Domain[Any], w: int, a: Any, b: Any) -> Any:
    zero, minus = d.eq(b, d.const(w, 0)), d.eq(b, d.const(w, -1))
    safe = d.select(d.or_(zero, minus), d.const(w, 1), b)
    return d.select(zero, a, d.select(minus, d.const(w, 0), d.srem(a, safe)))


def _amount(d: Domain[Any], w: int, b: Any) -> Any:
    return d.and_(b, d.const(w, w - 1))


def _movsx(bits: int) -> Meaning:
    return lambda d, w, a, b: d.sext(d.trunc(b, bits), w)


_ALU = (
    AluOp("add", 0x00, 0, "+=", lambda d, w, a, b: d.add(a, b)),
    AluOp("sub", 0x10, 0, "-=", lambda d, w, a, b: d.sub(a, b)),
    AluOp("mul", 0x20, 0, "*=", lambda d, w, a, b: d.mul(a, b)),
    AluOp("div", 0x30, 0, "/=", _udiv),
    AluOp("sdiv", 0x30, 1, "s/=", _sdiv),
    AluOp("or", 0x40, 0, "|=", lambda d, w, a, b: d.or_(a, b)),
    AluOp("and", 0x50, 0, "&=", lambda d, w, a, b: d.and_(a, b)),
    AluOp("lsh", 0x60, 0, "<<=", lambda d, w, a, b: d.shl(a, _amount(d, w, b))),
    AluOp("rsh", 0x70, 0, ">>=", lambda d, w, a, b: d.lshr(a, _amount(d, w, b))),
    AluOp("neg", 0x80, 0, "-", lambda d, w, a, b: d.sub(d.const(w, 0), a)),
    AluOp("mod", 0x90, 0, "%=", _umod),
    AluOp("smod", 0x90, 1, "s%=", _smod),
    AluOp("xor", 0xA0, 0, "^=", lambda d, w, a, b: d.xor(a, b)),
    AluOp("mov", 0xB0, 0, "=", lambda d, w, a, b: b),
    AluOp("movsx8", 0xB0, 8, "= (s8)", _movsx(8)),
    AluOp("movsx16", 0xB0, 16, "= (s16)", _movsx(16)),
    AluOp("movsx32", 0xB0, 32, "= (s32)", _movsx(32)),
    AluOp("arsh", 0xC0, 0, "s>>=", lambda d, w, a, b: d.ashr(a, _amount(d, w, b))),
)
ALU_END = 0xD0
ALU_OPS = {(op.code, op.off): op for op in _ALU}

_JUMPS = (
    JumpOp("jeq", 0x10, "==", lambda d, w, a, b: d.eq(a, b), "jne"),
    JumpOp("jgt", 0x20, ">", lambda d, w, a, b: d.ult(b, a), "jle"),
    JumpOp("jge", 0x30, ">=", lambda d, w, a, b: d.ule(b, a), "jlt"),
    JumpOp("jset", 0x40, "&", lambda d, w, a, b: d.not_(d.eq(d.and_(a, b), d.const(w, 0))), "jnset"),
    JumpOp("jne", 0x50, "!=", lambda d, w, a, b: d.not_(d.eq(a, b)), "jeq"),
    JumpOp("jsgt", 0x60, "s>", lambda d, w, a, b: d.slt(b, a), "jsle"),
    JumpOp("jsge", 0x70, "s>=", lambda d, w, a, b: d.sle(b, a), "jslt"),
    JumpOp("jlt", 0xA0, "<", lambda d, w, a, b: d.ult(a, b), "jge"),
    JumpOp("jle", 0xB0, "<=", lambda d, w, a, b: d.ule(a, b), "jgt"),
    JumpOp("jslt", 0xC0, "s<", lambda d, w, a, b: d.slt(a, b), "jsge"),
    JumpOp("jsle", 0xD0, "s<=", lambda d, w, a, b: d.sle(a, b), "jsgt"),
)
JUMP_OPS = {op.code: op for op in _JUMPS}

FETCH = 0x01
XCHG, CMPXCHG, LOAD_ACQ, STORE_REL = 0xE1, 0xF1, 0x100, 0x110
_ATOMICS = (
    AtomicOp("add", 0x00, "+=", lambda d, w, a, b: d.add(a, b), "add"),
    AtomicOp("or", 0x40, "|=", lambda d, w, a, b: d.or_(a, b), "or"),
    AtomicOp("and", 0x50, "&=", lambda d, w, a, b: d.and_(a, b), "and"),
    AtomicOp("xor", 0xA0, "^=", lambda d, w, a, b: d.xor(a, b), "xor"),
    AtomicOp("xchg", 0xE0, "xchg", lambda d, w, a, b: b, "xchg"),
)
ATOMIC_OPS = {op.imm: op for op in _ATOMICS} | {op.imm | FETCH: op for op in _ATOMICS}
del ATOMIC_OPS[XCHG & ~FETCH]  # an exchange always fetches


def is_alu(insn: Insn) -> bool:
    return insn.code & 7 in (4, 7)


def is_jump(insn: Insn) -> bool:
    return insn.code & 7 in (5, 6)


def alu_op(insn: Insn) -> AluOp | None:
    """The row of an ALU instruction (byte swaps aside), or None where the encoding is reserved."""
    op = ALU_OPS.get((insn.code & 0xF0, insn.off))
    if op is None:
        return None
    if op.name == "movsx32" and insn.code & 7 != ALU64:
        return None
    if op.off > 1 and not insn.code & X:
        return None
    return op


CAST_TO_KERNEL, CAST_TO_USER = 1, 1 << 16  # an addr_space_cast's imm: the space from, and the one to above bit 16


def is_cast(insn: Insn) -> bool:
    """An addr_space_cast: a move between how programs know an arena's addresses (the lower 32 bits) and how users do."""
    return insn.code == ALU64 | 0xB0 | X and insn.off == 1


def end_bits(insn: Insn) -> int:
    """How many bits a byte-swap instruction takes: 16, 32 or 64."""
    return insn.imm


def swaps(insn: Insn) -> bool:
    """Whether a byte-swap instruction swaps on a little-endian machine (to_le there only truncates)."""
    return insn.code & 7 == ALU64 or bool(insn.code & X)


def jump_width(insn: Insn) -> int:
    return 32 if insn.code & 7 == JMP32 else 64


def is_atomic(insn: Insn) -> bool:
    return insn.code & 7 == STX and insn.code & 0xE0 == ATOMIC
