"""bpfjit view, by the contract's row."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from bpfjit.cli.view import full_match

from .conftest import EXAMPLE, ROOT, SCENARIO, Cli

Objects = Callable[[str], Path]
TEXT = """\
==> /sys/fs/cgroup/web/wait_show <==
2 0

==> /sys/fs/cgroup/web/api/wait_show <==
3 42000

==> /sys/fs/cgroup/web/static/wait_show <==
4 1500

==> /sys/fs/cgroup/batch/wait_show <==
5 3000000
"""


def test_source_is_compiled_and_every_cgroup_but_the_root_is_shown(cli: Cli) -> None:
    ran = cli("view", EXAMPLE, "--scenario", SCENARIO)
    assert (ran.code, ran.out, ran.err) == (0, TEXT, "")


@pytest.mark.parametrize("engine", ["jit", "interp"])
def test_engines_show_the_same(cli: Cli, objects: Objects, engine: str) -> None:
    ran = cli("view", objects("wait_latency"), "--scenario", SCENARIO, "--engine", engine)
    assert (ran.code, ran.out) == (0, TEXT)


def test_json_rows_have_path_cgroup_program_text(cli: Cli, objects: Objects) -> None:
    ran = cli("view", "-j", objects("wait_latency"), "--scenario", SCENARIO, "--cgroup", "/web/api")
    assert ran.json == [
        {"path": "/sys/fs/cgroup/web/api/wait_show", "cgroup": "/web/api", "program": "wait_show", "text": "3 42000\n"}
    ]
    assert "\n" not in ran.out.rstrip("\n")


def test_pretty_is_indented_json(cli: Cli, objects: Objects) -> None:
    ran = cli("view", "-p", objects("wait_latency"), "--scenario", SCENARIO)
    assert len(ran.json) == 4
    assert ran.out.startswith("[\n  {\n")


def test_what_is_no_utf8_is_base64(cli: Cli, objects: Objects) -> None:
    rows = {row["program"]: row for row in cli("view", "-j", objects("texts"), "--scenario", SCENARIO).json}
    assert base64.b64decode(rows["raw_bytes"]["base64"]) == b"\xfc\xfd\xfe\xff"
    assert "text" not in rows["raw_bytes"]
    assert rows["endless"]["text"] == "5"
    assert rows["empty"]["text"] == ""


def test_a_blank_line_stands_between_files_whatever_their_end(cli: Cli, objects: Objects) -> None:
    ran = cli("view", objects("texts"), "--scenario", SCENARIO, "--cgroup", "/batch")
    head = b"==> /sys/fs/cgroup/batch/%s <==\n"
    assert ran.raw == head % b"empty" + b"\n" + head % b"endless" + b"5\n\n" + head % b"raw_bytes" + b"\xfc\xfd\xfe\xff"


def test_several_sources_are_shown_side_by_side(cli: Cli, objects: Objects) -> None:
    args = (objects("wait_latency"), objects("texts"), "--scenario", SCENARIO, "--cgroup", "/batch")
    programs = [row["program"] for row in cli("view", "-j", *args).json]
    assert programs == ["wait_show", "empty", "endless", "raw_bytes"]


def test_cgroup_may_be_given_often_and_the_root_by_name(cli: Cli, objects: Objects) -> None:
    args = ("--cgroup", "/", "--cgroup", "/web/*", "--cgroup", "/web/api")
    rows = cli("view", "-j", objects("wait_latency"), "--scenario", SCENARIO, *args).json
    assert [row["cgroup"] for row in rows] == ["/", "/web/api", "/web/static"]
    assert rows[0]["path"] == "/sys/fs/cgroup/wait_show"


def test_scenario_fills_maps(cli: Cli, objects: Objects, tmp_path: Path) -> None:
    scenario = tmp_path / "s.toml"
    scenario.write_text('[[cgroup]]\npath = "/a"\n[[map]]\nname = "limits"\nentries = [{ key = 1, value = 77 }]\n')
    assert cli("view", "-j", objects("limits"), "--scenario", scenario).json[0]["text"] == "77\n"


def test_host_shows_this_machines_cgroups(cli: Cli, objects: Objects) -> None:
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    mount = next((fields[1] for fields in mounts if fields[2] == "cgroup2"), None)
    ran = cli("view", "-j", objects("wait_latency"), "--host", "--cgroup", "/", "--cgroup", "/**")
    if mount is None:
        assert ran.code == 1 and ran.error
        return
    rows = {row["cgroup"]: row["text"] for row in ran.json}
    assert rows["/"] == f"{Path(mount).stat().st_ino} 0\n"
    for directory in (p for p in Path(mount).iterdir() if p.is_dir()):
        assert rows["/" + directory.name] == f"{directory.stat().st_ino} 0\n"


# glob, path, does it match: as PurePosixPath(path).full_match(glob) of Python 3.13 answers.
GLOBS = [
    ("/web/api", "/web/api", True),
    ("/web/*", "/web/api", True),
    ("/web/*", "/web", False),
    ("/*", "/web/api", False),
    ("/*", "/web", True),
    ("/**", "/web/api", True),
    ("/**", "/", True),
    ("/", "/", True),
    ("/*", "/", False),
    ("/web/**", "/web", False),
    ("/web/**", "/web/api/x", True),
    ("/**/x", "/x", True),
    ("/**/x", "/web/api/x", True),
    ("/web/**/x", "/web/x", True),
    ("**/api", "/web/api", True),
    ("web/*", "/web/api", False),
    ("/w?b", "/web", True),
    ("/w?b/", "/web", True),
    ("/[vw]eb", "/web", True),
    ("/[!w]eb", "/web", False),
    ("/[a-v]eb", "/web", False),
    ("/web.slice", "/webxslice", False),
    ("/a*c", "/a/c", False),
    ("/web/a**", "/web/api", True),
    ("/web/a**", "/web/a/b", False),
    ("/[", "/[", True),
    ("/[]]", "/]", True),
    ("/[^a]", "/^", True),
]


@pytest.mark.parametrize(("glob", "path", "matches"), GLOBS)
def test_globs_match_as_pathlib_does(glob: str, path: str, matches: bool) -> None:
    assert full_match(glob, path) is matches
    if hasattr(PurePosixPath, "full_match"):
        assert PurePosixPath(path).full_match(glob) is matches


def test_a_glob_without_a_match_is_bad_usage(cli: Cli, objects: Objects) -> None:
    ran = cli("view", objects("wait_latency"), "--scenario", SCENARIO, "--cgroup", "/nowhere")
    assert ran.code == 2 and "/nowhere" in ran.error


def test_an_object_without_views_says_so(cli: Cli, objects: Objects) -> None:
    ran = cli("view", objects("one"))
    assert ran.code == 1 and "no view programs" in ran.error


def test_the_installed_script_does_the_same(script: Cli) -> None:
    ran = script("view", "examples/wait_latency.bpf.c", "--scenario", "examples/web.toml", cwd=ROOT)
    assert (ran.code, ran.out, ran.err) == (0, TEXT, "")
