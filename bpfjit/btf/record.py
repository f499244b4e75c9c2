"""Special fields: timers, locks, kernel pointers, lists and trees inside a map's value or an allocated structure.

Source: Linux 6.18's rules for BTF records: which types are special, how often, at what alignment, how deep.
"""

from __future__ import annotations

import errno
from collections.abc import Set
from enum import IntFlag

from ..dataclass import dataclass, replace
from ..errors import BtfError, refuse
from .types import COMPOSITES, MAX_RESOLVE_DEPTH, VOID, Btf, BtfId, Kind, Type

MAX_FIELDS = 11


class Special(IntFlag):
    """What a field is; the numbers are the kernel's enum btf_field_type."""

    SPIN_LOCK = 1
    TIMER = 2
    KPTR_UNREF = 4
    KPTR_REF = 8
    KPTR_PERCPU = 16
    LIST_HEAD = 32
    LIST_NODE = 64
    RB_ROOT = 128
    RB_NODE = 256
    REFCOUNT = 512
    WORKQUEUE = 1024
    UPTR = 2048
    RES_SPIN_LOCK = 4096
    TASK_WORK = 8192

    KPTR = KPTR_UNREF | KPTR_REF | KPTR_PERCPU
    POINTER = KPTR | UPTR
    GRAPH_ROOT = LIST_HEAD | RB_ROOT
    GRAPH_NODE = LIST_NODE | RB_NODE


NOTHING = Special(0)
# By the structure's name: what it is, its size and its alignment in bytes, whether a record may have only one.
_STRUCTS: dict[str, tuple[Special, int, int, bool]] = {
    "bpf_spin_lock": (Special.SPIN_LOCK, 4, 4, True),
    "bpf_res_spin_lock": (Special.RES_SPIN_LOCK, 4, 4, True),
    "bpf_timer": (Special.TIMER, 16, 8, True),
    "bpf_wq": (Special.WORKQUEUE, 16, 8, True),
    "bpf_task_work": (Special.TASK_WORK, 8, 8, True),
    "bpf_list_head": (Special.LIST_HEAD, 16, 8, False),
    "bpf_list_node": (Special.LIST_NODE, 24, 8, False),
    "bpf_rb_root": (Special.RB_ROOT, 16, 8, False),
    "bpf_rb_node": (Special.RB_NODE, 32, 8, False),
    "bpf_refcount": (Special.REFCOUNT, 4, 4, True),
}
_POINTER_TAGS = {
    "kptr_untrusted": Special.KPTR_UNREF,
    "kptr": Special.KPTR_REF,
    "percpu_kptr": Special.KPTR_PERCPU,
    "uptr": Special.UPTR,
}
_NODE_OF = {Special.LIST_HEAD: "bpf_list_node", Special.RB_ROOT: "bpf_rb_node"}
# What an array, or a structure in an array, may hold many of.
_REPEATED = Special.POINTER | Special.GRAPH_ROOT

_NO_ROW = (NOTHING, 0, 0, False)
_MEMBERS = Special.SPIN_LOCK | Special.RES_SPIN_LOCK | Special.GRAPH_ROOT | Special.GRAPH_NODE | Special.REFCOUNT

MAP_FIELDS = (
    Special.SPIN_LOCK
    | Special.RES_SPIN_LOCK
    | Special.TIMER
    | Special.POINTER
    | Special.GRAPH_ROOT
    | Special.REFCOUNT
    | Special.WORKQUEUE
    | Special.TASK_WORK
)
OBJECT_FIELDS = _MEMBERS | Special.KPTR


@dataclass(frozen=True, slots=True)
class Field:
    """One special field: `offset` and `size` in bytes.

    type_id: what a pointer points at, or a list or tree contains; of the kernel's BTF where `in_kernel`, else of
    the program's. node, node_offset: the member of the contained structure by which it hangs.
    """

    kind: Special
    offset: int
    size: int
    type_id: BtfId = VOID
    in_kernel: bool = False
    node: str = ""
    node_offset: int = 0


@dataclass(frozen=True, slots=True)
class Record:
    """The special fields of a value, by ascending offset; `kinds` is all that occur."""

    fields: tuple[Field, ...] = ()
    kinds: Special = NOTHING

    def one(self, kind: Special) -> Field | None:
        """The field of a kind of which there is at most one (a lock, a timer)."""
        return next((f for f in self.fields if f.kind & kind), None)

    def at(self, offset: int) -> Field | None:
        """The field that begins at an offset."""
        return next((f for f in self.fields if f.offset == offset), None)

    def overlapping(self, offset: int, size: int) -> Field | None:
        """The first field that [offset, offset + size) touches."""
        return next((f for f in self.fields if offset < f.offset + f.size and f.offset < offset + size), None)

    def __bool__(self) -> bool:
        return bool(self.fields)


NO_FIELDS = Record()


