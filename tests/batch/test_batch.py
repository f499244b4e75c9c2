"""The batch commands and LOOKUP_AND_DELETE, on the simulated and the live kernel."""

from __future__ import annotations

import ctypes
import errno
import mmap
from collections.abc import Iterator

import pytest

from bpfjit.loader.bpf import Bpf, Buffers
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel

HASH, ARRAY = uapi.BPF_MAP_TYPE_HASH, uapi.BPF_MAP_TYPE_ARRAY


@pytest.fixture(params=["simulated", "live"])
def bpf(request: pytest.FixtureRequest) -> Iterator[Bpf]:
    if request.param == "simulated":
        with Kernel(cpus=2) as kernel:
            yield kernel.bpf
        return
    yield request.getfixturevalue("live")  # skips or fails where there is none


def make(bpf: Bpf, map_type: int, entries: int) -> int:
    attr = uapi.MapCreate(map_type=map_type, key_size=4, value_size=8, max_entries=entries)
    return bpf(uapi.BPF_MAP_CREATE, bytearray(attr.pack()))


class Batch:
    """One map and the batch commands on it."""

    def __init__(self, bpf: Bpf, map_type: int, entries: int) -> None:
        self.bpf = bpf
        self.fd = make(bpf, map_type, entries)

    def __enter__(self) -> Batch:
        return self

    def __exit__(self, *exc: object) -> None:
        self.bpf.close(self.fd)

    def call(self, cmd: int, keys: bytearray, values: bytearray | None, count: int, **more: int) -> tuple[int | None, int]:
        """(errno or None, the count that comes back)."""
        buffers = Buffers()
        attr = uapi.MapBatch(map_fd=self.fd, keys=buffers.put(keys), count=count, **more)
        if values is not None:
            attr.values = buffers.put(values)
        raw = bytearray(attr.pack())
        try:
            self.bpf(cmd, raw)
        except OSError as e:
            return e.errno, uapi.MapBatch.unpack(raw).count
        return None, uapi.MapBatch.unpack(raw).count

    def fill(self, n: int) -> None:
        keys = bytearray(b"".join(i.to_bytes(4, "little") for i in range(n)))
        values = bytearray(b"".join((10 * i).to_bytes(8, "little") for i in range(n)))
        assert self.call(uapi.BPF_MAP_UPDATE_BATCH, keys, values, n) == (None, n)

    def drain(self, cmd: int, count: int) -> tuple[dict[int, int], list[tuple[int | None, int]]]:
        """Everything by batches of `count`; and each call's outcome."""
        found: dict[int, int] = {}
        outcomes: list[tuple[int | None, int]] = []
        token, have = bytearray(8), False
        while True:
            keys, values, out = bytearray(4 * count), bytearray(8 * count), bytearray(8)
            buffers = Buffers()
            more = {"in_batch": buffers.put(token)} if have else {}
            error, n = self.call(cmd, keys, values, count, out_batch=buffers.put(out), **more)
            outcomes.append((error, n))
            for i in range(n if error in (None, errno.ENOENT) else 0):
                key = int.from_bytes(keys[4 * i : 4 * i + 4], "little")
                found[key] = int.from_bytes(values[8 * i : 8 * i + 8], "little")
            if error is not None or len(outcomes) > 1000:
                return found, outcomes
            token, have = out, True


@pytest.mark.parametrize("map_type", [HASH, ARRAY])
@pytest.mark.parametrize("count", [64, 100, 1000])
def test_everything_comes_once_and_the_end_is_enoent(bpf: Bpf, map_type: int, count: int) -> None:
    with Batch(bpf, map_type, 100) as m:
        m.fill(100)
        found, outcomes = m.drain(uapi.BPF_MAP_LOOKUP_BATCH, count)
        assert found == {i: 10 * i for i in range(100)}
        assert outcomes[-1][0] == errno.ENOENT
        if count == 1000:
            assert outcomes == [(errno.ENOENT, 100)]


def test_lookup_and_delete_batch_empties_a_hash(bpf: Bpf) -> None:
    with Batch(bpf, HASH, 100) as m:
        m.fill(100)
        found, _ = m.drain(uapi.BPF_MAP_LOOKUP_AND_DELETE_BATCH, 1000)
        assert found == {i: 10 * i for i in range(100)}
        assert m.drain(uapi.BPF_MAP_LOOKUP_BATCH, 1000) == ({}, [(errno.ENOENT, 0)])


def test_update_batch_stops_where_the_map_is_full(bpf: Bpf) -> None:
    with Batch(bpf, HASH, 4) as m:
        keys = bytearray(b"".join(i.to_bytes(4, "little") for i in range(10)))
        error, n = m.call(uapi.BPF_MAP_UPDATE_BATCH, keys, bytearray(80), 10)
        assert (error, n) == (errno.E2BIG, 4)


def test_delete_batch(bpf: Bpf) -> None:
    with Batch(bpf, HASH, 10) as m:
        m.fill(5)
        keys = bytearray(b"".join(i.to_bytes(4, "little") for i in (0, 3, 9, 1)))
        assert m.call(uapi.BPF_MAP_DELETE_BATCH, keys, None, 4) == (errno.ENOENT, 2)
        assert sorted(m.drain(uapi.BPF_MAP_LOOKUP_BATCH, 100)[0]) == [1, 2, 4]


