"""Every instruction up to cpu v4 in the interpreter, in native code and on the live kernel, against stated results."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest
from cases import Case, Row, programs, rows

from bpfjit.cli.raw import RawProgram
from bpfjit.isa.asm import assemble
from bpfjit.isa.encoding import Insn, encode

sys.path.insert(0, str(Path(__file__).parent.parent / "differential"))
import engines

ENGINES = ("interp", "jit")
ALU, JUMPS, PROGRAMS = rows("alu.txt"), rows("jumps.txt"), programs()
_LOADS = "r4 = *(u64 *)(r1 +0)\nr3 = *(u64 *)(r1 +8)\nr2 = r4\n"


def _alu(text: str) -> list[Insn]:
    return assemble(f"{_LOADS}{text}\nr0 = r2\nexit")


def _jump(text: str) -> list[Insn]:
    return assemble(f"{_LOADS}r0 = 1\nif {text} goto +1\nr0 = 0\nexit")


def _immediate(row: Row) -> str | None:
    """The row with its source as an immediate, where it fits one that Linux takes too."""
    text, _, source = row.text.rpartition(" ")
    if source not in ("r3", "w3") or row.text.startswith("-"):
        return None
    low = row.src & 0xFFFFFFFF
    imm = low - (1 << 32) if low >> 31 else low
    if source == "r3" and imm & (1 << 64) - 1 != row.src:
        return None
    operator = text.split()[1]
    if operator in ("<<=", ">>=", "s>>=") and not 0 <= imm < (64 if source == "r3" else 32):
        return None
    if operator in ("/=", "s/=", "%=", "s%=") and imm == 0:
        return None
    return f"{text} {imm}"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("text", ALU)
def test_arithmetic_on_registers(text: str, engine: str) -> None:
    with RawProgram(encode(_alu(text)), 16, engine) as program:
        for row in ALU[text]:
            assert program.run(struct.pack("<QQ", row.dst, row.src))[0] == row.result, row


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("text", [t for t in ALU if t.endswith((" r3", " w3"))])
def test_arithmetic_with_immediates(text: str, engine: str) -> None:
    # One program holds them all: it picks the row by a number that only the memory knows.
    picked = [(row, imm) for row in ALU[text] if (imm := _immediate(row)) is not None]
    assert picked
    source = "r4 = *(u64 *)(r1 +0)\nr5 = *(u64 *)(r1 +8)\nr2 = r4\n"
    for i, (_, imm) in enumerate(picked):
        source += f"if r5 != {i:#x} goto next{i}\n{imm}\nr0 = r2\nexit\nnext{i}:\n"
    with RawProgram(encode(assemble(source + "r0 = 0\nexit")), 16, engine) as program:
        for i, (row, imm) in enumerate(picked):
            assert program.run(struct.pack("<QQ", row.dst, i))[0] == row.result, imm


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("text", JUMPS)
def test_conditions(text: str, engine: str) -> None:
    with RawProgram(encode(_jump(text)), 16, engine) as program:
        for row in JUMPS[text]:
            assert program.run(struct.pack("<QQ", row.dst, row.src))[0] == row.result, row


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", PROGRAMS, ids=lambda case: case.name)
def test_programs(case: Case, engine: str) -> None:
    with RawProgram(encode(case.insns), len(case.memory), engine) as program:
        r0, memory = program.run(case.memory)
    assert (hex(r0), memory.hex(" ")) == (hex(case.r0), case.after.hex(" "))


# -- the live kernel -------------------------------------------------------------------------------


def _live(insns: list[Insn], memory: list[bytes]) -> list[tuple[int, bytes]]:
    """The program as a function of a socket filter: r1 and r2 are a map's value and its size, r0 goes into another."""
    bpf = engines.need_live()
    with engines.closing(bpf) as keep:
        size = len(memory[0]) or 8
        result, value = keep(engines.new_array(bpf, 8)), keep(engines.new_array(bpf, size))
        wrapper = assemble(
            f"r1 = map[fd:{value}][0]+0\nr2 = {len(memory[0])}\ncall body\nr6 = r0\nr1 = map[fd:{result}][0]+0\n"
            "*(u64 *)(r1 +0) = r6\nr0 = 0\nexit\nbody:\nexit"
        )
        fd = keep(engines.load(bpf, wrapper[:-1] + insns).fd)
        out = []
        for before in memory:
            engines.set_element(bpf, value, before or bytes(8))
            engines.test_run(bpf, fd)
            out.append((int.from_bytes(engines.element(bpf, result, 8), "little"), engines.element(bpf, value, size)))
        return out


@pytest.mark.parametrize("text", ALU)
def test_linux_agrees_with_the_arithmetic_rows(text: str) -> None:
    found = _live(_alu(text), [struct.pack("<QQ", row.dst, row.src) for row in ALU[text]])
    assert [hex(r0) for r0, _ in found] == [hex(row.result) for row in ALU[text]]


@pytest.mark.parametrize("text", JUMPS)
def test_linux_agrees_with_the_conditions(text: str) -> None:
    found = _live(_jump(text), [struct.pack("<QQ", row.dst, row.src) for row in JUMPS[text]])
    assert [r0 for r0, _ in found] == [row.result for row in JUMPS[text]]


@pytest.mark.parametrize("case", PROGRAMS, ids=lambda case: case.name)
def test_linux_agrees_with_the_programs(case: Case) -> None:
    [(r0, memory)] = _live(list(case.insns), [case.memory])
    assert (hex(r0), memory[: len(case.memory)].hex(" ")) == (hex(case.r0), case.after.hex(" "))
