"""Maps through bpf(2): the same tests on the simulated and on the live kernel."""

from __future__ import annotations

import random
import struct
from errno import E2BIG, EBADF, EEXIST, EFAULT, EINVAL, ENOENT, EOPNOTSUPP, EPERM

import pytest
from bpf_calls import Calls, u32, u64

from bpfjit.loader.bpf import Buffers
from bpfjit.spec.map_types import MAP_TYPE_NAMES
from bpfjit.uapi import bpf as uapi

HASH, ARRAY = uapi.BPF_MAP_TYPE_HASH, uapi.BPF_MAP_TYPE_ARRAY
PERCPU_HASH, PERCPU_ARRAY, LRU = uapi.BPF_MAP_TYPE_PERCPU_HASH, uapi.BPF_MAP_TYPE_PERCPU_ARRAY, uapi.BPF_MAP_TYPE_LRU_HASH
PERCPU_LRU = uapi.BPF_MAP_TYPE_LRU_PERCPU_HASH
HASHES, ARRAYS, LRUS = (HASH, PERCPU_HASH), (ARRAY, PERCPU_ARRAY), (LRU, PERCPU_LRU)
ALL = (*HASHES, *LRUS, *ARRAYS)
NAMES = MAP_TYPE_NAMES
ENOTSUPP = 524
MIB4 = 1 << 22


def each(*types: int) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("map_type", types, ids=[NAMES[t] for t in types])


# -- creation: (types, key, value, entries, flags, further attrs, errno) ----------------------------------

