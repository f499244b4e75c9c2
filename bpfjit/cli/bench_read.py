"""bench read: what a reader of views pays, beside Linux's pinned iterator and cgroup.stat, while events happen.

The simulated system has 10,000 cgroups with the example's view in each. A thread fires sched_stat_wait all
along, through the native programs (some 100,000 a second, for which it takes a tenth of a CPU and of Python's lock); only
the mount is measured without events too. Readers are threads of this process: a view is opened, read and closed through
the Python API, files of the live kernel through os.open, os.read and os.close, so both pay Python's price. Readers of
the mount that this process serves are processes, as they would be; beside them stands what two exchanges between
processes cost here at all.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import random
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from kernfs_sim import Kernel
from runtime import ffi, lib

from ..errors import BpfError, describe
from ..loader import LoadedObject, live_bpf, open_object
from ..uapi import bpf as uapi
from .bench_rows import Progress, Row, geomean, rounded, source_tree

CGROUPS = 10_000
_READ_BYTES = 1 << 16
# One operation of a reader: how often it counts, and the bytes it brought.
Operation = Callable[[random.Random], tuple[int, int]]


class System:
    """10,000 cgroups, a view exposed in each, a map with a wait for each."""

    def __init__(self, cgroups: int) -> None:
        self.kernel = Kernel(cpus=4, cache=False, tiered=False)
        self.cgroups = [self.kernel.cgroups.create(f"/fleet/{i // 100}/{i % 100}") for i in range(cgroups)]
        self.tasks = [self.kernel.tasks.create(100 + i, "worker", cgroup) for i, cgroup in enumerate(self.cgroups)]
        self.loaded: LoadedObject = open_object(source_tree("examples") / "wait_latency.bpf.c").load(self.kernel.bpf)
        links = self.loaded.attach()
        view = links["wait_show"]
        view.pin("/sys/fs/bpf/wait_show")
        self.paths = [f"/sys/fs/cgroup{c.path}/wait_show" for c in self.cgroups]
        for path in self.paths:
            view.pin(path)
        for task in self.tasks:
            self.fire(task, 1000 + task.pid)
        prog = self.kernel.caller.fds.get(self.loaded.progs["wait_show"].fd).object
        self._fn = ffi.cast("rt_prog_fn", prog.native.addr)
        self._objects = ffi.new("void *[]", [c.c for c in self.cgroups])
        self._local = threading.local()

    def fire(self, task: Any, delta_ns: int, repeat: int = 1) -> None:
        self.kernel.fire("sched_stat_wait", [int(ffi.cast("uintptr_t", task.c)), delta_ns], task.c, repeat)

    def read_one(self, rng: random.Random) -> tuple[int, int]:
        """One cgroup's file, over and over: what the kernel's rows do with theirs."""
        if not hasattr(self._local, "path"):
            self._local.path = rng.choice(self.paths)
        return 1, len(self.kernel.read_bytes(self._local.path))

    def read_all(self, rng: random.Random) -> tuple[int, int]:
        """Every cgroup through the view in one native call."""
        count = len(self.cgroups)
        if not hasattr(self._local, "buf"):
            self._local.buf, self._local.ends = ffi.new("char[]", count * 64), ffi.new("u64[]", count)
        buf, ends = self._local.buf, self._local.ends
        done = lib.rt_view_read_many(self.kernel.native.ptr, self._fn, self._objects, count, buf, len(buf), ends, ffi.NULL)
        assert done == count, f"bulk read stopped after {done} of {count}"
        return count, int(ends[count - 1])

    def close(self) -> None:
        self.loaded.close()
        self.kernel.close()


@contextlib.contextmanager
def events(system: System) -> Iterator[threading.Event]:
    """Events happen in another thread for as long as this lasts, and what it yields is set."""
    stop, going = threading.Event(), threading.Event()
    going.set()

    def fire() -> None:
        rng = random.Random(1)
        while not stop.is_set():
            going.wait()
            system.fire(system.tasks[rng.randrange(len(system.tasks))], rng.randrange(1 << 20), 100)
            time.sleep(0.0005)  # some 100,000 a second: a busy machine, not a spinning one

    thread = threading.Thread(target=fire)
    thread.start()
    try:
        yield going
    finally:
        stop.set()
        going.set()
        thread.join()


def read_file(path: str) -> Operation:
    def read(rng: random.Random) -> tuple[int, int]:
        fd = os.open(path, os.O_RDONLY)
        n = len(os.read(fd, _READ_BYTES))
        os.close(fd)
        return 1, n

    return read


def two_exchanges() -> Operation:
    """A byte to another process and back, twice: what a mount's open and read are at least, whoever serves it."""
    ends: dict[int, tuple[int, int]] = {}

    def echo() -> tuple[int, int]:
        there, back = os.pipe(), os.pipe()
        if not os.fork():
            os.close(there[1])  # so that the other end's process takes this one with it
            with contextlib.suppress(OSError):
                while os.write(back[1], os.read(there[0], 1)):
                    pass
            os._exit(0)
        return there[1], back[0]

    def exchange(rng: random.Random) -> tuple[int, int]:
        if os.getpid() not in ends:
            ends[os.getpid()] = echo()
        to, back = ends[os.getpid()]
        for _ in range(2):
            os.write(to, b"x")
            os.read(back, 1)
        return 1, 2

    return exchange


