"""Timers and spin locks in values, from programs and from syscalls, on both kernels."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from errno import EBUSY, EEXIST, EINVAL, ENOENT
from typing import Any

import pytest
from bpf_calls import Calls, load_object, u32, u64

from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel

INIT, SET, START, CANCEL, PERIODIC = range(5)
PACKET = bytes(64)
CB = uapi.LAYOUTS["__sk_buff"].fields["cb"][0]
TIMED = struct.Struct("<Q16xQ")


def soon(holds: Callable[[], bool]) -> bool:
    return any(holds() or time.sleep(0.005) for _ in range(1000))


class Timers:
    """tests/objects/timers.bpf.c in one kernel."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.object = load_object(calls, "timers")

    def run(self, name: str, *cb: int) -> int:
        ctx = bytearray(uapi.LAYOUTS["__sk_buff"].size)
        struct.pack_into(f"<{len(cb)}I", ctx, CB, *cb)
        ran = self.calls.run(self.object.progs[name].fd, PACKET, ctx=bytes(ctx))
        assert ran.result == 0
        return ran.retval - (1 << 32) if ran.retval >> 31 else ran.retval

    def value(self, name: str, key: bytes) -> tuple[int, int]:
        """(how often it fired, the key that it was told)."""
        data = self.object.maps[name].lookup(key)
        assert data[8:24] == bytes(16), "a timer reads as zeroes"
        fired, last = TIMED.unpack(data)
        return fired, last


@pytest.fixture(params=["sim", "live", "interp"])
def timers(request: pytest.FixtureRequest) -> Iterator[Timers]:
    kernel = Kernel(2, engine="interp") if request.param == "interp" else None
    calls = Calls(kernel.bpf, 2, kernel) if kernel is not None else request.getfixturevalue(request.param)
    made = Timers(calls)
    yield made
    made.object.close()
    if kernel is not None:
        kernel.close()


def test_a_timer_fires_once_when_it_is_started(timers: Timers) -> None:
    m = timers.object.maps["in_hash"]
    m.update(u64(3), bytes(32))
    assert timers.run("hash_timer", SET, 3) == -EINVAL, "before it is initialised"
    assert timers.run("hash_timer", START, 3) == -EINVAL
    assert timers.run("hash_timer", CANCEL, 3) == -EINVAL
    assert timers.run("hash_timer", INIT, 3, 0, 99) == -EINVAL
    assert timers.run("hash_timer", INIT, 3, 0, 1) == 0
    assert timers.run("hash_timer", INIT, 3, 0, 1) == -EBUSY
    assert timers.run("hash_timer", START, 3) == -EINVAL, "without a callback"
    assert timers.run("hash_timer", SET, 3) == 0
    assert timers.run("hash_timer", START, 3, 0, 64) == -EINVAL
    assert timers.run("hash_timer", START, 3, 1000) == 0
    assert soon(lambda: timers.value("in_hash", u64(3)) == (1, 3))
    time.sleep(0.02)
    assert timers.value("in_hash", u64(3)) == (1, 3)
    assert timers.run("hash_timer", CANCEL, 3) == 0, "it was not waiting"
    assert timers.run("hash_timer", START, 3, 1000) == -EINVAL, "a cancelled one has no callback"


def test_a_cancelled_timer_does_not_fire(timers: Timers) -> None:
    m = timers.object.maps["in_hash"]
    m.update(u64(1), bytes(32))
    assert timers.run("hash_timer", INIT, 1, 0, 1) == 0
    assert timers.run("hash_timer", SET, 1) == 0
    assert timers.run("hash_timer", START, 1, 3_000_000) == 0
    assert timers.run("hash_timer", CANCEL, 1) == 1
    assert timers.value("in_hash", u64(1)) == (0, 0)


@pytest.mark.parametrize("how", ["delete", "replace"])
def test_a_timer_goes_with_its_element(timers: Timers, how: str) -> None:
    m = timers.object.maps["in_hash"]
    m.update(u64(1), bytes(32))
    assert timers.run("hash_timer", INIT, 1, 0, 1) == 0
    assert timers.run("hash_timer", SET, 1) == 0
    assert timers.run("hash_timer", START, 1, 30_000) == 0
    if how == "delete":
        m.delete(u64(1))
    m.update(u64(1), bytes(32))
    time.sleep(0.06)
    assert timers.value("in_hash", u64(1)) == (0, 0)
    assert timers.run("hash_timer", CANCEL, 1) == -EINVAL, "the new element has none"
    assert timers.run("hash_timer", INIT, 1, 0, 1) == 0


def test_a_callback_may_start_its_timer_again(timers: Timers) -> None:
    assert timers.run("array_timer", PERIODIC, 2) == 0
    assert soon(lambda: timers.value("in_array", u32(2))[0] >= 5)
    assert timers.value("in_array", u32(2))[1] == 2
    timers.run("array_timer", CANCEL, 2)


def test_timers_stop_with_the_last_user_of_their_map(sim: Calls) -> None:
    """The program is gone, its callback may be called until then: nothing crashes, and then it is quiet."""
    timers = Timers(sim)
    for key in range(4):
        assert timers.run("array_timer", PERIODIC, key) == 0
    fd = timers.object.maps["in_array"].fd
    for prog in timers.object.progs.values():
        sim.bpf.close(prog.fd)
    timers.object.progs.clear()

    def count() -> int:
        data = timers.object.maps["in_array"].lookup(u32(1))
        return int(TIMED.unpack(data)[0])

    before = count()
    assert soon(lambda: count() > before + 3), "without its program too"
    assert fd >= 0
    timers.object.close()


def test_a_lock_is_taken_and_given_back(timers: Timers) -> None:
    m = timers.object.maps["locks"]
    m.update(u64(5), u64(100) + u32(0) + u32(7))
    assert timers.run("add_locked", 0, 5, 11) == 8
    assert m.lookup(u64(5)) == u64(111) + u32(0) + u32(8)


def test_bpf_f_lock_writes_in_place_and_leaves_the_lock_alone(timers: Timers) -> None:
    calls, fd = timers.calls, timers.object.maps["locks"].fd
    lock = uapi.BPF_F_LOCK
    value = u64(1) + u32(99) + u32(2)
    assert calls.update(fd, u64(1), value, lock | uapi.BPF_EXIST) == -ENOENT
    assert calls.update(fd, u64(1), value, lock | uapi.BPF_NOEXIST) == 0
    assert calls.update(fd, u64(1), value, lock | uapi.BPF_NOEXIST) == -EEXIST
    assert calls.update(fd, u64(1), u64(3) + u32(99) + u32(4), lock) == 0
    assert calls.lookup(fd, u64(1), 16, lock) == u64(3) + u32(0) + u32(4)
    assert calls.take(fd, u64(1), 16, lock) == u64(3) + u32(0) + u32(4)
    timed: Any = timers.object.maps["in_hash"].fd
    assert calls.update(timed, u64(1), bytes(32), lock) == -EINVAL
    assert calls.lookup(timed, u64(1), 32, lock) == -EINVAL
