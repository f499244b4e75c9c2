"""What an object tells about itself: OBJ_GET_INFO_BY_FD, tags, fdinfo; on both kernels."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from systems import (
    Live,
    Simulated,
    System,
    call,
    field,
    get_info,
    int_btf,
    live_or_skip,
    load_btf,
    load_prog,
    make_map,
    map_with_btf,
)

from bpfjit.loader.bpf import Buffers
from bpfjit.uapi import bpf as uapi

KINDS: dict[str, tuple[Callable[[System], int], str]] = {
    "prog": (lambda s: load_prog(s.bpf, name=b"five"), "bpf_prog_info"),
    "map": (lambda s: make_map(s.bpf, name=b"some.map_1"), "bpf_map_info"),
    "link": (lambda s: s.link_fd(), "bpf_link_info"),
    "btf": (lambda s: load_btf(s.bpf), "bpf_btf_info"),
}


def refused(number: int, call: Callable[[], object]) -> None:
    with pytest.raises(OSError) as e:
        call()
    assert errno.errorcode[e.value.errno or 0] == errno.errorcode[number]


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_info_fills_what_fits_and_says_how_much(system: System, kind: str) -> None:
    make, struct = KINDS[kind]
    fd, full = make(system), uapi.LAYOUTS[struct].size
    whole, told = get_info(system.bpf, fd, struct)
    assert told == full
    for size in (4, 8, 24, full):
        part, told = get_info(system.bpf, fd, struct, size=size)
        assert told == size
        if kind != "prog":  # run times move on
            assert part == whole[:size]
    longer, told = get_info(system.bpf, fd, struct, size=full + 16)
    assert told == full and longer[full:] == bytes(16)
    refused(errno.E2BIG, lambda: get_info(system.bpf, fd, struct, size=full + 16, given=bytes(full + 8) + b"\1"))
    refused(errno.E2BIG, lambda: get_info(system.bpf, fd, struct, size=4097))
    system.bpf.close(fd)


def test_info_of_no_bpf_object(system: System) -> None:
    refused(errno.EBADFD, lambda: get_info(system.bpf, 999, "bpf_map_info"))
    fd = system.plain_fd()
    refused(errno.EINVAL, lambda: get_info(system.bpf, fd, "bpf_map_info"))
    system.bpf.close(fd)


def test_info_into_bad_memory_is_efault(system: System, kind: str) -> None:
    fd = KINDS[kind][0](system)
    attr = uapi.GetInfo(bpf_fd=fd, info_len=64, info=1)
    refused(errno.EFAULT, lambda: call(system.bpf, uapi.BPF_OBJ_GET_INFO_BY_FD, attr))
    system.bpf.close(fd)


def prog_info(system: System, fd: int, given: bytes = b"") -> tuple[bytes, Callable[[str], int]]:
    info = get_info(system.bpf, fd, "bpf_prog_info", given=given)[0]
    return info, lambda name: field("bpf_prog_info", info, name)


def test_a_programs_info(system: System) -> None:
    fd = load_prog(system.bpf, name=b"five")
    info, get = prog_info(system, fd)
    assert (get("type"), get("nr_map_ids"), get("created_by_uid")) == (uapi.BPF_PROG_TYPE_SOCKET_FILTER, 0, 0)
    assert (get("btf_id"), get("attach_btf_id"), get("verified_insns")) == (0, 0, 2)
    assert get("xlated_prog_len") == 16 and get("jited_prog_len") > 0
    assert get("load_time") > 0
    name = uapi.LAYOUTS["bpf_prog_info"].fields["name"][0]
    assert info[name : name + 16] == b"five".ljust(16, b"\0")
    system.bpf.close(fd)


GPL_AT = uapi.LAYOUTS["bpf_prog_info"].fields["ifindex"][0] + 4


@pytest.mark.parametrize("license, gpl", [(b"GPL\0", 1), (b"Dual MIT/GPL\0", 1), (b"MIT\0", 0), (b"\0", 0), (b"gpl\0", 0)])
def test_gpl_compatibility_is_told(system: System, license: bytes, gpl: int) -> None:
    fd = load_prog(system.bpf, license=license)
    assert prog_info(system, fd)[0][GPL_AT] & 1 == gpl
    system.bpf.close(fd)


def mov(dst: int, value: int) -> bytes:
    return bytes([0xB4, dst, 0, 0]) + value.to_bytes(4, "little")


EXIT = bytes.fromhex("9500000000000000")


def uses_map(fd: int) -> bytes:
    return bytes([0x18, 0x11, 0, 0]) + fd.to_bytes(4, "little") + bytes(8) + mov(0, 0) + EXIT


def tag_of(system: System, insns: bytes) -> str:
    fd = load_prog(system.bpf, insns)
    info, _ = prog_info(system, fd)
    at = uapi.LAYOUTS["bpf_prog_info"].fields["tag"][0]
    system.bpf.close(fd)
    return info[at : at + 8].hex()


def test_the_tag_is_linux_618s(system: System) -> None:
    assert tag_of(system, mov(0, 5) + EXIT) == "e6898eaa4388e69e"


def test_the_tag_does_not_depend_on_fds(system: System) -> None:
    one, two = make_map(system.bpf), make_map(system.bpf)
    assert tag_of(system, uses_map(one)) == tag_of(system, uses_map(two))
    system.bpf.close(one)
    system.bpf.close(two)


TAGGED = {
    "a constant": mov(0, 7) + EXIT,
    "a constant of 64 bits": bytes([0x18, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]) + EXIT,
    "a subprogram": bytes([0x85, 0x10, 0, 0, 1, 0, 0, 0]) + EXIT + mov(0, 1) + EXIT,
    "a helper": bytes([0x85, 0, 0, 0, 7, 0, 0, 0]) + EXIT,
}


@pytest.mark.parametrize("case", [*TAGGED, "a map", "a map's value"])
def test_tags_are_the_same_here_and_there(case: str) -> None:
    sim, live = Simulated(), live_or_skip()
    tags = []
    for system in (sim, live):
        fd = make_map(system.bpf, max_entries=1)
        value = bytes([0x18, 0x21, 0, 0]) + fd.to_bytes(4, "little") + bytes(4) + b"\4\0\0\0" + mov(0, 0) + EXIT
        insns = {"a map": uses_map(fd), "a map's value": value, **TAGGED}[case]
        tags.append(tag_of(system, insns))
        system.bpf.close(fd)
        system.close()
    assert tags[0] == tags[1]


def test_map_ids_fill_what_fits_and_the_count_is_told(system: System) -> None:
    one, two = make_map(system.bpf), make_map(system.bpf)
    load = bytes([0x18, 0x11, 0, 0])
    insns = b"".join(load + fd.to_bytes(4, "little") + bytes(8) for fd in (one, two, one)) + mov(0, 0) + EXIT
    fd = load_prog(system.bpf, insns)
    ids = [field("bpf_map_info", get_info(system.bpf, m, "bpf_map_info")[0], "id") for m in (one, two)]
    fields = uapi.LAYOUTS["bpf_prog_info"].fields
    for room in (0, 1, 2, 5):
        keep, array = Buffers(), bytearray(b"\xff" * 20)
        given = bytearray(uapi.LAYOUTS["bpf_prog_info"].size)
        at = fields["nr_map_ids"][0]
        given[at : at + 4] = room.to_bytes(4, "little")
        at = fields["map_ids"][0]
        given[at : at + 8] = keep.put(array).to_bytes(8, "little")
        _, get = prog_info(system, fd, bytes(given))
        assert get("nr_map_ids") == 2
        wanted = b"".join(i.to_bytes(4, "little") for i in ids[:room])
        assert bytes(array) == wanted.ljust(20, b"\xff")
    for f in (fd, one, two):
        system.bpf.close(f)


def test_a_maps_info(system: System) -> None:
    fd = map_with_btf(system.bpf, map_type=uapi.BPF_MAP_TYPE_HASH, max_entries=17, map_flags=uapi.BPF_F_NO_PREALLOC)
    info = get_info(system.bpf, fd, "bpf_map_info")[0]
    get = [field("bpf_map_info", info, n) for n in ("type", "key_size", "value_size", "max_entries", "map_flags")]
    assert get == [uapi.BPF_MAP_TYPE_HASH, 4, 8, 17, uapi.BPF_F_NO_PREALLOC]
    assert field("bpf_map_info", info, "btf_id") > 0
    assert [field("bpf_map_info", info, n) for n in ("btf_key_type_id", "btf_value_type_id")] == [1, 2]
    system.bpf.close(fd)


def test_a_links_info_names_its_program(system: System) -> None:
    fd = system.link_fd()
    info = get_info(system.bpf, fd, "bpf_link_info")[0]
    wanted = uapi.BPF_LINK_TYPE_ITER if system.is_live else uapi.BPF_LINK_TYPE_VIEW
    assert field("bpf_link_info", info, "type") == wanted
    assert field("bpf_link_info", info, "id") > 0 and field("bpf_link_info", info, "prog_id") > 0
    system.bpf.close(fd)


def btf_info(system: System, fd: int, room: int, name_room: int) -> tuple[bytes, bytes, dict[str, int]]:
    keep, data, name = Buffers(), bytearray(room), bytearray(name_room)
    given = bytearray(32)
    for field_name, value, size in (
        ("btf", keep.put(data), 8),
        ("btf_size", room, 4),
        ("name", keep.put(name), 8),
        ("name_len", name_room, 4),
    ):
        at = uapi.LAYOUTS["bpf_btf_info"].fields[field_name][0]
        given[at : at + size] = value.to_bytes(size, "little")
    info = get_info(system.bpf, fd, "bpf_btf_info", given=bytes(given))[0]
    return (
        bytes(data),
        bytes(name),
        {n: field("bpf_btf_info", info, n) for n in ("btf_size", "id", "kernel_btf", "name_len")},
    )


@pytest.mark.parametrize("room", [0, 1, 24, 500])
def test_a_btfs_info_copies_its_bytes(system: System, room: int) -> None:
    blob, fd = int_btf(), load_btf(system.bpf)
    data, _, told = btf_info(system, fd, room, 0)
    assert data == blob[:room].ljust(room, b"\0")
    assert told["btf_size"] == len(blob) and not told["kernel_btf"] and told["name_len"] == 0
    system.bpf.close(fd)


def test_btf_id_1_is_vmlinux(system: System) -> None:
    fd = call(system.bpf, uapi.BPF_BTF_GET_FD_BY_ID, uapi.GetId(start_id=1))
    _, name, told = btf_info(system, fd, 0, 16)
    assert name.rstrip(b"\0") == b"vmlinux"
    assert (told["id"], told["kernel_btf"], told["name_len"]) == (1, 1, 7)
    refused(errno.ENOSPC, lambda: btf_info(system, fd, 0, 4))
    system.bpf.close(fd)


def fdinfo(system: System, fd: int) -> list[str]:
    text = Path(f"/proc/self/fdinfo/{fd}").read_text() if isinstance(system, Live) else system.caller.fds.get(fd).fdinfo()
    return [line for line in text.splitlines() if not re.match("(pos|flags|mnt_id|ino):", line)]


def test_fdinfo_has_linuxs_lines(system: System, kind: str) -> None:
    fd = KINDS[kind][0](system)
    lines = fdinfo(system, fd)
    keys = [line.split(":\t")[0] for line in lines]
    wanted = {
        "prog": "prog_type prog_jited prog_tag memlock prog_id run_time_ns run_cnt recursion_misses verified_insns",
        "map": "map_type key_size value_size max_entries map_flags map_extra memlock map_id frozen",
        "link": "link_type link_id prog_tag prog_id " + ("target_name" if system.is_live else "attach_target"),
        "btf": "btf_id",
    }[kind].split()
    assert keys == wanted
    values = dict(line.split(":\t") for line in lines)
    struct = KINDS[kind][1]
    assert int(values[f"{kind}_id"]) == field(struct, get_info(system.bpf, fd, struct)[0], "id")
    if kind == "prog":
        assert (values["prog_type"], values["prog_jited"], values["prog_tag"]) == ("1", "1", "e6898eaa4388e69e")
        assert values["verified_insns"] == "2"
    if kind == "map":
        assert (values["map_flags"], values["map_extra"], values["frozen"]) == ("0x0", "0x0", "0")
    if kind == "link" and not system.is_live:
        assert (values["link_type"], values["attach_target"]) == ("view", "cgroup")
    system.bpf.close(fd)


def test_a_raw_tracepoint_links_name_is_cut_with_enospc() -> None:
    sim = Simulated()
    prog = load_prog(sim.bpf, mov(0, 0) + EXIT, prog_type=uapi.BPF_PROG_TYPE_RAW_TRACEPOINT)
    names = Buffers()
    attr = uapi.RawTracepointOpen(name=names.put(b"sched_switch\0"), prog_fd=prog)
    link = call(sim.bpf, uapi.BPF_RAW_TRACEPOINT_OPEN, attr)
    fields = uapi.LAYOUTS["bpf_link_info"].fields
    pointer, length = fields["raw_tracepoint.tp_name"][0], fields["raw_tracepoint.tp_name_len"][0]
    for room in (5, 13, 20):
        keep, name = Buffers(), bytearray(room)
        given = bytearray(uapi.LAYOUTS["bpf_link_info"].size)
        given[pointer : pointer + 8] = keep.put(name).to_bytes(8, "little")
        given[length : length + 4] = room.to_bytes(4, "little")
        if room < 13:
            refused(errno.ENOSPC, lambda given=given: get_info(sim.bpf, link, "bpf_link_info", given=bytes(given)))  # type: ignore[misc]
            assert bytes(name) == b"sche\0"
        else:
            info, _ = get_info(sim.bpf, link, "bpf_link_info", given=bytes(given))
            assert bytes(name) == b"sched_switch".ljust(room, b"\0")
            assert info[pointer : pointer + 8] == given[pointer : pointer + 8], "the pointer is echoed"
            assert field("bpf_link_info", info, "raw_tracepoint.tp_name_len") == 13
    sim.close()
