"""func_info and line_info of PROG_LOAD: what both kernels take, and what both refuse."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from systems import Simulated, System, live_or_skip, load_btf, make_map

from bpfjit.errors import errno_name
from bpfjit.loader.bpf import Buffers
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel

NAMES = b"\0int\0main\0sub\0file.c\0line one\0x\0"
FUNC, LINE = 8, 16
BAD_POINTER = 1
NO_BTF, NO_FD, A_MAP = 0, 999, -1
# Types 1 to 4: int, int (int x), and the functions main and sub.
MAIN, SUB = 3, 4


def at(name: bytes) -> int:
    return NAMES.index(b"\0" + name + b"\0") + 1


def types() -> bytes:
    def type_(name: int, kind: int, vlen: int, last: int) -> bytes:
        return struct.pack("<III", name, kind << 24 | vlen, last)

    body = type_(at(b"int"), 1, 0, 4) + struct.pack("<I", 0x01000020)
    body += type_(0, 13, 1, 1) + struct.pack("<II", at(b"x"), 1)
    body += type_(at(b"main"), 12, 0, 2) + type_(at(b"sub"), 12, 0, 2)
    return struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(body), len(body), len(NAMES)) + body + NAMES


def insn(code: int, regs: int = 0, imm: int = 0) -> bytes:
    return struct.pack("<BBhi", code, regs, 0, imm)


# main: r1 = 0, call sub, exit; sub, at 3: r0 = 0, exit.
CODE = insn(0xB7, 1) + insn(0x85, 0x10, 1) + insn(0x95) + insn(0xB7) + insn(0x95)


def funcs(*records: tuple[int, ...]) -> bytes:
    return b"".join(struct.pack(f"<{len(r)}I", *r) for r in records)


lines = funcs
FILE, TEXT = at(b"file.c"), at(b"line one")
FUNCS = funcs((0, MAIN), (3, SUB))
LINES = lines((0, FILE, TEXT, 1 << 10), (3, FILE, TEXT, 2 << 10))


class Given(NamedTuple):
    func: bytes | int = FUNCS
    line: bytes | int = LINES
    func_size: int = FUNC
    line_size: int = LINE
    btf: int | None = None


CASES: dict[str, tuple[Given, str]] = {
    "both": (Given(), "loaded"),
    "no lines": (Given(line=b""), "loaded"),
    "neither": (Given(func=b"", line=b""), "loaded"),
    "lines without functions": (Given(func=b""), "loaded"),
    "one function of two": (Given(func=funcs((0, MAIN))), "EINVAL"),
    "the first not at 0": (Given(func=funcs((1, MAIN), (3, SUB))), "EINVAL"),
    "functions not in order": (Given(func=funcs((0, MAIN), (0, SUB))), "EINVAL"),
    "no function there": (Given(func=funcs((0, MAIN), (2, SUB))), "EINVAL"),
    "three of two": (Given(func=funcs((0, MAIN), (3, SUB), (4, SUB))), "EINVAL"),
    "a function past the end": (Given(func=funcs((0, MAIN), (9, SUB))), "EINVAL"),
    "an int as function": (Given(func=funcs((0, 1), (3, SUB))), "EINVAL"),
    "no such type": (Given(func=funcs((0, MAIN), (3, 99))), "EINVAL"),
    "short function records": (Given(func_size=4), "EINVAL"),
    "odd function records": (Given(func_size=10), "EINVAL"),
    "no size of function records": (Given(func_size=0), "EINVAL"),
    "huge function records": (Given(func_size=256), "EINVAL"),
    "longer function records": (Given(func=funcs((0, MAIN, 0), (3, SUB, 0)), func_size=12), "loaded"),
    "longer function records, used": (Given(func=funcs((0, MAIN, 7), (3, SUB, 0)), func_size=12), "E2BIG"),
    "functions from nowhere": (Given(func=BAD_POINTER), "EFAULT"),
    "short line records": (Given(line_size=8), "EINVAL"),
    "huge line records": (Given(line_size=256), "EINVAL"),
    "longer line records": (Given(line=lines((0, FILE, TEXT, 1, 0), (3, FILE, TEXT, 1, 0)), line_size=20), "loaded"),
    "longer line records, used": (Given(line=lines((0, FILE, TEXT, 1, 0), (3, FILE, TEXT, 1, 5)), line_size=20), "E2BIG"),
    "lines from nowhere": (Given(line=BAD_POINTER), "EFAULT"),
    "a function without line": (Given(line=lines((0, FILE, TEXT, 1))), "EINVAL"),
    "the first line not at 0": (Given(line=lines((1, FILE, TEXT, 1), (3, FILE, TEXT, 1))), "EINVAL"),
    "lines not in order": (Given(line=lines((0, FILE, TEXT, 1), (0, FILE, TEXT, 1), (3, FILE, TEXT, 1))), "EINVAL"),
    "a line past the end": (Given(line=lines((0, FILE, TEXT, 1), (3, FILE, TEXT, 1), (7, FILE, TEXT, 1))), "EINVAL"),
    "no such file name": (Given(line=lines((0, 9999, TEXT, 1), (3, FILE, TEXT, 1))), "EINVAL"),
    "no such text": (Given(line=lines((0, FILE, 9999, 1), (3, FILE, TEXT, 1))), "EINVAL"),
    "an empty file name": (Given(line=lines((0, 0, TEXT, 1), (3, FILE, TEXT, 1))), "loaded"),
    "no types": (Given(btf=NO_BTF), "EINVAL"),
    "no records, and no types": (Given(func=b"", line=b"", btf=NO_FD), "loaded"),
    "types of no descriptor": (Given(btf=NO_FD), "EBADF"),
    "a map as types": (Given(btf=A_MAP), "EINVAL"),
}


# What the log has of them, where it has anything: some lines end and some do not.
WORDS = {
    "one function of two": "number of funcs in func_info doesn't match number of subprogs\n",
    "the first not at 0": "nonzero insn_off 1 for the first func info record",
    "functions not in order": "same or smaller insn offset (0) than previous func info record (0)",
    "no function there": "func_info BTF section doesn't match subprog layout in BPF program\n",
    "three of two": "number of funcs in func_info doesn't match number of subprogs\n",
    "a function past the end": "func_info BTF section doesn't match subprog layout in BPF program\n",
    "an int as function": "invalid type id 1 in func info",
    "no such type": "invalid type id 99 in func info",
    "short function records": "invalid func info rec size 4\n",
    "odd function records": "invalid func info rec size 10\n",
    "no size of function records": "invalid func info rec size 0\n",
    "huge function records": "invalid func info rec size 256\n",
    "longer function records, used": "nonzero tailing record in func info",
    "longer line records, used": "nonzero tailing record in line_info",
    "a function without line": "missing bpf_line_info for 1 funcs starting from func#1\n",
    "the first line not at 0": "missing bpf_line_info for func#0\n",
    "lines not in order": "Invalid line_info[1].insn_off:0 (prev_offset:0 prog->len:5)\n",
    "a line past the end": "Invalid line_info[2].insn_off:7 (prev_offset:3 prog->len:5)\n",
    "no such file name": "Invalid line_info[0].line_off or .file_name_off\n",
    "no such text": "Invalid line_info[0].line_off or .file_name_off\n",
}


@pytest.fixture(scope="module", params=["sim", "live"])
def system(request: pytest.FixtureRequest) -> Iterator[System]:
    made = Simulated(Kernel(engine="interp", cache=False)) if request.param == "sim" else live_or_skip()
    yield made
    made.close()


class Told(NamedTuple):
    outcome: str
    log: str
    sizes: tuple[int, int]  # of records, as bpf_attr has them afterwards


def load(system: System, given: Given) -> Told:
    keep, log = Buffers(), bytearray(1024)
    blob, a_map = load_btf(system.bpf, types()), make_map(system.bpf)

    def records(what: bytes | int, size: int) -> tuple[int, int, int]:
        """Pointer, count, size of a record; more memory than the records want stands behind them."""
        if isinstance(what, int):
            return what, 2, size
        return (keep.put(what + bytes(600)), max(len(what) // (size or FUNC), 1), size) if what else (0, 0, 0)

    func, line = records(given.func, given.func_size), records(given.line, given.line_size)
    btf = blob if given.btf is None else a_map if given.btf == A_MAP else given.btf
    attr = uapi.ProgLoad(
        prog_type=uapi.BPF_PROG_TYPE_SOCKET_FILTER,
        insn_cnt=len(CODE) // 8,
        insns=keep.put(CODE),
        license=keep.put(b"GPL\0"),
        prog_btf_fd=btf,
        func_info=func[0],
        func_info_cnt=func[1],
        func_info_rec_size=func[2],
        line_info=line[0],
        line_info_cnt=line[1],
        line_info_rec_size=line[2],
        log_level=1,
        log_size=len(log),
        log_buf=keep.put(log),
    )
    raw, outcome = bytearray(attr.pack()), "loaded"
    try:
        system.bpf.close(system.bpf(uapi.BPF_PROG_LOAD, raw))
    except OSError as e:
        outcome = errno_name(e.errno or 0)
    system.bpf.close(blob)
    system.bpf.close(a_map)
    after = uapi.ProgLoad.unpack(raw)
    said = log[: log.index(b"processed")].decode()
    return Told(outcome, said, (after.func_info_rec_size, after.line_info_rec_size))


@pytest.mark.parametrize("name", CASES)
def test_records(system: System, name: str) -> None:
    given, wanted = CASES[name]
    told = load(system, given)
    assert (told.outcome, told.log) == (wanted, WORDS.get(name, ""))
    # How long records may be is told of those that have too much.
    size = {"longer function records, used": (FUNC, LINE), "longer line records, used": (FUNC, LINE)}.get(name)
    assert size is None or told.sizes == size
