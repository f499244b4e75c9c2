"""A bench's table as an SVG: a group of bars for each row, ns on a logarithmic scale."""

from __future__ import annotations

import math
from html import escape
from typing import Any

from .bench import ENGINES, Row, amount

_COLOURS = {"bpfjit": "#2563eb", "interp": "#9ca3af", "kernel": "#f59e0b", "native": "#10b981"}
_LABELS = {"bpfjit": "bpfjit", "interp": "interpreter", "kernel": "Linux", "native": "native C"}
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
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{bottom + 40}" '
        f'viewBox="0 0 {_WIDTH} {bottom + 40}" font-family="sans-serif">',
        f'<rect width="{_WIDTH}" height="{bottom + 40}" fill="#ffffff"/>',
        _text(16, 24, title, size=16),
        _text(16, 42, f"{on['cpu']}, Linux {on['kernel']}; medians, ns an operation (logarithmic)", colour="#6b7280"),
    ]
    present = [e for e in ENGINES if any(e == engine for _, bars in figures for engine, _ in bars)]
    for i, engine in enumerate(present):
        x = _LEFT + 110.0 * i
        out.append(f'<rect x="{x:.0f}" y="52" width="10" height="10" fill="{_COLOURS[engine]}"/>')
        out.append(_text(x + 15, 61, _LABELS[engine]))
    for power in range(low, high + 1):
        x = at(10.0**power)
        out.append(f'<line x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom}" stroke="#e5e7eb"/>')
        out.append(_text(x, bottom + 18, _tick(power), anchor="middle", size=11, colour="#6b7280"))
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
            out.append(_text(_LEFT + 4, middle + 4, "not to be had here", size=11, colour="#6b7280"))
        y += height
    return "\n".join([*out, "</svg>"]) + "\n"
