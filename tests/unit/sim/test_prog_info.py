"""The arrays of bpf_prog_info, on both kernels: what is in them, and how far they are filled."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from systems import Simulated, System, call, field, get_info, live_or_skip, load_prog

from bpfjit import open_object
from bpfjit.errors import errno_name
from bpfjit.loader import LoadedObject
from bpfjit.loader.bpf import Buffers
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Cred, InProcess
from kernfs_sim.caller import CAP_BPF, CAP_SYS_ADMIN, CAP_SYSLOG

FIELDS = uapi.LAYOUTS["bpf_prog_info"].fields
SIZE = uapi.LAYOUTS["bpf_prog_info"].size
# Pointer -> (the count's member, bytes of an element, the record size's member).
ARRAYS = {
    "map_ids": ("nr_map_ids", 4, ""),
    "xlated_prog_insns": ("xlated_prog_len", 1, ""),
    "jited_prog_insns": ("jited_prog_len", 1, ""),
    "jited_ksyms": ("nr_jited_ksyms", 8, ""),
    "jited_func_lens": ("nr_jited_func_lens", 4, ""),
    "func_info": ("nr_func_info", 8, "func_info_rec_size"),
    "line_info": ("nr_line_info", 16, "line_info_rec_size"),
    "jited_line_info": ("nr_jited_line_info", 8, "jited_line_info_rec_size"),
    "prog_tags": ("nr_prog_tags", 8, ""),
}
SECRET = ("jited_prog_insns", "jited_ksyms", "jited_func_lens", "jited_line_info")


def put(info: bytearray, name: str, value: int) -> None:
    offset, size = FIELDS[name]
    info[offset : offset + size] = value.to_bytes(size, "little")


def ask(bpf: Any, fd: int, room: dict[str, int], **more: int) -> tuple[dict[str, int], dict[str, bytes]]:
    """The info's members, and the arrays with room for so many elements; 16 bytes of 0xee stand behind each."""
    keep, given, arrays = Buffers(), bytearray(SIZE), {}
    for pointer, count in room.items():
        length, size, record = ARRAYS[pointer]
        arrays[pointer] = bytearray(b"\xee" * (count * size + 16))
        put(given, pointer, keep.put(arrays[pointer]))
        put(given, length, count)
        if record:
            put(given, record, size)
    for name, value in more.items():
        put(given, name, value)
    info, _ = get_info(bpf, fd, "bpf_prog_info", given=bytes(given))
    return {name: field("bpf_prog_info", info, name) for name in FIELDS}, {p: bytes(a) for p, a in arrays.items()}


def words(raw: bytes, form: str, count: int) -> tuple[Any, ...]:
    return struct.unpack_from(f"<{count}{form}", raw)


@pytest.fixture(scope="module", params=["simulated", "live"])
def system(request: pytest.FixtureRequest) -> Iterator[System]:
    """As conftest's, once for all tests: they only ask."""
    made: System = Simulated() if request.param == "simulated" else live_or_skip()
    yield made
    made.close()


@pytest.fixture(scope="module")
def loaded(system: System, subprogs: Path) -> Iterator[LoadedObject]:
    with open_object(subprogs).load(system.bpf) as obj:
        yield obj


def test_every_array_is_counted_though_nothing_is_asked(system: System, loaded: LoadedObject) -> None:
    for name, functions, lines, maps in (("calls", 7, 30, 0), ("calls_beside", 2, 5, 0), ("callbacks", 3, 8, 2)):
        told, _ = ask(system.bpf, loaded.progs[name].fd, {})
        assert [told[n] for n in ("nr_jited_ksyms", "nr_jited_func_lens", "nr_func_info", "nr_prog_tags")] == [functions] * 4
        assert (told["nr_line_info"], told["nr_jited_line_info"], told["nr_map_ids"]) == (lines, lines, maps)
        assert [told[n] for n in ("func_info_rec_size", "line_info_rec_size", "jited_line_info_rec_size")] == [8, 16, 8]
        assert told["jited_prog_len"] > 0 and told["xlated_prog_len"] >= 8 * len(loaded.progs[name].spec.insns)


