"""bpfjit bench TABLE: measured tables, everything in one run, the losers first; `compare` holds two runs together."""

from __future__ import annotations

import argparse
import importlib
import math
import os
import platform
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ObjectError, UsageError
from . import common

ROOT = Path(__file__).resolve().parent.parent.parent
ENGINES = ("bpfjit", "interp", "kernel", "native")
# A table's module has measure(quick) -> (rows, geomeans, notes); it is imported when it is asked for.
TABLES = {name: f"bench_{name}" for name in ("jit", "read", "iter", "maps", "load", "loader", "verify")}
Measured = tuple[list["Row"], dict[str, Any], list[str]]


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


def add(commands: Any) -> None:
    parser = commands.add_parser("bench", help="measure, beside the live kernel and native C where they are to be had")
    parser.add_argument(
        "table",
        choices=(*TABLES, "compare"),
        help="what to measure, or compare two runs' JSON",
    )
    parser.add_argument("files", metavar="FILE.json", nargs="*", help="compare: the run before and the run after")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--plot", metavar="FILE", help="draw the table as SVG")
    common.add_output(parser)
    parser.set_defaults(command=bench)


def source_tree(name: str) -> Path:
    """A folder that only the source tree has. Raises ObjectError elsewhere."""
    path = ROOT / name
    if not path.is_dir():
        raise ObjectError("the benchmark programs are in bpfjit's source tree, which this is not", file=str(path))
    return path


def machine() -> dict[str, Any]:
    """What was measured on."""
    cpu = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), cpu)
    except OSError:
        pass
    return {"cpu": cpu, "cpus": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()}


def bench(args: argparse.Namespace) -> int:
    if args.table == "compare":
        from .bench_compare import compare

        return compare(args)
    if args.files:
        raise UsageError(f"bench {args.table} takes no files", file=args.files[0])
    if args.plot:
        _writable(args.plot)
    measured: Measured = importlib.import_module(f".{TABLES[args.table]}", __package__).measure(args.quick)
    rows, geomeans, notes = measured
    command = f"bpfjit bench {args.table}" + (" --quick" if args.quick else "")
    on = machine()
    result = {"machine": on, "command": command, "rows": [r.json() for r in rows], "geomeans": geomeans, "notes": notes}
    if args.plot:
        from .bench_plot import plot

        Path(args.plot).write_text(plot(command, rows, on))
    if common.wants_json(args):
        common.print_json(result, pretty=args.pretty)
    else:
        print_table(rows, geomeans, notes, on, command)
    return common.DONE


def _writable(path: str) -> None:
    try:
        with open(path, "a"):
            pass
    except OSError as e:
        raise UsageError(f"cannot write: {(e.strerror or '').lower()}", file=path) from None


def amount(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def print_table(rows: list[Row], geomeans: dict[str, Any], notes: list[str], on: dict[str, Any], command: str) -> None:
    """Rows as columns of text; a column without a figure is left out, a missing figure is a dash."""
    data = [r.json() for r in rows]
    keys = [k for k in data[0] if k != "spread_ns" and any(row.get(k) is not None for row in data)]
    print(f"{command}: {on['cpu']}, {on['cpus']} cpus, Linux {on['kernel']}, Python {on['python']}; medians")
    print_columns([keys, *([amount(row.get(k)) for k in keys] for row in data)])
    for name, value in geomeans.items():
        print(f"geomean {name}: {amount(value)}")
    for note in notes:
        print(f"note: {note}")


def print_columns(lines: list[list[str]]) -> None:
    """The first column to the left, the others to the right."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for line in lines:
        print("  ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))).rstrip())
