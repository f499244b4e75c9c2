"""bpfjit prog: a program of an object by itself (run, dump), and bpftool's verbs on programs in a kernel."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..btf import RawBtf
from ..errors import ObjectError, UsageError
from ..isa.encoding import CALL, LD_IMM64, Insn
from ..isa.text import disasm
from ..spec.helpers import HELPER_BY_ID
from ..uapi import bpf as uapi
from . import common
from .reach import HANDLES, add_kernel

if TYPE_CHECKING:
    from ..loader import LoadedObject, Object
    from ..loader.bpf import Bpf
    from ..program import Verified

KINDS = ("xlated", "jited", "facts", "ir", "asm")


def add(commands: Any) -> None:
    parser = commands.add_parser("prog", help="run a program on given input, look into it, or into those of a kernel")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="run|profile|dump|show|list|pin|load|loadall")
    run_ = verbs.add_parser("run", help="run a program once or many times on a packet or context")
    common.add_source(run_)
    _add_words(run_, "after a PROG in SOURCE's place: data_in FILE [data_out FILE] [ctx_in FILE] [ctx_out FILE] [repeat N]")
    run_.add_argument("--prog", metavar="NAME")
    common.add_engine(run_)
    for name, what in (("data-in", "packet"), ("data-out", "packet"), ("ctx-in", "context"), ("ctx-out", "context")):
        run_.add_argument(
            f"--{name}", metavar="FILE", help=f"the {what} {'read' if name.endswith('in') else 'written'}; - is stdin/stdout"
        )
    run_.add_argument("--repeat", type=int, default=1, metavar="N", help="executions (the mean of their times is told)")
    run_.add_argument("--kernel", choices=("sim", "live"), default="sim")
    run_.add_argument("--mount", metavar="DIR", help="where PROG is: the mounted kernel at DIR")
    common.add_output(run_)
    run_.set_defaults(command=run)
    profile_ = verbs.add_parser("profile", help="where a program spends its time: executions by source line and instruction")
    common.add_source(profile_)
    profile_.add_argument("--prog", metavar="NAME")
    profile_.add_argument("--data-in", metavar="FILE", help="the packet read; - is stdin")
    profile_.add_argument("--ctx-in", metavar="FILE", help="the context read; - is stdin")
    profile_.add_argument("--repeat", type=int, default=1000, metavar="N", help="executions")
    profile_.add_argument("--asm", action="store_true", help="native code, C and BPF between, with executions")
    common.add_output(profile_)
    profile_.set_defaults(command=_profile, data_out=None, ctx_out=None)
    dump_ = verbs.add_parser("dump", help="print a program at a stage of its way to native code")
    dump_.add_argument("kind", choices=KINDS)
    common.add_source(dump_)
    _add_words(dump_, "after a PROG in SOURCE's place: [file FILE] [opcodes] [linum]")
    dump_.add_argument("--prog", metavar="NAME")
    dump_.add_argument("--kernel", choices=("mount", "live"), default="mount", help="where PROG is")
    dump_.add_argument("--mount", metavar="DIR", help="where PROG is: the mounted kernel at DIR")
    common.add_output(dump_)
    dump_.set_defaults(command=dump)
    for verb, what in (
        ("show", "[PROG]: programs, all or those named"),
        ("list", "as show"),
        ("pin", "PROG FILE: give a program a name in bpffs"),
        ("load", "OBJ FILE [pinmaps DIR]: load an object, pin its first program"),
        ("loadall", "OBJ DIR [pinmaps DIR]: load an object, pin all of its programs"),
    ):
        words = verbs.add_parser(
            verb, help=what, description=f"{verb} {what}. PROG is id N, tag T, name NAME or pinned FILE."
        )
        words.add_argument("words", nargs="*", metavar="…", help=what)
        add_kernel(words)
        words.set_defaults(command=_object_verb)


def _add_words(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("words", nargs="*", metavar="…", help=what)


def _profile(args: argparse.Namespace) -> int:
    from .prog_profile import profile

    return profile(args)


def _object_verb(args: argparse.Namespace) -> int:
    from . import prog_object

    return prog_object.VERBS[args.verb](args)


def only_prog(obj: Object, name: str | None) -> str:
    """The program named, or the only one. Raises UsageError naming them otherwise."""
    if name is None:
        if len(obj.progs) == 1:
            return next(iter(obj.progs))
        raise UsageError(f"--prog is needed; there are {', '.join(obj.progs) or 'no programs'}", file=obj.spec.file)
    if name not in obj.progs:
        raise UsageError(f"no program '{name}'; there are {', '.join(obj.progs) or 'none'}", file=obj.spec.file)
    return name


def read_input(path: str | None) -> bytes:
    if path is None:
        return b""
    try:
        return sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as e:
        raise ObjectError((e.strerror or "unreadable").lower(), file=path) from None


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
    if args.source in HANDLES["prog"]:
        from . import prog_object

        args.kernel = "live" if args.kernel == "live" else "mount"
        return prog_object.run(args, [args.source, *args.words])
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
    if args.source in HANDLES["prog"]:
        from . import prog_object

        return prog_object.dump(args, args.kind, [args.source, *args.words])
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
            text = kernel.jit.asm_listing(verified, lambda pc: f"{pc:4}: {_text(verified, pc)}")
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
        text = f"{pc:4}: ({insn.code:02x}) {_text(verified, pc)}"
        out.append(text + (_facts(verified, pc) if facts else ""))
        pc += 2 if insn.code == LD_IMM64 else 1
    return "\n".join(out) + "\n"


def _text(verified: Verified, pc: int) -> str:
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
        said.append("leaves a " + ValueKind(facts.result[pc]).name.lower())
    if facts.taken[pc] in (1, 2):
        said.append("always falls through" if facts.taken[pc] == 1 else "always jumps")
    if insn.code == CALL and facts.call_map.get(pc, -1) >= 0:
        said.append(f"on map {verified.program.maps[facts.call_map[pc]].name}")
    return "  ; " + ", ".join(said) if said else ""
