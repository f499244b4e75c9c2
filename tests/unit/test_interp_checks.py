"""The checking interpreter believes nothing: lying facts and programs that escape them end in an InterpreterFault."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bpfjit.cli.raw import RawProgram
from bpfjit.interp import InterpreterFault, Machine
from bpfjit.isa.asm import assemble
from bpfjit.isa.encoding import Insn, encode
from bpfjit.program import Binding, Facts, Region
from runtime import Symbols

MEMORY = bytes(range(16))


def machine_of(text: str, memory_bytes: int = 16) -> tuple[RawProgram, Machine]:
    program = RawProgram(encode(assemble(text)), memory_bytes, "interp")
    assert isinstance(program.native, Machine)
    return program, program.native


def fault_of(text: str, lie: Callable[[Machine], None]) -> str:
    program, machine = machine_of(text)
    assert program.run(MEMORY) is not None  # the honest program runs
    lie(machine)
    with program, pytest.raises(InterpreterFault) as e:
        program.run(MEMORY)
    return str(e.value)


def other(text: str) -> Callable[[Machine], None]:
    """The program that the verifier saw, swapped for another of the same length."""

    def swap(machine: Machine) -> None:
        insns = assemble(text)
        assert len(insns) == len(machine.insns)
        machine.insns = tuple(insns)

    return swap


def facts(change: Callable[[Facts], None]) -> Callable[[Machine], None]:
    return lambda machine: change(machine.facts)


def _region(pc: int, region: Region) -> Callable[[Machine], None]:
    return facts(lambda f: f.region.__setitem__(pc, region))


@pytest.mark.parametrize(
    ("honest", "lie", "says"),
    [
        ("r0 = *(u8 *)(r1 +15)\nexit", other("r0 = *(u8 *)(r1 +16)\nexit"), "touches 1 bytes"),
        ("r0 = *(u8 *)(r1 +0)\nexit", other("r0 = *(u8 *)(r1 -1)\nexit"), "touches 1 bytes"),
        ("r0 = 0\n*(u64 *)(r1 +8) = 1\nexit", other("r0 = 0\n*(u64 *)(r1 +9) = 1\nexit"), "touches 8 bytes"),
        ("r0 = 0\n*(u64 *)(r10 -8) = 1\nexit", other("r0 = 0\n*(u64 *)(r10 -16) = 1\nexit"), "outside <Region.STACK"),
        ("r0 = 0\n*(u64 *)(r10 -8) = 1\nexit", other("r0 = 0\n*(u64 *)(r10 +0) = 1\nexit"), "outside <Region.STACK"),
        ("r0 = *(u8 *)(r1 +0)\nexit", _region(0, Region.STACK), "outside <Region.STACK"),
        ("r0 = *(u8 *)(r1 +0)\nexit", _region(0, Region.PACKET), "outside <Region.PACKET"),
        ("r0 = *(u8 *)(r1 +0)\nexit", _region(0, Region.MAP_VALUE), "outside <Region.MAP_VALUE"),
        ("r0 = *(u8 *)(r1 +0)\nexit", _region(0, Region.MAP_KEY), "outside <Region.MAP_KEY"),
        ("r0 = *(u8 *)(r1 +0)\nexit", _region(0, Region.KERNEL), "outside <Region.KERNEL"),
        ("r0 = *(u8 *)(r1 +0)\nexit", facts(lambda f: f.region.__setitem__(0, 0)), "outside"),
        (
            "r3 = 1\nlock *(u64 *)(r1 +8) += r3\nr0 = 0\nexit",
            other("r3 = 1\nlock *(u64 *)(r1 +16) += r3\nr0 = 0\nexit"),
            "touches 8 bytes",
        ),
        ("r0 = load_acquire((u64 *)(r1 +8))\nexit", other("r0 = load_acquire((u64 *)(r1 +16))\nexit"), "touches 8 bytes"),
        (
            "r0 = 1\nif r0 == 0x1 goto +1\nr0 = 7\nexit",
            other("r0 = 1\nif r0 == 0x2 goto +1\nr0 = 7\nexit"),
            "did not see how",
        ),
        (
            "r0 = *(u8 *)(r1 +0)\nif r0 == 0x0 goto +1\nr0 = 7\nexit",
            facts(lambda f: f.visited.__setitem__(3, 0)),
            "did not see how",
        ),
    ],
)
def test_what_the_verifier_did_not_allow_is_a_fault(honest: str, lie: Callable[[Machine], None], says: str) -> None:
    assert says in fault_of(honest, lie)


COMM = "r1 = r10\nr1 += -16\nr2 = {size}\ncall bpf_get_current_comm\nr0 = 0\nexit"


@pytest.mark.parametrize("size", [17, 1 << 31, -1])
def test_a_helper_gets_only_the_programs_memory(size: int) -> None:
    assert "bpf_get_current_comm is handed" in fault_of(COMM.format(size=16), other(COMM.format(size=size)))


LOOP = "r1 = 3\nr2 = &each\nr3 = 0\nr4 = 0\ncall bpf_loop\nexit\neach:\n*(u64 *)(r10 {at}) = 1\nr0 = 0\nexit"


def test_a_callbacks_fault_ends_the_loop_and_is_told() -> None:
    program, machine = machine_of(LOOP.format(at=-8))
    assert program.run(MEMORY)[0] == 3
    ran = machine.executed
    machine.insns = tuple(assemble(LOOP.format(at=-24)))
    with program, pytest.raises(InterpreterFault, match="touches 8 bytes"):
        program.run(MEMORY)
    assert machine.executed - ran < 10, "the loop ended with its first round"


def test_a_callback_enters_functions_only_at_their_start() -> None:
    lie = other(LOOP.format(at=-8))
    program, machine = machine_of(LOOP.format(at=-8))
    lie(machine)
    machine.insns = tuple(i._replace(imm=i.imm + 1) if (i.code, i.src) == (0x18, 4) else i for i in machine.insns)
    with program, pytest.raises(InterpreterFault, match="is not the start of a function"):
        program.run(MEMORY)


def test_stack_that_nobody_wrote_is_rubbish_unless_the_verifier_said_it_is_read() -> None:
    text = "r0 = 0\n*(u64 *)(r10 -8) = 0\nr0 = *(u64 *)(r10 -8)\nexit"
    program, machine = machine_of(text)
    machine.insns = (Insn(0xB7), Insn(0xB7), *machine.insns[2:])
    with program:
        assert program.run(MEMORY)[0] == 0xA5A5A5A5A5A5A5A5
    unwritten, _ = machine_of("r0 = *(u64 *)(r10 -8)\nexit")
    with unwritten:
        assert unwritten.run(MEMORY)[0] == 0


def test_other_errors_come_out_as_faults_too() -> None:
    program, machine = machine_of("call bpf_ktime_get_ns\nr0 = 0\nexit")
    machine.binding = Binding({name: addr for name, addr in Symbols().items() if name != "rt_ktime_get_ns"})
    with program, pytest.raises(InterpreterFault, match="KeyError: 'rt_ktime_get_ns'"):
        program.run(MEMORY)
