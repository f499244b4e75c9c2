"""core_relos of PROG_LOAD: which records both kernels take, and the last that the log says of those that they refuse."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest
from systems import Simulated, System, live_or_skip, load_btf

from bpfjit.errors import errno_name
from bpfjit.loader.bpf import Buffers
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel

NAMES = b"\0int\0main\0task_struct\0pid\x000:0\x000:7\0bad\0nobodys\0f\x000\0"
INT, PROTO, MAIN, TASK, NOBODYS = range(1, 6)


def at(name: bytes) -> int:
    return NAMES.index(b"\0" + name + b"\0") + 1


def types() -> bytes:
    """int, int (void), the function main, and two structures of one int: one that kernels have, and one of nobody's."""

    def type_(name: int, kind: int, vlen: int, last: int) -> bytes:
        return struct.pack("<III", name, kind << 24 | vlen, last)

    body = (
        type_(at(b"int"), 1, 0, 4) + struct.pack("<I", 0x01000020) + type_(0, 13, 0, INT) + type_(at(b"main"), 12, 0, PROTO)
    )
    for name, member in ((b"task_struct", b"pid"), (b"nobodys", b"f")):
        body += type_(at(name), 4, 1, 4) + struct.pack("<III", at(member), INT, 0)
    return struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(body), len(body), len(NAMES)) + body + NAMES


def insn(code: int, regs: int = 0, imm: int = 0) -> bytes:
    return struct.pack("<BBhi", code, regs, 0, imm)


CODE = insn(0xB7) + insn(0xB7) + insn(0xBF, 0x16) + insn(0x95)
FIELD, INDEX_7, BAD, WHOLE = at(b"0:0"), at(b"0:7"), at(b"bad"), at(b"0")
OFFSET, EXISTS, TYPE_EXISTS, TYPE_SIZE = 0, 2, 8, 9
FROM_NOWHERE = ((0, TASK, FIELD, OFFSET),)
WHO = "prog '': relo #0: "
TASK_OF = f"{WHO}parsing [4] STRUCT task_struct + "
MISFIT = f"{WHO}unexpected insn #0 (ALU/ALU64) value: got 0, exp "

# Records, the size of each -> outcome, the last that is said.
CASES: dict[str, tuple[tuple[tuple[int, ...], ...], int, str, str]] = {
    "a field": (((0, TASK, FIELD, OFFSET),), 16, "loaded", ""),
    "short records": (((0, TASK, FIELD, OFFSET),), 12, "EINVAL", ""),
    "odd records": (((0, TASK, FIELD, OFFSET),), 18, "EINVAL", ""),
    "huge records": (((0, TASK, FIELD, OFFSET),), 256, "EINVAL", ""),
    "longer records": (((0, TASK, FIELD, OFFSET, 0),), 20, "loaded", ""),
    "longer records, used": (((0, TASK, FIELD, OFFSET, 5),), 20, "E2BIG", "nonzero tailing record in core_relo"),
    "from nowhere": (FROM_NOWHERE, 16, "EFAULT", ""),
    "within an instruction": (((4, TASK, FIELD, 0),), 16, "EINVAL", "Invalid core_relo[0].insn_off:4 prog->len:4"),
    "past the end": (((32, TASK, FIELD, 0),), 16, "EINVAL", "Invalid core_relo[0].insn_off:32 prog->len:4"),
    "of void": (((0, 0, FIELD, OFFSET),), 16, "EINVAL", "target candidate search failed for 0"),
    "no such type": (((0, 99, FIELD, OFFSET),), 16, "EINVAL", "relo #0: bad type id 99"),
    "the second": (((0, TASK, FIELD, OFFSET), (8, 99, FIELD, 0)), 16, "EINVAL", "relo #1: bad type id 99"),
    "no such text": (((0, TASK, 9999, OFFSET),), 16, "EINVAL", f"{TASK_OF}<?> failed: -22"),
    "empty text": (((0, TASK, 0, OFFSET),), 16, "EINVAL", f"{TASK_OF} failed: -22"),
    "other text": (((0, TASK, BAD, OFFSET),), 16, "EINVAL", f"{TASK_OF}bad failed: -22"),
    "no such member": (((0, TASK, INDEX_7, OFFSET),), 16, "EINVAL", f"{TASK_OF}0:7 failed: -22"),
    "no such kind": (((0, TASK, FIELD, 99),), 16, "EINVAL", f"{TASK_OF}0:0 failed: -22"),
    "of an int": (((0, INT, FIELD, OFFSET),), 16, "EINVAL", f"{WHO}parsing [1] INT int + 0:0 failed: -22"),
    "of a function": (((0, MAIN, FIELD, OFFSET),), 16, "EINVAL", f"{WHO}parsing [3] FUNC main + 0:0 failed: -22"),
    "nobody's field": (((0, NOBODYS, FIELD, OFFSET),), 16, "EINVAL", "invalid func unknown#195896080"),
    "another value": (((0, NOBODYS, FIELD, EXISTS),), 16, "EINVAL", f"{MISFIT}1 -> 0"),
    "another value of a type": (((0, TASK, WHOLE, TYPE_EXISTS),), 16, "EINVAL", f"{MISFIT}1 -> 1"),
    "another size": (((0, NOBODYS, WHOLE, TYPE_SIZE),), 16, "EINVAL", f"{MISFIT}4 -> 0"),
    "at an exit": (
        ((24, TASK, FIELD, OFFSET),),
        16,
        "EINVAL",
        f"{WHO}trying to relocate unrecognized insn #3, code:0x95, src:0x0, dst:0x0, off:0x0, imm:0x0",
    ),
}


@pytest.fixture(scope="module", params=["sim", "live"])
def system(request: pytest.FixtureRequest) -> Iterator[System]:
    made = Simulated(Kernel(engine="interp", cache=False)) if request.param == "sim" else live_or_skip()
    yield made
    made.close()


@pytest.mark.parametrize("name", CASES)
def test_relocations(system: System, name: str) -> None:
    records, size, outcome, last = CASES[name]
    keep, blob, log = Buffers(), load_btf(system.bpf, types()), bytearray(4096)
    data = b"".join(struct.pack(f"<{len(r)}I", *r) for r in records)
    attr = uapi.ProgLoad(
        prog_type=uapi.BPF_PROG_TYPE_SOCKET_FILTER,
        prog_name=b"p",
        insn_cnt=len(CODE) // 8,
        insns=keep.put(CODE),
        license=keep.put(b"GPL\0"),
        prog_btf_fd=blob,
        func_info=keep.put(struct.pack("<II", 0, MAIN)),
        func_info_cnt=1,
        func_info_rec_size=8,
        core_relos=keep.put(data + bytes(300)) if records is not FROM_NOWHERE else 1,
        core_relo_cnt=len(records),
        core_relo_rec_size=size,
        log_level=1,
        log_size=len(log),
        log_buf=keep.put(log),
    )
    raw, told = bytearray(attr.pack()), "loaded"
    try:
        system.bpf.close(system.bpf(uapi.BPF_PROG_LOAD, raw))
    except OSError as e:
        told = errno_name(e.errno or 0)
    system.bpf.close(blob)
    said = log[: log.index(b"processed")].decode().splitlines()
    assert (told, said[-1] if said else "") == (outcome, last)
    assert uapi.ProgLoad.unpack(raw).core_relo_rec_size == (16 if outcome == "E2BIG" else size), (
        "what is known of them is told"
    )
