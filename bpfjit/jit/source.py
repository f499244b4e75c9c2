"""Listings of native code with the C source between: line info carried through LLVM as debug locations.

The emitter marks each instruction with a comment ("; 12"). annotate() turns the marks into debug locations whose
line is the number of a line record, LLVM's passes carry them along, and the listings put the record's text back.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable

from ..btf import RawBtf
from ..program import Program

_MARK = re.compile(r"  ; (\d+)$")
_LOCATION = re.compile(r"!(\d+) = (?:distinct )?!DILocation\(line: (\d+)")
_USE = re.compile(r",? !dbg !(\d+)")
_LOC = re.compile(r"\t\.loc\t\d+ (\d+) (\d+)")
_DEBUG_ONLY = (".Ltmp", ".Lfunc_begin", ".Lsec_end", ".Ldebug", "\t.file", "\t.loc", "\t.cfi_")
_COLUMNS = (1 << 16) - 1  # what LLVM keeps of a column
_NUMBER = 10  # the first free metadata number


def annotate(ir: str, program: Program) -> str:
    """The module with a debug location for each instruction that a line record covers."""
    starts = [info.insn_off for info in program.lines]
    out: list[str] = []
    metadata = [
        "!llvm.dbg.cu = !{!0}",
        "!llvm.module.flags = !{!1}",
        "!0 = distinct !DICompileUnit(language: DW_LANG_C99, file: !2, emissionKind: LineTablesOnly)",
        '!1 = !{i32 2, !"Debug Info Version", i32 3}',
        '!2 = !DIFile(filename: "bpf", directory: "")',
        "!3 = !DISubroutineType(types: !4)",
        "!4 = !{}",
    ]
    number, scope, here, known = _NUMBER, 0, "", dict[tuple[int, int], int]()
    for line in ir.splitlines():
        mark = _MARK.match(line)
        if line.startswith("define "):
            scope, here, number = number, "", number + 1
            metadata.append(
                f'!{scope} = distinct !DISubprogram(name: "f{scope}", scope: !2, file: !2, line: 1, type: !3, '
                "unit: !0, spFlags: DISPFlagDefinition)"
            )
            line = line.removesuffix("{") + f"!dbg !{scope} {{"
        elif mark:
            # Record 0 stands for "no line": DILocation's line 0 says the same. The column is the instruction, from 1.
            pc = int(mark[1])
            record = bisect_right(starts, pc)
            if (scope, pc) not in known:
                known[scope, pc] = number
                column = pc + 1 if pc < _COLUMNS else 0
                metadata.append(f"!{number} = !DILocation(line: {record}, column: {column}, scope: !{scope})")
                number += 1
            here = f", !dbg !{known[scope, pc]}"
        elif line.startswith("  ") and not line.endswith(":") and " = phi " not in line:
            line += here
        out.append(line)
    return "\n".join([*out, *metadata]) + "\n"


Line = tuple[int, int, str]  # line record (0: none known), instruction's number + 1 (0), text


def _commented(lines: list[Line], program: Program, comment: str, insn: Callable[[int], str] | None = None) -> str:
    """Lines with the C source of their record before them, and the instruction's text, wherever these change."""
    out, before, last = [], "", 0
    for record, column, line in lines:
        if record and isinstance(program.btf, RawBtf):
            info = program.lines[record - 1]
            said = f"{program.btf.string(info.line_off).strip()} @ line {info.line}"
            if said != before:
                out.append(f"{comment} {said}")
            before = said
        if column and column != last and insn is not None:
            out.append(f"{comment} {insn(column - 1)}")
            last = column
        out.append(line)
    return "\n".join(out).strip("\n") + "\n"


def ir_listing(text: str, program: Program) -> str:
    """Optimised IR, its debug locations turned into comments."""
    records = {int(m[1]): int(m[2]) for m in _LOCATION.finditer(text)}
    lines = []
    for line in text.splitlines():
        if line.startswith("!"):
            continue
        use = _USE.search(line)
        record = records.get(int(use[1]), 0) if use and not line.startswith("define ") else 0
        lines.append((record, 0, re.sub(r" +\{$", " {", _USE.sub("", line))))
    return _commented(lines, program, "  ;")


def asm_listing(text: str, program: Program, insn: Callable[[int], str] | None = None) -> str:
    """Assembly, its .loc directives turned into comments, what only debuggers want left out. insn: an instruction's text."""
    lines: list[Line] = []
    record, column, debug = 0, 0, False
    for line in text.splitlines():
        if line.startswith("\t.section"):
            debug = ".debug_" in line
        loc = _LOC.match(line)
        if loc:
            record, column = int(loc[1]), int(loc[2])
        if debug or loc or line.startswith(_DEBUG_ONLY):
            continue
        code = line.startswith("\t") and not line.startswith("\t.")
        lines.append((record, column, line) if code else (0, 0, line))
    return _commented(lines, program, "\t#", insn)
