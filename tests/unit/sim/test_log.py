"""Logs of PROG_LOAD and BTF_LOAD: what a buffer of any size gets, how long a log says it is, and when it is an error."""

from __future__ import annotations

import itertools
import random
import re
import struct
from collections.abc import Callable
from typing import Any

import pytest
from systems import RETURN_5, Simulated, System, live_or_skip

from bpfjit.btf import Kind
from bpfjit.errors import errno_name
from bpfjit.isa.encoding import Insn, encode
from bpfjit.loader.bpf import Bpf, Buffers
from bpfjit.uapi import bpf as uapi

REJECTED = encode([Insn(0xBF, 0, 1), Insn(0xBF, 0, 6), Insn(0x95)])  # r0 = r6, which was never written
CUT_SHORT = encode([Insn(0xB7, 0, imm=5)])
LOOPS = encode(
    [Insn(0xB7, 6), Insn(0x07, 6, imm=1), Insn(0xBF, 7, 6), Insn(0x07, 7, imm=1), Insn(0x71, 2, 10, -1), Insn(0x95)]
)
BRANCHES = encode(
    [
        Insn(0x61, 2, 1),
        Insn(0x15, 2, 0, 3),
        Insn(0xB7, 0, imm=1),
        Insn(0xB7, 0, imm=2),
        Insn(0x95),
        Insn(0xB7, 0),
        Insn(0x95),
    ]
)
PROGS = {"accepted": RETURN_5, "rejected": REJECTED, "cut short": CUT_SHORT, "stack": LOOPS}
Said = tuple[str, int, bytes]


def load(bpf: Bpf, insns: bytes, level: int, size: int, addr: int | None = None) -> Said:
    """(the outcome, log_true_size, the buffer up to its NUL); `addr` in place of a buffer's address."""
    keep, log = Buffers(), bytearray(b"\xee" * size)
    attr = uapi.ProgLoad(
        prog_type=uapi.BPF_PROG_TYPE_SOCKET_FILTER,
        insn_cnt=len(insns) // 8,
        insns=keep.put(insns),
        license=keep.put(b"GPL\0"),
        log_level=level,
        log_size=size,
        log_buf=keep.put(log) if addr is None and size else addr or 0,
    )
    return _said(bpf, uapi.BPF_PROG_LOAD, attr, log, "log_true_size")


def load_btf(bpf: Bpf, data: bytes, level: int, size: int, addr: int | None = None) -> Said:
    keep, log = Buffers(), bytearray(b"\xee" * size)
    attr = uapi.BtfLoad(
        btf=keep.put(data),
        btf_size=len(data),
        btf_log_level=level,
        btf_log_size=size,
        btf_log_buf=keep.put(log) if addr is None and size else addr or 0,
    )
    return _said(bpf, uapi.BPF_BTF_LOAD, attr, log, "btf_log_true_size")


def _said(bpf: Bpf, command: int, attr: Any, log: bytearray, true_size: str) -> Said:
    raw, outcome = bytearray(attr.pack()), "done"
    try:
        bpf.close(bpf(command, raw))
    except OSError as e:
        outcome = errno_name(e.errno or 0)
    return outcome, getattr(type(attr).unpack(raw), true_size), bytes(log).split(b"\0")[0]


def both(ask: Callable[[Bpf], Said]) -> tuple[Said, Said]:
    live, simulated = live_or_skip(), Simulated()
    try:
        return ask(simulated.bpf), ask(live.bpf)
    finally:
        simulated.close()
        live.close()


@pytest.fixture(scope="module")
def pair() -> Any:
    live, simulated = live_or_skip(), Simulated()
    yield simulated.bpf, live.bpf
    simulated.close()
    live.close()


# -- attributes ------------------------------------------------------------------------------------------

# (level, size, address: None for a buffer) -> the outcome for a program that is accepted
ATTRIBUTES = [
    (0, 0, None, "done"),
    (0, 100, None, "EINVAL"),
    (0, 100, 0, "EINVAL"),
    (1, 0, None, "done"),
    (1, 0, 0x1000, "EINVAL"),
    (1, 100, 0, "EINVAL"),
    (1, 200, None, "done"),
    (3, 1000, None, "done"),
    (4, 300, None, "done"),
    (8, 300, None, "done"),
    (9, 300, None, "done"),
    (15, 1000, None, "done"),
    (16, 1000, None, "EINVAL"),
    (17, 0, None, "EINVAL"),
    (1 << 31, 1000, None, "EINVAL"),
    (1, 1000, 0x10, "EFAULT"),
    (9, 1000, 0x10, "EFAULT"),
    (1, 10, 0x10, "EFAULT"),
    (1, 10, None, "ENOSPC"),
]


