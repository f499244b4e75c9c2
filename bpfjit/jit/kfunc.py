"""Calls of kernel functions as LLVM IR."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..program import StructRef
from ..spec.kfuncs import KFUNC_BY_NAME
from . import throw
from .values import NULL, ZERO, Value

if TYPE_CHECKING:
    from .emit import FunctionEmitter


def call(f: FunctionEmitter) -> None:
    """A call of the runtime's function: r1-r5 as numbers, whatever they hold, and r0 back."""
    site = f.facts.kfuncs[f.pc]
    inline = _INLINE.get(site.name)
    if inline is not None:
        inline(f)
        return
    symbol = KFUNC_BY_NAME[site.name].symbol
    f.module.symbols[symbol] = f"declare i64 @{symbol}(i64, i64, i64, i64, i64) nounwind"
    regs = {r: f.to_int(f.regs.get(r, ZERO)) for r in range(1, 6)}
    regs |= {r: _hidden(f, value) for r, value in site.hidden.items()}
    if site.own:
        regs[site.own] = f.to_int(f.module.own())
    args = [str(regs[r]) for r in range(1, 6)]
    f.set(0, f.assign(64, f"call i64 @{symbol}({', '.join(args)})"))


def _hidden(f: FunctionEmitter, what: int | StructRef) -> Value:
    return f.const(64, what) if isinstance(what, int) else f.to_int(f.module.struct_symbol(what.type_id))


def _ptr(f: FunctionEmitter, regno: int) -> Value:
    return f.to_ptr(f.regs.get(regno, NULL))


def _num_new(f: FunctionEmitter) -> None:
    """The number iterator keeps (last, end) as two 32-bit numbers: rt_bpf_iter_num_new() in place."""
    start, end = (f.trunc(f.int_of(r), 32) for r in (2, 3))
    span = f.sub(f.sext(end, 64), f.sext(start, 64))
    backwards = f.slt(span, f.const(64, 0))
    far = f.slt(f.const(64, _MAX_LOOPS), span)
    bad = f.assign(1, f"or i1 {backwards.text}, {far.text}")
    zero = f.const(32, 0)
    at = _ptr(f, 1)
    last = f.select(bad, zero, f.sub(start, f.const(32, 1)))
    f.emit(f"store {last}, ptr {at.text}, align 4")
    f.emit(f"store {f.select(bad, zero, end)}, ptr {f.offset(at, 4).text}, align 4")
    error = f.select(backwards, f.const(64, -errno.EINVAL), f.const(64, -errno.E2BIG))
    f.set(0, f.select(bad, error, f.const(64, 0)))


def _num_next(f: FunctionEmitter) -> None:
    at = _ptr(f, 1)
    last = f.assign(32, f"load i32, ptr {at.text}, align 4")
    end = f.assign(32, f"load i32, ptr {f.offset(at, 4).text}, align 4")
    following = f.add(last, f.const(32, 1))
    more = f.slt(following, end)
    zero = f.const(32, 0)
    f.emit(f"store {f.select(more, following, zero)}, ptr {at.text}, align 4")
    f.emit(f"store {f.select(more, end, zero)}, ptr {f.offset(at, 4).text}, align 4")
    f.set(0, f.select(more, at, NULL))


def _num_destroy(f: FunctionEmitter) -> None:
    f.emit(f"store i64 0, ptr {_ptr(f, 1).text}, align 4")


def _nothing(f: FunctionEmitter) -> None:
    """Whoever runs a program holds its CPU: that is a read section, and nobody takes it away."""


def _same(f: FunctionEmitter) -> None:
    f.set(0, f.regs.get(1, NULL))


_MAX_LOOPS = 1 << 23
_INLINE: dict[str, Callable[[FunctionEmitter], None]] = {
    "bpf_iter_num_new": _num_new,
    "bpf_iter_num_next": _num_next,
    "bpf_iter_num_destroy": _num_destroy,
    "bpf_rcu_read_lock": _nothing,
    "bpf_rcu_read_unlock": _nothing,
    "bpf_preempt_disable": _nothing,
    "bpf_preempt_enable": _nothing,
    "bpf_rdonly_cast": _same,
    "bpf_throw": throw.throw,
}
