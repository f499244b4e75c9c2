"""The public BPF conformance suite's vectors, where they are to be had: every one up to cpu v4, in both engines.

Point BPFJIT_CONFORMANCE_DIR at the `tests` directory of a checkout of Alan-Jowett/bpf_conformance:

    BPFJIT_CONFORMANCE_DIR=…/bpf_conformance/tests python -m pytest tests/conformance/public_test.py

Of its 313 vectors (November 2026) 312 lie within v1 to v4; interpreter and JIT get all 312 right. The other one calls
through a register, which no cpu version has. The suite's own runner can drive `bpfjit raw` as its plugin instead.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from suite import assemble, beyond_v4, read

from bpfjit.cli.raw import run_raw
from bpfjit.isa.encoding import Insn, encode

VARIABLE = "BPFJIT_CONFORMANCE_DIR"
_DIR = os.environ.get(VARIABLE)
VECTORS = sorted(Path(_DIR).glob("*.data")) if _DIR else []


@pytest.mark.parametrize("engine", ("interp", "jit"))
@pytest.mark.skipif(not _DIR, reason=f"{VARIABLE} does not name a directory of public vectors")
def test_public_vectors(engine: str) -> None:
    assert VECTORS, f"no *.data in {VARIABLE}={_DIR}"
    wrong, ran = [], 0
    for path in VECTORS:
        vector = read(path)
        if beyond_v4(vector.code):
            continue
        ran += 1
        try:
            found = run_raw(vector.code, vector.memory, engine)
        except Exception as e:  # each vector is told, not only the first that fails
            wrong.append(f"{vector.name}: {e}")
            continue
        if found != vector.result:
            wrong.append(f"{vector.name}: {found:#x}, wanted {vector.result:#x}")
    assert not wrong, f"{len(wrong)} of {ran} vectors:\n" + "\n".join(wrong)


def test_the_suites_dialect_becomes_instructions() -> None:
    source = """
        mov32 %r1, 0xfffffffe
        lddw %r2, 0x100000000
        ldxsw %r3, [%r1-4]
        stb [%r10+8], 5
        lock fetch add32 [%r10-8], %r1
        lock cmpxchg [%r10-8], %r1
        movsx832 %r1, %r2
        sdiv %r1, %r2
        be16 %r3
        jslt32 %r1, -1, exit
        ja32 done
        call local done
        exit
        done:
        exit
    """
    made = assemble([line.strip() for line in source.strip().splitlines()])
    assert made == [
        *(Insn(0xB4, 1, imm=-2), Insn(0x18, 2), Insn(0, imm=1), Insn(0x81, 3, 1, -4), Insn(0x72, 10, 0, 8, 5)),
        *(Insn(0xC3, 10, 1, -8, 1), Insn(0xDB, 10, 1, -8, 0xF1), Insn(0xBC, 1, 2, 8), Insn(0x3F, 1, 2, 1)),
        *(Insn(0xDC, 3, imm=16), Insn(0xC6, 1, 0, 2, -1), Insn(0x06, imm=2), Insn(0x85, 0, 1, 0, 1)),
        *(Insn(0x95), Insn(0x95)),
    ]
    assert len(encode(made)) == 8 * len(made)
