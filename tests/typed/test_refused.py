"""Near misses: programs that Linux refuses are refused in its words, those beside them accepted; both kernels say so."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfjit import live_bpf, open_object
from bpfjit.btf import Kind
from bpfjit.errors import VerifierError
from bpfjit.loader import LoadedObject
from bpfjit.loader.compile import compile_c
from kernfs_sim import Kernel

HERE = Path(__file__).parent
SOURCES = sorted(path.stem.removesuffix(".bpf") for path in HERE.glob("refused_*.bpf.c"))


@functools.cache
def compiled(source: str) -> Path:
    path = Path(tempfile.mkdtemp(prefix="bpfjit-tests-")) / f"{source}.o"
    atexit.register(shutil.rmtree, path.parent)
    path.write_bytes(compile_c(HERE / f"{source}.bpf.c"))
    return path


@functools.cache
def wanted(source: str) -> dict[str, str]:
    """By program, its tag: "refused:" or, where only we refuse it, "stricter:", and what is said then; "" where none."""
    obj = open_object(compiled(source))
    btf = obj.spec.btf
    assert btf is not None
    tags = {t.ref: t.name for _, t in btf.items() if t.kind is Kind.DECL_TAG and t.component < 0}
    return {name: tags.get(btf.find(Kind.FUNC, name) or 0, "") for name in obj.progs}


@pytest.fixture(scope="module")
def sim() -> Iterator[Kernel]:
    with Kernel(2, cache=False) as kernel:
        yield kernel


@pytest.mark.parametrize("where", ["sim", "live"])
@pytest.mark.parametrize(("source", "prog"), [(s, p) for s in SOURCES for p in wanted(s)])
def test_verdict_is_linuxs(request: pytest.FixtureRequest, sim: Kernel, source: str, prog: str, where: str) -> None:
    if where == "live":
        request.getfixturevalue("live")
    said = ""
    with LoadedObject(open_object(compiled(source)), sim.bpf if where == "sim" else live_bpf) as loaded:
        loaded.create_maps()
        try:
            loaded.load_prog(loaded.object.progs[prog])
        except VerifierError as e:
            said = e.log
    kind, _, text = wanted(source)[prog].partition(":")
    if kind == "stricter" and where == "live":
        text = ""
    assert text in said if text else not said, said[-2000:]
