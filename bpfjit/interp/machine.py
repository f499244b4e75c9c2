"""The checking interpreter: runs a verified program instruction by instruction and believes nothing.

Every memory access, and all memory that a helper is handed, must lie in a region that the verifier said may be
touched at that instruction, and in memory that really is of that region. A function gets exactly the stack that the
verifier says it needs, filled with rubbish unless it said that unwritten bytes are read. A violation is a bug of the
verifier (or of this file): an InterpreterFault. It is slow, and the judge of the JIT.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from runtime import ffi, lib

from ..isa.domain import INTS, Word
from ..isa.encoding import (
    ALU64,
    CALL,
    EXIT,
    IND,
    JA,
    JA32,
    JCOND,
    JMP32,
    LD_IMM64,
    LDX,
    MAY_GOTO_ROUNDS,
    MEMSX,
    STX,
    U64,
    Insn,
    X,
    imm64,
)
from ..isa.ops import (
    ALU_END,
    ATOMIC_OPS,
    CAST_TO_KERNEL,
    CMPXCHG,
    FETCH,
    JUMP_OPS,
    LOAD_ACQ,
    STORE_REL,
    alu_op,
    end_bits,
    is_alu,
    is_atomic,
    is_cast,
    swaps,
)
from ..isa.text import disasm
from ..program import Binding, MapInfo, Region, StructRef, Subprog, Verified
from ..spec.helpers import HELPERS, helper_for
from ..spec.kfuncs import KFUNC_BY_NAME
from ..spec.kinds import Arg, ArgKind, Callback, CtxKind, FieldKind, Helper
from ..uapi import bpf as uapi

_HELPER = "uint64_t(*)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t)"
_CALLBACK = "uint64_t(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t)"
_TAIL_CALL = next(h.id for h in HELPERS if h.inline == "tail_call")
_RUBBISH = b"\xa5"


class InterpreterFault(AssertionError):
    """An access that the verifier should not have let through."""


class _Thrown(Exception):
    """bpf_throw(): the program ends out of whatever function it is in."""

    def __init__(self, cookie: int) -> None:
        super().__init__()
        self.cookie = cookie


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


class _Run(threading.local):
    """What one thread is executing: a timer's callback runs beside the program that set it."""

    def __init__(self) -> None:
        self.frames: list[tuple[int, int, Any]] = []  # (low, high, buffer) of each stack in use
        self.keys: list[tuple[int, int]] = []  # (low, high) of the keys that callbacks were handed
        self.calling: list[Callback] = []  # what each helper under way enters the program with
        self.ctx = (0, 0)


