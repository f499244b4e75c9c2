"""The files of a cgroup2 directory: rows of name, mode, what a read shows and a write does."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from bpfjit.dataclass import dataclass
from bpfjit.errors import refuse

from .caller import Caller
from .fs.inode import MAY_WRITE
from .fs.kernfs import KernfsFile

if TYPE_CHECKING:
    from .cgroup import Cgroup
    from .task import Task

CONTROLLERS = ("cpuset", "cpu", "io", "memory", "pids")
THREADED = {"cpuset", "cpu", "pids"}  # controllers that threads of one process may be told apart by

Show = Callable[["Cgroup", Caller], str]
Store = Callable[["Cgroup", Caller, bytes], None]


@dataclass(frozen=True, slots=True)
class FileRow:
    name: str
    mode: int
    show: Show
    store: Store | None = None
    on_root: bool = True

    def bind(self, cgroup: Cgroup) -> tuple[Callable[[Caller], str], Callable[[Caller, bytes], None] | None]:
        """show and store of one cgroup's file."""
        show, store = self.show, self.store
        if store is None:
            return (lambda caller: show(cgroup, caller)), None

        def locked(caller: Caller, data: bytes) -> None:
            with cgroup.fs.changing:  # tasks move and settings change one at a time, and not into what is being removed
                if cgroup.removed:
                    raise refuse(errno.ENODEV, f"cgroup {cgroup.path} has been removed")
                store(cgroup, caller, data)

        return (lambda caller: show(cgroup, caller)), locked


# -- threaded cgroups (Linux: Documentation/admin-guide/cgroup-v2, "Threads") --------------------------


def domain_of(cgroup: Cgroup) -> Cgroup:
    """The cgroup whose processes' threads a threaded cgroup divides; itself for a domain."""
    while cgroup.threaded and cgroup.up is not None:
        cgroup = cgroup.up
    return cgroup


def _is_thread_root(cgroup: Cgroup) -> bool:
    if cgroup.threaded:
        return False
    if any(c.threaded for c in cgroup.subgroups()):
        return True
    return bool(cgroup.tasks) and bool(THREADED & set(cgroup.enabled_text.split()))


def _is_valid_domain(cgroup: Cgroup) -> bool:
    if cgroup.threaded:
        return False
    above = cgroup.up
    while above is not None:
        if above.threaded or (above.up is not None and _is_thread_root(above)):
            return False
        above = above.up
    return True


def _can_be_thread_root(cgroup: Cgroup) -> bool:
    if cgroup.up is None:
        return True
    populated = any(_populated(c) for c in cgroup.subgroups() if not c.threaded)
    return _is_valid_domain(cgroup) and not populated and not set(cgroup.enabled_text.split()) - THREADED


def _type(cgroup: Cgroup, caller: Caller) -> str:
    if cgroup.threaded:
        return "threaded\n"
    if not _is_valid_domain(cgroup):
        return "domain invalid\n"
    return "domain threaded\n" if _is_thread_root(cgroup) else "domain\n"


def _set_type(cgroup: Cgroup, caller: Caller, data: bytes) -> None:
    if _word(data) != "threaded":
        raise refuse(errno.EINVAL, f"cgroup.type takes 'threaded', not {data[:16]!r}")
    if cgroup.threaded:
        return
    assert cgroup.up is not None
    domain = domain_of(cgroup.up)
    busy = _populated(cgroup) or set(cgroup.enabled_text.split()) - THREADED
    if busy or not _is_valid_domain(domain) or not _can_be_thread_root(domain):
        raise refuse(errno.EOPNOTSUPP, f"cgroup {cgroup.path} cannot become threaded")
    cgroup.threaded = True
    cgroup.c.dom_cgrp = domain.c


# -- who is in it --------------------------------------------------------------------------------------


def _populated(cgroup: Cgroup) -> bool:
    c = cgroup.c
    return bool(c.nr_populated_csets or c.nr_populated_domain_children or c.nr_populated_threaded_children)


def update_populated(cgroup: Cgroup, change: int) -> None:
    """The first task has come (1) or the last one gone (-1): cgroup.events tells those whose state that changes."""
    at: Cgroup | None = cgroup
    below: Cgroup | None = None
    while at is not None:
        c, before = at.c, _populated(at)
        if below is None:
            c.nr_populated_csets += change
        elif below.threaded:
            c.nr_populated_threaded_children += change
        else:
            c.nr_populated_domain_children += change
        if _populated(at) == before:
            return
        events = at.children.get("cgroup.events")  # made when it is first opened
        if isinstance(events, KernfsFile):
            events.notify()
        below, at = at, at.up


def _procs(cgroup: Cgroup, caller: Caller) -> str:
    if cgroup.threaded:
        raise refuse(errno.EOPNOTSUPP, f"cgroup {cgroup.path} is threaded: it has threads, not processes")
    tasks = list(cgroup.tasks)
    for inner in cgroup.descendants():
        if inner is not cgroup and inner.threaded and domain_of(inner) is cgroup:
            tasks += inner.tasks
    return "".join(f"{pid}\n" for pid in sorted({t.tgid for t in tasks}))


def _threads(cgroup: Cgroup, caller: Caller) -> str:
    return "".join(f"{pid}\n" for pid in sorted(t.pid for t in cgroup.tasks))


