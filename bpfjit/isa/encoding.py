"""BPF instructions as bytes: 8 bytes each, `ld_imm64` taking two slots.

Source: RFC 9669, section 3 (instruction encoding), and Linux's extensions up to cpu v4.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple, NewType

Pc = NewType("Pc", int)

INSN_BYTES = 8
U32 = 0xFFFFFFFF
U64 = 0xFFFFFFFFFFFFFFFF

# Classes (bits 0-2).
LD, LDX, ST, STX, ALU, JMP, JMP32, ALU64 = range(8)
# Source operand (bit 3).
K, X = 0x00, 0x08
# Access sizes (bits 3-4) and modes (bits 5-7).
W, H, B, DW = 0x00, 0x08, 0x10, 0x18
IMM, ABS, IND, MEM, MEMSX, ATOMIC = 0x00, 0x20, 0x40, 0x60, 0x80, 0xC0

LD_IMM64 = LD | IMM | DW
CALL, EXIT, JA = JMP | 0x80, JMP | 0x90, JMP
JA32 = JMP32
JCOND = JMP | 0xE0
MAY_GOTO_ROUNDS = 0xFFFF  # of a function's may_gotos, before the clock is looked at (BPF_MAX_TIMED_LOOPS)
SIZE_BYTES = {W: 4, H: 2, B: 1, DW: 8}

_FORM = struct.Struct("<BBhi")


class Insn(NamedTuple):
    """One 8-byte slot: opcode, destination and source register, signed 16-bit offset, signed 32-bit immediate."""

    code: int
    dst: int = 0
    src: int = 0
    off: int = 0
    imm: int = 0

    @property
    def cls(self) -> int:
        return self.code & 7

    @property
    def op(self) -> int:
        return self.code & 0xF0

    @property
    def is_x(self) -> bool:
        return bool(self.code & X)

    @property
    def mode(self) -> int:
        return self.code & 0xE0

    @property
    def size(self) -> int:
        """Bytes that a load or store moves."""
        return SIZE_BYTES[self.code & 0x18]


def decode(data: bytes) -> list[Insn]:
    """Slots of an instruction stream. Raises ValueError when the length is no multiple of 8."""
    if len(data) % INSN_BYTES:
        raise ValueError(f"{len(data)} bytes of instructions, not a multiple of {INSN_BYTES}")
    return [Insn(code, regs & 15, regs >> 4, off, imm) for code, regs, off, imm in _FORM.iter_unpack(data)]


def encode(insns: Iterable[Insn]) -> bytes:
    """The inverse of decode()."""
    return b"".join(_FORM.pack(i.code, i.dst | i.src << 4, i.off, i.imm) for i in insns)


def imm64(insns: Sequence[Insn], pc: int) -> int:
    """The unsigned 64-bit immediate of the ld_imm64 at `pc`."""
    return insns[pc].imm & U32 | (insns[pc + 1].imm & U32) << 32


def ld_imm64(dst: int, value: int, src: int = 0) -> tuple[Insn, Insn]:
    """The two slots that load a 64-bit value (or, with `src`, a pseudo reference)."""

    def signed(word: int) -> int:
        return word - (1 << 32) if word >> 31 else word

    low, high = signed(value & U32), signed(value >> 32 & U32)
    return Insn(LD_IMM64, dst, src, 0, low), Insn(0, 0, 0, 0, high)