def parse_record(
    btf: Btf,
    type_id: int,
    wanted: Special = MAP_FIELDS,
    kernel: Btf | None = None,
    destructible: Set[str] = frozenset(),
) -> Record:
    """The special fields of a structure or DATASEC of a program's BTF.

    kernel: where the types of kernel pointers are looked up first; `destructible` names those that the kernel can
    destroy, the only ones that a map may own. Raises OSError as BPF_MAP_CREATE does: EINVAL for a malformed field,
    E2BIG for too many or two of which one is allowed, EEXIST for overlaps, ENOENT for types that are not there.
    """
    t = btf.type(btf.skip(type_id))
    finder = _Finder(btf, wanted)
    if t.kind is Kind.STRUCT or t.kind is Kind.UNION:
        found = finder.members(btf.skip(type_id), 0)
    elif t.kind is Kind.DATASEC:
        found = []
        for v in t.secvars:
            finder.add(found, finder.one(btf.type(v.type_id).ref, v.offset, v.size, v.type_id, -1, 0))
    else:
        return NO_FIELDS
    end = 0
    fields = []
    for f in found:
        if f.offset < end:
            raise refuse(errno.EEXIST, f"special field at {f.offset} overlaps the one before it")
        end = f.offset + f.size
        if f.kind & Special.POINTER:
            f = _pointee(btf, f, kernel, destructible)
        elif f.kind & Special.GRAPH_ROOT:
            f = _contained(btf, f)
        fields.append(f)
    kinds = Special(0)
    for f in fields:
        kinds |= f.kind
    if Special.SPIN_LOCK | Special.RES_SPIN_LOCK in kinds:
        raise refuse(errno.EINVAL, "a bpf_spin_lock beside a bpf_res_spin_lock")
    if kinds & Special.GRAPH_ROOT and not kinds & (Special.SPIN_LOCK | Special.RES_SPIN_LOCK):
        raise refuse(errno.EINVAL, "a list or tree wants a bpf_spin_lock beside it")
    if Special.GRAPH_NODE in kinds and not kinds & Special.REFCOUNT:
        raise refuse(errno.EINVAL, "what is in a list and in a tree wants a bpf_refcount")
    return Record(tuple(sorted(fields, key=lambda f: f.offset)), kinds)


def struct_records(btf: Btf, kernel: Btf | None = None, destructible: Set[str] = frozenset()) -> dict[BtfId, Record]:
    """The records of all structures that programs could allocate: those with a special member of their own.

    BTF is refused as a whole where one of them is malformed: as parse_record(), and EFAULT for one that is special
    in name only.
    """
    special = {i for i, t in btf.items() if t.kind is Kind.STRUCT and _STRUCTS.get(t.name, _NO_ROW)[0] & _MEMBERS}
    special |= {i for i, t in btf.items() if t.kind is Kind.PTR and _is_kptr(btf, t)}
    found = {}
    for i, t in btf.items():
        if t.kind is Kind.STRUCT and any(m.type_id in special for m in t.members):
            found[i] = parse_record(btf, i, OBJECT_FIELDS, kernel, destructible)
            if not found[i]:
                raise refuse(errno.EFAULT, f"struct {t.name}: its special members are not where they could be")
    return found


def _is_kptr(btf: Btf, t: Type) -> bool:
    try:
        return _Finder(btf, Special.KPTR).pointer(t, 0) is not None
    except OSError:
        return False


