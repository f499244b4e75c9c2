"""What is printed: generated formats and structures of the kernel, the same bytes on both kernels."""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfjit.loader.compile import compile_c
from kernfs_sim import Kernel

from .worlds import HERE, Live, Simulated, World

CASES = 512
TYPES = 15
FLAGS = (0, 1, 2, 4, 5, 6, 8, 9, 12, 13, 15)  # compact 1, no names 2, raw pointers 4, zeroes 8
_SHAPE = struct.Struct("<IIII12Q64s64s")
_CONVERSIONS = (
    "d", "i", "u", "x", "X", "ld", "lu", "lx", "llu", "lld", "llx", "lX", "c", "s", "px", "pks", "pI4", "pi4", "pI6", "pi6",
    "pI6c", "o", "n", "f", "hd", "zu", "I4", "Q",
)  # fmt: skip


@pytest.fixture(scope="module")
def both(live: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, World]]:
    path: Path = tmp_path_factory.mktemp("printing") / "printing.bpf.o"
    path.write_bytes(compile_c(HERE / "printing.bpf.c"))
    real = Live(path)
    with real.obj, Kernel() as kernel:
        kernel.tasks.create(os.getpid())
        sim = Simulated(kernel, path)
        with sim.obj:
            yield real, sim


def printed(world: World, prog: str, cases: list[bytes]) -> list[str]:
    link, found = world.link(prog, tid=os.getpid()), []
    for case in cases:
        world.obj.maps["cases"].update(bytes(4), case)
        fd = world.open(link)
        found += b"".join(world.drain(fd, 65536)).decode("latin-1").splitlines()
        world.bpf.close(fd)
    return found


def a_format(rng: random.Random) -> bytes:
    """A case with a format of up to five conversions, most of which both kernels take."""
    parts, texts, n = [], 0, 0
    for _ in range(rng.randint(0, 5)):
        known = rng.random() < 0.93
        conversion = rng.choice(_CONVERSIONS[:21] if known else _CONVERSIONS[21:])
        # Addresses are read by these: the case's own text, or NULL.
        if conversion[:2] in ("s", "pk", "pI", "pi") and rng.random() < 0.9:
            texts |= 1 << n
        flags = rng.choice(("", "", "", "0", "-", "+", " ", "05", "8", "-12", "016", "20")) if rng.random() < 0.6 else ""
        parts.append(rng.choice(("", "a", " ", "%%", ":", "x=", "\t", "é")) + f"%{flags}{conversion}")
        n += 1
    nargs = n if rng.random() < 0.9 else rng.randint(0, 12)
    raw = ("".join(parts) + rng.choice(("", ".", "\n"))).encode()[:62] + b"\0"
    args = [
        0 if rng.random() < 0.1 else rng.choice((rng.getrandbits(64), rng.getrandbits(31), rng.randrange(300)))
        for _ in range(12)
    ]
    if (not texts and b"s" in raw) or b"pI" in raw or b"pi" in raw or b"pks" in raw:
        args = [a if raw.count(b"%") == 0 else 0 for a in args]
    return _SHAPE.pack(len(raw), nargs, texts, 0, *args, raw, b"some text, \x7f\x80\xff and a NUL" + bytes([0, 1, 2, 3]))


def test_generated_formats_print_the_same(both: tuple[World, World]) -> None:
    rng = random.Random(20200408)
    cases = [a_format(rng) for _ in range(CASES)]
    live, sim = (printed(world, "formats", cases) for world in both)
    assert sum(line.startswith("= 0") for line in live) > CASES // 2  # most of them print something
    assert sim == live


def test_structures_print_the_same(both: tuple[World, World]) -> None:
    rng = random.Random(7)
    cases = []
    for i in range(CASES):
        some = bytes(rng.choice((0, 0, 0, rng.randrange(256), rng.choice(b"abcXYZ ~\xe9"))) for _ in range(64))
        kind = i % TYPES
        if kind == 14:
            some = rng.choice((0, 1, 2, 4, 5, 1 << 31)).to_bytes(4, "little")
        # Hashed pointers are each kernel's own: they are shown raw.
        flags = rng.choice(FLAGS) | (4 if kind in (2, 3, 4, 7, 11) else 0)
        room = rng.choice((1, 2, 20, 100, 510))
        cases.append(_SHAPE.pack(kind, flags, 0, room, *[0] * 12, b"", some))
    live, sim = (printed(world, "types", cases) for world in both)
    assert sim == live


@pytest.mark.parametrize(("kind", "flags", "expected"), [(99, 0, -22), (0, 16, -22)])
def test_a_type_that_is_not_there_is_refused(both: tuple[World, World], kind: int, flags: int, expected: int) -> None:
    case = _SHAPE.pack(kind, flags, 0, 100, *[0] * 12, b"", b"")
    for world in both:
        assert printed(world, "types", [case])[0] == f"= {expected}"
