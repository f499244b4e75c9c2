"""Which numbers matter: from where one is relied upon, back along the way that it came.

A branch that can go one way only, an offset into memory, a size: what was proved there holds for that number alone.
Walking back over the instructions of the path, the registers and stack slots that it came from are found, and marked as
precise in each kept state on the way (Frame.precise). In pruning, scalars that no one relied upon are taken for equal.
Where the way back cannot be followed (pointers subtracted, a slot written through an unknown address), everything is marked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..isa.encoding import CALL, EXIT, LD, LDX, ST, STX, Insn, X
from ..isa.ops import ALU_END, CMPXCHG, LOAD_ACQ, STORE_REL, XCHG, is_atomic
from ..uapi import bpf as uapi
from .state import MAX_FRAMES, SCALAR, SLOT_BIT, SPILL, Frame, State, Step

if TYPE_CHECKING:
    from .walk import Walk

_ARGUMENTS = 0b111110  # r1-r5
_REGISTERS = (1 << 10) - 1


class _Lost(Exception):
    """The way back cannot be followed."""


class _Wanted:
    """What is looked for on the way back: by frame, registers and slots as Frame.precise has them."""

    __slots__ = ("frame", "masks")

    def __init__(self, masks: list[int]) -> None:
        self.masks = masks + [0] * (MAX_FRAMES - len(masks))
        self.frame = len(masks) - 1

    def enter(self) -> None:
        if self.frame + 1 >= MAX_FRAMES:
            raise _Lost
        self.frame += 1

    def leave(self) -> None:
        if not self.frame:
            raise _Lost
        self.frame -= 1


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
    wanted = _Wanted(masks)
    insns, changed = w.insns, False
    after, first = -1, True
    at: State | None = state
    i = pc
    while at is not None:
        step = at.steps
        while True:
            here = step if step is not None and step.pc == i else None
            if not first:
                try:
                    _back_over(w, insns[i], i, after, here, wanted)
                except _Lost:
                    return _mark_all(state)
                if not any(wanted.masks):
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
        if kept.frames[-1].number != wanted.frame:
            return _mark_all(state)
        for frame in kept.frames:
            bits = scalars_of(frame, wanted.masks[frame.number])
            bits &= ~frame.precise
            if bits:
                frame.precise |= bits
                changed = True
            wanted.masks[frame.number] = bits
        if not any(wanted.masks):
            return changed
        at, i = kept, kept.last_pc
    if not any(wanted.masks):
        return changed
    # At the entry: what remains are a global function's own arguments, which may be anything.
    if any(wanted.masks[1:]) or wanted.masks[0] & ~_ARGUMENTS:
        return _mark_all(state)
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


def _back_over(w: Walk, insn: Insn, pc: int, after: int, step: Step | None, wanted: _Wanted) -> None:
    """What is wanted after the instruction becomes what is wanted before it; `after` is the one run next."""
    if step is not None and step.linked:
        _together(step, wanted)
    cls = insn.code & 7
    if cls in (4, 7):
        _alu(insn, wanted)
    elif cls == LDX or is_atomic(insn):
        _memory(insn, step, wanted, insn.dst if cls == LDX else _fetched(insn))
    elif cls in (ST, STX):
        _memory(insn, step, wanted, -1)
    elif insn.code == CALL and insn.src == 0 and insn.imm == uapi.BPF_FUNC_tail_call and after != pc + 1:
        _exit(w, after, wanted)  # the program called returned in this function's place
    elif insn.code == CALL:
        _call(w, insn, pc, after, wanted)
    elif insn.code == EXIT:
        _exit(w, after, wanted)
    elif cls in (5, 6):
        mask = wanted.masks[wanted.frame]
        if insn.code & X and mask & (1 << insn.dst | 1 << insn.src) and insn.code & 0xF0:
            wanted.masks[wanted.frame] = (mask | 1 << insn.dst | 1 << insn.src) & _REGISTERS | mask
    elif cls == LD and insn.code:
        if wanted.masks[wanted.frame] >> insn.dst & 1:
            wanted.masks[wanted.frame] &= ~(1 << insn.dst)
        if insn.code & 0xE0 and wanted.masks[wanted.frame] & 1:
            raise _Lost  # LD_ABS, LD_IND
    if step is not None and step.linked:
        _together(step, wanted)


def _together(step: Step, wanted: _Wanted) -> None:
    """Scalars that were one number when a jump narrowed them are wanted together."""
    if any(wanted.masks[frame] >> bit & 1 for frame, bit in step.linked):
        for frame, bit in step.linked:
            wanted.masks[frame] |= 1 << bit


def _alu(insn: Insn, wanted: _Wanted) -> None:
    mask, dst = wanted.masks[wanted.frame], 1 << insn.dst
    op = insn.code & 0xF0
    if not mask & dst or op in (ALU_END, 0x80):
        return
    if op == 0xB0:
        mask &= ~dst
    if insn.code & X and insn.src != 10:
        mask |= 1 << insn.src
    wanted.masks[wanted.frame] = mask


def _fetched(insn: Insn) -> int:
    """The register that an atomic operation loads into, -1 for none."""
    if insn.imm == LOAD_ACQ:
        return insn.dst
    if insn.imm == CMPXCHG:
        return 0
    return insn.src if insn.imm != STORE_REL and (insn.imm & 1 or insn.imm == XCHG) else -1


def _memory(insn: Insn, step: Step | None, wanted: _Wanted, loaded: int) -> None:
    mask = wanted.masks[wanted.frame]
    if loaded >= 0:
        if not mask >> loaded & 1:
            return
        wanted.masks[wanted.frame] = mask & ~(1 << loaded)
        if step is not None and step.slot >= 0:
            wanted.masks[step.frame] |= 1 << SLOT_BIT + step.slot
        return
    if mask >> insn.dst & 1:
        raise _Lost  # a pointer wanted as a number: pointers were subtracted
    if step is None or step.slot < 0 or (is_atomic(insn) and insn.imm != STORE_REL):
        return
    slot = 1 << SLOT_BIT + step.slot
    if wanted.masks[step.frame] & slot:
        wanted.masks[step.frame] &= ~slot
        if insn.code & 7 == STX:
            wanted.masks[wanted.frame] |= 1 << insn.src


def _call(w: Walk, insn: Insn, pc: int, after: int, wanted: _Wanted) -> None:
    frame = wanted.frame
    if insn.src == uapi.BPF_PSEUDO_CALL and after != pc + 1:
        # Out of the function, into its caller: arguments only are passed.
        mask = wanted.masks[frame]
        if mask & ~_ARGUMENTS:
            raise _Lost
        wanted.masks[frame] = 0
        wanted.leave()
        wanted.masks[wanted.frame] |= mask
        return
    if w.cfg.calls_back[pc] and after != pc + 1:
        # Out of a callback: its arguments are the helper's.
        if wanted.masks[frame] & ~_ARGUMENTS:
            raise _Lost
        wanted.masks[frame] = 0
        wanted.leave()
        return
    wanted.masks[frame] &= ~1
    if wanted.masks[frame] & _ARGUMENTS:
        raise _Lost


def _exit(w: Walk, after: int, wanted: _Wanted) -> None:
    mask = wanted.masks[wanted.frame]
    calls_back = after >= 0 and bool(w.cfg.calls_back[after])
    if calls_back:
        mask &= ~_ARGUMENTS  # set by the helper that called back
    if mask & _ARGUMENTS:
        raise _Lost
    call = w.insns[after - 1]
    called = not calls_back and after >= 1 and call.code == CALL and call.src == uapi.BPF_PSEUDO_CALL
    wanted.masks[wanted.frame] = mask & ~1
    wanted.enter()
    if called and mask & 1:
        wanted.masks[wanted.frame] |= 1
