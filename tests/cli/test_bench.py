"""bpfjit bench: the shape of its answers (its figures are no matter of tests)."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bpfjit.cli import bench_jit, bench_read
from bpfjit.cli.bench import Progress, Row, geomean, quartiles
from bpfjit.cli.bench_plot import plot

from .conftest import Cli

KEYS = ["what", "bpfjit_ns", "interp_ns", "kernel_ns", "native_ns", "elements"]


def test_jit_has_a_dozen_programs_and_the_empty_one() -> None:
    names = {bench_jit.name_of(p) for p in bench_jit.sources()}
    assert "empty" in names and len(names) > 12


def test_jit_rows_geomeans_and_plot(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = ("empty", "parse", "memcmp", "calls")
    paths = [p for p in bench_jit.sources() if bench_jit.name_of(p) in few]
    monkeypatch.setattr(bench_jit, "sources", lambda: paths)
    ran = cli("bench", "jit", "--quick", "-j", "--plot", tmp_path / "jit.svg")
    assert (ran.code, ran.err) == (0, "")
    answer = ran.json
    assert answer["command"] == "bpfjit bench jit --quick" and answer["machine"]["cpus"]
    assert {row["what"] for row in answer["rows"]} == {"parse", "memcmp", "calls"}
    for row in answer["rows"]:
        assert list(row)[: len(KEYS)] == KEYS
        assert row["bpfjit_ns"] > 0 and row["interp_ns"] > 0
        assert row["native_ns"] is None or row["native_ns"] > 0
        assert row["insns"] > 0 and row["load_ms"] > 0
        assert row["speedup_interp"] > 50, "the issue's figure, far away enough to be no timed test"
    if os.environ.get("BPFJIT_REQUIRE_LIVE"):
        assert all(row["kernel_ns"] for row in answer["rows"])
    assert set(answer["geomeans"]) == {"speedup_interp", "speedup_kernel", "speedup_native"}
    worst = [
        min(row[k] for k in ("speedup_kernel", "speedup_native") if row[k]) for row in answer["rows"] if row["native_ns"]
    ]
    assert worst == sorted(worst), "the losers come first"
    ElementTree.parse(tmp_path / "jit.svg")


def test_read_rows(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_read, "CGROUPS", 200)
    ran = cli("bench", "read", "--quick", "-j")
    assert (ran.code, ran.err) == (0, "")
    rows = {(row["what"], row["threads"]): row for row in ran.json["rows"]}
    names = ("view open+read+close", "bulk read", "kernel pinned iterator", "kernel cgroup.stat")
    assert set(rows) == {(name, threads) for name in names for threads in (1, 2)}
    for (what, _), row in rows.items():
        assert list(row)[: len(KEYS)] == KEYS
        if not what.startswith("kernel"):
            assert row["bpfjit_ns"] > 0 and row["reads_per_s"] > 0 and row["mb_per_s"] > 0
            assert 0 < row["p50_ns"] <= row["p99_ns"]
    assert rows["bulk read", 1]["elements"] == 200


def test_pinned_iterator_leaves_nothing_behind(live: object) -> None:
    before = Path("/proc/self/mounts").read_text()
    with bench_read.pinned_iterator() as path:
        assert Path(path).read_text() == "0 0\n"
    assert Path("/proc/self/mounts").read_text() == before
    assert not Path(path).parent.exists()


def test_what_is_not_to_be_had_is_null_and_noted(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> str:
        raise PermissionError(1, "not for you")

    monkeypatch.setattr(bench_read, "CGROUPS", 50)
    monkeypatch.setattr(bench_read, "pinned_iterator", refused)
    monkeypatch.setattr(bench_read, "cgroup_stat", refused)
    answer = cli("bench", "read", "--quick", "-j").json
    assert all(row["kernel_ns"] is None for row in answer["rows"])
    assert sum("not for you" in note for note in answer["notes"]) == 2


def test_text_has_a_line_for_each_row(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_read, "CGROUPS", 50)
    out = cli("bench", "read", "--quick").out
    assert out.startswith("bpfjit bench read --quick: ") and out.count("bulk read") == 2


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_the_bar_is_for_terminals(stream: type[io.StringIO], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", stream())
    progress = Progress(2)
    progress.step("half")
    progress.step("all")
    progress.close()
    shown = sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert ("1/2 half" in shown and "2/2 all" in shown) == (stream is Terminal)
    assert bool(shown) == (stream is Terminal)


def test_medians_quartiles_geomeans() -> None:
    row = Row("x", {"bpfjit": [3.0, 1.0, 2.0]})
    assert row.median("bpfjit") == 2.0 and row.median("kernel") is None
    assert row.json()["kernel_ns"] is None and row.json()["spread_ns"] == {"bpfjit": [1.5, 2.5]}
    assert quartiles([4.0]) == (4.0, 4.0)
    assert geomean([2.0, 8.0]) == 4.0 and geomean([]) is None


def test_plot_escapes_and_survives_missing_figures() -> None:
    text = plot("a < b", [Row("none"), Row("some & more", {"kernel": [0.5], "bpfjit": [2e9]})], {"cpu": "x", "kernel": "y"})
    root = ElementTree.fromstring(text)
    assert "some & more" in [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]


def test_load_times_are_of_programs_that_are_compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """load_ms says "nothing cached": a cache that is there is neither read nor filled."""
    monkeypatch.setenv("BPFJIT_NO_CACHE", "0")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    bench_jit.Suite().close()
    assert not (tmp_path / "bpfjit").exists()  # a compiler of C may keep a cache of its own beside it
