"""The stack: what was written where, spilled registers and their return."""

from __future__ import annotations

import errno

from . import held
from . import state as st
from .bounds import truncate
from .state import (
    DYNPTR_SLOT,
    INVALID,
    ITER_SLOT,
    MISC,
    SCALAR,
    SPILL,
    SPILLED,
    STACK_BYTES,
    ZEROED,
    Frame,
    Reg,
    T,
    make_slot,
)
from .tnum import U64
from .walk import Walk

# Names with an underscore are C numbers in the compiled module (stack.pxd).
_U64, _EACH, _SPILLED, _ONE = U64, 0x0101010101010101, SPILLED, 1
_INVALID, _SPILL, _MISC, _ZEROED, _ITER_SLOT, _DYNPTR_SLOT = INVALID, SPILL, MISC, ZEROED, ITER_SLOT, DYNPTR_SLOT
_SCALAR, _STACK, _STACK_BYTES = SCALAR, int(T.STACK), STACK_BYTES


def check_range(w: Walk, reg: Reg, regno: int, off: int, size: int, what: str) -> tuple[int, int]:
    """The lowest and highest offset (from the frame's top) that the access may begin at. Rejects what leaves the stack."""
    if reg.is_const:
        low = high = reg.off + off + reg.smin
        if low < -_STACK_BYTES or low + size > 0:
            number = errno.EINVAL if -_STACK_BYTES <= low < 0 else errno.EACCES
            w.reject(f"invalid {what} stack R{regno} off={low} size={size}", number)
        return low, high
    if reg.smin <= -(1 << 29) or reg.smax >= 1 << 29:
        w.reject(f"invalid unbounded variable-offset {what} stack R{regno}")
    low, high = reg.off + off + reg.smin, reg.off + off + reg.smax
    if low < -_STACK_BYTES or high + size > 0:
        w.reject(
            f"invalid variable-offset {what} stack R{regno} var_off=({reg.value:#x}; {reg.mask:#x}) off={off} size={size}",
            errno.EINVAL,
        )
    return low, high


