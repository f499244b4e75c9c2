"""bpfjit map event_pipe: what programs put into a perf event array, as it comes."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import os
import select
import struct
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from ..dataclass import dataclass
from ..errors import UsageError
from ..loader.inspect import MapFd
from ..uapi import bpf as uapi
from . import common
from .map import hex_lines, out
from .reach import Reach, failed, parse_number

_PAGE, _PAGES = 4096, 16
_DATA_BYTES = _PAGE * _PAGES
_HEAD, _TAIL = 1024, 1032  # in struct perf_event_mmap_page
_LOST, _SAMPLE = 2, 9  # PERF_RECORD_*
_PERF_EVENT_OPEN = 298
_WAIT_MS = 100


@dataclass(slots=True)
class _Event:
    """An open event: its CPU, its place in the map, its ring; ready() waits a little for records."""

    fd: int
    cpu: int
    index: int
    ring: memoryview | Any
    ready: Callable[[int], object]
    timed: bool  # a sample begins with when it was


def event_pipe(args: argparse.Namespace, at: Reach) -> int:
    """event_pipe MAP [cpu N index M]: until it is interrupted."""
    told: list[bool] = []
    with at.one("map") as fd, contextlib.ExitStack() as stack, common.ended_by(lambda: told.append(True)):
        m = MapFd(at.bpf, fd)
        if m.info["type"] != uapi.BPF_MAP_TYPE_PERF_EVENT_ARRAY:
            raise UsageError("the map is no perf event array")
        events = [_opened(at.bpf, stack, cpu, index) for cpu, index in _places(at, m)]
        for event in events:
            try:
                m.update(event.index.to_bytes(4, "little"), event.fd.to_bytes(4, "little"))
            except OSError as e:
                raise failed("failed to put an event into the map", e) from None
        rows = []
        for row in _records(events, told):
            rows.append(row)
            if not common.wants_json(args):
                sys.stdout.write(_text(row))
                sys.stdout.flush()
                rows.clear()
        if common.wants_json(args):
            out(args, rows)
        for event in events:
            event.ring = None
    return common.DONE


def _places(at: Reach, m: MapFd) -> list[tuple[int, int]]:
    """CPU and index of each event: one for every CPU that the map has room for, or the one that is named."""
    if not at.words:
        return [(cpu, cpu) for cpu in range(min(at.bpf.possible_cpus(), m.info["max_entries"]))]
    named: dict[str, int] = {}
    while at.words:
        word = at.words.pop(0)
        if word not in ("cpu", "index") or word in named:
            raise UsageError(f"what is '{word}'? Wanted cpu N index M")
        named[word] = parse_number(at.pop(f"what {word}"), word, 1 << 31)
    if len(named) < 2:
        raise UsageError("cpu and index go together")
    return [(named["cpu"], named["index"])]


def _opened(bpf: Any, stack: contextlib.ExitStack, cpu: int, index: int) -> _Event:
    kernel = getattr(bpf, "kernel", None)
    if kernel is not None:
        from kernfs_sim.perf import PerfEvent

        opened = PerfEvent(kernel.native, cpu, _PAGES)
        fd = kernel.caller.fds.install(opened)
        ready: Callable[[int], object] = opened.poll
    elif getattr(bpf, "entry", None) is not None:
        raise OSError(errno.EOPNOTSUPP, "events of a mounted kernel are out of reach")
    else:
        fd = _live_event(cpu)
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        ready = poller.poll
    stack.callback(bpf.close, fd)
    return _Event(fd, cpu, index, bpf.mmap(fd, _PAGE + _DATA_BYTES, True), ready, kernel is None)


def _live_event(cpu: int) -> int:
    """perf_event_open(2) of an event that only programs write to, whose samples tell when they were."""
    software, bpf_output, time_and_raw, wake_each = 1, 10, 1 << 2 | 1 << 10, 1
    attr = struct.pack("<IIQQQQQI", software, 128, bpf_output, 0, time_and_raw, 0, 0, wake_each).ljust(128, b"\0")
    libc = ctypes.CDLL(None, use_errno=True)
    fd = int(libc.syscall(_PERF_EVENT_OPEN, attr, -1, cpu, -1, 8))
    if fd < 0:
        raise OSError(ctypes.get_errno(), f"perf event of cpu {cpu}: {os.strerror(ctypes.get_errno()).lower()}")
    return fd


def _records(events: list[_Event], told: list[bool]) -> Iterator[dict[str, Any]]:
    """What comes, until `told` holds something."""
    while not told:
        for event in events:
            event.ready(_WAIT_MS if len(events) == 1 else _WAIT_MS // len(events))
            head, tail = struct.unpack_from("<QQ", event.ring, _HEAD)
            while tail < head:
                kind, _, size = struct.unpack("<IHH", _bytes(event.ring, tail, 8))
                body = _bytes(event.ring, tail + 8, size - 8)
                tail += size
                struct.pack_into("<Q", event.ring, _TAIL, tail)
                yield _row(event, kind, body)


def _bytes(ring: Any, at: int, size: int) -> bytes:
    """Out of the ring, whose end goes on at its beginning."""
    place = at % _DATA_BYTES
    first = bytes(ring[_PAGE + place : _PAGE + min(place + size, _DATA_BYTES)])
    return first + bytes(ring[_PAGE : _PAGE + size - len(first)])


def _row(event: _Event, kind: int, body: bytes) -> dict[str, Any]:
    if kind == _SAMPLE:
        when = time.monotonic_ns()
        if event.timed:
            when, body = int.from_bytes(body[:8], "little"), body[8:]
        size = int.from_bytes(body[:4], "little")
        place = {"type": kind, "cpu": event.cpu, "index": event.index, "timestamp": when}
        return {**place, "data": list(body[4 : 4 + size])}
    if kind == _LOST:
        return {"type": kind, "id": int.from_bytes(body[:8], "little"), "lost": int.from_bytes(body[8:16], "little")}
    return {"type": kind, "size": len(body) + 8}


def _text(row: dict[str, Any]) -> str:
    if row["type"] == _LOST:
        return f"lost {row['lost']} events\n"
    if row["type"] != _SAMPLE:
        return f"unknown event type={row['type']} size={row['size']}\n"
    second, rest = divmod(row["timestamp"], 10**9)
    return f"== @{second}.{rest:09} CPU: {row['cpu']} index: {row['index']} =====\n{hex_lines(bytes(row['data']))}\n"
