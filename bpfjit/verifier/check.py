"""The walk: every path through a program, instruction by instruction, until all are seen or one is bad."""

from __future__ import annotations

import errno
import time

from ..dataclass import replace
from ..errors import BtfError
from ..isa.encoding import IND, JA32, JCOND, Insn
from ..program import (
    _VERIFIER_KEY,
    KfuncCall,
    Program,
    Rejected,
    Stats,
    Subprog,
    ValueKind,
    Verified,
)
from ..spec.helpers import HELPERS
from ..spec.kfuncs import Kf
from ..spec.kinds import Callback, CtxKind
from ..uapi import bpf as uapi
from . import (
    alu,
    arena,
    calls,
    cfg,
    ctx,
    depth,
    encoding,
    fields,
    funcs,
    held,
    iters,
    jump,
    kfuncs,
    mem,
    moves,
    op,
    returns,
    versions,
    workqueues,
)
from . import state as st
from .explored import Counts, Explored
from .liveness import Liveness
from .log import MAX_INSNS, Log, statistics
from .op import Op
from .prune import widen
from .refs import Held
from .refusal import Refusal
from .state import OR_NULL, UNINIT, Frame, Reg, Slot, State, T
from .walk import Env, Walk, kind_of, non_null

MAX_JUMP_SEQUENCE = 8192
# Names with an underscore are C numbers in the compiled module (check.pxd).
_LAST_ALU, _LOAD_IMMEDIATE, _LOAD, _ATOMIC, _STORE = op.SWAP, op.LOAD_IMMEDIATE, op.LOAD, op.ATOMIC, op.STORE
_CALLS, _EXITS, _JUMP, _BRANCH = op.CALLS, op.EXITS, op.JUMP, op.BRANCH
# trace_printk's row ends in "...": what its caller puts into the registers behind is read too.
_NARGS = {h.id: 5 if "..." in h.decl else len(h.args) for h in HELPERS}
_NO_SLEEPER = """global functions that may sleep are not allowed in non-sleepable context,
i.e., in a RCU/IRQ/preempt-disabled section, or in
a non-sleepable BPF program context"""
_CALLING_BACK = {h.id for h in HELPERS if h.callback not in (Callback.NONE, Callback.TIMER)}


