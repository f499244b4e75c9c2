"""LSM programs: which hook they attach to, and what they may answer there."""

from __future__ import annotations

import errno

from ..btf import Btf
from ..btf.types import Type
from ..program import Program
from ..spec import lsm
from ..uapi import bpf as uapi
from .refusal import Refusal


def check_hook(program: Program, btf_id: int) -> None:
    """Whether a program may attach to its hook. Raises Refusal, in Linux's words."""
    name = program.attach_name.removeprefix(lsm.PREFIX)
    if program.sleepable and name not in lsm.SLEEPABLE:
        raise Refusal(f"{program.attach_name} is not sleepable", errno.EINVAL)
    if not program.gpl:
        raise Refusal("LSM programs must have a GPL compatible license", errno.EINVAL)
    if name in lsm.DISABLED:
        raise Refusal(f"attach_btf_id {btf_id} points to disabled hook {program.attach_name}", errno.EINVAL)
    if not program.attach_name.startswith(lsm.PREFIX):
        raise Refusal(f"attach_btf_id {btf_id} points to wrong type name {program.attach_name}", errno.EINVAL)


def returns_of(program: Program, proto: Type) -> tuple[int, int] | None:
    """What a program may answer; None for anything."""
    if program.attach_type == uapi.BPF_LSM_CGROUP:
        return (0, 1) if proto.ref else (1, 1)
    if not proto.ref:
        return None
    return (0, 1) if program.attach_name.removeprefix(lsm.PREFIX) in lsm.YES_OR_NO else (-lsm.MAX_ERRNO, 0)


def prototype(program: Program, btf: Btf) -> Type:
    func = btf.find_func(program.attach_name)
    assert func is not None, "its arguments have been looked at"
    return btf.type(btf.type(func).ref)