# A reader's part of a turn: ns of each call per element, elements, bytes, when it began and ended.
Outcome = tuple[list[float], int, int, int, int]
MOUNT, QUIET = "mount open+read+close", "mount open+read+close, no events"
PIPES = "two exchanges through pipes, no events"


def _read_for(operation: Operation, seed: int, seconds: float, ready: Callable[[], object]) -> Outcome:
    """One reader: warm up, wait for the others with ready(), go on for a while."""
    rng, clock = random.Random(seed), time.perf_counter_ns
    samples, elements, got = [], 0, 0
    operation(rng)
    ready()
    begin = now = clock()
    end = begin + int(seconds * 1e9)
    while now < end:
        n, size = operation(rng)
        then, now = now, clock()
        samples.append((now - then) / n)
        elements += n
        got += size
    return samples, elements, got, begin, now


def timed(operation: Operation, threads: int, seconds: float) -> tuple[list[float], float, int, int]:
    """Run an operation in threads for a while: (ns of each call per element, seconds, elements, bytes)."""
    start_line, outcomes = threading.Barrier(threads + 1), []
    workers = [
        threading.Thread(target=lambda i=i: outcomes.append(_read_for(operation, i, seconds, start_line.wait)))
        for i in range(threads)
    ]
    for worker in workers:
        worker.start()
    start_line.wait()
    for worker in workers:
        worker.join()
    return _together(outcomes)


def timed_processes(operation: Operation, processes: int, seconds: float) -> tuple[list[float], float, int, int]:
    """As timed(), each reader a process of its own. Raises OSError for a reader that failed."""
    context = multiprocessing.get_context("fork")
    start_line, outcomes = context.Barrier(processes + 1), context.SimpleQueue()

    def read(seed: int) -> None:
        outcomes.put(_read_for(operation, seed, seconds, start_line.wait))

    readers = [context.Process(target=read, args=(i,)) for i in range(processes)]
    for reader in readers:
        reader.start()
    start_line.wait(30)
    found = [outcomes.get() for _ in readers]
    for reader in readers:
        reader.join()
    return _together(found)


def _together(outcomes: list[Outcome]) -> tuple[list[float], float, int, int]:
    """By the readers' own clocks: whoever waits for them may be late where processors are few."""
    took = (max(o[4] for o in outcomes) - min(o[3] for o in outcomes)) / 1e9
    return [s for o in outcomes for s in o[0]], took, sum(o[1] for o in outcomes), sum(o[2] for o in outcomes)


@contextlib.contextmanager
def mounted(system: System) -> Iterator[str]:
    """The path of a view's file in a mount of the system. Raises OSError where FUSE is not to be had."""
    from kernfs_sim.fs.fuse_mount import FuseMount

    with tempfile.TemporaryDirectory(prefix="bpfjit-bench-") as where, FuseMount(system.kernel, where):
        yield where + system.paths[0]


@contextlib.contextmanager
def private_bpffs() -> Iterator[str]:
    """A bpffs of our own, unmounted at the end. Raises OSError (EPERM) without privilege."""
    libc = ctypes.CDLL(None, use_errno=True)
    with tempfile.TemporaryDirectory(prefix="bpfjit-bpffs-") as where:
        if libc.mount(b"bpf", where.encode(), b"bpf", 0, None):
            number = ctypes.get_errno()
            raise OSError(number, f"mount of a bpffs: {os.strerror(number).lower()}")
        try:
            yield where
        finally:
            libc.umount2(where.encode(), 2)  # MNT_DETACH


@contextlib.contextmanager
def pinned_iterator() -> Iterator[str]:
    """The path of a pinned iterator over one cgroup, in the live kernel. Raises BpfError or OSError."""
    from kernfs_sim.host import cgroup2_mount

    obj = open_object(source_tree("benchmarks/iterators") / "one_cgroup.bpf.c")
    with private_bpffs() as where, obj.load(live_bpf) as loaded:
        cgroup = os.open(cgroup2_mount(), os.O_RDONLY | os.O_DIRECTORY)
        try:
            link = loaded.attach_prog(loaded.progs["show"], struct.pack("<IIQ", uapi.BPF_CGROUP_ITER_SELF_ONLY, cgroup, 0))
        finally:
            os.close(cgroup)
        try:
            link.pin(f"{where}/iter")
            yield f"{where}/iter"
        finally:
            link.close()


