"""What the verifier claims against what happens: random programs run on random memory, every register compared.

Before each instruction the values of all live registers must lie in one of the states that the verifier walked there
with: a number in its tnum and all its bounds, a pointer at its place of the stack or of the memory. And a program that is
accepted with precision tracking is accepted without it, where every number counts.

    python tests/differential/soundness.py --executions 1000000 [--seed 1] [--longest 5000]

Each step of a run is held against every state that was walked there, so programs whose walk takes more than so many
instructions are left out. In the suite a bounded slice runs (test_soundness.py). Exit 1 at the first violation, with the
program.
"""

from __future__ import annotations

import argparse
import errno
import random
import sys
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "verifier"))

import verdicts
from bpf_text import assemble

from bpfjit.cli.raw import RAW
from bpfjit.interp import Machine
from bpfjit.isa.encoding import Insn
from bpfjit.program import Binding, Program, Rejected, Verified
from bpfjit.verifier import Env, verify
from bpfjit.verifier import check as walking
from bpfjit.verifier.state import NOT_INIT, SCALAR, STACK, Reg, State, s32, s64
from runtime import KernelHandle, Symbols, ffi, lib

MEMORY_BYTES = 64
RUNS = 20  # of each program, on other memory each
_U64, _U32 = (1 << 64) - 1, (1 << 32) - 1
_EDGES = (0, 1, 2, 7, 8, 15, 16, 31, 127, 128, 255, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 63, _U64, (1 << 63) - 1)


class Violation(AssertionError):
    """A register holds what no state of the verifier allows."""


class _Maker(verdicts.Maker):
    """Numbers come from memory or are constants; there are no helpers and no maps."""

    def number(self) -> int:
        reg, r = self.rng.choice(verdicts._SCALARS), self.rng
        if r.random() < 0.7:
            size = r.choice((8, 16, 32, 64))
            self.say(f"r{reg} = *({r.choice('uus') if size < 64 else 'u'}{size} *)(r6 + {8 * r.randint(0, 7)})")
        else:
            self.say(f"r{reg} = {self.imm()}")
        self.kinds[reg] = "scalar"
        return reg

    def call(self, name: str) -> None:
        self.number()

    def pointer(self) -> tuple[int, str]:
        reg = self.rng.choice((2, 3, 4, 5, 9))
        self.say(f"r{reg} = r10", f"r{reg} += {-8 * self.rng.randint(1, 4)}")
        self.kinds[reg] = "fp"
        return reg, "fp"


def _reach(m: verdicts.Maker) -> None:
    """An access of the memory at a bounded place."""
    r = m.rng
    s = m.scalar()
    q = r.choice([i for i in (2, 3, 4, 5) if i != s])
    m.say(f"r{s} &= {r.choice((7, 15, 31))}" if r.random() < 0.5 else f"if r{s} > {r.choice((7, 31, 56))} goto out")
    m.say(f"r{q} = r6", f"r{q} += r{s}", f"r{r.choice((0, 7))} = *(u8 *)(r{q} + {r.choice((0, 1, 7))})")


_STEPS = (
    *(verdicts.arithmetic,) * 3,
    *(verdicts.copy, verdicts.mask, verdicts.bound, verdicts.bound, verdicts.narrow, verdicts.spill, verdicts.fill),
    *(verdicts.clobber, verdicts.index, verdicts.skip, verdicts.loop, _reach),
)


def make(seed: int) -> str:
    rng = random.Random(seed)
    m = _Maker(rng, "raw")
    m.say("r6 = r1")
    for _ in range(3):
        m.number()
    for _ in range(rng.randint(3, 12)):
        rng.choice(_STEPS)(m)
    m.say(*(("r0 = 0",) if 0 not in m.kinds else ()), "exit", "out:", "r0 = 0", "exit", *m.tail)
    return "\n".join(m.lines)


class Watched:
    """The states that the verifier walked each instruction with."""

    def __init__(self) -> None:
        self.at: dict[int, dict[tuple[int, ...], list[Reg]]] = defaultdict(dict)

    def __call__(self, pc: int, state: State) -> None:
        regs = state.frames[-1].regs
        self.at[pc].setdefault(tuple(map(id, regs)), regs[:])  # what was published stays as it is


def _fits(reg: Reg, value: int, stack_top: int, memory: int) -> bool:
    if reg.type == NOT_INIT:
        return True
    if reg.type != SCALAR:
        base = stack_top if reg.type == STACK else memory
        value = (value - base - reg.off) & _U64
    low = value & _U32
    return (
        value & ~reg.mask & _U64 == reg.value
        and reg.umin <= value <= reg.umax
        and reg.smin <= s64(value) <= reg.smax
        and reg.u32min <= low <= reg.u32max
        and reg.s32min <= s32(low) <= reg.s32max
    )


class _Machine(Machine):
    def __init__(self, verified: Verified, binding: Binding, watched: Watched) -> None:
        super().__init__(verified, binding)
        self.watched = watched

    def _step(self, pc: int, insn: Insn, regs: list[int]) -> int:
        memory, live = self._own.ctx[0], self.facts.live[pc]  # what is not read again may be anything: states were joined
        for known in self.watched.at[pc].values():
            if all(_fits(known[i], regs[i], regs[10], memory) for i in range(10) if live >> i & 1):
                return super()._step(pc, insn, regs)
        held = ", ".join(f"r{i}={regs[i]:#x}" for i in range(10))
        raise Violation(f"at {pc}: {held}\nfits none of {len(self.watched.at[pc])} states that were walked there")


def _memory(rng: random.Random) -> bytes:
    words = (rng.choice(_EDGES) if rng.random() < 0.5 else rng.getrandbits(64) for _ in range(MEMORY_BYTES // 8))
    return b"".join(word.to_bytes(8, "little") for word in words)


def check(seed: int, runs: int = RUNS) -> int:
    """Verify one program both ways and run it; how often it was run (0: refused). Raises Violation."""
    text = make(seed)
    program = Program("raw", RAW, tuple(assemble(text).insns), memory_bytes=MEMORY_BYTES)
    try:
        verified = verify(program, Env(None))
    except Rejected:
        return 0
    watched = Watched()
    try:
        verify(program, Env(None, watch=watched))
    except Rejected as e:
        if e.errno == errno.E2BIG:
            return 0
        raise Violation(f"seed {seed}: accepted only because numbers were taken for equal: {e.reason}\n{text}") from None
    rng = random.Random(seed)
    kernel = KernelHandle(1)
    machine = _Machine(verified, Binding(Symbols()), watched)
    buffer = ffi.new("uint64_t[]", MEMORY_BYTES // 8)
    try:
        for _ in range(runs):
            ffi.memmove(buffer, _memory(rng), MEMORY_BYTES)
            lib.rt_raw_run(kernel.ptr, machine.addr, buffer, MEMORY_BYTES)
            if machine.fault is not None:
                raise Violation(f"seed {seed}: {machine.fault}\n{text}")
    finally:
        machine.close()
        kernel.close()
    return runs


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--executions", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=int, default=5000)
    args = parser.parse_args()
    walking.MAX_INSNS = args.longest
    done, seed = 0, args.seed
    while done < args.executions:
        try:
            done += check(seed)
        except Violation as e:
            print(e)
            return 1
        seed += 1
    print(f"{done} executions of {seed - args.seed} programs: every register within what the verifier claims")
    return 0


if __name__ == "__main__":
    sys.exit(main())
