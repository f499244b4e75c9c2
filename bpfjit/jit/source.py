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
_LOC = re.compile(r"\t\.loc\t\d+ (\d+) ")
_DEBUG_ONLY = (".Ltmp", ".Lfunc_begin", ".Lsec_end", ".Ldebug", "\t.file", "\t.loc", "\t.cfi_")
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
            # Record 0 stands for "no line": DILocation's line 0 says the same.
            record = bisect_right(starts, int(mark[1]))
            if (scope, record) not in known:
                known[scope, record] = number
                metadata.append(f"!{number} = !DILocation(line: {record}, column: 1, scope: !{scope})")
                number += 1
            here = f", !dbg !{known[scope, record]}"
        elif line.startswith("  ") and not line.endswith(":") and " = phi " not in line:
            line += here
        out.append(line)
    return "\n".join([*out, *metadata]) + "\n"


def _commented(lines: list[tuple[int, str]], program: Program, comment: Callable[[str], str]) -> str:
    """Lines with the C source of their record before them, wherever it changes (0: none known)."""
    out, before = [], ""
    for record, line in lines:
        if record and isinstance(program.btf, RawBtf):
            info = program.lines[record - 1]
            said = f"{program.btf.string(info.line_off).strip()} @ line {info.line}"
            if said != before:
                out.append(comment(said))
            before = said
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
        lines.append((record, re.sub(r" +\{$", " {", _USE.sub("", line))))
    return _commented(lines, program, lambda source: f"  ; {source}")


def asm_listing(text: str, program: Program) -> str:
    """Assembly, its .loc directives turned into comments, what only debuggers want left out."""
    lines, record, debug = [], 0, False
    for line in text.splitlines():
        if line.startswith("\t.section"):
            debug = ".debug_" in line
        loc = _LOC.match(line)
        if loc:
            record = int(loc[1])
        if debug or loc or line.startswith(_DEBUG_ONLY):
            continue
        lines.append((record if line.startswith("\t") and not line.startswith("\t.") else 0, line))
    return _commented(lines, program, lambda source: f"\t# {source}")
