"""Values as text the way bpftool's JSON writer sets them: names on lines of their own, elements beside each other."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ..btf.values import Members, Spelled

_INDENT = "    "


def text(value: Any, *, pretty: bool = False, plain: bool = False) -> str:
    """`value` as JSON; pretty with lines. plain: for people, where pointers and bits are spelled otherwise."""
    return "".join(_pieces(value, pretty, plain, 0))


def _pieces(value: Any, pretty: bool, plain: bool, depth: int) -> Iterable[str]:
    if isinstance(value, Spelled):
        yield value.plain if plain else value.json
    elif isinstance(value, Members | Mapping):
        items = value.items if isinstance(value, Members) else tuple(value.items())
        yield "{"
        for i, (name, inner) in enumerate(items):
            yield "," if i else ""
            yield f"\n{_INDENT * (depth + 1)}" if pretty else ""
            yield f"{json.dumps(name, ensure_ascii=False)}:{' ' if pretty else ''}"
            yield from _pieces(inner, pretty, plain, depth + 1)
        yield f"\n{_INDENT * depth}}}" if pretty and items else "}"
    elif isinstance(value, list | tuple):
        yield "["
        for i, inner in enumerate(value):
            yield "," if i else ""
            yield from _pieces(inner, pretty, plain, depth + 1)
        yield f"\n{_INDENT * depth}]" if pretty and value else "]"
    else:
        yield json.dumps(value, ensure_ascii=False)
