"""Maps of maps, prog arrays and cgroup arrays: what goes in, what comes out, tail calls; on both kernels."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Iterator
from errno import E2BIG, EAGAIN, EBADF, EEXIST, EINVAL, ENOENT
from typing import Any

import pytest
from bpf_calls import Calls, load_object, u32, u64

from bpfjit.errors import ENOTSUPP
from bpfjit.isa.encoding import CALL, EXIT, Insn, ld_imm64
from bpfjit.loader.bpf import Buffers
from bpfjit.spec.map_types import MAP_TYPE_NAMES
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel

ARRAY, HASH, PERCPU_ARRAY = uapi.BPF_MAP_TYPE_ARRAY, uapi.BPF_MAP_TYPE_HASH, uapi.BPF_MAP_TYPE_PERCPU_ARRAY
ARRAY_OF, HASH_OF = uapi.BPF_MAP_TYPE_ARRAY_OF_MAPS, uapi.BPF_MAP_TYPE_HASH_OF_MAPS
PROGS, CGROUPS, LPM = uapi.BPF_MAP_TYPE_PROG_ARRAY, uapi.BPF_MAP_TYPE_CGROUP_ARRAY, uapi.BPF_MAP_TYPE_LPM_TRIE
PACKET = bytes(14) + bytes(50)
ORDER = struct.Struct("<IIIIQ")


@pytest.fixture(params=["sim", "live", "interp"])
def each(request: pytest.FixtureRequest) -> Iterator[Calls]:
    """Both kernels, and ours with the checking interpreter."""
    if request.param != "interp":
        yield request.getfixturevalue(request.param)
        return
    with Kernel(2, engine="interp") as kernel:
        calls = Calls(kernel.bpf, 2, kernel)
        yield calls
        calls.close_all()


def maps_of(calls: Calls, kind: int, inner: int, entries: int = 4, flags: int = 0) -> int:
    return calls.create(kind, 4, 4, entries, flags, inner_map_fd=inner)


def ids(calls: Calls) -> set[int]:
    """The ids of all maps."""
    found, at = set(), 0
    while True:
        raw = bytearray(uapi.GetId(start_id=at).pack())
        if calls.call(uapi.BPF_MAP_GET_NEXT_ID, raw) < 0:
            return found
        at = uapi.GetId.unpack(raw).next_id
        found.add(at)


def eventually(holds: Callable[[], bool]) -> bool:
    """Linux frees maps from a work queue."""
    return any(holds() or time.sleep(0.01) for _ in range(300))


def signed(value: int) -> int:
    return value - (1 << 32) if value >> 31 else value


# -- creation --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ARRAY_OF, HASH_OF])
def test_what_may_be_an_inner_map(calls: Calls, kind: int) -> None:
    inner = calls.create(ARRAY, 4, 8, 4)
    outer = maps_of(calls, kind, inner)
    assert outer > 0
    assert maps_of(calls, kind, 9999) == -EBADF
    assert maps_of(calls, kind, outer) == -EINVAL, "one level only"
    assert maps_of(calls, kind, calls.create(PROGS, 4, 4, 4)) == -ENOTSUPP
    for map_type, key, value, flags in (
        (HASH, 4, 8, 0),
        (PERCPU_ARRAY, 4, 8, 0),
        (LPM, 8, 8, 1),
        (CGROUPS, 4, 4, 0),
        (uapi.BPF_MAP_TYPE_QUEUE, 0, 8, 0),
        (uapi.BPF_MAP_TYPE_BLOOM_FILTER, 0, 8, 0),
    ):
        fd = calls.create(map_type, key, value, 4, flags)
        assert (maps_of(calls, kind, fd) > 0, MAP_TYPE_NAMES[map_type]) == (True, MAP_TYPE_NAMES[map_type])


# (types, key, value, entries, flags, errno)
SHAPES = [
    ((ARRAY_OF, HASH_OF, PROGS, CGROUPS), 4, 8, 4, 0, EINVAL),
    ((ARRAY_OF, PROGS, CGROUPS), 8, 4, 4, 0, EINVAL),
    ((HASH_OF,), 8, 4, 4, 0, 0),
    ((ARRAY_OF, HASH_OF, PROGS, CGROUPS), 4, 4, 0, 0, EINVAL),
    ((HASH_OF,), 4, 4, 4, uapi.BPF_F_NO_PREALLOC, 0),
    ((ARRAY_OF, PROGS, CGROUPS), 4, 4, 4, uapi.BPF_F_NO_PREALLOC, EINVAL),
    ((ARRAY_OF, HASH_OF, PROGS, CGROUPS), 4, 4, 4, uapi.BPF_F_MMAPABLE, EINVAL),
    ((ARRAY_OF, HASH_OF, PROGS, CGROUPS), 4, 4, 4, uapi.BPF_F_RDONLY, 0),
    ((ARRAY_OF, PROGS, CGROUPS), 4, 4, 4, uapi.BPF_F_RDONLY_PROG, EINVAL),
    ((HASH_OF,), 4, 4, 4, uapi.BPF_F_RDONLY_PROG, 0),
    ((ARRAY_OF, HASH_OF, PROGS, CGROUPS), 4, 4, 4, uapi.BPF_F_INNER_MAP, EINVAL),
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "-".join(f"{n:x}" for n in s[1:5]))
def test_shapes_that_map_create_takes(calls: Calls, shape: tuple) -> None:
    types, key, value, entries, flags, want = shape
    inner = calls.create(ARRAY, 4, 8, 4)
    for map_type in types:
        fd = calls.create(map_type, key, value, entries, flags, inner_map_fd=inner)
        assert (min(fd, 0), MAP_TYPE_NAMES[map_type]) == (-want, MAP_TYPE_NAMES[map_type])


# -- elements -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ARRAY_OF, HASH_OF])
def test_a_map_goes_in_by_fd_and_comes_out_by_id(calls: Calls, kind: int) -> None:
    inner, other = calls.create(ARRAY, 4, 8, 4), calls.create(ARRAY, 4, 8, 4)
    outer = maps_of(calls, kind, inner)
    assert calls.lookup(outer, u32(0), 4) == -ENOENT
    assert calls.update(outer, u32(0), u32(inner)) == 0
    assert calls.lookup(outer, u32(0), 4) == u32(calls.info(inner)["id"])
    assert calls.update(outer, u32(0), u32(other)) == 0
    assert calls.lookup(outer, u32(0), 4) == u32(calls.info(other)["id"])
    assert calls.update(outer, u32(1), u32(9999)) == -EBADF
    assert calls.take(outer, u32(0), 4) == -ENOTSUPP
    assert calls.delete(outer, u32(0)) == 0
    assert calls.delete(outer, u32(0)) == -ENOENT
    assert calls.lookup(outer, u32(0), 4) == -ENOENT


def test_flags_and_bounds_of_updates(calls: Calls) -> None:
    inner = calls.create(ARRAY, 4, 8, 4)
    array, hashed = maps_of(calls, ARRAY_OF, inner, 2), maps_of(calls, HASH_OF, inner, 2)
    for flags in (uapi.BPF_NOEXIST, uapi.BPF_EXIST, 8):
        assert calls.update(array, u32(0), u32(inner), flags) == -EINVAL
        assert calls.update(array, u32(0), u32(9999), flags) == -EINVAL
    assert calls.update(array, u32(2), u32(9999)) == -E2BIG
    assert calls.delete(array, u32(2)) == -E2BIG
    assert calls.lookup(array, u32(2), 4) == -ENOENT
    assert calls.update(hashed, u32(0), u32(inner), uapi.BPF_EXIST) == -ENOENT
    assert calls.update(hashed, u32(0), u32(inner), uapi.BPF_NOEXIST) == 0
    assert calls.update(hashed, u32(0), u32(inner), uapi.BPF_NOEXIST) == -EEXIST
    assert calls.update(hashed, u32(1), u32(inner)) == 0
    assert calls.update(hashed, u32(2), u32(inner)) == -E2BIG
    assert calls.update(hashed, u32(2), u32(9999)) == -EBADF
    assert calls.keys(array, 4) == [u32(0), u32(1)]
    assert sorted(calls.keys(hashed, 4)) == [u32(0), u32(1)]


def test_inner_maps_must_be_alike(calls: Calls) -> None:
    outer = maps_of(calls, ARRAY_OF, calls.create(ARRAY, 4, 8, 4))
    free = maps_of(calls, ARRAY_OF, calls.create(ARRAY, 4, 8, 4, uapi.BPF_F_INNER_MAP))
    hashed = maps_of(calls, ARRAY_OF, calls.create(HASH, 4, 8, 4))
    cases = [
        (outer, (ARRAY, 4, 8, 4, 0), 0),
        (outer, (ARRAY, 4, 8, 5, 0), -EINVAL),
        (outer, (ARRAY, 4, 4, 4, 0), -EINVAL),
        (outer, (ARRAY, 4, 8, 4, uapi.BPF_F_RDONLY_PROG), -EINVAL),
        (outer, (PERCPU_ARRAY, 4, 8, 4, 0), -EINVAL),
        (free, (ARRAY, 4, 8, 99, uapi.BPF_F_INNER_MAP), 0),
        (free, (ARRAY, 4, 8, 4, 0), -EINVAL),
        (hashed, (HASH, 4, 8, 77, 0), 0),
        (hashed, (HASH, 8, 8, 4, 0), -EINVAL),
        (hashed, (HASH, 4, 8, 4, uapi.BPF_F_NO_PREALLOC), -EINVAL),
    ]
    for fd, shape, want in cases:
        assert (shape, calls.update(fd, u32(0), u32(calls.create(*shape)))) == (shape, want)


def test_the_outer_map_keeps_what_is_in_it_and_nothing_else(calls: Calls) -> None:
    inner, other = calls.create(ARRAY, 4, 8, 4), calls.create(ARRAY, 4, 8, 4)
    outer = maps_of(calls, HASH_OF, inner)
    template, kept = calls.info(inner)["id"], calls.info(other)["id"]
    assert calls.update(outer, u32(5), u32(other)) == 0
    calls.close(inner)
    calls.close(other)
    assert eventually(lambda: template not in ids(calls)), "the template was only looked at"
    assert kept in ids(calls)
    assert calls.delete(outer, u32(5)) == 0
    assert eventually(lambda: kept not in ids(calls))


def test_batches_of_maps(calls: Calls) -> None:
    inner = calls.create(ARRAY, 4, 8, 4)
    number = calls.info(inner)["id"]
    for kind in (ARRAY_OF, HASH_OF):
        fd = maps_of(calls, kind, inner, 3)
        buffers = Buffers()
        keys, values = buffers.put(u32(0) + u32(1) + u32(2)), buffers.put(u32(inner) * 3)
        assert calls.call(uapi.BPF_MAP_UPDATE_BATCH, uapi.MapBatch(map_fd=fd, keys=keys, values=values, count=3)) == 0
        out_keys, out_values, token = bytearray(40), bytearray(40), bytearray(8)
        attr = uapi.MapBatch(
            map_fd=fd, keys=buffers.put(out_keys), values=buffers.put(out_values), count=8, out_batch=buffers.put(token)
        )
        assert calls.call(uapi.BPF_MAP_LOOKUP_BATCH, attr) == -ENOENT
        assert bytes(out_values[:12]) == u32(number) * 3


def test_cgroups_and_programs_have_no_batches_and_cgroups_no_ids(calls: Calls) -> None:
    for kind in (PROGS, CGROUPS):
        fd = calls.create(kind, 4, 4, 4)
        for cmd in (24, 25, 26, 27):
            assert calls.call(cmd, uapi.MapBatch(map_fd=fd, count=1)) == -ENOTSUPP
        assert calls.update(fd, u32(0), u32(9999)) == -EBADF
        assert calls.update(fd, u32(0), u32(fd)) in (-EINVAL, -EBADF)
        assert calls.update(fd, u32(4), u32(9999)) == -E2BIG
        assert calls.delete(fd, u32(0)) == -ENOENT
    assert calls.lookup(fd, u32(0), 4) == -ENOTSUPP


# -- from programs ------------------------------------------------------------------------------------------------


def test_programs_go_through_maps_of_maps(each: Calls) -> None:
    obj = load_object(each, "held_maps", only=["through"])

    def through(hashed: int, outer: int, key: int, write: int = 0, value: int = 0) -> tuple[int, int]:
        ran = each.run(obj.progs["through"].fd, ctx=ORDER.pack(hashed, outer, key, write, value))
        assert ran.result == 0
        return signed(ran.retval), ORDER.unpack(ran.ctx)[4]

    first, second = obj.maps["first"], obj.maps["second"]
    first.update(u32(2), u64(42))
    assert through(0, 1, 2) == (0, 42), "what the object put there"
    assert through(0, 0, 2)[0] == -1
    assert through(0, 9, 2)[0] == -1
    assert through(0, 1, 9)[0] == -2
    assert through(0, 1, 3, 1, 77)[0] == 0
    assert first.lookup(u32(3)) == u64(77)
    assert through(0, 1, 9, 1, 77)[0] == -E2BIG
    assert through(1, 7, 0)[0] == -1
    assert each.update(obj.maps["hash_of"].fd, u64(7), u32(second.fd)) == 0
    second.update(u32(0), u64(5))
    assert through(1, 7, 0) == (0, 5)
    assert each.delete(obj.maps["hash_of"].fd, u64(7)) == 0
    assert through(1, 7, 0)[0] == -1
    obj.close()


class Chain:
    """The programs of held_maps.bpf.c with their prog array."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.object = load_object(calls, "held_maps")
        self.array = self.object.maps["programs"].fd
        self.counts = self.object.maps["counts"]

    def put(self, index: int, name: str) -> int:
        return self.calls.update(self.array, u32(index), u32(self.object.progs[name].fd))

    def run(self, name: str, first: int = 0) -> int:
        ran = self.calls.run(self.object.progs[name].fd, bytes(14) + bytes([first]) + bytes(49))
        assert ran.result == 0
        return ran.retval

    def counted(self, which: int) -> int:
        """How often since it was last asked for."""
        found = int.from_bytes(self.counts.lookup(u32(which)), "little")
        self.counts.update(u32(which), u64(0))
        return found


