"""Resilient locks (bpf_res_spin_lock): taking one may fail, and then it is not held."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from ..btf.types import Param
from . import locks
from . import state as st
from .bounds import sync
from .refs import RefKind
from .state import ALLOC, LOCAL, OR_NULL, Reg, State, T
from .walk import Walk

if TYPE_CHECKING:
    from .kfuncs import KfuncSite

TAKES = frozenset({"bpf_res_spin_lock", "bpf_res_spin_lock_irqsave"})
_MAX_ERRNO = 4095
WITH_IRQS = frozenset({"bpf_res_spin_lock_irqsave", "bpf_res_spin_unlock_irqrestore"})


def not_taken(w: Walk) -> State:
    """The way on with an error in place of the lock."""
    failed = w.state.copy()
    r0 = st.unknown_scalar()
    r0.smin, r0.smax, r0.s32min, r0.s32max = -_MAX_ERRNO, -1, -_MAX_ERRNO, -1
    sync(r0)
    regs = failed.frame.regs
    regs[0] = r0
    for i in range(1, 6):
        regs[i] = st.UNINIT
    return failed


def check_argument(site: KfuncSite, i: int, p: Param, reg: Reg) -> None:
    """The lock of bpf_res_spin_lock() and its like. Rejects."""
    value = reg.type == T.MAP_VALUE and not reg.flags & OR_NULL
    if not value and (reg.type != T.BTF or reg.flags != ALLOC | LOCAL):
        site.w.reject(f"arg#{i} doesn't point to map value or allocated object", errno.EINVAL)
    kind = RefKind.RES_LOCK_IRQ if site.name in WITH_IRQS else RefKind.RES_LOCK
    locks.check(site.w, i + 1, reg, kind, take=site.name in TAKES)
