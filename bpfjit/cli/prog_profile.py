"""bpfjit prog profile: a program run many times with counters compiled in, and where its time went."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from ..btf import RawBtf
from ..errors import UsageError
from ..isa.encoding import LD_IMM64
from . import common, prog_source

if TYPE_CHECKING:
    from ..jit.profile import Segment
    from ..program import Verified


def profile(args: argparse.Namespace) -> int:
    from kernfs_sim import Kernel
    from runtime import ffi

    if not 0 < args.repeat < 1 << 32:
        raise UsageError(f"--repeat {args.repeat}, wanted 1 to {(1 << 32) - 1}")
    if args.data_in == args.ctx_in == "-":
        raise UsageError("--data-in and --ctx-in cannot both be standard input")
    obj = common.open_source(args, args.source)
    name = prog_source.only_prog(obj, args.prog)
    data, ctx = prog_source.read_input(args.data_in), prog_source.read_input(args.ctx_in)
    wanted = [p.name for p in obj.progs.values() if p.autoload or p.name == name]
    with Kernel(cache=not args.no_cache, tiered=False) as kernel, obj.load(kernel.bpf, only=wanted) as loaded:
        plain = prog_source.test_run(args, loaded, name, kernel.bpf, data, ctx, lambda done: kernel.last_mean_ns)
        target = kernel.caller.fds.get(loaded.progs[name].fd).object
        counting = kernel.jit.profiled(target.verified, kernel.binding(target.maps, target.own))
        target.native.close()
        target.native, target.fn = counting, ffi.cast("rt_prog_fn", counting.addr)
        prog_source.test_run(args, loaded, name, kernel.bpf, data, ctx, lambda done: kernel.last_mean_ns)
        verified = target.verified
        answer = _answer(name, args.repeat, plain["duration_ns"], verified, counting.segments())
        if args.asm:
            ran = {insn["pc"]: insn for insn in answer["insns"]}
            answer["asm"] = kernel.jit.asm_listing(
                verified, lambda pc: f"{ran[pc]['executions']:12,}  {pc:4}: {ran[pc]['text']}"
            )
    if common.wants_json(args):
        common.print_json(answer, pretty=args.pretty)
    else:
        _print(answer)
    return common.DONE


def _answer(name: str, runs: int, mean_ns: float, verified: Verified, segments: list[Segment]) -> dict[str, Any]:
    """Lines by what they took, most first; instructions in order. ns: an execution's mean without counters, shared out."""
    program = verified.program
    lines: dict[tuple[int, str], dict[str, Any]] = {}
    insns = []
    for s in segments:
        number, text, file = 0, "", ""
        if s.record and isinstance(program.btf, RawBtf):
            info = program.lines[s.record - 1]
            number, text = info.line, program.btf.string(info.line_off).strip()
            file = program.btf.string(info.file_name_off)
        line = lines.setdefault(
            (number, file), {"file": file, "line": number, "text": text, "executions": 0, "share": 0.0, "ns": 0.0}
        )
        # A line's statements may lie in several segments: it ran as often as the one that ran most.
        line["executions"] = max(line["executions"], s.executions)
        line["share"] += s.share
        pc = s.start
        while pc < s.end:
            if verified.facts.visited[pc]:
                text = prog_source.insn_text(verified, pc)
                insns.append({"pc": pc, "line": number, "executions": s.executions, "text": text})
            pc += 2 if program.insns[pc].code == LD_IMM64 else 1
    for line in lines.values():
        line["ns"] = round(line["share"] * mean_ns, 3)
        line["share"] = round(line["share"], 4)
    ordered = sorted(lines.values(), key=lambda line: -line["share"])
    return {"program": name, "runs": runs, "mean_ns": mean_ns, "lines": ordered, "insns": insns}


def _print(answer: dict[str, Any]) -> None:
    print(f"{answer['program']}: {answer['runs']} runs, {answer['mean_ns']:.1f} ns each without counters")
    print(f"{'time':>7} {'ns/run':>9} {'executions':>12}  line")
    texts = {line["line"]: line["text"] for line in answer["lines"]}
    for line in answer["lines"]:
        print(f"{line['share']:7.1%} {line['ns']:9.2f} {line['executions']:12,}  {line['line']}: {line['text']}")
    print()
    if "asm" in answer:
        print(answer["asm"], end="")
        return
    before = None
    for insn in answer["insns"]:
        if insn["line"] != before:
            print(f"; {texts.get(insn['line'], '')} @ line {insn['line']}")
            before = insn["line"]
        print(f"{insn['executions']:12,}  {insn['pc']:4}: {insn['text']}")
