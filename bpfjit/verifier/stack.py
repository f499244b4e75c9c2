"""The stack: what was written where, spilled registers and their return."""

from __future__ import annotations

import errno

from . import held
from . import state as st
from .bounds import truncate
from .state import DYNPTR_SLOT, INVALID, ITER_SLOT, MISC, SCALAR, SPILL, STACK_BYTES, ZEROED, Frame, Reg, Slot, T
from .walk import Walk


def check_range(w: Walk, reg: Reg, regno: int, off: int, size: int, what: str) -> tuple[int, int]:
    """The lowest and highest offset (from the frame's top) that the access may begin at. Rejects what leaves the stack."""
    if reg.is_const:
        low = high = reg.off + off + reg.smin
        if low < -STACK_BYTES or low + size > 0:
            number = errno.EINVAL if -STACK_BYTES <= low < 0 else errno.EACCES
            w.reject(f"invalid {what} stack R{regno} off={low} size={size}", number)
        return low, high
    if reg.smin <= -(1 << 29) or reg.smax >= 1 << 29:
        w.reject(f"invalid unbounded variable-offset {what} stack R{regno}")
    low, high = reg.off + off + reg.smin, reg.off + off + reg.smax
    if low < -STACK_BYTES or high + size > 0:
        w.reject(
            f"invalid variable-offset {what} stack R{regno} var_off=({reg.value:#x}; {reg.mask:#x}) off={off} size={size}",
            errno.EINVAL,
        )
    return low, high


