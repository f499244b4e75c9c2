"""bpfjit iter and dumper over what a scenario has of namespaces, files and sockets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Cli

Objects = Callable[[str], Path]

SYSTEM = """
[[pid_ns]]
name = "inner"
[[net_ns]]
name = "blue"
[[task]]
pid = 10
comm = "nginx"
[[task]]
pid = 20
comm = "inside"
pid_ns = "inner"
ns_pid = 1
net_ns = "blue"
[[file]]
task = 10
fd = 3
path = "/etc/passwd"
[[socket]]
kind = "tcp"
local = "[::1]:80"
uid = 33
ino = 5000
task = 10
[[socket]]
kind = "tcp"
local = "192.0.2.1:81"
remote = "192.0.2.2:9999"
net_ns = "blue"
"""


@pytest.fixture
def system(tmp_path: Path) -> str:
    path = tmp_path / "system.toml"
    path.write_text(SYSTEM)
    return str(path)


@pytest.mark.parametrize(
    ("prog", "more", "expected"),
    [
        ("tcp", (), "80 10 33\n"),
        ("tcp", ("--as-task", "20"), "81 1 0\n"),
        ("tasks", (), "10 nginx\n20 inside\n"),
        ("tasks", ("--as-task", "20"), "20 inside\n"),
        ("files", (), "10 0 socket:[5000]\n10 3 /etc/passwd\n"),
        ("files", ("--task-pid", "20"), ""),
    ],
)
def test_a_reader_sees_its_namespaces(
    cli: Cli, objects: Objects, system: str, prog: str, more: tuple[str, ...], expected: str
) -> None:
    ran = cli("iter", objects("sockets"), "--prog", prog, "--scenario", system, *more)
    assert (ran.code, ran.out, ran.err) == (0, expected, "")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('[[pid_ns]]\nname = "a"\nparent = "b"\n', "'b'"),
        ('[[task]]\npid = 1\npid_ns = "a"\n', "'a'"),
        ('[[file]]\ntask = 5\npath = "/x"\n', "task = 5"),
        ('[[socket]]\nkind = "raw"\n', "'raw'"),
        ('[[socket]]\nkind = "tcp"\nlocal = "[::1:80"\n', "[::1:80"),
        ('[[socket]]\nkind = "tcp"\nlocal = "[::1]:80"\nremote = "1.2.3.4:5"\n', "1.2.3.4:5"),
        ('[[socket]]\nkind = "udp"\nlocal = "[::1]:80"\nnet_ns = "x"\n', "'x'"),
        ('[[route]]\ndst = "2001:db8::1/32"\ndev = "lo"\n', "2001:db8::1/32"),
        ('[[memory]]\ntask = 1\nstart = 1\nend = 2\n', "task = 1"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(cli: Cli, objects: Objects, tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "bad.toml").write_text(text)
    ran = cli("iter", objects("sockets"), "--prog", "tcp", "--scenario", str(tmp_path / "bad.toml"))
    assert ran.code == 2 and named in ran.error


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No kernel is mounted, whatever other tests mount meanwhile."""
    monkeypatch.setattr("bpfjit.loader.mount.mounts", lambda: iter(()))


@pytest.mark.usefixtures("alone")
def test_targets_are_listed_in_the_columns_of_the_proposal(cli: Cli) -> None:
    lines = cli("dumper", "show", "target").out.splitlines()
    assert lines[0] == "target                  prog_ctx_type"
    assert "task/file               bpfdump__task_file" in lines
    assert {"target": "netlink", "prog_ctx_type": "bpfdump__netlink"} in cli("dumper", "show", "target", "-j").json
    assert cli("dumper", "show", "dumper").out == "dumper                  prog_id\n"


@pytest.mark.usefixtures("alone")
def test_a_pinned_dumper_is_read(cli: Cli, objects: Objects, system: str) -> None:
    ran = cli("dumper", "pin", objects("sockets"), "my1", "--prog", "tasks", "--scenario", system)
    assert (ran.code, ran.out) == (0, "10 nginx\n20 inside\n")
    ran = cli("dumper", "pin", objects("sockets"), "my1")
    assert ran.code == 2 and "tcp, tasks, files" in ran.error


def test_follow_goes_with_host(cli: Cli, objects: Objects) -> None:
    ran = cli("iter", objects("sockets"), "--prog", "tcp", "--follow")
    assert ran.code == 2 and "--host" in ran.error
