"""Helpers on local storage: a value for each task, cgroup, inode or socket; and the deprecated one of cgroups."""

from __future__ import annotations

from ...dataclass import replace
from ..kinds import ANYTHING, INTEGER, MAP_PTR, MAP_VALUE, MAP_VALUE_OR_NULL, NO_FLAGS, Helper, RetKind, btf_ptr

ALL = frozenset({"all"})
LSM = frozenset({"lsm"})
CGROUP = frozenset(
    {"cgroup_skb", "cgroup_sock", "cgroup_device", "cgroup_sock_addr", "cgroup_sysctl", "cgroup_sockopt", "sock_ops"}
)


def _get(id_: int, what: str, struct: str, kind: str, groups: frozenset[str] = ALL, *, nullable: bool = True) -> Helper:
    return Helper(
        id_,
        f"{what}_storage_get",
        f"void *(*%s)(void *map, {struct} *{kind}, void *value, __u64 flags)",
        args=(MAP_PTR, replace(btf_ptr(struct.removeprefix("struct ")), nullable=nullable), MAP_VALUE.or_null(), ANYTHING),
        ret=MAP_VALUE_OR_NULL,
        symbol="rt_storage_get",
        groups=groups,
        map_use=f"{what}_storage",
    )


def _delete(id_: int, what: str, struct: str, kind: str, groups: frozenset[str] = ALL, *, nullable: bool = True) -> Helper:
    return Helper(
        id_,
        f"{what}_storage_delete",
        f"long (*%s)(void *map, {struct} *{kind})",
        args=(MAP_PTR, replace(btf_ptr(struct.removeprefix("struct ")), nullable=nullable)),
        ret=INTEGER,
        symbol="rt_storage_delete",
        groups=groups,
        map_use=f"{what}_storage",
    )


STORAGE_HELPERS = (
    Helper(
        81,
        "get_local_storage",
        "void *(*%s)(void *map, __u64 flags)",
        args=(MAP_PTR, NO_FLAGS),
        ret=RetKind.MAP_VALUE,
        symbol="rt_get_local_storage",
        groups=CGROUP,
        map_use="local_storage",
    ),
    _get(145, "inode", "struct inode", "inode", LSM),
    _delete(146, "inode", "struct inode", "inode", LSM),
    _get(156, "task", "struct task_struct", "task"),
    _delete(157, "task", "struct task_struct", "task"),
    _get(210, "cgrp", "struct cgroup", "cgroup"),
    _delete(211, "cgrp", "struct cgroup", "cgroup"),
)
