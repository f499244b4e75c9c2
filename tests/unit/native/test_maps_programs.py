"""Maps from within programs: the same orders to the same program in both kernels."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from errno import E2BIG, EEXIST, EINVAL, ENOENT

import pytest
from bpf_calls import Calls, load_object, u64

UPDATE, DELETE, LOOKUP, ADD, FOR_EACH, FOR_EACH_DELETE = range(6)
MAPS = ["array", "percpu_array", "hash", "percpu_hash", "lru"]
ANY, NOEXIST, EXIST = 0, 1, 2
ORDER = struct.Struct("<IIQQQ")


class Orders:
    """tests/objects/runtime_maps.bpf.c in one kernel."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.object = load_object(calls, "runtime_maps")
        self.fd = self.object.progs["operate"].fd

    def give(self, op: int, name: str, key: int = 0, value: int = 0, flags: int = 0) -> tuple[int, int, int]:
        """(the program's result, what it left in key, and in value)."""
        ran = self.calls.run(self.fd, ctx=ORDER.pack(op, MAPS.index(name), key, value, flags))
        assert ran.result == 0
        _, _, key, value, _ = ORDER.unpack(ran.ctx)
        return ran.retval - (1 << 32) if ran.retval >> 31 else ran.retval, key, value


@pytest.fixture
def orders(calls: Calls) -> Iterator[Orders]:
    made = Orders(calls)
    yield made
    made.object.close()


@pytest.mark.parametrize("name", MAPS)
def test_updates_lookups_and_deletes(orders: Orders, name: str) -> None:
    is_array = "array" in name
    assert orders.give(LOOKUP, name, 3)[0] == (0 if is_array else -1)
    assert orders.give(UPDATE, name, 3, 5, EXIST)[0] == (0 if is_array else -ENOENT)
    assert orders.give(UPDATE, name, 3, 6, ANY)[0] == 0
    assert orders.give(UPDATE, name, 3, 7, NOEXIST)[0] == -EEXIST
    assert orders.give(UPDATE, name, 3, 8, 3)[0] == -EINVAL
    assert orders.give(UPDATE, name, 3, 8, EXIST)[0] == 0
    assert orders.give(LOOKUP, name, 3)[0] == 8
    assert orders.give(ADD, name, 3, 100)[0] == 8
    assert orders.give(LOOKUP, name, 3)[0] == 108
    assert orders.give(DELETE, name, 3)[0] == (-EINVAL if is_array else 0)
    assert orders.give(DELETE, name, 3)[0] == (-EINVAL if is_array else -ENOENT)
    if is_array:
        assert orders.give(UPDATE, name, 8, 1)[0] == -E2BIG
        assert orders.give(LOOKUP, name, 8)[0] == -1


def test_a_full_hash_takes_no_more_from_programs(orders: Orders) -> None:
    for name in ("hash", "percpu_hash"):
        for key in range(8):
            assert orders.give(UPDATE, name, key, key)[0] == 0
        assert orders.give(UPDATE, name, 8, 1)[0] == -E2BIG
        assert orders.give(UPDATE, name, 7, 70)[0] == 0
        assert orders.give(DELETE, name, 0)[0] == 0
        assert orders.give(UPDATE, name, 8, 1)[0] == 0
    for key in range(100):
        assert orders.give(UPDATE, "lru", key, key)[0] == 0, "an LRU makes room"
        assert orders.give(LOOKUP, "lru", key)[0] == key


def test_a_programs_insert_gives_other_cpus_zero(orders: Orders) -> None:
    assert orders.give(UPDATE, "percpu_hash", 1, 9)[0] == 0
    size = 8 * orders.calls.cpus
    values = orders.calls.lookup(orders.object.maps["percpu_hash"].fd, u64(1), size)
    assert isinstance(values, bytes)
    assert sorted(struct.unpack(f"<{orders.calls.cpus}Q", values)) == [0] * (orders.calls.cpus - 1) + [9]


def test_for_each_visits_every_element_until_told_to_stop(orders: Orders) -> None:
    for name in MAPS:
        in_array = 8 if "array" in name else 3
        for key in range(3):
            assert orders.give(UPDATE, name, key, 10 + key)[0] == 0
        expected = 33
        if name.startswith("percpu"):  # which CPU ran the update is not ours to say: the count is
            assert orders.give(FOR_EACH, name)[:2] == (in_array, in_array)
        else:
            assert orders.give(FOR_EACH, name) == (in_array, in_array, expected)
        assert orders.give(FOR_EACH, name, value=2)[:2] == (2, 2), "the one that stops is counted"
        assert orders.give(FOR_EACH, name, flags=1)[0] == -EINVAL


def test_for_each_may_delete_what_it_stands_on(orders: Orders) -> None:
    for key in range(8):
        assert orders.give(UPDATE, "hash", key, key)[0] == 0
    assert orders.give(FOR_EACH_DELETE, "hash")[0] == 8
    assert orders.give(FOR_EACH, "hash")[:2] == (0, 0)


def test_random_orders_end_alike(sim: Calls, live: Calls) -> None:
    """The same 1,500 orders: every answer and the contents at the end agree (an LRU may evict others, so not that one)."""
    rng = random.Random(17)
    ours, theirs = Orders(sim), Orders(live)
    for _ in range(1500):
        name = rng.choice(("array", "hash"))
        order = (
            rng.choice((UPDATE, UPDATE, DELETE, LOOKUP, ADD)),
            name,
            rng.randint(0, 11),
            rng.randint(0, 1000),
            rng.choice((0, 0, 1, 2, 3)),
        )
        assert ours.give(*order) == theirs.give(*order), order
    assert ours.give(FOR_EACH, "hash") == theirs.give(FOR_EACH, "hash")
    ours.object.close()
    theirs.object.close()
