"""Counters compiled into a program: how often each run of instructions executes, and the processor's cycles spent there.

A segment is the instructions from one point to the next: points stand where a block begins and where the source line
changes. At each the cycle counter is read and what has passed since the last one goes to the segment before. One
program, one thread at a time: the counters are plain memory.
"""

from __future__ import annotations

import ctypes
from bisect import bisect_right
from typing import TYPE_CHECKING

from ..dataclass import dataclass
from ..program import Program
from .link import Linked
from .native import Native
from .values import Value

if TYPE_CHECKING:
    from .emit import FunctionEmitter

COUNTS, CYCLES = "prof_counts", "prof_cycles"
_LAST, _CELL = "prof_last", "prof_cell"


class Points:
    """The points of a module under construction."""

    def __init__(self, program: Program) -> None:
        self.at: list[int] = []  # the first instruction of each segment
        self._lines = {info.insn_off for info in program.lines}

    def before(self, f: FunctionEmitter, pc: int, block_start: int) -> None:
        """A segment begins at `pc` if a block or a source line does."""
        if pc != block_start and pc not in self._lines:
            return
        self.at.append(pc)
        k = len(self.at) - 1
        self._switch(f, k)
        cell = f.offset(_global(COUNTS), 8 * k)
        f.emit(f"store {f.add(_load(f, cell.text), f.const(64, 1))}, ptr {cell.text}, align 8")
        f.segment = k

    def after_call(self, f: FunctionEmitter) -> None:
        """What a function of the program has spent was its own; the segment of the call goes on."""
        if f.segment is not None:
            self._switch(f, f.segment)

    def leave(self, f: FunctionEmitter) -> None:
        """Time between two executions is nobody's: the cell behind the last segment, whose number is not known yet."""
        self._switch(f, None)

    def _switch(self, f: FunctionEmitter, k: int | None) -> None:
        now = f.assign(64, "call i64 @llvm.readcyclecounter()")
        spent = f.sub(now, _load(f, f"@{_LAST}"))
        cell = f.assign(0, f"load ptr, ptr @{_CELL}, align 8")
        f.emit(f"store {f.add(_load(f, cell.text), spent)}, ptr {cell.text}, align 8")
        f.emit(f"store {now}, ptr @{_LAST}, align 8")
        following = Value("@prof_nobody", 0) if k is None else f.offset(_global(CYCLES), 8 * k)
        f.emit(f"store {following}, ptr @{_CELL}, align 8")

    def definitions(self) -> list[str]:
        n = max(len(self.at), 1)
        return [
            f"@{COUNTS} = dso_local global [{n} x i64] zeroinitializer, align 8",
            f"@{CYCLES} = dso_local global [{n} x i64] zeroinitializer, align 8",
            "@prof_nobody = internal global i64 0",
            f"@{_LAST} = internal global i64 0",
            f"@{_CELL} = internal global ptr @prof_nobody",
            "declare i64 @llvm.readcyclecounter()",
        ]


def _global(name: str) -> Value:
    return Value(f"@{name}", 0)


def _load(f: FunctionEmitter, address: str) -> Value:
    return f.assign(64, f"load i64, ptr {address}, align 8")


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of instructions [start, end) of one line record (0: none): its executions, and its share of all cycles."""

    start: int
    end: int
    record: int
    executions: int
    share: float


class Profiled(Native):
    """Native code that counts; segments() is what it has counted so far."""

    def __init__(self, code: Linked, points: list[int], program: Program) -> None:
        super().__init__(code)
        self._points = points
        self._program = program
        self._counts, self._cycles = (code.symbols[name] for name in (COUNTS, CYCLES))

    def segments(self) -> list[Segment]:
        """By first instruction. From a segment's cycles goes what a point itself costs: as many as the cheapest takes."""
        n = len(self._points)
        counts, cycles = ((ctypes.c_uint64 * n).from_address(at) for at in (self._counts, self._cycles))
        price = min((cycles[k] / counts[k] for k in range(n) if counts[k]), default=0.0)
        own = [max(cycles[k] - price * counts[k], 0.0) for k in range(n)]
        total = sum(own) or 1.0
        order = sorted(range(n), key=self._points.__getitem__)
        ends = [*(self._points[k] for k in order[1:]), len(self._program.insns)]
        starts = [info.insn_off for info in self._program.lines]
        return [
            Segment(self._points[k], end, bisect_right(starts, self._points[k]), counts[k], own[k] / total)
            for k, end in zip(order, ends, strict=True)
        ]
