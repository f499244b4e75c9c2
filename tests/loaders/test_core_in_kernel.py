"""CO-RE relocations that PROG_LOAD brings: applied behind the wall, and refused there as Linux refuses them."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from typing import Any

import pytest
from both import Side, compiled

from bpfjit import open_object
from bpfjit.errors import VerifierError, errno_name
from bpfjit.loader.bpf import Buffers
from bpfjit.uapi import bpf as uapi

Change = Callable[[uapi.ProgLoad, "Altered"], None]
OBJECT = "core_loads"


class Altered:
    """A bpf() that changes PROG_LOAD's attr before the kernel sees it."""

    types = None

    def __init__(self, bpf: Any, change: Change) -> None:
        self.bpf = bpf
        self.change = change
        self.relo: tuple[int, ...] = ()
        self.keep = Buffers()
        self.close, self.config, self.symbols = bpf.close, bpf.config, bpf.symbols

    def __call__(self, cmd: int, attr: bytearray) -> int:
        if cmd == uapi.BPF_PROG_LOAD:
            load = uapi.ProgLoad.unpack(attr)
            self.relo = struct.unpack("<IIII", ctypes.string_at(load.core_relos, 16))
            self.change(load, self)
            attr[:] = load.pack()
        return int(self.bpf(cmd, attr))


def fields(**values: int) -> Change:
    def change(attr: uapi.ProgLoad, _: Altered) -> None:
        for name, value in values.items():
            setattr(attr, name, value)

    return change


def record(size: int = 16, tail: bytes = b"", **values: Any) -> Change:
    """One record in place of all; `values` are members, or functions of what was there."""

    def change(attr: uapi.ProgLoad, here: Altered) -> None:
        row = dict(zip(("insn_off", "type_id", "access", "kind"), here.relo, strict=True))
        for name, value in values.items():
            row[name] = value(row[name]) if callable(value) else value
        data = (struct.pack("<IIII", *row.values()) + tail).ljust(size, b"\0")[:size]
        attr.core_relos, attr.core_relo_cnt, attr.core_relo_rec_size = here.keep.put(data), 1, size

    return change


def both_of(*changes: Change) -> Change:
    def change(attr: uapi.ProgLoad, here: Altered) -> None:
        for each in changes:
            each(attr, here)

    return change


CASES: dict[str, tuple[Change, str]] = {
    "as it was": (fields(), ""),
    "no BTF": (fields(prog_btf_fd=0), "EINVAL"),
    "an offset inside an instruction": (record(insn_off=lambda x: x + 1), "EINVAL"),
    "an offset past the end": (record(insn_off=80000), "EINVAL"),
    "not looked at without func_info and line_info": (
        both_of(record(insn_off=80000), fields(func_info_cnt=0, line_info_cnt=0)),
        "",
    ),
    "records of 12 bytes": (record(12), "EINVAL"),
    "records of 17 bytes": (record(17), "EINVAL"),
    "records of 20 bytes": (record(20), ""),
    "records of 20 bytes, the last not zero": (record(20, b"\1"), "E2BIG"),
    "records of 252 bytes": (record(252), ""),
    "records of 256 bytes": (record(256), "EINVAL"),
    "records of no bytes": (fields(core_relo_rec_size=0), "EINVAL"),
    "too many records": (fields(core_relo_cnt=0x20000000), "EINVAL"),
    "an unknown kind": (record(kind=99), "EINVAL"),
    "an unknown type": (record(type_id=99999), "EINVAL"),
    "no type": (record(type_id=0), "EINVAL"),
    "a string past the end": (record(access=1 << 20), "EINVAL"),
    "a string that is no path": (record(access=1), "EINVAL"),
    "an instruction of another kind": (record(insn_off=lambda x: x + 8), "EINVAL"),
    "an instruction that holds another value": (record(insn_off=0), "EINVAL"),
    "a type's id with a member's path": (record(kind=uapi.BPF_CORE_TYPE_ID_LOCAL), "EINVAL"),
    "a type's existence with a member's path": (record(kind=uapi.BPF_CORE_TYPE_EXISTS), "EINVAL"),
    "a bad address": (fields(core_relos=8), "EFAULT"),
    "no address": (fields(core_relos=0), "EFAULT"),
}


@pytest.mark.parametrize("name", CASES)
def test_records_are_taken_as_linux_takes_them(name: str, side: Side) -> None:
    change, wanted = CASES[name]
    bpf, before = Altered(side.bpf, change), side.open_fds()
    obj = open_object(compiled(OBJECT))
    try:
        with obj.load(bpf, core_in_kernel=True, only=["guarded"]):
            found = ""
    except VerifierError as e:
        found = errno_name(e.errno)
    assert found == wanted
    assert side.open_fds() == before


@pytest.mark.parametrize("name", ["guarded", "unguarded", "read_wide"])
def test_a_field_that_is_not_there_is_poison_where_it_is_reached(name: str, side: Side) -> None:
    obj = open_object(compiled(OBJECT))
    if name == "guarded":
        with obj.load(side.bpf, core_in_kernel=True, only=[name]) as loaded:
            assert side.run(loaded.progs[name].fd)[:2] == (0, 4)
        return
    with pytest.raises(VerifierError, match="invalid func unknown#195896080"):
        obj.load(side.bpf, core_in_kernel=True, only=[name])


def test_both_sides_of_the_wall_relocate_alike(side: Side) -> None:
    """What the kernel makes of the records has the tag that the loader's own relocation gives."""
    obj = open_object(compiled("tracing"))
    names = ["typed", "lines"]
    tags = []
    for core_in_kernel in (False, True):
        with obj.load(side.bpf, core_in_kernel=core_in_kernel, only=names) as loaded:
            assert all(loaded.progs[n].spec.core for n in names)
            tags.append([side.info(loaded.progs[n].fd)["tag"] for n in names])
    assert tags[0] == tags[1]
