"""Syscall programs: bpf(2) from within a program, for whoever runs it, with Linux's limits."""

from __future__ import annotations

import struct
import threading
from errno import EBADF, EFAULT, EINVAL, EPERM

import pytest
from both import Side, compiled

from bpfjit import open_object
from bpfjit.loader.bpf import Buffers
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel
from kernfs_sim.caller import CAP_BPF, CAP_PERFMON, Cred, FdTable, InProcess

SYSCALL = uapi.BPF_PROG_TYPE_SYSCALL
CTX_BYTES = 24


def words(data: bytes, at: int = -8) -> str:
    """Instructions that store `data` in the stack, its first word at fp+at."""
    padded = data.ljust(-(-len(data) // 8) * 8, b"\0")
    lines = []
    for i in range(0, len(padded), 8):
        lines += [f"r1 = {int.from_bytes(padded[i : i + 8], 'little'):#x} ll", f"*(u64 *)(r10 {at + i}) = r1"]
    return "\n".join(lines)


def sys_bpf(cmd: int, attr: bytes) -> str:
    """A program that makes one call and returns its result."""
    at = -(-(-len(attr) // 8) * 8)
    return f"{words(attr, at)}\nr1 = {cmd}\nr2 = r10\nr2 += {at}\nr3 = {len(attr)}\ncall bpf_sys_bpf\nexit"


def answers(sim: Side, real: Side, text: str, ctx: bytes = b"", **more: int) -> tuple[int, int, bytes]:
    """What running a program gives; both kernels agree, refusals of the verifier included."""
    found = []
    for side in (sim, real):
        fd = side.load(text, SYSCALL, **more)
        if fd < 0:
            found.append((fd, 0, side.log.strip().splitlines()[-2].encode()))
            continue
        found.append(side.run(fd, ctx))
        side.close(fd)
    assert found[0] == found[1], text
    return found[0]


def test_a_program_makes_a_map_and_a_program(side: Side) -> None:
    with open_object(compiled("makes")).load(side.bpf) as loaded:
        keep = Buffers()
        before = side.open_fds()
        ctx = struct.pack("<QIiii", keep.put(struct.pack("<Q", 4711)), 3, 0, 0, 0)
        result, retval, after = side.run(loaded.progs["makes"].fd, ctx)
        _, _, map_fd, prog_fd, step = struct.unpack("<QIiii", after)
        assert (result, retval, step) == (0, 0, 4)
        side.own(map_fd), side.own(prog_fd)
        assert side.lookup(map_fd, 8, 3) == struct.pack("<Q", 4711)
        assert side.info(map_fd, "bpf_map_info")["name"].rstrip(b"\0") == b"made"
        assert side.info(prog_fd)["type"] == struct.pack("<I", uapi.BPF_PROG_TYPE_XDP)
        packet = bytes(64)
        attr = uapi.TestRun(prog_fd=prog_fd, data_in=keep.put(packet), data_size_in=64)
        raw = bytearray(attr.pack())
        assert side.call(uapi.BPF_PROG_TEST_RUN, raw) == 0
        assert uapi.TestRun.unpack(raw).retval == 7
        assert side.open_fds() == before + 2


def test_what_fails_half_way_leaves_nothing(side: Side) -> None:
    with open_object(compiled("makes")).load(side.bpf) as loaded:
        before = side.open_fds()
        ctx = struct.pack("<QIiii", 8, 3, 0, 0, 0)  # no memory of the user's
        result, retval, after = side.run(loaded.progs["makes"].fd, ctx)
        assert (result, retval, struct.unpack("<QIiii", after)[4]) == (0, -EFAULT, 2)
        assert side.open_fds() == before


def test_a_loop_of_calls_that_closes_what_it_makes_leaves_nothing(side: Side) -> None:
    with open_object(compiled("makes")).load(side.bpf) as loaded:
        before = side.open_fds()
        assert side.run(loaded.progs["many"].fd, bytes(CTX_BYTES))[:2] == (0, 0)
        assert side.open_fds() == before


# Attrs with which each of these commands would succeed for a process.
HARMLESS = {
    uapi.BPF_PROG_GET_NEXT_ID: uapi.GetId().pack(),
    uapi.BPF_MAP_GET_NEXT_ID: uapi.GetId().pack(),
    uapi.BPF_BTF_GET_NEXT_ID: uapi.GetId().pack(),
    uapi.BPF_BTF_GET_FD_BY_ID: uapi.GetId(start_id=1).pack(),
    uapi.BPF_PROG_TEST_RUN: bytes(16),
}


@pytest.mark.parametrize("cmd", range(uapi.BPF_PROG_STREAM_READ_BY_FD + 3))
def test_programs_may_make_nine_of_the_commands(cmd: int, sim: Side, real: Side) -> None:
    allowed = {0, 2, 3, 5, 14, 17, 18, 22, 28}
    if cmd in allowed:
        # An fd that is closed, a type that is unknown; a program of no instructions.
        attr = struct.pack("<I", 9999) * 4 if cmd != uapi.BPF_PROG_LOAD else bytes(16)
        assert answers(sim, real, sys_bpf(cmd, attr))[1] < 0
        return
    assert answers(sim, real, sys_bpf(cmd, HARMLESS.get(cmd, bytes(16))))[:2] == (0, -EINVAL)


@pytest.mark.parametrize("size", [1, 3, 4, 7, 8, 9, 16, 120])
def test_attrs_of_every_size(size: int, sim: Side, real: Side) -> None:
    assert answers(sim, real, sys_bpf(uapi.BPF_MAP_CREATE, bytes(size)))[0] <= 0


ATTR = "r2 = 0\n*(u64 *)(r10 -8) = r2\nr2 = r10\nr2 += -8\n"
CONTEXTS = {
    "in the middle": ("r0 = *(u32 *)(r1 +4)\nexit", 8),
    "written": ("r2 = 7\n*(u32 *)(r1 +4) = r2\n*(u8 *)(r1 +0) = 1\nr0 = 0\nexit", 8),
    "with a pointer": ("*(u64 *)(r1 +0) = r10\nr0 = *(u64 *)(r1 +0)\nr0 = 0\n*(u64 *)(r1 +0) = r0\nexit", 8),
    "not used": ("r0 = 1\nexit", 0),
    "unaligned": ("r0 = *(u32 *)(r1 +1)\nexit", 8),
    "moved": ("r1 += 4\nr0 = *(u32 *)(r1 +0)\nexit", 8),
    "at a variable place": ("r2 = *(u32 *)(r1 +0)\nr2 &= 3\nr1 += r2\nr0 = *(u8 *)(r1 +0)\nexit", 8),
    "atomically": ("r2 = 1\nlock *(u32 *)(r1 +0) += r2\nr0 = 0\nexit", 8),
    "before its start": ("r0 = *(u32 *)(r1 -4)\nexit", 8),
    "as an attr": ("r2 = r1\nr1 = 28\nr3 = 8\ncall bpf_sys_bpf\nexit", 8),
    "an attr of no size": (f"{ATTR}r1 = 0\nr3 = 0\ncall bpf_sys_bpf\nexit", 8),
    "an attr past the stack": (f"{ATTR}r1 = 0\nr3 = 9\ncall bpf_sys_bpf\nexit", 8),
}


@pytest.mark.parametrize("name", CONTEXTS)
def test_a_context_is_taken_as_linux_takes_it(name: str, sim: Side, real: Side) -> None:
    text, size = CONTEXTS[name]
    for given in sorted({0, max(size - 1, 0), size, size + 1, 65535, 65536}):
        answers(sim, real, text, bytes(given))


def test_a_syscall_program_sleeps_or_is_refused(sim: Side, real: Side) -> None:
    assert [s.load("r0 = 0\nexit", SYSCALL, prog_flags=0) for s in (sim, real)] == [-EINVAL, -EINVAL]


@pytest.mark.parametrize("name", ["sys_bpf", "btf_find_by_name_kind", "sys_close", "kallsyms_lookup_name", "copy_from_user"])
def test_other_programs_have_none_of_its_helpers(name: str, sim: Side, real: Side) -> None:
    text = f"r1 = 0\nr2 = 0\nr3 = 0\nr4 = 0\ncall bpf_{name}\nr0 = 0\nexit"
    refused = [(s.load(text, uapi.BPF_PROG_TYPE_RAW_TRACEPOINT), s.log.splitlines()[-2]) for s in (sim, real)]
    assert refused[0] == refused[1]
    assert refused[0][0] == -EINVAL


@pytest.mark.parametrize("fd", [-1, 0xFFFF, 900])
def test_closing_what_is_not_open_is_ebadf(fd: int, sim: Side, real: Side) -> None:
    assert answers(sim, real, f"r1 = {fd}\ncall bpf_sys_close\nexit") == (0, -EBADF, b"")


def test_a_program_may_close_its_own_fd(side: Side) -> None:
    prog = side.load("r1 = *(u32 *)(r1 +0)\ncall bpf_sys_close\nr0 += 5\nexit", SYSCALL)
    before = side.open_fds()
    assert side.run(prog, struct.pack("<I", prog))[:2] == (0, 5)
    assert side.open_fds() == before - 1
    side.forget()


def find(name: bytes, size: int, kind: int, flags: int = 0) -> str:
    return (
        f"{words(name.ljust(24, bytes(1)), -24)}\nr1 = r10\nr1 += -24\nr2 = {size}\nr3 = {kind}\nr4 = {flags}\n"
        "call bpf_btf_find_by_name_kind\nif r0 s< 0 goto +1\nr0 = 1\nexit"
    )


@pytest.mark.parametrize(
    ("name", "size", "kind", "flags", "found"),
    [
        (b"task_struct", 12, 4, 0, True),
        (b"task_struct", 20, 4, 0, True),
        (b"task_struct", 12, 5, 0, False),
        (b"task_structs", 13, 4, 0, False),
        (b"task_struct", 11, 4, 0, False),
        (b"task_struct", 12, 4, 1, False),
        (b"task_struct", 12, 99, 0, False),
        (b"task_struct", 12, 0, 0, False),
        (b"", 1, 4, 0, False),
        (b"", 0, 4, 0, False),
    ],
)
def test_types_are_found_by_name_and_kind(
    name: bytes, size: int, kind: int, flags: int, found: bool, sim: Side, real: Side
) -> None:
    result = answers(sim, real, find(name, size, kind, flags))
    assert (result[:2] == (0, 1)) == found


@pytest.mark.parametrize(
    ("name", "size", "flags"), [(b"bpf_no_such", 12, 0), (b"bpf_no_such", 11, 0), (b"x", 2, 1), (b"", 1, 0), (b"", 0, 0)]
)
def test_symbols_that_are_not_there(name: bytes, size: int, flags: int, sim: Side, real: Side) -> None:
    text = (
        f"{words(name.ljust(16, bytes(1)), -16)}\n*(u64 *)(r10 -24) = 9\nr1 = r10\nr1 += -16\nr2 = {size}\nr3 = {flags}\n"
        "r4 = r10\nr4 += -24\ncall bpf_kallsyms_lookup_name\nr1 = *(u64 *)(r10 -24)\nif r1 == 0 goto +1\nr0 = 77\nexit"
    )
    assert answers(sim, real, text)[1] < 0


def kallsyms(name: str) -> str:
    """A program that returns what looking a name up does, 1 where it gives an address."""
    raw = name.encode() + bytes(1)
    at = -16 - -(-len(raw) // 8) * 8
    return (
        f"{words(raw, at)}\n*(u64 *)(r10 -8) = 9\nr1 = r10\nr1 += {at}\nr2 = {len(raw)}\nr3 = 0\nr4 = r10\nr4 += -8\n"
        "call bpf_kallsyms_lookup_name\nif r0 != 0 goto +3\nr1 = *(u64 *)(r10 -8)\nif r1 == 0 goto +1\nr0 = 1\nexit"
    )


@pytest.mark.parametrize("name", ["bpf_map_lookup_elem", "bpf_ktime_get_ns", "bpf_seq_printf"])
def test_functions_of_the_kernel_have_addresses(name: str, sim: Side, real: Side) -> None:
    assert answers(sim, real, kallsyms(name))[1] == 1
    assert sim.bpf.symbols({name, "nobody"}).keys() == {name} and real.bpf.symbols({name}).keys() == {name}


def test_addresses_are_not_for_everyone() -> None:
    with Kernel() as kernel:
        side = Side(kernel.bpf, kernel)
        fd = side.load(kallsyms("bpf_ktime_get_ns"), SYSCALL)
        who = InProcess(Cred(1000, 1000, frozenset({CAP_BPF, CAP_PERFMON})))
        mine = who.fds.install(kernel.caller.fds.get(fd).get())
        user = Side(kernel.caller_bpf(who), kernel)
        assert user.run(mine)[:2] == (0, -EPERM) and side.run(fd)[:2] == (0, 1)
        assert not kernel.caller_bpf(who).symbols({"bpf_ktime_get_ns"})


def test_commands_have_the_rights_of_who_runs_the_program() -> None:
    with Kernel() as kernel:
        root = Side(kernel.bpf, kernel)
        create = uapi.MapCreate(map_type=uapi.BPF_MAP_TYPE_ARRAY, key_size=4, value_size=4, max_entries=1)
        prog = root.load(sys_bpf(uapi.BPF_MAP_CREATE, create.pack()), SYSCALL)
        nobody = InProcess(Cred(1000, 1000, frozenset()))
        fd = nobody.fds.install(kernel.caller.fds.get(prog).get())
        theirs = Side(kernel.caller_bpf(nobody), kernel)
        assert theirs.run(fd)[:2] == (0, -EPERM)
        assert len(nobody.fds) == 1
        assert root.run(prog)[1] > 0


@pytest.mark.parametrize("engine", ["jit", "interp"])
def test_programs_on_one_cpu_do_not_wait_for_each_other_forever(engine: str) -> None:
    with Kernel(cpus=1, engine=engine) as kernel, open_object(compiled("makes")).load(kernel.bpf) as loaded:
        sides = [Side(kernel.bpf, kernel) for _ in range(3)]
        results = []

        def work(side: Side) -> None:
            for _ in range(3):
                results.append(side.run(loaded.progs["many"].fd, bytes(CTX_BYTES))[:2])

        threads = [threading.Thread(target=work, args=(side,)) for side in sides]
        for t in threads:
            t.start()
        for t in threads:
            t.join(60)
        assert results == [(0, 0)] * 9
        assert not any(t.is_alive() for t in threads)


def test_a_fault_of_ours_comes_out_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    with Kernel() as kernel:
        side = Side(kernel.bpf, kernel)
        prog = side.load(find(b"task_struct", 12, 4), SYSCALL)
        monkeypatch.setattr(type(kernel.btf.types), "find", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            side.run(prog)


class Elsewhere(InProcess):
    """A caller whose memory is another process's: here bytes by address, where this process has nothing."""

    def __init__(self, fds: FdTable) -> None:
        super().__init__(fds=fds, is_here=False)
        self.memory: dict[int, bytearray] = {}

    def read(self, addr: int, size: int) -> bytes:
        for start, data in self.memory.items():
            if start <= addr <= start + len(data) - size:
                return bytes(data[addr - start : addr - start + size])
        raise OSError(EFAULT, f"{addr:#x}")

    def write(self, addr: int, data: bytes) -> None:
        for start, memory in self.memory.items():
            if start <= addr <= start + len(memory) - len(data):
                memory[addr - start : addr - start + len(data)] = data
                return
        raise OSError(EFAULT, f"{addr:#x}")


@pytest.mark.parametrize("engine", ["jit", "interp"])
def test_user_memory_is_that_of_whoever_runs_the_program(engine: str) -> None:
    with Kernel(engine=engine) as kernel, open_object(compiled("makes")).load(kernel.bpf) as loaded:
        away = Elsewhere(kernel.caller.fds)
        bpf, side = kernel.caller_bpf(away), Side(kernel.bpf, kernel)
        for value_at, wanted in ((0x2000, 0), (0x9000, -EFAULT)):
            away.memory = {0x1000: bytearray(struct.pack("<QIiii", value_at, 3, 0, 0, 0)), 0x2000: bytearray(b"12345678")}
            run = uapi.TestRun(prog_fd=loaded.progs["makes"].fd, ctx_in=0x1000, ctx_size_in=CTX_BYTES)
            raw = bytearray(run.pack())
            assert bpf(uapi.BPF_PROG_TEST_RUN, raw) == 0
            assert uapi.TestRun.unpack(raw).retval == wanted & 0xFFFFFFFF
            if not wanted:
                map_fd = struct.unpack("<QIiii", away.memory[0x1000])[2]
                assert side.lookup(map_fd, 8, 3) == b"12345678"
