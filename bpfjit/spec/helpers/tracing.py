"""Helpers that read other memory and print: tracing programs, iterators and views."""

from __future__ import annotations

from ..kinds import (
    ANYTHING,
    INTEGER,
    MEM,
    SIZE,
    SIZE_OR_ZERO,
    UNINIT_MEM,
    Helper,
    btf_ptr,
)

ALL = frozenset({"all"})
TRACE = frozenset({"trace"})
SEQ = frozenset({"seq"})


def _probe(
    id_: int, name: str, *, groups: frozenset[str] = ALL, gpl: bool = True, string: bool = False, kernel: bool = False
) -> Helper:
    """A copy from an address that may be bad: -EFAULT then, and zeroes in the destination."""
    return Helper(
        id_,
        name,
        "long (*%s)(void *dst, __u32 size, const void *unsafe_ptr)",
        args=(UNINIT_MEM, SIZE_OR_ZERO, ANYTHING),
        ret=INTEGER,
        symbol=f"rt_probe_read{'_kernel' if kernel else ''}{'_str' if string else ''}",
        groups=groups,
        gpl=gpl,
        ret_size_arg=2 if string else 0,
    )


TRACING_HELPERS = (
    _probe(4, "probe_read", groups=TRACE),
    Helper(
        6,
        "trace_printk",
        "long (*%s)(const char *fmt, __u32 fmt_size, ...)",
        args=(MEM, SIZE),
        ret=INTEGER,
        symbol="rt_trace_printk",
        inline="trace_printk",
        groups=ALL,
        gpl=True,
    ),
    _probe(45, "probe_read_str", groups=TRACE, string=True),
    _probe(112, "probe_read_user"),
    _probe(113, "probe_read_kernel", kernel=True),
    _probe(114, "probe_read_user_str", string=True),
    _probe(115, "probe_read_kernel_str", string=True, kernel=True),
    Helper(
        126,
        "seq_printf",
        "long (*%s)(struct seq_file *m, const char *fmt, __u32 fmt_size, const void *data, __u32 data_len)",
        args=(btf_ptr("seq_file"), MEM, SIZE, MEM.or_null(), SIZE_OR_ZERO),
        ret=INTEGER,
        symbol="rt_seq_printf",
        inline="seq_printf",
        groups=SEQ,
        gpl=True,
    ),
    Helper(
        127,
        "seq_write",
        "long (*%s)(struct seq_file *m, const void *data, __u32 len)",
        args=(btf_ptr("seq_file"), MEM, SIZE_OR_ZERO),
        ret=INTEGER,
        symbol="rt_seq_write",
        inline="seq_write",
        groups=SEQ,
        gpl=True,
    ),
    Helper(
        148,
        "copy_from_user",
        "long (*%s)(void *dst, __u32 size, const void *user_ptr)",
        args=(UNINIT_MEM, SIZE_OR_ZERO, ANYTHING),
        ret=INTEGER,
        symbol="rt_copy_from_user",
        groups=ALL,
        sleepable=True,
    ),
    Helper(
        177,
        "trace_vprintk",
        "long (*%s)(const char *fmt, __u32 fmt_size, const void *data, __u32 data_len)",
        args=(MEM, SIZE, MEM.or_null(), SIZE_OR_ZERO),
        ret=INTEGER,
        symbol="rt_trace_vprintk",
        groups=ALL,
        gpl=True,
    ),
)
