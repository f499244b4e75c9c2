"""Calls: of the program's own functions, of helpers, of kernel functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..isa.encoding import Insn
from ..spec.helpers import helper_for
from ..spec.kinds import Arg, ArgKind, Helper, RetKind
from ..uapi import bpf as uapi
from . import inline, kfunc, throw
from .values import NULL, Value

if TYPE_CHECKING:
    from .emit import FunctionEmitter

_NUMBERS = frozenset({ArgKind.ANYTHING, ArgKind.SIZE, ArgKind.SIZE_OR_ZERO, ArgKind.ALLOC_SIZE})


def _width(arg: Arg) -> int:
    return 64 if arg.kind in _NUMBERS else 0


def call(f: FunctionEmitter, insn: Insn) -> None:
    if insn.src == uapi.BPF_PSEUDO_CALL:
        index = f.module.subprog_at[f.pc + insn.imm + 1]
        returned = function(f, index, f.regs)
        throw.after_call(f, index)
        f.set(0, returned)
        _forget(f)
        return
    if insn.src == uapi.BPF_PSEUDO_KFUNC_CALL:
        kfunc.call(f)
        _forget(f)
        return
    row = helper_for(insn.imm, f.program.type.name)
    lowering = inline.INLINE.get(row.inline)
    index = f.facts.call_map.get(f.pc, -1)
    if lowering is None or not lowering(f, f.program.maps[index] if index >= 0 else None, index):
        f.set(0, helper(f, row))
    _forget(f)


def _forget(f: FunctionEmitter) -> None:
    for r in range(1, 6):
        f.regs.pop(r, None)


def function(f: FunctionEmitter, index: int, given: Mapping[int, Value]) -> Value:
    """Call one of the program's functions with these registers; what it returns."""
    args = []
    for r in range(1, 6):
        v = given.get(r, NULL)
        args.append(str(f.to_int(v) if f.module.param_width(index, r) else f.to_ptr(v)))
    width = f.module.return_width(index)
    name = f.module.function_name(f.entry, index)
    return f.assign(width, f"call {Value('', width).type} @{name}({', '.join(args)})")


def helper(f: FunctionEmitter, row: Helper) -> Value:
    """Call the runtime's function; what it returns."""
    # trace_printk takes up to three more values than its row names.
    widths = [_width(a) for a in row.args] + [64] * (5 - len(row.args) if "..." in row.decl else 0)
    returns = 64 if row.ret in (RetKind.INTEGER, RetKind.VOID) else 0
    types = ", ".join(Value("", w).type for w in (*widths, *([64] if row.told_attached else [])))
    ret = Value("", returns).type
    f.module.symbols[row.symbol] = f"declare {ret} @{row.symbol}({types}) nounwind"
    args = []
    for i, w in enumerate(widths):
        v = f.regs.get(i + 1, Value("0", 64))
        args.append(str(f.to_int(v) if w else f.to_ptr(v)))
    if row.told_attached:
        args.append(str(f.const(64, f.facts.attached)))
    return f.assign(returns, f"call {ret} @{row.symbol}({', '.join(args)})")
