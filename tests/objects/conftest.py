"""What tests of the user side share: programs compiled at test time, and two kernels to load them into."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from objects_support import Compile

from bpfjit.loader import LoadedObject, live_bpf, open_object
from bpfjit.loader.compile import compile_c
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """compiled("name") is the object file of tests/objects/name.bpf.c; compiled(text="...") that of a C source."""
    root = tmp_path_factory.mktemp("objects")
    done: dict[tuple[Any, ...], Path] = {}

    def build(name: str = "", *, text: str = "", cpu: str = "v3", flags: tuple[str, ...] = ()) -> Path:
        key = (name, text, cpu, flags)
        if key not in done:
            source = HERE / f"{name}.bpf.c"
            directory = Path(tempfile.mkdtemp(dir=root))
            if text:
                source = directory / "inline.bpf.c"
                source.write_text(text)
            out = directory / f"{name or 'inline'}.bpf.o"
            out.write_bytes(compile_c(source, cpu=cpu, flags=flags))
            done[key] = out
        return done[key]

    return build


def why_not_live() -> str:
    try:
        live_bpf.close(live_bpf(uapi.BPF_BTF_GET_FD_BY_ID, bytearray(uapi.GetId(start_id=1).pack())))
    except OSError as e:
        return f"no live kernel: {e}"
    return ""


@pytest.fixture
def live() -> Any:
    """bpf(2) of the kernel that runs the tests. Not to be had: a skip."""
    reason = why_not_live()
    if reason:
        pytest.skip(reason)
    return live_bpf


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    with Kernel() as k:
        yield k


@pytest.fixture(params=["sim", "live"])
def bpf(request: pytest.FixtureRequest) -> Any:
    """The same test on the simulated kernel and on Linux."""
    return request.getfixturevalue("kernel").bpf if request.param == "sim" else request.getfixturevalue("live")


@pytest.fixture
def load(bpf: Any, compiled: Compile) -> Iterator[Callable[..., LoadedObject]]:
    """load("name", ...) opens the compiled object (what open_object takes besides goes along) and loads it into `bpf`."""
    loaded: list[LoadedObject] = []

    def loader(name: str = "", *, text: str = "", cpu: str = "v3", only: Any = None, **how: Any) -> LoadedObject:
        obj = open_object(compiled(name, text=text, cpu=cpu), **how)
        loaded.append(obj.load(bpf, only=only))
        return loaded[-1]

    yield loader
    for one in loaded:
        one.close()
