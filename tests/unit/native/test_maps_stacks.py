"""Stack traces: what maps of them take and keep, on both kernels; what a simulated task's stacks are."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from errno import E2BIG, EEXIST, EFAULT, EINVAL, ENOENT, ENOMEM
from typing import Any

import pytest
from bpf_calls import Calls, load_object, u32

from bpfjit.errors import ENOTSUPP
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel

STACKS, BUILD_ID = uapi.BPF_MAP_TYPE_STACK_TRACE, uapi.BPF_F_STACK_BUILD_ID
USER, FAST, REUSE, USER_BUILD_ID = 1 << 8, 1 << 9, 1 << 10, 1 << 11

# (key, value, entries, flags, errno)
SHAPES = [
    (4, 80, 10, 0, 0),
    (4, 8, 1, 0, 0),
    (4, 127 * 8, 1, 0, 0),
    (4, 64, 4, BUILD_ID, 0),
    (4, 127 * 32, 4, BUILD_ID, 0),
    (4, 80, 10, uapi.BPF_F_RDONLY, 0),
    (4, 80, 10, uapi.BPF_F_NUMA_NODE, 0),
    (8, 80, 10, 0, EINVAL),
    (4, 81, 10, 0, EINVAL),
    (4, 0, 10, 0, EINVAL),
    (4, 4, 10, 0, EINVAL),
    (4, 128 * 8, 1, 0, EINVAL),
    (4, 40, 4, BUILD_ID, EINVAL),
    (4, 128 * 32, 4, BUILD_ID, EINVAL),
    (4, 80, 0, 0, EINVAL),
    (4, 80, 10, uapi.BPF_F_NO_PREALLOC, EINVAL),
    (4, 80, 10, uapi.BPF_F_RDONLY_PROG, EINVAL),
    (4, 80, (1 << 31) + 1, 0, E2BIG),
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "-".join(f"{n:x}" for n in s[:4]))
def test_shapes_that_map_create_takes(calls: Calls, shape: tuple[int, ...]) -> None:
    *wanted, error = shape
    assert min(calls.create(STACKS, *wanted), 0) == -error


def test_only_programs_put_stacks_in(calls: Calls) -> None:
    fd = calls.create(STACKS, 4, 80, 10)
    for key in (0, 15, 16, 100):
        assert calls.lookup(fd, u32(key), 80) == -ENOENT
        assert calls.update(fd, u32(key), bytes(80)) == -EINVAL
        assert calls.delete(fd, u32(key)) == (-E2BIG if key > 15 else -ENOENT)
        assert calls.take(fd, u32(key), 80) == -ENOENT
        assert calls.next_key(fd, u32(key), 4) == -ENOENT
    assert calls.next_key(fd, None, 4) == -ENOENT
    for cmd in (24, 25, 26, 27):
        assert calls.call(cmd, uapi.MapBatch(map_fd=fd, count=1)) == -ENOTSUPP


class Stacks:
    """tests/objects/stacks.bpf.c in one kernel; this process is a task of it."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        kernel: Any = calls.kernel
        if kernel is not None:
            self.task = kernel.tasks.create(os.getpid(), "pytest", kernel.cgroups.root)
            self.task.set_stack([0xFFFFFFFF81000010 + i for i in range(6)], [0x400000, 0x500000])
        self.object = load_object(calls, "stacks")
        self.stacks, self.build_ids = (self.object.maps[name].fd for name in ("stacks", "build_ids"))

    def run(self, name: str, flags: int = 0, size: int = 0) -> int:
        ran = self.calls.run(self.object.progs[name].fd, ctx=struct.pack("<QQ", flags, size))
        assert ran.result == 0
        return ran.retval - (1 << 32) if ran.retval >> 31 else ran.retval

    def out(self) -> tuple[int, ...]:
        return struct.unpack("<16Q", self.object.maps["stacks.bss"].lookup(bytes(4)))

    def kept(self, id_: int) -> tuple[int, ...]:
        found = self.calls.lookup(self.stacks, u32(id_), 32)
        assert isinstance(found, bytes), found
        return struct.unpack("<4Q", found)


@pytest.fixture(params=["sim", "live", "interp"])
def stacks(request: pytest.FixtureRequest) -> Iterator[Stacks]:
    kernel = Kernel(2, engine="interp") if request.param == "interp" else None
    calls = Calls(kernel.bpf, 2, kernel) if kernel is not None else request.getfixturevalue(request.param)
    made = Stacks(calls)
    yield made
    made.object.close()
    if kernel is not None:
        kernel.close()


def test_one_stack_has_one_number(stacks: Stacks) -> None:
    calls, fd = stacks.calls, stacks.stacks
    first = stacks.run("id")
    assert 0 <= first < 2
    assert stacks.run("id") == stacks.run("id", FAST) == stacks.run("id", REUSE) == first
    assert all(stacks.kept(first)), "as many addresses as a value has room for"
    assert calls.next_key(fd, None, 4) == u32(first)
    assert calls.next_key(fd, u32(first), 4) == -ENOENT
    assert isinstance(calls.take(fd, u32(first), 32), bytes)
    assert calls.lookup(fd, u32(first), 32) == calls.delete(fd, u32(first)) == -ENOENT
    assert stacks.run("id") == first
    assert calls.delete(fd, u32(first)) == 0


