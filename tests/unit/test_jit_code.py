"""Native code: LLVM accepts every module, odd shapes of programs run, memory comes back, and it is fast."""

from __future__ import annotations

import gc
import sys
import time
from pathlib import Path

import llvmlite.binding as llvm
import pytest

from bpfjit.cli.raw import RawProgram
from bpfjit.interp import Machine
from bpfjit.isa.asm import assemble
from bpfjit.isa.encoding import encode
from bpfjit.jit import Engine
from bpfjit.program import Binding, Program, Verified
from bpfjit.spec.prog_types import RAW
from bpfjit.verifier import Env, verify
from kernfs_sim import Kernel
from runtime import Symbols

sys.path.insert(0, str(Path(__file__).parent.parent / "differential"))
import engines
import engines_programs

MEMORY = bytes((1, 0, 0, 0, 0xA0, 0xA1, 0xA2, 0xA3))


def verified(text: str, memory_bytes: int = 8) -> Verified:
    return verify(Program("raw", RAW, tuple(assemble(text)), memory_bytes=memory_bytes), Env(None))


# Shapes that are easily compiled wrong: (instructions, r0 over MEMORY).
SHAPES = {
    "loop to the entry, with arguments changed": ("r1 += 1\nr2 -= 1\nr0 = r2\nif r2 s> 3 goto -4\nexit", 3),
    "a register that only one way in defines": (
        "r0 = *(u8 *)(r1 +0)\nif r0 != 0x0 goto +1\nr3 = 4\nif r0 == 0x0 goto +2\nr0 = 9\nexit\nr0 = r3\nexit",
        9,
    ),
    "a pointer and a number meet": (
        "r6 = 77\nr7 = *(u8 *)(r1 +0)\nif r7 == 0x0 goto +1\nr6 = r1\n"
        "if r7 == 0x0 goto +1\nr6 = *(u8 *)(r6 +4)\nr0 = r6\nexit",
        0xA0,
    ),
    "a pointer and zero meet": (
        "r6 = 0\nr7 = *(u8 *)(r1 +0)\nif r7 == 0x0 goto +1\nr6 = r1\n"
        "r0 = 5\nif r6 == 0x0 goto +1\nr0 = *(u8 *)(r6 +5)\nexit",
        0xA1,
    ),
    "a pointer held as a number, less a number": (
        "r6 = 5\nr7 = *(u8 *)(r1 +0)\nif r7 == 0x0 goto +1\nr6 = r1\nif r7 != 0x0 goto +2\nr0 = r6\nexit\n"
        "r8 = r7\nr8 &= 1\nr8 = -r8\nr6 += 4\nr6 -= r8\nr0 = *(u8 *)(r6 +0)\nexit",
        0xA1,
    ),
    "a number plus a pointer": ("r3 = *(u8 *)(r1 +0)\nr3 &= 3\nr3 += r1\nr0 = *(u8 *)(r3 +4)\nexit", 0xA1),
    "pointers swapped round a loop": (
        "r6 = r1\nr7 = r1\nr7 += 4\nr8 = 3\nagain:\nr0 = r6\nr6 = r7\nr7 = r0\nr8 -= 1\nif r8 != 0x0 goto again\n"
        "r0 = *(u8 *)(r6 +0)\nexit",
        0xA0,
    ),
    "stack of a callee within a loop": (
        "r6 = 0\nr7 = 4\nagain:\nr1 = r7\ncall square\nr6 += r0\nr7 -= 1\nif r7 != 0x0 goto again\nr0 = r6\nexit\n"
        "square:\n*(u64 *)(r10 -448) = r1\nr0 = *(u64 *)(r10 -448)\nr0 *= r1\nexit",
        30,
    ),
    "stack that nobody wrote": ("r0 = *(u64 *)(r10 -16)\nr0 = 3\nexit", 3),
    "a function whose address is only carried about": (
        "r2 = &body\n*(u64 *)(r10 -8) = r2\nr0 = 3\nexit\nbody:\nr0 = 0\nexit",
        3,
    ),
    "rotations of products, of 32 bits and of 64": (
        "r6 = *(u64 *)(r1 +0)\nw0 = w6\nw0 *= -1640531535\nr2 = r0\nw2 >>= 19\nw0 <<= 13\nw0 |= w2\n"
        "r6 *= 5\nr3 = r6\nr6 >>= 7\nr3 <<= 57\nr6 |= r3\nr0 ^= r6\nexit",
        0xA645A50AF3633C6,
    ),
    "shifts of two halves": (
        "r6 = *(u64 *)(r1 +0)\nr2 = r6\nr2 >>= 5\nr6 <<= 57\nr6 |= r2\nw3 = w6\nw3 <<= 13\nw6 >>= 19\nr6 >>= 0\nr0 = r3\n"
        "r0 |= r6\nexit",
        0x0,
    ),
    "a jump to the next instruction": ("r0 = *(u8 *)(r1 +0)\nif r0 s> 5 goto +0\nexit", 1),
    "a way that is never taken": ("r0 = 1\nif r0 == 0x1 goto +1\nr0 = *(u8 *)(r1 +4)\nexit", 1),
    "two callbacks, one within the other": (
        "*(u64 *)(r10 -8) = 0\nr1 = 3\nr2 = &outer\nr3 = r10\nr3 += -8\nr4 = 0\ncall bpf_loop\nr0 = *(u64 *)(r10 -8)\nexit\n"
        "outer:\nr3 = r2\nr1 = 2\nr2 = &inner\nr4 = 0\ncall bpf_loop\nr0 = 0\nexit\n"
        "inner:\nr3 = *(u64 *)(r2 +0)\nr3 += 1\n*(u64 *)(r2 +0) = r3\nr0 = 0\nexit",
        6,
    ),
}


