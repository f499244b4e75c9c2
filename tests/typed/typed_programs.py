"""Running the programs of this directory."""

from __future__ import annotations

from collections.abc import Callable

from bpfjit.loader import LoadedObject
from bpfjit.loader.bpf import Buffers
from bpfjit.uapi import bpf as uapi

ENGINES = ("jit", "interp", "live")
Loader = Callable[[str, str], LoadedObject]


def set_global(loaded: LoadedObject, name: str, value: int) -> None:
    """Set an int variable of the program's, if it has one of that name."""
    btf = loaded.spec.btf
    assert btf is not None
    for m in loaded.maps.values():
        for var in btf.type(m.spec.value_type_id).secvars if m.spec.section in (".data", ".bss") else ():
            if btf.type(var.type_id).name == name:
                data = m.lookup(bytes(4))
                m.update(bytes(4), data[: var.offset] + value.to_bytes(4, "little") + data[var.offset + 4 :])


def run(loaded: LoadedObject, prog: str, data: bytes = b"", ctx: bytes = b"") -> int:
    buffers = Buffers()
    attr = uapi.TestRun(prog_fd=loaded.progs[prog].fd, data_in=buffers.put(data), data_size_in=len(data))
    if ctx:
        attr.ctx_in, attr.ctx_size_in = buffers.put(ctx), len(ctx)
    raw = bytearray(attr.pack())
    loaded.bpf(uapi.BPF_PROG_TEST_RUN, raw)
    retval = uapi.TestRun.unpack(raw).retval
    return retval - (1 << 32) if retval >> 31 else retval
