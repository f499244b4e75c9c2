"""When a state need not be walked: another one, already walked from here, covers it.

An old state covers a new one when each live register and slot of the new one lies within what the old one was walked
with. Scalars that nothing behind the old state relied upon (Frame.precise, see precision.py) lie within any other. What a
type of pointer or slot compares beyond that is a row of POINTERS or SLOTS.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

from . import tnum
from .refs import same
from .state import (
    DYNPTR_SLOT,
    IRQ_SLOT,
    ITER_SLOT,
    MISC,
    NOT_INIT,
    NOTHING,
    SCALAR,
    SPILL,
    SPILLED,
    Frame,
    Reg,
    Slot,
    State,
    T,
    scalar,
)


class Exact(IntEnum):
    """How alike two states must be. NOT: the new one shows nothing that the old one did not; WITHIN: the same, every
    number taken for precise; SAME: nothing differs."""

    NOT = 0
    WITHIN = 1
    SAME = 2


# Names with an underscore are C numbers in the compiled module (prune.pxd).
_NOT, _WITHIN, _SAME = int(Exact.NOT), int(Exact.WITHIN), int(Exact.SAME)
_NOT_INIT, _SCALAR = NOT_INIT, SCALAR
# Bytes that are neither INVALID nor MISC have one of these bits.
_NOT_DATA = ~(MISC * 0x0101010101010101) & 0xFFFFFFFFFFFFFFFF
_LOW7, _HIGH1 = 0x7F7F7F7F7F7F7F7F, 0x8080808080808080
_SPILL, _SPILLED, _ITER_SLOT, _NOT_KNOWN = SPILL, SPILLED, ITER_SLOT, scalar()


class Ids:
    """A one-to-one match between the ids of two states, built as they are compared.

    unwritten: functions whose stack the new state leaves unwritten where the old one had data.
    """

    __slots__ = ("to_new", "to_old", "unnamed", "unwritten")

    def __init__(self) -> None:
        self.to_new: dict[int, int] | None = None
        self.to_old: dict[int, int] | None = None
        self.unnamed = 0
        self.unwritten: set[int] | None = None

    def match(self, old: int, new: int) -> bool:
        if old == 0 and new == 0:
            return True
        if old == 0 or new == 0:
            return False
        if self.to_new is None or self.to_old is None:
            self.to_new, self.to_old = {old: new}, {new: old}
            return True
        return self.to_new.setdefault(old, new) == new and self.to_old.setdefault(new, old) == old

    def match_scalars(self, old: int, new: int) -> bool:
        """Scalars that were one number must be one number again; ones that were not may be."""
        if not old:
            return True
        if not new:
            self.unnamed -= 1
            new = self.unnamed  # one number by itself
        return self.match(old, new)


def _within(old: Reg, new: Reg) -> bool:
    return (
        old.umin <= new.umin
        and old.umax >= new.umax
        and old.smin <= new.smin
        and old.smax >= new.smax
        and old.u32min <= new.u32min
        and old.u32max >= new.u32max
        and old.s32min <= new.s32min
        and old.s32max >= new.s32max
        and tnum.contains(old.value, old.mask, new.value, new.mask)
    )


def _identical(old: Reg, new: Reg) -> bool:
    return (
        old.value == new.value
        and old.mask == new.mask
        and old.umin == new.umin
        and old.umax == new.umax
        and old.smin == new.smin
        and old.smax == new.smax
        and old.u32min == new.u32min
        and old.u32max == new.u32max
        and old.s32min == new.s32min
        and old.s32max == new.s32max
    )


def _fixed_alike(old: Reg, new: Reg) -> bool:
    return (
        old.off == new.off
        and old.map == new.map
        and old.btf_id == new.btf_id
        and old.size == new.size
        and old.frame == new.frame
    )


def _exactly(old: Reg, new: Reg, ids: Ids) -> bool:
    return _identical(old, new) and _fixed_alike(old, new) and ids.match(old.id, new.id) and ids.match(old.ref, new.ref)


def _place_within(old: Reg, new: Reg, ids: Ids) -> bool:
    return _within(old, new) and _fixed_alike(old, new) and ids.match(old.id, new.id) and ids.match(old.ref, new.ref)


def _packet_within(old: Reg, new: Reg, ids: Ids) -> bool:
    if (old.range < 0 or new.range < 0) and old.range != new.range:
        return False
    return old.range <= new.range and _place_within(old, new, ids)


# What covers a pointer of each type; types without a row must be exactly alike.
POINTERS: dict[int, Callable[[Reg, Reg, Ids], bool]] = {
    T.MAP_KEY: _place_within,
    T.MAP_VALUE: _place_within,
    T.MEM: _place_within,
    T.ARENA: lambda old, new, ids: True,
    T.PACKET: _packet_within,
    T.PACKET_META: _packet_within,
}


def covers(old: Reg, new: Reg, ids: Ids, exact: int, precise: bool) -> bool:
    """Whether all that is proved for `old` holds for `new`."""
    if exact == _SAME:
        if old.type != new.type or old.flags != new.flags or old.range != new.range:
            return False
        return old.type == _NOT_INIT or _exactly(old, new, ids)
    if old.type == _NOT_INIT:
        return True
    if old.type != new.type:
        return False
    if old.type == _SCALAR:
        if not precise and exact == _NOT:
            return True
        if old.flags != new.flags or (old.flags and old.off != new.off):
            return False
        return (old is new or _within(old, new)) and ids.match_scalars(old.id, new.id)
    if old.flags != new.flags:
        return False
    return POINTERS.get(old.type, _exactly)(old, new, ids)


def _object_alike(old: Slot, new: Slot, ids: Ids) -> bool:
    """The same kind of object in the same state, however often it was asked."""
    o, n = old.reg, new.reg
    assert o is not None and n is not None
    return o.flags == n.flags and _fixed_alike(o, n) and ids.match(o.id, n.id) and ids.match(o.ref, n.ref)


# What covers a slot of each special kind (its lowest byte's), beyond the kind itself.
SLOTS: dict[int, Callable[[Slot, Slot, Ids], bool]] = {
    ITER_SLOT: _object_alike,
    DYNPTR_SLOT: _object_alike,
    IRQ_SLOT: _object_alike,
}


def _as_scalar(slot: Slot) -> Reg | None:
    """The number that a load of all eight bytes gives: a full spill of one, or nothing known (as far as it is data)."""
    if slot.top == _SPILL:
        return slot.reg if slot.kinds == _SPILLED and slot.reg is not None and slot.reg.type == _SCALAR else None
    return _NOT_KNOWN if slot.kinds and not slot.kinds & _NOT_DATA else None


def _slot_covers(old: Slot, new: Slot | None, ids: Ids, exact: int, precise: bool) -> bool:
    if exact != _NOT and (new is None or old.kinds != new.kinds):
        return False
    if new is None:
        return not old.kinds & _NOT_DATA
    o, n = _as_scalar(old), _as_scalar(new)
    if o is not None and n is not None:
        return covers(o, n, ids, exact, precise)
    kinds, others = old.kinds, new.kinds
    while kinds:
        # The privileged may read what was not written: data is covered by anything.
        if kinds & 0xFF & _NOT_DATA and kinds & 0xFF != others & 0xFF:
            return False
        kinds >>= 8
        others >>= 8
    if old.top == _SPILL and new.top == _SPILL:
        assert old.reg is not None and new.reg is not None
        return covers(old.reg, new.reg, ids, exact, precise)
    return old.top < _ITER_SLOT or SLOTS[old.top](old, new, ids)


def _has_unwritten(kinds: int) -> bool:
    """Whether a byte is INVALID."""
    return (kinds + _LOW7) & _HIGH1 != _HIGH1


def _frame_covers(old: Frame, new: Frame, live: int, ids: Ids, exact: int) -> bool:
    relied, marks = old.precise, old.precise_slots
    olds, news = old.regs, new.regs
    for i in range(10):
        if live >> i & 1:
            o, n = olds[i], news[i]
            if not covers(o, n, ids, exact, bool(relied >> i & 1)):
                return False
    for index, slot in old.stack.items():
        fresh = new.stack.get(index)
        if not _slot_covers(slot, fresh, ids, exact, bool(marks >> index & 1)):
            return False
        if fresh is not slot and (fresh is None or _has_unwritten(fresh.kinds)):
            if ids.unwritten is None:
                ids.unwritten = set()
            ids.unwritten.add(new.subprog)
    return exact == _NOT or _no_more_slots(old, new, exact)


def _no_more_slots(old: Frame, new: Frame, exact: int) -> bool:
    """Whether the new frame holds nothing where the old one's stack, as deep as it was, held nothing."""
    if exact == _SAME:
        return new.stack.keys() <= old.stack.keys()
    deepest = max(old.stack, default=-1)
    return all(index > deepest or index in old.stack or not slot.kinds for index, slot in new.stack.items())