class _Finder:
    """One search: which kinds of which there is only one have been seen."""

    def __init__(self, btf: Btf, wanted: Special) -> None:
        self.btf = btf
        self.wanted = wanted
        self.seen = Special(0)
        self.count = 0

    def add(self, found: list[Field], more: list[Field]) -> None:
        found += more
        if len(found) > MAX_FIELDS:
            raise refuse(errno.E2BIG, f"more than {MAX_FIELDS} special fields")

    def members(self, struct_id: int, depth: int) -> list[Field]:
        found: list[Field] = []
        for i, m in enumerate(self.btf.type(struct_id).members):
            if m.bit_offset % 8:
                raise refuse(errno.EINVAL, f"member {m.name} begins inside a byte")
            self.add(found, self.one(m.type_id, m.bit_offset // 8, 0, struct_id, i, depth))
        return found

    def one(self, type_id: int, offset: int, expected: int, owner: int, index: int, depth: int) -> list[Field]:
        """What a member or variable is, or holds; `owner` and `index` find its declaration tags."""
        btf, nelems = self.btf, 1
        t = btf.type(type_id)
        for _ in range(MAX_RESOLVE_DEPTH):
            if t.kind is not Kind.ARRAY:
                break
            nelems *= t.nelems
            type_id = t.ref
            t = btf.type(type_id)
        if not nelems:
            return []
        row = _STRUCTS.get(t.name)
        if row is not None and row[0] & self.wanted:
            kind, size, align, single = row
            if single and kind & self.seen:
                raise refuse(errno.E2BIG, f"a second {t.name}")
            if single:
                self.seen |= kind
            if (expected and expected != size * nelems) or offset % align:
                return []
            if t.kind is not Kind.STRUCT or t.size != size:
                return []
            field = Field(kind, offset, size)
            if kind & Special.GRAPH_ROOT:
                field = self._contains(field, owner, index)
            return self._repeat([field], nelems, size)
        if t.kind in COMPOSITES:
            if expected and expected != t.size * nelems:
                return []
            if depth + 1 >= MAX_RESOLVE_DEPTH:
                raise refuse(errno.E2BIG, f"structures nested deeper than {MAX_RESOLVE_DEPTH}")
            inner = self.members(type_id, depth + 1)
            return self._repeat([replace(f, offset=f.offset + offset) for f in inner], nelems, t.size)
        if not self.wanted & Special.POINTER or (expected and expected != 8 * nelems) or offset % 8:
            return []
        pointer = self.pointer(t, offset)
        return self._repeat([pointer], nelems, 8) if pointer is not None else []

    def _repeat(self, fields: list[Field], count: int, stride: int) -> list[Field]:
        if count == 1 or not fields:
            return fields
        if any(not f.kind & _REPEATED for f in fields):
            raise refuse(errno.EINVAL, "an array of what a value may have one of")
        if len(fields) * count > MAX_FIELDS:
            raise refuse(errno.E2BIG, f"more than {MAX_FIELDS} special fields")
        return [replace(f, offset=f.offset + i * stride) for i in range(count) for f in fields]

    def pointer(self, t: Type, offset: int) -> Field | None:
        """A pointer whose target is tagged as a kptr or uptr."""
        btf = self.btf
        if t.kind is Kind.VOLATILE:
            t = btf.type(t.ref)
        if t.kind is not Kind.PTR:
            return None
        tag = btf.type(t.ref)
        if tag.kind is not Kind.TYPE_TAG:
            return None
        if btf.type(tag.ref).kind is Kind.TYPE_TAG:
            raise refuse(errno.EINVAL, f"a pointer tagged {tag.name} and more")
        kind = _POINTER_TAGS.get(tag.name)
        if kind is None or not kind & self.wanted:
            if kind is not None:
                return None
            raise refuse(errno.EINVAL, f"a pointer tagged {tag.name}, wanted one of {', '.join(_POINTER_TAGS)}")
        target = btf.skip(tag.ref)
        if btf.type(target).kind not in COMPOSITES:
            raise refuse(errno.EINVAL, f"a {tag.name} pointer to no structure")
        return Field(kind, offset, 8, target)

    def _contains(self, field: Field, owner: int, index: int) -> Field:
        """`contains:struct:member`, the tag of a list or tree."""
        tags = self.btf.decl_tags(owner, index)
        text = [tag.removeprefix("contains:") for tag in tags if tag.startswith("contains:")]
        name, colon, node = text[0].partition(":") if len(text) == 1 else ("", "", "")
        if not colon or not node:
            raise refuse(errno.EINVAL, f"{field.kind.name} without one __contains(structure, member)")
        struct_id = self.btf.find(Kind.STRUCT, name)
        if struct_id is None:
            raise refuse(errno.ENOENT, f"{field.kind.name} contains struct {name}, which is not there")
        return replace(field, type_id=struct_id, node=node)


def _pointee(btf: Btf, field: Field, kernel: Btf | None, destructible: Set[str]) -> Field:
    """A kernel pointer's type in the kernel's BTF; one that only the program knows is its own allocation."""
    target = btf.type(field.type_id)
    if field.kind is Special.UPTR:
        return field
    found = kernel.find(target.kind, target.name) if kernel is not None else None
    if found is None:
        return field
    if field.kind is Special.KPTR_REF and target.name not in destructible:
        raise refuse(errno.ENOENT, f"nothing destroys a struct {target.name}: a map cannot own one")
    return replace(field, type_id=found, in_kernel=True)


def _contained(btf: Btf, field: Field) -> Field:
    """Where the node lies in what a list or tree contains."""
    nodes = [m for m in btf.type(field.type_id).members if m.name == field.node]
    if not nodes:
        raise refuse(errno.ENOENT, f"struct {btf.type(field.type_id).name} has no member {field.node}")
    wanted = _NODE_OF[field.kind]
    try:
        found = btf.type(nodes[0].type_id)
    except BtfError as e:
        raise refuse(errno.EINVAL, str(e)) from None
    if len(nodes) > 1 or found.kind is not Kind.STRUCT or found.name != wanted or nodes[0].bit_offset % 64:
        raise refuse(errno.EINVAL, f"member {field.node} is no struct {wanted}")
    return replace(field, node_offset=nodes[0].bit_offset // 8)
