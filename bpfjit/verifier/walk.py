"""What every part of the verifier shares while it walks a program: the program, the state under way, the facts."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from ..btf import Btf
from ..program import SEVERAL_MAPS, Facts, MapInfo, Program, Region, ValueKind
from ..spec.profiles import DEFAULT_PROFILE, Profile
from ..spec.targets import FUNCTION_BY_NAME, TARGET_BY_FUNC, Function, Target
from ..uapi import bpf as uapi
from . import precision
from .cfg import Cfg
from .liveness import Liveness
from .log import Log
from .op import Op
from .refusal import Refusal
from .state import OR_NULL, SCALAR, Frame, Reg, State, Step, T, make_step

MAX_VAR_OFF = 1 << 29  # BPF_MAX_VAR_OFF: offsets beyond it are refused before they could overflow
MAX_PACKET_OFF = 0xFFFF
# Names with an underscore are C numbers in the compiled module (walk.pxd).
_MAP_REGION = int(Region.MAP_VALUE)
_ONE = 1  # to be shifted: a number as it stands has 32 bits in C
_SCALAR, _SCALAR_KIND, _POINTER_KIND = SCALAR, int(ValueKind.SCALAR), int(ValueKind.POINTER)
_ARENA, _ARENA_KIND = int(T.ARENA), int(ValueKind.ARENA)


@dataclass(frozen=True, slots=True)
class Env:
    """What the kernel hands the verifier beside the program.

    kernel_btf: the types that contexts and BTF pointers refer to. privileged: CAP_PERFMON's rights (pointer
    leaks, stack that was not written). log_level: as in bpf_attr. targets: of iterators and views, by function.
    function: what is known of one that fentry and the like attach to.
    log_bytes: for how much of the log there is room. profile: whose helpers, functions and instructions there are.
    watch: is shown each state before its instruction is walked; then every number counts in pruning, so that the states
    shown hold all that a run can come to (tests of soundness).
    """

    kernel_btf: Btf | None
    privileged: bool = True
    log_level: int = 0
    targets: Mapping[str, Target] = field(default_factory=lambda: TARGET_BY_FUNC)
    function: Callable[[str], Function | None] = FUNCTION_BY_NAME.get
    watch: Callable[[int, State], None] | None = None
    log_bytes: int = 1 << 24
    profile: Profile = DEFAULT_PROFILE


class Walk:
    """The verifier's working state; see check.py for the walk itself."""

    def __init__(self, program: Program, env: Env, cfg: Cfg, log: Log, ops: list[Op]) -> None:
        self.program = program
        self.insns = program.insns
        self.ops = ops
        self.env = env
        self.cfg = cfg
        self.log = log
        count = len(program.insns)
        self.facts = Facts(
            bytearray(count), [0] * count, bytearray(count), bytearray(count), bytearray(count), live=cfg.live
        )
        self.results, self.regions, self.value_maps = self.facts.result, self.facts.region, self.facts.value_map
        self.facts.entry_kinds = [[0] * 6 for _ in cfg.starts]
        self.facts.exit_kinds = [0] * len(cfg.starts)
        self.live = cfg.live
        # By map, the size of values that are bytes and nothing else, any of which may be read and written; -1 for others.
        self.plain_values = [m.value_size if _is_plain(m) else -1 for m in program.maps]
        self.stack_bytes = [0] * len(cfg.starts)
        self.pointer_at = bytearray(count)  # by load or store: the type of pointer that it goes through
        self.strict_alignment = program.strict_alignment
        self.zero_stack = bytearray(len(cfg.starts))
        self.state = State([Frame(0, 0, -1)])
        self.pc = 0
        self.came_from = -1  # the instruction run before this one on the path
        self.processed = 0
        self.jumps = 0
        self.ids = 0
        self.own_step: Step | None = None
        self.wanted = precision.Wanted()
        self.life = Liveness(program.insns, cfg)

    def new_id(self) -> int:
        self.ids += 1
        return self.ids

    def step(self) -> Step:
        """The step that stands for the instruction under way on the path; made where there is none yet."""
        step = self.state.steps
        if step is None or step.pc != self.pc or step is not self.own_step:
            step = make_step(step, self.pc, self.came_from)
            self.own_step = step
            self.state.steps = step
        return step

    def touch_slot(self, frame: int, slot: int) -> None:
        """The instruction under way spills to a slot of a frame, or fills from it."""
        step = self.step()
        step.frame, step.slot = frame, slot

    def wrote_slots(self, frame: Frame, slots: int) -> None:
        """The store under way overwrites these slots of a frame as a whole, whichever way it came here."""
        self.life.wrote(self.state, self.pc, slots << frame.number * 64)

    def linked(self, reg: Reg) -> Reg:
        """The scalar with an id of its own, by which copies of it will be known."""
        if not reg.mask or (reg.id and not reg.flags):
            return reg
        r = reg.copy()
        r.unlink()  # what lies away from others begins anew, as in Linux
        self.ids += 1
        r.id = self.ids
        return r

    def reject(self, reason: str, number: int = errno.EACCES) -> NoReturn:
        raise Refusal(reason, number, self.pc)

    @property
    def sleepable(self) -> bool:
        """The instruction under way may sleep, as far as the program's kind goes (held.check_may_sleep() sees the rest)."""
        own = self.state.held.sleeps
        return self.program.sleepable if own is None else own

    def precise(self, regno: int) -> None:
        """The number in a register of the present frame is relied upon: what it came from counts in pruning."""
        frame = self.state.frames[-1]
        reg = frame.regs[regno]
        if reg.type == _SCALAR:
            precision.need(self, len(self.state.frames) - 1, 1 << regno, 0)

    def precise_slot(self, frame: int, slot: int) -> None:
        """The number spilled to a stack slot is relied upon."""
        precision.need(self, frame, 0, _ONE << slot)

    @property
    def regs(self) -> list[Reg]:
        return self.state.frames[-1].regs

    def touch(self, region: int) -> None:
        self.regions[self.pc] |= region

    def touch_value(self, index: int) -> None:
        """The instruction under way touches a value of this map."""
        pc = self.pc
        self.regions[pc] |= _MAP_REGION
        have = self.value_maps[pc]
        if have != index + 1:
            self.value_maps[pc] = index + 1 if not have else SEVERAL_MAPS

    def leave(self, reg: Reg) -> None:
        """Note the kind of value that the instruction under way leaves in its destination."""
        self.results[self.pc] |= kind_of(reg)

    def enter(self, frame: Frame, state: State | None = None) -> None:
        """A state's innermost function (of the present state, without one) is entered: note its arguments' kinds."""
        self.life.enter(state if state is not None else self.state)
        kinds = self.facts.entry_kinds[frame.subprog]
        for i in range(1, 6):
            kinds[i] |= kind_of(frame.regs[i])

    def read(self, regno: int) -> Reg:
        """A register that is read as an operand. Rejects one that was never written."""
        frame = self.state.frames[-1]
        reg = frame.regs[regno]
        if reg.type == 0:
            self.reject(f"R{regno} !read_ok")
        return reg

    def write(self, regno: int, reg: Reg) -> None:
        if regno == 10:
            self.reject("frame pointer is read only")
        frame = self.state.frames[-1]
        frame.regs[regno] = reg
        self.results[self.pc] |= kind_of(reg)

    def need_stack(self, frame: Frame, low: int) -> None:
        """Frame `frame` uses its stack down to offset `low` (negative)."""
        if self.stack_bytes[frame.subprog] < -low:
            self.stack_bytes[frame.subprog] = -low


def _is_plain(m: MapInfo) -> bool:
    return not (m.record.fields or m.flags & (uapi.BPF_F_RDONLY_PROG | uapi.BPF_F_WRONLY_PROG) or m.constant)


def kind_of(reg: Reg) -> int:
    """A register's ValueKind; nothing for one that was never written."""
    if reg.type > _SCALAR:
        return _POINTER_KIND if reg.type != _ARENA else _ARENA_KIND
    return _SCALAR_KIND if reg.type == _SCALAR else 0


def non_null(reg: Reg) -> Reg:
    r = reg.copy()
    r.flags &= ~OR_NULL
    return r
