"""What the runtime owns it gives back; its tables agree with those of bpfjit.spec; its log is text."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from bpf_calls import Calls, u64

from bpfjit.isa.encoding import Insn, ld_imm64
from bpfjit.spec.helpers import HELPERS
from bpfjit.spec.kfuncs import KFUNCS
from bpfjit.spec.map_types import MAP_TYPE_BY_ID
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel
from runtime import KernelHandle, Map, Symbols, Tracepoint, View, ffi, lib

PAGE = 4096
TRACE_PRINTK = 6


def rss_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def mappings() -> int:
    return len(Path("/proc/self/maps").read_text().splitlines())


@pytest.fixture
def native() -> Iterator[KernelHandle]:
    kernel = KernelHandle(2)
    yield kernel
    kernel.close()


# -- nothing is left behind ------------------------------------------------------------------------------


def rounds(make: object, count: int) -> tuple[int, int, int]:
    """How much RSS, fds and mappings grow over `count` calls, once warm."""
    for _ in range(30):
        make()  # type: ignore[operator]
    before = rss_bytes(), fds(), mappings()
    for _ in range(count):
        make()  # type: ignore[operator]
    return rss_bytes() - before[0], fds() - before[1], mappings() - before[2]


def test_a_thousand_kernels_leave_nothing() -> None:
    def make() -> None:
        kernel = KernelHandle(4)
        kernel.new("struct task_struct").pid = 7
        kernel.close()

    grown, files, maps = rounds(make, 1000)
    assert grown < 2 << 20 and files == 0 and maps <= 8


@pytest.mark.parametrize("map_type", [1, 2, 5, 6, 9])
def test_a_thousand_maps_leave_nothing(native: KernelHandle, map_type: int) -> None:
    def make() -> None:
        m = Map(native, map_type, 4, 64, 100, 0, 0)
        m.update(bytes(4), bytes(m.value_bytes))
        m.close()

    grown, files, maps = rounds(make, 1000)
    assert grown < 2 << 20 and files == 0 and maps <= 8


def test_kernel_objects_are_used_again(native: KernelHandle) -> None:
    seen = set()
    for _ in range(1000):
        obj = native.new("struct cgroup", 64)
        assert bytes(ffi.buffer(obj, 64)) == bytes(64), "zeroed, whatever was there"
        ffi.memmove(obj, b"\xff" * 64, 64)
        seen.add(int(ffi.cast("uintptr_t", obj)))
        native.free(obj, ffi.sizeof("struct cgroup") + 64)
    assert len(seen) < 10


def test_simulated_kernels_with_fds_leave_nothing() -> None:
    def make() -> None:
        with Kernel(1) as kernel:
            calls = Calls(kernel.bpf, 1, kernel)
            fd = calls.create(uapi.BPF_MAP_TYPE_HASH, 8, 8, 1000)
            assert calls.update(fd, u64(1), u64(1)) == 0

    grown, files, _ = rounds(make, 60)
    assert grown < 8 << 20 and files == 0


def test_a_map_closed_after_its_kernel_is_no_crash() -> None:
    kernel = KernelHandle(1)
    m, tracepoint = Map(kernel, 2, 4, 8, 1, 0, 0), Tracepoint(kernel)
    kernel.close()
    m.close()
    tracepoint.close()
    m.close()


def test_two_kernels_may_nest_in_one_thread() -> None:
    """A program of one kernel may run while the thread holds a CPU of another: each finds its own."""
    outer, inner = KernelHandle(1), KernelHandle(1)
    inside, tracepoint = Map(inner, 6, 4, 8, 1, 0, 0), Tracepoint(outer)

    @ffi.callback("u64(void *)")
    def program(_ctx: object) -> int:
        inside.update(bytes(4), u64(42))
        return lib.rt_prog_run(outer.ptr, again, ffi.NULL, ffi.NULL)

    @ffi.callback("u64(void *)")
    def again(_ctx: object) -> int:
        return 5

    assert lib.rt_prog_run(outer.ptr, program, ffi.NULL, ffi.NULL) == 5
    assert inside.lookup(bytes(4)) == u64(42)
    # Every CPU was let go: one more execution does not wait.
    assert lib.rt_prog_run(outer.ptr, again, ffi.NULL, ffi.NULL) == 5
    tracepoint.close()


def test_bad_shapes_are_errors_not_crashes(native: KernelHandle) -> None:
    for shape in (
        (2, 4, 0xFFFFFFFF, 0xFFFFFFFF),
        (1, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
        (6, 4, 1 << 30, 1 << 31),
        (77, 4, 4, 4),
    ):
        with pytest.raises(OSError):
            Map(native, *shape, 0, 0)
    for cpus in (0, -1, 65):
        with pytest.raises(ValueError, match="cpus"):
            KernelHandle(cpus)


# -- threads with the GIL released -------------------------------------------------------------------------


def test_python_threads_work_on_one_map(native: KernelHandle) -> None:
    m = Map(native, 1, 8, 16, 64, 0, 0)
    wrong: list[bytes] = []

    def work(seed: int) -> None:
        for i in range(3000):
            key = u64(i * 31 % 64)
            if (i + seed) % 3:
                m.update(key, u64(i) * 2)
            elif (value := m.lookup(key)) is not None and value[:8] != value[8:]:
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []
    assert sum(1 for k in range(64) if m.lookup(u64(k)) is not None) == 64


# -- tables ------------------------------------------------------------------------------------------------


def test_every_helper_has_its_function() -> None:
    symbols = Symbols()
    kfuncs = {row.symbol for row in KFUNCS if Kernel().btf.types.find_func(row.name) is not None}
    missing = ({row.symbol for row in HELPERS if row.symbol} | kfuncs) - set(symbols)
    assert missing == set()
    assert all(symbols.values()), "and an address"


def test_every_function_that_programs_call_has_its_kernel_name() -> None:
    symbols = Symbols()
    named = {"check_mtu": "bpf_skb_check_mtu"}  # Linux has two of them, and none without a prefix
    rows = [(named.get(h.name, f"bpf_{h.name}"), h.symbol) for h in HELPERS] + [(k.name, k.symbol) for k in KFUNCS]
    wrong = [n for n, symbol in rows if symbol in symbols and lib.rt_ksym_address(n.encode()) != symbols[symbol]]
    assert not wrong
    assert not lib.rt_ksym_address(b"") and not lib.rt_ksym_address(b"bpf_put_u64")


def test_large_objects_are_used_again() -> None:
    with Kernel() as kernel:
        native, seen = kernel.native, set()
        for size in (4097, 5000, 8000, 8192) * 3:
            text = native.string(bytes(size - 1))
            seen.add(int(ffi.cast("uintptr_t", text)))
            native.free(text, size)
            lib.rt_rcu_barrier(native.ptr)
        assert len(seen) == 1


def test_the_extension_compiles_without_a_warning() -> None:
    root = Path(__file__).resolve().parents[3] / "runtime"
    command = ["cc", "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-fsyntax-only", "-Wall", "-Wextra", "-Wshadow", "-Werror"]
    command += ["-Wno-unused-parameter", f"-I{root / 'include'}", *map(str, sorted((root / "src").glob("*.c")))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# -- the trace log -----------------------------------------------------------------------------------------


def printk(calls: Calls, text: bytes, *args: int) -> int:
    """bpf_trace_printk with a format on the stack; its result."""
    raw = text + b"\0"
    size = -(-len(raw) // 8) * 8
    insns: list[Insn] = []
    for i in range(0, size, 8):
        word = int.from_bytes(raw[i : i + 8].ljust(8, b"\0"), "little")
        insns += [*ld_imm64(1, word), Insn(0x7B, 10, 1, i - size)]
    insns += [Insn(0xBF, 1, 10), Insn(0x07, 1, 0, 0, -size), Insn(0xB7, 2, 0, 0, len(raw))]
    insns += [Insn(0xB7, 3 + i, 0, 0, a) for i, a in enumerate(args)]
    fd = calls.load(uapi.BPF_PROG_TYPE_RAW_TRACEPOINT, [*insns, Insn(0x85, 0, 0, 0, TRACE_PRINTK), Insn(0x95)])
    assert fd >= 0, calls.log
    return calls.run(fd).retval


def test_trace_printk_goes_to_the_kernels_own_log(sim: Calls) -> None:
    assert sim.kernel is not None
    buf = ffi.new("char[]", 4096)
    assert lib.rt_trace_read(sim.kernel.native.ptr, buf, 4096) == 0
    assert printk(sim, b"one %d two %x\n", -1, 255) == len("one -1 two ff\n")
    assert printk(sim, b"bad %n", 1) == 0xFFFFFFEA
    assert printk(sim, b"%d %d %d", 1, 2, 3) == 5
    assert lib.rt_trace_read(sim.kernel.native.ptr, buf, 4) == 4 and bytes(ffi.buffer(buf, 4)) == b"one "
    n = lib.rt_trace_read(sim.kernel.native.ptr, buf, 4096)
    assert bytes(ffi.buffer(buf, n)) == b"-1 two ff\n1 2 3"


# -- allocation --------------------------------------------------------------------------------------------

COUNT_MALLOC = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
long malloc_calls;
static void *(*next)(size_t);
void *malloc(size_t n) { if (!next) next = dlsym(RTLD_NEXT, "malloc"); malloc_calls++; return next(n); }
"""

