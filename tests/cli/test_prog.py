"""bpfjit prog run and prog dump, by the contract's rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bpfjit.loader import LiveBpf

from .conftest import Cli

Objects = Callable[[str], Path]
PACKET = bytes(range(60))


def test_the_only_program_runs_without_being_named(cli: Cli, objects: Objects) -> None:
    ran = cli("prog", "run", "-j", objects("one"))
    assert (ran.code, ran.err) == (0, "")
    assert list(ran.json) == ["retval", "duration_ns"]
    assert ran.json["retval"] == 7 and isinstance(ran.json["duration_ns"], float)


def test_text_names_retval_and_duration(cli: Cli, objects: Objects) -> None:
    assert cli("prog", "run", objects("one")).out.startswith("retval 7, duration ")


def test_without_prog_several_programs_are_bad_usage_that_names_them(cli: Cli, objects: Objects) -> None:
    ran = cli("prog", "run", objects("packets"))
    assert ran.code == 2 and "count, increment" in ran.error


@pytest.mark.parametrize("engine", ["jit", "interp"])
def test_globals_keep_their_state_between_executions(cli: Cli, objects: Objects, engine: str) -> None:
    ran = cli("prog", "run", "-j", objects("packets"), "--prog", "count", "--repeat", "5", "--engine", engine)
    assert ran.json["retval"] == 5 and ran.json["duration_ns"] > 0


def test_packet_in_and_out_and_kept_between_executions(cli: Cli, objects: Objects, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(PACKET)
    args = ("--prog", "increment", "--repeat", "3", "--data-in", tmp_path / "in", "--data-out", tmp_path / "out")
    assert cli("prog", "run", "-j", objects("packets"), *args).json["retval"] == 2
    assert (tmp_path / "out").read_bytes() == b"\x03" + PACKET[1:]


def test_dash_is_stdin_and_stdout(cli: Cli, objects: Objects) -> None:
    args = ("--prog", "increment", "--data-in", "-", "--data-out", "-")
    ran = cli("prog", "run", objects("packets"), *args, stdin=PACKET)
    assert (ran.code, ran.raw) == (0, b"\x01" + PACKET[1:])
    told = cli("prog", "run", "-j", objects("packets"), *args, stdin=PACKET).json
    assert bytes(int(x, 16) for x in told["data_out"]) == b"\x01" + PACKET[1:]


def test_context_in_and_out(cli: Cli, objects: Objects, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes((5).to_bytes(8, "little") + (1).to_bytes(8, "little"))
    args = ("--repeat", "2", "--ctx-in", tmp_path / "in", "--ctx-out", tmp_path / "out")
    assert cli("prog", "run", "-j", objects("context"), *args).json["retval"] == 3
    assert (tmp_path / "out").read_bytes()[8:] == (11).to_bytes(8, "little")


def test_live_kernel_gives_the_same(cli: Cli, objects: Objects, live: LiveBpf, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(PACKET)
    args = ("--kernel", "live", "--prog", "increment", "--repeat", "3", "--data-in", tmp_path / "in")
    ran = cli("prog", "run", "-j", objects("packets"), *args, "--data-out", tmp_path / "out")
    assert ran.json["retval"] == 2 and isinstance(ran.json["duration_ns"], float)
    assert (tmp_path / "out").read_bytes() == b"\x03" + PACKET[1:]


@pytest.mark.parametrize("kernel", ["sim", "live"])
def test_xdp_takes_the_packet_sizes_that_linux_takes(
    cli: Cli, objects: Objects, kernel: str, request: pytest.FixtureRequest
) -> None:
    if kernel == "live":
        request.getfixturevalue("live")
    args = (objects("one"), "--kernel", kernel, "--data-in", "-")
    small = cli("prog", "run", *args, stdin=bytes(13))
    assert small.code == 1 and "EINVAL" in small.error and "only" in small.error
    for size in (14, 3520):
        assert cli("prog", "run", *args, stdin=bytes(size)).code == 0


@pytest.mark.parametrize("kind", ["xlated", "facts", "ir", "asm"])
def test_dumps_have_c_source_lines_between(cli: Cli, objects: Objects, kind: str) -> None:
    ran = cli("prog", "dump", kind, objects("packets"), "--prog", "increment")
    assert ran.code == 0
    assert "data[0]++; @ line " in ran.out


DUMPS = [
    ("xlated", "exit"),
    ("facts", "in packet"),
    ("ir", "define "),
    ("asm", "\tret"),
]


@pytest.mark.parametrize(("kind", "text"), DUMPS)
def test_each_dump_is_what_its_name_says(cli: Cli, objects: Objects, kind: str, text: str) -> None:
    ran = cli("prog", "dump", kind, objects("packets"), "--prog", "increment", "-j")
    assert ran.json["program"] == "increment" and ran.json["kind"] == kind
    assert text in ran.json["text"]


def test_source_lines_do_not_change_the_code(cli: Cli, objects: Objects) -> None:
    """What the listing shows is what runs: without its comments it is the code of an object without line info."""
    from bpfjit.jit import Engine
    from bpfjit.loader import open_object
    from kernfs_sim import Kernel

    with Kernel() as kernel, open_object(objects("packets")).load(kernel.bpf) as loaded:
        verified = kernel.caller.fds.get(loaded.progs["increment"].fd).object.verified
        engine = Engine()
        plain = str(engine.machine.emit_assembly(engine._annotated(verified)))
        listing = engine.asm_listing(verified)
        code = [x for x in listing.splitlines() if x.startswith("\t") and not x.startswith(("\t#", "\t."))]
        assert all(x in plain for x in code)
        module = engine._module(engine.ir(verified))
        engine._optimise(module)
        bare = str(engine.machine.emit_assembly(module)).splitlines()
        assert code == [x for x in bare if x.startswith("\t") and not x.startswith("\t.")]
