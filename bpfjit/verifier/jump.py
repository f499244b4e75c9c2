"""Conditional jumps on a state: which way they can go, and what each way says of registers and stack."""

from __future__ import annotations

from . import branch, fields, held
from . import state as st
from .op import Op
from .state import OR_NULL, SCALAR, SLOT_BIT, SPILL, Reg, Slot, State, T
from .transfer import transfer
from .walk import MAX_PACKET_OFF, Walk, non_null


def decide(w: Walk, name: str, width: int, dst: Reg, src: Reg) -> bool | None:
    """Whether the jump is always taken, never, or (None) either."""
    if dst.type == SCALAR and src.type == SCALAR:
        return branch.decide(name, width, dst, src)
    if name in ("jeq", "jne") and width == 64:
        for p, other in ((dst, src), (src, dst)):
            if _is_there(p) and other.type == SCALAR and other.is_const and other.value == 0:
                return name == "jne"
    if not w.env.privileged and not _comparable(dst, src, name):
        w.reject("pointer comparison prohibited")
    return None


_NEVER_NULL = frozenset({T.MAP_VALUE, T.MAP_KEY, T.MAP_PTR, T.MEM, T.SOCKET, T.SOCK_COMMON, T.TCP_SOCK})


def _is_there(p: Reg) -> bool:
    """A pointer that Linux takes for surely not NULL when it is compared with 0."""
    if p.flags & OR_NULL:
        return False
    return p.type in _NEVER_NULL or (p.type == T.BTF and held.is_trusted(p))


def refine(w: Walk, insn: Op, name: str, width: int, dst: Reg, src: Reg, taken: State) -> None:
    """Narrow both ways: `taken` is the state at the target, w.state the one that falls through."""
    if dst.type == SCALAR and src.type == SCALAR:
        by_register = insn.by_register and insn.src != insn.dst
        for state, condition in ((taken, name), (w.state, branch.NEGATED[name])):
            d, s = branch.narrow(condition, width, dst, src)
            _assign(state, insn.dst, d)
            if by_register and not src.is_const:
                _assign(state, insn.src, s)
        return
    if name in ("jeq", "jne") and width == 64:
        equal, different = (taken, w.state) if name == "jeq" else (w.state, taken)
        for p, other in ((dst, src), (src, dst)):
            # As in Linux, only the constant 0 in the instruction itself is a null check.
            if p.flags & OR_NULL and not insn.by_register and insn.imm == 0:
                _resolve_null(w, equal, p.id, True)
                if p.ref == p.id:
                    held.drop(equal, p.ref)
                _resolve_null(w, different, p.id, False)
                return
            known = other.is_pointer and not other.flags & OR_NULL and T.BTF not in (p.type, other.type)
            if p.flags & OR_NULL and known:  # equal to a pointer that is there
                _resolve_null(w, equal, p.id, False)
                return
    if insn.by_register and width == 64:
        _packet_ranges(name, dst, src, taken, w.state)


def _comparable(a: Reg, b: Reg, name: str) -> bool:
    packets = {T.PACKET, T.PACKET_META, T.PACKET_END}
    if a.type in packets and b.type in packets:
        return True
    return name in ("jeq", "jne") and any(r.type == SCALAR and r.is_const and r.value == 0 for r in (a, b))


_MAX_LINKED = 6


def note_linked(w: Walk, dst: Reg, src: Reg) -> None:
    """Note on the path which scalars a jump narrows together: as in Linux those that are live, and not more than six."""
    ids = {r.id for r in (dst, src) if r.type == SCALAR and r.id}
    if not ids:
        return
    found: list[tuple[int, int]] = []
    pc = w.pc
    for frame in reversed(w.state.frames):
        live = w.cfg.live[pc]
        pc = frame.call_site
        for i, r in enumerate(frame.regs):
            if live >> i & 1 and r.type == SCALAR and r.id in ids:
                if len(found) < _MAX_LINKED:
                    found.append((frame.number, i))
                else:
                    frame.regs[i] = _alone(r)
        for index, slot in sorted(frame.stack.items()):
            if slot.reg is not None and slot.reg.type == SCALAR and slot.reg.id in ids and slot.kinds[0] == SPILL:
                if len(found) < _MAX_LINKED:
                    found.append((frame.number, SLOT_BIT + index))
                else:
                    frame.stack[index] = Slot(slot.kinds, _alone(slot.reg))
    if len(found) > 1:
        w.step().linked = tuple(found)


