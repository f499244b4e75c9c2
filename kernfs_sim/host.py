"""This machine's cgroups and tasks, as an ordinary user sees them, built in a simulated kernel."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from bpfjit.errors import refuse

from .cgroup import Cgroup

if TYPE_CHECKING:
    from .kernel import Kernel

_PROC = Path("/proc")


def cgroup2_mount(proc: Path = _PROC) -> Path:
    """Where this machine's cgroup2 hierarchy is mounted. Raises ENOENT when it is not."""
    for line in (proc / "self/mounts").read_bytes().splitlines():
        fields = line.split(b" ")
        if len(fields) > 2 and fields[2] == b"cgroup2":
            return Path(os.fsdecode(_unescape(fields[1])))
    raise refuse(errno.ENOENT, "no cgroup2 hierarchy is mounted on this machine")


def _unescape(field: bytes) -> bytes:
    """A field of /proc/PID/mounts, where white space and backslashes are \\ooo."""
    return re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8) & 0xFF]), field)


def populate(kernel: Kernel, proc: Path = _PROC) -> None:
    """Build every cgroup below the mount with its id, and the tasks in it with their names.

    What vanishes or may not be read meanwhile is left out. proc: where procfs is mounted.
    """
    top = os.fspath(cgroup2_mount(proc))
    root_id = os.stat(top).st_ino
    if root_id != kernel.cgroups.root.id:
        kernel.cgroups.renumber_root(root_id)
    todo: list[tuple[str, Cgroup]] = [(top, kernel.cgroups.root)]
    while todo:
        path, cgroup = todo.pop()
        _fill(kernel, proc, path, cgroup)
        below = []
        for kn_id, name in _subdirectories(path):
            # An id is taken when a cgroup was removed and its number given again while we looked.
            if kernel.cgroups.by_id(kn_id) is None:
                below.append((f"{path}/{name}", kernel.cgroups.create_in(cgroup, name, id=kn_id)))
        todo += reversed(below)


def _subdirectories(path: str) -> list[tuple[int, str]]:
    """Ids and names; a cgroup's id is its directory's inode number. Ids grow with age: siblings in order of creation."""
    found = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    found.append((entry.inode(), entry.name))
    except OSError:
        return []  # removed, or another user's
    return sorted(found)


def _fill(kernel: Kernel, proc: Path, path: str, cgroup: Cgroup) -> None:
    cgroup.memory_bytes = _number(_read(f"{path}/memory.current"))
    pids = _read(f"{path}/cgroup.procs")
    if not pids:
        pids = _read(f"{path}/cgroup.threads")  # a threaded cgroup's processes cannot be read
    for pid in sorted(int(word) for word in pids.split() if word.isdigit()):
        if pid and kernel.tasks.find(pid) is None:  # 0: a task of another pid namespace
            _add_task(kernel, proc, pid, cgroup)


def _add_task(kernel: Kernel, proc: Path, pid: int, cgroup: Cgroup) -> None:
    comm = _read(f"{proc}/{pid}/comm")
    status = _read(f"{proc}/{pid}/status")
    fields = dict(line.split(b":", 1) for line in status.splitlines() if b":" in line)
    try:
        tgid, uid = int(fields[b"Tgid"]), int(fields[b"Uid"].split()[1])
    except (KeyError, ValueError, IndexError):
        return  # it has ended
    if not comm:
        return
    kernel.tasks.create(pid, os.fsdecode(comm.removesuffix(b"\n")[:15]), cgroup, tgid=tgid, uid=uid)


def _number(text: bytes) -> int:
    return int(text) if text.strip().isdigit() else 0


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as f:
            return f.read()
    except OSError:
        return b""
