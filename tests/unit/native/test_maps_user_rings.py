"""A user's ring buffer: a producer written for Linux's layout works on both kernels."""

from __future__ import annotations

import select
import struct
import threading
import time
from collections.abc import Iterator
from errno import E2BIG, EBUSY, EINVAL

import pytest
from bpf_calls import Calls, load_object

from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel

PAGE = 4096
BUSY, DISCARD = uapi.BPF_RINGBUF_BUSY_BIT, uapi.BPF_RINGBUF_DISCARD_BIT
ORDER = struct.Struct("<QQQQQQq")


class Producer:
    """Writes samples through the mapped pages, as any program written for Linux does."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.object = load_object(calls, "user_rings")
        self.fd = self.object.maps["ring"].fd
        self.consumer = calls.bpf.mmap(self.fd, PAGE, False)
        self.producer = calls.bpf.mmap(self.fd, PAGE + 2 * PAGE, True, PAGE)

    @property
    def consumed(self) -> int:
        return int(struct.unpack_from("<Q", self.consumer)[0])

    @property
    def produced(self) -> int:
        return int(struct.unpack_from("<Q", self.producer)[0])

    @produced.setter
    def produced(self, position: int) -> None:
        struct.pack_into("<Q", self.producer, 0, position)

    def put(self, data: bytes, flags: int = 0, length: int | None = None, *, step: int | None = None) -> None:
        """A sample, its header's length and flags; the producer's position goes on by its size or by `step`."""
        at = PAGE + self.produced % PAGE
        struct.pack_into("<I", self.producer, at, flags | (len(data) if length is None else length))
        self.producer[at + 8 : at + 8 + len(data)] = data
        self.produced += -(-(len(data) + 8) // 8) * 8 if step is None else step

    def drain(self, flags: int = 0, stop_at: int = 0, nested: int = 0) -> tuple[int, int, int, int]:
        """What the helper returned, how many samples came, their sum, and what a drain inside the callback gave."""
        ran = self.calls.run(self.object.progs["drain"].fd, ctx=ORDER.pack(flags, stop_at, nested, 0, 0, 0, 0))
        assert ran.result == 0
        _, _, _, samples, total, _, inside = ORDER.unpack(ran.ctx)
        return ran.retval - (1 << 32) if ran.retval >> 31 else ran.retval, samples, total, inside


@pytest.fixture(params=["sim", "live", "interp"])
def ring(request: pytest.FixtureRequest) -> Iterator[Producer]:
    kernel = Kernel(2, engine="interp") if request.param == "interp" else None
    calls = Calls(kernel.bpf, 2, kernel) if kernel is not None else request.getfixturevalue(request.param)
    made = Producer(calls)
    yield made
    made.object.close()
    if kernel is not None:
        kernel.close()


def u32(value: int) -> bytes:
    return struct.pack("<I", value)


def test_samples_arrive_in_order(ring: Producer) -> None:
    assert ring.drain() == (0, 0, 0, 0)
    for value in (3, 40, 500):
        ring.put(u32(value))
    assert ring.drain() == (3, 3, 543, 0)
    assert ring.consumed == ring.produced == 48
    assert ring.drain() == (0, 0, 0, 0)


def test_samples_wrap_in_one_piece(ring: Producer) -> None:
    for i in range(120):
        ring.put(u32(i) + bytes(i))
        assert ring.drain() == (1, 1, i, 0)
    assert ring.consumed > PAGE


def test_a_sample_may_be_short_or_empty(ring: Producer) -> None:
    ring.put(b"\x05")
    ring.put(b"")
    assert ring.drain() == (2, 2, 5, 0)
    assert ring.consumed == 24


def test_programs_write_into_samples(ring: Producer) -> None:
    ring.put(u32(7))
    assert ring.drain()[0] == 1
    assert bytes(ring.producer[PAGE + 8 : PAGE + 12]) == u32(~7 & 0xFFFFFFFF)


def test_discarded_samples_are_skipped(ring: Producer) -> None:
    ring.put(u32(1), DISCARD)
    ring.put(u32(2))
    ring.put(u32(4), DISCARD)
    ring.put(u32(8), DISCARD | BUSY)
    assert ring.drain() == (1, 1, 2, 0)
    assert ring.consumed == ring.produced


def test_a_sample_that_is_being_written_stops_the_drain(ring: Producer) -> None:
    ring.put(u32(1))
    ring.put(u32(2), BUSY)
    ring.put(u32(4))
    assert ring.drain() == (1, 1, 1, 0)
    assert ring.consumed == 16


def test_the_callback_stops_the_drain(ring: Producer) -> None:
    for value in (1, 2, 4, 8):
        ring.put(u32(value))
    assert ring.drain(stop_at=3) == (3, 3, 7, 0)
    assert ring.consumed == 48
    assert ring.drain() == (1, 1, 8, 0)


def test_a_drain_within_a_drain_is_busy(ring: Producer) -> None:
    ring.put(u32(1))
    assert ring.drain(nested=1) == (1, 1, 1, -EBUSY)
    ring.put(u32(2))
    assert ring.drain() == (1, 1, 2, 0)


# A header's length and how far the producer's position goes on, and what draining says.
BAD = [
    (8, 12, -EINVAL),  # positions are multiples of 8
    (64, 16, -EINVAL),  # more than was produced
    (PAGE, 2 * PAGE, -E2BIG),  # with its header more than the ring has
    (1 << 24, 1 << 26, -E2BIG),
    (0x3FFFFFFF, 1 << 31, -E2BIG),
    (0x3FFFFFFF, 1 << 20, -EINVAL),
]


@pytest.mark.parametrize(("length", "step", "want"), BAD)
def test_bad_samples_are_refused_where_they_stand(ring: Producer, length: int, step: int, want: int) -> None:
    ring.put(u32(1))
    ring.put(u32(2), length=length, step=step)
    position = ring.produced % 8
    assert ring.drain() == ((want, 0, 0, 0) if position else (want, 1, 1, 0))
    assert ring.consumed == (0 if position else 16)
    assert ring.drain()[0] == want, "and stay there"


def test_unknown_flags_drain_nothing(ring: Producer) -> None:
    ring.put(u32(1))
    assert ring.drain(flags=4) == (-EINVAL, 0, 0, 0)
    assert ring.drain(flags=3) == (1, 1, 1, 0)


def test_at_most_so_many_samples_in_one_drain(calls: Calls) -> None:
    """128 Ki samples are looked at; empty ones are 8 bytes each, and the position may be far beyond the ring."""
    ring = Producer(calls)
    for i in range(PAGE // 8):
        struct.pack_into("<I", ring.producer, PAGE + 8 * i, 0)
    ring.produced = 8 * (128 * 1024 + 5)
    got = ring.drain(stop_at=0)
    assert got[:2] == (128 * 1024, 128 * 1024) and ring.consumed == 8 * 128 * 1024
    assert ring.drain()[0] == 5
    ring.object.close()


def test_a_full_ring_waits_for_a_drain(ring: Producer) -> None:
    def poll(timeout_ms: int) -> int:
        return int(ring.calls.bpf.poll(ring.fd, timeout_ms)) & select.POLLOUT

    assert poll(0) == select.POLLOUT
    for i in range(PAGE // 64):
        ring.put(u32(i) + bytes(52))
    assert poll(0) == 0
    woken: list[int] = []
    waiter = threading.Thread(target=lambda: woken.append(poll(20_000)))
    waiter.start()
    time.sleep(0.05)
    assert woken == []
    assert ring.drain(stop_at=1)[0] == 1
    waiter.join(20)
    assert woken == [select.POLLOUT]


def test_a_drain_without_wakeup_wakes_nobody(ring: Producer) -> None:
    def poll() -> int:
        return int(ring.calls.bpf.poll(ring.fd, 20_000)) & select.POLLOUT

    for i in range(PAGE // 64):
        ring.put(u32(i) + bytes(52))
    woken: list[int] = []
    waiter = threading.Thread(target=lambda: woken.append(poll()))
    waiter.start()
    time.sleep(0.05)
    assert ring.drain(flags=uapi.BPF_RB_NO_WAKEUP, stop_at=1)[0] == 1
    time.sleep(0.1)
    assert woken == []
    assert ring.drain(flags=uapi.BPF_RB_FORCE_WAKEUP, stop_at=1)[0] == 1
    waiter.join(20)
    assert woken == [select.POLLOUT]
