"""Helpers on stacks: the present task's, kept in a map or written out, and another task's."""

from __future__ import annotations

from ..kinds import ANYTHING, CTX, INTEGER, MAP_PTR, SIZE_OR_ZERO, UNINIT_MEM, Helper, btf_ptr

_TRACERS = frozenset({"kprobe", "tracepoint", "perf_event", "raw_tracepoint", "raw_tracepoint_writable"})
_TRACERS |= {"tracing", "seq", "syscall"}

STACK_HELPERS = (
    Helper(
        27,
        "get_stackid",
        "long (*%s)(void *ctx, void *map, __u64 flags)",
        args=(CTX, MAP_PTR, ANYTHING),
        ret=INTEGER,
        symbol="rt_get_stackid",
        groups=_TRACERS,
        gpl=True,
        map_use="stack",
    ),
    Helper(
        67,
        "get_stack",
        "long (*%s)(void *ctx, void *buf, __u32 size, __u64 flags)",
        args=(CTX, UNINIT_MEM, SIZE_OR_ZERO, ANYTHING),
        ret=INTEGER,
        symbol="rt_get_stack",
        ret_size_arg=3,
        groups=_TRACERS,
        gpl=True,
    ),
    Helper(
        141,
        "get_task_stack",
        "long (*%s)(struct task_struct *task, void *buf, __u32 size, __u64 flags)",
        args=(btf_ptr("task_struct"), UNINIT_MEM, SIZE_OR_ZERO, ANYTHING),
        ret=INTEGER,
        symbol="rt_get_task_stack",
        ret_size_arg=3,
        groups=frozenset({"all"}),
    ),
)
