"""Iterator targets: attach parameters and what is walked, on both kernels."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel
from kernfs_sim.host import cgroup2_mount
from kernfs_sim.pidfd import pidfd_open

from .worlds import Live, Simulated, World


def attach_errno(world: World, prog: str, **info: int) -> int | None:
    with pytest.raises(OSError) as e:
        world.link(prog, **info)
    return e.value.errno


@pytest.mark.parametrize(
    ("prog", "info", "expected"),
    [
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


@pytest.mark.parametrize("info", [{}, {"map_fd": 0}])
def test_elements_are_those_of_a_map(elements: World, info: dict[str, int]) -> None:
    assert attach_errno(elements, "walk", **info) == errno.EBADF


@pytest.mark.parametrize(("prog", "map_name"), [("wide", "elems"), ("long_key", "elems")])
def test_program_that_reaches_past_the_map_is_refused_at_attach(elements: World, prog: str, map_name: str) -> None:
    assert attach_errno(elements, prog, map_fd=elements.obj.maps[map_name].fd) == errno.EACCES


def test_value_may_be_changed_while_walking(elements: World) -> None:
    table = elements.obj.maps["table"]
    for key in range(5):
        table.update(key.to_bytes(8, "little"), (key * 10).to_bytes(8, "little"))
    text = b"".join(elements.drain(elements.walk("bump", "table"), 4096)).decode()
    assert sorted(text.split()) == [f"{k}:{k * 10}" for k in range(5)]
    assert [int.from_bytes(table.lookup(k.to_bytes(8, "little")), "little") for k in range(5)] == [1, 11, 21, 31, 41]


def test_percpu_value_has_every_cpu_in_8_bytes(elements: World) -> None:
    cpus = elements.kernel.native.cpus if isinstance(elements, Simulated) else possible_cpus()
    percpu = elements.obj.maps["percpu"]
    for key in range(2):
        value = b"".join((100 * key + cpu).to_bytes(8, "little") for cpu in range(cpus))
        percpu.update(key.to_bytes(4, "little"), value)
    text = b"".join(elements.drain(elements.walk("percpu_values", "percpu"), 4096)).decode()
    assert text == "0: 0 1\n1: 100 101\n"


def possible_cpus() -> int:
    with open("/sys/devices/system/cpu/possible") as f:
        last = f.read().strip().split("-")[-1]
    return int(last) + 1


def test_empty_map_still_has_the_call_at_the_end(elements: World) -> None:
    elements.set(stop_bytes=3)
    assert elements.drain(elements.walk("bump", "table"), 4096) == []


class Below:
    """A world and empty cgroups in it: `top`, in it `a` and `b`, in `b` `deep`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.top = f"{cgroup2_mount()}/bpfjit-test-{os.getpid()}"
        self.made = [f"{self.top}{below}" for below in ("", "/b", "/b/deep", "/a")]
        if isinstance(world, Simulated):
            self.made = [path.replace(self.top, "/sys/fs/cgroup/top") for path in self.made]
        for path in self.made:
            self._do("mkdir", path)

    def _do(self, call: str, path: str) -> None:
        (getattr(self.world.kernel, call) if isinstance(self.world, Simulated) else getattr(os, call))(path)

    def id_of(self, below: str = "") -> int:
        path = self.made[0] + below
        return self.world.kernel.stat(path).st_ino if isinstance(self.world, Simulated) else os.stat(path).st_ino

    def remove(self, below: str) -> None:
        path = self.made[0] + below
        self._do("rmdir", path)
        self.made.remove(path)

    def walk(self, below: str = "", order: int = 2) -> int:
        return self.world.open(self.world.link("cgroups", order=order, cgroup_id=self.id_of(below)))

    def text(self, fd: int) -> str:
        return b"".join(self.world.drain(fd, 4096)).decode()


@pytest.fixture
def below(world: World) -> Iterator[Below]:
    made = Below(world)
    yield made
    for path in reversed(list(made.made)):
        made._do("rmdir", path)


def test_cgroup_output_past_one_buffer_is_eopnotsupp(below: Below) -> None:
    below.world.set(element_bytes=20000)
    fd = below.walk()
    assert len(below.world.read(fd, 65536)) == 20000
    for _ in range(2):
        with pytest.raises(OSError) as e:
            below.world.read(fd, 65536)
        assert e.value.errno == errno.EOPNOTSUPP


def test_removed_cgroup_leaves_only_the_end(below: Below) -> None:
    kn_id = below.id_of("/a")
    fd, link = below.walk("/a"), below.world.link("cgroups", order=2, cgroup_id=kn_id)
    below.remove("/a")
    assert below.text(fd) == "end\n"
    assert below.text(below.world.open(link)) == "end\n"
    assert attach_errno(below.world, "cgroups", order=2, cgroup_id=kn_id) == errno.ENOENT


def test_a_cgroup_removed_in_the_middle_of_a_walk(below: Below) -> None:
    """What has gone by the time its text is made is not shown; a walk is one buffer, made by the first read."""
    fd = below.walk()
    below.remove("/b/deep")
    assert len(below.text(fd).splitlines()) == 3 + 1


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


