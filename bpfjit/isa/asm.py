"""Text as instructions: the inverse of text.py, with labels and the names of helpers.

One instruction a line, in the form of the kernel's verifier log; the log's own `12: (b7)` before and
anything from `;` on are ignored. A label is a line `name:`. Jumps and calls go to `pc+3`, `+3` or a label,
`r2 = &name` is the address of the function at a label; helpers are called by name or number (`call bpf_loop#181`,
`call bpf_loop`, `call #181`). As in the log, `r1 = 5` is a move of 32 bits sign-extended and `r1 = 0x5` (or
`r1 = 5 ll`) a ld_imm64.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from ..dataclass import dataclass, field
from ..spec.helpers import HELPERS
from ..uapi import bpf as uapi
from .encoding import (
    ABS,
    ALU,
    ALU64,
    ATOMIC,
    CALL,
    EXIT,
    IND,
    JA,
    JA32,
    JCOND,
    JMP,
    JMP32,
    LD,
    LD_IMM64,
    LDX,
    MEM,
    MEMSX,
    SIZE_BYTES,
    ST,
    STX,
    U32,
    Insn,
    X,
    ld_imm64,
)
from .ops import ALU_END, ALU_OPS, ATOMIC_OPS, CMPXCHG, FETCH, JUMP_OPS, LOAD_ACQ, STORE_REL, XCHG

_SIZE_CODE = {size * 8: code for code, size in SIZE_BYTES.items()}
_HELPER_ID = {h.name: h.id for h in HELPERS}
_ALU_BY_SYMBOL = {op.symbol: op for op in ALU_OPS.values() if op.name != "neg"}
_JUMP_BY_SYMBOL = {op.symbol: op for op in JUMP_OPS.values()}
_ATOMIC_BY_NAME = {op.name: op for op in ATOMIC_OPS.values()}
_ATOMIC_BY_SYMBOL = {op.symbol: op for op in ATOMIC_OPS.values()}

Made = tuple[Insn, ...]


class AsmError(ValueError):
    """A line that is no instruction: `line` is its number, from 1."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(f"line {line}: {what}")
        self.line = line


@dataclass(slots=True)
class _Jump:
    """Where an instruction goes: a number of slots, or a label that is looked up when all are known."""

    target: str
    field: str = "off"


@dataclass(slots=True)
class _Source:
    insns: list[Insn] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    jumps: list[tuple[int, int, _Jump]] = field(default_factory=list)  # (line, pc, where)


def _signed(value: int, bits: int, what: str) -> int:
    """A field's value: `bits` wide, given signed or unsigned."""
    if not -(1 << (bits - 1)) <= value < 1 << bits:
        raise ValueError(f"{what} {value} does not fit {bits} bits")
    return value - (1 << bits) if value >> (bits - 1) and value > 0 else value


def _number(text: str) -> int:
    return int(text, 0)


def _imm(text: str) -> int:
    return _signed(_number(text), 32, "immediate")


def _off(text: str | None) -> int:
    value = _number(text.replace(" ", "")) if text else 0
    if not -(1 << 15) <= value < 1 << 15:
        raise ValueError(f"offset {value} does not fit 16 bits")
    return value


def _reg(text: str) -> int:
    number = int(text)
    if number > 10:
        raise ValueError(f"no register {number}")
    return number


def _alu(m: re.Match[str]) -> Made:
    op = _ALU_BY_SYMBOL[m["op"]]
    cls = ALU if m["w"] == "w" else ALU64
    if m["src"] is not None:
        if m["v"] != m["w"]:
            raise ValueError("both registers are of one width, r or w")
        return (Insn(op.code | cls | X, _reg(m["dst"]), _reg(m["src"]), op.off),)
    if op.name == "mov" and cls == ALU64 and (m["ll"] or m["imm"].lower().startswith("0x")):
        return ld_imm64(_reg(m["dst"]), _number(m["imm"]) & (1 << 64) - 1)
    if op.off > 1 or m["ll"]:
        raise ValueError("this takes no immediate")
    return (Insn(op.code | cls, _reg(m["dst"]), 0, op.off, _imm(m["imm"])),)


def _cast(m: re.Match[str]) -> Made:
    return (Insn(ALU64 | 0xB0 | X, _reg(m["dst"]), _reg(m["src"]), 1, _number(m["to"]) << 16 | _number(m["of"])),)


def _neg(m: re.Match[str]) -> Made:
    return (Insn(0x80 | (ALU if m["w"] == "w" else ALU64), _reg(m["dst"])),)


def _swap(m: re.Match[str]) -> Made:
    cls = ALU64 if m["kind"] == "bswap" else ALU
    return (Insn(ALU_END | cls | (X if m["kind"] == "be" else 0), _reg(m["dst"]), 0, 0, int(m["bits"])),)


_MAP_SOURCES = {
    ("fd", False): uapi.BPF_PSEUDO_MAP_FD,
    ("fd", True): uapi.BPF_PSEUDO_MAP_VALUE,
    ("idx", False): uapi.BPF_PSEUDO_MAP_IDX,
    ("idx", True): uapi.BPF_PSEUDO_MAP_IDX_VALUE,
}