@pytest.mark.parametrize("engine", ["jit", "interp"])
@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name: str, engine: str) -> None:
    text, r0 = SHAPES[name]
    memory = bytes(8) if "entry" in name else MEMORY
    with RawProgram(encode(assemble(text)), 8, engine) as program:
        assert program.run(memory)[0] == r0


@pytest.mark.parametrize("seed", range(5000, 5060))
def test_llvm_verifies_every_module(seed: int) -> None:
    with Kernel() as kernel, engines.closing(kernel.bpf) as keep:
        text = engines_programs.Program(seed).text
        fd = keep(engines.new_array(kernel.bpf, engines_programs.VALUE_BYTES))
        kernel.engine = "interp"  # only the IR is looked at
        prog = kernel.caller.fds.get(keep(engines.load(kernel.bpf, assemble(text.format(fd=fd))).fd)).object
        llvm.parse_assembly(Engine().ir(prog.verified)).verify()


def test_calls_are_internal_and_the_entry_is_not() -> None:
    ir = Engine().ir(verified(SHAPES["two callbacks, one within the other"][0]))
    heads = [line.split("(")[0] for line in ir.splitlines() if line.startswith("define")]
    assert heads == ["define i64 @prog", "define internal i64 @prog.1", "define internal i64 @prog.2"]


def test_pointers_stay_pointers() -> None:
    ir = Engine().ir(verified(SHAPES["pointers swapped round a loop"][0]))
    assert "inttoptr" not in ir
    assert "ptrtoint" not in ir


def test_rotations_are_recognised() -> None:
    ir = Engine().ir(verified(SHAPES["rotations of products, of 32 bits and of 64"][0]))
    assert "@llvm.fshl.i32(i32 %" in ir and "@llvm.fshl.i64(i64 %" in ir
    assert "fshl.i32(i32 %" not in Engine().ir(verified(SHAPES["shifts of two halves"][0]))


def _rss_kib() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def test_a_thousand_loads_and_unloads_leave_no_memory_behind() -> None:
    with Kernel() as kernel:
        insns = assemble(engines_programs.Program(7).text.format(fd=engines.new_array(kernel.bpf, 144)))
        short = assemble("r0 = *(u32 *)(r1 +0)\nr0 *= 3\nr0 &= 1\nexit")

        def some(count: int) -> None:
            for i in range(count):
                kernel.bpf.close(engines.load(kernel.bpf, insns if i % 50 == 0 else short).fd)

        some(200)  # what LLVM and Python set up once
        gc.collect()
        before = _rss_kib()
        some(1000)
        gc.collect()
        assert _rss_kib() - before < 5 * 1024


def test_native_code_is_50_times_the_interpreter_on_a_loop() -> None:
    source = "r3 = *(u64 *)(r1 +0)\nr0 = 0\nr4 = 200\nagain:\nr5 = r4\nr5 *= r3\nr0 ^= r5\nr0 >>= 1\nr3 += r0\nr4 -= 1\n"
    program = verified(source + "if r4 != 0x0 goto again\nexit")
    took: dict[str, float] = {}
    binding = Binding(Symbols())
    for name, native in (("jit", Engine().compile(program, binding)), ("interp", Machine(program, binding))):
        with RawProgram(encode(program.program.insns), 8, name) as raw:
            raw.run(MEMORY)
            best = 1e9
            for _ in range(5):
                start = time.perf_counter()
                raw.run(MEMORY)
                best = min(best, time.perf_counter() - start)
            took[name] = best
        native.close()
    assert took["interp"] > 50 * took["jit"], took
