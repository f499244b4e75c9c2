"""What LLVM is told of memory accesses: which kinds of memory are never one another, and what never changes.

The stack, the context, packets, map values, kernel objects and the runtime's own structures are disjoint: each is a scope of
its own, and an access whose address is surely of one kind cannot meet an access of another.
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


def metadata() -> list[str]:
    """The nodes that the facts refer to."""
    nodes = range(len(_NAMES))
    return [
        f"!{_EMPTY} = !{{}}",
        f'!{_DOMAIN} = !{{!"memory"}}',
        *(f'!{_SCOPE + i} = !{{!"{_NAMES[i].lower()}", !{_DOMAIN}}}' for i in nodes),
        *(f"!{_LIST + i} = !{{!{_SCOPE + i}}}" for i in nodes),
        *(f"!{_OTHERS + i} = !{{{', '.join(f'!{_SCOPE + j}' for j in nodes if j != i)}}}" for i in nodes),
    ]
