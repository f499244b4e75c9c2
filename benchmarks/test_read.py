"""bench read's cases under pytest-benchmark, while events happen in another thread."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bpfjit.cli.bench_read import CGROUPS, System, cgroup_stat, events, pinned_iterator, read_file


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    made = System(CGROUPS)
    with events(made):
        yield made
    made.close()


@pytest.mark.parametrize("what", ["read_one", "read_all"])
def test_view(benchmark: BenchmarkFixture, system: System, what: str) -> None:
    benchmark.group = what
    benchmark(getattr(system, what), random.Random(1))


def test_kernel_pinned_iterator(benchmark: BenchmarkFixture, system: System) -> None:
    benchmark.group = "read_one"
    try:
        with pinned_iterator() as path:
            benchmark(read_file(path), random.Random(1))
    except OSError as e:
        pytest.skip(str(e))


def test_kernel_cgroup_stat(benchmark: BenchmarkFixture, system: System) -> None:
    benchmark.group = "read_one"
    try:
        path = cgroup_stat()
    except OSError as e:
        pytest.skip(str(e))
    benchmark(read_file(path), random.Random(1))
