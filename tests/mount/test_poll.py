"""poll(2) of cgroup files: the same story on Linux's cgroupfs, through the mount, and in this process."""

from __future__ import annotations

import os
import select
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from kernfs_sim import Kernel
from kernfs_sim.fs.fuse_mount import FuseMount
from kernfs_sim.fs.inode import OpenFile
from kernfs_sim.host import cgroup2_mount

from .mounts import directory, need_fuse

ALL = select.POLLIN | select.POLLOUT | select.POLLPRI
NEVER_MS, SOON_MS = 60, 5000


class Place(Protocol):
    """A cgroup "top" with "top/in" below it, and one task that can be moved."""

    def open(self, path: str) -> int: ...
    def read(self, fd: int, size: int, pos: int) -> bytes: ...
    def poll(self, fd: int, events: int, timeout_ms: int) -> int: ...
    def move(self, path: str) -> None: ...
    def rmdir(self, path: str) -> None: ...


class Files:
    """A directory of this machine: a cgroupfs, or a mount's."""

    def __init__(self, root: str, pid: int) -> None:
        self.root, self.pid = root, pid

    def open(self, path: str) -> int:
        return os.open(f"{self.root}/{path}", os.O_RDONLY)

    def read(self, fd: int, size: int, pos: int) -> bytes:
        return os.pread(fd, size, pos)

    def poll(self, fd: int, events: int, timeout_ms: int) -> int:
        waiter = select.poll()
        waiter.register(fd, events)
        return sum(found for _, found in waiter.poll(timeout_ms))

    def move(self, path: str) -> None:
        Path(f"{self.root}/{path}/cgroup.procs").write_text(f"{self.pid}\n")

    def rmdir(self, path: str) -> None:
        os.rmdir(f"{self.root}/{path}")


class InProcess:
    """The simulated kernel's files from Python."""

    def __init__(self, kernel: Kernel, pid: int) -> None:
        self.kernel, self.pid = kernel, pid
        self.files: list[OpenFile] = []

    def open(self, path: str) -> int:
        self.files.append(self.kernel.open(f"/sys/fs/cgroup/{path}"))
        return len(self.files) - 1

    def read(self, fd: int, size: int, pos: int) -> bytes:
        return self.files[fd].pread(self.kernel.caller, size, pos)

    def poll(self, fd: int, events: int, timeout_ms: int) -> int:
        return self.files[fd].wait(events, timeout_ms)

    def move(self, path: str) -> None:
        self.kernel.write_text(f"/sys/fs/cgroup/{path}/cgroup.procs", f"{self.pid}\n")

    def rmdir(self, path: str) -> None:
        self.kernel.rmdir(f"/sys/fs/cgroup/{path}")


def _linux() -> Iterator[Place]:
    mount = cgroup2_mount()
    top = mount / f"bpfjit-poll-{os.getpid()}"
    for path in (top, top / "in"):
        path.mkdir()
    with subprocess.Popen(["sleep", "1000"]) as task:
        try:
            yield Files(f"{mount}/{top.name}/..", task.pid)
        finally:
            task.kill()
            task.wait()
            for path in (top / "in", top):
                if path.exists():
                    _removed(path)


def _removed(path: Path) -> None:
    for _ in range(100):  # a task that has ended leaves its cgroup a little later
        try:
            path.rmdir()
            return
        except OSError:
            time.sleep(0.02)
    path.rmdir()


def _kernel() -> Kernel:
    kernel = Kernel()
    kernel.cgroups.create(f"/bpfjit-poll-{os.getpid()}/in")
    kernel.tasks.create(77, "sleep")
    return kernel


