"""What is known at one instruction on one path: registers, stack slots, frames.

Registers and slots are values: once published in a state they are never changed, a change makes a new
one. So states share them, copying a state copies references, and comparing begins with identity.
"""

from __future__ import annotations

from enum import IntEnum

from .refs import Held
from .tnum import U32, U64

S64_MIN, S64_MAX = -(1 << 63), (1 << 63) - 1
S32_MIN, S32_MAX = -(1 << 31), (1 << 31) - 1
STACK_BYTES = 512
MAX_FRAMES = 8


class T(IntEnum):
    """Register types; the names in logs are in log.py."""

    NOT_INIT = 0
    SCALAR = 1
    CTX = 2
    MAP_PTR = 3
    MAP_VALUE = 4
    MAP_KEY = 5
    STACK = 6
    PACKET_META = 7
    PACKET = 8
    PACKET_END = 9
    BTF = 10
    MEM = 11
    FUNC = 12
    SOCKET = 13
    SOCK_COMMON = 14
    TCP_SOCK = 15
    XDP_SOCK = 16
    ITER = 17  # in stack slots alone
    DYNPTR = 18
    IRQ_FLAG = 19
    FLOW_KEYS = 20
    ARENA = 21  # 32 bits of a number that reach into the program's arena, whatever they are
    TP_BUFFER = 22  # what a raw tracepoint lets a program write


NOT_INIT, SCALAR, STACK = int(T.NOT_INIT), int(T.SCALAR), int(T.STACK)

# Flags of pointer registers.
OR_NULL, RDONLY, TRUSTED, RCU, UNTRUSTED = 1, 2, 4, 8, 16
# ALLOC: an object of a type in the program's own BTF (btf_id); NON_OWN: one in a list or tree, looked at under its lock.
ALLOC, PERCPU, NON_OWN, USER = 32, 64, 128, 256
LOCAL = 512  # btf_id is of the program's own BTF
PACKET_SLICE = 1 << 13  # memory that may lie in a packet
# Reg.range of a packet pointer that was compared with the end and does not lie before it.
AT_END, BEYOND_END = -1, -2
RINGBUF = 1 << 12  # memory reserved in a ring buffer
# Flags of scalars: the number lies Reg.off from the others of its id, added on 64 bits or on 32.
ADDED, ADDED_32 = 1 << 20, 1 << 21


# Names with an underscore are C numbers in the compiled module (state.pxd).
_U64, _SIGN64, _U32, _SIGN32 = U64, 1 << 63, U32, 1 << 31
_S64_MIN, _S64_MAX, _S32_MIN, _S32_MAX = S64_MIN, S64_MAX, S32_MIN, S32_MAX


def s64(value: int) -> int:
    return ((value & _U64) ^ _SIGN64) - _SIGN64


def s32(value: int) -> int:
    return ((value & _U32) ^ _SIGN32) - _SIGN32


