"""docs/objects.md: its console blocks show what comes out; of a refusal, what follows the log."""

from __future__ import annotations

import re

import pytest

from .conftest import ROOT, Cli

BLOCKS = re.findall(
    r"<!-- run -->\n```console\n\$ bpfjit (.*?)\n(.*?)```", (ROOT / "docs" / "objects.md").read_text(), re.DOTALL
)


def test_there_are_blocks() -> None:
    assert len(BLOCKS) == 2


@pytest.mark.parametrize("words, shown", BLOCKS)
def test_a_block_is_what_comes_out(cli: Cli, monkeypatch: pytest.MonkeyPatch, words: str, shown: str) -> None:
    monkeypatch.chdir(ROOT)
    ran = cli(*words.split())
    if ran.code:
        assert ran.err.endswith(shown)
    else:
        assert re.sub(r"\d+ us", "us", ran.out) == re.sub(r"\d+ us", "us", shown)
