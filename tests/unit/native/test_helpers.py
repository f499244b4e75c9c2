"""Helpers: the same calls on the live kernel and here, and what the simulated kernel's own objects add."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import random
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from bpf_calls import Calls, load_object, possible_cpus

from bpfjit.isa.encoding import Insn
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel

HEAD = struct.Struct("<IIQqQ")
BUF_BYTES, MEMORY_BYTES = 256, 64
(STRTOL, STRTOUL, STRNCMP, READ_USER, READ_USER_STR, READ_KERNEL, READ_KERNEL_STR, COPY_FROM_USER, COMM, SNPRINTF, CLOCKS,
 RANDOM, LOOP) = range(13)  # fmt: skip
OURS = 1  # as an address: the case's own memory, in the kernel


class Answer(NamedTuple):
    ret: int
    res: int
    buf: bytes


class Helpers:
    """One kernel with tests/objects/runtime_helpers.bpf.c."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.object = load_object(calls, "runtime_helpers")
        self.fd = self.object.maps["cases"].fd
        self.prog = self.object.progs["one_case"].fd

    def call(self, op: int, buf: bytes = b"", size: int | None = None, flags: int = 0, memory: bytes = b"") -> Answer:
        head = HEAD.pack(op, len(buf) if size is None else size, flags, -12345, 0)
        value = head + buf.ljust(BUF_BYTES, b"\xaa") + memory.ljust(MEMORY_BYTES, b"\0")
        assert self.calls.update(self.fd, bytes(4), value) == 0
        ran = self.calls.run(self.prog)
        assert (ran.result, ran.retval) == (0, 0)
        after = self.calls.lookup(self.fd, bytes(4), len(value))
        assert isinstance(after, bytes)
        _, _, _, ret, res = HEAD.unpack_from(after)
        return Answer(ret, res, after[HEAD.size :][:BUF_BYTES])


@pytest.fixture
def helpers(calls: Calls) -> Iterator[Helpers]:
    made = Helpers(calls)
    yield made
    made.object.close()


@pytest.fixture
def both(sim: Calls, live: Calls) -> Iterator[tuple[Helpers, Helpers]]:
    made = Helpers(sim), Helpers(live)
    yield made
    for one in made:
        one.object.close()


# -- numbers and strings -----------------------------------------------------------------------------------

NUMBERS = [
    *(
        b"0",
        b"7",
        b"-7",
        b"+7",
        b" 7",
        b"\t\n\v\f\r 7",
        b"7 ",
        b"7x",
        b"",
        b"-",
        b"--7",
        b"- 7",
        b"0x",
        b"0x1F",
        b"0X1f",
        b"-0x10",
    ),
    *(
        b"010",
        b"08",
        b"0b1",
        b"9223372036854775807",
        b"9223372036854775808",
        b"-9223372036854775808",
        b"-9223372036854775809",
    ),
    *(b"18446744073709551615", b"18446744073709551616", b"ffffffffffffffff", b"1\x007", b"\xa07", b"x", b"0xg", b"00x1"),
    *(b"777777777777777777777", b"1777777777777777777777", b"1" * 64, b"0" * 62 + b"12345", b"-99999999999999999999", b"  "),
    *(b"zz", b"+0x7", b"12\n34"),
]


def test_strtol_and_strtoul_agree_with_linux(both: tuple[Helpers, Helpers]) -> None:
    rng = random.Random(11)
    texts = NUMBERS + [bytes(rng.choice(b"0123456789abfx-+ ") for _ in range(rng.randint(1, 24))) for _ in range(200)]
    for text in texts:
        for op in (STRTOL, STRTOUL):
            for flags in (0, 8, 10, 16, 2, 31, 32, 1 << 40):
                for size in {max(len(text), 1), len(text) + 1, min(len(text) + 9, 80)}:
                    # NUL ends the number, and so does the end of the buffer.
                    ours, theirs = (h.call(op, text + b"\0" * 16, size, flags)[:2] for h in both)
                    assert ours == theirs, (op, text, flags, size)


def test_strncmp_gives_the_sign_alone(both: tuple[Helpers, Helpers], helpers: Helpers) -> None:
    for text in (b"hello", b"hellp", b"hella", b"hell", b"hello!", b"", b"\xffello", b"h"):
        for size in (1, 4, 5, 6, 7, 200):
            ours, theirs = (h.call(STRNCMP, text.ljust(200, b"\0"), size)[0] for h in both)
            assert ours == theirs and ours in (-1, 0, 1), (text, size)
    assert helpers.call(STRNCMP, b"hellz", 6)[0] == 1


