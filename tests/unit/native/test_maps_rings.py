"""Ring buffers: a consumer written for Linux's layout works on both kernels."""

from __future__ import annotations

import select
import struct
import threading
import time
from collections.abc import Iterator
from errno import EAGAIN, EBADF, EINVAL, EPERM
from typing import Any

import pytest
from bpf_calls import Calls, load_object, u32

from bpfjit.errors import ENOTSUPP
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel

RING, USER_RING, ARRAY, HASH = (
    uapi.BPF_MAP_TYPE_RINGBUF,
    uapi.BPF_MAP_TYPE_USER_RINGBUF,
    uapi.BPF_MAP_TYPE_ARRAY,
    uapi.BPF_MAP_TYPE_HASH,
)
SUBMIT, DISCARD, OUTPUT, QUERY = range(4)
ORDER, RECORD = struct.Struct("<QQQQ64s"), struct.Struct("<QQI4x")
PAGE = 4096

# (types, key, value, entries, flags, errno)
SHAPES = [
    ((RING, USER_RING), 0, 0, PAGE, 0, 0),
    ((RING, USER_RING), 0, 0, 64 * PAGE, 0, 0),
    ((RING, USER_RING), 0, 0, 0, 0, EINVAL),
    ((RING, USER_RING), 0, 0, 3 * PAGE, 0, EINVAL),
    ((RING, USER_RING), 0, 0, PAGE // 2, 0, EINVAL),
    ((RING, USER_RING), 4, 0, PAGE, 0, EINVAL),
    ((RING, USER_RING), 0, 4, PAGE, 0, EINVAL),
    ((RING, USER_RING), 0, 0, PAGE, uapi.BPF_F_MMAPABLE, EINVAL),
    ((RING, USER_RING), 0, 0, PAGE, uapi.BPF_F_RDONLY, EINVAL),
    ((RING, USER_RING), 0, 0, PAGE, uapi.BPF_F_NUMA_NODE, 0),
]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "-".join(f"{n:x}" for n in s[1:5]))
def test_shapes_that_map_create_takes(calls: Calls, shape: tuple) -> None:
    types, key, value, entries, flags, want = shape
    for map_type in types:
        assert min(calls.create(map_type, key, value, entries, flags), 0) == -want


@pytest.mark.parametrize("map_type", [RING, USER_RING])
def test_a_ring_has_no_elements(calls: Calls, map_type: int) -> None:
    fd = calls.create(map_type, 0, 0, PAGE)
    assert calls.lookup(fd, b"", 8) == -ENOTSUPP
    assert calls.update(fd, b"", b"") == -ENOTSUPP
    assert calls.delete(fd, b"") == -ENOTSUPP
    assert calls.next_key(fd, None, 8) == -ENOTSUPP
    assert calls.take(fd, b"", 8) == -ENOTSUPP
    for cmd in (24, 25, 26, 27):
        assert calls.call(cmd, uapi.MapBatch(map_fd=fd, count=1)) == -ENOTSUPP


def refused(call: Any, *args: Any) -> int:
    """The errno of a call, 0 where it is good."""
    try:
        call(*args)
    except OSError as e:
        return e.errno or -1
    return 0


