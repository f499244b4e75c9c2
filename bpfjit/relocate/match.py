"""Finding a local type's counterpart in another kernel's BTF, and following a field path there.

Source: the rules that libbpf states for CO-RE: names count (flavors after `___` aside), sizes and signs of
integers do not; anonymous members are looked through; all candidates must agree.
"""

from __future__ import annotations

from ..btf import Btf, BtfId, Kind, Member, Type
from ..btf.types import COMPOSITES, ENUMS, essential
from ..dataclass import dataclass
from ..errors import BtfError

_DEPTH = 32
_MAX_PAIRS = 200_000
_TAGGED = frozenset({Kind.STRUCT, Kind.UNION, Kind.FWD})


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a field path: a named member, or an index into an array."""

    name: str
    index: int
    type_id: BtfId


@dataclass(frozen=True, slots=True)
class Field:
    """What a path arrives at: its type, where it begins (bits from the root), bits if it is a bitfield."""

    type_id: BtfId
    bit_offset: int
    bitfield_bits: int
    steps: tuple[Step, ...] = ()


def parse_access(access: str) -> list[int]:
    parts = access.split(":")
    if len(parts) > 64 or not all(p.isascii() and p.isdigit() and len(p) <= 10 for p in parts):
        raise BtfError(f"CO-RE access string {access[:80]!r}")
    return [int(p) for p in parts]


def local_field(btf: Btf, root: int, access: str) -> Field:
    """Follow an access string through the object's own types. Raises BtfError where it does not fit them."""
    first, *rest = parse_access(access)
    type_id = btf.skip(root)
    bits = first * btf.size_of(type_id) * 8
    steps = [Step("", first, type_id)]
    bitfield = 0
    for index in rest:
        t = btf.resolve(type_id)
        if t.kind in COMPOSITES:
            if index >= len(t.members):
                raise BtfError(f"CO-RE access {access!r}: {t.name or 'anon'} has {len(t.members)} members")
            m = t.members[index]
            bits, bitfield, type_id = bits + m.bit_offset, m.bitfield_bits, btf.skip(m.type_id)
            if m.name:
                steps.append(Step(m.name, index, type_id))
        elif t.kind is Kind.ARRAY:
            if index >= t.nelems > 0:
                raise BtfError(f"CO-RE access {access!r}: an array of {t.nelems}")
            type_id = btf.skip(t.ref)
            bits, bitfield = bits + index * btf.size_of(type_id) * 8, 0
            steps.append(Step("", index, type_id))
        else:
            raise BtfError(f"CO-RE access {access!r} goes into {t.kind.name} {t.name}")
    return Field(type_id, bits, bitfield, tuple(steps))


def target_field(local: Btf, path: Field, btf: Btf, root: int) -> Field | None:
    """The same path from `root` of the target kernel's types; None where it has no such field."""
    type_id = btf.skip(root)
    bits = path.steps[0].index * _size_or_zero(btf, type_id) * 8
    bitfield = 0
    steps = path.steps[1:]
    last: Member | None = None
    for step in steps:
        t = btf.resolve(type_id)
        if step.name:
            found = _member(btf, t, step.name, 0)
            if found is None or not _fields_agree(local, step.type_id, btf, found[0].type_id):
                return None
            m, offset = found
            bits, bitfield, type_id = bits + offset, m.bitfield_bits, btf.skip(m.type_id)
            last = m
        else:
            if t.kind is not Kind.ARRAY:
                return None
            flexible = t.nelems == 0 and last is not None
            if step.index >= t.nelems and not flexible:
                return None
            type_id = btf.skip(t.ref)
            bits, bitfield = bits + step.index * btf.size_of(type_id) * 8, 0
    return Field(type_id, bits, bitfield)


def _size_or_zero(btf: Btf, type_id: int) -> int:
    try:
        return btf.size_of(type_id)
    except BtfError:
        return 0


def _member(btf: Btf, t: Type, name: str, depth: int, seen: set[int] | None = None) -> tuple[Member, int] | None:
    """A member by name, anonymous structs and unions looked through; with its bits from `t`'s start."""
    if t.kind not in COMPOSITES or depth > _DEPTH:
        return None
    seen = set() if seen is None else seen
    for m in t.members:
        if m.name == name:
            return m, m.bit_offset
        # What has been searched once, without finding it, is not searched again.
        if not m.name and m.type_id not in seen:
            seen.add(m.type_id)
            inner = _member(btf, btf.resolve(m.type_id), name, depth + 1, seen)
            if inner is not None:
                return inner[0], m.bit_offset + inner[1]
    return None