class Machine:
    """Executes one program. `addr` is a C function that runs it, as native code's entry would."""

    def __init__(self, verified: Verified, binding: Binding) -> None:
        self.program = verified.program
        self.facts = verified.facts
        self.insns = verified.program.insns
        self.binding = binding
        self.fault: InterpreterFault | None = None
        self.executed = 0
        self._helpers: dict[str, Any] = {}
        self._callbacks: dict[int, Any] = {}
        self._subprogs = {sub.start: sub for sub in self.facts.subprogs}
        self._own = _Run()
        if self.program.type.ctx is CtxKind.MEMORY:
            self._entry = ffi.callback("uint64_t(void *, uint64_t)", self._enter_raw, onerror=self._on_error)
        else:
            self._entry = ffi.callback("uint64_t(void *)", self._enter, onerror=self._on_error)
        self._tail_entry = ffi.callback("uint64_t(void *)", self._enter_tail, onerror=self._on_error)
        self.addr = int(ffi.cast("uintptr_t", self._entry))
        self.tail_addr = int(ffi.cast("uintptr_t", self._tail_entry))
        self._tail_calls = any(insn.code == CALL and not insn.src and insn.imm == _TAIL_CALL for insn in self.insns)

    def close(self) -> None:
        self.addr = 0

    # -- entering ----------------------------------------------------------------------------------

    def _on_error(self, exc_type: Any, exc: BaseException, tb: Any) -> None:
        # A Python exception cannot cross C: it is kept, and whoever ran the program asks for it.
        self.fault = exc if isinstance(exc, InterpreterFault) else InterpreterFault(f"{type(exc).__name__}: {exc}")

    def _ctx_bytes(self) -> int:
        kind, row = self.program.type.ctx, self.program.type
        if kind is CtxKind.FIELDS:
            assert row.layout is not None
            return row.layout.size + 24  # the packet pointers behind it
        if kind is CtxKind.BTF_ARGS:
            return 8 * 12
        return row.ctx_size

    def _enter(self, ctx: Any) -> int:
        if not self._tail_calls:
            return self._enter_tail(ctx)
        outer = self._helper("rt_tail_enter")()  # a chain begins
        try:
            return self._enter_tail(ctx)
        finally:
            self._helper("rt_tail_leave")(outer)

    def _helper(self, symbol: str) -> Any:
        if symbol not in self._helpers:
            self._helpers[symbol] = ffi.cast(_HELPER, self.binding.helpers[symbol])
        return lambda *args: self._helpers[symbol](*args, *[0] * (5 - len(args)))

    def _enter_tail(self, ctx: Any) -> int:
        addr = int(ffi.cast("uintptr_t", ctx))
        before, self._own.ctx = self._own.ctx, (addr, addr + self._ctx_bytes())
        try:
            return self._run(0, [addr, 0, 0, 0, 0])
        except _Thrown as e:
            answer = self.facts.answers_throws
            return e.cookie if answer < 0 else self._run(self.facts.subprogs[answer].start, [e.cookie, 0, 0, 0, 0])
        finally:
            self._own.ctx = before

    def _enter_raw(self, memory: Any, size: int) -> int:
        addr = int(ffi.cast("uintptr_t", memory))
        self._own.ctx = (addr, addr + size)
        return self._run(0, [addr, size, 0, 0, 0])

    def _run(self, start: int, args: list[int]) -> int:
        regs = [0, *args, 0, 0, 0, 0, 0]
        if start not in self._subprogs:
            raise InterpreterFault(f"{start} is not the start of a function")
        with _Stack(self, self._subprogs[start]) as top:
            regs[10] = top
            pc, rounds, since = start, MAY_GOTO_ROUNDS, ffi.new("uint64_t *")
            while True:
                self.executed += 1
                if not self.facts.visited[pc]:
                    raise InterpreterFault(f"{pc}: {disasm(self.insns, pc)} is reached, the verifier did not see how")
                insn = self.insns[pc]
                if insn.code == EXIT:
                    return regs[0]
                if insn.code == CALL and not insn.src and insn.imm == _TAIL_CALL:
                    following = int(self._helper("rt_tail_call")(regs[2], regs[3]))
                    if following:
                        return int(ffi.cast("uint64_t(*)(uint64_t)", following)(regs[1]))
                    pc += 1
                    continue
                if insn.code == JCOND:
                    pc += 1 if rounds else 1 + insn.off
                    if rounds == 1:
                        rounds = self._helper("rt_may_goto")(self.binding.own, int(ffi.cast("uintptr_t", since)))
                    elif rounds:
                        rounds -= 1
                    continue
                if insn.code & 7 == 0 and insn.code != LD_IMM64:
                    found = self._load_packet(insn, regs)
                    if found < 0:
                        return 0
                    regs[0] = found
                    pc += 1
                    continue
                pc = self._step(pc, insn, regs)

    def _load_packet(self, insn: Insn, regs: list[int]) -> int:
        """LD_ABS, LD_IND: the bytes, or negative where the packet has none there: the function ends."""
        function = ffi.cast("int64_t(*)(uint64_t, uint64_t, uint64_t)", self.binding.helpers["rt_load_packet"])
        off = insn.imm + (regs[insn.src] if insn.code & 0xE0 == IND else 0)
        return int(function(regs[6], off & U64, insn.size))

    # -- instructions ------------------------------------------------------------------------------

    def _step(self, pc: int, insn: Insn, regs: list[int]) -> int:
        cls = insn.code & 7
        if is_alu(insn):
            regs[insn.dst] = self._alu(insn, regs, narrowed=pc in self.facts.narrowed)
        elif insn.code == LD_IMM64:
            regs[insn.dst] = self._immediate(pc, insn)
            return pc + 2
        elif cls == LDX:
            regs[insn.dst] = self._load(pc, insn, regs)
        elif is_atomic(insn):
            self._atomic(pc, insn, regs)
        elif cls in (2, 3):
            value = regs[insn.src] if cls == STX else insn.imm & U64
            if self.facts.region[pc] & Region.ARENA:
                self._put(self._arena(regs[insn.dst], insn.off), insn.size, value)
            else:
                self._write(pc, self._at(regs[insn.dst], insn.off), insn.size, value)
        elif insn.code == CALL:
            self._call(pc, insn, regs)
        elif insn.code == JA:
            return pc + 1 + insn.off
        elif insn.code == JA32:
            return pc + 1 + insn.imm
        elif self._taken(insn, regs):
            return pc + 1 + insn.off
        return pc + 1

    @staticmethod
    def _at(base: int, off: int) -> int:
        return (base + off) & U64

    def _alu(self, insn: Insn, regs: list[int], *, narrowed: bool) -> int:
        width = 64 if insn.code & 7 == ALU64 and not narrowed else 32
        if is_cast(insn):
            return self._cast(insn, regs)
        if insn.code & 0xF0 == ALU_END:
            word = Word(end_bits(insn), regs[insn.dst])
            return (INTS.bswap(word) if swaps(insn) else word).value
        op = alu_op(insn)
        assert op is not None
        src = regs[insn.src] if insn.code & X else insn.imm
        result: Word = op.meaning(INTS, width, Word(width, regs[insn.dst]), Word(width, src))
        return result.value

    def _cast(self, insn: Insn, regs: list[int]) -> int:
        index = next(i for i, m in enumerate(self.program.maps) if m.type.arena)
        low = regs[insn.src] & 0xFFFFFFFF
        keeps = insn.imm == CAST_TO_KERNEL or self.program.maps[index].flags & uapi.BPF_F_NO_USER_CONV or not low
        return low if keeps else self.binding.users[index] & ~0xFFFFFFFF | low

    def _taken(self, insn: Insn, regs: list[int]) -> bool:
        width = 32 if insn.code & 7 == JMP32 else 64
        src = regs[insn.src] if insn.code & X else insn.imm
        result: Word = JUMP_OPS[insn.code & 0xF0].meaning(INTS, width, Word(width, regs[insn.dst]), Word(width, src))
        return bool(result.value)

    def _immediate(self, pc: int, insn: Insn) -> int:
        ref = self.program.map_refs.get(pc)
        if ref is not None:
            if ref.value_off is None:
                return self.binding.maps[ref.map_index]
            if self.program.maps[ref.map_index].type.arena:
                return self.binding.users[ref.map_index] + ref.value_off
            return self.binding.values[ref.map_index] + ref.value_off
        if insn.src == uapi.BPF_PSEUDO_FUNC:
            return self._callback(pc + insn.imm + 1)
        return imm64(self.insns, pc)

    def _callback(self, start: int) -> int:
        if start not in self._callbacks:

            def enter(*args: int) -> int:
                if self.fault:
                    return 1
                by_element = not self._own.calling or self._own.calling[-1] is Callback.MAP_ELEM  # a timer calls by itself
                size = self._key_bytes(args[0]) if by_element else 0
                self._own.keys.append((args[1], args[1] + size))
                try:
                    return self._run(start, list(args))
                finally:
                    self._own.keys.pop()

            # A fault inside ends the loop that calls back: 1 means stop.
            self._callbacks[start] = ffi.callback(_CALLBACK, enter, error=1, onerror=self._on_error)
        return int(ffi.cast("uintptr_t", self._callbacks[start]))

    def _call(self, pc: int, insn: Insn, regs: list[int]) -> None:
        if insn.src == uapi.BPF_PSEUDO_CALL:
            regs[0] = self._run(pc + insn.imm + 1, regs[1:6])
            return
        if insn.src == uapi.BPF_PSEUDO_KFUNC_CALL:
            self._call_kfunc(pc, regs)
            return
        row = helper_for(insn.imm, self.program.type.name)
        function = self._helper(row.symbol)
        self._check_arguments(pc, row, regs)
        self._own.calling.append(row.callback)
        try:
            args = [*regs[1 : len(row.args) + 1], self.facts.attached] if row.told_attached else regs[1:6]
            regs[0] = function(*args)
        finally:
            self._own.calling.pop()
        if self.fault:
            raise self.fault

    def _call_kfunc(self, pc: int, regs: list[int]) -> None:
        site = self.facts.kfuncs[pc]
        if site.name == "bpf_throw":
            raise _Thrown(regs[1])
        function = ffi.cast(_HELPER, self.binding.helpers[KFUNC_BY_NAME[site.name].symbol])
        args = {**dict(enumerate(regs)), **site.hidden, **({site.own: self.binding.own} if site.own else {})}
        values = [args[r] for r in range(1, 6)]
        self._own.calling.append(Callback.NONE)
        try:
            regs[0] = function(*(self.binding.struct(x.type_id) if isinstance(x, StructRef) else x for x in values))
        finally:
            self._own.calling.pop()
        if self.fault:
            raise self.fault

    def _check_arguments(self, pc: int, row: Helper, regs: list[int]) -> None:
        """All memory that a helper is handed is the program's to hand out."""
        map_addr = next((regs[i] for i, arg in enumerate(row.args, 1) if arg.kind is ArgKind.MAP_PTR), 0)
        for i, arg in enumerate(row.args, 1):
            addr = regs[i]
            size = self._argument_bytes(arg, regs, i, map_addr)
            if size and not (arg.nullable and not addr) and not self.in_memory(addr, size):
                raise InterpreterFault(
                    f"{pc}: bpf_{row.name} is handed {size} bytes at {addr:#x} that are not the program's"
                )

    def _argument_bytes(self, arg: Arg, regs: list[int], i: int, map_addr: int) -> int:
        if arg.kind in (ArgKind.MEM, ArgKind.UNINIT_MEM):
            return regs[i + 1]
        if arg.kind is ArgKind.MAP_KEY:
            return self._key_bytes(map_addr)
        if arg.kind in (ArgKind.MAP_VALUE, ArgKind.UNINIT_MAP_VALUE):
            m = self._map_at(map_addr)
            return 0 if m.type.finds else m.value_size  # a socket is no memory of the program's
        return arg.size

    def _map_at(self, addr: int) -> MapInfo:
        found = self.binding.map_at(addr)
        if found is None:
            raise InterpreterFault(f"no map lies at {addr:#x}")
        return found

    def _key_bytes(self, addr: int) -> int:
        return self._map_at(addr).key_size

    # -- memory --------------------------------------------------------------------------------------

    def _load(self, pc: int, insn: Insn, regs: list[int]) -> int:
        native = self.facts.native_off.get(pc)
        if native is not None:
            self._check(pc, regs[insn.src] + native, 8)
            return _peek(regs[insn.src] + native, 8)
        part = self.facts.socket_parts.get(pc)
        addr = self._at(regs[insn.src], insn.off)
        if part is not None:
            addr = self._at(regs[insn.src], part.offset)
            self._check(pc, addr, part.size)
            value = _peek(addr, part.size)
            value = (0xFFFFFFFF if part.none and value == part.none else value) >> part.shift & (1 << insn.size * 8) - 1
        elif self.facts.region[pc] & Region.ARENA:
            value = self._probe(self._arena(regs[insn.src], insn.off), insn.size)
        elif self.facts.region[pc] & Region.PROBE:
            value = self._probe(addr, insn.size)
        else:
            self._check(pc, addr, insn.size)
            value = _peek(addr, insn.size)
        return _signed(value, insn.size * 8) & U64 if insn.code & 0xE0 == MEMSX else value

    def _probe(self, addr: int, size: int) -> int:
        function = ffi.cast("uint64_t(*)(uint64_t)", self.binding.helpers[f"rt_load{size * 8}"])
        return int(function(addr))

    def _write(self, pc: int, addr: int, size: int, value: int) -> None:
        self._check(pc, addr, size)
        ffi.memmove(ffi.cast("char *", addr), (value & (1 << size * 8) - 1).to_bytes(size, "little"), size)

    def _put(self, addr: int, size: int, value: int) -> None:
        """Store into an arena; what is not there takes nothing."""
        lib.rt_copy_fault(ffi.cast("void *", addr), (value & (1 << size * 8) - 1).to_bytes(size, "little"), size)

    def _arena(self, reg: int, off: int) -> int:
        """An address in the window of the program's arena."""
        index = next(i for i, m in enumerate(self.program.maps) if m.type.arena)
        return self.binding.values[index] + (reg & 0xFFFFFFFF) + off

    def _there(self, addr: int, size: int) -> bool:
        return not lib.rt_copy_fault(ffi.new("char[8]"), ffi.cast("void *", addr), size)

    def _atomic(self, pc: int, insn: Insn, regs: list[int]) -> None:
        if insn.imm == LOAD_ACQ:
            regs[insn.dst] = self._load(pc, insn, regs)
            return
        addr, size = self._at(regs[insn.dst], insn.off), insn.size
        in_arena = self.facts.region[pc] & Region.ARENA
        if in_arena:
            addr = self._arena(regs[insn.dst], insn.off)
            if not self._there(addr, size):
                return  # passed over, registers and all
        else:
            self._check(pc, addr, size)
        if insn.imm == STORE_REL:
            self._put(addr, size, regs[insn.src])
            return
        old = _peek(addr, size)
        full = (1 << size * 8) - 1
        if insn.imm == CMPXCHG:
            if old == regs[0] & full:
                self._put(addr, size, regs[insn.src])
            regs[0] = old
            return
        op = ATOMIC_OPS[insn.imm]
        new: Word = op.meaning(INTS, size * 8, Word(size * 8, old), Word(size * 8, regs[insn.src]))
        self._put(addr, size, new.value)
        if insn.imm & FETCH:
            regs[insn.src] = old

    def _check(self, pc: int, addr: int, size: int) -> None:
        regions = self.facts.region[pc]
        if any(regions & region and holds(self, addr, size) for region, holds in _HOLDS):
            return
        where = f"{pc}: {disasm(self.insns, pc)}"
        raise InterpreterFault(f"{where} touches {size} bytes at {addr:#x}, outside {Region(regions)!r}")

    def in_stack(self, addr: int, size: int) -> bool:
        return any(low <= addr and addr + size <= high for low, high, _ in self._own.frames)

    def in_ctx(self, addr: int, size: int) -> bool:
        return self._own.ctx[0] <= addr and addr + size <= self._own.ctx[1]

    def in_packet(self, addr: int, size: int) -> bool:
        layout = self.program.type.layout
        if layout is None:
            return False
        places = {f.kind: f.native for f in layout.fields}
        kinds = (FieldKind.PACKET, FieldKind.PACKET_END, FieldKind.PACKET_META)
        at = [places.get(kind, layout.size + 8 * i) for i, kind in enumerate(kinds)]
        data, end = (_peek(self._own.ctx[0] + place, 8) for place in at[:2])
        meta = _peek(self._own.ctx[0] + at[2], 8) if at[1] > layout.size else data
        return min(data, meta) <= addr and addr + size <= end

    def in_map(self, addr: int, size: int) -> bool:
        return self.binding.owns(addr, size)

    def in_kernel(self, addr: int, size: int) -> bool:
        return self.binding.kernel_owns(addr, size)

    def in_key(self, addr: int, size: int) -> bool:
        """An array's keys are the walker's own and nowhere in the map, so each is known by the call that brought it."""
        return any(low <= addr and addr + size <= high for low, high in self._own.keys)

    def in_memory(self, addr: int, size: int) -> bool:
        """Memory behind a pointer argument: whatever else the program may touch."""
        return any(holds(self, addr, size) for _, holds in _HOLDS if holds is not Machine.in_memory)


