"""bpfjit prog run|dump SOURCE: one program of an object, by itself."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..btf import RawBtf
from ..errors import ObjectError, UsageError
from ..isa.encoding import CALL, LD_IMM64, Insn
from ..isa.text import disasm
from ..spec.helpers import HELPER_BY_ID
from ..uapi import bpf as uapi
from . import common

if TYPE_CHECKING:
    from ..loader import LoadedObject, Object
    from ..loader.bpf import Bpf
    from ..program import Verified


def only_prog(obj: Object, name: str | None) -> str:
    """The program named, or the only one. Raises UsageError naming them otherwise."""
    if name is None:
        if len(obj.progs) == 1:
            return next(iter(obj.progs))
        raise UsageError(f"--prog is needed; there are {', '.join(obj.progs) or 'no programs'}", file=obj.spec.file)
    if name not in obj.progs:
        raise UsageError(f"no program '{name}'; there are {', '.join(obj.progs) or 'none'}", file=obj.spec.file)
    return name


_MAX_INPUT = 64 << 20  # no kernel takes a packet or context of that size; /dev/zero has no end


def read_input(path: str | None) -> bytes:
    """A file's bytes, "-" standard input's, b"" without a path. Raises ObjectError for what is unreadable or endless."""
    if path is None:
        return b""
    try:
        with nullcontext(sys.stdin.buffer) if path == "-" else Path(path).open("rb") as file:
            data = file.read(_MAX_INPUT + 1)
    except OSError as e:
        raise ObjectError((e.strerror or "unreadable").lower(), file=path) from None
    if len(data) > _MAX_INPUT:
        raise ObjectError(f"larger than {_MAX_INPUT} bytes", file=path)
    return data


def _write(path: str | None, data: bytes) -> None:
    if path is None:
        return
    if path == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    try:
        Path(path).write_bytes(data)
    except OSError as e:
        raise UsageError(f"cannot write: {(e.strerror or '').lower()}", file=path) from None


def run(args: argparse.Namespace) -> int:
    if args.words:
        raise UsageError(f"what is '{args.words[0]}'?")
    if not 0 < args.repeat < 1 << 32:
        raise UsageError(f"--repeat {args.repeat}, wanted 1 to {(1 << 32) - 1}")
    obj = common.open_source(args, args.source)
    name = only_prog(obj, args.prog)
    if args.data_in == args.ctx_in == "-":
        raise UsageError("--data-in and --ctx-in cannot both be standard input")
    if args.data_out == args.ctx_out == "-":
        raise UsageError("--data-out and --ctx-out cannot both be standard output")
    data, ctx = read_input(args.data_in), read_input(args.ctx_in)
    if args.kernel == "live":
        from ..loader import live_bpf

        result = _run(args, obj, name, live_bpf, data, ctx, lambda done: float(done.duration))
    else:
        from kernfs_sim import Kernel

        with Kernel(engine=args.engine, cache=not args.no_cache) as kernel:
            # The simulated kernel knows the mean finer than bpf_attr's whole ns.
            result = _run(args, obj, name, kernel.bpf, data, ctx, lambda done: kernel.last_mean_ns)
    if common.wants_json(args):
        common.print_json(result, pretty=args.pretty)
    elif "-" not in (args.data_out, args.ctx_out):  # else stdout is the packet's
        print(f"retval {result['retval']}, duration {result['duration_ns']:.1f} ns")
    return common.DONE


_ONE_RUN = ("RAW_TRACEPOINT", "SYSCALL")  # Linux runs these once a call


def _run(
    args: argparse.Namespace,
    obj: Object,
    name: str,
    bpf: Bpf,
    data: bytes,
    ctx: bytes,
    mean_ns: Callable[[uapi.TestRun], float],
) -> dict[str, Any]:
    """Load the whole object and run one of its programs --repeat times: the command's answer."""
    with obj.load(bpf, only=[p.name for p in obj.progs.values() if p.autoload or p.name == name]) as loaded:
        return test_run(args, loaded, name, bpf, data, ctx, mean_ns)


