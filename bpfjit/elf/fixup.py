"""What a compiler leaves open in an object's BTF and the loader must fill in before a kernel takes it."""

from __future__ import annotations

from ..btf import Btf, BtfId, Kind, Param, RawBtf, SecVar, Type, parse_btf, write_btf
from ..dataclass import replace
from ..errors import BtfError
from .reader import STT_FUNC, Elf, Symbol
from .spec import Extern

_STATIC, _GLOBAL, _EXTERN = 0, 1, 2  # linkage of FUNC and VAR
_U32 = 0xFFFFFFFF


def fix_btf(btf: RawBtf, elf: Elf, externs: dict[str, Extern]) -> RawBtf:
    """Sizes and offsets of data sections from the ELF symbols; externs made definitions; hidden functions static.

    Ids stay. Linux takes neither extern linkage nor functions in a DATASEC, so .ksyms becomes an empty struct
    (a void typedef would be refused) that nothing refers to. Raises BtfError for offsets that BTF cannot hold.
    """
    types = [btf.type(i) for i in range(len(btf))]
    hidden = {s.name for s in elf.symbols if s.kind == STT_FUNC and s.hidden}
    named = {(s.section, s.name): s for s in elf.symbols if s.name}
    ksyms: set[int] = set()
    changed = False
    for i, t in enumerate(types):
        if t.kind is Kind.DATASEC:
            if t.name == ".ksyms":
                ksyms |= {int(v.type_id) for v in t.secvars}
                types[i] = Type(Kind.STRUCT)
            else:
                types[i] = _datasec(btf, t, elf, named, externs)
        elif t.kind is Kind.FUNC and t.name in hidden and t.linkage == _GLOBAL:
            # A hidden function is verified in its callers, like a static one.
            types[i] = replace(t, linkage=_STATIC)
        elif t.kind is Kind.FUNC and t.linkage == _EXTERN:
            types[i] = replace(t, linkage=_GLOBAL)
            types[t.ref] = _named_params(types[t.ref])
        elif t.kind is Kind.VAR and t.linkage == _EXTERN:
            types[i] = replace(t, linkage=_GLOBAL)
        changed |= types[i] is not t
    if not changed:
        return btf
    if any(types[i].kind is Kind.VAR for i in ksyms):
        # A kernel symbol may be of a type without a size (const void), which no variable may have.
        types.append(Type(Kind.INT, "int", 4, bits=32, encoding=1, signed=True))
        for i in ksyms:
            if types[i].kind is Kind.VAR:
                types[i] = replace(types[i], ref=BtfId(len(types) - 1))
    return parse_btf(write_btf(Btf(types), btf.strings))


def _named_params(proto: Type) -> Type:
    """Linux wants the parameters of a function that is not extern to have names."""
    params = [p if p.name or p.type_id == 0 else Param(f"arg{i}", p.type_id) for i, p in enumerate(proto.params)]
    return replace(proto, params=tuple(params))


def _datasec(btf: RawBtf, t: Type, elf: Elf, named: dict[tuple[int, str], Symbol], externs: dict[str, Extern]) -> Type:
    section = elf.find(t.name)
    variables = []
    end = 0
    for v in t.secvars:
        var = btf.type(v.type_id)
        offset, size = v.offset, v.size
        if section is not None:
            # Of a static variable the compiler says where it lies, of a global one its symbol.
            symbol = named.get((section.index, var.name))
            if symbol is not None and var.linkage != _STATIC:
                offset, size = symbol.offset, symbol.size
        elif var.name in externs:
            offset, size = externs[var.name].offset, externs[var.name].size
        size = size or v.size or _size(btf, var)
        end = max(end, offset + size)
        if end > _U32:
            raise BtfError(f"variable {var.name} of {size} bytes at {offset:#x} of {t.name}")
        variables.append(SecVar(v.type_id, offset, size))
    size = section.size if section is not None else end
    if size > _U32:
        raise BtfError(f"section {t.name} of {size} bytes")
    variables.sort(key=lambda v: v.offset)
    return replace(t, size=size, secvars=tuple(variables))


def _size(btf: RawBtf, var: Type) -> int:
    try:
        return btf.size_of(var.ref)
    except BtfError:
        return 0
