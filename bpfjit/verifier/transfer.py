"""The abstract meaning of arithmetic on scalars: what a result may be, from what the operands may be.

Keyed by the names of the instruction table (bpfjit/isa/ops.py), and property-tested against its
meanings: value(a, b) lies in transfer(A, B). Each function narrows `d` (a fresh register holding the
destination) by the operand `s`; 64- and 32-bit bounds are computed side by side.
"""

from __future__ import annotations

from . import tnum
from .bounds import sign_extend, sync, zero_extend
from .state import S32_MAX, S32_MIN, S64_MAX, S64_MIN, Reg, s32, s64
from .tnum import U32, U64

# Names with an underscore are C numbers in the compiled module (transfer.pxd): 64 bits and no more.
_U64, _U32 = U64, U32
_S64_MIN, _S64_MAX, _S32_MIN, _S32_MAX = S64_MIN, S64_MAX, S32_MIN, S32_MAX


def _sum_fits(a: int, b: int) -> bool:
    return a <= _S64_MAX - b if b >= 0 else a >= _S64_MIN - b


def _difference_fits(a: int, b: int) -> bool:
    return a >= _S64_MIN + b if b >= 0 else a <= _S64_MAX + b


def _signed_32(d: Reg, low: int, high: int) -> None:
    if low >= _S32_MIN and high <= _S32_MAX:
        d.s32min, d.s32max = low, high
    else:
        d.s32min, d.s32max = _S32_MIN, _S32_MAX


# A range that has wrapped as a whole (both ends past the top, or both below 0) is still one.


def _add(d: Reg, s: Reg) -> None:
    if _sum_fits(d.smin, s.smin) and _sum_fits(d.smax, s.smax):
        d.smin, d.smax = d.smin + s.smin, d.smax + s.smax
    else:
        d.smin, d.smax = _S64_MIN, _S64_MAX
    if (d.umin > _U64 - s.umin) == (d.umax > _U64 - s.umax):
        d.umin, d.umax = (d.umin + s.umin) & _U64, (d.umax + s.umax) & _U64
    else:
        d.umin, d.umax = 0, _U64
    _signed_32(d, d.s32min + s.s32min, d.s32max + s.s32max)
    low, high = d.u32min + s.u32min, d.u32max + s.u32max
    if (low > _U32) == (high > _U32):
        d.u32min, d.u32max = low & _U32, high & _U32
    else:
        d.u32min, d.u32max = 0, _U32
    v, m = tnum.add(d.value, d.mask, s.value, s.mask)
    d.value, d.mask = v, m


def _sub(d: Reg, s: Reg) -> None:
    if _difference_fits(d.smin, s.smax) and _difference_fits(d.smax, s.smin):
        d.smin, d.smax = d.smin - s.smax, d.smax - s.smin
    else:
        d.smin, d.smax = _S64_MIN, _S64_MAX
    if (d.umin < s.umax) == (d.umax < s.umin):
        d.umin, d.umax = (d.umin - s.umax) & _U64, (d.umax - s.umin) & _U64
    else:
        d.umin, d.umax = 0, _U64
    _signed_32(d, d.s32min - s.s32max, d.s32max - s.s32min)
    if (d.u32min < s.u32max) == (d.u32max < s.u32min):
        d.u32min, d.u32max = (d.u32min - s.u32max) & _U32, (d.u32max - s.u32min) & _U32
    else:
        d.u32min, d.u32max = 0, _U32
    v, m = tnum.sub(d.value, d.mask, s.value, s.mask)
    d.value, d.mask = v, m


def _negated(d: Reg) -> Reg:
    """0 minus the number."""
    r = Reg(d.type)
    r.know(0)
    _sub(r, d)
    return r


def _small(r: Reg) -> bool:
    """Products of two such fit 64 bits."""
    return r.smin >= _S32_MIN and r.smax <= _S32_MAX