def test_addresses_are_skipped(stacks: Stacks) -> None:
    whole = stacks.kept(stacks.run("id"))
    assert stacks.calls.delete(stacks.stacks, u32(stacks.run("id"))) == 0
    assert stacks.kept(stacks.run("id", 1))[:3] == whole[1:]
    assert stacks.run("id", 0xFF) == -EFAULT, "deeper than any stack"


def test_unknown_flags(stacks: Stacks) -> None:
    assert stacks.run("id", USER_BUILD_ID) == stacks.run("id", 1 << 12) == -EINVAL
    assert stacks.run("write_out", FAST, 64) == stacks.run("write_out", REUSE, 64) == -EINVAL
    assert stacks.run("write_out", USER_BUILD_ID, 64) == -EINVAL, "the kernel's code has none"
    assert stacks.run("write_out", 0, 60) == stacks.run("write_out", USER | USER_BUILD_ID, 40) == -EINVAL


def test_a_stack_is_written_out(stacks: Stacks) -> None:
    assert stacks.run("write_out", 0, 24) == 24
    three = stacks.out()[:3]
    assert all(three)
    assert stacks.run("write_out", 1, 16) == 16
    assert stacks.out()[:2] == three[1:]
    assert stacks.run("write_out", 0, 0) == 0
    assert stacks.run("write_out", 200, 64) == -EFAULT
    assert stacks.out()[:8] == (0,) * 8
    assert stacks.run("of_a_task") == 64 or not stacks.calls.is_live
    assert stacks.run("of_a_task", 1 << 12) == -EINVAL


def test_build_ids_of_what_has_none_are_addresses(stacks: Stacks) -> None:
    id_ = stacks.run("build_id")
    found = stacks.calls.lookup(stacks.build_ids, u32(id_), 128)
    assert isinstance(found, bytes)
    status, build_id, address = struct.unpack_from("<i20sQ", found)
    assert (status, build_id) == (2, bytes(20)) and address >> 63


def test_a_tasks_stacks_are_what_was_said_of_it(sim: Calls) -> None:
    s = Stacks(sim)
    assert s.kept(s.run("id")) == tuple(0xFFFFFFFF81000010 + i for i in range(4))
    sim.delete(s.stacks, u32(s.run("id")))
    assert s.kept(s.run("id", USER)) == (0x400000, 0x500000, 0, 0)
    sim.delete(s.stacks, u32(s.run("id", USER)))
    assert s.run("of_a_task") == 48
    assert s.run("write_out", USER | USER_BUILD_ID, 64) == 64
    assert struct.unpack("<i20sQi20sQ", struct.pack("<8Q", *s.out()[:8])) == (2, bytes(20), 0x400000, 2, bytes(20), 0x500000)
    s.task.set_stack()
    assert s.run("id") == s.run("id", USER) == -EFAULT
    assert s.run("write_out", 0, 64) == 0
    with pytest.raises(OSError) as refused:
        s.task.set_stack(range(128))
    assert refused.value.errno == E2BIG
    s.object.close()


def test_two_stacks_of_one_number(sim: Calls) -> None:
    s = Stacks(sim)
    seen: dict[int, list[int]] = {}
    for address in range(1, 40):  # two buckets: some of these meet
        s.task.set_stack([address])
        got = s.run("id")
        if got < 0:
            assert got == -EEXIST
            assert s.run("id", FAST) == -EEXIST
            break
        seen.setdefault(got, []).append(address)
    else:
        pytest.fail("no two stacks have met")
    if len(seen) == 2:
        assert s.run("id", REUSE) == -ENOMEM, "the new one is taken before the old one is given back"
        other = next(iter(seen))
        sim.delete(s.stacks, u32(other))
    again = s.run("id", REUSE)
    assert again >= 0 and s.kept(again) == (address, 0, 0, 0)
    s.object.close()


def test_a_scenario_says_a_tasks_stacks(tmp_path: Any) -> None:
    file = tmp_path / "s.toml"
    file.write_text("[[task]]\npid = 7\nkernel_stack = [0xffffffff81000000]\nuser_stack = [1, 2]\n")
    with Kernel.from_scenario(file) as kernel:
        task = kernel.tasks.find(7)
        assert task is not None and task.c.stack
    for bad in ("[-1]", '["x"]', "[1.5]", str(list(range(128)))):
        file.write_text(f"[[task]]\npid = 7\nkernel_stack = {bad}\n")
        with pytest.raises(Exception, match="kernel_stack") as refused:
            Kernel.from_scenario(file)
        assert "127 addresses" in str(refused.value)
