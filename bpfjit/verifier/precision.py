"""Which numbers matter: from where one is relied upon, back along the way that it came.

A branch that can go one way only, an offset into memory, a size: what was proved there holds for that number alone.
Walking back over the instructions of the path, the registers and stack slots that it came from are found, and marked as
precise in each kept state on the way (Frame.precise). In pruning, scalars that no one relied upon are taken for equal.
Where the way back cannot be followed (pointers subtracted, a slot written through an unknown address), everything is marked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..isa.encoding import CALL
from ..isa.ops import CMPXCHG, LOAD_ACQ, STORE_REL, XCHG
from ..uapi import bpf as uapi
from . import op as ops
from .op import Op
from .state import MAX_FRAMES, SCALAR, SLOT_BIT, SPILL, Frame, State, Step

if TYPE_CHECKING:
    from .walk import Walk

# Names with an underscore are C numbers in the compiled module (precision.pxd).
_ARGUMENTS = 0b111110  # r1-r5
_REGISTERS = (1 << 10) - 1
_SLOT_BIT = SLOT_BIT
_MOVE, _ARITHMETIC, _NEGATE, _SWAP = ops.MOVE, ops.ARITHMETIC, ops.NEGATE, ops.SWAP
_LOAD, _ATOMIC, _STORE, _BRANCH = ops.LOAD, ops.ATOMIC, ops.STORE, ops.BRANCH
_CALLS, _EXITS, _LOAD_IMMEDIATE, _OTHER = ops.CALLS, ops.EXITS, ops.LOAD_IMMEDIATE, ops.OTHER


class _Lost(Exception):
    """The way back cannot be followed."""


class _Wanted:
    """What is looked for on the way back.

    now: registers of the innermost frame, `frame`. regs: those of the frames around it; slots: of all. others: there is
    something in regs or slots.
    """

    __slots__ = ("frame", "now", "others", "regs", "slots")

    def __init__(self, masks: list[int]) -> None:
        self.frame = len(masks) - 1
        self.regs = [0] * MAX_FRAMES
        self.slots = [0] * MAX_FRAMES
        self.others = False
        for i, mask in enumerate(masks):
            self.regs[i] = mask & _REGISTERS
            self.slots[i] = mask >> SLOT_BIT
        self.now = self.regs[self.frame]
        self.regs[self.frame] = 0
        self.look()

    def look(self) -> None:
        self.others = any(self.regs) or any(self.slots)

    def enter(self) -> None:
        if self.frame + 1 >= MAX_FRAMES:
            raise _Lost
        self.regs[self.frame] = self.now
        self.frame += 1
        self.now = self.regs[self.frame]
        self.regs[self.frame] = 0
        self.look()

    def leave(self) -> None:
        """Into the caller; what is wanted of the function's own registers and slots must be gone by now."""
        if not self.frame or self.now or self.slots[self.frame]:
            raise _Lost
        self.frame -= 1
        self.now = self.regs[self.frame]
        self.regs[self.frame] = 0
        self.look()

    def of(self, frame: int) -> int:
        """All of one frame, as Frame.precise has it."""
        regs: int = self.now if frame == self.frame else self.regs[frame]
        slots: int = self.slots[frame]
        return regs | slots << SLOT_BIT

    def put(self, frame: int, mask: int) -> None:
        if frame == self.frame:
            self.now = mask & _REGISTERS
        else:
            self.regs[frame] = mask & _REGISTERS
        self.slots[frame] = mask >> SLOT_BIT


def scalars_of(frame: Frame, mask: int) -> int:
    """Those of the registers and slots in `mask` that hold scalars."""
    found = 0
    bits = mask
    while bits:
        low = bits & -bits
        bits ^= low
        i = low.bit_length() - 1
        if i < SLOT_BIT:
            holds = frame.regs[i].type == SCALAR
        else:
            slot = frame.stack.get(i - SLOT_BIT)
            holds = slot is not None and slot.reg is not None and slot.kinds[0] == SPILL and slot.reg.type == SCALAR
        if holds:
            found |= low
    return found


def need(w: Walk, frame: int, bits: int) -> None:
    """Numbers in registers and slots of a frame of the present state are relied upon."""
    masks = [0] * len(w.state.frames)
    masks[frame] = bits
    require(w, w.state, w.pc, masks)


def require(w: Walk, state: State, pc: int, masks: list[int]) -> bool:
    """Mark what the registers and slots in `masks` (by frame) at `pc` came from. Returns whether any mark is new."""
    try:
        return _go_back(w, state, pc, _Wanted(masks))
    except _Lost:
        return _mark_all(state)


def _go_back(w: Walk, state: State, pc: int, wanted: _Wanted) -> bool:
    """As require(). Raises _Lost where the way ends or cannot be followed; marks made on the way stay."""
    program, changed = w.ops, False
    after, first = -1, True
    at = state
    i = pc
    while True:
        step = at.steps
        while True:
            here = step if step is not None and step.pc == i else None
            if not first:
                _back_over(w, program[i], i, after, here, wanted)
                if not wanted.now and not wanted.others:
                    return changed
            first = False
            after = i
            if i == at.first_pc and (step is None or (step.count == 1 and here is not None)):
                break
            if here is not None:
                i, step = here.came_from, here.before
            else:
                i -= 1
        kept = at.parent
        if kept is None:
            break
        if len(kept.frames) - 1 != wanted.frame:
            raise _Lost
        for frame in kept.frames:
            bits = wanted.of(frame.number)
            if bits:
                bits = scalars_of(frame, bits) & ~frame.precise
                if bits:
                    frame.precise |= bits
                    changed = True
                wanted.put(frame.number, bits)
        wanted.look()
        if not wanted.now and not wanted.others:
            return changed
        at, i = kept, kept.last_pc
    # At the entry: what remains are a global function's own arguments, which may be anything.
    if wanted.others or wanted.now & ~_ARGUMENTS:
        raise _Lost
    return changed