@pytest.mark.parametrize(
    ("cmd", "more"),
    [
        (uapi.BPF_MAP_LOOKUP_BATCH, {"flags": 1}),
        (uapi.BPF_MAP_UPDATE_BATCH, {"elem_flags": 1 << 20}),
        (uapi.BPF_MAP_UPDATE_BATCH, {"elem_flags": uapi.BPF_NOEXIST}),  # an element's flags are not a batch's
        (uapi.BPF_MAP_DELETE_BATCH, {"elem_flags": 1}),
        (uapi.BPF_MAP_LOOKUP_BATCH, {"elem_flags": 1}),
    ],
)
def test_unknown_flags_are_refused(bpf: Bpf, cmd: int, more: dict[str, int]) -> None:
    with Batch(bpf, HASH, 10) as m:
        m.fill(2)
        error, _ = m.call(cmd, bytearray(8), bytearray(16), 2, **more)
        assert error == errno.EINVAL


@pytest.mark.parametrize("cmd", [uapi.BPF_MAP_LOOKUP_BATCH, uapi.BPF_MAP_UPDATE_BATCH, uapi.BPF_MAP_DELETE_BATCH])
def test_batch_of_nothing_is_nothing(bpf: Bpf, cmd: int) -> None:
    with Batch(bpf, HASH, 10) as m:
        m.fill(2)
        assert m.call(cmd, bytearray(8), bytearray(16), 0) == (None, 0)


@pytest.mark.parametrize(
    ("map_type", "cmd", "expected"),
    [
        (ARRAY, uapi.BPF_MAP_DELETE_BATCH, 524),
        (ARRAY, uapi.BPF_MAP_LOOKUP_AND_DELETE_BATCH, 524),
        (ARRAY, uapi.BPF_MAP_LOOKUP_AND_DELETE_ELEM, 524),
    ],
)
def test_arrays_do_not_delete(bpf: Bpf, map_type: int, cmd: int, expected: int) -> None:
    with Batch(bpf, map_type, 10) as m:
        if cmd == uapi.BPF_MAP_LOOKUP_AND_DELETE_ELEM:
            assert lookup_and_delete(m, 1) == (expected, None)
        else:
            assert m.call(cmd, bytearray(8), bytearray(16), 2)[0] == expected


def lookup_and_delete(m: Batch, key: int, flags: int = 0) -> tuple[int | None, int | None]:
    buffers, value = Buffers(), bytearray(8)
    attr = uapi.MapElem(
        map_fd=m.fd, key=buffers.put(bytearray(key.to_bytes(4, "little"))), value=buffers.put(value), flags=flags
    )
    try:
        m.bpf(uapi.BPF_MAP_LOOKUP_AND_DELETE_ELEM, bytearray(attr.pack()))
    except OSError as e:
        return e.errno, None
    return None, int.from_bytes(value, "little")


def test_lookup_and_delete_elem(bpf: Bpf) -> None:
    with Batch(bpf, HASH, 10) as m:
        m.fill(3)
        assert lookup_and_delete(m, 2) == (None, 20)
        assert lookup_and_delete(m, 2) == (errno.ENOENT, None)
        assert lookup_and_delete(m, 1, flags=1) == (errno.EINVAL, None)


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("cmd", [uapi.BPF_MAP_UPDATE_BATCH, uapi.BPF_MAP_DELETE_BATCH])
def test_who_writes_may_say_anything_of_the_batch(bpf: Bpf, cmd: int, count: int) -> None:
    """Only a hash's walks look at the batch's own flags."""
    with Batch(bpf, HASH, 4) as m:
        m.fill(1)
        assert m.call(cmd, bytearray(4), bytearray(8), count, flags=8) == (None, count)


def test_only_a_hashs_walk_looks_at_flags(bpf: Bpf) -> None:
    for map_type, expected in ((HASH, (errno.EINVAL, 1)), (ARRAY, (None, 1))):
        with Batch(bpf, map_type, 4) as m:
            m.fill(4)
            buffers, out = Buffers(), bytearray(8)
            got = m.call(uapi.BPF_MAP_LOOKUP_BATCH, bytearray(4), bytearray(8), 1, flags=8, out_batch=buffers.put(out))
            assert got == expected, map_type


def test_what_comes_before_a_bad_address_is_stored(bpf: Bpf) -> None:
    """The values end with a page, behind which nothing is."""
    with mmap.mmap(-1, 2 * mmap.PAGESIZE) as pages, Batch(bpf, HASH, 64) as m:
        at = ctypes.addressof(ctypes.c_char.from_buffer(pages))
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.mprotect(ctypes.c_void_p(at + mmap.PAGESIZE), mmap.PAGESIZE, 0) == 0
        keys = bytearray(b"".join(i.to_bytes(4, "little") for i in range(64)))
        buffers = Buffers()
        attr = uapi.MapBatch(map_fd=m.fd, keys=buffers.put(keys), values=at + mmap.PAGESIZE - 5 * 8, count=64)
        raw = bytearray(attr.pack())
        with pytest.raises(OSError) as e:
            m.bpf(uapi.BPF_MAP_UPDATE_BATCH, raw)
        assert (e.value.errno, uapi.MapBatch.unpack(raw).count) == (errno.EFAULT, 5)
        libc.mprotect(ctypes.c_void_p(at + mmap.PAGESIZE), mmap.PAGESIZE, 3)
        assert len(m.drain(uapi.BPF_MAP_LOOKUP_BATCH, 64)[0]) == 5


def test_a_hashs_last_batch_is_its_last_though_it_was_full(bpf: Bpf) -> None:
    with Batch(bpf, HASH, 4) as m:
        m.fill(1)
        assert m.drain(uapi.BPF_MAP_LOOKUP_BATCH, 1) == ({0: 0}, [(errno.ENOENT, 1)])
