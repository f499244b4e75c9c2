"""Fixtures of the loaders' tests: two kernels that must answer alike."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from both import Side, live_side

from kernfs_sim import Kernel


@pytest.fixture
def sim() -> Iterator[Side]:
    with Kernel(cpus=2) as kernel:
        side = Side(kernel.bpf, kernel)
        yield side
        side.close_all()


@pytest.fixture
def real() -> Iterator[Side]:
    side = live_side()
    yield side
    side.close_all()


@pytest.fixture(params=["simulated", "live"])
def side(request: pytest.FixtureRequest) -> Side:
    """One kernel; a test that takes it is run on both."""
    found: Side = request.getfixturevalue("sim" if request.param == "simulated" else "real")
    return found
