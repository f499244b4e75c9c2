"""Reading the vectors of the public BPF conformance suite: their sections, and the assembler dialect they are written in.

A vector is a text file with sections: `-- asm` or `-- raw` the program, `-- mem` bytes in hex, `-- result` r0; `#`
begins a comment.
The dialect is ubpf's: `add32 %r1, %r2`, `ldxw %r0, [%r1+4]`, `jeq %r0, 1, +2`, `lock fetch add [%r10-8], %r1`; `exit` names
the first exit as a jump target. Nothing of the suite itself is kept in this repository.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from bpfjit.isa.encoding import ABS, ATOMIC, CALL, EXIT, JA, JA32, LD_IMM64, Insn, X, encode, ld_imm64
from bpfjit.isa.ops import ALU_END, ALU_OPS, ATOMIC_OPS, CMPXCHG, FETCH, JUMP_OPS, XCHG

_ALU = {op.name: op for op in ALU_OPS.values()}
_JUMPS = {op.name: op for op in JUMP_OPS.values()}
_ATOMIC = {op.name: op.imm & ~FETCH for op in ATOMIC_OPS.values()} | {"xchg": XCHG, "cmpxchg": CMPXCHG}
_SIZE = {"w": 0x00, "h": 0x08, "b": 0x10, "dw": 0x18}
_PLACE = re.compile(r"\[%r(\d+)(?:([+-](?:0x)?[0-9a-fA-F]+))?\]")


@dataclass(frozen=True)
class Vector:
    name: str
    code: bytes
    memory: bytes
    result: int


def _imm(text: str) -> int:
    value = int(text, 0) & 0xFFFFFFFF
    return value - (1 << 32) if value >> 31 else value


def _off(text: str) -> int:
    value = int(text, 0) & 0xFFFF
    return value - (1 << 16) if value >> 15 else value


def _reg(text: str) -> int:
    if not text.startswith("%r"):
        raise ValueError(f"{text} is no register")
    return int(text[2:])


def _place(text: str) -> tuple[int, int]:
    m = _PLACE.fullmatch(text)
    if m is None:
        raise ValueError(f"{text} is no place in memory")
    return int(m[1]), _off(m[2] or "0")


def _alu(name: str, args: list[str]) -> Insn | None:
    """`add`, `add32`, `add64`, `movsx832` (8 to 32 bits), `be16`, `swap64`."""
    swap = re.fullmatch(r"(be|le|swap|bswap)(16|32|64)", name)
    if swap:
        code = {"be": ALU_END | 4 | X, "le": ALU_END | 4}.get(swap[1], ALU_END | 7)
        return Insn(code, _reg(args[0]), 0, 0, int(swap[2]))
    m = re.fullmatch(r"(movsx(?:8|16|32)|[a-z]+)(32|64)?", name)
    op = _ALU.get(m[1]) if m else None
    if m is None or op is None:
        return None
    code = op.code | (4 if m[2] == "32" else 7)
    if len(args) == 1:
        return Insn(code, _reg(args[0]))
    if args[1].startswith("%"):
        return Insn(code | X, _reg(args[0]), _reg(args[1]), op.off)
    return Insn(code, _reg(args[0]), 0, op.off, _imm(args[1]))


def _memory(name: str, args: list[str]) -> Insn | None:
    m = re.fullmatch(r"(ldx|ldxs|stx|st)(dw|w|h|b)", name)
    if m is None:
        return None
    if m[1].startswith("ldx"):
        base, off = _place(args[1])
        return Insn((0x61 if m[1] == "ldx" else 0x81) | _SIZE[m[2]], _reg(args[0]), base, off)
    base, off = _place(args[0])
    if m[1] == "stx":
        return Insn(0x63 | _SIZE[m[2]], base, _reg(args[1]), off)
    return Insn(0x62 | _SIZE[m[2]], base, 0, off, _imm(args[1]))


def _lock(words: list[str]) -> Insn:
    fetch = words[0] == "fetch"
    name, place, src = words[1:] if fetch else words
    wide = not name.endswith("32")
    base, off = _place(place)
    imm = _ATOMIC[name.removesuffix("32").removesuffix("64")] | (FETCH if fetch else 0)
    return Insn(3 | ATOMIC | (0x18 if wide else 0), base, _reg(src), off, imm)


def _call(args: list[str]) -> Insn:
    mode, target = args if len(args) == 2 else ("helper", args[0])
    if target.startswith("%"):
        return Insn(CALL | X, _reg(target))
    return Insn(CALL, 0, 1, 0, 0) if mode == "local" else Insn(CALL, 0, 0 if mode == "helper" else 2, 0, _imm(target))


def assemble(lines: list[str]) -> list[Insn]:
    """The program in the suite's dialect. Raises ValueError."""
    out: list[Insn] = []
    labels: dict[str, int] = {}
    jumps: list[tuple[int, str]] = []
    for line in lines:
        name, *args = line.replace(",", " ").split()
        if name.endswith(":"):
            labels[name[:-1]] = len(out)
            continue
        made: Insn | None
        if name == "exit":
            labels.setdefault("exit", len(out))
            made = Insn(EXIT)
        elif name == "lddw":
            out += ld_imm64(_reg(args[0]), int(args[1], 0) & (1 << 64) - 1)
            continue
        elif name in ("ja", "ja32"):
            jumps.append((len(out), args[0]))
            made = Insn(JA if name == "ja" else JA32)
        elif name == "call":
            made = _call(args)
            if made.src == 1:
                jumps.append((len(out), args[1]))
        elif name == "lock":
            made = _lock(args)
        elif name.removesuffix("32") in _JUMPS:
            jumps.append((len(out), args[2]))
            code = _JUMPS[name.removesuffix("32")].code | (6 if name.endswith("32") else 5)
            by_reg = args[1].startswith("%")
            made = Insn(code | X, _reg(args[0]), _reg(args[1])) if by_reg else Insn(code, _reg(args[0]), imm=_imm(args[1]))
        else:
            made = _memory(name, args) or _alu(name, args)
        if made is None:
            raise ValueError(f"'{line}' is no instruction")
        out.append(made)
    for pc, target in jumps:
        distance = int(target, 0) if target[0] in "+-" else labels[target] - pc - 1
        out[pc] = out[pc]._replace(**{"imm" if out[pc].code in (JA32, CALL) else "off": distance})
    return out


