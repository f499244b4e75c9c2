"""Verifier logs: the refusal in one, and the statistics at its end."""

from __future__ import annotations

import re

from ..dataclass import dataclass


@dataclass(slots=True)
class LoadStats:
    """What the kernel's verifier says of one load: its log, the counts in it, its own time (µs)."""

    log: str = ""
    insns: int = 0
    processed_insns: int | None = None
    states: int | None = None
    duration_us: float | None = None


def log_text(log: bytearray) -> str:
    return log.split(b"\0", 1)[0].decode("utf-8", "replace")


# Log lines that are no refusal: instructions, states, C source, headings.
_NOT_A_REASON = re.compile(
    r"^(\d+: \(|;|from |R\d+ ?[=_(]|func#|Validating|caller:|callee:|mark_precise|arg#\d+ reference type|\s*$)"
)
_STATISTICS = re.compile(r"^(processed |verification time|stack depth)")


def reason_of(log: str) -> str:
    """The refusal in a verifier log: its last lines before the statistics, the first of them."""
    lines = log.splitlines()
    while lines and _STATISTICS.match(lines[-1]):
        lines.pop()
    reason = ""
    for line in reversed(lines):
        if _NOT_A_REASON.match(line):
            break
        reason = line
    return reason or (lines[-1] if lines else "")


def parse_stats(log: str, insns: int) -> LoadStats:
    """The counts in a log of level 1 to 7."""
    stats = LoadStats(log=log, insns=insns)
    if m := re.search(r"processed (\d+) insns.*?total_states (\d+)", log):
        stats.processed_insns, stats.states = int(m[1]), int(m[2])
    if m := re.search(r"verification time ([\d.]+) usec", log):
        stats.duration_us = float(m[1])
    return stats


# The mark of a call that the loader put in place of what it could not resolve.
_UNKNOWN = re.compile(r"unknown#(\d+)")


def poisoned_call(log: str) -> tuple[int, int] | None:
    """(pc, imm) of the unknown function that a log ends at."""
    reason = _UNKNOWN.search(reason_of(log))
    if reason is None:
        return None
    lines = [m for m in re.finditer(r"^(\d+): \(85\) call .*?#(\d+)", log, re.M) if m[2] == reason[1]]
    return (int(lines[-1][1]) if lines else -1), int(reason[1])
