"""bpfjit bench: the shape of its answers (its figures are no matter of tests)."""

from __future__ import annotations

import io
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bpfjit.cli import bench_iter, bench_jit, bench_load, bench_maps, bench_maps_programs, bench_read
from bpfjit.cli.bench_plot import plot
from bpfjit.cli.bench_rows import Progress, Row, geomean, quartiles
from tests.live import forbids

from .conftest import Cli

KEYS = ["what", "bpfjit_ns", "interp_ns", "kernel_ns", "native_ns", "elements"]


def test_jit_has_two_dozen_programs_and_the_empty_one() -> None:
    names = {bench_jit.name_of(p) for p in bench_jit.sources()}
    assert "empty" in names and len(names) > 24


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
    names = ("view open+read+close", "bulk read", "mount open+read+close", "kernel pinned iterator", "kernel cgroup.stat")
    assert set(rows) == {(name, threads) for name in (*names, bench_read.QUIET, bench_read.PIPES) for threads in (1, 2)}
    for (what, _), row in rows.items():
        assert list(row)[: len(KEYS)] == KEYS
        has_fuse = os.access("/dev/fuse", os.R_OK | os.W_OK) or os.environ.get("BPFJIT_REQUIRE_LIVE")
        if what == bench_read.PIPES:
            assert row["native_ns"] > 0
        elif not what.startswith("kernel") and (has_fuse or what != bench_read.MOUNT):
            assert row["bpfjit_ns"] > 0 and row["reads_per_s"] > 0 and row["mb_per_s"] > 0
            assert 0 < row["p50_ns"] <= row["p99_ns"]
    assert rows["bulk read", 1]["elements"] == 200


def test_pinned_iterator_leaves_nothing_behind(live: object) -> None:
    with bench_read.pinned_iterator() as path:
        number, longest = Path(path).read_text().split()
        assert int(number) == os.stat("/sys/fs/cgroup").st_ino and longest == "0"
    assert str(Path(path).parent) not in Path("/proc/self/mounts").read_text()
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


def test_a_race_has_the_nearest_rival_on_top() -> None:
    rows = [
        Row("far", {"bpfjit": [1.0], "native": [900.0]}),
        Row("near", {"bpfjit": [2.0], "kernel": [2.0], "native": [1.9]}),
    ]
    text = plot("race", rows, {"cpu": "x", "kernel": "y"})
    ElementTree.fromstring(text)
    assert text.index(">near<") < text.index(">far<") and ">900×<" in text and "native C: 29.24 times" in text


def test_load_times_are_of_programs_that_are_compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """load_ms says "nothing cached": a cache that is there is neither read nor filled."""
    monkeypatch.setenv("BPFJIT_NO_CACHE", "0")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    paths = [p for p in bench_jit.sources() if bench_jit.name_of(p) in ("empty", "parse")]
    monkeypatch.setattr(bench_jit, "sources", lambda: paths)
    bench_jit.Suite().close()
    assert not (tmp_path / "bpfjit").exists()  # a compiler of C may keep a cache of its own beside it


def run_of(figures: dict[str, dict[str, list[float]]], cpu: str = "x") -> dict[str, object]:
    return {"machine": {"cpu": cpu, "kernel": "6"}, "rows": [Row(what, samples).json() for what, samples in figures.items()]}


def test_compare_tells_a_change_from_noise(cli: Cli, tmp_path: Path) -> None:
    before = {
        "won": {"bpfjit": [100.0, 101.0, 102.0], "kernel": [50.0, 50.0, 51.0], "interp": [900.0]},
        "lost": {"bpfjit": [10.0, 10.0, 10.1]},
        "wild": {"bpfjit": [10.0, 20.0, 40.0]},
        "still": {"bpfjit": [100.0, 100.0, 100.1]},
        "drift": {"bpfjit": [100.0, 100.0, 100.1], "kernel": [50.0, 50.5, 51.0], "native": [60.0, 60.5, 61.0]},
    }
    after = {
        "won": {"bpfjit": [50.0, 50.5, 51.0], "kernel": [50.0, 50.0, 52.0], "interp": [800.0]},
        "lost": {"bpfjit": [20.0, 20.0, 20.1]},
        "wild": {"bpfjit": [12.0, 25.0, 39.0]},
        "still": {"bpfjit": [101.0, 101.0, 101.1]},
        "drift": {"bpfjit": [92.0, 92.0, 92.1], "kernel": [55.0, 55.5, 56.0], "native": [71.0, 71.0, 72.0]},
    }
    for name, run in (("a", run_of(before)), ("b", run_of(after))):
        (tmp_path / f"{name}.json").write_text(json.dumps(run))
    answer = cli("bench", "compare", tmp_path / "a.json", tmp_path / "b.json", "-j").json
    verdicts = {row["what"]: row["verdict"] for row in answer["rows"] if row["engine"] == "bpfjit"}
    assert verdicts == {"won": "faster", "lost": "slower", "wild": "noise", "still": "noise", "drift": "noise"}
    (single,) = [row for row in answer["rows"] if row["engine"] == "interp"]
    assert single["verdict"] == "noise", "of one sample nobody knows how far it spreads"
    assert answer["rows"][0]["what"] == "lost", "the losers come first"
    assert answer["geomeans"]["speedup_kernel"] == 0.9539
    text = cli("bench", "compare", tmp_path / "a.json", tmp_path / "b.json").out
    assert "slower" in text and "noise" in text


