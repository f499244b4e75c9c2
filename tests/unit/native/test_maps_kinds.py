"""LRU per CPU, longest prefix match, queues, stacks and bloom filters: the same tests on both kernels."""

from __future__ import annotations

import random
import struct
from errno import E2BIG, EEXIST, EINVAL, ENOENT, ENOSPC, EOPNOTSUPP, EPERM

import pytest
from bpf_calls import Calls, u32, u64

from bpfjit.errors import ENOTSUPP
from bpfjit.spec.map_types import MAP_TYPE_NAMES
from bpfjit.uapi import bpf as uapi

LRU, PERCPU_LRU = uapi.BPF_MAP_TYPE_LRU_HASH, uapi.BPF_MAP_TYPE_LRU_PERCPU_HASH
LPM, BLOOM = uapi.BPF_MAP_TYPE_LPM_TRIE, uapi.BPF_MAP_TYPE_BLOOM_FILTER
QUEUE, STACK = uapi.BPF_MAP_TYPE_QUEUE, uapi.BPF_MAP_TYPE_STACK
NO_PREALLOC = uapi.BPF_F_NO_PREALLOC
MIB4 = 1 << 22

# (types, key, value, entries, flags, further attrs, errno)
SHAPES = [
    ((LPM,), 8, 8, 4, NO_PREALLOC, {}, 0),
    ((LPM,), 8, 8, 4, 0, {}, EINVAL),
    ((LPM,), 8, 8, 0, NO_PREALLOC, {}, EINVAL),
    ((LPM,), 8, 8, 0xFFFFFFFF, NO_PREALLOC, {}, 0),
    ((LPM,), 4, 8, 4, NO_PREALLOC, {}, EINVAL),
    ((LPM,), 5, 8, 4, NO_PREALLOC, {}, 0),
    ((LPM,), 260, 8, 4, NO_PREALLOC, {}, 0),
    ((LPM,), 261, 8, 4, NO_PREALLOC, {}, EINVAL),
    ((LPM,), 8, 0, 4, NO_PREALLOC, {}, EINVAL),
    ((LPM,), 8, MIB4 - 256 - 24, 4, NO_PREALLOC, {}, 0),
    ((LPM,), 8, MIB4 - 256 - 23, 4, NO_PREALLOC, {}, EINVAL),
    ((LPM,), 8, 8, 4, NO_PREALLOC | uapi.BPF_F_ZERO_SEED, {}, EINVAL),
    ((LPM,), 8, 8, 4, NO_PREALLOC | uapi.BPF_F_RDONLY_PROG, {}, 0),
    ((LPM,), 8, 8, 4, NO_PREALLOC | uapi.BPF_F_NUMA_NODE, {"numa_node": 0}, 0),
    ((LPM,), 8, 8, 4, NO_PREALLOC, {"map_extra": 1}, EINVAL),
    ((QUEUE, STACK, BLOOM), 0, 8, 4, 0, {}, 0),
    ((QUEUE, STACK, BLOOM), 4, 8, 4, 0, {}, EINVAL),
    ((QUEUE, STACK, BLOOM), 0, 0, 4, 0, {}, EINVAL),
    ((QUEUE, STACK, BLOOM), 0, 8, 0, 0, {}, EINVAL),
    ((QUEUE, STACK), 0, MIB4, 1, 0, {}, 0),
    ((QUEUE, STACK, BLOOM), 0, MIB4 + 1, 1, 0, {}, E2BIG),
    ((QUEUE, STACK, BLOOM), 0, 8, 4, NO_PREALLOC, {}, EINVAL),
    ((QUEUE, STACK), 0, 8, 4, uapi.BPF_F_ZERO_SEED, {}, EINVAL),
    ((BLOOM,), 0, 8, 4, uapi.BPF_F_ZERO_SEED, {}, 0),
    ((QUEUE, STACK, BLOOM), 0, 8, 4, uapi.BPF_F_NUMA_NODE, {"numa_node": 0}, 0),
    ((QUEUE, STACK, BLOOM), 0, 8, 4, uapi.BPF_F_RDONLY | uapi.BPF_F_WRONLY, {}, EINVAL),
    ((QUEUE, STACK), 0, 8, 4, 0, {"map_extra": 1}, EINVAL),
    ((BLOOM,), 0, 8, 4, 0, {"map_extra": 15}, 0),
    ((BLOOM,), 0, 8, 4, 0, {"map_extra": 16}, EINVAL),
    ((BLOOM,), 0, 8, 4, 0, {"map_extra": 1 << 40}, EINVAL),
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: f"{s[1]:x}-{s[2]:x}-{s[3]:x}-{s[4]:x}-{','.join(s[5])}")
def test_shapes_that_map_create_takes(calls: Calls, shape: tuple) -> None:
    types, key, value, entries, flags, more, want = shape
    for map_type in types:
        fd = calls.create(map_type, key, value, entries, flags, **more)
        assert (min(fd, 0), MAP_TYPE_NAMES[map_type]) == (-want, MAP_TYPE_NAMES[map_type])


