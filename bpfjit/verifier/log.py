"""The verifier's log, in Linux's wording: instructions, C source lines, register states."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from ..btf import Btf, RawBtf
from ..isa.encoding import CALL, Insn
from ..isa.text import disasm
from ..program import LOG_FIXED, LOG_STATS, Program, Stats
from ..spec.helpers import HELPER_BY_ID
from ..uapi import bpf as uapi
from . import state as st
from .op import uses_defs
from .state import (
    LOCAL,
    NON_OWN,
    OR_NULL,
    PERCPU,
    RCU,
    RDONLY,
    RINGBUF,
    TRUSTED,
    UNTRUSTED,
    USER,
    Frame,
    Reg,
    Slot,
    T,
)
from .tnum import U32, U64

# The bits of a log level beside 1 and 2.
MAX_INSNS = 1_000_000  # BPF_COMPLEXITY_LIMIT_INSNS

_TYPE = {
    T.NOT_INIT: "?",
    T.SCALAR: "scalar",
    T.CTX: "ctx",
    T.MAP_PTR: "map_ptr",
    T.MAP_VALUE: "map_value",
    T.MAP_KEY: "map_key",
    T.STACK: "fp",
    T.PACKET: "pkt",
    T.PACKET_META: "pkt_meta",
    T.PACKET_END: "pkt_end",
    T.BTF: "ptr_",
    T.MEM: "mem",
    T.FUNC: "func",
    T.SOCKET: "sock",
    T.SOCK_COMMON: "sock_common",
    T.TCP_SOCK: "tcp_sock",
    T.XDP_SOCK: "xdp_sock",
    T.ITER: "iter",
    T.DYNPTR: "dynptr_ptr",
    T.IRQ_FLAG: "irq_flag",
    T.FLOW_KEYS: "flow_keys",
    T.TP_BUFFER: "tp_buffer",
    T.ARENA: "arena",
}


_PREFIXES = (
    (RDONLY, "rdonly_"),
    (TRUSTED, "trusted_"),
    (RCU, "rcu_"),
    (UNTRUSTED, "untrusted_"),
    (RINGBUF, "ringbuf_"),
)


def type_name(r: Reg) -> str:
    """A register's type as logs name it: "trusted_ptr_or_null_", "map_value_or_null", "fp"."""
    prefix = ""
    for flag, text in (
        (RDONLY, "rdonly_"),
        (RINGBUF, "ringbuf_"),
        (USER, "user_"),
        (PERCPU, "percpu_"),
        (RCU, "rcu_"),
        (UNTRUSTED, "untrusted_"),
        (TRUSTED, "trusted_"),
    ):
        if r.flags & flag:
            prefix += text
    name = "buf" if r.type == T.MEM and r.size < 0 else _TYPE[T(r.type)]
    if r.flags & OR_NULL and r.type == T.MAP_PTR:
        name = "map_value"  # as Linux calls what a map of maps may have found
    if r.flags & OR_NULL:
        name = "ptr_or_null_" if r.type == T.BTF else name + "_or_null"
    return prefix + name


def tnum_text(value: int, mask: int) -> str:
    return f"({value:#x}; {mask:#x})"


def _signed_text(value: int) -> str:
    return str(value) if -0x8000 <= value <= 0x7FFF else f"{value & U64:#x}"


def _unsigned_text(value: int) -> str:
    return str(value) if value <= 0xFFFF else f"{value:#x}"


def _bounds_text(r: Reg) -> list[str]:
    """Only what says something, equal bounds of one side together: "smin=smin32=0,smax=umax=5,var_off=(0x0; 0x7)"."""

    def small(value: int) -> int:
        return value if -0x8000 <= value <= 0x7FFF else value & U32

    known = [
        ("smin", r.smin, r.smin == st.S64_MIN),
        ("smax", r.smax, r.smax == st.S64_MAX),
        ("umin", r.umin, r.umin == 0),
        ("umax", r.umax, r.umax == U64),
        ("smin32", small(r.s32min), r.s32min == st.S32_MIN),
        ("smax32", small(r.s32max), r.s32max == st.S32_MAX),
        ("umin32", r.u32min, r.u32min == 0),
        ("umax32", r.u32max, r.u32max == U32),
    ]
    parts, told = [], set()
    for i, (name, value, silent) in enumerate(known):
        if silent or name in told:
            continue
        names = [name]
        for other, same, quiet in known[i + 2 :: 2]:
            if not quiet and other not in told and same == value:
                names.append(other)
                told.add(other)
        parts.append(f"{'='.join(names)}={(_signed_text if name[0] == 's' else _unsigned_text)(value)}")
    if r.mask != U64:
        parts.append(f"var_off={tnum_text(r.value, r.mask)}")
    return parts


