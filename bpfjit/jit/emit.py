"""Verified -> LLVM IR: one LLVM function for each function of the program, registers as SSA values.

Pointers stay pointers, by the verifier's word on what each instruction leaves; a phi is a pointer
where every way in brings one. What no path reached is not emitted.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..dataclass import dataclass, field
from ..isa.encoding import ALU64, CALL, EXIT, JA, JA32, JCOND, JMP32, LD_IMM64, LDX, MAY_GOTO_ROUNDS, Insn, X, imm64
from ..isa.ops import ALU_END, JUMP_OPS, alu_op, end_bits, is_alu, is_atomic, is_cast, swaps
from ..program import Subprog, ValueKind, Verified
from ..spec.kinds import CtxKind
from ..uapi import bpf as uapi
from . import arena, calls, extension, mem, packet, tail, throw
from .hash import LOOKUP, LOOKUP_DECL
from .memory import metadata
from .profile import Points
from .values import NULL, ZERO, Lines, Value

_INTRINSICS = [
    *(f"declare i{n} @llvm.bswap.i{n}(i{n})" for n in (16, 32, 64)),
    *(f"declare i{n} @llvm.fshl.i{n}(i{n}, i{n}, i{n})" for n in (32, 64)),
    "declare i16 @llvm.cttz.i16(i16, i1)",
    "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)",
]
_MAX_CONSTANT = 1 << 16  # bytes of a constant map that are compiled in


@dataclass(slots=True)
class Block:
    """A run of instructions entered at its first: which blocks come before, which registers come in as phis."""

    start: int
    end: int
    preds: list[int] = field(default_factory=list)
    phis: dict[int, tuple[str, int]] = field(default_factory=dict)  # register -> (name, width)
    out: dict[int, Value] = field(default_factory=dict)
    last_label: str = ""


# Whether a loop goes on: a count, and when that is used up the clock, looked at for the next time.
_MAY_GOTO = """define internal i1 @may_goto(ptr %state) alwaysinline nounwind {
  %left = load i64, ptr %state, align 8
  %over = icmp eq i64 %left, 0
  br i1 %over, label %stop, label %count
count:
  %less = sub i64 %left, 1
  %used = icmp eq i64 %less, 0
  br i1 %used, label %look, label %go
look:
  %since = getelementptr inbounds i64, ptr %state, i64 1
  %more = call i64 @rt_may_goto(ptr @own, ptr %since)
  br label %go
go:
  %next = phi i64 [ %less, %count ], [ %more, %look ]
  store i64 %next, ptr %state, align 8
  ret i1 true
stop:
  ret i1 false
}"""


class Emitter:
    """One program's module: its lines of IR, and the symbols they need from outside."""

    def __init__(self, verified: Verified, points: Points | None = None, *, traced: bool = False) -> None:
        self.points = points
        self.traced = traced  # other programs run before and behind its functions
        self.verified = verified
        self.program = verified.program
        self.facts = verified.facts
        self.insns = verified.program.insns
        self.symbols: dict[str, str] = {}  # name -> its declaration
        self.map_scopes: dict[int, int] = {}  # a map's id -> the number of its values' scope
        self.constants: dict[str, str] = {}  # name -> its definition: maps whose contents never change
        self.library: dict[str, str] = {}  # name -> a function of our own that calls were lowered to
        self.calls_instead: dict[str, str] = {}  # of those: the same by a call of the runtime, made in no time
        self.addresses_taken: set[int] = set()
        self.tail_calls = False
        self.throwing: set[int] = set()
        self.subprog_at = [0] * len(self.insns)
        for i, sub in enumerate(self.facts.subprogs):
            for pc in range(sub.start, sub.end):
                self.subprog_at[pc] = i
        self.throwing = throw.throwing(self.program, self.facts, self.subprog_at)

    def module(self, name: str) -> str:
        """The whole module as text; the entry is @name(ptr), or @name(ptr, i64) for raw programs."""
        bodies = [
            FunctionEmitter(self, i, sub, name if i == 0 else f"{name}.{i}").text()
            for i, sub in enumerate(self.facts.subprogs)
            if self.facts.visited[sub.start]
        ]
        # A function whose address is only carried about, never called: there is one, and it is not entered.
        bodies += [
            f"define internal void @{self.function_name(name, i)}() {{ unreachable }}"
            for i in sorted(self.addresses_taken)
            if not self.facts.visited[self.facts.subprogs[i].start]
        ]
        if self.tail_calls:
            bodies.append(tail.ENTER.format(name=name))
            self.symbols |= tail.SYMBOLS
        points = self.points.definitions() if self.points is not None else []
        needed = [*points, *self.symbols.values(), *self.constants.values(), *_INTRINSICS, ""]
        return "\n".join([*needed, *bodies, *self.library.values(), "", *metadata(len(self.map_scopes))]) + "\n"

    def quick(self, ir: str) -> str:
        """The module for the first tier: what a call of the runtime does as well is not compiled there."""
        for name, text in self.calls_instead.items():
            ir = ir.replace(self.library[name], text)
        if LOOKUP not in self.symbols and any(LOOKUP in text for text in self.calls_instead.values()):
            self.symbols[LOOKUP] = LOOKUP_DECL
            ir = f"{LOOKUP_DECL}\n{ir}"
        return ir

    def map_scope(self, index: int) -> int:
        """The number of the scope of a map's values: one map may stand under several indexes."""
        return self.map_scopes.setdefault(self.program.maps[index].id, len(self.map_scopes))

    def map_symbol(self, index: int) -> Value:
        """The map's own address."""
        symbol = f"map{index}"
        self.symbols[symbol] = f"@{symbol} = external global i8, align 8"
        return Value(f"@{symbol}", 0)

    def own(self) -> Value:
        """What is kept of the program itself."""
        self.symbols["own"] = "@own = external global i8, align 8"
        return Value("@own", 0)

    def struct_symbol(self, type_id: int) -> Value:
        """What the runtime knows of a structure of the program's own."""
        symbol = f"struct{type_id}"
        self.symbols[symbol] = f"@{symbol} = external global i8, align 8"
        return Value(f"@{symbol}", 0)

    def map_user(self, index: int) -> Value:
        """Where the user has an arena, as an address."""
        symbol = f"map{index}.user"
        self.symbols[symbol] = f"@{symbol} = external global i8, align 1"
        return Value(f"@{symbol}", 0)

    def map_values(self, index: int) -> Value:
        """The address of a map's first value; of a frozen read-only array, that of a constant LLVM can read."""
        symbol, constant = f"map{index}.values", self.program.maps[index].constant
        if constant is None or len(constant) > _MAX_CONSTANT:
            self.symbols[symbol] = f"@{symbol} = external global i8, align 8"
        else:
            text = "".join(f"\\{byte:02x}" for byte in constant)
            self.constants[symbol] = f'@{symbol} = internal constant [{len(constant)} x i8] c"{text}", align 8'
        return Value(f"@{symbol}", 0)

    def function_name(self, entry: str, index: int) -> str:
        return entry.split(".")[0] if index == 0 else f"{entry.split('.')[0]}.{index}"

    def function_names(self, entry: str) -> tuple[str, ...]:
        return tuple(self.function_name(entry, i) for i in range(len(self.facts.subprogs)))

    def param_width(self, index: int, regno: int) -> int:
        """0 where a function's argument is a pointer at every call."""
        return 0 if self.facts.entry_kinds[index][regno] == ValueKind.POINTER else 64

    def return_width(self, index: int) -> int:
        return 0 if index and self.facts.exit_kinds[index] == ValueKind.POINTER else 64


