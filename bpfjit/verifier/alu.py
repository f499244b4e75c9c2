"""Arithmetic instructions on registers: scalars through transfer.py, pointers here."""

from __future__ import annotations

import errno

from . import arena
from . import state as st
from .bounds import zero_extend
from .log import type_name
from .op import ARITHMETIC, MOVE, SWAP, Op
from .state import ADDED, ADDED_32, OR_NULL, SCALAR, Reg, State, T, make_step, s32
from .tnum import U32, U64
from .transfer import SIGNIFICANT, byte_swap, transfer
from .walk import MAX_VAR_OFF, Walk

_NO_ARITHMETIC = frozenset({T.PACKET_END, T.FUNC, T.SOCKET, T.SOCK_COMMON, T.TCP_SOCK, T.XDP_SOCK})
_BITWISE = {"and", "or", "xor"}
# Names with an underscore are C numbers in the compiled module (alu.pxd).
_SCALAR, _MOVE, _ARITHMETIC, _SWAP = SCALAR, MOVE, ARITHMETIC, SWAP
_U64, _U32, _ADDED, _ADDED_32 = U64, U32, ADDED, ADDED_32
_MAP_PTR, _STACK, _PACKETS = int(T.MAP_PTR), int(T.STACK), (int(T.PACKET), int(T.PACKET_META))
_MAX_AWAY = 1 << 31  # how far a number may lie from its copies and be known by them


def step(w: Walk, insn: Op) -> State | None:
    """Run one ALU instruction on the state. What it gives back is walked from this same instruction on as well."""
    if insn.kind == _MOVE:
        _move(w, insn)
    elif insn.kind == _ARITHMETIC:
        return _arithmetic(w, insn)
    else:
        _one_operand(w, insn)
    return None


def _one_operand(w: Walk, insn: Op) -> None:
    width = insn.width
    if insn.kind == _SWAP:
        dst = w.read(insn.dst)
        if dst.is_pointer and not w.env.privileged:
            w.reject(f"R{insn.dst} pointer arithmetic prohibited")
        swapped = byte_swap(dst, insn.imm, width == 64 or insn.by_register) if dst.type == _SCALAR else st.scalar()
        w.write(insn.dst, swapped)
        return
    dst = w.read(insn.dst)
    if dst.is_pointer and not w.env.privileged:
        w.reject(f"R{insn.dst} pointer arithmetic prohibited")
    w.write(insn.dst, transfer("neg", width, dst, dst) if dst.type == _SCALAR else st.scalar())


def _fork(w: Walk, insn: Op, dst: Reg) -> State | None:
    """0 or -1 under a mask: as in Linux each is walked by itself, so that a mask made of a sign stays two numbers."""
    is_whole = dst.smin == -1 and not dst.smax
    if not is_whole and (dst.s32min != -1 or dst.s32max):
        return None
    other = w.state.copy()
    other.steps = make_step(other.steps, w.pc, w.pc)
    for state, value in ((other, 0), (w.state, _U64)):
        r = dst.copy()
        r.unlink()
        if is_whole:
            r.know(value)
        else:
            r.value, r.mask = r.value & ~_U32 & _U64 | value & _U32, r.mask & ~_U32 & _U64
            r.u32min = r.u32max = value & _U32
            r.s32min = r.s32max = s32(value & _U32)
        state.frames[-1].regs[insn.dst] = r
    return other


def _move_on(insn: Op, dst: Reg, src: Reg, got: Reg) -> None:
    """A number and a constant: still known by its id, so much further. As in Linux, once and not again."""
    narrow = insn.width == 32
    if src.mask or (insn.by_register and insn.src == insn.dst) or (narrow and dst.umax > _U32):
        return
    away = src.s32min if narrow else src.smin
    if insn.name == "sub":
        if away == -_MAX_AWAY:
            return
        away = -away
    if -_MAX_AWAY <= away < _MAX_AWAY:
        got.id, got.off, got.flags = dst.id, away, _ADDED_32 if narrow else _ADDED


def _arithmetic(w: Walk, insn: Op) -> State | None:
    width = insn.width
    src = insn.const if insn.const is not None else w.read(insn.src)
    dst = w.read(insn.dst)
    if insn.dst == 10:
        w.reject("frame pointer is read only")
    if dst.type == _SCALAR and src.type == _SCALAR:
        other: State | None = None
        if insn.forks and not src.mask:
            other = _fork(w, insn, dst)
            dst = w.regs[insn.dst]
        got = transfer(insn.name, width, dst, src)
        if dst.id and insn.adds and not dst.flags:
            _move_on(insn, dst, src, got)
        w.write(insn.dst, got)
        return other
    if dst.type == T.ARENA or src.type == T.ARENA:
        arena.narrow(w)
        w.write(insn.dst, st.pointer(T.ARENA))
        return None
    if dst.is_pointer and src.is_pointer:
        if insn.name == "sub" and w.env.privileged:
            w.write(insn.dst, st.scalar())
            return None
        w.reject(f"R{insn.dst} pointer {insn.symbol} pointer prohibited")
    if width == 32 and insn.name == "sub" and w.env.privileged:
        w.write(insn.dst, st.scalar())
    elif dst.is_pointer:
        if insn.by_register:
            w.precise(insn.src)
        _pointer(w, insn, dst, src)
    else:
        if insn.name == "sub":
            w.reject(f"R{insn.dst} tried to subtract pointer from scalar")
        w.precise(insn.dst)
        _pointer(w, insn, src, dst)
    return None


