"""Special fields of map values: which accesses may touch them, spin locks, timers, and which programs may use such maps."""

from __future__ import annotations

import errno
from dataclasses import replace

from ..btf import Field, Special
from ..program import MapInfo, Program
from ..spec.kinds import MapType
from . import state as st
from .held import change_regs, in_rcu, invalid
from .log import type_name
from .refs import Ref, RefKind
from .refusal import Refusal
from .state import NON_OWN, OR_NULL, RCU, UNTRUSTED, Reg, T
from .walk import Walk

_CALLING_BACK = Special.TIMER | Special.WORKQUEUE | Special.TASK_WORK
LOCKS = Special.SPIN_LOCK | Special.RES_SPIN_LOCK
_NAMES = {
    Special.SPIN_LOCK: "bpf_spin_lock",
    Special.RES_SPIN_LOCK: "bpf_res_spin_lock",
    Special.TIMER: "bpf_timer",
    Special.WORKQUEUE: "bpf_wq",
    Special.TASK_WORK: "bpf_task_work",
    Special.LIST_HEAD: "bpf_list_head",
    Special.RB_ROOT: "bpf_rb_root",
    Special.REFCOUNT: "bpf_refcount",
}
_TRACING = frozenset({"kprobe", "tracepoint", "perf_event", "raw_tracepoint", "raw_tracepoint_writable"})
_NOT_YET = (
    (Special.GRAPH_ROOT, "bpf_{list_head,rb_root}"),
    (LOCKS, "bpf_spin_lock"),
    (Special.TIMER, "bpf_timer"),
    (Special.WORKQUEUE, "bpf_wq"),
)
# Kernel structures that an RCU read section keeps: a pointer to one, read from a map, is good there.
_RCU_KEEPS = frozenset({"task_struct", "cgroup", "bpf_cpumask", "cpumask"})


def check_maps(program: Program) -> None:
    """Whether a program of this kind may use its maps at all. Raises Refusal."""
    for m in program.maps:
        if m.template:
            continue
        for kinds, name in _NOT_YET:
            if m.record.kinds & kinds and program.type.name in _TRACING:
                raise Refusal(f"tracing progs cannot use {name} yet", errno.EINVAL)
            if kinds == LOCKS and m.record.kinds & kinds and program.type.name == "socket_filter":
                raise Refusal(f"socket filter progs cannot use {name} yet", errno.EINVAL)
        if program.sleepable and not _sleeps(m.type):
            text = "Sleepable programs can only use array, hash, ringbuf and local storage maps"
            raise Refusal(text, errno.EINVAL)


def _sleeps(row: MapType) -> bool:
    return row.sleepable


def may_lock(m: MapInfo) -> bool:
    """Pointers to such values keep their identity: a lock is taken and given back through the same one."""
    return bool(m.record.kinds & LOCKS)


def tells_apart(m: MapInfo) -> bool:
    """An inner map of this kind is known by what it was found as (Reg.size): its timers call back with itself only."""
    return m.template and bool(m.record.kinds & _CALLING_BACK)


def touched(w: Walk, m: MapInfo, reg: Reg, off: int, size: int, *, direct: bool) -> Field | None:
    """The kernel pointer that an access of a value reads or writes, None for plain bytes. Rejects all other fields."""
    if not m.record.fields:
        return None
    low, high = reg.off + off + reg.smin, reg.off + off + reg.umax + size
    for field in m.record.fields:
        if not (low < field.offset + field.size and field.offset < high):
            continue
        if not field.kind & Special.POINTER:
            w.reject(f"{_NAMES[field.kind]} cannot be accessed directly by load/store")
        name = "uptr" if field.kind is Special.UPTR else "kptr"
        if not direct:
            w.reject(f"{name} cannot be accessed indirectly by helper")
        if not reg.is_const:
            w.reject(f"{name} access cannot have variable offset")
        at = reg.off + off + st.s64(reg.value)
        if at != field.offset:
            w.reject(f"{name} access misaligned expected={field.offset} off={at}")
        if size != 8:
            w.reject(f"{name} access size must be BPF_DW")
        return field
    return None


def kptr_access(w: Walk, field: Field, value: Reg | None) -> Reg:
    """A load of a kernel pointer from a value, or a store of `value` there. Rejects all stores but of NULL."""
    if value is not None:
        if field.kind is not Special.KPTR_UNREF:
            w.reject("store to referenced kptr disallowed")
        if value.type != st.SCALAR or not value.is_const or value.value:
            w.reject("storing other than NULL into a kptr is not supported by bpfjit")
        return value
    btf = w.env.kernel_btf
    if not field.in_kernel or btf is None or field.kind is Special.UPTR:
        w.reject("loading a pointer to a program's own object from a map is not supported by bpfjit", errno.EINVAL)
    kept = field.kind is Special.KPTR_REF and in_rcu(w) and btf.type(field.type_id).name in _RCU_KEEPS
    r = st.pointer(T.BTF, OR_NULL | (RCU if kept else UNTRUSTED))
    r.btf_id, r.id = field.type_id, w.new_id()
    return r


def _at(w: Walk, regno: int, reg: Reg, kind: Special) -> MapInfo:
    """The map whose field of that kind a register points to. Rejects."""
    name = _NAMES[kind]
    if reg.type != T.MAP_VALUE or reg.flags & OR_NULL:
        w.reject(f"R{regno} type={type_name(reg)} expected=map_value{', ptr_' if kind is Special.SPIN_LOCK else ''}")
    if not reg.is_const:
        w.reject(f"R{regno} doesn't have constant offset. {name} has to be at the constant offset", errno.EINVAL)
    m = w.program.maps[reg.map]
    if not m.has_btf:
        w.reject(f"map '{m.name}' has to have BTF in order to use {name}", errno.EINVAL)
    field = m.record.one(kind)
    if field is None:
        w.reject(f"map '{m.name}' has no valid {name}", errno.EINVAL)
    at = reg.off + st.s64(reg.value)
    if at != field.offset:
        w.reject(f"off {at} doesn't point to 'struct {name}' that is at {field.offset}", errno.EINVAL)
    return m


def lock(w: Walk, regno: int, reg: Reg, *, take: bool) -> None:
    """bpf_spin_lock() and bpf_spin_unlock() of a map's value."""
    _at(w, regno, reg, Special.SPIN_LOCK)
    held = w.state.held
    mine = next((r for r in held.refs if r.kind is RefKind.LOCK), None)
    if take:
        if mine is not None:
            w.reject("Locking two bpf_spin_locks are not allowed", errno.EINVAL)
        w.state.held = replace(held, refs=(*held.refs, Ref(reg.id, w.pc, RefKind.LOCK, reg.map)))
        return
    if mine is None:
        w.reject("bpf_spin_unlock without taking a lock", errno.EINVAL)
    if (mine.id, mine.place) != (reg.id, reg.map):
        w.reject("bpf_spin_unlock of different lock", errno.EINVAL)
    w.state.held = replace(held, refs=tuple(r for r in held.refs if r is not mine))
    change_regs(w.state.frames, lambda r: invalid(w) if r.flags & NON_OWN else r)


def timer(w: Walk, regno: int, reg: Reg) -> None:
    """A timer argument: it lies in a map's value."""
    _at(w, regno, reg, Special.TIMER)
