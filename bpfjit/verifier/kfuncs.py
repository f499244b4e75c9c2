"""Calls of kernel functions (kfuncs): arguments against their BTF prototype and flags, and what a call leaves behind.

Source: Linux's rules (Documentation/bpf/kfuncs.rst), and what Linux 6.18 says of the cases in tests/verifier/cases.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable
from dataclasses import replace
from enum import Enum, auto

from ..btf import Btf, BtfId, Field, Kind
from ..btf.types import COMPOSITES, ENUMS, Param, Type
from ..errors import BtfError
from ..isa.encoding import CALL, Insn
from ..program import KfuncCall, Program, StructRef
from ..spec.kfuncs import KFUNC_BY_NAME, Kf, Kfunc
from ..uapi import bpf as uapi
from . import calls, ctx, dynptrs, graphs, held, irqs, iters, locks, mem, objects, reslocks, workqueues
from . import state as st
from .cfg import Summary
from .log import type_name
from .refusal import Refusal
from .state import LOCAL, OR_NULL, RCU, RDONLY, SCALAR, TRUSTED, UNINIT, UNTRUSTED, Reg, State, T
from .walk import Walk

_MAX_NESTING = 4
_SCALARS = frozenset({Kind.INT, *ENUMS})


# Functions whose rules are not checked yet: nothing is accepted unproved.
_NOT_YET = ("bpf_task_work_",)
_BY_ATTACH_TYPE = {uapi.BPF_TRACE_ITER: "iter", uapi.BPF_TRACE_KPROBE_SESSION: "kprobe_session"}


class ArgClass(Enum):
    """What a pointer argument of a kfunc is, by its BTF type, its name's suffix, and the register."""

    NULL = auto()
    CTX = auto()
    BTF = auto()
    MAP = auto()
    MEM = auto()
    MEM_SIZE = auto()
    CALLBACK = auto()
    STR = auto()


