"""What a compiler leaves open in an object's BTF and the loader must fill in before a kernel takes it."""

from __future__ import annotations

from dataclasses import replace

from ..btf import Btf, BtfId, Kind, RawBtf, SecVar, Type, parse_btf, write_btf
from ..errors import BtfError
from .reader import Elf
from .spec import Extern


def fix_btf(btf: RawBtf, elf: Elf, externs: dict[str, Extern]) -> RawBtf:
    """Sizes and offsets of data sections from the ELF symbols; externs made definitions, as kernels want them.

    Ids stay. A section that is not in the object becomes an empty struct's place holder (a void typedef would
    be refused), which no reference reaches.
    """
    types = [btf.type(i) for i in range(len(btf))]
    if not any(t.kind is Kind.DATASEC for t in types):
        return btf
    offsets = {(s.section, s.name): (s.offset, s.size) for s in elf.symbols if s.name}
    for i, t in enumerate(types):
        if t.kind is Kind.DATASEC:
            types[i] = _datasec(btf, types, t, elf, offsets, externs)
    return parse_btf(write_btf(Btf(types), btf.strings))


def _datasec(
    btf: RawBtf,
    types: list[Type],
    t: Type,
    elf: Elf,
    offsets: dict[tuple[int, str], tuple[int, int]],
    externs: dict[str, Extern],
) -> Type:
    section = elf.find(t.name)
    variables = []
    end = 0
    for v in t.secvars:
        var = btf.type(v.type_id)
        if section is not None:
            offset, size = offsets.get((section.index, var.name), (v.offset, v.size))
        elif var.name in externs:
            offset, size = externs[var.name].offset, externs[var.name].size
            _define(types, v.type_id)
        else:
            offset, size = v.offset, v.size
        variables.append(SecVar(v.type_id, offset, size or v.size or _size(btf, var)))
        end = max(end, offset + variables[-1].size)
    if t.name == ".ksyms":
        # Kernel functions have no place in a data section that a kernel would take.
        return Type(Kind.STRUCT, "", 0)
    variables.sort(key=lambda v: v.offset)
    return replace(t, size=section.size if section is not None else end, secvars=tuple(variables))


def _size(btf: RawBtf, var: Type) -> int:
    try:
        return btf.size_of(var.ref)
    except BtfError:
        return 0


def _define(types: list[Type], type_id: BtfId) -> None:
    """An extern is a definition to the kernel: linkage 1."""
    if types[type_id].linkage == 2:
        types[type_id] = replace(types[type_id], linkage=1)
