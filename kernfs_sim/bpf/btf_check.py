"""What Linux checks of BTF that is loaded, in its order and its words: header, strings, each type by itself.

What types say of each other comes after that, in btf_resolve.py. All that is looked at is told in the log.
"""

from __future__ import annotations

import errno
import re
import struct
from collections.abc import Callable, Iterator
from functools import cmp_to_key
from typing import NoReturn

from bpfjit.btf import Kind
from bpfjit.errors import ENOTSUPP, refuse

_HEADER = struct.Struct("<HBBIIIII")
_U32_MAX, _MAX_TYPE, _MAX_NAME_OFFSET = 0xFFFFFFFF, 0xFFFFF, 0xFFFFFF
_INFO_MASK, _INT_MASK, _MAX_KIND = 0x9F00FFFF, 0x0FFFFFFF, 19
# isalpha() and isprint() of the kernel know Latin-1.
_IDENTIFIER = re.compile(rb"[A-Za-z_.\xc0-\xd6\xd8-\xf6\xf8-\xff][A-Za-z0-9_.\xc0-\xd6\xd8-\xf6\xf8-\xff]{0,511}")
_SECTION = re.compile(rb"[ -~\xa0-\xff]{1,512}")
_ENCODINGS = {0: "(none)", 1: "SIGNED", 2: "CHAR", 4: "BOOL"}


class BtfLog:
    """Collects what is said of BTF; nothing where nobody listens."""

    def __init__(self, wanted: bool) -> None:
        self.wanted = wanted
        self.parts: list[str] = []

    def say(self, text: str) -> None:
        if self.wanted:
            self.parts.append(text)

    def refuse(self, text: str, number: int = errno.EINVAL) -> NoReturn:
        self.say(text)
        raise refuse(number, text.strip())


class Raw:
    """One type as it lies there: `value` is its size or the type that it refers to, `tail` the rest in rows of `words`."""

    __slots__ = ("flag", "id", "kind", "name_off", "tail", "value", "vlen")

    def __init__(self, id: int, name_off: int, info: int, value: int) -> None:
        self.id, self.name_off, self.value = id, name_off, value
        self.kind, self.vlen, self.flag = Kind(info >> 24 & 31), info & 0xFFFF, info >> 31
        self.tail: list[tuple[int, ...]] = []