SHAPES = [
    (ALL, 0, 8, 1, 0, {}, EINVAL),
    (ALL, 4, 0, 1, 0, {}, EINVAL),
    (ALL, 4, 8, 0, 0, {}, EINVAL),
    (ARRAYS, 8, 8, 1, 0, {}, EINVAL),
    (ARRAYS, 3, 8, 1, 0, {}, EINVAL),
    ((*HASHES, *LRUS), 1, 1, 1, 0, {}, 0),
    ((*HASHES, *LRUS), 513, 7, 4, 0, {}, 0),
    ((HASH, LRU), 4, MIB4 - 48 - 5, 1, 0, {}, 0),
    ((HASH, LRU), 4, MIB4 - 48 - 4, 1, 0, {}, E2BIG),
    ((HASH, LRU), MIB4, 8, 1, 0, {}, E2BIG),
    ((HASH, LRU), 0xFFFFFFFF, 8, 1, 0, {}, E2BIG),
    ((PERCPU_HASH, PERCPU_LRU, PERCPU_ARRAY), 4, 32768, 1, 0, {}, 0),
    ((PERCPU_HASH, PERCPU_LRU, PERCPU_ARRAY), 4, 32769, 1, 0, {}, E2BIG),
    (ALL, 4, 0x80000000, 1, 0, {}, E2BIG),
    (ALL, 4, 0xFFFFFFFF, 1, 0, {}, E2BIG),
    ((*HASHES, *LRUS), 4, 8, 0x80000001, 0, {}, E2BIG),
    ((HASH, PERCPU_HASH), 4, 8, 4, uapi.BPF_F_NO_PREALLOC, {}, 0),
    (LRUS, 4, 8, 4, uapi.BPF_F_NO_PREALLOC, {}, ENOTSUPP),
    (LRUS, 4, 8, 4, uapi.BPF_F_NO_COMMON_LRU, {}, 0),
    ((HASH, PERCPU_HASH, ARRAY, PERCPU_ARRAY), 4, 8, 4, uapi.BPF_F_NO_COMMON_LRU, {}, EINVAL),
    (ARRAYS, 4, 8, 4, uapi.BPF_F_NO_PREALLOC, {}, EINVAL),
    ((*HASHES, *LRUS), 4, 8, 4, uapi.BPF_F_ZERO_SEED, {}, 0),
    (ARRAYS, 4, 8, 4, uapi.BPF_F_ZERO_SEED, {}, EINVAL),
    ((ARRAY,), 4, 8, 4, uapi.BPF_F_MMAPABLE, {}, 0),
    ((HASH, PERCPU_HASH, LRU, PERCPU_ARRAY), 4, 8, 4, uapi.BPF_F_MMAPABLE, {}, EINVAL),
    ((ARRAY,), 4, 8, 4, uapi.BPF_F_INNER_MAP, {}, 0),
    ((HASH, PERCPU_ARRAY), 4, 8, 4, uapi.BPF_F_INNER_MAP, {}, EINVAL),
    (ALL, 4, 8, 4, uapi.BPF_F_PRESERVE_ELEMS, {}, EINVAL),
    (ALL, 4, 8, 4, 1 << 31, {}, EINVAL),
    (ALL, 4, 8, 4, uapi.BPF_F_RDONLY | uapi.BPF_F_WRONLY, {}, EINVAL),
    (ALL, 4, 8, 4, uapi.BPF_F_RDONLY_PROG | uapi.BPF_F_WRONLY_PROG, {}, EINVAL),
    (ALL, 4, 8, 4, uapi.BPF_F_RDONLY | uapi.BPF_F_WRONLY_PROG, {}, 0),
    (ALL, 4, 8, 4, 0, {"numa_node": 1}, 0),
    ((HASH, LRU, ARRAY), 4, 8, 4, uapi.BPF_F_NUMA_NODE, {"numa_node": 0}, 0),
    (ALL, 4, 8, 4, uapi.BPF_F_NUMA_NODE, {"numa_node": 4000}, EINVAL),
    (ALL, 4, 8, 4, uapi.BPF_F_NUMA_NODE, {"numa_node": 0xFFFFFFFF}, 0),
    ((PERCPU_HASH, PERCPU_ARRAY), 4, 8, 4, uapi.BPF_F_NUMA_NODE, {"numa_node": 0}, EINVAL),
    (ALL, 4, 8, 4, 0, {"map_extra": 1}, EINVAL),
    ((HASH, ARRAY), 4, 8, 4, 0, {"map_ifindex": 1}, EOPNOTSUPP),
    ((PERCPU_HASH, PERCPU_ARRAY, LRU), 4, 8, 4, 0, {"map_ifindex": 1}, EINVAL),
    (ALL, 4, 8, 4, 0, {"inner_map_fd": 5}, 0),
    (ALL, 4, 8, 4, 0, {"btf_fd": 9999}, 0),
    (ALL, 4, 8, 4, 0, {"btf_fd": 9999, "btf_key_type_id": 1}, EINVAL),
    (ALL, 4, 8, 4, 0, {"btf_fd": 9999, "btf_value_type_id": 1}, EBADF),
    (ALL, 4, 8, 4, 0, {"btf_vmlinux_value_type_id": 1}, EINVAL),
    (ALL, 4, 8, 4, 0, {"excl_prog_hash_size": 32}, EINVAL),
    (ALL, 4, 8, 4, 0, {"map_name": b"a b"}, EINVAL),
    (ALL, 4, 8, 4, 0, {"map_name": b"a-b"}, EINVAL),
    (ALL, 4, 8, 4, 0, {"map_name": b"x" * 16}, EINVAL),
    (ALL, 4, 8, 4, 0, {"map_name": b"x" * 15}, 0),
    (ALL, 4, 8, 4, 0, {"map_name": b"a.b_9\0-"}, 0),
    ((0, 34, 99, 0xFFFFFFFF), 4, 8, 4, 0, {}, EINVAL),
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: f"{s[1]:x}-{s[2]:x}-{s[3]:x}-{s[4]:x}-{','.join(s[5])}")
def test_shapes_that_map_create_takes(calls: Calls, shape: tuple) -> None:
    types, key, value, entries, flags, more, want = shape
    for map_type in types:
        fd = calls.create(map_type, key, value, entries, flags, **more)
        assert (min(fd, 0), map_type) == (-want, map_type)


