"""bench load: what it takes to load a program: maps, verification, compilation; ns a load, beside the live kernel's.

The programs are bench jit's. "compiled" is a load that compiles (bpfjit's column), "cached" one that finds the code on
disk; "first_ns" and "cached_first_ns" are the same to the end of the first execution. The verifier's share stands beside.
What is parsing of the object is done before, for both kernels alike.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bpfjit.jit import ObjectCache
from kernfs_sim import Kernel

from ..errors import BpfError, describe
from ..loader import Object, live_bpf, open_object
from ..loader.bpf import Bpf, Buffers
from ..uapi import bpf as uapi
from .bench_jit import packet
from .bench_rows import Progress, Row, geomean, source_tree

ROUNDS, QUICK_ROUNDS = 11, 3
_SLOW_NS = 2e9  # a load that takes as long is not measured more often than it must


def sources() -> list[Path]:
    return sorted(source_tree("benchmarks/programs").glob("*.bpf.c"))


def _timed(obj: Object, bpf: Bpf, data: bytes = packet()) -> tuple[float, float]:
    """ns until the object is loaded, and until its program has run once."""
    buffers = Buffers()
    place = buffers.put(data)
    start = time.perf_counter_ns()
    loaded = obj.load(bpf)
    took = time.perf_counter_ns() - start
    (prog,) = loaded.progs.values()
    bpf(uapi.BPF_PROG_TEST_RUN, bytearray(uapi.TestRun(prog_fd=prog.fd, data_in=place, data_size_in=len(data)).pack()))
    first = time.perf_counter_ns() - start
    loaded.close()
    return float(took), float(first)


def _verified_ns(kernel: Kernel, obj: Object) -> float:
    """The verifier's own time for the object's programs."""
    with obj.load(kernel.bpf) as loaded:
        files: list[Any] = [kernel.caller.fds.get(p.fd) for p in loaded.progs.values()]
        return float(sum(f.object.verified.stats.duration_us for f in files)) * 1000


def measure(quick: bool) -> tuple[list[Row], dict[str, float | None], list[str]]:
    """(rows, geomeans, notes): every program, the engines' turns shuffled."""
    rounds = QUICK_ROUNDS if quick else ROUNDS
    notes: list[str] = []
    rows: list[Row] = []
    with ExitStack() as stack:
        plain = stack.enter_context(Kernel(cache=False))
        cached = stack.enter_context(Kernel(cache=False))
        # A cache of this run alone: what a machine has loaded before would make the first figures.
        cached._cache = ObjectCache(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bpfjit-bench-"))))
        opened = [open_object(path) for path in sources()]
        progress = Progress(len(opened))
        for path, obj in zip(sources(), opened, strict=True):
            name = path.name.removesuffix(".bpf.c")
            progress.step(name)
            rows.append(_measure(name, obj, plain, cached, rounds, notes))
        progress.close()
    pairs = [(r.median("kernel"), r.median("bpfjit"), r.more["cached_ns"]) for r in rows]
    means = {
        "speedup_kernel": geomean(theirs / ours for theirs, ours, _ in pairs if theirs and ours),
        "speedup_kernel_cached": geomean(theirs / ours for theirs, _, ours in pairs if theirs and ours),
    }
    return rows, means, notes


def _measure(name: str, obj: Object, plain: Kernel, cached: Kernel, rounds: int, notes: list[str]) -> Row:
    turns: dict[str, Callable[[], tuple[float, float]]] = {
        "bpfjit": lambda: _timed(obj, plain.bpf),
        "cached": lambda: _timed(obj, cached.bpf),
        "kernel": lambda: _timed(obj, live_bpf),
    }
    for engine in tuple(turns):
        try:
            turns[engine]()
        except (OSError, BpfError) as e:
            del turns[engine]
            notes.append(f"{name}: {engine} is not to be had: {describe(e) if isinstance(e, OSError) else e}")
    first = {engine: turn()[0] for engine, turn in turns.items()}
    order = [e for e in turns for _ in range(rounds if first[e] < _SLOW_NS / rounds else max(1, int(_SLOW_NS / first[e])))]
    random.Random(rounds).shuffle(order)
    samples: dict[str, list[float]] = {}
    executed: dict[str, list[float]] = {}
    for engine in order:
        took, ran = turns[engine]()
        samples.setdefault(engine, []).append(took)
        executed.setdefault(engine, []).append(ran)
    row = Row(name, samples, elements=sum(len(p.insns) for p in obj.progs.values()))
    found = Row("", {"cached": samples.pop("cached", []), **{f"{engine} first": ns for engine, ns in executed.items()}})
    row.more = {"first_ns": found.median("bpfjit first"), "cached_ns": found.median("cached")}
    row.more |= {"cached_first_ns": found.median("cached first"), "verified_ns": _verified_ns(plain, obj)}
    return row