@pytest.fixture
def chain(each: Calls) -> Iterator[Chain]:
    made = Chain(each)
    yield made
    made.object.close()


def test_a_chain_has_33_tail_calls(chain: Chain) -> None:
    assert chain.run("again") == 1000
    assert chain.counted(0) == 1, "an empty slot: it goes on itself"
    assert chain.put(0, "again") == 0
    assert chain.run("again") == 1000
    assert chain.counted(0) == 34
    assert chain.run("again") == 1000
    assert chain.counted(0) == 34, "the next run counts anew"


def test_the_program_called_returns_in_its_callers_place(chain: Chain) -> None:
    assert chain.put(1, "seven") == 0
    assert chain.run("choose", 1) == 7
    assert chain.run("choose", 2) == 102
    assert chain.run("choose", 200) == 300
    assert chain.counted(1) == 1
    assert chain.calls.delete(chain.array, u32(1)) == 0
    assert chain.run("choose", 1) == 101


def test_from_a_function_only_the_function_is_left(chain: Chain) -> None:
    assert chain.put(1, "seven") == 0
    assert chain.run("from_function") == 3000 + 100 * 7 + 25
    assert [chain.counted(i) for i in (1, 2, 3)] == [1, 2, 1]


def test_the_limit_is_of_the_whole_tree_of_calls(chain: Chain) -> None:
    assert chain.put(5, "fan_out") == 0
    chain.run("fan_out")
    assert chain.counted(0) == 2 * 34