def _mark_all(state: State) -> bool:
    changed = False
    kept = state.parent
    while kept is not None:
        for frame in kept.frames:
            everything = _REGISTERS
            for index in frame.stack:
                everything |= 1 << SLOT_BIT + index
            bits = scalars_of(frame, everything) & ~frame.precise
            if bits:
                frame.precise |= bits
                changed = True
        kept = kept.parent
    return changed


def carry(w: Walk, old: State, state: State, pc: int) -> bool:
    """What an old state is known to need, the state that it covers at `pc` needs as well."""
    return require(w, state, pc, [frame.precise for frame in old.frames])


def _back_over(w: Walk, op: Op, pc: int, after: int, step: Step | None, wanted: _Wanted) -> None:
    """What is wanted after the instruction becomes what is wanted before it; `after` is the one run next."""
    if step is not None and step.linked:
        _together(step, wanted)
    kind, dst, src = op.kind, 1 << op.dst, 1 << op.src
    if kind == _ARITHMETIC:
        if wanted.now & dst and op.by_register:
            wanted.now = (wanted.now | src) & _REGISTERS
    elif kind == _MOVE:
        if wanted.now & dst:
            wanted.now &= ~dst
            if op.by_register:
                wanted.now = (wanted.now | src) & _REGISTERS
    elif kind == _BRANCH:
        if op.by_register and wanted.now & (dst | src):
            wanted.now = (wanted.now | dst | src) & _REGISTERS
    elif kind == _LOAD:
        _fill(step, wanted, dst)
    elif kind == _STORE:
        _spill(op, step, wanted)
    elif kind == _CALLS:
        _call(w, op, pc, after, wanted)
    elif kind == _EXITS:
        _exit(w, after, wanted)
    elif kind == _LOAD_IMMEDIATE:
        wanted.now &= ~dst
    elif kind == _ATOMIC:
        fetched = _fetched(op)
        if fetched >= 0:
            _fill(step, wanted, 1 << fetched)
        elif op.imm == STORE_REL:
            _spill(op, step, wanted)
        elif wanted.now & dst:
            raise _Lost
    elif kind == _OTHER and op.code and wanted.now & 1:
        raise _Lost  # LD_ABS, LD_IND
    if step is not None and step.linked:
        _together(step, wanted)


def _together(step: Step, wanted: _Wanted) -> None:
    """Scalars that were one number when a jump narrowed them are wanted together."""
    for frame, bit in step.linked:
        if wanted.of(frame) >> bit & 1:
            break
    else:
        return
    for frame, bit in step.linked:
        wanted.put(frame, wanted.of(frame) | 1 << bit)
    wanted.look()


def _fetched(op: Op) -> int:
    """The register that an atomic operation loads into, -1 for none."""
    if op.imm == LOAD_ACQ:
        return op.dst
    if op.imm == CMPXCHG:
        return 0
    return op.src if op.imm != STORE_REL and (op.imm & 1 or op.imm == XCHG) else -1


def _fill(step: Step | None, wanted: _Wanted, loaded: int) -> None:
    if wanted.now & loaded:
        wanted.now &= ~loaded
        if step is not None and step.slot >= 0:
            wanted.slots[step.frame] |= 1 << step.slot
            wanted.others = True


def _spill(op: Op, step: Step | None, wanted: _Wanted) -> None:
    if wanted.now & 1 << op.dst:
        raise _Lost  # a pointer wanted as a number: pointers were subtracted
    if step is None or step.slot < 0 or not wanted.others:
        return
    slot = 1 << step.slot
    if wanted.slots[step.frame] & slot:
        wanted.slots[step.frame] &= ~slot
        if op.by_value:
            wanted.now |= 1 << op.src
        wanted.look()


def _call(w: Walk, op: Op, pc: int, after: int, wanted: _Wanted) -> None:
    if after == pc + 1:
        wanted.now &= ~1
        if wanted.now & _ARGUMENTS:
            raise _Lost
    elif op.src == uapi.BPF_PSEUDO_CALL:
        # Out of the function, into its caller: arguments only are passed.
        passed = wanted.now
        if passed & ~_ARGUMENTS:
            raise _Lost
        wanted.now = 0
        wanted.leave()
        wanted.now |= passed
    elif w.cfg.calls_back[pc]:
        # Out of a callback: its arguments are the helper's.
        if wanted.now & ~_ARGUMENTS:
            raise _Lost
        wanted.now = 0
        wanted.leave()
    else:
        raise _Lost


def _exit(w: Walk, after: int, wanted: _Wanted) -> None:
    calls_back = after >= 0 and bool(w.cfg.calls_back[after])
    if calls_back:
        wanted.now &= ~_ARGUMENTS  # set by the helper that called back
    if wanted.now & _ARGUMENTS:
        raise _Lost
    call = w.insns[after - 1]
    called = not calls_back and after >= 1 and call.code == CALL and call.src == uapi.BPF_PSEUDO_CALL
    result = wanted.now & 1
    wanted.now &= ~1
    wanted.enter()
    if called and result:
        wanted.now |= 1
