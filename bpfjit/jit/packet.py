"""LD_ABS and LD_IND: bytes of the packet in host order. Where there are none, the function ends with 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..isa.encoding import IND, Insn
from .values import NULL, ZERO

if TYPE_CHECKING:
    from .emit import FunctionEmitter


def load(f: FunctionEmitter, insn: Insn) -> None:
    off = f.const(64, insn.imm)
    if insn.code & 0xE0 == IND:
        off = f.add(off, f.int_of(insn.src))
    f.module.symbols["rt_load_packet"] = "declare i64 @rt_load_packet(ptr, i64, i64) nounwind memory(read)"
    skb = f.to_ptr(f.regs.get(6, NULL))
    value = f.assign(64, f"call i64 @rt_load_packet({skb}, {off}, i64 {insn.size})")
    gone, there = f.label("gone"), f.label("there")
    f.emit(f"br i1 {f.slt(value, ZERO).text}, label %{gone}, label %{there}")
    f.out.append(f"{gone}:")
    f.emit("ret i64 0" if f.module.return_width(f.index) else "ret ptr null")
    f.begin(there)
    f.set(0, value)
    for r in range(1, 6):
        f.regs.pop(r, None)
