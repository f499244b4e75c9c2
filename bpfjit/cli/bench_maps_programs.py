"""bench maps, the rows of kind "program": what an operation on a map costs within a program, beside the live kernel.

Each program does its operation 1,000 times, so what a test run tells in whole ns is exact to a thousandth.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

from kernfs_sim import Kernel

from ..errors import BpfError, describe
from ..loader import LoadedObject, live_bpf, open_object
from ..loader.bpf import Bpf, Buffers
from ..uapi import bpf as uapi
from .bench_rows import Progress, Row, source_tree

_TIMES = 1000  # TIMES of benchmarks/maps/operations.bpf.c
_PAGE = 4096
_REPEAT = 100
WHAT = {
    "array_increment": "array lookup+increment",
    "percpu_array_increment": "per-CPU array lookup+increment",
    "hash_lookup": "hash lookup, 10,000 keys",
    "hash_hot": "hash lookup, one key",
    "percpu_hash_lookup": "per-CPU hash lookup",
    "lru_hash_lookup": "LRU hash lookup",
    "hash_update": "hash update",
    "hash_replace": "hash delete and update",
    "lru_hash_update": "LRU hash update",
    "inner_increment": "array of maps, inner lookup+increment",
    "ring_submit": "ring buffer, reserve and submit",
    "each_array": "for_each_map_elem of an array, an element",
    "each_hash": "for_each_map_elem of a hash, an element",
    "loop": "bpf_loop, a round",
}
# Programs that one thread runs and two at once, by program: ns an operation of all threads together.
THREADED = {"hash_update": "hash update, 10,000 keys", "large_update": "hash update, 1 M keys"}
_OPERATIONS = {"each_array": 1024, "each_hash": 10000}  # of one execution, where they are not _TIMES


class _Ring:
    """The reader of a ring buffer, who is never behind."""

    def __init__(self, bpf: Any, fd: int) -> None:
        self._read, self._written = bpf.mmap(fd, _PAGE, True), bpf.mmap(fd, _PAGE, False, _PAGE)

    def empty(self) -> None:
        self._read[:8] = self._written[:8]


def _run(bpf: Bpf, loaded: LoadedObject, name: str, repeat: int, ns: Callable[[uapi.TestRun], float]) -> float:
    keep = Buffers()
    attr = uapi.TestRun(prog_fd=loaded.progs[name].fd, data_in=keep.put(bytes(64)), data_size_in=64, repeat=repeat)
    raw = bytearray(attr.pack())
    bpf(uapi.BPF_PROG_TEST_RUN, raw)
    return ns(uapi.TestRun.unpack(raw))


def measure(rounds: int, notes: list[str]) -> list[Row]:
    """ns an operation, the engines' turns shuffled."""
    obj = open_object(source_tree("benchmarks/maps") / "operations.bpf.c")
    rows = {name: Row(what, elements=1, more={"kind": "program"}) for name, what in WHAT.items()}
    with ExitStack() as stack:
        kernel = stack.enter_context(Kernel(cpus=2, cache=False, tiered=False))
        ours = stack.enter_context(obj.load(kernel.bpf))
        engines: dict[str, Callable[[str, int], float]] = {
            "bpfjit": lambda name, repeat: _run(kernel.bpf, ours, name, repeat, lambda done: kernel.last_mean_ns)
        }
        try:
            theirs = stack.enter_context(obj.load(live_bpf))
            engines["kernel"] = lambda name, repeat: _run(live_bpf, theirs, name, repeat, lambda done: float(done.duration))
        except (BpfError, OSError) as e:
            said = describe(e) if isinstance(e, OSError) else str(e)
            notes.append(f"programs on maps: the live kernel is not to be had: {said}")
        rings = {"bpfjit": _Ring(kernel.bpf, ours.maps["ring"].fd)}
        if "kernel" in engines:
            rings["kernel"] = _Ring(live_bpf, theirs.maps["ring"].fd)
        for run in engines.values():
            run("fill", 1)
            run("fill_large", 1)
        threaded = list(_threads(engines, rounds))
        turns = [(engine, name) for engine in engines for name in rows for _ in range(rounds)]
        random.Random(rounds).shuffle(turns)
        progress = Progress(len(turns))
        for engine, name in turns:
            progress.step(f"{name}, {engine}")
            rings[engine].empty()
            ns = engines[engine](name, _REPEAT) / _OPERATIONS.get(name, _TIMES)
            rows[name].samples.setdefault(engine, []).append(ns)
        progress.close()
    return [*rows.values(), *threaded]


def _threads(engines: dict[str, Callable[[str, int], float]], rounds: int) -> Iterator[Row]:
    """One thread's and two threads' updates of one hash, each thread on a processor of its own where there are two."""
    for name, what in THREADED.items():
        for count, text in ((1, "one thread"), (2, "two threads")):
            row = Row(f"{what}, {text}", elements=1, more={"kind": "threads"})
            for _ in range(rounds):
                for engine, run in engines.items():
                    took = _together(count, lambda run=run, name=name: run(name, _REPEAT))  # type: ignore[misc]
                    row.samples.setdefault(engine, []).append(took / (count * _REPEAT * _TIMES))
            yield row


def _together(count: int, run: Callable[[], object]) -> float:
    """ns that `count` threads take which run it at once."""
    cpus, ready = sorted(os.sched_getaffinity(0)), threading.Barrier(count + 1)

    def work(cpu: int) -> None:
        os.sched_setaffinity(0, {cpu})  # of this thread alone
        ready.wait()
        run()

    threads = [threading.Thread(target=work, args=(cpus[i % len(cpus)],)) for i in range(count)]
    for t in threads:
        t.start()
    ready.wait()
    start = time.perf_counter_ns()
    for t in threads:
        t.join()
    return time.perf_counter_ns() - start
