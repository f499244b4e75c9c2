"""What atomics may touch, how aligned, and what code may be that nothing reaches: as on the live kernel."""

from __future__ import annotations

import errno

import pytest
from engines import Refused, closing, load, need_live, new_array, test_run

from bpfjit.isa.asm import assemble
from bpfjit.isa.encoding import Insn
from bpfjit.loader.bpf import Bpf
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel

_VALUE = "r1 = map[fd:{fd}][0]+0\nr3 = 1\n"
_PACKET = "r2 = *(u32 *)(r1 +0)\nr3 = *(u32 *)(r1 +4)\nr4 = r2\nr4 += 16\nr0 = 0\nif r4 > r3 goto out\n"

# name: (program, why it is refused). The program type is XDP.
REFUSED = {
    "misaligned add": (_VALUE + "lock *(u64 *)(r1 +4) += r3\nr0 = 0\nexit", "misaligned value access off"),
    "misaligned exchange": (_VALUE + "r3 = atomic_xchg((u32 *)(r1 +2), r3)\nr0 = 0\nexit", "misaligned value access off"),
    "misaligned load": (_VALUE + "r0 = load_acquire((u16 *)(r1 +1))\nr0 = 0\nexit", "misaligned value access off"),
    "misaligned store": (_VALUE + "store_release((u32 *)(r1 +6), r3)\nr0 = 0\nexit", "misaligned value access off"),
    "load from the context": (
        "r0 = load_acquire((u32 *)(r1 +0))\nr0 = 0\nexit",
        "BPF_ATOMIC loads from R1 ctx is not allowed",
    ),
    "load from a packet": (
        _PACKET + "r0 = load_acquire((u8 *)(r2 +0))\nr0 = 0\nout:\nexit",
        "BPF_ATOMIC loads from R2 pkt is not allowed",
    ),
    "add into a packet": (
        _PACKET + "lock *(u32 *)(r2 +0) += r0\nout:\nexit",
        "BPF_ATOMIC stores into R2 pkt is not allowed",
    ),
    "add of 16 bits": (_VALUE + ".short", "invalid atomic operand size"),
}


def _refusal(bpf: Bpf, text: str) -> Refused:
    with closing(bpf) as keep:
        fd = keep(new_array(bpf, 16))
        source = text.format(fd=fd)
        insns = assemble(source.replace(".short", "lock *(u32 *)(r1 +0) += r3\nr0 = 0\nexit"))
        if ".short" in source:
            insns = [i._replace(code=0xCB) if i.code == 0xC3 else i for i in insns]
        with pytest.raises(Refused) as e:
            keep(load(bpf, insns, prog_type=uapi.BPF_PROG_TYPE_XDP).fd)
        return e.value


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("which", ["simulated", "live"])
def test_atomics_are_refused(which: str, name: str) -> None:
    text, why = REFUSED[name]
    if which == "live":
        refused = _refusal(need_live(), text)
    else:
        with Kernel() as kernel:
            refused = _refusal(kernel.bpf, text)
    assert why in refused.log
    assert refused.number in (errno.EACCES, errno.EINVAL)


# Instructions that Linux refuses where a path comes by, and nowhere else.
_BAD = {
    "division by zero": Insn(0x37),
    "shift by 64": Insn(0x67, 0, 0, 0, 64),
    "registers that there are not": Insn(0xB7, 12, 13, 5, 1),
    "atomic that there is not": Insn(0xDB, 0, 0, 0, 77),
    "call of nothing": Insn(0x85, 3, 9, 1, 1),
    "exit with fields": Insn(0x95, 3),
    "jump with fields": Insn(0x1D, 0, 0, 1, 9),
}


@pytest.mark.parametrize("name", _BAD)
@pytest.mark.parametrize("which", ["jit", "interp", "live"])
def test_what_nothing_reaches_is_never_looked_at(which: str, name: str) -> None:
    insns = [Insn(0xB7, 0, imm=7), Insn(0x15, 0, 0, 1, 7), _BAD[name], Insn(0x07, 0, imm=1), Insn(0x95)]
    if which == "live":
        with closing(need_live()) as keep:
            assert test_run(need_live(), keep(load(need_live(), insns).fd))[0] == 8
    else:
        with Kernel(engine=which) as kernel, closing(kernel.bpf) as keep:
            assert test_run(kernel.bpf, keep(load(kernel.bpf, insns).fd))[0] == 8
