"""The walk: every path through a program, instruction by instruction, until all are seen or one is bad."""

from __future__ import annotations

import errno
import time

from ..isa.encoding import CALL, EXIT, JA, JA32, JMP32, LD_IMM64, LDX, MEMSX, ST, Insn, X, imm64
from ..isa.ops import ATOMIC_OPS, CMPXCHG, JUMP_OPS, LOAD_ACQ, STORE_REL, XCHG, is_alu, is_atomic
from ..program import (
    _VERIFIER_KEY,
    Program,
    Rejected,
    Stats,
    Subprog,
    Verified,
)
from ..spec.helpers import HELPERS
from ..spec.kinds import Callback, CtxKind
from ..uapi import bpf as uapi
from . import alu, branch, calls, cfg, ctx, funcs, mem
from . import state as st
from .bounds import sign_extend, truncate
from .log import Log, type_name
from .prune import state_covers
from .refusal import Refusal
from .state import OR_NULL, SCALAR, UNINIT, Frame, Reg, Slot, State, T
from .walk import MAX_PACKET_OFF, Env, Walk, kind_of, non_null

MAX_PROCESSED = 1_000_000
MAX_JUMP_SEQUENCE = 8192
# trace_printk's row ends in "...": what its caller puts into the registers behind is read too.
_NARGS = {h.id: 5 if "..." in h.decl else len(h.args) for h in HELPERS}
_NO_ATOMICS = frozenset({T.CTX, T.PACKET, T.PACKET_META})
_CALLING_BACK = {h.id for h in HELPERS if h.callback is not Callback.NONE}


class _Visited:
    """A state kept at a prune point, and how often it was of use."""

    __slots__ = ("hits", "misses", "state")

    def __init__(self, state: State) -> None:
        self.state = state
        self.hits = 0
        self.misses = 0


