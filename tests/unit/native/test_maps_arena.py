"""Arenas: what BPF_MAP_CREATE, mmap and the commands on elements say, on both kernels."""

from __future__ import annotations

from errno import E2BIG, EBUSY, EINVAL, EOPNOTSUPP, EPERM, ERANGE

import pytest
from bpf_calls import Calls, u32

from bpfjit.errors import ENOTSUPP
from bpfjit.isa.asm import assemble
from bpfjit.uapi import bpf as uapi

ARENA, PAGE, AT = uapi.BPF_MAP_TYPE_ARENA, 4096, 0x2F << 40
MMAPABLE, SEGV, NO_CONV = uapi.BPF_F_MMAPABLE, uapi.BPF_F_SEGV_ON_FAULT, uapi.BPF_F_NO_USER_CONV

# (key, value, entries, flags, extra, errno)
SHAPES = [
    (0, 0, 10, MMAPABLE, 0, 0),
    (0, 0, 10, MMAPABLE | SEGV | NO_CONV, 0, 0),
    (0, 0, 1 << 20, MMAPABLE, 0, 0),
    (0, 0, 10, MMAPABLE, AT, 0),
    (0, 0, 10, MMAPABLE, 1 << 63, 0),
    (0, 0, 1, MMAPABLE, AT + 0xFFFFF000, 0),
    (0, 0, 2, MMAPABLE, AT + 0xFFFFF000, ERANGE),
    (0, 0, 0, MMAPABLE, 0, EINVAL),
    (4, 0, 10, MMAPABLE, 0, EINVAL),
    (0, 4, 10, MMAPABLE, 0, EINVAL),
    (0, 0, 10, 0, 0, EINVAL),
    (0, 0, 10, MMAPABLE | uapi.BPF_F_RDONLY, 0, EINVAL),
    (0, 0, 10, MMAPABLE | uapi.BPF_F_NUMA_NODE, 0, EINVAL),
    (0, 0, 10, MMAPABLE | uapi.BPF_F_RDONLY_PROG, 0, EINVAL),
    (0, 0, 10, MMAPABLE, 100, EINVAL),
    (0, 0, (1 << 20) + 1, MMAPABLE, 0, E2BIG),
    (0, 0, (1 << 32) - 1, MMAPABLE, 0, E2BIG),
    (0, 0, (1 << 20) + 1, MMAPABLE, 100, EINVAL),
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "-".join(f"{n:x}" for n in s))
def test_shapes_that_map_create_takes(calls: Calls, shape: tuple[int, ...]) -> None:
    *wanted, error = shape
    assert min(arena(calls, *wanted), 0) == -error


def arena(calls: Calls, key: int = 0, value: int = 0, entries: int = 16, flags: int = MMAPABLE, extra: int = 0) -> int:
    return calls.create(ARENA, key, value, entries, flags, map_extra=extra)


def test_an_arena_has_no_elements(calls: Calls) -> None:
    fd = arena(calls)
    assert calls.lookup(fd, b"", 8) == -EINVAL
    assert calls.update(fd, b"", b"") == -EOPNOTSUPP
    assert calls.delete(fd, b"") == -EOPNOTSUPP
    assert calls.next_key(fd, None, 8) == -EOPNOTSUPP
    assert calls.take(fd, b"", 8) == -ENOTSUPP
    assert calls.lookup(fd, u32(0), 8) == -EINVAL
    for cmd in (24, 25, 26, 27):
        assert calls.call(cmd, uapi.MapBatch(map_fd=fd, count=1)) == -ENOTSUPP


def refused(calls: Calls, fd: int, size: int, writable: bool = True, offset: int = 0, addr: int = 0) -> int:
    try:
        calls.bpf.mmap(fd, size, writable, offset, addr)
    except OSError as e:
        return e.errno or -1
    return 0


def test_the_first_mapping_says_where_the_arena_is(calls: Calls) -> None:
    fd = arena(calls)
    assert refused(calls, fd, 16 * PAGE, True, PAGE) == EINVAL
    assert refused(calls, fd, (4 << 30) + PAGE) == E2BIG
    view = calls.bpf.mmap(fd, 4 * PAGE, True)
    view[:5] = b"first"
    assert refused(calls, fd, 4 * PAGE) == EINVAL, "at another address"
    assert refused(calls, fd, 16 * PAGE) == E2BIG
    del view


def test_map_extra_says_where_the_arena_is(calls: Calls) -> None:
    fd = arena(calls, extra=AT)
    assert refused(calls, fd, 16 * PAGE) == EINVAL
    assert refused(calls, fd, 16 * PAGE, addr=AT + (1 << 20)) == EINVAL
    assert refused(calls, fd, PAGE, addr=AT) == EINVAL
    assert refused(calls, fd, 17 * PAGE, addr=AT) == E2BIG
    view = calls.bpf.mmap(fd, 16 * PAGE, True, 0, AT)
    assert bytes(view[:8]) == bytes(8)
    view[PAGE : PAGE + 4] = b"page"
    assert bytes(view[PAGE : PAGE + 4]) == b"page"
    del view
    again = calls.bpf.mmap(fd, 16 * PAGE, False, 0, AT)
    assert bytes(again[PAGE : PAGE + 4]) == b"page", "pages stay when nobody has them mapped"


def test_a_frozen_arena_is_mapped_to_be_read(calls: Calls) -> None:
    fd = arena(calls)
    assert calls.freeze(fd) == 0
    assert refused(calls, fd, 16 * PAGE) == EPERM
    assert refused(calls, fd, 16 * PAGE, False) == 0
    mapped = arena(calls)
    view = calls.bpf.mmap(mapped, PAGE, True)
    assert calls.freeze(mapped) == -EBUSY
    del view


def load(calls: Calls, asm: str, fds: list[int]) -> int:
    return calls.load(uapi.BPF_PROG_TYPE_RAW_TRACEPOINT, assemble(asm.format(*fds)))


def test_a_program_wants_an_arena_whose_address_is_known(calls: Calls) -> None:
    fd = arena(calls)
    assert load(calls, "r1 = map[fd:{}]\nr0 = 0\nexit", [fd]) == -EINVAL
    view = calls.bpf.mmap(fd, 4 * PAGE, True)
    assert load(calls, "r1 = map[fd:{}]\nr0 = 0\nexit", [fd]) > 0
    del view


def test_a_program_has_one_arena(calls: Calls) -> None:
    fds = [arena(calls, extra=AT), arena(calls, extra=AT)]
    assert load(calls, "r1 = map[fd:{}]\nr2 = map[fd:{}]\nr0 = 0\nexit", fds) == -EBUSY
    assert load(calls, "r1 = map[fd:{0}]\nr2 = map[fd:{0}]\nr0 = 0\nexit", fds) > 0


@pytest.mark.parametrize(("off", "error"), [(0, 0), (16 * PAGE, 0), (16 * PAGE + 1, ERANGE), (1 << 29, EINVAL)])
def test_direct_addresses_reach_to_the_end(calls: Calls, off: int, error: int) -> None:
    got = load(calls, f"r1 = map[fd:{{}}][0]+{off}\nr0 = 0\nexit", [arena(calls, extra=AT)])
    assert min(got, 0) == -error


def test_what_a_map_of_maps_holds_may_be_an_arena(calls: Calls) -> None:
    outer = calls.create(uapi.BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, 2, inner_map_fd=arena(calls))
    assert outer > 0
    assert calls.update(outer, u32(0), u32(arena(calls))) == 0
