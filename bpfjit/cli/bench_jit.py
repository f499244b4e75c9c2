"""bench jit: the same compute programs in the interpreter, our JIT, the live kernel and native C.

Each program is one XDP function over a packet. Ours and the native one are run by the same loop of the runtime
(rt_packet_run), which hands both the same context; the live kernel by BPF_PROG_TEST_RUN. From each is taken what the
empty program costs in the same engine, measured in the same rounds: what is left is the program's own. Linux tells whole
ns, cut off, the empty program's too; so no program is so short that it would matter. All of them must
return the same number.
"""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kernfs_sim import Kernel
from runtime import ffi, lib

from ..errors import BpfError, LoadError, describe
from ..interp import Machine
from ..loader import LoadedObject, live_bpf, open_object
from ..loader.bpf import Buffers
from ..uapi import bpf as uapi
from .bench_rows import ENGINES, Progress, Row, geomean, rounded, source_tree

PACKET_BYTES = 1514
_HEADROOM = 256
_CC_FLAGS = ("-O2", "-shared", "-fPIC", "-fno-strict-aliasing", "-w")
EMPTY = "empty"
_LEAST_NS = 0.1  # of a program that is not to be told from the empty one
_MOST_RUNS = 100000
Timed = tuple[float, int]  # ns of one execution, return value


def packet() -> bytes:
    """The input of every program: a TCP packet; from byte 256 on a string of 63 characters, twice."""
    rng = random.Random(20261121)
    data = bytearray(rng.randrange(1, 256) for _ in range(PACKET_BYTES))
    data[12:15] = b"\x08\x00\x45"
    data[319] = 0
    data[320:384] = data[256:320]
    return bytes(data)


