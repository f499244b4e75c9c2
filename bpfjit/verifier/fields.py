"""Special fields of map values: which accesses may touch them, timers, and which programs may use such maps."""

from __future__ import annotations

import errno

from ..btf import Field, Special
from ..program import MapInfo, Program
from ..spec.kinds import MapType
from . import objects
from . import state as st
from .held import in_rcu
from .log import type_name
from .refusal import Refusal
from .state import ALLOC, LOCAL, NON_OWN, OR_NULL, PERCPU, RCU, UNTRUSTED, Reg, T
from .walk import Walk

_CALLING_BACK = Special.TIMER | Special.WORKQUEUE | Special.TASK_WORK
LOCKS = Special.SPIN_LOCK | Special.RES_SPIN_LOCK
_TRACING = frozenset({"kprobe", "tracepoint", "perf_event", "raw_tracepoint", "raw_tracepoint_writable"})
_NOT_YET = (
    (Special.GRAPH_ROOT, "bpf_{list_head,rb_root}"),
    (LOCKS, "bpf_spin_lock"),
    (Special.TIMER, "bpf_timer"),
    (Special.WORKQUEUE, "bpf_wq"),
)
# Kernel structures that an RCU read section keeps: a pointer to one, read from a map, is good there.
_RCU_KEEPS = frozenset({"task_struct", "cgroup", "bpf_cpumask", "bpf_crypto_ctx", "prog_test_ref_kfunc"})


def check_maps(program: Program) -> None:
    """Whether a program of this kind may use its maps at all. Raises Refusal."""
    storages = [m.type.id for m in program.maps if "local_storage" in m.type.uses]
    if len(set(storages)) < len(storages):
        raise Refusal("only one cgroup storage of each type is allowed", errno.EBUSY)
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
            w.reject(f"{objects.field_name(field.kind)} cannot be accessed directly by load/store")
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


def kptr_access(w: Walk, field: Field, value: Reg | None, value_regno: int) -> Reg:
    """A load of a kernel pointer from a value, or a store of `value` (of register `value_regno`) there. Rejects."""
    if value is not None:
        if field.kind is Special.UPTR:
            w.reject("store to uptr disallowed")
        if field.kind is not Special.KPTR_UNREF:
            w.reject("store to referenced kptr disallowed")
        if value.type == st.SCALAR and value.is_const and not value.value:
            w.precise(value_regno)
        elif value_regno < 0:
            w.reject(f"BPF_ST imm must be 0 when storing to kptr at off={field.offset}")
        else:
            objects.match_kptr(w, value_regno, value, objects.Slot(field.kind, field.type_id, field.in_kernel))
        return value
    if field.kind is Special.UPTR:
        w.reject("loading a pointer to user memory from a map is not supported by bpfjit", errno.EINVAL)
    r = st.pointer(T.BTF, OR_NULL | (0 if field.in_kernel else LOCAL))
    r.btf_id, r.id = field.type_id, w.new_id()
    if not _kept(w, field):
        r.flags |= UNTRUSTED
        return r
    r.flags |= RCU
    if field.kind is Special.KPTR_PERCPU:
        r.flags |= PERCPU
    elif not field.in_kernel:
        r.flags |= ALLOC
        if objects.record_of(w, r).kinds & Special.GRAPH_NODE:
            r.flags |= NON_OWN
    return r


def _kept(w: Walk, field: Field) -> bool:
    """What the pointer leads to stays for the rest of the read section."""
    if not in_rcu(w) or field.kind is Special.KPTR_UNREF:
        return False
    btf = w.env.kernel_btf
    return (
        field.kind is Special.KPTR_PERCPU
        or not field.in_kernel
        or (btf is not None and btf.type(field.type_id).name in _RCU_KEEPS)
    )


def timer(w: Walk, regno: int, reg: Reg) -> None:
    """A timer argument: it lies in a map's value."""
    if reg.type != T.MAP_VALUE or reg.flags & OR_NULL:
        w.reject(f"R{regno} type={type_name(reg)} expected=map_value")
    only_one(w, regno, reg, Special.TIMER, "bpf_timer")


def only_one(w: Walk, regno: int, reg: Reg, kind: Special, name: str) -> None:
    """A map's value at the field of a kind of which it has one. Rejects."""
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
