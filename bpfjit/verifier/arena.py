"""Arenas: pointers that are any 32 bits, and reach into the program's arena or fall through.

Source: Linux 6.18: an access is checked by nothing but the memory's own guards, so that arithmetic is free.
"""

from __future__ import annotations

import errno

from ..isa.ops import CAST_TO_KERNEL, CAST_TO_USER
from ..program import MapInfo, Program, ValueKind
from . import state as st
from .op import Op
from .refusal import Refusal
from .state import T
from .walk import Walk

# Fetching forms that take a loop on x86: a fault in the midst of one would not be passed over as a whole.
NO_FETCH = frozenset({0x41, 0x51, 0xA1})


def arena_of(program: Program) -> MapInfo | None:
    """The one arena of a program."""
    return next((m for m in program.maps if m.type.arena and not m.template), None)


def check(program: Program) -> None:
    """A program has one arena at most. Raises Refusal."""
    if sum(m.type.arena and not m.template for m in program.maps) > 1:
        raise Refusal("Only one arena per program", errno.EBUSY)


def cast(w: Walk, insn: Op) -> None:
    """addr_space_cast: to a pointer of the program's, or back to a number that the user knows. Rejects."""
    if insn.imm not in (CAST_TO_KERNEL, CAST_TO_USER):
        w.reject("addr_space_cast insn can only convert between address space 1 and 0", errno.EINVAL)
    if arena_of(w.program) is None:
        w.reject("addr_space_cast insn can only be used in a program that has an associated arena", errno.EINVAL)
    w.write(insn.dst, st.pointer(T.ARENA) if insn.imm == CAST_TO_KERNEL else st.scalar())


def narrow(w: Walk) -> None:
    """Arithmetic on an arena's pointer under way: it is done on 32 bits, whatever the instruction says."""
    w.facts.narrowed.add(w.pc)


def check_narrowed(w: Walk) -> None:
    """What is done on 32 bits was never done to something else by the same instruction. Raises Refusal."""
    for pc in sorted(w.facts.narrowed):
        if w.facts.result[pc] != ValueKind.ARENA:
            raise Refusal("same insn cannot be used with different pointers", errno.EINVAL, pc)