def test_snprintf_returns_what_it_wanted_to_write_and_cuts_with_a_nul(helpers: Helpers) -> None:
    text = b"123456:text:00ab"
    for size in (0, 1, 2, 8, 16, 17, 18, 100):
        got = helpers.call(SNPRINTF, size=size, flags=123456)
        assert got.ret == len(text) + 1
        if size:
            kept = text[: size - 1] + b"\0"
            assert got.buf[: len(kept)] == kept and got.buf[max(size, 17) :] == b"\xaa" * (BUF_BYTES - max(size, 17))


# -- reads ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def edge() -> Iterator[int]:
    """The address where readable memory of this process ends."""
    page = mmap.PAGESIZE
    area = mmap.mmap(-1, 2 * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(area))
    ctypes.memset(start, ord("z"), page)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(start + page), page, 0) == 0
    yield start + page
    assert libc.mprotect(ctypes.c_void_p(start + page), page, 3) == 0


def test_reads_at_the_end_of_a_page(both: tuple[Helpers, Helpers], edge: int) -> None:
    ctypes.memmove(edge - 6, b"hello\0", 6)
    for op in (READ_USER, READ_USER_STR, COPY_FROM_USER):
        for back in (0, 1, 3, 6, 10, 100):
            for size in (0, 1, 2, 5, 6, 7, 8, 10, 64, 100, 200):
                ours, theirs = (h.call(op, size=size, flags=edge - back) for h in both)
                if op == READ_USER_STR and theirs.ret > 0:  # behind the string's NUL the buffer is anybody's
                    ours, theirs = ((a.ret, a.buf[: a.ret]) for a in (ours, theirs))  # type: ignore[assignment]
                assert ours == theirs, (op, back, size)


def test_bad_addresses_are_efault_and_zeroes(helpers: Helpers) -> None:
    for op in (READ_USER, READ_KERNEL, COPY_FROM_USER):
        for addr in (0, 8, 0xDEAD000000000000, 0xFFFFFFFFFFFFF000):
            want = -errno.ERANGE if op == READ_KERNEL and addr >> 47 != (1 << 17) - 1 else -errno.EFAULT
            assert helpers.call(op, size=16, flags=addr) == (want, 0, bytes(16) + b"\xaa" * 240), (op, addr)
    for op in (READ_USER_STR, READ_KERNEL_STR):
        for addr in (0, 0xDEAD000000000000):
            got = helpers.call(op, size=16, flags=addr)
            assert (got.ret, got.buf[0]) == (-errno.EFAULT if op == READ_USER_STR else -errno.ERANGE, 0)


def test_kernel_reads_of_strings_and_bytes(helpers: Helpers) -> None:
    memory = b"hello\0world" + b"w" * 53
    assert helpers.call(READ_KERNEL, size=11, flags=OURS, memory=memory)[0::2] == (0, memory[:11] + b"\xaa" * 245)
    for size, want in ((16, b"hello\0"), (6, b"hello\0"), (5, b"hell\0"), (1, b"\0")):
        got = helpers.call(READ_KERNEL_STR, size=size, flags=OURS, memory=memory)
        assert (got.ret, got.buf[: got.ret]) == (len(want), want)
    assert helpers.call(READ_KERNEL_STR, size=0, flags=OURS, memory=memory).ret == 0


# -- this and that -------------------------------------------------------------------------------------------


def test_clocks_and_cpus(helpers: Helpers) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    mono, boot, tai, jiffies, cpu, node = struct.unpack_from("<6Q", helpers.call(CLOCKS).buf)
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert before[0] <= mono <= after[0] and before[1] <= boot <= after[1]
    assert abs(tai - time.clock_gettime_ns(time.CLOCK_TAI)) < 10**9
    assert jiffies > 0 and cpu < possible_cpus() and node == 0


def test_random_numbers_differ(helpers: Helpers) -> None:
    numbers = struct.unpack("<64I", helpers.call(RANDOM).buf)
    assert len(set(numbers)) > 60
    assert all(any(n >> bit & 1 for n in numbers) and not all(n >> bit & 1 for n in numbers) for bit in range(32))


