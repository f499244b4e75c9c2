"""What tests of every room share. No compiled code is kept on disk, unless a test is about that."""

from __future__ import annotations

import functools
import os
from collections.abc import Generator

import pytest

from bpfjit.errors import describe
from bpfjit.loader import LiveBpf, live_bpf
from bpfjit.uapi import bpf as uapi

os.environ["BPFJIT_NO_CACHE"] = "1"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test skips itself where the machine lacks something: a live kernel, /dev/fuse, a peer. Under BPFJIT_REQUIRE_LIVE
    that is a failure; only what a `skipif` mark names is not: a choice of whoever runs the tests, or what a live kernel that
    is there lets nobody do (live.py)."""
    report = yield
    if os.environ.get("BPFJIT_REQUIRE_LIVE") and report.skipped and item.get_closest_marker("skipif") is None:
        where = report.longrepr
        report.outcome, report.longrepr = "failed", where[2] if isinstance(where, tuple) else str(where)
    return report


@functools.cache
def _why_not_live() -> str:
    """Why the live kernel's bpf(2) is not to be had; "" if it is."""
    attr = uapi.MapCreate(map_type=uapi.BPF_MAP_TYPE_ARRAY, key_size=4, value_size=4, max_entries=1)
    try:
        live_bpf.close(live_bpf(uapi.BPF_MAP_CREATE, bytearray(attr.pack())))
    except OSError as e:
        return f"the live kernel's bpf(2) is not to be had: {describe(e)}"
    return ""


@pytest.fixture(scope="session")
def live() -> LiveBpf:
    """bpf(2) of this machine's kernel. Without it a test is skipped."""
    why = _why_not_live()
    if why:
        pytest.skip(why)
    return live_bpf