def _reference(m: re.Match[str]) -> Made:
    if m["rel"]:
        low = _signed(_number(m["rel"]), 32, "offset")
        return Insn(LD_IMM64, _reg(m["dst"]), uapi.BPF_PSEUDO_FUNC, 0, low), Insn(0)
    src = _MAP_SOURCES[m["by"], m["voff"] is not None]
    return ld_imm64(_reg(m["dst"]), int(m["fd"]) | (int(m["voff"] or 0) & U32) << 32, src)


def _address(m: re.Match[str]) -> tuple[Made, _Jump]:
    return (Insn(LD_IMM64, _reg(m["dst"]), uapi.BPF_PSEUDO_FUNC), Insn(0)), _Jump(m["to"], "imm")


def _load(m: re.Match[str]) -> Made:
    code = LDX | (MEMSX if m["sign"] == "s" else MEM) | _SIZE_CODE[int(m["size"])]
    if m["sign"] == "s" and m["size"] == "64":
        raise ValueError("a load of 64 bits has no sign to extend")
    return (Insn(code, _reg(m["dst"]), _reg(m["base"]), _off(m["off"])),)


def _store(m: re.Match[str]) -> Made:
    size = _SIZE_CODE[int(m["size"])]
    if m["src"] is not None:
        return (Insn(STX | MEM | size, _reg(m["base"]), _reg(m["src"]), _off(m["off"])),)
    return (Insn(ST | MEM | size, _reg(m["base"]), 0, _off(m["off"]), _imm(m["imm"])),)


def _atomic(m: re.Match[str], imm: int, dst: str, src: str) -> Made:
    return (Insn(STX | ATOMIC | _SIZE_CODE[int(m["size"])], _reg(m[dst]), _reg(m[src]), _off(m["off"]), imm),)


def _lock(m: re.Match[str]) -> Made:
    return _atomic(m, _ATOMIC_BY_SYMBOL[m["op"]].imm & ~FETCH, "base", "src")


def _fetching(m: re.Match[str]) -> Made:
    if m["dst"] != m["src"] or (m["wide"] == "64") != (m["size"] == "64"):
        raise ValueError("the fetched value goes into the operand's register, and both sizes agree")
    return _atomic(m, XCHG if m["op"] == "xchg" else _ATOMIC_BY_NAME[m["op"][6:]].imm | FETCH, "base", "src")


def _jump(m: re.Match[str]) -> tuple[Made, _Jump]:
    op, cls = _JUMP_BY_SYMBOL[m["op"]], JMP32 if m["w"] == "w" else JMP
    if m["src"] is None:
        return (Insn(op.code | cls, _reg(m["dst"]), 0, 0, _imm(m["imm"])),), _Jump(m["to"])
    if m["v"] != m["w"]:
        raise ValueError("both registers are of one width, r or w")
    return (Insn(op.code | cls | X, _reg(m["dst"]), _reg(m["src"])),), _Jump(m["to"])


_GOTO = {"goto": (JA, "off"), "gotol": (JA32, "imm"), "may_goto": (JCOND, "off")}


def _goto(m: re.Match[str]) -> tuple[Made, _Jump]:
    code, where = _GOTO[m["kind"]]
    return (Insn(code),), _Jump(m["to"], where)


def _helper(m: re.Match[str]) -> Made:
    return (Insn(CALL, 0, 2 if m["name"] == "kernel-function" else 0, 0, _imm(m["id"])),)


def _packet(m: re.Match[str]) -> Made:
    mode = ABS if m["src"] is None else IND
    return (Insn(LD | mode | _SIZE_CODE[int(m["size"])], 0, _reg(m["src"] or "0"), 0, _imm(m["imm"].replace(" ", ""))),)


def _either(words: Iterable[str]) -> str:
    return "|".join(re.escape(w) for w in sorted(words, key=len, reverse=True))


_NUM, _TO = r"-?(?:0[xX][0-9a-fA-F]+|\d+)", r"(?P<to>(?:pc)?[+-]\d+|[A-Za-z_.][\w.]*)"
_PLACE = r"\((?P<sign>[us])(?P<size>8|16|32|64) \*\)\(r(?P<base>\d+) ?(?P<off>[+-] ?\d+)?\)"
_SYMBOLS = _either(s for s in _ALU_BY_SYMBOL if not s.endswith(")"))
_HELPER_NAMES = _either(_HELPER_ID)
_OPERAND = rf"(?:(?P<v>[rw])(?P<src>\d+)|(?P<imm>{_NUM}))"

