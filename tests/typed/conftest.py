"""The objects of this directory in each engine and on Linux."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from typed_programs import Loader, set_global

from bpfjit import live_bpf, open_object
from bpfjit.loader import LoadedObject
from bpfjit.loader.compile import compile_c
from kernfs_sim import Kernel

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loader]:
    """Objects, each compiled once and loaded once for each engine."""
    objects: dict[str, Path] = {}
    done: dict[tuple[str, str], LoadedObject] = {}

    def load(source: str, engine: str) -> LoadedObject:
        if source not in objects:
            objects[source] = tmp_path_factory.mktemp("typed") / f"{source}.o"
            objects[source].write_bytes(compile_c(HERE / f"{source}.bpf.c"))
        if (source, engine) not in done:
            if engine == "live":
                bpf = live_bpf
            else:
                kernel = Kernel(2, engine=engine, cache=False)
                kernel.tasks.create(os.getpid(), "me")
                bpf = kernel.bpf
            done[source, engine] = open_object(objects[source]).load(bpf)
            set_global(done[source, engine], "pid", os.getpid())
        return done[source, engine]

    yield load
    for obj in done.values():
        obj.close()
