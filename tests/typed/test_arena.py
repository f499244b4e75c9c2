"""Arenas give programs in native code, in the interpreter and on Linux the same memory, and their user too."""

from __future__ import annotations

import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from typed_programs import ENGINES, Loader, run

from bpfjit.loader import LoadedObject
from bpfjit.loader.compile import compile_c

PAGE = 4096
CHECKS = ("variables", "of_another_map", "missing_pages", "through_null", "atomics", "global_function")
# By program: what it leaves in `out`.
LEAVES = {
    "allocations": [
        *(1, 2, 4, 4, -1, -1, -1, -1, -1, 10, -1, -1, 31, -1, 5, 9),
        *(0, -16, 0, -22, 0, -1, -1, 12, 20),
    ],
    "atomics_on_missing_pages": [5, 6, 7],
    "arithmetic": [0xFFFFFFF8, 0x8, 0xFFFFFFE0],
    "casts": [0x1000, (1 << 44) + 0x1000, 0],
}  # fmt: skip


# Linux's first: the address is one, and the simulated kernels take another where somebody has it.
@pytest.fixture(params=["live", *(e for e in ENGINES if e != "live")])
def obj(request: pytest.FixtureRequest, loaded: Loader) -> LoadedObject:
    if request.param == "live":
        request.getfixturevalue("live")
    return loaded("arena", request.param)


def variable(obj: LoadedObject, name: str, form: str) -> tuple[int, ...]:
    btf = obj.spec.btf
    assert btf is not None
    m = obj.maps["arena.bss"]
    var = next(v for v in btf.type(m.spec.value_type_id).secvars if btf.type(v.type_id).name == name)
    return struct.unpack_from(form, m.lookup(bytes(4)), var.offset)


@pytest.mark.parametrize("prog", CHECKS)
def test_all_is_as_it_should_be(obj: LoadedObject, prog: str) -> None:
    if prog == "variables":
        assert (40).to_bytes(8, "little") in bytes(obj.maps["arena"].memory[:256]), "as the program begins with"
    assert run(obj, prog) == 0


@pytest.mark.parametrize("prog", LEAVES)
def test_program_leaves(obj: LoadedObject, prog: str) -> None:
    count = run(obj, prog)
    found = [v - (1 << 64) if v >> 63 else v for v in variable(obj, "out", f"<{count}Q")]
    found = [v - (1 << 32) if 1 << 31 <= v < 1 << 32 and prog == "allocations" else v for v in found]
    assert found == LEAVES[prog]


def test_a_user_follows_pointers(obj: LoadedObject) -> None:
    assert run(obj, "list_of_nodes") == 0
    (at,) = variable(obj, "number", "<Q")
    memory, values = obj.maps["arena"].memory, []
    while at:
        at, value = struct.unpack_from("<QQ", memory, at - (1 << 44))
        values.append(value)
    assert values == [40, 30, 20, 10]
    assert run(obj, "free_the_list") == 4


def test_a_users_touch_makes_a_page(obj: LoadedObject) -> None:
    memory = obj.maps["arena"].memory
    memory[9 * PAGE : 9 * PAGE + 8] = (77).to_bytes(8, "little")
    assert run(obj, "look") == 0, "which nobody gets again"
    assert variable(obj, "number", "<Q") == (77,)
    assert struct.unpack_from("<QQ", memory, 9 * PAGE) == (77, 78)
    run(obj, "free_nine")
    assert struct.unpack_from("<QQ", memory, 9 * PAGE) == (0, 0), "read, and so made anew"
    assert run(obj, "look") == 0
    assert variable(obj, "number", "<Q") == (0,)
    run(obj, "free_nine")


TOUCH = """
import sys
from bpfjit import live_bpf, open_object
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel
engine, page = sys.argv[2], int(sys.argv[3])
bpf = live_bpf if engine == "live" else Kernel(2, engine=engine, cache=False).bpf
obj = open_object(sys.argv[1]).load(bpf)
raw = bytearray(uapi.TestRun(prog_fd=obj.progs["begin"].fd).pack())
bpf(uapi.BPF_PROG_TEST_RUN, raw)
assert uapi.TestRun.unpack(raw).retval == 0
pointer = int.from_bytes(obj.maps["arena_flags.bss"].lookup(bytes(4)), "little")
assert pointer < 1 << 32 and pointer % 4096 == 0, hex(pointer)
print(obj.maps["arena"].memory[page * 4096], flush=True)
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_flags_of_an_arena(request: pytest.FixtureRequest, tmp_path: Path, engine: str) -> None:
    """Pointers are not converted, and who touches a page that is not there is ended by it."""
    if engine == "live":
        request.getfixturevalue("live")
    obj = tmp_path / "arena_flags.o"
    obj.write_bytes(compile_c(Path(__file__).parent / "arena_flags.bpf.c"))
    for page, code, said in ((2, 0, "42\n"), (1, -signal.SIGSEGV, ""), (5, -signal.SIGSEGV, "")):
        command = [sys.executable, "-c", TOUCH, str(obj), engine, str(page)]
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert (ran.returncode, ran.stdout) == (code, said), ran.stderr
