"""BTF types as ctypes, in Python source that type checkers understand: what skeletons show data with."""

from __future__ import annotations

import keyword

from ..btf import Btf, Kind, Member, Type
from ..btf.types import COMPOSITES, ENUMS
from ..errors import BtfError

_CHAR, _BOOL = 2, 4  # of a BTF integer's encoding


def pascal(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("_") if part) or "Anon"


def identifier(name: str) -> str:
    """A name that Python takes as an attribute; classes call one that begins with two underscores by another, unless it ends
    with two."""
    made = c_identifier(name)
    return f"{made}__" if made.startswith("__") else f"{made}_" if keyword.iskeyword(made) else made


def c_identifier(name: str) -> str:
    """A name that C takes."""
    made = "".join(c if c.isalnum() or c == "_" else "_" for c in name)
    return f"_{made}" if made[:1].isdigit() else made


class PyTypes:
    """Collects classes, each after those it needs. `lines` is their source.

    Members lie where BTF says (holes are spelled out), so no rule of alignment of ours or ctypes' matters; bitfields are
    the bytes that hold them.
    """

    def __init__(self, btf: Btf) -> None:
        self.btf = btf
        self.lines: list[str] = []
        self._names: dict[int, str] = {}
        self.taken: set[str] = set()

    def of(self, type_id: int, hint: str = "anon") -> tuple[str, str]:
        """A type's (ctypes expression, annotation of a Python value); classes it needs are written first."""
        t = self.btf.resolve(type_id)
        if t.kind is Kind.PTR:
            return "ctypes.c_uint64", "int"
        if t.kind is Kind.INT:
            return _integer(t)
        if t.kind in ENUMS:
            return f"ctypes.c_{'' if t.signed else 'u'}int{t.size * 8}", "int"
        if t.kind is Kind.FLOAT and t.size in (4, 8):
            return ("ctypes.c_float", "float") if t.size == 4 else ("ctypes.c_double", "float")
        if t.kind is Kind.ARRAY:
            form, _ = self.of(t.ref, hint)
            if form == "ctypes.c_char":
                return f"ctypes.c_char * {t.nelems}", "bytes"
            return f"{form} * {t.nelems}" if " " not in form else f"({form}) * {t.nelems}", f"ctypes.Array[{_element(form)}]"
        if t.kind in COMPOSITES:
            name = self._composite(self.btf.skip(type_id), t, hint)
            return name, name
        try:
            return f"ctypes.c_uint8 * {self.btf.size_of(type_id)}", "ctypes.Array[ctypes.c_uint8]"
        except BtfError:
            return "ctypes.c_uint8 * 0", "ctypes.Array[ctypes.c_uint8]"

    def _name(self, wanted: str) -> str:
        name, n = pascal(identifier(wanted)), 1
        while name in self.taken:
            n += 1
            name = f"{pascal(identifier(wanted))}{n}"
        self.taken.add(name)
        return name

    def _composite(self, type_id: int, t: Type, hint: str) -> str:
        found = self._names.get(type_id)
        if found is None:
            found = self._names[type_id] = self._name(t.name or hint)
            members = [(m, self.btf.resolve(m.type_id)) for m in t.members]
            self._write(found, t, [(m, m.bit_offset // 8) for m, _ in members])
        return found

    def section(self, name: str, type_id: int) -> str:
        """The class of a data section: its variables where they lie."""
        t = self.btf.type(type_id)
        rows = []
        for v in t.secvars:
            var = self.btf.type(v.type_id)
            rows.append((Member(var.name, var.ref, v.offset * 8), v.offset))
        made = self._name(name)
        self._write(made, t, rows)
        return made

    def _write(self, name: str, t: Type, rows: list[tuple[Member, int]]) -> None:
        union = t.kind is Kind.UNION
        fields, hints, at, anonymous = [], [], 0, []
        for i, (m, offset) in enumerate(rows):
            if m.bitfield_bits or (not union and offset < at):
                continue  # their bytes are part of the hole that follows
            form, hint = self.of(m.type_id, f"{name}_{m.name or i}")
            if offset > at and not union:
                fields.append((f"_hole{at}", f"ctypes.c_uint8 * {offset - at}"))
            attribute = identifier(m.name) if m.name else f"_anon{i}"
            fields.append((attribute, form))
            if m.name:
                hints.append(f"    {attribute}: {hint}")
            else:
                anonymous.append(attribute)
                hints += [f"    {line}" for line in self._members(m.type_id)]
            at = offset + self._size(m.type_id)
        if t.size > at or union:
            fields.append((f"_hole{at if not union else 0}", f"ctypes.c_uint8 * {t.size - (0 if union else at)}"))
        out = [f"class {name}(ctypes.{'Union' if union else 'Structure'}):", *hints]
        out.append("    _pack_ = 1")
        if anonymous:
            out.append(f"    _anonymous_ = ({', '.join(repr(a) for a in anonymous)},)")
        out += ["    _fields_ = [", *[f'        ("{n}", {form}),' for n, form in fields], "    ]", "", ""]
        self.lines += out

    def _members(self, type_id: int) -> list[str]:
        found = []
        for m in self.btf.resolve(type_id).members:
            if m.name and not m.bitfield_bits:
                found.append(f"{identifier(m.name)}: {self.of(m.type_id)[1]}")
            elif not m.name:
                found += self._members(m.type_id)
        return found

    def _size(self, type_id: int) -> int:
        try:
            return self.btf.size_of(type_id)
        except BtfError:
            return 0


def _integer(t: Type) -> tuple[str, str]:
    if t.encoding & _BOOL and t.size == 1:
        return "ctypes.c_bool", "bool"
    if t.size == 1 and (t.name == "char" or t.encoding & _CHAR):
        return "ctypes.c_char", "bytes"
    if t.size in (1, 2, 4, 8):
        return f"ctypes.c_{'' if t.signed else 'u'}int{t.size * 8}", "int"
    return f"ctypes.c_uint8 * {t.size}", "ctypes.Array[ctypes.c_uint8]"


def _element(form: str) -> str:
    """An array's element as an annotation: of an array of arrays, the inner one."""
    inner, _, _ = form.rpartition(" * ")
    return f"ctypes.Array[{_element(inner.strip('()'))}]" if inner else form
