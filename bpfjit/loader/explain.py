"""Why a program is refused, for people: from the verifier's log, ours or Linux's, which have the same words."""

from __future__ import annotations

import re
from typing import Any

from ..dataclass import dataclass
from ..spec.advice import advice_for
from .log import reason_of

_SOURCE = re.compile(r"^; (.*) @ ([^@]*:\d+)$")
_INSN = re.compile(r"^(\d+): \([0-9a-f]{2}\) (.*?)(?:\s+; (?:frame\d+: )?(.*))?$")
_STATE = re.compile(r"^(?:from \d+ to )?(\d+): (?:frame\d+: )?((?:R\d+|fp-\d+)=.*)$")
_VALUE = re.compile(r"(R\d+|fp-\d+)=(.*?)(?= (?:R\d+|fp-\d+)=|$)")
_MAX_STEPS = 8


@dataclass(frozen=True, slots=True)
class Step:
    """One source line on the way: "file.c:12: text" (or the instructions, without BTF), and the values that matter."""

    source: str
    values: dict[str, str]


@dataclass(frozen=True, slots=True)
class Explanation:
    """reason: the verifier's words. insn, pc: the instruction refused; source: its line. path: the way there, the last
    lines of it. advice: what usually mends it ("" where nothing is known)."""

    reason: str
    insn: str
    pc: int
    source: str
    path: tuple[Step, ...]
    advice: str

    def as_json(self) -> dict[str, Any]:
        from dataclasses import asdict

        return asdict(self)

    def __str__(self) -> str:
        """A few lines for a terminal."""
        lines = [f"why:    {self.reason}"]
        if self.insn:
            lines.append(f"where:  {self.source or 'instruction'}")
            lines.append(f"        {self.pc}: {self.insn}")
        for i, step in enumerate(self.path):
            lines.append(f"{'way:' if not i else '':<8}{step.source}")
            if step.values:
                lines.append("          " + "  ".join(f"{name} = {value}" for name, value in step.values.items()))
        if self.advice:
            lines.append(f"mend:   {self.advice}")
        return "\n".join(lines) + "\n"


@dataclass(slots=True)
class _Seen:
    pc: int
    text: str
    source: str
    values: dict[str, str]


def explain(log: str) -> Explanation | None:
    """What a log of level 1 or 2 says of the refusal at its end; None for an empty one."""
    if not log.strip():
        return None
    reason = reason_of(log)
    seen, source = [], ""
    for line in log.splitlines():
        if m := _SOURCE.match(line):
            source = f"{m[2]}: {m[1]}"
        elif m := _INSN.match(line):
            seen.append(_Seen(int(m[1]), m[2].strip(), source, dict(_VALUE.findall(m[3] or ""))))
        elif (m := _STATE.match(line)) and seen:
            seen[-1].values |= dict(_VALUE.findall(m[2]))
    if not seen:
        return Explanation(reason, "", -1, "", (), advice_for(log_end(log, reason)))
    last = seen[-1]
    return Explanation(reason, last.text, last.pc, last.source, _path(seen, reason), advice_for(log_end(log, reason)))


def log_end(log: str, reason: str) -> str:
    """The refusal with the lines that follow it (the second often says which bound)."""
    at = log.rfind(reason)
    return log[at:] if reason and at >= 0 else log[-500:]


def _path(seen: list[_Seen], reason: str) -> tuple[Step, ...]:
    """The last source lines, each with what the registers that matter hold after it."""
    last = seen[-1]
    names = re.findall(r"\bR\d+\b", reason) or [f"R{n}" for n in re.findall(r"\br(\d+)\b", last.text)]
    matter = {name for name in names if name != "R10"}
    steps: list[Step] = []
    for item in reversed(seen):
        place = item.source or f"{item.pc}: {item.text}"
        values = {name: value for name, value in item.values.items() if name in matter}
        # `r1 = r2`, `r1 += r2`: from here back, the other one matters too.
        m = re.match(r"[rw](\d+) [^= ]*= [rw](\d+)$", item.text)
        if m and f"R{m[1]}" in matter:
            matter.add(f"R{m[2]}")
        if steps and steps[-1].source == place:
            steps[-1] = Step(place, {**values, **steps[-1].values})
        elif len(steps) == _MAX_STEPS:
            break
        elif values or item.source:
            steps.append(Step(place, values))
    return tuple(reversed(steps))
