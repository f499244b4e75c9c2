"""Helpers on kernel pointers that values and objects own, and on memory that each CPU has its own of."""

from __future__ import annotations

from ..kinds import ANYTHING, Arg, ArgKind, Helper, RetKind

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
    Helper(
        153,
        "per_cpu_ptr",
        "void *(*%s)(const void *percpu_ptr, __u32 cpu)",
        args=(Arg(ArgKind.PERCPU), ANYTHING),
        ret=RetKind.CPUS_OWN_OR_NULL,
        symbol="rt_per_cpu_ptr",
        groups=ALL,
    ),
    Helper(
        154,
        "this_cpu_ptr",
        "void *(*%s)(const void *percpu_ptr)",
        args=(Arg(ArgKind.PERCPU),),
        ret=RetKind.CPUS_OWN,
        symbol="rt_this_cpu_ptr",
        groups=ALL,
    ),
)