def _byte(frame: Frame, off: int) -> int:
    slot = frame.stack.get((-off - 1) // 8)
    return slot.byte(off & 7) if slot is not None else _INVALID


def _all(frame: Frame, kind: int, low: int, end: int) -> bool:
    """Whether all bytes [low, end) are of one kind."""
    at = low
    while at < end:
        if _byte(frame, at) != kind:
            return False
        at += 1
    return True


def _as_data(kinds: int) -> int:
    """What is left of bytes whose spilled register or object is partly overwritten."""
    found = 0
    for i in range(8):
        kind = kinds >> i * 8 & 0xFF
        if kind == _SPILL or kind >= _ITER_SLOT:
            kind = _MISC
        found |= kind << i * 8
    return found


def _set_bytes(frame: Frame, off: int, size: int, kind: int) -> None:
    """Make bytes [off, off+size) `kind`; what was spilled there before is only data now."""
    end, at = off + size, off
    while at < end:
        index, start = (-at - 1) // 8, at & 7
        n = min(8 - start, end - at)
        if n == 8:
            frame.stack[index] = make_slot(kind * _EACH, None)
        else:
            old = frame.stack.get(index)
            mask = (_U64 >> 64 - n * 8) << start * 8
            kinds = _as_data(old.kinds) if old is not None else 0
            frame.stack[index] = make_slot(kinds & ~mask & _U64 | kind * _EACH & mask, None)
        at += n


def _slots(low: int, high: int) -> int:
    """The slots (bits) that bytes [low, high) lie in."""
    first, last = (-high) // 8, (-low - 1) // 8
    if high <= low or last < 0:
        return 0
    return (2 << last) - (1 << max(first, 0))


def _note_read(w: Walk, frame: Frame, low: int, high: int) -> None:
    w.life.read(w.state, w.pc, frame.number, _slots(low, high))


def _is_null(value: Reg) -> bool:
    return value.type == _SCALAR and not value.mask and not value.value


def clobber(w: Walk, reg: Reg, size: int) -> None:
    """A kernel function fills `size` bytes at a constant place of the stack, whatever was there."""
    frame = w.state.frames[reg.frame]
    low = reg.off + reg.smin
    w.need_stack(frame, low)
    _set_bytes(frame, low, size, _MISC)


def object_slot(w: Walk, reg: Reg, what: str, wanted: str) -> int:
    """The slot that a pointer to an object on the stack names: a constant place, aligned. Rejects."""
    if not reg.is_const:
        w.reject(f"{what} has to be at a constant offset\n{wanted}", errno.EINVAL)
    at = reg.off + reg.smin
    if at % 8:
        w.reject(f"cannot pass in {what} at an offset={at}\n{wanted}", errno.EINVAL)
    return -at // 8 - 1


def note_read(w: Walk, reg: Reg, size: int) -> None:
    """The instruction under way reads `size` bytes at a constant place of the stack."""
    low = reg.off + reg.smin
    _note_read(w, w.state.frames[reg.frame], low, low + size)


def write(w: Walk, reg: Reg, regno: int, off: int, size: int, value: Reg, value_regno: int) -> None:
    """Store `size` bytes of `value` (that of register `value_regno`, -1 for none) through a stack pointer."""
    frame = w.state.frames[reg.frame]
    low, high = check_range(w, reg, regno, off, size, "write to")
    w.need_stack(frame, low)
    first, index = (-(high + size)) // 8, (-low - 1) // 8
    for i in range(first, index + 1):
        old = frame.stack.get(i)
        if old is not None and old.top == _DYNPTR_SLOT:
            held.destroy_dynptr(w, reg.frame, i)
    if low != high:
        w.wrote_slots(frame, 0)
        _write_somewhere(w, frame, low, high + size, value, value_regno)
        return
    if value.type == _STACK and reg.frame != w.state.frames[-1].number:
        w.reject("cannot spill pointers to stack into stack frame of the caller", errno.EINVAL)
    if value.type != _SCALAR and size != 8:
        w.reject("invalid size of register spill")
    if value.type != _SCALAR and low % 8:
        w.reject(f"attempt to corrupt spilled pointer on stack off={low}")
    w.wrote_slots(frame, _ONE << index if size == 8 else 0)
    if low % 8 == 0 and size == 8:
        frame.stack[index] = make_slot(_SPILLED, value)
        w.touch_slot(frame.number, index)
    elif low % 8 == 0 and size in (1, 2, 4):
        stored = value
        if value.umax >> size * 8:
            # As in Linux the whole number is kept: what of it is in memory is for who reads it to say.
            stored = value.copy()
            stored.unlink()
        old = frame.stack.get(index)
        rest = _as_data(old.kinds) if old is not None else 0
        mask = _U64 >> 64 - size * 8
        frame.stack[index] = make_slot(rest & ~mask & _U64 | _SPILLED & mask, stored)
        w.touch_slot(frame.number, index)
    else:
        zero = _is_null(value)
        if zero and value_regno >= 0:
            w.precise(value_regno)  # the way back does not lead through zeroes in the stack
        _set_bytes(frame, low, size, _ZEROED if zero else _MISC)


def _write_somewhere(w: Walk, frame: Frame, low: int, end: int, value: Reg, value_regno: int) -> None:
    """A store that hits some of the bytes [low, end)."""
    if any(_byte(frame, at) == INVALID for at in range(low, end)):
        w.zero_stack[frame.subprog] = 1  # what this store does not hit is taken for written from now on
    zero, relied = _is_null(value), False
    for at in range(low, end):
        slot = frame.stack.get((-at - 1) // 8)
        if zero and slot is not None:
            kind = slot.byte(at & 7)
            if kind == _ZEROED or (kind == _SPILL and slot.reg is not None and _is_null(slot.reg)):
                relied = True
                continue
        _set_bytes(frame, at, 1, _MISC)
    if relied and value_regno >= 0:
        w.precise(value_regno)


def read(w: Walk, reg: Reg, regno: int, off: int, size: int) -> Reg:
    """Load `size` bytes through a stack pointer (zero-extended)."""
    frame = w.state.frames[reg.frame]
    low, high = check_range(w, reg, regno, off, size, "read from")
    w.need_stack(frame, low)
    _note_read(w, frame, low, high + size)
    if low != high:
        check_initialised(w, frame, low, high + size - low, regno)
        r = st.unknown_scalar()
        truncate(r, size)
        return r
    index = (-low - 1) // 8
    slot = frame.stack.get(index)
    if slot is not None and slot.reg is not None and slot.top == _SPILL:
        spilled = slot.reg
        if spilled.type != _SCALAR:
            if size != 8 or low % 8:
                w.reject("invalid size of register fill")
            return spilled
        if low % 8 == 0 and size <= slot.spilled_bytes():
            w.touch_slot(frame.number, index)
            if size == 8 or (not spilled.mask and not spilled.umax >> size * 8):
                return spilled
            r = spilled.copy()
            if spilled.umax >> size * 8:
                r.unlink()
            truncate(r, size)
            return r
        if _is_null(spilled) and _all(frame, _SPILL, low, low + size):
            w.touch_slot(frame.number, index)
            return st.ZERO
    check_initialised(w, frame, low, size, regno)
    if _all(frame, _ZEROED, low, low + size):
        return st.ZERO
    r = st.unknown_scalar()
    truncate(r, size)
    return r


def whole(w: Walk, reg: Reg, off: int, size: int) -> Reg | None:
    """The scalar that a load takes its low bytes from, where these were spilled by one."""
    if reg.mask:
        return None
    low = reg.off + off + reg.smin
    slot = w.state.frames[reg.frame].stack.get((-low - 1) // 8)
    if slot is None or slot.reg is None or slot.top != _SPILL or low % 8 or size > slot.spilled_bytes():
        return None
    return slot.reg


def constant_word(w: Walk, reg: Reg, size: int) -> int | None:
    """The number in `size` bytes of stack where it is known: zeroes, or what is left of a spilled constant's slot.

    As in Linux the whole constant counts, though the bytes may be its upper ones: as an index it is none the smaller.
    """
    at = reg.off + st.s64(reg.value)
    if not size or not reg.is_const or at % size:
        return None
    frame = w.state.frames[reg.frame]
    if _all(frame, _ZEROED, at, at + size):
        return 0
    slot = frame.stack.get((-at - 1) // 8)
    if slot is None or slot.reg is None or slot.top != _SPILL:
        return None
    if slot.spilled_bytes() - (at & 7) != size:
        return None
    return slot.reg.value if slot.reg.type == _SCALAR and slot.reg.is_const else None


def need_word(w: Walk, reg: Reg) -> None:
    """What constant_word() found behind a pointer is relied upon."""
    frame = w.state.frames[reg.frame]
    index = (-(reg.off + st.s64(reg.value)) - 1) // 8
    slot = frame.stack.get(index)
    if slot is not None and slot.reg is not None and slot.top == _SPILL:
        w.precise_slot(reg.frame, index)


def check_initialised(w: Walk, frame: Frame, low: int, size: int, regno: int, by_helper: bool = False) -> None:
    """Every byte must have been written; the privileged may read others (which are zero here)."""
    for i in range(size):
        kind = _byte(frame, low + i)
        if kind >= _ITER_SLOT:
            where = f" R{regno}" if by_helper else ""
            w.reject(f"invalid read from stack{where} off {low}+{i} size {size}")
        if kind == _INVALID:
            if not w.env.privileged:
                w.reject(f"invalid read from stack off {low}+{i} size {size}")
            w.zero_stack[frame.subprog] = 1


def helper_access(w: Walk, reg: Reg, regno: int, size: int, *, writes: bool) -> None:
    """A helper reads or fills `size` bytes behind a stack pointer."""
    frame = w.state.frames[reg.frame]
    if size == 0 and reg.is_const:
        return
    low, high = check_range(w, reg, regno, 0, size, "write to" if writes else "read from")
    w.need_stack(frame, low)
    if writes:
        for at in range(low, high + size):
            if _byte(frame, at) == _DYNPTR_SLOT:
                w.reject(f"potential write to dynptr at off={at} disallowed")
        if low == high:
            _set_bytes(frame, low, size, _MISC)
        else:
            for at in range(low, high + size):
                _set_bytes(frame, at, 1, _MISC)
        return
    for at in range(low, high + size, 8):
        slot = frame.stack.get((-at - 1) // 8)
        if slot is not None and slot.reg is not None and slot.top == _SPILL and slot.reg.type != _SCALAR:
            if not w.env.privileged:
                w.reject(f"leaking pointer from stack off {at}", errno.EACCES)
    _note_read(w, frame, low, high + size)
    check_initialised(w, frame, low, high + size - low, regno, by_helper=True)
