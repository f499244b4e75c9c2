"""Conditional jumps on a state: which way they can go, and what each way says of registers and stack."""

from __future__ import annotations

from . import branch, fields, held, objects
from . import state as st
from .bounds import zero_extend
from .op import Op
from .sockmaps import FOUND
from .state import ADDED, ADDED_32, AT_END, BEYOND_END, OR_NULL, SCALAR, SLOT_BIT, SPILL, Reg, Slot, State, T, make_slot
from .transfer import transfer
from .walk import MAX_PACKET_OFF, Walk, non_null

# Names with an underscore are C numbers in the compiled module (jump.pxd).
_SCALAR, _SPILL, _SLOT_BIT, _ADDED_32, _BOTH = SCALAR, SPILL, SLOT_BIT, ADDED_32, ADDED | ADDED_32


def decide(w: Walk, name: str, width: int, dst: Reg, src: Reg) -> bool | None:
    """Whether the jump is always taken, never, or (None) either."""
    if dst.type == _SCALAR and src.type == _SCALAR:
        return branch.decide(name, width, dst, src)
    if name in ("jeq", "jne") and width == 64:
        for p, other in ((dst, src), (src, dst)):
            if _is_there(p) and other.type == SCALAR and other.is_const and other.value == 0:
                return name == "jne"
    if width == 64 and (dst.range < 0 or src.range < 0):
        return _beyond(name, dst, src)
    if not w.env.privileged and not _comparable(dst, src, name):
        w.reject("pointer comparison prohibited")
    return None


def _beyond(name: str, dst: Reg, src: Reg) -> bool | None:
    """A packet pointer that a jump found at or beyond the end of the packet, compared with the end once more."""
    if dst.type == T.PACKET_END:
        dst, src, name = src, dst, branch.MIRRORED[name]
    if src.type != T.PACKET_END or dst.range >= 0:
        return None
    if name in ("jle", "jgt") and dst.range == BEYOND_END:
        return name == "jgt"
    return name == "jge" if name in ("jlt", "jge") else None


_NEVER_NULL = frozenset({T.MAP_VALUE, T.MAP_KEY, T.MAP_PTR, T.MEM, T.SOCKET, T.SOCK_COMMON, T.TCP_SOCK})


def _is_there(p: Reg) -> bool:
    """A pointer that Linux takes for surely not NULL when it is compared with 0."""
    if p.flags & OR_NULL or (p.type == T.MEM and p.flags & st.UNTRUSTED):
        return False
    return p.type in _NEVER_NULL or (p.type == T.BTF and held.is_trusted(p))


def refine(
    w: Walk, insn: Op, name: str, width: int, dst: Reg, src: Reg, taken: State, linked: tuple[tuple[int, int], ...]
) -> None:
    """Narrow both ways: `taken` is the state at the target, w.state falls through; `linked` as note_linked() has it."""
    if dst.type == _SCALAR and src.type == _SCALAR:
        by_register = insn.by_register and insn.src != insn.dst
        for state, condition in ((taken, name), (w.state, branch.NEGATED[name])):
            if insn.by_register and not by_register:
                d = state.frames[-1].regs[insn.dst] = branch.narrow_alone(condition, width, dst)
                _spread(state, d, linked)
                continue
            d, s = branch.narrow(condition, width, dst, src)
            state.frames[-1].regs[insn.dst] = d
            if by_register and src.mask:
                state.frames[-1].regs[insn.src] = s
                _spread(state, s, linked)
                d = state.frames[-1].regs[insn.dst]
            _spread(state, d, linked)
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
        _packet_ranges(insn, name, dst, src, taken, w.state)


def _comparable(a: Reg, b: Reg, name: str) -> bool:
    packets = {T.PACKET, T.PACKET_META, T.PACKET_END}
    if a.type in packets and b.type in packets:
        return True
    return name in ("jeq", "jne") and any(r.type == SCALAR and r.is_const and r.value == 0 for r in (a, b))


_MAX_LINKED = 6


def note_linked(w: Walk, dst: Reg, src: Reg) -> tuple[tuple[int, int], ...]:
    """Which scalars a jump narrows together, as (frame, bit); noted on the path. As in Linux those that are live, and not
    more than six."""
    found: list[tuple[int, int]] = []
    if src.id and src.type == _SCALAR:
        _collect(w, src.id, found)
    if dst.id and dst.type == _SCALAR and (dst.id != src.id or not found):
        _collect(w, dst.id, found)
    linked = tuple(found)
    if len(found) > 1:
        w.step().linked = linked
    return linked