def _alone(r: Reg) -> Reg:
    r = r.copy()
    r.id = r.off = 0
    return r


def _assign(state: State, regno: int, now: Reg) -> None:
    """Give a register, and every other one that is known to hold the same number (or that number and a
    constant, Reg.off), what a jump said of it."""
    state.frames[-1].regs[regno] = now
    if not now.id:
        return

    def linked(r: Reg) -> Reg:
        if r.off == now.off:
            return now
        moved = transfer("add", 64, now, st.const_scalar(r.off - now.off))
        moved.id, moved.off = r.id, r.off
        return moved

    for frame in state.frames:
        for i, r in enumerate(frame.regs):
            if r.type == SCALAR and r.id == now.id and r is not now:
                frame.regs[i] = linked(r)
        for index, slot in frame.stack.items():
            if slot.reg is not None and slot.reg.type == SCALAR and slot.reg.id == now.id and slot.kinds[0] == SPILL:
                frame.stack[index] = Slot(slot.kinds, linked(slot.reg))


def _resolve_null(w: Walk, state: State, pointer_id: int, is_null: bool) -> None:
    """Everything that shares the pointer's id is now NULL, or is now there."""

    def resolved(r: Reg) -> Reg:
        if not r.flags & OR_NULL or r.id != pointer_id:
            return r
        if is_null:
            return st.ZERO
        there = non_null(r)
        if there.type == T.MAP_PTR and fields.tells_apart(w.program.maps[there.map]):
            there.size = r.id
        lockable = there.type == T.MAP_VALUE and fields.may_lock(w.program.maps[there.map])
        if there.type not in (T.PACKET, T.PACKET_META) and not lockable:
            there.id = 0
        return there

    for frame in state.frames:
        frame.regs[:] = [resolved(r) for r in frame.regs]
        for index, slot in frame.stack.items():
            if slot.reg is not None and slot.reg.flags & OR_NULL:
                frame.stack[index] = Slot(slot.kinds, resolved(slot.reg))


# For `pkt OP end`: which way proves that the packet reaches at least to pkt, and whether one byte more.
_REACHES = {"jgt": (False, 0), "jlt": (True, 1), "jge": (False, 1), "jle": (True, 0)}


def _packet_ranges(name: str, dst: Reg, src: Reg, taken: State, fallen: State) -> None:
    """`data + n <= data_end` proves n bytes of packet for every pointer with the same id."""
    for p, end, op in ((dst, src, name), (src, dst, branch.MIRRORED.get(name, ""))):
        ok = p.type == T.PACKET and end.type == T.PACKET_END
        ok = ok or (p.type == T.PACKET_META and end.type == T.PACKET and end.off == 0 and end.is_const)
        if not ok or op not in _REACHES:
            continue
        on_taken, extra = _REACHES[op]
        state = taken if on_taken else fallen
        reach = p.off + extra
        if p.off < 0 or p.umax > MAX_PACKET_OFF or p.umax + p.off > MAX_PACKET_OFF:
            return
        for frame in state.frames:
            for i, r in enumerate(frame.regs):
                frame.regs[i] = _reaching(r, p, reach)
            for index, slot in frame.stack.items():
                if slot.reg is not None:
                    frame.stack[index] = Slot(slot.kinds, _reaching(slot.reg, p, reach))
        return


def _reaching(r: Reg, p: Reg, reach: int) -> Reg:
    if r.type != p.type or r.id != p.id or r.range >= reach:
        return r
    r = r.copy()
    r.range = reach
    return r