def cgroup_stat() -> str:
    """The path of a cgroup.stat of this machine. Raises OSError where there is none."""
    from kernfs_sim.host import cgroup2_mount

    mount = cgroup2_mount()
    found = next((p for p in [mount / "cgroup.stat", *mount.glob("*/cgroup.stat")] if p.is_file()), None)
    if found is None:
        raise FileNotFoundError(2, f"no cgroup.stat below {mount}")
    return str(found)


def measure(quick: bool) -> tuple[list[Row], dict[str, Any], list[str]]:
    """Each row with one and two reader threads, the rows' turns shuffled."""
    rounds, seconds = (3, 0.05) if quick else (9, 0.25)
    notes = ["readers are threads of one Python process, of the mount processes; events fire in another thread"]
    with contextlib.ExitStack() as stack:
        system = System(CGROUPS)
        stack.callback(system.close)
        operations: dict[str, tuple[str, Operation | None]] = {
            "view open+read+close": ("bpfjit", system.read_one),
            "bulk read": ("bpfjit", system.read_all),
            MOUNT: ("bpfjit", None),
            QUIET: ("bpfjit", None),
            PIPES: ("native", two_exchanges()),
            "kernel pinned iterator": ("kernel", None),
            "kernel cgroup.stat": ("kernel", None),
        }
        with _noted(notes, "the mount"):
            operations[MOUNT] = operations[QUIET] = ("bpfjit", read_file(stack.enter_context(mounted(system))))
        with _noted(notes, "the live kernel's pinned iterator"):
            operations["kernel pinned iterator"] = ("kernel", read_file(stack.enter_context(pinned_iterator())))
        with _noted(notes, "the live kernel's cgroup.stat"):
            operations["kernel cgroup.stat"] = ("kernel", read_file(cgroup_stat()))
        rows = {(what, threads): Row(what, elements=None) for what in operations for threads in (1, 2)}
        turns = [key for key in rows for _ in range(rounds)]
        random.Random(rounds).shuffle(turns)
        seen: dict[tuple[str, int], list[tuple[list[float], float, int, int]]] = {key: [] for key in rows}
        progress = Progress(len(turns))
        happening = stack.enter_context(events(system))
        for what, threads in turns:
            progress.step(what)
            operation = operations[what][1]
            if operation is not None:
                run = timed_processes if what in (MOUNT, QUIET, PIPES) else timed
                if what in (QUIET, PIPES):
                    happening.clear()
                seen[what, threads].append(run(operation, threads, seconds))
                happening.set()
        progress.close()
        for (what, threads), row in rows.items():
            _fill(row, threads, operations[what][0], seen[what, threads])
            row.elements = len(system.cgroups) if what == "bulk read" else 1
    return list(rows.values()), _geomeans(rows), notes


@contextlib.contextmanager
def _noted(notes: list[str], what: str) -> Iterator[None]:
    """What the live kernel does not give becomes a note, and its figures null."""
    try:
        yield
    except OSError as e:
        notes.append(f"{what} is not to be had: {describe(e)}")
    except BpfError as e:
        notes.append(f"{what} is not to be had: {e}")


def _fill(row: Row, threads: int, engine: str, turns: list[tuple[list[float], float, int, int]]) -> None:
    """A row's figures: ns an element as one reader sees it, reads and bytes a second of all readers together."""
    row.more["threads"] = threads
    if not turns:
        row.more |= dict.fromkeys(("reads_per_s", "mb_per_s", "p50_ns", "p99_ns"))
        return
    # Each turn's mean per reader, so that pauses count too.
    row.samples[engine] = [took * 1e9 * threads / elements for _, took, elements, _ in turns]
    every = sorted(s for samples, *_ in turns for s in samples)
    took = sum(t for _, t, _, _ in turns)
    row.more |= {
        "reads_per_s": rounded(sum(n for _, _, n, _ in turns) / took),
        "mb_per_s": rounded(sum(b for _, _, _, b in turns) / took / 1e6),
        "p50_ns": rounded(every[len(every) // 2]),
        "p99_ns": rounded(every[len(every) * 99 // 100]),
    }


def _geomeans(rows: dict[tuple[str, int], Row]) -> dict[str, Any]:
    """How many times faster a view opens, reads and closes than the live kernel's pinned iterator."""
    theirs = [rows["kernel pinned iterator", n].median("kernel") for n in (1, 2)]
    ours = [rows["view open+read+close", n].median("bpfjit") for n in (1, 2)]
    return {"speedup_kernel": geomean(a / b for a, b in zip(theirs, ours, strict=True) if a and b)}
