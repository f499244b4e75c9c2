"""Every opcode, with fields that may be reserved, where the walk comes by and where it does not: Linux's verdict."""

from __future__ import annotations

import pytest
from judges import Case, Live, ours

from bpfjit.isa.encoding import LD_IMM64, Insn

_FIELDS: tuple[dict[str, int], ...] = (
    {},
    {"src": 1},
    {"src": 3},
    {"off": 1},
    {"imm": 7},
    {"imm": 64},
    {"src": 1, "imm": 7},
    {"dst": 11},
)
_ZERO, _EXIT, _SKIP = Insn(0xB7), Insn(0x95), Insn(0x15, 0, 0, 1, 0)


def _around(insn: Insn, *, reached: bool) -> Case:
    if reached:
        return Case("socket_filter", (_ZERO, Insn(0xB7, 1), Insn(0xB7, 6), insn, *(_ZERO,) * 8, _EXIT))
    return Case("socket_filter", (_ZERO, _SKIP, insn, _ZERO, _EXIT))


@pytest.mark.parametrize("reached", [True, False])
def test_every_opcode_is_judged_as_on_linux(live: Live, reached: bool) -> None:
    differ = []
    for code in range(256):
        for fields in _FIELDS if code not in (0, LD_IMM64) else ():
            case = _around(Insn(code, **fields), reached=reached)
            mine, theirs = ours(case, live.btf, 0), live.judge(case, 0)
            if mine.errno != theirs.errno:
                differ.append(f"{Insn(code, **fields)}: {mine.errno}, Linux says {theirs.errno}")
    assert not differ, "\n".join(differ)
