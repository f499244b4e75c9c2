"""bpf_get_func_arg() and its like, and bpf_find_vma(): in native code, in the interpreter, and (the latter) on Linux.

Nothing is attached to the real system: there the programs are loaded, and run where they need not be attached.
"""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path

import pytest

from bpfjit import live_bpf, open_object
from bpfjit.loader import LoadedObject
from bpfjit.loader.bpf import Buffers
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel
from runtime import ffi

SOURCE = Path(__file__).parent / "attached.bpf.c"
NAMES = ("count", "first", "last", "behind", "returned", "entered")


def test_run(obj: LoadedObject, prog: str, ctx: bytes = b"") -> int:
    buffers = Buffers()
    attr = uapi.TestRun(prog_fd=obj.progs[prog].fd)
    if ctx:
        attr.ctx_in, attr.ctx_size_in = buffers.put(ctx), len(ctx)
    raw = bytearray(attr.pack())
    obj.bpf(uapi.BPF_PROG_TEST_RUN, raw)
    return uapi.TestRun.unpack(raw).retval


test_run.__test__ = False  # type: ignore[attr-defined]


def seen(obj: LoadedObject) -> dict[str, int]:
    """The program's numbers."""
    bss = next(m for m in obj.maps.values() if m.spec.section == ".bss")
    btf = obj.spec.btf
    assert btf is not None
    data = bss.lookup(bytes(4))
    found = {}
    for var in btf.type(bss.spec.value_type_id).secvars:
        found[btf.type(var.type_id).name] = int.from_bytes(data[var.offset : var.offset + 8], "little", signed=True)
    return found


@pytest.mark.parametrize("engine", ["jit", "interp"])
@pytest.mark.parametrize(("prog", "returned"), [("at_the_beginning", -errno.EOPNOTSUPP), ("at_the_end", 15)])
def test_a_program_looks_at_the_function_it_is_attached_to(engine: str, prog: str, returned: int) -> None:
    with Kernel(2, engine=engine, cache=False) as kernel, open_object(SOURCE).load(kernel.bpf) as obj:
        obj.attach_prog(obj.progs[prog])
        test_run(obj, prog)
        assert seen(obj) == {
            "count": 3,
            "first": 4,
            "last": 6,
            "behind": -errno.EINVAL,
            "returned": returned,
            "entered": 0,
        }


def find(obj: LoadedObject, addr: int, flags: int = 0) -> int:
    return test_run(obj, "area_of_an_address", struct.pack("<QQ", addr, flags))


@pytest.mark.parametrize("engine", ["jit", "interp", "live"])
def test_the_area_of_an_address_is_found(request: pytest.FixtureRequest, engine: str) -> None:
    memory = ffi.new("char[]", 64)
    addr = int(ffi.cast("uintptr_t", memory))
    if engine == "live":
        request.getfixturevalue("live")
        bpf = live_bpf
    else:
        kernel = Kernel(2, engine=engine, cache=False)
        kernel.tasks.create(os.getpid(), "me").mm.add(addr & -4096, (addr & -4096) + 8192, 0)
        bpf = kernel.bpf
    with LoadedObject(open_object(SOURCE), bpf) as obj:
        obj.create_maps()
        obj.progs["area_of_an_address"] = obj.load_prog(obj.object.progs["area_of_an_address"])
        assert find(obj, addr) == 42
        assert find(obj, 16) == errno.ENOENT
        assert find(obj, addr, 1) == errno.EINVAL
