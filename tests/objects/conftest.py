"""What tests of the user side share: programs compiled at test time, and two kernels to load them into."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bpfjit.btf import Btf, Kind
from bpfjit.loader import LoadedObject, Object, live_bpf, open_object
from bpfjit.loader.bpf import Buffers
from bpfjit.loader.compile import compile_c
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel

HERE = Path(__file__).parent
Compile = Callable[..., Path]


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
    """bpf(2) of the kernel that runs the tests. Not to be had: a skip, or a failure under BPFJIT_REQUIRE_LIVE."""
    reason = why_not_live()
    if reason and os.environ.get("BPFJIT_REQUIRE_LIVE"):
        pytest.fail(reason)
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


def run(loaded: LoadedObject, prog: str, ctx: bytes = b"", data: bytes = b"") -> int:
    """BPF_PROG_TEST_RUN: the return value, signed 32-bit."""
    buffers = Buffers()
    attr = uapi.TestRun(
        prog_fd=loaded.progs[prog].fd,
        data_in=buffers.put(data),
        data_size_in=len(data),
        ctx_in=buffers.put(ctx),
        ctx_size_in=len(ctx),
    )
    raw = bytearray(attr.pack())
    loaded.bpf(uapi.BPF_PROG_TEST_RUN, raw)
    retval = uapi.TestRun.unpack(raw).retval
    return retval - (1 << 32) if retval >> 31 else retval


def global_var(obj: Object | LoadedObject, name: str) -> tuple[str, int, int]:
    """A global variable's (section, offset, size), as the object's BTF says."""
    btf: Btf | None = obj.spec.btf
    assert btf is not None
    for _, t in btf.items():
        for v in t.secvars if t.kind is Kind.DATASEC else ():
            if btf.type(v.type_id).name == name:
                return t.name, v.offset, v.size
    raise KeyError(name)


def read_global(loaded: LoadedObject, name: str, signed: bool = True) -> int | list[int]:
    """A global integer's value, or those of an array of 8-byte ones."""
    raw = global_bytes(loaded, name)
    if len(raw) > 8:
        return [int.from_bytes(raw[i : i + 8], "little", signed=signed) for i in range(0, len(raw), 8)]
    return int.from_bytes(raw, "little", signed=signed)


def global_bytes(loaded: LoadedObject, name: str) -> bytes:
    section, offset, size = global_var(loaded, name)
    m = next(m for m in loaded.maps.values() if m.spec.section == section)
    return m.lookup(bytes(4))[offset : offset + size]


def errno_of(call: Callable[[], Any]) -> str:
    try:
        call()
    except OSError as e:
        return errno.errorcode.get(e.errno or 0, str(e.errno))
    return "0"
