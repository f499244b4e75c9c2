"""bpf(2)'s commands beside maps, programs and ids: path_fd, PROG_BIND_MAP, ENABLE_STATS, TASK_FD_QUERY, tokens."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import pytest
from systems import RETURN_0, Simulated, System, call, field, get_info, int_btf, load_prog, make_map, obj_pin

from bpfjit.errors import errno_name
from bpfjit.loader.bpf import Buffers
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Cred, InProcess, Kernel
from kernfs_sim.bpf.commands import call_at
from runtime import ffi

WITH_FD = uapi.BPF_F_PATH_FD


def outcome(call: Callable[[], Any]) -> str:
    try:
        call()
    except OSError as e:
        return errno_name(e.errno or 0)
    return "done"


# -- paths from a directory ------------------------------------------------------------------------------


def pin_at(system: System, fd: int, path: str, flags: int, path_fd: int) -> None:
    keep = Buffers()
    attr = uapi.Obj(pathname=keep.put(path.encode() + b"\0"), bpf_fd=fd, file_flags=flags, path_fd=path_fd)
    call(system.bpf, uapi.BPF_OBJ_PIN, attr)


def get_at(system: System, path: str, flags: int, path_fd: int, bpf_fd: int = 0) -> None:
    keep = Buffers()
    attr = uapi.Obj(pathname=keep.put(path.encode() + b"\0"), bpf_fd=bpf_fd, file_flags=flags, path_fd=path_fd)
    system.bpf.close(call(system.bpf, uapi.BPF_OBJ_GET, attr))


# (path, flags, path_fd: "root" is bpffs's, "sub" a directory in it, "map" a map's fd) -> the outcome
PINS = [
    ("a", WITH_FD, "root", "done"),
    ("a", WITH_FD, "sub", "done"),
    ("sub/b", WITH_FD, "root", "done"),
    ("../c", WITH_FD, "sub", "done"),
    ("{root}/d", WITH_FD, "root", "done"),
    ("{root}/e", WITH_FD, 999, "done"),
    ("{root}/f", WITH_FD, -1, "done"),
    ("g", WITH_FD, 999, "EBADF"),
    ("g", WITH_FD, -1, "EBADF"),
    ("g", WITH_FD, "map", "ENOTDIR"),
    ("g", WITH_FD, -100, "EPERM"),
    ("g", WITH_FD, "sub/none", "EBADF"),
    ("", WITH_FD, "root", "ENOENT"),
    ("no/g", WITH_FD, "root", "ENOENT"),
    ("g", 0, "root", "EINVAL"),
    ("{root}/g", 0, "root", "EINVAL"),
    ("g", WITH_FD | uapi.BPF_F_RDONLY, "root", "EINVAL"),
]


def fd_of(name: str | int, fds: dict[str, int]) -> int:
    return name if isinstance(name, int) else fds.get(name, 998)


def test_paths_begin_at_path_fd(system: System) -> None:
    m = make_map(system.bpf)
    system.mkdir(f"{system.root}/sub")
    fds = {"root": system.open(system.root), "sub": system.open(f"{system.root}/sub"), "map": m}
    told = []
    for path, flags, where, _ in PINS:
        at = fd_of(where, fds)
        told.append(
            (
                path,
                flags,
                where,
                outcome(lambda p=path, f=flags, at=at: pin_at(system, m, p.format(root=system.root), f, at)),
            )
        )
    assert told == PINS
    for path, flags, where, wanted in (
        ("a", WITH_FD, "root", "done"),
        ("a", WITH_FD, "sub", "done"),
        ("sub/../sub/a", WITH_FD, "root", "done"),
        ("a", WITH_FD | uapi.BPF_F_RDONLY, "root", "done"),
        ("zz", WITH_FD, "root", "ENOENT"),
        ("", WITH_FD, "root", "ENOENT"),
        ("a", WITH_FD, "map", "ENOTDIR"),
        ("a", WITH_FD, 999, "EBADF"),
        ("a", 0, "root", "EINVAL"),
        ("a", WITH_FD | 1, "root", "EINVAL"),
    ):
        at = fd_of(where, fds)
        assert outcome(lambda p=path, f=flags, at=at: get_at(system, p, f, at)) == wanted, path
    assert outcome(lambda: get_at(system, "a", WITH_FD, fds["root"], bpf_fd=1)) == "EINVAL"
    for fd in fds.values():
        system.bpf.close(fd)


def test_a_symbolic_link_below_path_fd_is_followed(system: System) -> None:
    m = make_map(system.bpf)
    system.mkdir(f"{system.root}/sub")
    obj_pin(system.bpf, m, f"{system.root}/sub/m")
    system.symlink("sub", f"{system.root}/way")
    root, sub = system.open(system.root), system.open(f"{system.root}/sub")
    get_at(system, "way/m", WITH_FD, root)
    get_at(system, "../way/m", WITH_FD, sub)
    for fd in (m, root, sub):
        system.bpf.close(fd)


# -- PROG_BIND_MAP ---------------------------------------------------------------------------------------


def bind(system: System, prog: int, m: int, flags: int = 0) -> str:
    attr = uapi.ProgBindMap(prog_fd=prog, map_fd=m, flags=flags)
    return outcome(lambda: call(system.bpf, uapi.BPF_PROG_BIND_MAP, attr))


def test_a_bound_map_lives_as_long_as_the_program(system: System) -> None:
    prog, m = load_prog(system.bpf), make_map(system.bpf)
    number = field("bpf_map_info", get_info(system.bpf, m, "bpf_map_info")[0], "id")
    assert bind(system, prog, m, flags=1) == "EINVAL"
    assert bind(system, prog, m) == bind(system, prog, m) == "done"
    assert field("bpf_prog_info", get_info(system.bpf, prog, "bpf_prog_info")[0], "nr_map_ids") == 1
    system.bpf.close(m)

    def reach() -> None:
        system.bpf.close(call(system.bpf, uapi.BPF_MAP_GET_FD_BY_ID, uapi.GetId(start_id=number)))

    reach()
    system.bpf.close(prog)
    for _ in range(100):  # Linux frees programs, and what they hold, a little later
        if outcome(reach) == "ENOENT":
            return
        time.sleep(0.02)
    pytest.fail("the map outlives the program")


def test_what_is_bound_is_a_map_to_a_program(system: System) -> None:
    prog, m = load_prog(system.bpf), make_map(system.bpf)
    assert (bind(system, m, prog), bind(system, prog, prog), bind(system, m, m)) == ("EINVAL",) * 3
    assert (bind(system, 999, m), bind(system, prog, 999)) == ("EBADF",) * 2
    system.bpf.close(m)
    system.bpf.close(prog)


# -- ENABLE_STATS ----------------------------------------------------------------------------------------


def runs(system: System, prog: int) -> tuple[int, int, int]:
    info = get_info(system.bpf, prog, "bpf_prog_info")[0]
    return tuple(field("bpf_prog_info", info, n) for n in ("run_cnt", "run_time_ns", "recursion_misses"))  # type: ignore[return-value]


def run(system: System, prog: int, repeat: int) -> None:
    keep = Buffers()
    attr = uapi.TestRun(prog_fd=prog, data_in=keep.put(bytes(64)), data_size_in=64, repeat=repeat)
    call(system.bpf, uapi.BPF_PROG_TEST_RUN, attr)


def test_runs_are_counted_while_somebody_holds_the_stats_fd(system: System) -> None:
    prog, other = load_prog(system.bpf), load_prog(system.bpf)
    run(system, prog, 5)
    assert runs(system, prog) == (0, 0, 0)
    one = call(system.bpf, uapi.BPF_ENABLE_STATS, uapi.EnableStats(type=uapi.BPF_STATS_RUN_TIME))
    two = call(system.bpf, uapi.BPF_ENABLE_STATS, uapi.EnableStats(type=uapi.BPF_STATS_RUN_TIME))
    run(system, prog, 7)
    system.bpf.close(one)
    run(system, prog, 3)
    count, spent_ns, misses = runs(system, prog)
    assert (count, misses) == (10, 0) and 0 < spent_ns < 10_000_000
    system.bpf.close(two)
    run(system, prog, 100)
    assert runs(system, prog) == (count, spent_ns, 0)
    assert runs(system, other) == (0, 0, 0)
    assert outcome(lambda: call(system.bpf, uapi.BPF_ENABLE_STATS, uapi.EnableStats(type=1))) == "EINVAL"
    for fd in (prog, other):
        system.bpf.close(fd)


def test_every_way_to_run_a_program_is_counted() -> None:
    """Simulated only: nothing is attached to the real system."""
    with Kernel() as kernel:
        sim = Simulated(kernel)
        prog = load_prog(sim.bpf, RETURN_0, prog_type=uapi.BPF_PROG_TYPE_RAW_TRACEPOINT)
        keep = Buffers()
        attr = uapi.RawTracepointOpen(name=keep.put(b"sched_wakeup\0"), prog_fd=prog)
        call(sim.bpf, uapi.BPF_RAW_TRACEPOINT_OPEN, attr)
        view = sim.link_fd()
        obj_pin(sim.bpf, view, "/sys/fs/bpf/v")
        kernel.cgroups.create("/a")
        obj_pin(sim.bpf, view, "/sys/fs/cgroup/a/v")
        stats = call(sim.bpf, uapi.BPF_ENABLE_STATS, uapi.EnableStats())
        task = kernel.tasks.create(10, "t")
        kernel.fire("sched_wakeup", [int(ffi.cast("uintptr_t", task.c))], repeat=4)
        assert runs(sim, prog)[0] == 4
        for _ in range(3):
            kernel.read_bytes("/sys/fs/cgroup/a/v")
        link = get_info(sim.bpf, view, "bpf_link_info")[0]
        by_id = uapi.GetId(start_id=field("bpf_link_info", link, "prog_id"))
        viewer = call(sim.bpf, uapi.BPF_PROG_GET_FD_BY_ID, by_id)
        assert runs(sim, viewer)[0] == 3
        text = kernel.caller.fds.get(viewer).fdinfo()
        assert "run_cnt:\t3\n" in text
        sim.bpf.close(stats)


# -- TASK_FD_QUERY ---------------------------------------------------------------------------------------


def test_what_has_no_tracepoint_behind_it_cannot_be_asked_after(system: System) -> None:
    me, m, link = os.getpid(), make_map(system.bpf), system.link_fd()

    def ask(pid: int, fd: int, flags: int = 0) -> str:
        return outcome(lambda: call(system.bpf, uapi.BPF_TASK_FD_QUERY, uapi.TaskFdQuery(pid=pid, fd=fd, flags=flags)))

    assert (ask(me, m), ask(me, link)) == ("ENOTSUPP", "ENOTSUPP")
    assert (ask(me, 999), ask(4_194_000, m), ask(me, m, 1)) == ("EBADF", "ENOENT", "EINVAL")
    system.bpf.close(link)
    system.bpf.close(m)


NAMES = [
    (0, b"", "done"),
    (4, b"sch\0", "ENOSPC"),
    (12, b"sched_wakeu\0", "ENOSPC"),
    (13, b"sched_wakeup\0", "done"),
    (40, b"sched_wakeup\0", "done"),
]


@pytest.mark.parametrize("room, text, error", NAMES)
def test_the_tracepoint_behind_an_fd_is_told(room: int, text: bytes, error: str) -> None:
    """Simulated only: nothing is attached to the real system."""
    sim = Simulated()
    prog = load_prog(sim.bpf, RETURN_0, prog_type=uapi.BPF_PROG_TYPE_RAW_TRACEPOINT)
    keep, name = Buffers(), bytearray(room)
    link = call(
        sim.bpf, uapi.BPF_RAW_TRACEPOINT_OPEN, uapi.RawTracepointOpen(name=keep.put(b"sched_wakeup\0"), prog_fd=prog)
    )
    attr = bytearray(uapi.TaskFdQuery(pid=os.getpid(), fd=link, buf_len=room, buf=keep.put(name)).pack())
    assert outcome(lambda: sim.bpf(uapi.BPF_TASK_FD_QUERY, attr)) == error
    told = uapi.TaskFdQuery.unpack(attr)
    prog_id = field("bpf_prog_info", get_info(sim.bpf, prog, "bpf_prog_info")[0], "id")
    assert (told.buf_len, told.prog_id, told.fd_type) == (12, prog_id, uapi.BPF_FD_TYPE_RAW_TRACEPOINT)
    assert bytes(name[: len(text)]) == text
    sim.close()


# -- TOKEN_CREATE ----------------------------------------------------------------------------------------


def test_the_first_user_namespace_has_no_tokens(system: System) -> None:
    system.mkdir(f"{system.root}/sub")
    fds = {"root": system.open(system.root), "sub": system.open(f"{system.root}/sub"), "map": make_map(system.bpf)}

    def ask(fd: int, flags: int = 0) -> str:
        return outcome(lambda: call(system.bpf, uapi.BPF_TOKEN_CREATE, uapi.TokenCreate(flags=flags, bpffs_fd=fd)))

    assert (ask(fds["root"]), ask(fds["root"], 1)) == ("ENOTSUP", "EINVAL")
    assert (ask(fds["sub"]), ask(fds["map"]), ask(999)) == ("EINVAL", "EINVAL", "EBADF")
    for fd in fds.values():
        system.bpf.close(fd)


def test_an_fd_that_is_no_token(system: System) -> None:
    """It is looked at once the flags are known, and before anything else."""
    keep, by_token, fd = Buffers(), uapi.BPF_F_TOKEN_FD, make_map(system.bpf)
    code, license_, blob = keep.put(RETURN_0), keep.put(b"GPL\0"), int_btf()
    btf = keep.put(blob)

    def load_prog(flags: int, token: int) -> str:
        shape = {"prog_type": uapi.BPF_PROG_TYPE_SOCKET_FILTER, "insn_cnt": 2, "insns": code, "license": license_}
        attr = uapi.ProgLoad(prog_flags=flags, prog_token_fd=token, **shape)  # type: ignore[arg-type]
        return outcome(lambda: system.bpf.close(call(system.bpf, uapi.BPF_PROG_LOAD, attr)))

    def load_btf(flags: int, token: int) -> str:
        attr = uapi.BtfLoad(btf=btf, btf_size=len(blob), btf_flags=flags, btf_token_fd=token)
        return outcome(lambda: system.bpf.close(call(system.bpf, uapi.BPF_BTF_LOAD, attr)))

    def by_id(flags: int, token: int) -> str:
        attr = uapi.GetId(start_id=1, open_flags=flags, fd_by_id_token_fd=token)
        return outcome(lambda: system.bpf.close(call(system.bpf, uapi.BPF_BTF_GET_FD_BY_ID, attr)))

    for ask in (load_prog, load_btf, by_id):
        assert ask(0, 9999) == "done", "without the flag nobody looks"
        assert [ask(by_token, token) for token in (fd, 9999, -1)] == ["EINVAL", "EBADF", "EBADF"]
        assert ask(by_token | 1 << 30, 9999) == "EINVAL"
    system.bpf.close(fd)


# -- callers of every kind -------------------------------------------------------------------------------


class Foreign(InProcess):
    """A caller whose memory only it can reach: what a process elsewhere would be."""

    def __init__(self, memory: dict[int, bytearray]) -> None:
        super().__init__(Cred())
        self.is_here = False
        self.memory = memory

    def _find(self, addr: int, size: int) -> tuple[bytearray, int]:
        for base, data in self.memory.items():
            if base <= addr and addr + size <= base + len(data):
                return data, addr - base
        raise OSError(14, f"{size} bytes at {addr:#x}")

    def read(self, addr: int, size: int) -> bytes:
        data, at = self._find(addr, size)
        return bytes(data[at : at + size])

    def write(self, addr: int, data: bytes) -> None:
        found, at = self._find(addr, len(data))
        found[at : at + len(data)] = data


def test_a_foreign_caller_is_served_through_its_own_memory() -> None:
    with Kernel() as kernel:
        memory = {0x1000: bytearray(64), 0x2000: bytearray(64), 0x3000: bytearray(5000)}
        caller = Foreign(memory)

        def at(command: int, attr: Any, size: int | None = None) -> int:
            raw = attr.pack() if not isinstance(attr, bytes) else attr
            memory[0x3000][: len(raw)] = raw
            return call_at(kernel, caller, command, 0x3000, len(raw) if size is None else size)

        fd = at(
            uapi.BPF_MAP_CREATE, uapi.MapCreate(map_type=uapi.BPF_MAP_TYPE_HASH, key_size=4, value_size=8, max_entries=4)
        )
        memory[0x1000][:12] = (7).to_bytes(4, "little") + (49).to_bytes(8, "little")
        elem = uapi.MapElem(map_fd=fd, key=0x1000, value=0x1004)
        assert at(uapi.BPF_MAP_UPDATE_ELEM, elem) == 0
        elem.value = 0x2000
        assert at(uapi.BPF_MAP_LOOKUP_ELEM, elem) == 0
        assert memory[0x2000][:8] == (49).to_bytes(8, "little")
        assert at(uapi.BPF_MAP_GET_NEXT_KEY, uapi.MapElem(map_fd=fd, value=0x2008)) == 0
        assert memory[0x2000][8:12] == (7).to_bytes(4, "little")
        info = memory[0x3000]
        assert at(uapi.BPF_OBJ_GET_INFO_BY_FD, uapi.GetInfo(bpf_fd=fd, info_len=200, info=0x3100)) == 0
        assert uapi.GetInfo.unpack(info).info_len == uapi.LAYOUTS["bpf_map_info"].size, "written back"
        for wild in (0, 8, 0x1FFF, 0xFFFF_FFFF_FFFF_FFF0):
            assert outcome(lambda w=wild: at(uapi.BPF_MAP_LOOKUP_ELEM, uapi.MapElem(map_fd=fd, key=w, value=w))) == "EFAULT"
            assert outcome(lambda w=wild: call_at(kernel, caller, uapi.BPF_MAP_LOOKUP_ELEM, w, 32)) == "EFAULT"
        assert outcome(lambda: at(uapi.BPF_MAP_LOOKUP_ELEM, b"", 4097)) == "E2BIG"
        assert at(uapi.BPF_MAP_DELETE_ELEM, uapi.MapElem(map_fd=fd, key=0x1000)) == 0
        elem.value = 0x2000
        assert outcome(lambda: at(uapi.BPF_MAP_LOOKUP_ELEM, elem)) == "ENOENT"
        assert len(kernel.caller.fds) == 0, "the fds are the foreign caller's"
        caller.fds.close_all()


def test_a_test_runs_context_is_looked_at_before_its_program(system: System) -> None:
    for more, expected in (({"ctx_in": 8}, "EINVAL"), ({"ctx_size_out": 8}, "EINVAL"), ({}, "EBADF")):
        attr = uapi.TestRun(prog_fd=999, **more)
        assert outcome(lambda a=attr: call(system.bpf, uapi.BPF_PROG_TEST_RUN, a)) == expected  # type: ignore[misc]
