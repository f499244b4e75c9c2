"""The states kept at prune points: which ones, for how long, and what comes of it when one covers the present state.

The rules of when to keep and when to drop are Linux's, so that the same programs stay below the limit of a million.
"""

from __future__ import annotations

import errno

from . import iters, precision
from .cfg import Cfg
from .log import Log
from .loops import Loops
from .prune import Exact, Ids, forget_dead_slots, looks_alike, state_covers
from .refusal import Refusal
from .state import State
from .walk import Walk

_MAX_STEPS = 40  # a way longer than this gets a state in between
_KEEP_CHECKPOINT, _KEEP = 64, 3  # misses allowed for each hit
# Names with an underscore are C numbers in the compiled module (explored.pxd).
_NOT, _WITHIN, _SAME = int(Exact.NOT), int(Exact.WITHIN), int(Exact.SAME)


class _Kept:
    __slots__ = ("hits", "misses", "state")

    def __init__(self, state: State) -> None:
        self.state = state
        self.hits = 0
        self.misses = 0


class Counts:
    """What the log's last line says of states, over all functions: kept in all, now, at most, at one instruction."""

    __slots__ = ("alive", "max_per_insn", "peak", "total")

    def __init__(self) -> None:
        self.total = self.alive = self.peak = self.max_per_insn = 0


class Explored:
    """All states kept in the walk of one function (and of what it calls)."""

    def __init__(self, w: Walk, counts: Counts) -> None:
        self.w = w
        self.counts = counts
        self.cfg: Cfg = w.cfg
        self.live = w.live
        self.checkpoint = w.cfg.checkpoint
        self.log: Log = w.log
        self.watched = w.env.watch is not None
        self.loops = Loops(w.cfg.loop)
        self.kept: dict[int, list[_Kept]] = {}  # by instruction and the call under way
        self.last_processed = w.processed  # as the last state was kept
        self.last_jumps = w.jumps

    def seen_before(self) -> bool:
        """Whether a state kept here covers the present one; if not, it may be kept itself. Rejects an endless loop."""
        w = self.w
        pc, current = w.pc, w.state
        forced = bool(self.checkpoint[pc])
        long = current.steps is not None and current.steps.count > _MAX_STEPS
        jumps, insns = w.jumps - self.last_jumps, w.processed - self.last_processed
        add = forced or long or (jumps >= 2 and insns >= 8)
        innermost = current.frames[-1]
        place = pc << 21 | innermost.call_site + 1  # a pc of 64 bits in C (explored.pxd)
        kept = self.kept.get(place)
        if kept is None:
            if add:
                kept = self.kept[place] = []
                self._keep(kept, current, pc)
            return False
        seen = len(kept)
        for i in range(seen - 1, -1, -1):
            entry = kept[i]
            old = entry.state
            if old.branches:
                found = self._comes_back(old, current, pc, forced)
                if found is not None:
                    entry.hits += 1
                    self._hit(old, current, pc, found, loop=True)
                    return True
                if jumps < 20 and insns < 100 and not (forced or long):
                    add = False  # rounds of a loop are different: not each of them need be kept
            else:
                loop = self.loops.open(old)
                if not old.clean and not loop:
                    forget_dead_slots(old, w.life.alive(old, pc))
                found = state_covers(old, current, pc, self.live, _WITHIN if loop or self.watched else _NOT)
                if found is not None:
                    entry.hits += 1
                    self._hit(old, current, pc, found, loop=loop)
                    return True
            if add:
                entry.misses += 1
            n = _KEEP_CHECKPOINT if forced and old.branches else _KEEP
            if entry.misses > entry.hits * n + n:
                del kept[i]  # it costs more than it saves
                old.evicted = True
                if not old.branches:
                    self.counts.alive -= 1
        if seen > self.counts.max_per_insn:
            self.counts.max_per_insn = seen
        if add:
            self._keep(kept, current, pc)
        return False

    def _comes_back(self, old: State, current: State, pc: int, forced: bool) -> Ids | None:
        """The old state is still under way. How this one, a later round of its loop, shows nothing new. Rejects."""
        if forced:
            if self.cfg.calls_back[pc]:
                return state_covers(old, current, pc, self.live, _WITHIN)
            if self.cfg.asks[pc]:
                # Another element of an iterator; with the last one the loop around it ends by itself.
                return state_covers(old, current, pc, self.live, _WITHIN) if iters.is_active(current) else None
            if self.cfg.may_goto[pc] and old.may_gotos != current.may_gotos:
                found = state_covers(old, current, pc, self.live, _WITHIN)
                if found is not None:
                    return found
        same = old.may_gotos == current.may_gotos and old.unrolled == current.unrolled and looks_alike(old, current)
        if same and not iters.depths_differ(old, current) and state_covers(old, current, pc, self.live, _SAME) is not None:
            raise Refusal(
                f"infinite loop detected at insn {pc}\n"
                f"cur state: {self.log.frame_text(current.frame)}\nold state: {self.log.frame_text(old.frame)}",
                errno.EINVAL,
                pc,
            )
        return None

    def _hit(self, old: State, current: State, pc: int, found: Ids, loop: bool) -> None:
        if found.unwritten is not None:
            for subprog in found.unwritten:
                self.w.zero_stack[subprog] = 1
        if self.cfg.joins[pc]:
            self.w.step()
        precision.carry(self.w, old, current, pc)
        if loop:
            back = current.copy()
            back.pc = pc
            self.loops.way_back(old, back)

    def _keep(self, kept: list[_Kept], current: State, pc: int) -> None:
        counts = self.counts
        counts.total += 1
        counts.alive += 1
        if counts.peak < counts.alive:
            counts.peak = counts.alive
        self.last_processed, self.last_jumps = self.w.processed, self.w.jumps
        saved = current.copy()
        saved.last_pc, saved.pc, saved.is_kept = self.w.came_from, pc, True
        saved.branches = 1
        kept.append(_Kept(saved))
        self.loops.enter(saved)
        current.parent = saved
        current.branches = 1
        current.first_pc = pc
        current.steps = None

    def release(self, state: State | None) -> None:
        """A path has ended: the states it came from have one continuation less to wait for."""
        while state is not None:
            state.branches -= 1
            if state.branches:
                return
            if state.is_kept:
                self.loops.leave(state, self._carry)
                if state.evicted:
                    self.counts.alive -= 1
            state = state.parent

    def _carry(self, old: State, back: State) -> bool:
        return precision.carry(self.w, old, back, back.pc)

    def kept_before(self, current: State, pc: int) -> State | None:
        """The nearest state on the present way that was kept at `pc` with the same calls under way."""
        sites = current.call_sites
        old = current.parent
        while old is not None:
            if old.pc == pc and old.call_sites == sites:
                return old
            old = old.parent
        return None
