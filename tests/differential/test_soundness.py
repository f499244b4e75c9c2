"""A bounded slice of soundness.py: every register of random runs within what the verifier claims; and it can fail."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import soundness
from bpf_text import assemble

PROGRAMS = 150


def test_every_register_is_within_the_verifiers_facts() -> None:
    ran = sum(soundness.check(seed, runs=4) for seed in range(PROGRAMS))
    assert ran > PROGRAMS, "the programs have become too bad to tell anything"


def test_a_wrong_claim_is_found() -> None:
    """A number that is claimed to be smaller than it is."""
    assert assemble("exit").insns
    with patch.object(soundness, "_fits", lambda reg, value, *_: value < 16), pytest.raises(soundness.Violation):
        for seed in range(50):
            soundness.check(seed, runs=2)


def test_the_same_seed_makes_the_same_program() -> None:
    assert soundness.make(3) == soundness.make(3)
