"""bpfjit feature: what bpftool says of Linux; and that what is simulated can what Linux can."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any

import pytest

from bpfjit.cli.feature import Prober
from bpfjit.loader import live_bpf
from bpfjit.uapi import bpf as uapi

from .conftest import Cli


def bpftool(*words: str) -> str:
    if not shutil.which("bpftool"):
        pytest.skip("bpftool is not installed")
    return subprocess.run(["bpftool", *words], capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def live() -> None:
    if not Prober(live_bpf).has_prog_type(uapi.BPF_PROG_TYPE_SOCKET_FILTER):
        pytest.skip("the live kernel is not to be had")


def without_helpers(text: str) -> list[str]:
    """An older bpftool does not understand what Linux says of helpers, and takes all for available."""
    return [line for line in text.splitlines() if not line.startswith("\t- ") and "__HELPER_bpf" not in line]


@pytest.mark.parametrize("words", ["", "kernel full", "macros", "macros prefix OUR_"])
def test_probing_says_what_bpftool_says(live: None, cli: Cli, words: str) -> None:
    """Types that it does not know yet are between."""
    ours = cli("feature", "probe", *words.split(), "--kernel", "live")
    theirs = without_helpers(bpftool("feature", "probe", *words.split()))
    newer = re.compile(r"(type |HAVE_)(cgrp_storage|arena|netfilter)", re.IGNORECASE)
    assert [x for x in without_helpers(ours.out) if not newer.search(x)] == theirs


def test_json_has_bpftools_keys(live: None, cli: Cli) -> None:
    ours, theirs = cli("feature", "probe", "--kernel", "live", "-j").json, json.loads(bpftool("-j", "feature", "probe"))
    assert list(ours) == list(theirs)
    for section in set(theirs) - {"helpers"}:
        assert {key: ours[section][key] for key in theirs[section]} == theirs[section]
    assert set(theirs["helpers"]) <= set(ours["helpers"])


def test_what_is_simulated_can_what_linux_can(live: None, cli: Cli) -> None:
    """Each program type may call the helpers that it may there; of what this machine refuses to all, nothing is known."""
    ours, theirs = cli("feature", "probe", "-j").json, cli("feature", "probe", "--kernel", "live", "-j").json
    missing = {"struct_ops_prog_type", "struct_ops_map_type"}
    for section in ("program_types", "map_types", "misc"):
        there = {key.removeprefix("have_") for key, yes in theirs[section].items() if yes}
        assert there - {key.removeprefix("have_") for key, yes in ours[section].items() if yes} <= missing
    for kind, helpers in theirs["helpers"].items():
        if helpers:
            assert (kind, ours["helpers"][kind]) == (kind, helpers)


@pytest.mark.parametrize("group", ["prog_types", "map_types", "attach_types", "link_types", "helpers"])
def test_lists_begin_as_bpftools(cli: Cli, group: str) -> None:
    theirs = bpftool("feature", "list_builtins", group).split()
    assert cli("feature", "list_builtins", group).out.split()[: len(theirs)] == theirs
    assert cli("feature", "list_builtins", group, "-j").json[: len(theirs)] == theirs


BAD: list[tuple[str, Any]] = [
    ("list_builtins frob", "got 'frob'"),
    ("list_builtins", "wanted one of prog_types, "),
    ("probe dev lo", "what is 'dev'?"),
    ("probe prefix X", "what is 'prefix'?"),
]


@pytest.mark.parametrize(("words", "said"), BAD)
def test_bad_words_are_told_in_one_line(cli: Cli, words: str, said: str) -> None:
    told = cli("feature", *words.split())
    assert told.code == 2 and said in told.error
