"""Tristate numbers: 64 bits of which each is 0, 1 or unknown, as (value, mask) with mask 1 for unknown.

Source: "Sound, Precise, and Fast Abstract Interpretation with Tristate Numbers" (CGO 2022) and RFC 9669's
arithmetic; results are checked by property tests against concrete arithmetic.
"""

from __future__ import annotations

U64 = 0xFFFFFFFFFFFFFFFF
U32 = 0xFFFFFFFF
Tnum = tuple[int, int]

UNKNOWN: Tnum = (0, U64)


def const(value: int) -> Tnum:
    return value & U64, 0


def range_(low: int, high: int) -> Tnum:
    """The smallest tnum that holds every unsigned value in [low, high]."""
    bits = (low ^ high).bit_length()
    if bits > 63:
        return UNKNOWN
    delta = (1 << bits) - 1
    return low & ~delta & U64, delta


def add(av: int, am: int, bv: int, bm: int) -> Tnum:
    sm, sv = (am + bm) & U64, (av + bv) & U64
    sigma = (sm + sv) & U64
    mu = (sigma ^ sv) | am | bm
    return sv & ~mu & U64, mu


def sub(av: int, am: int, bv: int, bm: int) -> Tnum:
    dv = (av - bv) & U64
    alpha, beta = (dv + am) & U64, (dv - bm) & U64
    mu = (alpha ^ beta) | am | bm
    return dv & ~mu & U64, mu


def and_(av: int, am: int, bv: int, bm: int) -> Tnum:
    alpha, beta, v = av | am, bv | bm, av & bv
    return v, alpha & beta & ~v & U64


def or_(av: int, am: int, bv: int, bm: int) -> Tnum:
    v, mu = av | bv, am | bm
    return v, mu & ~v & U64


def xor(av: int, am: int, bv: int, bm: int) -> Tnum:
    v, mu = av ^ bv, am | bm
    return v & ~mu & U64, mu


def mul(av: int, am: int, bv: int, bm: int) -> Tnum:
    acc_v, acc_m = (av * bv) & U64, 0
    while av or am:
        if av & 1:
            acc_v, acc_m = add(acc_v, acc_m, 0, bm)
        elif am & 1:
            acc_v, acc_m = add(acc_v, acc_m, 0, bv | bm)
        av >>= 1
        am >>= 1
        bv = (bv << 1) & U64
        bm = (bm << 1) & U64
    return acc_v & ~acc_m & U64, acc_m


def lsh(av: int, am: int, n: int) -> Tnum:
    return (av << n) & U64, (am << n) & U64


def rsh(av: int, am: int, n: int) -> Tnum:
    return av >> n, am >> n


def arsh(av: int, am: int, n: int, width: int) -> Tnum:
    """Arithmetic shift of the low `width` bits; the sign bit's trit is what comes in."""
    full = (1 << width) - 1
    av, am = av & full, am & full
    top = 1 << (width - 1)
    v = (av - (top << 1) if av & top else av) >> n & full
    m = (am - (top << 1) if am & top else am) >> n & full
    return v & ~m, m


def intersect(av: int, am: int, bv: int, bm: int) -> Tnum:
    """What is in both (which must not be disjoint)."""
    v, mu = av | bv, am & bm
    return v & ~mu & U64, mu


def contains(av: int, am: int, bv: int, bm: int) -> bool:
    """Whether every value of b is one of a."""
    return not (bm & ~am) and (bv & ~am & U64) == av


def cast(v: int, m: int, size: int) -> Tnum:
    """The low `size` bytes."""
    full = (1 << size * 8) - 1
    return v & full, m & full
