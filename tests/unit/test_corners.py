"""Corners where the verifier must refuse, or the engines must not believe more than it proved."""

from __future__ import annotations

from pathlib import Path

import pytest

from bpfjit import open_object
from bpfjit.errors import VerifierError
from bpfjit.loader import LoadedObject
from bpfjit.loader.bpf import Buffers
from bpfjit.loader.compile import compile_c
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel
from runtime import ffi, lib

SOURCE = Path(__file__).parent / "corners.bpf.c"


@pytest.fixture(scope="module")
def corners(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corners") / "corners.bpf.o"
    path.write_bytes(compile_c(SOURCE))
    return path


@pytest.fixture(params=["jit", "interp"])
def kernel(request: pytest.FixtureRequest):  # type: ignore[no-untyped-def]
    with Kernel(engine=request.param) as k:
        yield k


def load(kernel: Kernel, corners: Path, name: str) -> LoadedObject:
    return open_object(corners).load(kernel.bpf, only=[name])


def run_syscall(kernel: Kernel, loaded: LoadedObject, name: str, *words: int) -> int:
    ctx = bytearray(b"".join(w.to_bytes(8, "little") for w in words) or bytes(8))
    buffers = Buffers()
    attr = bytearray(uapi.TestRun(prog_fd=loaded.progs[name].fd, ctx_in=buffers.put(ctx), ctx_size_in=len(ctx)).pack())
    kernel.bpf(uapi.BPF_PROG_TEST_RUN, attr)
    return uapi.TestRun.unpack(attr).retval


def out(loaded: LoadedObject, index: int) -> int:
    (bss,) = [m for m in loaded.maps.values() if m.spec.section == ".bss"]
    btf = loaded.spec.btf
    assert btf is not None
    (var,) = [v for v in btf.type(bss.spec.value_type_id).secvars if btf.type(v.type_id).name == "out"]
    data = bss.lookup(bytes(4))[var.offset :]
    return int.from_bytes(data[8 * index : 8 * index + 8], "little")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("refused_callee_stack_in_caller", "cannot spill pointers to stack into stack frame of the caller"),
        ("refused_packet_after_global_call", "invalid mem access 'scalar'"),
    ],
)
def test_refused(kernel: Kernel, corners: Path, name: str, reason: str) -> None:
    with pytest.raises(VerifierError, match=reason):
        load(kernel, corners, name)


def test_partly_written_buffer_is_zero_where_nothing_was_written(kernel: Kernel, corners: Path) -> None:
    with load(kernel, corners, "accepted_partly_written_buffer") as loaded:
        for _ in range(3):
            run_syscall(kernel, loaded, "accepted_partly_written_buffer")
            assert (out(loaded, 0), out(loaded, 1)) == (0x070707, 0)


def test_test_run_has_a_current_task(kernel: Kernel, corners: Path) -> None:
    with load(kernel, corners, "accepted_current_task") as loaded:
        run_syscall(kernel, loaded, "accepted_current_task")
        assert out(loaded, 1) == 1  # in the root cgroup


def test_tracepoint_arguments_are_objects(kernel: Kernel, corners: Path, tmp_path: Path) -> None:
    from kernfs_sim.scenario import load as load_scenario

    file = tmp_path / "s.toml"
    file.write_text('[[task]]\npid = 5\n[[event]]\ntracepoint = "sys_enter"\ntask = 5\nid = 39\n')
    scenario = load_scenario(file)
    scenario.populate(kernel)
    with load(kernel, corners, "accepted_sys_enter_regs") as loaded:
        loaded.attach()
        scenario.play(kernel)
        assert (out(loaded, 0), out(loaded, 1)) == (0, 39)


def test_trace_printk_arguments_survive_a_branch(kernel: Kernel, corners: Path) -> None:
    with load(kernel, corners, "accepted_trace_printk") as loaded:
        for first, line in ((1, b"a=1 b=5 c=6"), (9, b"a=9 b=6 c=15")):
            run_syscall(kernel, loaded, "accepted_trace_printk", first)
            buf = ffi.new("char[]", 100)
            assert ffi.unpack(buf, lib.rt_trace_read(kernel.native.ptr, buf, 100)) == line