@pytest.mark.parametrize("pointer", ARRAYS)
def test_an_array_is_filled_as_far_as_it_reaches(system: System, loaded: LoadedObject, pointer: str) -> None:
    fd, (length, size, _) = loaded.progs["callbacks"].fd, ARRAYS[pointer]
    count = ask(system.bpf, fd, {})[0][length]
    _, whole = ask(system.bpf, fd, {pointer: count})
    assert whole[pointer][count * size :] == b"\xee" * 16
    for room in {0, 1, count - 1, count + 5}:
        told, arrays = ask(system.bpf, fd, {pointer: room})
        filled = min(room, count) * size
        assert told[length] == count
        assert arrays[pointer][:filled] == whole[pointer][:filled]
        assert set(arrays[pointer][filled:]) == {0xEE}


@pytest.mark.parametrize("pointer", ARRAYS)
def test_an_array_in_bad_memory_is_efault(system: System, loaded: LoadedObject, pointer: str) -> None:
    length, size, record = ARRAYS[pointer]
    more = {pointer: 1, length: 1} | ({record: size} if record else {})
    with pytest.raises(OSError) as e:
        ask(system.bpf, loaded.progs["callbacks"].fd, {}, **more)
    assert errno_name(e.value.errno or 0) == "EFAULT"


RECORDS = [
    ({"func_info_rec_size": 8}, ""),
    ({"func_info_rec_size": 4}, "EINVAL"),
    ({"nr_func_info": 1}, "EINVAL"),
    ({"line_info_rec_size": 16, "jited_line_info_rec_size": 8}, ""),
    ({"line_info_rec_size": 8}, "EINVAL"),
    ({"nr_line_info": 1}, "EINVAL"),
    ({"jited_line_info_rec_size": 4}, "EINVAL"),
    ({"nr_jited_line_info": 9}, "EINVAL"),
]


@pytest.mark.parametrize("given, error", RECORDS)
def test_record_sizes_are_linuxs_or_nothing(system: System, loaded: LoadedObject, given: dict[str, int], error: str) -> None:
    try:
        ask(system.bpf, loaded.progs["calls"].fd, {}, **given)
    except OSError as e:
        assert errno_name(e.errno or 0) == error
    else:
        assert not error


def test_what_the_arrays_say_fits_together(system: System, loaded: LoadedObject) -> None:
    prog = loaded.progs["callbacks"]
    counts = ask(system.bpf, prog.fd, {})[0]
    told, arrays = ask(system.bpf, prog.fd, {p: counts[length] for p, (length, _, _) in ARRAYS.items()})
    functions = told["nr_func_info"]
    starts = words(arrays["jited_ksyms"], "Q", functions)
    lengths = words(arrays["jited_func_lens"], "I", functions)
    assert sum(lengths) == told["jited_prog_len"] and lengths[0]
    lines = words(arrays["jited_line_info"], "Q", told["nr_line_info"])
    records = [words(arrays["line_info"][16 * i :], "I", 4) for i in range(told["nr_line_info"])]
    firsts = [words(arrays["func_info"][8 * i :], "I", 2)[0] for i in range(functions)]
    for addr, (insn_off, *_) in zip(lines, records, strict=True):
        index = max(i for i, first in enumerate(firsts) if first <= insn_off)
        if not lengths[index]:
            assert not system.is_live and addr == starts[index] == 0, "inlined, it has no code of its own"
            continue
        assert starts[index] <= addr < starts[index] + lengths[index]
        assert addr == starts[index] or insn_off != firsts[index]
    names = [loaded.maps[n] for n in loaded.maps]
    ids = {field("bpf_map_info", get_info(system.bpf, m.fd, "bpf_map_info")[0], "id") for m in names}
    assert set(words(arrays["map_ids"], "I", told["nr_map_ids"])) <= ids
    assert len(set(words(arrays["prog_tags"], "Q", functions))) == functions


