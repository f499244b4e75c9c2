"""What a path holds and must give back before it ends: references, locks, sections in which it may not sleep."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace

from . import state as st
from .refs import LOCKS, Held, Ref, RefKind
from .state import ALLOC, DYNPTR_SLOT, EMPTY, LOCAL, NON_OWN, OR_NULL, RCU, TRUSTED, UNTRUSTED, Frame, Reg, Slot, State, T
from .walk import Walk

TRUST = ALLOC | TRUSTED | NON_OWN  # flags of pointers that are sure to be good
# Pointers of the verifier's own that kernel functions take as these structures.
KERNEL_TYPE = {T.MAP_PTR: "bpf_map", T.SOCKET: "sock", T.SOCK_COMMON: "sock_common", T.TCP_SOCK: "tcp_sock"}


def in_rcu(w: Walk) -> bool:
    """RCU pointers are good here: in a section, and in all of a program that may not sleep."""
    held = w.state.held
    return held.rcu or bool(held.locks) or not w.sleepable


def is_trusted(reg: Reg) -> bool:
    """A pointer that is sure to be good as long as it is held."""
    if reg.ref:
        return True
    safe = not reg.flags & ~(TRUST | LOCAL)
    return safe and (reg.type in KERNEL_TYPE or bool(reg.flags & TRUST))


def acquire(w: Walk, kind: RefKind = RefKind.OBJECT, place: object = None) -> int:
    """A new reference taken by the instruction under way; its id."""
    ref = Ref(w.new_id(), w.pc, kind, place)
    add(w.state, ref)
    return ref.id


def add(state: State, ref: Ref) -> None:
    state.held = replace(state.held, refs=(*state.held.refs, ref))


def drop(state: State, ref_id: int) -> bool:
    """Take a reference off the list. False if it is not there."""
    held = state.held
    rest = tuple(r for r in held.refs if r.id != ref_id or r.kind in LOCKS)
    if len(rest) == len(held.refs):
        return False
    state.held = replace(held, refs=rest)
    return True


def drop_lock(state: State, lock: Ref) -> None:
    """A lock's id is that of a pointer: it may be a reference's as well."""
    state.held = replace(state.held, refs=tuple(r for r in state.held.refs if r is not lock))


def release(w: Walk, ref_id: int) -> bool:
    """Give a reference back: every copy of the pointer is an unknown number now. False if it was not held."""
    if not drop(w.state, ref_id):
        return False
    change_regs(w.state.frames, lambda r: invalid(w) if r.ref == ref_id else r)
    return True


def invalid(w: Walk) -> Reg:
    """What is left of a pointer that must not be used any more."""
    return st.scalar() if w.env.privileged else st.UNINIT


def change_regs(frames: list[Frame], change: Callable[[Reg], Reg]) -> None:
    """Put `change(reg)` in place of every register and spilled register; a slot that loses its object is plain data."""
    for frame in frames:
        for i, r in enumerate(frame.regs):
            if r.type > st.SCALAR:
                frame.regs[i] = change(r)
        for index, slot in list(frame.stack.items()):
            if slot.reg is not None and slot.reg.type > st.SCALAR:
                now = change(slot.reg)
                if now is not slot.reg:
                    frame.stack[index] = _slot(slot, now)


def _slot(slot: Slot, now: Reg) -> Slot:
    if now.type > st.SCALAR:
        return Slot(slot.kinds, now)
    if slot.top != st.SPILL:
        return EMPTY
    return st.filled(st.MISC) if now.type != st.SCALAR or now.mask else Slot(slot.kinds, now)


def leave_rcu(w: Walk) -> None:
    """The read section is over: its pointers may be stale."""

    def stale(r: Reg) -> Reg:
        if not r.flags & RCU or r.type not in (T.BTF, T.ITER):
            return r
        r = r.copy()
        r.flags = r.flags & ~(RCU | OR_NULL) | UNTRUSTED
        return r

    change_regs(w.state.frames, stale)


def check_nothing_held(w: Walk, what: str, *, locks: bool = True, objects: bool = True) -> None:
    """Rejects `what` (Linux's name of the instruction) while the path holds something."""
    held = w.state.held
    if held.nothing:
        return
    if locks and held.locks:
        w.reject(f"{what} cannot be used inside bpf_spin_lock-ed region", errno.EINVAL)
    if objects and held.objects:
        lines = [f"Unreleased reference id={r.id} alloc_insn={r.pc}" for r in held.objects]
        w.reject("\n".join([*lines, f"{what} would lead to reference leak"]), errno.EINVAL)
    if locks and held.irqs:
        w.reject(f"{what} cannot be used inside bpf_local_irq_save-ed region", errno.EINVAL)
    if locks and held.rcu:
        w.reject(f"{what} cannot be used inside bpf_rcu_read_lock-ed region", errno.EINVAL)
    if locks and held.preempt:
        w.reject(f"{what} cannot be used inside bpf_preempt_disable-ed region", errno.EINVAL)


_NO_SLEEP: tuple[tuple[Callable[[Held], bool], str], ...] = (
    (lambda held: held.rcu, "rcu_read_lock region"),
    (lambda held: bool(held.preempt), "non-preemptible region"),
    (lambda held: bool(held.irqs), "IRQ-disabled region"),
)


def no_sleep_here(w: Walk) -> str:
    """The section in which nothing may sleep, as Linux names it; "" outside of all."""
    return next((name for holds, name in _NO_SLEEP if holds(w.state.held)), "")


def destroy_dynptr(w: Walk, number: int, index: int) -> None:
    """A slot is written over: the dynptr in it, and the memory taken from it, are gone. Rejects one with a reference."""
    frame = w.state.frames[number]
    slot = frame.stack.get(index)
    if slot is None or slot.top != DYNPTR_SLOT or slot.reg is None:
        return
    first = index + slot.reg.frame
    there = frame.stack[first].reg
    assert there is not None
    if there.ref:
        w.reject("cannot overwrite referenced dynptr", errno.EINVAL)
    for i in (first, first - 1):
        frame.stack[i] = EMPTY
    change_regs(w.state.frames, lambda r: invalid(w) if r.ref == there.id and r.type == T.MEM else r)
