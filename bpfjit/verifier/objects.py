"""Objects of types that only the program knows: made by bpf_obj_new(), owned by the program, a map's value, a list or tree.

Such a pointer has the flags ALLOC and LOCAL (its btf_id is the program's): with a reference it is owned; NON_OWN borrows
from a list or tree under its lock; RCU was read from a map's value in a read section. LOCAL and UNTRUSTED without ALLOC is
one that may be stale. Source: Linux 6.18's rules for graph nodes and kptrs, and its words.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NamedTuple

from ..btf import NO_FIELDS, Btf, Kind, Record, Special
from ..btf.types import Param, Type
from ..errors import BtfError
from ..program import Region, StructRef
from . import btf_walk, held
from . import state as st
from .log import tnum_text, type_name
from .state import ALLOC, LOCAL, NON_OWN, OR_NULL, PERCPU, RCU, UNTRUSTED, Reg, T
from .walk import Walk

if TYPE_CHECKING:
    from .kfuncs import KfuncSite

_MAX_PERCPU_BYTES = 512  # BPF_GLOBAL_PERCPU_MA_MAX_SIZE
_FIELD_NAMES = {
    Special.SPIN_LOCK: "bpf_spin_lock",
    Special.RES_SPIN_LOCK: "bpf_res_spin_lock",
    Special.TIMER: "bpf_timer",
    Special.WORKQUEUE: "bpf_wq",
    Special.TASK_WORK: "bpf_task_work",
    Special.KPTR_UNREF: "kptr",
    Special.KPTR_REF: "kptr",
    Special.KPTR_PERCPU: "percpu_kptr",
    Special.UPTR: "uptr",
    Special.LIST_HEAD: "bpf_list_head",
    Special.LIST_NODE: "bpf_list_node",
    Special.RB_ROOT: "bpf_rb_root",
    Special.RB_NODE: "bpf_rb_node",
    Special.REFCOUNT: "bpf_refcount",
}


def field_name(kind: Special) -> str:
    return _FIELD_NAMES[kind]


def types_of(w: Walk, reg: Reg) -> Btf:
    """The BTF that a pointer's btf_id is of."""
    found = w.program.btf if reg.flags & LOCAL else w.env.kernel_btf
    assert found is not None
    return found


def record_of(w: Walk, reg: Reg) -> Record:
    return w.program.structs.get(reg.btf_id, NO_FIELDS)  # type: ignore[call-overload, no-any-return]


def is_object(reg: Reg) -> bool:
    """A pointer to an object of the program's own that is surely there, in whoever's hands."""
    return reg.type == T.BTF and bool(reg.flags & ALLOC) and not reg.flags & (UNTRUSTED | OR_NULL)


def is_lockable(w: Walk, reg: Reg) -> bool:
    """Pointers to such objects keep their identity, by which a lock in them is known."""
    return bool(reg.flags & LOCAL and record_of(w, reg).kinds & (Special.SPIN_LOCK | Special.RES_SPIN_LOCK))


def made(btf_id: int, off: int = 0) -> Reg:
    r = st.pointer(T.BTF, ALLOC | LOCAL)
    r.btf_id, r.off = btf_id, off
    return r


def borrowed(w: Walk, reg: Reg) -> Reg:
    """The same pointer without its reference: good as long as the lock is held, longer where the object is counted."""
    r = reg.copy()
    r.ref = 0
    r.flags |= NON_OWN | (RCU if record_of(w, reg).kinds & Special.REFCOUNT else 0)
    return r


def forget_borrowed(w: Walk) -> None:
    """The lock is given back: what was borrowed under it may be gone."""
    held.change_regs(w.state.frames, lambda r: held.invalid(w) if r.flags & NON_OWN else r)


# -- loads and stores ------------------------------------------------------------------------------------


