"""Fixtures of the verifier's cases: the kernel types that programs are checked against, and the live judge."""

from __future__ import annotations

import pytest
from judges import Live, live_or_reason

from bpfjit.btf import Btf
from kernfs_sim import Kernel


@pytest.fixture(scope="session")
def live() -> Live:
    """The live kernel; skips where there is none."""
    got = live_or_reason()
    if isinstance(got, str):
        pytest.skip(got)
    return got


@pytest.fixture(scope="session")
def types() -> Btf:
    """The simulated kernel's own BTF."""
    return Kernel().btf.types