def reg_text(r: Reg, program: Program, kernel_btf: Btf | None, frame: int = 0) -> str:
    """One register of a frame as Linux prints it."""
    if r.type == T.SCALAR and not r.mask:
        return _signed_text(st.s64(r.value))
    if r.type == T.STACK and r.is_const:
        return f"{_stack_name(r, frame)}{r.off + st.s64(r.value)}"
    name = _stack_name(r, frame) if r.type == T.STACK else type_name(r)
    btf = program.btf if r.flags & LOCAL else kernel_btf
    if r.type == T.BTF and btf is not None:
        name += btf.type(r.btf_id).name
    parts = []
    if r.id:
        parts.append(f"id={r.id}{r.off:+d}" if r.type == T.SCALAR and r.flags else f"id={r.id}")
    if r.ref:
        parts.append(f"ref_obj_id={r.ref}")
    if r.flags & NON_OWN:
        parts.append("non_own_ref")
    if r.type in (T.MAP_PTR, T.MAP_VALUE, T.MAP_KEY) and 0 <= r.map < len(program.maps):
        m = program.maps[r.map]
        parts.append(f"map={m.name},ks={m.key_size},vs={m.value_size}")
    if r.off and r.type != T.SCALAR:
        parts.append(f"off={r.off}")
    if r.type in (T.PACKET, T.PACKET_META):
        parts.append(f"r={_unsigned_text(r.range & U64)}")
    if r.type == T.MEM:
        parts.append(f"sz={r.size}")
    if r.type == T.SCALAR or not r.is_const:
        parts += _bounds_text(r)
    elif r.value:
        parts.append(f"imm={r.value:#x}")
    return f"{name}({','.join(parts)})"


def _stack_name(r: Reg, frame: int) -> str:
    return "fp" if r.frame == frame else f"fp[{r.frame}]"


_SLOT = {st.INVALID: "?", st.SPILL: "r", st.MISC: "m", st.ZEROED: "0"}


def object_text(r: Reg, kernel_btf: Btf | None) -> str:
    """An object that a kernel function keeps on the stack."""
    if r.type == T.ITER and kernel_btf is not None:
        name = kernel_btf.type(r.btf_id).name.removeprefix("bpf_")
        return f"{name}(ref_id={r.ref},state={'active' if r.size == 1 else 'drained'},depth={r.range})"
    return f"{_TYPE[T(r.type)]}(id={r.id},ref_id={r.ref})"


def frame_text(f: Frame, program: Program, kernel_btf: Btf | None) -> str:
    """Registers and stack of a frame, what is not initialised left out."""
    parts = [f"R{i}={reg_text(r, program, kernel_btf, f.number)}" for i, r in enumerate(f.regs) if r.type != st.NOT_INIT]
    parts += [text for i in sorted(f.stack) if (text := slot_text(i, f.stack[i], program, kernel_btf, f.number))]
    return (f"frame{f.number}: " if f.number else "") + " ".join(parts)


def slot_text(index: int, slot: Slot, program: Program, kernel_btf: Btf | None, frame: int) -> str:
    """One slot of the stack; nothing where it was not written."""
    what = ""
    if slot.reg is not None and slot.top == st.SPILL:
        what = reg_text(slot.reg, program, kernel_btf, frame)
        if not slot.is_full_spill():  # the bytes of a narrower spill, highest first
            what = "".join(_SLOT[slot.byte(i)] for i in range(7, slot.spilled_bytes() - 1, -1)) + what
    elif slot.top >= st.ITER_SLOT:
        if slot.reg is not None and not slot.reg.frame:
            what = object_text(slot.reg, kernel_btf)
    elif slot.kinds:
        # Linux prints the byte at the highest address first.
        what = "".join(_SLOT[slot.byte(i)] for i in range(7, -1, -1))
    return f"fp-{(index + 1) * 8}={what}" if what else ""