# -- LRU with lists of each CPU -----------------------------------------------------------------------------


@pytest.mark.parametrize("map_type", [LRU, PERCPU_LRU])
def test_lists_of_each_cpu_share_the_entries_evenly(calls: Calls, map_type: int) -> None:
    for entries in (1, 7, 16, 33):
        fd = calls.create(map_type, 4, 8, entries, uapi.BPF_F_NO_COMMON_LRU)
        even = -(-entries // calls.cpus) * calls.cpus
        assert calls.info(fd)["max_entries"] == even
        value = bytes(calls.value_bytes(map_type, 8))
        for n in range(3 * even + 20):
            assert calls.update(fd, u32(n), value) == 0
            assert calls.lookup(fd, u32(n), len(value)) == value, "the newest is there"
        assert 1 <= len(calls.keys(fd, 4)) <= even
        calls.close(fd)


# -- longest prefix match ---------------------------------------------------------------------------------------


def ip4(text: str) -> bytes:
    address, _, bits = text.partition("/")
    return struct.pack("<I", int(bits)) + bytes(map(int, address.split(".")))


def lpm(calls: Calls, entries: int = 64, key: int = 8) -> int:
    return calls.create(LPM, key, 8, entries, NO_PREALLOC)


def test_the_longest_prefix_wins(calls: Calls) -> None:
    fd = lpm(calls)
    routes = ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3/32", "192.168.0.0/16", "192.168.128.0/17"]
    for i, route in enumerate(routes):
        assert calls.update(fd, ip4(route), u64(i)) == 0
    wanted = {
        "10.1.2.3/32": 4,
        "10.1.2.4/32": 3,
        "10.1.3.4/32": 2,
        "10.9.9.9/32": 1,
        "11.0.0.1/32": 0,
        "192.168.200.1/32": 6,
        "192.168.1.1/32": 5,
        "10.1.2.0/20": 2,  # a shorter key is matched by what is shorter still
        "10.0.0.0/7": 0,
    }
    assert {k: calls.lookup(fd, ip4(k), 8) for k in wanted} == {k: u64(v) for k, v in wanted.items()}
    assert calls.delete(fd, ip4("0.0.0.0/0")) == 0
    assert calls.lookup(fd, ip4("11.0.0.1/32"), 8) == -ENOENT
    assert calls.lookup(fd, ip4("10.0.0.0/33"), 8) == -ENOENT
    assert calls.update(fd, ip4("10.0.0.0/33"), u64(1)) == -EINVAL
    assert calls.delete(fd, ip4("10.0.0.0/33")) == -EINVAL
    assert calls.delete(fd, ip4("10.0.0.0/9")) == -ENOENT


def test_a_trie_knows_flags_and_its_bound(calls: Calls) -> None:
    fd = lpm(calls, 2)
    assert calls.update(fd, ip4("10.0.0.0/8"), u64(1), uapi.BPF_EXIST) == -ENOENT
    assert calls.update(fd, ip4("10.0.0.0/8"), u64(1), uapi.BPF_NOEXIST) == 0
    assert calls.update(fd, ip4("10.0.0.0/8"), u64(1), uapi.BPF_NOEXIST) == -EEXIST
    assert calls.update(fd, ip4("10.0.0.0/8"), u64(2), uapi.BPF_EXIST) == 0
    for bad in (3, 4, 8, 1 << 40):
        assert calls.update(fd, ip4("10.0.0.0/8"), u64(1), bad) == -EINVAL
    assert calls.update(fd, ip4("11.0.0.0/8"), u64(1)) == 0
    assert calls.update(fd, ip4("12.0.0.0/8"), u64(1)) == -ENOSPC
    assert calls.update(fd, ip4("11.0.0.0/8"), u64(5)) == 0, "replacing needs no room"
    assert calls.delete(fd, ip4("11.0.0.0/8")) == 0
    assert calls.update(fd, ip4("12.0.0.0/8"), u64(1)) == 0
    assert calls.lookup(fd, ip4("10.0.0.0/8"), 8, uapi.BPF_F_LOCK) == -EINVAL
    assert calls.take(fd, ip4("10.0.0.0/8"), 8) == -ENOTSUPP


def test_a_trie_is_walked_from_the_narrow_to_the_wide(calls: Calls) -> None:
    fd = lpm(calls)
    for route in ("192.168.0.0/16", "192.168.0.0/24", "192.168.128.0/24", "192.168.1.0/24"):
        assert calls.update(fd, ip4(route), u64(1)) == 0
    order = ["192.168.0.0/24", "192.168.1.0/24", "192.168.128.0/24", "192.168.0.0/16"]
    assert calls.keys(fd, 8) == [ip4(r) for r in order]
    assert calls.next_key(fd, ip4("10.0.0.0/8"), 8) == ip4(order[0]), "from one that is not there: the first"


def test_random_prefixes_end_alike_in_both_kernels(sim: Calls, live: Calls) -> None:
    rng = random.Random(11)
    for key_bytes in (5, 8, 20):
        fds = [(c, lpm(c, 40, key_bytes)) for c in (sim, live)]
        for _ in range(1200):
            bits = rng.randint(0, (key_bytes - 4) * 8 + (rng.random() < 0.05))
            data = bytes(rng.choice((0, 0, 0x80, 0xC0, 0xFF)) for _ in range(key_bytes - 4))
            key, flags, op = u32(bits) + data, rng.choice((0, 0, 0, 1, 2)), rng.randint(0, 3)
            value = u64(rng.randint(0, 99))
            if op == 0:
                got = [c.delete(fd, key) for c, fd in fds]
            elif op == 1:
                got = [c.lookup(fd, key, 8) for c, fd in fds]
            elif op == 2:
                got = [c.next_key(fd, key, key_bytes) for c, fd in fds]
            else:
                got = [c.update(fd, key, value, flags) for c, fd in fds]
            assert got[0] == got[1], (op, key)
        assert sim.keys(fds[0][1], key_bytes) == live.keys(fds[1][1], key_bytes)


# -- queues and stacks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("map_type", [QUEUE, STACK], ids=["queue", "stack"])
def test_values_come_out_in_their_order(calls: Calls, map_type: int) -> None:
    fd = calls.create(map_type, 0, 8, 3)
    newest = map_type == STACK
    assert calls.lookup(fd, b"", 8) == -ENOENT
    assert calls.take(fd, b"", 8) == -ENOENT
    for n in (1, 2, 3):
        assert calls.update(fd, b"", u64(n)) == 0
    assert calls.update(fd, b"", u64(4)) == -E2BIG
    assert calls.update(fd, b"", u64(4), uapi.BPF_NOEXIST) == -EINVAL
    assert calls.update(fd, b"", u64(4), 3) == -EINVAL
    assert calls.update(fd, b"", u64(4), uapi.BPF_F_LOCK) == -EINVAL
    assert calls.update(fd, b"", u64(4), uapi.BPF_EXIST) == 0, "the oldest makes room"
    assert calls.lookup(fd, b"", 8) == u64(4 if newest else 2)
    assert calls.lookup(fd, b"", 8, uapi.BPF_F_LOCK) == -EINVAL
    assert [calls.take(fd, b"", 8) for _ in range(4)] == [
        *(u64(n) for n in ((4, 3, 2) if newest else (2, 3, 4))),
        -ENOENT,
    ]
    assert calls.take(fd, b"", 8, uapi.BPF_F_LOCK) == -EINVAL
    assert calls.update(fd, u32(0), u64(1)) == -EINVAL, "a key where there are none"
    assert calls.delete(fd, b"") == -EINVAL
    assert calls.next_key(fd, None, 8) == -EINVAL


@pytest.mark.parametrize("map_type", [QUEUE, STACK, BLOOM])
def test_maps_without_keys_have_no_batches(calls: Calls, map_type: int) -> None:
    fd = calls.create(map_type, 0, 8, 3)
    for cmd in (24, 25, 26, 27):
        assert calls.call(cmd, uapi.MapBatch(map_fd=fd, count=1)) == -ENOTSUPP


@pytest.mark.parametrize("map_type", [QUEUE, STACK, BLOOM])
def test_a_frozen_map_takes_nothing_more(calls: Calls, map_type: int) -> None:
    fd = calls.create(map_type, 0, 8, 3)
    assert calls.update(fd, b"", u64(7)) == 0
    assert calls.freeze(fd) == 0
    assert calls.update(fd, b"", u64(8)) == -EPERM
    assert calls.take(fd, b"", 8) == -EPERM
    assert calls.lookup(fd, b"", 8, given=u64(7)) == u64(7)


# -- bloom filters ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hashes", [0, 1, 3, 15])
def test_what_was_pushed_is_found_and_little_else(calls: Calls, hashes: int) -> None:
    fd = calls.create(BLOOM, 0, 8, 500, 0, map_extra=hashes)
    assert calls.lookup(fd, b"", 8, given=u64(3)) == -ENOENT
    for n in range(500):
        assert calls.update(fd, b"", u64(n * 7)) == 0
    assert all(calls.lookup(fd, b"", 8, given=u64(n * 7)) == u64(n * 7) for n in range(500))
    mistakes = sum(isinstance(calls.lookup(fd, b"", 8, given=u64(n)), bytes) for n in range(100_000, 100_500))
    assert mistakes < (300 if hashes == 1 else 60)


def test_a_bloom_filter_deletes_and_walks_nothing(calls: Calls) -> None:
    fd = calls.create(BLOOM, 0, 8, 10)
    for bad in (uapi.BPF_NOEXIST, uapi.BPF_EXIST, uapi.BPF_F_LOCK, 8):
        assert calls.update(fd, b"", u64(1), bad) == -EINVAL
    assert calls.delete(fd, b"") == -EOPNOTSUPP
    assert calls.next_key(fd, None, 8) == -EOPNOTSUPP
    assert calls.take(fd, b"", 8) == -ENOTSUPP
    assert calls.info(fd)["map_extra"] == 0
