"""The verifier's arithmetic never loses a value: for every operation, value(a, b) lies in transfer(A, B).

The concrete side is the integers of bpfjit.isa.domain over the same instruction table.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpfjit.isa.domain import INTS, Word
from bpfjit.isa.ops import ALU_OPS, JUMP_OPS
from bpfjit.verifier import bounds, branch, tnum
from bpfjit.verifier.state import Reg, s32, s64, unknown_scalar
from bpfjit.verifier.tnum import U32, U64
from bpfjit.verifier.transfer import byte_swap, transfer

EXAMPLES = settings(max_examples=40, deadline=None)
EDGES = (0, 1, 2, 7, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 32, (1 << 32) + 1)
EDGES += (U64, U64 - 1, 1 << 63, (1 << 63) - 1, U64 ^ U32, (U64 ^ U32) + 0x7FFFFFFF, (U64 ^ U32) | 0x80000000)
numbers = st.one_of(st.sampled_from(EDGES), st.integers(0, U64), st.integers(0, 64), st.integers(U64 - 64, U64))


def holds(r: Reg, x: int) -> bool:
    """Whether the register may have the value x, by each of its six kinds of knowledge."""
    low = x & U32
    return (
        r.umin <= x <= r.umax
        and r.smin <= s64(x) <= r.smax
        and r.u32min <= low <= r.u32max
        and r.s32min <= s32(low) <= r.s32max
        and (x & ~r.mask & U64) == r.value
        and not r.value & r.mask
    )


@st.composite
def known(draw: Any, value: int | None = None) -> tuple[Reg, int]:
    """A register about which some true things are known, and the value it has."""
    x: int = draw(numbers) if value is None else value
    r = unknown_scalar()
    mask = draw(st.one_of(st.just(U64), st.just(0), numbers, numbers.map(lambda m: U64 >> m % 64)))
    r.value, r.mask = x & ~mask & U64, mask
    others = [draw(numbers) for _ in range(draw(st.integers(0, 2)))]
    if draw(st.booleans()):
        r.umin, r.umax = min([x, *others]), max([x, *others])
    if draw(st.booleans()):
        signed = [s64(v) for v in (x, *others)]
        r.smin, r.smax = min(signed), max(signed)
    if draw(st.booleans()):
        low = [v & U32 for v in (x, *others)]
        r.u32min, r.u32max = min(low), max(low)
    if draw(st.booleans()):
        low = [s32(v) for v in (x, *others)]
        r.s32min, r.s32max = min(low), max(low)
    if draw(st.booleans()):
        bounds.sync(r)
    return r, x


@EXAMPLES
@given(known())
def test_sync_keeps_the_value(k: tuple[Reg, int]) -> None:
    r, x = k
    bounds.sync(r)
    assert holds(r, x)


@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize("op", ALU_OPS.values(), ids=lambda op: op.name)
@EXAMPLES
@given(known(), known())
def test_transfer_holds_the_result(op: Any, width: int, a: tuple[Reg, int], b: tuple[Reg, int]) -> None:
    if op.name == "movsx32" and width == 32:
        return  # no such instruction
    (ra, xa), (rb, xb) = a, b
    result = op.meaning(INTS, width, Word(width, xa), Word(width, xb)).value
    got = transfer(op.name, width, ra, rb)
    if op.name == "mov" and width == 64:
        assert xb == result
    assert holds(got, result), (op.name, hex(xa), hex(xb), hex(result))


@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize("name", ["lsh", "rsh", "arsh", "add", "sub", "mul", "and", "or", "xor"])
@EXAMPLES
@given(known(), st.data())
def test_transfer_by_a_constant_holds_the_result(name: str, width: int, a: tuple[Reg, int], data: Any) -> None:
    op = next(op for op in ALU_OPS.values() if op.name == name)
    ra, xa = a
    c = data.draw(st.integers(0, width - 1) if name.endswith("sh") else numbers)
    rb = unknown_scalar()
    rb.set_const(c)
    result = op.meaning(INTS, width, Word(width, xa), Word(width, c)).value
    assert holds(transfer(name, width, ra, rb), result), (name, hex(xa), hex(c), hex(result))


@pytest.mark.parametrize("size", [1, 2, 4, 8])
@EXAMPLES
@given(known())
def test_truncation_and_extension_hold_the_result(size: int, k: tuple[Reg, int]) -> None:
    r, x = k
    low = x & ((1 << size * 8) - 1)
    t = r.copy()
    bounds.truncate(t, size)
    assert holds(t, low)
    if size < 8:
        e = r.copy()
        bounds.sign_extend(e, size)
        assert holds(e, (low - (1 << size * 8) if low >> (size * 8 - 1) else low) & U64)
    z = r.copy()
    bounds.zero_extend(z)
    assert holds(z, x & U32)


@pytest.mark.parametrize("swaps", [False, True])
@pytest.mark.parametrize("bits", [16, 32, 64])
@EXAMPLES
@given(known())
def test_byte_swaps_hold_the_result(bits: int, swaps: bool, k: tuple[Reg, int]) -> None:
    r, x = k
    low = (x & ((1 << bits) - 1)).to_bytes(bits // 8, "little")
    assert holds(byte_swap(r, bits, swaps), int.from_bytes(low, "big" if swaps else "little"))


@st.composite
def pairs(draw: Any) -> tuple[tuple[Reg, int], tuple[Reg, int]]:
    """Two known registers, often of the same value."""
    a: tuple[Reg, int] = draw(known())
    b: tuple[Reg, int] = draw(known(value=a[1]) if draw(st.booleans()) else known())
    return a, b


@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize("op", JUMP_OPS.values(), ids=lambda op: op.name)
@EXAMPLES
@given(pairs())
def test_jumps_neither_lie_nor_lose_a_value(op: Any, width: int, ab: Any) -> None:
    (ra, xa), (rb, xb) = ab
    true = bool(op.meaning(INTS, width, Word(width, xa), Word(width, xb)).value)
    assert branch.decide(op.name, width, ra, rb) in (None, true)
    a, b = branch.narrow(op.name if true else branch.NEGATED[op.name], width, ra, rb)
    assert holds(a, xa), (op.name, true, hex(xa), hex(xb))
    assert holds(b, xb), (op.name, true, hex(xa), hex(xb))


@st.composite
def tnums(draw: Any) -> tuple[int, int, int]:
    x, mask = draw(numbers), draw(numbers)
    return x & ~mask & U64, mask, x


_TNUM_OPS = {
    "add": (tnum.add, lambda a, b: a + b),
    "sub": (tnum.sub, lambda a, b: a - b),
    "mul": (tnum.mul, lambda a, b: a * b),
    "and": (tnum.and_, lambda a, b: a & b),
    "or": (tnum.or_, lambda a, b: a | b),
    "xor": (tnum.xor, lambda a, b: a ^ b),
}


@pytest.mark.parametrize("name", _TNUM_OPS)
@EXAMPLES
@given(tnums(), tnums())
def test_tnum_operations_hold_the_result(name: str, a: tuple[int, int, int], b: tuple[int, int, int]) -> None:
    abstract, concrete = _TNUM_OPS[name]
    v, m = abstract(a[0], a[1], b[0], b[1])
    assert not v & m
    assert tnum.contains(v, m, concrete(a[2], b[2]) & U64, 0)


@EXAMPLES
@given(numbers, numbers, numbers)
def test_tnum_of_a_range_holds_what_is_between(a: int, b: int, c: int) -> None:
    low, x, high = sorted((a, b, c))
    assert tnum.contains(*tnum.range_(low, high), x, 0)