class KfuncSite:
    """One call under examination."""

    def __init__(self, w: Walk, insn: Insn, args: tuple[ctx.Argument, ...]) -> None:
        self.w = w
        self.ctx_args = args
        btf = w.env.kernel_btf
        if btf is None or insn.off:
            w.reject(f"invalid kernel function call: BTF of fd index {insn.off} is not there", errno.EINVAL)
        self.btf: Btf = btf
        self.func_id = insn.imm
        try:
            func = btf.type(insn.imm)
        except BtfError:
            func = Type(Kind.VOID)
        if func.kind is not Kind.FUNC:
            w.reject(f"kernel btf_id {insn.imm} is not a function", errno.EINVAL)
        row = KFUNC_BY_NAME.get(func.name) if w.env.profile.has_kfunc(func.name) else None
        self.name = func.name
        kind = w.program.type
        hooks = {"*", kind.kfunc_hook, kind.name, _BY_ATTACH_TYPE.get(w.program.attach_type, "*")}
        if row is None or not hooks & row.hooks:
            w.reject(f"calling kernel function {func.name} is not allowed")
        if row.flags & Kf.OF_DEVICE:
            w.reject("metadata kfuncs require device-bound program", errno.EINVAL)
        if func.name.startswith(_NOT_YET):
            w.reject(f"kernel function {func.name} is not supported by bpfjit yet", errno.EINVAL)
        self.row: Kfunc = row
        self.flags = row.flags
        self.proto = btf.type(func.ref)
        self.ref = 0  # of the argument that is a reference
        self.release_regno = 0
        self.constant: int | None = None
        self.mem_size: int | None = None
        self.mem_rdonly = False
        self.callback: int | None = None
        self.work: Reg | None = None  # the map's value in which a work queue lies
        self.iterator = (0, 0)  # frame and slot
        self.dynptr: Reg | None = None
        self.hidden: dict[int, int | StructRef] = {}
        self.obj: Reg | None = None  # the object of the program's own types that it is about
        self.root: Field | None = None  # the list or tree that it is about
        self.never_null = False  # though its kind of function may return NULL

    # -- arguments ---------------------------------------------------------------------------------

    @property
    def acquires(self) -> bool:
        return bool(self.flags & Kf.ACQUIRE)

    def check(self) -> None:
        w, params = self.w, self.proto.params
        if w.state.held.locks and not self.flags & Kf.UNDER_LOCK:
            locks.refuse_call(w)
        if self.flags & Kf.SLEEPABLE and not w.sleepable:
            w.reject(f"program must be sleepable to call sleepable kfunc {self.name}")
        if len(params) > 5:
            w.reject(f"Function {self.name} has {len(params)} > 5 args", errno.EINVAL)
        skip = False
        for i, p in enumerate(params):
            if skip or p.name.endswith(("__ign", "__prog")):
                skip = False
                continue
            t = self.btf.resolve(p.type_id)
            if t.kind in _SCALARS:
                self._scalar(i + 1, p)
            elif t.kind is not Kind.PTR:
                w.reject(f"Unrecognized arg#{i} type {t.kind.name}", errno.EINVAL)
            else:
                skip = self._pointer(i, p, t)
        if self.flags & Kf.RELEASE and not self.release_regno:
            w.reject(f"release kernel function {self.name} expects refcounted PTR_TO_BTF_ID", errno.EINVAL)

    def _scalar(self, regno: int, p: Param) -> None:
        w = self.w
        reg = w.regs[regno]
        if reg.type != SCALAR:
            w.reject(f"R{regno} is not a scalar", errno.EINVAL)
        if p.name.endswith("__k"):
            if not reg.is_const:
                w.reject(f"R{regno} must be a known constant", errno.EINVAL)
            w.precise(regno)
            self.constant = reg.value
        elif p.name in ("rdonly_buf_size", "rdwr_buf_size"):
            if not reg.is_const:
                w.reject(f"R{regno} is not a const", errno.EINVAL)
            w.precise(regno)
            self.mem_size, self.mem_rdonly = reg.value, p.name == "rdonly_buf_size"

    def _pointer(self, i: int, p: Param, t: Type) -> bool:
        """Check pointer argument `i`; whether the next one is its size and has been looked at with it."""
        w, regno = self.w, i + 1
        reg = w.regs[regno]
        null = reg.type == SCALAR and reg.is_const and not reg.value
        nullable = p.name.endswith("__nullable")
        if (null or reg.flags & OR_NULL) and not (nullable or p.name.endswith("__opt")):
            w.reject(f"Possibly NULL pointer passed to trusted arg{i}")
        if reg.ref:
            self.ref = reg.ref
            if self.flags & Kf.RELEASE:
                self.release_regno = regno
        if iters.is_iterator(self, i):
            iters.check_argument(self, i, p, reg)
            return False
        special = _SPECIAL_ARGS.get(self._target_name(t))
        if special is not None and not (nullable and null):
            self.check_offset(regno, reg)
            special(self, i, p, reg)
            return False
        suffix = next((check for end, check in _SUFFIXES.items() if p.name.endswith(end)), None)
        if suffix is not None and not (nullable and null):
            suffix(self, i, p, reg)
            return False
        kind = self._classify(i, p, t, reg, null and nullable)
        if kind is ArgClass.NULL:
            return False
        if kind is ArgClass.MAP:
            self._map(i, p, reg)
        if kind in (ArgClass.BTF, ArgClass.MAP):
            self.check_trust(regno, reg)
        self.check_offset(regno, reg)
        _CHECKS[kind](self, i, p, reg)
        return kind is ArgClass.MEM_SIZE

    def _target_name(self, t: Type) -> str:
        target = self.btf.resolve(t.ref)
        return target.name if target.kind in COMPOSITES else ""

    def _classify(self, i: int, p: Param, t: Type, reg: Reg, null: bool) -> ArgClass:
        btf, target = self.btf, self.btf.resolve(t.ref)
        if self.name == "bpf_cast_to_kern_ctx" or _is_context(self.w, btf, t):
            return ArgClass.CTX
        if null:
            return ArgClass.NULL
        if p.name.endswith("__str"):
            return ArgClass.STR
        if p.name.endswith("__map"):
            return ArgClass.MAP
        if reg.type == T.BTF or reg.type in held.KERNEL_TYPE:
            if target.kind is not Kind.STRUCT:
                self.w.reject(
                    f"kernel function {self.name} args#{i} pointer type {_kind(target)} {_tname(target)} is not supported",
                    errno.EINVAL,
                )
            return ArgClass.BTF
        if target.kind is Kind.FUNC_PROTO:
            return ArgClass.CALLBACK
        sized = i + 1 < len(self.proto.params) and self._is_size(self.proto.params[i + 1], i + 2)
        if not (target.kind in _SCALARS or _is_plain(btf, target) or (sized and target.kind is Kind.VOID)):
            what = f"arg#{i} pointer type {_kind(target)} {_tname(target)}"
            self.w.reject(f"{what} must point to {'void, ' if sized else ''}scalar, or struct with scalar", errno.EINVAL)
        return ArgClass.MEM_SIZE if sized else ArgClass.MEM

    def _is_size(self, p: Param, regno: int) -> bool:
        scalar = self.btf.resolve(p.type_id).kind in _SCALARS and self.w.regs[regno].type == SCALAR
        return scalar and p.name.endswith(("__sz", "__szk"))

    def check_trust(self, regno: int, reg: Reg) -> None:
        if held.is_trusted(reg):
            return
        if not self.flags & Kf.RCU:
            self.w.reject(f"R{regno} must be referenced or trusted", errno.EINVAL)
        if not reg.flags & RCU:
            self.w.reject(f"R{regno} must be a rcu pointer", errno.EINVAL)

    def check_offset(self, regno: int, reg: Reg) -> None:
        w = self.w
        if reg.type == T.NOT_INIT:
            w.read(regno)
        if self.flags & Kf.RELEASE and reg.ref:
            if reg.off or not reg.is_const or reg.value:
                w.reject(f"R{regno} must have zero offset when passed to release func or trusted arg to kfunc", errno.EINVAL)
        mem.check_pointer_offset(w, regno, reg)

    def _context(self, i: int, p: Param, reg: Reg) -> None:
        if reg.type != T.CTX:
            self.w.reject(f"arg#{i} expected pointer to ctx, but got {type_name(reg)}", errno.EINVAL)

    def _btf(self, i: int, p: Param, reg: Reg) -> None:
        w, btf = self.w, self.btf
        unsafe = reg.flags & ~(held.TRUST | LOCAL)
        if (reg.type != T.BTF and reg.type not in held.KERNEL_TYPE) or (unsafe and not reg.flags & RCU):
            wanted = Reg(reg.type, reg.flags & held.TRUST)
            w.reject(f"arg#{i} is {type_name(reg)} expected {type_name(wanted)} or socket", errno.EINVAL)
        target = btf.skip(btf.resolve(p.type_id).ref)
        self._match(i, reg, target)

    def _match(self, i: int, reg: Reg, target: BtfId) -> None:
        btf = self.btf
        own = bool(reg.flags & LOCAL)
        types = self.w.program.btf if own else btf
        assert types is not None
        if reg.type in held.KERNEL_TYPE:
            found = btf.find(Kind.STRUCT, held.KERNEL_TYPE[T(reg.type)]) or BtfId(0)
        else:
            found = types.skip(reg.btf_id)
        wanted, got = btf.type(target), types.type(found)
        strict = bool(self.flags & Kf.RELEASE and reg.ref) or _no_cast(wanted.name, got.name)
        if not own and (_same_struct(btf, found, reg.off, target, strict) or _projection(wanted.name, got.name)):
            return
        self.w.reject(
            f"kernel function {self.name} args#{i} expected pointer to {_kind(wanted)} {_tname(wanted)} "
            f"but R{i + 1} has a pointer to {_kind(got)} {_tname(got)}",
            errno.EINVAL,
        )

    def _map(self, i: int, p: Param, reg: Reg) -> None:
        if reg.type != T.MAP_PTR or reg.flags & OR_NULL:
            self.w.reject(f"pointer in R{i + 1} isn't map pointer", errno.EINVAL)
        workqueues.check_map(self, i, reg)

    def _mem(self, i: int, p: Param, reg: Reg) -> None:
        w, target = self.w, self.btf.resolve(p.type_id).ref
        both_ways(w, i + 1, self.btf.size_of(target), self.ctx_args)

    def _mem_size(self, i: int, p: Param, reg: Reg) -> None:
        w, regno = self.w, i + 1
        size = w.regs[regno + 1]
        null = reg.type == SCALAR and reg.is_const and not reg.value
        if not (null and p.name.endswith("__opt")):
            try:
                mem.check_size(w, regno + 1, size, zero_ok=True)
                if not (null and size.is_const and not size.value):
                    both_ways(w, regno, size.umax, self.ctx_args)
            except Refusal as e:
                text = f"{e.reason}\narg#{i} arg#{i + 1} memory, len pair leads to invalid memory access"
                raise Refusal(text, e.number, w.pc) from None
        w.precise(regno + 1)
        if self.proto.params[i + 1].name.endswith("__szk"):
            if not size.is_const:
                w.reject(f"R{regno + 1} must be a known constant", errno.EINVAL)
            self.constant = size.value

    def _callback(self, i: int, p: Param, reg: Reg) -> None:
        if reg.type != T.FUNC:
            self.w.reject(f"arg{i} expected pointer to func", errno.EINVAL)
        self.callback = reg.frame

    def _str(self, i: int, p: Param, reg: Reg) -> None:
        if reg.type != T.MAP_VALUE:
            self.w.reject(f"arg#{i} doesn't point to a const string", errno.EINVAL)
        mem.constant_string(self.w, i + 1, reg)

    # -- the call ----------------------------------------------------------------------------------

    def leave(self) -> None:
        """The sections the call enters or leaves, the reference it takes away, and r0."""
        w = self.w
        _sections(self)
        if self.release_regno and not held.release(w, w.regs[self.release_regno].ref):
            w.reject(f"kfunc {self.name}#{self.func_id} reference has not been acquired before", errno.EINVAL)
        graphs.added(self)
        if self.flags & Kf.CHANGES_PACKET:
            calls.forget_packet(w)
        for i in range(6):
            w.regs[i] = UNINIT
        r0 = self._result()
        self.note()
        w.regs[0] = r0
        w.leave(r0)

    def failed(self) -> State | None:
        """The way on with an error, for what may fail and otherwise leaves something behind."""
        return reslocks.not_taken(self.w) if self.name in reslocks.TAKES else None

    def callback_args(self) -> list[Reg]:
        return graphs.less_args(self)

    def note(self) -> None:
        """Tell the engines what the call is. Rejects one that is another on another path."""
        own = next((i for i, p in enumerate(self.proto.params, 1) if p.name.endswith("__prog")), 0)
        w, call = self.w, KfuncCall(self.name, self.hidden, own)
        if w.facts.kfuncs.setdefault(w.pc, call) != call:
            w.reject("same insn cannot be used with different pointers", errno.EINVAL)

    @staticmethod
    def is_plain(btf: Btf, t: Type) -> bool:
        return _is_plain(btf, t)

    def _result(self) -> Reg:
        w, btf = self.w, self.btf
        t = btf.resolve(self.proto.ref)
        if t.kind is Kind.VOID:
            return UNINIT
        if self.name in reslocks.TAKES:
            return st.const_scalar(0)
        if t.kind is not Kind.PTR:
            return st.unknown_scalar()
        target_id = btf.skip(t.ref)
        target = btf.type(target_id)
        special = _RESULTS.get(self.name)
        if special is not None:
            r = special(self)
        elif target.name in graphs.NODES:
            r = graphs.node_result(self)
        elif target.kind is Kind.VOID:
            r = st.unknown_scalar()
        elif target.kind not in COMPOSITES:
            r = self._memory_result(target_id, target)
        else:
            r = st.pointer(T.BTF)
            r.btf_id = target_id
            r.flags |= self._result_flags()
        maybe = self.flags & Kf.RET_NULL and not self.never_null
        if maybe:
            r.flags |= OR_NULL
            r.id = w.new_id()
        if self.acquires:
            r.ref = held.acquire(w)
            if maybe:
                r.id = r.ref
        if not r.id and objects.is_lockable(w, r):
            r.id = w.new_id()
        return r

    def _result_flags(self) -> int:
        if self.name == "bpf_get_kmem_cache":
            return UNTRUSTED
        if self.flags & Kf.ITER_NEXT:
            return iters.element_flags(self)
        return RCU if self.flags & Kf.RCU_PROTECTED else 0

    def _memory_result(self, target_id: BtfId, target: Type) -> Reg:
        r = st.pointer(T.MEM)
        if self.mem_size is None:
            try:
                self.mem_size, self.mem_rdonly = self.btf.size_of(target_id), True
            except BtfError:
                self.w.reject(
                    f"kernel function {self.name} returns pointer type {_kind(target)} {_tname(target)} is not supported",
                    errno.EINVAL,
                )
        r.size = self.mem_size
        r.flags = RDONLY if self.mem_rdonly else 0
        r.ref = self.ref
        return r


