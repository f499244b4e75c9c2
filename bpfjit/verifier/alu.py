"""Arithmetic instructions on registers: scalars through transfer.py, pointers here."""

from __future__ import annotations

import errno

from ..isa.encoding import ALU64, Insn, X
from ..isa.ops import ALU_END, alu_op, end_bits, swaps
from . import state as st
from .bounds import zero_extend
from .log import type_name
from .state import OR_NULL, SCALAR, Reg, T
from .transfer import byte_swap, transfer
from .walk import MAX_VAR_OFF, Walk

_NO_ARITHMETIC = frozenset({T.PACKET_END, T.FUNC, T.SOCKET, T.SOCK_COMMON, T.TCP_SOCK, T.XDP_SOCK})
_BITWISE = {"and", "or", "xor"}


def step(w: Walk, insn: Insn) -> None:
    """Run one ALU instruction on the state."""
    width = 64 if insn.code & 7 == ALU64 else 32
    if insn.code & 0xF0 == ALU_END:
        dst = w.read(insn.dst)
        if dst.is_pointer and not w.env.privileged:
            w.reject(f"R{insn.dst} pointer arithmetic prohibited")
        dst = dst if dst.type == SCALAR else st.scalar()
        w.write(insn.dst, byte_swap(dst, end_bits(insn), swaps(insn)))
        return
    op = alu_op(insn)
    assert op is not None  # cfg.check_encoding() refused the others
    if op.code == 0xB0:
        _move(w, insn, op.name, width)
        return
    if op.name == "neg":
        dst = w.read(insn.dst)
        if dst.is_pointer and not w.env.privileged:
            w.reject(f"R{insn.dst} pointer arithmetic prohibited")
        dst = dst if dst.type == SCALAR else st.scalar()
        w.write(insn.dst, transfer("neg", width, dst, dst))
        return
    src = w.read(insn.src) if insn.code & X else st.const_scalar(insn.imm)
    dst = w.read(insn.dst)
    if insn.dst == 10:
        w.reject("frame pointer is read only")
    if dst.is_pointer and src.is_pointer:
        if op.name == "sub" and w.env.privileged:
            w.write(insn.dst, st.scalar())
            return
        w.reject(f"R{insn.dst} pointer {op.symbol} pointer prohibited")
    if (dst.is_pointer or src.is_pointer) and width == 32 and op.name == "sub" and w.env.privileged:
        w.write(insn.dst, transfer("sub", 32, st.scalar(), st.scalar()))
    elif dst.is_pointer:
        if insn.code & X:
            w.precise(insn.src)
        _pointer(w, insn, op.name, op.symbol, width, dst, src)
    elif src.is_pointer:
        if op.name == "sub":
            w.reject(f"R{insn.dst} tried to subtract pointer from scalar")
        w.precise(insn.dst)
        _pointer(w, insn, op.name, op.symbol, width, src, dst)
    else:
        got = transfer(op.name, width, dst, src)
        if op.name == "add" and width == 64 and dst.id and src.is_const and abs(dst.off + src.smin) < 1 << 31:
            got.id, got.off = dst.id, dst.off + src.smin  # still that number, a constant further
        w.write(insn.dst, got)


def _move(w: Walk, insn: Insn, name: str, width: int) -> None:
    if not insn.code & X:
        value = insn.imm if width == 64 else insn.imm & 0xFFFFFFFF
        w.write(insn.dst, st.const_scalar(value))
        return
    src = w.read(insn.src)
    if src.is_pointer:
        if name != "mov":
            if not w.env.privileged:
                w.reject(f"R{insn.src} sign-extension part of pointer")
            w.write(insn.dst, transfer(name, width, st.scalar(), st.scalar()))
            return
        if width == 32:
            if not w.env.privileged:
                w.reject(f"R{insn.src} partial copy of pointer")
            low = st.unknown_scalar()
            zero_extend(low)
            w.write(insn.dst, low)
            return
        w.write(insn.dst, src)
        return
    if name == "mov" and (width == 64 or src.umax <= 0xFFFFFFFF):
        # The two registers now hold one value: what a jump says of one holds of the other.
        if not src.id and not src.is_const:
            src = w.linked(src)
            w.regs[insn.src] = src
        w.write(insn.dst, src)
        return
    w.write(insn.dst, transfer(name, width, src, src) if name != "mov" else _truncated(src))


