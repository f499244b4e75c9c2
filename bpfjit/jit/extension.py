"""Functions that other programs take the place of (freplace) or trace (fentry, fexit), as LLVM IR.

A function of global linkage looks who stands in its place; the main function has that look built in. Tracing wants code of
its own, in which every function is entered and left through the runtime: it is made for the first who traces the program,
and stands in the main function's place from then on.
"""

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


def look(module: Emitter, params: Sequence[tuple[int, int]]) -> list[str]:
    """Of the main function, behind what its entry block allocates: go to who stands in its place, or on at %start."""
    module.own()
    given = ", ".join(f"{Value('', width).type} %r{r}" for r, width in params)
    return [
        "  %table = load atomic ptr, ptr @own monotonic, align 8",
        "  %none = icmp eq ptr %table, null",
        '  br i1 %none, label %start, label %look, !prof !{!"branch_weights", i32 2000, i32 1}',
        "look:",
        "  %fn = load atomic ptr, ptr %table monotonic, align 8",
        "  %free = icmp eq ptr %fn, null",
        "  br i1 %free, label %start, label %other",
        "other:",
        f"  %said = musttail call i64 %fn({given})",
        "  ret i64 %said",
        "start:",
    ]


def traced(module: Emitter, name: str, ret: str, index: int, params: Sequence[tuple[int, int]]) -> str:
    """@name: @name.own between the programs that run before and behind it."""
    module.own()
    for way, rest in (("enter", ""), ("leave", ", i64")):
        module.symbols[f"rt_traced_{way}"] = f"declare void @rt_traced_{way}(ptr, i64, ptr{rest}) nounwind"
    signature = ", ".join(f"{Value('', width).type} %r{r}" for r, width in params)
    stores = []
    for slot, (r, width) in enumerate(params):
        stores += [
            f"  %at{r} = getelementptr inbounds i64, ptr %args, i64 {slot}",
            f"  store {Value('', width).type} %r{r}, ptr %at{r}, align 8",
        ]
    number = ["  %n = ptrtoint ptr %r to i64"] if ret == "ptr" else []
    linkage = "internal " if index else ""
    return "\n".join(
        [
            f"define {linkage}{ret} @{name}({signature}) nounwind {{",
            "  %args = alloca [6 x i64], align 8",
            "  store [6 x i64] zeroinitializer, ptr %args, align 8",
            *stores,
            f"  call void @rt_traced_enter(ptr @own, i64 {index}, ptr %args)",
            f"  %r = call {ret} @{name}.own({signature})",
            *number,
            f"  call void @rt_traced_leave(ptr @own, i64 {index}, ptr %args, i64 %{'n' if number else 'r'})",
            f"  ret {ret} %r",
            "}",
        ]
    )


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