def both_ways(w: Walk, regno: int, size: int, args: tuple[ctx.Argument, ...]) -> None:
    """A kfunc may read and write the memory that it is handed."""
    reg = w.regs[regno]
    if reg.flags & OR_NULL:
        w.regs[regno] = replace_flags(reg, reg.flags & ~OR_NULL)
    try:
        mem.helper_memory(w, regno, size, writes=False, args=args)
        mem.helper_memory(w, regno, size, writes=True, args=args)
    finally:
        w.regs[regno] = reg


def replace_flags(reg: Reg, flags: int) -> Reg:
    r = reg.copy()
    r.flags = flags
    return r


def _kind(t: Type) -> str:
    return "UNKNOWN" if t.kind is Kind.VOID else t.kind.name


def _tname(t: Type) -> str:
    return "" if t.kind is Kind.VOID else t.name


def _is_plain(btf: Btf, t: Type, depth: int = 0) -> bool:
    """A structure or union of scalars, of arrays of them, and of such structures and unions."""
    if t.kind not in COMPOSITES or depth >= _MAX_NESTING:
        return False
    for m in t.members:
        inner = btf.resolve(m.type_id)
        if inner.kind in COMPOSITES:
            if not _is_plain(btf, inner, depth + 1):
                return False
            continue
        if inner.kind is Kind.ARRAY:
            if not inner.nelems:
                return False
            inner = btf.resolve(inner.ref)
        if inner.kind not in _SCALARS:
            return False
    return True


