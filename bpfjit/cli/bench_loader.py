"""bench loader: loader programs and known programs; ns of one of each, beside the ELF loader and the live kernel.

"first read" is a process of its own, from its start to the first bytes of a view; `elf_ns` stands beside.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kernfs_sim import Kernel
from kernfs_sim.caller import Cred, InProcess

from ..errors import BpfError, describe
from ..light import Light
from ..loader import live_bpf
from ..loader.compile import compile_c
from ..loader.generate import generate
from ..loader.object import Object, open_bytes
from ..loader.skeleton import light_skeleton
from .bench_rows import Progress, Row, source_tree

ROUNDS, QUICK_ROUNDS = 21, 3
_VIEW = "wait_latency"
_READ = """
kernel.cgroups.create("/web")
links = skel.load(kernel.bpf).attach()
links["wait_show"].pin("/sys/fs/bpf/wait_show")
links["wait_show"].pin("/sys/fs/cgroup/web/wait_show")
assert kernel.read_text("/sys/fs/cgroup/web/wait_show") == "2 0\\n"
"""
_KERNEL = "from kernfs_sim import Kernel\nkernel = Kernel()\n"
_LIGHT = f"{_KERNEL}from light import WaitLatency\nskel = WaitLatency()\n{_READ}"
_ELF = f"{_KERNEL}from bpfjit import open_object\nskel = open_object('view.bpf.o')\n{_READ}"


def _times(call: Callable[[], Any], rounds: int) -> list[float]:
    call()
    found = []
    for _ in range(rounds):
        start = time.perf_counter_ns()
        call()
        found.append(float(time.perf_counter_ns() - start))
    return found


def measure(quick: bool) -> tuple[list[Row], dict[str, float | None], list[str]]:
    """(rows, geomeans, notes)."""
    rounds = QUICK_ROUNDS if quick else ROUNDS
    notes: list[str] = []
    source = source_tree("examples") / f"{_VIEW}.bpf.c"
    elf = compile_c(source)
    five = compile_c(source_tree("benchmarks/loader") / "five.bpf.c")
    progress = Progress(4)
    rows = []

    progress.step("gen loader")
    samples = _times(lambda: generate(_open(five), live_bpf.config()), rounds)
    rows.append(Row("gen loader, 5 programs", {"bpfjit": samples}, 5, {"elf_ns": None}))

    progress.step("light skeleton")
    text = light_skeleton(generate(_open(five), live_bpf.config()), _open(five))
    made: dict[str, Any] = {}
    exec(compile(text, "five.py", "exec"), made)
    rows.append(_loads(made["Five"], five, rounds, notes))

    progress.step("known program")
    rows.append(_known(elf, rounds))

    progress.step("first read")
    rows.append(_first_read(elf, rounds // 3))
    progress.close()
    return rows, {}, notes


def _open(elf: bytes) -> Object:
    return open_bytes(elf, "five.bpf.o")


def _loads(skeleton: type[Light], elf: bytes, rounds: int, notes: list[str]) -> Row:
    """A light skeleton's load and close, here and in Linux; `elf_ns`: the same object, already opened, by the ELF loader."""

    def light(bpf: Any) -> None:
        with skeleton() as skel:
            skel.load(bpf)

    with Kernel() as kernel:
        row = Row("light skeleton, 5 programs", {"bpfjit": _times(lambda: light(kernel.bpf), rounds)}, 5)
        opened = _open(elf)
        by_elf = Row("", {"bpfjit": _times(lambda: opened.load(kernel.bpf).close(), rounds)})
    row.more["elf_ns"] = by_elf.median("bpfjit")
    try:
        row.samples["kernel"] = _times(lambda: light(live_bpf), rounds)
    except (OSError, BpfError) as e:
        notes.append(f"light skeleton: kernel is not to be had: {describe(e) if isinstance(e, OSError) else e}")
    return row


def _known(elf: bytes, rounds: int) -> Row:
    """A user without rights takes a known program and lets it go."""
    with Kernel() as kernel, open_bytes(elf, f"{_VIEW}.bpf.o").load(kernel.bpf) as loaded:
        digest = kernel.known.admit(kernel.caller, loaded.progs["wait_show"].fd)
        user = InProcess(Cred(65534, 65534, frozenset()))

        def once() -> None:
            made = kernel.known.instantiate(user, digest)
            for fd in (made.prog_fd, *made.map_fds):
                user.fds.close(fd)

        return Row("known program", {"bpfjit": _times(once, rounds * 10)}, more={"elf_ns": None})


def _first_read(elf: bytes, rounds: int) -> Row:
    obj = open_bytes(elf, f"{_VIEW}.bpf.o")
    with tempfile.TemporaryDirectory(prefix="bpfjit-bench-") as scratch:
        directory = Path(scratch)
        (directory / "view.bpf.o").write_bytes(elf)
        (directory / "light.py").write_text(light_skeleton(generate(obj, live_bpf.config()), obj))
        for name, code in (("first_light.py", _LIGHT), ("first_elf.py", _ELF)):
            (directory / name).write_text(code)

        # As of an installed package, modules are compiled once, and what a user has loaded once is in his cache.
        own = {"PYTHONPYCACHEPREFIX": str(directory / "bytecode"), "XDG_CACHE_HOME": str(directory / "cache")}
        env = {name: v for name, v in os.environ.items() if name not in ("PYTHONDONTWRITEBYTECODE", "BPFJIT_NO_CACHE")} | own

        def run(name: str) -> None:
            subprocess.run([sys.executable, name], cwd=directory, check=True, env=env)

        row = Row("first read, light skeleton", {"bpfjit": _times(lambda: run("first_light.py"), rounds)})
        by_elf = Row("", {"bpfjit": _times(lambda: run("first_elf.py"), rounds)}).median("bpfjit")
    row.more["elf_ns"] = by_elf
    return row
