"""When a state need not be walked: another one, already walked from here, covers it.

Every scalar counts (there is no precision tracking yet): an old state covers a new one when each live
register and every stack byte of the new one lies within what the old one was walked with.
"""

from __future__ import annotations

from collections.abc import Iterator

from . import tnum
from .bounds import truncate
from .cfg import Cfg
from .refs import same
from .state import INVALID, MISC, NOT_INIT, SCALAR, SPILL, ZEROED, Frame, Reg, Slot, State, T, scalar, unknown_scalar


class _Ids:
    """A one-to-one match between the ids of two states, built as they are compared."""

    def __init__(self) -> None:
        self.to_new: dict[int, int] = {}
        self.to_old: dict[int, int] = {}

    def match(self, old: int, new: int) -> bool:
        if old == 0 and new == 0:
            return True
        if old == 0 or new == 0:
            return False
        return self.to_new.setdefault(old, new) == new and self.to_old.setdefault(new, old) == old


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


def covers(old: Reg, new: Reg, ids: _Ids, exact: bool) -> bool:
    """Whether all that is proved for `old` holds for `new`."""
    if old.type == NOT_INIT:
        return not exact or new.type == NOT_INIT
    if old.type != new.type or old.flags != new.flags:
        return False
    if exact:
        if not (_within(old, new) and _within(new, old)):
            return False
    elif not _within(old, new):
        return False
    if old.type == SCALAR:
        # Scalars that were one value must be one value again; ones that were not may be.
        return not old.id or (old.off == new.off and ids.match(old.id, new.id))
    if (old.off, old.map, old.btf_id, old.size, old.frame) != (new.off, new.map, new.btf_id, new.size, new.frame):
        return False
    if old.type in (T.PACKET, T.PACKET_META) and (new.range != old.range if exact else new.range < old.range):
        return False
    return ids.match(old.id, new.id) and ids.match(old.ref, new.ref)


def _slot_covers(old: Slot, new: Slot | None, ids: _Ids, exact: bool) -> bool:
    if new is old:
        return old.reg is None or not old.reg.id or ids.match(old.reg.id, old.reg.id)
    if new is None:
        return not any(old.kinds)
    if old.reg is not None and old.kinds[0] == SPILL:
        if new.reg is not None and new.kinds[0] == SPILL and old.kinds == new.kinds:
            return covers(old.reg, new.reg, ids, exact)
        return False
    for o, n in zip(old.kinds, new.kinds, strict=True):
        if o == INVALID:
            if exact and n != INVALID:
                return False
        elif o == MISC:
            if (exact and n != MISC) or n == INVALID:
                return False
            if n == SPILL and new.reg is not None and new.reg.type != SCALAR:
                return False
        elif o == ZEROED:
            spilled_zero = n == SPILL and new.reg is not None and new.reg.is_const and new.reg.value == 0
            if n != ZEROED and not (spilled_zero and new.reg is not None and new.reg.type == SCALAR):
                return False
        else:
            return False
    return True


def _frame_covers(old: Frame, new: Frame, live: int, ids: _Ids, exact: bool) -> bool:
    for i in range(10):
        if live >> i & 1:
            o, n = old.regs[i], new.regs[i]
            if o is n:
                if o.id and not ids.match(o.id, o.id):
                    return False
            elif not covers(o, n, ids, exact):
                return False
    for index, slot in old.stack.items():
        if not _slot_covers(slot, new.stack.get(index), ids, exact):
            return False
    return not exact or all(index in old.stack for index in new.stack)


def state_covers(old: State, new: State, pc: int, cfg: Cfg, *, exact: bool = False) -> bool:
    """Whether walking `new` from `pc` can show nothing that walking `old` did not; `exact`: they are the same."""
    if len(old.frames) != len(new.frames):
        return False
    ids = _Ids()
    if not same(old.held, new.held, ids.match):
        return False
    last = len(old.frames) - 1
    for i, (o, n) in enumerate(zip(old.frames, new.frames, strict=True)):
        if (o.call_site, o.subprog, o.callback) != (n.call_site, n.subprog, n.callback):
            return False
        if i == last:
            live = cfg.live[pc]
        else:
            above = old.frames[i + 1]
            # A callback returns to the call itself, which runs again; other calls to what follows.
            live = cfg.live[above.call_site] if above.callback else cfg.live[above.call_site + 1] & ~1
        if not _frame_covers(o, n, live, ids, exact):
            return False
    return True


def widen(old: State, state: State) -> None:
    """Numbers that a callback changes from round to round are taken for anything, so that rounds converge."""
    for before, now in zip(old.frames, state.frames, strict=True):
        for i in range(10):
            if _changed(before.regs[i], now.regs[i]):
                now.regs[i] = scalar()
        for index, slot in now.stack.items():
            was = before.stack.get(index)
            if was is None or was is slot or slot.reg is None or slot.kinds[0] != SPILL or slot.reg.type != SCALAR:
                continue
            if was.reg is None or was.kinds[0] != SPILL or _changed(was.reg, slot.reg):
                now.stack[index] = Slot(slot.kinds, _sized(slot.spilled_bytes))


def _sized(size_bytes: int) -> Reg:
    r = unknown_scalar()
    truncate(r, size_bytes)
    return r


def _changed(before: Reg, now: Reg) -> bool:
    if before is now or now.type != SCALAR or before.type != SCALAR:
        return False
    return not (_within(before, now) and _within(now, before))


def forget_single_ids(state: State) -> None:
    """Drop the ids of scalars that nothing else shares: they say nothing, and keep other states from being covered."""
    seen: set[int] = set()
    shared: set[int] = set()
    for r in _scalars_with_id(state):
        (shared if r.id in seen else seen).add(r.id)
    if seen == shared:
        return

    def plain(r: Reg) -> Reg:
        if r.type != SCALAR or not r.id or r.id in shared:
            return r
        r = r.copy()
        r.id = r.off = 0
        return r

    for frame in state.frames:
        frame.regs[:] = [plain(r) for r in frame.regs]
        for index, slot in frame.stack.items():
            if slot.reg is not None and slot.reg.type == SCALAR and slot.reg.id not in shared and slot.reg.id:
                frame.stack[index] = Slot(slot.kinds, plain(slot.reg))


def _scalars_with_id(state: State) -> Iterator[Reg]:
    for frame in state.frames:
        for r in frame.regs:
            if r.type == SCALAR and r.id:
                yield r
        for slot in frame.stack.values():
            if slot.reg is not None and slot.reg.type == SCALAR and slot.reg.id:
                yield slot.reg