def looks_alike(old: State, new: State) -> bool:
    """A quick look whether two states may be the same: the innermost registers."""
    if len(old.frames) != len(new.frames):
        return False
    one, two = old.frames[-1], new.frames[-1]
    olds, news = one.regs, two.regs
    for i in range(10):
        o, n = olds[i], news[i]
        if o is not n and (o.type != n.type or o.flags != n.flags or o.id != n.id or not _identical(o, n)):
            return False
    return True


def state_covers(old: State, new: State, pc: int, live_at: list[int], exact: int) -> Ids | None:
    """How walking `new` from `pc` can show nothing that walking `old` did not; None if it can."""
    if len(old.frames) != len(new.frames):
        return None
    ids = Ids()
    if (old.held is not new.held or old.held is not NOTHING) and not same(old.held, new.held, ids.match):
        return None
    last = len(old.frames) - 1
    for i in range(last + 1):
        o, n = old.frames[i], new.frames[i]
        if o.call_site != n.call_site or o.subprog != n.subprog or o.callback != n.callback:
            return None
        if o.rounds > n.rounds:
            return None  # the new one calls back more often still: that may lead where the old one did not come
        if i == last:
            live = live_at[pc]
        else:
            above = old.frames[i + 1]
            # A callback returns to the call itself, which runs again; other calls to what follows.
            live = live_at[above.call_site] if above.callback else live_at[above.call_site + 1] & ~1
        if not _frame_covers(o, n, live, ids, exact):
            return None
    return ids


def forget_dead_slots(state: State, alive: list[int]) -> None:
    """Drop the stack slots that nothing behind a kept state reads; all that follows it has been walked."""
    state.clean = True
    for frame, mask in zip(state.frames, alive, strict=True):
        if any(not mask >> index & 1 for index in frame.stack):
            frame.stack = {index: slot for index, slot in frame.stack.items() if mask >> index & 1}


def widen(old: State, state: State) -> None:
    """Numbers that change from round to round and that nothing relies upon may be anything: so rounds converge."""
    for before, now in zip(old.frames, state.frames, strict=True):
        for i in range(10):
            if not before.precise >> i & 1 and _changed(before.regs[i], now.regs[i]):
                now.regs[i] = scalar()
        for index, slot in now.stack.items():
            was = before.stack.get(index)
            if was is None or was is slot or slot.reg is None or not slot.is_full_spill() or not was.is_full_spill():
                continue
            if was.reg is not None and not before.precise_slots >> index & 1 and _changed(was.reg, slot.reg):
                now.stack[index] = Slot(slot.kinds, scalar())


def _changed(before: Reg, now: Reg) -> bool:
    if before is now or now.type != SCALAR or before.type != SCALAR:
        return False
    return not _identical(before, now)
