"""Every command with bpf_attr of every size and filling: the same answer here and on Linux."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from systems import Simulated, System, live_or_skip, load_btf, load_prog, make_map

from bpfjit.errors import errno_name
from bpfjit.uapi import bpf as uapi
from kernfs_sim.bpf.commands import BY_NUMBER

ATTR = uapi.LAYOUTS["bpf_attr"].size
COMMANDS = [*range(uapi.BPF_PROG_STREAM_READ_BY_FD + 1), 38, 1000, 0x7FFFFFFF, -1]


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[System, System]]:
    """Both kernels, each with an object of every kind, so that there is a next id."""
    systems: tuple[System, System] = (Simulated(), live_or_skip())
    fds = [[make_map(s.bpf), load_prog(s.bpf), load_btf(s.bpf), s.link_fd()] for s in systems]
    yield systems
    for system, held in zip(systems, fds, strict=True):
        for fd in held:
            system.bpf.close(fd)
        system.close()


def outcome(system: System, command: int, attr: bytes) -> str:
    try:
        result = system.bpf(command, bytearray(attr))
    except OSError as e:
        return errno_name(e.errno or 0)
    if result > 2:
        system.bpf.close(result)  # ENABLE_STATS gives an fd for nothing but zeroes
    return "done"


def attrs(command: int) -> dict[str, bytes]:
    """Zeroes and ones (fd -1, bad addresses) of every telling size, and zeroes with one bit at the end."""
    end = BY_NUMBER[command].end if command in BY_NUMBER else ATTR
    found = {}
    for size in sorted({0, 1, 4, 8, 12, 16, end - 1, end, end + 1, end + 8, ATTR - 1, ATTR, ATTR + 1, ATTR + 8, 4096, 4097}):
        found[f"{size} zeroes"] = bytes(size)
        if size >= 4:  # fewer would be a small number, which may be somebody's id
            found[f"{size} ones"] = b"\xff" * size
        if size > end:
            found[f"{size}, the last not 0"] = bytes(size - 1) + b"\1"
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_attr_of_every_size_gets_linuxs_answer(both: tuple[System, System], command: int) -> None:
    sim, live = both
    cases = attrs(command)
    ours = {case: outcome(sim, command, attr) for case, attr in cases.items()}
    theirs = {case: outcome(live, command, attr) for case, attr in cases.items()}
    assert ours == theirs
