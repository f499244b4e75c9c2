"""Fixtures of the mount's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfjit.loader.compile import compile_c
from kernfs_sim import Kernel
from kernfs_sim.fs.fuse_mount import FuseMount

from .mounts import ROOT, Place, need_fuse, served, served_by_user


@pytest.fixture(scope="session")
def wait_object(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("mount") / "wait_latency.bpf.o"
    out.write_bytes(compile_c(ROOT / "examples" / "wait_latency.bpf.c"))
    return out


@pytest.fixture
def fuse(wait_object: Path) -> Iterator[tuple[Kernel, FuseMount]]:
    """The example's system, mounted by this process."""
    need_fuse()
    with served(wait_object) as made:
        yield made


def _place(who: str, data: Path) -> Iterator[Place]:
    need_fuse()
    if who == "root":
        with served(data) as (_, mount):
            yield Place(mount.directory, 0)
    else:
        with served_by_user(data) as made:
            yield made


@pytest.fixture(params=["root", "user"])
def place(request: pytest.FixtureRequest, wait_object: Path) -> Iterator[Place]:
    """The example's system, mounted by root and used by root; and mounted and used by an ordinary user."""
    yield from _place(request.param, wait_object)


@pytest.fixture(scope="module", params=["root", "user"])
def shared_place(request: pytest.FixtureRequest, wait_object: Path) -> Iterator[Place]:
    """The same for tests that change nothing."""
    yield from _place(request.param, wait_object)
