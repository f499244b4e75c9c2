"""The deprecated storage of cgroups: made and asked on both kernels; programs run in the simulated one alone."""

from __future__ import annotations

from collections.abc import Iterator
from errno import E2BIG, EINVAL, ENOENT
from typing import Any

import pytest
from bpf_calls import Calls, load_object, u32, u64

from bpfjit.btf import Kind
from bpfjit.btf.from_c import btf_from_c
from bpfjit.btf.write import write_btf
from bpfjit.errors import ENOTSUPP
from bpfjit.isa.encoding import CALL, EXIT, Insn, ld_imm64
from bpfjit.loader.bpf import Buffers
from bpfjit.spec.map_types import MAP_TYPE_NAMES
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel

SHARED, PERCPU = uapi.BPF_MAP_TYPE_CGROUP_STORAGE, uapi.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE
BOTH = pytest.mark.parametrize("map_type", [SHARED, PERCPU], ids=lambda t: MAP_TYPE_NAMES[t])
INGRESS, EGRESS = uapi.BPF_CGROUP_INET_INGRESS, uapi.BPF_CGROUP_INET_EGRESS


@BOTH
def test_shapes_that_map_create_takes(calls: Calls, map_type: int) -> None:
    def create(key: int = 16, value: int = 8, entries: int = 0, flags: int = 0, **more: int) -> int:
        return min(calls.create(map_type, key, value, entries, flags, **more), 0)

    keys = {0: EINVAL, 4: EINVAL, 8: 0, 12: EINVAL, 16: 0, 24: EINVAL}
    assert {key: -create(key=key) for key in keys} == keys
    values = {0: EINVAL, 1: 0, 7: 0, 32768: 0, 32769: E2BIG * (map_type == PERCPU), 65520: E2BIG, 1 << 30: E2BIG}
    assert {value: -create(value=value) for value in values} == values
    assert {n: -create(entries=n) for n in (0, 1, 100)} == {0: 0, 1: EINVAL, 100: EINVAL}
    access = {uapi.BPF_F_RDONLY, uapi.BPF_F_WRONLY, uapi.BPF_F_RDONLY_PROG, uapi.BPF_F_WRONLY_PROG}
    assert {1 << bit for bit in range(20) if not create(flags=1 << bit)} == access | {uapi.BPF_F_NUMA_NODE}
    assert create(flags=uapi.BPF_F_RDONLY | uapi.BPF_F_WRONLY) == create(map_extra=1) == create(map_ifindex=1) == -EINVAL
    inner = calls.create(map_type, 16, 8, 0)
    assert calls.create(uapi.BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, 1, inner_map_fd=inner) == -ENOTSUPP


TYPES = """
typedef unsigned long long u64; struct good { u64 id; unsigned int type; }; struct three { u64 a; int b; int c; };
struct swapped { unsigned int type; u64 id; }; struct longs { u64 a; u64 b; }; struct enough { u64 a; int b; };
"""


@BOTH
def test_what_btf_says_of_the_key(calls: Calls, map_type: int) -> None:
    types = btf_from_c(TYPES)
    data, buffers = write_btf(types), Buffers()
    fd = calls._own(calls.call(uapi.BPF_BTF_LOAD, uapi.BtfLoad(btf=buffers.put(data), btf_size=len(data))))
    value = types.find(Kind.INT, "unsigned long long") or types.find(Kind.INT, "long long unsigned int") or 0

    def create(key_size: int, key: int) -> int:
        more = {"btf_fd": fd, "btf_key_type_id": key, "btf_value_type_id": value}
        return min(calls.create(map_type, key_size, 8, 0, **more), 0)

    want = {"good": 0, "enough": 0, "three": -EINVAL, "swapped": -EINVAL, "longs": -EINVAL}
    assert {name: create(16, types.find(Kind.STRUCT, name) or 0) for name in want} == want
    assert create(8, value) == 0
    assert create(16, value) == create(16, 0) == create(8, types.find(Kind.STRUCT, "good") or 0) == -EINVAL


