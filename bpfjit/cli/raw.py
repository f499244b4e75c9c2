"""bpfjit raw: bare instruction bytes over a piece of memory, the protocol of ISA conformance suites."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..errors import UsageError, VerifierError
from ..isa.encoding import decode
from ..program import Binding, Program, Rejected
from ..spec.prog_types import RAW
from . import common


def add(commands: Any) -> None:
    parser = commands.add_parser("raw", help="run instruction bytes (hex on stdin) over memory; prints r0 in hex")
    parser.add_argument("memory", metavar="MEM_HEX", nargs="?", default="", help="bytes behind r1; r2 is their number")
    common.add_engine(parser)
    common.add_output(parser)
    parser.set_defaults(command=raw)


def _bytes(text: str, what: str) -> bytes:
    try:
        return bytes.fromhex("".join(text.split()))
    except ValueError:
        raise UsageError(f"{what} is not hex") from None


def run_raw(code: bytes, memory: bytes, engine: str) -> int:
    """Verify and run an instruction stream; r0. Raises VerifierError, UsageError for a broken stream."""
    from runtime import KernelHandle, Symbols, ffi, lib

    from ..interp import Machine
    from ..jit import Engine
    from ..verifier import Env, verify

    try:
        insns = tuple(decode(code))
    except ValueError as e:
        raise UsageError(str(e)) from None
    program = Program("raw", RAW, insns, memory_bytes=len(memory))
    try:
        verified = verify(program, Env(None, log_level=1))
    except Rejected as e:
        raise VerifierError(e.reason.splitlines()[0], errno=e.errno, log=e.log, program="raw") from None
    kernel = KernelHandle(1)
    binding = Binding(Symbols())
    native = Machine(verified, binding) if engine == "interp" else Engine().compile(verified, binding)
    buffer = ffi.new("char[]", memory or b"\0")
    result = int(lib.rt_raw_run(kernel.ptr, native.addr, buffer if memory else ffi.NULL, len(memory)))
    fault = getattr(native, "fault", None)
    if fault is not None:
        raise fault
    native.close()
    kernel.close()
    return result


def raw(args: argparse.Namespace) -> int:
    code = _bytes(sys.stdin.read(), "standard input")
    result = run_raw(code, _bytes(args.memory, "MEM_HEX"), args.engine)
    if args.json or args.pretty:
        common.print_json({"r0": f"{result:x}"}, pretty=args.pretty)
    else:
        print(f"{result:x}")
    return common.DONE
