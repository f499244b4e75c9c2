"""Helpers on kernel pointers that values and objects own, and on memory that each CPU has its own of."""

from __future__ import annotations

from ..kinds import Arg, ArgKind, Helper, RetKind

ALL = frozenset({"all"})

KPTR_HELPERS = (
    Helper(
        194,
        "kptr_xchg",
        "void *(*%s)(void *dst, void *ptr)",
        args=(Arg(ArgKind.KPTR_SLOT), Arg(ArgKind.KPTR, nullable=True)),
        ret=RetKind.KPTR_OR_NULL,
        symbol="rt_kptr_xchg",
        groups=ALL,
        acquires=True,
        releases=2,
    ),
)