_HOLDS: tuple[tuple[Region, Callable[[Machine, int, int], bool]], ...] = (
    (Region.STACK, Machine.in_stack),
    (Region.CTX, Machine.in_ctx),
    (Region.MAP_VALUE, Machine.in_map),
    (Region.MAP_KEY, Machine.in_key),
    (Region.PACKET, Machine.in_packet),
    (Region.KERNEL, Machine.in_kernel),
    (Region.MEMORY, Machine.in_memory),
)


class _Stack:
    """One function's stack, known to the machine while the function runs."""

    def __init__(self, machine: Machine, sub: Subprog) -> None:
        self.machine = machine
        self.size = sub.stack_bytes
        self.buffer = ffi.new("uint64_t[]", max(1, self.size // 8))
        if not sub.zero_stack:
            ffi.memmove(self.buffer, _RUBBISH * self.size, self.size)

    def __enter__(self) -> int:
        low = int(ffi.cast("uintptr_t", self.buffer))
        self.machine._own.frames.append((low, low + self.size, self.buffer))
        return low + self.size

    def __exit__(self, *exc: object) -> None:
        self.machine._own.frames.pop()


def _peek(addr: int, size: int) -> int:
    return int.from_bytes(ffi.buffer(ffi.cast("char *", addr), size), "little")
