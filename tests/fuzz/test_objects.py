"""Mutated objects: whatever a file claims, open_object() and load() end in a BpfError or OSError and leave nothing behind.

Bounded in the suite; longer with, for example, FUZZ_OBJECTS=50000 FUZZ_SEED=7 python -m pytest tests/fuzz/test_objects.py
"""

from __future__ import annotations

import os
import random
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bpfjit.btf import parse_btf, write_btf
from bpfjit.btf.from_c import btf_from_c
from bpfjit.elf.link import read_object
from bpfjit.errors import BpfError
from bpfjit.loader import LoadedObject, Object
from bpfjit.loader.compile import compile_c
from kernfs_sim import Kernel

ROUNDS = int(os.environ.get("FUZZ_OBJECTS", "250"))
SEED = int(os.environ.get("FUZZ_SEED", "20"))
SLOWEST_S = 10.0  # of one file: a hostile count must not cost more than its bytes do
PROGRAMS = Path(__file__).resolve().parent.parent / "objects"
NAMES = ("globals", "subprogs", "core_loads", "externs", "maps", "legacy_maps", "inner_maps", "sections", "core_fields")
WILD = (0, 1, 2, 3, 7, 8, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0xFFFF, 0x10000, 0xFFFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)

Mutation = Callable[[random.Random, bytearray], None]


@pytest.fixture(scope="module")
def originals() -> list[bytes]:
    return [compile_c(PROGRAMS / f"{name}.bpf.c") for name in NAMES]


def sections(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """(header's place, type, offset, size) of every section that lies within the file."""
    if len(data) < 64:
        return
    shoff, _, _, _, _, _, shnum, _ = struct.unpack_from("<QIHHHHHH", data, 40)
    for i in range(shnum):
        at = shoff + 64 * i
        if at + 64 <= len(data):
            _, kind, _, _, offset, size = struct.unpack_from("<IIQQQQ", data, at)
            if kind != 8 and offset + size <= len(data):
                yield at, kind, offset, size


def wild_word(rng: random.Random, data: bytearray, at: int) -> None:
    if at + 4 <= len(data):
        old = struct.unpack_from("<I", data, at)[0]
        new = rng.choice(
            (rng.choice(WILD), old + rng.choice((-8, -1, 1, 8)), rng.getrandbits(32), old ^ 1 << rng.randrange(32))
        )
        struct.pack_into("<I", data, at, new & 0xFFFFFFFF)


def bit_flips(rng: random.Random, data: bytearray) -> None:
    for _ in range(rng.choice((1, 1, 2, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def truncation(rng: random.Random, data: bytearray) -> None:
    del data[rng.randrange(len(data)) :]


def elf_header(rng: random.Random, data: bytearray) -> None:
    wild_word(rng, data, rng.randrange(0, 64, 2))


def section_header(rng: random.Random, data: bytearray) -> None:
    at, *_ = rng.choice(list(sections(data)))
    wild_word(rng, data, at + rng.randrange(0, 64, 4))


def inside(magic: bytes | None = None, kinds: tuple[int, ...] = ()) -> Mutation:
    """A mutation of a word of a section that begins with `magic` or is of one of those types."""

    def mutate(rng: random.Random, data: bytearray) -> None:
        fitting = [
            (offset, size)
            for _, kind, offset, size in sections(data)
            if size >= 4 and (data[offset:].startswith(magic) if magic else kind in kinds)
        ]
        if fitting:
            offset, size = rng.choice(fitting)
            for _ in range(rng.choice((1, 1, 2, 5))):
                wild_word(rng, data, offset + rng.randrange(0, size - 3, 4 if magic else 1))

    return mutate


MUTATIONS: tuple[Mutation, ...] = (
    bit_flips,
    truncation,
    elf_header,
    section_header,
    inside(magic=b"\x9f\xeb\x01"),  # .BTF and .BTF.ext
    inside(magic=b"\x9f\xeb\x01"),
    inside(kinds=(1,)),  # code and data
    inside(kinds=(2,)),  # symbols
    inside(kinds=(9,)),  # relocations
    inside(kinds=(3,)),  # names
)


def open_fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_mutated_objects_end_in_one_error_and_leave_nothing_behind(originals: list[bytes]) -> None:
    rng = random.Random(SEED)
    fds, loaded, refused = open_fds(), 0, 0
    with Kernel() as kernel:
        assert kernel.jit is not None  # whatever fds it has are the kernel's
        for n in range(ROUNDS):
            data = bytearray(rng.choice(originals))
            mutation = rng.choice(MUTATIONS)
            mutation(rng, data)
            what = f"FUZZ_SEED={SEED}, round {n}, {getattr(mutation, '__qualname__', mutation)}"
            start = time.monotonic()
            try:
                obj = Object(read_object(bytes(data), "fuzz", "fuzz.bpf.o"))
                obj.load(kernel.bpf).close()
                loaded += 1
            except (BpfError, OSError) as e:
                assert "\n" not in str(e), what
                refused += 1
            except BaseException as e:
                raise AssertionError(f"{what}: {type(e).__name__}: {e}") from e
            assert time.monotonic() - start < SLOWEST_S, what
            left = [list(kernel.maps), list(kernel.progs), list(kernel.links), list(kernel.btfs)[1:]]
            assert left == [[], [], [], []], what
            assert not len(kernel.caller.fds), what
    assert open_fds() <= fds + 1
    assert loaded and refused


def test_a_mutated_kernel_btf_ends_in_one_error(originals: list[bytes]) -> None:
    rng = random.Random(SEED)
    kernel_types = write_btf(
        btf_from_c("""
        struct inner { int x; int y[4]; }; enum color { RED, GREEN }; enum huge { LARGE = 0x100000000 };
        enum sign { MINUS = -5 }; typedef int number_t; union choice { int a; }; struct same_shape { int a; void *p; };
        struct sample { long only_new; int a; unsigned char narrow; struct inner in; unsigned int bits : 5; int sbits : 4;
            union { long anon_a; int anon_b; }; struct inner many[2]; enum color paint; };
    """)
    )
    answered = refused = 0
    with Kernel() as kernel:
        for n in range(ROUNDS):
            data = bytearray(kernel_types)
            for _ in range(rng.choice((1, 2, 4))):
                wild_word(rng, data, rng.randrange(0, len(data) - 3))
            try:
                obj = Object(read_object(originals[-1], "fuzz", "fuzz.bpf.o"), btf=parse_btf(bytes(data)))
                with LoadedObject(obj, kernel.bpf) as loaded:
                    loaded.create_maps()
                    loaded.insns(obj.progs["ask"])
                answered += 1
            except BpfError as e:
                assert "\n" not in str(e)
                refused += 1
            except BaseException as e:
                raise AssertionError(f"FUZZ_SEED={SEED}, round {n}: {type(e).__name__}: {e}") from e
    assert answered and refused


def test_every_truncation_is_one_error(originals: list[bytes]) -> None:
    data = originals[0]
    for end in [*range(80), *range(80, len(data) - 1, max(1, len(data) // 150))]:
        with pytest.raises(BpfError) as refused:
            read_object(data[:end], "fuzz", "fuzz.bpf.o")
        assert str(refused.value).startswith("fuzz.bpf.o") and "\n" not in str(refused.value)
