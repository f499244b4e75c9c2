"""The disassembler's text against the live kernel's own log, for every kind of instruction."""

from __future__ import annotations

import itertools
import re

from engines import closing, load, need_live, new_array

from bpfjit.isa.encoding import Insn, ld_imm64
from bpfjit.isa.ops import ALU_OPS, ATOMIC_OPS, CMPXCHG, JUMP_OPS, LOAD_ACQ, STORE_REL
from bpfjit.isa.text import disasm
from bpfjit.spec.helpers import HELPER_BY_ID

_LOGGED = re.compile(r"^(\d+): \(([0-9a-f]{2})\) (.*?)(?:\s+; .*)?$", re.MULTILINE)
_IMMEDIATES = {"add": -5, "mov": -(1 << 31), "sub": 0x7FFFFFFF}


def _program(map_fd: int) -> list[Insn]:
    """One straight program that has all of them, and that Linux accepts."""
    out = [Insn(0xBF, 6, 1), Insn(0xB7, 0, imm=1), Insn(0xB7, 2, imm=7), Insn(0xB7, 3, imm=-1)]
    out += [Insn(0x7B, 10, 2, -8), Insn(0x7B, 10, 2, -16)]
    for (code, off), op in ALU_OPS.items():
        for cls, x in itertools.product((4, 7), (0, 8)):
            if (op.name == "neg" and x) or (off > 1 and not x) or (op.name == "movsx32" and cls == 4):
                continue
            imm = 0 if x or op.name == "neg" else _IMMEDIATES.get(op.name, 13)
            out.append(Insn(code | cls | x, 2, 3 if x else 0, off, imm))
    out += [Insn(code, 2, imm=bits) for code in (0xD4, 0xDC, 0xD7) for bits in (16, 32, 64)]
    out += [Insn(code, 2, 10, -8) for code in (0x61, 0x69, 0x71, 0x79, 0x81, 0x89, 0x91)]
    out += [Insn(code, 10, 0, -8, imm) for code in (0x62, 0x6A, 0x72, 0x7A) for imm in (-77, 5)]
    out += [Insn(code, 10, 2, -16) for code in (0x63, 0x6B, 0x73, 0x7B)]
    out.append(Insn(0xB7, 2, imm=7))
    out += [Insn(code, 10, 2, -8, imm) for code in (0xC3, 0xDB) for imm in (*ATOMIC_OPS, CMPXCHG)]
    for code in (0xC3, 0xCB, 0xD3, 0xDB):
        out += [Insn(code, 2, 10, -8, LOAD_ACQ), Insn(code, 10, 2, -16, STORE_REL)]
    for code, cls in itertools.product(JUMP_OPS, (5, 6)):
        out += [Insn(code | cls | 8, 2, 3), Insn(code | cls, 2, imm=-3), Insn(code | cls, 2, imm=0x7FFFFFFF)]
    out += [Insn(0x05), Insn(0x06), *ld_imm64(4, 0x1122334455667788), *ld_imm64(4, 5), *ld_imm64(4, (1 << 64) - 1)]
    out += [Insn(0x30, imm=3), Insn(0x28, imm=3), Insn(0x20, imm=4), Insn(0xB7, 7, imm=2)]
    out += [Insn(0x50, 0, 7, imm=2), Insn(0x48, 0, 7, imm=-2), Insn(0x40, 0, 7, imm=2)]
    out += [Insn(0x85, imm=5), *ld_imm64(1, map_fd, 1), Insn(0xBF, 2, 10), Insn(0x07, 2, imm=-16), Insn(0x85, imm=1)]
    out += [Insn(0xB7, 1, imm=1), Insn(0x85, 0, 1, 0, 2), Insn(0xB7, 0), Insn(0x95), Insn(0xB7, 0), Insn(0x95)]
    return out


def _call_name(insn: Insn) -> str:
    return f"bpf_{HELPER_BY_ID[insn.imm].name}#{insn.imm}" if insn.src == 0 else f"pc{insn.imm:+d}"


def test_text_is_the_live_kernels() -> None:
    bpf = need_live()
    with closing(bpf) as keep:
        insns = _program(keep(new_array(bpf, 8)))
        loaded = load(bpf, insns, log_level=2)
        keep(loaded.fd)
    theirs = {int(m[1]): m[3] for m in _LOGGED.finditer(loaded.log)}
    ours = {pc: disasm(insns, pc, _call_name) for pc in theirs}
    # A map is loaded by its kernel address, which only Linux knows.
    at = next(pc for pc, insn in enumerate(insns) if insn.code == 0x18 and insn.src == 1)
    assert theirs.pop(at).startswith("r1 = 0xffff")
    assert ours.pop(at)
    seconds = sum(insn.code == 0x18 for insn in insns)
    assert len(theirs) == len(insns) - seconds - 1, "every instruction is in the log"
    assert ours == theirs
