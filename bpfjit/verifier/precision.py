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
from .tnum import U64

if TYPE_CHECKING:
    from .walk import Walk

# Names with an underscore are C numbers in the compiled module (precision.pxd).
_ARGUMENTS = 0b111110  # r1-r5
_REGISTERS = (1 << 10) - 1
_SLOT_BIT, _SCALAR, _SPILL = SLOT_BIT, SCALAR, SPILL
_ONE, _ALL_SLOTS = 1, U64
_MOVE, _ARITHMETIC, _NEGATE, _SWAP = ops.MOVE, ops.ARITHMETIC, ops.NEGATE, ops.SWAP
_LOAD, _ATOMIC, _STORE, _BRANCH = ops.LOAD, ops.ATOMIC, ops.STORE, ops.BRANCH
_CALLS, _EXITS, _LOAD_IMMEDIATE, _OTHER = ops.CALLS, ops.EXITS, ops.LOAD_IMMEDIATE, ops.OTHER


class _Lost(Exception):
    """The way back cannot be followed."""


class Wanted:
    """What is looked for on the way back.

    now: registers of the innermost frame, `frame`. regs: those of the frames around it; slots: of all. others: there is
    something in regs or slots.
    """

    __slots__ = ("frame", "now", "others", "regs", "slots")

    def __init__(self) -> None:
        self.frame = self.now = 0
        self.regs = [0] * MAX_FRAMES
        self.slots = [0] * MAX_FRAMES
        self.others = False

    def begin(self, frame: int) -> None:
        """Nothing is wanted yet, and `frame` is the innermost."""
        self.frame = frame
        self.now = 0
        self.others = False
        for i in range(MAX_FRAMES):
            self.regs[i] = self.slots[i] = 0

    def look(self) -> None:
        for i in range(self.frame + 1):
            if self.regs[i] or self.slots[i]:
                self.others = True
                return
        self.others = False

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

    def add(self, frame: int, regs: int, slots: int) -> None:
        """Registers and slots of a frame (bits) are wanted too."""
        if frame == self.frame:
            self.now |= regs
        elif regs:
            self.regs[frame] |= regs
            self.others = True
        if slots:
            self.slots[frame] |= slots
            self.others = True

    def has(self, frame: int, bit: int) -> bool:
        if bit >= _SLOT_BIT:
            return bool(self.slots[frame] >> bit - _SLOT_BIT & 1)
        return bool((self.now if frame == self.frame else self.regs[frame]) >> bit & 1)


def need(w: Walk, frame: int, regs: int, slots: int) -> None:
    """Numbers in registers and slots (bits) of a frame of the present state are relied upon."""
    wanted = w.wanted
    wanted.begin(len(w.state.frames) - 1)
    wanted.add(frame, regs, slots)
    _require(w, w.state, w.pc, wanted)


def carry(w: Walk, old: State, state: State, pc: int) -> bool:
    """What an old state is known to need, the state that it covers at `pc` needs as well. Whether any mark is new."""
    wanted = w.wanted
    wanted.begin(len(old.frames) - 1)
    for frame in old.frames:
        wanted.add(frame.number, frame.precise, frame.precise_slots)
    return _require(w, state, pc, wanted)


def _require(w: Walk, state: State, pc: int, wanted: Wanted) -> bool:
    """Mark what is wanted at `pc` and what it came from. Returns whether any mark is new."""
    if not wanted.now and not wanted.others:
        return False
    try:
        return _go_back(w, state, pc, wanted)
    except _Lost:
        return _mark_all(state)


def _go_back(w: Walk, state: State, pc: int, wanted: Wanted) -> bool:
    """As _require(). Raises _Lost where the way ends or cannot be followed; marks made on the way stay."""
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
        if _mark(kept, wanted):
            changed = True
        if not wanted.now and not wanted.others:
            return changed
        at, i = kept, kept.last_pc
    # At the entry: what remains are a global function's own arguments, which may be anything.
    if wanted.others or wanted.now & ~_ARGUMENTS:
        raise _Lost
    return changed


def _mark(kept: State, wanted: Wanted) -> bool:
    """Mark the scalars wanted of a kept state; what is no scalar, or was marked before, is wanted no longer."""
    changed = False
    for frame in kept.frames:
        number = frame.number
        inner = number == wanted.frame
        regs = wanted.now if inner else wanted.regs[number]
        slots = wanted.slots[number]
        if regs:
            regs = _scalar_regs(frame, regs) & ~frame.precise
            if regs:
                frame.precise |= regs
                changed = True
            if inner:
                wanted.now = regs
            else:
                wanted.regs[number] = regs
        if slots:
            slots = _scalar_slots(frame, slots) & ~frame.precise_slots
            if slots:
                frame.precise_slots |= slots
                changed = True
            wanted.slots[number] = slots
    if wanted.others:
        wanted.look()
    return changed


def _scalar_regs(frame: Frame, mask: int) -> int:
    """Those of the registers in `mask` that hold scalars."""
    found = 0
    for i in range(10):
        if mask >> i & 1 and frame.regs[i].type == _SCALAR:
            found |= 1 << i
    return found


def _scalar_slots(frame: Frame, mask: int) -> int:
    found = 0
    for index, slot in frame.stack.items():
        if mask >> index & 1 and slot.top == _SPILL and slot.reg is not None and slot.reg.type == _SCALAR:
            found |= _ONE << index
    return found


def _mark_all(state: State) -> bool:
    changed = False
    kept = state.parent
    while kept is not None:
        for frame in kept.frames:
            regs = _scalar_regs(frame, _REGISTERS) & ~frame.precise
            slots = _scalar_slots(frame, _ALL_SLOTS) & ~frame.precise_slots
            if regs or slots:
                frame.precise |= regs
                frame.precise_slots |= slots
                changed = True
        kept = kept.parent
    return changed


def _back_over(w: Walk, op: Op, pc: int, after: int, step: Step | None, wanted: Wanted) -> None:
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


def _together(step: Step, wanted: Wanted) -> None:
    """Scalars that were one number when a jump narrowed them are wanted together."""
    for frame, bit in step.linked:
        if wanted.has(frame, bit):
            break
    else:
        return
    for frame, bit in step.linked:
        if bit < _SLOT_BIT:
            wanted.add(frame, 1 << bit, 0)
        else:
            wanted.add(frame, 0, _ONE << bit - _SLOT_BIT)


def _fetched(op: Op) -> int:
    """The register that an atomic operation loads into, -1 for none."""
    if op.imm == LOAD_ACQ:
        return op.dst
    if op.imm == CMPXCHG:
        return 0
    return op.src if op.imm != STORE_REL and (op.imm & 1 or op.imm == XCHG) else -1


def _fill(step: Step | None, wanted: Wanted, loaded: int) -> None:
    if wanted.now & loaded:
        wanted.now &= ~loaded
        if step is not None and step.slot >= 0:
            wanted.slots[step.frame] |= _ONE << step.slot
            wanted.others = True


def _spill(op: Op, step: Step | None, wanted: Wanted) -> None:
    if wanted.now & 1 << op.dst:
        raise _Lost  # a pointer wanted as a number: pointers were subtracted
    if step is None or step.slot < 0 or not wanted.others:
        return
    slot = _ONE << step.slot
    if wanted.slots[step.frame] & slot:
        wanted.slots[step.frame] &= ~slot
        if op.by_value:
            wanted.now |= 1 << op.src
        wanted.look()


def _call(w: Walk, op: Op, pc: int, after: int, wanted: Wanted) -> None:
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


def _exit(w: Walk, after: int, wanted: Wanted) -> None:
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
