"""docs/verifier.md shows what really comes out, and an explanation is read from Linux's log as from ours."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bpfjit.cli.main import main
from bpfjit.errors import VerifierError
from bpfjit.loader import open_object
from bpfjit.loader.explain import Explanation, Step, explain
from kernfs_sim import Kernel

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "examples" / "mistakes.bpf.c"
BLOCKS = dict(re.findall(r"<!-- mistake (\w+) -->\n```\n(.*?)```", (ROOT / "docs" / "verifier.md").read_text(), re.DOTALL))


@pytest.fixture(scope="module")
def said() -> dict[str, Explanation]:
    """By program, its explanation as `bpfjit verify -j` gives it."""
    import contextlib
    import io

    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        assert main(["verify", str(SOURCE), "-j"]) == 1
    found = {}
    for row in json.loads(out.getvalue()):
        told = row["explanation"]
        assert told is not None, row["program"]
        found[row["program"]] = Explanation(**{**told, "path": tuple(Step(**step) for step in told["path"])})
    return found


@pytest.mark.parametrize("name", BLOCKS)
def test_the_page_shows_what_is_said(name: str, said: dict[str, Explanation]) -> None:
    assert _words(str(said[name])) == _words(BLOCKS[name])


def _words(text: str) -> list[str]:
    """Reason, source lines and advice; registers and offsets are the compiler's choice."""
    kept = [line for line in text.splitlines() if re.match(r"why:|where:|mend:", line)]
    return [re.sub(r"\bR?\d+", "N", line) for line in kept]


def test_there_are_ten_and_each_has_advice(said: dict[str, Explanation]) -> None:
    assert set(said) == set(BLOCKS) and len(said) == 10
    assert all(e.advice and e.insn and e.source for e in said.values())


def test_the_error_carries_its_explanation() -> None:
    with Kernel() as kernel, pytest.raises(VerifierError) as e:
        open_object(SOURCE).load(kernel.bpf, only=["no_null_check"])
    assert "may be NULL" in str(e.value.explanation)


LINUX = """\
; int key = prev->pid; @ a.bpf.c:21
1: (61) r1 = *(u32 *)(r1 +200)        ; R1_w=scalar(smin=0)
; if (i > 16) @ a.bpf.c:33
2: (26) if w1 > 0x10 goto pc+7        ; R1=scalar(smin=smin32=0,smax=umax=16,var_off=(0x0; 0x1f))
; table[i] += 1; @ a.bpf.c:35
7: (61) r1 = *(u32 *)(r1 +0)
invalid access to map value, value_size=64 off=64 size=4
R1 max value is outside of the allowed memory range
processed 7 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
"""


def test_an_explanation_is_read_from_any_log() -> None:
    got = explain(LINUX)
    assert got is not None
    assert (got.pc, got.source, got.reason.split(",")[0]) == (7, "a.bpf.c:35: table[i] += 1;", "invalid access to map value")
    assert got.path[1] == Step("a.bpf.c:33: if (i > 16)", {"R1": "scalar(smin=smin32=0,smax=umax=16,var_off=(0x0; 0x1f))"})
    assert "larger than the memory" in got.advice
    assert explain("") is None
