"""The small algebra in which the meaning of instructions is written, and its instance over Python ints.

Values of a Domain carry their width (8 to 64 bits); conditions are values of their own, which
or_, and_ and not_ combine. The JIT's instance, over LLVM values, is bpfjit/jit/values.py.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

V = TypeVar("V")


class Domain(Protocol[V]):
    def const(self, width: int, value: int) -> V: ...
    def add(self, a: V, b: V) -> V: ...
    def sub(self, a: V, b: V) -> V: ...
    def mul(self, a: V, b: V) -> V: ...
    def udiv(self, a: V, b: V) -> V: ...
    def urem(self, a: V, b: V) -> V: ...
    def sdiv(self, a: V, b: V) -> V: ...
    def srem(self, a: V, b: V) -> V: ...
    def and_(self, a: V, b: V) -> V: ...
    def or_(self, a: V, b: V) -> V: ...
    def xor(self, a: V, b: V) -> V: ...
    def shl(self, a: V, b: V) -> V: ...
    def lshr(self, a: V, b: V) -> V: ...
    def ashr(self, a: V, b: V) -> V: ...
    def eq(self, a: V, b: V) -> V: ...
    def ult(self, a: V, b: V) -> V: ...
    def ule(self, a: V, b: V) -> V: ...
    def slt(self, a: V, b: V) -> V: ...
    def sle(self, a: V, b: V) -> V: ...
    def not_(self, a: V) -> V: ...
    def select(self, c: V, a: V, b: V) -> V: ...
    def trunc(self, a: V, width: int) -> V: ...
    def zext(self, a: V, width: int) -> V: ...
    def sext(self, a: V, width: int) -> V: ...
    def bswap(self, a: V) -> V: ...


class Word:
    """An unsigned integer of a fixed width; conditions are Words of 1 bit."""

    __slots__ = ("value", "width")

    def __init__(self, width: int, value: int) -> None:
        self.width = width
        self.value = value & ((1 << width) - 1)

    def signed(self) -> int:
        return self.value - (1 << self.width) if self.value >> (self.width - 1) else self.value


def _quotient(a: int, b: int) -> int:
    """C's division: toward zero."""
    q = abs(a) // abs(b)
    return q if (a < 0) == (b < 0) else -q


class IntDomain:
    """Domain over Words."""

    def const(self, width: int, value: int) -> Word:
        return Word(width, value)

    def add(self, a: Word, b: Word) -> Word:
        return Word(a.width, a.value + b.value)

    def sub(self, a: Word, b: Word) -> Word:
        return Word(a.width, a.value - b.value)

    def mul(self, a: Word, b: Word) -> Word:
        return Word(a.width, a.value * b.value)

    def udiv(self, a: Word, b: Word) -> Word:
        return Word(a.width, a.value // b.value)

    def urem(self, a: Word, b: Word) -> Word:
        return Word(a.width, a.value % b.value)

    def sdiv(self, a: Word, b: Word) -> Word:
        return Word(a.width, _quotient(a.signed(), b.signed()))

    def srem(self, a: Word, b: Word) -> Word:
        x, y = a.signed(), b.signed()
        return Word(a.width, x - y * _quotient(x, y))

    def and_(self, a: Word, b: Word) -> Word:
        return Word(a.width, a.value & b.value)

    def or_(self, a: Word, b: Word) -> Word:
        return Word(a.width, a.value | b.value)

    def xor(self, a: Word, b: Word) -> Word:
        return Word(a.width, a.value ^ b.value)

    def shl(self, a: Word, b: Word) -> Word:
        return Word(a.width, a.value << b.value)

    def lshr(self, a: Word, b: Word) -> Word:
        return Word(a.width, a.value >> b.value)

    def ashr(self, a: Word, b: Word) -> Word:
        return Word(a.width, a.signed() >> b.value)

    def eq(self, a: Word, b: Word) -> Word:
        return Word(1, a.value == b.value)

    def ult(self, a: Word, b: Word) -> Word:
        return Word(1, a.value < b.value)

    def ule(self, a: Word, b: Word) -> Word:
        return Word(1, a.value <= b.value)

    def slt(self, a: Word, b: Word) -> Word:
        return Word(1, a.signed() < b.signed())

    def sle(self, a: Word, b: Word) -> Word:
        return Word(1, a.signed() <= b.signed())

    def not_(self, a: Word) -> Word:
        return Word(1, not a.value)

    def select(self, c: Word, a: Word, b: Word) -> Word:
        return a if c.value else b

    def trunc(self, a: Word, width: int) -> Word:
        return Word(width, a.value)

    def zext(self, a: Word, width: int) -> Word:
        return Word(width, a.value)

    def sext(self, a: Word, width: int) -> Word:
        return Word(width, a.signed())

    def bswap(self, a: Word) -> Word:
        return Word(a.width, int.from_bytes(a.value.to_bytes(a.width // 8, "little"), "big"))


def _check(domain: Domain[Any]) -> Domain[Any]:
    return domain


INTS = _check(IntDomain())