class Checker:
    """One verification. The stack of `todo` holds the other way of each branch taken."""

    def __init__(self, program: Program, env: Env) -> None:
        self.program = program
        self.env = env
        self.log = Log(program, env.kernel_btf, env.log_level, env.log_bytes)
        self.counts = Counts()
        self.walk: Walk | None = None
        self.todo: list[tuple[State, int, int, int]] = []
        self.args: tuple[ctx.Argument, ...] = ()
        self.contracts: dict[int, tuple[Reg, ...]] = {}
        self.problems: dict[int, str] = {}
        self.packet_changers: set[int] = set()
        self.sleepers: set[int] = set()
        self.later: set[int] = set()  # functions that run by themselves some time: timers' and work's
        self.functions = 1
        self.exception_callback = -1  # the function that answers bpf_throw

    # -- the whole program ---------------------------------------------------------------------

    def run(self) -> Walk:
        program = self.program
        count = len(program.insns)
        if not 0 < count <= MAX_INSNS:
            raise Refusal(f"{count} instructions, wanted 1 to {MAX_INSNS}", errno.E2BIG)
        ops = op.ops_of(program.insns)
        self.problems = encoding.check(program, ops)
        moves.check_references(program, self.env.kernel_btf)
        versions.check(self.env.profile, ops)
        fields.check_maps(program)
        arena.check(program)
        answer = funcs.exception_callback(program)
        if self.log.level:
            starts, _ = cfg.find_functions(ops, answer)
            self.functions = len(starts)
            if self.log.level & 2:
                self.log.functions(starts)
        called = kfuncs.summaries(program, self.env.kernel_btf)
        graph = cfg.build(ops, _NARGS, _CALLING_BACK, called, answer)
        self.args = ctx.arguments(program, self.env)
        depth.check_ends_of_functions(program, graph)
        self.packet_changers = depth.packet_changers(program, graph, called)
        self.sleepers = depth.sleepers(program, graph, called)
        self.contracts = funcs.global_functions(program, graph.starts, self.env.kernel_btf)
        if answer:
            self.exception_callback = graph.subprog_at[answer]
            if [r.type for r in self.contracts[self.exception_callback]] != [st.SCALAR]:
                raise Refusal("exception cb only supports single integer argument", errno.EINVAL)
        if self.log.level & 2:
            self.log.live_registers(graph.live, graph.loop)
        w = self.w = self.walk = Walk(program, self.env, graph, self.log, ops)
        w.facts.packet_changers = set(self.packet_changers)
        self._walk_function(0)
        for index in filter(None, self.contracts):
            self.log.say(f"Validating {funcs.name_of(program, graph.starts[index])}() func#{index}...")
            self._walk_function(index)
            name = funcs.name_of(program, graph.starts[index])
            self.log.say(f"Func#{index} ('{name}') is safe for any args that match its prototype")
        self._finish(w)
        return w

    def _walk_function(self, index: int) -> None:
        w, frame = self.w, Frame(0, index, -1)
        if index or self.program.is_extension:
            for i, reg in enumerate(self.contracts[index]):
                frame.regs[i + 1] = self._fresh(reg)
        elif self.program.type.ctx is CtxKind.MEMORY:
            memory = st.pointer(T.MEM) if self.program.memory_bytes else st.const_scalar(0)
            memory.size = self.program.memory_bytes
            frame.regs[1] = memory
            frame.regs[2] = st.const_scalar(self.program.memory_bytes)
        else:
            frame.regs[1] = st.pointer(T.CTX)
        w.state = State([frame])
        w.state.branches = 1
        w.pc = w.state.first_pc = w.cfg.starts[index]
        w.came_from = -1
        w.life = Liveness(w.insns, w.cfg)
        w.enter(frame)
        self.explored = Explored(w, self.counts)
        self.entry_subprog = index
        if self.log.on:
            self.log.say(f"{w.pc}: {self.log.frame_text(frame)}")
        self._paths()
        if not self.log.level & 2:
            self.log.reset(0)  # of what is accepted, only level 2 tells the way

    def _fresh(self, reg: Reg) -> Reg:
        if reg.type == T.ARENA:
            return st.scalar()  # the function casts it itself
        r = reg.copy()
        if r.flags & OR_NULL or r.type == T.DYNPTR:
            r.id = self.w.new_id()
        return r

    def _paths(self) -> None:
        w = self.w
        while True:
            self._path()
            self.explored.release(w.state)
            if not self.todo:
                return
            w.state, w.pc, w.came_from, mark = self.todo.pop()
            self.log.reset(mark)
            if self.log.on:
                self.log.arrive(w.came_from, w.pc)

    def _path(self) -> None:
        """Walk until the path ends."""
        w, log, explored = self.w, self.w.log, self.explored
        told = log.on or self.env.watch is not None or bool(self.problems)
        limit = MAX_INSNS
        prune, joins, visited, ops = w.cfg.prune, w.cfg.joins, w.facts.visited, w.ops
        while True:
            pc = w.pc
            w.processed += 1
            if w.processed > limit:
                raise Refusal(f"BPF program is too large. Processed {w.processed} insn", errno.E2BIG, pc)
            w.own_step = None
            if prune[pc] and explored.seen_before():
                if log.on:
                    log.safe(pc)
                return
            if joins[pc]:
                w.step()
            visited[pc] = 1
            if told:
                following = self._told_step(pc, ops[pc])
            else:
                following = self._step(ops[pc])
            if following < 0:
                return
            w.came_from, w.pc = pc, following

    def _told_step(self, pc: int, insn: Op) -> int:
        """As _step(), where the log tells of it, somebody watches or an instruction may be none."""
        w, log, watch = self.w, self.log, self.env.watch
        if log.on:
            log.insn(pc, w.state.frame)
        if pc in self.problems:
            w.reject(self.problems[pc], errno.EINVAL)
        if watch is not None:
            watch(pc, w.state)
        frame = w.state.frame
        slots = frame.stack.copy() if log.on else None
        following = self._step(insn)
        if slots is not None and following >= 0:
            self._log_changes(pc, frame, slots)
        return following

    def _log_changes(self, pc: int, frame: Frame, slots: dict[int, Slot]) -> None:
        w = self.w
        step = w.own_step
        filled = step.slot if step is not None and step.frame == frame.number else -1
        self.log.changes(pc, w.state.frame, slots if w.state.frame is frame else None, filled)

    def _push(self, state: State, pc: int) -> None:
        """Put the other way of a branch aside."""
        w = self.w
        state.branches = 1
        if state.parent is not None:
            state.parent.branches += 1
        self.todo.append((state, pc, w.pc, self.log.mark() if self.log.on else 0))
        if len(self.todo) > MAX_JUMP_SEQUENCE:
            raise Refusal(f"The sequence of {MAX_JUMP_SEQUENCE + 1} jumps is too complex.", errno.EFAULT, w.pc)

    # -- one instruction -------------------------------------------------------------------------

    def _step(self, insn: Op) -> int:
        """Apply the instruction at w.pc; the next one, or -1 where the path ends."""
        w = self.w
        kind = insn.kind
        if kind <= _LAST_ALU:
            other = alu.step(w, insn)
            if other is not None:
                self._push(other, w.pc)
        elif kind == _LOAD:
            moves.load(w, insn, self.args)
        elif kind == _STORE:
            moves.store(w, insn, self.args)
        elif kind == _BRANCH:
            w.jumps += 1
            return self._branch(insn)
        elif kind == _LOAD_IMMEDIATE:
            moves.load_immediate(w, insn)
            w.facts.visited[w.pc + 1] = 1
            return w.pc + 2
        elif kind == _JUMP:
            w.jumps += 1
            return w.pc + 1 + (insn.imm if insn.code == JA32 else insn.off)
        elif kind == _CALLS:
            w.jumps += 1
            return self._call(w.insns[w.pc])
        elif kind == _EXITS:
            w.jumps += 1
            return self._exit()
        elif kind == _ATOMIC:
            moves.atomic(w, insn, self.args)
        elif insn.code == JCOND:
            w.jumps += 1
            return self._may_goto(w.insns[w.pc])
        else:
            self._load_packet(w.insns[w.pc])
        return w.pc + 1

    # -- branches ----------------------------------------------------------------------------------

    def _branch(self, insn: Op) -> int:
        w = self.w
        name, width = insn.name, insn.width
        dst = w.read(insn.dst)
        src = insn.const if insn.const is not None else w.read(insn.src)
        target = w.pc + 1 + insn.off
        outcome = jump.decide(w, name, width, dst, src)
        if outcome is not None:
            w.facts.taken[w.pc] |= 2 if outcome else 1
            w.precise(insn.dst)
            if insn.by_register:
                w.precise(insn.src)
            return target if outcome else w.pc + 1
        w.facts.taken[w.pc] |= 3
        linked = jump.note_linked(w, dst, src)
        dst, src = w.regs[insn.dst], w.regs[insn.src] if insn.by_register else src
        other = w.state.copy()
        jump.refine(w, insn, name, width, dst, src, other, linked)
        self._push(other, target)
        return w.pc + 1

    # -- calls -------------------------------------------------------------------------------------

    def _call(self, insn: Insn) -> int:
        w = self.w
        if insn.src == uapi.BPF_PSEUDO_CALL:
            return self._call_function(w.cfg.subprog_at[w.pc + insn.imm + 1])
        if insn.src == uapi.BPF_PSEUDO_KFUNC_CALL:
            return self._call_kfunc(insn)
        row = calls.helper_of(w, insn)
        call = calls.Call(w, row, self.args)
        call.check()
        if row.inline == "tail_call":
            self._tail_call()
        if row.callback is Callback.TIMER:
            assert call.callback is not None
            self._enter_later(call.callback, calls.callback_args(w, call.row, call.map_index, UNINIT), Held(sleeps=False))
        elif call.callback is not None:
            if row.callback is Callback.LOOP:
                w.precise(1)  # how many rounds there are
            if row.callback is not Callback.LOOP or w.state.frame.rounds < w.regs[1].umax:
                self._enter_callback(call.callback, calls.callback_args(w, call.row, call.map_index, w.regs[3]))
            else:
                w.state.frame.rounds = 0
        call.leave()
        return w.pc + 1

    def _tail_call(self) -> None:
        """Either nothing happens, or another program runs and what it returns is what this function returns."""
        w = self.w
        held.check_nothing_held(w, "tail_call")
        frames = w.state.frames
        w.facts.exit_kinds[frames[-1].subprog] |= ValueKind.SCALAR
        if len(frames) == 1:
            return  # the other program was verified by itself
        if frames[-1].callback:
            # Linux 6.18 knows no way from another program back to who called the callback, and calls that a bug.
            w.reject("tail_call in a callback\nverifier bug: callback unexpected regs 1", errno.EFAULT)
        gone = w.state.copy()
        frame = gone.frames.pop()
        calls.forget_packet(w, gone)
        gone.frames[-1].regs[0] = st.scalar()
        w.facts.result[frame.call_site] |= ValueKind.SCALAR
        self._push(gone, frame.call_site + 1)

    def _load_packet(self, insn: Insn) -> None:
        """LD_ABS and LD_IND: bytes of the packet, in host order; where there are none, the function ends with 0."""
        w = self.w
        name = "BPF_LD_[ABS|IND]"
        if not w.program.type.loads_packet:
            w.reject(f"{name} instructions not allowed for this program type", errno.EINVAL)
        w.read(6)
        held.check_nothing_held(w, name)
        if w.regs[6].type != T.CTX:
            w.reject("at the time of BPF_LD_ABS|IND R6 != pointer to skb", errno.EINVAL)
        if insn.code & 0xE0 == IND:
            w.read(insn.src)
        mem.check_pointer_offset(w, 6, w.regs[6])
        if len(w.state.frames) > 1:
            self._ends_here()
        for i in range(6):
            w.regs[i] = UNINIT
        w.write(0, st.scalar())

    def _ends_here(self) -> None:
        """The function may end at this instruction, with 0: its caller goes on from there too."""
        w = self.w
        ended = w.state.copy()
        frame = ended.frames.pop()
        if frame.callback:
            w.reject("BPF_LD_[ABS|IND] in a callback is not supported by bpfjit yet", errno.EINVAL)
        w.facts.exit_kinds[frame.subprog] |= kind_of(st.ZERO)
        w.facts.result[frame.call_site] |= kind_of(st.ZERO)
        ended.frame.regs[0] = st.ZERO
        self._push(ended, frame.call_site + 1)

    def _may_goto(self, insn: Insn) -> int:
        """A loop that ends by itself after a while: one more round is put aside, this way leaves it."""
        w = self.w
        w.facts.taken[w.pc] |= 3
        again = w.state.copy()
        again.may_gotos += 1
        assert w.state.parent is not None, "a state is kept at every may_goto"
        before = self.explored.kept_before(w.state.parent, w.pc)
        if before is not None:
            widen(before, again)
        self._push(again, w.pc + 1)
        w.facts.may_goto.add(w.state.frame.subprog)
        return w.pc + 1 + insn.off

    def _throw(self) -> None:
        """bpf_throw: the program ends here, whatever function it is in. Rejects what would be left behind."""
        w = self.w
        held.check_nothing_held(w, "bpf_throw")
        if self.exception_callback < 0:
            returns.check_return(w, w.regs[1], is_main=True, regno=1)

    def _call_kfunc(self, insn: Insn) -> int:
        w = self.w
        site = kfuncs.KfuncSite(w, insn, self.args)
        failed = site.failed()
        if failed is not None:
            self._push(failed, w.pc + 1)
        site.check()
        if site.name == "bpf_throw":
            w.facts.kfuncs[w.pc] = KfuncCall(site.name)
            self._throw()
            return -1
        if site.callback is not None:
            site.note()
            if site.name == workqueues.SETS_CALLBACK:
                self._enter_later(site.callback, workqueues.callback_args(site), Held(sleeps=True))
            else:
                self._enter_callback(site.callback, site.callback_args())
        site.leave()
        if site.flags & Kf.ITER_NEXT:
            self._next_element(site)
        return w.pc + 1

    def _next_element(self, site: kfuncs.KfuncSite) -> None:
        """One way on with an element, put aside; this one with none: the iterator has been asked for the last time."""
        w = self.w
        if iters.iterator_of(w.state, site.iterator).size == iters.ACTIVE:
            more = w.state.copy()
            iters.set_state(more, site.iterator, iters.ACTIVE, asked=1)
            more.frame.regs[0] = non_null(more.frame.regs[0])
            assert w.state.parent is not None, "a state is kept wherever an iterator is asked"
            before = self.explored.kept_before(w.state.parent, w.pc)
            if before is not None:
                widen(before, more)
            self._push(more, w.pc + 1)
        iters.set_state(w.state, site.iterator, iters.DRAINED)
        w.regs[0] = st.ZERO
        w.leave(st.ZERO)

    def _call_function(self, index: int) -> int:
        w = self.w
        contract = self.contracts.get(index)
        if contract is not None:
            if w.state.held.locks:
                text = "global function calls are not allowed while holding a lock,\nuse static function instead"
                w.reject(text, errno.EINVAL)
            if index in self.sleepers and (not w.sleepable or held.no_sleep_here(w)):
                w.reject(_NO_SLEEPER, errno.EINVAL)
            name = funcs.name_of(self.program, w.cfg.starts[index])
            funcs.check_call(w, contract, f"{index} ('{name}')", self.args)
            for i in range(6):
                w.regs[i] = UNINIT
            if index in self.packet_changers:
                calls.forget_packet(w)
            w.write(0, st.scalar())
            return w.pc + 1
        frame = self._new_frame(w.state, index)
        frame.regs[1:6] = w.regs[1:6]
        for i in range(6):
            w.regs[i] = UNINIT
        w.state.frames.append(frame)
        w.enter(frame)
        if self.log.on:
            self.log.say(f"caller:\n {self.log.frame_text(w.state.frames[-2])}\ncallee:\n {self.log.frame_text(frame)}")
        return w.cfg.starts[index]

    def _new_frame(self, state: State, index: int) -> Frame:
        if len(state.frames) >= st.MAX_FRAMES:
            self.w.reject(f"the call stack of {len(state.frames) + 1} frames is too deep", errno.E2BIG)
        return Frame(len(state.frames), index, self.w.pc)

    def _enter_callback(self, subprog: int, args: list[Reg]) -> None:
        """Walk the callback once more from here; it comes back to this same call (bpf_loop, for_each)."""
        w = self.w
        entered = w.state.copy()
        frame = self._new_frame(entered, subprog)
        frame.callback = True
        frame.regs[1:6] = args
        entered.frames.append(frame)
        entered.unrolled += 1
        entered.frames[-2].rounds += 1
        w.state.frames[-1].rounds = 0
        w.enter(frame, entered)
        self._push(entered, w.cfg.starts[subprog])

    def _enter_later(self, subprog: int, args: list[Reg], holding: Held) -> None:
        """Walk a callback that runs by itself some time: nothing of the present path is there then."""
        w = self.w
        self.later.add(subprog)
        frame = Frame(0, subprog, -1)
        frame.callback = True
        frame.regs[1:6] = [*args[:3], UNINIT, UNINIT]
        later = State([frame])
        later.held = holding
        later.first_pc = w.cfg.starts[subprog]
        w.enter(frame, later)
        self._push(later, later.first_pc)

    def _exit(self) -> int:
        w = self.w
        r0 = w.regs[0]
        frames = w.state.frames
        w.facts.exit_kinds[frames[-1].subprog] |= kind_of(r0)
        if len(frames) == 1:
            held.check_nothing_held(w, "BPF_EXIT instruction in main prog")
            if frames[-1].callback:
                returns.check_later_return(w, r0)
                return -1
            returns.check_return(w, r0, is_main=self.entry_subprog in (0, self.exception_callback))
            return -1
        if r0.type == T.STACK:
            w.reject("cannot return stack pointer to the caller", errno.EINVAL)
        frame = frames.pop()
        if frame.callback:
            w.state.frames.append(frame)
            returns.check_callback_return(w, r0)
            w.state.frames.pop()
            before = self.explored.kept_before(w.state, frame.call_site)
            if before is not None:
                widen(before, w.state)
            return frame.call_site
        w.regs[0] = r0
        w.facts.result[frame.call_site] |= kind_of(r0)
        return frame.call_site + 1

    # -- the end -------------------------------------------------------------------------------------

    def _finish(self, w: Walk) -> None:
        starts = w.cfg.starts
        ends = [*starts[1:], len(w.insns)]
        w.facts.answers_throws = self.exception_callback
        w.facts.attached = ctx.attached(self.program, self.args)
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
        arena.check_narrowed(w)
        depth.check_depth(self.program, w.cfg, w.stack_bytes, self.later)
        throws = [pc for pc, call in w.facts.kfuncs.items() if call.name == "bpf_throw"]
        depth.check_throws(self.program, w.cfg, throws, self.exception_callback)


