"""Fixtures of the runtime's tests: `calls` runs a test on both kernels, `sim` and `live` are one of them each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bpf_calls import Calls, live_calls, possible_cpus

from kernfs_sim import Kernel


@pytest.fixture
def sim() -> Iterator[Calls]:
    with Kernel(possible_cpus(), tiered=False) as kernel:
        calls = Calls(kernel.bpf, possible_cpus(), kernel)
        yield calls
        calls.close_all()


@pytest.fixture
def live() -> Iterator[Calls]:
    calls = live_calls()
    yield calls
    calls.close_all()


@pytest.fixture(params=["sim", "live"])
def calls(request: pytest.FixtureRequest) -> Calls:
    found: Calls = request.getfixturevalue(request.param)
    return found