def statistics(level: int, stats: Stats, depths: Sequence[int] = (0,)) -> list[str]:
    """The last lines of a log. depths: the bytes of stack that each function uses."""
    counts = (
        f"processed {stats.processed_insns} insns (limit {MAX_INSNS}) max_states_per_insn {stats.max_states_per_insn} "
        f"total_states {stats.total_states} peak_states {stats.peak_states} mark_read 0"
    )
    if not level & LOG_STATS:
        return [counts]
    stack = "+".join(str(-(-n // 8) * 8) for n in depths)
    return [f"verification time {stats.duration_us:.0f} usec", f"stack depth {stack}", counts]


def _bytes(line: str) -> int:
    """What a line takes in the log, its end included."""
    return (len(line) if line.isascii() else len(line.encode())) + 1


class Log:
    """Collects lines at a level: 0 nothing, 1 the failing path, 2 everything, +4 statistics, +8 (BPF_LOG_FIXED) the head.

    Of what is more than `most` bytes the tail is kept, or the head at level 8; `dropped` bytes then stood before it. Where
    the log was cut back `cuts` tells how long it had become, and to what: its reader may not have had room for that.
    """

    def __init__(self, program: Program, kernel_btf: Btf | None, level: int, most: int = 1 << 24) -> None:
        self.program = program
        self.kernel_btf = kernel_btf
        self.level = level
        self.on = bool(level & 3)
        self.most = most
        self.lines: list[str] = []
        self.starts: list[int] = []  # of each line, where it begins in all that was said and not taken back
        self.bytes = 0
        self.dropped = 0
        self.cuts: list[tuple[int, int]] = []
        self._before = 0  # lines that were dropped
        self._line_at = {info.insn_off: info for info in program.lines}
        self._last_line: tuple[int, int, int] | None = None
        self._arrival = ""

    def mark(self) -> int:
        return self._before + len(self.lines)

    def reset(self, mark: int) -> None:
        """Level 1 keeps only the path under way: what came after `mark` is dropped."""
        if self.level & 2 or mark >= self.mark():
            return
        end, keep = self.bytes, max(mark - self._before, 0)
        self.bytes = self.starts[keep]
        del self.lines[keep:], self.starts[keep:]
        self.cuts.append((end, self.bytes))
        self._last_line = None

    def say(self, line: str) -> None:
        if not self.level:
            return
        if self.bytes - self.dropped > 2 * self.most + 4096:
            self._drop()
        self.lines.append(line)
        self.starts.append(self.bytes)
        self.bytes += _bytes(line)

    def _drop(self) -> None:
        if self.level & LOG_FIXED:  # the head is kept: nobody will see the last line, but it counts
            self.lines[-1] = ""
            return
        gone = bisect_left(self.starts, self.bytes - self.most - 4096)
        self.dropped = self.starts[gone]
        self._before += gone
        del self.lines[:gone], self.starts[:gone]

    def functions(self, starts: Sequence[int]) -> None:
        for i, start in enumerate(starts):
            self.say(f"func#{i} @{start}")

    def live_registers(self, live: Sequence[int], loop: Sequence[int]) -> None:
        """What is read later on, before each instruction; the number of the loop that it is part of."""
        self.say("Live regs before insn:")
        numbers = {number: i for i, number in enumerate(sorted({*loop, 0}))}  # loops in the order in which they are left
        for pc, insn in enumerate(self.program.insns):
            if insn.code:  # else a ld_imm64's second half
                where = f"{numbers[loop[pc]]:3} " if loop[pc] else "    "
                regs = "".join(str(r) if live[pc] >> r & 1 else "." for r in range(10))
                self.say(f"{where}{pc:3}: {regs} ({insn.code:02x}) {disasm(self.program.insns, pc, self._call_name)}")

    def insn(self, pc: int, frame: Frame) -> None:
        """The instruction about to be run; its C line before it."""
        if self._arrival:
            state = self.frame_text(frame)
            self.say(f"{self._arrival}: {state}")
            self.say(f"{pc}: {state}")
            self._arrival = ""
        source = self.source(pc)
        if source:
            self.say(source)
        self.say(f"{pc}: ({self.program.insns[pc].code:02x}) {disasm(self.program.insns, pc, self._call_name)}")

    def _call_name(self, insn: Insn) -> str:
        if insn.src == uapi.BPF_PSEUDO_CALL:
            return f"pc{insn.imm:+d}"
        if insn.src == uapi.BPF_PSEUDO_KFUNC_CALL:
            known = self.kernel_btf is not None and 0 < insn.imm < len(self.kernel_btf)
            name = self.kernel_btf.type(insn.imm).name if known and self.kernel_btf is not None else "kernel-function"
            return f"{name}#{insn.imm}"
        row = HELPER_BY_ID.get(insn.imm)
        return f"bpf_{row.name}#{insn.imm}" if row is not None else f"unknown#{insn.imm}"

    def source(self, pc: int) -> str:
        """The C line that begins at `pc`, if it is another than the last one printed."""
        info = self._line_at.get(pc)
        btf = self.program.btf
        if info is None or not isinstance(btf, RawBtf):
            return ""
        key = (info.file_name_off, info.line_off, info.line)
        if key == self._last_line:
            return ""
        self._last_line = key
        name = btf.string(info.file_name_off).rsplit("/", 1)[-1]
        return f"; {btf.string(info.line_off).strip()} @ {name}:{info.line}"

    def source_of(self, pc: int) -> str:
        """The C line that the instruction at `pc` belongs to, for messages."""
        btf = self.program.btf
        at = [off for off in self._line_at if off <= pc]
        if not at or not isinstance(btf, RawBtf):
            return ""
        info = self._line_at[max(at)]
        name = btf.string(info.file_name_off).rsplit("/", 1)[-1]
        return f"{name}:{info.line}: {btf.string(info.line_off).strip()}"

    def frame_text(self, frame: Frame) -> str:
        return frame_text(frame, self.program, self.kernel_btf)

    def arrive(self, origin: int, pc: int) -> None:
        """The walk goes on with a state that was put aside at a branch; it is printed with what comes of it."""
        self._arrival = f"\nfrom {origin} to {pc}"

    def safe(self, pc: int) -> None:
        """The state here shows nothing new."""
        self.say(f"{self._arrival or pc}: safe")
        self._arrival = ""

    def changes(self, pc: int, frame: Frame, slots: dict[int, Slot] | None, filled: int) -> None:
        """What the instruction just printed read and left, on its line; all of a frame that was entered (`slots` None).

        slots: the frame's stack as it was; filled: the slot that was loaded from, -1 for none.
        """
        if slots is None:
            self.say(self.frame_text(frame))
            return
        insn = self.program.insns[pc]
        used, left = (0, 1) if insn.code == CALL else uses_defs(insn, 0)
        shown = [
            f"R{i}={reg_text(r, self.program, self.kernel_btf, frame.number)}"
            for i, r in enumerate(frame.regs)
            if (used | left) >> i & 1 and r.type != st.NOT_INIT
        ]
        for i in sorted(frame.stack):
            if frame.stack[i] is not slots.get(i) or i == filled:
                shown.append(slot_text(i, frame.stack[i], self.program, self.kernel_btf, frame.number))
        text = " ".join(x for x in shown if x)
        if text and self.lines:
            last = self.lines[-1]
            column = max(-(-(len(last) + 5) // 8) * 8, 40) - 2
            line = f"{last:<{column}}; {f'frame{frame.number}: ' if frame.number else ''}{text}"
            self.bytes += _bytes(line) - _bytes(last)
            self.lines[-1] = line

    def text(self) -> str:
        return "\n".join(self.lines) + ("\n" if self.lines else "")