class FunctionEmitter(Lines):
    """One function under construction."""

    def __init__(self, module: Emitter, index: int, sub: Subprog, name: str) -> None:
        super().__init__()
        self.module = module
        self.facts = module.facts
        self.program = module.program
        self.insns = module.insns
        self.index = index
        self.function = sub
        self.fn = name
        self.entry = name.split(".")[0]
        self.regs: dict[int, Value] = {}
        self.allocas: list[str] = []
        self.segment: int | None = None  # of a profile: the one under way
        self.constant_at: dict[str, tuple[int, int]] = {}  # an address within a constant: (map index, offset)
        self.frame_at: dict[str, int] = {}  # an address within the stack: its offset from the frame pointer
        self.frame: dict[int, int] = {}  # bytes there that the last store of a constant left, whichever way it was on
        self.pc = sub.start
        self.first_label = "entry"
        self.blocks = self._find_blocks()

    # -- blocks ------------------------------------------------------------------------------------

    def _targets(self, pc: int) -> list[int]:
        """Where control goes from here on paths that the verifier saw."""
        insn = self.insns[pc]
        if insn.code == EXIT:
            return []
        if insn.code == JA:
            return [pc + 1 + insn.off]
        if insn.code == JA32:
            return [pc + 1 + insn.imm]
        if insn.code & 7 in (5, JMP32) and insn.code != CALL:
            taken = self.facts.taken[pc]
            ways = ([pc + 1] if taken & 1 else []) + ([pc + 1 + insn.off] if taken & 2 else [])
            return ways[:1] if len(set(ways)) == 1 else ways
        if insn.code == CALL and not self.facts.visited[pc + 1]:
            return []  # it throws
        return [pc + (2 if insn.code == LD_IMM64 else 1)]

    def _find_blocks(self) -> dict[int, Block]:
        leaders = {self.function.start}
        for pc in range(self.function.start, self.function.end):
            insn = self.insns[pc]
            ends = insn.code & 7 in (5, JMP32) and insn.code != CALL
            if self.facts.visited[pc] and ends:
                leaders.update(self._targets(pc))
        blocks: dict[int, Block] = {}
        for start in sorted(leaders):
            pc = start
            while True:
                following = self._targets(pc)
                jumps = self.insns[pc].code & 7 in (5, JMP32) and self.insns[pc].code != CALL
                if jumps or not following or following[0] in leaders:
                    break
                pc = following[0]
            blocks[start] = Block(start, pc)
        for b in blocks.values():
            for t in self._targets(b.end):
                blocks[t].preds.append(b.start)
        return blocks

    def pcs(self, start: int, before: int) -> list[int]:
        """The instructions of a block, those from `before` on left out (-1: none)."""
        found, pc = [], start
        while pc != before:
            found.append(pc)
            if pc == self.blocks[start].end:
                break
            pc = self._targets(pc)[0]
        return found

    def _order(self) -> list[int]:
        """Blocks so that each comes after one of its predecessors (the entry first)."""
        seen, order, todo = set(), [], [self.function.start]
        while todo:
            start = todo.pop()
            if start in seen:
                continue
            seen.add(start)
            order.append(start)
            todo += reversed(self._targets(self.blocks[start].end))
        return order

    def defs(self, pc: int) -> list[tuple[int, str]]:
        """Registers an instruction writes, and what it leaves there: "p" pointer, "z" the number 0, "i" other."""
        insn = self.insns[pc]
        kind = "p" if self.facts.result[pc] == ValueKind.POINTER else "i"
        if insn.code == CALL:
            return [(0, kind)]
        if insn.code & 7 in (5, JMP32):
            return []
        if is_atomic(insn):
            return [(r, kind) for r in mem.atomic_defs(insn)]
        if insn.code & 7 in (2, 3):
            return []
        if insn.code in (0xB7, 0xB4) and insn.imm == 0:
            kind = "z"
        return [(insn.dst, kind)]

    def _phi_widths(self, order: list[int]) -> dict[int, dict[int, int]]:
        """For each block with several ways in, the width (0: pointer) of each live register's phi."""
        entry = {r: ("p" if self._arg_width(r) == 0 else "i") for r in range(1, 6)} | {10: "p"}
        came: dict[int, dict[int, str]] = {self.function.start: entry}
        out: dict[int, dict[int, str]] = {}
        effects = {start: self._effects(start) for start in order}
        changed = True
        while changed:
            changed = False
            for start in order:
                block = self.blocks[start]
                kinds = dict(came.get(start, {})) if start == self.function.start else {}
                for p in block.preds:
                    for r, k in out.get(p, {}).items():
                        have = kinds.get(r)
                        kinds[r] = k if have in (None, k) else _join(have, k)
                came[start] = kinds
                kinds = dict(kinds)
                for r, k, copied in effects[start]:
                    kinds[r] = "z" if copied >= 0 and kinds.get(copied) == "z" else k
                if kinds != out.get(start):
                    out[start] = kinds
                    changed = True
        return {s: {r: 0 if k == "p" else 64 for r, k in came[s].items()} for s in order}

    def _effects(self, start: int) -> list[tuple[int, str, int]]:
        """What a block writes, in order: register, what is left there, and whose number it is a copy of (-1: nobody's)."""
        found = []
        for pc in self.pcs(start, -1):
            insn = self.insns[pc]
            copied = insn.src if insn.code == 0xBF and insn.off == 0 else -1
            found += [(r, k, copied if k == "i" else -1) for r, k in self.defs(pc)]
        return found

    # -- the function ------------------------------------------------------------------------------

    def _arg_width(self, regno: int) -> int:
        if self.index == 0:
            return 0 if regno == 1 and not self.program.is_extension else 64
        return self.module.param_width(self.index, regno)

    def _params(self, raw: bool) -> Sequence[int]:
        if self.index or self.program.is_extension:
            return range(1, 6)
        return (1, 2) if raw else (1,)

    def text(self) -> str:
        raw = self.program.type.ctx is CtxKind.MEMORY
        params = [(r, self._arg_width(r)) for r in self._params(raw)]
        # Nobody but the program touches the context while it runs, and only through r1.
        ctx = " noalias nonnull align 8" if self.index == 0 and not raw and not self.program.is_extension else ""
        signature = ", ".join(f"{Value('', w).type}{ctx} %r{r}" for r, w in params)
        ret = Value("", self.module.return_width(self.index)).type
        name = self.module.function_name(self.entry, self.index)
        if self.module.traced:
            self.module.library[f"{name}.traced"] = extension.traced(self.module, name, ret, self.index, params)
            name += ".own"
        linkage = "internal " if self.index or self.module.traced else ""
        if self.index and extension.is_replaceable(self.program, self.function.start):
            self.module.library[f"{name}.own"] = extension.front(self.module, name, ret, self.index, params)
            name += ".own"
        head = f"define {linkage}{ret} @{name}({signature}) nounwind {{"
        order = self._order()
        widths = self._phi_widths(order)
        entry_regs = {r: Value(f"%r{r}", w) for r, w in params}
        self.out.append("entry:")
        self._open_stack(entry_regs)
        if not self.index and self.program.funcs and not self.module.traced:
            self.out += extension.look(self.module, params)
            self.first_label = "start"
        self.emit(f"br label %L{self.function.start}")
        texts: dict[int, list[str]] = {}
        prologue, self.out = self.out, []
        for start in order:
            self._block(self.blocks[start], widths[start], entry_regs)
            texts[start], self.out = self.out, []
        prologue[1:1] = self.allocas
        lines = []
        # Conversions for phis go to the ends of blocks, so all phis come before any text is put together.
        phis = {start: self._phi_lines(self.blocks[start], entry_regs, texts, prologue) for start in order}
        for start in order:
            lines += [f"L{start}:", *phis[start], *texts[start]]
        return "\n".join([head, *prologue, *lines, "}", ""])

    def _open_stack(self, regs: dict[int, Value]) -> None:
        if self.index in self.facts.may_goto:
            self.emit("%rounds = alloca [2 x i64], align 8")
            self.emit(f"store [2 x i64] [i64 {MAY_GOTO_ROUNDS}, i64 0], ptr %rounds, align 8")
        size = self.function.stack_bytes
        if not size:
            regs[10] = NULL
            return
        self.emit(f"%stack = alloca [{size} x i8], align 16")
        if self.function.zero_stack:
            self.emit(f"store [{size} x i8] zeroinitializer, ptr %stack, align 16")
        self.emit(f"%fp = getelementptr inbounds i8, ptr %stack, i64 {size}")
        regs[10] = Value("%fp", 0)
        self.frame_at["%fp"] = 0

    def _has_phis(self, block: Block) -> bool:
        ways = len(block.preds) + (block.start == self.function.start)
        return ways > 1

    def _block(self, block: Block, widths: dict[int, int], entry: dict[int, Value]) -> None:
        live = self.facts.live[block.start]
        if self._has_phis(block):
            self.regs = {10: entry[10]}
            for r in range(10):
                if live >> r & 1 and r in widths:
                    block.phis[r] = (f"%p{block.start}_{r}", widths[r])
                    self.regs[r] = Value(*block.phis[r])
        elif block.preds:
            self.regs = dict(self.blocks[block.preds[0]].out)
        else:
            self.regs = dict(entry)
        block.last_label = f"L{block.start}"
        self.block = block
        points = self.module.points
        pc = block.start
        while True:
            self.pc = pc
            self.out.append(f"  ; {pc}")  # listings find their way back by it (source.py)
            if points is not None:
                points.before(self, pc, block.start)
            self._insn(self.insns[pc])
            if points is not None and self.insns[pc].code == CALL:
                points.after_call(self)
            if pc == block.end:
                break
            pc = self._targets(pc)[0]
        block.out = self.regs
        jumps = self.insns[block.end].code & 7 in (5, JMP32) and self.insns[block.end].code != CALL
        if not jumps:
            following = self._targets(block.end)
            self.emit(f"br label %L{following[0]}" if following else "unreachable")

    def _phi_lines(
        self, block: Block, entry: dict[int, Value], texts: dict[int, list[str]], prologue: list[str]
    ) -> list[str]:
        """The phis; a pointer that meets a number is converted at the end of the block it comes from."""
        lines = []
        for r, (name, width) in block.phis.items():
            ways = []
            if block.start == self.function.start:
                v = self._converted(entry.get(r, ZERO if width else NULL), width, prologue)
                ways.append(f"[ {v.text}, %{self.first_label} ]")
            for p in block.preds:
                v = self.blocks[p].out.get(r, ZERO if width else NULL)
                v = self._converted(v, width, texts[p])
                ways.append(f"[ {v.text}, %{self.blocks[p].last_label} ]")
            lines.append(f"  {name} = phi {Value('', width).type} {', '.join(ways)}")
        return lines

    def _converted(self, v: Value, width: int, text: list[str]) -> Value:
        if bool(v.width) == bool(width):
            return v
        if v.text in ("0", "null"):
            return ZERO if width else NULL
        name = self.name()
        cast = f"ptrtoint {v} to i64" if width else f"inttoptr {v} to ptr"
        text.insert(len(text) - 1, f"  {name} = {cast}")
        return Value(name, width)

    def offset(self, base: Value, by: int | Value) -> Value:
        address = super().offset(base, by)
        if isinstance(by, int) and base.text in self.constant_at:
            index, at = self.constant_at[base.text]
            self.constant_at[address.text] = (index, at + by)
        elif isinstance(by, int) and base.text in self.frame_at:
            self.frame_at[address.text] = self.frame_at[base.text] + by
        return address

    def label(self, name: str) -> str:
        self._count += 1
        return f"{name}{self._count}"

    def begin(self, label: str) -> None:
        """A block in the midst of an instruction: what follows comes from here."""
        self.out.append(f"{label}:")
        self.block.last_label = label

    # -- instructions ------------------------------------------------------------------------------

    def int_of(self, regno: int) -> Value:
        return self.to_int(self.regs.get(regno, ZERO))

    def ptr_of(self, regno: int) -> Value:
        return self.to_ptr(self.regs.get(regno, NULL))

    def leaves_pointer(self) -> bool:
        return self.facts.result[self.pc] == ValueKind.POINTER

    def set(self, regno: int, value: Value) -> None:
        """Write a register, in the kind that the verifier says it has."""
        if value.text in ("0", "null"):
            self.regs[regno] = value
        elif self.leaves_pointer():
            self.regs[regno] = self.to_ptr(value)
        else:
            self.regs[regno] = self.to_int(value)

    def _insn(self, insn: Insn) -> None:
        cls = insn.code & 7
        if is_alu(insn):
            self._alu(insn)
        elif insn.code == LD_IMM64:
            self._load_immediate(insn)
        elif cls == LDX:
            mem.load(self, insn)
        elif is_atomic(insn):
            mem.atomic(self, insn)
        elif cls in (2, 3):
            mem.store(self, insn)
        elif cls == 0:
            packet.load(self, insn)
        elif insn.code == CALL:
            calls.call(self, insn)
        elif insn.code == EXIT:
            self._exit()
        else:
            self._jump(insn)

    def _alu(self, insn: Insn) -> None:
        width = 64 if insn.code & 7 == ALU64 else 32
        if insn.code & 0xF0 == ALU_END:
            bits = end_bits(insn)
            v = self.trunc(self.int_of(insn.dst), bits)
            self.set(insn.dst, self.zext(self.bswap(v) if swaps(insn) else v, 64))
            return
        if is_cast(insn):
            arena.cast(self, insn)
            return
        if self.pc in self.facts.narrowed:
            width = 32
        op = alu_op(insn)
        assert op is not None
        by_reg = bool(insn.code & X)
        if op.name == "mov" and width == 64:
            self.set(insn.dst, self.regs.get(insn.src, ZERO) if by_reg else self.const(64, insn.imm))
            return
        if op.name in ("add", "sub") and self.leaves_pointer():
            self._pointer(insn, op.name, by_reg)
            return
        src = self.int_of(insn.src) if by_reg else self.const(64, insn.imm)
        dst = self.int_of(insn.dst) if op.name not in ("mov", "movsx8", "movsx16", "movsx32") else ZERO
        if width == 32:
            dst = self.trunc(dst, 32)
            src = self.trunc(src, 32) if by_reg else self.const(32, insn.imm)
        self.set(insn.dst, self.zext(op.meaning(self, width, dst, src), 64))

    def _pointer(self, insn: Insn, name: str, by_reg: bool) -> None:
        dst = self.regs.get(insn.dst, NULL)
        if not by_reg:
            self.set(insn.dst, self.offset(self.to_ptr(dst), insn.imm if name == "add" else -insn.imm))
            return
        src = self.regs.get(insn.src, ZERO)
        if name == "sub":
            self.set(insn.dst, self.offset(self.to_ptr(dst), self.sub(ZERO, self.to_int(src))))
        elif bool(dst.width) == bool(src.width):
            # Which of the two is the address, only the path knows.
            self.set(insn.dst, self.to_ptr(self.add(self.to_int(dst), self.to_int(src))))
        else:
            base, by = (src, dst) if dst.width else (dst, src)
            self.set(insn.dst, self.offset(base, by))

    def _load_immediate(self, insn: Insn) -> None:
        ref = self.program.map_refs.get(self.pc)
        if ref is not None and ref.value_off is None:
            self.set(insn.dst, self.module.map_symbol(ref.map_index))
        elif ref is not None:
            m = self.program.maps[ref.map_index]
            values = self.module.map_user(ref.map_index) if m.type.arena else self.module.map_values(ref.map_index)
            if m.constant is not None:
                self.constant_at[values.text] = (ref.map_index, 0)
            self.set(insn.dst, self.offset(values, ref.value_off or 0))
        elif insn.src == uapi.BPF_PSEUDO_FUNC:
            index = self.module.subprog_at[self.pc + insn.imm + 1]
            self.module.addresses_taken.add(index)
            self.set(insn.dst, Value(f"@{self.module.function_name(self.entry, index)}", 0))
        else:
            self.set(insn.dst, self.const(64, imm64(self.insns, self.pc)))

    def _exit(self) -> None:
        width = self.module.return_width(self.index)
        v = self.regs.get(0, ZERO)
        if self.module.points is not None and self.index == 0:
            self.module.points.leave(self)
        self.emit(f"ret {self.to_int(v) if width else self.to_ptr(v)}")

    def _jump(self, insn: Insn) -> None:
        ways = self._targets(self.pc)
        if len(ways) == 1:
            self.emit(f"br label %L{ways[0]}")
            return
        if insn.code == JCOND:
            self.module.own()
            self.module.symbols["rt_may_goto"] = "declare i64 @rt_may_goto(ptr, ptr) nounwind"
            self.module.library["may_goto"] = _MAY_GOTO
            on = self.assign(1, "call i1 @may_goto(ptr %rounds)")
            self.emit(f"br i1 {on.text}, label %L{ways[0]}, label %L{ways[1]}")
            return
        width = 32 if insn.code & 7 == JMP32 else 64
        op = JUMP_OPS[insn.code & 0xF0]
        a = self.regs.get(insn.dst, ZERO)
        b = self.regs.get(insn.src, ZERO) if insn.code & X else self.const(64, insn.imm)
        if not a.width and (not b.width or b.text == "0") and width == 64 and op.name in ("jeq", "jne"):
            condition = self.assign(1, f"icmp {op.name[1:]} ptr {a.text}, {self.to_ptr(b).text}")
        else:
            a, b = self.to_int(a), self.to_int(b)
            if width == 32:
                a, b = self.trunc(a, 32), self.trunc(b, 32) if insn.code & X else self.const(32, insn.imm)
            condition = op.meaning(self, width, a, b)
        self.emit(f"br i1 {condition.text}, label %L{ways[1]}, label %L{ways[0]}")


def _join(a: str, b: str) -> str:
    """Two ways in: 0 goes with either, a pointer and a number meet as a number."""
    if "z" in (a, b):
        return b if a == "z" else a
    return "i"
