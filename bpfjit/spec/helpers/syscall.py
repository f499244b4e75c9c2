"""Helpers of syscall programs: bpf(2) on behalf of whoever runs them, and what a loader has to ask a kernel."""

from __future__ import annotations

from ..kinds import ANYTHING, INTEGER, MEM, SIZE, SIZE_OR_ZERO, Helper, fixed_mem

SYSCALL = frozenset({"syscall"})

SYSCALL_HELPERS = (
    Helper(
        166,
        "sys_bpf",
        "long (*%s)(__u32 cmd, void *attr, __u32 attr_size)",
        args=(ANYTHING, MEM, SIZE),
        ret=INTEGER,
        symbol="rt_bpf_sys_bpf",
        groups=SYSCALL,
    ),
    Helper(
        167,
        "btf_find_by_name_kind",
        "long (*%s)(char *name, int name_sz, __u32 kind, int flags)",
        args=(MEM, SIZE, ANYTHING, ANYTHING),
        ret=INTEGER,
        symbol="rt_btf_find_by_name_kind",
        groups=SYSCALL,
        sleepable=True,
    ),
    Helper(
        168,
        "sys_close",
        "long (*%s)(__u32 fd)",
        args=(ANYTHING,),
        ret=INTEGER,
        symbol="rt_bpf_sys_close",
        groups=SYSCALL,
    ),
    Helper(
        179,
        "kallsyms_lookup_name",
        "long (*%s)(const char *name, int name_sz, int flags, __u64 *res)",
        args=(MEM, SIZE_OR_ZERO, ANYTHING, fixed_mem(8)),
        ret=INTEGER,
        symbol="rt_kallsyms_lookup_name",
        groups=SYSCALL,
    ),
)