@BOTH
@pytest.mark.parametrize("key_size", [8, 16])
def test_values_come_with_programs_only(calls: Calls, map_type: int, key_size: int) -> None:
    fd, key, size = calls.create(map_type, key_size, 8, 0), bytes(key_size), calls.value_bytes(map_type, 8)
    assert calls.lookup(fd, key, size) == calls.take(fd, key, size) + ENOTSUPP - ENOENT == -ENOENT
    assert calls.delete(fd, key) == -EINVAL
    assert calls.next_key(fd, None, key_size) == calls.next_key(fd, key, key_size) == -ENOENT
    flags = {0: ENOENT, uapi.BPF_EXIST: ENOENT, uapi.BPF_NOEXIST: EINVAL, 3: EINVAL, uapi.BPF_F_LOCK: EINVAL, 8: EINVAL}
    assert {f: -calls.update(fd, key, bytes(size), f) for f in flags} == flags
    for command in ("LOOKUP", "UPDATE", "DELETE", "LOOKUP_AND_DELETE"):
        buffers, room = Buffers(), bytearray(256)
        attr = uapi.MapBatch(map_fd=fd, count=1, keys=buffers.put(room), values=buffers.put(room))
        assert calls.call(getattr(uapi, f"BPF_MAP_{command}_BATCH"), attr) == -ENOTSUPP


def using(calls: Calls, *fds: int) -> int:
    """A cgroup_skb program with these storages."""
    insns = []
    for fd in fds:
        insns += [*ld_imm64(1, fd, uapi.BPF_PSEUDO_MAP_FD), Insn(0xB7, 2), Insn(CALL, imm=81)]
    return calls.load(uapi.BPF_PROG_TYPE_CGROUP_SKB, [*insns, Insn(0xB7, 0, imm=1), Insn(EXIT)])


def test_programs_that_call_each_other_share_their_storage(calls: Calls) -> None:
    one, other = calls.create(SHARED, 8, 8, 0), calls.create(SHARED, 8, 8, 0)
    per_cpu = calls.create(PERCPU, 8, 8, 0)
    progs = calls.create(uapi.BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 4)
    assert calls.update(progs, u32(0), u32(using(calls, one))) == 0
    assert calls.update(progs, u32(1), u32(using(calls, one))) == 0
    assert calls.update(progs, u32(1), u32(using(calls))) == 0, "it has none to be found wrong"
    assert calls.update(progs, u32(1), u32(using(calls, other))) == -EINVAL
    assert calls.update(progs, u32(1), u32(using(calls, one, per_cpu))) == -EINVAL


class Counting:
    """tests/objects/cgroup_storage.bpf.c in a kernel with cgroups."""

    def __init__(self, engine: str) -> None:
        self.kernel = Kernel(2, engine=engine, tiered=False)
        self.calls = Calls(self.kernel.bpf, 2, self.kernel)
        self.object = load_object(self.calls, "cgroup_storage")
        self.web, self.api = (self.kernel.cgroups.create(path) for path in ("/web", "/web/api"))

    def attach(self, path: str, name: str, attach_type: int = INGRESS) -> None:
        fd = self.kernel.caller.fds.install(self.kernel.open(f"/sys/fs/cgroup{path}"))
        attr = uapi.ProgAttach(target_fd=fd, attach_bpf_fd=self.object.progs[name].fd, attach_type=attach_type)
        attr.attach_flags = uapi.BPF_F_ALLOW_MULTI
        assert self.calls.call(uapi.BPF_PROG_ATTACH, attr) == 0

    def happen(self, cgroup: Any, attach_type: int = INGRESS) -> int:
        return self.kernel.run_cgroup(attach_type, cgroup, bytearray(uapi.LAYOUTS["__sk_buff"].size))

    def value(self, name: str, key: bytes, size: int = 8) -> int | list[int]:
        found = self.calls.lookup(self.object.maps[name].fd, key, size)
        if isinstance(found, int):
            return found
        numbers = [int.from_bytes(found[i : i + 8], "little") for i in range(0, size, 8)]
        return numbers if len(numbers) > 1 else numbers[0]