RUN_COUNTED = """
import ctypes, sys
from runtime import KernelHandle, Map, View, ffi, lib, Symbols
count = ctypes.c_long.in_dll(ctypes.CDLL(None), "malloc_calls")
kernel = KernelHandle(2)
printf = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint64, ctypes.c_void_p, ctypes.c_uint64)
symbols = Symbols()
lib_names = ["rt_ktime_get_ns", "rt_get_prandom_u32", "rt_get_smp_processor_id", "rt_get_current_pid_tgid", "rt_jiffies64"]
args = ffi.new("u64[]", [1, 2])
for name in lib_names:  # as programs: functions of one ignored argument
    fn = ffi.cast("rt_prog_fn", symbols[name])
    lib.rt_prog_bench(kernel.ptr, fn, args, ffi.NULL, 1, ffi.new("u64 *"), ffi.new("double *"))
    ret, ns = ffi.new("u64 *"), ffi.new("double *")
    before = count.value
    lib.rt_prog_bench(kernel.ptr, fn, args, ffi.NULL, 1000, ret, ns)
    assert count.value - before < 100, (name, count.value - before)
out, fmt = ffi.new("char[]", 4096), b"%d %s %p %pI4 %llx\\0"
values = ffi.new("u64[]", [1, int(ffi.cast("uintptr_t", out)), 4096, 0, 9])
lib.rt_format(kernel.ptr, out, 4096, fmt, len(fmt), values, 5)
before = count.value
for _ in range(1000):
    lib.rt_format(kernel.ptr, out, 4096, fmt, len(fmt), values, 5)
assert count.value - before < 100, count.value - before
for kind in (1, 2, 5, 6, 9):
    m = Map(kernel, kind, 4, 8, 10, 0, 0)
    key, value = ffi.new("char[4]"), ffi.new("char[]", m.value_bytes)
    lib.rt_map_copy_in(m.ptr, key, value, 0)
    before = count.value
    for _ in range(1000):
        lib.rt_map_copy_out(m.ptr, key, value, 0)
        lib.rt_map_copy_in(m.ptr, key, value, 0)
    assert count.value - before < 100, (kind, count.value - before)
print("none")
"""


def test_executions_allocate_nothing(tmp_path: Path) -> None:
    (tmp_path / "count.c").write_text(COUNT_MALLOC)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "count.so", tmp_path / "count.c", "-ldl"], check=True)
    env = os.environ | {"LD_PRELOAD": str(tmp_path / "count.so")}
    done = subprocess.run([sys.executable, "-c", RUN_COUNTED], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "none\n"), done.stderr


def test_a_view_object_outlives_no_kernel(native: KernelHandle) -> None:
    view = View(native, ffi.cast("rt_prog_fn", 0), ffi.NULL)
    view.close()
    view.close()


def test_every_map_type_of_the_spec_has_its_operations_in_the_runtime() -> None:
    known = {n for n in range(256) if lib.rt_map_type_known(n)}
    assert known == set(MAP_TYPE_BY_ID)
