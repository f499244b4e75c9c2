"""Tail calls as LLVM IR: the next program is called and what it returns is returned, which LLVM makes a jump of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..program import MapInfo

if TYPE_CHECKING:
    from .emit import FunctionEmitter

# Where a chain begins: entered from outside, a program counts its 33 anew. From another program @prog itself is entered.
ENTER = """define i64 @{name}_enter(ptr %ctx) nounwind {{
  %outer = call i64 @rt_tail_enter()
  %r = call i64 @{name}(ptr %ctx)
  call void @rt_tail_leave(i64 %outer)
  ret i64 %r
}}
"""
SYMBOLS = {
    "rt_tail_enter": "declare i64 @rt_tail_enter() nounwind",
    "rt_tail_leave": "declare void @rt_tail_leave(i64) nounwind",
    "rt_tail_call": "declare ptr @rt_tail_call(ptr, i64) nounwind",
}


def call(f: FunctionEmitter, m: MapInfo | None, index: int) -> bool:
    """Go on with a program of an array, or with the next instruction where there is none."""
    f.module.tail_calls = True
    fn = f.assign(0, f"call ptr @rt_tail_call(ptr {f.ptr_of(2).text}, {f.int_of(3)})")
    there = f.assign(1, f"icmp ne ptr {fn.text}, null")
    gone, stays = f"tail{f.pc}", f"stay{f.pc}"
    f.emit(f"br i1 {there.text}, label %{gone}, label %{stays}")
    f.begin(gone)
    # From the entry function it is a jump, whatever the stack holds; a function of the program returns to its caller.
    kind = "musttail call" if f.index == 0 else "call"
    result = f.assign(64, f"{kind} i64 {fn.text}(ptr {f.ptr_of(1).text})")
    f.emit(f"ret {result}")
    f.begin(stays)
    f.regs.pop(0, None)
    return True