def read(path: Path) -> Vector:
    """One vector file. Raises ValueError for what is none."""
    sections: dict[str, list[str]] = {}
    current: list[str] = []
    for raw in path.read_text().splitlines():
        line = raw.split("#", 1)[0].strip()
        if line.startswith("--"):
            current = sections.setdefault(line.removeprefix("--").strip(), [])
        elif line:
            current.append(line)
    if "result" not in sections or not sections.keys() & {"asm", "raw"}:
        raise ValueError(f"{path.name}: no program or no result")
    if "raw" in sections:
        code = b"".join(int(word, 0).to_bytes(8, "little") for word in " ".join(sections["raw"]).split())
    else:
        code = encode(assemble(sections["asm"]))
    memory = bytes(int(word, 16) for word in " ".join(sections.get("mem", [])).split())
    return Vector(path.stem, code, memory, int(sections["result"][0], 0))


def beyond_v4(code: bytes) -> str:
    """Why a program is outside RFC 9669's groups up to cpu v4, or "": calls by register, legacy packet loads."""
    pc = 0
    while pc < len(code):
        if code[pc] == CALL | X:
            return "calls through a register (callx), which no cpu version has"
        if code[pc] & 7 == 0 and code[pc] & 0xE0 in (ABS, ABS << 1):
            return "legacy packet loads"
        pc += 16 if code[pc] == LD_IMM64 else 8
    return ""