# What a whole line may look like, and what it makes. The first that fits is taken.
_FORMS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], Made | tuple[Made, _Jump]]], ...] = tuple(
    (re.compile(pattern), make)
    for pattern, make in (
        (r"exit", lambda m: (Insn(EXIT),)),
        (rf"(?P<w>[rw])(?P<dst>\d+) (?P<op>{_SYMBOLS}) {_OPERAND}(?P<ll> ?ll)?", _alu),
        (rf"(?P<w>[rw])(?P<dst>\d+) (?P<op>= \(s(?:8|16|32)\)) ?{_OPERAND}(?P<ll>)", _alu),
        (rf"r(?P<dst>\d+) = addr_space_cast\(r(?P<src>\d+), ?(?P<to>{_NUM}), ?(?P<of>{_NUM})\)", _cast),
        (r"(?P<w>[rw])(?P<dst>\d+) = -(?P=w)(?P=dst)", _neg),
        (r"r(?P<dst>\d+) = (?P<kind>bswap|le|be)(?P<bits>16|32|64) r(?P=dst)", _swap),
        (
            r"r(?P<dst>\d+) = (?:map\[(?P<by>fd|idx):(?P<fd>\d+)\](?:\[0\]\+(?P<voff>\d+))?"
            rf"|subprog\[(?P<rel>[+]?{_NUM})\])",
            _reference,
        ),
        (rf"r(?P<dst>\d+) = \*{_PLACE}", _load),
        (rf"\*{_PLACE} = (?:r(?P<src>\d+)|(?P<imm>{_NUM}))", _store),
        (rf"lock \*{_PLACE} (?P<op>\+=|\|=|&=|\^=) r(?P<src>\d+)", _lock),
        (
            rf"r(?P<dst>\d+) = atomic(?P<wide>64)?_(?P<op>xchg|fetch_(?:add|or|and|xor))\({_PLACE}, r(?P<src>\d+)\)",
            _fetching,
        ),
        (rf"r0 = atomic(?:64)?_cmpxchg\({_PLACE}, r0, r(?P<src>\d+)\)", lambda m: _atomic(m, CMPXCHG, "base", "src")),
        (rf"r(?P<dst>\d+) = load_acquire\({_PLACE}\)", lambda m: _atomic(m, LOAD_ACQ, "dst", "base")),
        (rf"store_release\({_PLACE}, r(?P<src>\d+)\)", lambda m: _atomic(m, STORE_REL, "base", "src")),
        (rf"if (?P<w>[rw])(?P<dst>\d+) (?P<op>{_either(_JUMP_BY_SYMBOL)}) {_OPERAND} goto {_TO}", _jump),
        (rf"(?P<kind>goto|gotol|may_goto) {_TO}", _goto),
        (rf"call (?P<name>[\w-]+)?#(?P<id>{_NUM})", _helper),
        (rf"call bpf_(?P<name>{_HELPER_NAMES})", lambda m: (Insn(CALL, imm=_HELPER_ID[m["name"]]),)),
        (rf"call {_TO}", lambda m: ((Insn(CALL, 0, uapi.BPF_PSEUDO_CALL),), _Jump(m["to"], "imm"))),
        (rf"r0 = \*\(u(?P<size>8|16|32) \*\)skb\[(?:r(?P<src>\d+) \+ )?(?P<imm>{_NUM})\]", _packet),
        (r"r(?P<dst>\d+) = &(?P<to>[A-Za-z_.][\w.]*)", _address),
    )
)


_LOG_PREFIX = re.compile(r"\d+: \([0-9a-f]{2}\) ")
_LABEL = re.compile(r"([A-Za-z_.][\w.]*):")


def _line(source: _Source, number: int, text: str) -> None:
    label = _LABEL.fullmatch(text)
    if label:
        if label[1] in source.labels:
            raise AsmError(number, f"label {label[1]} is there already")
        source.labels[label[1]] = len(source.insns)
        return
    for pattern, make in _FORMS:
        m = pattern.fullmatch(text)
        if m is None:
            continue
        try:
            made = make(m)
        except ValueError as e:
            raise AsmError(number, f"'{text}': {e}") from None
        if isinstance(made[0], Insn):
            source.insns += made
        else:
            insns, jump = made
            source.jumps.append((number, len(source.insns), jump))
            source.insns += insns
        return
    raise AsmError(number, f"'{text}' is no instruction")


def assemble(text: str) -> list[Insn]:
    """The instructions that `text` spells, one a line. Raises AsmError naming the line."""
    source = _Source()
    for number, raw in enumerate(text.splitlines(), 1):
        line = _LOG_PREFIX.sub("", " ".join(raw.split(";", 1)[0].split()), count=1)
        if line:
            _line(source, number, line)
    for number, pc, jump in source.jumps:
        name, bits = jump.target, 16 if jump.field == "off" else 32
        if name in source.labels:
            distance = source.labels[name] - pc - 1
        elif re.fullmatch(r"(?:pc)?[+-]\d+", name):
            distance = int(name.removeprefix("pc"))
        else:
            raise AsmError(number, f"no label {name}")
        if not -(1 << (bits - 1)) <= distance < 1 << (bits - 1):
            raise AsmError(number, f"a jump of {distance} does not fit {bits} bits")
        source.insns[pc] = source.insns[pc]._replace(**{jump.field: distance})
    return source.insns
