"""A bounded run of the random programs of verdicts.py: nothing that Linux refuses is accepted, little else differs."""

from __future__ import annotations

import pytest
import verdicts

COUNT = 120


@pytest.fixture(scope="module")
def live() -> verdicts.Live:
    got = verdicts.live_or_reason()
    if isinstance(got, str):
        pytest.skip(got)
    return got


def test_random_programs_get_linuxs_verdict(live: verdicts.Live) -> None:
    found, accepted = [], 0
    for seed in range(COUNT):
        type_, text = verdicts.make(seed)
        d = verdicts.compare(live, seed, type_, text)
        if d is not None:
            found.append(d)
        else:
            accepted += verdicts.ours(verdicts.case_of(type_, text, live.btf), live.btf, 0).ok
    unsound = [verdicts.minimise(live, d) for d in found if d.kind == "unsound"]
    assert not unsound, "\n".join(map(str, unsound))
    assert len(found) <= COUNT // 100, "\n".join(map(str, found))
    assert accepted > COUNT // 5, "the programs have become too bad to tell anything"


def test_the_same_seed_makes_the_same_program() -> None:
    assert verdicts.make(7) == verdicts.make(7)
