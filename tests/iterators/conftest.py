"""Iterator tests run on the simulated kernel and, where it is to be had, on the live one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfjit.loader.compile import compile_c

from .worlds import HERE, World, live_is_there, worlds


@pytest.fixture(scope="session")
def walk_object(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("iterators") / "walk.bpf.o"
    path.write_bytes(compile_c(HERE / "walk.bpf.c"))
    return path


@pytest.fixture(params=["simulated", "live"])
def world(request: pytest.FixtureRequest, walk_object: Path) -> Iterator[World]:
    if request.param == "live" and not live_is_there() and not os.environ.get("BPFJIT_REQUIRE_LIVE"):
        pytest.skip("bpf(2) of the live kernel is not to be had")
    yield from worlds(request.param, walk_object)
