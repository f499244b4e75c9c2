"""Loads, stores and atomics as LLVM IR."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..isa.encoding import MEMSX, STX, Insn
from ..isa.ops import ATOMIC_OPS, CMPXCHG, FETCH, LOAD_ACQ, STORE_REL, XCHG
from ..program import SEVERAL_MAPS, Region, SocketPart
from . import arena
from .memory import facts_of, values_of
from .values import Value

if TYPE_CHECKING:
    from .emit import FunctionEmitter


def _address(f: FunctionEmitter, regno: int, off: int) -> Value:
    return f.offset(f.ptr_of(regno), off)


def _align(f: FunctionEmitter, size: int) -> int:
    """Stack accesses are aligned (the verifier insists); elsewhere nothing is promised."""
    return size if f.facts.region[f.pc] == Region.STACK else 1


def _facts(f: FunctionEmitter) -> str:
    """What is known of where the instruction under way reads or writes."""
    number = f.facts.value_map[f.pc]
    if f.facts.region[f.pc] == Region.MAP_VALUE and number != SEVERAL_MAPS and not f.program.maps[number - 1].template:
        return values_of(f.module.map_scope(number - 1))
    return facts_of(f.facts.region[f.pc])


def load(f: FunctionEmitter, insn: Insn) -> None:
    size, pc = insn.size, f.pc
    if f.facts.region[pc] & Region.ARENA:
        arena.load(f, insn)
        return
    facts = _facts(f)
    native = f.facts.native_off.get(pc)
    if native is not None:
        address = f.offset(f.ptr_of(insn.src), native)
        f.set(insn.dst, f.assign(0, f"load ptr, ptr {address.text}, align 8{facts}"))
        return
    part = f.facts.socket_parts.get(pc)
    if part is not None:
        _socket(f, insn, part)
        return
    if f.facts.region[pc] & Region.PROBE:
        _probe(f, insn)
        return
    address = _address(f, insn.src, insn.off)
    align = _align(f, size)
    if f.leaves_pointer() and size == 8:
        f.set(insn.dst, f.assign(0, f"load ptr, ptr {address.text}, align {align}{facts}"))
        return
    v = f.assign(size * 8, f"load i{size * 8}, ptr {address.text}, align {align}{facts}")
    f.set(insn.dst, f.sext(v, 64) if insn.code & 0xE0 == MEMSX else f.zext(v, 64))


def _probe(f: FunctionEmitter, insn: Insn) -> None:
    """A kernel pointer that may be NULL or stale: 0 then."""
    bits = insn.size * 8
    name = f"rt_load{bits}"
    f.module.symbols[name] = f"declare i64 @{name}(i64) nounwind willreturn memory(read)"
    address = f.add(f.int_of(insn.src), f.const(64, insn.off))
    v = f.assign(64, f"call i64 @{name}({address})")
    if insn.code & 0xE0 == MEMSX:
        v = f.sext(f.trunc(v, bits), 64)
    f.set(insn.dst, v)


def _socket(f: FunctionEmitter, insn: Insn, part: SocketPart) -> None:
    """A member of a socket from where the kernel has it, in its own size."""
    address = f.offset(f.ptr_of(insn.src), part.offset)
    v = f.zext(f.assign(part.size * 8, f"load i{part.size * 8}, ptr {address.text}, align 1"), 64)
    if part.none:
        v = f.select(f.eq(v, f.const(64, part.none)), f.const(64, 0xFFFFFFFF), v)
    v = f.trunc(f.lshr(v, f.const(64, part.shift)) if part.shift else v, insn.size * 8)
    f.set(insn.dst, f.sext(v, 64) if insn.code & 0xE0 == MEMSX else f.zext(v, 64))


def store(f: FunctionEmitter, insn: Insn) -> None:
    size = insn.size
    if f.facts.region[f.pc] & Region.ARENA:
        arena.store(f, insn)
        return
    address = _address(f, insn.dst, insn.off)
    align = _align(f, size)
    if insn.code & 7 == STX:
        v = f.regs.get(insn.src, Value("0", 64))
        v = v if size == 8 else f.trunc(f.to_int(v), size * 8)
    else:
        v = f.const(size * 8, insn.imm)
    if address.text in f.frame_at and v.number is not None:
        start, word = f.frame_at[address.text], v.number & (1 << 8 * size) - 1
        f.frame.update(zip(range(start, start + size), word.to_bytes(size, "little"), strict=True))
    f.emit(f"store {v}, ptr {address.text}, align {align}{_facts(f)}")


def atomic_defs(insn: Insn) -> list[int]:
    """The registers that an atomic instruction writes."""
    if insn.imm == LOAD_ACQ:
        return [insn.dst]
    if insn.imm == CMPXCHG:
        return [0]
    return [insn.src] if insn.imm & FETCH and insn.imm != STORE_REL else []


def atomic(f: FunctionEmitter, insn: Insn) -> None:
    bits, size = insn.size * 8, insn.size
    if f.facts.region[f.pc] & Region.ARENA:
        arena.atomic(f, insn)
        return
    if insn.imm == LOAD_ACQ:
        if f.facts.region[f.pc] & Region.PROBE:
            _probe(f, insn)
            return
        address = _address(f, insn.src, insn.off)
        v = f.assign(bits, f"load atomic i{bits}, ptr {address.text} acquire, align {size}")
        f.set(insn.dst, f.zext(v, 64))
        return
    address = _address(f, insn.dst, insn.off)
    src = f.trunc(f.int_of(insn.src), bits)
    if insn.imm == STORE_REL:
        f.emit(f"store atomic {src}, ptr {address.text} release, align {size}")
        return
    if insn.imm == CMPXCHG:
        expected = f.trunc(f.int_of(0), bits)
        pair = f.name()
        f.emit(f"{pair} = cmpxchg ptr {address.text}, {expected}, {src} seq_cst seq_cst, align {size}")
        f.set(0, f.zext(f.assign(bits, f"extractvalue {{ i{bits}, i1 }} {pair}, 0"), 64))
        return
    op = ATOMIC_OPS[insn.imm]
    old = f.assign(bits, f"atomicrmw {op.rmw} ptr {address.text}, {src} seq_cst, align {size}")
    if insn.imm & FETCH or insn.imm == XCHG:
        f.set(insn.src, f.zext(old, 64))
