"""BTF's types as frozen rows, and `Btf`, the table that holds them by id.

Source: the BTF format of Linux (Documentation/bpf/btf.rst states kinds, encodings and limits).
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import NewType

from ..dataclass import dataclass
from ..errors import BtfError

BtfId = NewType("BtfId", int)
VOID = BtfId(0)
POINTER_BYTES = 8
MAX_RESOLVE_DEPTH = 32  # Linux refuses chains of modifiers and nested types deeper than this (MAX_RESOLVE_DEPTH).


def essential(name: str) -> str:
    """The name without its flavor: task_struct___old is task_struct."""
    at = name.find("___", 1)
    return name if at < 0 else name[:at]


class Kind(IntEnum):
    VOID = 0
    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    VAR = 14
    DATASEC = 15
    FLOAT = 16
    DECL_TAG = 17
    TYPE_TAG = 18
    ENUM64 = 19


MODIFIERS = frozenset({Kind.TYPEDEF, Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.TYPE_TAG})
COMPOSITES = frozenset({Kind.STRUCT, Kind.UNION})
ENUMS = frozenset({Kind.ENUM, Kind.ENUM64})


@dataclass(frozen=True, slots=True)
class Member:
    """One field of a struct or union; offset and size in bits (`bitfield_bits` 0: not a bitfield)."""

    name: str
    type_id: BtfId
    bit_offset: int
    bitfield_bits: int = 0


@dataclass(frozen=True, slots=True)
class Param:
    name: str
    type_id: BtfId


@dataclass(frozen=True, slots=True)
class Enumerator:
    name: str
    value: int


@dataclass(frozen=True, slots=True)
class SecVar:
    """One variable of a DATASEC: its VAR and where it lies (bytes)."""

    type_id: BtfId
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Type:
    """One BTF type; which fields mean something depends on `kind`.

    size: bytes, for INT, STRUCT, UNION, ENUM, ENUM64, DATASEC and FLOAT. ref: the type pointed at,
    modified, returned, declared or (ARRAY) repeated. A kind's own details stand in the other fields.
    """

    kind: Kind
    name: str = ""
    size: int = 0
    ref: BtfId = VOID
    members: tuple[Member, ...] = ()
    params: tuple[Param, ...] = ()
    values: tuple[Enumerator, ...] = ()
    secvars: tuple[SecVar, ...] = ()
    nelems: int = 0
    index_id: BtfId = VOID
    bits: int = 0  # INT
    bit_offset: int = 0  # INT
    signed: bool = False  # INT, ENUM, ENUM64
    encoding: int = 0  # INT: 1 signed, 2 char, 4 bool
    linkage: int = 0  # FUNC, VAR: 0 static, 1 global, 2 extern
    fwd_union: bool = False  # FWD
    component: int = -1  # DECL_TAG

    @property
    def variadic(self) -> bool:
        """A FUNC_PROTO's `...`: a last parameter without name and type."""
        return bool(self.params) and self.params[-1].type_id == VOID and not self.params[-1].name


VOID_TYPE = Type(Kind.VOID, "void")


