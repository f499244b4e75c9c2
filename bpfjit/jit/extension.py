"""Functions that another program may take the place of (freplace), as LLVM IR: first a look at who stands there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..btf import Kind
from ..program import Program
from .values import Value

if TYPE_CHECKING:
    from .emit import Emitter


def is_replaceable(program: Program, start: int) -> bool:
    """Whether the function that begins there has global linkage, main aside: what Linux lets others replace."""
    if program.btf is None or not start:
        return False
    type_id = next((info.type_id for info in program.funcs if info.insn_off == start), None)
    func = program.btf.type(type_id) if type_id is not None else None
    return func is not None and func.kind is Kind.FUNC and func.linkage == 1


def front(module: Emitter, name: str, ret: str, index: int, params: Sequence[tuple[int, int]]) -> str:
    """@name: goes on with the extension, which takes five numbers, or with the function itself, @name.own."""
    module.own()
    signature = ", ".join(f"{Value('', width).type} %r{r}" for r, width in params)
    numbers = [f"%n{r}" if not width else f"%r{r}" for r, width in params]
    casts = [f"  %n{r} = ptrtoint ptr %r{r} to i64" for r, width in params if not width]
    given = ", ".join(f"i64 {number}" for number in numbers)
    back = ["  %back = inttoptr i64 %said to ptr", "  ret ptr %back"] if ret == "ptr" else ["  ret i64 %said"]
    return "\n".join(
        [
            f"define internal {ret} @{name}({signature}) nounwind {{",
            "  %table = load atomic ptr, ptr @own monotonic, align 8",
            "  %none = icmp eq ptr %table, null",
            '  br i1 %none, label %own, label %look, !prof !{!"branch_weights", i32 2000, i32 1}',
            "look:",
            f"  %at = getelementptr inbounds ptr, ptr %table, i64 {index}",
            "  %fn = load atomic ptr, ptr %at monotonic, align 8",
            "  %free = icmp eq ptr %fn, null",
            "  br i1 %free, label %own, label %other",
            "other:",
            *casts,
            f"  %said = call i64 %fn({given})",
            *back,
            "own:",
            f"  %r = call {ret} @{name}.own({signature})",
            f"  ret {ret} %r",
            "}",
        ]
    )