def access(w: Walk, reg: Reg, regno: int, off: int, size: int, *, write: bool) -> Reg | None:
    """A load or store through a pointer to a type of the program's own: the pointer that is loaded, None for a number.

    Rejects.
    """
    btf = types_of(w, reg)
    name = btf.type(btf.skip(reg.btf_id)).name
    where = f"R{regno} is ptr_{name}"
    if reg.off + off < 0:
        w.reject(f"{where} invalid negative access: off={reg.off + off}")
    if not reg.is_const or reg.value:
        w.reject(f"{where} invalid variable offset: off={reg.off + off}, var_off={tnum_text(reg.value, reg.mask)}")
    at = reg.off + off
    if reg.flags & PERCPU:
        w.reject(f"{where} access percpu memory: off={at}")
    if write and (reg.flags & UNTRUSTED or not reg.flags & ALLOC):
        w.reject("only read is supported")
    sure = bool(reg.ref or reg.flags & (NON_OWN | RCU)) and not reg.flags & UNTRUSTED
    if reg.flags & ALLOC:
        if not sure:
            w.reject("verifier internal error: ref_obj_id for allocated object must be non-zero", errno.EFAULT)
        field = record_of(w, reg).overlapping(at, size)
        if field is not None:
            w.reject(f"direct access to {field_name(field.kind)} is disallowed")
    found = btf_walk.member_at(btf, reg.btf_id, at, size, w.pc)
    w.touch(Region.KERNEL if sure else Region.PROBE)
    if write or not found.btf_id or reg.flags & ALLOC:
        return None
    r = st.pointer(T.BTF, UNTRUSTED | LOCAL)
    r.btf_id = found.btf_id
    return r


# -- bpf_obj_new(), bpf_obj_drop(), bpf_refcount_acquire() -----------------------------------------------------


def alloc_argument(site: KfuncSite, i: int, p: Param, reg: Reg) -> None:
    """`__alloc`: an object that is owned, to be dropped."""
    w, regno = site.w, i + 1
    site.check_trust(regno, reg)
    site.check_offset(regno, reg)
    percpu = reg.flags == ALLOC | LOCAL | PERCPU
    if reg.type != T.BTF or not (percpu or reg.flags == ALLOC | LOCAL):
        w.reject(f"arg#{i} expected pointer to allocated object", errno.EINVAL)
    wanted = "bpf_percpu_obj_drop_impl" if percpu else "bpf_obj_drop_impl"
    if site.name != wanted:
        w.reject(f"arg#{i} expected for {wanted}()", errno.EINVAL)
    if not reg.ref:
        w.reject("allocated object must be referenced", errno.EINVAL)


def refcounted_argument(site: KfuncSite, i: int, p: Param, reg: Reg) -> None:
    """`__refcounted_kptr`: an object with a count, owned or borrowed."""
    w = site.w
    if not is_object(reg):
        w.reject(f"arg#{i} is neither owning or non-owning ref", errno.EINVAL)
    if not record_of(w, reg).kinds & Special.REFCOUNT:
        w.reject(f"arg#{i} doesn't point to a type with bpf_refcount field", errno.EINVAL)
    site.obj = reg


def new(site: KfuncSite) -> Reg:
    """bpf_obj_new(): an object, or NULL."""
    type_id, t = _allocated(site)
    site.hidden |= {1: t.size, 2: StructRef(type_id)}
    return made(type_id)


def new_percpu(site: KfuncSite) -> Reg:
    """bpf_percpu_obj_new(): one of plain numbers for each CPU."""
    w = site.w
    type_id, t = _allocated(site)
    what = "bpf_percpu_obj_new type"
    if t.size > _MAX_PERCPU_BYTES:
        w.reject(f"{what} size ({t.size}) is greater than {_MAX_PERCPU_BYTES}", errno.EINVAL)
    assert w.program.btf is not None
    if not site.is_plain(w.program.btf, t):
        w.reject(f"{what} ID argument must be of a struct of scalars", errno.EINVAL)
    if type_id in w.program.structs:
        w.reject(f"{what} ID argument must not contain special fields", errno.EINVAL)
    site.hidden |= {1: t.size, 2: StructRef(type_id)}
    r = made(type_id)
    r.flags |= PERCPU
    return r


