"""Conditional jumps: whether one can go only one way, and what each way says of the operands."""

from __future__ import annotations

from collections.abc import Callable

from . import tnum
from .bounds import is_contradiction, sync
from .state import Reg, s32, s64
from .tnum import U32, U64

_SIGN64, _SIGN32 = 1 << 63, 1 << 31

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
            self.value, self.mask = r.value & U32, r.mask & U32
            self.umin, self.umax, self.smin, self.smax = r.u32min, r.u32max, r.s32min, r.s32max


def _equal(a: _View, b: _View) -> bool | None:
    if not a.mask and not b.mask:
        return a.value == b.value
    if (a.value ^ b.value) & ~a.mask & ~b.mask:
        return False  # a bit known in both differs
    if a.umin > b.umax or a.umax < b.umin or a.smin > b.smax or a.smax < b.smin:
        return False
    return None


def _jset(a: _View, b: _View) -> bool | None:
    if a.value & b.value:
        return True
    if not (a.value | a.mask) & (b.value | b.mask):
        return False
    return None


def _less(amin: int, amax: int, bmin: int, bmax: int) -> bool | None:
    return True if amax < bmin else False if amin >= bmax else None


def _not(x: bool | None) -> bool | None:
    return None if x is None else not x


_DECIDE: dict[str, Callable[[_View, _View], bool | None]] = {
    "jeq": _equal,
    "jne": lambda a, b: _not(_equal(a, b)),
    "jset": _jset,
    "jlt": lambda a, b: _less(a.umin, a.umax, b.umin, b.umax),
    "jge": lambda a, b: _not(_less(a.umin, a.umax, b.umin, b.umax)),
    "jgt": lambda a, b: _less(b.umin, b.umax, a.umin, a.umax),
    "jle": lambda a, b: _not(_less(b.umin, b.umax, a.umin, a.umax)),
    "jslt": lambda a, b: _less(a.smin, a.smax, b.smin, b.smax),
    "jsge": lambda a, b: _not(_less(a.smin, a.smax, b.smin, b.smax)),
    "jsgt": lambda a, b: _less(b.smin, b.smax, a.smin, a.smax),
    "jsle": lambda a, b: _not(_less(b.smin, b.smax, a.smin, a.smax)),
}


def decide(name: str, width: int, a: Reg, b: Reg) -> bool | None:
    """Whether `a name b` is always true, never, or (None) unknown, for two scalars."""
    outcome = _DECIDE[name](_View(a, width), _View(b, width))
    if outcome is None and width == 64 and name in ("jeq", "jne") and _equal(_View(a, 32), _View(b, 32)) is False:
        return name == "jne"  # low halves that differ
    return outcome


def _set_umin(r: Reg, width: int, value: int) -> None:
    if width == 64:
        r.umin = max(r.umin, value)
    else:
        r.u32min = max(r.u32min, value)


def _set_umax(r: Reg, width: int, value: int) -> None:
    if width == 64:
        r.umax = min(r.umax, value)
    else:
        r.u32max = min(r.u32max, value)


def _set_smin(r: Reg, width: int, value: int) -> None:
    if width == 64:
        r.smin = max(r.smin, value)
    else:
        r.s32min = max(r.s32min, value)


def _set_smax(r: Reg, width: int, value: int) -> None:
    if width == 64:
        r.smax = min(r.smax, value)
    else:
        r.s32max = min(r.s32max, value)


def _set_tnum(r: Reg, width: int, v: int, m: int) -> None:
    if width == 64:
        r.value, r.mask = tnum.intersect(r.value, r.mask, v, m)
    else:
        low = tnum.intersect(r.value & U32, r.mask & U32, v & U32, m & U32)
        r.value, r.mask = r.value & ~U32 & U64 | low[0], r.mask & ~U32 & U64 | low[1]


def _take_eq(a: Reg, b: Reg, width: int) -> None:
    va, vb = _View(a, width), _View(b, width)
    for r, o in ((a, vb), (b, va)):
        _set_umin(r, width, o.umin)
        _set_umax(r, width, o.umax)
        _set_smin(r, width, o.smin)
        _set_smax(r, width, o.smax)
        if not (va.value ^ vb.value) & ~va.mask & ~vb.mask:
            _set_tnum(r, width, o.value, o.mask)


def _take_ne(a: Reg, b: Reg, width: int) -> None:
    """Of use only where one is a constant at an end of the other's range."""
    for r, o in ((a, b), (b, a)):
        v = _View(o, width)
        if v.mask:
            continue
        full, sign = (U64, s64) if width == 64 else (U32, s32)
        w = _View(r, width)
        value = v.value & full
        if w.umin == value:
            _set_umin(r, width, value + 1)
        if w.umax == value:
            _set_umax(r, width, value - 1)
        if w.smin == sign(value):
            _set_smin(r, width, sign(value) + 1)
        if w.smax == sign(value):
            _set_smax(r, width, sign(value) - 1)


def _take_jset(a: Reg, b: Reg, width: int) -> None:
    for r, o in ((a, b), (b, a)):
        v = _View(o, width)
        if not v.mask and v.value and not v.value & (v.value - 1):  # one bit: it is set
            low = r.value | v.value, r.mask & ~v.value & U64
            r.value, r.mask = low


def _take_jnset(a: Reg, b: Reg, width: int) -> None:
    for r, o in ((a, b), (b, a)):
        v = _View(o, width)
        if not v.mask:
            r.value, r.mask = r.value & ~v.value & U64, r.mask & ~v.value & U64


def _take_lt(a: Reg, b: Reg, width: int) -> None:
    va, vb = _View(a, width), _View(b, width)
    _set_umax(a, width, vb.umax - 1)
    _set_umin(b, width, va.umin + 1)


def _take_le(a: Reg, b: Reg, width: int) -> None:
    va, vb = _View(a, width), _View(b, width)
    _set_umax(a, width, vb.umax)
    _set_umin(b, width, va.umin)


def _take_slt(a: Reg, b: Reg, width: int) -> None:
    va, vb = _View(a, width), _View(b, width)
    _set_smax(a, width, vb.smax - 1)
    _set_smin(b, width, va.smin + 1)


def _take_sle(a: Reg, b: Reg, width: int) -> None:
    va, vb = _View(a, width), _View(b, width)
    _set_smax(a, width, vb.smax)
    _set_smin(b, width, va.smin)


def _mirror(take: Callable[[Reg, Reg, int], None]) -> Callable[[Reg, Reg, int], None]:
    return lambda a, b, width: take(b, a, width)


_TAKE: dict[str, Callable[[Reg, Reg, int], None]] = {
    "jeq": _take_eq,
    "jne": _take_ne,
    "jset": _take_jset,
    "jnset": _take_jnset,
    "jlt": _take_lt,
    "jle": _take_le,
    "jgt": _mirror(_take_lt),
    "jge": _mirror(_take_le),
    "jslt": _take_slt,
    "jsle": _take_sle,
    "jsgt": _mirror(_take_slt),
    "jsge": _mirror(_take_sle),
}


def narrow(name: str, width: int, a: Reg, b: Reg) -> tuple[Reg, Reg]:
    """Two scalars as they are once `a name b` holds."""
    a2, b2 = a.copy(), b.copy()
    _TAKE[name](a2, b2, width)
    for r, before in ((a2, a), (b2, b)):
        sync(r)
        if is_contradiction(r):
            # This way cannot be taken; Linux goes on with what it knew, which holds of nothing as well.
            r.value, r.mask = before.value, before.mask
            r.unbound()
            sync(r)
    return a2, b2