def test_one_thread_one_process_and_none(world: World, threads: list[int]) -> None:
    if isinstance(world, Simulated):
        for tid in threads:
            world.kernel.tasks.create(tid, tgid=threads[0])

    def walked(**info: int) -> list[str]:
        return b"".join(world.drain(world.open(world.link("tasks", **info)), 4096)).decode().splitlines()

    lines = [f"{tid} {threads[0]}" for tid in threads]
    assert walked(pid=threads[0]) == [*lines, "end"]
    assert walked(tid=threads[3]) == [lines[3], "end"]
    if isinstance(world, Simulated):
        pid_fd = pidfd_open(world.kernel, world.kernel.caller, threads[0])
    else:
        pid_fd = os.pidfd_open(threads[0])
    assert walked(pid_fd=pid_fd) == [*lines, "end"]
    world.bpf.close(pid_fd)
    assert walked(tid=0x3FFFFFFF) == walked(pid=0x3FFFFFFF) == ["end"]


def test_maps_come_by_ascending_id(world: World) -> None:
    text = b"".join(world.drain(world.open(world.link("maps")), 4096)).decode().splitlines()
    ids = [int(line.split()[0]) for line in text]
    assert ids == sorted(ids)
    assert "1000000" in {line.split()[1] for line in text}


_SIZES = {"key_size": 4, "value_size": 8, "max_entries": 4}
_KINDS = {
    uapi.BPF_MAP_TYPE_HASH: {},
    uapi.BPF_MAP_TYPE_ARRAY: {},
    uapi.BPF_MAP_TYPE_PERCPU_HASH: {},
    uapi.BPF_MAP_TYPE_PERCPU_ARRAY: {},
    uapi.BPF_MAP_TYPE_LRU_HASH: {},
    uapi.BPF_MAP_TYPE_LRU_PERCPU_HASH: {},
    uapi.BPF_MAP_TYPE_LPM_TRIE: {"key_size": 8, "map_flags": uapi.BPF_F_NO_PREALLOC},
    uapi.BPF_MAP_TYPE_QUEUE: {"key_size": 0},
    uapi.BPF_MAP_TYPE_STACK: {"key_size": 0},
    uapi.BPF_MAP_TYPE_BLOOM_FILTER: {"key_size": 0},
    uapi.BPF_MAP_TYPE_PROG_ARRAY: {"value_size": 4},
    uapi.BPF_MAP_TYPE_CGROUP_ARRAY: {"value_size": 4},
    uapi.BPF_MAP_TYPE_RINGBUF: {"key_size": 0, "value_size": 0, "max_entries": 4096},
}


@pytest.mark.parametrize("kind", _KINDS)
def test_elements_are_walked_of_the_kinds_of_map_that_linux_walks(elements: World, kind: int) -> None:
    shape = uapi.MapCreate(map_type=kind, **{**_SIZES, **_KINDS[kind]})
    fd = elements.bpf(uapi.BPF_MAP_CREATE, bytearray(shape.pack()))
    walked = kind in (1, 2, 5, 6, 9, 10)  # hash, array, each per CPU too, LRU hash, LRU per CPU
    try:
        if walked:
            assert elements.drain(elements.open(elements.link("silent", map_fd=fd)), 4096) == []
        else:
            assert attach_errno(elements, "silent", map_fd=fd) == errno.EINVAL
    finally:
        elements.bpf.close(fd)


@pytest.fixture
def subtree(live: object) -> Iterator[str]:
    """Empty cgroups of this machine, made for the test: the top one, two below, one below that."""
    top = f"{cgroup2_mount()}/bpfjit-test-{os.getpid()}"
    made = [f"{top}{below}" for below in ("", "/b", "/b/deep", "/a")]
    for path in made:
        os.mkdir(path)
    yield top
    for path in reversed(made):
        os.rmdir(path)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("start", ["", "/b"])
def test_a_subtree_of_cgroups_looks_the_same(walk_object: Path, subtree: str, order: int, start: str) -> None:
    texts = []
    real = Live(walk_object)
    fd = os.open(subtree + start, os.O_RDONLY | os.O_DIRECTORY)
    with real.obj:
        texts.append(b"".join(real.drain(real.open(real.link("cgroups", order=order, cgroup_fd=fd)), 4096)))
    kn_id = os.stat(fd).st_ino
    os.close(fd)
    with Kernel.from_host() as kernel:
        sim = Simulated(kernel, walk_object)
        with sim.obj:
            texts.append(b"".join(sim.drain(sim.open(sim.link("cgroups", order=order, cgroup_id=kn_id)), 4096)))
    assert texts[0] == texts[1] and len(texts[0].splitlines()) >= 2


def test_a_walk_of_a_million_elements_keeps_nothing(walk_object: Path) -> None:
    def resident_kib() -> int:
        return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1])

    with Kernel(tiered=False) as kernel:  # compiling in between would count
        world = Simulated(kernel, walk_object)
        with world.obj:
            world.set(element_bytes=16, again_key=0xFFFFFFFF)
            fd = world.walk("walk", "million")
            for _ in range(20):
                assert len(world.read(fd, 16000)) == 16000
            before, total = resident_kib(), 20 * 16000
            while data := world.read(fd, 1 << 16):
                total += len(data)
            assert total == 16_000_000
            # The map's pages are touched as they are read: 8 MB of values, and nothing of the 16 MB of output.
            assert resident_kib() - before < 10_000
