"""Views are read as kernfs serves a seq_file: buffers that double, one text an open, positions, return values."""

from __future__ import annotations

import errno
import gc
import os
import struct
import threading
from collections.abc import Iterator

import pytest
from bpf_calls import Calls, load_object

from kernfs_sim import Kernel
from runtime import View, ffi, lib

PAGE, DATA_BYTES = 4096, 32768
HEAD = struct.Struct("<IIqQqQII")
PATH = "/sys/fs/cgroup/c/v"


class Shown:
    """The view of tests/objects/runtime_view.bpf.c over one cgroup, and what its last executions did."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.calls = Calls(kernel.bpf, kernel.native.cpus, kernel)
        self.cgroup = kernel.cgroups.create("/c")
        self.object = load_object(self.calls, "runtime_view")
        self.link = self.object.attach()["write_view"]
        self.link.pin("/sys/fs/bpf/v")
        self.link.pin(PATH)

    def set(self, data: bytes = b"", repeat: int = 1, ret: int = 0, *, stamp: bool = False, id: bool = False) -> None:
        head = HEAD.pack(len(data), repeat, ret, 0, 0, 0, stamp, id)
        self.object.maps["conf"].update(bytes(4), head + data.ljust(DATA_BYTES, b"\0"))

    def did(self) -> tuple[int, int, int]:
        """(executions since set(), what seq_write returned first in the last one, overflows)."""
        _, _, _, runs, error, overflows, _, _ = HEAD.unpack_from(self.object.maps["conf"].lookup(bytes(4)))
        return runs, error, overflows

    def read(self) -> bytes:
        return self.kernel.read_bytes(PATH)


@pytest.fixture(scope="module")
def shown() -> Iterator[Shown]:
    with Kernel(2, tiered=False) as kernel:
        yield Shown(kernel)


@pytest.mark.parametrize("size", [0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE - 1, 2 * PAGE, DATA_BYTES])
def test_the_buffer_starts_at_a_page_and_doubles_and_the_program_runs_again(shown: Shown, size: int) -> None:
    data = os.urandom(size)
    shown.set(data)
    assert shown.read() == data
    buffer, runs = PAGE, 1
    while size >= buffer:  # a full buffer counts as overflow
        buffer, runs = buffer * 2, runs + 1

    assert shown.did() == (runs, 0, runs - 1)


def test_a_view_has_no_32k_limit(shown: Shown) -> None:
    data = os.urandom(DATA_BYTES)
    shown.set(data, 320)
    text = shown.read()
    assert len(text) == 320 * DATA_BYTES and text == data * 320  # 10 MiB


def test_overflow_is_what_the_helper_returns(shown: Shown) -> None:
    shown.set(bytes(PAGE), 1, ret=-7)
    with pytest.raises(OSError):
        shown.read()
    assert shown.did() == (1, -errno.EOVERFLOW, 1)


def test_the_text_of_one_open_is_made_once_and_served_over_many_reads(shown: Shown) -> None:
    shown.set(b"x" * 50, 10, stamp=True)
    file = shown.kernel.open(PATH)
    text = b"".join(iter(lambda: file.read(shown.kernel.caller, 1), b""))
    assert text == b"1\n" + b"x" * 500
    assert shown.did()[0] == 1
    assert file.read(shown.kernel.caller, 1) == b"", "the end stays the end"
    assert shown.did()[0] == 1
    file.put()


def test_rewinding_makes_the_text_anew(shown: Shown) -> None:
    shown.set(b"", 0, stamp=True)
    caller, file = shown.kernel.caller, shown.kernel.open(PATH)
    assert file.read(caller, 100) == b"1\n"
    file.lseek(0)
    assert file.read(caller, 100) == b"2\n"
    file.put()
    assert shown.read() == b"3\n", "another open has its own"


def test_pread_and_lseek_reach_every_position(shown: Shown) -> None:
    data = bytes(range(256)) * 40
    shown.set(data)
    caller, file = shown.kernel.caller, shown.kernel.open(PATH)
    for pos in (5000, 1, 10239, 0, 4096):
        assert file.pread(caller, 100, pos) == data[pos : pos + 100]
    assert file.pread(caller, 100, len(data)) == b""
    assert file.pread(caller, 100, 1 << 60) == b""
    file.lseek(10000)
    assert file.read(caller, 1000) == data[10000:]
    file.put()


def test_reading_nothing_runs_nothing(shown: Shown) -> None:
    shown.set(b"abc")
    file = shown.kernel.open(PATH)
    assert file.read(shown.kernel.caller, 0) == b""
    assert shown.did()[0] == 0
    file.put()


@pytest.mark.parametrize("ret", [1, 2, 0x7FFFFFFF])
def test_returning_1_or_more_drops_the_output(shown: Shown, ret: int) -> None:
    shown.set(b"dropped", ret=ret)
    assert shown.read() == b""
    shown.set(bytes(PAGE * 2), ret=ret)
    assert shown.read() == b"", "even what did not fit, without another run"
    assert shown.did()[0] == 1


@pytest.mark.parametrize("code", [errno.ENOENT, errno.EAGAIN, errno.EACCES, 4095])
def test_a_negative_return_fails_the_read_with_that_errno(shown: Shown, code: int) -> None:
    shown.set(b"half a line", ret=-code)
    with pytest.raises(OSError) as caught:
        shown.read()
    assert caught.value.errno == code
    shown.set(b"well again")
    assert shown.read() == b"well again"


def test_a_failed_read_leaves_the_open_file_usable(shown: Shown) -> None:
    caller, file = shown.kernel.caller, shown.kernel.open(PATH)
    shown.set(bytes(PAGE * 3), ret=-5)
    with pytest.raises(OSError):
        file.read(caller, 100)
    shown.set(b"fine")
    assert file.read(caller, 100) == b"fine"
    file.put()


def test_a_return_value_of_32_bits_is_signed(shown: Shown) -> None:
    shown.set(b"x", ret=0xFFFFFFFE)  # int: -2
    with pytest.raises(OSError) as caught:
        shown.read()
    assert caught.value.errno == errno.ENOENT


def test_bulk_reads_give_each_objects_text(shown: Shown) -> None:
    kernel = shown.kernel
    cgroups = [kernel.cgroups.create(f"/bulk/{i}") for i in range(300)]
    shown.set(id=True)
    objects, ends = ffi.new("void *[]", [g.c for g in cgroups]), ffi.new("u64[]", 300)
    (prog,) = (p for p in kernel.progs if p.name == "write_view")
    fn, buf = ffi.cast("rt_prog_fn", prog.native.addr), ffi.new("char[]", 1 << 16)
    assert lib.rt_view_read_many(kernel.native.ptr, fn, objects, 300, buf, 1 << 16, ends, ffi.NULL) == 300
    text = bytes(ffi.buffer(buf, ends[299]))
    assert text == b"".join(b"%d\n" % g.kn.id for g in cgroups)
    # What does not fit is left for the next call: how many did is the answer.
    fitted = lib.rt_view_read_many(kernel.native.ptr, fn, objects, 300, buf, 100, ends, ffi.NULL)
    assert 0 < fitted < 300 and bytes(ffi.buffer(buf, ends[fitted - 1])) == text[: ends[fitted - 1]]
    assert lib.rt_view_read_many(kernel.native.ptr, fn, objects, 300, buf, 1, ends, ffi.NULL) == -errno.EOVERFLOW
    shown.set(id=True, ret=-errno.EACCES)
    assert lib.rt_view_read_many(kernel.native.ptr, fn, objects, 300, buf, 1 << 16, ends, ffi.NULL) == -errno.EACCES
    shown.set(id=True, ret=1)
    assert lib.rt_view_read_many(kernel.native.ptr, fn, objects, 300, buf, 1 << 16, ends, ffi.NULL) == 300
    assert ends[299] == 0, "skipped ones are empty"


def test_threads_may_share_an_open_view(shown: Shown) -> None:
    data = bytes(range(256)) * 64
    shown.set(data)
    (prog,) = (p for p in shown.kernel.progs if p.name == "write_view")
    view = View(shown.kernel.native, ffi.cast("rt_prog_fn", prog.native.addr), shown.cgroup.c)
    wrong = []

    def read(seed: int) -> None:
        for i in range(200):
            pos = (seed * 977 + i * 131) % len(data)
            if view.read(500, pos, ffi.NULL) != data[pos : pos + 500]:
                wrong.append(pos)

    threads = [threading.Thread(target=read, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    view.close()
    assert wrong == []


def test_views_leave_no_memory(shown: Shown) -> None:
    shown.set(bytes(DATA_BYTES), 4)

    def rss() -> int:
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * PAGE

    for _ in range(50):
        shown.read()
    gc.collect()
    before = rss()
    for _ in range(1000):
        shown.kernel.open(PATH).put()
        shown.read()
    gc.collect()
    assert rss() - before < 3 << 20