@pytest.mark.parametrize(("level", "size", "addr", "expected"), ATTRIBUTES)
def test_a_log_wants_level_and_buffer_together(
    system: System, level: int, size: int, addr: int | None, expected: str
) -> None:
    got = load(system.bpf, RETURN_5, level, size, addr)
    assert got[0] == expected
    assert bool(got[1]) == (level > 0 and expected in ("done", "ENOSPC", "EFAULT"))


def test_btf_logs_take_the_same_attributes(system: System) -> None:
    for level, size, addr, expected in ATTRIBUTES:
        wanted = "done" if (level, size, addr) == (1, 0, None) else expected
        got = load_btf(system.bpf, SMALL, level, size, addr)
        assert got[0] == ("ENOSPC" if wanted == "done" and 0 < size < got[1] else wanted), (level, size, addr)


def test_a_size_past_a_quarter_of_32_bits_is_refused(system: System) -> None:
    keep, log = Buffers(), bytearray(1000)
    for size, expected in ((0x3FFFFFFF, "done"), (0x40000000, "EINVAL")):
        attr = uapi.ProgLoad(
            prog_type=1, insn_cnt=2, insns=keep.put(RETURN_5), license=keep.put(b"GPL\0"), log_level=1, log_size=size
        )
        attr.log_buf = keep.put(log)
        assert _said(system.bpf, uapi.BPF_PROG_LOAD, attr, log, "log_true_size")[0] == expected


# -- short buffers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROGS)
@pytest.mark.parametrize("level", [1, 2, 9, 10])
def test_every_short_buffer_gets_what_linux_gives(pair: tuple[Bpf, Bpf], name: str, level: int) -> None:
    ours, theirs = pair
    whole = load(ours, PROGS[name], level, 4096)
    assert whole == load(theirs, PROGS[name], level, 4096) and whole[1] == len(whole[2]) + 1
    for size in (1, 2, 7, 50, whole[1] - 1, whole[1], whole[1] + 1):
        assert load(ours, PROGS[name], level, size) == load(theirs, PROGS[name], level, size), size


def test_the_end_is_kept_and_with_log_fixed_the_beginning(system: System) -> None:
    whole = load(system.bpf, REJECTED, 1, 4096)[2]
    assert load(system.bpf, REJECTED, 1, 40) == ("ENOSPC", len(whole) + 1, whole[-39:])
    assert load(system.bpf, REJECTED, 9, 40) == ("ENOSPC", len(whole) + 1, whole[:39])


def test_the_true_size_is_the_longest_that_the_log_ever_was(system: System) -> None:
    """Level 1 takes back what it said of a path that is good; there must have been room for it."""
    outcome, size, text = load(system.bpf, BRANCHES, 1, 4096)
    assert outcome == "done" and text.startswith(b"processed 7 insns") and size > len(text) + 150
    for level in (1, 9):
        again = load(system.bpf, BRANCHES, level, size - 1)
        assert again == ("ENOSPC", size, text)
        assert load(system.bpf, BRANCHES, level, size)[0] == "done"


def test_a_log_longer_than_its_buffer_keeps_its_end_without_being_kept_whole() -> None:
    """The simulated verifier holds about as much of a long log as the caller has room for."""
    insns = encode([*(Insn(0xB7, 0, imm=i) for i in range(2000)), Insn(0x95)])
    simulated = Simulated()
    try:
        outcome, size, whole = load(simulated.bpf, insns, 2, 1 << 20)
        assert outcome == "done" and size == len(whole) + 1 > 100_000
        assert load(simulated.bpf, insns, 2, 500) == ("ENOSPC", size, whole[-499:])
        assert load(simulated.bpf, insns, 10, 500) == ("ENOSPC", size, whole[:499])
    finally:
        simulated.close()


