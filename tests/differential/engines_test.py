"""Random programs give the same in the interpreter, in native code and on the live kernel.

BPFJIT_ENGINES_SEEDS=FIRST:LAST runs other seeds, and as many as one likes:

    BPFJIT_ENGINES_SEEDS=1000:20000 nice python -m pytest -q tests/differential/engines_test.py
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache
from random import Random

import pytest
from engines import Refused, closing, element, load, need_live, new_array, set_element, test_run
from engines_programs import VALUE_BYTES, Program

from bpfjit.interp import Machine
from bpfjit.isa.asm import assemble
from bpfjit.loader.bpf import Bpf
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel

FIRST, LAST = (int(n) for n in os.environ.get("BPFJIT_ENGINES_SEEDS", "0:300").split(":"))
_BATCH = 25
_BATCHES = [range(at, min(at + _BATCH, LAST)) for at in range(FIRST, LAST, _BATCH)]
_EDGES = (0, 1, (1 << 64) - 1, 1 << 63, (1 << 63) - 1, 1 << 31, (1 << 31) - 1, 0xFFFFFFFF, 0x8000, 0xFF80)
_ROUNDS = 4

Seen = list[tuple[int, str]]


def inputs(seed: int) -> Iterator[bytes]:
    """What a program's map holds before each run: edge values and any values."""
    random = Random(seed ^ 0x5EED)
    for _ in range(_ROUNDS):
        words = [random.choice(_EDGES) if random.random() < 0.5 else random.getrandbits(64) for _ in range(VALUE_BYTES // 8)]
        yield b"".join(word.to_bytes(8, "little") for word in words)


def run(bpf: Bpf, map_fd: int, prog_fd: int, seed: int, packet: bool) -> Seen:
    """What each run returns and leaves in the map or the packet."""
    out = []
    for value in inputs(seed):
        if packet:
            r0, left = test_run(bpf, prog_fd, value)
        else:
            set_element(bpf, map_fd, value)
            r0, _ = test_run(bpf, prog_fd)
            left = element(bpf, map_fd, VALUE_BYTES)
        out.append((r0, left.hex(" ", 8)))
    return out


def _loaded(bpf: Bpf, text: str, packet: bool, keep: Callable[[int], int]) -> tuple[int, int]:
    map_fd = keep(new_array(bpf, VALUE_BYTES))
    prog_type = uapi.BPF_PROG_TYPE_XDP if packet else uapi.BPF_PROG_TYPE_SOCKET_FILTER
    return map_fd, keep(load(bpf, assemble(text.format(fd=map_fd)), prog_type=prog_type).fd)


@cache
def simulated(seed: int, packet: bool) -> dict[str, Seen]:
    with Kernel() as kernel, closing(kernel.bpf) as keep:
        map_fd, prog_fd = _loaded(kernel.bpf, Program(seed, packet=packet).text, packet, keep)
        prog = kernel.caller.fds.get(prog_fd).object
        found = {"first tier": run(kernel.bpf, map_fd, prog_fd, seed, packet)}
        prog.optimise()
        found["jit"] = run(kernel.bpf, map_fd, prog_fd, seed, packet)
        native, prog.native = prog.native, Machine(prog.verified, kernel.binding(prog.maps, prog.own))
        found["interp"] = run(kernel.bpf, map_fd, prog_fd, seed, packet)
        prog.native = native
        return found


def _differ(seed: int, packet: bool, **seen: Seen) -> str:
    told = "\n".join(f"{who} {what}" for who, what in seen.items())
    return f"seed {seed}:\n{told}\n{Program(seed, packet=packet).text}"


# A third of the programs work on packets.
def _packet(seed: int) -> bool:
    return seed % 3 == 0


@pytest.mark.parametrize("seeds", _BATCHES, ids=lambda seeds: f"{seeds.start}-{seeds.stop - 1}")
def test_interpreter_and_jit_agree(seeds: range) -> None:
    for seed in seeds:
        found = simulated(seed, _packet(seed))
        assert found["jit"] == found["interp"] == found["first tier"], _differ(seed, _packet(seed), **found)


@pytest.mark.parametrize("seeds", _BATCHES, ids=lambda seeds: f"{seeds.start}-{seeds.stop - 1}")
def test_linux_and_jit_agree(seeds: range) -> None:
    bpf = need_live()
    for seed in seeds:
        packet = _packet(seed)
        with closing(bpf) as keep:
            try:
                map_fd, prog_fd = _loaded(bpf, Program(seed, packet=packet).text, packet, keep)
            except Refused as e:
                raise AssertionError(f"seed {seed}: Linux refuses it: {e}") from None
            theirs = run(bpf, map_fd, prog_fd, seed, packet)
        ours = simulated(seed, packet)["jit"]
        assert ours == theirs, _differ(seed, packet, jit=ours, linux=theirs)