def _allocated(site: KfuncSite) -> tuple[int, Type]:
    """The structure whose id is the constant argument."""
    w, type_id = site.w, site.constant or 0
    if type_id > 0xFFFFFFFF:
        w.reject("local type ID argument must be in range [0, U32_MAX]", errno.EINVAL)
    if w.program.btf is None:
        w.reject("bpf_obj_new/bpf_percpu_obj_new requires prog BTF", errno.EINVAL)
    try:
        t = w.program.btf.type(type_id)
    except BtfError:
        t = Type(Kind.VOID)
    if t.kind is not Kind.STRUCT:
        w.reject("bpf_obj_new/bpf_percpu_obj_new type ID argument must be of a struct", errno.EINVAL)
    return type_id, t


def counted(site: KfuncSite) -> Reg:
    """bpf_refcount_acquire(): one more reference; of what is only borrowed it may fail."""
    reg = site.obj
    assert reg is not None
    if reg.ref and not reg.flags & NON_OWN:
        site.never_null = True
    return made(reg.btf_id)


# -- kernel pointers in values and objects -----------------------------------------------------------------


class Slot(NamedTuple):
    """Where a pointer is kept: what kind, the type that it points to, whether that is the kernel's."""

    kind: Special
    type_id: int
    in_kernel: bool


def kptr_slot(w: Walk, regno: int, reg: Reg) -> Slot:
    """bpf_kptr_xchg()'s first argument. Rejects."""
    own = reg.type == T.BTF and reg.flags == ALLOC | LOCAL
    if not own and (reg.type != T.MAP_VALUE or reg.flags & OR_NULL):
        w.reject(f"R{regno} type={type_name(reg)} expected=map_value, ptr_")
    if own:
        record = record_of(w, reg)
    else:
        m = w.program.maps[reg.map]
        if not m.has_btf:
            w.reject(f"map '{m.name}' has to have BTF in order to use bpf_kptr_xchg", errno.EINVAL)
        record = m.record
    if not reg.is_const:
        w.reject(f"R{regno} doesn't have constant offset. kptr has to be at the constant offset", errno.EINVAL)
    if not record.kinds & Special.KPTR:
        w.reject(f"R{regno} has no valid kptr", errno.EINVAL)
    at = reg.off + st.s64(reg.value)
    field = record.at(at)
    if field is None or not field.kind & Special.KPTR:
        w.reject(f"off={at} doesn't point to kptr")
    if field.kind is Special.KPTR_UNREF:
        w.reject(f"off={at} kptr isn't referenced kptr")
    return Slot(field.kind, field.type_id, field.in_kernel)


def check_kptr(w: Walk, regno: int, reg: Reg, slot: Slot | None) -> None:
    """bpf_kptr_xchg()'s second argument, which goes where the first one points. Rejects."""
    assert slot is not None
    plain = reg.flags & ~(OR_NULL | ALLOC | LOCAL | PERCPU)
    if reg.type != T.BTF or plain not in (0, st.TRUSTED, RCU):
        w.reject(f"R{regno} type={type_name(reg)} expected=ptr_, trusted_ptr_, rcu_ptr_")
    if reg.flags & OR_NULL:
        w.reject(f"Possibly NULL pointer passed to helper arg{regno}")
    match_kptr(w, regno, reg, slot)


