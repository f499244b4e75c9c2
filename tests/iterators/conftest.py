"""Iterator tests run on the simulated kernel and, where it is to be had, on the live one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfjit.loader.compile import compile_c
from tests.live import without

from .worlds import HERE, World, worlds

ELEMENTS = 8  # in the map `elems`
_SLEEPERS = (
    "import sys, threading; wait = threading.Event().wait\n"
    "[threading.Thread(target=wait, daemon=True).start() for _ in range(int(sys.argv[1]) - 1)]\n"
    "print('ready', flush=True); sys.stdin.read(); import os; os._exit(0)"
)
_LIVE_ELEMENTS = pytest.param("live", marks=without("iter/bpf_map_elem"))


@pytest.fixture(scope="session")
def walk_object(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("iterators") / "walk.bpf.o"
    path.write_bytes(compile_c(HERE / "walk.bpf.c"))
    return path


@pytest.fixture(scope="session")
def threads() -> Iterator[list[int]]:
    """The thread ids of a process of ours that sleeps, its leader's first."""
    command = [sys.executable, "-S", "-c", _SLEEPERS, str(ELEMENTS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == b"ready\n"
        yield sorted(int(t.name) for t in Path(f"/proc/{process.pid}/task").iterdir())
        process.stdin.close()


def _world(request: pytest.FixtureRequest, walk_object: Path) -> Iterator[World]:
    which, _, what = request.param.partition("-")
    if which == "live":
        request.getfixturevalue("live")  # skips or fails where there is none
    yield from worlds(which, walk_object, request.getfixturevalue("threads") if what else [])


@pytest.fixture(params=["simulated", "live"])
def world(request: pytest.FixtureRequest, walk_object: Path) -> Iterator[World]:
    yield from _world(request, walk_object)


@pytest.fixture(params=["simulated", _LIVE_ELEMENTS])
def elements(request: pytest.FixtureRequest, walk_object: Path) -> Iterator[World]:
    """Worlds for what concerns elements of maps alone."""
    yield from _world(request, walk_object)


@pytest.fixture(params=["simulated", "simulated-threads", _LIVE_ELEMENTS, "live-threads"])
def walked(request: pytest.FixtureRequest, walk_object: Path) -> Iterator[World]:
    """Worlds that walk ELEMENTS elements of a map, and as many threads: reads go by the same rules."""
    yield from _world(request, walk_object)
