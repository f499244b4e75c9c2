"""bpfjit bench TABLE: measured tables, everything in one run, the losers first; `compare` holds two runs together."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
from pathlib import Path
from typing import Any

from ..errors import UsageError
from . import common
from .bench_rows import Row, amount, print_columns

# A table's module has measure(quick) -> (rows, geomeans, notes); it is imported when it is asked for.
TABLES = {name: f"bench_{name}" for name in ("jit", "read", "iter", "maps", "load", "loader", "verify")}
Measured = tuple[list[Row], dict[str, Any], list[str]]


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
