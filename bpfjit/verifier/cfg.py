"""The shape of a program before any value is looked at: functions, edges, what is live where.

Refuses what no path-sensitive look is needed for: jumps out of a function or into the middle of a
ld_imm64, unreachable code.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from ..isa.encoding import (
    CALL,
    EXIT,
    JA,
    JA32,
    JCOND,
    LD_IMM64,
)
from ..uapi import bpf as uapi
from .loops import strong_components
from .op import CALLS, JUMP, Op
from .refusal import Refusal


@dataclass(slots=True)
class Cfg:
    """starts: first instruction of each function. subprog_at: function of each instruction. prune: where states
    are compared; checkpoint: where one is always kept. joins: where the instruction run before is not told by the one
    that stands before. live: registers (bits) read before written from here on. loop: which loop an instruction is part
    of, 0 for none. sources: by target, the jumps there; follow: by instruction, what may come next, fall-through first.
    edges: by function, those that it calls or takes the address of. callbacks: functions that helpers call; calls_back: who
    does. asks: calls that ask an iterator for its next element. may_goto: conditions that end a loop after a while.
    """

    starts: list[int]
    subprog_at: list[int]
    prune: bytearray
    checkpoint: bytearray
    joins: bytearray
    calls_back: bytearray
    live: list[int]
    loop: list[int]
    sources: dict[int, list[int]]
    callbacks: set[int]
    asks: bytearray
    may_goto: bytearray
    follow: list[tuple[int, ...]]
    edges: list[set[int]]


@dataclass(frozen=True, slots=True)
class Summary:
    """A kernel function as the graph needs it: how many arguments it takes; `asks`: an iterator for its next element."""

    nargs: int
    asks: bool
    calls_back: bool
    sleeps: bool
    changes_packet: bool


def _refuse(reason: str, pc: int, number: int = errno.EINVAL) -> Refusal:
    return Refusal(reason, number, pc)


def find_functions(insns: list[Op], answers_throws: int = 0) -> tuple[list[int], set[int]]:
    """Starts of all functions, and which of them are taken by address. Raises Refusal."""
    starts, callbacks = {0, answers_throws}, set()
    for pc in range(len(insns)):
        insn = insns[pc]
        if insn.code == CALL and insn.src == uapi.BPF_PSEUDO_CALL:
            target = pc + insn.imm + 1
        elif insn.code == LD_IMM64 and insn.src == uapi.BPF_PSEUDO_FUNC:
            target = pc + insn.imm + 1
            callbacks.add(target)
        else:
            continue
        if not 0 <= target < len(insns):
            raise _refuse("call to invalid destination", pc)
        if target == answers_throws and target:
            raise _refuse(f"insn {pc} cannot call exception cb directly", pc)
        starts.add(target)
    if len(starts) > 256:
        raise _refuse("too many subprograms", 0, errno.E2BIG)
    return sorted(starts), callbacks


def successors(insn: Op, pc: int) -> tuple[int, ...]:
    """Where control may go next within the function, fall-through first."""
    if insn.code == EXIT or not insn.code:
        return ()
    if insn.code == JA:
        return (pc + 1 + insn.off,)
    if insn.code == JA32:
        return (pc + 1 + insn.imm,)
    if insn.code & 7 in (5, 6) and insn.code != CALL:
        return (pc + 1, pc + 1 + insn.off)
    return (pc + (2 if insn.code == LD_IMM64 else 1),)


def build(
    insns: list[Op],
    helper_nargs: dict[int, int],
    calling_back: set[int],
    kfuncs: Mapping[int, Summary],
    answers_throws: int = 0,
) -> Cfg:
    """Check the graph and compute prune points and liveness. Raises Refusal.

    calling_back: helpers that call back. kfuncs: by BTF id, the kernel functions that are called. answers_throws: where the
    function begins that bpf_throw ends in, 0 for none.
    """
    starts, callbacks = find_functions(insns, answers_throws)
    count = len(insns)
    follow = [successors(insns[pc], pc) for pc in range(count)]
    ends = [*starts[1:], count]
    subprog_at = [0] * count
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        for pc in range(start, end):
            subprog_at[pc] = i
        last = insns[end - 1]
        if last.code not in (EXIT, JA, JA32):
            raise _refuse("last insn is not an exit or jmp", end - 1)
    second = bytearray(count)
    for pc in range(count):
        if insns[pc].code == LD_IMM64 and not second[pc]:
            second[pc + 1] = 1
    prune, joins, reached = bytearray(count), bytearray(count), bytearray(count)
    checkpoint, calls_back, asks = bytearray(count), bytearray(count), bytearray(count)
    may_goto = bytearray(count)
    sources: dict[int, list[int]] = {}
    for start in starts:
        if second[start]:
            raise _refuse(f"jump into the middle of ldimm64 insn {start - 1}", start)
        prune[start] = joins[start] = 1
        _walk(insns, follow, start, subprog_at, second, sources, reached)
    for target in sources:
        prune[target] = joins[target] = 1
    edges: list[set[int]] = [set() for _ in starts]
    for pc in range(count):
        insn = insns[pc]
        if not reached[pc] and not second[pc]:
            raise _refuse(f"unreachable insn {pc}", pc)
        if insn.code == CALL:
            prune[pc + 1] = joins[pc + 1] = 1
            if insn.src == uapi.BPF_PSEUDO_CALL:
                prune[pc] = 1
                edges[subprog_at[pc]].add(subprog_at[pc + insn.imm + 1])
            elif insn.src == 0 and insn.imm in calling_back:
                prune[pc] = joins[pc] = checkpoint[pc] = calls_back[pc] = 1
            elif insn.src == uapi.BPF_PSEUDO_KFUNC_CALL and insn.imm in kfuncs:
                row = kfuncs[insn.imm]
                asks[pc], calls_back[pc] = row.asks, row.calls_back
                if row.asks or row.calls_back:
                    prune[pc] = joins[pc] = checkpoint[pc] = 1
        elif insn.code == LD_IMM64 and insn.src == uapi.BPF_PSEUDO_FUNC:
            prune[pc] = prune[pc + 2] = joins[pc + 2] = 1
            edges[subprog_at[pc]].add(subprog_at[pc + insn.imm + 1])
        elif insn.code == JCOND:
            prune[pc] = joins[pc] = checkpoint[pc] = may_goto[pc] = 1
        elif insn.code & 7 in (5, 6) and insn.code not in (EXIT, JA, JA32):
            prune[pc] = 1
    live = _liveness(insns, follow, helper_nargs, kfuncs, sources)
    loop = find_loops(follow, sources, calls_back)
    return Cfg(
        *(starts, subprog_at, prune, checkpoint, joins, calls_back, live),
        *(loop, sources, callbacks, asks, may_goto, follow, edges),
    )


def _walk(
    insns: list[Op],
    follow: list[tuple[int, ...]],
    start: int,
    subprog_at: list[int],
    second: bytearray,
    sources: dict[int, list[int]],
    reached: bytearray,
) -> None:
    todo = [start]
    reached[start] = 1
    while todo:
        pc = todo.pop()
        following = follow[pc]
        for i in range(len(following)):
            target = following[i]
            if not 0 <= target < len(insns) or subprog_at[target] != subprog_at[start]:
                raise _refuse(f"jump out of range from insn {pc} to {target}", pc)
            if second[target]:
                raise _refuse(f"jump into the middle of ldimm64 insn {target - 1}", pc)
            if i == 1 or insns[pc].kind == JUMP:
                sources.setdefault(target, []).append(pc)
            if not reached[target]:
                reached[target] = 1
                todo.append(target)


def find_loops(follow: list[tuple[int, ...]], sources: dict[int, list[int]], calls_back: bytearray) -> list[int]:
    """By instruction, the number of the loop that it is part of; 0 for none. A call that calls back is one."""
    if not any(calls_back) and all(max(jumps) < target for target, jumps in sources.items()):
        return [0] * len(follow)
    component = strong_components(follow)
    size = Counter(component)
    return [c + 1 if size[c] > 1 or calls_back[pc] or pc in follow[pc] else 0 for pc, c in enumerate(component)]


def _nargs(insn: Op, helpers: Mapping[int, int], kfuncs: Mapping[int, Summary]) -> int:
    """How many argument registers a call reads."""
    if insn.src == uapi.BPF_PSEUDO_KFUNC_CALL and insn.imm in kfuncs:
        return min(kfuncs[insn.imm].nargs, 5)
    return 5 if insn.src else helpers.get(insn.imm, 5)


def _liveness(
    insns: list[Op],
    follow: list[tuple[int, ...]],
    nargs: Mapping[int, int],
    kfuncs: Mapping[int, Summary],
    sources: dict[int, list[int]],
) -> list[int]:
    """Registers live before each instruction: backwards, again where something changed that is jumped back to."""
    count = len(insns)
    back = {target for target, jumps in sources.items() if max(jumps) >= target}
    live = [0] * (count + 1)
    again = True
    while again:
        again = False
        for pc in range(count - 1, -1, -1):
            insn = insns[pc]
            if not insn.code:
                continue  # a ld_imm64's second half
            out = 0
            for t in follow[pc]:
                out |= live[t]
            used = insn.uses
            if insn.kind == CALLS:
                used = (2 << _nargs(insn, nargs, kfuncs)) - 2
            new = used | out & ~insn.defs
            if new != live[pc]:
                live[pc] = new
                again = again or pc in back
    return live[:count]
