"""Conditional jumps: whether one can go only one way, and what each way says of the operands."""

from __future__ import annotations

from . import tnum
from .bounds import is_contradiction, sync
from .state import Reg, s32, s64
from .tnum import U32, U64

# Names with an underscore are C numbers in the compiled module (branch.pxd).
_U64, _U32 = U64, U32

# The other way of a condition, and the condition with its operands exchanged.
NEGATED = {
    "jeq": "jne",
    "jne": "jeq",
    "jgt": "jle",
    "jle": "jgt",
    "jge": "jlt",
    "jlt": "jge",
    "jsgt": "jsle",
    "jsle": "jsgt",
    "jsge": "jslt",
    "jslt": "jsge",
    "jset": "jnset",
    "jnset": "jset",
}
MIRRORED = {
    "jeq": "jeq",
    "jne": "jne",
    "jgt": "jlt",
    "jlt": "jgt",
    "jge": "jle",
    "jle": "jge",
    "jsgt": "jslt",
    "jslt": "jsgt",
    "jsge": "jsle",
    "jsle": "jsge",
    "jset": "jset",
    "jnset": "jnset",
}


class _View:
    """A register seen in one width: tnum and bounds."""

    __slots__ = ("mask", "smax", "smin", "umax", "umin", "value")

    def __init__(self, r: Reg, width: int) -> None:
        if width == 64:
            self.value, self.mask = r.value, r.mask
            self.umin, self.umax, self.smin, self.smax = r.umin, r.umax, r.smin, r.smax
        else:
            self.value, self.mask = r.value & _U32, r.mask & _U32
            self.umin, self.umax, self.smin, self.smax = r.u32min, r.u32max, r.s32min, r.s32max


_NEVER, _ALWAYS, _EITHER = 0, 1, 2
_OUTCOMES = (False, True, None)


def _equal(a: _View, b: _View) -> int:
    if not a.mask and not b.mask:
        return _ALWAYS if a.value == b.value else _NEVER
    if (a.value ^ b.value) & ~a.mask & ~b.mask & _U64:
        return _NEVER  # a bit known in both differs
    if a.umin > b.umax or a.umax < b.umin or a.smin > b.smax or a.smax < b.smin:
        return _NEVER
    return _EITHER


def _jset(a: _View, b: _View) -> int:
    if a.value & b.value:
        return _ALWAYS
    return _EITHER if (a.value | a.mask) & (b.value | b.mask) else _NEVER


def _below(a: _View, b: _View) -> int:
    return _ALWAYS if a.umax < b.umin else _NEVER if a.umin >= b.umax else _EITHER


def _signed_below(a: _View, b: _View) -> int:
    return _ALWAYS if a.smax < b.smin else _NEVER if a.smin >= b.smax else _EITHER


def _not(outcome: int) -> int:
    return outcome if outcome == _EITHER else 1 - outcome


def _outcome(name: str, a: _View, b: _View) -> int:
    if name == "jeq":
        return _equal(a, b)
    if name == "jne":
        return _not(_equal(a, b))
    if name == "jlt":
        return _below(a, b)
    if name == "jge":
        return _not(_below(a, b))
    if name == "jgt":
        return _below(b, a)
    if name == "jle":
        return _not(_below(b, a))
    if name == "jslt":
        return _signed_below(a, b)
    if name == "jsge":
        return _not(_signed_below(a, b))
    if name == "jsgt":
        return _signed_below(b, a)
    if name == "jsle":
        return _not(_signed_below(b, a))
    return _jset(a, b)


def decide(name: str, width: int, a: Reg, b: Reg) -> bool | None:
    """Whether `a name b` is always true, never, or (None) unknown, for two scalars."""
    outcome = _outcome(name, _View(a, width), _View(b, width))
    if outcome == _EITHER and width == 64 and name in ("jeq", "jne") and _equal(_View(a, 32), _View(b, 32)) == _NEVER:
        return name == "jne"  # low halves that differ
    return _OUTCOMES[outcome]


def _set_unsigned(r: Reg, width: int, low: int, high: int) -> None:
    """Narrow to [low, high]."""
    if width == 64:
        r.umin, r.umax = max(r.umin, low), min(r.umax, high)
    else:
        r.u32min, r.u32max = max(r.u32min, low), min(r.u32max, high)


def _set_signed(r: Reg, width: int, low: int, high: int) -> None:
    if width == 64:
        r.smin, r.smax = max(r.smin, low), min(r.smax, high)
    else:
        r.s32min, r.s32max = max(r.s32min, low), min(r.s32max, high)


def _set_tnum(r: Reg, width: int, v: int, m: int) -> None:
    if width == 64:
        nv, nm = tnum.intersect(r.value, r.mask, v, m)
        r.value, r.mask = nv, nm
    else:
        nv, nm = tnum.intersect(r.value & _U32, r.mask & _U32, v & _U32, m & _U32)
        r.value, r.mask = r.value & ~_U32 & _U64 | nv, r.mask & ~_U32 & _U64 | nm


