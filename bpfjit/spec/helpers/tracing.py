"""Helpers that read other memory and print: tracing programs, iterators and views."""

from __future__ import annotations

from ...uapi import bpf as uapi
from ..kinds import (
    ANYTHING,
    CALLBACK,
    CTX,
    INTEGER,
    MEM,
    SIZE,
    SIZE_OR_ZERO,
    STACK_OR_NULL,
    UNINIT_MEM,
    Arg,
    Callback,
    Helper,
    btf_ptr,
    fixed_mem,
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


def _attached(id_: int, name: str, decl: str, args: tuple[Arg, ...]) -> Helper:
    """Of programs that a trampoline enters, which know the function that they are attached to."""
    symbol, groups = f"rt_{name}", frozenset({"tracing", "lsm"})
    functions = (uapi.BPF_TRACE_FENTRY, uapi.BPF_TRACE_FEXIT, uapi.BPF_MODIFY_RETURN)
    only = {"tracing": functions, "lsm": (uapi.BPF_LSM_MAC,)}
    return Helper(id_, name, decl, args=args, ret=INTEGER, symbol=symbol, groups=groups, only=only, told_attached=True)


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
        inline="trace_vprintk",
        gpl=True,
    ),
    Helper(
        180,
        "find_vma",
        "long (*%s)(struct task_struct *task, __u64 addr, void *callback_fn, void *callback_ctx, __u64 flags)",
        args=(btf_ptr("task_struct"), ANYTHING, CALLBACK, STACK_OR_NULL, ANYTHING),
        ret=INTEGER,
        symbol="rt_find_vma",
        groups=ALL,
        callback=Callback.VMA,
    ),
    _attached(183, "get_func_arg", "long (*%s)(void *ctx, __u32 n, __u64 *value)", (CTX, ANYTHING, fixed_mem(8))),
    _attached(184, "get_func_ret", "long (*%s)(void *ctx, __u64 *value)", (CTX, fixed_mem(8))),
    _attached(185, "get_func_arg_cnt", "long (*%s)(void *ctx)", (CTX,)),
)
