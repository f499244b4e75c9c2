"""Open-coded iterators: objects on the stack that *_new() makes, *_next() asks and *_destroy() takes away.

An iterator's slots hold a register of type ITER: btf_id its structure, size its state, range how often it was asked, ref
the reference that its destruction gives back (in the first slot alone), frame which of its slots it is.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from ..btf.types import Param
from ..spec.kfuncs import Kf
from ..uapi import bpf as uapi
from . import held, stack
from . import state as st
from .state import EMPTY, ITER_SLOT, RCU, UNTRUSTED, Reg, State, T, filled
from .walk import Walk

if TYPE_CHECKING:
    from .kfuncs import KfuncSite

ACTIVE, DRAINED = 1, 2
_FLAGS = Kf.ITER_NEW | Kf.ITER_NEXT | Kf.ITER_DESTROY


def is_iterator(site: KfuncSite, index: int) -> bool:
    return index == 0 and bool(site.flags & _FLAGS)


def check_argument(site: KfuncSite, i: int, p: Param, reg: Reg) -> None:
    """The iterator argument of a kfunc: made, asked or destroyed. Rejects."""
    w, btf = site.w, site.btf
    if reg.type != T.STACK:
        w.reject(f"arg#{i} expected pointer to an iterator on stack", errno.EINVAL)
    if site.name == "bpf_iter_css_task_new" and not _may_walk_css(w):
        w.reject("css_task_iter is only allowed in bpf_lsm, bpf_iter and sleepable progs", errno.EINVAL)
    btf_id = btf.skip(btf.resolve(p.type_id).ref)
    nslots = btf.type(btf_id).size // 8
    made = "uninitialized" if site.flags & Kf.ITER_NEW else "an initialized"
    wanted = f"expected {made} {btf.type(btf_id).name.removeprefix('bpf_')} as arg #{i}"
    index = stack.object_slot(w, reg, "iter", wanted)
    frame = w.state.frames[reg.frame]
    if site.flags & Kf.ITER_NEW:
        for k in range(nslots):
            found = frame.stack.get(index - k)
            if found is not None and found.top == ITER_SLOT:
                w.reject(wanted, errno.EINVAL)
        stack.check_range(w, reg, i + 1, 0, nslots * 8, "write to")
        stack.clobber(w, reg, nslots * 8)
        _make(site, reg, index, nslots, btf_id)
        return
    slots = [frame.stack.get(index - k) for k in range(nslots)]
    for k, slot in enumerate(slots):
        there = slot.reg if slot is not None and slot.top == ITER_SLOT else None
        if there is None or there.btf_id != btf_id or there.frame != k:
            w.reject(wanted, errno.EINVAL)
    stack.note_read(w, reg, nslots * 8)
    first = slots[0]
    assert first is not None and first.reg is not None
    if first.reg.flags & UNTRUSTED:
        w.reject(f"expected an RCU CS when using {site.name}", errno.EPROTO)
    site.ref = first.reg.ref
    site.iterator = (reg.frame, index)
    if site.flags & Kf.ITER_DESTROY:
        held.release(w, first.reg.ref)
        for k in range(nslots):
            frame.stack[index - k] = EMPTY


def _may_walk_css(w: Walk) -> bool:
    """Its lock is taken with interrupts on: not everywhere."""
    return w.sleepable or w.program.type.name == "lsm" or w.program.attach_type == uapi.BPF_TRACE_ITER


def _make(site: KfuncSite, reg: Reg, index: int, nslots: int, btf_id: int) -> None:
    w = site.w
    ref = held.acquire(w)
    frame = w.state.frames[reg.frame]
    for k in range(nslots):
        r = Reg(T.ITER)
        r.btf_id, r.size, r.frame = btf_id, ACTIVE, k
        if k == 0:
            r.ref = ref
            if site.flags & Kf.RCU_PROTECTED:
                r.flags = RCU if held.in_rcu(w) else UNTRUSTED
        frame.stack[index - k] = filled(ITER_SLOT, r)


def iterator_of(state: State, place: tuple[int, int]) -> Reg:
    """The iterator in a frame's slot."""
    slot = state.frames[place[0]].stack[place[1]]
    assert slot.reg is not None
    return slot.reg


def set_state(state: State, place: tuple[int, int], how: int, asked: int = 0) -> None:
    """Make an iterator ACTIVE or DRAINED, asked `asked` times more."""
    frame = state.frames[place[0]]
    r = iterator_of(state, place).copy()
    r.size = how
    r.range += asked
    frame.stack[place[1]] = filled(ITER_SLOT, r)


def is_active(state: State) -> bool:
    """Whether r1 points to an iterator that may have more (as an instruction that asks it is reached)."""
    r1 = state.frames[-1].regs[1]
    if r1.type != T.STACK or not r1.is_const:
        return False
    slot = state.frames[r1.frame].stack.get(-(r1.off + r1.smin) // 8 - 1)
    return slot is not None and slot.top == ITER_SLOT and slot.reg is not None and slot.reg.size == ACTIVE


def depths_differ(old: State, new: State) -> bool:
    """An active iterator was asked in between: the way here is no endless loop, whatever else is the same."""
    for o, n in zip(old.frames, new.frames, strict=True):
        for index, slot in o.stack.items():
            if slot.top != ITER_SLOT or slot.reg is None or slot.reg.size != ACTIVE or slot.reg.frame:
                continue
            other = n.stack.get(index)
            if other is not None and other.reg is not None and other.reg.range != slot.reg.range:
                return True
    return False


def element_flags(site: KfuncSite) -> int:
    """How far a structure that an iterator yields may be trusted."""
    return RCU if iterator_of(site.w.state, site.iterator).flags & RCU else st.TRUSTED
