"""prog dump xlated PROG visual: a program's functions and blocks as a graph for dot, as bpftool draws it."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from ..isa.encoding import CALL, EXIT, JA, JMP32, LD_IMM64
from ..uapi import bpf as uapi

if TYPE_CHECKING:
    from .prog_object import Code

_ENTRY, _EXIT, _FIRST = 0, 1, 2  # numbers of blocks
_ESCAPED = str.maketrans({c: f"\\{c}" for c in "<>|&"})  # what records of dot read otherwise
_WAY = 'style="solid,bold", color=black, weight=10, constraint=true'


def graph_text(code: Code) -> str:
    insns = code.insns
    calls = [pc for pc, i in enumerate(insns) if i.code == CALL and i.src == uapi.BPF_PSEUDO_CALL]
    starts = sorted({0, *(pc + 1 + insns[pc].off for pc in calls)})
    ends = [*starts[1:], len(insns)]
    functions = [_function(code, i, *extent) for i, extent in enumerate(zip(starts, ends, strict=True))]
    return "".join(['digraph "DOT graph for eBPF program" {\n', *functions, "}\n"])


def _jumps(code: Code, pc: int) -> bool:
    insn = code.insns[pc]
    return insn.code & 7 in (JA & 7, JMP32) and insn.code not in (CALL, EXIT)


def _function(code: Code, number: int, start: int, end: int) -> str:
    insns = code.insns
    heads = {start}
    for pc in range(start, end):
        if _jumps(code, pc):
            heads.add(pc + 1 + insns[pc].off)
            if insns[pc].code != JA:
                heads.add(pc + 1)
    blocks = sorted(heads)
    name = f"fn_{number}_bb_"
    nodes = [f'\t{name}{_ENTRY} [shape=Mdiamond,style=filled,label="ENTRY"];\n\n']
    ways = [f"\t{name}{_ENTRY}:s -> {name}{_FIRST}:n [{_WAY}];\n"]
    for i, head in enumerate(blocks):
        past = blocks[i + 1] if i + 1 < len(blocks) else end
        starts = _starts(code, head, past)
        rows = " | ".join(f"{pc - start:4}: {code.text(pc, named=False).translate(_ESCAPED)}\\l\\\n" for pc in starts)
        nodes.append(f'\t{name}{i + _FIRST} [shape=record,style=filled,label="{{{rows}}}"];\n\n')
        last = starts[-1]
        if insns[last].code == EXIT:
            to = [_EXIT]
        else:
            following = [] if insns[last].code == JA else [past]
            following += [last + 1 + insns[last].off] if _jumps(code, last) else []
            to = [bisect_right(blocks, pc) - 1 + _FIRST for pc in following if pc < end]
        ways += [f"\t{name}{i + _FIRST}:s -> {name}{t}:n [{_WAY}];\n" for t in to]
    head_text = f'subgraph "cluster_{number}" {{\n\tstyle="dashed";\n\tcolor="black";\n\tlabel="func_{number} ()";\n'
    nodes.append(f'\t{name}{_EXIT} [shape=Mdiamond,style=filled,label="EXIT"];\n\n')
    ways.append(f'\t{name}{_ENTRY}:s -> {name}{_EXIT}:n [style="invis", constraint=true];\n}}\n')
    return "".join([head_text, *nodes, *ways])


def _starts(code: Code, pc: int, end: int) -> list[int]:
    found = []
    while pc < end:
        found.append(pc)
        pc += 2 if code.insns[pc].code == LD_IMM64 else 1
    return found
