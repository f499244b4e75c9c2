"""Interrupts that a program disables: the flags to restore lie in a stack slot, last disabled is first restored.

The flags' register is of type IRQ_FLAG: size 1 where a resilient lock disabled them.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from ..btf.types import Param
from . import held, reslocks, stack
from .refs import RefKind
from .state import EMPTY, IRQ_SLOT, Reg, T, filled

if TYPE_CHECKING:
    from .kfuncs import KfuncSite


_SAVES = frozenset({"bpf_local_irq_save", "bpf_res_spin_lock_irqsave"})


def check_argument(site: KfuncSite, i: int, p: Param, reg: Reg) -> None:
    """The flags of bpf_local_irq_save() and bpf_local_irq_restore(). Rejects."""
    w = site.w
    saves, by_lock = site.name in _SAVES, site.name in reslocks.WITH_IRQS
    if reg.type != T.STACK:
        w.reject(f"arg#{i} doesn't point to an irq flag on stack", errno.EINVAL)
    wanted = f"expected {'uninitialized' if saves else 'an initialized'} irq flag as arg#{i}"
    index = stack.object_slot(w, reg, "irq_flag", wanted)
    frame = w.state.frames[reg.frame]
    slot = frame.stack.get(index)
    if saves:
        if slot is not None and slot.top == IRQ_SLOT:
            w.reject(wanted, errno.EINVAL)
        stack.check_range(w, reg, i + 1, 0, 8, "write to")
        stack.clobber(w, reg, 8)
        made = Reg(T.IRQ_FLAG)
        made.size, made.ref = int(by_lock), held.acquire(w, RefKind.IRQ)
        frame.stack[index] = filled(IRQ_SLOT, made)
        return
    if slot is None or slot.top != IRQ_SLOT or slot.reg is None:
        w.reject(wanted, errno.EINVAL)
    stack.note_read(w, reg, 8)
    flags = slot.reg
    if flags.size != by_lock:
        kinds = ("native", "lock")
        how = f"irq flag acquired by {kinds[flags.size]} kfuncs cannot be restored with {kinds[by_lock]} kfuncs"
        w.reject(how, errno.EINVAL)
    last = w.state.held.irqs[-1]
    if last.id != flags.ref:
        w.reject(
            f"cannot restore irq state out of order, expected id={last.id} acquired at insn_idx={last.pc}", errno.EACCES
        )
    held.drop(w.state, flags.ref)
    frame.stack[index] = EMPTY