def _mul(d: Reg, s: Reg) -> None:
    if _small(d) and _small(s):
        a, b, c, e = d.smin * s.smin, d.smin * s.smax, d.smax * s.smin, d.smax * s.smax
        d.smin, d.smax = min(a, b, c, e), max(a, b, c, e)
    else:
        _wide_product(d, s)
    if not d.umax or s.umax <= _U64 // d.umax:
        d.umin, d.umax = d.umin * s.umin, d.umax * s.umax
    else:
        d.umin, d.umax = 0, _U64
    a, b, c, e = d.s32min * s.s32min, d.s32min * s.s32max, d.s32max * s.s32min, d.s32max * s.s32max
    _signed_32(d, min(a, b, c, e), max(a, b, c, e))
    if d.u32max * s.u32max <= _U32:
        d.u32min, d.u32max = d.u32min * s.u32min, d.u32max * s.u32max
    else:
        d.u32min, d.u32max = 0, _U32
    v, m = tnum.mul(d.value, d.mask, s.value, s.mask)
    d.value, d.mask = v, m


def _wide_product(d: Reg, s: Reg) -> None:
    """The signed bounds of a product that may not fit; in numbers of any size."""
    ends = [int(d.smin), int(d.smax)]
    others = [int(s.smin), int(s.smax)]
    products = [x * y for x in ends for y in others]
    if min(products) >= S64_MIN and max(products) <= S64_MAX:
        d.smin, d.smax = min(products), max(products)
    else:
        d.smin, d.smax = _S64_MIN, _S64_MAX


def _from_unsigned(d: Reg) -> None:
    """Signed bounds from unsigned ones where the sign is one, else all."""
    if s64(d.umin) <= s64(d.umax):
        d.smin, d.smax = s64(d.umin), s64(d.umax)
    else:
        d.smin, d.smax = _S64_MIN, _S64_MAX
    if s32(d.u32min) <= s32(d.u32max):
        d.s32min, d.s32max = s32(d.u32min), s32(d.u32max)
    else:
        d.s32min, d.s32max = _S32_MIN, _S32_MAX


def _and(d: Reg, s: Reg) -> None:
    v, m = tnum.and_(d.value, d.mask, s.value, s.mask)
    d.value, d.mask = v, m
    d.umin, d.umax = v, min(d.umax, s.umax)
    d.u32min, d.u32max = v & _U32, min(d.u32max, s.u32max)
    _from_unsigned(d)


def _or(d: Reg, s: Reg) -> None:
    v, m = tnum.or_(d.value, d.mask, s.value, s.mask)
    d.value, d.mask = v, m
    d.umin, d.umax = max(d.umin, s.umin), v | m
    d.u32min, d.u32max = max(d.u32min, s.u32min), (v | m) & _U32
    _from_unsigned(d)


def _xor(d: Reg, s: Reg) -> None:
    v, m = tnum.xor(d.value, d.mask, s.value, s.mask)
    d.value, d.mask = v, m
    d.umin, d.umax = v, v | m
    d.u32min, d.u32max = v & _U32, (v | m) & _U32
    _from_unsigned(d)


def _lsh_32_bounds(d: Reg, n: int) -> None:
    d.s32min, d.s32max = _S32_MIN, _S32_MAX
    if n < 32 and d.u32max <= _U32 >> n:
        d.u32min, d.u32max = d.u32min << n, d.u32max << n
    else:
        d.u32min, d.u32max = 0, _U32


def _lsh(d: Reg, n: int) -> None:
    # The signed bounds survive only what keeps every value's sign; Linux keeps them for the 32-bit move too.
    if _S64_MIN >> n <= d.smin and d.smax <= _S64_MAX >> n:
        d.smin, d.smax = s64((d.smin & _U64) << n & _U64), s64((d.smax & _U64) << n & _U64)
    else:
        d.smin, d.smax = _S64_MIN, _S64_MAX
    if d.umax <= _U64 >> n:
        d.umin, d.umax = d.umin << n, d.umax << n
    else:
        d.umin, d.umax = 0, _U64
    _lsh_32_bounds(d, n)
    d.value, d.mask = d.value << n & _U64, d.mask << n & _U64


