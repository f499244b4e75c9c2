"""This machine's cgroups and tasks, as an ordinary user sees them, built in a simulated kernel."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

from bpfjit.errors import refuse

from .cgroup import Cgroup

if TYPE_CHECKING:
    from .kernel import Kernel


def cgroup2_mount() -> Path:
    """Where this machine's cgroup2 hierarchy is mounted. Raises ENOENT when it is not."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        fields = line.split()
        if len(fields) > 2 and fields[2] == "cgroup2":
            return Path(fields[1].encode().decode("unicode_escape"))
    raise refuse(errno.ENOENT, "no cgroup2 hierarchy is mounted on this machine")


def populate(kernel: Kernel) -> None:
    """Build every cgroup below the mount with its id, and the tasks in it with their names."""
    top = cgroup2_mount()
    made: dict[Path, Cgroup] = {top: kernel.cgroups.root}
    for directory, names, _ in os.walk(top):
        here = Path(directory)
        names.sort(key=lambda name: _id_of(here / name))  # ids grow with age: siblings in order of creation
        parent = made[here]
        for name in names:
            path = here / name
            kn_id = _id_of(path)
            if not kn_id or kernel.cgroups.by_id(kn_id) is not None:
                continue
            made[path] = kernel.cgroups.create_in(parent, name, id=kn_id)
        names[:] = [name for name in names if here / name in made]
    for path, cgroup in made.items():
        _tasks(kernel, path, cgroup)
        cgroup.memory_bytes = _number(path / "memory.current")


def _id_of(path: Path) -> int:
    """A cgroup's kernfs id is its directory's inode number (0: gone meanwhile)."""
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def _number(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


def _tasks(kernel: Kernel, path: Path, cgroup: Cgroup) -> None:
    try:
        pids = [int(word) for word in (path / "cgroup.procs").read_text().split()]
    except OSError:
        return  # a threaded cgroup has no procs to read, another user's may not be readable
    for pid in sorted(pids):
        if pid <= 0 or kernel.tasks.find(pid) is not None:
            continue  # 0: a task of another pid namespace
        try:
            comm = Path(f"/proc/{pid}/comm").read_text().rstrip("\n")
            uid = os.stat(f"/proc/{pid}").st_uid
        except OSError:
            continue  # it has ended
        kernel.tasks.create(pid, comm[:15], cgroup, uid=uid)
