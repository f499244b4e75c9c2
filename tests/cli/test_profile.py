"""bpfjit prog profile: exact counts, shares that add up, and native code between its sources."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .conftest import Cli

SOURCE = """
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 64); __type(key, u32); __type(value, u64); } map SEC(".maps");
static __noinline u64 heavy(u64 v)
{
	for (int i = 0; i < 100; i++)
		v = v / 3 + v * 7;
	return v;
}
SEC("xdp") int prog(struct xdp_md *ctx)
{
	u64 v = bpf_get_prandom_u32();
	u32 key = 1;
	if (v > 1ull << 40)
		return 77;
	bpf_map_update_elem(&map, &key, &v, 0);
	return heavy(v);
}
char _license[] SEC("license") = "GPL";
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "heavy.bpf.c"
    path.write_text(SOURCE)
    return path


def test_counts_and_shares(cli: Cli, source: Path) -> None:
    answer = cli("prog", "profile", source, "--repeat", "500", "-j").json
    assert answer["program"] == "prog" and answer["runs"] == 500 and answer["mean_ns"] > 0
    lines = {line["text"]: line for line in answer["lines"]}
    assert lines["v = v / 3 + v * 7;"]["executions"] == 500 * 100
    assert lines["u64 v = bpf_get_prandom_u32();"]["executions"] == 500
    assert "return 77;" not in lines, "the verifier found that nothing gets there"
    assert sum(line["share"] for line in answer["lines"]) == pytest.approx(1, abs=0.01)
    assert {i["executions"] for i in answer["insns"]} == {500, 49500, 50000}  # the way back is taken 99 times
    assert [i["pc"] for i in answer["insns"]] == sorted(i["pc"] for i in answer["insns"])


def test_a_loop_of_divisions_takes_most_of_the_time(cli: Cli, source: Path) -> None:
    """An interruption's time is the interrupted line's: the least disturbed of ten runs counts."""

    def share() -> float:
        lines = {x["text"]: x for x in cli("prog", "profile", source, "--repeat", "500", "-j").json["lines"]}
        return sum(lines[text]["share"] for text in ("v = v / 3 + v * 7;", "for (int i = 0; i < 100; i++)"))

    assert any(share() > 0.5 for _ in range(10)), "a hundred divisions take longer than one update"


def test_text_has_lines_and_instructions(cli: Cli, source: Path) -> None:
    out = cli("prog", "profile", source, "--repeat", "10").out
    assert out.startswith("prog: 10 runs, ") and "1,000  " in out and ": exit\n" in out


def test_asm_with_counts_between_c_and_bpf(cli: Cli, source: Path) -> None:
    out = cli("prog", "profile", source, "--repeat", "10", "--asm").out
    assert "\t# v = v / 3 + v * 7; @ line 8" in out and "1,000  " in out and "\tret" in out


def test_dump_asm_has_bpf_instructions_between(cli: Cli, source: Path) -> None:
    out = cli("prog", "dump", "asm", source).out
    assert len(re.findall(r"^\t# +\d+: .*\n\t[a-z]", out, re.M)) > 5, "each before the code that comes from it"


def test_repeat_is_checked(cli: Cli, source: Path) -> None:
    assert cli("prog", "profile", source, "--repeat", "0").code == 2
