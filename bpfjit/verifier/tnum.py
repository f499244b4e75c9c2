"""Tristate numbers: 64 bits of which each is 0, 1 or unknown, as (value, mask) with mask 1 for unknown.

Source: "Sound, Precise, and Fast Abstract Interpretation with Tristate Numbers" (CGO 2022) and RFC 9669's
arithmetic; results are checked by property tests against concrete arithmetic. Compiled, numbers are C's unsigned 64
bits (tnum.pxd), so no expression may pass through a value beyond them that is not cut off afterwards.
"""

from __future__ import annotations

U64 = 0xFFFFFFFFFFFFFFFF
U32 = 0xFFFFFFFF
Tnum = tuple[int, int]

UNKNOWN: Tnum = (0, U64)
_U64 = U64  # names with an underscore are C numbers in the compiled module


def const(value: int) -> Tnum:
    return value & _U64, 0


def range_(low: int, high: int) -> Tnum:
    """The smallest tnum that holds every unsigned value in [low, high]."""
    differ = low ^ high
    # Every bit below the highest that differs.
    differ |= differ >> 1
    differ |= differ >> 2
    differ |= differ >> 4
    differ |= differ >> 8
    differ |= differ >> 16
    differ |= differ >> 32
    return low & ~differ & _U64, differ


def add(av: int, am: int, bv: int, bm: int) -> Tnum:
    sm, sv = (am + bm) & _U64, (av + bv) & _U64
    sigma = (sm + sv) & _U64
    mu = (sigma ^ sv) | am | bm
    return sv & ~mu & _U64, mu


def sub(av: int, am: int, bv: int, bm: int) -> Tnum:
    dv = (av - bv) & _U64
    alpha, beta = (dv + am) & _U64, (dv - bm) & _U64
    mu = (alpha ^ beta) | am | bm
    return dv & ~mu & _U64, mu


def and_(av: int, am: int, bv: int, bm: int) -> Tnum:
    alpha, beta, v = av | am, bv | bm, av & bv
    return v, alpha & beta & ~v & _U64


def or_(av: int, am: int, bv: int, bm: int) -> Tnum:
    v, mu = av | bv, am | bm
    return v, mu & ~v & _U64


def xor(av: int, am: int, bv: int, bm: int) -> Tnum:
    v, mu = av ^ bv, am | bm
    return v & ~mu & _U64, mu


def mul(av: int, am: int, bv: int, bm: int) -> Tnum:
    acc_v, acc_m = (av * bv) & _U64, 0
    while av or am:
        if av & 1:
            acc_v, acc_m = add(acc_v, acc_m, 0, bm)
        elif am & 1:
            acc_v, acc_m = add(acc_v, acc_m, 0, bv | bm)
        av >>= 1
        am >>= 1
        bv = (bv << 1) & _U64
        bm = (bm << 1) & _U64
    return acc_v & ~acc_m & _U64, acc_m


def lsh(av: int, am: int, n: int) -> Tnum:
    return (av << n) & _U64, (am << n) & _U64


def rsh(av: int, am: int, n: int) -> Tnum:
    return av >> n, am >> n


def arsh(av: int, am: int, n: int, width: int) -> Tnum:
    """Arithmetic shift of the low `width` bits; the sign bit's trit is what comes in."""
    full = _U64 >> (64 - width)
    av, am = av & full, am & full
    high = full ^ (full >> n)
    v, m = av >> n, am >> n
    if av >> (width - 1):
        v |= high
    if am >> (width - 1):
        m |= high
    return v & ~m & _U64, m


def intersect(av: int, am: int, bv: int, bm: int) -> Tnum:
    """What is in both (which must not be disjoint)."""
    v, mu = av | bv, am & bm
    return v & ~mu & _U64, mu


def following(v: int, m: int, after: int) -> int:
    """The smallest member greater than a number; the largest of all where there is none."""
    most = v | m
    if after >= most:
        return most
    if after < v:
        return v
    least = after + 1  # not above `most`, so no overflow
    differ = (least ^ v) & ~m & _U64
    if not differ:
        return least
    # All bits from the highest one that must differ downwards.
    low = differ
    low |= low >> 1
    low |= low >> 2
    low |= low >> 4
    low |= low >> 8
    low |= low >> 16
    low |= low >> 32
    high = ~low & _U64
    if v & (low ^ low >> 1):
        return least & high | v & low  # that bit becomes 1: the least below it
    # It becomes 0: the unknown bits above are counted up by one, and below is the least.
    up = ((least | ~m & _U64) & high) + low + 1 & _U64
    return up & m & high | v


def contains(av: int, am: int, bv: int, bm: int) -> bool:
    """Whether every value of b is one of a."""
    return not (bm & ~am) and (bv & ~am & _U64) == av


def cast(v: int, m: int, size: int) -> Tnum:
    """The low `size` bytes."""
    full = _U64 >> (64 - size * 8)
    return v & full, m & full