def _lsh32(d: Reg, n: int) -> None:
    _lsh_32_bounds(d, n)
    d.value, d.mask = (d.value & _U32) << n & _U64, (d.mask & _U32) << n & _U64


def _forget_32(d: Reg) -> None:
    d.s32min, d.s32max, d.u32min, d.u32max = _S32_MIN, _S32_MAX, 0, _U32


def _rsh(d: Reg, n: int) -> None:
    d.umin, d.umax = d.umin >> n, d.umax >> n
    d.value, d.mask = d.value >> n, d.mask >> n
    d.smin, d.smax = _S64_MIN, _S64_MAX
    _forget_32(d)


def _rsh32(d: Reg, n: int) -> None:
    d.u32min, d.u32max = d.u32min >> n, d.u32max >> n
    d.value, d.mask = (d.value & _U32) >> n, (d.mask & _U32) >> n
    d.s32min, d.s32max = _S32_MIN, _S32_MAX


def _arsh(d: Reg, n: int) -> None:
    d.smin, d.smax = d.smin >> n, d.smax >> n
    v, m = tnum.arsh(d.value, d.mask, n, 64)
    d.value, d.mask = v, m
    d.umin, d.umax = 0, _U64
    _forget_32(d)


def _arsh32(d: Reg, n: int) -> None:
    d.s32min, d.s32max = d.s32min >> n, d.s32max >> n
    v, m = tnum.arsh(d.value, d.mask, n, 32)
    d.value, d.mask = v, m
    d.u32min, d.u32max = 0, _U32


# The bits that a sign-extending move takes its number from.
SIGNIFICANT = {"movsx8": 8, "movsx16": 16, "movsx32": 32}


def _shift(name: str, width: int, d: Reg, n: int) -> None:
    if name == "lsh":
        if width == 64:
            _lsh(d, n)
        else:
            _lsh32(d, n)
    elif name == "rsh":
        if width == 64:
            _rsh(d, n)
        else:
            _rsh32(d, n)
    elif width == 64:
        _arsh(d, n)
    else:
        _arsh32(d, n)


def transfer(name: str, width: int, dst: Reg, src: Reg) -> Reg:
    """The scalar `dst name= src` gives, on `width` bits."""
    if name == "mov":
        d = src.copy()
        if width == 32:
            zero_extend(d)
        return d
    if name in SIGNIFICANT:
        d = src.copy()
        d.unlink()
        sign_extend(d, SIGNIFICANT[name] // 8, width)
        return d
    d = dst.copy()
    d.unlink()
    if name == "add":
        _add(d, src)
    elif name == "sub":
        _sub(d, src)
    elif name == "and":
        _and(d, src)
    elif name == "or":
        _or(d, src)
    elif name == "xor":
        _xor(d, src)
    elif name == "mul":
        _mul(d, src)
    elif name == "neg":
        d = _negated(d)
    elif name in ("lsh", "rsh", "arsh") and not src.mask and src.value < width:
        # Shifts by an amount that is not one number below the width tell nothing.
        _shift(name, width, d, src.value)
    else:
        # Linux 6.18 knows nothing of quotients and remainders either, not even that 32 bits of one are 0.
        d.set_unknown()
        return d
    if width == 32:
        zero_extend(d)
    else:
        sync(d)
    return d


def byte_swap(dst: Reg, bits: int, swaps: bool) -> Reg:
    """A byte swap or truncation to `bits`."""
    d = dst.copy()
    d.unlink()
    value, mask = tnum.cast(d.value, d.mask, bits // 8)
    if swaps:
        value, mask = _swapped(value, bits), _swapped(mask, bits)
    d.value, d.mask = value, mask
    d.unbound()
    sync(d)
    return d


def _swapped(value: int, bits: int) -> int:
    return int.from_bytes(value.to_bytes(bits // 8, "little"), "big")
