"""Helpers on ring buffers and on the rings of perf events."""

from __future__ import annotations

from ..kinds import ALLOC_SIZE, ANYTHING, CTX, INTEGER, MAP_PTR, MEM, RINGBUF_MEM, SIZE_OR_ZERO, VOID, Helper, RetKind

ALL = frozenset({"all"})

RING_HELPERS = (
    Helper(
        25,
        "perf_event_output",
        "long (*%s)(void *ctx, void *map, __u64 flags, void *data, __u64 size)",
        args=(CTX, MAP_PTR, ANYTHING, MEM, SIZE_OR_ZERO),
        ret=INTEGER,
        symbol="rt_perf_event_output",
        groups=ALL,
        gpl=True,
        map_use="perf_event",
    ),
    Helper(
        130,
        "ringbuf_output",
        "long (*%s)(void *ringbuf, void *data, __u64 size, __u64 flags)",
        args=(MAP_PTR, MEM, SIZE_OR_ZERO, ANYTHING),
        ret=INTEGER,
        symbol="rt_ringbuf_output",
        groups=ALL,
        map_use="ringbuf",
    ),
    Helper(
        131,
        "ringbuf_reserve",
        "void *(*%s)(void *ringbuf, __u64 size, __u64 flags)",
        args=(MAP_PTR, ALLOC_SIZE, ANYTHING),
        ret=RetKind.RINGBUF_MEM_OR_NULL,
        symbol="rt_ringbuf_reserve",
        groups=ALL,
        map_use="ringbuf",
        acquires=True,
    ),
    Helper(
        132,
        "ringbuf_submit",
        "void (*%s)(void *data, __u64 flags)",
        args=(RINGBUF_MEM, ANYTHING),
        ret=VOID,
        symbol="rt_ringbuf_submit",
        groups=ALL,
        releases=1,
    ),
    Helper(
        133,
        "ringbuf_discard",
        "void (*%s)(void *data, __u64 flags)",
        args=(RINGBUF_MEM, ANYTHING),
        ret=VOID,
        symbol="rt_ringbuf_discard",
        groups=ALL,
        releases=1,
    ),
    Helper(
        134,
        "ringbuf_query",
        "__u64 (*%s)(void *ringbuf, __u64 flags)",
        args=(MAP_PTR, ANYTHING),
        ret=INTEGER,
        symbol="rt_ringbuf_query",
        groups=ALL,
        map_use="ringbuf",
    ),
)
