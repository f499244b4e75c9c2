"""Instructions that move values: ld_imm64, loads, stores and atomics."""

from __future__ import annotations

import errno

from ..btf import Btf, Kind
from ..btf.types import Type
from ..isa.encoding import LD_IMM64, MEMSX, imm64
from ..isa.ops import ATOMIC_OPS, CMPXCHG, LOAD_ACQ, STORE_REL
from ..program import Program
from ..uapi import bpf as uapi
from . import arena, mem, stack
from . import state as st
from .bounds import sign_extend, truncate
from .ctx import Argument
from .log import tnum_text, type_name
from .op import Op
from .refusal import Refusal
from .state import RDONLY, SCALAR, STACK, Reg, T
from .walk import Walk

# Names with an underscore are C numbers in the compiled module (moves.pxd).
_SCALAR, _STACK = SCALAR, STACK


def check_references(program: Program, btf: Btf | None) -> None:
    """Variables of the kernel's: there are none here, and as in Linux that is said of code that is never reached too."""
    for insn in program.insns:
        if insn.code == LD_IMM64 and insn.src == uapi.BPF_PSEUDO_BTF_ID:
            known = btf.type(insn.imm) if btf is not None and 0 < insn.imm < len(btf) else Type(Kind.VOID)
            if known.kind is Kind.FUNC:
                continue
            name = known.name or f"#{insn.imm}"
            raise Refusal(f"ldimm64 failed to find the address for kernel symbol '{name}'.", errno.ENOENT)


def load_immediate(w: Walk, insn: Op) -> None:
    ref = w.program.map_refs.get(w.pc)
    if ref is not None:
        if ref.value_off is None:
            reg = st.pointer(T.MAP_PTR)
        elif w.program.maps[ref.map_index].type.arena:
            w.write(insn.dst, st.scalar())  # the user's address, a number here
            return
        else:
            reg = st.pointer(T.MAP_VALUE)
            reg.off = ref.value_off
        reg.map = ref.map_index
    elif insn.src == uapi.BPF_PSEUDO_FUNC:
        reg = st.pointer(T.FUNC)
        reg.frame = w.cfg.subprog_at[w.pc + insn.imm + 1]
    elif insn.src == 0:
        reg = st.const_scalar(imm64(w.insns, w.pc))
    elif insn.src == uapi.BPF_PSEUDO_BTF_ID:
        reg = st.pointer(T.MEM, RDONLY)  # of a kernel function: there, and nothing more
    else:
        w.reject(f"unsupported pseudo reference {insn.src} in ld_imm64", errno.EINVAL)
    w.write(insn.dst, reg)


def load(w: Walk, insn: Op, args: tuple[Argument, ...]) -> None:
    base = w.read(insn.src)
    if insn.dst == 10:
        w.reject("frame pointer is read only")
    got = mem.access(w, base, insn.src, insn.off, insn.size, args)
    if insn.code & 0xE0 == MEMSX:
        if got.is_pointer:
            w.reject(f"R{insn.src} sign-extending load of a pointer")
        if base.type == _STACK:
            got = stack.whole(w, base, insn.off, insn.size) or got
        stays = got.id and not got.umax >> insn.size * 8 - 1
        got = got.copy()
        if not stays:
            got.unlink()
        sign_extend(got, insn.size)
    w.write(insn.dst, got)


def atomic(w: Walk, insn: Op, args: tuple[Argument, ...]) -> None:
    if insn.imm == LOAD_ACQ:
        base = w.read(insn.src)
        if base.type in (T.CTX, T.PACKET, T.PACKET_META):
            w.reject(f"BPF_ATOMIC loads from R{insn.src} {type_name(base)} is not allowed")
        if base.is_pointer:
            mem.check_alignment(w, base, insn.off, insn.size, strict=True)
        load(w, insn, args)
        return
    value = w.read(insn.src)
    base = w.read(insn.dst)
    if insn.imm == CMPXCHG and w.read(0).is_pointer and not w.env.privileged:
        w.reject("R0 leaks addr into mem")
    if base.type in (T.CTX, T.PACKET, T.PACKET_META):
        w.reject(f"BPF_ATOMIC stores into R{insn.dst} {type_name(base)} is not allowed")
    if base.is_pointer:
        mem.check_alignment(w, base, insn.off, insn.size, strict=True)
    if insn.imm == STORE_REL:
        if base.type != T.STACK:
            w.life.wrote(w.state, w.pc, 0)
        mem.access(w, base, insn.dst, insn.off, insn.size, args, value, insn.src)
        return
    if base.type != T.STACK:
        w.life.wrote(w.state, w.pc, 0)
    if value.is_pointer and not w.env.privileged:
        w.reject(f"R{insn.src} leaks addr into mem")
    if base.type == T.STACK and not base.is_const:
        # Linux looks at the old value as a helper would, and helpers get no stack of unknown place.
        place = f"var_off={tnum_text(base.value, base.mask)} off={base.off + insn.off} size={insn.size}"
        w.reject(f"R{insn.dst} variable offset stack pointer cannot be passed into helper function; {place}")
    if base.type == T.ARENA and insn.imm in arena.NO_FETCH:
        w.reject(f"BPF_ATOMIC stores into R{insn.dst} {type_name(base)} is not allowed")
    old = mem.access(w, base, insn.dst, insn.off, insn.size, args)
    if insn.imm == CMPXCHG:
        w.write(0, _loaded(old, insn.size))
    elif insn.imm & 1:
        assert insn.imm in ATOMIC_OPS
        w.write(insn.src, _loaded(old, insn.size))
    # The store is looked at after the fetch: an address in the fetched register is gone by then, as in Linux.
    mem.access(w, w.read(insn.dst), insn.dst, insn.off, insn.size, args, mem.sized_scalar(insn.size))


def _loaded(old: Reg, size: int) -> Reg:
    if old.is_pointer:
        return mem.sized_scalar(size)
    r = old.copy()
    r.unlink()
    truncate(r, size)
    return r


def store(w: Walk, insn: Op, args: tuple[Argument, ...]) -> None:
    base = w.read(insn.dst)
    regno = -1
    if insn.const is not None:
        value = insn.const
    else:
        regno = insn.src
        value = w.read(regno)
        if base.type == _STACK and value.type == _SCALAR and value.mask and not base.mask:
            whole = insn.size == 8 or not value.umax >> insn.size * 8
            if whole and not (base.off + insn.off + base.smin) % 8:
                value = w.regs[regno] = w.linked(value)  # the slot and the register are one number
    if base.type != _STACK:
        w.life.wrote(w.state, w.pc, 0)
    mem.access(w, base, insn.dst, insn.off, insn.size, args, value, regno)
