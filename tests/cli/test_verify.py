"""bpfjit verify, by the contract's row."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from bpfjit.cli import verify
from bpfjit.loader import LiveBpf, open_object
from kernfs_sim import Kernel
from runtime import ffi

from .conftest import Cli

Objects = Callable[[str], Path]
KEYS = [
    "object", "program", "section", "verdict", "errno", "reason", "insns", "processed_insns", "states", "duration_us", "log",
    "explanation", "not_simulated",
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

    def both(args: argparse.Namespace, bpf: object, kernel: object = None) -> list[dict[str, object]]:
        rows = ours(args, Kernel().bpf)
        return rows if not isinstance(bpf, LiveBpf) else [{**r, "verdict": "rejected", "reason": "not here"} for r in rows]

    monkeypatch.setattr(verify, "_verdicts", both)
    ran = cli("verify", "--kernel", "both", objects("one"))
    assert ran.code == 1 and "DISAGREES" in ran.out
    assert "Linux alone: not here" in ran.err.splitlines()[0]


# -- what runs elsewhere --------------------------------------------------------------------------------------

LINUX_TYPES = "/sys/kernel/btf/vmlinux"


def test_a_program_whose_helper_has_no_code_here_is_judged_all_the_same(cli: Cli, objects: Objects) -> None:
    path = objects("elsewhere")
    ran = cli("verify", path)
    assert ran.code == 0 and "runs on Linux only: bpf_send_signal#109 has no code here" in ran.out
    assert [row["not_simulated"] for row in cli("verify", "-j", path).json] == [["bpf_send_signal#109"]]


@pytest.mark.parametrize(
    ("prog", "here", "there"),
    [("member", "rejected", "accepted"), ("function", "rejected", "accepted"), ("answer", "rejected", "rejected")],
)
def test_another_kernels_types_judge_by_that_kernels_structures_and_functions(
    cli: Cli, objects: Objects, live: LiveBpf, prog: str, here: str, there: str
) -> None:
    path = objects("elsewhere")
    assert cli("verify", "-j", path, "--prog", prog).json[0]["verdict"] == here
    assert cli("verify", "-j", path, "--prog", prog, "--btf", LINUX_TYPES).json[0]["verdict"] == there


def test_what_was_only_verified_does_not_run(objects: Objects) -> None:
    with Kernel(engine="none") as kernel, open_object(objects("packets")).load(kernel.bpf) as loaded:
        prog = kernel.caller.fds.get(loaded.progs["count"].fd).object
        prog.fn(ffi.NULL)
        with pytest.raises(OSError, match=r"count: this kernel verifies programs and does not run them"):
            prog.check_fault()


def test_another_kernels_types_are_for_verifying_alone() -> None:
    with Kernel() as kernel, pytest.raises(ValueError, match=r"engine 'jit' with another kernel's BTF.*wanted 'none'"):
        Kernel(btf=kernel.btf.types)


def test_a_profile_is_another_version_of_linux(cli: Cli, objects: Objects, tmp_path: Path) -> None:
    source = tmp_path / "loops.bpf.c"
    source.write_text(
        '#include "vmlinux.h"\n#include <bpf/bpf_helpers.h>\nchar _license[] SEC("license") = "GPL";\n'
        'SEC("xdp") int loops(struct xdp_md *ctx) { int i, s = 0; bpf_for(i, 0, 9) s += i; return s & 1; }\n'
    )
    old = cli("verify", "--profile", "6.1", source)
    assert old.code == 1 and "calling kernel function bpf_iter_num_new is not allowed" in old.err
    assert cli("verify", "--profile", "6.12", source).code == 0
    assert cli("verify", "--profile", "6.1", objects("packets")).code == 0


def test_an_unknown_profile_is_exit_2_and_lists_those_that_there_are(cli: Cli, objects: Objects) -> None:
    ran = cli("verify", "--profile", "5.4", objects("packets"))
    assert (ran.code, ran.err) == (2, "bpfjit: error: no profile '5.4'; there are 6.1, 6.12, 6.18\n")
