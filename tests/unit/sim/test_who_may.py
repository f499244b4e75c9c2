"""Who may do what: capabilities, unprivileged_bpf_disabled, modes of pins, access modes of map fds; on both kernels."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from systems import (
    RETURN_0,
    Live,
    Simulated,
    System,
    call,
    field,
    get_info,
    live_or_skip,
    load_btf,
    load_prog,
    make_map,
    obj_get,
    obj_pin,
)
from users import CAPABILITIES, UID, as_user

from bpfjit.errors import errno_name
from bpfjit.loader.bpf import Bpf, Buffers
from bpfjit.spec.map_types import MAP_TYPES
from bpfjit.spec.prog_types import PROG_TYPES
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Cred, InProcess, Kernel
from kernfs_sim.caller import CAP_BPF

Fds = Mapping[str, int]


def outcome(call: Callable[[], Any]) -> str:
    try:
        call()
    except OSError as e:
        return errno_name(e.errno or 0)
    return "done"


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[Simulated, Live]]:
    sim, live = Simulated(), live_or_skip()
    if Path("/proc/sys/kernel/unprivileged_bpf_disabled").read_text().strip() != "2":
        sim.kernel.unprivileged_bpf_disabled = int(Path("/proc/sys/kernel/unprivileged_bpf_disabled").read_text())
    os.chmod(live.outside, 0o755)  # else an ordinary user does not get to bpffs
    yield sim, live
    sim.close()
    live.close()


def objects(system: System) -> tuple[dict[str, int], dict[str, int]]:
    """Fds of one object of each kind, and their ids."""
    fds = {"map": make_map(system.bpf), "prog": load_prog(system.bpf), "btf": load_btf(system.bpf), "link": system.link_fd()}
    ids = {}
    for kind, fd in fds.items():
        struct = f"bpf_{kind}_info"
        ids[kind] = field(struct, get_info(system.bpf, fd, struct)[0], "id")
    return fds, ids


_NEXT = {
    "prog": uapi.BPF_PROG_GET_NEXT_ID,
    "map": uapi.BPF_MAP_GET_NEXT_ID,
    "btf": uapi.BPF_BTF_GET_NEXT_ID,
    "link": uapi.BPF_LINK_GET_NEXT_ID,
}
_BY_ID = {
    "prog": uapi.BPF_PROG_GET_FD_BY_ID,
    "map": uapi.BPF_MAP_GET_FD_BY_ID,
    "btf": uapi.BPF_BTF_GET_FD_BY_ID,
    "link": uapi.BPF_LINK_GET_FD_BY_ID,
}
# Shapes that types want other than a key of 4 and a value of 8 bytes.
_NO_KEY, _FD, _RING = {"key_size": 0}, {"value_size": 4}, {"key_size": 0, "value_size": 0, "max_entries": 4096}
_SHAPES: dict[int, dict[str, int]] = {
    uapi.BPF_MAP_TYPE_QUEUE: _NO_KEY,
    uapi.BPF_MAP_TYPE_STACK: _NO_KEY,
    uapi.BPF_MAP_TYPE_BLOOM_FILTER: _NO_KEY,
    uapi.BPF_MAP_TYPE_PROG_ARRAY: _FD,
    uapi.BPF_MAP_TYPE_PERF_EVENT_ARRAY: _FD,
    uapi.BPF_MAP_TYPE_CGROUP_ARRAY: _FD,
    uapi.BPF_MAP_TYPE_RINGBUF: _RING,
    uapi.BPF_MAP_TYPE_USER_RINGBUF: _RING,
    uapi.BPF_MAP_TYPE_LPM_TRIE: {"key_size": 8, "map_flags": uapi.BPF_F_NO_PREALLOC},
    uapi.BPF_MAP_TYPE_XSKMAP: {"value_size": 4},
}
# Types that want more than numbers to be made: a map's template, BTF.
_OTHERS = {"array_of_maps", "hash_of_maps"}


def everything(bpf: Bpf, fds: Fds, ids: Mapping[str, int]) -> dict[str, str]:
    """What becomes of each thing that one may try."""
    keep = Buffers()
    key, value, packet = keep.put(bytes(4)), keep.put(bytearray(8)), keep.put(bytes(64))
    told = {}

    def attempt(what: str, act: Callable[[], Any]) -> None:
        told[what] = outcome(act)

    for row in MAP_TYPES:
        if row.name not in _OTHERS and "storage" not in row.name and row.name != "arena":
            attempt(f"make {row.name}", lambda row=row: make_map(bpf, map_type=row.id, **_SHAPES.get(row.id, {})))  # type: ignore[misc]
    attempt("make a map of no entries", lambda: make_map(bpf, max_entries=0))
    for prog in PROG_TYPES:
        if prog.name == "lsm":
            continue  # which a system's own policy may refuse to everybody
        kind = prog.attach_types[0] if prog.attach_types else 0
        attempt(f"load {prog.name}", lambda p=prog, k=kind: load_prog(bpf, RETURN_0, prog_type=p.id, attach_type=k))  # type: ignore[misc]
    attempt("load a program of no instructions", lambda: load_prog(bpf, b""))
    attempt("load type 99", lambda: load_prog(bpf, prog_type=99))
    attempt("load a long program", lambda: load_prog(bpf, bytes.fromhex("b400000000000000") * 4096 + RETURN_0))
    attempt("load BTF", lambda: load_btf(bpf))
    for kind, command in _NEXT.items():
        attempt(f"next {kind}", lambda c=command: call(bpf, c, uapi.GetId()))  # type: ignore[misc]
    for kind, command in _BY_ID.items():
        attempt(f"{kind} by id", lambda c=command, k=kind: call(bpf, c, uapi.GetId(start_id=ids[k])))  # type: ignore[misc]
        attempt(f"{kind}'s info", lambda k=kind: get_info(bpf, fds[k], f"bpf_{k}_info"))  # type: ignore[misc]
    elem = uapi.MapElem(map_fd=fds["map"], key=key, value=value)
    attempt("look up", lambda: call(bpf, uapi.BPF_MAP_LOOKUP_ELEM, elem))
    attempt("update", lambda: call(bpf, uapi.BPF_MAP_UPDATE_ELEM, elem))
    run = uapi.TestRun(prog_fd=fds["prog"], data_in=packet, data_size_in=64, repeat=1)
    attempt("run", lambda: call(bpf, uapi.BPF_PROG_TEST_RUN, run))
    attempt(
        "query",
        lambda: call(bpf, uapi.BPF_PROG_QUERY, uapi.ProgQuery(target_fd=fds["root"], attach_type=uapi.BPF_CGROUP_DEVICE)),
    )
    attempt("count runs", lambda: call(bpf, uapi.BPF_ENABLE_STATS, uapi.EnableStats()))
    attempt("ask after an fd", lambda: call(bpf, uapi.BPF_TASK_FD_QUERY, uapi.TaskFdQuery(pid=os.getpid(), fd=fds["map"])))
    attempt("make a token", lambda: call(bpf, uapi.BPF_TOKEN_CREATE, uapi.TokenCreate(bpffs_fd=fds["root"])))
    attempt(
        "bind a map", lambda: call(bpf, uapi.BPF_PROG_BIND_MAP, uapi.ProgBindMap(prog_fd=fds["prog"], map_fd=fds["map"]))
    )
    attempt("detach a link", lambda: call(bpf, uapi.BPF_LINK_DETACH, uapi.LinkDetach(link_fd=fds["link"])))
    return told


@pytest.mark.parametrize("who", CAPABILITIES)
def test_capabilities_decide_as_on_linux(both: tuple[Simulated, Live], who: str) -> None:
    answers = []
    for system in both:
        fds, ids = objects(system)
        fds["root"] = system.open(system.root)
        answers.append(as_user(system, who, fds, lambda bpf, held, ids=ids: everything(bpf, held, ids)))  # type: ignore[misc]
        for fd in fds.values():
            system.bpf.close(fd)
    assert answers[0] == answers[1]
    assert ("done" in answers[0]["load socket_filter"]) == (who != "nobody")


# kernel.unprivileged_bpf_disabled -> what somebody without capabilities may. Simulated only: the sysctl is the machine's.
SYSCTL = [
    (0, "load socket_filter", "done"),
    (0, "load cgroup_skb", "done"),
    (0, "load a long program", "E2BIG"),
    (0, "load xdp", "EPERM"),
    (0, "load kprobe", "EPERM"),
    (0, "make array", "done"),
    (0, "make hash", "done"),
    (0, "make lru_hash", "EPERM"),
    (0, "make queue", "EPERM"),
    (0, "load BTF", "EPERM"),
    (0, "next map", "EPERM"),
    (1, "load socket_filter", "EPERM"),
    (1, "make array", "EPERM"),
    (2, "load socket_filter", "EPERM"),
    (2, "make array", "EPERM"),
    (2, "look up", "done"),
    (2, "run", "done"),
]


@pytest.mark.parametrize("disabled", [0, 1, 2])
def test_the_sysctl_lets_ordinary_users_load_a_little(disabled: int) -> None:
    with Kernel(cache=False, engine="interp") as kernel:
        sim = Simulated(kernel)
        kernel.unprivileged_bpf_disabled = disabled
        fds, ids = objects(sim)
        fds["root"] = sim.open(sim.root)
        told = as_user(sim, "nobody", fds, lambda bpf, held: everything(bpf, held, ids))
        assert [(d, what, told[what]) for d, what, _ in SYSCTL if d == disabled] == [
            row for row in SYSCTL if row[0] == disabled
        ]


def test_an_unprivileged_program_does_not_leak_pointers() -> None:
    """Simulated only, as above: `r0 = r10` is fine with CAP_PERFMON and a leak without."""
    leaks = bytes.fromhex("bfa0000000000000 9500000000000000")
    with Kernel(cache=False, engine="interp") as kernel:
        kernel.unprivileged_bpf_disabled = 0
        user = kernel.caller_bpf(InProcess(Cred(UID, UID, frozenset())))
        assert outcome(lambda: load_prog(user, leaks)) == "EACCES"
        assert outcome(lambda: load_prog(user, RETURN_0)) == "done"
        assert outcome(lambda: load_prog(kernel.bpf, leaks)) == "done"


# -- pins ------------------------------------------------------------------------------------------------------

# (mode of the pin, flags of OBJ_GET) -> the outcome for one who is not its owner.
MODES = [
    (0o600, 0, "EACCES"),
    (0o600, uapi.BPF_F_RDONLY, "EACCES"),
    (0o644, 0, "EACCES"),
    (0o644, uapi.BPF_F_RDONLY, "done"),
    (0o644, uapi.BPF_F_WRONLY, "EACCES"),
    (0o622, uapi.BPF_F_WRONLY, "done"),
    (0o622, uapi.BPF_F_RDONLY, "EACCES"),
    (0o666, 0, "done"),
]


@pytest.mark.parametrize("mode, flags, wanted", MODES)
def test_a_pins_mode_decides_who_gets_it(both: tuple[Simulated, Live], mode: int, flags: int, wanted: str) -> None:
    for system in both:
        fd, path = make_map(system.bpf), f"{system.root}/m{mode:o}_{flags}"
        obj_pin(system.bpf, fd, path)
        system.chmod(path, mode)
        got = as_user(system, "nobody", {}, lambda bpf, held, p=path: outcome(lambda: obj_get(bpf, p, flags)))  # type: ignore[misc]
        assert got == wanted, system
        system.unlink(path)
        system.bpf.close(fd)


def test_pins_are_made_where_the_directory_may_be_written(both: tuple[Simulated, Live]) -> None:
    for system in both:
        fd, closed, opened = make_map(system.bpf), f"{system.root}/closed", f"{system.root}/opened"
        for path, mode in ((closed, 0o755), (opened, 0o777)):
            system.mkdir(path)
            system.chmod(path, mode)

        def pins(bpf: Bpf, held: Fds, closed: str = closed, opened: str = opened) -> list[str]:
            return [outcome(lambda p=p: obj_pin(bpf, held["map"], f"{p}/m")) for p in (closed, opened)]  # type: ignore[misc]

        assert as_user(system, "nobody", {"map": fd}, pins) == ["EACCES", "done"]
        assert system.stat(f"{opened}/m").st_uid == UID
        system.unlink(f"{opened}/m")
        system.rmdir(closed)
        system.rmdir(opened)
        system.bpf.close(fd)


# -- access modes of map fds -----------------------------------------------------------------------------------

_READ_ONLY, _WRITE_ONLY = uapi.BPF_F_RDONLY, uapi.BPF_F_WRONLY
# command -> the outcome through an fd to read and write, to read, to write.
ACCESS: dict[str, tuple[str, str, str]] = {
    "lookup": ("done", "done", "EPERM"),
    "update": ("done", "EPERM", "done"),
    "delete": ("done", "EPERM", "done"),
    "lookup and delete": ("done", "EPERM", "EPERM"),
    "next key": ("done", "done", "EPERM"),
    "lookup batch": ("ENOENT", "ENOENT", "EPERM"),
    "update batch": ("done", "EPERM", "done"),
    "delete batch": ("done", "EPERM", "done"),
    "lookup and delete batch": ("ENOENT", "EPERM", "EPERM"),
    "info": ("done", "done", "done"),
    "freeze": ("done", "EPERM", "done"),
}


def use(bpf: Bpf, fd: int, what: str) -> str:
    """One command on a hash of one element, which is there before."""
    keep = Buffers()
    key, value, token = keep.put(bytearray(64)), keep.put(bytearray(64)), keep.put(bytearray(8))
    elem = uapi.MapElem(map_fd=fd, key=key, value=value)
    batch = uapi.MapBatch(map_fd=fd, keys=key, values=value, count=2 if "lookup" in what else 1, out_batch=token)
    commands: dict[str, tuple[int, Any]] = {
        "lookup": (uapi.BPF_MAP_LOOKUP_ELEM, elem),
        "update": (uapi.BPF_MAP_UPDATE_ELEM, elem),
        "delete": (uapi.BPF_MAP_DELETE_ELEM, uapi.MapElem(map_fd=fd, key=key)),
        "lookup and delete": (uapi.BPF_MAP_LOOKUP_AND_DELETE_ELEM, elem),
        "next key": (uapi.BPF_MAP_GET_NEXT_KEY, uapi.MapElem(map_fd=fd, value=value)),
        "lookup batch": (uapi.BPF_MAP_LOOKUP_BATCH, batch),
        "update batch": (uapi.BPF_MAP_UPDATE_BATCH, batch),
        "delete batch": (uapi.BPF_MAP_DELETE_BATCH, batch),
        "lookup and delete batch": (uapi.BPF_MAP_LOOKUP_AND_DELETE_BATCH, batch),
        "freeze": (uapi.BPF_MAP_FREEZE, uapi.MapElem(map_fd=fd)),
    }
    if what == "info":
        return outcome(lambda: get_info(bpf, fd, "bpf_map_info"))
    return outcome(lambda: call(bpf, *commands[what]))


def get_by_id(system: System, m: int, flags: int) -> int:
    number = field("bpf_map_info", get_info(system.bpf, m, "bpf_map_info")[0], "id")
    return call(system.bpf, uapi.BPF_MAP_GET_FD_BY_ID, uapi.GetId(start_id=number, open_flags=flags))


def get_by_pin(system: System, m: int, flags: int) -> int:
    path = f"{system.root}/access"
    obj_pin(system.bpf, m, path)
    try:
        return obj_get(system.bpf, path, flags)
    finally:
        system.unlink(path)


@pytest.mark.parametrize("get", [get_by_id, get_by_pin])
@pytest.mark.parametrize("what", ACCESS)
def test_a_map_fd_allows_what_it_was_opened_for(system: System, what: str, get: Callable[[System, int, int], int]) -> None:
    for flags, wanted in zip((0, _READ_ONLY, _WRITE_ONLY), ACCESS[what], strict=True):
        m = make_map(system.bpf, map_type=uapi.BPF_MAP_TYPE_HASH)
        assert use(system.bpf, m, "update") == "done"
        fd = get(system, m, flags)
        assert use(system.bpf, fd, what) == wanted, flags
        system.bpf.close(fd)
        system.bpf.close(m)


@pytest.mark.parametrize("what", ACCESS)
def test_a_map_made_for_one_way_has_such_an_fd(system: System, what: str) -> None:
    for flags, wanted in ((_READ_ONLY, ACCESS[what][1]), (_WRITE_ONLY, ACCESS[what][2])):
        m = make_map(system.bpf, map_type=uapi.BPF_MAP_TYPE_HASH, map_flags=flags)
        got = use(system.bpf, m, what)
        # Nothing is in it: what is allowed finds nothing.
        assert got == wanted or (wanted == "done" and got == "ENOENT"), flags
        system.bpf.close(m)


# -- views -----------------------------------------------------------------------------------------------------


def test_an_exposed_view_is_read_by_who_may_load_nothing() -> None:
    """Simulated only: Linux has no views."""
    with Kernel(cache=False) as kernel:
        sim = Simulated(kernel)
        kernel.cgroups.create("/web")
        link = sim.link_fd()
        obj_pin(sim.bpf, link, "/sys/fs/bpf/v")
        obj_pin(sim.bpf, link, "/sys/fs/cgroup/web/v")
        user = InProcess(Cred(UID, UID, frozenset()))
        assert outcome(lambda: kernel.read_bytes("/sys/fs/cgroup/web/v", caller=user)) == "EACCES"
        kernel.vfs.chmod(kernel.caller, "/sys/fs/cgroup/web/v", 0o644)
        assert kernel.read_bytes("/sys/fs/cgroup/web/v", caller=user) == b""
        bpf = kernel.caller_bpf(user)
        assert outcome(lambda: load_prog(bpf)) == outcome(lambda: make_map(bpf)) == "EPERM"
        assert outcome(lambda: obj_get(bpf, "/sys/fs/bpf/v")) == "EACCES"
        assert outcome(lambda: kernel.vfs.unlink(user, "/sys/fs/bpf/v")) == "EPERM", "sticky"


def test_cap_sys_admin_stands_in_for_what_was_cut_out_of_it() -> None:
    admin = Cred(0, 0, CAPABILITIES["sys_admin"])
    assert admin.capable(CAP_BPF) and not admin.may(CAP_BPF)
