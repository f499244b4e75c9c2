"""The calls of a program as a graph: how much stack a chain of them needs, and what a function does further down."""

from __future__ import annotations

import errno

from ..isa.encoding import ABS, CALL, IND, LD
from ..program import Program
from ..spec.helpers import HELPER_BY_ID
from ..uapi import bpf as uapi
from . import funcs
from .cfg import Cfg
from .refusal import Refusal
from .state import MAX_FRAMES, STACK_BYTES

_GRANULE_BYTES = 16  # a frame takes a multiple of this in native code, one at least


def packet_changers(program: Program, cfg: Cfg) -> set[int]:
    """Functions in which, or below which, a helper may move the packet."""
    found = set()
    for pc, insn in enumerate(program.insns):
        if insn.code == CALL and insn.src == 0:
            row = HELPER_BY_ID.get(insn.imm)
            if row is not None and row.changes_packet:
                found.add(cfg.subprog_at[pc])
    edges = cfg.edges
    while more := {i for i, below in enumerate(edges) if below & found} - found:
        found |= more
    return found


def check_ends_of_functions(program: Program, cfg: Cfg) -> None:
    """A function that may end in its middle must be known by BTF (func_info) to return a number. Raises Refusal."""
    returns = {info.insn_off: funcs.returns_number(program, info.type_id) for info in program.funcs}
    for pc, insn in enumerate(program.insns):
        index = cfg.subprog_at[pc]
        if not index:
            continue
        if insn.code & 7 == LD and insn.code & 0xE0 in (ABS, IND):
            what = "LD_ABS"
        elif insn.code == CALL and insn.src == 0 and insn.imm == uapi.BPF_FUNC_tail_call:
            what = "tail_call"
        else:
            continue
        if not program.funcs:
            raise Refusal(f"{what} is not allowed in subprogs without BTF", errno.EINVAL)
        if not returns.get(cfg.starts[index], True):
            raise Refusal(f"{what} is only allowed in functions that return 'int'.", errno.EINVAL)


def check_depth(program: Program, cfg: Cfg, stack_bytes: list[int]) -> None:
    """No chain of calls needs more than 512 bytes of stack or 8 frames; no function calls itself. Raises Refusal."""
    edges = cfg.edges
    sizes = [max(_GRANULE_BYTES, -(-n // _GRANULE_BYTES) * _GRANULE_BYTES) for n in stack_bytes]
    memo: dict[int, tuple[int, int]] = {}

    def depth(i: int, path: frozenset[int]) -> tuple[int, int]:
        if i in path:
            name = funcs.name_of(program, cfg.starts[i])
            raise Refusal(f"recursive call from {name}()", errno.EINVAL)
        if len(path) >= MAX_FRAMES:
            raise Refusal(f"the call stack of {len(path) + 1} frames is too deep !", errno.E2BIG)
        if i not in memo:
            below = [depth(j, path | {i}) for j in sorted(edges[i])]
            memo[i] = sizes[i] + max((b for b, _ in below), default=0), 1 + max((f for _, f in below), default=0)
        return memo[i]

    for i in range(len(cfg.starts)):
        size, frames = depth(i, frozenset())
        if frames > MAX_FRAMES:
            raise Refusal(f"the call stack of {frames} frames is too deep !", errno.E2BIG)
        if size > STACK_BYTES:
            raise Refusal(f"combined stack size of {frames} calls is {size}. Too large", errno.EACCES)


def check_throws(program: Program, cfg: Cfg, throws: list[int], answer: int) -> None:
    """No function that a helper calls back, nor the one that answers (-1 none), nor one below throws. Raises Refusal."""
    edges = cfg.edges
    below = {cfg.subprog_at[start] for start in cfg.callbacks} | ({answer} if answer >= 0 else set())
    while more := {j for i in below for j in edges[i]} - below:
        below |= more
    for pc in sorted(throws):
        subprog = cfg.subprog_at[pc]
        if subprog in below:
            raise Refusal(f"bpf_throw kfunc (insn {pc}) cannot be called from callback subprog {subprog}", errno.EINVAL)
