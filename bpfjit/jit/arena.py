"""Arenas as LLVM IR: accesses are instructions that the fault handler (runtime/src/map_arena.c) knows how to pass over.

So they are written as assembly, one instruction each: LLVM would fold a load into arithmetic, or store several bytes at
once. They keep their order among each other; those that are atomic keep it with all memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..isa.encoding import MEMSX, STX, Insn
from ..isa.ops import ATOMIC_OPS, CAST_TO_KERNEL, CMPXCHG, FETCH, LOAD_ACQ, STORE_REL, XCHG
from ..uapi import bpf as uapi
from .values import Value

if TYPE_CHECKING:
    from .emit import FunctionEmitter

_LOAD = {1: "movzbl", 2: "movzwl", 4: "movl", 8: "movq"}
_SUFFIX = {1: "b", 2: "w", 4: "l", 8: "q"}
_CLOBBERS = "~{memory},~{flags}"


def _index(f: FunctionEmitter) -> int:
    return next(i for i, m in enumerate(f.program.maps) if m.type.arena and not m.template)


def _where(f: FunctionEmitter, regno: int) -> str:
    """The base of the arena's window, and the 32 bits that a register reaches into it by: the last two operands."""
    base = f.to_int(f.module.map_values(_index(f)))
    at = f.zext(f.trunc(f.int_of(regno), 32), 64)
    return f"{base}, {at}"


def _asm(f: FunctionEmitter, returns: str, text: str, constraints: str, args: str) -> Value | None:
    call = f'call {returns} asm sideeffect "{text}", "{constraints}"({args})'
    if returns == "void":
        f.emit(call)
        return None
    return f.assign(int(returns[1:]), call)


def load(f: FunctionEmitter, insn: Insn, *, ordered: bool = False) -> None:
    size = insn.size
    wide = "i64" if size == 8 else "i32"
    after = "," + _CLOBBERS if ordered else ""
    v = _asm(f, wide, f"{_LOAD[size]} {insn.off}($1,$2), $0", f"=r,r,r{after}", _where(f, insn.src))
    assert v is not None
    if insn.code & 0xE0 == MEMSX and not ordered:
        f.set(insn.dst, f.sext(f.trunc(v, size * 8), 64))
    else:
        f.set(insn.dst, f.zext(v, 64))


def store(f: FunctionEmitter, insn: Insn, *, ordered: bool = False) -> None:
    bits = insn.size * 8
    v = f.trunc(f.int_of(insn.src), bits) if insn.code & 7 == STX else f.const(bits, insn.imm)
    text = f"mov{_SUFFIX[insn.size]} $0, {insn.off}($1,$2)"
    _asm(f, "void", text, "r,r,r" + ("," + _CLOBBERS if ordered else ""), f"{v}, {_where(f, insn.dst)}")


def atomic(f: FunctionEmitter, insn: Insn) -> None:
    bits, suffix = insn.size * 8, _SUFFIX[insn.size]
    if insn.imm == LOAD_ACQ:
        load(f, insn, ordered=True)
        return
    if insn.imm == STORE_REL:
        store(f, insn, ordered=True)
        return
    where, src = _where(f, insn.dst), f.trunc(f.int_of(insn.src), bits)
    if insn.imm == CMPXCHG:
        expected = f.trunc(f.int_of(0), bits)
        text = f"lock cmpxchg{suffix} $2, {insn.off}($3,$4)"
        old = _asm(f, f"i{bits}", text, f"={{ax}},{{ax}},r,r,r,{_CLOBBERS}", f"{expected}, {src}, {where}")
        assert old is not None
        f.set(0, f.zext(old, 64))
        return
    if not insn.imm & FETCH:
        name = ATOMIC_OPS[insn.imm].name
        _asm(f, "void", f"lock {name}{suffix} $0, {insn.off}($1,$2)", f"r,r,r,{_CLOBBERS}", f"{src}, {where}")
        return
    what = "xchg" if insn.imm == XCHG else "lock xadd"
    old = _asm(f, f"i{bits}", f"{what}{suffix} $0, {insn.off}($2,$3)", f"=r,0,r,r,{_CLOBBERS}", f"{src}, {where}")
    assert old is not None
    f.set(insn.src, f.zext(old, 64))


def cast(f: FunctionEmitter, insn: Insn) -> None:
    """Between spaces: the lower 32 bits stay; a user's address has the upper half of where the arena is, NULL none."""
    low = f.zext(f.trunc(f.int_of(insn.src), 32), 64)
    index = _index(f)
    if insn.imm == CAST_TO_KERNEL or f.program.maps[index].flags & uapi.BPF_F_NO_USER_CONV:
        f.set(insn.dst, low)
        return
    user = f.to_int(f.module.map_user(index))
    whole = f.or_(f.and_(user, f.const(64, -1 << 32)), low)
    f.set(insn.dst, f.select(f.eq(low, f.const(64, 0)), low, whole))
