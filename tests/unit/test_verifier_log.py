"""The log: what each level holds, Linux's form, and C source lines in logs and reasons."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "verifier"))

from bpf_text import assemble
from judges import Case, ours
from program_btf import program_btf

SOURCE = ["int i = bpf_get_prandom_u32();", "char *p = value;", "p += i;", "return *p;"]
TEXT = "call get_prandom_u32; r0 &= 31; r1 = value[array]; r1 += r0; r0 = *(u8 *)(r1 + 0); exit"
LINES = ((0, 0), (2, 1), (4, 2), (5, 3))
SUMMARY = "processed {} insns (limit 1000000) max_states_per_insn {} total_states {} peak_states {} mark_read 0"


def case(text: str = TEXT, source: list[str] | None = None) -> Case:
    code = assemble(text)
    if source is None:
        return Case("socket_filter", tuple(code.insns), code.maps)
    data, funcs, rows = program_btf(code, {}, source)
    by_line = {number - 1: row for number, row in enumerate(rows, 1)}
    lines = tuple((pc, *by_line[i][1:]) for pc, i in LINES)
    return Case("socket_filter", tuple(code.insns), code.maps, btf=data, funcs=funcs, lines=lines)


def test_level_0_keeps_only_the_reason_for_the_error() -> None:
    got = ours(case(), None, 0)
    assert not got.ok and got.log == ""


def test_level_1_ends_with_the_reason_and_the_statistics() -> None:
    lines = ours(case(), None, 1).log.splitlines()
    assert lines[-2] == "R1 max value is outside of the allowed memory range"
    assert lines[-1] == SUMMARY.format(5, 0, 0, 0)


def test_level_1_keeps_only_the_failing_path() -> None:
    text = """
    call get_prandom_u32; if r0 == 0 goto bad; r6 = 77; r0 = 0; exit
    bad: r0 = *(u64 *)(r9 + 0); exit"""
    one, two = ours(case(text), None, 1).log, ours(case(text), None, 2).log
    assert "r6 = 77" not in one and "R9 !read_ok" in one
    assert "r6 = 77" in two and "from 1 to 5:" in two


def test_level_2_prints_what_an_instruction_changed() -> None:
    log = ours(case("call get_prandom_u32; r0 &= 7; exit"), None, 2).log
    assert "0: R1=ctx() R10=fp0" in log
    line = next(x for x in log.splitlines() if x.startswith("1: (57)"))
    assert line.split(";")[1].strip().startswith("R0=scalar(") and "(0x0; 0x7)" in line


def test_source_lines_stand_before_their_instructions() -> None:
    lines = ours(case(source=SOURCE), None, 2).log.splitlines()
    for i, (pc, _) in enumerate(LINES):
        at = lines.index(f"; {SOURCE[i]} @ case.bpf.c:{case(source=SOURCE).lines[i][3] >> 10}")
        assert lines[at + 1].startswith(f"{pc}: (")


def test_the_reason_carries_the_source_line() -> None:
    from judges import program_of

    from bpfjit.program import Rejected
    from bpfjit.verifier import Env, verify

    with pytest.raises(Rejected) as e:
        verify(program_of(case(source=SOURCE)), Env(None))
    assert e.value.reason.splitlines()[0].endswith(": return *p;)")
    assert "(case.bpf.c:" in e.value.reason


def test_the_log_is_bounded() -> None:
    text = "r1 = 0; r0 = 0; l: r1 += 1; if r1 < 60000 goto l; exit"
    assert len(ours(case(text), None, 2).log) <= (1 << 24) + 1000
