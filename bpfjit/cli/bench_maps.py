"""bench maps: what programs do with maps (bench_maps_programs.py), and bpf(2) on maps, ns an element.

Of bpf(2) the live kernel's figures come from the same calls through syscall(2): both sides are called from Python, whose
price the single elements pay alike; a batch pays it once.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

from kernfs_sim import Kernel

from ..dataclass import dataclass
from ..errors import describe
from ..loader import live_bpf
from ..loader.bpf import Bpf, Buffers
from ..uapi import bpf as uapi
from . import bench_maps_programs
from .bench_rows import Progress, Row, geomean

ELEMENTS, QUICK_ELEMENTS = 100_000, 10_000
ROUNDS, QUICK_ROUNDS = 9, 3
_CALLS = 4000  # of one element, in one timing


@dataclass(frozen=True, slots=True)
class Shape:
    """A map that is measured: `key_bytes` and `value_bytes` of an element."""

    name: str
    map_type: int
    flags: int = 0
    key_bytes: int = 8
    value_bytes: int = 8
    batches: bool = True


SHAPES = (
    Shape("hash u64", uapi.BPF_MAP_TYPE_HASH),
    Shape("hash u64 not preallocated", uapi.BPF_MAP_TYPE_HASH, uapi.BPF_F_NO_PREALLOC),
    Shape("array u64", uapi.BPF_MAP_TYPE_ARRAY, key_bytes=4),
    Shape("LRU hash u64", uapi.BPF_MAP_TYPE_LRU_HASH),
)


class Measured:
    """One map in one kernel, with buffers that stay where they are."""

    def __init__(self, bpf: Bpf, shape: Shape, elements: int) -> None:
        self.bpf, self.elements = bpf, elements
        create = uapi.MapCreate(
            map_type=shape.map_type,
            key_size=shape.key_bytes,
            value_size=shape.value_bytes,
            # An LRU map gives room up before it is full; every element is to stay.
            max_entries=elements * (2 if shape.map_type == uapi.BPF_MAP_TYPE_LRU_HASH else 1),
            map_flags=shape.flags,
        )
        self.fd = bpf(uapi.BPF_MAP_CREATE, bytearray(create.pack()))
        numbers = list(range(elements))
        if shape.map_type != uapi.BPF_MAP_TYPE_ARRAY:
            random.Random(1).shuffle(numbers)
        self.keys = bytearray(b"".join(n.to_bytes(shape.key_bytes, "little") for n in numbers))
        self.values = bytearray(b"".join(n.to_bytes(shape.value_bytes, "little") for n in numbers))
        self.out_keys, self.out_values = bytearray(len(self.keys)), bytearray(len(self.values))
        self.token = bytearray(16)
        self._keep = Buffers()
        put = self._keep.put
        where, value, out = put(self.keys), put(self.values), put(self.out_values)
        step = range(0, len(self.keys), shape.key_bytes)[:_CALLS]
        self._update = [self._elem(where + k, value + i * shape.value_bytes) for i, k in enumerate(step)]
        self._lookup = [self._elem(where + k, out) for k in step]
        self._batch_in = uapi.MapBatch(map_fd=self.fd, keys=where, values=value, count=elements)
        self._batch_out = uapi.MapBatch(
            map_fd=self.fd, keys=put(self.out_keys), values=out, count=elements, out_batch=put(self.token)
        )

    def _elem(self, key: int, value: int) -> bytearray:
        return bytearray(uapi.MapElem(map_fd=self.fd, key=key, value=value).pack())

    def operations(self) -> dict[str, Callable[[], float]]:
        """Name -> what gives the ns an element of one timing."""
        return {
            "update": lambda: self._each(uapi.BPF_MAP_UPDATE_ELEM, self._update),
            "lookup": lambda: self._each(uapi.BPF_MAP_LOOKUP_ELEM, self._lookup),
            "update_batch": lambda: self._whole(uapi.BPF_MAP_UPDATE_BATCH, self._batch_in),
            "lookup_batch": lambda: self._whole(uapi.BPF_MAP_LOOKUP_BATCH, self._batch_out),
        }

    def _each(self, cmd: int, attrs: list[bytearray]) -> float:
        bpf = self.bpf
        start = time.perf_counter_ns()
        for attr in attrs:
            bpf(cmd, attr)
        return (time.perf_counter_ns() - start) / len(attrs)

    def _whole(self, cmd: int, batch: uapi.MapBatch) -> float:
        attr = bytearray(batch.pack())
        start = time.perf_counter_ns()
        with suppress(FileNotFoundError):  # so the last batch of a walk ends
            self.bpf(cmd, attr)
        took = time.perf_counter_ns() - start
        done = uapi.MapBatch.unpack(attr).count
        assert done == self.elements, f"{done} of {self.elements} elements"
        return took / self.elements

    def close(self) -> None:
        self.bpf.close(self.fd)


def measure(quick: bool) -> tuple[list[Row], dict[str, float | None], list[str]]:
    """(rows, geomeans, notes): every shape and operation, the engines' turns shuffled."""
    elements, rounds = (QUICK_ELEMENTS, QUICK_ROUNDS) if quick else (ELEMENTS, ROUNDS)
    rows: list[Row] = []
    notes: list[str] = []
    with ExitStack() as stack:
        kernel = stack.enter_context(Kernel(cpus=2, cache=False))
        progress = Progress(len(SHAPES))
        for shape in SHAPES:
            progress.step(shape.name)
            rows += _measure_shape(stack, kernel, shape, elements, rounds, notes)
        progress.close()
    rows = [*bench_maps_programs.measure(rounds, notes), *rows]
    return rows, {f"speedup_kernel_{kind}": _speedup(rows, kind) for kind in ("program", "single", "batch")}, notes


def _measure_shape(
    stack: ExitStack, kernel: Kernel, shape: Shape, elements: int, rounds: int, notes: list[str]
) -> Iterator[Row]:
    engines = {"bpfjit": Measured(kernel.bpf, shape, elements)}
    stack.callback(engines["bpfjit"].close)
    try:
        engines["kernel"] = Measured(live_bpf, shape, elements)
        stack.callback(engines["kernel"].close)
    except OSError as e:
        notes.append(f"{shape.name}: the live kernel's is not to be had: {describe(e)}")
    operations = {name: m.operations() for name, m in engines.items()}
    rows = {
        what: Row(f"{shape.name} {what}", elements=elements if "batch" in what else 1, more={"kind": _kind(what)})
        for what in operations["bpfjit"]
    }
    for engine in engines:
        operations[engine]["update_batch"]()  # so that everything is there and warm
    turns = [(engine, what) for engine in engines for what in rows for _ in range(rounds)]
    random.Random(rounds).shuffle(turns)
    for engine, what in turns:
        rows[what].samples.setdefault(engine, []).append(operations[engine][what]())
    return iter(rows.values())


def _kind(what: str) -> str:
    return "batch" if "batch" in what else "single"


def _speedup(rows: list[Row], kind: str) -> float | None:
    """How many times faster than the live kernel, over the rows of a kind."""
    pairs = [(r.median("kernel"), r.median("bpfjit")) for r in rows if r.more["kind"] == kind]
    return geomean(theirs / ours for theirs, ours in pairs if theirs and ours)
