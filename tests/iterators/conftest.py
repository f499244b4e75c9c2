"""Iterator tests run on the simulated kernel and, where it is to be had, on the live one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfjit.loader.compile import compile_c

from .worlds import HERE, World, worlds


@pytest.fixture(scope="session")
def walk_object(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("iterators") / "walk.bpf.o"
    path.write_bytes(compile_c(HERE / "walk.bpf.c"))
    return path


@pytest.fixture(params=["simulated", "live"])
def world(request: pytest.FixtureRequest, walk_object: Path) -> Iterator[World]:
    if request.param == "live":
        request.getfixturevalue("live")  # skips or fails where there is none
    yield from worlds(request.param, walk_object)
