"""bpf_spin_lock and bpf_res_spin_lock: where one lies, which are held, and in what order they are given back."""

from __future__ import annotations

import errno
from typing import NoReturn

from ..btf import NO_FIELDS, Record, Special
from . import held, objects
from . import state as st
from .log import type_name
from .refs import Ref, RefKind
from .state import ALLOC, LOCAL, OR_NULL, Reg, T
from .walk import Walk

OBJECT = "object"  # Ref.place of a lock in an object of the program's own; of one in a map's value it is the map
_TYPES = "map_value, ptr_"


def record_at(w: Walk, reg: Reg) -> Record:
    """The special fields of what a register points to: a map's value, or an object of the program's own."""
    if reg.type == T.MAP_VALUE:
        return w.program.maps[reg.map].record
    if reg.type == T.BTF and reg.flags & LOCAL:
        return objects.record_of(w, reg)
    return NO_FIELDS


def place_of(reg: Reg) -> object:
    return reg.map if reg.type == T.MAP_VALUE else OBJECT


def holds_lock_of(w: Walk, reg: Reg) -> bool | None:
    """Whether the lock held is that of the allocation that a register points into; None: no lock is held."""
    locks = w.state.held.locks
    if not locks:
        return None
    return any((r.id, r.place) == (reg.id, place_of(reg)) for r in locks)


def check(w: Walk, regno: int, reg: Reg, kind: RefKind, *, take: bool) -> None:
    """Take or give back the lock that a register points to. Rejects."""
    resilient = kind is not RefKind.LOCK
    name = "bpf_res_spin" if resilient else "bpf_spin"
    own = reg.type == T.BTF and reg.flags == ALLOC | LOCAL
    if not own and (reg.type != T.MAP_VALUE or reg.flags & OR_NULL):
        w.reject(f"R{regno} type={type_name(reg)} expected={_TYPES}")
    if in_less(w):
        w.reject("can't spin_{lock,unlock} in rbtree cb")
    _check_place(w, regno, reg, name, Special.RES_SPIN_LOCK if resilient else Special.SPIN_LOCK)
    if take:
        _take(w, reg, kind)
    else:
        _give_back(w, reg, kind, name)


def _check_place(w: Walk, regno: int, reg: Reg, name: str, kind: Special) -> None:
    if not reg.is_const:
        w.reject(f"R{regno} doesn't have constant offset. {name}_lock has to be at the constant offset", errno.EINVAL)
    owner = "local 'kptr'"
    if reg.type == T.MAP_VALUE:
        m = w.program.maps[reg.map]
        owner = f"map '{m.name}'"
        if not m.has_btf:
            w.reject(f"{owner} has to have BTF in order to use {name}_lock", errno.EINVAL)
    field = record_at(w, reg).one(kind)
    if field is None:
        w.reject(f"{owner} has no valid {name}_lock", errno.EINVAL)
    at = reg.off + st.s64(reg.value)
    if at != field.offset:
        w.reject(f"off {at} doesn't point to 'struct {name}_lock' that is at {field.offset}", errno.EINVAL)


def _take(w: Walk, reg: Reg, kind: RefKind) -> None:
    locks = w.state.held.locks
    if kind is RefKind.LOCK and any(r.kind is RefKind.LOCK for r in locks):
        w.reject("Locking two bpf_spin_locks are not allowed", errno.EINVAL)
    place = place_of(reg)
    if kind is not RefKind.LOCK and any(r.kind is not RefKind.LOCK and (r.id, r.place) == (reg.id, place) for r in locks):
        w.reject("Acquiring the same lock again, AA deadlock detected", errno.EINVAL)
    held.add(w.state, Ref(reg.id, w.pc, kind, place))


def _give_back(w: Walk, reg: Reg, kind: RefKind, name: str) -> None:
    locks = w.state.held.locks
    if not locks:
        w.reject(f"{name}_unlock without taking a lock", errno.EINVAL)
    mine = next((r for r in locks if r == (reg.id, r.pc, kind, place_of(reg))), None)
    if mine is None:
        w.reject(f"{name}_unlock of different lock", errno.EINVAL)
    last = locks[-1]
    if mine is not last:
        w.reject(f"{name}_unlock cannot be out of order", errno.EINVAL)
    held.drop_lock(w.state, mine)
    objects.forget_borrowed(w)


def in_less(w: Walk) -> bool:
    """The function under way is the callback that bpf_rbtree_add() compares with: the tree's lock is held around it."""
    frame = w.state.frames[-1]
    call = w.facts.kfuncs.get(frame.call_site) if frame.callback else None
    return call is not None and call.name == "bpf_rbtree_add_impl"


def refuse_call(w: Walk) -> NoReturn:
    w.reject("function calls are not allowed while holding a lock", errno.EINVAL)
