"""Limits, garbage and bad lengths: always a verdict, quickly, and in bounded memory."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from bpf_text import assemble
from hypothesis import given, settings
from hypothesis import strategies as st
from judges import Case, Live, ours

from bpfjit.btf import Btf
from bpfjit.isa.encoding import Insn, decode

FRUGAL = settings(max_examples=100, deadline=None)


def program(text: str, type_: str = "socket_filter") -> Case:
    code = assemble(text)
    return Case(type_, tuple(code.insns), code.maps)


def branches(count: int) -> Case:
    """`count` conditional jumps in a row, each of which may go either way and leaves another state."""
    lines = ["call ktime_get_ns"]
    for i in range(count):
        lines += [f"if r0 == {i} goto out", "r1 = 0"]
    return program("\n".join([*lines, "r0 = 1", "out:", "exit"]))


def test_sequence_of_jumps_is_bounded(live: Live) -> None:
    case = branches(8300)
    got = ours(case, live.btf, 1)
    assert got.reason == "The sequence of 8193 jumps is too complex."
    assert live.judge(case, 0).errno == got.errno


def test_sequence_of_8000_jumps_is_fine(live: Live) -> None:
    case = branches(8000)
    assert ours(case, live.btf, 0).ok and live.judge(case, 0).ok


def test_like_pieces_of_a_long_program_are_no_loop(live: Live) -> None:
    """States are told apart by instruction and call, however long the program is."""
    case = program("\n".join([*["call get_prandom_u32; if r0 s> 5 goto out"] * 4200, "out: r0 = 0; exit"]))
    assert ours(case, live.btf, 0).ok and live.judge(case, 0).ok


def test_no_instructions_at_all(types: Btf) -> None:
    assert ours(Case("socket_filter", ()), types).errno in (errno.EINVAL, errno.E2BIG)


ENDLESS = """
r0 = 0; r1 = 0
again: r1 += 1; r2 = r1; r2 &= 7; *(u64 *)(r10 - 8) = r1; if r1 < 900000 goto again; exit"""
# What a verification may take at its peak, whatever the program: the whole process, Python included.
MAX_RSS_MIB = 600
# Walking a million instructions takes 15 s; BPFJIT_FULL_LIMITS=1 does it, the suite stops earlier.
FULL = bool(os.environ.get("BPFJIT_FULL_LIMITS"))
_MEASURE = r"""
import re, sys
sys.path.insert(0, sys.argv[1])
from bpfjit.verifier import check
check.MAX_INSNS = int(sys.argv[2])
from test_limits import PROGRAMS, ours
got = ours(PROGRAMS[sys.argv[3]](), None, 0)
# Not ru_maxrss: a process begins with that of the one it was forked from.
print(got.errno, int(re.search(r"VmHWM:\s*(\d+)", open("/proc/self/status").read())[1]) // 1024)
"""
PROGRAMS: dict[str, Callable[[], Case]] = {
    "endless": lambda: program(ENDLESS),
    "straight": lambda: Case("socket_filter", (*[Insn(0xB7)] * (999_999 if FULL else 99_999), Insn(0x95))),
}


@pytest.mark.parametrize(("name", "number"), [("endless", errno.E2BIG), ("straight", 0)])
def test_the_longest_walks_end_in_bounded_memory(name: str, number: int) -> None:
    """In a process of its own, so that its peak memory is the verifier's."""
    limit = "1000000" if FULL else "100000"
    command = [sys.executable, "-c", _MEASURE, str(Path(__file__).parent), limit, name]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    got, mib = map(int, run.stdout.split())
    assert got == number
    assert mib < (MAX_RSS_MIB if FULL else MAX_RSS_MIB // 3), f"{mib} MiB"


def test_a_million_instructions_is_the_limit(live: Live) -> None:
    assert live.judge(program(ENDLESS), 0).errno == errno.E2BIG


def judged(case: Case, types: Btf | None) -> int:
    """The errno of a verdict; anything but a verdict is an exception."""
    start = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    got = ours(case, types, 2)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - start < 10
    return got.errno


@FRUGAL
@given(st.binary(min_size=8, max_size=400), st.sampled_from(["socket_filter", "xdp", "syscall", "raw_tracepoint"]))
def test_random_bytes_get_a_verdict(types: Btf, data: bytes, type_: str) -> None:
    judged(Case(type_, tuple(decode(data[: len(data) // 8 * 8]))), types)


_CODES = [c for c in range(256) if c & 7 in (4, 7) or c in (0x18, 0x85, 0x95, 0x05, 0x06) or c & 7 in (1, 2, 3, 5, 6)]
_insns = st.builds(
    Insn,
    st.sampled_from(_CODES),
    st.integers(0, 10),
    st.integers(0, 10),
    st.sampled_from([0, 0, 0, 1, 2, -1, -8, -16, 8, 16]),
    st.sampled_from([0, 0, 1, 2, 5, 7, 8, 16, 32, 64, -1, 0xF1, 0xE1, 0x100, 0x110, 0x7FFFFFFF]),
)


@st.composite
def plausible(draw: st.DrawFn) -> tuple[Insn, ...]:
    """Instructions whose reserved fields are mostly zero, ld_imm64 in two halves, an exit at the end."""
    out: list[Insn] = [Insn(0xB7, i, 0, 0, i) for i in range(2, 10)]
    for insn in draw(st.lists(_insns, max_size=25)):
        cls = insn.code & 7
        if cls in (4, 7):
            insn = insn._replace(off=0, imm=0 if insn.code & 8 else insn.imm, src=insn.src if insn.code & 8 else 0)
        elif cls in (5, 6) and insn.code not in (0x85, 0x95):
            insn = insn._replace(imm=0 if insn.code & 8 else insn.imm, src=insn.src if insn.code & 8 else 0)
        elif insn.code == 0x95:
            insn = Insn(0x95)
        elif insn.code == 0x85:
            insn = insn._replace(src=0, dst=0, off=0)
        elif insn.code == 0x18:
            out += [insn._replace(src=0, off=0), Insn(0)]
            continue
        elif cls in (1, 2) or insn.code & 0xE0 == 0x60:
            insn = insn._replace(imm=insn.imm if cls == 2 else 0, src=0 if cls == 2 else insn.src)
        out.append(insn)
    return (*out, Insn(0xB7), Insn(0x95))


@FRUGAL
@given(plausible(), st.sampled_from(["socket_filter", "xdp", "syscall"]))
def test_plausible_garbage_gets_linuxs_verdict(live: Live, insns: tuple[Insn, ...], type_: str) -> None:
    case = Case(type_, insns)
    mine, theirs = judged(case, live.btf), live.judge(case, 0)
    assert mine or not theirs.errno, live.judge(case, 1).log


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_ld_imm64_may_end_nowhere(types: Btf, count: int) -> None:
    insns = tuple(Insn(0x18, 0, 0, 0, 0) if i == count - 1 else Insn(0xB7) for i in range(count))
    assert judged(Case("socket_filter", insns), types) == errno.EINVAL
