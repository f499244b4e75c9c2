"""Keeping a register's six kinds of knowledge consistent: tnum, signed and unsigned, 64 and 32 bits.

Each kind is an over-approximation of the same set of values, so each may be narrowed by the others.
"""

from __future__ import annotations

from . import tnum
from .state import S32_MAX, S32_MIN, S64_MAX, Reg, s32, s64
from .tnum import U32, U64

HIGH = U64 ^ U32
_S64_SIGN, _S32_SIGN = 1 << 63, 1 << 31


def _from_tnum(r: Reg) -> None:
    value, mask = r.value, r.mask
    high = value | mask
    r.smin = max(r.smin, s64(value | mask & _S64_SIGN))
    r.smax = min(r.smax, s64(value | mask & S64_MAX))
    r.umin = max(r.umin, value)
    r.umax = min(r.umax, high)
    v32, m32 = value & U32, mask & U32
    r.s32min = max(r.s32min, s32(v32 | m32 & _S32_SIGN))
    r.s32max = min(r.s32max, s32(v32 | m32 & S32_MAX))
    r.u32min = max(r.u32min, v32)
    r.u32max = min(r.u32max, v32 | m32)


def _signs_64(r: Reg) -> None:
    if s64(r.umin) <= s64(r.umax):
        r.smin = max(r.smin, s64(r.umin))
        r.smax = min(r.smax, s64(r.umax))
    low, high = r.smin & U64, r.smax & U64
    if low <= high:
        r.umin = max(r.umin, low)
        r.umax = min(r.umax, high)
    elif r.umax < low:
        # The signed range wraps through zero and its negative half is out of the unsigned range.
        r.smin = max(r.smin, s64(r.umin))
        r.umax = min(r.umax, high)
    elif high < r.umin:
        r.smax = min(r.smax, s64(r.umax))
        r.umin = max(r.umin, low)


def _signs_32(r: Reg) -> None:
    if s32(r.u32min) <= s32(r.u32max):
        r.s32min = max(r.s32min, s32(r.u32min))
        r.s32max = min(r.s32max, s32(r.u32max))
    low, high = r.s32min & U32, r.s32max & U32
    if low <= high:
        r.u32min = max(r.u32min, low)
        r.u32max = min(r.u32max, high)
    elif r.u32max < low:
        r.s32min = max(r.s32min, s32(r.u32min))
        r.u32max = min(r.u32max, high)
    elif high < r.u32min:
        r.s32max = min(r.s32max, s32(r.u32max))
        r.u32min = max(r.u32min, low)


def _narrow_32(r: Reg) -> None:
    """The low half from the whole: where the high half is one value, or two neighbours around a sign change."""
    for low, high in ((r.umin, r.umax), (r.smin & U64, r.smax & U64)):
        if low >> 32 == high >> 32:
            if low & U32 <= high & U32:
                r.u32min = max(r.u32min, low & U32)
                r.u32max = min(r.u32max, high & U32)
            if s32(low) <= s32(high):
                r.s32min = max(r.s32min, s32(low))
                r.s32max = min(r.s32max, s32(high))
        elif (low >> 32) + 1 & U32 == high >> 32 and s32(low) < 0 <= s32(high):
            r.s32min = max(r.s32min, s32(low))
            r.s32max = min(r.s32max, s32(high))


def _narrow_64(r: Reg) -> None:
    """The whole from the low half: its high half kept, the low half at its own bounds."""
    r.umin = max(r.umin, r.umin & HIGH | r.u32min)
    r.umax = min(r.umax, r.umax & HIGH | r.u32max)
    r.smin = max(r.smin, s64(r.smin & HIGH | r.u32min))
    r.smax = min(r.smax, s64(r.smax & HIGH | r.u32max))
    if r.s32min >= 0 and r.smin >= S32_MIN and r.smax <= S32_MAX:
        # A sign-extended 32-bit value whose sign is known to be plus.
        r.smin, r.smax = r.s32min, r.s32max
        r.umin, r.umax = r.s32min, r.s32max


def _to_tnum(r: Reg) -> None:
    if r.umin > r.umax or r.u32min > r.u32max:
        return  # a contradiction: this path cannot be, whatever is said of it holds
    v, m = tnum.intersect(r.value, r.mask, *tnum.range_(r.umin, r.umax))
    v32, m32 = tnum.intersect(v & U32, m & U32, *tnum.range_(r.u32min, r.u32max))
    r.value, r.mask = v & HIGH | v32, m & HIGH | m32


def sync(r: Reg) -> None:
    """Narrow everything by everything else, as far as one round goes (Linux does the same steps)."""
    if not r.mask:
        r.set_const(r.value)  # all is known: bounds that say otherwise are of a path that cannot be
        return
    _from_tnum(r)
    for _ in range(2):
        _signs_64(r)
        _narrow_32(r)
        _signs_32(r)
        _narrow_64(r)
    _signs_64(r)
    _to_tnum(r)
    _from_tnum(r)


def is_contradiction(r: Reg) -> bool:
    return r.umin > r.umax or r.smin > r.smax or r.u32min > r.u32max or r.s32min > r.s32max


def zero_extend(r: Reg) -> None:
    """After a 32-bit operation: the high half becomes 0."""
    r.value &= U32
    r.mask &= U32
    r.umin, r.umax = r.u32min, r.u32max
    if r.s32min >= 0:
        r.smin, r.smax = r.s32min, r.s32max
    else:
        r.smin, r.smax = 0, U32
    sync(r)


def truncate(r: Reg, size_bytes: int) -> None:
    """Keep the low bytes, zero-extended (a narrow load or spill)."""
    if size_bytes == 8:
        return
    full = (1 << size_bytes * 8) - 1
    r.value, r.mask = tnum.cast(r.value, r.mask, size_bytes)
    if r.umin & ~full == r.umax & ~full:
        r.umin, r.umax = r.umin & full, r.umax & full
    else:
        r.umin, r.umax = 0, full
    r.smin, r.smax = r.umin, r.umax
    if size_bytes < 4:
        r.u32min, r.u32max = r.umin, r.umax
        r.s32min, r.s32max = r.umin, r.umax
    sync(r)


def sign_extend(r: Reg, size_bytes: int, width: int = 64) -> None:
    """Sign-extend the low bytes to `width` bits (32: the high half becomes 0)."""
    bits = size_bytes * 8
    sign = 1 << (bits - 1)
    full = (1 << bits) - 1
    top = (1 << width) - 1
    v, m = r.value & full, r.mask & full

    def extend(x: int) -> int:
        return (x | (top ^ full)) if x & sign else x

    low, high = r.smin, r.smax
    fits = -sign <= low and high < sign and width == 64
    if m & sign:
        v, m = v & (sign - 1), extend(m)
    else:
        v, m = extend(v), m
    r.value, r.mask = v & ~m & U64, m
    r.unbound()
    if width == 64:
        r.smin, r.smax = (low, high) if fits else (-sign, sign - 1)
        if bits <= 32:
            r.s32min, r.s32max = max(S32_MIN, -sign), min(S32_MAX, sign - 1)
    else:
        r.s32min, r.s32max = -sign, sign - 1
        r.umin, r.umax, r.smin, r.smax = 0, U32, 0, U32
    sync(r)
