"""bench verify: the verifier's own time beside the live kernel's, ns a program, and what each of them walked.

The programs are benchmarks/verify's and bench jit's. "processed" counts instructions walked over all paths; the kernel tells
its time in whole µs.
"""

from __future__ import annotations

import random
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from kernfs_sim import Kernel

from ..errors import BpfError, describe
from ..loader import LoadedObject, live_bpf, open_object
from ..verifier import is_compiled
from .bench_rows import Progress, Row, geomean, source_tree

ROUNDS, QUICK_ROUNDS = 9, 2
_STATISTICS = 4
_LARGE = 1000  # processed instructions from which a program counts for the ratio of large ones


def sources() -> list[Path]:
    return [p for folder in ("verify", "programs") for p in sorted(source_tree(f"benchmarks/{folder}").glob("*.bpf.c"))]


def measure(quick: bool) -> tuple[list[Row], dict[str, float | None], list[str]]:
    """(rows, geomeans, notes): every program of every source, the kernels' turns shuffled."""
    rounds = QUICK_ROUNDS if quick else ROUNDS
    rows: list[Row] = []
    notes = (
        [] if is_compiled() else ["The verifier runs uncompiled here: `make compiled` compiles it, a wheel has it compiled."]
    )
    paths = sources()
    progress = Progress(len(paths))
    for path in paths:
        progress.step(path.name)
        try:
            rows += _rows(path, rounds)
        except (BpfError, OSError) as e:
            notes.append(f"{path.name}: {describe(e) if isinstance(e, OSError) else e}")
    progress.close()
    pairs = [(r.elements or 0, r.median("kernel"), r.median("bpfjit")) for r in rows]
    means = {
        "speedup_kernel": geomean(k / o for _, k, o in pairs if k and o),
        "speedup_kernel_large": geomean(k / o for n, k, o in pairs if n >= _LARGE and k and o),
    }
    return rows, means, notes


def _rows(path: Path, rounds: int) -> list[Row]:
    rows: dict[str, Row] = {}
    with ExitStack() as stack:
        kernels: dict[str, Any] = {"bpfjit": stack.enter_context(Kernel(cache=False)).bpf, "kernel": live_bpf}
        loaded: dict[str, LoadedObject] = {}
        for engine, bpf in kernels.items():
            try:
                made = stack.enter_context(LoadedObject(open_object(path), bpf))
                made.create_maps()
            except OSError:
                continue  # no live kernel
            loaded[engine] = made
        turns = [(engine, name) for engine in loaded for name in loaded[engine].object.progs] * rounds
        random.shuffle(turns)
        for engine, name in turns:
            one = loaded[engine]
            stats = one.load_prog(one.object.progs[name], log_level=_STATISTICS).stats
            one.bpf.close(one.progs.pop(name).fd)
            row = rows.setdefault(name, Row(name if name != "prog" else path.name.removesuffix(".bpf.c")))
            if stats.duration_us:
                row.samples.setdefault(engine, []).append(stats.duration_us * 1000)
            if engine == "bpfjit":
                row.elements = stats.processed_insns
            row.more[f"{engine}_processed"] = stats.processed_insns
    return list(rows.values())
