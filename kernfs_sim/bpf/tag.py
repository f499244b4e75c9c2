"""prog_tag: what names a program by its instructions, whatever fds they were loaded with."""

from __future__ import annotations

from collections.abc import Sequence

from bpfjit.isa.encoding import LD_IMM64, Insn, encode
from bpfjit.sha256 import sha256
from bpfjit.uapi import bpf as uapi


def digest_of(insns: Sequence[Insn]) -> bytes:
    """A program's digest: SHA-256 over the instructions as submitted, the immediates of map fds zeroed."""
    cleared, pc = list(insns), 0
    while pc < len(cleared):
        insn = cleared[pc]
        if insn.code == LD_IMM64 and pc + 1 < len(cleared):
            if insn.src in (uapi.BPF_PSEUDO_MAP_FD, uapi.BPF_PSEUDO_MAP_VALUE):
                cleared[pc] = insn._replace(imm=0)
                cleared[pc + 1] = cleared[pc + 1]._replace(imm=0)
            pc += 1
        pc += 1
    return sha256(encode(cleared)).digest()


def tag_of(insns: Sequence[Insn]) -> bytes:
    """prog_tag: the first 8 bytes of the digest."""
    return digest_of(insns)[:8]