def test_each_side_may_write_its_own_pages(calls: Calls) -> None:
    ring, user = calls.create(RING, 0, 0, 2 * PAGE), calls.create(USER_RING, 0, 0, 2 * PAGE)
    cases = [
        (ring, PAGE, True, 0, 0),
        (ring, 2 * PAGE, True, 0, EPERM),
        (ring, PAGE, True, PAGE, EPERM),
        (ring, PAGE, False, 0, 0),
        (ring, 6 * PAGE, False, 0, 0),
        (ring, 5 * PAGE, False, PAGE, 0),
        (ring, 7 * PAGE, False, 0, EINVAL),
        (ring, PAGE, False, 100, EINVAL),
        (user, PAGE, True, 0, EPERM),
        (user, PAGE, False, 0, 0),
        (user, 5 * PAGE, True, PAGE, 0),
        (user, 6 * PAGE, True, PAGE, EINVAL),
    ]
    for fd, size, writable, offset, want in cases:
        found = refused(calls.bpf.mmap, fd, size, writable, offset)
        assert (size // PAGE, writable, offset, found) == (size // PAGE, writable, offset, want)


def test_arrays_are_mapped_where_they_were_made_for_it(calls: Calls) -> None:
    fd = calls.create(ARRAY, 4, 12, 300, uapi.BPF_F_MMAPABLE)
    view = calls.bpf.mmap(fd, PAGE, True)
    assert calls.update(fd, u32(2), b"\x07" * 12) == 0
    assert bytes(view[32:44]) == b"\x07" * 12
    view[16:20] = b"abcd"
    assert calls.lookup(fd, u32(1), 12) == b"abcd" + bytes(8)
    assert calls.freeze(fd) == -16, "mapped for writing"
    reader = calls.bpf.mmap(fd, PAGE, False)
    del view
    assert calls.freeze(fd) == 0
    assert bytes(reader[16:20]) == b"abcd"
    assert refused(calls.bpf.mmap, fd, PAGE, True) == EPERM
    assert refused(calls.bpf.mmap, calls.create(ARRAY, 4, 8, 300), PAGE, False) == EINVAL
    assert refused(calls.bpf.mmap, calls.create(HASH, 4, 8, 300), PAGE, False) == ENOTSUPP
    assert refused(calls.bpf.mmap, 9999, PAGE, False) == EBADF
    assert refused(calls.bpf.mmap, fd, 3 * PAGE, False) == EINVAL


class Consumer:
    """Reads a ring buffer through its mapped pages, as any program written for Linux does."""

    def __init__(self, calls: Calls, fd: int, size: int) -> None:
        self.mask = size - 1
        self.consumer = calls.bpf.mmap(fd, PAGE, True)
        self.producer = calls.bpf.mmap(fd, PAGE + 2 * size, False, PAGE)

    @property
    def position(self) -> int:
        return int(struct.unpack_from("<Q", self.consumer)[0])

    @property
    def produced(self) -> int:
        return int(struct.unpack_from("<Q", self.producer)[0])

    def read(self, most: int = 1 << 30) -> list[bytes | None]:
        """Records in order, None for those that were discarded."""
        found: list[bytes | None] = []
        while self.position < self.produced and len(found) < most:
            at = PAGE + (self.position & self.mask)
            length = struct.unpack_from("<I", self.producer, at)[0]
            if length & uapi.BPF_RINGBUF_BUSY_BIT:
                break
            size = length & ~uapi.BPF_RINGBUF_DISCARD_BIT
            gone = length & uapi.BPF_RINGBUF_DISCARD_BIT
            found.append(None if gone else bytes(self.producer[at + 8 : at + 8 + size]))
            struct.pack_into("<Q", self.consumer, 0, self.position + -(-(size + 8) // 8) * 8)
        return found


class Ring:
    """tests/objects/rings.bpf.c in one kernel, and a consumer of its ring."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.object = load_object(calls, "rings")
        self.fd = self.object.maps["ring"].fd
        self.consumer = Consumer(calls, self.fd, PAGE)

    def give(self, op: int, value: int = 0, flags: int = 0, count: int = 1, data: bytes = b"") -> int:
        ran = self.calls.run(self.object.progs["produce"].fd, ctx=ORDER.pack(op, value, flags, count, data))
        assert ran.result == 0
        return ran.retval - (1 << 32) if ran.retval >> 31 else ran.retval

    def poll(self, timeout_ms: int) -> int:
        return int(self.calls.bpf.poll(self.fd, timeout_ms)) & select.POLLIN


@pytest.fixture(params=["sim", "live", "interp", "optimised"])
def ring(request: pytest.FixtureRequest) -> Iterator[Ring]:
    """The first tier calls the runtime; optimised code does itself what it can."""
    own = {"interp": {"engine": "interp"}, "optimised": {"tiered": False}}.get(request.param)
    kernel = Kernel(2, **own) if own is not None else None
    calls = Calls(kernel.bpf, 2, kernel) if kernel is not None else request.getfixturevalue(request.param)
    made = Ring(calls)
    yield made
    made.object.close()
    if kernel is not None:
        kernel.close()


def test_records_come_out_as_they_went_in(ring: Ring) -> None:
    assert ring.give(SUBMIT, 5, count=3) == 3
    assert ring.give(DISCARD, 6, count=2) == 2
    assert ring.give(OUTPUT, count=13, data=b"thirteen byte") == 0
    assert ring.give(OUTPUT, count=0) == 0
    assert ring.consumer.produced == 5 * 32 + 24 + 8
    records = [RECORD.pack(5, n, 7)[:20] + bytes(4) for n in range(3)]
    got = ring.consumer.read()
    assert [g[:20] if g is not None and len(g) == 24 else g for g in got] == [
        *(r[:20] for r in records),
        None,
        None,
        b"thirteen byte",
        b"",
    ]
    assert ring.consumer.read() == []


def test_a_full_ring_takes_no_more_until_somebody_reads(ring: Ring) -> None:
    fits = (PAGE - 1) // 32
    assert ring.give(SUBMIT, count=200) == fits
    assert ring.give(SUBMIT, count=1) == 0
    assert ring.give(OUTPUT, count=63) == -EAGAIN
    assert len(ring.consumer.read(10)) == 10
    assert ring.give(SUBMIT, count=200) == 10
    assert len(ring.consumer.read()) == fits


def test_records_wrap_in_one_piece(ring: Ring) -> None:
    for i in range(300):
        data = bytes((i + k) & 255 for k in range(i % 61))
        assert ring.give(OUTPUT, count=len(data), data=data) == 0
        assert ring.consumer.read() == [data]
    assert ring.consumer.position > PAGE


def test_the_ring_tells_about_itself(ring: Ring) -> None:
    assert ring.give(SUBMIT, count=3) == 3
    ring.consumer.read(1)
    asked = [ring.give(QUERY, flags=what) for what in range(5)]
    assert asked == [64, PAGE, 32, 96, 0]


def test_unknown_flags(ring: Ring) -> None:
    assert ring.give(OUTPUT, flags=4, count=8) == -EINVAL
    assert ring.give(OUTPUT, flags=3, count=8) == 0
    assert ring.give(SUBMIT, flags=64, count=1) == 1, "submit looks at what it knows"


def test_who_waits_is_woken(ring: Ring) -> None:
    assert ring.poll(0) == 0
    assert ring.give(SUBMIT) == 1
    assert ring.poll(0) == select.POLLIN
    ring.consumer.read()
    assert ring.poll(0) == 0
    woken: list[int] = []
    waiter = threading.Thread(target=lambda: woken.append(ring.poll(20_000)))
    waiter.start()
    time.sleep(0.05)
    start = time.monotonic()
    assert ring.give(SUBMIT) == 1
    waiter.join(20)
    assert woken == [select.POLLIN]
    assert time.monotonic() - start < 10


def test_without_a_wakeup_nobody_is_woken(ring: Ring) -> None:
    woken: list[int] = []
    waiter = threading.Thread(target=lambda: woken.append(ring.poll(20_000)))
    waiter.start()
    time.sleep(0.05)
    assert ring.give(SUBMIT, flags=uapi.BPF_RB_NO_WAKEUP) == 1
    time.sleep(0.1)
    assert woken == []
    assert ring.give(SUBMIT, flags=uapi.BPF_RB_FORCE_WAKEUP) == 1
    waiter.join(20)
    assert woken == [select.POLLIN]
