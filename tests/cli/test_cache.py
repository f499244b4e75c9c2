"""bpfjit cache: what is on disk is shown, and goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import EXAMPLE, SCENARIO, Cli


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BPFJIT_NO_CACHE", "0")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "bpfjit"


def test_show_and_clear(cli: Cli, own_cache: Path) -> None:
    nothing = {"directory": str(own_cache), "objects": 0, "verdicts": 0, "bytes": 0, "oldest": None, "newest": None}
    assert cli("cache", "show", "-j").json == nothing
    assert cli("view", EXAMPLE, "--scenario", SCENARIO).code == 0
    shown = cli("cache", "show", "-j").json
    assert shown["objects"] == 2 and shown["verdicts"] == 3 and shown["bytes"] > 1000 and shown["oldest"] <= shown["newest"]
    assert cli("cache", "show").out == f"{own_cache}: 2 objects, 3 verdicts, {shown['bytes']} bytes\n"
    (own_cache / ".new-left").write_bytes(b"")
    assert cli("cache", "clear", "-j").json == {"removed": 5}
    assert cli("cache", "clear").out == "0 files removed\n" and list(own_cache.iterdir()) == []


def test_no_cache_at_all(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BPFJIT_NO_CACHE", "1")
    assert cli("cache", "show", "-j").json["directory"] is None
    assert cli("cache", "show").out.startswith("no cache") and cli("cache", "clear").out == "0 files removed\n"
