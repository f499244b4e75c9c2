"""What the README shows is what happens."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import ROOT, Cli

README = (ROOT / "README.md").read_text()


def block(mark: str) -> str:
    """The fenced block after a <!-- mark -->."""
    found = re.search(rf"<!-- {mark} -->\n```\w+\n(.*?)```", README, re.S)
    assert found, f"README.md has no block {mark}"
    return found[1]


def test_the_example_prints_what_is_shown(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    command, shown = block("example").split("\n", 1)
    assert command.startswith("$ bpfjit ")
    monkeypatch.chdir(ROOT)
    assert cli(*command.split()[2:]).out == shown


def test_the_python_runs_as_written(objects: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(objects("wait_latency"), tmp_path / "wait.bpf.o")
    monkeypatch.chdir(tmp_path)
    code = block("python").rstrip().splitlines()
    code[-1] = "said = " + code[-1]
    names: dict[str, object] = {}
    exec("\n".join(code), names)
    assert f"The last line is `{names['said']!r}`".replace("\\\\", "\\") in README


def test_the_view_shown_is_the_examples(objects: Callable[[str], Path]) -> None:
    shown = re.search(r"```c\n(.*?)```", README, re.S)
    assert shown and shown[1] in (ROOT / "examples" / "wait_latency.bpf.c").read_text()


def test_the_commands_are_those_that_there_are() -> None:
    from bpfjit.cli.main import NOUNS

    for noun in NOUNS:
        assert f"| `bpfjit {noun} " in README


def test_raw_by_hand(cli: Cli) -> None:
    shown = re.search(r"echo '([0-9a-f ]+)' \| bpfjit raw +# (\w+)", README)
    assert shown and cli("raw", stdin=shown[1].encode()).out == shown[2] + "\n"
