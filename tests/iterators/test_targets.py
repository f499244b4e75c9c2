"""Iterator targets: attach parameters and what is walked, on both kernels."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from kernfs_sim import Kernel

from .worlds import Simulated, World


def attach_errno(world: World, prog: str, **info: int) -> int | None:
    with pytest.raises(OSError) as e:
        world.link(prog, **info)
    return e.value.errno


@pytest.mark.parametrize(
    ("prog", "info", "expected"),
    [
        ("walk", {}, errno.EBADF),
        ("walk", {"map_fd": 0}, errno.EBADF),
        ("cgroups", {}, errno.EINVAL),
        ("cgroups", {"order": 0}, errno.EINVAL),
        ("cgroups", {"order": 5}, errno.EINVAL),
        ("cgroups", {"order": 1, "cgroup_fd": 3, "cgroup_id": 1}, errno.EINVAL),
        ("cgroups", {"order": 1, "cgroup_id": 1 << 60}, errno.ENOENT),
        ("cgroups", {"order": 1, "cgroup_fd": 0x7FFFFFF0}, errno.EBADF),
        ("tasks", {"tid": 1, "pid": 1}, errno.EINVAL),
    ],
)
def test_attach_parameters_are_checked(world: World, prog: str, info: dict[str, int], expected: int) -> None:
    assert attach_errno(world, prog, **info) == expected


@pytest.mark.parametrize(("prog", "map_name"), [("wide", "elems"), ("long_key", "elems")])
def test_program_that_reaches_past_the_map_is_refused_at_attach(world: World, prog: str, map_name: str) -> None:
    assert attach_errno(world, prog, map_fd=world.obj.maps[map_name].fd) == errno.EACCES


def test_value_may_be_changed_while_walking(world: World) -> None:
    table = world.obj.maps["table"]
    for key in range(5):
        table.update(key.to_bytes(8, "little"), (key * 10).to_bytes(8, "little"))
    text = b"".join(world.drain(world.walk("bump", "table"), 4096)).decode()
    assert sorted(text.split()) == [f"{k}:{k * 10}" for k in range(5)]
    assert [int.from_bytes(table.lookup(k.to_bytes(8, "little")), "little") for k in range(5)] == [1, 11, 21, 31, 41]


def test_percpu_value_has_every_cpu_in_8_bytes(world: World) -> None:
    cpus = world.kernel.native.cpus if isinstance(world, Simulated) else possible_cpus()
    percpu = world.obj.maps["percpu"]
    for key in range(2):
        value = b"".join((100 * key + cpu).to_bytes(8, "little") for cpu in range(cpus))
        percpu.update(key.to_bytes(4, "little"), value)
    text = b"".join(world.drain(world.walk("percpu_values", "percpu"), 4096)).decode()
    assert text == "0: 0 1\n1: 100 101\n"


def possible_cpus() -> int:
    with open("/sys/devices/system/cpu/possible") as f:
        last = f.read().strip().split("-")[-1]
    return int(last) + 1


def test_empty_map_still_has_the_call_at_the_end(world: World) -> None:
    world.set(stop_bytes=3)
    assert world.drain(world.walk("bump", "table"), 4096) == []


def test_cgroup_output_past_one_buffer_is_eopnotsupp(walk_object: Path) -> None:
    """On Linux too; but its hierarchy may have too few cgroups, and none are made in it."""
    with Kernel() as kernel:
        for name in ("/a", "/b", "/c"):
            kernel.cgroups.create(name)
        world = Simulated(kernel, walk_object)
        with world.obj:
            world.set(element_bytes=20000)
            fd = world.open(world.link("cgroups", order=2, cgroup_id=1))
            assert len(world.read(fd, 65536)) == 20000
            for _ in range(2):
                with pytest.raises(OSError) as e:
                    world.read(fd, 65536)
                assert e.value.errno == errno.EOPNOTSUPP


def test_cgroup_program_returning_1_ends_the_walk_after_its_element(world: World) -> None:
    world.set(again_key=1)
    info = {"order": 2, "cgroup_id": 1} if isinstance(world, Simulated) else {"order": 2}
    if isinstance(world, Simulated):
        world.kernel.cgroups.create("/a/b")
    text = b"".join(world.drain(world.open(world.link("cgroups", **info)), 4096)).decode().splitlines()
    assert len(text) == 2
    assert text[0].endswith(" 0")
    assert text[1] == "end"


@pytest.mark.parametrize(
    ("order", "start", "expected"),
    [
        (1, "/a", ["2 1"]),
        (2, "/", ["1 0", "2 1", "3 2", "4 2", "5 1"]),
        (3, "/", ["3 2", "4 2", "2 1", "5 1", "1 0"]),
        (4, "/a/c", ["4 2", "2 1", "1 0"]),
        (2, "/a", ["2 1", "3 2", "4 2"]),
        (3, "/a", ["3 2", "4 2", "2 1"]),
    ],
)
def test_cgroup_orders(walk_object: Path, order: int, start: str, expected: list[str]) -> None:
    with Kernel() as kernel:
        for path in ("/a/b", "/a/c", "/d"):
            kernel.cgroups.create(path)
        world = Simulated(kernel, walk_object)
        with world.obj:
            fd = world.open(world.link("cgroups", order=order, cgroup_id=kernel.cgroups.find(start).id))
            assert b"".join(world.drain(fd, 4096)).decode().splitlines() == [*expected, "end"]


def test_removed_cgroup_leaves_only_the_end(walk_object: Path) -> None:
    with Kernel() as kernel:
        kernel.cgroups.create("/a")
        world = Simulated(kernel, walk_object)
        with world.obj:
            kn_id = kernel.cgroups.find("/a").id
            link = world.link("cgroups", order=2, cgroup_id=kn_id)
            fd = world.open(link)
            kernel.rmdir("/sys/fs/cgroup/a")
            assert b"".join(world.drain(fd, 4096)) == b"end\n"
            assert attach_errno(world, "cgroups", order=2, cgroup_id=kn_id) == errno.ENOENT


def test_task_iterators_walk_by_pid(walk_object: Path) -> None:
    with Kernel() as kernel:
        for pid, tgid in ((30, None), (7, None), (12, 7), (9, 7)):
            kernel.tasks.create(pid, tgid=tgid)
        world = Simulated(kernel, walk_object)
        with world.obj:
            every = b"".join(world.drain(world.open(world.link("tasks")), 4096)).decode().splitlines()
            assert every == ["7 7", "9 7", "12 7", "30 30", "end"]
            threads = b"".join(world.drain(world.open(world.link("tasks", pid=7)), 4096)).decode().splitlines()
            assert threads == ["7 7", "9 7", "12 7", "end"]
            one = b"".join(world.drain(world.open(world.link("tasks", tid=12)), 4096)).decode().splitlines()
            assert one == ["12 7", "end"]
            assert b"".join(world.drain(world.open(world.link("tasks", tid=999)), 4096)) == b"end\n"


def test_maps_come_by_ascending_id(world: World) -> None:
    text = b"".join(world.drain(world.open(world.link("maps")), 4096)).decode().splitlines()
    ids = [int(line.split()[0]) for line in text]
    assert ids == sorted(ids)
    assert "1000000" in {line.split()[1] for line in text}
