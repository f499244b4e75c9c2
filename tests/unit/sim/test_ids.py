"""Ids, fds and bpf(2)'s attr, on both kernels."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest
from systems import RETURN_0, Simulated, System, call, field, get_info, load_btf, load_prog, make_map

from bpfjit.uapi import bpf as uapi
from kernfs_sim import Cred, InProcess
from kernfs_sim.caller import FdTable
from kernfs_sim.fs.inode import OpenFile
from kernfs_sim.idr import MAX_ID, Idr
from kernfs_sim.objects import Object


def refused(number: int, call: Callable[[], object]) -> None:
    with pytest.raises(OSError) as e:
        call()
    assert errno.errorcode.get(e.value.errno or 0) == errno.errorcode.get(number, number)


# (what is made, NEXT_ID, FD_BY_ID, the info structure)
KINDS = {
    "prog": (lambda s: load_prog(s.bpf), uapi.BPF_PROG_GET_NEXT_ID, uapi.BPF_PROG_GET_FD_BY_ID, "bpf_prog_info"),
    "map": (lambda s: make_map(s.bpf), uapi.BPF_MAP_GET_NEXT_ID, uapi.BPF_MAP_GET_FD_BY_ID, "bpf_map_info"),
    "link": (lambda s: s.link_fd(), uapi.BPF_LINK_GET_NEXT_ID, uapi.BPF_LINK_GET_FD_BY_ID, "bpf_link_info"),
    "btf": (lambda s: load_btf(s.bpf), uapi.BPF_BTF_GET_NEXT_ID, uapi.BPF_BTF_GET_FD_BY_ID, "bpf_btf_info"),
}


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def id_of(system: System, kind: str, fd: int) -> int:
    struct = KINDS[kind][3]
    return field(struct, get_info(system.bpf, fd, struct)[0], "id")


def next_id(system: System, kind: str, start: int) -> int:
    attr = bytearray(uapi.GetId(start_id=start).pack())
    system.bpf(KINDS[kind][1], attr)
    return uapi.GetId.unpack(attr).next_id


def test_next_id_finds_every_living_object_in_order(system: System, kind: str) -> None:
    fds = [KINDS[kind][0](system) for _ in range(3)]
    made = [id_of(system, kind, fd) for fd in fds]
    assert made == sorted(made) and made[0] > 0
    found, at = [], made[0] - 1
    while len(found) < 3:
        at = next_id(system, kind, at)
        if at in made:
            found.append(at)
    assert found == made
    for fd in fds:
        system.bpf.close(fd)


def test_next_id_past_the_last_is_enoent_and_past_31_bits_einval(system: System, kind: str) -> None:
    refused(errno.ENOENT, lambda: next_id(system, kind, (1 << 31) - 2))
    refused(errno.EINVAL, lambda: next_id(system, kind, (1 << 31)))
    refused(errno.EINVAL, lambda: next_id(system, kind, (1 << 32) - 1))


def test_fd_by_id_is_another_fd_of_the_same_object(system: System, kind: str) -> None:
    make, _, by_id, _ = KINDS[kind]
    fd = make(system)
    number = id_of(system, kind, fd)
    again = call(system.bpf, by_id, uapi.GetId(start_id=number))
    assert again != fd
    system.bpf.close(fd)
    assert id_of(system, kind, again) == number
    system.bpf.close(again)
    refused(errno.ENOENT, lambda: call(system.bpf, by_id, uapi.GetId(start_id=number)))
    refused(errno.ENOENT, lambda: call(system.bpf, by_id, uapi.GetId(start_id=0)))
    refused(errno.ENOENT, lambda: call(system.bpf, by_id, uapi.GetId(start_id=(1 << 32) - 1)))


def test_fd_by_id_knows_its_flags(system: System, kind: str) -> None:
    make, _, by_id, _ = KINDS[kind]
    fd = make(system)
    number = id_of(system, kind, fd)

    def get(flags: int) -> None:
        system.bpf.close(call(system.bpf, by_id, uapi.GetId(start_id=number, open_flags=flags)))

    for flags in (uapi.BPF_F_RDONLY, uapi.BPF_F_WRONLY):
        if kind == "map":
            get(flags)
        else:
            refused(errno.EINVAL, lambda flags=flags: get(flags))  # type: ignore[misc]
    refused(errno.EINVAL, lambda: get(uapi.BPF_F_RDONLY | uapi.BPF_F_WRONLY))
    refused(errno.EINVAL, lambda: get(1))
    system.bpf.close(fd)


def test_ids_want_privileges(kind: str) -> None:
    sim = Simulated()
    fd = KINDS[kind][0](sim)
    number = id_of(sim, kind, fd)
    user = sim.kernel.caller_bpf(InProcess(Cred(uid=1000, gid=1000, capabilities=frozenset())))
    _, following, by_id, _ = KINDS[kind]
    refused(errno.EPERM, lambda: call(user, following, uapi.GetId()))
    refused(errno.EPERM, lambda: call(user, by_id, uapi.GetId(start_id=number)))
    sim.close()


def test_ids_are_handed_out_cyclically_and_never_0() -> None:
    ids: Idr[Object] = Idr()
    made = {name: Object() for name in ("a", "b", "c", "d", "last", "round", "more")}
    assert [ids.add(made[x]) for x in "abc"] == [1, 2, 3]
    ids.remove(2)
    assert ids.add(made["d"]) == 4, "an id that was given back is not next"
    ids._last = MAX_ID - 1
    assert ids.add(made["last"]) == MAX_ID
    assert ids.add(made["round"]) == 2, "1, 3 and 4 are taken"
    assert ids.add(made["more"]) == 5
    assert list(ids) == [made[name] for name in ("a", "round", "c", "d", "more", "last")]
    made["c"].put()
    assert ids.get(3) is made["c"] and ids.hold(3) is None, "one that is going is not held any more"
    assert ids.hold(4) is made["d"] and made["d"].refs == 2
    assert (ids.next_after(0), ids.next_after(5), ids.next_after(MAX_ID)) == (1, MAX_ID, None)


def test_live_ids_go_up_though_objects_go(system: System, kind: str) -> None:
    made = []
    for _ in range(4):
        fd = KINDS[kind][0](system)
        made.append(id_of(system, kind, fd))
        system.bpf.close(fd)
    assert made == sorted(set(made))


# -- the fd table --------------------------------------------------------------------------------------


def test_the_lowest_free_fd_is_next(system: System) -> None:
    fds = [make_map(system.bpf) for _ in range(4)]
    assert fds == sorted(fds)
    system.bpf.close(fds[1])
    system.bpf.close(fds[2])
    assert make_map(system.bpf) == fds[1]
    assert make_map(system.bpf) == fds[2]
    for fd in fds:
        system.bpf.close(fd)


def test_a_closed_fd_is_ebadf(system: System) -> None:
    fd = make_map(system.bpf)
    system.bpf.close(fd)
    refused(errno.EBADF, lambda: system.bpf.close(fd))
    refused(errno.EBADFD, lambda: get_info(system.bpf, fd, "bpf_map_info"))
    refused(errno.EBADF, lambda: call(system.bpf, uapi.BPF_MAP_FREEZE, uapi.MapElem(map_fd=fd)))


def test_ten_thousand_fds_are_as_quick_as_ten() -> None:
    table = FdTable()
    fds = [table.install(OpenFile(None, 0)) for _ in range(10_000)]
    assert fds == list(range(3, 10_003))
    for fd in (5, 9000, 3):
        table.close(fd)
    assert [table.install(OpenFile(None, 0)) for _ in range(4)] == [3, 5, 9000, 10_003]
    table.close_all()
    assert table.install(OpenFile(None, 0)) == 3


def test_dup_shares_the_open_file() -> None:
    table = FdTable()
    fd = table.install(OpenFile(None, 0))
    other = table.dup(fd)
    table.get(fd).lseek(7)
    assert table.get(other).pos == 7
    table.close(fd)
    assert table.get(other).refs == 1
    table.close_all()
    assert len(table) == 0
    with pytest.raises(OSError):
        table.dup(fd)


@pytest.mark.parametrize("wrong", ["map", "prog", "link", "btf"])
def test_an_fd_of_the_wrong_kind_is_einval(system: System, wrong: str) -> None:
    fd = KINDS[wrong][0](system)
    if wrong != "map":
        refused(errno.EINVAL, lambda: call(system.bpf, uapi.BPF_MAP_FREEZE, uapi.MapElem(map_fd=fd)))
    if wrong != "prog":
        refused(errno.EINVAL, lambda: call(system.bpf, uapi.BPF_LINK_CREATE, uapi.LinkCreate(prog_fd=fd)))
        attr = uapi.RawTracepointOpen(prog_fd=fd)
        refused(errno.EINVAL, lambda: call(system.bpf, uapi.BPF_RAW_TRACEPOINT_OPEN, attr))
    system.bpf.close(fd)


# -- attr --------------------------------------------------------------------------------------------


def test_a_short_attr_is_filled_up_with_zeros(system: System) -> None:
    whole = uapi.MapCreate(map_type=uapi.BPF_MAP_TYPE_ARRAY, key_size=4, value_size=8, max_entries=1).pack()
    fd = system.bpf(uapi.BPF_MAP_CREATE, bytearray(whole[:16]))
    system.bpf.close(fd)
    refused(errno.EINVAL, lambda: system.bpf(uapi.BPF_MAP_CREATE, bytearray(whole[:12])))  # no max_entries
    refused(errno.EINVAL, lambda: system.bpf(uapi.BPF_MAP_CREATE, bytearray()))


def test_a_long_attr_is_taken_when_the_rest_is_zero(system: System) -> None:
    whole = uapi.MapCreate(map_type=uapi.BPF_MAP_TYPE_ARRAY, key_size=4, value_size=8, max_entries=1).pack()
    for size in (200, 1024, 4096):
        system.bpf.close(system.bpf(uapi.BPF_MAP_CREATE, bytearray(whole.ljust(size, b"\0"))))
    refused(errno.E2BIG, lambda: system.bpf(uapi.BPF_MAP_CREATE, bytearray(whole.ljust(4097, b"\0"))))
    refused(errno.E2BIG, lambda: system.bpf(uapi.BPF_MAP_CREATE, bytearray(whole.ljust(299, b"\0") + b"\1")))


def test_bytes_past_a_commands_last_field_must_be_zero(system: System) -> None:
    attr = bytearray(uapi.GetId(start_id=0).pack().ljust(144, b"\0"))
    system.bpf(uapi.BPF_BTF_GET_NEXT_ID, attr)
    attr[100] = 1
    refused(errno.EINVAL, lambda: system.bpf(uapi.BPF_BTF_GET_NEXT_ID, attr))
    fd = make_map(system.bpf)
    attr = bytearray(uapi.MapElem(map_fd=fd).pack().ljust(64, b"\0"))
    attr[40] = 1
    refused(errno.EINVAL, lambda: system.bpf(uapi.BPF_MAP_FREEZE, attr))
    system.bpf.close(fd)


@pytest.mark.parametrize("command", [38, 39, 100, 4095, (1 << 31) - 1, -1])
def test_unknown_commands_are_einval(system: System, command: int) -> None:
    refused(errno.EINVAL, lambda: system.bpf(command, bytearray(128)))


def test_bad_addresses_are_efault(system: System) -> None:
    fd = make_map(system.bpf)
    for bad in (1, 0x7FFF_FFFF_F000, 0xFFFF_8000_0000_0000):
        lookup = uapi.MapElem(map_fd=fd, key=bad, value=bad)
        refused(errno.EFAULT, lambda lookup=lookup: call(system.bpf, uapi.BPF_MAP_LOOKUP_ELEM, lookup))  # type: ignore[misc]
        refused(errno.EFAULT, lambda bad=bad: call(system.bpf, uapi.BPF_OBJ_GET, uapi.Obj(pathname=bad)))  # type: ignore[misc]
        attr = uapi.ProgLoad(prog_type=uapi.BPF_PROG_TYPE_SOCKET_FILTER, insn_cnt=2, insns=bad, license=bad)
        refused(errno.EFAULT, lambda attr=attr: call(system.bpf, uapi.BPF_PROG_LOAD, attr))  # type: ignore[misc]
    system.bpf.close(fd)


def test_a_program_without_instructions_is_e2big(system: System) -> None:
    refused(errno.E2BIG, lambda: load_prog(system.bpf, b""))


def test_a_refused_command_installs_no_fd(system: System) -> None:
    before = make_map(system.bpf)
    system.bpf.close(before)
    refused(errno.EINVAL, lambda: make_map(system.bpf, max_entries=0))
    refused(errno.EINVAL, lambda: load_prog(system.bpf, RETURN_0, prog_type=999))
    assert make_map(system.bpf) == before
    system.bpf.close(before)