def _truncated(src: Reg) -> Reg:
    r = src.copy()
    r.id = r.off = 0
    zero_extend(r)
    return r


def _check_sane(w: Walk, ptr: Reg, off: Reg) -> None:
    """Offsets stay far below what could overflow, both known and unknown parts. Linux's errno here is EINVAL."""
    if off.is_const and abs(off.smin) >= MAX_VAR_OFF:
        w.reject(f"math between {type_name(ptr)} pointer and {off.smin} is not allowed", errno.EINVAL)
    if abs(ptr.off) >= MAX_VAR_OFF:
        w.reject(f"{type_name(ptr)} pointer offset {ptr.off} is not allowed", errno.EINVAL)
    if off.id and abs(off.off) >= MAX_VAR_OFF:  # Linux asks the same of a number that lies so far from its copies
        w.reject(f"{type_name(ptr)} pointer offset {off.off} is not allowed", errno.EINVAL)
    if off.smin == st.S64_MIN:
        w.reject(f"math between {type_name(ptr)} pointer and register with unbounded min value is not allowed", errno.EINVAL)
    if abs(off.smin) >= MAX_VAR_OFF:
        w.reject(f"value {off.smin} makes {type_name(ptr)} pointer be out of bounds", errno.EINVAL)


def _pointer(w: Walk, insn: Insn, name: str, symbol: str, width: int, ptr: Reg, off: Reg) -> None:
    dst = insn.dst
    if width == 32:
        w.reject(f"R{dst} 32-bit pointer arithmetic prohibited")
    if ptr.flags & OR_NULL:
        w.reject(f"R{dst} pointer arithmetic on {type_name(ptr)} prohibited, null-check it first")
    if ptr.type == T.MAP_PTR and not (off.is_const and off.value == 0 and name == "add"):
        w.reject(f"R{dst} pointer arithmetic on {type_name(ptr)} prohibited")
    if ptr.type in _NO_ARITHMETIC:
        w.reject(f"R{dst} pointer arithmetic on {type_name(ptr)} prohibited")
    if name in _BITWISE:
        w.reject(f"R{dst} bitwise operator {symbol} on pointer prohibited")
    if name not in ("add", "sub"):
        w.reject(f"R{dst} pointer arithmetic with {symbol} operator prohibited")
    _check_sane(w, ptr, off)
    if name == "sub" and ptr.type == T.STACK:
        w.reject(f"R{dst} subtraction from stack pointer prohibited")
    sign = 1 if name == "add" else -1
    r = ptr.copy()
    if off.is_const and abs(ptr.off + sign * off.smin) < 1 << 31:
        r.off = ptr.off + sign * off.smin
        if name == "sub" and ptr.type in (T.PACKET, T.PACKET_META) and off.smin < 0:
            r.range = 0
    else:
        variable = ptr.copy()
        variable.type = SCALAR
        moved = transfer(name, 64, variable, off)
        r.value, r.mask = moved.value, moved.mask
        r.smin, r.smax, r.umin, r.umax = moved.smin, moved.smax, moved.umin, moved.umax
        r.s32min, r.s32max, r.u32min, r.u32max = moved.s32min, moved.s32max, moved.u32min, moved.u32max
        if ptr.type in (T.PACKET, T.PACKET_META):
            # The packet's proven range was for another unknown; a new one begins, unless it only grew.
            r.id = w.new_id()
            if name == "sub" or off.smin < 0 or not off.is_const:
                r.range = 0
    if abs(r.off) >= MAX_VAR_OFF:
        w.reject(f"{type_name(r)} pointer offset {r.off} is not allowed", errno.EINVAL)
    if r.smin <= -MAX_VAR_OFF:
        w.reject(f"{type_name(r)} pointer and register with unbounded min value is not allowed", errno.EINVAL)
    if ptr.type == T.STACK and not off.is_const and not w.env.privileged:
        w.reject(f"R{dst} variable stack access prohibited for !root")
    w.write(dst, r)
