"""Perf event arrays: samples into the rings of perf events, read as perf lays them out, on both kernels."""

from __future__ import annotations

import ctypes
import os
import select
import struct
from collections.abc import Iterator
from errno import E2BIG, EBADF, EINVAL, ENOENT, ENOSPC
from typing import Any

import pytest
from bpf_calls import Calls, load_object, u32

from bpfjit.errors import ENOTSUPP
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel
from kernfs_sim.perf import PerfEvent

EVENTS = uapi.BPF_MAP_TYPE_PERF_EVENT_ARRAY
PAGE, CURRENT = 4096, 0xFFFFFFFF
HEAD, TAIL = 1024, 1032
LOST, SAMPLE = 2, 9


def live_event(cpu: int) -> int:
    """perf_event_open(2) of a software event that only programs write to."""
    kind, config, sample_raw, wakeup_each = 1, 10, 1 << 10, 1
    attr = struct.pack("<IIQQQQQI", kind, 128, config, 0, sample_raw, 0, 0, wakeup_each).ljust(128, b"\0")
    fd = ctypes.CDLL(None, use_errno=True).syscall(298, attr, -1, cpu, -1, 8)
    assert fd >= 0, os.strerror(ctypes.get_errno())
    return int(fd)


class Samples:
    """tests/objects/perf.bpf.c in one kernel, an event for each CPU with a ring of one page."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.object = load_object(calls, "perf")
        self.fd = self.object.maps["events"].fd
        kernel: Any = calls.kernel
        if kernel is None:
            self.events = [live_event(cpu) for cpu in range(calls.cpus)]
        else:
            opened = [PerfEvent(kernel.native, cpu, 1) for cpu in range(calls.cpus)]
            self.events = [kernel.caller.fds.install(event) for event in opened]
        self.rings = [calls.bpf.mmap(fd, 2 * PAGE, True) for fd in self.events]

    def close(self) -> None:
        self.rings.clear()
        self.object.close()
        for fd in self.events:
            self.calls.bpf.close(fd)

    def put(self) -> None:
        for cpu, fd in enumerate(self.events):
            assert self.calls.update(self.fd, u32(cpu), u32(fd)) == 0

    def run(self, flags: int = CURRENT, size: int = 8, value: int = 0) -> int:
        ran = self.calls.run(self.object.progs["sample"].fd, ctx=struct.pack("<QQQ", flags, size, value))
        assert ran.result == 0
        return ran.retval - (1 << 32) if ran.retval >> 31 else ran.retval

    def read(self) -> list[tuple[int, bytes]]:
        """(type, what follows the header) of every record."""
        found = []
        for ring in self.rings:
            head, tail = struct.unpack_from("<QQ", ring, HEAD)
            while tail < head:
                data = bytes(ring[PAGE + (tail + i) % PAGE] for i in range(8))
                kind, _, size = struct.unpack("<IHH", data)
                found.append((kind, bytes(ring[PAGE + (tail + i) % PAGE] for i in range(8, size))))
                tail += size
            struct.pack_into("<Q", ring, TAIL, tail)
        return found


@pytest.fixture(params=["sim", "live", "interp"])
def samples(request: pytest.FixtureRequest) -> Iterator[Samples]:
    kernel = Kernel(2, engine="interp") if request.param == "interp" else None
    calls = Calls(kernel.bpf, 2, kernel) if kernel is not None else request.getfixturevalue(request.param)
    made = Samples(calls)
    yield made
    made.close()
    if kernel is not None:
        kernel.close()


def test_shapes_that_map_create_takes(calls: Calls) -> None:
    for key, value, entries, flags, want in (
        (4, 4, 8, 0, 0),
        (4, 8, 8, 0, EINVAL),
        (8, 4, 8, 0, EINVAL),
        (4, 4, 0, 0, EINVAL),
        (4, 4, 8, uapi.BPF_F_PRESERVE_ELEMS, 0),
        (4, 4, 8, uapi.BPF_F_RDONLY_PROG, EINVAL),
        (4, 4, 8, uapi.BPF_F_MMAPABLE, EINVAL),
    ):
        assert (flags, min(calls.create(EVENTS, key, value, entries, flags), 0)) == (flags, -want)


def test_only_events_go_in(samples: Samples) -> None:
    calls, fd = samples.calls, samples.fd
    assert calls.update(fd, u32(0), u32(9999)) == -EBADF
    assert calls.update(fd, u32(0), u32(fd)) == -EBADF
    assert calls.update(fd, u32(99), u32(samples.events[0])) == -E2BIG
    assert calls.delete(fd, u32(0)) == -ENOENT
    samples.put()
    assert calls.lookup(fd, u32(0), 4) == -ENOTSUPP
    assert calls.delete(fd, u32(0)) == 0


def test_samples_come_out_padded_to_eight_bytes(samples: Samples) -> None:
    assert samples.run() == -ENOENT
    samples.put()
    for size in (0, 1, 4, 8, 12, 60, 63):
        assert samples.run(size=size, value=0x0102030405060708) == 0
        ((kind, body),) = samples.read()
        raw = struct.unpack_from("<I", body)[0]
        assert (kind, raw, len(body)) == (SAMPLE, (size + 4 + 7) // 8 * 8 - 4, 4 + raw)
        assert body[4 : 4 + size] == (bytes([8, 7, 6, 5, 4, 3, 2, 1]) * 8)[:size]


def test_flags_and_places(samples: Samples) -> None:
    samples.put()
    assert samples.run(flags=1 << 32) == -EINVAL
    assert samples.run(flags=8) == -E2BIG
    assert samples.run(flags=7) == -ENOENT


def test_what_finds_no_room_is_counted_as_lost(samples: Samples) -> None:
    samples.put()
    results = [samples.run(size=60) for _ in range(60 * samples.calls.cpus)]
    assert set(results) == {0, -ENOSPC}
    lost = results.count(-ENOSPC)
    assert all(kind == SAMPLE for kind, _ in samples.read())
    told = 0
    for _ in range(20 * samples.calls.cpus):  # the next sample of each CPU says how many there were
        assert samples.run(size=8) == 0
        told += sum(struct.unpack_from("<Q", body, 8)[0] for kind, body in samples.read() if kind == LOST)
    assert told in (lost, told) and 0 < told <= lost


def test_a_reader_is_woken(samples: Samples) -> None:
    samples.put()
    assert samples.run() == 0
    assert any(samples.calls.bpf.poll(fd, 0) & select.POLLIN for fd in samples.events)
    assert len(samples.read()) == 1


def counted(samples: Samples, flags: int, size: int) -> int:
    ran = samples.calls.run(samples.object.progs["count"].fd, ctx=struct.pack("<QQ", flags, size))
    assert ran.result == 0
    return ran.retval - (1 << 32) if ran.retval >> 31 else ran.retval


def test_events_are_read(samples: Samples) -> None:
    for size in (0, 24):
        assert counted(samples, CURRENT, size) == counted(samples, 0, size) == -ENOENT
        assert counted(samples, 8, size) == -E2BIG
        assert counted(samples, 1 << 32, size) == -EINVAL
    assert counted(samples, CURRENT, 16) == -EINVAL
    samples.put()
    samples.run()
    for size in (0, 24):
        assert counted(samples, CURRENT, size) == 0, "what programs write is no event"