def _byte(frame: Frame, off: int) -> int:
    slot = frame.stack.get((-off - 1) // 8)
    return slot.kinds[off & 7] if slot is not None else INVALID


def _all(frame: Frame, kind: int, low: int, end: int) -> bool:
    """Whether all bytes [low, end) are of one kind."""
    return all(_byte(frame, at) == kind for at in range(low, end))


def _as_data(kinds: bytes) -> bytes:
    """What is left of bytes whose spilled register or object is partly overwritten."""
    return bytes(MISC if k == SPILL or k >= ITER_SLOT else k for k in kinds)


def _set_bytes(frame: Frame, off: int, size: int, kind: int) -> None:
    """Make bytes [off, off+size) `kind`; what was spilled there before is only data now."""
    end = off + size
    while off < end:
        index, start = (-off - 1) // 8, off & 7
        n = min(8 - start, end - off)
        old = frame.stack.get(index, st.EMPTY)
        kinds = bytearray(_as_data(old.kinds))
        for i in range(start, start + n):
            kinds[i] = kind
        frame.stack[index] = Slot(bytes(kinds))
        off += n


def _slots(low: int, high: int) -> int:
    """The slots (bits) that bytes [low, high) lie in."""
    mask = 0
    for index in range((-high) // 8, (-low - 1) // 8 + 1):
        mask |= 1 << index
    return mask


def _note_read(w: Walk, frame: Frame, low: int, high: int) -> None:
    w.life.read(w.state, w.pc, frame.number, _slots(low, high))


def _is_null(value: Reg) -> bool:
    return value.type == SCALAR and not value.mask and not value.value


def clobber(w: Walk, reg: Reg, size: int) -> None:
    """A kernel function fills `size` bytes at a constant place of the stack, whatever was there."""
    frame = w.state.frames[reg.frame]
    low = reg.off + reg.smin
    w.need_stack(frame, low)
    _set_bytes(frame, low, size, MISC)


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
    for i in range((-(high + size)) // 8, (-low - 1) // 8 + 1):
        if i in frame.stack and frame.stack[i].kinds[0] == DYNPTR_SLOT:
            held.destroy_dynptr(w, reg.frame, i)
    if low != high:
        w.wrote_slots(frame, 0)
        _write_somewhere(w, frame, low, high + size, value, value_regno)
        return
    index = (-low - 1) // 8
    if value.type == T.STACK and reg.frame != w.state.frames[-1].number:
        w.reject("cannot spill pointers to stack into stack frame of the caller", errno.EINVAL)
    if value.type != SCALAR and size != 8:
        w.reject("invalid size of register spill")
    if value.type != SCALAR and low % 8:
        w.reject(f"attempt to corrupt spilled pointer on stack off={low}")
    w.wrote_slots(frame, 1 << index if size == 8 else 0)
    if low % 8 == 0 and size == 8:
        frame.stack[index] = Slot(st.SPILLED, value)
        w.touch_slot(frame.number, index)
    elif low % 8 == 0 and size in (1, 2, 4):
        stored = value
        if value.umax >> size * 8:
            # As in Linux the whole number is kept: what of it is in memory is for who reads it to say.
            stored = value.copy()
            stored.unlink()
        old = frame.stack.get(index, st.EMPTY)
        rest = _as_data(old.kinds[size:])
        frame.stack[index] = Slot(bytes([SPILL]) * size + rest, stored)
        w.touch_slot(frame.number, index)
    else:
        zero = _is_null(value)
        if zero and value_regno >= 0:
            w.precise(value_regno)  # the way back does not lead through zeroes in the stack
        _set_bytes(frame, low, size, ZEROED if zero else MISC)


def _write_somewhere(w: Walk, frame: Frame, low: int, end: int, value: Reg, value_regno: int) -> None:
    """A store that hits some of the bytes [low, end)."""
    if any(_byte(frame, at) == INVALID for at in range(low, end)):
        w.zero_stack[frame.subprog] = 1  # what this store does not hit is taken for written from now on
    zero, relied = _is_null(value), False
    for at in range(low, end):
        slot = frame.stack.get((-at - 1) // 8)
        if zero and slot is not None:
            kind = slot.kinds[at & 7]
            if kind == ZEROED or (kind == SPILL and slot.reg is not None and _is_null(slot.reg)):
                relied = True
                continue
        _set_bytes(frame, at, 1, MISC)
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
    if slot is not None and slot.reg is not None and slot.kinds[0] == SPILL:
        spilled = slot.reg
        if spilled.type != SCALAR:
            if size != 8 or low % 8:
                w.reject("invalid size of register fill")
            return spilled
        if low % 8 == 0 and size <= slot.spilled_bytes:
            w.touch_slot(frame.number, index)
            if size == 8 or (not spilled.mask and not spilled.umax >> size * 8):
                return spilled
            r = spilled.copy()
            if spilled.umax >> size * 8:
                r.unlink()
            truncate(r, size)
            return r
        if _is_null(spilled) and _all(frame, SPILL, low, low + size):
            w.touch_slot(frame.number, index)
            return st.ZERO
    check_initialised(w, frame, low, size, regno)
    if _all(frame, ZEROED, low, low + size):
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
    if slot is None or slot.reg is None or slot.kinds[0] != SPILL or low % 8 or size > slot.spilled_bytes:
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
    if _all(frame, ZEROED, at, at + size):
        return 0
    slot = frame.stack.get((-at - 1) // 8)
    if slot is None or slot.reg is None or slot.kinds[0] != SPILL:
        return None
    rest = slot.kinds[at & 7 :]
    if len(rest) - len(rest.lstrip(st.SPILLED[:1])) != size:
        return None
    return slot.reg.value if slot.reg.type == SCALAR and slot.reg.is_const else None


def need_word(w: Walk, reg: Reg) -> None:
    """What constant_word() found behind a pointer is relied upon."""
    frame = w.state.frames[reg.frame]
    index = (-(reg.off + st.s64(reg.value)) - 1) // 8
    slot = frame.stack.get(index)
    if slot is not None and slot.reg is not None and slot.kinds[0] == SPILL:
        w.precise_slot(reg.frame, index)


def check_initialised(w: Walk, frame: Frame, low: int, size: int, regno: int, *, by_helper: bool = False) -> None:
    """Every byte must have been written; the privileged may read others (which are zero here)."""
    for i, at in enumerate(range(low, low + size)):
        if _byte(frame, at) >= ITER_SLOT:
            where = f" R{regno}" if by_helper else ""
            w.reject(f"invalid read from stack{where} off {low}+{i} size {size}")
        if _byte(frame, at) == INVALID:
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
            if _byte(frame, at) == DYNPTR_SLOT:
                w.reject(f"potential write to dynptr at off={at} disallowed")
        if low == high:
            _set_bytes(frame, low, size, MISC)
        else:
            for at in range(low, high + size):
                _set_bytes(frame, at, 1, MISC)
        return
    for at in range(low, high + size, 8):
        slot = frame.stack.get((-at - 1) // 8)
        if slot is not None and slot.reg is not None and slot.kinds[0] == SPILL and slot.reg.type != SCALAR:
            if not w.env.privileged:
                w.reject(f"leaking pointer from stack off {at}", errno.EACCES)
    _note_read(w, frame, low, high + size)
    check_initialised(w, frame, low, high + size - low, regno, by_helper=True)