def _fields_agree(local: Btf, local_id: int, btf: Btf, type_id: int) -> bool:
    """Whether a target member's type can stand for the local one's."""
    for _ in range(_DEPTH):
        a, b = local.resolve(local_id), btf.resolve(type_id)
        if a.kind in COMPOSITES and b.kind in COMPOSITES:
            return True
        enum_or_int = {Kind.INT, Kind.ENUM, Kind.ENUM64}
        if a.kind is not b.kind:
            return a.kind in ENUMS and b.kind in ENUMS and _same_name(a, b) if {a.kind, b.kind} <= enum_or_int else False
        if a.kind is Kind.ARRAY:
            local_id, type_id = a.ref, b.ref
            continue
        if a.kind in ENUMS or a.kind is Kind.FWD:
            return _same_name(a, b)
        if a.kind is Kind.INT:
            return not a.bit_offset and not b.bit_offset
        return a.kind in (Kind.PTR, Kind.FLOAT)
    return False


def _same_name(a: Type, b: Type) -> bool:
    return not a.name or not b.name or essential(a.name) == essential(b.name)


def candidates(local: Btf, root: int, btf: Btf) -> list[BtfId]:
    """The target kernel's types that the local root may be, by name (flavors aside on both sides) and kind."""
    t = local.type(local.skip_quals(root))
    name = essential(t.name)
    if not name:
        return []
    kinds = ENUMS if t.kind in ENUMS else {t.kind}
    return [i for i in btf.flavors(name) if btf.kind_of(i) in kinds]


class _Pairs:
    """Comparing types of two tables, so many at most that a hostile table ends in an error."""

    def __init__(self, local: Btf, btf: Btf) -> None:
        self.local = local
        self.btf = btf
        self._left = _MAX_PAIRS

    def _next(self, local_id: int, type_id: int) -> tuple[Type, Type]:
        self._left -= 1
        if self._left < 0:
            raise BtfError(f"comparing {self.local.describe(local_id)} takes more than {_MAX_PAIRS} steps")
        return self.local.resolve(local_id), self.btf.resolve(type_id)

    def agree(self, local_id: int, type_id: int, depth: int = 0) -> bool:
        if depth > _DEPTH:
            return False
        a, b = self._next(local_id, type_id)
        if a.kind is not b.kind and not (a.kind in ENUMS and b.kind in ENUMS):
            return False
        if a.kind is Kind.INT:
            return not a.bit_offset and not b.bit_offset
        if a.kind in (Kind.PTR, Kind.ARRAY):
            return self.agree(a.ref, b.ref, depth + 1)
        if a.kind is Kind.FUNC_PROTO:
            if len(a.params) != len(b.params):
                return False
            pairs = [(x.type_id, y.type_id) for x, y in zip(a.params, b.params, strict=True)]
            return all(self.agree(x, y, depth + 1) for x, y in [*pairs, (a.ref, b.ref)])
        return True

    def match(self, local_id: int, type_id: int, depth: int = 0, behind_ptr: bool = False) -> bool:
        if depth > _DEPTH:
            return False
        a, b = self._next(local_id, type_id)
        if essential(a.name) != essential(b.name):
            return False
        if a.kind in ENUMS and b.kind in ENUMS:
            names = {essential(v.name) for v in b.values}
            return all(essential(v.name) in names for v in a.values)
        if behind_ptr and {a.kind, b.kind} <= _TAGGED:
            # Behind a pointer only struct or union counts, a forward declaration being either.
            return _is_union(a) == _is_union(b)
        if a.kind is not b.kind:
            return False
        if a.kind in COMPOSITES:
            return len(a.members) <= len(b.members) and all(self._has(b, m, depth) for m in a.members)
        if a.kind is Kind.FWD:
            return a.fwd_union == b.fwd_union
        if a.kind is Kind.INT:
            return a.size == b.size and a.signed == b.signed
        if a.kind is Kind.PTR:
            return self.match(a.ref, b.ref, depth + 1, True)
        if a.kind is Kind.ARRAY:
            return a.nelems == b.nelems and self.match(a.ref, b.ref, depth + 1, behind_ptr)
        if a.kind is Kind.FUNC_PROTO:
            if len(a.params) != len(b.params):
                return False
            pairs = [(x.type_id, y.type_id) for x, y in zip(a.params, b.params, strict=True)]
            return all(self.match(x, y, depth + 1, behind_ptr) for x, y in [*pairs, (a.ref, b.ref)])
        return True

    def _has(self, target: Type, m: Member, depth: int) -> bool:
        name = essential(m.name)
        return any(essential(x.name) == name and self.match(m.type_id, x.type_id, depth + 1) for x in target.members)


def _is_union(t: Type) -> bool:
    return t.kind is Kind.UNION or t.fwd_union


def types_agree(local: Btf, local_id: int, btf: Btf, type_id: int) -> bool:
    """BPF_CORE_TYPE_EXISTS: the kinds agree all the way down pointers and prototypes; members do not count."""
    return _Pairs(local, btf).agree(local_id, type_id)


def types_match(local: Btf, local_id: int, btf: Btf, type_id: int) -> bool:
    """BPF_CORE_TYPE_MATCHES: every member and enumerator of the local type is there by name, of a matching type."""
    return _Pairs(local, btf).match(local_id, type_id)