def _take_eq(a: Reg, b: Reg, width: int) -> None:
    va, vb = _View(a, width), _View(b, width)
    alike = not (va.value ^ vb.value) & ~va.mask & ~vb.mask & _U64
    _set_unsigned(a, width, vb.umin, vb.umax)
    _set_signed(a, width, vb.smin, vb.smax)
    _set_unsigned(b, width, va.umin, va.umax)
    _set_signed(b, width, va.smin, va.smax)
    if alike:
        _set_tnum(a, width, vb.value, vb.mask)
        _set_tnum(b, width, va.value, va.mask)


def _take_ne_one(r: Reg, o: Reg, width: int) -> None:
    """Of use only where the other is a constant at an end of the range."""
    v, w = _View(o, width), _View(r, width)
    if v.mask:
        return
    value = v.value & (_U64 if width == 64 else _U32)
    signed = s64(value) if width == 64 else s32(value)
    if w.umin == value and value < w.umax:
        _set_unsigned(r, width, value + 1, w.umax)
    if w.umax == value and value > w.umin:
        _set_unsigned(r, width, w.umin, value - 1)
    if w.smin == signed and signed < w.smax:
        _set_signed(r, width, signed + 1, w.smax)
    if w.smax == signed and signed > w.smin:
        _set_signed(r, width, w.smin, signed - 1)


def _take_ne(a: Reg, b: Reg, width: int) -> None:
    _take_ne_one(a, b, width)
    _take_ne_one(b, a, width)


def _set_bits(r: Reg, o: Reg, width: int) -> None:
    v = _View(o, width)
    if not v.mask and v.value and not v.value & (v.value - 1):  # one bit: it is set
        r.value, r.mask = r.value | v.value, r.mask & ~v.value & _U64


def _clear_bits(r: Reg, o: Reg, width: int) -> None:
    v = _View(o, width)
    if not v.mask:
        r.unbound()  # as in Linux, where the ranges of a way that cannot be taken might contradict the bits
        r.value, r.mask = r.value & ~v.value & _U64, r.mask & ~v.value & _U64


def _take_lt(a: Reg, b: Reg, width: int) -> None:
    va, vb = _View(a, width), _View(b, width)
    if vb.umax > 0 and va.umin < vb.umax:
        _set_unsigned(a, width, va.umin, vb.umax - 1)
        _set_unsigned(b, width, va.umin + 1, vb.umax)


def _take_le(a: Reg, b: Reg, width: int) -> None:
    va, vb = _View(a, width), _View(b, width)
    _set_unsigned(a, width, va.umin, vb.umax)
    _set_unsigned(b, width, va.umin, vb.umax)


def _take_slt(a: Reg, b: Reg, width: int) -> None:
    va, vb = _View(a, width), _View(b, width)
    if va.smin < vb.smax:
        _set_signed(a, width, va.smin, vb.smax - 1)
        _set_signed(b, width, va.smin + 1, vb.smax)


def _take_sle(a: Reg, b: Reg, width: int) -> None:
    va, vb = _View(a, width), _View(b, width)
    _set_signed(a, width, va.smin, vb.smax)
    _set_signed(b, width, va.smin, vb.smax)


def _take(name: str, a: Reg, b: Reg, width: int) -> None:
    if name == "jeq":
        _take_eq(a, b, width)
    elif name == "jne":
        _take_ne(a, b, width)
    elif name == "jset":
        _set_bits(a, b, width)
        _set_bits(b, a, width)
    elif name == "jnset":
        _clear_bits(a, b, width)
        _clear_bits(b, a, width)
    elif name == "jlt":
        _take_lt(a, b, width)
    elif name == "jle":
        _take_le(a, b, width)
    elif name == "jgt":
        _take_lt(b, a, width)
    elif name == "jge":
        _take_le(b, a, width)
    elif name == "jslt":
        _take_slt(a, b, width)
    elif name == "jsle":
        _take_sle(a, b, width)
    elif name == "jsgt":
        _take_slt(b, a, width)
    else:
        _take_sle(b, a, width)


def narrowed(r: Reg, before: Reg) -> Reg:
    """`r` with all that follows from what was just learnt; what was known before where that contradicts itself."""
    sync(r)
    if is_contradiction(r):
        # This way cannot be taken; Linux goes on with what it knew, which holds of nothing as well.
        r.value, r.mask = before.value, before.mask
        r.unbound()
        sync(r)
    return r


def narrow_alone(name: str, width: int, r: Reg) -> Reg:
    """A register that was compared with itself, once `r name r` holds: both ends move."""
    now = r.copy()
    _take(name, now, now, width)
    return narrowed(now, r)


def narrow(name: str, width: int, a: Reg, b: Reg) -> tuple[Reg, Reg]:
    """Two scalars as they are once `a name b` holds."""
    a2, b2 = a.copy(), b.copy()
    _take(name, a2, b2, width)
    return narrowed(a2, a), narrowed(b2, b)
