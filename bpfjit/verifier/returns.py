"""What programs, functions and callbacks may return."""

from __future__ import annotations

import errno

from ..uapi import bpf as uapi
from . import lsm
from . import state as st
from .log import type_name
from .state import SCALAR, Reg
from .walk import Walk


def check_return(w: Walk, r0: Reg, *, is_main: bool, regno: int = 0) -> None:
    """r0 as the program, or a function that is verified on its own, ends. Rejects."""
    program = w.program
    w.read(regno)
    if is_main and program.is_extension:
        return  # what the function that it stands for returned may be anything
    if not is_main:
        if r0.type != SCALAR:
            w.reject("At subprogram exit the register R0 is not a scalar value", errno.EINVAL)
        return
    if r0.is_pointer and not w.env.privileged:
        w.reject(f"R{regno} leaks addr as return value")
    wanted = program.type.ret_range_for(program.attach_type)
    is_lsm = program.type.id == uapi.BPF_PROG_TYPE_LSM  # some types are loaded with any attach type
    half = is_lsm and program.attach_type == uapi.BPF_LSM_MAC  # of hooks 32 bits count
    if is_lsm and w.env.kernel_btf is not None:
        wanted = lsm.returns_of(program, lsm.prototype(program, w.env.kernel_btf))
    if wanted is not None:
        _check_range(w, "At program exit", r0, *wanted, regno, half=half)
        if program.attach_type == uapi.BPF_CGROUP_INET_EGRESS and program.type.id == uapi.BPF_PROG_TYPE_CGROUP_SKB:
            w.facts.egress_only |= r0.value & ~1 == 2 and not r0.mask & ~1


def check_callback_return(w: Walk, r0: Reg) -> None:
    """A callback says 0 to go on, 1 to stop. Rejects."""
    w.read(0)
    _check_range(w, "At callback return", r0, 0, 1)


def check_later_return(w: Walk, r0: Reg) -> None:
    """A timer's callback has nothing to say. Rejects."""
    w.read(0)
    _check_range(w, "At async callback return", r0, 0, 0)


def _check_range(w: Walk, where: str, r0: Reg, low: int, high: int, regno: int = 0, *, half: bool = False) -> None:
    if r0.type != SCALAR:
        w.reject(f"{where} the register R{regno} is not a known value ({type_name(r0)})", errno.EINVAL)
    w.precise(regno)
    least, most = (r0.s32min, r0.s32max) if half else (r0.smin, r0.smax)
    if low <= least and most <= high:
        return
    parts = []
    if r0.smin > st.S64_MIN:
        parts.append(f"smin={r0.smin}")
    if r0.smax < st.S64_MAX:
        parts.append(f"smax={r0.smax}")
    has = " ".join(parts) or "unknown scalar value"
    w.reject(f"{where} the register R{regno} has {has} should have been in [{low}, {high}]", errno.EINVAL)
