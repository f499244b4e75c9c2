"""A bench's table as an SVG: a race where rows hold ours and others' figures, else bars of ns.

The race has one line a row: our time is the line at 1, and a dot says how many times that the other engine takes, with
the middle half of its samples as a whisker. Dots left of 1 are faster than ours.
"""

from __future__ import annotations

import math
from html import escape
from typing import Any

from .bench_rows import ENGINES, Row, amount, geomean, quartiles

_COLOURS = {"bpfjit": "#2563eb", "interp": "#9ca3af", "kernel": "#f59e0b", "native": "#10b981"}
_LABELS = {"bpfjit": "bpfjit", "interp": "interpreter", "kernel": "Linux", "native": "native C"}
_RIVALS = ("kernel", "native")
_MOST_TIMES = 64.0  # what lies further right is an arrow
_GREY = "#6b7280"
_LEFT, _RIGHT, _TOP, _BAR, _GAP = 240, 90, 70, 14, 12
_WIDTH = 900


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, colour: str = "#111827") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}">{escape(text)}</text>'


def _name(row: Row) -> str:
    threads = row.more.get("threads")
    return row.what + (f", {threads} thread{'s' if threads > 1 else ''}" if threads else "")


def _tick(power: int) -> str:
    return f"{10**power:,}" if power >= 0 else f"{10.0**power:g}"


def plot(title: str, rows: list[Row], on: dict[str, Any]) -> str:
    """The whole SVG document."""
    raced = [row for row in rows if row.median("bpfjit") is not None and any(row.median(e) for e in _RIVALS)]
    return _race(title, raced, on) if 2 * len(raced) > len(rows) else _bars(title, rows, on)


def _document(width: int, height: float, body: list[str]) -> str:
    size = f'width="{width}" height="{height:.0f}" viewBox="0 0 {width} {height:.0f}"'
    font = 'font-family="system-ui, DejaVu Sans, sans-serif"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font}>'
    return "\n".join([head, f'<rect width="{width}" height="{height:.0f}" fill="#ffffff"/>', *body, "</svg>"]) + "\n"


def _race(title: str, rows: list[Row], on: dict[str, Any]) -> str:
    """One line a row: the other engines' times as multiples of ours."""

    def times(row: Row, engine: str) -> float | None:
        ours, theirs = row.median("bpfjit"), row.median(engine)
        return theirs / ours if ours and theirs else None

    rivals = [e for e in _RIVALS if any(row.median(e) for row in rows)]
    # The one that is nearest to winning stands on top.
    rows = sorted(rows, key=lambda row: min(t for e in rivals if (t := times(row, e)) is not None))
    found = [t for row in rows for e in rivals if (t := times(row, e)) is not None]
    low = math.log2(min(0.5, *found))
    high = math.log2(min(max(4.0, *found) * 1.3, _MOST_TIMES))
    left, right, top, step = 110, 110, 92, 23
    bottom = top + step * len(rows)
    span = _WIDTH - left - right

    def at(ratio: float) -> float:
        return left + span * (min(max(math.log2(ratio), low), high) - low) / (high - low)

    body = [
        f'<rect x="{left}" y="{top - 6}" width="{at(1) - left:.1f}" height="{bottom - top + 6}" fill="#fef2f2"/>',
        _text(16, 26, title, size=17),
        _text(
            16,
            45,
            f"{on['cpu']}, Linux {on['kernel']}; medians, times bpfjit's time; right of 1 bpfjit is faster",
            colour=_GREY,
        ),
    ]
    for i, engine in enumerate(rivals):
        shared = [t for row in rows if (t := times(row, engine)) is not None]
        mean = geomean(shared)
        body.append(f'<circle cx="{22 + 330 * i}" cy="64" r="5" fill="{_COLOURS[engine]}"/>')
        body.append(_text(32 + 330 * i, 68, f"{_LABELS[engine]}: {mean:.2f} times bpfjit's time (geomean)"))
    for power in range(math.ceil(low), math.floor(high) + 1):
        x = at(2.0**power)
        ours = power == 0
        line = f'stroke="{_COLOURS["bpfjit"] if ours else "#e5e7eb"}" stroke-width="{2 if ours else 1}"'
        body.append(f'<line x1="{x:.1f}" y1="{top - 6}" x2="{x:.1f}" y2="{bottom}" {line}/>')
        label = "bpfjit" if ours else f"{2.0**power:g}×"
        body.append(_text(x, bottom + 17, label, anchor="middle", size=11, colour=_COLOURS["bpfjit"] if ours else _GREY))
    for i, row in enumerate(rows):
        y = top + step * i + step / 2
        ours_ns = row.median("bpfjit")
        assert ours_ns is not None
        body.append(_text(left - 10, y + 4, _name(row), anchor="end"))
        body.append(_text(_WIDTH - right + 14, y + 4, f"{amount(ours_ns)} ns", size=11, colour=_COLOURS["bpfjit"]))
        marks = sorted(((t, e) for e in rivals if (t := times(row, e)) is not None), reverse=True)
        if marks:
            body.append(f'<line x1="{at(1):.1f}" y1="{y}" x2="{at(marks[0][0]):.1f}" y2="{y}" stroke="#d1d5db"/>')
        for ratio, engine in marks:
            x, colour = at(ratio), _COLOURS[engine]
            low_ns, high_ns = quartiles(row.samples[engine])
            ends = at(low_ns / ours_ns), at(high_ns / ours_ns)
            body.append(
                f'<line x1="{ends[0]:.1f}" y1="{y}" x2="{ends[1]:.1f}" y2="{y}" stroke="{colour}" stroke-width="3"/>'
            )
            if math.log2(ratio) > high:
                body.append(f'<path d="M{x:.1f} {y - 5} l8 5 l-8 5 z" fill="{colour}"/>')
                body.append(_text(x - 6, y - 3, f"{ratio:.0f}×", anchor="end", size=10, colour=colour))
            else:
                body.append(f'<circle cx="{x:.1f}" cy="{y}" r="5" fill="{colour}"/>')
    return _document(_WIDTH, bottom + 34, body)