def test_level_4_tells_time_and_stack_of_what_is_refused_too(system: System) -> None:
    for insns, stack in ((RETURN_5, "0"), (REJECTED, "0"), (LOOPS, "8"), (CUT_SHORT, "0")):
        text = load(system.bpf, insns, 4, 4096)[2].decode()
        assert re.search(rf"^verification time \d+ usec\nstack depth {stack}\nprocessed ", text, re.MULTILINE), text


def test_level_2_begins_with_functions_and_live_registers(system: System) -> None:
    inner = [Insn(0xB7, 8), Insn(0x07, 8, imm=1), Insn(0xA5, 8, 0, -2, 2)]
    first = [Insn(0xB7, 6), Insn(0x07, 6, imm=1), Insn(0xA5, 6, 0, -2, 3), Insn(0xB7, 7)]
    end = [Insn(0x07, 7, imm=1), Insn(0xA5, 7, 0, -5, 2), Insn(0x85, 0, 1, 0, 1), Insn(0x95), Insn(0xB7, 0), Insn(0x95)]
    lines = load(system.bpf, encode([*first, *inner, *end]), 2, 1 << 16)[2].decode().splitlines()
    assert lines[:3] == ["func#0 @0", "func#1 @11", "Live regs before insn:"]
    assert lines[4:7] == [
        "  2   1: .123456... (07) r6 += 1",
        "  2   2: .123456... (a5) if r6 < 0x3 goto pc-2",
        "      3: .12345.... (b7) r7 = 0",
    ]
    assert lines[7] == "  1   4: .12345.7.. (b7) r8 = 0" and lines[15].startswith("     12: 0")


# -- BTF -------------------------------------------------------------------------------------------------


def btf(types: list[tuple[int, ...]], strings: bytes) -> bytes:
    body = b"".join(struct.pack(f"<{len(words)}I", *words) for words in types)
    return struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(body), len(body), len(strings)) + body + strings


NAMES = [b"", b"int", b"s", b"a", b"b", b"e", b"ONE", b"f", b"x", b".data", b"tag", b"t", b"v", b"two"]
STRINGS = b"\0".join(NAMES) + b"\0"
N = {name.decode(): STRINGS.index(b"\0" + name + b"\0") + 1 if name else 0 for name in NAMES}


def info(kind: Kind, vlen: int = 0, flag: int = 0) -> int:
    return kind << 24 | vlen | flag << 31


SMALL = btf([(N["int"], info(Kind.INT), 4, 1 << 24 | 32)], STRINGS)
EVERY_KIND = btf(
    [
        (N["int"], info(Kind.INT), 4, 1 << 24 | 32),  # 1
        (0, info(Kind.PTR), 4),
        (0, info(Kind.ARRAY), 0, 5, 1, 4),  # 3
        (N["s"], info(Kind.STRUCT, 4, 1), 40, N["a"], 1, 3 << 24, N["b"], 2, 64, N["f"], 3, 128, N["e"], 6, 256),
        (0, info(Kind.VOLATILE), 1),  # 5
        (N["e"], info(Kind.ENUM, 2, 1), 4, N["ONE"], 1, N["two"], 0xFFFFFFFE),
        (N["x"], info(Kind.FWD, 0, 1), 0),  # 7
        (N["t"], info(Kind.TYPEDEF), 4),
        (0, info(Kind.CONST), 8),  # 9
        (0, info(Kind.RESTRICT), 2),
        (0, info(Kind.FUNC_PROTO, 2), 1, N["a"], 10, 0, 0),  # 11
        (N["f"], info(Kind.FUNC, 1), 11),
        (N["v"], info(Kind.VAR), 9, 1),  # 13
        (N[".data"], info(Kind.DATASEC, 1), 64, 13, 8, 40),
        (N["x"], info(Kind.FLOAT), 8),  # 15
        (N["tag"], info(Kind.DECL_TAG), 4, 1),
        (N["tag"], info(Kind.TYPE_TAG), 9),  # 17
        (N["b"], info(Kind.ENUM64, 1), 8, N["ONE"], 0xFFFFFFFF, 1),
        (N["b"], info(Kind.UNION, 2), 8, N["a"], 1, 0, N["x"], 15, 0),  # 19
        (0, info(Kind.PTR), 11),
    ],
    STRINGS,
)