class Reg:
    """One register: its type and, for scalars and the variable part of a pointer's offset, its bounds.

    value/mask: the tnum. off: a pointer's fixed offset, or how far a scalar lies from the others of its id. id:
    which registers are the same unknown (scalars), or become non-null together, or have the same packet range. map:
    index of a map pointer's or value's map. size: bytes behind MEM; of an inner map, or a value in one, which
    of its kind. range: bytes of packet proved to be there. frame: whose stack; which subprog (FUNC). ref: the reference
    (held.Ref.id) that keeps what it points to.
    """

    __slots__ = (
        "btf_id",
        "flags",
        "frame",
        "id",
        "map",
        "mask",
        "off",
        "range",
        "ref",
        "s32max",
        "s32min",
        "size",
        "smax",
        "smin",
        "type",
        "u32max",
        "u32min",
        "umax",
        "umin",
        "value",
    )

    def __init__(self, type_: int = NOT_INIT, flags: int = 0) -> None:
        self.type = type_
        self.flags = flags
        self.off = 0
        self.id = 0
        self.map = -1
        self.btf_id = 0
        self.size = 0
        self.range = 0
        self.frame = 0
        self.ref = 0
        self.value = 0
        self.mask = 0
        self.smin = self.smax = self.umin = self.umax = 0
        self.s32min = self.s32max = self.u32min = self.u32max = 0

    def copy(self) -> Reg:
        r = Reg.__new__(Reg)
        r.type = self.type
        r.flags = self.flags
        r.off = self.off
        r.id = self.id
        r.map = self.map
        r.btf_id = self.btf_id
        r.size = self.size
        r.range = self.range
        r.frame = self.frame
        r.ref = self.ref
        r.value = self.value
        r.mask = self.mask
        r.smin = self.smin
        r.smax = self.smax
        r.umin = self.umin
        r.umax = self.umax
        r.s32min = self.s32min
        r.s32max = self.s32max
        r.u32min = self.u32min
        r.u32max = self.u32max
        return r

    def unlink(self) -> None:
        """No other register is known by this number."""
        self.id = self.off = self.flags = 0

    @property
    def is_const(self) -> bool:
        return not self.mask

    @property
    def is_pointer(self) -> bool:
        return self.type > SCALAR

    def unbound(self) -> None:
        """Forget the bounds (not the tnum)."""
        self.smin, self.smax, self.umin, self.umax = _S64_MIN, _S64_MAX, 0, _U64
        self.s32min, self.s32max, self.u32min, self.u32max = _S32_MIN, _S32_MAX, 0, _U32

    def set_unknown(self) -> None:
        self.value, self.mask = 0, _U64
        self.unbound()

    def set_const(self, value: int) -> None:
        """The value is known; a negative one is meant in two's complement."""
        self.know(value & U64)

    def know(self, value: int) -> None:
        """As set_const(), for a number that is unsigned already."""
        self.value, self.mask = value, 0
        self.umin = self.umax = value
        self.smin = self.smax = s64(value)
        self.u32min = self.u32max = value & _U32
        self.s32min = self.s32max = s32(value)


def scalar() -> Reg:
    """A scalar of which nothing is known."""
    return _UNKNOWN


def unknown_scalar() -> Reg:
    """As scalar(), one of its own to be changed."""
    r = Reg(SCALAR)
    r.set_unknown()
    return r


def const_scalar(value: int) -> Reg:
    r = Reg(SCALAR)
    r.set_const(value)
    return r


def pointer(type_: int, flags: int = 0) -> Reg:
    """A pointer with no offset (its variable part is the constant 0)."""
    return Reg(type_, flags)


_UNKNOWN = unknown_scalar()
NOTHING = Held()
UNINIT = Reg(NOT_INIT)
ZERO = const_scalar(0)

# What a byte of the stack is; eight of them are one number (Slot.kinds), the byte at the lowest address lowest.
INVALID, SPILL, MISC, ZEROED = 0, 1, 2, 3
# Slots that a kernel function keeps an object of its own in: all eight bytes are of the kind.
ITER_SLOT, DYNPTR_SLOT, IRQ_SLOT = 4, 5, 6
_EACH = 0x0101010101010101
SPILLED = SPILL * 0x0101010101010101
_SPILL, _SPILLED, _INVALID = SPILL, SPILLED, 0


class Slot:
    """Eight bytes of stack: what each byte is, and the register spilled into them (its low bytes if fewer).

    top: what the lowest byte is; of a spill or an object it tells which.
    """

    __slots__ = ("kinds", "reg", "top")

    def __init__(self, kinds: int, reg: Reg | None = None) -> None:
        self.kinds = kinds
        self.top = kinds & 0xFF
        self.reg = reg

    def is_full_spill(self) -> bool:
        return self.kinds == _SPILLED

    def spilled_bytes(self) -> int:
        kinds, count = self.kinds, 0
        while kinds & 0xFF == _SPILL:
            kinds >>= 8
            count += 1
        return count

    def byte(self, index: int) -> int:
        """What the byte at the slot's address and `index` is."""
        return self.kinds >> index * 8 & 0xFF


def make_slot(kinds: int, reg: Reg | None) -> Slot:
    """As Slot(), without the detour that a compiled module's call of a class is."""
    slot = Slot.__new__(Slot)
    slot.kinds = kinds
    slot.top = kinds & 0xFF
    slot.reg = reg
    return slot


def filled(kind: int, reg: Reg | None = None) -> Slot:
    """A slot whose bytes are all of one kind."""
    return make_slot(kind * _EACH, reg)


EMPTY = Slot(0)


# A register or slot of a frame as one number: r0-r9 by theirs, slot i as SLOT_BIT + i.
SLOT_BIT = 16


