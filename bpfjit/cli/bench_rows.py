"""What the tables of bpfjit bench are made of: rows of samples, their figures, and how they are printed."""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..dataclass import dataclass, field
from ..errors import ObjectError

ROOT = Path(__file__).resolve().parent.parent.parent
ENGINES = ("bpfjit", "interp", "kernel", "native")


@dataclass(slots=True)
class Row:
    """One measured thing: samples in ns of one operation, by engine; none where an engine is not to be had."""

    what: str
    samples: dict[str, list[float]] = field(default_factory=dict)
    elements: int | None = None
    more: dict[str, Any] = field(default_factory=dict)

    def median(self, engine: str) -> float | None:
        samples = self.samples.get(engine)
        return statistics.median(samples) if samples else None

    def json(self) -> dict[str, Any]:
        row: dict[str, Any] = {"what": self.what}
        row |= {f"{engine}_ns": rounded(self.median(engine)) for engine in ENGINES}
        row |= {"elements": self.elements, **self.more}
        # The middle half of the samples: how far they spread.
        row["spread_ns"] = {e: [rounded(q) for q in quartiles(s)] for e, s in self.samples.items() if s}
        return row


def rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def quartiles(samples: Sequence[float]) -> tuple[float, float]:
    if len(samples) < 2:
        return samples[0], samples[0]
    low, _, high = statistics.quantiles(samples, n=4, method="inclusive")
    return low, high


def geomean(values: Iterable[float]) -> float | None:
    logs = [math.log(v) for v in values if v > 0]
    return rounded(math.exp(sum(logs) / len(logs))) if logs else None


class Progress:
    """A bar on stderr, where that is a terminal."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.done = 0
        self.shown = sys.stderr.isatty()

    def step(self, what: str) -> None:
        self.done += 1
        if self.shown:
            filled = 30 * self.done // max(self.steps, 1)
            sys.stderr.write(f"\r[{'#' * filled}{'.' * (30 - filled)}] {self.done}/{self.steps} {what:<28.28}")
            sys.stderr.flush()

    def close(self) -> None:
        if self.shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def source_tree(name: str) -> Path:
    """A folder that only the source tree has. Raises ObjectError elsewhere."""
    path = ROOT / name
    if not path.is_dir():
        raise ObjectError("the benchmark programs are in bpfjit's source tree, which this is not", file=str(path))
    return path


def amount(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def print_columns(lines: list[list[str]]) -> None:
    """The first column to the left, the others to the right."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for line in lines:
        print("  ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))).rstrip())
