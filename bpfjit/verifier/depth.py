"""The calls of a program as a graph: how much stack a chain of them needs, and what a function does further down."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping

from ..isa.encoding import ABS, CALL, IND, LD, LD_IMM64, Insn
from ..program import Program
from ..spec.helpers import HELPER_BY_ID
from ..spec.kinds import Helper
from ..uapi import bpf as uapi
from . import funcs
from .cfg import Cfg, Summary
from .refusal import Refusal
from .state import MAX_FRAMES, STACK_BYTES

_GRANULE_BYTES = 16  # a frame takes a multiple of this in native code, none where it needs none


def packet_changers(program: Program, cfg: Cfg, kfuncs: Mapping[int, Summary]) -> set[int]:
    """Functions in which, or below which, a helper may move the packet."""
    return _down_to(program, cfg, kfuncs, lambda row: row.changes_packet)


def sleepers(program: Program, cfg: Cfg, kfuncs: Mapping[int, Summary]) -> set[int]:
    """Functions in which, or below which, something may sleep."""
    return _down_to(program, cfg, kfuncs, lambda row: row.sleepable if isinstance(row, Helper) else row.sleeps)


def _down_to(
    program: Program, cfg: Cfg, kfuncs: Mapping[int, Summary], does: Callable[[Helper | Summary], bool]
) -> set[int]:
    found = set()
    for pc, insn in enumerate(program.insns):
        if insn.code == CALL and insn.src in (0, uapi.BPF_PSEUDO_KFUNC_CALL):
            row = kfuncs.get(insn.imm) if insn.src else HELPER_BY_ID.get(insn.imm)
            if row is not None and does(row):
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
        elif _is_tail_call(insn):
            what = "tail_call"
        else:
            continue
        if not program.funcs:
            raise Refusal(f"{what} is not allowed in subprogs without BTF", errno.EINVAL)
        if not returns.get(cfg.starts[index], True):
            raise Refusal(f"{what} is only allowed in functions that return 'int'.", errno.EINVAL)


# Programs that may get a stack of their own for each function, where nothing can enter them twice on one CPU.
_PRIVATE_TYPES = frozenset({"kprobe", "tracepoint", "perf_event", "raw_tracepoint"})
_PRIVATE_BYTES = 64  # from where on a function is worth one
_TAIL_CALL_BYTES = 256  # what may lie below a function that leaves for another program


def _has_private_stacks(program: Program, tail_calls: set[int]) -> bool:
    if tail_calls:
        return False
    shared = (uapi.BPF_TRACE_ITER, uapi.BPF_TRACE_VIEW)
    traces = program.type.name == "tracing" and program.attach_type not in shared
    return traces or program.type.name in _PRIVATE_TYPES


class _Chains:
    """Every chain of calls from a function down, in the order of Linux's own walk."""

    def __init__(self, program: Program, cfg: Cfg, stack_bytes: list[int], tail_calls: set[int], later: set[int]) -> None:
        self.sizes = [-(-n // _GRANULE_BYTES) * _GRANULE_BYTES for n in stack_bytes]
        self.tail_calls = tail_calls
        self.shared: set[int] = set()  # functions that callbacks enter, at any time: they stay on the common stack
        self.calls: list[list[int]] = [[] for _ in cfg.starts]
        for pc, insn in enumerate(program.insns):
            called = insn.code == CALL and insn.src == uapi.BPF_PSEUDO_CALL
            if called or (insn.code == LD_IMM64 and insn.src == uapi.BPF_PSEUDO_FUNC):
                below = cfg.subprog_at[pc + insn.imm + 1]
                if (
                    called or below not in later
                ):  # what runs by itself some time takes none of this stack, unless it is called
                    self.calls[cfg.subprog_at[pc]].append(below)

    def walk(self, start: int, private: bool) -> None:
        """Raises Refusal."""
        seen: set[tuple[int, int, int]] = set()

        def enter(i: int, frame: int, below: int) -> None:
            if frame >= MAX_FRAMES:
                raise Refusal(f"the call stack of {frame} frames is too deep !", errno.E2BIG)
            if not private:
                self.shared.add(i)
            if i and i in self.tail_calls and below >= _TAIL_CALL_BYTES:
                what = f"tail_calls are not allowed when call stack of previous frames is {below} bytes. Too large"
                raise Refusal(what, errno.EACCES)
            size = self.sizes[i]
            if private and i not in self.shared and size >= _PRIVATE_BYTES:
                if size > STACK_BYTES:
                    raise Refusal(f"stack size of subprog {i} is {size}. Too large", errno.EACCES)
            else:
                below += size
                if below > STACK_BYTES:
                    raise Refusal(f"combined stack size of {frame + 1} calls is {below}. Too large", errno.EACCES)
            if (i, frame, below) in seen:
                return
            seen.add((i, frame, below))
            for j in self.calls[i]:
                enter(j, frame + 1, below)

        enter(start, 0, 0)


def check_depth(program: Program, cfg: Cfg, stack_bytes: list[int], later: set[int]) -> None:
    """No chain of calls needs more than 512 bytes of stack or 8 frames. Raises Refusal.

    later: functions that run by themselves some time. As in Linux a tracing program's larger functions have 512 bytes each.
    """
    tail_calls = {cfg.subprog_at[pc] for pc, insn in enumerate(program.insns) if _is_tail_call(insn)}
    chains = _Chains(program, cfg, stack_bytes, tail_calls, later)
    for i in sorted(later, reverse=True):
        chains.walk(i, private=False)
    chains.walk(0, private=_has_private_stacks(program, tail_calls))


def _is_tail_call(insn: Insn) -> bool:
    return insn.code == CALL and insn.src == 0 and insn.imm == uapi.BPF_FUNC_tail_call


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