class Frame:
    """One function's registers r0-r10 and stack: slot i holds bytes [-8*(i+1), -8*i) below r10.

    call_site: the call instruction, -1 at the bottom. precise, precise_slots: in a kept state, which registers and slots
    hold scalars that something behind it depended on (bits); the others may be anything. rounds: how often the callbacks
    of the call under way have run. life: what is known of the stack's liveness in this call of the function (liveness.py).
    """

    __slots__ = ("call_site", "callback", "life", "number", "precise", "precise_slots", "regs", "rounds", "stack", "subprog")

    def __init__(self, number: int, subprog: int, call_site: int) -> None:
        self.number = number
        self.subprog = subprog
        self.call_site = call_site
        self.callback = False
        self.precise = 0
        self.precise_slots = 0
        self.rounds = 0
        self.life: object = None
        self.regs: list[Reg] = [UNINIT] * 11
        fp = pointer(STACK)
        fp.frame = number
        self.regs[10] = fp
        self.stack: dict[int, Slot] = {}

    def copy(self) -> Frame:
        f = Frame.__new__(Frame)
        f.number = self.number
        f.subprog = self.subprog
        f.call_site = self.call_site
        f.callback = self.callback
        f.precise = 0
        f.precise_slots = 0
        f.rounds = self.rounds
        f.life = self.life
        f.regs = self.regs[:]
        f.stack = self.stack.copy()
        return f


class Step:
    """One step on a state's way that is not told by the instruction before it: a jump, or what an instruction touched.

    pc: the instruction; came_from: the one run before it. frame, slot: the stack slot that it fills or spills (slot -1:
    none). linked: at a conditional jump, the (frame, bit) of scalars that were one number. before: the step before.
    """

    __slots__ = ("before", "came_from", "count", "frame", "linked", "pc", "slot")

    def __init__(self, before: Step | None, pc: int, came_from: int) -> None:
        self.before = before
        self.count: int = before.count + 1 if before is not None else 1
        self.pc = pc
        self.came_from = came_from
        self.frame = 0
        self.slot = -1
        self.linked: tuple[tuple[int, int], ...] = ()


def make_step(before: Step | None, pc: int, came_from: int) -> Step:
    """As Step(), without the detour that a compiled module's call of a class is."""
    step = Step.__new__(Step)
    step.before = before
    step.count = before.count + 1 if before is not None else 1
    step.pc = pc
    step.came_from = came_from
    step.frame = 0
    step.slot = -1
    step.linked = ()
    return step


class State:
    """One path's state: the frames, and where it comes from.

    parent: the kept state that this one goes on from; branches: how many of its continuations are not walked to
    their end yet. steps: the way from the parent to here, last step first; first_pc: where that way begins; last_pc: in a
    kept state (is_kept), the last instruction on it. pc: where it was kept. clean: what no continuation reads is gone.
    evicted: no longer compared with others. unrolled: how many rounds of callbacks lie on the way here,
    may_gotos: of loops that end by themselves. held: what must be given back. visit: of a kept state, the stay in a loop
    that it belongs to (loops.py).
    """

    __slots__ = (
        "branches",
        "clean",
        "evicted",
        "first_pc",
        "frames",
        "held",
        "is_kept",
        "last_pc",
        "may_gotos",
        "parent",
        "pc",
        "steps",
        "unrolled",
        "visit",
    )

    def __init__(self, frames: list[Frame]) -> None:
        self.frames = frames
        self.held = NOTHING
        self.parent: State | None = None
        self.branches = 0
        self.steps: Step | None = None
        self.first_pc = 0
        self.last_pc = -1
        self.pc = -1
        self.clean = False
        self.evicted = False
        self.is_kept = False
        self.unrolled = 0
        self.may_gotos = 0
        self.visit: object = None

    @property
    def frame(self) -> Frame:
        return self.frames[-1]

    def copy(self) -> State:
        frames = self.frames
        s = State([frames[0].copy()] if len(frames) == 1 else [f.copy() for f in frames])
        s.parent = self.parent
        s.held = self.held
        s.steps = self.steps
        s.first_pc = self.first_pc
        s.unrolled = self.unrolled
        s.may_gotos = self.may_gotos
        return s

    @property
    def call_sites(self) -> tuple[int, ...]:
        """The calls that led here, outermost first: together with a frame's number they name its function's instance."""
        return tuple(f.call_site for f in self.frames)
