"""bench iter: whole walks, ns an element, read in 64 KiB pieces; the same object on the live kernel beside it.

The live kernel walks as many cgroups and tasks as ours: empty directories and sleeping threads, made for the purpose
and taken away again.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from kernfs_sim import Kernel
from kernfs_sim.host import cgroup2_mount

from ..dataclass import dataclass
from ..errors import VerifierError, describe
from ..loader import LoadedObject, Object, live_bpf, open_object
from ..loader.bpf import Bpf
from ..uapi import bpf as uapi
from .bench_rows import Progress, Row, geomean, source_tree

ELEMENTS, CGROUPS, TASKS = 100_000, 1_000, 2_000
ROUNDS, QUICK_ROUNDS = 11, 5
_INTERP_ELEMENTS = 500  # the interpreter's elements cost the same, however many they are
_INTERP_OBJECTS = 50
_ENOUGH = 20_000  # elements in one sample
_READ_BYTES = 1 << 16
Read = Callable[[int, int], bytes]


@dataclass(frozen=True, slots=True)
class Walk:
    """One walk: the program, the map it is over ("" for none), and how many elements it has."""

    what: str
    prog: str
    map: str
    elements: int


WALKS = (
    Walk("map elements printf", "elements_printf", "table", ELEMENTS),
    Walk("map elements write", "elements_write", "table", ELEMENTS),
    Walk("map elements nothing", "elements_nothing", "table", ELEMENTS),
    Walk("array elements printf", "row_printf", "row", ELEMENTS),
    Walk("array elements write", "row_write", "row", ELEMENTS),
    Walk("array elements nothing", "elements_nothing", "row", ELEMENTS),
    Walk("cgroups print", "cgroups_print", "", CGROUPS + 1),
    Walk("tasks print", "tasks_print", "", TASKS),
)


def _info(**fields: int) -> bytes:
    layout, raw = uapi.LAYOUTS["bpf_iter_link_info"], bytearray(uapi.LAYOUTS["bpf_iter_link_info"].size)
    for name, value in fields.items():
        offset, size = layout.fields[name.replace("__", ".")]
        raw[offset : offset + size] = value.to_bytes(size, "little")
    return bytes(raw)


class Place:
    """The object in one kernel, its maps filled; `cgroup` and `tasks` are link parameters of the walks without a map."""

    def __init__(
        self, bpf: Bpf, obj: Object, read: Read, elements: int, cgroup: dict[str, int], tasks: dict[str, int]
    ) -> None:
        self.bpf, self.read = bpf, read
        self.loaded: LoadedObject = obj.load(bpf, only=())
        self.refused: list[VerifierError] = []
        for prog in obj.progs.values():
            try:
                self.loaded.load_prog(prog)
            except VerifierError as e:
                self.refused.append(e)
        self.parameters = {"cgroups_print": cgroup, "tasks_print": tasks}
        for name, key_bytes in (("table", 8), ("row", 4)):
            m = self.loaded.maps[name]
            for i in range(elements):
                m.update(i.to_bytes(key_bytes, "little"), (i * 3).to_bytes(8, "little"))

    def may(self, walk: Walk) -> bool:
        """Whether the kernel has taken the program."""
        return walk.prog in self.loaded.progs

    def walk(self, walk: Walk) -> float:
        """One whole walk: ns."""
        info = self.parameters.get(walk.prog, {})
        raw = _info(map__map_fd=self.loaded.maps[walk.map].fd) if walk.map else _info(**info) if info else b""
        link = self.loaded.attach_prog(self.loaded.progs[walk.prog], raw)
        fd = self.bpf(uapi.BPF_ITER_CREATE, bytearray(uapi.IterCreate(link_fd=link.fd).pack()))
        read = self.read
        start = time.perf_counter_ns()
        while read(fd, _READ_BYTES):
            pass
        spent = time.perf_counter_ns() - start
        self.bpf.close(fd)
        link.close()
        return spent


def _ours(stack: ExitStack, obj: Object, engine: str, elements: int, cgroups: int, tasks: int) -> Place:
    kernel = stack.enter_context(Kernel(engine=engine))
    for i in range(cgroups):
        kernel.cgroups.create(f"/bench/{i}")
    for pid in range(1, tasks + 1):
        kernel.tasks.create(pid, "bench")
    caller = kernel.caller
    cgroup = {"cgroup__order": uapi.BPF_CGROUP_ITER_DESCENDANTS_PRE, "cgroup__cgroup_id": kernel.cgroups.find("/bench").id}
    place = Place(kernel.bpf, obj, lambda fd, size: caller.fds.get(fd).read(caller, size), elements, cgroup, {})
    stack.callback(place.loaded.close)
    if place.refused:
        raise place.refused[0]
    return place


@contextmanager
def _empty_cgroups(count: int) -> Iterator[str]:
    """A cgroup of this machine with `count` empty ones in it, for as long as they are measured."""
    top = f"{cgroup2_mount()}/bpfjit-bench-{os.getpid()}"
    made = [top, *(f"{top}/{i}" for i in range(count))]
    try:
        for path in made:
            os.mkdir(path)
        yield top
    finally:
        for path in reversed(made):
            with suppress(FileNotFoundError):
                os.rmdir(path)


_SLEEPERS = (
    "import sys, threading; threading.stack_size(65536); wait = threading.Event().wait\n"
    "[threading.Thread(target=wait, daemon=True).start() for _ in range(int(sys.argv[1]) - 1)]\n"
    "print('ready', flush=True); sys.stdin.read(); import os; os._exit(0)"
)


@contextmanager
def _sleepers(count: int) -> Iterator[int]:
    """A process with so many threads, all asleep."""
    command = [sys.executable, "-S", "-c", _SLEEPERS, str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            if process.stdout.readline() != b"ready\n":
                raise OSError(0, f"{count} threads could not be started")
            yield process.pid
        finally:
            process.stdin.close()


def _linux(stack: ExitStack, obj: Object) -> Place:
    top = stack.enter_context(_empty_cgroups(CGROUPS))
    pid = stack.enter_context(_sleepers(TASKS))
    directory = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    stack.callback(os.close, directory)
    cgroup = {"cgroup__order": uapi.BPF_CGROUP_ITER_DESCENDANTS_PRE, "cgroup__cgroup_fd": directory}
    place = Place(live_bpf, obj, os.read, ELEMENTS, cgroup, {"task__pid": pid})
    stack.callback(place.loaded.close)
    return place


def measure(quick: bool) -> tuple[list[Row], dict[str, Any], list[str]]:
    """Rows, geomeans of the live kernel's ns over ours, and what could not be had."""
    obj = open_object(source_tree("benchmarks/iterators") / "walks.bpf.c")
    rounds, notes = QUICK_ROUNDS if quick else ROUNDS, []
    rows = [Row(walk.what, elements=walk.elements) for walk in WALKS]
    with ExitStack() as stack:
        places: dict[str, Place] = {"bpfjit": _ours(stack, obj, "jit", ELEMENTS, CGROUPS, TASKS)}
        interp = _ours(stack, obj, "interp", _INTERP_ELEMENTS, _INTERP_OBJECTS - 1, _INTERP_OBJECTS)
        try:
            places["kernel"] = stack.enter_context(_Entered(obj))
        except OSError as e:
            notes.append(f"the live kernel is not measured: {describe(e)}")
        else:
            notes += [f"the live kernel does not take {e.program}: {e.cause}" for e in places["kernel"].refused]
        progress = Progress(rounds * len(WALKS))
        for place in places.values():
            for walk in filter(place.may, WALKS):
                place.walk(walk)  # what is compiled and touched first is not measured
        for round_ in range(rounds):
            for walk, row in zip(WALKS, rows, strict=True):
                for engine, place in places.items():
                    if not place.may(walk):
                        continue
                    # Short walks several times: one alone measures what the walks before it left in the caches.
                    times = max(1, _ENOUGH // walk.elements)
                    spent = sum(place.walk(walk) for _ in range(times))
                    row.samples.setdefault(engine, []).append(spent / times / walk.elements)
                if not round_ and walk.map != "row":  # an array has all its elements, which would take it minutes
                    few = _INTERP_ELEMENTS if walk.map else _INTERP_OBJECTS
                    row.samples["interp"] = [interp.walk(walk) / few]
                progress.step(walk.what)
        progress.close()
    ratios = [(row.median("kernel") or 0) / (row.median("bpfjit") or 1) for row in rows]
    return rows, {"speedup_kernel": geomean(ratios)}, notes


class _Entered(ExitStack):
    """The live kernel's side; what it made goes when the measurement is over."""

    def __init__(self, obj: Object) -> None:
        super().__init__()
        self._obj = obj

    def __enter__(self) -> Any:
        try:
            return _linux(self, self._obj)
        except BaseException:
            self.close()
            raise