def test_a_map_that_the_machine_has_no_memory_for_is_refused(sim: Calls) -> None:
    for map_type in ALL:
        assert sim.create(map_type, 4, 4096, 1 << 31) < 0


# -- elements -------------------------------------------------------------------------------------------


@each(*ALL)
def test_update_flags_decide_by_presence(calls: Calls, map_type: int) -> None:
    fd = calls.create(map_type, 4, 12, 2)
    size = calls.value_bytes(map_type, 12)
    present = map_type in ARRAYS  # an array's elements are always there
    value = bytes([1]) * size
    assert calls.update(fd, u32(0), value, uapi.BPF_EXIST) == (0 if present else -ENOENT)
    assert calls.update(fd, u32(0), value, uapi.BPF_NOEXIST) == (-EEXIST if present else 0)
    assert calls.update(fd, u32(0), value, uapi.BPF_NOEXIST) == -EEXIST
    assert calls.update(fd, u32(0), value, uapi.BPF_EXIST) == 0
    for bad in (uapi.BPF_NOEXIST | uapi.BPF_EXIST, uapi.BPF_F_LOCK, 8, 1 << 32, 1 << 63):
        assert calls.update(fd, u32(0), value, bad) == -EINVAL
    for bad in (1, 2, uapi.BPF_F_LOCK, 8, 1 << 32):
        assert calls.lookup(fd, u32(0), size, bad) == -EINVAL


