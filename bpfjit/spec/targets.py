"""What programs attach to by BTF: tracepoints, views and iterators, with the types of their arguments.

A structure's layout and a target's function stand in runtime/include/kernel.h; here is only what BTF
cannot say: which pointers are trusted, which may be NULL, and the contract's argument names.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class CtxArg(Enum):
    """A context argument of an iterator or view, in order."""

    TRUSTED = auto()  # a BTF pointer, valid and not NULL
    TRUSTED_OR_NULL = auto()
    KEY_OR_NULL = auto()  # a map element's key: read-only memory of key_size
    VALUE_OR_NULL = auto()  # a map element's value: memory of value_size


@dataclass(frozen=True, slots=True)
class Target:
    """A view or iterator target: `name` as in SEC("view/name"), and its context's arguments."""

    name: str
    args: tuple[CtxArg, ...]


@dataclass(frozen=True, slots=True)
class Tracepoint:
    """A tracepoint: its arguments by the scenario's names, in the order of the raw arguments.

    Each argument is "task", "cgroup", "cgroup_path", "pt_regs" or "int"; those without a name are not a
    scenario's to give.
    """

    name: str
    args: tuple[tuple[str, str], ...]


VIEW_TARGETS = (Target("cgroup", (CtxArg.TRUSTED, CtxArg.TRUSTED)),)
ITER_TARGETS = (
    Target("task", (CtxArg.TRUSTED, CtxArg.TRUSTED_OR_NULL)),
    Target("cgroup", (CtxArg.TRUSTED, CtxArg.TRUSTED_OR_NULL)),
    Target("bpf_map", (CtxArg.TRUSTED, CtxArg.TRUSTED_OR_NULL)),
    Target("bpf_map_elem", (CtxArg.TRUSTED, CtxArg.TRUSTED_OR_NULL, CtxArg.KEY_OR_NULL, CtxArg.VALUE_OR_NULL)),
)
VIEW_BY_NAME = {row.name: row for row in VIEW_TARGETS}
ITER_BY_NAME = {row.name: row for row in ITER_TARGETS}

TRACEPOINTS = (
    Tracepoint("sched_stat_wait", (("task", "task"), ("delta", "int"))),
    Tracepoint("sched_switch", (("preempt", "int"), ("prev", "task"), ("next", "task"), ("", "int"))),
    Tracepoint("sched_wakeup", (("task", "task"),)),
    Tracepoint("sys_enter", (("", "pt_regs"), ("id", "int"))),
    Tracepoint("sys_exit", (("", "pt_regs"), ("ret", "int"))),
    Tracepoint("cgroup_mkdir", (("cgroup", "cgroup"), ("", "cgroup_path"))),
    Tracepoint("cgroup_rmdir", (("cgroup", "cgroup"), ("", "cgroup_path"))),
)
TRACEPOINT_BY_NAME = {row.name: row for row in TRACEPOINTS}