def test_loops_count_stop_and_have_a_limit(helpers: Helpers) -> None:
    assert helpers.call(LOOP, size=0)[:2] == (0, 0)
    assert helpers.call(LOOP, size=200)[:2] == (200, 200)
    assert helpers.call(LOOP, size=200, flags=3)[:2] == (3, 3)
    too_many = helpers.call(LOOP, size=255)  # Linux inlines the loop, and then r0 has 32 bits of the error
    assert (too_many.ret & 0xFFFFFFFF, too_many.res) == (-errno.E2BIG & 0xFFFFFFFF, 0)


def test_comm_is_cut_to_the_buffer(live: Calls, sim: Calls) -> None:
    """Current is the caller's own task on Linux; here too, where the simulated kernel has a task of its pid."""
    name = Path("/proc/self/comm").read_bytes().strip()
    assert sim.kernel is not None
    sim.kernel.tasks.create(os.getpid(), name.decode())
    for calls in (live, sim):
        helpers = Helpers(calls)
        for size in (1, 2, 8, 15, 16, 17, 64):
            got = helpers.call(COMM, size=size)
            assert got.ret == 0
            assert got.buf[:size] == name[: min(size, 16) - 1].ljust(min(size, 16), b"\0").ljust(size, b"\0")
        helpers.object.close()


def run_helper(calls: Calls, helper: int, arg: int = 0) -> int:
    insns = [Insn(0xB7, 1, 0, 0, arg), Insn(0x85, 0, 0, 0, helper), Insn(0x95)]
    store = [*insns[:2], Insn(0xBF, 6, 0), Insn(0xBF, 0, 6), Insn(0x77, 0, 0, 0, 32), Insn(0x95)]
    low, high = (calls.load(uapi.BPF_PROG_TYPE_SYSCALL, i, flags=uapi.BPF_F_SLEEPABLE) for i in (insns, store))
    return calls.run(low).retval | calls.run(high).retval << 32


def test_the_current_task_and_its_cgroups() -> None:
    pid_tgid, uid_gid, cgroup_id, ancestor = 14, 15, 80, 123
    with Kernel(1) as kernel:
        calls = Calls(kernel.bpf, 1, kernel)
        for helper in (pid_tgid, uid_gid):
            assert run_helper(calls, helper) == 0, "the idle task: pid 0, root"
        assert run_helper(calls, cgroup_id) == 1
        inner = kernel.cgroups.create("/a/b")
        kernel.tasks.create(os.getpid(), "me", inner, tgid=os.getpid(), uid=7, gid=9)
        assert run_helper(calls, pid_tgid) == os.getpid() << 32 | os.getpid()
        assert run_helper(calls, uid_gid) == 9 << 32 | 7
        assert run_helper(calls, cgroup_id) == inner.kn.id
        chain = [kernel.cgroups.root, kernel.cgroups.create("/a/x").up, inner]
        for level, cgroup in enumerate(chain):
            assert run_helper(calls, ancestor, level) == cgroup.kn.id
        for level in (3, -1, 1 << 30):
            assert run_helper(calls, ancestor, level) == 0


# -- faults --------------------------------------------------------------------------------------------------

PROBE = """
import faulthandler, sys
if "early" in sys.argv: faulthandler.enable()
from runtime import KernelHandle, ffi, lib
if "late" in sys.argv: faulthandler.enable()
kernel = KernelHandle(1)
for _ in range(3):
    assert lib.rt_probe_load(8, 8) == 0
    assert lib.rt_copy_fault(ffi.new("char[8]"), ffi.cast("void *", 0xDEAD000000000000), 8) < 0
print("fine", flush=True)
if "crash" in sys.argv: import ctypes; ctypes.string_at(0)
"""


@pytest.mark.parametrize("when", ["none", "early", "late"])
def test_a_bad_address_is_no_crash_to_faulthandler(when: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROBE, when], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "fine\n", "")


@pytest.mark.parametrize("when", ["none", "early", "late"])
def test_a_real_crash_still_is_one(when: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, when, "crash"], capture_output=True, text=True, check=False, timeout=20
    )
    assert (done.returncode, done.stdout) == (-11, "fine\n")
    assert done.stderr.count("Fatal Python error: Segmentation fault") == (0 if when == "none" else 1)