def verify(program: Program, env: Env) -> Verified:
    """Verify a program. Raises Rejected with Linux's words, errno and log.

    The statistics count what Linux counts: instructions walked over all paths, states kept.
    """
    checker = Checker(program, env)
    start = time.perf_counter_ns()

    def ended(reason: str = "") -> tuple[str, Stats]:
        """The log with its last lines, and what all took."""
        log, walk, counts = checker.log, checker.walk, checker.counts
        duration_us = (time.perf_counter_ns() - start) / 1000
        processed = walk.processed if walk is not None else 0
        s = Stats(processed, counts.total, counts.peak, counts.max_per_insn, duration_us)
        depths = walk.stack_bytes if walk is not None else [0] * checker.functions
        for line in [*(reason.split("\n") if reason else ()), *statistics(log.level, s, depths)]:
            log.say(line)
        text = log.text()
        return text, replace(s, log_missing=log.bytes - len(text.encode()), log_cuts=tuple(log.cuts))

    try:
        walk = checker.run()
    except BtfError as e:
        text, s = ended(str(e))
        raise Rejected(f"BTF: {e}", errno.EINVAL, text, s) from None
    except Refusal as e:
        text, s = ended(e.reason)
        raise Rejected(_with_source(checker.log, e), e.number, text, s, e.pc) from None
    text, s = ended()
    return Verified(_VERIFIER_KEY, program, walk.facts, s, text)


def _with_source(log: Log, e: Refusal) -> str:
    """The reason, its first line with the C line that the instruction belongs to."""
    source = log.source_of(e.pc) if e.pc is not None else ""
    if not source:
        return e.reason
    first, *rest = e.reason.split("\n")
    return "\n".join([f"{first} ({source})", *rest])
