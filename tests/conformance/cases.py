"""Our own ISA cases, read from cases/*.txt: data that anyone can read, judged by whoever runs them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bpfjit.isa.asm import assemble
from bpfjit.isa.encoding import Insn

CASES = Path(__file__).parent / "cases"


@dataclass(frozen=True)
class Row:
    """One line of alu.txt or jumps.txt: an instruction on r2 and r3, and what it gives."""

    text: str
    dst: int
    src: int
    result: int


@dataclass(frozen=True)
class Case:
    name: str
    insns: tuple[Insn, ...]
    memory: bytes
    after: bytes
    r0: int


def rows(name: str) -> dict[str, list[Row]]:
    """The rows of cases/NAME by instruction text."""
    found: dict[str, list[Row]] = {}
    for line in (CASES / name).read_text().splitlines():
        if line and not line.startswith("#"):
            text, dst, src, result = (part.strip() for part in line.split(" | "))
            found.setdefault(text, []).append(Row(text, int(dst, 16), int(src, 16), int(result, 0)))
    return found


def programs() -> list[Case]:
    """The programs of cases/programs.txt."""
    found = []
    for block in (CASES / "programs.txt").read_text().split("\n== ")[1:]:
        name, *lines = block.rstrip().splitlines()
        given = {"mem": "", "after": "", "r0": ""}
        code = []
        for line in lines:
            word, _, rest = line.partition(" ")
            if word in given and (word != "r0" or rest.startswith("0x")):
                given[word] = rest
            else:
                code.append(line)
        memory = bytes.fromhex(given["mem"])
        after = bytes.fromhex(given["after"]) if given["after"] else memory
        found.append(Case(name, tuple(assemble("\n".join(code))), memory, after, int(given["r0"].replace(" ", ""), 16)))
    return found
