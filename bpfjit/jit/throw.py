"""Exceptions: bpf_throw() ends the program out of whatever function it is in.

A function that throws notes it in the runtime and returns at once; whoever called a function that may throw looks for the
note and returns too, down to the main function, where the note is taken away and answered. Programs that throw nothing
have none of this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..isa.encoding import CALL
from ..program import Facts, Program
from ..uapi import bpf as uapi
from . import calls
from .values import Value

if TYPE_CHECKING:
    from .emit import FunctionEmitter

_THROW, _THROWN, _CATCH = "rt_bpf_throw", "rt_thrown", "rt_catch"


def throwing(program: Program, facts: Facts, subprog_at: list[int]) -> set[int]:
    """Functions out of which an exception may come."""
    found = {subprog_at[pc] for pc, call in facts.kfuncs.items() if call.name == "bpf_throw"}
    if not found:
        return found
    edges = [
        (subprog_at[pc], subprog_at[pc + insn.imm + 1])
        for pc, insn in enumerate(program.insns)
        if insn.code == CALL and insn.src == uapi.BPF_PSEUDO_CALL and facts.visited[pc]
    ]
    while more := {above for above, below in edges if below in found} - found:
        found |= more
    return found


def throw(f: FunctionEmitter) -> None:
    cookie = f.int_of(1)
    f.module.symbols[_THROW] = f"declare void @{_THROW}(i64) nounwind"
    f.emit(f"call void @{_THROW}({cookie})")
    _unwind(f)
    f.begin(f.label("never"))  # what the block ends with comes behind


def after_call(f: FunctionEmitter, index: int) -> None:
    """Behind a call of one of the program's functions: go on, or out of this function as well."""
    if index not in f.module.throwing:
        return
    f.module.symbols[_THROWN] = f"declare i32 @{_THROWN}() nounwind"
    unwind, go_on = f.label("unwind"), f.label("returned")
    thrown = f.assign(32, f"call i32 @{_THROWN}()")
    f.emit(f"br i1 {f.eq(thrown, f.const(32, 0)).text}, label %{go_on}, label %{unwind}")
    f.begin(unwind)
    _unwind(f)
    f.begin(go_on)


def _unwind(f: FunctionEmitter) -> None:
    if f.index:
        f.emit("ret i64 0" if f.module.return_width(f.index) else "ret ptr null")
        return
    f.module.symbols[_CATCH] = f"declare i64 @{_CATCH}() nounwind"
    answer: Value = f.assign(64, f"call i64 @{_CATCH}()")
    if f.facts.answers_throws >= 0:
        answer = calls.function(f, f.facts.answers_throws, {1: answer})
    if f.module.points is not None:
        f.module.points.leave(f)
    f.emit(f"ret {answer}")
