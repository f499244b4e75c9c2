"""bpfjit verify, by the contract's row."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from bpfjit.cli import verify
from bpfjit.loader import LiveBpf
from kernfs_sim import Kernel

from .conftest import Cli

Objects = Callable[[str], Path]
KEYS = [
    "object", "program", "section", "verdict", "errno", "reason", "insns", "processed_insns", "states", "duration_us", "log",
    "explanation",
]  # fmt: skip


def test_rows_have_exactly_the_contracts_keys(cli: Cli, objects: Objects) -> None:
    path = objects("packets")
    ran = cli("verify", "-j", path)
    assert (ran.code, ran.err) == (0, "")
    for row, name in zip(ran.json, ("count", "increment"), strict=True):
        assert list(row) == KEYS
        assert (row["object"], row["program"], row["section"]) == (str(path), name, "xdp")
        assert (row["verdict"], row["errno"], row["reason"]) == ("accepted", 0, "")
        assert row["processed_insns"] > 0 < row["insns"] and row["states"] >= 0 and row["duration_us"] >= 0


def test_a_rejection_is_exit_1_and_its_log_follows_the_line(cli: Cli, objects: Objects) -> None:
    ran = cli("verify", objects("rejected"))
    assert ran.code == 1
    line, *log = ran.err.splitlines()
    assert line.startswith("bpfjit: error: ") and "careless" in line and "invalid mem access" in line
    assert any("return *value;" in x for x in log), "the C source line is in the log"
    assert "careful (xdp): accepted" in ran.out


def test_rejected_rows_carry_errno_reason_and_log(cli: Cli, objects: Objects) -> None:
    ran = cli("verify", "-j", objects("rejected"))
    careless, careful = ran.json
    assert ran.code == 1
    assert (careless["verdict"], careless["errno"]) == ("rejected", 13)
    assert careless["reason"] == "R0 invalid mem access 'map_value_or_null'"
    assert careless["reason"] in careless["log"] and "return *value;" in careless["log"]
    assert careful["verdict"] == "accepted"


def test_prog_picks_and_may_be_given_often(cli: Cli, objects: Objects) -> None:
    def names(*words: str) -> list[str]:
        return [row["program"] for row in cli("verify", "-j", objects("rejected"), *words).json]

    assert names("--prog", "careful") == ["careful"]
    assert names("--prog", "careful", "--prog", "careless") == ["careless", "careful"]


def test_several_objects_make_one_list(cli: Cli, objects: Objects) -> None:
    rows = cli("verify", "-j", objects("one"), objects("packets")).json
    assert [row["program"] for row in rows] == ["only", "count", "increment"]


@pytest.mark.parametrize(("name", "said"), [("unknown_target", "no_such_tracepoint"), ("missing_extern", "nobody_has_this")])
def test_what_the_loader_refuses_is_a_rejected_row_too(cli: Cli, objects: Objects, name: str, said: str) -> None:
    ran = cli("verify", "-j", objects(name))
    assert ran.code == 1 and said in ran.refusal
    assert ran.json[0]["verdict"] == "rejected" and said in ran.json[0]["reason"]


def test_live_kernel_gives_the_same_rows(cli: Cli, objects: Objects, live: LiveBpf) -> None:
    ran = cli("verify", "-j", "--kernel", "live", objects("rejected"))
    careless, careful = ran.json
    assert ran.code == 1 and list(careless) == KEYS
    assert (careless["verdict"], careless["errno"]) == ("rejected", 13)
    assert careless["reason"] == "R0 invalid mem access 'map_value_or_null'"
    assert careful["verdict"] == "accepted" and careful["processed_insns"] == 2


def test_both_puts_linuxs_verdict_beside_ours(cli: Cli, objects: Objects, live: LiveBpf) -> None:
    ran = cli("verify", "-j", "--kernel", "both", objects("rejected"))
    for row in ran.json:
        assert list(row) == [*KEYS, "live"]
        assert row["live"]["verdict"] == row["verdict"] and row["live"]["reason"] == row["reason"]
    assert "Linux agrees" in cli("verify", "--kernel", "both", objects("one")).out


def test_what_linux_alone_refuses_is_exit_1(cli: Cli, objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = verify._verdicts

    def both(args: argparse.Namespace, bpf: object) -> list[dict[str, object]]:
        rows = ours(args, Kernel().bpf)
        return rows if not isinstance(bpf, LiveBpf) else [{**r, "verdict": "rejected", "reason": "not here"} for r in rows]

    monkeypatch.setattr(verify, "_verdicts", both)
    ran = cli("verify", "--kernel", "both", objects("one"))
    assert ran.code == 1 and "DISAGREES" in ran.out
    assert "Linux alone: not here" in ran.err.splitlines()[0]
