"""The abstract meaning of arithmetic on scalars: what a result may be, from what the operands may be.

Keyed by the names of the instruction table (bpfjit/isa/ops.py), and property-tested against its
meanings: value(a, b) lies in transfer(A, B). Each function narrows `d` (a fresh register holding the
destination) by the operand `s`; 64- and 32-bit bounds are computed side by side.
"""

from __future__ import annotations

from collections.abc import Callable

from . import tnum
from .bounds import sign_extend, sync, zero_extend
from .state import S32_MAX, S32_MIN, S64_MAX, S64_MIN, Reg, s32, s64
from .tnum import U32, U64


def _signed(low: int, high: int, minimum: int, maximum: int) -> tuple[int, int]:
    return (low, high) if minimum <= low and high <= maximum else (minimum, maximum)


def _unsigned(low: int, high: int, top: int) -> tuple[int, int]:
    """A range that may have wrapped as a whole (both ends past the top, or both below 0) is still one."""
    if (low < 0) == (high < 0) and (low > top) == (high > top):
        return low & top, high & top
    return 0, top


def _add(d: Reg, s: Reg) -> None:
    d.smin, d.smax = _signed(d.smin + s.smin, d.smax + s.smax, S64_MIN, S64_MAX)
    d.umin, d.umax = _unsigned(d.umin + s.umin, d.umax + s.umax, U64)
    d.s32min, d.s32max = _signed(d.s32min + s.s32min, d.s32max + s.s32max, S32_MIN, S32_MAX)
    d.u32min, d.u32max = _unsigned(d.u32min + s.u32min, d.u32max + s.u32max, U32)
    d.value, d.mask = tnum.add(d.value, d.mask, s.value, s.mask)


def _sub(d: Reg, s: Reg) -> None:
    d.smin, d.smax = _signed(d.smin - s.smax, d.smax - s.smin, S64_MIN, S64_MAX)
    d.umin, d.umax = _unsigned(d.umin - s.umax, d.umax - s.umin, U64)
    d.s32min, d.s32max = _signed(d.s32min - s.s32max, d.s32max - s.s32min, S32_MIN, S32_MAX)
    d.u32min, d.u32max = _unsigned(d.u32min - s.u32max, d.u32max - s.u32min, U32)
    d.value, d.mask = tnum.sub(d.value, d.mask, s.value, s.mask)


def _mul(d: Reg, s: Reg) -> None:
    products = (d.smin * s.smin, d.smin * s.smax, d.smax * s.smin, d.smax * s.smax)
    d.smin, d.smax = _signed(min(products), max(products), S64_MIN, S64_MAX)
    d.umin, d.umax = (d.umin * s.umin, d.umax * s.umax) if d.umax * s.umax <= U64 else (0, U64)
    products = (d.s32min * s.s32min, d.s32min * s.s32max, d.s32max * s.s32min, d.s32max * s.s32max)
    d.s32min, d.s32max = _signed(min(products), max(products), S32_MIN, S32_MAX)
    d.u32min, d.u32max = (d.u32min * s.u32min, d.u32max * s.u32max) if d.u32max * s.u32max <= U32 else (0, U32)
    d.value, d.mask = tnum.mul(d.value, d.mask, s.value, s.mask)


def _from_unsigned(d: Reg) -> None:
    """Signed bounds from unsigned ones where the sign is one, else all."""
    d.smin, d.smax = (s64(d.umin), s64(d.umax)) if s64(d.umin) <= s64(d.umax) else (S64_MIN, S64_MAX)
    d.s32min, d.s32max = (s32(d.u32min), s32(d.u32max)) if s32(d.u32min) <= s32(d.u32max) else (S32_MIN, S32_MAX)


def _and(d: Reg, s: Reg) -> None:
    d.value, d.mask = tnum.and_(d.value, d.mask, s.value, s.mask)
    d.umin, d.umax = d.value, min(d.umax, s.umax)
    d.u32min, d.u32max = d.value & U32, min(d.u32max, s.u32max)
    _from_unsigned(d)


def _or(d: Reg, s: Reg) -> None:
    d.value, d.mask = tnum.or_(d.value, d.mask, s.value, s.mask)
    d.umin, d.umax = max(d.umin, s.umin), d.value | d.mask
    d.u32min, d.u32max = max(d.u32min, s.u32min), (d.value | d.mask) & U32
    _from_unsigned(d)


def _xor(d: Reg, s: Reg) -> None:
    d.value, d.mask = tnum.xor(d.value, d.mask, s.value, s.mask)
    d.umin, d.umax = d.value, d.value | d.mask
    d.u32min, d.u32max = d.value & U32, (d.value | d.mask) & U32
    _from_unsigned(d)


