"""Calls of kernel functions as LLVM IR."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..spec.kfuncs import KFUNC_BY_NAME
from .values import ZERO

if TYPE_CHECKING:
    from .emit import FunctionEmitter


def call(f: FunctionEmitter) -> None:
    """A call of the runtime's function: r1-r5 as numbers, whatever they hold, and r0 back."""
    site = f.facts.kfuncs[f.pc]
    symbol = KFUNC_BY_NAME[site.name].symbol
    f.module.symbols[symbol] = f"declare i64 @{symbol}(i64, i64, i64, i64, i64) nounwind"
    args = [str(f.const(64, site.hidden[r]) if r in site.hidden else f.to_int(f.regs.get(r, ZERO))) for r in range(1, 6)]
    f.set(0, f.assign(64, f"call i64 @{symbol}({', '.join(args)})"))