@pytest.fixture(params=["jit", "interp"])
def counting(request: pytest.FixtureRequest) -> Iterator[Counting]:
    made = Counting(request.param)
    yield made
    made.object.close()
    made.calls.close_all()
    made.kernel.close()


def key_of(cgroup: Any, attach_type: int = INGRESS, behind: int = 0) -> bytes:
    return u64(cgroup.id) + u32(attach_type) + u32(behind)


def test_a_value_for_each_cgroup_and_attach_type(counting: Counting) -> None:
    counting.attach("/web", "count")
    counting.attach("/web", "count", EGRESS)
    assert counting.value("by_type", key_of(counting.web)) == 0, "there from the first"
    assert [counting.happen(counting.web) for _ in range(3)] == [0, -1, 0]
    assert counting.happen(counting.api) == -1, "below: the value of the cgroup that it is attached to"
    counting.happen(counting.web, EGRESS)
    assert counting.value("by_type", key_of(counting.web)) == 4
    assert counting.value("by_type", key_of(counting.web, behind=7)) == 4, "what stands behind is not looked at"
    assert counting.value("by_type", key_of(counting.web, EGRESS)) == 1
    assert counting.value("by_type", key_of(counting.api)) == -ENOENT
    per_cpu = counting.value("by_cpu", key_of(counting.web), 16)
    assert isinstance(per_cpu, list) and sum(per_cpu) == 40
    counting.attach("/web/api", "count")
    counting.happen(counting.api)
    assert counting.value("by_type", key_of(counting.api)) == 1
    assert counting.value("by_type", key_of(counting.web)) == 5
    fd = counting.object.maps["by_type"].fd
    keys = {key_of(counting.web), key_of(counting.web, EGRESS), key_of(counting.api)}
    assert set(counting.calls.keys(fd, 16)) == keys
    assert counting.calls.next_key(fd, bytes(16), 16) == -ENOENT


def test_one_value_for_all_attach_types_of_a_cgroup(counting: Counting) -> None:
    for attach_type in (INGRESS, EGRESS):
        counting.attach("/web", "shared", attach_type)
        counting.happen(counting.web, attach_type)
    assert counting.value("by_cgroup", u64(counting.web.id)) == 200
    assert counting.calls.keys(counting.object.maps["by_cgroup"].fd, 8) == [u64(counting.web.id)]


def test_syscalls_replace_what_is_there(counting: Counting) -> None:
    counting.attach("/web", "count")
    calls, by_type, by_cpu = counting.calls, counting.object.maps["by_type"].fd, counting.object.maps["by_cpu"].fd
    assert calls.update(by_type, key_of(counting.web), u64(7)) == 0
    assert calls.update(by_type, key_of(counting.web, behind=9), u64(8), uapi.BPF_EXIST) == 0
    assert calls.update(by_type, key_of(counting.api), u64(7)) == -ENOENT
    assert calls.update(by_cpu, key_of(counting.web), u64(1) + u64(1)) == 0
    counting.happen(counting.web)
    assert counting.value("by_type", key_of(counting.web)) == 9
    assert sorted(counting.value("by_cpu", key_of(counting.web), 16)) == [1, 11]  # type: ignore[arg-type]
    assert calls.delete(by_type, key_of(counting.web)) == -EINVAL


def test_values_outlive_the_attachment_and_go_with_the_cgroup(counting: Counting) -> None:
    counting.attach("/web/api", "count")
    counting.happen(counting.api)
    fd = counting.kernel.caller.fds.install(counting.kernel.open("/sys/fs/cgroup/web/api"))
    attr = uapi.ProgAttach(target_fd=fd, attach_bpf_fd=counting.object.progs["count"].fd, attach_type=INGRESS)
    assert counting.calls.call(uapi.BPF_PROG_DETACH, attr) == 0
    assert counting.value("by_type", key_of(counting.api)) == 1
    counting.kernel.cgroups.remove(counting.api)
    assert counting.value("by_type", key_of(counting.api)) == -ENOENT
    assert counting.calls.keys(counting.object.maps["by_cpu"].fd, 16) == []
