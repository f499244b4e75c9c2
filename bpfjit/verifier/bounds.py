"""Keeping a register's six kinds of knowledge consistent: tnum, signed and unsigned, 64 and 32 bits.

Each kind is an over-approximation of the same set of values, so each may be narrowed by the others.
"""

from __future__ import annotations

from . import tnum
from .state import S32_MAX, S32_MIN, S64_MAX, Reg, s32, s64
from .tnum import U32, U64

# Names with an underscore are C numbers in the compiled module (bounds.pxd): unsigned 64 bits for tnums and unsigned
# bounds, signed for signed ones. No expression may need more than that.
_U64, _U32, _ONE = U64, U32, 1
_HIGH = U64 ^ U32
_SIGN64, _SIGN32 = 1 << 63, 1 << 31
_LOW63, _LOW31 = S64_MAX, S32_MAX
_S32_MIN, _S32_MAX = S32_MIN, S32_MAX


def _from_tnum(r: Reg) -> None:
    value, mask = r.value, r.mask
    high = value | mask
    r.smin = max(r.smin, s64(value | mask & _SIGN64))
    r.smax = min(r.smax, s64(value | mask & _LOW63))
    r.umin = max(r.umin, value)
    r.umax = min(r.umax, high)
    _only_member(r)
    v32, m32 = value & _U32, mask & _U32
    r.s32min = max(r.s32min, s32(v32 | m32 & _SIGN32))
    r.s32max = min(r.s32max, s32(v32 | m32 & _LOW31))
    r.u32min = max(r.u32min, v32)
    r.u32max = min(r.u32max, v32 | m32)


def _only_member(r: Reg) -> None:
    """The number itself, where the unsigned range and the tnum have but one in common."""
    value, mask = r.value, r.mask
    low = r.umin
    after = tnum.following(value, mask, low)
    if low & ~mask & _U64 == value:
        if after > r.umax or after == low:
            r.know(low)
    elif after == value | mask or (after <= r.umax and tnum.following(value, mask, after) > r.umax):
        r.know(after)


def _signs_64(r: Reg) -> None:
    if s64(r.umin) <= s64(r.umax):
        r.smin = max(r.smin, s64(r.umin))
        r.smax = min(r.smax, s64(r.umax))
    low, high = r.smin & _U64, r.smax & _U64
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
    low, high = r.s32min & _U32, r.s32max & _U32
    if low <= high:
        r.u32min = max(r.u32min, low)
        r.u32max = min(r.u32max, high)
    elif r.u32max < low:
        r.s32min = max(r.s32min, s32(r.u32min))
        r.u32max = min(r.u32max, high)
    elif high < r.u32min:
        r.s32max = min(r.s32max, s32(r.u32max))
        r.u32min = max(r.u32min, low)


def _narrow_32_by(r: Reg, low: int, high: int) -> None:
    if low >> 32 == high >> 32:
        if low & _U32 <= high & _U32:
            r.u32min = max(r.u32min, low & _U32)
            r.u32max = min(r.u32max, high & _U32)
        if s32(low) <= s32(high):
            r.s32min = max(r.s32min, s32(low))
            r.s32max = min(r.s32max, s32(high))
    elif (low >> 32) + 1 & _U32 == high >> 32 and s32(low) < 0 <= s32(high):
        r.s32min = max(r.s32min, s32(low))
        r.s32max = min(r.s32max, s32(high))


def _narrow_32(r: Reg) -> None:
    """The low half from the whole: where the high half is one value, or two neighbours around a sign change."""
    _narrow_32_by(r, r.umin, r.umax)
    _narrow_32_by(r, r.smin & _U64, r.smax & _U64)


def _narrow_64(r: Reg) -> None:
    """The whole from the low half: its high half kept, the low half at its own bounds."""
    r.umin = max(r.umin, r.umin & _HIGH | r.u32min)
    r.umax = min(r.umax, r.umax & _HIGH | r.u32max)
    r.smin = max(r.smin, s64(r.smin & _HIGH | r.u32min))
    r.smax = min(r.smax, s64(r.smax & _HIGH | r.u32max))
    if r.s32min >= 0 and r.smin >= _S32_MIN and r.smax <= _S32_MAX:
        # A sign-extended 32-bit value whose sign is known to be plus.
        r.smin, r.smax = r.s32min, r.s32max
        r.umin, r.umax = r.s32min & _U32, r.s32max & _U32


