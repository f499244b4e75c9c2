"""Instructions that name maps and BTF by index into fd_array: every answer as Linux gives it."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from both import Side

from bpfjit.isa.encoding import CALL, EXIT, Insn, ld_imm64
from bpfjit.uapi import bpf as uapi

FD, VALUE, IDX, IDX_VALUE = (
    uapi.BPF_PSEUDO_MAP_FD,
    uapi.BPF_PSEUDO_MAP_VALUE,
    uapi.BPF_PSEUDO_MAP_IDX,
    uapi.BPF_PSEUDO_MAP_IDX_VALUE,
)


def ref(src: int, low: int, high: int = 0) -> list[Insn]:
    """One reference, and a return."""
    return [*ld_imm64(1, low & 0xFFFFFFFF | high << 32, src), Insn(0xB4, imm=5), Insn(EXIT)]


def kfunc(index: int) -> list[Insn]:
    return [Insn(CALL, 0, uapi.BPF_PSEUDO_KFUNC_CALL, index, 5), Insn(EXIT)]


def btf(side: Side) -> int:
    return side.own(side.call(uapi.BPF_BTF_GET_FD_BY_ID, uapi.GetId(start_id=1)))


NONE: list[Insn] = ref(0, 0)
# name -> (instructions, the fds by what they are of, fd_array_cnt)
CASES: dict[str, tuple[list[Insn], str | None, int]] = {
    "a map by index": (ref(IDX, 0), "m", 0),
    "the second map": (ref(IDX, 1), "mm", 0),
    "a value by index": (ref(IDX_VALUE, 1, 4), "mm", 0),
    "an offset at the value's end": (ref(IDX_VALUE, 0, 8), "m", 0),
    "an offset at the end, by fd": (ref(VALUE, 0, 8), "m", 0),
    "a huge offset": (ref(IDX_VALUE, 0, 1 << 29), "m", 0),
    "a value of an array of two": (ref(IDX_VALUE, 0), "t", 0),
    "a value of a hash": (ref(IDX_VALUE, 0), "h", 0),
    "an index with upper bits": (ref(IDX, 0, 1), "m", 0),
    "an index without an array": (ref(IDX, 0), None, 0),
    "an index past the count": (ref(IDX, 1), "mm", 1),
    "a negative index": (ref(IDX, -1), "-m", 0),
    "an unknown kind of reference": (ref(7, 0), "m", 0),
    "a count alone": (NONE, None, 1),
    "maps that no instruction names": (NONE, "mm", 2),
    "one map twice": (NONE, "MM", 2),
    "a closed fd": (ref(IDX, 0), "x", 0),
    "a closed fd, counted": (NONE, "x", 1),
    "a program": (ref(IDX, 0), "p", 0),
    "a program, counted": (NONE, "p", 1),
    "BTF as a map": (ref(IDX, 0), "b", 0),
    "BTF, counted": (NONE, "bm", 2),
    "too large a count": (NONE, "m", 0x3FFFFFFF),
    "64 maps": (NONE, "m" * 64, 64),
    "65 maps": (NONE, "m" * 65, 65),
    "a 65th map by index": (ref(IDX, 64), "m" * 65, 64),
    "a kernel function of no array": (kfunc(1), None, 0),
    "a kernel function of a map": (kfunc(1), "mm", 0),
    "a kernel function of vmlinux by index": (kfunc(1), "mb", 0),
    "a kernel function at a negative index": (kfunc(-1), "mb", 0),
}


def fds_of(side: Side, kinds: str) -> list[int]:
    shared = side.map() if "M" in kinds else -1
    made: dict[str, Callable[[], int]] = {
        "m": side.map,
        "M": lambda: shared,
        "t": lambda: side.map(entries=2),
        "h": lambda: side.map(uapi.BPF_MAP_TYPE_HASH),
        "x": lambda: 9999,
        "-": lambda: -1,
        "p": lambda: side.load(NONE),
        "b": lambda: btf(side),
    }
    return [made[kind]() for kind in kinds]


@pytest.mark.parametrize("name", CASES)
def test_fd_array_is_taken_as_linux_takes_it(name: str, sim: Side, real: Side) -> None:
    insns, kinds, count = CASES[name]
    answers = []
    for side in (sim, real):
        fds = fds_of(side, kinds) if kinds is not None else None
        before = side.open_fds()
        fd = side.load(insns, fds=fds, fd_array_cnt=count)
        said = side.log
        for number in fds or ():  # numbers differ, words do not
            said = said.replace(f"fd {number} ", "fd N ")
        info = side.info(fd) if fd >= 0 else {}
        answers.append((min(fd, 0), said if fd < 0 else "", info.get("tag"), info.get("nr_map_ids")))
        if fd < 0:
            assert side.open_fds() == before
    assert answers[0] == answers[1]


def test_a_tag_does_not_depend_on_fds(side: Side) -> None:
    first, second = side.map(), side.map()
    by_fd = [side.info(side.load(ref(FD, fd)))["tag"] for fd in (first, second)]
    assert by_fd[0] == by_fd[1]
    by_index = [side.info(side.load(ref(IDX, 0), fds=[fd]))["tag"] for fd in (first, second)]
    assert by_index[0] == by_index[1] != by_fd[0]
    assert side.info(side.load(ref(IDX, 1), fds=[first, second]))["tag"] != by_index[0]  # but on the index


def test_maps_of_an_array_live_as_long_as_the_program(side: Side) -> None:
    m = side.map()
    map_id = int.from_bytes(side.info(m, "bpf_map_info")["id"], "little")
    prog = side.load(NONE, fds=[m], fd_array_cnt=1)
    side.close(m)
    again = side.own(side.call(uapi.BPF_MAP_GET_FD_BY_ID, uapi.GetId(start_id=map_id)))
    assert again > 0
    side.close(again)
    side.close(prog)
    for _ in range(1000):
        fd = side.call(uapi.BPF_MAP_GET_FD_BY_ID, uapi.GetId(start_id=map_id))
        if fd < 0:
            break
        side.bpf.close(fd)
        time.sleep(0.01)  # Linux lets go a little later
    else:
        pytest.fail(f"map {map_id} is still there")


@pytest.mark.parametrize("count", [0, 1])
def test_an_array_at_a_bad_address_is_efault(count: int, sim: Side, real: Side) -> None:
    insns = ref(IDX, 0)
    assert sim.load(insns, fd_array=8, fd_array_cnt=count) == real.load(insns, fd_array=8, fd_array_cnt=count) == -14
    assert sim.log == real.log
