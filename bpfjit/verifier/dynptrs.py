"""Dynptrs: pointers whose size is known as the program runs, kept in two stack slots that only helpers look into.

A dynptr's slots hold a register of type DYNPTR: size is its type (Kind), id its own number, ref the reference of a reserved
ring buffer record, frame which of the two slots it is. Memory taken from it carries that number, or that reference, as its
own ref, and goes when the dynptr does.
"""

from __future__ import annotations

import errno
from enum import IntEnum
from typing import TYPE_CHECKING

from ..btf.types import Param
from . import held, mem, stack
from . import state as st
from .state import DYNPTR_SLOT, EMPTY, PACKET_SLICE, RDONLY, Reg, T, filled
from .walk import Walk

if TYPE_CHECKING:
    from .kfuncs import KfuncSite


class Kind(IntEnum):
    """What a dynptr's memory is; the numbers are the kernel's enum bpf_dynptr_type."""

    LOCAL = 1
    RINGBUF = 2
    SKB = 3
    XDP = 4
    SKB_META = 5


_NAMES = {Kind.LOCAL: "local", Kind.RINGBUF: "ringbuf", Kind.SKB: "skb", Kind.XDP: "xdp", Kind.SKB_META: "skb_meta"}
_PACKETS = frozenset({Kind.SKB, Kind.XDP, Kind.SKB_META})
_BYTES = 16


def _check_pointer(w: Walk, regno: int, reg: Reg) -> None:
    if reg.type not in (T.STACK, T.DYNPTR):
        w.reject(f"arg#{regno - 1} expected pointer to stack or const struct bpf_dynptr", errno.EINVAL)


def make(w: Walk, regno: int, reg: Reg, kind: Kind, ref: int = 0) -> None:
    """A helper makes a dynptr in two slots of the stack; with `ref`, another of one that is there. Rejects."""
    _check_pointer(w, regno, reg)
    wanted = "Dynptr has to be an uninitialized dynptr"
    if reg.type == T.DYNPTR:
        w.reject(wanted, errno.EINVAL)
    index = stack.object_slot(w, reg, "dynptr", wanted)
    stack.check_range(w, reg, regno, 0, _BYTES, "write to")
    frame = w.state.frames[reg.frame]
    for i in (index, index - 1):
        held.destroy_dynptr(w, reg.frame, i)
    stack.clobber(w, reg, _BYTES)
    number = w.new_id()
    if kind is Kind.RINGBUF and not ref:
        ref = held.acquire(w)
    for k in range(2):
        r = Reg(T.DYNPTR)
        r.size, r.frame = kind, k
        if k == 0:
            r.id, r.ref = number, ref
        frame.stack[index - k] = filled(DYNPTR_SLOT, r)


def initialized(w: Walk, regno: int, reg: Reg, kind: Kind | None = None, *, mutates: bool = False) -> Reg:
    """The dynptr behind an argument: one that was made, of the kind that is wanted. Rejects."""
    _check_pointer(w, regno, reg)
    wanted = f"Expected an initialized dynptr as arg #{regno - 1}"
    if reg.type == T.DYNPTR:
        if mutates:
            w.reject("cannot pass pointer to const bpf_dynptr, the helper mutates it", errno.EINVAL)
        mem.check_pointer_offset(w, regno, reg)
        found = reg
    else:
        index = stack.object_slot(w, reg, "dynptr", wanted)
        slots = [w.state.frames[reg.frame].stack.get(index - k) for k in range(2)]
        for k, slot in enumerate(slots):
            made = slot.reg if slot is not None and slot.top == DYNPTR_SLOT else None
            if made is None or made.frame != k:
                w.reject(wanted, errno.EINVAL)
        first = slots[0]
        assert first is not None and first.reg is not None
        stack.note_read(w, reg, _BYTES)
        found = first.reg
    if kind is not None and found.size != kind:
        w.reject(f"Expected a dynptr of type {_NAMES[kind]} as arg #{regno - 1}", errno.EINVAL)
    return found


def handed(w: Walk, kind: Kind) -> Reg:
    """A dynptr that a callback gets to read and write through, and not to change."""
    r = st.pointer(T.DYNPTR)
    r.size, r.id = kind, w.new_id()
    return r


def check_released(w: Walk, regno: int, reg: Reg, kind: Kind) -> int:
    """The reference that a helper gives back with its dynptr. Rejects one that holds none."""
    if reg.type == T.DYNPTR:
        w.reject("cannot release unowned const bpf_dynptr", errno.EINVAL)
    slot = None
    if reg.type == T.STACK and reg.is_const and not (reg.off + reg.smin) % 8:
        slot = w.state.frames[reg.frame].stack.get(-(reg.off + reg.smin) // 8 - 1)
    if slot is None or slot.reg is None or slot.top != DYNPTR_SLOT or not slot.reg.ref:
        w.reject(f"arg {regno} is an unacquired reference", errno.EINVAL)
    return initialized(w, regno, reg, kind).ref


def release(w: Walk, ref: int) -> None:
    """A reserved record is given back: all dynptrs of it go, and what was taken from them."""
    for frame in w.state.frames:
        for index, slot in list(frame.stack.items()):
            if slot.top == DYNPTR_SLOT and slot.reg is not None and slot.reg.ref == ref:
                frame.stack[index] = frame.stack[index - 1] = EMPTY
    held.release(w, ref)


def memory(there: Reg, size: int, *, rdonly: bool = False, packet_slice: bool = False) -> Reg:
    """Bytes taken out of a dynptr (not checked for NULL here)."""
    r = st.pointer(T.MEM, RDONLY if rdonly else 0)
    r.size = size
    r.ref = there.ref or there.id
    if packet_slice and there.size in _PACKETS:
        r.flags |= PACKET_SLICE
    return r


def may_move(there: Reg) -> bool:
    """Writing into it may move its packet: a frame's stays where it is."""
    return there.size in (Kind.SKB, Kind.SKB_META)


# -- kernel functions ------------------------------------------------------------------------------

_MAKERS = {
    "bpf_dynptr_from_skb": Kind.SKB,
    "bpf_dynptr_from_xdp": Kind.XDP,
    "bpf_dynptr_from_skb_meta": Kind.SKB_META,
}


def check_argument(site: KfuncSite, i: int, p: Param, reg: Reg) -> None:
    """A `struct bpf_dynptr *` argument of a kernel function. Rejects."""
    w = site.w
    if not p.name.endswith("__uninit"):
        site.dynptr = initialized(w, i + 1, reg)
        return
    kind = _MAKERS.get(site.name)
    if kind is not None:
        make(w, i + 1, reg, kind)
        site.hidden[4] = int(not w.program.type.packet_writable)
        return
    assert site.dynptr is not None, "a clone is made of the argument before"
    make(w, i + 1, reg, Kind(site.dynptr.size), site.dynptr.ref)


def slice_of(site: KfuncSite) -> Reg:
    """What bpf_dynptr_slice() and bpf_dynptr_slice_rdwr() return."""
    w = site.w
    assert site.dynptr is not None and site.constant is not None
    rdonly = site.name == "bpf_dynptr_slice"
    if not rdonly and not may_write_packets(w):
        w.reject("the prog does not allow writes to packet data", errno.EINVAL)
    return memory(site.dynptr, site.constant, rdonly=rdonly, packet_slice=True)


def may_write_packets(w: Walk) -> bool:
    """Whether programs of this type, if they have packets at all, write them."""
    return w.program.type.packet_writable