def _to_tnum(r: Reg) -> None:
    if r.umin > r.umax or r.u32min > r.u32max:
        return  # a contradiction: this path cannot be, whatever is said of it holds
    bv, bm = tnum.range_(r.umin, r.umax)
    v, m = tnum.intersect(r.value, r.mask, bv, bm)
    bv, bm = tnum.range_(r.u32min, r.u32max)
    v32, m32 = tnum.intersect(v & _U32, m & _U32, bv, bm)
    r.value, r.mask = v & _HIGH | v32, m & _HIGH | m32


def _deduce(r: Reg) -> None:
    # In Linux's order: what one of these steps takes from another's bounds depends on it.
    _narrow_32(r)
    _signs_32(r)
    _signs_64(r)
    _narrow_64(r)


def sync(r: Reg) -> None:
    """Narrow everything by everything else, in as many rounds as Linux takes: more would know more than it does."""
    if not r.mask:
        r.know(r.value)  # all is known: bounds that say otherwise are of a path that cannot be
        return
    _from_tnum(r)
    _deduce(r)
    _deduce(r)
    _deduce(r)
    _to_tnum(r)
    _from_tnum(r)


def is_contradiction(r: Reg) -> bool:
    return r.umin > r.umax or r.smin > r.smax or r.u32min > r.u32max or r.s32min > r.s32max


def zero_extend(r: Reg) -> None:
    """After a 32-bit operation: the high half becomes 0."""
    r.value &= _U32
    r.mask &= _U32
    r.umin, r.umax = r.u32min, r.u32max
    if r.s32min >= 0:
        r.smin, r.smax = r.s32min, r.s32max
    else:
        r.smin, r.smax = 0, s64(_U32)
    sync(r)


def truncate(r: Reg, size_bytes: int) -> None:
    """Keep the low bytes, zero-extended (a narrow load or spill)."""
    if size_bytes >= 8:
        return
    full = _U64 >> (64 - size_bytes * 8)
    r.value, r.mask = r.value & full, r.mask & full
    if r.umin & ~full == r.umax & ~full:
        r.umin, r.umax = r.umin & full, r.umax & full
    else:
        r.umin, r.umax = 0, full
    r.smin, r.smax = s64(r.umin), s64(r.umax)
    if size_bytes < 4:
        r.u32min, r.u32max = r.umin, r.umax
        r.s32min, r.s32max = s64(r.umin), s64(r.umax)
    sync(r)


def sign_extend(r: Reg, size_bytes: int, width: int = 64) -> None:
    """Sign-extend the low bytes to `width` bits (32: the high half becomes 0).

    As Linux does: one sign and no wrap within the bytes gives a range, all else only what so many bytes can hold; the bits
    that were known before are not kept.
    """
    bits = size_bytes * 8
    if width == 64:
        low, high = r.smin, r.smax
    else:
        low, high = r.s32min, r.s32max
    most = s64(_U64 >> (65 - bits))  # the largest value of so many bytes; the smallest is -most - 1
    alike = low >> bits == high >> bits  # what lies above the bytes is one number
    first, last = _extended(low & _U64, bits), _extended(high & _U64, bits)
    alike = alike and (first >= 0) == (last >= 0)
    if not r.mask:
        r.know(_extended(r.value, bits) & _U64)
    elif alike:
        low, high = min(first, last), max(first, last)
        r.smin, r.smax, r.umin, r.umax = low, high, low & _U64, high & _U64
        r.s32min, r.s32max, r.u32min, r.u32max = s32(r.umin), s32(r.umax), r.umin & _U32, r.umax & _U32
        v, m = tnum.range_(r.umin, r.umax)
        r.value, r.mask = v, m
    else:
        r.set_unknown()
        r.smin, r.smax = -most - 1, most
        r.s32min, r.s32max = -most - 1, most
    if width == 32:
        zero_extend(r)


def _extended(value: int, bits: int) -> int:
    """The signed number in the low `bits` bits."""
    sign = _ONE << (bits - 1)
    value &= _U64 >> (64 - bits)
    return s64((value ^ sign) - sign & _U64)