@pytest.fixture(params=["linux", "mount", "python"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    if request.param == "linux":
        request.getfixturevalue("live")
        yield from _linux()
    elif request.param == "python":
        with _kernel() as kernel:
            yield InProcess(kernel, 77)
    else:
        need_fuse()
        with _kernel() as kernel, directory() as where, FuseMount(kernel, where):
            yield Files(f"{where}/sys/fs/cgroup", 77)


TOP = f"bpfjit-poll-{os.getpid()}"
QUIET, CHANGED, URGENT = 0x5, 0xF, 0xA


def test_events_tells_those_who_poll_when_its_first_task_comes_and_its_last_goes(place: Place) -> None:
    events, above = place.open(f"{TOP}/in/cgroup.events"), place.open(f"{TOP}/cgroup.events")
    assert place.poll(events, ALL, 0) == CHANGED  # it has not been read
    for fd in (events, above):
        assert place.read(fd, 0, 0) == b"" and place.poll(fd, ALL, 0) == CHANGED
        assert place.read(fd, 3, 0) == b"pop" and place.poll(fd, ALL, 0) == QUIET
    assert place.poll(events, select.POLLPRI, NEVER_MS) == 0
    for where, state in ((f"{TOP}/in", b"populated 1\n"), ("", b"populated 0\n")):
        threading.Timer(0.05, place.move, [where]).start()
        for fd in (events, above):
            assert place.poll(fd, select.POLLPRI, SOON_MS) == URGENT
            assert place.poll(fd, ALL, 0) == CHANGED
            assert place.read(fd, 12, 0) == state
            assert place.poll(fd, ALL, 0) == QUIET
    # From one to another below: nothing is new above.
    place.move(f"{TOP}/in")
    place.poll(above, select.POLLPRI, SOON_MS)
    place.read(above, 100, 0)
    place.move(TOP)
    assert place.poll(events, select.POLLPRI, SOON_MS) == URGENT
    assert place.poll(above, select.POLLPRI, NEVER_MS) in (0, URGENT)  # it was empty for a moment, or not


def test_a_read_that_does_not_go_on_makes_the_text_anew(place: Place) -> None:
    fd = place.open(f"{TOP}/cgroup.events")
    assert place.read(fd, 10, 0) == b"populated "
    place.move(TOP)
    assert place.poll(fd, select.POLLPRI, SOON_MS) == URGENT
    assert place.read(fd, 2, 10) == b"0\n"  # the text of then
    assert place.poll(fd, ALL, 0) == CHANGED
    assert place.read(fd, 2, 10) == b"1\n"
    assert place.poll(fd, ALL, 0) == QUIET


@pytest.mark.parametrize("name", ["cgroup.procs", "cgroup.threads"])
def test_a_list_of_nothing_leaves_who_polls_alerted(place: Place, name: str) -> None:
    fd = place.open(f"{TOP}/{name}")
    assert place.read(fd, 100, 0) == b"" and place.poll(fd, ALL, 0) == CHANGED
    place.move(TOP)
    assert place.read(fd, 100, 0) != b"" and place.poll(fd, ALL, 0) == QUIET


def test_a_removed_file_is_urgent_for_ever_and_wakes_nobody(place: Place) -> None:
    fd = place.open(f"{TOP}/in/cgroup.events")
    place.read(fd, 100, 0)
    timer = threading.Timer(0.02, place.rmdir, [f"{TOP}/in"])
    timer.start()
    began = time.monotonic()
    assert place.poll(fd, select.POLLPRI, 300) == URGENT  # found when the time is over
    assert time.monotonic() - began > 0.25
    timer.join()
    with pytest.raises(OSError, match=r"No such device|removed"):
        place.read(fd, 100, 0)
    assert place.poll(fd, ALL, 0) == CHANGED


def test_poll_of_a_view_and_of_other_files_through_the_mount(fuse: tuple[Kernel, FuseMount]) -> None:
    _, mount = fuse
    files = Files(mount.directory, 0)
    for _ in range(2):  # the second open is native
        view = files.open("sys/fs/cgroup/web/wait_show")
        assert files.poll(view, ALL, 0) == CHANGED
        assert files.read(view, 100, 0) == b"2 0\n" and files.poll(view, ALL, 0) == QUIET
        os.close(view)
    for path, first in (("sys/kernel/btf/vmlinux", CHANGED), ("proc/10/stat", QUIET), ("sys/fs/bpf", QUIET)):
        fd = files.open(path)
        assert files.poll(fd, ALL, 0) == first
        os.close(fd)


def test_who_closes_a_polled_file_is_forgotten(place: Place) -> None:
    fds = [place.open(f"{TOP}/in/cgroup.events") for _ in range(3)]
    for fd in fds:
        place.read(fd, 100, 0)
        assert place.poll(fd, select.POLLPRI, 1) == 0
    if isinstance(place, Files):
        for fd in fds[:2]:
            os.close(fd)
    place.move(f"{TOP}/in")
    assert place.poll(fds[2], select.POLLPRI, SOON_MS) == URGENT
