"""Profiles: a program that uses what a version of Linux lacks is refused in that version's words."""

from __future__ import annotations

import errno
import itertools
from dataclasses import replace

import pytest
from bpf_text import assemble
from judges import Case, program_of
from test_verdicts_of_cases import ids

from bpfjit.btf import Btf
from bpfjit.isa.encoding import Insn, encode
from bpfjit.loader.bpf import Buffers
from bpfjit.program import Rejected
from bpfjit.spec.helpers import HELPERS
from bpfjit.spec.kfuncs import KFUNC_BY_NAME
from bpfjit.spec.map_types import MAP_TYPE_BY_ID
from bpfjit.spec.profiles import DEFAULT_PROFILE, PROFILES, profile_named
from bpfjit.spec.prog_types import PROG_TYPE_BY_ID
from bpfjit.uapi import bpf as uapi
from bpfjit.verifier import Env, verify
from bpfjit.verifier.versions import FEATURES
from kernfs_sim import Kernel

# (program, what 6.1 says, what 6.12 says; "" where it is accepted). 6.18 accepts all of them.
PROGRAMS = {
    "a plain program": ("call get_prandom_u32; r0 = 0; exit", "", ""),
    "bpf_cgrp_storage_get": ("call #210; r0 = 0; exit", "invalid func unknown#210", "arg"),
    "may_goto": ("r0 = 0; may_goto +0; exit", "unknown opcode e5", ""),
    "signed division": ("r0 = 8; r1 = 2; r0 s/= r1; exit", "BPF_ALU uses reserved fields", ""),
    "sign-extending move": ("r1 = 8; r0 = (s8) r1; exit", "BPF_MOV uses reserved fields", ""),
    "sign-extending load": ("*(u64 *)(r10 - 8) = 0; r0 = *(s8 *)(r10 - 8); exit", "unknown opcode 91", ""),
    "byte swap": ("r0 = 8; r0 = bswap32 r0; exit", "unknown opcode d7", ""),
    "byte order": ("r0 = 8; r0 = be32 r0; exit", "", ""),
    "long jump": ("r0 = 8; gotol out; out: exit", "unknown opcode 06", ""),
    "load_acquire": (
        "*(u64 *)(r10 - 8) = 0; r1 = r10; r0 = load_acquire *(u64 *)(r1 - 8); exit",
        *["BPF_ATOMIC uses invalid atomic opcode 100"] * 2,
    ),
    "open-coded iterator": (
        "r1 = r10; r1 += -8; r2 = 0; r3 = 3; call kfunc bpf_iter_num_new; r1 = r10; r1 += -8; "
        "call kfunc bpf_iter_num_destroy; r0 = 0; exit",
        "calling kernel function bpf_iter_num_new is not allowed",
        "",
    ),
    "disabled interrupts": (
        "r1 = r10; r1 += -8; call kfunc bpf_local_irq_save; r1 = r10; r1 += -8; "
        "call kfunc bpf_local_irq_restore; r0 = 0; exit",
        *["calling kernel function bpf_local_irq_save is not allowed"] * 2,
    ),
}


def _said(text: str, version: str, types: Btf) -> str:
    """What the verifier says of a tc program as on that Linux; "" for yes."""
    code = assemble(text, id_of=ids(types))
    program = program_of(Case("sched_cls", tuple(code.insns), code.maps))
    try:
        verify(program, Env(types, profile=profile_named(version)))
    except Rejected as e:
        return e.reason
    return ""


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_a_version_lacks_is_refused_in_its_words(name: str, types: Btf) -> None:
    text, *wanted = PROGRAMS[name]
    for version, words in zip(("6.1", "6.12"), wanted, strict=True):
        said = _said(text, version, types)
        assert bool(said) == bool(words) and (words in said or words == "arg"), f"{version}: {said!r}"


def test_the_default_is_what_no_profile_says(types: Btf) -> None:
    for text, *_ in PROGRAMS.values():
        code = assemble(text, id_of=ids(types))
        program = program_of(Case("sched_cls", tuple(code.insns), code.maps))
        try:
            verify(program, Env(types))
            said = ""
        except Rejected as e:
            said = e.reason
        assert said == _said(text, DEFAULT_PROFILE.name, types)


def test_the_newest_profile_has_every_row() -> None:
    newest = PROFILES[-1]
    assert newest is DEFAULT_PROFILE and not newest.lacks
    assert max(h.id for h in HELPERS) == newest.helper
    assert max(MAP_TYPE_BY_ID) <= newest.map_type and max(PROG_TYPE_BY_ID) <= newest.prog_type
    assert all(newest.has_kfunc(name) for name in KFUNC_BY_NAME)
    assert set().union(*(p.lacks for p in PROFILES)) == set(FEATURES)


def test_profiles_only_grow() -> None:
    numbers = ("helper", "map_type", "prog_type", "attach_type", "command", "map_flags", "prog_flags")
    for old, new in itertools.pairwise(PROFILES):
        assert all(getattr(old, n) <= getattr(new, n) for n in numbers) and new.lacks <= old.lacks
        assert {n for n in KFUNC_BY_NAME if old.has_kfunc(n)} <= {n for n in KFUNC_BY_NAME if new.has_kfunc(n)}


def test_a_profile_is_a_row(types: Btf) -> None:
    old = replace(profile_named("6.12"), name="5.0", helper=6)
    code = assemble("call get_prandom_u32; exit")
    with pytest.raises(Rejected, match="invalid func unknown#7"):
        verify(program_of(Case("sched_cls", tuple(code.insns))), Env(types, profile=old))


def test_an_unknown_version_is_told_which_there_are() -> None:
    with pytest.raises(ValueError, match=r"no profile '5\.4'; there are 6\.1, 6\.12, 6\.18"):
        Kernel(profile="5.4")


def _refused(kernel: Kernel, cmd: int, attr: bytes) -> int:
    try:
        fd = kernel.bpf(cmd, bytearray(attr))
    except OSError as e:
        return e.errno or 0
    kernel.bpf.close(fd)
    return 0


@pytest.mark.parametrize(("version", "number"), [("6.1", errno.EINVAL), ("6.12", 0), ("6.18", 0)])
def test_a_kernel_knows_its_map_types_program_types_and_commands(version: str, number: int) -> None:
    storage = uapi.MapCreate(map_type=uapi.BPF_MAP_TYPE_ARENA, max_entries=1, map_flags=uapi.BPF_F_MMAPABLE)
    b = Buffers()
    code = b.put(encode([Insn(0xB7), Insn(0x95)]))
    prog = uapi.ProgLoad(
        prog_type=uapi.BPF_PROG_TYPE_NETFILTER,
        expected_attach_type=uapi.BPF_NETFILTER,
        insn_cnt=2,
        insns=code,
        license=b.put(b"GPL\0"),
    )
    with Kernel(cache=False, profile=version) as kernel:
        assert _refused(kernel, uapi.BPF_MAP_CREATE, storage.pack()) == number
        assert _refused(kernel, uapi.BPF_PROG_LOAD, prog.pack()) == number
        hash_ = uapi.MapCreate(map_type=uapi.BPF_MAP_TYPE_HASH, key_size=4, value_size=4, max_entries=1)
        assert _refused(kernel, uapi.BPF_MAP_CREATE, hash_.pack()) == 0
