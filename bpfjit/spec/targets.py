"""What programs attach to by BTF: tracepoints, views and iterators, with the types of their arguments.

A structure's layout and a target's function stand in runtime/include/kernel.h; here is only what BTF
cannot say: which pointers are trusted, which may be NULL, and the contract's argument names.
"""

from __future__ import annotations

from enum import Enum, auto

from ..dataclass import dataclass
from .lsm import HOOKS, PREFIX, SLEEPABLE


class CtxArg(Enum):
    """A context argument of an iterator or view, in order. A number needs no row: its BTF type says it all."""

    TRUSTED = auto()  # a BTF pointer, valid and not NULL
    TRUSTED_OR_NULL = auto()
    PLAIN = auto()  # a BTF pointer of which nothing is known: what lies behind may be gone
    PLAIN_OR_NULL = auto()  # a BTF pointer, read as one that may be stale
    KEY_OR_NULL = auto()  # a map element's key: read-only memory of key_size
    VALUE_OR_NULL = auto()  # a map element's value: memory of value_size


@dataclass(frozen=True, slots=True)
class Target:
    """A view or iterator target: `name` as in SEC("view/name"), and its context's arguments behind the first.

    walk: the runtime's walk (rt_iter_ops of that name). directory: where its dumpers are in bpfdump, None for nowhere
    (what is walked must be named, and a dumper cannot). helpers: the group of those that its programs have beside others.
    """

    name: str
    args: tuple[CtxArg, ...]
    walk: str = "objects"
    directory: str | None = ""
    helpers: str = ""


@dataclass(frozen=True, slots=True)
class Tracepoint:
    """A tracepoint: its arguments by the scenario's names, in the order of the raw arguments.

    Each argument is "task", "cgroup", "cgroup_path", "pt_regs", "text" or "int"; those without a name are not a
    scenario's to give.
    """

    name: str
    args: tuple[tuple[str, str], ...]


_TRUSTED, _PLAIN = (CtxArg.TRUSTED_OR_NULL,), (CtxArg.PLAIN_OR_NULL,)
VIEW_TARGETS = tuple(Target(name, (CtxArg.TRUSTED,)) for name in ("cgroup", "task", "bpf_map"))
# Read off Linux 6.18, which names a pointer's kind when it refuses a load through it.
ITER_TARGETS = (
    Target("task", _TRUSTED, "task"),
    Target("task_file", (*_PLAIN, CtxArg.TRUSTED, *_PLAIN), "task_file", "task/file"),
    Target("task_vma", _PLAIN * 2, "task_vma", "task/vma"),
    Target("cgroup", _TRUSTED, "cgroup"),
    Target("bpf_map", _TRUSTED),
    Target("bpf_map_elem", (CtxArg.TRUSTED, CtxArg.KEY_OR_NULL, CtxArg.VALUE_OR_NULL), "map_elem", None),
    Target("bpf_prog", _PLAIN),
    Target("bpf_link", _PLAIN),
    Target("bpf_sk_storage_map", (CtxArg.TRUSTED, CtxArg.PLAIN_OR_NULL, CtxArg.VALUE_OR_NULL), "sk_storage", None),
    Target("sockmap", (CtxArg.TRUSTED, CtxArg.KEY_OR_NULL, CtxArg.PLAIN_OR_NULL), "sockmap", None),
    Target("ipv6_route", _PLAIN),
    Target("netlink", _PLAIN),
    Target("tcp", _TRUSTED, "socket", helpers="iter_socket"),
    Target("udp", _TRUSTED, "socket"),
    Target("unix", _PLAIN, "socket", helpers="iter_socket"),
    Target("ksym", _PLAIN),
)
# By the kernel function that a program names, which is how the verifier meets them.
TARGET_BY_FUNC = {
    **{f"bpf_view_{row.name}": row for row in VIEW_TARGETS},
    **{f"bpf_iter_{row.name}": row for row in ITER_TARGETS},
}

TRACEPOINTS = (
    Tracepoint("sched_stat_wait", (("task", "task"), ("delta", "int"))),
    Tracepoint("sched_switch", (("preempt", "int"), ("prev", "task"), ("next", "task"), ("", "int"))),
    Tracepoint("sched_wakeup", (("task", "task"),)),
    Tracepoint("sys_enter", (("", "pt_regs"), ("id", "int"))),
    Tracepoint("sys_exit", (("", "pt_regs"), ("ret", "int"))),
    Tracepoint("cgroup_mkdir", (("cgroup", "cgroup"), ("", "cgroup_path"))),
    Tracepoint("cgroup_rmdir", (("cgroup", "cgroup"), ("", "cgroup_path"))),
    Tracepoint("bpf_trace_printk", (("", "text"),)),
)


@dataclass(frozen=True, slots=True)
class Function:
    """A kernel function that fentry and fexit programs attach to; fmod_ret where `modifiable`, sleepable ones where so."""

    name: str
    modifiable: bool = False
    sleepable: bool = False


# What PROG_TEST_RUN of such a program calls, as Linux's does; and what happens in the simulated kernel itself.
FUNCTIONS = (
    Function("bpf_fentry_test1", modifiable=True, sleepable=True),
    *(Function(f"bpf_fentry_test{n}") for n in range(2, 9)),
    Function("bpf_modify_return_test", modifiable=True, sleepable=True),
    Function("bpf_modify_return_test2", modifiable=True),
    Function("bpf_rstat_flush"),
    Function("cgroup_rmdir"),
    Function("cgroup_attach_task"),
    *(Function(PREFIX + name, sleepable=name in SLEEPABLE) for name in HOOKS),
)
FUNCTION_BY_NAME = {row.name: row for row in FUNCTIONS}


def function_elsewhere(name: str) -> Function:
    """A function of another kernel. Its BTF does not tell for which ones Linux lets programs answer, or sleep in them:
    system calls are among both; for functions of `security_` programs may answer."""
    syscall = name.startswith("__x64_sys_")
    return Function(name, modifiable=syscall or name.startswith("security_"), sleepable=syscall)


TRACEPOINT_BY_NAME = {row.name: row for row in TRACEPOINTS}