class Checker:
    """One verification. The stack of `todo` holds the other way of each branch taken."""

    def __init__(self, program: Program, env: Env) -> None:
        self.program = program
        self.env = env
        self.log = Log(program, env.kernel_btf, env.log_level)
        self.processed = 0
        self.total_states = 0
        self.peak_states = 0
        self.max_per_insn = 0
        self.todo: list[tuple[State, int, int]] = []
        self.visited: dict[int, list[_Visited]] = {}
        self.args: tuple[ctx.Argument, ...] = ()
        self.contracts: dict[int, tuple[Reg, ...]] = {}
        self.since_state = 0
        self.jumps_since_state = 0

    # -- the whole program ---------------------------------------------------------------------

    def run(self) -> Walk:
        program = self.program
        count = len(program.insns)
        if not 0 < count <= MAX_PROCESSED:
            raise Refusal(f"{count} instructions, wanted 1 to {MAX_PROCESSED}", errno.E2BIG)
        cfg.check_encoding(program)
        graph = cfg.build(program, _NARGS, _CALLING_BACK)
        self.args = ctx.arguments(program, self.env.kernel_btf)
        self.contracts = funcs.global_functions(program, graph.starts)
        w = self.w = Walk(program, self.env, graph, self.log)
        self._walk_function(0)
        for index in self.contracts:
            self.log.say(f"Validating {funcs.name_of(program, graph.starts[index])}() func#{index}...")
            self._walk_function(index)
        self._finish(w)
        return w

    def _walk_function(self, index: int) -> None:
        w, frame = self.w, Frame(0, index, -1)
        if index:
            for i, reg in enumerate(self.contracts[index]):
                frame.regs[i + 1] = self._fresh(reg)
        elif self.program.type.ctx is CtxKind.MEMORY:
            memory = st.pointer(T.MEM) if self.program.memory_bytes else st.const_scalar(0)
            memory.size = self.program.memory_bytes
            frame.regs[1] = memory
            frame.regs[2] = st.const_scalar(self.program.memory_bytes)
        else:
            frame.regs[1] = st.pointer(T.CTX)
        w.enter(frame)
        w.state = State([frame])
        w.state.branches = 1
        w.pc = w.cfg.starts[index]
        self.visited = {}
        self.since_state = self.jumps_since_state = 0
        self.entry_subprog = index
        self._paths()

    def _fresh(self, reg: Reg) -> Reg:
        r = reg.copy()
        if r.flags & OR_NULL:
            r.id = self.w.new_id()
        return r

    def _paths(self) -> None:
        w = self.w
        while True:
            if not self._path():
                self._release(w.state)
                if not self.todo:
                    return
                w.state, w.pc, mark = self.todo.pop()
                self.log.reset(mark)
                if self.log.on:
                    self.log.say(f"\nfrom {w.state.first_pc} to {w.pc}:")
                    self.log.state(w.state.frame)

    def _release(self, state: State | None) -> None:
        """A path has ended: the states it came from have one continuation less to wait for."""
        while state is not None:
            state.branches -= 1
            if state.branches:
                return
            state = state.parent

    def _path(self) -> bool:
        """Walk until the path ends. Always False: the loop leaves by return."""
        w, graph, log = self.w, self.w.cfg, self.log
        while True:
            self.processed += 1
            if self.processed > MAX_PROCESSED:
                raise Refusal(f"BPF program is too large. Processed {self.processed} insn", errno.E2BIG, w.pc)
            if graph.prune[w.pc] and self._seen_before():
                if log.on:
                    log.say(f"{w.pc}: safe")
                return False
            if log.on:
                log.insn(w.pc)
            w.facts.visited[w.pc] = 1
            following = self._step(w.insns[w.pc])
            if following is None:
                return False
            if log.level & 2:
                log.state(w.state.frame)
            w.pc = following

    # -- states kept and compared ----------------------------------------------------------------

    def _seen_before(self) -> bool:
        w, pc = self.w, self.w.pc
        kept = self.visited.setdefault(pc, [])
        force = bool(w.cfg.checkpoint[pc])
        add = force or (self.jumps_since_state >= 2 and self.processed - self.since_state >= 8)
        current = w.state
        for entry in kept[:]:
            old = entry.state
            if old.branches:
                # Still under way: this may be a loop. Callbacks converge by being covered.
                if force and state_covers(old, current, pc, w.cfg):
                    return True
                if not force and state_covers(old, current, pc, w.cfg, exact=True):
                    raise Refusal(f"infinite loop detected at insn {pc}", errno.EINVAL, pc)
                entry.misses += add
                if entry.misses > entry.hits * 3 + 3:
                    kept.remove(entry)  # a long loop would compare each round with all before it
                continue
            if state_covers(old, current, pc, w.cfg):
                entry.hits += 1
                return True
            if add:
                entry.misses += 1
                if entry.misses > entry.hits * 3 + 3:
                    kept.remove(entry)  # it costs more than it saves
        if not add:
            return False
        saved = current.copy()
        saved.first_pc = pc
        saved.branches = 1
        current.parent = saved
        current.branches = 1
        kept.append(_Visited(saved))
        self.total_states += 1
        self.max_per_insn = max(self.max_per_insn, len(kept))
        self.peak_states = max(
            self.peak_states, sum(map(len, self.visited.values())) if self.total_states < 64 else self.total_states
        )
        self.since_state = self.processed
        self.jumps_since_state = 0
        return False

    def _push(self, state: State, pc: int) -> None:
        """Put the other way of a branch aside."""
        w = self.w
        state.first_pc = w.pc
        state.branches = 1
        if state.parent is not None:
            state.parent.branches += 1
        self.todo.append((state, pc, self.log.mark()))
        state.depth += 1
        if len(self.todo) > MAX_JUMP_SEQUENCE:
            raise Refusal(f"The sequence of {MAX_JUMP_SEQUENCE + 1} jumps is too complex.", errno.E2BIG, w.pc)

    # -- one instruction -------------------------------------------------------------------------

    def _step(self, insn: Insn) -> int | None:
        """Apply the instruction at w.pc; the next one, or None where the path ends."""
        w = self.w
        cls = insn.code & 7
        if is_alu(insn):
            alu.step(w, insn)
        elif insn.code == LD_IMM64:
            self._load_immediate(insn)
            w.facts.visited[w.pc + 1] = 1
            return w.pc + 2
        elif cls == LDX:
            self._load(insn)
        elif is_atomic(insn):
            self._atomic(insn)
        elif cls in (ST, 3):
            value = w.read(insn.src) if cls == 3 else st.const_scalar(insn.imm)
            mem.access(w, w.read(insn.dst), insn.dst, insn.off, insn.size, self.args, value)
        elif insn.code == CALL:
            return self._call(insn)
        elif insn.code == EXIT:
            return self._exit()
        elif insn.code == JA:
            self.jumps_since_state += 1
            return w.pc + 1 + insn.off
        elif insn.code == JA32:
            self.jumps_since_state += 1
            return w.pc + 1 + insn.imm
        elif cls in (5, JMP32):
            self.jumps_since_state += 1
            return self._branch(insn)
        else:
            w.reject(f"BPF_LD_[ABS|IND] instructions are not supported by bpfjit yet ({insn.code:02x})", errno.EINVAL)
        return w.pc + 1

    def _load_immediate(self, insn: Insn) -> None:
        w = self.w
        ref = self.program.map_refs.get(w.pc)
        if ref is not None:
            if ref.value_off is None:
                reg = st.pointer(T.MAP_PTR)
            else:
                reg = st.pointer(T.MAP_VALUE)
                reg.off = ref.value_off
            reg.map = ref.map_index
        elif insn.src == uapi.BPF_PSEUDO_FUNC:
            reg = st.pointer(T.FUNC)
            reg.frame = w.cfg.subprog_at[w.pc + insn.imm + 1]
        elif insn.src == 0:
            reg = st.const_scalar(imm64(w.insns, w.pc))
        else:
            w.reject(f"unsupported pseudo reference {insn.src} in ld_imm64", errno.EINVAL)
        w.write(insn.dst, reg)

    def _load(self, insn: Insn, *, atomic: bool = False) -> None:
        w = self.w
        base = w.read(insn.src)
        if insn.dst == 10:
            w.reject("frame pointer is read only")
        got = mem.access(w, base, insn.src, insn.off, insn.size, self.args, atomic=atomic)
        if atomic and base.type in _NO_ATOMICS:
            w.reject(f"BPF_ATOMIC loads from R{insn.src} {type_name(base)} is not allowed")
        if insn.code & 0xE0 == MEMSX:
            if got.is_pointer:
                w.reject(f"R{insn.src} sign-extending load of a pointer")
            got = got.copy()
            got.id = 0
            sign_extend(got, insn.size)
        elif got.type == SCALAR and not got.id and not got.is_const and base.type == T.STACK:
            got = self._link_spill(base, insn, got)
        w.write(insn.dst, got)

    def _link_spill(self, base: Reg, insn: Insn, got: Reg) -> Reg:
        """A fill and its slot are one value from here on."""
        w = self.w
        if insn.size != 8 or not base.is_const:
            return got
        frame = w.state.frames[base.frame]
        index = (-(base.off + insn.off + base.smin) - 1) // 8
        slot = frame.stack.get(index)
        if slot is None or slot.reg is not got:
            return got
        linked = got.copy()
        linked.id = w.new_id()
        frame.stack[index] = Slot(slot.kinds, linked)
        return linked

    def _atomic(self, insn: Insn) -> None:
        w = self.w
        if insn.imm == LOAD_ACQ:
            self._load(insn, atomic=True)
            return
        value = w.read(insn.src)
        base = w.read(insn.dst)
        if insn.imm == CMPXCHG and w.read(0).is_pointer and not w.env.privileged:
            w.reject("R0 leaks addr into mem")
        if base.type in _NO_ATOMICS:
            w.reject(f"BPF_ATOMIC stores into R{insn.dst} {type_name(base)} is not allowed")
        if insn.imm == STORE_REL:
            mem.access(w, base, insn.dst, insn.off, insn.size, self.args, value, atomic=True)
            return
        if value.is_pointer:
            w.reject(f"R{insn.src} leaks addr into mem")
        old = mem.access(w, base, insn.dst, insn.off, insn.size, self.args, atomic=True)
        unknown = mem.sized_scalar(insn.size)
        mem.access(w, base, insn.dst, insn.off, insn.size, self.args, unknown, atomic=True)
        if insn.imm == CMPXCHG:
            w.write(0, mem.sized_scalar(insn.size) if old.is_pointer else self._loaded(old, insn.size))
        elif insn.imm & 1 or insn.imm == XCHG:
            assert insn.imm in ATOMIC_OPS
            w.write(insn.src, self._loaded(old, insn.size))

    def _loaded(self, old: Reg, size: int) -> Reg:
        if old.is_pointer:
            return mem.sized_scalar(size)
        r = old.copy()
        r.id = 0
        truncate(r, size)
        return r

    # -- branches ----------------------------------------------------------------------------------

    def _branch(self, insn: Insn) -> int | None:
        w = self.w
        name = JUMP_OPS[insn.code & 0xF0].name
        width = 32 if insn.code & 7 == JMP32 else 64
        dst = w.read(insn.dst)
        src = w.read(insn.src) if insn.code & X else st.const_scalar(insn.imm)
        target = w.pc + 1 + insn.off
        outcome = self._decide(name, width, dst, src)
        if outcome is not None:
            w.facts.taken[w.pc] |= 2 if outcome else 1
            return target if outcome else w.pc + 1
        w.facts.taken[w.pc] |= 3
        other = w.state.copy()
        self._refine(insn, name, width, dst, src, other)
        self._push(other, target)
        return w.pc + 1

    def _decide(self, name: str, width: int, dst: Reg, src: Reg) -> bool | None:
        if dst.type == SCALAR and src.type == SCALAR:
            return branch.decide(name, width, dst, src)
        # A pointer that is surely there is not NULL.
        for p, other in ((dst, src), (src, dst)):
            if p.is_pointer and other.type == SCALAR and other.is_const and other.value == 0 and width == 64:
                if not p.flags & OR_NULL and name in ("jeq", "jne") and p.type != T.BTF:
                    return name == "jne"
                if p.type == T.BTF and p.flags & (st.TRUSTED | st.RCU) and not p.flags & OR_NULL and name in ("jeq", "jne"):
                    return name == "jne"
        if not self.env.privileged and not _comparable(dst, src, name):
            self.w.reject("pointer comparison prohibited")
        return None

    def _refine(self, insn: Insn, name: str, width: int, dst: Reg, src: Reg, taken: State) -> None:
        """Narrow both ways: `taken` is the state at the target, w.state the one that falls through."""
        w = self.w
        if dst.type == SCALAR and src.type == SCALAR:
            t_dst, t_src = branch.narrow(name, width, dst, src)
            f_dst, f_src = branch.narrow(branch.NEGATED[name], width, dst, src)
            for state, d, s in ((taken, t_dst, t_src), (w.state, f_dst, f_src)):
                _assign(state, insn.dst, dst, d)
                if insn.code & X and insn.src != insn.dst:
                    _assign(state, insn.src, src, s)
            return
        if name in ("jeq", "jne") and width == 64:
            for p, other in ((dst, src), (src, dst)):
                if p.flags & OR_NULL and other.type == SCALAR and other.is_const and other.value == 0:
                    null_state, there = (taken, w.state) if name == "jeq" else (w.state, taken)
                    _resolve_null(null_state, p.id, True)
                    _resolve_null(there, p.id, False)
                    return
                if p.flags & OR_NULL and other.is_pointer and not other.flags & OR_NULL and other.type not in (T.BTF,):
                    # Equal to a pointer that is there: so it is there.
                    _resolve_null(taken if name == "jeq" else w.state, p.id, False)
                    return
        if insn.code & X and width == 64:
            _packet_ranges(name, dst, src, taken, w.state)

    # -- calls -------------------------------------------------------------------------------------

    def _call(self, insn: Insn) -> int:
        w = self.w
        if insn.src == uapi.BPF_PSEUDO_CALL:
            return self._call_function(w.cfg.subprog_at[w.pc + insn.imm + 1])
        if insn.src == uapi.BPF_PSEUDO_KFUNC_CALL:
            w.reject("calling kernel functions (kfuncs) is not supported by bpfjit yet", errno.EINVAL)
        row = calls.helper_of(w, insn)
        call = calls.Call(w, row, self.args)
        call.check()
        if call.callback is not None:
            self._enter_callback(call, w.regs[3])
        call.leave()
        return w.pc + 1

    def _call_function(self, index: int) -> int:
        w = self.w
        contract = self.contracts.get(index)
        if contract is not None:
            name = funcs.name_of(self.program, w.cfg.starts[index])
            funcs.check_call(w, contract, f"{index} ('{name}')", self.args)
            for i in range(6):
                w.regs[i] = UNINIT
            w.write(0, st.scalar())
            return w.pc + 1
        frame = self._new_frame(w.state, index)
        frame.regs[1:6] = w.regs[1:6]
        w.enter(frame)
        for i in range(6):
            w.regs[i] = UNINIT
        w.state.frames.append(frame)
        if self.log.on:
            self.log.say(f"caller:\n {type_name(w.regs[10])}\ncallee:")
        return w.cfg.starts[index]

    def _new_frame(self, state: State, index: int) -> Frame:
        if len(state.frames) >= st.MAX_FRAMES:
            self.w.reject(f"the call stack of {len(state.frames) + 1} frames is too deep", errno.E2BIG)
        return Frame(len(state.frames), index, self.w.pc)

    def _enter_callback(self, call: calls.Call, ctx_reg: Reg) -> None:
        """Walk the callback once more from here; it comes back to this same call (bpf_loop, for_each)."""
        w = self.w
        assert call.callback is not None
        entered = w.state.copy()
        frame = self._new_frame(entered, call.callback)
        frame.callback = True
        frame.regs[1:6] = calls.callback_args(w, call.row, call.map_index, ctx_reg)
        w.enter(frame)
        entered.frames.append(frame)
        self._push(entered, w.cfg.starts[call.callback])

    def _exit(self) -> int | None:
        w = self.w
        r0 = w.regs[0]
        frames = w.state.frames
        w.facts.exit_kinds[frames[-1].subprog] |= kind_of(r0)
        if len(frames) == 1:
            self._check_return(r0)
            return None
        if r0.type == T.STACK:
            w.reject("cannot return stack pointer to the caller")
        frame = frames.pop()
        if frame.callback:
            w.state.frames.append(frame)
            w.read(0)
            if r0.type != SCALAR or r0.smin < 0 or r0.smax > 1:
                w.reject(_range_text("At callback return", r0, 0, 1), errno.EINVAL)
            w.state.frames.pop()
            self._widen(frame.call_site)
            return frame.call_site
        w.regs[0] = r0
        w.facts.result[frame.call_site] |= kind_of(r0)
        return frame.call_site + 1

    def _widen(self, pc: int) -> None:
        """Numbers that a callback changes from round to round are taken for anything, so that rounds converge."""
        w = self.w
        for entry in reversed(self.visited.get(pc, [])):
            old = entry.state
            if len(old.frames) != len(w.state.frames):
                continue
            for before, now in zip(old.frames, w.state.frames, strict=True):
                for i in range(10):
                    if _changed(before.regs[i], now.regs[i]):
                        now.regs[i] = st.scalar()
                for index, slot in now.stack.items():
                    was = before.stack.get(index)
                    if was is None or was is slot or slot.reg is None or slot.kinds[0] != st.SPILL:
                        continue
                    if was.reg is not None and was.kinds[0] == st.SPILL and not _changed(was.reg, slot.reg):
                        continue
                    if slot.reg.type == SCALAR:
                        now.stack[index] = Slot(slot.kinds, self._sized(slot.spilled_bytes))
            return

    def _sized(self, size: int) -> Reg:
        return st.scalar() if size == 8 else mem.sized_scalar(size)

    def _check_return(self, r0: Reg) -> None:
        w, program = self.w, self.program
        w.read(0)
        if self.entry_subprog:
            if r0.type != SCALAR:
                w.reject("At subprogram exit the register R0 is not a scalar value", errno.EINVAL)
            return
        if r0.is_pointer and not self.env.privileged:
            w.reject("R0 leaks addr as return value")
        wanted = (0, 1) if program.attach_type == uapi.BPF_TRACE_ITER else program.type.ret_range
        if wanted is None:
            return
        if r0.type != SCALAR:
            w.reject(f"At program exit the register R0 is not a known value ({type_name(r0)})", errno.EINVAL)
        if r0.smin < wanted[0] or r0.smax > wanted[1]:
            w.reject(_range_text("At program exit", r0, *wanted), errno.EINVAL)

    # -- the end -------------------------------------------------------------------------------------

    def _finish(self, w: Walk) -> None:
        starts = w.cfg.starts
        ends = [*starts[1:], len(w.insns)]
        w.facts.subprogs = tuple(
            Subprog(
                start,
                end,
                funcs.name_of(self.program, start),
                -(-w.stack_bytes[i] // 8) * 8,
                start in w.cfg.callbacks,
                bool(w.zero_stack[i]),
            )
            for i, (start, end) in enumerate(zip(starts, ends, strict=True))
        )
        self._check_depth(w)

    def _check_depth(self, w: Walk) -> None:
        """No chain of calls needs more than 512 bytes of stack or 8 frames; no function calls itself."""
        edges: dict[int, set[int]] = {i: set() for i in range(len(w.cfg.starts))}
        for pc, insn in enumerate(w.insns):
            pseudo_func = insn.code == LD_IMM64 and insn.src == uapi.BPF_PSEUDO_FUNC
            if pseudo_func or (insn.code == CALL and insn.src == uapi.BPF_PSEUDO_CALL):
                edges[w.cfg.subprog_at[pc]].add(w.cfg.subprog_at[pc + insn.imm + 1])
        sizes = [max(32, -(-n // 32) * 32) for n in w.stack_bytes]
        memo: dict[int, tuple[int, int]] = {}

        def depth(i: int, path: frozenset[int]) -> tuple[int, int]:
            if i in path:
                raise Refusal(f"recursive call from {funcs.name_of(self.program, w.cfg.starts[i])}()", errno.EINVAL)
            if i not in memo:
                below = [depth(j, path | {i}) for j in sorted(edges[i])]
                memo[i] = (
                    sizes[i] + max((b for b, _ in below), default=0),
                    1 + max((f for _, f in below), default=0),
                )
            return memo[i]

        for i in range(len(w.cfg.starts)):
            size, frames = depth(i, frozenset())
            if size > 512:
                raise Refusal(f"combined stack size of {frames} calls is {size}. Too large", errno.EACCES)
            if frames > st.MAX_FRAMES:
                raise Refusal(f"the call stack of {frames} frames is too deep !", errno.E2BIG)


def _changed(before: Reg, now: Reg) -> bool:
    if before is now or now.type != SCALAR or before.type != SCALAR:
        return False
    return (before.umin, before.umax, before.smin, before.smax, before.value, before.mask) != (
        now.umin,
        now.umax,
        now.smin,
        now.smax,
        now.value,
        now.mask,
    )


def _comparable(a: Reg, b: Reg, name: str) -> bool:
    packets = {T.PACKET, T.PACKET_META, T.PACKET_END}
    if a.type in packets and b.type in packets:
        return True
    return name in ("jeq", "jne") and any(r.type == SCALAR and r.is_const and r.value == 0 for r in (a, b))


def _range_text(where: str, r0: Reg, low: int, high: int) -> str:
    parts = [where, "the register R0 has"]
    if r0.type != SCALAR:
        return f"{where} the register R0 is not a known value ({type_name(r0)})"
    if r0.smin > st.S64_MIN:
        parts.append(f"smin={r0.smin}")
    if r0.smax < st.S64_MAX:
        parts.append(f"smax={r0.smax}")
    if len(parts) == 2:
        parts.append("unknown scalar value")
    return " ".join(parts) + f" should have been in [{low}, {high}]"


def _assign(state: State, regno: int, before: Reg, after: Reg) -> None:
    """Give a register, and every other one that is known to hold the same number, what a jump said of it."""
    state.frames[-1].regs[regno] = after
    if not before.id:
        return
    for frame in state.frames:
        for i, r in enumerate(frame.regs):
            if r.type == SCALAR and r.id == before.id:
                frame.regs[i] = after
        for index, slot in frame.stack.items():
            if slot.reg is not None and slot.reg.type == SCALAR and slot.reg.id == before.id and slot.is_full_spill:
                frame.stack[index] = Slot(slot.kinds, after)


def _resolve_null(state: State, pointer_id: int, is_null: bool) -> None:
    """Everything that shares the pointer's id is now NULL, or is now there."""

    def resolved(r: Reg) -> Reg:
        if not r.flags & OR_NULL or r.id != pointer_id:
            return r
        if is_null:
            return st.ZERO
        there = non_null(r)
        if there.type not in (T.PACKET, T.PACKET_META):
            there.id = 0
        return there

    for frame in state.frames:
        frame.regs[:] = [resolved(r) for r in frame.regs]
        for index, slot in frame.stack.items():
            if slot.reg is not None and slot.reg.flags & OR_NULL:
                frame.stack[index] = Slot(slot.kinds, resolved(slot.reg))


# For `pkt OP end`: which way proves that the packet reaches at least to pkt, and whether one byte more.
_REACHES = {"jgt": (False, 0), "jlt": (True, 1), "jge": (False, 1), "jle": (True, 0)}


def _packet_ranges(name: str, dst: Reg, src: Reg, taken: State, fallen: State) -> None:
    """`data + n <= data_end` proves n bytes of packet for every pointer with the same id."""
    for p, end, op in ((dst, src, name), (src, dst, branch.MIRRORED.get(name, ""))):
        ok = p.type == T.PACKET and end.type == T.PACKET_END
        ok = ok or (p.type == T.PACKET_META and end.type == T.PACKET and end.off == 0 and end.is_const)
        if not ok or op not in _REACHES:
            continue
        on_taken, extra = _REACHES[op]
        state = taken if on_taken else fallen
        reach = p.off + extra
        if p.off < 0 or p.umax > MAX_PACKET_OFF or p.umax + p.off > MAX_PACKET_OFF:
            return
        for frame in state.frames:
            for i, r in enumerate(frame.regs):
                frame.regs[i] = _reaching(r, p, reach)
            for index, slot in frame.stack.items():
                if slot.reg is not None:
                    frame.stack[index] = Slot(slot.kinds, _reaching(slot.reg, p, reach))
        return


def _reaching(r: Reg, p: Reg, reach: int) -> Reg:
    if r.type != p.type or r.id != p.id or r.range >= reach:
        return r
    r = r.copy()
    r.range = reach
    return r


def verify(program: Program, env: Env) -> Verified:
    """Verify a program. Raises Rejected with Linux's words, errno and log.

    The statistics count what Linux counts: instructions walked over all paths, states kept.
    """
    checker = Checker(program, env)
    start = time.perf_counter_ns()

    def stats() -> Stats:
        return Stats(
            checker.processed,
            checker.total_states,
            checker.peak_states,
            checker.max_per_insn,
            (time.perf_counter_ns() - start) / 1000,
        )

    def summary(s: Stats) -> None:
        checker.log.say(
            f"processed {s.processed_insns} insns (limit {MAX_PROCESSED}) max_states_per_insn {s.max_states_per_insn} "
            f"total_states {s.total_states} peak_states {s.peak_states} mark_read 0"
        )

    try:
        walk = checker.run()
    except Refusal as e:
        s = stats()
        for line in e.reason.split("\n"):
            checker.log.say(line)
        summary(s)
        raise Rejected(e.reason, e.number, checker.log.text(), s, e.pc) from None
    s = stats()
    summary(s)
    return Verified(_VERIFIER_KEY, program, walk.facts, s, checker.log.text())