def test_compare_says_that_machines_differ(cli: Cli, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(json.dumps(run_of({"x": {"bpfjit": [1.0]}}, cpu=name)))
    assert "two machines: cpu a and b" in cli("bench", "compare", tmp_path / "a", tmp_path / "b").out


@pytest.mark.parametrize(
    ("files", "said"), [((), "two files"), (("none", "none"), "no such file"), (("bad", "bad"), "bench -j")]
)
def test_compare_wants_two_runs(cli: Cli, tmp_path: Path, files: tuple[str, ...], said: str) -> None:
    (tmp_path / "bad").write_text("{}")
    ran = cli("bench", "compare", *(tmp_path / f for f in files))
    assert ran.code == 2 and said in ran.error


def test_what_the_empty_program_costs_is_taken_off_each_engine() -> None:
    rows = {
        "empty": Row("empty", {"bpfjit": [1.0, 1.0, 9.0], "kernel": [20.0]}),
        "one": Row("one", {"bpfjit": [11.0], "kernel": [120.0, 20.0]}),
    }
    assert bench_jit._less_the_empty(rows) == {"bpfjit": 1.0, "kernel": 20.0}
    assert list(rows) == ["one"] and rows["one"].samples == {"bpfjit": [10.0], "kernel": [100.0, 0.1]}


def test_maps_are_measured_one_by_one_and_in_batches(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_maps, "QUICK_ELEMENTS", 300)
    monkeypatch.setattr(bench_maps, "QUICK_ROUNDS", 1)
    answer = cli("bench", "maps", "--quick", "-j").json
    rows = {row["what"]: row for row in answer["rows"]}
    wanted = [f"{s.name} {op}" for s in bench_maps.SHAPES for op in ("update", "lookup", "update_batch", "lookup_batch")]
    both = [f"{what}, {n}" for what in bench_maps_programs.THREADED.values() for n in ("one thread", "two threads")]
    assert list(rows) == [*bench_maps_programs.WHAT.values(), *both, *wanted]
    assert all(row["bpfjit_ns"] > 0 for row in rows.values())
    assert rows["hash u64 lookup_batch"]["elements"] == 300 and rows["hash u64 lookup"]["elements"] == 1
    assert set(answer["geomeans"]) == {f"speedup_kernel_{kind}" for kind in ("program", "single", "batch")}


def test_loads_are_measured_compiled_and_cached(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    few = [p for p in bench_load.sources() if p.name in ("empty.bpf.c", "parse.bpf.c")]
    monkeypatch.setattr(bench_load, "sources", lambda: few)
    monkeypatch.setattr(bench_load, "QUICK_ROUNDS", 1)
    answer = cli("bench", "load", "--quick", "-j").json
    assert [row["what"] for row in answer["rows"]] == ["empty", "parse"]
    for row in answer["rows"]:
        assert (
            row["first_ns"] > row["bpfjit_ns"] > 0
            and row["cached_first_ns"] > row["cached_ns"] > 0
            and 0 < row["verified_ns"] < row["bpfjit_ns"] * 10
        )
    assert set(answer["geomeans"]) == {"speedup_kernel", "speedup_kernel_cached"}


def test_walks_are_measured_whole(cli: Cli, monkeypatch: pytest.MonkeyPatch, live: object) -> None:
    walks = [w for w in bench_iter.WALKS if not w.what.startswith("array")]
    monkeypatch.setattr(bench_iter, "WALKS", [replace(w, elements=6 if w.what.startswith("cg") else 5) for w in walks])
    for name, value in (
        ("ELEMENTS", 5),
        ("CGROUPS", 5),
        ("TASKS", 5),
        ("QUICK_ROUNDS", 1),
        ("_INTERP_ELEMENTS", 5),
        ("_ENOUGH", 5),
    ):
        monkeypatch.setattr(bench_iter, name, value)
    before = set(Path("/sys/fs/cgroup").glob("bpfjit-bench-*"))
    answer = cli("bench", "iter", "--quick", "-j").json
    wanted = ["map elements printf", "map elements write", "map elements nothing", "cgroups print", "tasks print"]
    assert [row["what"] for row in answer["rows"]] == wanted
    for row in answer["rows"]:
        there = not row["what"].startswith("map") or not forbids("iter/bpf_map_elem")
        assert row["bpfjit_ns"] > 0 and row["interp_ns"] > 0 and ((row["kernel_ns"] or 0) > 0) == there
    assert bool(answer["notes"]) == forbids("iter/bpf_map_elem")
    assert set(Path("/sys/fs/cgroup").glob("bpfjit-bench-*")) <= before  # others may run it meanwhile


def test_readers_are_timed_by_their_own_clocks() -> None:
    """From the first one's beginning to the last one's end: the thread that waits for them may come late to both."""
    outcomes: list[bench_read.Outcome] = [
        ([1.0], 10, 5, 1_000_000_000, 3_000_000_000),
        ([2.0], 20, 6, 1_500_000_000, 3_500_000_000),
    ]
    assert bench_read._together(outcomes) == ([1.0, 2.0], 2.5, 30, 11)


def test_bench_loader_has_its_rows(cli: Cli) -> None:
    answer = cli("bench", "loader", "--quick", "-j").json
    rows = {row["what"]: row for row in answer["rows"]}
    assert list(rows) == [
        "gen loader, 5 programs", "light skeleton, 5 programs", "known program", "first read, light skeleton",
    ]  # fmt: skip
    assert all(row["bpfjit_ns"] > 0 for row in rows.values())
    assert rows["light skeleton, 5 programs"]["elf_ns"] > 0
    assert rows["first read, light skeleton"]["elf_ns"] > 0
