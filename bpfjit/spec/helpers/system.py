"""Helpers that every program type has: time, cpu, the current task, strings."""

from __future__ import annotations

from ..kinds import (
    ANYTHING,
    INTEGER,
    MEM,
    SIZE,
    SIZE_OR_ZERO,
    STR,
    UNINIT_MEM,
    Helper,
    RetKind,
    fixed_mem,
)

ALL = frozenset({"all"})


def _plain(id_: int, name: str, decl: str, *, gpl: bool = False, groups: frozenset[str] = ALL, inline: str = "") -> Helper:
    """A helper without arguments that returns a number."""
    return Helper(id_, name, decl, args=(), ret=INTEGER, symbol=f"rt_{name}", groups=groups, gpl=gpl, inline=inline)


SYSTEM_HELPERS = (
    _plain(5, "ktime_get_ns", "__u64 (*%s)(void)"),
    _plain(7, "get_prandom_u32", "__u32 (*%s)(void)"),
    _plain(8, "get_smp_processor_id", "__u32 (*%s)(void)", inline="cpu_id"),
    _plain(14, "get_current_pid_tgid", "__u64 (*%s)(void)", inline="pid_tgid"),
    _plain(15, "get_current_uid_gid", "__u64 (*%s)(void)", inline="uid_gid"),
    Helper(
        16,
        "get_current_comm",
        "long (*%s)(void *buf, __u32 size_of_buf)",
        args=(UNINIT_MEM, SIZE),
        ret=INTEGER,
        symbol="rt_get_current_comm",
        inline="comm",
        groups=ALL,
    ),
    _plain(35, "get_current_task", "__u64 (*%s)(void)", gpl=True, inline="task"),
    _plain(42, "get_numa_node_id", "long (*%s)(void)"),
    _plain(80, "get_current_cgroup_id", "__u64 (*%s)(void)", inline="cgroup_id"),
    Helper(
        105,
        "strtol",
        "long (*%s)(const char *buf, unsigned long buf_len, __u64 flags, long *res)",
        args=(MEM, SIZE, ANYTHING, fixed_mem(8)),
        ret=INTEGER,
        symbol="rt_strtol",
        groups=ALL,
    ),
    Helper(
        106,
        "strtoul",
        "long (*%s)(const char *buf, unsigned long buf_len, __u64 flags, unsigned long *res)",
        args=(MEM, SIZE, ANYTHING, fixed_mem(8)),
        ret=INTEGER,
        symbol="rt_strtoul",
        groups=ALL,
    ),
    _plain(118, "jiffies64", "__u64 (*%s)(void)"),
    Helper(
        123,
        "get_current_ancestor_cgroup_id",
        "__u64 (*%s)(int ancestor_level)",
        args=(ANYTHING,),
        ret=INTEGER,
        symbol="rt_get_current_ancestor_cgroup_id",
        groups=ALL,
    ),
    _plain(125, "ktime_get_boot_ns", "__u64 (*%s)(void)"),
    Helper(
        158,
        "get_current_task_btf",
        "struct task_struct *(*%s)(void)",
        args=(),
        ret=RetKind.BTF_PTR,
        ret_btf="task_struct",
        symbol="rt_get_current_task",
        inline="task",
        groups=ALL,
        gpl=True,
    ),
    _plain(
        160,
        "ktime_get_coarse_ns",
        "__u64 (*%s)(void)",
        groups=frozenset({"net", "cgroup_sock", "cgroup_sysctl", "cgroup_sock_addr"}),
    ),
    Helper(
        165,
        "snprintf",
        "long (*%s)(char *str, __u32 str_size, const char *fmt, __u64 *data, __u32 data_len)",
        args=(UNINIT_MEM.or_null(), SIZE_OR_ZERO, STR, MEM.or_null(), SIZE_OR_ZERO),
        ret=INTEGER,
        symbol="rt_snprintf",
        inline="snprintf",
        groups=ALL,
        gpl=True,
    ),
    Helper(
        182,
        "strncmp",
        "long (*%s)(const char *s1, __u32 s1_sz, const char *s2)",
        args=(MEM, SIZE, STR),
        ret=INTEGER,
        symbol="rt_strncmp",
        groups=ALL,
    ),
    _plain(208, "ktime_get_tai_ns", "__u64 (*%s)(void)"),
)