def test_ids_of_programs_come_out(chain: Chain) -> None:
    assert chain.put(1, "seven") == 0
    raw = chain.calls.lookup(chain.array, u32(1), 4)
    assert isinstance(raw, bytes) and int.from_bytes(raw, "little") > 0
    assert chain.calls.lookup(chain.array, u32(0), 4) == -ENOENT
    assert chain.calls.take(chain.array, u32(1), 4) == -ENOTSUPP


def test_all_programs_of_an_array_are_of_one_kind(chain: Chain) -> None:
    assert chain.put(2, "other_kind") == -EINVAL
    fresh = chain.calls.create(PROGS, 4, 4, 4)
    assert chain.calls.update(fresh, u32(0), u32(chain.object.progs["other_kind"].fd)) == 0
    assert chain.calls.update(fresh, u32(0), u32(chain.object.progs["seven"].fd)) == -EINVAL, "the first one decided"


def test_a_prog_array_is_emptied_when_its_last_fd_goes(each: Calls) -> None:
    """A program that uses the array keeps the map, not its contents."""
    obj = load_object(each, "held_maps", only=["again", "seven"])
    programs, counts = obj.maps["programs"].fd, obj.maps["counts"]
    number = each.info(programs)["id"]
    assert each.update(programs, u32(0), u32(obj.progs["again"].fd)) == 0
    assert each.run(obj.progs["again"].fd, PACKET).retval == 1000
    assert counts.lookup(u32(0)) == u64(34)
    each.bpf.close(programs)

    def chain_of_one() -> bool:
        counts.update(u32(0), u64(0))
        assert each.run(obj.progs["again"].fd, PACKET).retval == 1000
        return bool(counts.lookup(u32(0)) == u64(1))

    assert eventually(chain_of_one)
    again = each.call(uapi.BPF_MAP_GET_FD_BY_ID, uapi.GetId(start_id=number))
    assert again >= 0
    assert each.lookup(again, u32(0), 4) == -ENOENT
    obj.maps["programs"].fd = again
    obj.close()


def test_the_current_task_is_looked_for_beneath_a_cgroup(sim: Calls) -> None:
    """Ours alone: on the live kernel no cgroup is ours to hold, and a test run's task is whoever runs the tests."""
    kernel: Any = sim.kernel
    kernel.tasks.create(os.getpid(), "pytest", kernel.cgroups.create("/web/api"))
    array = sim.create(CGROUPS, 4, 4, 4)
    kernel.cgroups.create("/batch")
    for i, path in enumerate(("/sys/fs/cgroup/web", "/sys/fs/cgroup", "/sys/fs/cgroup/batch")):
        fd = kernel.caller.fds.install(kernel.open(path))
        assert sim.update(array, u32(i), u32(fd)) == 0

    def ask(index: int) -> int:
        insns = [*ld_imm64(1, array, uapi.BPF_PSEUDO_MAP_FD), Insn(0xB7, 2, 0, 0, index), Insn(CALL, imm=37), Insn(EXIT)]
        fd = sim.load(uapi.BPF_PROG_TYPE_RAW_TRACEPOINT, insns)
        assert fd > 0, sim.log
        return signed(sim.run(fd).retval)

    assert [ask(i) for i in range(5)] == [1, 1, 0, -EAGAIN, -E2BIG]
