"""Calls: of the program's own functions, of helpers, and helpers that are lowered in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..isa.encoding import Insn
from ..program import MapInfo
from ..spec.helpers import HELPER_BY_ID
from ..spec.kinds import Arg, ArgKind, Helper, RetKind
from ..uapi import bpf as uapi
from . import kfunc, tail
from .values import NULL, Value

if TYPE_CHECKING:
    from .emit import FunctionEmitter

_NUMBERS = frozenset({ArgKind.ANYTHING, ArgKind.SIZE, ArgKind.SIZE_OR_ZERO})


def _width(arg: Arg) -> int:
    return 64 if arg.kind in _NUMBERS else 0


def call(f: FunctionEmitter, insn: Insn) -> None:
    if insn.src == uapi.BPF_PSEUDO_CALL:
        _function(f, f.module.subprog_at[f.pc + insn.imm + 1])
        return
    if insn.src == uapi.BPF_PSEUDO_KFUNC_CALL:
        kfunc.call(f)
        _forget(f)
        return
    row = HELPER_BY_ID[insn.imm]
    if row.inline == "tail_call":
        tail.call(f)
        _forget(f)
        return
    inline = _INLINE.get(row.inline)
    map_index = f.facts.call_map.get(f.pc, -1)
    if inline is None or map_index < 0 or not inline(f, f.program.maps[map_index], map_index):
        _helper(f, row)
    _forget(f)


def _forget(f: FunctionEmitter) -> None:
    for r in range(1, 6):
        f.regs.pop(r, None)


def _function(f: FunctionEmitter, index: int) -> None:
    args = []
    for r in range(1, 6):
        width = f.module.param_width(index, r)
        v = f.regs.get(r, NULL)
        args.append(str(f.to_int(v) if width else f.to_ptr(v)))
    width = f.module.return_width(index)
    name = f.module.function_name(f.entry, index)
    result = f.assign(width, f"call {Value('', width).type} @{name}({', '.join(args)})")
    f.set(0, result)
    _forget(f)


def _helper(f: FunctionEmitter, row: Helper) -> None:
    # trace_printk takes up to three more values than its row names.
    widths = [_width(a) for a in row.args] + [64] * (5 - len(row.args) if "..." in row.decl else 0)
    returns = 64 if row.ret in (RetKind.INTEGER, RetKind.VOID) else 0
    types = ", ".join(Value("", w).type for w in widths)
    ret = Value("", returns).type
    f.module.symbols[row.symbol] = f"declare {ret} @{row.symbol}({types}) nounwind"
    args = []
    for i, w in enumerate(widths):
        v = f.regs.get(i + 1, Value("0", 64))
        args.append(str(f.to_int(v) if w else f.to_ptr(v)))
    f.set(0, f.assign(returns, f"call {ret} @{row.symbol}({', '.join(args)})"))


def _array_lookup(f: FunctionEmitter, m: MapInfo, index: int) -> bool:
    """map_lookup_elem on an array: a compare and an address."""
    if not m.type.direct:
        return False
    symbol = f"map{index}.values"
    f.module.symbols[symbol] = f"@{symbol} = external global i8"
    # The key lies wherever the program put it, a packet included: nothing is promised of its alignment.
    key = f.assign(32, f"load i32, ptr {f.ptr_of(2).text}, align 1")
    inside = f.assign(1, f"icmp ult i32 {key.text}, {m.max_entries}")
    stride = -(-m.value_size // 8) * 8
    at = f.mul(f.zext(key, 64), f.const(64, stride))
    address = f.offset(Value(f"@{symbol}", 0), at)
    f.set(0, f.assign(0, f"select i1 {inside.text}, ptr {address.text}, ptr null"))
    return True


_INLINE: dict[str, Callable[[FunctionEmitter, MapInfo, int], bool]] = {"map_lookup": _array_lookup}
