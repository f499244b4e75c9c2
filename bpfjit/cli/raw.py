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


def _bytes(text: str | bytes, what: str) -> bytes:
    try:
        plain = text.decode("ascii") if isinstance(text, bytes) else text
        return bytes.fromhex("".join(plain.split()))
    except ValueError:
        raise UsageError(f"{what} is not hex") from None


class RawProgram:
    """Bare instructions, verified against `memory_bytes` of memory and compiled: run() as often as wanted.

    Raises UsageError for what is no instruction stream, VerifierError for a program that is refused.
    """

    def __init__(self, code: bytes, memory_bytes: int, engine: str) -> None:
        from runtime import KernelHandle, Symbols

        from ..interp import Machine
        from ..jit import Engine
        from ..verifier import Env, verify

        if not code:
            raise UsageError("no instructions")
        try:
            insns = tuple(decode(code))
        except ValueError as e:
            raise UsageError(str(e)) from None
        program = Program("raw", RAW, insns, memory_bytes=memory_bytes)
        try:
            self.verified = verify(program, Env(None, log_level=1))
        except Rejected as e:
            raise VerifierError(e.reason.splitlines()[0], errno=e.errno, log=e.log, program="raw") from None
        self._kernel = KernelHandle(1)
        binding = Binding(Symbols())
        self.native = Machine(self.verified, binding) if engine == "interp" else Engine().compile(self.verified, binding)

    def run(self, memory: bytes) -> tuple[int, bytes]:
        """r0, unsigned, and the memory afterwards. `memory` is memory_bytes long. Raises InterpreterFault."""
        from runtime import ffi, lib

        size = self.verified.program.memory_bytes
        if len(memory) != size:
            raise ValueError(f"{len(memory)} bytes of memory, verified for {size}")
        buffer = ffi.new("uint64_t[]", -(-size // 8) or 1)  # aligned, as atomics want it
        ffi.memmove(buffer, memory, size)
        result = int(lib.rt_raw_run(self._kernel.ptr, self.native.addr, buffer if size else ffi.NULL, size))
        fault = getattr(self.native, "fault", None)
        if fault is not None:
            raise fault
        return result, bytes(ffi.buffer(buffer))[:size]

    def close(self) -> None:
        self.native.close()
        self._kernel.close()

    def __enter__(self) -> RawProgram:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def run_raw(code: bytes, memory: bytes, engine: str) -> int:
    """Verify and run an instruction stream once; r0. Raises as RawProgram does."""
    with RawProgram(code, len(memory), engine) as program:
        return program.run(memory)[0]


def raw(args: argparse.Namespace) -> int:
    code = _bytes(sys.stdin.buffer.read(), "standard input")
    result = run_raw(code, _bytes(args.memory, "MEM_HEX"), args.engine)
    if args.json or args.pretty:
        common.print_json({"r0": f"{result:x}"}, pretty=args.pretty)
    else:
        print(f"{result:x}")
    return common.DONE