def _move(w: Walk, insn: Op) -> None:
    if insn.const is not None:
        w.write(insn.dst, insn.const)
        return
    name, width = insn.name, insn.width
    src = w.read(insn.src)
    if name == "cast":
        arena.cast(w, insn)
        return
    if src.is_pointer:
        if name != "mov" or width == 32:
            if not w.env.privileged:
                w.reject(f"R{insn.src} {'partial copy' if name == 'mov' else 'sign-extension part'} of pointer")
            w.write(insn.dst, _low_half() if width == 32 else st.scalar())
            return
        w.write(insn.dst, src)
        return
    if name != "mov" and not src.umax >> SIGNIFICANT[name] - 1:
        # No sign to extend: the number stays the same, and known as such.
        got = transfer(name, width, src, src)
        if src.mask:
            src = w.regs[insn.src] = w.linked(src)
            got.id = src.id
        w.write(insn.dst, got)
        return
    if name == "mov" and (width == 64 or not src.umax >> 32):
        # The two registers now hold one value: what a jump says of one holds of the other.
        if src.mask and (not src.id or src.flags):
            src = w.linked(src)
            w.regs[insn.src] = src
        w.write(insn.dst, src)
        return
    w.write(insn.dst, transfer(name, width, src, src) if name != "mov" else _truncated(src))


def _low_half() -> Reg:
    low = st.unknown_scalar()
    zero_extend(low)
    return low


def _truncated(src: Reg) -> Reg:
    r = src.copy()
    r.unlink()
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


def _pointer(w: Walk, insn: Op, ptr: Reg, off: Reg) -> None:
    dst, name, symbol, width = insn.dst, insn.name, insn.symbol, insn.width
    if width == 32:
        w.reject(f"R{dst} 32-bit pointer arithmetic prohibited")
    if ptr.flags & OR_NULL:
        w.reject(f"R{dst} pointer arithmetic on {type_name(ptr)} prohibited, null-check it first")
    if ptr.type == T.MEM and ptr.flags & st.UNTRUSTED:
        # Any address is as good as another. Linux lets the number that one is added to stay what it was: we do not.
        w.write(dst, ptr if w.regs[dst] is ptr else st.scalar())
        return
    if ptr.type == _MAP_PTR and not (off.is_const and off.value == 0 and name == "add"):
        w.reject(f"R{dst} pointer arithmetic on {type_name(ptr)} prohibited")
    if ptr.type in _NO_ARITHMETIC or (ptr.type == T.FLOW_KEYS and not off.is_const):
        w.reject(f"R{dst} pointer arithmetic on {type_name(ptr)} prohibited")
    _check_sane(w, ptr, off)
    if name in _BITWISE:
        w.reject(f"R{dst} bitwise operator {symbol} on pointer prohibited")
    if name not in ("add", "sub"):
        w.reject(f"R{dst} pointer arithmetic with {symbol} operator prohibited")
    if name == "sub" and ptr.type == _STACK:
        w.reject(f"R{dst} subtraction from stack pointer prohibited")
    sign = 1 if name == "add" else -1
    r = ptr.copy()
    if off.is_const and abs(ptr.off + sign * off.smin) < 1 << 31:
        r.off = ptr.off + sign * off.smin
        if name == "sub" and ptr.type in _PACKETS and off.smin < 0:
            r.range = 0
    else:
        variable = ptr.copy()
        variable.type = SCALAR
        variable.s32min, variable.s32max, variable.u32min, variable.u32max = st.S32_MIN, st.S32_MAX, 0, _U32  # as in Linux
        moved = transfer(name, 64, variable, off)
        r.value, r.mask = moved.value, moved.mask
        r.smin, r.smax, r.umin, r.umax = moved.smin, moved.smax, moved.umin, moved.umax
        r.s32min, r.s32max, r.u32min, r.u32max = moved.s32min, moved.s32max, moved.u32min, moved.u32max
        if ptr.type in _PACKETS:
            # The packet's proven range was for another unknown; a new one begins, unless it only grew.
            r.id = w.new_id()
            if name == "sub" or off.smin < 0 or not off.is_const:
                r.range = 0
    if abs(r.off) >= MAX_VAR_OFF:
        w.reject(f"{type_name(r)} pointer offset {r.off} is not allowed", errno.EINVAL)
    if r.smin <= -MAX_VAR_OFF:
        w.reject(f"{type_name(r)} pointer and register with unbounded min value is not allowed", errno.EINVAL)
    if ptr.type == _STACK and not off.is_const and not w.env.privileged:
        w.reject(f"R{dst} variable stack access prohibited for !root")
    w.write(dst, r)
