"""Instructions that an older Linux does not have, refused in its words."""

from __future__ import annotations

import errno
from collections.abc import Callable

from ..isa.encoding import ALU64, JA32, JCOND, LDX, MEMSX, Insn
from ..isa.ops import ALU_END, LOAD_ACQ, STORE_REL, is_atomic, is_cast
from ..spec.profiles import Profile
from .op import Op
from .refusal import Refusal


def _cpu_v4(op: Op) -> str:
    """Signed division, sign-extending moves and loads, unconditional byte swaps, jumps of 32 bits."""
    cls = op.code & 7
    if op.code == JA32 or (cls == LDX and op.code & 0xE0 == MEMSX) or (cls == ALU64 and op.code & 0xF0 == ALU_END):
        return f"unknown opcode {op.code:02x}"
    if cls in (4, 7) and op.off and op.name != "cast":
        return "BPF_MOV uses reserved fields" if op.code & 0xF0 == 0xB0 else "BPF_ALU uses reserved fields"
    return ""


def _may_goto(op: Op) -> str:
    return f"unknown opcode {op.code:02x}" if op.code == JCOND else ""


def _addr_space_cast(op: Op) -> str:
    return "BPF_MOV uses reserved fields" if is_cast(_insn(op)) else ""


def _load_acquire(op: Op) -> str:
    if is_atomic(_insn(op)) and op.imm in (LOAD_ACQ, STORE_REL):
        return f"BPF_ATOMIC uses invalid atomic opcode {op.imm:02x}"
    return ""


def _insn(op: Op) -> Insn:
    return Insn(op.code, op.dst, op.src, op.off, op.imm)


FEATURES: dict[str, Callable[[Op], str]] = {
    "cpu_v4": _cpu_v4,
    "may_goto": _may_goto,
    "addr_space_cast": _addr_space_cast,
    "load_acquire": _load_acquire,
}


def check(profile: Profile, ops: list[Op]) -> None:
    """Every instruction is one that the version has. Raises Refusal."""
    if not profile.lacks:
        return
    looks = [FEATURES[name] for name in sorted(profile.lacks)]
    for pc, op in enumerate(ops):
        for problem in (look(op) for look in looks):
            if problem:
                raise Refusal(problem, errno.EINVAL, pc)