@each(*ALL)
def test_values_come_back_as_they_went_in(calls: Calls, map_type: int) -> None:
    rng = random.Random(3)
    for value_size in (1, 3, 7, 8, 12, 513):
        fd = calls.create(map_type, 4, value_size, 8)
        size = calls.value_bytes(map_type, value_size)
        stride = -(-value_size // 8) * 8
        for key in range(4):
            value = rng.randbytes(size)
            assert calls.update(fd, u32(key), value) == 0
            back = calls.lookup(fd, u32(key), size)
            assert isinstance(back, bytes)
            if size == value_size:
                assert back == value
            else:  # every CPU's part; what pads it to 8 bytes need not survive
                for cpu in range(calls.cpus):
                    assert back[cpu * stride :][:value_size] == value[cpu * stride :][:value_size]
        calls.close(fd)


@each(*HASHES, *LRUS)
def test_keys_of_odd_sizes_differ_in_every_byte(calls: Calls, map_type: int) -> None:
    for size in (1, 3, 5, 7, 8, 9, 12, 16, 17, 512, 513):
        fd = calls.create(map_type, size, 8, 600)
        value = bytes(calls.value_bytes(map_type, 8))
        keys = [bytes(size)] + [bytes(i) + b"\x01" + bytes(size - i - 1) for i in range(0, size, 1 + size // 9)]
        for key in keys:
            assert calls.update(fd, key, value, uapi.BPF_NOEXIST) == 0
        for key in keys:
            assert calls.lookup(fd, key, len(value)) == value
        assert sorted(calls.keys(fd, size)) == sorted(keys)
        calls.close(fd)


@each(*HASHES)
def test_a_full_hash_is_e2big_until_something_is_deleted(calls: Calls, map_type: int) -> None:
    for entries in (1, 2, 7, 8, 100):
        fd = calls.create(map_type, 4, 8, entries)
        value = bytes(calls.value_bytes(map_type, 8))
        for key in range(entries):
            assert calls.update(fd, u32(key), value) == 0
        for flags, want in ((0, -E2BIG), (uapi.BPF_NOEXIST, -E2BIG), (uapi.BPF_EXIST, -ENOENT)):
            assert calls.update(fd, u32(entries), value, flags) == want
        assert calls.update(fd, u32(0), value) == 0, "replacing needs no room"
        assert calls.delete(fd, u32(0)) == 0
        assert calls.update(fd, u32(entries), value) == 0
        assert calls.update(fd, u32(0), value) == -E2BIG
        calls.close(fd)


@each(*ARRAYS)
def test_an_array_has_all_its_elements_and_deletes_none(calls: Calls, map_type: int) -> None:
    fd = calls.create(map_type, 4, 8, 3)
    size = calls.value_bytes(map_type, 8)
    assert calls.keys(fd, 4) == [u32(0), u32(1), u32(2)]
    assert calls.lookup(fd, u32(2), size) == bytes(size)
    assert calls.lookup(fd, u32(3), size) == -ENOENT
    assert calls.update(fd, u32(3), bytes(size)) == -E2BIG
    assert calls.delete(fd, u32(0)) == -EINVAL
    assert calls.delete(fd, u32(9)) == -EINVAL
    assert calls.next_key(fd, u32(0xFFFFFFFF), 4) == u32(0)


@each(*HASHES, *LRUS)
def test_deletes_and_misses(calls: Calls, map_type: int) -> None:
    fd = calls.create(map_type, 4, 8, 16)
    value = bytes(calls.value_bytes(map_type, 8))
    assert calls.lookup(fd, u32(1), len(value)) == -ENOENT
    assert calls.delete(fd, u32(1)) == -ENOENT
    assert calls.next_key(fd, None, 4) == -ENOENT
    assert calls.update(fd, u32(1), value) == 0
    assert calls.delete(fd, u32(1)) == 0
    assert calls.delete(fd, u32(1)) == -ENOENT


@each(*HASHES, *LRUS)
def test_a_walk_over_the_keys_meets_each_once_and_starts_again_from_one_that_is_gone(calls: Calls, map_type: int) -> None:
    fd = calls.create(map_type, 8, 8, 4000)
    value = bytes(calls.value_bytes(map_type, 8))
    for n in range(300):
        assert calls.update(fd, u64(n * 7919), value) == 0
    keys = calls.keys(fd, 8)
    assert sorted(keys) == sorted(u64(n * 7919) for n in range(300))
    first = keys[0]
    assert calls.next_key(fd, u64(1), 8) == first, "a key that is not there: from the start"
    assert calls.next_key(fd, keys[-1], 8) == -ENOENT
    assert calls.delete(fd, keys[5]) == 0
    assert calls.next_key(fd, keys[5], 8) == first
    assert calls.next_key(fd, keys[4], 8) == keys[6]


def test_lru_takes_every_update_and_keeps_no_more_than_it_has_room_for(calls: Calls) -> None:
    for entries in (1, 2, 10, 500):
        fd = calls.create(LRU, 4, 8, entries)
        for n in range(entries * 3 + 50):
            assert calls.update(fd, u32(n), u64(n)) == 0
            assert calls.lookup(fd, u32(n), 8) == u64(n), "the newest is there"
        assert 1 <= len(calls.keys(fd, 4)) <= entries
        calls.close(fd)


def test_long_churn_never_runs_out_of_room(sim: Calls) -> None:
    """Overflow buckets come back: no key set of the past leaves less room for the next."""
    fd = sim.create(HASH, 8, 8, 64)
    rng = random.Random(5)
    for _ in range(300):
        keys = [u64(rng.getrandbits(64)) for _ in range(64)]
        assert [sim.update(fd, key, u64(1)) for key in keys] == [0] * 64
        assert len(sim.keys(fd, 8)) == 64
        assert [sim.delete(fd, key) for key in keys] == [0] * 64
    assert sim.keys(fd, 8) == []


# -- access ---------------------------------------------------------------------------------------------


@each(*ALL)
def test_a_frozen_map_is_read_only_for_syscalls(calls: Calls, map_type: int) -> None:
    fd = calls.create(map_type, 4, 8, 4)
    value = b"\5" * calls.value_bytes(map_type, 8)
    assert calls.update(fd, u32(0), value) == 0
    assert calls.freeze(fd) == 0
    assert calls.freeze(fd) == -EPERM
    assert calls.update(fd, u32(0), value) == -EPERM
    assert calls.delete(fd, u32(0)) == -EPERM
    assert calls.lookup(fd, u32(0), len(value)) == value
    assert calls.next_key(fd, None, 4) == u32(0)


@each(*ALL)
def test_a_read_only_map_fd_writes_nothing(calls: Calls, map_type: int) -> None:
    fd = calls.create(map_type, 4, 8, 4, uapi.BPF_F_RDONLY)
    size = calls.value_bytes(map_type, 8)
    assert calls.update(fd, u32(0), bytes(size)) == -EPERM
    assert calls.delete(fd, u32(0)) == -EPERM
    assert calls.freeze(fd) == -EPERM
    assert calls.lookup(fd, u32(0), size) in (-ENOENT, bytes(size))


@each(*ALL)
def test_a_write_only_map_fd_reads_nothing(calls: Calls, map_type: int) -> None:
    fd = calls.create(map_type, 4, 8, 4, uapi.BPF_F_WRONLY)
    size = calls.value_bytes(map_type, 8)
    assert calls.update(fd, u32(0), bytes(size)) == 0
    assert calls.lookup(fd, u32(0), size) == -EPERM
    assert calls.next_key(fd, None, 4) == -EPERM


@each(HASH, ARRAY, PERCPU_ARRAY)
def test_bad_addresses_and_fds(calls: Calls, map_type: int) -> None:
    fd = calls.create(map_type, 4, 8, 4)
    assert calls.update(fd, u32(0), bytes(calls.value_bytes(map_type, 8))) == 0
    buffers = Buffers()
    key = buffers.put(u32(0))
    lookup, update, delete, following = 1, 2, 3, 4
    for cmd in (lookup, update, delete, following):
        value = 0 if cmd == delete else key
        assert calls.call(cmd, uapi.MapElem(map_fd=9999, key=key, value=value)) == -EBADF
        assert calls.call(cmd, uapi.MapElem(map_fd=fd, key=8, value=value)) == -EFAULT
    for cmd in (lookup, update):
        assert calls.call(cmd, uapi.MapElem(map_fd=fd, key=key, value=0)) == -EFAULT
    assert calls.call(lookup, uapi.MapElem(map_fd=fd, key=0, value=key)) == -EFAULT
    assert calls.call(delete, uapi.MapElem(map_fd=fd, key=key, value=5)) == -EINVAL
    assert calls.call(following, uapi.MapElem(map_fd=fd, key=key, value=key, flags=1)) == -EINVAL


@each(PERCPU_HASH, PERCPU_LRU, PERCPU_ARRAY)
def test_each_cpu_has_its_own_value(calls: Calls, map_type: int) -> None:
    fd = calls.create(map_type, 4, 4, 2)
    value = b"".join(struct.pack("<II", cpu + 1, 0) for cpu in range(calls.cpus))
    assert calls.update(fd, u32(1), value) == 0
    assert calls.lookup(fd, u32(1), len(value)) == value


def test_a_token_is_looked_at_when_the_shape_is_good(calls: Calls) -> None:
    by_token, fd = uapi.BPF_F_TOKEN_FD, calls.create(ARRAY, 4, 8, 1)
    assert calls.create(ARRAY, 4, 8, 1, by_token, map_token_fd=9999) == -EBADF
    assert calls.create(ARRAY, 4, 8, 1, by_token, map_token_fd=fd) == -EINVAL
    assert calls.create(ARRAY, 8, 8, 1, by_token, map_token_fd=9999) == -EINVAL
    assert calls.create(ARRAY, 4, 8, 1, map_token_fd=9999) > 0, "without the flag nobody looks"


def test_a_value_type_of_the_kernels_is_for_struct_ops_alone(calls: Calls) -> None:
    for more in ({}, {"value_type_btf_obj_fd": 9999}, {"btf_vmlinux_value_type_id": 1}):
        assert calls.create(ARRAY, 4, 8, 1, uapi.BPF_F_VTYPE_BTF_OBJ_FD, **more) == -EINVAL
    assert calls.create(ARRAY, 4, 8, 1, value_type_btf_obj_fd=9999) > 0
