"""The stack: what was written where, spilled registers and their return."""

from __future__ import annotations

import errno

from . import state as st
from .bounds import truncate
from .state import INVALID, MISC, SCALAR, SPILL, STACK_BYTES, ZEROED, Frame, Reg, Slot, T
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


def _set_bytes(frame: Frame, off: int, size: int, kind: int) -> None:
    """Make bytes [off, off+size) `kind`; what was spilled there before is only data now."""
    end = off + size
    while off < end:
        index, start = (-off - 1) // 8, off & 7
        n = min(8 - start, end - off)
        old = frame.stack.get(index, st.EMPTY)
        kinds = bytearray(MISC if k == SPILL else k for k in old.kinds)
        for i in range(start, start + n):
            kinds[i] = kind
        frame.stack[index] = Slot(bytes(kinds))
        off += n


def write(w: Walk, reg: Reg, regno: int, off: int, size: int, value: Reg) -> None:
    """Store `size` bytes of `value` through a stack pointer."""
    frame = w.state.frames[reg.frame]
    low, high = check_range(w, reg, regno, off, size, "write to")
    w.need_stack(frame, low)
    if low != high:
        if any(_byte(frame, at) == INVALID for at in range(low, high + size)):
            w.zero_stack[frame.subprog] = 1  # what this store does not hit is taken for written from now on
        for at in range(low, high + size):
            slot_kind = _byte(frame, at)
            if slot_kind == ZEROED and value.type == SCALAR and value.is_const and value.value == 0:
                continue
            _set_bytes(frame, at, 1, MISC)
        return
    index = (-low - 1) // 8
    if value.type == T.STACK and reg.frame != w.state.frames[-1].number:
        w.reject("cannot spill pointers to stack into stack frame of the caller", errno.EINVAL)
    if value.type != SCALAR and size != 8:
        w.reject("invalid size of register spill")
    if value.type != SCALAR and low % 8:
        w.reject(f"attempt to corrupt spilled pointer on stack off={low}")
    if low % 8 == 0 and size == 8:
        frame.stack[index] = Slot(st.SPILLED, value)
    elif low % 8 == 0 and size in (1, 2, 4):
        stored = value
        if value.umax >> size * 8:
            stored = value.copy()
            stored.id = stored.off = 0
            truncate(stored, size)
        old = frame.stack.get(index, st.EMPTY)
        rest = bytes(MISC if k == SPILL else k for k in old.kinds[size:])
        frame.stack[index] = Slot(bytes([SPILL]) * size + rest, stored)
    else:
        zero = value.is_const and value.value == 0
        _set_bytes(frame, low, size, ZEROED if zero else MISC)


def read(w: Walk, reg: Reg, regno: int, off: int, size: int) -> Reg:
    """Load `size` bytes through a stack pointer (zero-extended)."""
    frame = w.state.frames[reg.frame]
    low, high = check_range(w, reg, regno, off, size, "read from")
    w.need_stack(frame, low)
    if low != high:
        check_initialised(w, frame, low, high + size - low, regno)
        r = st.unknown_scalar()
        truncate(r, size)
        return r
    slot = frame.stack.get((-low - 1) // 8)
    if slot is not None and slot.reg is not None and slot.kinds[0] == SPILL:
        spilled = slot.reg
        if spilled.type != SCALAR:
            if size != 8 or low % 8:
                w.reject("invalid size of register fill")
            return spilled
        if low % 8 == 0 and size <= slot.spilled_bytes:
            if size == slot.spilled_bytes:
                return spilled
            if not spilled.umax >> size * 8:
                return spilled
            r = spilled.copy()
            r.id = r.off = 0
            truncate(r, size)
            return r
    check_initialised(w, frame, low, size, regno)
    if all(_is_zero(frame, at) for at in range(low, low + size)):
        return st.ZERO
    r = st.unknown_scalar()
    truncate(r, size)
    return r


def constant_word(w: Walk, reg: Reg, size: int) -> int | None:
    """The number in `size` bytes of stack where it is known: zeroes, or a spilled constant of just that size."""
    at = reg.off + st.s64(reg.value)
    if not reg.is_const or at % size:
        return None
    frame = w.state.frames[reg.frame]
    if all(_is_zero(frame, i) for i in range(at, at + size)):
        return 0
    slot = frame.stack.get((-at - 1) // 8)
    if slot is None or slot.reg is None or slot.kinds[0] != SPILL or slot.spilled_bytes != size or at % 8:
        return None
    return slot.reg.value if slot.reg.type == SCALAR and slot.reg.is_const else None


def _is_zero(frame: Frame, off: int) -> bool:
    slot = frame.stack.get((-off - 1) // 8)
    if slot is None:
        return False
    kind = slot.kinds[off & 7]
    if kind == SPILL and slot.reg is not None:
        return slot.reg.type == SCALAR and slot.reg.is_const and slot.reg.value == 0
    return kind == ZEROED


def check_initialised(w: Walk, frame: Frame, low: int, size: int, regno: int) -> None:
    """Every byte must have been written; the privileged may read others (which are zero here)."""
    for i, at in enumerate(range(low, low + size)):
        if _byte(frame, at) == INVALID:
            if not w.env.privileged:
                w.reject(f"invalid read from stack off {low}+{i} size {size}")
            w.zero_stack[frame.subprog] = 1
            return


def helper_access(w: Walk, reg: Reg, regno: int, size: int, *, writes: bool) -> None:
    """A helper reads or fills `size` bytes behind a stack pointer."""
    frame = w.state.frames[reg.frame]
    if size == 0 and reg.is_const:
        return
    low, high = check_range(w, reg, regno, 0, size, "write to" if writes else "read from")
    w.need_stack(frame, low)
    if writes:
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
    check_initialised(w, frame, low, high + size - low, regno)