def _bars(title: str, rows: list[Row], on: dict[str, Any]) -> str:
    """A group of bars for each row, ns on a logarithmic scale."""
    figures = [(row, [(e, v) for e in ENGINES if (v := row.median(e)) is not None]) for row in rows]
    values = [v for _, bars in figures for _, v in bars] or [1.0]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)
    span = _WIDTH - _LEFT - _RIGHT

    def at(ns: float) -> float:
        return _LEFT + span * (math.log10(ns) - low) / (high - low)

    heights = [max(len(bars), 1) * _BAR + _GAP for _, bars in figures]
    bottom = _TOP + sum(heights)
    out = [
        _text(16, 24, title, size=16),
        _text(16, 42, f"{on['cpu']}, Linux {on['kernel']}; medians, ns an operation (logarithmic)", colour=_GREY),
    ]
    present = [e for e in ENGINES if any(e == engine for _, bars in figures for engine, _ in bars)]
    for i, engine in enumerate(present):
        x = _LEFT + 110.0 * i
        out.append(f'<rect x="{x:.0f}" y="52" width="10" height="10" fill="{_COLOURS[engine]}"/>')
        out.append(_text(x + 15, 61, _LABELS[engine]))
    for power in range(low, high + 1):
        x = at(10.0**power)
        out.append(f'<line x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom}" stroke="#e5e7eb"/>')
        out.append(_text(x, bottom + 18, _tick(power), anchor="middle", size=11, colour=_GREY))
    y = float(_TOP)
    for (row, bars), height in zip(figures, heights, strict=True):
        middle = y + (height - _GAP) / 2
        out.append(_text(_LEFT - 8, middle + 4, _name(row), anchor="end"))
        for i, (engine, ns) in enumerate(bars):
            upper = y + i * _BAR
            width = max(at(ns) - _LEFT, 1)
            size = f'x="{_LEFT}" y="{upper:.1f}" width="{width:.1f}" height="{_BAR - 2}"'
            out.append(f'<rect {size} fill="{_COLOURS[engine]}"/>')
            out.append(_text(_LEFT + width + 4, upper + _BAR - 4, amount(ns), size=10, colour="#374151"))
        if not bars:
            out.append(_text(_LEFT + 4, middle + 4, "not to be had here", size=11, colour=_GREY))
        y += height
    return _document(_WIDTH, bottom + 40, out)