def _lsh(d: Reg, s: Reg) -> None:
    n = s.value & 63
    # The signed bounds survive only what keeps every value's sign; Linux keeps them for the 32-bit move too.
    d.smin, d.smax = _signed(d.smin << n, d.smax << n, S64_MIN, S64_MAX)
    d.umin, d.umax = (d.umin << n, d.umax << n) if d.umax << n <= U64 else (0, U64)
    d.s32min, d.s32max = S32_MIN, S32_MAX
    d.u32min, d.u32max = (d.u32min << n, d.u32max << n) if d.u32max << n <= U32 else (0, U32)
    d.value, d.mask = tnum.lsh(d.value, d.mask, n)


def _lsh32(d: Reg, s: Reg) -> None:
    n = s.value & 31
    d.s32min, d.s32max = S32_MIN, S32_MAX
    d.u32min, d.u32max = (d.u32min << n, d.u32max << n) if d.u32max << n <= U32 else (0, U32)
    d.value, d.mask = tnum.lsh(d.value & U32, d.mask & U32, n)


def _rsh(d: Reg, s: Reg) -> None:
    n = s.value & 63
    d.umin, d.umax = d.umin >> n, d.umax >> n
    d.value, d.mask = tnum.rsh(d.value, d.mask, n)
    d.smin, d.smax = S64_MIN, S64_MAX
    d.s32min, d.s32max, d.u32min, d.u32max = S32_MIN, S32_MAX, 0, U32


def _rsh32(d: Reg, s: Reg) -> None:
    n = s.value & 31
    d.u32min, d.u32max = d.u32min >> n, d.u32max >> n
    d.value, d.mask = tnum.rsh(d.value & U32, d.mask & U32, n)
    d.s32min, d.s32max = S32_MIN, S32_MAX


def _arsh(d: Reg, s: Reg) -> None:
    n = s.value & 63
    d.smin, d.smax = d.smin >> n, d.smax >> n
    d.value, d.mask = tnum.arsh(d.value, d.mask, n, 64)
    d.umin, d.umax = 0, U64
    d.s32min, d.s32max, d.u32min, d.u32max = S32_MIN, S32_MAX, 0, U32


def _arsh32(d: Reg, s: Reg) -> None:
    n = s.value & 31
    d.s32min, d.s32max = d.s32min >> n, d.s32max >> n
    d.value, d.mask = tnum.arsh(d.value, d.mask, n, 32)
    d.u32min, d.u32max = 0, U32


def _neg(d: Reg, s: Reg) -> None:
    operand = d.copy()
    d.set_const(0)
    _sub(d, operand)


Transfer = Callable[[Reg, Reg], None]
_ALWAYS: dict[str, Transfer] = {
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "and": _and,
    "or": _or,
    "xor": _xor,
    "neg": _neg,
}
# Shifts by an amount that is not one number below the width tell nothing.
_SHIFTS: dict[tuple[str, int], Transfer] = {
    ("lsh", 64): _lsh,
    ("lsh", 32): _lsh32,
    ("rsh", 64): _rsh,
    ("rsh", 32): _rsh32,
    ("arsh", 64): _arsh,
    ("arsh", 32): _arsh32,
}
_MOVSX = {"movsx8": 1, "movsx16": 2, "movsx32": 4}


def transfer(name: str, width: int, dst: Reg, src: Reg) -> Reg:
    """The scalar `dst name= src` gives, on `width` bits."""
    d = dst.copy()
    d.id = d.off = 0
    if name == "mov":
        d = src.copy()
        if width == 32:
            zero_extend(d)
        return d
    if name in _MOVSX:
        d = src.copy()
        d.id = d.off = 0
        sign_extend(d, _MOVSX[name], width)
        return d
    shift = _SHIFTS.get((name, width))
    if name in _ALWAYS:
        _ALWAYS[name](d, src)
    elif shift is not None and not src.mask and src.value < width:
        shift(d, src)
    else:
        d.set_unknown()  # Linux 6.18 knows nothing of quotients and remainders either
    if width == 32:
        zero_extend(d)
    else:
        sync(d)
    return d


def byte_swap(dst: Reg, bits: int, swaps: bool) -> Reg:
    """A byte swap or truncation to `bits`."""
    d = dst.copy()
    d.id = d.off = 0
    value, mask = tnum.cast(d.value, d.mask, bits // 8)
    if swaps:
        value, mask = _swapped(value, bits), _swapped(mask, bits)
    d.value, d.mask = value, mask
    d.unbound()
    sync(d)
    return d


def _swapped(value: int, bits: int) -> int:
    return int.from_bytes(value.to_bytes(bits // 8, "little"), "big")
