"""The runtime's stress program, briefly: `make sanitize` runs it longer."""

from __future__ import annotations

import pytest
from sanitize import run


@pytest.mark.parametrize("sanitizer", ["thread", "address"])
def test_threads_find_no_race_no_torn_value_and_no_freed_memory(sanitizer: str) -> None:
    assert run(sanitizer, 0.15) == 0
