"""Helpers on dynptrs: made of memory or of a reserved record, read, written, and taken memory from."""

from __future__ import annotations

from ..kinds import (
    ALLOC_SIZE,
    ANYTHING,
    INTEGER,
    MAP_PTR,
    MEM,
    SIZE_OR_ZERO,
    UNINIT_MEM,
    VOID,
    Helper,
    RetKind,
    dynptr,
    uninit_dynptr,
)

ALL = frozenset({"all"})

DYNPTR_HELPERS = (
    Helper(
        197,
        "dynptr_from_mem",
        "long (*%s)(void *data, __u32 size, __u64 flags, struct bpf_dynptr *ptr)",
        args=(UNINIT_MEM, SIZE_OR_ZERO, ANYTHING, uninit_dynptr("local")),
        ret=INTEGER,
        symbol="rt_dynptr_from_mem",
        groups=ALL,
    ),
    Helper(
        198,
        "ringbuf_reserve_dynptr",
        "long (*%s)(void *ringbuf, __u32 size, __u64 flags, struct bpf_dynptr *ptr)",
        args=(MAP_PTR, ANYTHING, ANYTHING, uninit_dynptr("ringbuf")),
        ret=INTEGER,
        symbol="rt_ringbuf_reserve_dynptr",
        groups=ALL,
        map_use="ringbuf",
    ),
    Helper(
        199,
        "ringbuf_submit_dynptr",
        "void (*%s)(struct bpf_dynptr *ptr, __u64 flags)",
        args=(dynptr("ringbuf"), ANYTHING),
        ret=VOID,
        symbol="rt_ringbuf_submit_dynptr",
        groups=ALL,
        releases=1,
    ),
    Helper(
        200,
        "ringbuf_discard_dynptr",
        "void (*%s)(struct bpf_dynptr *ptr, __u64 flags)",
        args=(dynptr("ringbuf"), ANYTHING),
        ret=VOID,
        symbol="rt_ringbuf_discard_dynptr",
        groups=ALL,
        releases=1,
    ),
    Helper(
        201,
        "dynptr_read",
        "long (*%s)(void *dst, __u32 len, const struct bpf_dynptr *src, __u32 offset, __u64 flags)",
        args=(UNINIT_MEM, SIZE_OR_ZERO, dynptr(), ANYTHING, ANYTHING),
        ret=INTEGER,
        symbol="rt_dynptr_read",
        groups=ALL,
    ),
    Helper(
        202,
        "dynptr_write",
        "long (*%s)(const struct bpf_dynptr *dst, __u32 offset, void *src, __u32 len, __u64 flags)",
        args=(dynptr(), ANYTHING, MEM, SIZE_OR_ZERO, ANYTHING),
        ret=INTEGER,
        symbol="rt_dynptr_write",
        groups=ALL,
    ),
    Helper(
        203,
        "dynptr_data",
        "void *(*%s)(const struct bpf_dynptr *ptr, __u32 offset, __u32 len)",
        args=(dynptr(), ANYTHING, ALLOC_SIZE),
        ret=RetKind.DYNPTR_MEM_OR_NULL,
        symbol="rt_dynptr_data",
        groups=ALL,
    ),
)
