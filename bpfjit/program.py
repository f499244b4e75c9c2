"""The road from a program that bpf(2) was handed to native code: Program -> Verified -> engines.

A `Program` is what the kernel side makes of PROG_LOAD. `Verified` exists only as the verifier's verdict,
and the JIT and the interpreter take nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntFlag

from .btf import NO_FIELDS, Btf, BtfId, FuncInfo, LineInfo, Record
from .dataclass import dataclass, field
from .isa.encoding import CALL, Insn
from .spec.kinds import Helper, MapType, ProgType


@dataclass(frozen=True, slots=True)
class MapInfo:
    """What verifier and engines know of a map.

    constant: its contents when they can never change. record: the special fields of a value. inner: of a map of maps,
    which of the program's maps stands for those it holds; that one is a `template`, which lies nowhere.
    """

    id: int
    name: str
    type: MapType
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0
    frozen: bool = False
    constant: bytes | None = None
    record: Record = NO_FIELDS
    has_btf: bool = False
    inner: int = -1
    template: bool = False


@dataclass(frozen=True, slots=True)
class MapRef:
    """What a ld_imm64 loads: a map (`value_off` None) or an address `value_off` bytes into its first value."""

    map_index: int
    value_off: int | None = None


@dataclass(frozen=True, slots=True)
class TracedFunction:
    """A function of another program, as programs see it that run before and behind it.

    proto: its prototype among the types of that program; VOID where those tell nothing of its registers, of which there
    are five then. ctx_names: what a pointer to that program's context points to; kern_ctx: what the kernel has there.
    """

    btf: Btf
    proto: BtfId
    ctx_names: frozenset[str]
    kern_ctx: str


@dataclass(frozen=True, slots=True)
class Program:
    """One program as loaded: instructions with their references resolved, and what it attaches to.

    `map_refs` is by instruction number. `attach_name` is the BTF name attached to ("btf_trace_x",
    "bpf_iter_task"). `memory_bytes` is the size behind r1 of a raw program. structs: its types that have special
    fields. is_extension: it takes the place of a function of a program of this type, and has that function's arguments.
    traces: the function of another program that it is loaded for (attach_name is its name).
    """

    name: str
    type: ProgType
    insns: tuple[Insn, ...]
    attach_type: int = 0
    attach_name: str = ""
    maps: tuple[MapInfo, ...] = ()
    map_refs: Mapping[int, MapRef] = field(default_factory=dict)
    btf: Btf | None = None
    funcs: tuple[FuncInfo, ...] = ()
    lines: tuple[LineInfo, ...] = ()
    gpl: bool = True
    sleepable: bool = False
    memory_bytes: int = 0
    strict_alignment: bool = False
    structs: Mapping[BtfId, Record] = field(default_factory=dict)
    is_extension: bool = False
    traces: TracedFunction | None = None


class Region(IntFlag):
    """What an instruction's address may point into, over all paths."""

    STACK = 1
    CTX = 2
    MAP_VALUE = 4
    PACKET = 8
    KERNEL = 16  # a kernel object that is surely there
    PROBE = 32  # a kernel address that may be NULL or stale: a load gives 0 then
    MEMORY = 64  # plain memory of a size that the verifier knows
    MAP_KEY = 128
    ARENA = 256  # the program's arena, by 32 bits of address: what is not there reads as 0


class ValueKind(IntFlag):
    """What a register holds over all paths, as bits: pointers stay pointers in native code."""

    NONE = 0
    SCALAR = 1
    POINTER = 2
    MIXED = 3
    ARENA = 4  # a number that reaches into the program's arena


@dataclass(frozen=True, slots=True)
class Subprog:
    """One function: its instructions [start, end), bytes of stack, and how it is entered."""

    start: int
    end: int
    name: str
    stack_bytes: int
    is_callback: bool = False
    zero_stack: bool = False  # it may read stack that it did not write


@dataclass(frozen=True, slots=True)
class StructRef:
    """A structure of the program's own types, as the runtime knows it: its size and special fields."""

    type_id: int


@dataclass(frozen=True, slots=True)
class KfuncCall:
    """A call of a kernel function: which, and what registers hold at it beside what the program put there."""

    name: str
    hidden: Mapping[int, int | StructRef] = field(default_factory=dict)
    own: int = 0  # the register that holds what is kept of the program itself


@dataclass(frozen=True, slots=True)
class SocketPart:
    """A member of a socket as the kernel has it: offset and size in bytes, the bits of it that a narrow load passes over.

    none: the value for which programs read -1 (0 for no such).
    """

    offset: int
    size: int
    shift: int = 0
    none: int = 0


SEVERAL_MAPS = 255  # in Facts.value_map: a program has at most 64