class Runner:
    """Runs functions with the runtime's own loop over a packet."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.frame = ffi.new("u8[]", 4096)
        self.ctx = ffi.new("u8[]", 64)

    def run(self, addr: int, data: bytes, repeat: int) -> Timed:
        ffi.memmove(self.frame + _HEADROOM, data, len(data))
        run = ffi.new("struct rt_packet_run *")
        run.data, run.data_size, run.data_capacity = self.frame, len(data), 4096
        run.repeat, run.is_xdp = repeat, 1
        run.ctx, run.ctx_size = self.ctx, 0
        lib.rt_packet_run(self.kernel.native.ptr, ffi.cast("rt_prog_fn", addr), run)
        return float(run.mean_ns), int(run.retval)


def native_compiler() -> str:
    """$CC, else clang (the same LLVM that made the BPF), else cc; "" for none."""
    clang = next((c for n in ("", *range(24, 13, -1)) if (c := shutil.which(f"clang-{n}".rstrip("-")))), None)
    return os.environ.get("CC") or clang or shutil.which("cc") or ""


class Native:
    """The programs compiled for this machine by its C compiler; `functions` by name, empty without a compiler."""

    def __init__(self, sources: list[Path]) -> None:
        self.functions: dict[str, int] = {}
        self.compiler = native_compiler()
        self._libraries: list[ctypes.CDLL] = []
        if not self.compiler:
            return
        native = source_tree("benchmarks/native")
        with tempfile.TemporaryDirectory(prefix="bpfjit-bench-") as scratch:
            for source in sources:
                out = Path(scratch) / (name_of(source) + ".so")
                command = [*self.compiler.split(), *_CC_FLAGS, f"-I{native}", "-o", str(out), str(source)]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise LoadError(f"{command[0]} fails: {done.stderr.strip().splitlines()[0]}", file=str(source))
                library = ctypes.CDLL(str(out))
                self._libraries.append(library)
                self.functions[name_of(source)] = ctypes.cast(library.prog, ctypes.c_void_p).value or 0


class Live:
    """The programs in the kernel that this machine runs; raises where it may not be asked."""

    def __init__(self, objects: dict[str, Any], data: bytes) -> None:
        self.loaded: dict[str, LoadedObject] = {}
        self.data = data
        try:
            for name, obj in objects.items():
                self.loaded[name] = obj.load(live_bpf)
        except BaseException:
            self.close()
            raise

    def run(self, name: str, repeat: int) -> Timed:
        buffers = Buffers()
        fd = self.loaded[name].progs["prog"].fd
        attr = uapi.TestRun(prog_fd=fd, data_in=buffers.put(self.data), data_size_in=len(self.data), repeat=repeat)
        raw = bytearray(attr.pack())
        live_bpf(uapi.BPF_PROG_TEST_RUN, raw)
        done = uapi.TestRun.unpack(raw)
        return float(done.duration), done.retval

    def close(self) -> None:
        for loaded in self.loaded.values():
            loaded.close()


def name_of(source: Path) -> str:
    return source.name.removesuffix(".bpf.c")


def sources() -> list[Path]:
    return sorted(source_tree("benchmarks/programs").glob("*.bpf.c"))


class Suite:
    """Every program ready to run in every engine: `engines[engine][program](repeat)` -> Timed. close() lets go."""

    def __init__(self) -> None:
        paths = sources()
        self.notes: list[str] = []
        self.data = packet()
        self.kernel = Kernel(cache=False, tiered=False)  # load_ms is what compiling costs
        self.runner = Runner(self.kernel)
        self.insns: dict[str, int] = {}
        self._machines: dict[str, Machine] = {}
        objects = {name_of(p): open_object(p) for p in paths}
        self.load_ms: dict[str, float] = {}
        self._loaded: dict[str, LoadedObject] = {}
        # The smallest first: LLVM's own start is not the next program's price.
        for name in sorted(objects, key=lambda n: len(objects[n].progs["prog"].insns)):
            loaded = self._loaded[name] = LoadedObject(objects[name], self.kernel.bpf)
            loaded.create_maps()
            start = time.perf_counter()
            loaded.load_prog(objects[name].progs["prog"])
            self.load_ms[name] = (time.perf_counter() - start) * 1e3
        self.native = Native(paths)
        if not self.native.functions:
            self.notes.append("no C compiler: native_ns is not to be had")
        self.live: Live | None = None
        try:
            self.live = Live(objects, self.data)
        except (BpfError, OSError) as e:
            said = describe(e) if isinstance(e, OSError) else str(e)
            self.notes.append(f"the live kernel is not to be had: {said}")
        self.engines: dict[str, dict[str, Callable[[int], Timed]]] = {e: {} for e in ENGINES}
        for name, loaded in self._loaded.items():
            self._ready(name, loaded)

    def _ready(self, name: str, loaded: LoadedObject) -> None:
        prog = self.kernel.caller.fds.get(loaded.progs["prog"].fd).object
        self.insns[name] = len(prog.program.insns)
        interpreter = self._machines[name] = Machine(prog.verified, self.kernel.binding(prog.maps))
        self._add("bpfjit", name, prog.native.addr)
        self._add("interp", name, interpreter.addr)
        if name in self.native.functions:
            self._add("native", name, self.native.functions[name])
        if self.live is not None:
            live = self.live
            self.engines["kernel"][name] = lambda repeat: live.run(name, repeat)

    def _add(self, engine: str, name: str, addr: int) -> None:
        def run(repeat: int) -> Timed:
            timed = self.runner.run(addr, self.data, repeat)
            machine = self._machines[name]
            if machine.fault is not None:
                raise machine.fault
            return timed

        self.engines[engine][name] = run

    def programs(self) -> list[str]:
        return list(self.insns)

    def close(self) -> None:
        if self.live is not None:
            self.live.close()
        for loaded in self._loaded.values():
            loaded.close()
        self.kernel.close()


def measure(quick: bool) -> tuple[list[Row], dict[str, Any], list[str]]:
    """Shuffled rounds over every program and engine. Raises LoadError when two engines' results differ."""
    # Samples shorter than a time slice: on a busy machine most are whole.
    rounds, sample_ns = (5, 3e5) if quick else (31, 5e5)
    suite = Suite()
    try:
        rows = {name: Row(name, {}) for name in suite.programs()}
        repeats: dict[tuple[str, str], int] = {}
        for name in suite.programs():
            results: dict[str, int] = {}
            known: dict[str, float] = {}
            for engine, runs in suite.engines.items():
                if name in runs:
                    # The interpreter is told once: it takes ms.
                    ns, results[engine] = runs[name](1 if engine == "interp" else 10)
                    # A call into the live kernel has a price of its own: our figure tells how often it should run.
                    ns = known.setdefault(engine if engine != "kernel" else "bpfjit", ns)
                    repeats[engine, name] = 1 if engine == "interp" else max(1, min(_MOST_RUNS, int(sample_ns / max(ns, 1))))
            if len(set(results.values())) != 1:
                raise LoadError(f"the engines' results differ: {results}", program=name)
        todo = [(e, n) for e, n in repeats for _ in range(rounds) if e != "interp"]
        todo += [(e, n) for e, n in repeats for _ in range(1 if quick else 3) if e == "interp"]
        random.Random(rounds).shuffle(todo)
        progress = Progress(len(todo))
        for engine, name in todo:
            progress.step(f"{name}, {engine}")
            ns, _ = suite.engines[engine][name](repeats[engine, name])
            rows[name].samples.setdefault(engine, []).append(ns)
        progress.close()
        empty = _less_the_empty(rows)
        said = ", ".join(f"{e} {ns:.3g}" for e, ns in empty.items() if e != "interp")
        notes = [*suite.notes, "load_ms is one PROG_LOAD: verified and compiled, nothing cached"]
        notes.append(f"taken off: what the empty program costs in the same engine ({said} ns)")
        if suite.native.compiler:
            notes.append(f"native_ns is {Path(suite.native.compiler).name} {' '.join(_CC_FLAGS[:1])} of the same source")
        return *_summary(rows, suite), notes
    finally:
        suite.close()


def _less_the_empty(rows: dict[str, Row]) -> dict[str, float]:
    """Take the empty program's median from every other's samples, engine by engine, and its row out."""
    gone = rows.pop(EMPTY)
    empty = {engine: statistics.median(samples) for engine, samples in gone.samples.items()}
    for row in rows.values():
        for engine, samples in row.samples.items():
            row.samples[engine] = [max(ns - empty[engine], _LEAST_NS) for ns in samples]
    return empty


def _summary(rows: dict[str, Row], suite: Suite) -> tuple[list[Row], dict[str, Any]]:
    """Speedups (how many times faster than …), the worst against native or kernel first, and their geomeans."""
    for name, row in rows.items():
        ours = row.median("bpfjit")
        assert ours is not None
        row.more["insns"] = suite.insns[name]
        row.more["load_ms"] = rounded(suite.load_ms[name])
        for engine in ("interp", "kernel", "native"):
            other = row.median(engine)
            row.more[f"speedup_{engine}"] = rounded(other / ours) if other is not None else None

    def standing(row: Row) -> float:
        return min((row.more[f"speedup_{e}"] for e in ("kernel", "native") if row.more[f"speedup_{e}"]), default=1.0)

    ordered = sorted(rows.values(), key=standing)
    geomeans = {
        f"speedup_{e}": geomean(r.more[f"speedup_{e}"] for r in ordered if r.more[f"speedup_{e}"])
        for e in ("interp", "kernel", "native")
    }
    return ordered, geomeans
