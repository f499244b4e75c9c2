"""The test plan of the RFC's last patch, as our own tests: generic objects in kernfs, and a view read end to end."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kernfs_sim import Kernel
from kernfs_sim.scenario import load

BPFFS, CGROUP = "/sys/fs/bpf/rfc", "/sys/fs/cgroup/rfc"


@pytest.fixture
def loaded(kernel: Kernel, wait: Any) -> Any:
    kernel.mkdir(BPFFS)
    kernel.mkdir(CGROUP)
    return wait.load(kernel.bpf)


def unreadable_and_deaf(kernel: Kernel, path: str) -> None:
    """What is no view neither reads nor takes a write but `rm`."""
    file = kernel.open(path, os.O_RDWR)
    with pytest.raises(PermissionError):
        file.read(kernel.caller, 8)
    with pytest.raises(OSError) as e:
        file.write(kernel.caller, b"xxx\0")
    assert e.value.errno == errno.EINVAL
    file.put()


PINNABLE: dict[str, Callable[[Any], int]] = {
    "prog": lambda loaded: int(loaded.progs["wait_show"].fd),
    "map": lambda loaded: int(loaded.maps["longest_wait"].fd),
    "link": lambda loaded: int(loaded.attach_prog(loaded.progs["wait_record"]).fd),
}


@pytest.mark.parametrize("kind", list(PINNABLE))
def test_a_generic_object_is_pinned_exposed_and_removed(kernel: Kernel, loaded: Any, kind: str) -> None:
    from bpfjit.loader.link import pin

    fd = PINNABLE[kind](loaded)
    with pytest.raises(OSError) as e:
        pin(kernel.bpf, fd, f"{CGROUP}/bpf_obj")
    assert e.value.errno == errno.ENXIO
    pin(kernel.bpf, fd, f"{BPFFS}/bpf_obj")
    pin(kernel.bpf, fd, f"{CGROUP}/bpf_obj")
    assert kernel.exists(f"{CGROUP}/bpf_obj")
    unreadable_and_deaf(kernel, f"{CGROUP}/bpf_obj")
    kernel.write_text(f"{CGROUP}/bpf_obj", "rm\0")
    assert not kernel.exists(f"{CGROUP}/bpf_obj")
    kernel.unlink(f"{BPFFS}/bpf_obj")
    assert not kernel.exists(f"{BPFFS}/bpf_obj")


def test_removing_the_bpffs_pin_of_a_link_removes_its_kernfs_file(kernel: Kernel, loaded: Any) -> None:
    link = loaded.attach_prog(loaded.progs["wait_record"])
    link.pin(f"{BPFFS}/bpf_obj")
    link.pin(f"{CGROUP}/bpf_obj")
    unreadable_and_deaf(kernel, f"{CGROUP}/bpf_obj")
    kernel.unlink(f"{BPFFS}/bpf_obj")
    assert not kernel.exists(f"{CGROUP}/bpf_obj")


@pytest.mark.parametrize("threaded", [False, True])
def test_a_view_is_shown_end_to_end(kernel: Kernel, loaded: Any, tmp_path: Path, threaded: bool) -> None:
    if threaded:
        kernel.write_text(f"{CGROUP}/cgroup.type", "threaded\n")
    kernel.tasks.create(100, "worker")
    kernel.write_text(f"{CGROUP}/cgroup.procs", "100\n")
    links = loaded.attach()
    events = tmp_path / "events.toml"
    events.write_text('[[event]]\ntracepoint = "sched_stat_wait"\ntask = 100\ndelta = 12345\n')
    load(events).play(kernel)
    links["wait_show"].pin(f"{BPFFS}/bpf_obj")
    links["wait_show"].pin(f"{CGROUP}/bpf_obj")
    cgroup_id, latency = kernel.read_text(f"{CGROUP}/bpf_obj").split()
    assert int(cgroup_id) == kernel.stat(CGROUP).st_ino
    assert int(latency) == 12345
    kernel.write_text(f"{CGROUP}/bpf_obj", "rm")
    kernel.unlink(f"{BPFFS}/bpf_obj")
    assert kernel.listdir(BPFFS) == []
    kernel.write_text("/sys/fs/cgroup/cgroup.procs", "100")
    kernel.rmdir(CGROUP)
    kernel.rmdir(BPFFS)
