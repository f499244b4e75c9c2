"""procfs, as far as the simulation has it: a directory for each task, with views in it."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from bpfjit.errors import refuse
from runtime import lib

from ..caller import Caller
from ..task import Task
from ..task_mm import VM_EXEC, VM_MAYSHARE, VM_READ, VM_WRITE
from .inode import SuperBlock, Symlink
from .shown import ObjectDirs, Shown

if TYPE_CHECKING:
    from ..kernel import Kernel

PROC_MAGIC = 0x9FA0
_TICK_NS = 10_000_000
_LETTERS = (("r", VM_READ), ("w", VM_WRITE), ("x", VM_EXEC))


def _status(task: Task) -> str:
    c = task.c
    numbers = "\t".join(str(n) for n in task.numbers.values())
    rows = [
        ("Name", task.comm), ("Tgid", task.tgid), ("Pid", task.pid), ("PPid", c.real_parent.tgid if task.pid != 1 else 0),
        ("Uid", "\t".join([str(c.cred.uid.val)] * 4)), ("Gid", "\t".join([str(c.cred.gid.val)] * 4)),
        ("FDSize", c.files.fdt.max_fds if c.files else 0), ("NSpid", numbers), ("Threads", _threads(task)),
        ("voluntary_ctxt_switches", c.nvcsw), ("nonvoluntary_ctxt_switches", c.nivcsw),
    ]  # fmt: skip
    return "".join(f"{name}:\t{value}\n" for name, value in rows)


def _threads(task: Task) -> int:
    return task.leader.threads


def _stat(task: Task) -> str:
    c = task.c
    fields = [0] * 49
    fields[0] = c.real_parent.tgid if task.pid != 1 else 0
    fields[10], fields[11] = c.utime // _TICK_NS, c.stime // _TICK_NS
    fields[14], fields[15], fields[16] = c.prio - 100, c.static_prio - 120, _threads(task)
    fields[18] = c.start_boottime // _TICK_NS
    state = {0: "R", 1: "S", 2: "D", 4: "T", 8: "t"}.get(getattr(c, "__state"), "I")
    return f"{task.pid} ({task.comm}) {state} {' '.join(map(str, fields))}\n"


def _maps(task: Task) -> str:
    lines = []
    for area in sorted(task.mm.areas, key=lambda a: a.start):
        vma, file, flags = task.mm.areas[area], area.file, area.flags
        letters = "".join(letter if flags & bit else "-" for letter, bit in _LETTERS)
        head = f"{vma.vm_start:08x}-{vma.vm_end:08x} {letters}{'s' if flags & VM_MAYSHARE else 'p'} "
        if file is None:
            lines.append(f"{head}00000000 00:00 0 \n")
        else:
            dev = file.kernel_dev
            where = f"{vma.vm_pgoff * 4096:08x} {dev >> 20:02x}:{dev & 0xFFFFF:02x} {file.ino} "
            lines.append(f"{(head + where):<73}{file.path}\n")
    return "".join(lines)


_FILES: tuple[tuple[str, Callable[[Task], str]], ...] = (
    ("comm", lambda t: f"{t.comm}\n"),
    ("status", _status),
    ("stat", _stat),
    ("cgroup", lambda t: f"0::{t.cgroup.path if t.cgroup is not None else '/'}\n"),
    ("maps", _maps),
)


class _Self(Symlink):
    """/proc/self: the process of whoever follows it, where it is one of the simulated kernel's."""

    def __init__(self, sb: SuperBlock, kernel: Kernel) -> None:
        super().__init__(sb, "")
        self._kernel = kernel

    def to(self, caller: Caller) -> str:
        task = self._kernel.tasks.find(caller.pid)
        if task is None and self._kernel.follows:
            self._kernel.refresh()  # it may have come meanwhile
            task = self._kernel.tasks.find(caller.pid)
        if task is None:
            raise refuse(errno.ENOENT, f"self: process {caller.pid} is none of the simulated kernel's")
        return str(task.leader.pid)


def new_procfs(kernel: Kernel) -> ObjectDirs:
    """A procfs of the initial pid namespace: its root, with the tasks by their numbers."""

    def find(name: str) -> Shown | None:
        task = kernel.tasks.find(int(name)) if name.isdecimal() and name == str(int(name)) else None
        if task is None:
            return None

        def hold() -> Callable[[], None]:
            lib.rt_task_get(task.c)
            return lambda: lib.rt_task_put(kernel.native.ptr, task.c)

        def row(show: Callable[[Task], str]) -> Callable[[Caller], str]:
            return lambda caller: show(task)

        return Shown("task", task.c, tuple((n, row(show)) for n, show in _FILES), hold)

    root = ObjectDirs(
        SuperBlock("proc", PROC_MAGIC, eventful=False), kernel.native, lambda: (str(t.pid) for t in kernel.tasks), find
    )
    root.children["self"] = _Self(root.sb, kernel)
    kernel.tasks.on_exit.append(lambda task: root.forget(str(task.pid)))
    return root
