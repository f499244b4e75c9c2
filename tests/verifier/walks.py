"""Two walks of one program held together: what each log (level 2) says of the registers, and the counts at its end."""

from __future__ import annotations

import re
from dataclasses import dataclass

from judges import Case, Live, Verdict, ours

_STATE = re.compile(r"\d+: (?:\(..\) .*?; )?((?:frame\d+: )?(?:R\d|fp-).*)")
_PROCESSED = re.compile(r"processed (\d+) insns .* total_states (\d+)")
_LONG = 3000  # processed instructions from which a log would be too long to be read


@dataclass(frozen=True)
class Difference:
    """States that only one side has, and both sides' (processed, total states)."""

    mine: tuple[str, ...]
    theirs: tuple[str, ...]
    counts: tuple[tuple[str, ...], tuple[str, ...]]

    def __str__(self) -> str:
        lines = (
            [f"    processed, states: ours {self.counts[0]}, Linux's {self.counts[1]}"] if len(set(self.counts)) > 1 else []
        )
        lines += [f"    ours   {x}" for x in self.mine] + [f"    Linux  {x}" for x in self.theirs]
        return "\n".join(lines)


def registers(log: str) -> list[str]:
    """Every register's state that a log tells, in order, without the names that maps have here alone."""
    found = []
    for line in log.splitlines():
        m = _STATE.fullmatch(line)
        if m:
            text = re.sub(r"frame\d+: |map=[\w.]+,| refs=[\d,]+| cb$", "", m[1])
            found += [x for x in re.split(r" (?=R\d+=|fp-\d|refs=|cb$)", text) if re.match(r"R\d+=", x)]
    return found


def _counts(verdict: Verdict) -> tuple[str, ...]:
    m = _PROCESSED.search(verdict.log)
    return m.groups() if m else ()


def difference(live: Live, case: Case) -> Difference | None:
    """How the two walks of a program differ; None for not at all, and for walks too long to be told."""
    counted = _counts(live.judge(case, 4))
    if counted and int(counted[0]) > _LONG:
        return None
    mine, theirs = ours(case, live.btf, 2), live.judge(case, 2, 1 << 22)
    a, b = registers(mine.log), registers(theirs.log)
    only = tuple(x for x in dict.fromkeys(a) if x not in set(b)), tuple(x for x in dict.fromkeys(b) if x not in set(a))
    counts = _counts(mine), _counts(theirs)
    return Difference(*only, counts) if any(only) or counts[0] != counts[1] else None
