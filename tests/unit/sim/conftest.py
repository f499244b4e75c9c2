"""Fixtures of the simulated kernel's tests: kernels, both kinds of system, programs."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from systems import Simulated, System, live_or_skip

from bpfjit import open_object
from kernfs_sim import Kernel

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


@pytest.fixture(params=["simulated", "live"])
def system(request: pytest.FixtureRequest) -> Iterator[System]:
    """A kernel with an empty bpffs; every test that takes it is run on both."""
    made: System = Simulated() if request.param == "simulated" else live_or_skip()
    yield made
    made.close()


@pytest.fixture(scope="session")
def subprogs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An object of several functions, with maps, line records and BTF."""
    from bpfjit.loader.compile import compile_c

    made = tmp_path_factory.mktemp("o") / "subprogs.o"
    made.write_bytes(compile_c(Path(__file__).resolve().parents[2] / "objects" / "subprogs.bpf.c"))
    return made


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    with Kernel(cpus=2) as made:
        yield made


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """C source (without its includes) -> an Object; each text is compiled once a session."""
    from bpfjit.loader.compile import compile_c

    made: dict[str, Path] = {}

    def compiled(body: str) -> Any:
        if body not in made:
            source = tmp_path_factory.mktemp("c") / "prog.bpf.c"
            head = '#include "vmlinux.h"\n#include <bpf/bpf_helpers.h>\n#include <bpf/bpf_tracing.h>\n'
            source.write_text(head + textwrap.dedent(body) + '\nchar _license[] SEC("license") = "GPL";\n')
            made[body] = source.with_suffix(".o")
            made[body].write_bytes(compile_c(source))
        return open_object(made[body])

    return compiled


WAIT_SOURCE = (EXAMPLES / "wait_latency.bpf.c").read_text().split("bpf_tracing.h>\n", 1)[1].rsplit("char _license", 1)[0]


@pytest.fixture
def wait(build: Callable[[str], Any]) -> Any:
    """The example's object, to be loaded."""
    return build(WAIT_SOURCE)