def _collect(w: Walk, number: int, found: list[tuple[int, int]]) -> None:
    """Add the scalars with an id to those found; the ones that are too many are on their own from here."""
    pc = w.pc
    for frame in reversed(w.state.frames):
        live = w.live[pc]
        pc = frame.call_site
        regs = frame.regs
        for i in range(10):
            r = regs[i]
            if r.id == number and r.type == _SCALAR and live >> i & 1:
                if len(found) < _MAX_LINKED:
                    found.append((frame.number, i))
                else:
                    regs[i] = _alone(r)
        if not frame.stack:
            continue
        for index, slot in sorted(frame.stack.items()):
            spilled = slot.reg
            if spilled is not None and spilled.id == number and spilled.type == _SCALAR and slot.top == _SPILL:
                if len(found) < _MAX_LINKED:
                    found.append((frame.number, SLOT_BIT + index))
                else:
                    frame.stack[index] = make_slot(slot.kinds, _alone(spilled))


def _alone(r: Reg) -> Reg:
    r = r.copy()
    r.unlink()
    return r


def _spread(state: State, now: Reg, linked: tuple[tuple[int, int], ...]) -> None:
    """Give those of `linked` that are known to hold the same number (or that number and a constant, Reg.off) what a jump
    said of it."""
    if not now.id:
        return
    for number, bit in linked:
        frame = state.frames[number]
        if bit < _SLOT_BIT:
            r = frame.regs[bit]
            if r.id == now.id and r is not now:
                frame.regs[bit] = _linked(r, now)
        else:
            slot = frame.stack[bit - _SLOT_BIT]
            spilled = slot.reg
            assert spilled is not None
            if spilled.id == now.id and spilled is not now:
                frame.stack[bit - _SLOT_BIT] = make_slot(slot.kinds, _linked(spilled, now))


def _linked(r: Reg, now: Reg) -> Reg:
    if (r.flags ^ now.flags) == _BOTH:
        return r  # one was moved on 64 bits, one on 32: the distance is not theirs
    if r.off == now.off:
        return now
    narrow = (r.flags | now.flags) & _ADDED_32
    moved = transfer("add", 64, now, st.const_scalar(r.off - now.off))
    if narrow:
        zero_extend(moved)
    moved.id, moved.off, moved.flags = r.id, r.off, r.flags
    return moved


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
        if there.type == T.MAP_VALUE and (finds := w.program.maps[there.map].type.finds):
            there.type = FOUND[finds]
        lockable = there.type == T.MAP_VALUE and fields.may_lock(w.program.maps[there.map])
        lockable = lockable or (there.type == T.BTF and objects.is_lockable(w, there))
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


def _packet_ranges(insn: Op, name: str, dst: Reg, src: Reg, taken: State, fallen: State) -> None:
    """`data + n <= data_end` proves n bytes of packet for every pointer with the same id."""
    for p, end, op in ((dst, src, name), (src, dst, branch.MIRRORED.get(name, ""))):
        ok = p.type == T.PACKET and end.type == T.PACKET_END
        ok = ok or (p.type == T.PACKET_META and end.type == T.PACKET and end.off == 0 and end.is_const)
        if not ok or op not in _REACHES:
            continue
        on_taken, extra = _REACHES[op]
        state, short = (taken, fallen) if on_taken else (fallen, taken)
        if p.type == T.PACKET:
            _mark_end(short, insn.dst if p is dst else insn.src, AT_END if extra else BEYOND_END)
        reach = p.off + extra
        if p.off < 0 or (not p.off and extra):
            return  # of a pointer with no fixed offset Linux does not count the one byte
        if p.umax > MAX_PACKET_OFF or p.umax + p.off > MAX_PACKET_OFF:
            return
        for frame in state.frames:
            for i, r in enumerate(frame.regs):
                frame.regs[i] = _reaching(r, p, reach)
            for index, slot in frame.stack.items():
                if slot.reg is not None:
                    frame.stack[index] = make_slot(slot.kinds, _reaching(slot.reg, p, reach))
        return


def _mark_end(state: State, regno: int, where: int) -> None:
    """The other way: this pointer lies at the end of the packet, or beyond it."""
    r = state.frames[-1].regs[regno] = state.frames[-1].regs[regno].copy()
    r.range = where


def _reaching(r: Reg, p: Reg, reach: int) -> Reg:
    if r.type != p.type or r.id != p.id or r.range >= reach:
        return r
    r = r.copy()
    r.range = reach
    return r
