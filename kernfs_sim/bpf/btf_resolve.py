"""What the types of loaded BTF say of each other, checked in Linux's order: no loops, members within their structures.

A type is resolved by a walk to what it is made of. The walk goes as far as a loop could matter: from a pointer it goes on
through pointers and modifiers, from a structure or array through what is held by value.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from enum import Enum
from typing import NoReturn

from bpfjit.btf import Kind

from .btf_check import Raw, Table, bits_of, int_bits, int_offset, signed

_MODIFIERS = frozenset({Kind.TYPEDEF, Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.TYPE_TAG})
_COMPOSITES = frozenset({Kind.STRUCT, Kind.UNION})
_RESOLVABLE = _MODIFIERS | _COMPOSITES | {Kind.PTR, Kind.ARRAY, Kind.VAR, Kind.FUNC, Kind.DECL_TAG, Kind.DATASEC}
_SIZED = _COMPOSITES | {Kind.INT, Kind.ENUM, Kind.ENUM64, Kind.FLOAT, Kind.DATASEC}
_SIZELESS = frozenset({Kind.FWD, Kind.FUNC, Kind.FUNC_PROTO, Kind.DECL_TAG})
_SOURCE_ONLY = frozenset({Kind.VAR, Kind.DECL_TAG, Kind.DATASEC})  # which nothing but themselves may refer to
_BEYOND_POINTER = _MODIFIERS | {Kind.PTR}
_BEYOND_STRUCT = _MODIFIERS | _COMPOSITES | {Kind.ARRAY}
_MAX_DEPTH, _MAX_CHAIN, _U32 = 32, 32, 0xFFFFFFFF


class _Mode(Enum):
    """Which types the walk goes on through."""

    ANY, POINTER, VALUE = range(3)


class _Broken(Exception):
    """The walk came back to where it had been (EEXIST), or too deep (E2BIG): said of the type that it started from."""


class Resolver:
    """The walk through a table; `to` and `size` of each type that was resolved."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.types = table.types
        count = len(self.types)
        self.to, self.size = [0] * count, [0] * count
        self.seen, self.done = bytearray(count), bytearray(count)
        self.mode = _Mode.ANY
        self.depth = 0

    def check(self) -> None:
        """All types. Raises EINVAL; EEXIST for a loop, E2BIG for what is too deep, ELOOP for modifiers without end."""
        for t in self.table:
            if t.kind in _RESOLVABLE and not self.done[t.id]:
                self._from(t)
            if t.kind is Kind.FUNC_PROTO:
                self._prototype(t)
        self._tags()

    def _from(self, t: Raw) -> None:
        self.mode = _Mode.ANY
        try:
            self._push(t)
        except _Broken as e:
            number = e.args[0]
            self.table.bad(
                t, "Loop detected" if number == errno.EEXIST else f"Exceeded max resolving depth:{_MAX_DEPTH}", number
            )

    def _push(self, t: Raw) -> None:
        if self.depth == _MAX_DEPTH:
            raise _Broken(errno.E2BIG)
        if self.seen[t.id]:
            raise _Broken(errno.EEXIST)
        self.seen[t.id] = 1
        self.depth += 1
        if self.mode is _Mode.ANY:
            if t.kind is Kind.PTR:
                self.mode = _Mode.POINTER
            elif t.kind in _BEYOND_STRUCT - _MODIFIERS:
                self.mode = _Mode.VALUE
        _RESOLVE[t.kind](self, t)
        self.done[t.id] = 1
        self.depth -= 1

    def _need(self, t: Raw | None) -> None:
        """What is referred to is resolved first, unless the walk ends there."""
        if t is None or self.done[t.id]:
            return
        through = {_Mode.ANY: _RESOLVABLE, _Mode.POINTER: _BEYOND_POINTER, _Mode.VALUE: _BEYOND_STRUCT}[self.mode]
        if t.kind in through:
            self._push(t)

    def _sized(self, type_id: int) -> tuple[Raw, int] | None:
        """The type with a size that an id stands for, and the size; None where there is none."""
        for again in (True, False):
            t = self.types[type_id] if type_id < len(self.types) else None
            if t is None or t.kind in _SIZELESS:
                return None
            if t.kind in _SIZED:
                return t, t.value
            if t.kind is Kind.ARRAY:
                return t, self.size[type_id]
            if t.kind is Kind.PTR:
                return t, 8
            type_id = self.to[type_id]
            if not again:
                break
        return None

    def _referred(self, t: Raw, type_id: int, what: str = "Invalid type_id") -> Raw | None:
        """What a type refers to; None is void. Refuses ids that are none, and what cannot be referred to."""
        if type_id >= len(self.types):
            self.table.bad(t, what)
        found = self.types[type_id]
        if found is not None and found.kind in _SOURCE_ONLY:
            self.table.bad(t, what)
        return found

    # -- by kind -------------------------------------------------------------------------------------

    def _follow(self, t: Raw, found: Raw | None) -> None:
        """Go through a modifier to the pointer where its own walk may have ended."""
        if found is not None and found.kind in _MODIFIERS:
            end = self.types[self.to[found.id]]
            if end is not None and end.kind is Kind.PTR:
                self._need(end)

    def _refer(self, t: Raw, type_id: int) -> None:
        """A modifier or pointer: to something with a size, or to void, a forward declaration or a prototype."""
        found = self._sized(type_id)
        if found is None:
            if self.done[type_id]:
                type_id = self.to[type_id]
            end = self.types[type_id]
            if end is not None and end.kind not in (Kind.FWD, Kind.FUNC_PROTO):
                self.table.bad(t, "Invalid type_id")
        self.to[t.id] = found[0].id if found is not None else type_id

    def _modifier(self, t: Raw) -> None:
        self._need(self._referred(t, t.value))
        self._refer(t, t.value)

    def _pointer(self, t: Raw) -> None:
        found = self._referred(t, t.value)
        self._need(found)
        self._follow(t, found)
        self._refer(t, t.value)

    def _variable(self, t: Raw) -> None:
        found = self._referred(t, t.value)
        self._need(found)
        self._follow(t, found)
        end = self._sized(t.value)
        if end is None:
            self.table.bad(t, "Invalid type_id")
        self.to[t.id] = end[0].id

    def _array(self, t: Raw) -> None:
        elem, index, count = t.tail[0]
        by = self._element(t, index, "Invalid index")
        if not _is_regular_int(by[0]):
            self.table.bad(t, "Invalid index")
        end = self._element(t, elem, "Invalid elem")
        if end[0].kind is Kind.INT and not _is_regular_int(end[0]):
            self.table.bad(t, "Invalid array of int")
        if count and end[1] > _U32 // count:
            self.table.bad(t, "Array size overflows U32_MAX")
        self.to[t.id], self.size[t.id] = end[0].id, end[1] * count

    def _element(self, t: Raw, type_id: int, what: str) -> tuple[Raw, int]:
        found = self._referred(t, type_id, what)
        if found is None or found.kind in _SIZELESS:
            self.table.bad(t, what)
        self._need(found)
        end = self._sized(type_id)
        if end is None:
            self.table.bad(t, what)
        return end

    def _composite(self, t: Raw) -> None:
        for row in t.tail:
            found = self.types[row[1]] if row[1] < len(self.types) else None
            if found is None or found.kind in _SIZELESS or found.kind in _SOURCE_ONLY:
                self._bad_row(t, row, "Invalid member")
            self._need(found)
            self._member(t, row, found)

    def _section(self, t: Raw) -> None:
        for row in t.tail:
            self.mode = _Mode.ANY
            var = self.types[row[0]] if row[0] < len(self.types) else None
            if var is None or var.kind is not Kind.VAR:
                self._bad_row(t, row, "Not a VAR kind member")
            self._need(var)
            end = self._sized(var.value)
            if end is None:
                self._bad_row(t, row, "Invalid type")
            if row[2] < end[1]:
                self._bad_row(t, row, "Invalid size")

    def _function(self, t: Raw) -> None:
        proto = self.types[t.value] if t.value < len(self.types) else None
        if proto is None or proto.kind is not Kind.FUNC_PROTO:
            self.table.bad(t, "Invalid type_id")
        for i, (name_off, type_id) in enumerate(proto.tail, 1):
            if not name_off and type_id:
                self.table.bad(t, f"Invalid arg#{i}")
        self.to[t.id] = t.value

    def _decl_tag(self, t: Raw) -> None:
        target = self.types[t.value] if t.value < len(self.types) else None
        if target is None or target.kind not in _COMPOSITES | {Kind.FUNC, Kind.VAR, Kind.TYPEDEF}:
            self.table.bad(t, "Invalid type_id")
        self._need(target)
        index = signed(t.tail[0][0])
        if index != -1:
            if target.kind is Kind.FUNC:
                target = self.types[target.value]
                assert target is not None
            if target.kind in (Kind.VAR, Kind.TYPEDEF) or index >= target.vlen:
                self.table.bad(t, "Invalid component_idx")
        self.to[t.id] = t.value

    def _bad_row(self, t: Raw, row: tuple[int, ...], what: str) -> NoReturn:
        self.table.tell(t)
        self.table.bad_row(t, row, what)

    def _prototype(self, t: Raw) -> None:
        """The types of what a function returns and takes have a size; the last argument without a type stands for more."""
        if t.value:
            self._parameter(t, t.value, "Invalid return type")
        params = t.tail
        if params and not params[-1][1]:
            if params[-1][0]:
                self.table.bad(t, f"Invalid arg#{len(params)}")
            params = params[:-1]
        for i, (name_off, type_id) in enumerate(params, 1):
            what = f"Invalid arg#{i}"
            found = self._referred(t, type_id, what)
            if name_off and not (self.table.is_inside(name_off) and self.table.is_identifier(name_off)):
                self.table.bad(t, what)
            self._parameter(t, type_id, what, found)

    def _parameter(self, t: Raw, type_id: int, what: str, found: Raw | None = None) -> None:
        found = found or self._referred(t, type_id, what)
        if found is not None and found.kind in _RESOLVABLE and not self.done[type_id]:
            self._from(found)
        if self._sized(type_id) is None:
            self.table.bad(t, what)

    # -- members -------------------------------------------------------------------------------------

    def _member(self, t: Raw, row: tuple[int, ...], found: Raw) -> None:
        """A member lies within its structure, and where its type may lie."""
        end = self._sized(row[1]) if found.kind in _MODIFIERS else (found, 0)
        if end is None:
            self._bad_row(t, row, "Invalid member")
        member = end[0]
        row = (row[0], member.id, row[2])
        start, bits = bits_of(t, row[2])
        if member.kind is Kind.INT:
            self._int_member(t, row, member, start, bits)
            return
        if member.kind in (Kind.ENUM, Kind.ENUM64) and t.flag:
            if not bits and start % 8:
                self._bad_row(t, row, "Member is not byte aligned")
            if bits > 32:
                self._bad_row(t, row, "Invalid member bitfield_size")
            if t.value < (start + (bits or 32) + 7) // 8:
                self._bad_row(t, row, "Member exceeds struct_size")
            return
        if bits:
            self._bad_row(t, row, "Invalid member bitfield_size")
        if member.kind is Kind.FLOAT:
            if start % (min(8, member.value) * 8):
                self._bad_row(t, row, "Member is not properly aligned")
        elif start % 8:
            self._bad_row(t, row, "Member is not byte aligned")
        sized = self._sized(member.id)
        assert sized is not None
        if t.value - start // 8 < sized[1]:
            self._bad_row(t, row, "Member exceeds struct_size")

    def _int_member(self, t: Raw, row: tuple[int, ...], member: Raw, start: int, bits: int) -> None:
        if not t.flag:
            if start + int_offset(member) > _U32:
                self._bad_row(t, row, "bits_offset exceeds U32_MAX")
            start += int_offset(member)
            bits = int_bits(member)
        else:
            if not _is_regular_int(member):
                self._bad_row(t, row, "Invalid member base type")
            if not bits and start % 8:
                self._bad_row(t, row, "Invalid member offset")
            if bits > int_bits(member):
                self._bad_row(t, row, "Invalid member bitfield_size")
            bits = bits or int_bits(member)
        if bits + start % 8 > 128:
            self._bad_row(t, row, "nr_copy_bits exceeds 128")
        if t.value < start // 8 + (bits + start % 8 + 7) // 8:
            self._bad_row(t, row, "Member exceeds struct_size")

    # -- tags ----------------------------------------------------------------------------------------

    def _tags(self) -> None:
        """In a chain of modifiers the type tags stand before all others."""
        good = 0
        for start in self.table:
            if start.kind not in _MODIFIERS:
                continue
            t: Raw | None = start
            tags, left, at = start.kind is Kind.TYPE_TAG, _MAX_CHAIN, start.id
            while t is not None and t.kind in _MODIFIERS:
                if not left:
                    self.table.log.refuse("Max chain length or cycle detected", errno.ELOOP)
                left -= 1
                if t.kind is not Kind.TYPE_TAG:
                    tags = False
                elif not tags:
                    self.table.log.refuse("Type tags don't precede modifiers")
                if at <= good:
                    break
                at = t.value
                t = self.types[at]
            good = start.id


def _is_regular_int(t: Raw) -> bool:
    return t.kind is Kind.INT and int_bits(t) in (8, 16, 32, 64, 128) and not int_offset(t)


_RESOLVE: dict[Kind, Callable[[Resolver, Raw], None]] = {
    **dict.fromkeys(_MODIFIERS, Resolver._modifier),
    **dict.fromkeys(_COMPOSITES, Resolver._composite),
    Kind.PTR: Resolver._pointer,
    Kind.ARRAY: Resolver._array,
    Kind.VAR: Resolver._variable,
    Kind.FUNC: Resolver._function,
    Kind.DECL_TAG: Resolver._decl_tag,
    Kind.DATASEC: Resolver._section,
}
