"""Programs that use typed objects give the same result in native code, in the interpreter and on Linux."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest
from typed_programs import ENGINES, Loader, run, set_global

from bpfjit import open_object
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel
from runtime import lib

HERE = Path(__file__).parent
# By source and program: what it returns.
EXPECTED = {
    "kfuncs": {
        "task_found": 42,
        "task_not_found": 42,
        "task_acquired_again": 42,
        "parent_in_a_read_section": 42,
        "root_cgroup": 42,
        "task_under_root": 42,
        "masks": 0,
        "asked_whether_they_are_there": 42,
        "strings": 0,
        "looked_at_through_a_cast": 42,
    },
    "iterators": {
        "sum_of_numbers": 52,
        "nested_numbers": 21,
        "repeated": 2000,
        "numbers_as_indexes": 1240,
        "bad_numbers": 0,
        "bits_of_words": 4385,
        "bits_of_one_word": 67,
        "bad_bits": 0,
        "myself_among_all_tasks": 11,
        "my_threads": 10,
        "task_flags_are_checked": -22,
        "root_comes_first_and_last": 1111,
        "tasks_of_the_root": 1,
    },
    "dynptrs": {
        "memory_is_written_and_read": 0,
        "bad_flags_make_none": 0,
        "adjusted_and_cloned": 0,
        "packet_in_slices": 0,
        "packet_that_is_only_read": 1,
        "frame_in_slices": 2,
        "copied_and_filled": 0,
        "record_of_a_ring": 0,
    },
    "workqueues": {"told": 0},
    "inner_timers": {"armed_and_cancelled": 0},
    "exceptions": {
        "thrown_at_once": 42,
        "thrown_in_two_functions": 5,
        "not_thrown": 1005,
        "answered": 105,
        "answered_in_main": 101,
        "thrown_by_a_global_function": 17,
        "called_and_never_back": 9,
        "thrown_out_of_a_loop": 4,
    },
    "locks": {
        "taken_and_given_back": 42,
        "two_at_once": 42,
        "the_same_one_twice": -errno.EDEADLK,
        "with_interrupts_off": 42,
        "list_under_it": 42,
    },
    "percpu": {"kept_in_a_map": 42, "each_cpu_has_its_own": 125, "dropped": 42},
    "objects": {
        "made_written_and_dropped": 42,
        "list_is_a_queue_and_a_stack": 4321,
        "ends_of_a_list_are_looked_at": 111213,
        "tree_is_in_order": 123456789,
        "tree_is_walked_from_its_root": 2146,
        "large_tree": 0,
        "counted_in_a_list_and_a_tree": 81,
        "not_into_a_tree_twice": 42,
        "removed_only_from_its_own_tree": 42,
        "pointers_are_exchanged": 34,
        "tasks_and_masks_are_kept": 11,
        "lists_in_map_values": 44,
        "locks_in_objects": 42,
    },
    "packets": {
        "bytes_of_the_packet": 0x14 + 0x1516 + 0x1718191A,
        "byte_at_a_variable_place": 63,
        "beyond_the_packet_ends_with_0": 0,
        "beyond_the_packet_ends_a_function_alone": 70,
        "counted_with_a_may_goto": 120,
        "ends_after_a_while": 1,
    },
}
_WITH_PACKETS = ("packets", "dynptrs", "exceptions", "inner_timers", "locks", "workqueues")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("source", "prog"), [(s, p) for s, progs in EXPECTED.items() for p in progs])
def test_program_returns(loaded: Loader, request: pytest.FixtureRequest, source: str, prog: str, engine: str) -> None:
    if engine == "live":
        request.getfixturevalue("live")
    packet = bytes(range(64)) if source in _WITH_PACKETS else b""
    assert run(loaded(source, engine), prog, packet) == EXPECTED[source][prog]


@pytest.mark.parametrize("engine", ENGINES)
def test_timer_of_an_inner_map_runs(loaded: Loader, request: pytest.FixtureRequest, engine: str) -> None:
    if engine == "live":
        request.getfixturevalue("live")
    obj = loaded("inner_timers", engine)
    assert run(obj, "begin", bytes(64)) == 0
    deadline = time.monotonic() + 10
    while not int.from_bytes(obj.maps["second"].lookup(bytes(4))[:8], "little"):
        assert time.monotonic() < deadline, "the timer did not run"
        time.sleep(0.001)


@pytest.mark.parametrize("engine", ["jit", "interp"])
def test_what_a_map_owns_goes_with_the_element_and_with_the_map(loaded: Loader, engine: str) -> None:
    with Kernel(2, engine=engine, cache=False) as kernel:
        task = kernel.tasks.create(os.getpid(), "me")
        count = task.c.usage.refs.counter
        with open_object(HERE / "objects.bpf.c").load(kernel.bpf) as obj:
            set_global(obj, "pid", os.getpid())

            def alive() -> int:
                return int(lib.rt_objects_alive(kernel.native.ptr))

            assert run(obj, "lists_in_map_values") == 44
            assert alive() == 4
            assert run(obj, "pointers_are_exchanged") == 34
            assert alive() == 6  # an item, and what it owns
            obj.maps["slots"].delete((1).to_bytes(4, "little"))
            assert alive() == 4
            assert run(obj, "tasks_and_masks_are_kept") == 11
            assert task.c.usage.refs.counter == count + 1
            obj.maps["slots"].update((2).to_bytes(4, "little"), bytes(obj.maps["slots"].spec.value_size))
            assert task.c.usage.refs.counter == count
        lib.rt_rcu_barrier(kernel.native.ptr)
        assert alive() == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_queued_is_done(loaded: Loader, request: pytest.FixtureRequest, engine: str) -> None:
    if engine == "live":
        request.getfixturevalue("live")
    obj = loaded("workqueues", engine)
    assert run(obj, "begin", bytes(64)) == 0
    key, deadline = (7).to_bytes(4, "little"), time.monotonic() + 10
    while not int.from_bytes(obj.maps["in_hash"].lookup(key)[:8], "little"):
        assert time.monotonic() < deadline, "the work was not done"
        time.sleep(0.001)
    assert int.from_bytes(obj.maps["in_hash"].lookup(key)[24:], "little") == 7
    obj.maps["in_hash"].delete(key)


@pytest.mark.parametrize("engine", ["jit", "interp"])
def test_an_inner_maps_timer_outlives_program_and_outer_map(loaded: Loader, engine: str) -> None:
    """Its code, and what that touches, stays for as long as the inner map may call it."""
    with Kernel(2, engine=engine, cache=False) as kernel:
        obj = open_object(HERE / "inner_timers.bpf.c").load(kernel.bpf)
        mark_off, size = uapi.LAYOUTS["__sk_buff"].fields["mark"][0], uapi.LAYOUTS["__sk_buff"].size
        ctx = bytearray(size)
        ctx[mark_off : mark_off + 4] = (30_000_000).to_bytes(4, "little")
        assert run(obj, "begin", bytes(64), bytes(ctx)) == 0
        inner, outer = obj.maps.pop("second"), obj.maps["outer"]
        outer.delete((1).to_bytes(4, "little"))
        obj.close()
        assert not int.from_bytes(inner.lookup(bytes(4))[:8], "little"), "not yet"
        deadline = time.monotonic() + 10
        while not int.from_bytes(inner.lookup(bytes(4))[:8], "little"):
            assert time.monotonic() < deadline, "the timer did not run"
            time.sleep(0.001)
        assert len(list(kernel.maps)) > 1, "the global variables' too"
        kernel.bpf.close(inner.fd)
        assert list(kernel.maps) == [], "and goes with its last user"