@dataclass(slots=True)
class Facts:
    """What the verifier found out, by instruction number; indexes stand for the program's instructions.

    visited: reached on some path. region: what memory instructions touch. result: the kind of the value an instruction
    leaves in its destination (r0 for calls). native_off: where a context field lies in the runtime's context.
    packet_changers: functions after which packet pointers are no good. socket_parts: by load, where a member of a socket
    lies in the kernel's structure. call_map: the one map that a helper call's map argument is (-1: several; a template:
    whichever a map of maps holds). kfuncs: what each call of a kernel function is. may_goto: functions with loops that
    end by themselves. narrowed: arithmetic on an arena's pointers, done on 32 bits. taken: for a conditional jump, 1
    fall-through seen | 2 jump seen. live: registers (bits) read later on. entry_kinds: by function, the kinds of r0-r5 at
    its entry; exit_kinds: of what it returns. egress_only: a cgroup_skb program that on some path returns 2 or 3 and
    nothing else. answers_throws: the function whose result is the program's when it throws, -1 none: what was thrown is.
    attached: how many arguments the function that it is attached to has, and 1 << 32 where what that returned stands
    behind them. max_*_access: how far it reaches into an iterator's key and value buffers.
    """

    visited: bytearray
    region: list[int]
    result: bytearray
    taken: bytearray
    value_map: bytearray  # by load or store, the map whose values it touches, and one; SEVERAL_MAPS, 0 for none
    native_off: dict[int, int] = field(default_factory=dict)
    socket_parts: dict[int, SocketPart] = field(default_factory=dict)
    packet_changers: set[int] = field(default_factory=set)
    call_map: dict[int, int] = field(default_factory=dict)
    kfuncs: dict[int, KfuncCall] = field(default_factory=dict)
    may_goto: set[int] = field(default_factory=set)
    narrowed: set[int] = field(default_factory=set)
    subprogs: tuple[Subprog, ...] = ()
    live: list[int] = field(default_factory=list)
    entry_kinds: list[list[int]] = field(default_factory=list)
    exit_kinds: list[int] = field(default_factory=list)
    egress_only: bool = False
    answers_throws: int = -1
    attached: int = 0
    max_rdonly_access: int = 0
    max_rdwr_access: int = 0


@dataclass(frozen=True, slots=True)
class Stats:
    """What a verification took. `log_missing` bytes of its log were not kept; `log_cuts`: from and to what it was cut."""

    processed_insns: int
    total_states: int
    peak_states: int
    max_states_per_insn: int
    duration_us: float
    log_missing: int = 0
    log_cuts: tuple[tuple[int, int], ...] = ()


NO_STATS = Stats(0, 0, 0, 0, 0.0)  # of what was refused before it was looked at


# Bits of a log's level beside 1 and 2 (BPF_LOG_STATS, BPF_LOG_FIXED).
LOG_STATS, LOG_FIXED = 4, 8


class Verified:
    """A program that the verifier accepted, and what it knows of it.

    Only the verifier holds the key that makes one (tests/unit/test_walls.py keeps it that way).
    """

    __slots__ = ("facts", "log", "program", "stats")

    def __init__(self, key: object, program: Program, facts: Facts, stats: Stats, log: str) -> None:
        if key is not _VERIFIER_KEY:
            raise TypeError("Verified is made by the verifier only")
        self.program = program
        self.facts = facts
        self.stats = stats
        self.log = log


_VERIFIER_KEY = object()


def helpers_of(verified: Verified) -> list[Helper]:
    """The helpers that a program calls, each once."""
    calls = {
        insn.imm
        for pc, insn in enumerate(verified.program.insns)
        if insn.code == CALL and insn.src == 0 and verified.facts.visited[pc]
    }
    from .spec.helpers import helper_for  # late: a program whose verdict is kept is not looked through again

    return [helper_for(i, verified.program.type.name) for i in sorted(calls)]


class Rejected(Exception):
    """The verifier's refusal: its last line, errno, log and statistics."""

    def __init__(self, reason: str, errno: int, log: str, stats: Stats, pc: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.errno = errno
        self.log = log
        self.stats = stats
        self.pc = pc


@dataclass(frozen=True, slots=True)
class Binding:
    """Where a program's references lie in this process: addresses for the JIT and the interpreter.

    helpers: runtime symbol -> address. maps: by map index, the map's address; values: the address of
    its first value (0 where it has none). owns: whether [addr, addr+size) belongs to a map value or a
    kernel object of the program's kernel: what the checking interpreter may touch. map_at: the map at an address.
    users: where the user has an arena; its `values` is the base of what programs know by 32 bits.
    own: the address of what is kept of the program itself (struct rt_prog), 0 for nothing.
    struct: where the runtime's description of a structure of the program's types lies.
    """

    helpers: Mapping[str, int]
    maps: tuple[int, ...] = ()
    values: tuple[int, ...] = ()
    owns: Callable[[int, int], bool] = lambda addr, size: False
    kernel_owns: Callable[[int, int], bool] = lambda addr, size: False
    map_at: Callable[[int], MapInfo | None] = lambda addr: None
    own: int = 0
    struct: Callable[[int], int] = lambda type_id: 0
    users: tuple[int, ...] = ()