def test_the_log_of_good_btf_tells_every_type(pair: tuple[Bpf, Bpf]) -> None:
    ours, theirs = (load_btf(bpf, EVERY_KIND, 1, 1 << 16) for bpf in pair)
    assert ours == theirs and ours[0] == "done"
    lines = ours[2].decode().splitlines()
    assert lines[0] == "magic: 0xeb9f" and lines[8] == f"btf_total_size: {len(EVERY_KIND)}"
    assert "\ta type_id=1 bitfield_size=3 bits_offset=0" in lines
    assert "[11] FUNC_PROTO (anon) return=1 args=(10 a, vararg)" in lines


def test_a_short_buffer_for_btf_keeps_the_end_and_is_an_error_even_for_good_btf(system: System) -> None:
    whole = load_btf(system.bpf, EVERY_KIND, 1, 1 << 16)[2]
    assert load_btf(system.bpf, EVERY_KIND, 1, 30) == ("ENOSPC", len(whole) + 1, whole[-29:])
    assert load_btf(system.bpf, EVERY_KIND, 9, 30) == ("ENOSPC", len(whole) + 1, whole[:29])
    assert load_btf(system.bpf, EVERY_KIND, 1, 0) == ("done", len(whole) + 1, b"")


def test_btf_that_is_refused_says_why(system: System) -> None:
    loop = btf([(N["t"], info(Kind.TYPEDEF), 2), (0, info(Kind.CONST), 1)], STRINGS)
    outcome, _, text = load_btf(system.bpf, loop, 1, 4096)
    assert outcome == "EEXIST" and text.decode().splitlines()[-1] == "[1] TYPEDEF t type_id=2 Loop detected"
    deep = btf([(0, info(Kind.CONST), i + 2) for i in range(40)] + [(N["x"], info(Kind.FLOAT), 8)], STRINGS)
    outcome, _, text = load_btf(system.bpf, deep, 1, 4096)
    assert outcome == "E2BIG" and text.decode().splitlines()[-1].endswith("Exceeded max resolving depth:32")


def test_spoilt_btf_is_refused_as_by_linux(pair: tuple[Bpf, Bpf]) -> None:
    """Errno, words and length are the same whatever words are changed."""
    rng, end = random.Random(5), 24 + struct.unpack_from("<I", EVERY_KIND, 12)[0]
    outcomes = set()
    for _ in range(600):
        data = bytearray(EVERY_KIND)
        for _ in range(rng.choice((1, 1, 2))):
            at = rng.randrange(0 if rng.random() < 0.1 else 24, end) & ~3
            (old,) = struct.unpack_from("<I", data, at)
            values = [
                rng.randrange(24),
                old + rng.choice((-8, -1, 1, 8, 1 << 24)),
                old ^ 1 << 31,
                0xFFFFFFFF,
                rng.randrange(1 << 32),
            ]
            struct.pack_into("<I", data, at, rng.choice(values) & 0xFFFFFFFF)
        ours, theirs = (load_btf(bpf, bytes(data), 1, 1 << 14) for bpf in pair)
        assert ours == theirs, bytes(data).hex()
        outcomes.add(ours[0])
    assert {"done", "EINVAL", "EEXIST"} <= outcomes


def test_every_pair_of_kinds_may_refer_to_each_other_as_on_linux(pair: tuple[Bpf, Bpf]) -> None:
    """One type after the other of the table refers to each other one."""
    places = {}  # of each word that is a reference
    at = 24
    for number, (words, refs) in enumerate(_layout(), 1):
        places[number] = [at + 4 * i for i in refs]
        at += 4 * words
    for number, target in itertools.product(places, range(0, 22, 3)):
        for place in places[number]:
            data = bytearray(EVERY_KIND)
            struct.pack_into("<I", data, place, target)
            ours, theirs = (load_btf(bpf, bytes(data), 1, 1 << 14) for bpf in pair)
            assert ours == theirs, (number, target)


def _layout() -> list[tuple[int, tuple[int, ...]]]:
    """By type of EVERY_KIND: its words, and which of them refer to a type."""
    return [
        (4, ()), (3, (2,)), (6, (3, 4)), (15, (4, 7, 10, 13)), (3, (2,)), (7, ()), (3, ()), (3, (2,)), (3, (2,)), (3, (2,)),
        (7, (2, 4)), (3, (2,)), (4, (2,)), (6, (3,)), (3, ()), (4, (2,)), (3, (2,)), (6, ()), (9, (4, 7)), (3, (2,)),
    ]  # fmt: skip