def _is_context(w: Walk, btf: Btf, t: Type) -> bool:
    """The argument is the program type's own context, by the name of its structure."""
    target = btf.type(btf.skip_quals(t.ref))
    names = w.program.type.ctx_names
    return target.name in names or btf.resolve(t.ref).name in names


def _no_cast(a: str, b: str) -> bool:
    """`x` and `x___init` are the same bytes that must not stand for each other."""
    return a != b and a.removesuffix("___init") == b.removesuffix("___init")


def _projection(wanted: str, got: str) -> bool:
    """What a program knows as __sk_buff is the kernel's sk_buff."""
    return (wanted, got) in (("__sk_buff", "sk_buff"), ("xdp_md", "xdp_buff"))


def _same_struct(btf: Btf, found: int, off: int, wanted: int, strict: bool) -> bool:
    """The structure, or (where that is allowed) one that it holds at that offset, is the one wanted."""
    if off == 0 and found == wanted:
        return True
    if strict:
        return False
    for _ in range(16):
        t = btf.type(found)
        if t.kind not in COMPOSITES:
            return False
        inside = None
        for m in t.members:
            at = m.bit_offset // 8
            inner = btf.skip(m.type_id)
            if m.bitfield_bits or btf.type(inner).kind not in COMPOSITES:
                continue
            if at <= off < at + max(btf.size_of(inner), 1):
                inside = (inner, off - at)
                break
        if inside is None:
            return False
        found, off = inside
        if off == 0 and found == wanted:
            return True
    return False


