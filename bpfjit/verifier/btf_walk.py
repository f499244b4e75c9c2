"""Reading through pointers to kernel structures: what member an offset is, and how far it may be trusted.

Source: Linux 6.18's rules for BTF pointers: a member read from a trusted structure is trusted only where
the kernel says that it stays valid; elsewhere it is a plain pointer whose loads may hit NULL or stale memory.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

from ..btf import VOID, Btf, BtfId, Kind
from ..btf.types import COMPOSITES, Member
from ..spec.trust import RCU_MEMBERS, RCU_OR_NULL_MEMBERS, TRUSTED_MEMBERS, TRUSTED_OR_NULL_MEMBERS
from .refusal import Refusal
from .state import OR_NULL, RCU, TRUSTED, UNTRUSTED


@dataclass(frozen=True, slots=True)
class Found:
    """What lies at an offset: a scalar (btf_id 0) or a pointer to a structure, and the member's name.

    elsewhere: it is a pointer to what is no structure.
    """

    btf_id: BtfId
    member: str
    elsewhere: bool = False


def member_at(btf: Btf, struct_id: int, off: int, size: int, pc: int) -> Found:
    """The scalar or pointer that `size` bytes at `off` read. Raises Refusal outside the structure."""
    t = btf.resolve(struct_id)
    name = t.name or "(anon)"
    if t.kind not in COMPOSITES:
        raise Refusal(f"Type '{name}' is not a struct", errno.EINVAL, pc)
    if off + size > t.size:
        last = t.members[-1] if t.members else None
        flexible = last is not None and btf.resolve(last.type_id).kind is Kind.ARRAY and not btf.resolve(last.type_id).nelems
        if last is None or not flexible or off < last.bit_offset // 8:
            raise Refusal(f"access beyond struct {name} at off {off} size {size}", errno.EACCES, pc)
        return _inside(btf, last, off, size, name, pc)
    for m in t.members:
        at = m.bit_offset // 8
        if m.bitfield_bits:
            first, end = m.bit_offset // 8, (m.bit_offset + m.bitfield_bits + 7) // 8
            if off < end and off + size > first:
                return Found(VOID, m.name)
            continue
        end = at + _member_bytes(btf, m.type_id)
        if off >= end:
            continue
        if off < at:
            break
        if off + size > end and t.kind is Kind.UNION:
            continue
        return _inside(btf, m, off, size, name, pc)
    raise Refusal(f"struct {name} doesn't have field at offset {off}", errno.EINVAL, pc)


def holds(btf: Btf, type_id: int, off: int, wanted: str) -> bool:
    """Whether a structure is a `wanted` (off 0), or has one at that offset."""
    t = btf.resolve(type_id)
    if t.kind is Kind.ARRAY:
        return holds(btf, t.ref, off % (btf.size_of(t.ref) or 1), wanted)
    if t.kind not in COMPOSITES or off >= max(t.size, 1):
        return False
    if off == 0 and t.name == wanted:
        return True
    inside = ((m, off - m.bit_offset // 8) for m in t.members if not m.bitfield_bits)
    return any(at >= 0 and holds(btf, m.type_id, at, wanted) for m, at in inside)


def _member_bytes(btf: Btf, type_id: int) -> int:
    return btf.size_of(type_id)


def _inside(btf: Btf, m: Member, struct_off: int, size: int, struct: str, pc: int) -> Found:
    """What an access at `struct_off` of the structure reads of the member that it begins in."""
    type_id, moff = m.type_id, m.bit_offset // 8
    off = struct_off - moff
    whole = btf.size_of(type_id)  # of an array, whose elements may be read across
    at = off
    inner = btf.resolve(type_id)
    while inner.kind is Kind.ARRAY:
        elem = btf.size_of(inner.ref)
        off = off % elem if elem else off
        type_id = inner.ref
        inner = btf.resolve(type_id)
    if inner.kind in COMPOSITES:
        return member_at(btf, type_id, off, size, pc)
    where = f"in struct {struct} with off {struct_off} size {size}"
    if inner.kind is Kind.PTR:
        if size != 8 or off:
            raise Refusal(f"cannot access ptr member {m.name} with moff {moff} {where}", errno.EACCES, pc)
        target = btf.skip(inner.ref)
        to_struct = btf.type(target).kind in COMPOSITES
        return Found(target if to_struct else VOID, m.name, not to_struct)
    end = whole or btf.size_of(type_id)
    if (at if whole else off) + size > end:
        raise Refusal(f"access beyond the end of member {m.name} (mend:{moff + end}) {where}", errno.EACCES, pc)
    return Found(VOID, m.name)


def member_flags(btf: Btf, struct_id: int, member: str, in_rcu: bool) -> int:
    """The flags of a pointer read from a structure that is itself trusted or in an RCU read section."""
    key = (btf.resolve(struct_id).name, member)
    if key in TRUSTED_MEMBERS:
        return TRUSTED
    if key in TRUSTED_OR_NULL_MEMBERS:
        return TRUSTED | OR_NULL
    if not in_rcu:
        return UNTRUSTED  # where a plain pointer would be let through to helpers
    if key in RCU_MEMBERS:
        return RCU
    if key in RCU_OR_NULL_MEMBERS:
        return RCU | OR_NULL
    return 0