def match_kptr(w: Walk, regno: int, reg: Reg, slot: Slot) -> None:
    """Whether a pointer may be put where a kernel pointer of that kind and type lies. Rejects."""
    wanted_btf = w.env.kernel_btf if slot.in_kernel else w.program.btf
    assert wanted_btf is not None
    percpu, unowned = slot.kind is Special.KPTR_PERCPU, slot.kind is Special.KPTR_UNREF
    allowed = OR_NULL | ALLOC | LOCAL | (PERCPU if percpu else 0)
    if not reg.flags & LOCAL:
        allowed = OR_NULL | st.TRUSTED | RCU | (UNTRUSTED if unowned else 0)
    known = reg.type == T.BTF and not reg.flags & ~allowed
    if known and percpu == bool(reg.flags & PERCPU):
        if reg.off < 0 or not reg.is_const or reg.value:
            w.reject(f"variable {type_name(reg)} access var_off={tnum_text(reg.value, reg.mask)} disallowed")
        if bool(reg.flags & LOCAL) != slot.in_kernel and _same_type(wanted_btf, reg, slot.type_id, strict=not unowned):
            return
    found = types_of(w, reg).resolve(reg.btf_id).name if known else ""
    wanted = wanted_btf.resolve(slot.type_id).name
    text = f"invalid kptr access, R{regno} type={type_name(reg)}{found} expected=ptr_{wanted}"
    w.reject(text + (f" or untrusted_ptr_{wanted}" if unowned else ""))


def _same_type(btf: Btf, reg: Reg, type_id: int, *, strict: bool) -> bool:
    wanted = btf.skip(type_id)
    if reg.off == 0 and btf.skip(reg.btf_id) == wanted:
        return True
    return not strict and not reg.flags & ALLOC and btf_walk.holds(btf, reg.btf_id, reg.off, btf.type(wanted).name)


def taken_out(slot: Slot) -> Reg:
    """What bpf_kptr_xchg() returns: what was there, owned now, or NULL."""
    r = st.pointer(T.BTF, OR_NULL)
    r.btf_id = slot.type_id
    if not slot.in_kernel:
        r.flags |= ALLOC | LOCAL | (PERCPU if slot.kind is Special.KPTR_PERCPU else 0)
    return r


def given_away(w: Walk, ref: int) -> None:
    """The reference is a map's or object's now; in a read section per-CPU objects may still be looked at."""
    in_rcu = held.in_rcu(w)

    def change(r: Reg) -> Reg:
        if r.ref != ref:
            return r
        if in_rcu and r.flags & ALLOC and r.flags & PERCPU:
            r = r.copy()
            r.ref, r.flags = 0, r.flags & ~ALLOC | RCU
            return r
        return held.invalid(w)

    if ref:
        held.drop(w.state, ref)
        held.change_regs(w.state.frames, change)


# -- memory that each CPU has its own of -----------------------------------------------------------------------


def percpu_argument(w: Walk, regno: int, reg: Reg) -> Reg:
    """The argument of bpf_per_cpu_ptr() and bpf_this_cpu_ptr(). Rejects."""
    if reg.type != T.BTF or reg.flags & ~LOCAL not in (PERCPU, PERCPU | RCU, PERCPU | st.TRUSTED):
        w.reject(f"R{regno} type={type_name(reg)} expected=percpu_ptr_, percpu_rcu_ptr_, percpu_trusted_ptr_")
    return reg


def cpus_own(w: Walk, reg: Reg, *, or_null: bool) -> Reg:
    """What one CPU has: an object that may be written while the read section lasts, or a variable of the kernel's."""
    btf = types_of(w, reg)
    t = btf.resolve(reg.btf_id)
    if t.kind is not Kind.STRUCT:
        r = st.pointer(T.MEM, st.RDONLY)
        r.size = btf.size_of(reg.btf_id)
    else:
        r = st.pointer(T.BTF, ALLOC | LOCAL | RCU if reg.flags & RCU else 0)
        r.btf_id = reg.btf_id
    if or_null:  # Linux forgets it for objects: a CPU that is not there would be written to
        r.flags, r.id = r.flags | OR_NULL, w.new_id()
    return r
