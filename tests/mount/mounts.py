"""Mounts for tests: a kernel served in a directory, and tools that are run on it, as root or as an ordinary user."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bpfjit import open_object
from kernfs_sim import Kernel
from kernfs_sim.fs.fuse_mount import FuseMount

ROOT = Path(__file__).resolve().parents[2]
SCENARIO = ROOT / "examples" / "web.toml"
NOBODY = 65534


def need_fuse() -> None:
    """Without /dev/fuse or root a test is skipped."""
    why = ""
    if os.geteuid():
        why = "mounts for other users are made as root"
    else:
        try:
            os.close(os.open("/dev/fuse", os.O_RDWR))
        except OSError as e:
            why = f"/dev/fuse is not to be had: {e}"
    if why:
        pytest.skip(why)


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Place:
    """Where a kernel is served, and who uses it: `user` is the tools' uid, `inside` a process whose mounts they see."""

    directory: str
    user: int
    inside: int = 0

    def sh(self, script: str, *, user: int | None = None, timeout: float = 20) -> Ran:
        """Run a shell script in the mount."""
        uid = self.user if user is None else user
        command = ["/bin/sh", "-c", f"cd {self.directory} && {script}"]
        if uid:
            command = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--", *command]
        if self.inside:
            command = ["nsenter", "-t", str(self.inside), "-m", "--", *command]
        env = {**os.environ, "LC_ALL": "C"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout, env=env)
        return Ran(done.returncode, done.stdout, done.stderr)


@contextlib.contextmanager
def directory(owner: int = 0) -> Iterator[str]:
    """An empty directory of that user's, with nothing left mounted on it afterwards."""
    where = tempfile.mkdtemp(prefix="bpfjit-mount-")
    os.chown(where, owner, owner)
    os.chmod(where, 0o755)
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", where], capture_output=True, check=False)
        os.rmdir(where)


def example_kernel(data: Path) -> Kernel:
    """The example's system: its view pinned, and exposed in every cgroup but the root; its events played."""
    from bpfjit.cli.view import set_up
    from kernfs_sim.scenario import load

    scenario = load(SCENARIO)
    kernel = Kernel.from_loaded_scenario(scenario, cache=False)
    loaded = open_object(data).load(kernel.bpf)
    for link in set_up(kernel, [loaded], scenario):
        for cgroup in kernel.cgroups:
            if cgroup.up is not None:
                link.pin(f"/sys/fs/cgroup{cgroup.path}/{link.name}")
    return kernel


@contextlib.contextmanager
def served(data: Path) -> Iterator[tuple[Kernel, FuseMount]]:
    """The example's system served by this process, as root."""
    with directory() as where, example_kernel(data) as kernel, FuseMount(kernel, where) as mount:
        yield kernel, mount


def _let_everyone_mount(scratch: str) -> None:
    """Mounts of our own, in which /dev/fuse is open to all, as it is on most machines."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x00020000):  # CLONE_NEWNS
        raise OSError(ctypes.get_errno(), "unshare")
    for command in (
        ["mount", "--make-rprivate", "/"],
        ["mount", "-t", "tmpfs", "tmpfs", scratch],
        ["mknod", "-m", "666", f"{scratch}/fuse", "c", "10", "229"],
        ["mount", "--bind", f"{scratch}/fuse", "/dev/fuse"],
    ):
        subprocess.run(command, check=True)


def _become_nobody(scratch: str) -> None:
    _let_everyone_mount(scratch)
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def in_child(run: Callable[[], None]) -> int:
    """Fork a process that does this and ends: its pid. What it raises is printed, and its exit code is 1 then."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            run()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return pid


def ended_well(pid: int) -> bool:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@contextlib.contextmanager
def served_by_user(data: Path) -> Iterator[Place]:
    """The same served by a process of an ordinary user, through fusermount3."""
    with directory(NOBODY) as where, tempfile.TemporaryDirectory() as scratch, example_kernel(data) as kernel:
        ready_r, ready_w = os.pipe()
        stop_r, stop_w = os.pipe()

        def serve() -> None:
            os.close(stop_w)
            _become_nobody(scratch)
            with FuseMount(kernel, where):
                os.write(ready_w, b"ready")
                os.read(stop_r, 1)

        pid = in_child(serve)
        for fd in (ready_w, stop_r):
            os.close(fd)
        try:
            assert os.read(ready_r, 5) == b"ready", "the server did not come up"
            yield Place(where, NOBODY, pid)
        finally:
            os.close(ready_r)
            os.close(stop_w)
            well = ended_well(pid)
        assert well


def user_is_killed_and_mounts_again(data: Path) -> bool:
    """An ordinary user's server is killed; whether the user's next one finds that and serves."""
    with directory(NOBODY) as where, tempfile.TemporaryDirectory() as scratch, example_kernel(data) as kernel:

        def both() -> None:
            _become_nobody(scratch)
            ready_r, ready_w = os.pipe()

            def first() -> None:
                with FuseMount(kernel, where):
                    os.write(ready_w, b"x")
                    time.sleep(30)

            pid = in_child(first)
            os.close(ready_w)
            assert os.read(ready_r, 1) == b"x"
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            with FuseMount(kernel, where) as mount:
                assert mount.cleaned
                served = subprocess.run(["ls", f"{where}/sys/fs/bpf"], capture_output=True, text=True, check=True)
                assert served.stdout == "maps.debug\nprogs.debug\nwait_show\n"

        return ended_well(in_child(both))
