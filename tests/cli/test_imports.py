"""A command starts without what it does not use: LLVM takes longer to be imported than most commands take."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import EXAMPLE, SCENARIO

_RUN = (
    "import sys; from bpfjit.cli.main import main; code = main(sys.argv[1:]);"
    "print(*sorted(sys.modules), file=sys.stderr); sys.exit(code)"
)
ALL = {"llvmlite", "bpfjit.verifier", "bpfjit.interp", "kernfs_sim", "runtime"}
# (words, what is not imported)
WITHOUT = [
    (("--version",), ALL),
    (("--help",), {"llvmlite", "bpfjit.verifier", "bpfjit.interp", "kernfs_sim"}),
    (("cache", "show"), {"llvmlite", "bpfjit.verifier", "bpfjit.interp", "kernfs_sim"}),
    (("verify", str(EXAMPLE)), {"llvmlite", "bpfjit.interp"}),
]


def modules(words: tuple[str, ...], home: Path) -> set[str]:
    env = {**os.environ, "XDG_CACHE_HOME": str(home), "BPFJIT_NO_CACHE": "0"}
    ran = subprocess.run([sys.executable, "-c", _RUN, *words], capture_output=True, text=True, env=env, timeout=120)
    assert ran.returncode == 0, ran.stderr
    return set(ran.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(("words", "without"), WITHOUT, ids=lambda w: w[0] if isinstance(w, tuple) else "")
def test_nothing_unused_is_imported(words: tuple[str, ...], without: set[str], tmp_path: Path) -> None:
    assert not without & modules(words, tmp_path)


def test_a_view_that_was_seen_before_needs_no_llvm(tmp_path: Path) -> None:
    words = ("view", str(EXAMPLE), "--scenario", str(SCENARIO))
    assert "llvmlite" in modules(words, tmp_path)
    assert not {"llvmlite", "bpfjit.verifier.check"} & modules(words, tmp_path)
