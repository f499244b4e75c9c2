"""Domain over LLVM values: the meaning of instructions as lines of LLVM IR text, in SSA form.

Text, because building IR through objects costs twenty times as much; a value is its text and width.
"""

from __future__ import annotations

from typing import NamedTuple

from ..isa.domain import Domain


class Value(NamedTuple):
    """An SSA value or constant: `text` as IR spells it, `width` in bits, 0 for a pointer."""

    text: str
    width: int

    @property
    def type(self) -> str:
        return f"i{self.width}" if self.width else "ptr"

    @property
    def number(self) -> int | None:
        """A constant's value, signed; None for what is computed."""
        return int(self.text) if self.width > 1 and (self.text[0] == "-" or self.text.isdigit()) else None

    def __str__(self) -> str:
        return f"{self.type} {self.text}"


NULL = Value("null", 0)
ZERO = Value("0", 64)


class Lines:
    """The body of one LLVM function under construction, and the Domain that writes into it."""

    def __init__(self) -> None:
        self.out: list[str] = []
        self._count = 0

    def name(self) -> str:
        self._count += 1
        return f"%v{self._count}"

    def emit(self, line: str) -> None:
        self.out.append("  " + line)

    def assign(self, width: int, rhs: str) -> Value:
        name = self.name()
        self.out.append(f"  {name} = {rhs}")
        return Value(name, width)

    # -- Domain ----------------------------------------------------------------------------------

    def const(self, width: int, value: int) -> Value:
        value &= (1 << width) - 1
        return Value(str(value - (1 << width) if value >> (width - 1) and width > 1 else value), width)

    def _binary(self, op: str, a: Value, b: Value) -> Value:
        return self.assign(a.width, f"{op} {a.type} {a.text}, {b.text}")

    def add(self, a: Value, b: Value) -> Value:
        return self._binary("add", a, b)

    def sub(self, a: Value, b: Value) -> Value:
        return self._binary("sub", a, b)

    def mul(self, a: Value, b: Value) -> Value:
        return self._binary("mul", a, b)

    def udiv(self, a: Value, b: Value) -> Value:
        return self._binary("udiv", a, b)

    def urem(self, a: Value, b: Value) -> Value:
        return self._binary("urem", a, b)

    def sdiv(self, a: Value, b: Value) -> Value:
        return self._binary("sdiv", a, b)

    def srem(self, a: Value, b: Value) -> Value:
        return self._binary("srem", a, b)

    def and_(self, a: Value, b: Value) -> Value:
        return self._binary("and", a, b)

    def or_(self, a: Value, b: Value) -> Value:
        return self._binary("or", a, b)

    def xor(self, a: Value, b: Value) -> Value:
        return self._binary("xor", a, b)

    def shl(self, a: Value, b: Value) -> Value:
        return self._binary("shl", a, b)

    def lshr(self, a: Value, b: Value) -> Value:
        return self._binary("lshr", a, b)

    def ashr(self, a: Value, b: Value) -> Value:
        return self._binary("ashr", a, b)

    def _compare(self, predicate: str, a: Value, b: Value) -> Value:
        return self.assign(1, f"icmp {predicate} {a.type} {a.text}, {b.text}")

    def eq(self, a: Value, b: Value) -> Value:
        return self._compare("eq", a, b)

    def ult(self, a: Value, b: Value) -> Value:
        return self._compare("ult", a, b)

    def ule(self, a: Value, b: Value) -> Value:
        return self._compare("ule", a, b)

    def slt(self, a: Value, b: Value) -> Value:
        return self._compare("slt", a, b)

    def sle(self, a: Value, b: Value) -> Value:
        return self._compare("sle", a, b)

    def not_(self, a: Value) -> Value:
        return self.assign(1, f"xor i1 {a.text}, true")

    def select(self, c: Value, a: Value, b: Value) -> Value:
        return self.assign(a.width, f"select i1 {c.text}, {a}, {b}")

    def _resized(self, how: str, a: Value, width: int) -> Value:
        return a if a.width == width else self.assign(width, f"{how} {a} to i{width}")

    def trunc(self, a: Value, width: int) -> Value:
        known = a.number
        return self.const(width, known) if known is not None else self._resized("trunc", a, width)

    def zext(self, a: Value, width: int) -> Value:
        known = a.number
        return self.const(width, known & (1 << a.width) - 1) if known is not None else self._resized("zext", a, width)

    def sext(self, a: Value, width: int) -> Value:
        known = a.number
        return self.const(width, known) if known is not None else self._resized("sext", a, width)

    def bswap(self, a: Value) -> Value:
        return self.assign(a.width, f"call {a.type} @llvm.bswap.{a.type}({a})")

    # -- pointers --------------------------------------------------------------------------------

    def to_int(self, a: Value) -> Value:
        if a.width:
            return a
        return Value("0", 64) if a.text == "null" else self.assign(64, f"ptrtoint ptr {a.text} to i64")

    def to_ptr(self, a: Value) -> Value:
        if not a.width:
            return a
        return NULL if a.text == "0" else self.assign(0, f"inttoptr {a} to ptr")

    def offset(self, base: Value, by: int | Value) -> Value:
        """base + by bytes."""
        if by == 0:
            return base
        text = f"i64 {by}" if isinstance(by, int) else str(by)
        return self.assign(0, f"getelementptr i8, ptr {base.text}, {text}")


def _domain(lines: Lines) -> Domain[Value]:
    """Lines is a Domain over Values (checked by the type checker)."""
    return lines
