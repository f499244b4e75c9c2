"""Running loaded programs and reading their variables, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bpfjit.btf import Btf, Kind, RawBtf, parse_btf, write_btf
from bpfjit.btf.from_c import btf_from_c
from bpfjit.loader import LoadedObject, Object
from bpfjit.loader.bpf import Buffers
from bpfjit.uapi import bpf as uapi

Compile = Callable[..., Path]
Load = Callable[..., LoadedObject]


def kernel_of(source: str) -> RawBtf:
    """The types of a kernel that the test lays out itself, in C."""
    return parse_btf(write_btf(btf_from_c(source)))


def run(loaded: LoadedObject, prog: str, ctx: bytes = b"", data: bytes = b"") -> int:
    """BPF_PROG_TEST_RUN: the return value, signed 32-bit."""
    buffers = Buffers()
    attr = uapi.TestRun(
        prog_fd=loaded.progs[prog].fd,
        data_in=buffers.put(data),
        data_size_in=len(data),
        ctx_in=buffers.put(ctx),
        ctx_size_in=len(ctx),
    )
    raw = bytearray(attr.pack())
    loaded.bpf(uapi.BPF_PROG_TEST_RUN, raw)
    retval = uapi.TestRun.unpack(raw).retval
    return retval - (1 << 32) if retval >> 31 else retval


def global_var(obj: Object | LoadedObject, name: str) -> tuple[str, int, int]:
    """A global variable's (section, offset, size), as the object's BTF says."""
    btf: Btf | None = obj.spec.btf
    assert btf is not None
    for _, t in btf.items():
        for v in t.secvars if t.kind is Kind.DATASEC else ():
            if btf.type(v.type_id).name == name:
                return t.name, v.offset, v.size
    raise KeyError(name)


def read_global(loaded: LoadedObject, name: str, signed: bool = True) -> int | list[int]:
    """A global integer's value, or those of an array of 8-byte ones."""
    raw = global_bytes(loaded, name)
    if len(raw) > 8:
        return [int.from_bytes(raw[i : i + 8], "little", signed=signed) for i in range(0, len(raw), 8)]
    return int.from_bytes(raw, "little", signed=signed)


def global_bytes(loaded: LoadedObject, name: str) -> bytes:
    section, offset, size = global_var(loaded, name)
    m = next(m for m in loaded.maps.values() if m.spec.section == section)
    return m.lookup(bytes(4))[offset : offset + size]