def test_run(
    args: argparse.Namespace,
    loaded: LoadedObject,
    name: str,
    bpf: Bpf,
    data: bytes,
    ctx: bytes,
    mean_ns: Callable[[uapi.TestRun], float],
) -> dict[str, Any]:
    """Run a loaded program --repeat times: what it returns, the mean of its times; what came out is written."""
    from ..loader.bpf import Buffers

    prog = loaded.progs[name]
    kind = prog.spec.kind
    assert kind is not None
    once = kind.prog_type in _ONE_RUN
    out, ctx_out = bytearray(65536 + len(data)), bytearray(max(256, len(ctx)))
    ctx_buffer = bytearray(ctx)
    packet = data or (b"" if once else bytes(14))
    total_ns, calls = 0.0, args.repeat if once else 1
    for _ in range(calls):
        buffers = Buffers()
        attr = uapi.TestRun(
            prog_fd=prog.fd,
            data_in=buffers.put(packet),
            data_size_in=len(packet),
            ctx_in=buffers.put(ctx_buffer),
            ctx_size_in=len(ctx_buffer),
            repeat=0 if once else args.repeat,
        )
        if not once:
            attr.data_out, attr.data_size_out = buffers.put(out), len(out)
            if args.ctx_out:
                attr.ctx_out, attr.ctx_size_out = buffers.put(ctx_out), len(ctx_out)
        raw = bytearray(attr.pack())
        try:
            bpf(uapi.BPF_PROG_TEST_RUN, raw)
        except OSError as e:
            raise OSError(e.errno, f"{loaded.spec.file}, program {name}: test run: {e.strerror}") from None
        done = uapi.TestRun.unpack(raw)
        total_ns += mean_ns(done)
    result: dict[str, Any] = {"retval": done.retval, "duration_ns": total_ns / calls}
    came = {"data_out": b"" if once else out[: done.data_size_out]}
    came["ctx_out"] = ctx_buffer if once else ctx_out[: done.ctx_size_out]
    for key, to in (("data_out", args.data_out), ("ctx_out", args.ctx_out)):
        if to == "-" and common.wants_json(args):
            result[key] = [f"{byte:#04x}" for byte in came[key]]  # as bpftool spells bytes in JSON
        else:
            _write(to, bytes(came[key]))
    return result


# -- dump ------------------------------------------------------------------------------------------


def dump(args: argparse.Namespace) -> int:
    if args.words:
        raise UsageError(f"what is '{args.words[0]}'?")
    if args.kind == "jited":
        raise UsageError("dump jited wants a PROG in a kernel; of a SOURCE there is asm")
    from kernfs_sim import Kernel

    obj = common.open_source(args, args.source)
    name = only_prog(obj, args.prog)
    with Kernel(cache=not args.no_cache) as kernel, obj.load(kernel.bpf, only=[name]) as loaded:
        verified = kernel.caller.fds.get(loaded.progs[name].fd).object.verified
        if args.kind == "ir":
            text = kernel.jit.ir_listing(verified)
        elif args.kind == "asm":
            text = kernel.jit.asm_listing(verified, lambda pc: f"{pc:4}: {insn_text(verified, pc)}")
        else:
            text = listing(verified, facts=args.kind == "facts")
    if common.wants_json(args):
        common.print_json({"program": name, "kind": args.kind, "text": text}, pretty=args.pretty)
    else:
        sys.stdout.write(text)
    return common.DONE


def _call_name(insn: Insn) -> str:
    if insn.src == 0 and insn.imm in HELPER_BY_ID:
        return f"bpf_{HELPER_BY_ID[insn.imm].name}#{insn.imm}"
    return f"pc{insn.imm:+d}" if insn.src == 1 else f"#{insn.imm}"


def listing(verified: Verified, *, facts: bool) -> str:
    """The program's instructions with C source lines between, and what the verifier knows of each."""
    program = verified.program
    lines_at = {info.insn_off: info for info in program.lines}
    starts = {s.start: s for s in verified.facts.subprogs}
    out = []
    pc = 0
    while pc < len(program.insns):
        insn = program.insns[pc]
        if pc in starts:
            s = starts[pc]
            out.append(f"{s.name}:" + (f"  ; {s.stack_bytes} bytes of stack" if facts else ""))
        info = lines_at.get(pc)
        if info is not None and isinstance(program.btf, RawBtf):
            out.append(f"; {program.btf.string(info.line_off).strip()} @ line {info.line}")
        line = f"{pc:4}: ({insn.code:02x}) {insn_text(verified, pc)}"
        out.append(line + (_facts(verified, pc) if facts else ""))
        pc += 2 if insn.code == LD_IMM64 else 1
    return "\n".join(out) + "\n"


def insn_text(verified: Verified, pc: int) -> str:
    program = verified.program
    ref = program.map_refs.get(pc)
    if ref is not None:
        m = program.maps[ref.map_index]
        inside = f"[0]+{ref.value_off}" if ref.value_off is not None else ""
        return f"r{program.insns[pc].dst} = map[id:{m.id}]{inside}"
    return disasm(program.insns, pc, _call_name)


def _facts(verified: Verified, pc: int) -> str:
    from ..program import Region, ValueKind

    facts, insn = verified.facts, verified.program.insns[pc]
    if not facts.visited[pc]:
        return "  ; never reached"
    said = []
    if facts.region[pc]:
        said.append("in " + "|".join(r.name.lower() for r in Region if facts.region[pc] & r and r.name))
    if facts.result[pc]:
        said.append("leaves a " + str(ValueKind(facts.result[pc]).name).lower())
    if facts.taken[pc] in (1, 2):
        said.append("always falls through" if facts.taken[pc] == 1 else "always jumps")
    if insn.code == CALL and facts.call_map.get(pc, -1) >= 0:
        said.append(f"on map {verified.program.maps[facts.call_map[pc]].name}")
    return "  ; " + ", ".join(said) if said else ""