_Check = tuple[str, Callable[["Table", Raw], object]]
# A row: what is said of a type that is wrong in this, and how to see it.
_VLEN: _Check = ("vlen != 0", lambda b, t: t.vlen)
_FLAG: _Check = ("Invalid btf_info kind_flag", lambda b, t: t.flag)
_NO_NAME: _Check = ("Invalid name", lambda b, t: t.name_off)
_ANY_NAME: _Check = ("Invalid name", lambda b, t: t.name_off and not b.is_identifier(t.name_off))
_NAME: _Check = ("Invalid name", lambda b, t: not t.name_off or not b.is_identifier(t.name_off))
_TEXT: _Check = ("Invalid name", lambda b, t: not b.string(t.name_off))
_REF: _Check = ("Invalid type_id", lambda b, t: t.value > _MAX_TYPE)
_ENUM: tuple[_Check, ...] = (("Unexpected size", lambda b, t: t.value not in (1, 2, 4, 8)), _ANY_NAME)
_UNNAMED = (_VLEN, _FLAG, _REF, _NO_NAME)
_CHECKS: dict[Kind, tuple[_Check, ...]] = {
    Kind.INT: (
        _VLEN,
        _FLAG,
        ("nr_bits exceeds 128", lambda b, t: int_bits(t) + int_offset(t) > 128),
        ("nr_bits exceeds type_size", lambda b, t: (int_bits(t) + int_offset(t) + 7) // 8 > t.value),
        ("Unsupported encoding", lambda b, t: t.tail[0][0] >> 24 & 15 not in _ENCODINGS),
    ),
    Kind.PTR: (_VLEN, ("Invalid btf_info kind_flag", lambda b, t: t.flag), _REF, _NO_NAME),
    Kind.ARRAY: (
        _NO_NAME,
        _VLEN,
        _FLAG,
        ("size != 0", lambda b, t: t.value),
        ("Invalid elem", lambda b, t: not 0 < t.tail[0][0] <= _MAX_TYPE),
        ("Invalid index", lambda b, t: not 0 < t.tail[0][1] <= _MAX_TYPE),
    ),
    Kind.STRUCT: (_ANY_NAME,),
    Kind.UNION: (_ANY_NAME,),
    Kind.ENUM: _ENUM,
    Kind.ENUM64: _ENUM,
    Kind.FWD: (_VLEN, ("type != 0", lambda b, t: t.value), _NAME),
    Kind.TYPEDEF: (_VLEN, _FLAG, _REF, _NAME),
    Kind.VOLATILE: _UNNAMED,
    Kind.CONST: _UNNAMED,
    Kind.RESTRICT: _UNNAMED,
    Kind.TYPE_TAG: (_VLEN, _REF, _TEXT),
    Kind.FUNC: (_NAME, ("Invalid func linkage", lambda b, t: t.vlen > 1), _FLAG),
    Kind.FUNC_PROTO: (_NO_NAME, _FLAG),
    Kind.VAR: (
        _VLEN,
        _FLAG,
        _NAME,
        ("Invalid type_id", lambda b, t: not 0 < t.value <= _MAX_TYPE),
        ("Linkage not supported", lambda b, t: t.tail[0][0] > 1),
    ),
    Kind.DATASEC: (
        ("size == 0", lambda b, t: not t.value),
        _FLAG,
        ("Invalid name", lambda b, t: not t.name_off or not _SECTION.fullmatch(b.string(t.name_off))),
    ),
    Kind.FLOAT: (_VLEN, _FLAG, ("Invalid type_size", lambda b, t: t.value not in (2, 4, 8, 12, 16))),
    Kind.DECL_TAG: (
        ("Invalid value", lambda b, t: not b.string(t.name_off)),
        _VLEN,
        ("Invalid component_idx", lambda b, t: signed(t.tail[0][0]) < -1),
    ),
}
# What follows a type's head: the u32s of one row, and whether there are as many rows as vlen says.
_TAILS: dict[Kind, tuple[int, bool]] = {
    Kind.INT: (1, False),
    Kind.ARRAY: (3, False),
    Kind.VAR: (1, False),
    Kind.DECL_TAG: (1, False),
    Kind.STRUCT: (3, True),
    Kind.UNION: (3, True),
    Kind.ENUM: (2, True),
    Kind.ENUM64: (3, True),
    Kind.FUNC_PROTO: (2, True),
    Kind.DATASEC: (3, True),
}


def signed(word: int) -> int:
    return word - (1 << 32) if word >> 31 else word


def _order(x: tuple[int, int], y: tuple[int, int]) -> int:
    """How the kernel sorts sections: by the sign of 32 bits' difference."""
    return signed(x[0] - y[0] & _U32_MAX) or signed(x[1] - y[1] & _U32_MAX)


def int_bits(t: Raw) -> int:
    return t.tail[0][0] & 0xFF


def int_offset(t: Raw) -> int:
    return t.tail[0][0] >> 16 & 0xFF


def bits_of(t: Raw, offset: int) -> tuple[int, int]:
    """Where a member of a composite begins, and the size of a bit field: 0 for none."""
    return (offset & 0xFFFFFF, offset >> 24) if t.flag else (offset, 0)


class Table:
    """The types of BTF under way, and what is said of them."""

    def __init__(self, data: bytes, log: BtfLog) -> None:
        self.data, self.log = data, log
        self.strings = b""
        self.types: list[Raw | None] = [None]  # void
        self._known: dict[int, bool] = {}

    # -- strings -------------------------------------------------------------------------------------

    def string(self, offset: int) -> bytes:
        return self.strings[offset : self.strings.index(0, offset)]

    def is_inside(self, offset: int) -> bool:
        return offset <= _MAX_NAME_OFFSET and offset < len(self.strings)

    def is_identifier(self, offset: int) -> bool:
        known = self._known.get(offset)
        if known is None:
            known = self._known[offset] = _IDENTIFIER.fullmatch(self.string(offset)) is not None
        return known

    def name(self, offset: int) -> str:
        if not offset:
            return "(anon)"
        if offset >= len(self.strings):
            return "(invalid-name-offset)"
        return self.string(offset).decode("utf-8", "surrogateescape")

    # -- what is said --------------------------------------------------------------------------------

    def tell(self, t: Raw, what: str = "", *, details: bool = True) -> None:
        """A type's line of the log; with `what` is wrong of it."""
        if self.log.wanted:
            text = f"[{t.id}] {t.kind.name} {self.name(t.name_off)}"
            self.log.say(f"{text} {self._details(t)}" if details else text)
            self.log.say(f" {what}\n" if what else "\n")

    def bad(self, t: Raw, what: str, number: int = errno.EINVAL, *, details: bool = True) -> NoReturn:
        self.tell(t, what, details=details)
        raise refuse(number, f"BTF type {t.id} ({t.kind.name} {self.name(t.name_off)}): {what}")

    def tell_row(self, t: Raw, row: tuple[int, ...], what: str = "") -> None:
        """A member's line, or that of a section's variable."""
        if not self.log.wanted:
            return
        if t.kind is Kind.DATASEC:
            text = f"\t type_id={row[0]} offset={row[1]} size={row[2]}"
        elif t.flag:
            start, bits = bits_of(t, row[2])
            text = f"\t{self.name(row[0])} type_id={row[1]} bitfield_size={bits} bits_offset={start}"
        else:
            text = f"\t{self.name(row[0])} type_id={row[1]} bits_offset={row[2]}"
        self.log.say(f"{text} {what}\n" if what else f"{text}\n")

    def bad_row(self, t: Raw, row: tuple[int, ...], what: str) -> NoReturn:
        self.tell_row(t, row, what)
        raise refuse(errno.EINVAL, f"BTF type {t.id} ({t.kind.name} {self.name(t.name_off)}): {what}")

    def _details(self, t: Raw) -> str:
        kind = t.kind
        if kind is Kind.INT:
            encoding = _ENCODINGS.get(t.tail[0][0] >> 24 & 15, "UNKN")
            return f"size={t.value} bits_offset={int_offset(t)} nr_bits={int_bits(t)} encoding={encoding}"
        if kind is Kind.ARRAY:
            return "type_id={} index_type_id={} nr_elems={}".format(*t.tail[0])
        if kind is Kind.FWD:
            return "union" if t.flag else "struct"
        if kind is Kind.FLOAT:
            return f"size={t.value}"
        if kind is Kind.VAR:
            return f"type_id={t.value} linkage={t.tail[0][0]}"
        if kind is Kind.DECL_TAG:
            return f"type={t.value} component_idx={signed(t.tail[0][0])}"
        if kind is Kind.FUNC_PROTO:
            args = [f"{type_id} {self.name(name)}" for name, type_id in t.tail]
            if args and not t.tail[-1][1]:
                args[-1] = "vararg"
            return f"return={t.value} args=({', '.join(args) or 'void'})"
        if kind in _TAILS:
            return f"size={t.value} vlen={t.vlen}"
        return f"type_id={t.value}"

    # -- reading -------------------------------------------------------------------------------------

    def read(self) -> None:
        """Header, strings, and each type by itself. Raises EINVAL, ENOTSUPP, E2BIG."""
        data, log = self.data, self.log
        if len(data) < 8:
            log.refuse("hdr_len not found")
        hdr_len = int.from_bytes(data[4:8], "little")
        if len(data) < hdr_len:
            log.refuse("btf_header not found")
        if any(data[_HEADER.size : hdr_len]):
            log.refuse("Unsupported btf_header", errno.E2BIG)
        header = _HEADER.unpack(data[: min(hdr_len, _HEADER.size)].ljust(_HEADER.size, b"\0"))
        magic, version, flags, hdr_len, type_off, type_len, str_off, str_len = header
        names = ("hdr_len", "type_off", "type_len", "str_off", "str_len")
        log.say(f"magic: {magic:#x}\nversion: {version}\nflags: {flags:#x}\n")
        log.say("".join(f"{name}: {n}\n" for name, n in zip(names, header[3:], strict=True)))
        log.say(f"btf_total_size: {len(data)}\n")
        if magic != 0xEB9F:
            log.refuse("Invalid magic")
        if version != 1:
            log.refuse("Unsupported version", ENOTSUPP)
        if flags:
            log.refuse("Unsupported flags", ENOTSUPP)
        if len(data) == hdr_len:
            log.refuse("No data")
        self._sections(len(data) - hdr_len, [(type_off, type_len), (str_off, str_len)])
        if hdr_len + str_off + str_len != len(data):
            log.refuse("String section is not at the end")
        self.strings = data[hdr_len + str_off :]
        if not str_len or str_len - 1 > _MAX_NAME_OFFSET or self.strings[-1] or self.strings[0]:
            log.refuse("Invalid string section")
        if type_off % 4:
            log.refuse("Unaligned type_off")
        if not type_len:
            log.refuse("No type found")
        start = hdr_len + type_off
        self._types(start, start + type_len)

    def _sections(self, room: int, sections: list[tuple[int, int]]) -> None:
        total = 0
        for off, size in sorted(sections, key=cmp_to_key(_order)):
            if room < off:
                self.log.refuse("Invalid section offset")
            if total < off:
                self.log.refuse("Unsupported section found")
            if total > off:
                self.log.refuse("Section overlap found")
            if room - total < size:
                self.log.refuse("Total section length too long")
            total += size
        if room != total:
            self.log.refuse("Unsupported section found")

    def _types(self, pos: int, end: int) -> None:
        while pos < end:
            number, left = len(self.types), end - pos - 12
            if left < 0:
                self.log.refuse(f"[{number}] meta_left:{left + 12} meta_needed:12")
            name_off, info, value = struct.unpack_from("<III", self.data, pos)
            if info & ~_INFO_MASK & _U32_MAX:
                self.log.refuse(f"[{number}] Invalid btf_info:{info:x}")
            if not 0 < info >> 24 & 31 <= _MAX_KIND:
                self.log.refuse(f"[{number}] Invalid kind:{info >> 24 & 31}")
            if not self.is_inside(name_off):
                self.log.refuse(f"[{number}] Invalid name_offset:{name_off}")
            t = Raw(number, name_off, info, value)
            words, each = _TAILS.get(t.kind, (0, False))
            needed = words * 4 * (t.vlen if each else 1)
            if left < needed:
                self.bad(t, f"meta_left:{left} meta_needed:{needed}", details=False)
            rows = struct.iter_unpack(f"<{words}I", self.data[pos + 12 : pos + 12 + needed]) if needed else ()
            t.tail = list(rows)
            self._check(t)
            if number > _MAX_TYPE:
                self.log.refuse("Exceeded max num of types", errno.E2BIG)
            self.types.append(t)
            pos += 12 + needed

    def _check(self, t: Raw) -> None:
        if t.kind is Kind.INT and not t.vlen and not t.flag and t.tail[0][0] & ~_INT_MASK:
            self.bad(t, f"Invalid int_data:{t.tail[0][0]:x}", details=False)
        for what, is_bad in _CHECKS[t.kind]:
            if is_bad(self, t):
                self.bad(t, what, ENOTSUPP if what == "Unsupported encoding" else errno.EINVAL)
        self.tell(t)
        if t.kind in (Kind.STRUCT, Kind.UNION):
            self._members(t)
        elif t.kind in (Kind.ENUM, Kind.ENUM64):
            self._values(t)
        elif t.kind is Kind.DATASEC:
            self._variables(t)

    def _members(self, t: Raw) -> None:
        last = 0
        for row in t.tail:
            name_off, type_id, offset = row
            if not self.is_inside(name_off):
                self.bad_row(t, row, f"Invalid member name_offset:{name_off}")
            if name_off and not self.is_identifier(name_off):
                self.bad_row(t, row, "Invalid name")
            if not 0 < type_id <= _MAX_TYPE:
                self.bad_row(t, row, "Invalid type_id")
            start, _ = bits_of(t, offset)
            if (t.kind is Kind.UNION and start) or last > start:
                self.bad_row(t, row, "Invalid member bits_offset")
            if (start + 7) // 8 > t.value:
                self.bad_row(t, row, "Member bits_offset exceeds its struct size")
            self.tell_row(t, row)
            last = start

    def _values(self, t: Raw) -> None:
        for name_off, *words in t.tail:
            if not self.is_inside(name_off):
                self.log.refuse(f"\tInvalid name_offset:{name_off}")
            if not name_off or not self.is_identifier(name_off):
                self.bad(t, "Invalid name")
            if self.log.wanted:
                bits = 32 * len(words)
                value = sum(word << 32 * i for i, word in enumerate(words))
                self.log.say(
                    f"\t{self.name(name_off)} val={value - (1 << bits) if t.flag and value >> bits - 1 else value}\n"
                )

    def _variables(self, t: Raw) -> None:
        last = total = 0
        for row in t.tail:
            type_id, offset, size = row
            if not 0 < type_id <= _MAX_TYPE:
                self.bad_row(t, row, "Invalid type_id")
            if not last <= offset < t.value:
                self.bad_row(t, row, "Invalid offset")
            if not 0 < size <= t.value:
                self.bad_row(t, row, "Invalid size")
            last = offset + size
            if last > t.value:
                self.bad_row(t, row, "Invalid offset+size")
            self.tell_row(t, row)
            total += size
        if t.value < total:
            self.bad(t, "Invalid btf_info size")

    def __iter__(self) -> Iterator[Raw]:
        return (t for t in self.types if t is not None)
