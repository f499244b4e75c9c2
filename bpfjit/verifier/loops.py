"""Loops: which instructions are part of one, and the ways back into a loop that are not walked again.

A state that comes back into its loop and is covered by a state still under way (iterators, may_goto and callbacks
converge so) ends its path there, though what the old state must know precisely is not known yet. Such a
way back is kept; once the loop has been left for good, what the old states need is carried along all of them until nothing
changes. Until then the loop's states count as if every number in them mattered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .state import State

Place = tuple[int, ...]  # the calls that led to the outermost frame in a loop, and the loop


def strong_components(follow: Sequence[Sequence[int]]) -> list[int]:
    """By node, a number for each strongly connected component (Tarjan's algorithm, without recursion)."""
    count = len(follow)
    index, low, component = [0] * count, [0] * count, [-1] * count
    clock = found = 0
    stack: list[int] = []
    for root in range(count):
        if index[root]:
            continue
        clock += 1
        index[root] = low[root] = clock
        stack.append(root)
        work = [(root, 0)]
        while work:
            node, i = work.pop()
            if i < len(follow[node]):
                work.append((node, i + 1))
                to = follow[node][i]
                if not index[to]:
                    clock += 1
                    index[to] = low[to] = clock
                    stack.append(to)
                    work.append((to, 0))
                elif component[to] < 0:
                    low[node] = min(low[node], index[to])
                continue
            if low[node] == index[node]:
                while True:
                    member = stack.pop()
                    component[member] = found
                    if member == node:
                        break
                found += 1
            if work:
                above = work[-1][0]
                low[above] = min(low[above], low[node])
    return component


class Visit:
    """One stay in a loop: the state that entered it, and the ways back that were not walked again."""

    __slots__ = ("entry", "ways_back")

    def __init__(self) -> None:
        self.entry: State | None = None
        self.ways_back: list[tuple[State, State]] = []


class Loops:
    """The loops of one program as they are walked; `loop` is Cfg.loop."""

    def __init__(self, loop: list[int]) -> None:
        self.loop = loop
        self.visits: dict[Place, Visit] = {}
        self.none = not any(loop)

    def _place(self, state: State) -> Place | None:
        frames = state.frames
        for i in range(len(frames)):
            pc = frames[i + 1].call_site if i + 1 < len(frames) else state.pc
            if self.loop[pc]:
                return (*(f.call_site for f in frames[1 : i + 1]), self.loop[pc])
        return None

    def enter(self, kept: State) -> None:
        """A state is kept: the first one in a loop stays its entry until all of its continuations have ended."""
        if self.none:
            return
        place = self._place(kept)
        if place is not None:
            visit = self.visits.get(place)
            if visit is None:
                visit = self.visits[place] = Visit()
            kept.visit = visit
            if visit.entry is None:
                visit.entry = kept

    def leave(self, kept: State, carry: Callable[[State, State], bool]) -> None:
        """All continuations of a kept state have ended; `carry` takes what its first argument needs to the second."""
        visit = _visit(kept)
        if visit is None or visit.entry is not kept:
            return
        visit.entry = None
        changed = True
        while changed:
            changed = False
            for old, back in visit.ways_back:
                changed |= carry(old, back)
        visit.ways_back.clear()

    def way_back(self, old: State, state: State) -> None:
        """`state` has come back to `old` and is covered by it."""
        visit = _visit(old)
        if visit is not None:
            visit.ways_back.append((old, state))

    def open(self, kept: State) -> bool:
        """Whether a kept state may still turn out to need more than it is marked with."""
        visit = _visit(kept)
        return visit is not None and bool(visit.ways_back)


def _visit(kept: State) -> Visit | None:
    found = kept.visit
    assert found is None or isinstance(found, Visit)
    return found
