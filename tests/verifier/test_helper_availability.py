"""Which programs may call which helper: a call of each by each program type and attach type, as Linux has it."""

from __future__ import annotations

from collections import defaultdict

import pytest
from judges import Case, Live, Verdict, ours

from bpfjit.isa.encoding import CALL, Insn
from bpfjit.spec.helpers import HELPERS
from bpfjit.spec.kinds import ProgType
from bpfjit.spec.prog_types import PROG_TYPES
from bpfjit.uapi import bpf as uapi
from tests.live import without

# Of programs that attach by BTF some targets that stand for the others.
_TARGETS = ("btf_trace_sched_wakeup", "bpf_iter_task", "bpf_iter_tcp", "bpf_iter_unix", "bpf_iter_udp", "bpf_iter_netlink")
_ATTACHED = {"tracing": [(name, 0) for name in _TARGETS], "lsm": [("bpf_lsm_file_open", uapi.BPF_LSM_MAC)]}
_MARKS = {"lsm": without("lsm/file_open")}


def _said(verdict: Verdict) -> str:
    """What became of the call, its arguments aside (no register has anything)."""
    for words in ("cannot use helper", "invalid func", "not allowed in probe"):
        if words in verdict.log:
            return words
    return "may call it"


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name, marks=_MARKS.get(row.name, ())) for row in PROG_TYPES])
def test_helpers_are_found_as_on_linux(live: Live, row: ProgType) -> None:
    differ = defaultdict(list)
    for name, attach_type in _ATTACHED.get(row.name, [("", t) for t in row.attach_types or (0,)]):
        for helper in range(HELPERS[-1].id + 1):
            case = Case(row.name, (Insn(CALL, imm=helper), Insn(0xB7), Insn(0x95)), attach=name, expected=attach_type)
            theirs = live.judge(case)
            mine, wanted = _said(ours(case, live.btf)), _said(theirs)
            if mine != wanted:
                differ[f"bpf helper {helper}: {mine!r}, Linux {wanted!r}"].append(name or str(attach_type))
    assert not differ, differ
