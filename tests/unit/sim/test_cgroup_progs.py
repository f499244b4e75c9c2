"""Cgroup programs: what each type may read, write and return, as Linux's verifier has it."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from systems import load_prog

from bpfjit.errors import errno_name
from bpfjit.isa.encoding import decode
from bpfjit.loader import LiveBpf
from bpfjit.program import Program, Rejected
from bpfjit.spec.cgroup_progs import CGROUP_PROG_TYPES
from bpfjit.spec.kinds import ProgType
from bpfjit.uapi import bpf as uapi
from bpfjit.verifier import Env, verify
from kernfs_sim import Kernel

ROWS = {row.name: row for row in CGROUP_PROG_TYPES}
SIZES = {1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18}
ENV = Env(Kernel(cache=False).btf.types, True, 0)
# Pointers in contexts, which the verifier here refuses and Linux's knows: (struct, offset).
POINTERS = {("__sk_buff", 168), ("bpf_sock_addr", 64), ("bpf_sockopt", 0), ("bpf_sockopt", 8), ("bpf_sockopt", 16)}
PORT = ("bpf_sock", 48)  # dst_port with its padding, 4 bytes at once: Linux gives it, ours does not


def insn(code: int, regs: int, off: int, imm: int) -> bytes:
    return struct.pack("<BBhi", code, regs, off, imm)


def access(off: int, size: int, write: bool) -> bytes:
    code = (0x63 if write else 0x61) | SIZES[size]
    touch = insn(0xB7, 2, 0, 0) + insn(code, 0x21, off, 0) if write else insn(code, 0x12, off, 0)
    return touch + returns(1)


def returns(value: int) -> bytes:
    return insn(0xB7, 0, 0, value) + insn(0x95, 0, 0, 0)


def ours(row: ProgType, attach_type: int, insns: bytes) -> str:
    try:
        verify(Program("p", row, tuple(decode(insns)), attach_type), ENV)
    except Rejected as e:
        return errno_name(e.errno)
    return "done"


def theirs(live: LiveBpf, row: ProgType, attach_type: int, insns: bytes) -> str:
    try:
        live.close(load_prog(live, insns, prog_type=row.id, attach_type=attach_type))
    except OSError as e:
        return errno_name(e.errno or 0)
    return "done"


CONTEXTS = [
    ("cgroup_skb", uapi.BPF_CGROUP_INET_EGRESS),
    ("cgroup_sock", uapi.BPF_CGROUP_INET_SOCK_RELEASE),
    ("cgroup_sock", uapi.BPF_CGROUP_INET6_POST_BIND),
    ("cgroup_device", 0),
    ("cgroup_sock_addr", uapi.BPF_CGROUP_UDP4_SENDMSG),
    ("cgroup_sock_addr", uapi.BPF_CGROUP_UDP6_SENDMSG),
    ("cgroup_sock_addr", uapi.BPF_CGROUP_UNIX_CONNECT),
    ("cgroup_sysctl", 0),
    ("cgroup_sockopt", uapi.BPF_CGROUP_GETSOCKOPT),
    ("cgroup_sockopt", uapi.BPF_CGROUP_SETSOCKOPT),
]


@pytest.mark.parametrize("name, attach_type", CONTEXTS)
def test_every_access_to_the_context_gets_linuxs_verdict(live: LiveBpf, name: str, attach_type: int) -> None:
    row = ROWS[name]
    assert row.layout is not None
    struct_name, size = row.layout.struct, row.layout.size
    differs: list[Any] = []
    for off in range(0, size + 8, 2):
        for width in SIZES:
            if off % min(width, 4) or (width == 2 and off % 4):
                continue
            for write in (False, True):
                insns = access(off, width, write)
                got, wanted = ours(row, attach_type, insns), theirs(live, row, attach_type, insns)
                known = not write and (
                    ((struct_name, off) in POINTERS and width == 8) or ((struct_name, off) == PORT and width == 4)
                )
                if got != wanted and not (known and wanted == "done"):
                    differs.append((off, width, "write" if write else "read", got, wanted))
    assert not differs


@pytest.mark.parametrize("name", ROWS)
def test_every_return_value_gets_linuxs_verdict(live: LiveBpf, name: str) -> None:
    row = ROWS[name]
    for attach_type in row.attach_types or (0,):
        for value in (-1, 0, 1, 2, 3, 4):
            insns = returns(value)
            assert ours(row, attach_type, insns) == theirs(live, row, attach_type, insns), (attach_type, value)


@pytest.mark.parametrize("name", ROWS)
def test_what_a_type_is_loaded_for_is_linuxs(live: LiveBpf, name: str) -> None:
    row = ROWS[name]
    with Kernel(cache=False, engine="interp") as kernel:
        for attach_type in range(56):
            told = []
            for bpf in (kernel.bpf, live):
                try:
                    bpf.close(load_prog(bpf, returns(1), prog_type=row.id, attach_type=attach_type))
                    told.append("done")
                except OSError as e:
                    told.append(errno_name(e.errno or 0))
            assert told[0] == told[1], attach_type
