"""bench compare BEFORE.json AFTER.json: what changed between two runs of one table, and what is noise.

A change counts where the middle halves of the two runs' samples do not overlap and the medians are further apart than
the machine's own drift: what nine in ten figures of engines that are not ours (Linux, native C) moved less than between the
runs. A figure of one sample has no middle half: it must have changed by more than any of them.
"""

from __future__ import annotations

import argparse
import json
import statistics
from typing import Any

from ..errors import UsageError
from . import common
from .bench_rows import ENGINES, amount, geomean, print_columns, rounded

_OTHERS = ("kernel", "native")  # what a change of ours cannot make faster
_LEAST = 0.02
Key = tuple[str, int]


def compare(args: argparse.Namespace) -> int:
    if len(args.files) != 2:
        raise UsageError(f"bench compare takes two files, the run before and the run after; got {len(args.files)}")
    before, after = (_read(path) for path in args.files)
    rows, geomeans, notes = held_together(before, after)
    if not rows:
        raise UsageError("the two runs have no row in common", file=args.files[1])
    result = {"command": "bpfjit bench compare", "rows": rows, "geomeans": geomeans, "notes": notes}
    if common.wants_json(args):
        common.print_json(result, pretty=args.pretty)
        return common.DONE
    lines = [["what", "engine", "before_ns", "after_ns", "times", ""]]
    for row in rows:
        figures = [f"{row[k]:.4g}" for k in ("before_ns", "after_ns", "speedup")]
        lines.append([row["what"], row["engine"], *figures, row["verdict"]])
    print_columns(lines)
    for name, value in geomeans.items():
        print(f"geomean {name}: {amount(value)}")
    for note in notes:
        print(f"note: {note}")
    return common.DONE


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            run = json.load(file)
    except OSError as e:
        raise UsageError((e.strerror or "unreadable").lower(), file=path) from None
    except ValueError as e:
        raise UsageError(f"not JSON: {e}", file=path) from None
    if not isinstance(run, dict) or not isinstance(run.get("rows"), list) or "machine" not in run:
        raise UsageError("not what bench -j writes", file=path)
    return run


def _figures(run: dict[str, Any]) -> dict[tuple[Key, str], tuple[float, list[float]]]:
    """(row, engine) -> median and the middle half of its samples."""
    found = {}
    for row in run["rows"]:
        for engine in ENGINES:
            ns = row.get(f"{engine}_ns")
            if ns:
                spread = row.get("spread_ns", {}).get(engine) or [ns, ns]
                found[(row["what"], row.get("threads") or 0), engine] = (ns, spread)
    return found


def held_together(before: dict[str, Any], after: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any], list[str]]:
    """Rows of {what, engine, before_ns, after_ns, speedup, verdict}, the greatest losses first; geomeans by engine."""
    then, now = _figures(before), _figures(after)
    both = [key for key in then if key in now]
    ratios = {key: then[key][0] / now[key][0] for key in both}
    moved = [abs(r - 1) for (_, engine), r in ratios.items() if engine in _OTHERS]
    drift = max(statistics.quantiles(moved, n=10, method="inclusive")[-1] if len(moved) > 1 else sum(moved), _LEAST)
    worst = max([drift, *moved])
    rows = []
    for key in both:
        ((what, threads), engine), ratio = key, ratios[key]
        (_, (low, high)), (_, (low_now, high_now)) = then[key], now[key]
        alone = low == high or low_now == high_now
        apart = (high_now < low or high < low_now) and abs(ratio - 1) > (worst if alone else drift)
        rows.append(
            {
                "what": what + (f", {threads} threads" if threads > 1 else ""),
                "engine": engine,
                "before_ns": then[key][0],
                "after_ns": now[key][0],
                "speedup": rounded(ratio),
                "verdict": ("faster" if ratio > 1 else "slower") if apart else "noise",
            }
        )
    rows.sort(key=lambda row: (row["engine"] != "bpfjit", row["speedup"]))
    means = {f"speedup_{e}": geomean(r for (_, engine), r in ratios.items() if engine == e) for e in ENGINES}
    notes = [f"noise: middle halves overlap, or the medians are within {drift:.0%}: so much moved what is not ours"]
    for name in ("cpu", "kernel"):
        if before["machine"].get(name) != after["machine"].get(name):
            notes.append(f"two machines: {name} {before['machine'].get(name)} and {after['machine'].get(name)}")
    lost = [k[0][0] for k in then if k not in now and k[1] == "bpfjit"]
    if lost:
        notes.append(f"only in the run before: {', '.join(lost)}")
    return rows, {k: v for k, v in means.items() if v is not None}, notes
