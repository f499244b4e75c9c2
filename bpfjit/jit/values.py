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
        self._narrow: dict[str, Value] = {}  # what was zero-extended -> what it was before
        self._shifts: dict[str, tuple[str, Value, int]] = {}  # by a constant: operation, operand, amount

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
        m, n = a.number, b.number
        return self.const(a.width, m & n) if m is not None and n is not None else self._binary("and", a, b)

    def or_(self, a: Value, b: Value) -> Value:
        return self._rotated(a, b) or self._binary("or", a, b)

    def xor(self, a: Value, b: Value) -> Value:
        return self._binary("xor", a, b)

    def shl(self, a: Value, b: Value) -> Value:
        return self._shifted("shl", a, b)

    def lshr(self, a: Value, b: Value) -> Value:
        return self._shifted("lshr", a, b)

    def _shifted(self, op: str, a: Value, b: Value) -> Value:
        by = b.number
        if by == 0:
            return a
        v = self._binary(op, a, b)
        if by is not None:
            self._shifts[v.text] = (op, a, by)
        return v

    def _rotated(self, a: Value, b: Value) -> Value | None:
        """x << n | x >> (width - n) as what it is: LLVM loses sight of it where x is a product, whose factor it shifts."""
        left, right = self._shifts.get(a.text), self._shifts.get(b.text)
        if left is None or right is None or left[1] != right[1] or left[0] == right[0] or left[2] + right[2] != a.width:
            return None
        by = left[2] if left[0] == "shl" else right[2]
        return self.assign(a.width, f"call {a.type} @llvm.fshl.{a.type}({left[1]}, {left[1]}, {a.type} {by})")

    def ashr(self, a: Value, b: Value) -> Value:
        return self._binary("ashr", a, b)

    def _compare(self, predicate: str, a: Value, b: Value) -> Value:
        return self.assign(1, f"icmp {predicate} {a.type} {a.text}, {b.text}")

    def eq(self, a: Value, b: Value) -> Value:
        m, n = a.number, b.number
        if m is not None and n is not None:
            return Value("true" if m == n else "false", 1)
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
        if a.text in ("true", "false"):
            return Value("false" if a.text == "true" else "true", 1)
        equal = f"  {a.text} = icmp eq "
        if self.out[-1].startswith(equal):
            self.out[-1] = f"  {a.text} = icmp ne " + self.out[-1].removeprefix(equal)
            return a
        return self.assign(1, f"xor i1 {a.text}, true")

    def select(self, c: Value, a: Value, b: Value) -> Value:
        if c.text in ("true", "false"):
            return a if c.text == "true" else b
        return self.assign(a.width, f"select i1 {c.text}, {a}, {b}")

    def _resized(self, how: str, a: Value, width: int) -> Value:
        return a if a.width == width else self.assign(width, f"{how} {a} to i{width}")

    def trunc(self, a: Value, width: int) -> Value:
        known = a.number
        if known is not None:
            return self.const(width, known)
        a = self._narrow.get(a.text, a)
        return self.zext(a, width) if a.width < width else self._resized("trunc", a, width)

    def zext(self, a: Value, width: int) -> Value:
        known = a.number
        if known is not None:
            return self.const(width, known & (1 << a.width) - 1)
        v = self._resized("zext", a, width)
        if v is not a:
            self._narrow[v.text] = self._narrow.get(a.text, a)
        return v

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
