"""Which stack slots are read later on: learnt as the program is walked, from what instructions really touched.

For each function as called along one chain of calls (an instance) reads and full writes are noted by instruction, and
carried backwards along the function's edges. States are compared by what is alive only once all that follows them has been
walked, so nothing that they need is missing then. A mask has 64 bits a frame: bit 64 * frame + slot.
"""

from __future__ import annotations

from ..isa.encoding import ST, STX, Insn
from .cfg import Cfg
from .state import Frame, State

SLOTS = 64  # bits a frame; its 64 slots of 8 bytes
_EVERYTHING = -1
_ALL = (1 << SLOTS) - 1


class Instance:
    """One function along one chain of calls."""

    __slots__ = ("caller", "depth", "end", "live", "reads", "start", "todo", "writes")

    def __init__(self, start: int, end: int, insns: tuple[Insn, ...], caller: tuple[Instance, int] | None) -> None:
        self.start, self.end = start, end
        self.reads: dict[int, int] = {}
        # A store that was not seen yet lets nothing through: no path has led over it.
        self.writes = {pc: _EVERYTHING for pc in range(start, end) if insns[pc].code & 7 in (ST, STX)}
        self.live = [0] * (end - start)
        self.todo: list[int] = []
        self.caller = caller
        self.depth: int = caller[0].depth + 1 if caller is not None else 0


class Liveness:
    """The stack's liveness in one walk."""

    def __init__(self, insns: tuple[Insn, ...], cfg: Cfg) -> None:
        self.insns = insns
        self.cfg = cfg
        self.follow = cfg.follow
        self.instances: dict[tuple[int, ...], Instance] = {}
        self.changed: list[Instance] = []

    def enter(self, state: State) -> None:
        """The innermost frame has just been made: find its instance, by the calls that led to it."""
        *above, frame = state.frames
        sites = (*(f.call_site for f in state.frames), frame.subprog)
        found = self.instances.get(sites)
        if found is None:
            starts = self.cfg.starts
            end = starts[frame.subprog + 1] if frame.subprog + 1 < len(starts) else len(self.insns)
            caller = (_life(above[-1]), frame.call_site) if above else None
            found = self.instances[sites] = Instance(starts[frame.subprog], end, self.insns, caller)
        frame.life = found

    def read(self, state: State, pc: int, frame: int, slots: int) -> None:
        """The instruction at `pc`, in the innermost function, reads slots (bits) of a frame."""
        self._add_read(_life(state.frames[-1]), pc, slots << frame * SLOTS)

    def _add_read(self, at: Instance, pc: int, mask: int) -> None:
        before = at.reads.get(pc, 0)
        if mask & ~before:
            at.reads[pc] = before | mask
            self._look_again(at, pc)

    def _look_again(self, at: Instance, pc: int) -> None:
        if not at.todo:
            self.changed.append(at)
        at.todo.append(pc)

    def wrote(self, state: State, pc: int, mask: int) -> None:
        """The store at `pc` overwrites whole slots; `mask` is 0 where it may have missed them."""
        at = _life(state.frames[-1])
        before = at.writes[pc]
        after = mask if before == _EVERYTHING else before & mask
        if after != before:
            at.writes[pc] = after
            self._look_again(at, pc)

    def _settle(self) -> None:
        """Carry what is new backwards, out of called functions too."""
        sources, follow = self.cfg.sources, self.follow
        while self.changed:
            at = self.changed.pop()
            todo, at.todo = at.todo, []
            while todo:
                pc = todo.pop()
                out = 0
                for t in follow[pc]:
                    out |= at.live[t - at.start]
                new = at.reads.get(pc, 0) | (out & ~at.writes.get(pc, 0))
                if not new & ~at.live[pc - at.start]:
                    continue
                at.live[pc - at.start] |= new
                todo += sources.get(pc, ())
                before = pc - 1
                if before > at.start and not follow[before] and follow[before - 1] and follow[before - 1][0] == pc:
                    before -= 1  # a ld_imm64 of two halves
                if before >= at.start and follow[before] and follow[before][0] == pc:
                    todo.append(before)
            if at.caller is not None:
                caller, site = at.caller
                self._add_read(caller, site, at.live[0] & ((1 << at.depth * SLOTS) - 1))

    def alive(self, state: State, pc: int) -> list[int]:
        """By frame, the slots that may be read from `pc` on."""
        self._settle()
        if len(state.frames) == 1:
            only = _life(state.frames[0])
            return [only.live[pc - only.start] & _ALL]
        masks = []
        for number, frame in enumerate(state.frames):
            at = _life(frame)
            if number + 1 < len(state.frames):
                site = state.frames[number + 1].call_site
                # A callback returns to the call itself, which runs again.
                where = site if state.frames[number + 1].callback else site + 1
            else:
                where = pc
            masks.append(at.live[where - at.start])
        found, everything = [], 0
        for number in range(len(masks)):
            everything = 0
            for mask in masks[number:]:
                everything |= mask
            found.append(everything >> number * SLOTS & ((1 << SLOTS) - 1))
        return found


def _life(frame: Frame) -> Instance:
    assert isinstance(frame.life, Instance)
    return frame.life
