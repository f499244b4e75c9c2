"""docs/bpf.md: its console blocks show what comes out."""

from __future__ import annotations

import re

import pytest

from .conftest import ROOT, Cli

BLOCKS = re.findall(
    r"<!-- run -->\n```console\n\$ bpfjit (.*?)\n(.*?)```", (ROOT / "docs" / "bpf.md").read_text(), re.DOTALL
)


def test_there_are_blocks() -> None:
    assert len(BLOCKS) == 2


@pytest.mark.parametrize("words, shown", BLOCKS)
def test_a_block_is_what_comes_out(cli: Cli, monkeypatch: pytest.MonkeyPatch, words: str, shown: str) -> None:
    monkeypatch.chdir(ROOT)
    ran = cli(*words.split())
    assert (ran.code, _told(ran.out)) == (0, _told(shown))


def _told(text: str) -> str:
    """Without the bytes of maps and programs, which are those of the runtime's own structures."""
    return re.sub(r"memlock \d+B", "memlock", text)