# -- sections ------------------------------------------------------------------------------------------


def _sections(site: KfuncSite) -> None:
    """RCU and preemption: what the call does to them, and whether it may sleep in them."""
    w, name = site.w, site.name
    now = w.state.held
    if site.flags & Kf.RCU_PROTECTED and not held.in_rcu(w):
        w.reject(f"kernel func {name} requires RCU critical section protection")
    which = f"(kernel function {name})"
    if name == "bpf_rcu_read_lock":
        if now.rcu:
            w.reject(f"nested rcu read lock {which}", errno.EINVAL)
        w.state.held = replace(now, rcu=True)
    elif name == "bpf_rcu_read_unlock":
        if not now.rcu:
            w.reject(f"unmatched rcu read unlock {which}", errno.EINVAL)
        held.leave_rcu(w)
        w.state.held = replace(now, rcu=False)
    elif name == "bpf_preempt_disable":
        w.state.held = replace(now, preempt=now.preempt + 1)
    elif name == "bpf_preempt_enable":
        if not now.preempt:
            w.reject(f"unmatched attempt to enable preemption {which}", errno.EINVAL)
        w.state.held = replace(now, preempt=now.preempt - 1)
    elif site.flags & Kf.SLEEPABLE and (section := held.no_sleep_here(w)):
        w.reject(f"kernel func {name} is sleepable within {section}")