def _word(data: bytes) -> str:
    return data.split(b"\0")[0].decode("utf-8", "replace").strip()


def _task_of(cgroup: Cgroup, data: bytes) -> Task:
    word = _word(data)
    try:
        pid = int(word)
    except ValueError:
        pid = -1
    if pid < 0:
        raise refuse(errno.EINVAL, f"{word[:16]!r} is no process id")
    task = cgroup.fs.tasks.find(pid)
    if task is None:
        raise refuse(errno.ESRCH, f"no task {pid}")
    return task


def _may_enter(cgroup: Cgroup, caller: Caller, task: Task) -> None:
    """Who moves a task must be able to write cgroup.procs where the two paths meet; and only leaves have tasks."""
    common: Cgroup | None = cgroup
    above = set()
    at = task.cgroup
    while at is not None:
        above.add(at)
        at = at.up
    while common is not None and common not in above:
        common = common.up
    procs = common.lookup("cgroup.procs") if common is not None else None
    if procs is None or not procs.permits(caller, MAY_WRITE):
        raise refuse(errno.EACCES, f"task {task.pid}: no permission to move it here")
    if not _is_valid_domain(domain_of(cgroup)):
        raise refuse(errno.EOPNOTSUPP, f"cgroup {cgroup.path} is an invalid domain")
    if cgroup.up is not None and not cgroup.threaded and not _can_be_thread_root(cgroup) and cgroup.enabled_text:
        raise refuse(errno.EBUSY, f"cgroup {cgroup.path} has controllers enabled for its children")


def _move(cgroup: Cgroup, caller: Caller, data: bytes) -> None:
    task = _task_of(cgroup, data)
    _may_enter(cgroup, caller, task)
    tasks = cgroup.fs.tasks
    for thread in [t for t in tasks if t.tgid == task.tgid]:
        tasks.move(thread, cgroup)


def _move_thread(cgroup: Cgroup, caller: Caller, data: bytes) -> None:
    task = _task_of(cgroup, data)
    _may_enter(cgroup, caller, task)
    if task.cgroup is not None and domain_of(task.cgroup) is not domain_of(cgroup):
        raise refuse(errno.EOPNOTSUPP, f"thread {task.pid} cannot leave its process's domain")
    cgroup.fs.tasks.move(task, cgroup)


# -- controllers ---------------------------------------------------------------------------------------


def _controllers(cgroup: Cgroup, caller: Caller) -> str:
    return (" ".join(CONTROLLERS) if cgroup.up is None else cgroup.up.enabled_text) + "\n"


def _subtree_control(cgroup: Cgroup, caller: Caller) -> str:
    return cgroup.enabled_text + "\n"


def _set_subtree_control(cgroup: Cgroup, caller: Caller, data: bytes) -> None:
    available = _controllers(cgroup, caller).split()
    enabled = set(cgroup.enabled_text.split())
    for word in _word(data).split():
        sign, name = word[0], word[1:]
        if sign not in "+-" or name not in CONTROLLERS:
            raise refuse(errno.EINVAL, f"cgroup.subtree_control takes +NAME or -NAME, not {word!r}")
        if sign == "+":
            if name not in available:
                raise refuse(errno.ENOENT, f"controller {name} is not available in {cgroup.path}")
            enabled.add(name)
        else:
            if any(name in c.enabled_text.split() for c in cgroup.subgroups()):
                raise refuse(errno.EBUSY, f"controller {name} is enabled below {cgroup.path}")
            enabled.discard(name)
    domain_ones = enabled - THREADED
    if cgroup.threaded and domain_ones:
        raise refuse(errno.EOPNOTSUPP, f"cgroup {cgroup.path} is threaded: no {', '.join(sorted(domain_ones))}")
    if cgroup.up is not None and domain_ones and cgroup.tasks:
        raise refuse(errno.EBUSY, f"cgroup {cgroup.path} has tasks of its own")
    cgroup.enabled_text = " ".join(n for n in CONTROLLERS if n in enabled)


# -- figures -------------------------------------------------------------------------------------------


def _events(cgroup: Cgroup, caller: Caller) -> str:
    return f"populated {int(_populated(cgroup))}\nfrozen 0\n"


def _stat(cgroup: Cgroup, caller: Caller) -> str:
    return f"nr_descendants {cgroup.c.nr_descendants}\nnr_dying_descendants {cgroup.c.nr_dying_descendants}\n"


def _cpu_stat(cgroup: Cgroup, caller: Caller) -> str:
    told = cgroup.c.bstat  # of this machine's cgroups: tasks that ended have had their part
    if told.cputime.sum_exec_runtime:
        figures = (told.cputime.sum_exec_runtime, told.cputime.utime, told.cputime.stime, told.ntime)
        return "".join(f"{name}_usec {ns // 1000}\n" for name, ns in zip(_CPU_FIGURES, figures, strict=True))
    user = system = 0
    for c in cgroup.descendants():
        for t in c.tasks:
            user += t.c.utime // 1000
            system += t.c.stime // 1000
    return f"usage_usec {user + system}\nuser_usec {user}\nsystem_usec {system}\nnice_usec 0\n"


_CPU_FIGURES = ("usage", "user", "system", "nice")


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
FILE_BY_NAME = {row.name: row for row in CGROUP_FILES}
