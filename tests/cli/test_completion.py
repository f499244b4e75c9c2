"""Shell completion is written from the parsers."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from .conftest import Cli

# Words before the cursor, the word at it -> some of what is offered.
CASES = [
    (["bpfjit"], "v", {"view", "verify"}),
    (["bpfjit", "prog"], "", {"run", "dump"}),
    (["bpfjit", "prog", "dump"], "", {"xlated", "facts", "ir", "asm", "--prog"}),
    (["bpfjit", "view", "--engine"], "", {"jit", "interp"}),
    (["bpfjit", "bench"], "--q", {"--quick"}),
]


@pytest.mark.parametrize(("before", "word", "offered"), CASES)
def test_bash_offers(cli: Cli, before: list[str], word: str, offered: set[str]) -> None:
    bash = shutil.which("bash")
    assert bash, "bash is what our own CI script wants"
    words = " ".join(f'"{w}"' for w in [*before, word])
    ask = f'\nCOMP_WORDS=({words}); COMP_CWORD={len(before)}; _bpfjit; echo "${{COMPREPLY[@]}}"\n'
    done = subprocess.run(
        [bash, "-u"], input=cli("completion", "bash").out + ask, capture_output=True, text=True, check=True
    )
    assert offered <= set(done.stdout.split()), done


def test_zsh_runs_the_same_functions(cli: Cli) -> None:
    assert cli("completion", "zsh").out.startswith("#compdef bpfjit\n")
    assert cli("completion", "bash").out in cli("completion", "zsh").out


def test_fish_has_a_line_for_every_command(cli: Cli) -> None:
    lines = cli("completion", "fish").out.splitlines()
    assert all(line.startswith("complete -c bpfjit -n ") for line in lines)
    assert any("-a verify" in line for line in lines)
    assert any("__fish_seen_subcommand_from view" in line and "-l scenario" in line for line in lines)
