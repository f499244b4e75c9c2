"""Exit codes and error lines of every command: 0 done, 1 refused or failed, 2 bad usage or unreadable input."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bpfjit import __version__
from bpfjit.cli.main import NOUNS

from .conftest import EXAMPLE, SCENARIO, Cli

Objects = Callable[[str], Path]
COMMANDS = [("view",), ("verify",), ("prog", "run"), ("prog", "dump", "xlated")]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_missing_file_is_exit_2(cli: Cli, command: tuple[str, ...]) -> None:
    for name in ("nowhere.bpf.c", "nowhere.bpf.o"):
        ran = cli(*command, name)
        assert ran.code == 2 and name in ran.error and "no such file" in ran.error


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_an_unreadable_file_is_exit_2(cli: Cli, command: tuple[str, ...], tmp_path: Path) -> None:
    ran = cli(*command, tmp_path)  # a directory: unreadable even for root
    assert ran.code == 2 and str(tmp_path) in ran.error


BAD_OBJECTS = {
    "empty": b"",
    "text": b"hello\n",
    "magic": b"\x7fELF",
    "x86": Path(sys.executable).resolve().read_bytes()[:4096],
}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("kind", list(BAD_OBJECTS))
def test_what_is_no_bpf_object_is_exit_2(cli: Cli, command: tuple[str, ...], kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.bpf.o"
    path.write_bytes(BAD_OBJECTS[kind])
    ran = cli(*command, path)
    assert ran.code == 2 and str(path) in ran.error


def test_c_that_does_not_compile_names_its_line(cli: Cli, tmp_path: Path) -> None:
    source = tmp_path / "bad.bpf.c"
    source.write_text("int x = ;\n")
    ran = cli("view", source)
    assert ran.code == 2 and str(source) in ran.error and "line 1" in ran.error


# Program of programs/ -> what its one line of error says; all are the object's own faults.
FAULTS = {
    "zero_entries": ("nothing", "0 entries"),
    "missing_extern": ("nobody_has_this", "reach"),
    "unknown_target": ("no_such_tracepoint", "nowhere"),
}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("name", list(FAULTS))
def test_an_objects_own_faults_are_exit_1(cli: Cli, objects: Objects, command: tuple[str, ...], name: str) -> None:
    ran = cli(*command, objects(name))
    assert ran.code == 1
    for said in FAULTS[name]:
        assert said in ran.refusal


@pytest.mark.parametrize(
    "command", [("view",), ("prog", "run", "--prog", "careful"), ("prog", "dump", "asm", "--prog", "careless")]
)
def test_a_rejected_program_is_exit_1_and_its_log_follows(cli: Cli, objects: Objects, command: tuple[str, ...]) -> None:
    ran = cli(*command, objects("rejected"))
    line, *log = ran.err.splitlines()
    assert ran.code == 1 and ran.out == ""
    assert line.startswith("bpfjit: error: ") and "careless" in line and "R0 invalid mem access" in line
    assert log and "Traceback" not in ran.err


SCENARIOS = {
    'cpus = "two"': "cpus",
    "cpus = 65": "cpus",
    "colour = 1": "colour",
    "[[cgroup]]\npath = 3": "path",
    '[[cgroup]]\npath = "/a"\nnam = 1': "nam",
    "[[task]]\npid = 0": "pid",
    '[[task]]\npid = 4\ncgroup = "/no"': "/no",
    '[[event]]\ntracepoint = "nope"': "nope",
    '[[event]]\ntracepoint = "sched_stat_wait"\ntask = 99\ndelta = 1': "99",
    '[[event]]\ntracepoint = "sched_stat_wait"\ntask = 1\ndetla = 1': "detla",
    '[[map]]\nname = "nomap"\nentries = []': "nomap",
    '[[map]]\nname = "limits"\nentries = [{ key = 1, value = "x:00" }]': "x:00",
    '[[map]]\nname = "limits"\nentries = [{ key = 5000000000, value = 1 }]': "5000000000",
    "cpus = [": "TOML",
}


@pytest.mark.parametrize("text", list(SCENARIOS))
def test_a_bad_scenario_is_exit_2_and_names_the_key(cli: Cli, objects: Objects, text: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    ran = cli("view", objects("limits"), "--scenario", path)
    assert ran.code == 2 and str(path) in ran.error and SCENARIOS[text] in ran.error


def test_a_scenario_that_is_not_there_is_exit_2(cli: Cli, objects: Objects) -> None:
    ran = cli("view", objects("limits"), "--scenario", "nowhere.toml")
    assert ran.code == 2 and "nowhere.toml" in ran.error


@pytest.mark.parametrize("command", [("verify",), ("prog", "run"), ("prog", "dump", "ir")], ids=" ".join)
def test_an_unknown_prog_is_exit_2_and_names_those_there_are(cli: Cli, objects: Objects, command: tuple[str, ...]) -> None:
    ran = cli(*command, objects("packets"), "--prog", "nope")
    assert ran.code == 2 and "nope" in ran.error and "count, increment" in ran.error


USAGE = [
    (),
    ("nonsense",),
    ("view",),
    ("view", "x", "--engine", "gpu"),
    ("view", "x", "--scenario", "a", "--host"),
    ("view", "x", "--bogus"),
    ("verify", "x", "--kernel", "mars"),
    ("prog",),
    ("prog", "list"),
    ("prog", "dump", "bytecode", "x"),
    ("prog", "run", "x", "--repeat", "many"),
    ("bench",),
    ("bench", "everything"),
    ("bench", "jit", "--plot", "/nowhere/x.svg"),
    ("completion", "csh"),
]


@pytest.mark.parametrize("words", USAGE, ids=" ".join)
def test_bad_usage_is_one_line_and_exit_2(cli: Cli, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bpfjit.loader.mount.mounts", lambda: iter(()))  # whatever else this machine has mounted
    ran = cli(*words)
    assert ran.code == 2 and ran.out == "" and ran.error


@pytest.mark.parametrize("repeat", ["0", "-1", "4294967296"])
def test_repeat_out_of_range_is_exit_2(cli: Cli, objects: Objects, repeat: str) -> None:
    ran = cli("prog", "run", objects("one"), "--repeat", repeat)
    assert ran.code == 2 and repeat in ran.error


@pytest.mark.parametrize("words", [(), *((noun,) for noun in NOUNS), ("prog", "run"), ("prog", "dump")], ids=" ".join)
def test_help_everywhere(cli: Cli, words: tuple[str, ...]) -> None:
    ran = cli(*words, "--help")
    assert ran.code == 0 and ran.out.startswith("usage: bpfjit") and ran.err == ""


def test_version(cli: Cli) -> None:
    ran = cli("--version")
    assert (ran.code, ran.out) == (0, f"bpfjit {__version__}\n")


@pytest.mark.parametrize("flag", ["-j", "--json", "-p", "--pretty"])
def test_json_is_taken_before_and_after_the_commands_name(cli: Cli, objects: Objects, flag: str) -> None:
    assert cli(flag, "prog", "run", objects("one")).json["retval"] == 7
    assert cli("prog", "run", objects("one"), flag).json["retval"] == 7


def test_errors_leave_stdout_to_json(cli: Cli) -> None:
    ran = cli("view", "-j", "nowhere.bpf.o")
    assert ran.out == "" and ran.error


def test_debug_alone_shows_a_traceback(cli: Cli) -> None:
    quiet, loud = cli("view", "nowhere.bpf.o"), cli("view", "-d", "nowhere.bpf.o")
    assert "Traceback" not in quiet.err
    assert "Traceback (most recent call last)" in loud.err and "ObjectError" in loud.err


def test_a_bug_of_ours_is_one_line_too(cli: Cli, objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> object:
        raise KeyError("lost")

    monkeypatch.setattr("bpfjit.cli.common.open_source", broken)
    ran = cli("view", objects("one"))
    assert ran.code == 1 and "bug of bpfjit" in ran.error and "KeyError" in ran.error


def test_no_cache_is_taken(cli: Cli, objects: Objects) -> None:
    assert cli("prog", "run", "--no-cache", objects("one")).code == 0


@pytest.mark.parametrize("form", ["-j", "--no-cache"])
def test_a_reader_that_goes_away_is_no_error(objects: Objects, form: str) -> None:
    script, view = Path(sys.executable).parent / "bpfjit", objects("wait_latency")
    read, write = os.pipe()
    os.close(read)
    command = [script, "view", view, "--scenario", SCENARIO, form]
    buffered = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, timeout=60, check=False, env=buffered)
    os.close(write)
    assert done.stderr == b"" and done.returncode == 1


def test_a_full_disk_is_one_line(objects: Objects) -> None:
    command = [
        str(Path(sys.executable).parent / "bpfjit"),
        "view",
        str(objects("wait_latency")),
        "--scenario",
        str(SCENARIO),
    ]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.decode().startswith("bpfjit: error: ") and done.stderr.count(b"\n") == 1


def test_the_script_gives_the_exit_codes(script: Cli, objects: Objects) -> None:
    assert script("view", EXAMPLE, "--scenario", SCENARIO).code == 0
    assert script("verify", objects("rejected")).code == 1
    assert script("view", "nowhere.bpf.c").code == 2
