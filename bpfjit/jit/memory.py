"""What LLVM is told of memory accesses: which kinds of memory are never one another, and what never changes.

The stack, the context, packets, map values, kernel objects and the runtime's own structures are disjoint: each is a scope of
its own, and an access whose address is surely of one kind cannot meet an access of another. Nor do the values of one map
meet those of another; of a map that came out of a map of maps it is not known which one it is.
"""

from __future__ import annotations

import functools

from runtime import offsets

from ..program import Region

_SCOPED = (Region.STACK, Region.CTX, Region.PACKET, Region.MAP_VALUE, Region.KERNEL)
_NAMES = (*(r.name or "" for r in _SCOPED), "RUNTIME")
# Far from the numbers that a listing's debug locations take (source.py).
_FIRST = 1 << 20
_EMPTY, _DOMAIN, _SCOPE, _LIST, _OTHERS = (_FIRST + 1000 * i for i in range(5))


@functools.cache
def layout() -> dict[str, int]:
    """Where the runtime's structures have their members, in bytes ("hash.mask")."""
    return offsets()


def at(member: str) -> int:
    return layout()[member]


INVARIANT = f", !invariant.load !{_EMPTY}"


def _facts(i: int) -> str:
    return f", !alias.scope !{_LIST + i}, !noalias !{_OTHERS + i}"


_FACTS = {int(region): _facts(i) for i, region in enumerate(_SCOPED)}
RUNTIME = _facts(len(_SCOPED))  # maps' and tasks' own structures, which programs do not write


def facts_of(region: int) -> str:
    """The metadata of an access into `region`; none where it may be of several kinds."""
    return _FACTS.get(region, "")


def values_of(number: int) -> str:
    """The metadata of an access into the values of one map, which is the program's `number`th with a scope of its own."""
    return _facts(len(_NAMES) + number)


def _meet(i: int, j: int) -> bool:
    """Whether accesses of two scopes may be one: of the same, and of a certain map's values and whichever's."""
    low, high = sorted((i, j))
    return low == high or (low == _SCOPED.index(Region.MAP_VALUE) and high >= len(_NAMES))


def metadata(maps: int) -> list[str]:
    """The nodes that the facts refer to, with a scope for each of `maps` maps."""
    names = [*_NAMES, *(f"map {i}" for i in range(maps))]
    nodes = range(len(names))
    return [
        f"!{_EMPTY} = !{{}}",
        f'!{_DOMAIN} = !{{!"memory"}}',
        *(f'!{_SCOPE + i} = !{{!"{names[i].lower()}", !{_DOMAIN}}}' for i in nodes),
        *(f"!{_LIST + i} = !{{!{_SCOPE + i}}}" for i in nodes),
        *(f"!{_OTHERS + i} = !{{{', '.join(f'!{_SCOPE + j}' for j in nodes if not _meet(i, j))}}}" for i in nodes),
    ]
