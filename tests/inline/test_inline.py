"""Helpers in place: what native code does itself is what the call does, in the interpreter and on Linux."""

from __future__ import annotations

import os
import re
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfjit import live_bpf, open_object
from bpfjit.jit.emit import Emitter
from bpfjit.loader import LoadedObject, Object
from bpfjit.loader.bpf import Bpf, Buffers
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel

SOURCE = Path(__file__).parent / "inline.bpf.c"
KEYS = ["hash_1", "hash_2", "hash_3", "hash_4", "hash_7", "hash_8", "hash_13", "hash_16", "hash_64", "hash_65"]
EACH = ["each_array", "each_array_stopped", "each_percpu_array", "each_hash", "each_percpu_hash"]
PROGRAMS = [*KEYS, "percpu_4", "percpu_12", "lru_8", "percpu_array", "task", "nested", "who", *EACH]
PROGRAMS += ["one_map_two_names", "each_hash_first", "of_arrays", "of_arrays_each", "of_hashes"]
# bpf_loop: counts that end by themselves, by the callback, too many, and flags that must be 0.
LOOPS = [
    (0, 0),
    (1, 0),
    (40, 0),
    (41, 0),
    (1000, 0),
    (1 << 23, 0),
    ((1 << 23) + 1, 0),
    (1 << 32 | 5, 0),
    (5, 1),
    (1 << 30, 2),
]


@pytest.fixture(scope="module")
def source() -> Object:
    return open_object(SOURCE)


@pytest.fixture(scope="module")
def loaded(source: Object) -> Iterator[dict[str, tuple[Bpf, LoadedObject]]]:
    """The object in both tiers of the JIT and in the interpreter."""
    kernels = {"jit": Kernel(tiered=False), "first tier": Kernel(), "interp": Kernel(engine="interp")}
    found = {engine: (kernel.bpf, source.load(kernel.bpf)) for engine, kernel in kernels.items()}
    for _, it in found.values():
        fill(it)
    yield found
    for _, it in found.values():
        it.close()
    for kernel in kernels.values():
        kernel.close()


