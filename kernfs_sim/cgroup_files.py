"""The files of a cgroup2 directory: rows of name, mode, what a read shows and a write does."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bpfjit.errors import refuse

from .caller import Caller

if TYPE_CHECKING:
    from .cgroup import Cgroup

CONTROLLERS = "cpuset cpu io memory pids"


@dataclass(frozen=True, slots=True)
class FileRow:
    name: str
    mode: int
    show: Callable[[Cgroup, Caller], str] | None
    store: Callable[[Cgroup, Caller, bytes], None] | None = None
    on_root: bool = True


def _procs(cgroup: Cgroup, caller: Caller) -> str:
    return "".join(f"{pid}\n" for pid in sorted({t.tgid for t in cgroup.tasks}))


def _threads(cgroup: Cgroup, caller: Caller) -> str:
    return "".join(f"{t.pid}\n" for t in sorted(cgroup.tasks, key=lambda t: t.pid))


def _number(data: bytes) -> int:
    try:
        return int(data.split(b"\0")[0].strip())
    except ValueError:
        raise refuse(errno.EINVAL, f"{data[:16]!r} is no number") from None


def _move(cgroup: Cgroup, caller: Caller, data: bytes) -> None:
    pid = _number(data)
    tasks = cgroup.fs.tasks
    task = tasks.find(pid)
    if task is None:
        raise refuse(errno.ESRCH, f"no task {pid}")
    for thread in [t for t in tasks if t.tgid == task.tgid]:
        tasks.move(thread, cgroup)


def _move_thread(cgroup: Cgroup, caller: Caller, data: bytes) -> None:
    task = cgroup.fs.tasks.find(_number(data))
    if task is None:
        raise refuse(errno.ESRCH, f"no task {_number(data)}")
    cgroup.fs.tasks.move(task, cgroup)


def _type(cgroup: Cgroup, caller: Caller) -> str:
    return cgroup.type + "\n"


def _set_type(cgroup: Cgroup, caller: Caller, data: bytes) -> None:
    if data.strip() != b"threaded":
        raise refuse(errno.EINVAL, f"cgroup.type takes 'threaded', not {data[:16]!r}")
    cgroup.type = "threaded"


def _controllers(cgroup: Cgroup, caller: Caller) -> str:
    return (CONTROLLERS if cgroup.up is None else cgroup.up.enabled_text) + "\n"


def _subtree_control(cgroup: Cgroup, caller: Caller) -> str:
    return cgroup.enabled_text + "\n"


def _set_subtree_control(cgroup: Cgroup, caller: Caller, data: bytes) -> None:
    available = _controllers(cgroup, caller).split()
    enabled = cgroup.enabled_text.split()
    for word in data.decode("utf-8", "replace").split():
        name = word[1:]
        if word[0] not in "+-" or name not in CONTROLLERS.split():
            raise refuse(errno.EINVAL, f"cgroup.subtree_control takes +NAME or -NAME, not {word!r}")
        if word[0] == "+" and name not in available:
            raise refuse(errno.ENOENT, f"controller {name} is not available in {cgroup.path}")
        enabled = [e for e in enabled if e != name] + ([name] if word[0] == "+" else [])
    cgroup.enabled_text = " ".join(n for n in CONTROLLERS.split() if n in enabled)


def _events(cgroup: Cgroup, caller: Caller) -> str:
    populated = any(c.tasks for c in cgroup.descendants())
    return f"populated {int(populated)}\nfrozen 0\n"


def _stat(cgroup: Cgroup, caller: Caller) -> str:
    return f"nr_descendants {cgroup.c.nr_descendants}\nnr_dying_descendants {cgroup.c.nr_dying_descendants}\n"


def _cpu_stat(cgroup: Cgroup, caller: Caller) -> str:
    user = system = 0
    for c in cgroup.descendants():
        for t in c.tasks:
            user += t.c.utime // 1000
            system += t.c.stime // 1000
    return f"usage_usec {user + system}\nuser_usec {user}\nsystem_usec {system}\n"


def _memory_current(cgroup: Cgroup, caller: Caller) -> str:
    return f"{cgroup.memory_bytes}\n"


CGROUP_FILES = (
    FileRow("cgroup.procs", 0o644, _procs, _move),
    FileRow("cgroup.threads", 0o644, _threads, _move_thread),
    FileRow("cgroup.type", 0o644, _type, _set_type, on_root=False),
    FileRow("cgroup.controllers", 0o444, _controllers),
    FileRow("cgroup.subtree_control", 0o644, _subtree_control, _set_subtree_control),
    FileRow("cgroup.events", 0o444, _events, on_root=False),
    FileRow("cgroup.stat", 0o444, _stat),
    FileRow("cpu.stat", 0o444, _cpu_stat),
    FileRow("memory.current", 0o444, _memory_current, on_root=False),
)