def test_translated_instructions_name_maps_by_id(system: System, loaded: LoadedObject) -> None:
    fd = loaded.progs["callbacks"].fd
    told, arrays = ask(system.bpf, fd, {"map_ids": 8, "xlated_prog_insns": 4096})
    insns = arrays["xlated_prog_insns"]
    named = set()
    for at in range(0, told["xlated_prog_len"], 8):
        code, regs, _, imm = struct.unpack_from("<BBhi", insns, at)
        if code == 0x18 and regs >> 4 in (uapi.BPF_PSEUDO_MAP_FD, uapi.BPF_PSEUDO_MAP_VALUE):
            named.add(imm)
    assert named == set(words(arrays["map_ids"], "I", told["nr_map_ids"]))


def test_one_function_without_btf_has_one_of_each(system: System) -> None:
    fd = load_prog(system.bpf)
    told, arrays = ask(
        system.bpf, fd, {"prog_tags": 1, "jited_prog_insns": 4096, "jited_func_lens": 1, "xlated_prog_insns": 16}
    )
    assert (told["nr_jited_ksyms"], told["nr_prog_tags"], told["nr_func_info"], told["nr_line_info"]) == (1, 1, 0, 0)
    assert arrays["prog_tags"][:8].hex() == "e6898eaa4388e69e"
    assert words(arrays["jited_func_lens"], "I", 1)[0] == told["jited_prog_len"]
    assert (
        arrays["jited_prog_insns"][: told["jited_prog_len"]].rstrip(b"\xcc").endswith((b"\xc3", b"\xc9\xc3"))
        or system.is_live
    )
    assert told["xlated_prog_len"] == 16
    system.bpf.close(fd)


def test_what_the_caller_had_in_members_without_a_value_stays(system: System) -> None:
    fd = load_prog(system.bpf)
    told, _ = ask(system.bpf, fd, {}, ifindex=7, netns_dev=9, netns_ino=11, jited_ksyms=13, attach_btf_id=15)
    assert [told[n] for n in ("ifindex", "netns_dev", "netns_ino", "jited_ksyms", "attach_btf_id")] == [7, 9, 11, 13, 0]
    system.bpf.close(fd)


def test_without_capabilities_neither_code_nor_addresses_are_told(subprogs: Path) -> None:
    """Simulated; test_who_may.py asks Linux the same through a process without capabilities."""
    sim = Simulated()
    with open_object(subprogs).load(sim.bpf) as obj:
        prog = sim.caller.fds.get(obj.progs["callbacks"].fd).object
        for capabilities, secrets, code in (
            ({CAP_SYS_ADMIN, CAP_SYSLOG}, True, True),
            ({CAP_SYS_ADMIN}, False, True),
            (set(), False, False),
        ):
            user = InProcess(Cred(1000, 1000, frozenset(capabilities | {CAP_BPF} if code else capabilities)))
            opener = InProcess(Cred(1000, 1000, frozenset({CAP_SYS_ADMIN, *capabilities})))
            fd = call(sim.kernel.caller_bpf(opener), uapi.BPF_PROG_GET_FD_BY_ID, uapi.GetId(start_id=prog.id))
            user.fds._files[fd] = opener.fds.get(fd).get()
            told, arrays = ask(sim.kernel.caller_bpf(user), fd, dict.fromkeys(ARRAYS, 400))
            for pointer in SECRET:
                assert (arrays[pointer][0] != 0xEE) == secrets
                assert bool(told[pointer]) == (secrets or not code)
            assert bool(told["xlated_prog_len"]) == bool(told["nr_func_info"]) == code
            calls = [
                arrays["xlated_prog_insns"][at + 4 : at + 8]
                for at in range(0, told["xlated_prog_len"], 8)
                if arrays["xlated_prog_insns"][at] == 0x85
            ]
            assert all(any(imm) == secrets for imm in calls) and bool(calls) == code
            assert told["nr_map_ids"] == 2 and arrays["map_ids"][0] != 0xEE
            opener.fds.close_all()
            user.fds.close_all()
    sim.close()
