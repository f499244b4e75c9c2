"""What tests of every room share. No compiled code is kept on disk, unless a test is about that."""

from __future__ import annotations

import functools
import os

import pytest

from bpfjit.errors import describe
from bpfjit.loader import LiveBpf, live_bpf
from bpfjit.uapi import bpf as uapi

os.environ["BPFJIT_NO_CACHE"] = "1"


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
    """bpf(2) of this machine's kernel. Without it a test is skipped, or fails where BPFJIT_REQUIRE_LIVE is set."""
    why = _why_not_live()
    if why:
        if os.environ.get("BPFJIT_REQUIRE_LIVE"):
            pytest.fail(why)
        pytest.skip(why)
    return live_bpf