@pytest.fixture(scope="module", autouse=True)
def one_cpu() -> Iterator[None]:
    """Elements of a per-CPU map are the CPU's: on Linux a run would find those of wherever the test happens to be."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.fixture(scope="module")
def linux(source: Object, live: object) -> Iterator[tuple[Bpf, LoadedObject]]:
    it = source.load(live_bpf)
    fill(it)
    yield live_bpf, it
    it.close()


def fill(it: LoadedObject) -> None:
    """One inner map in the hash of maps."""
    it.maps["hashes"].update((2).to_bytes(8, "little"), it.maps["some_hash"].fd.to_bytes(4, "little"))


def run(judge: tuple[Bpf, LoadedObject], program: str, ctx: bytes = bytes(16)) -> int:
    bpf, it = judge
    keep = Buffers()
    attr = bytearray(uapi.TestRun(prog_fd=it.progs[program].fd, ctx_in=keep.put(ctx), ctx_size_in=len(ctx)).pack())
    bpf(uapi.BPF_PROG_TEST_RUN, attr)
    return uapi.TestRun.unpack(attr).retval


@pytest.mark.parametrize("program", PROGRAMS)
def test_in_place_is_what_the_call_is(loaded: dict[str, tuple[Bpf, LoadedObject]], program: str) -> None:
    for _ in range(2):  # the second time over what the first left in the maps
        assert len({run(judge, program) for judge in loaded.values()}) == 1


@pytest.mark.parametrize("program", PROGRAMS)
def test_in_place_is_what_linux_does(
    loaded: dict[str, tuple[Bpf, LoadedObject]], linux: tuple[Bpf, LoadedObject], program: str
) -> None:
    assert run(loaded["jit"], program) == run(linux, program)


@pytest.mark.parametrize(("loops", "flags"), LOOPS)
def test_loops(loaded: dict[str, tuple[Bpf, LoadedObject]], linux: tuple[Bpf, LoadedObject], loops: int, flags: int) -> None:
    ctx = struct.pack("<QQ", loops, flags)
    assert len({run(judge, "loop", ctx) for judge in (*loaded.values(), linux)}) == 1


# A key too long to be searched for in place, a buffer that is not of 16 bytes.
CALLED = {"hash_65": "rt_map_lookup_elem", "who": "rt_get_"}


@pytest.mark.parametrize("program", EACH)
def test_flags_of_for_each_must_be_0(
    loaded: dict[str, tuple[Bpf, LoadedObject]], linux: tuple[Bpf, LoadedObject], program: str
) -> None:
    assert len({run(judge, program, struct.pack("<QQ", 0, 4)) for judge in (*loaded.values(), linux)}) == 1


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_call_is_left(program: str, source: Object) -> None:
    with Kernel() as kernel:
        it = source.load(kernel.bpf, only=[program])
        ir = kernel.jit.ir(kernel.caller.fds.get(it.progs[program].fd).object.verified)
        for symbol in ("rt_map_lookup_elem", "rt_loop", "rt_for_each", "rt_get_"):
            assert (f"@{symbol}" in ir) == (CALLED.get(program) == symbol), symbol
        it.close()


def test_contents_that_never_change_are_compiled_in(tmp_path: Path) -> None:
    source = tmp_path / "constant.bpf.c"
    source.write_text(
        '#include "vmlinux.h"\n#include <bpf/bpf_helpers.h>\nconst volatile int on = 0;\n'
        "static const u32 table[4] = { 5, 5, 5, 5 };\n"
        'SEC("syscall") int prog(u64 *ctx) { return on ? bpf_get_prandom_u32() : table[*ctx & 3]; }\n'
        'char _license[] SEC("license") = "GPL";\n'
    )
    with Kernel() as kernel:
        it = open_object(source).load(kernel.bpf)
        prog = kernel.caller.fds.get(it.progs["prog"].fd).object
        optimised = kernel.jit.ir_listing(prog.verified)
        assert "rt_get_prandom_u32" not in optimised, "what the switch turns off is not there"
        assert "ret i64 5" in optimised, "a table of one number needs no table"
        assert run((kernel.bpf, it), "prog") == 5
        it.close()


def test_the_first_tier_calls_what_the_second_has_in_place(source: Object) -> None:
    with Kernel() as kernel, source.load(kernel.bpf, only=["hash_8", "of_hashes"]) as it:
        for name, slots in (("hash_8", 0), ("of_hashes", 1)):
            emitter = Emitter(kernel.caller.fds.get(it.progs[name].fd).object.verified)
            ir = emitter.module("prog")
            quick = emitter.quick(ir)
            assert "@rt_map_lookup_elem" not in ir and quick.count("call ptr @rt_map_lookup_elem") == 1
            assert "@llvm.cttz.i16(i16 %left" in ir and quick.count("@llvm.cttz.i16(i16 %left") == slots


def test_a_record_of_a_ring_is_two_locked_instructions_and_no_call() -> None:
    operations = Path(__file__).parent.parent.parent / "benchmarks" / "maps" / "operations.bpf.c"
    with Kernel() as kernel, open_object(operations).load(kernel.bpf, only=["ring_submit"]) as it:
        emitter = Emitter(kernel.caller.fds.get(it.progs["ring_submit"].fd).object.verified)
        ir = emitter.module("prog")
        assert "call void @rt_ringbuf_submit" not in ir and ir.count("atomicrmw") == 2
        quick = emitter.quick(ir)
        assert "atomicrmw" not in quick and "call void @rt_ringbuf_submit" in quick


def test_values_of_two_maps_are_never_one_another(tmp_path: Path) -> None:
    """What a loop writes into one hash does not make it read the other's value again."""
    source = tmp_path / "two.bpf.c"
    source.write_text(
        '#include "vmlinux.h"\n#include <bpf/bpf_helpers.h>\n'
        "struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 8); __type(key, u32); __type(value, u64[4]); } "
        'a SEC(".maps"), b SEC(".maps");\n'
        'SEC("syscall") int prog(void *ctx) { u32 k = 1; u64 *p = bpf_map_lookup_elem(&a, &k);\n'
        "volatile u64 *q = bpf_map_lookup_elem(&b, &k);\nif (!p || !q) return 0;\n"
        "for (int i = 0; i < 100; i++) p[i & 3] += q[0];\nreturn 0; }\n"
        'char _license[] SEC("license") = "GPL";\n'
    )
    with Kernel() as kernel, open_object(source).load(kernel.bpf) as it:
        optimised = kernel.jit.ir_listing(kernel.caller.fds.get(it.progs["prog"].fd).object.verified)
        loads = re.findall(r" = load i64, ptr %\S+, align 1, !alias.scope !(\d+)", optimised)
        assert sorted(Counter(loads).values())[0] == 1 and len(set(loads)) == 2, "q[0] is read once, before the loop"