# -- casts ---------------------------------------------------------------------------------------------


def _kernel_context(site: KfuncSite) -> Reg:
    struct = site.w.program.type.kern_ctx
    found = site.btf.find(Kind.STRUCT, struct) or site.btf.find(Kind.TYPEDEF, struct) if struct else None
    if found is None:
        site.w.reject("the kernel's context of this program type is not known", errno.EINVAL)
    r = st.pointer(T.BTF, TRUSTED)
    r.btf_id = found
    return r


def _read_only(site: KfuncSite) -> Reg:
    """bpf_rdonly_cast: a structure that is only looked at, or (type 0) bytes."""
    w, btf = site.w, site.btf
    type_id = site.constant or 0
    if type_id == 0:
        return mem.anywhere()
    t = Type(Kind.FWD)
    with contextlib.suppress(BtfError):
        t = btf.type(type_id)
    if t.kind not in COMPOSITES:
        w.reject("kfunc bpf_rdonly_cast type ID argument must be of a struct or void", errno.EINVAL)
    r = st.pointer(T.BTF, UNTRUSTED)
    r.btf_id = BtfId(type_id)
    return r


def _session_cookie(site: KfuncSite) -> Reg:
    """A word of the session's own, from the function's entry to its return."""
    r = st.pointer(T.MEM)
    r.size = 8
    return r


ArgCheck = Callable[[KfuncSite, int, Param, Reg], None]
_CHECKS: dict[ArgClass, ArgCheck] = {
    ArgClass.CTX: KfuncSite._context,
    ArgClass.BTF: KfuncSite._btf,
    ArgClass.MAP: KfuncSite._map,
    ArgClass.MEM: KfuncSite._mem,
    ArgClass.MEM_SIZE: KfuncSite._mem_size,
    ArgClass.CALLBACK: KfuncSite._callback,
    ArgClass.STR: KfuncSite._str,
}
_SPECIAL_ARGS: dict[str, ArgCheck] = {
    "bpf_dynptr": dynptrs.check_argument,
    "bpf_list_head": graphs.list_head,
    "bpf_list_node": graphs.list_node,
    "bpf_rb_root": graphs.tree_root,
    "bpf_rb_node": graphs.tree_node,
    "bpf_res_spin_lock": reslocks.check_argument,
    "bpf_wq": workqueues.check_argument,
}
_SUFFIXES: dict[str, ArgCheck] = {
    "__irq_flag": irqs.check_argument,
    "__alloc": objects.alloc_argument,
    "__refcounted_kptr": objects.refcounted_argument,
}
_RESULTS: dict[str, Callable[[KfuncSite], Reg]] = {
    "bpf_cast_to_kern_ctx": _kernel_context,
    "bpf_rdonly_cast": _read_only,
    "bpf_session_cookie": _session_cookie,
    "bpf_obj_new_impl": objects.new,
    "bpf_percpu_obj_new_impl": objects.new_percpu,
    "bpf_refcount_acquire_impl": objects.counted,
    "bpf_dynptr_slice": dynptrs.slice_of,
    "bpf_dynptr_slice_rdwr": dynptrs.slice_of,
}


def summaries(program: Program, btf: Btf | None) -> dict[int, Summary]:
    """By BTF id, of each kernel function that a program calls: what the graph of the program depends on."""
    found: dict[int, Summary] = {}
    for insn in program.insns:
        if btf is None or insn.code != CALL or insn.src != uapi.BPF_PSEUDO_KFUNC_CALL or insn.imm in found:
            continue
        with contextlib.suppress(BtfError):
            func = btf.type(insn.imm)
            row = KFUNC_BY_NAME.get(func.name) if func.kind is Kind.FUNC else None
            if row is not None:
                known = (Kf.ITER_NEXT, Kf.CALLS_BACK, Kf.SLEEPABLE, Kf.CHANGES_PACKET)
                found[insn.imm] = Summary(len(btf.type(func.ref).params), *(bool(row.flags & flag) for flag in known))
    return found
