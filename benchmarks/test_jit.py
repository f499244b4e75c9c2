"""bench jit's cases under pytest-benchmark: `pytest benchmarks`; not part of `make test`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bpfjit.cli.bench_jit import EMPTY, Suite, name_of, sources

# Executions in one call: an execution is shorter than Python's way into it.
RUNS = {"bpfjit": 1000, "interp": 1, "native": 1000}


@pytest.fixture(scope="module")
def suite() -> Iterator[Suite]:
    made = Suite()
    yield made
    made.close()


@pytest.mark.parametrize("name", [n for n in map(name_of, sources()) if n != EMPTY])
@pytest.mark.parametrize("engine", list(RUNS))
def test_program(benchmark: BenchmarkFixture, suite: Suite, engine: str, name: str) -> None:
    run = suite.engines[engine].get(name)
    if run is None:
        pytest.skip("; ".join(suite.notes))
    benchmark.group = name
    benchmark.extra_info["executions"] = RUNS[engine]
    if suite.live is not None:
        # By the kernel's own clock: attaching to its test run takes far longer than the runs.
        benchmark.extra_info["kernel_ns"] = suite.live.run(name, 10000)[0] - suite.live.run(EMPTY, 10000)[0]
    benchmark.pedantic(run, args=(RUNS[engine],), rounds=1 if engine == "interp" else 10, warmup_rounds=0)
