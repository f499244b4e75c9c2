"""Lists and trees of a program's own objects: bpf_list_*() and bpf_rbtree_*(), under the lock beside their root.

What goes in is owned and from then on borrowed; what comes out is owned; what is only looked at is borrowed, as the two
objects that a tree's callback compares. Source: Linux 6.18's rules, in its words.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from ..btf import Field, Special
from ..btf.types import Param
from . import held, locks, objects
from . import state as st
from .state import ALLOC, LOCAL, NON_OWN, OR_NULL, Reg, T

if TYPE_CHECKING:
    from .kfuncs import KfuncSite

NODES = frozenset({"bpf_list_node", "bpf_rb_node"})  # what results that are objects point to
_OWNED = ALLOC | LOCAL
_ADDS = frozenset({"bpf_list_push_front_impl", "bpf_list_push_back_impl", "bpf_rbtree_add_impl"})
_OFFSET = {"bpf_rbtree_add_impl": 5}  # in which register an addition is told the node's offset, else r4
_LIST = (Special.LIST_HEAD, Special.LIST_NODE)
_TREE = (Special.RB_ROOT, Special.RB_NODE)


def list_head(site: KfuncSite, i: int, p: Param, reg: Reg) -> None:
    _root(site, i, reg, Special.LIST_HEAD)


def tree_root(site: KfuncSite, i: int, p: Param, reg: Reg) -> None:
    _root(site, i, reg, Special.RB_ROOT)


def _root(site: KfuncSite, i: int, reg: Reg, kind: Special) -> None:
    w, regno, name = site.w, i + 1, objects.field_name(kind)
    own = reg.type == T.BTF and reg.flags == _OWNED
    if not own and (reg.type != T.MAP_VALUE or reg.flags & OR_NULL):
        w.reject(f"arg#{i} expected pointer to map value or allocated object", errno.EINVAL)
    if own and not reg.ref:
        w.reject("allocated object must be referenced", errno.EINVAL)
    if not reg.is_const:
        w.reject(f"R{regno} doesn't have constant offset. {name} has to be at the constant offset", errno.EINVAL)
    at = reg.off + st.s64(reg.value)
    record = locks.record_at(w, reg)
    field = record.at(at)
    if field is None or field.kind is not kind:
        w.reject(f"{name} not found at offset={at}", errno.EINVAL)
    mine = locks.holds_lock_of(w, reg)
    if not mine:
        lock = record.one(Special.SPIN_LOCK | Special.RES_SPIN_LOCK)
        assert lock is not None
        said = "held lock and object are not in the same allocation\n" if mine is False else ""
        w.reject(f"{said}bpf_spin_lock at off={lock.offset} must be held for {name}", errno.EINVAL)
    site.root = field


def list_node(site: KfuncSite, i: int, p: Param, reg: Reg) -> None:
    _check_owned(site, i, reg)
    _node(site, i, reg, *_LIST)


def tree_node(site: KfuncSite, i: int, p: Param, reg: Reg) -> None:
    w = site.w
    if site.name in _ADDS:
        _check_owned(site, i, reg)
    else:
        if reg.type != T.BTF or not (reg.flags & NON_OWN or reg.ref):
            w.reject(f"{site.name} can only take non-owning or refcounted bpf_rb_node pointer", errno.EINVAL)
        if locks.in_less(w):
            w.reject(f"{site.name} not allowed in rbtree cb", errno.EINVAL)
    _node(site, i, reg, *_TREE)


def _check_owned(site: KfuncSite, i: int, reg: Reg) -> None:
    if reg.type != T.BTF or reg.flags != _OWNED:
        site.w.reject(f"arg#{i} expected pointer to allocated object", errno.EINVAL)
    if not reg.ref:
        site.w.reject("allocated object must be referenced", errno.EINVAL)


def _node(site: KfuncSite, i: int, reg: Reg, root_kind: Special, kind: Special) -> None:
    w, root = site.w, site.root
    assert root is not None, "the root is the argument before"
    name = objects.field_name(kind)
    if not reg.is_const:
        w.reject(f"R{i + 1} doesn't have constant offset. {name} has to be at the constant offset", errno.EINVAL)
    at = reg.off + st.s64(reg.value)
    field = objects.record_of(w, reg).at(at) if reg.flags & LOCAL else None
    if field is None or field.kind is not kind:
        w.reject(f"{name} not found at offset={at}", errno.EINVAL)
    btf = objects.types_of(w, reg)
    wanted = btf.type(root.type_id).name
    if btf.skip(reg.btf_id) != root.type_id:
        w.reject(
            f"operation on {objects.field_name(root_kind)} expects arg#1 {name} at offset={root.node_offset} "
            f"in struct {wanted}, but arg is at offset={at} in struct {btf.type(btf.skip(reg.btf_id)).name}",
            errno.EINVAL,
        )
    if at != root.node_offset:
        w.reject(f"arg#1 offset={at}, but expected {name} at offset={root.node_offset} in struct {wanted}", errno.EINVAL)
    if site.name in _ADDS:
        site.hidden[_OFFSET.get(site.name, 4)] = at


def added(site: KfuncSite) -> None:
    """What has gone into a list or tree is borrowed from it."""
    w = site.w
    if site.name not in _ADDS:
        return
    ref = w.regs[2].ref
    held.drop(w.state, ref)
    held.change_regs(w.state.frames, lambda r: objects.borrowed(w, r) if r.ref == ref else r)


def node_result(site: KfuncSite) -> Reg:
    """A pointer to a node: to the object that it lies in."""
    root = site.root
    assert root is not None
    r = objects.made(root.type_id, root.node_offset)
    return r if site.acquires else objects.borrowed(site.w, r)


def less_args(site: KfuncSite) -> list[Reg]:
    """r1-r5 of the callback that compares: two objects of the tree."""
    root: Field | None = site.root
    assert root is not None
    r = objects.borrowed(site.w, objects.made(root.type_id, root.node_offset))
    return [r, r, st.UNINIT, st.UNINIT, st.UNINIT]
