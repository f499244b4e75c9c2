"""Two tiers: a program runs at once, and better once it runs often; whoever holds its address notices nothing."""

from __future__ import annotations

import gc
import time
from pathlib import Path

import pytest

from bpfjit import open_object
from bpfjit.jit import Native, ObjectCache
from bpfjit.jit.tiers import HOT_RUNS
from bpfjit.loader import LoadedObject
from bpfjit.loader.bpf import Buffers
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel
from runtime import ffi, lib

SOURCE = Path(__file__).parent.parent.parent / "benchmarks" / "programs" / "sieve.bpf.c"


def load(kernel: Kernel) -> tuple[LoadedObject, Native]:
    it = open_object(SOURCE).load(kernel.bpf)
    return it, kernel.caller.fds.get(it.progs["prog"].fd).object.native


def run(kernel: Kernel, it: LoadedObject, repeat: int) -> int:
    keep = Buffers()
    attr = uapi.TestRun(prog_fd=it.progs["prog"].fd, data_in=keep.put(bytes(64)), data_size_in=64, repeat=repeat)
    raw = bytearray(attr.pack())
    kernel.bpf(uapi.BPF_PROG_TEST_RUN, raw)
    return uapi.TestRun.unpack(raw).retval


def test_what_runs_often_is_optimised_behind_its_address() -> None:
    with Kernel() as kernel:
        it, native = load(kernel)
        addr, first, functions = native.addr, run(kernel, it, 1), native.functions
        assert not native.optimised and native.runs == 1
        for _ in range(HOT_RUNS // 500):
            assert run(kernel, it, 500) == first
        end = time.monotonic() + 20
        while not native.optimised and time.monotonic() < end:
            time.sleep(0.02)
        assert native.optimised and native.addr == addr and native.functions != functions
        assert run(kernel, it, 500) == first
        it.close()


def test_what_runs_once_is_not() -> None:
    with Kernel() as kernel:
        it, native = load(kernel)
        run(kernel, it, 1)
        time.sleep(0.2)
        assert not native.optimised
        it.close()


def test_many_runs_in_one_call_wait_for_the_optimiser() -> None:
    with Kernel() as kernel:
        it, native = load(kernel)
        assert run(kernel, it, 1000) == run(kernel, it, 1) and native.optimised
        it.close()


def test_optimising_changes_the_code_while_it_runs() -> None:
    """A caller in the midst of many runs has the better code with its next."""
    with Kernel() as kernel:
        it, native = load(kernel)
        data = ffi.new("u8[]", 4096)
        call = ffi.new("struct rt_packet_run *")
        call.data, call.data_size, call.data_capacity, call.is_xdp, call.ctx = data, 64, 4096, 1, ffi.new("u8[]", 64)

        def ns(repeat: int) -> float:
            call.repeat, call.data_size = repeat, 64
            lib.rt_packet_run(kernel.native.ptr, ffi.cast("rt_prog_fn", native.addr), call)
            return float(call.mean_ns)

        slow = min(ns(200) for _ in range(5))
        native.optimise()
        native.optimise()
        assert min(ns(200) for _ in range(5)) < slow
        it.close()


def test_both_tiers_know_their_lines() -> None:
    with Kernel() as kernel:
        it, native = load(kernel)
        verified = kernel.caller.fds.get(it.progs["prog"].fd).object.verified
        for _ in range(2):
            lines, (start, size) = kernel.jit.line_addresses(verified, native), native.functions[0]
            assert len(set(lines)) > 5 and all(start <= line < start + size for line in lines)
            native.optimise()
        it.close()


def test_closed_before_it_became_hot() -> None:
    with Kernel() as kernel:
        it, native = load(kernel)
        it.close()
        gc.collect()
        native.optimise()
        assert native.runs == 0 and native.addr == 0


@pytest.mark.parametrize("tier", ["first", "optimised"])
def test_the_cache_keeps_both_tiers(tier: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BPFJIT_NO_CACHE", "0")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with Kernel() as kernel:
        it, native = load(kernel)
        if tier == "optimised":
            native.optimise()
        it.close()
    puts: list[str] = []
    monkeypatch.setattr(ObjectCache, "put", lambda self, key, image: puts.append(key))
    with Kernel() as kernel:
        it, native = load(kernel)
        assert native.optimised == (tier == "optimised") and not puts
        it.close()


def test_without_tiers_the_first_run_is_optimised() -> None:
    with Kernel(tiered=False) as kernel:
        it, native = load(kernel)
        assert native.optimised
        it.close()


@pytest.mark.parametrize("better", [(), ("again",), ("seven",), ("again", "seven", "choose", "from_function")])
def test_tail_calls_go_from_tier_to_tier(better: tuple[str, ...]) -> None:
    """Programs of a chain become better one by one, each behind the address that its prog array holds."""
    source = SOURCE.parent.parent.parent / "tests" / "objects" / "held_maps.bpf.c"
    with Kernel() as kernel, open_object(source).load(kernel.bpf) as it:
        for index, name in ((0, "again"), (1, "seven")):
            it.maps["programs"].update(index.to_bytes(4, "little"), it.progs[name].fd.to_bytes(4, "little"))

        def runs(name: str, first: int) -> tuple[int, int]:
            keep, packet = Buffers(), bytes(14) + bytes([first]) + bytes(49)
            attr = uapi.TestRun(prog_fd=it.progs[name].fd, data_in=keep.put(packet), data_size_in=64)
            raw = bytearray(attr.pack())
            kernel.bpf(uapi.BPF_PROG_TEST_RUN, raw)
            count = int.from_bytes(it.maps["counts"].lookup(bytes(4)) or b"", "little")
            it.maps["counts"].update(bytes(4), bytes(8))
            return uapi.TestRun.unpack(raw).retval, count

        asked = (("again", 0), ("choose", 1), ("choose", 2), ("from_function", 0))
        first = [runs(*each) for each in asked]
        assert first == [(1000, 34), (7, 0), (102, 0), (3725, 0)]
        natives = {name: kernel.caller.fds.get(it.progs[name].fd).object.native for name in ("again", "seven")}
        assert not any(native.optimised for native in natives.values()) and natives["again"].runs
        for name in better:
            kernel.caller.fds.get(it.progs[name].fd).object.native.optimise()
        assert [runs(*each) for each in asked] == first