class Btf:
    """A table of types by id, 0 being void.

    Subclasses may fill it lazily; everything here goes through `type()`.
    """

    def __init__(self, types: list[Type]) -> None:
        self._types = types
        self._names: dict[str, list[BtfId]] | None = None
        self._flavors: dict[str, list[BtfId]] = {}
        self._aligns: dict[int, int] = {}
        self._tags: dict[tuple[int, int], list[str]] | None = None

    def __len__(self) -> int:
        return len(self._types)

    def type(self, type_id: int) -> Type:
        """The type of that id. Raises BtfError where there is none."""
        if not 0 <= type_id < len(self):
            raise BtfError(f"type id {type_id} outside the table of {len(self)}")
        return self._types[type_id]

    def items(self) -> Iterator[tuple[BtfId, Type]]:
        for i in range(1, len(self)):
            yield BtfId(i), self.type(i)

    def _index(self) -> dict[str, list[BtfId]]:
        names: dict[str, list[BtfId]] = {}
        for i, t in self.items():
            if t.name:
                names.setdefault(t.name, []).append(i)
        return names

    def named(self, name: str) -> list[BtfId]:
        """Every type of that name, of whatever kind, in order of their ids."""
        return self._all_names().get(name, [])

    def _all_names(self) -> dict[str, list[BtfId]]:
        if self._names is None:
            self._names = self._index()
            for text, ids in self._names.items():
                if "___" in text:
                    self._flavors.setdefault(essential(text), []).extend(ids)
        return self._names

    def flavors(self, name: str) -> list[BtfId]:
        """Every type called `name`, or `name___x`: what CO-RE holds for one type, in order of their ids."""
        plain = self._all_names().get(name, [])
        flavored = self._flavors.get(name)
        return sorted({*plain, *flavored}) if flavored else plain

    def find(self, kind: Kind, name: str) -> BtfId | None:
        """The first type of that kind and name, or None."""
        return next((i for i in self.named(name) if self.kind_of(i) is kind), None)

    def kind_of(self, type_id: int) -> Kind:
        return self.type(type_id).kind

    def find_func(self, name: str) -> BtfId | None:
        return self.find(Kind.FUNC, name)

    def decl_tags(self, type_id: int, component: int = -1) -> list[str]:
        """The declaration tags of a type, or of one of its members or parameters."""
        if self._tags is None:
            self._tags = {}
            for _, t in self.items():
                if t.kind is Kind.DECL_TAG:
                    self._tags.setdefault((t.ref, t.component), []).append(t.name)
        return self._tags.get((type_id, component), [])

    def skip(self, type_id: int) -> BtfId:
        """The id behind typedefs and qualifiers. Raises BtfError on a cycle."""
        for _ in range(MAX_RESOLVE_DEPTH):
            t = self.type(type_id)
            if t.kind not in MODIFIERS:
                return BtfId(type_id)
            type_id = t.ref
        raise BtfError(f"type {type_id}: chain of modifiers deeper than {MAX_RESOLVE_DEPTH}")

    def resolve(self, type_id: int) -> Type:
        return self.type(self.skip(type_id))

    def skip_quals(self, type_id: int) -> BtfId:
        """As skip(), but a typedef stays."""
        for _ in range(MAX_RESOLVE_DEPTH):
            t = self.type(type_id)
            if t.kind not in MODIFIERS or t.kind is Kind.TYPEDEF:
                return BtfId(type_id)
            type_id = t.ref
        raise BtfError(f"type {type_id}: chain of modifiers deeper than {MAX_RESOLVE_DEPTH}")

    def size_of(self, type_id: int) -> int:
        """sizeof in bytes. Raises BtfError for what has no size (void, functions, forward declarations)."""
        count = 1
        for _ in range(MAX_RESOLVE_DEPTH):
            t = self.resolve(type_id)
            if t.kind is Kind.ARRAY:
                count *= t.nelems
                type_id = t.ref
                continue
            if t.kind is Kind.PTR:
                return count * POINTER_BYTES
            if t.kind is Kind.VAR:
                type_id = t.ref
                continue
            if t.kind in (Kind.VOID, Kind.FWD, Kind.FUNC, Kind.FUNC_PROTO, Kind.DECL_TAG):
                raise BtfError(f"type {type_id} ({t.kind.name} {t.name or 'anon'}) has no size")
            return count * t.size
        raise BtfError(f"type {type_id}: nested deeper than {MAX_RESOLVE_DEPTH}")

    def align_of(self, type_id: int, depth: int = 0) -> int:
        """Natural alignment in bytes."""
        if depth > MAX_RESOLVE_DEPTH:
            raise BtfError(f"type {type_id}: nested deeper than {MAX_RESOLVE_DEPTH}")
        type_id = self.skip(type_id)
        t = self.type(type_id)
        if t.kind is Kind.ARRAY:
            return self.align_of(t.ref, depth + 1)
        if t.kind in COMPOSITES:
            # Kept, as structures that hold each other twice at every level would take 2^depth steps.
            if type_id not in self._aligns:
                self._aligns[type_id] = max((self.align_of(m.type_id, depth + 1) for m in t.members), default=1)
            return self._aligns[type_id]
        if t.kind is Kind.PTR:
            return POINTER_BYTES
        return min(t.size, POINTER_BYTES) or 1

    def describe(self, type_id: int, depth: int = 0) -> str:
        """The type as C would write it, for messages."""
        t = self.type(type_id)
        if depth > MAX_RESOLVE_DEPTH:
            return "..."
        if t.kind is Kind.PTR:
            return f"{self.describe(t.ref, depth + 1)} *"
        if t.kind in (Kind.CONST, Kind.VOLATILE, Kind.RESTRICT):
            return f"{t.kind.name.lower()} {self.describe(t.ref, depth + 1)}"
        if t.kind is Kind.ARRAY:
            return f"{self.describe(t.ref, depth + 1)} [{t.nelems}]"
        prefix = {Kind.STRUCT: "struct ", Kind.UNION: "union ", Kind.ENUM: "enum ", Kind.ENUM64: "enum "}.get(t.kind, "")
        if t.kind is Kind.FWD:
            prefix = "union " if t.fwd_union else "struct "
        return prefix + (t.name or "(anon)")
