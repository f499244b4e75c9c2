"""A small assembler for verifier cases: one instruction a line (or between semicolons), in the form of Linux's log.

r1 = 5              w1 += r2            r1 = (s8) r2         r1 = be16 r1        r1 = 0x123456789 ll
r1 = *(u32 *)(r2 + 4)                   *(u64 *)(r10 - 8) = r1                   r1 = *(s8 *)(r10 - 1)
lock *(u64 *)(r10 - 8) fetch_add r1     if r1 s> 5 goto out  goto +2             gotol out
r1 = map[name]      r1 = value[name] + 4                     r1 = func[label]
call map_lookup_elem                    call fn label        call #999           exit
r0 = packet 16 12                       r0 = packet 8 r2             may_goto out        (LD_ABS, LD_IND)
r1 = addr_space_cast(r2, 0, 1)
call kfunc bpf_task_acquire             r2 = struct[task_struct]                 (a BTF id of the kernel's)
.raw 0500000000000000                   label:
*(u32 *)(r1 + off(task_struct.pid))     an offset taken from the kernel's BTF
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from bpfjit.btf import Kind
from bpfjit.isa import encoding as enc
from bpfjit.isa.encoding import Insn, decode, ld_imm64
from bpfjit.isa.ops import ALU_OPS, ATOMIC_OPS, CMPXCHG, FETCH, JUMP_OPS, LOAD_ACQ, STORE_REL, XCHG
from bpfjit.spec.helpers import HELPERS
from bpfjit.uapi import bpf as uapi

_ALU = {op.symbol: op for op in ALU_OPS.values() if op.symbol.endswith("=") and op.symbol != "="}
_MOVSX = {"s8": 8, "s16": 16, "s32": 32}
_JUMP = {op.symbol: op.code for op in JUMP_OPS.values()}
_SIZE = {"8": enc.B, "16": enc.H, "32": enc.W, "64": enc.DW}
_HELPER = {h.name: h.id for h in HELPERS}
_ATOMIC = {("fetch_" if imm & FETCH and op.name != "xchg" else "") + op.name: imm for imm, op in ATOMIC_OPS.items()}
_ATOMIC |= {"xchg": XCHG, "cmpxchg": CMPXCHG, "store_release": STORE_REL}

_NUM = r"[+-]?\s*(?:0x[0-9a-f]+|\d+)"
_PLACE = r"\*\(([us])(8|16|32|64) \*\)\(r(\d+)\s*([^)]*(?:\([^)]*\))?)\)"


@dataclass
class Code:
    """Assembled instructions; `maps`: which map a ld_imm64 refers to; `functions`: the labels that are called."""

    insns: list[Insn] = field(default_factory=list)
    maps: dict[int, tuple[str, int | None]] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    functions: set[str] = field(default_factory=set)


def _number(text: str) -> int:
    return int(text.replace(" ", ""), 0)


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


class _Assembler:
    def __init__(self, offset_of: Callable[[str], int], id_of: Callable[[Kind, str], int]) -> None:
        self.code = Code()
        self.labels = self.code.labels
        self.fixups: list[tuple[int, str, str]] = []
        self.offset_of = offset_of
        self.id_of = id_of

    def add(self, *insns: Insn) -> None:
        self.code.insns.extend(insns)

    def target(self, kind: str, text: str) -> None:
        """Let the instruction that comes next go to a label or by a number of instructions."""
        self.fixups.append((len(self.code.insns), kind, text.strip()))

    def line(self, s: str) -> None:
        for pattern, action in _FORMS:
            m = pattern.fullmatch(s)
            if m:
                action(self, *m.groups())
                return
        raise ValueError(f"cannot assemble {s!r}")

    def off(self, text: str) -> int:
        text = text.strip()
        total = 0
        for sign, part in re.findall(r"([+-]?)\s*(off\([^)]*\)|0x[0-9a-f]+|\d+)", text):
            value = self.offset_of(part[4:-1]) if part.startswith("off(") else int(part, 0)
            total += -value if sign == "-" else value
        return total

    def finish(self) -> Code:
        for pc, kind, text in self.fixups:
            away = int(text) if re.fullmatch(r"[+-]\d+", text) else self.labels[text] - pc - 1
            insn = self.code.insns[pc]
            self.code.insns[pc] = insn._replace(off=away) if kind == "off" else insn._replace(imm=away)
        return self.code


def _exit(a: _Assembler) -> None:
    a.add(Insn(enc.EXIT))


def _raw(a: _Assembler, text: str) -> None:
    a.add(*decode(bytes.fromhex(text.replace(" ", ""))))


def _call(a: _Assembler, what: str) -> None:
    a.add(Insn(enc.CALL, imm=int(what[1:]) if what.startswith("#") else _HELPER[what]))


def _call_kfunc(a: _Assembler, name: str) -> None:
    a.add(Insn(enc.CALL, src=uapi.BPF_PSEUDO_KFUNC_CALL, imm=a.id_of(Kind.FUNC, name)))


def _cast(a: _Assembler, dst: str, src: str, to: str, of: str) -> None:
    a.add(Insn(enc.ALU64 | 0xB0 | enc.X, int(dst), int(src), 1, int(to) << 16 | int(of)))


def _struct_id(a: _Assembler, dst: str, name: str) -> None:
    a.add(Insn(enc.ALU64 | 0xB0, int(dst), imm=a.id_of(Kind.STRUCT, name)))


def _call_fn(a: _Assembler, label: str) -> None:
    a.target("imm", label)
    a.code.functions.add(label)
    a.add(Insn(enc.CALL, src=uapi.BPF_PSEUDO_CALL))


def _goto(a: _Assembler, long: str, label: str) -> None:
    a.target("imm" if long else "off", label)
    a.add(Insn(enc.JA32 if long else enc.JA))


def _may_goto(a: _Assembler, label: str) -> None:
    a.target("off", label)
    a.add(Insn(enc.JCOND))


def _packet(a: _Assembler, bits: str, reg: str | None, number: str | None) -> None:
    mode = enc.ABS if reg is None else enc.IND
    a.add(Insn(enc.LD | mode | _SIZE[bits], 0, int(reg or 0), 0, _signed(_number(number or "0"), 32)))


def _if(a: _Assembler, reg: str, dst: str, op: str, other: str, number: str | None, label: str) -> None:
    a.target("off", label)
    cls = enc.JMP if reg == "r" else enc.JMP32
    if number is not None:
        a.add(Insn(cls | _JUMP[op], int(dst), 0, 0, _signed(_number(number), 32)))
    else:
        a.add(Insn(cls | _JUMP[op] | enc.X, int(dst), int(other[1:])))


def _imm64(a: _Assembler, dst: str, value: str) -> None:
    a.add(*ld_imm64(int(dst), _number(value)))


def _map(a: _Assembler, dst: str, kind: str, name: str, off: str | None) -> None:
    pc, at = len(a.code.insns), _number(off) if off else 0
    if kind == "func":
        a.target("imm", name)
        a.code.functions.add(name)
        a.add(*ld_imm64(int(dst), 0, uapi.BPF_PSEUDO_FUNC))
        return
    a.code.maps[pc] = (name, at if kind == "value" else None)
    pseudo = uapi.BPF_PSEUDO_MAP_VALUE if kind == "value" else uapi.BPF_PSEUDO_MAP_FD
    a.add(*ld_imm64(int(dst), at << 32, pseudo))


def _load(a: _Assembler, dst: str, sign: str, bits: str, base: str, off: str) -> None:
    mode = enc.MEM if sign == "u" else enc.MEMSX
    a.add(Insn(enc.LDX | mode | _SIZE[bits], int(dst), int(base), a.off(off)))


def _acquire(a: _Assembler, dst: str, _sign: str, bits: str, base: str, off: str) -> None:
    a.add(Insn(enc.STX | enc.ATOMIC | _SIZE[bits], int(dst), int(base), a.off(off), LOAD_ACQ))


def _store(a: _Assembler, _sign: str, bits: str, base: str, off: str, reg: str | None, number: str | None) -> None:
    if reg is not None:
        a.add(Insn(enc.STX | enc.MEM | _SIZE[bits], int(base), int(reg), a.off(off)))
    else:
        a.add(Insn(enc.ST | enc.MEM | _SIZE[bits], int(base), 0, a.off(off), _signed(_number(number or "0"), 32)))


def _lock(a: _Assembler, _sign: str, bits: str, base: str, off: str, op: str, src: str) -> None:
    a.add(Insn(enc.STX | enc.ATOMIC | _SIZE[bits], int(base), int(src), a.off(off), _ATOMIC[op]))


def _neg(a: _Assembler, reg: str, dst: str, _r: str) -> None:
    a.add(Insn((enc.ALU64 if reg == "r" else enc.ALU) | 0x80, int(dst)))


def _swap(a: _Assembler, dst: str, how: str, bits: str) -> None:
    code = {"le": enc.ALU, "be": enc.ALU | enc.X, "bswap": enc.ALU64}[how] | 0xD0
    a.add(Insn(code, int(dst), imm=int(bits)))


def _movsx(a: _Assembler, reg: str, dst: str, how: str, src: str) -> None:
    a.add(Insn((enc.ALU64 if reg == "r" else enc.ALU) | 0xB0 | enc.X, int(dst), int(src), _MOVSX[how]))


def _alu(a: _Assembler, reg: str, dst: str, op: str, src: str | None, number: str | None) -> None:
    cls = enc.ALU64 if reg == "r" else enc.ALU
    code, off = (0xB0, 0) if op == "=" else (_ALU[op].code, _ALU[op].off)
    if src is not None:
        a.add(Insn(cls | code | enc.X, int(dst), int(src), off))
    else:
        a.add(Insn(cls | code, int(dst), 0, off, _signed(_number(number or "0"), 32)))


def _form(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


_FORMS: list[tuple[re.Pattern[str], Callable[..., None]]] = [
    (_form(r"exit"), _exit),
    (_form(r"\.raw ([0-9a-f ]+)"), _raw),
    (_form(r"call (#\d+|\w+)"), _call),
    (_form(r"call fn (\S+)"), _call_fn),
    (_form(r"call kfunc (\w+)"), _call_kfunc),
    (_form(r"r(\d+) = struct\[(\w+)\]"), _struct_id),
    (_form(r"r(\d+) = addr_space_cast\(r(\d+), (\d+), (\d+)\)"), _cast),
    (_form(r"goto(l?) (\S+)"), _goto),
    (_form(r"may_goto (\S+)"), _may_goto),
    (_form(rf"r0 = packet (8|16|32) (?:r(\d+)|({_NUM}))"), _packet),
    (_form(rf"if ([rw])(\d+) (\S+) ([rw]\d+|({_NUM})) goto (\S+)"), _if),
    (_form(rf"r(\d+) = ({_NUM}) ll"), _imm64),
    (_form(rf"r(\d+) = (map|value|func)\[(\w+)\](?: \+ ({_NUM}))?"), _map),
    (_form(rf"r(\d+) = {_PLACE}"), _load),
    (_form(rf"r(\d+) = load_acquire {_PLACE}"), _acquire),
    (_form(rf"{_PLACE} = (?:r(\d+)|({_NUM}))"), _store),
    (_form(rf"lock {_PLACE} (\w+) r(\d+)"), _lock),
    (_form(r"([rw])(\d+) = -([rw])\d+"), _neg),
    (_form(r"r(\d+) = (le|be|bswap)(16|32|64) r\d+"), _swap),
    (_form(r"([rw])(\d+) = \((s8|s16|s32)\) [rw](\d+)"), _movsx),
    (_form(rf"([rw])(\d+) (\S*=) (?:[rw](\d+)|({_NUM}))"), _alu),
]


def _no_offsets(name: str) -> int:
    raise ValueError(f"{name}: no BTF to take an offset from")


def _no_ids(kind: Kind, name: str) -> int:
    raise ValueError(f"{name}: no BTF to find a {kind.name} in")


def assemble(text: str, offset_of: Callable[[str], int] = _no_offsets, id_of: Callable[[Kind, str], int] = _no_ids) -> Code:
    """The instructions of `text`; `offset_of`: the byte offset of "struct.member"; `id_of`: BTF ids. Raises ValueError."""
    a = _Assembler(offset_of, id_of)
    for raw in re.split(r"[;\n]", text):
        line = raw.split("//")[0].strip()
        while m := re.match(r"(\w+):\s*", line):
            a.labels[m[1]] = len(a.code.insns)
            line = line[m.end() :]
        if line:
            a.line(line)
    return a.finish()
