"""ELF bytes -> sections, symbols and relocations, checked so far that the rest can rely on them.

Straight from their bytes, by the System V ABI's structures: a hostile file may claim anything to be huge.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from typing import NamedTuple

from ..dataclass import dataclass, field
from ..errors import ObjectError

EM_BPF = 247
R_BPF_64_64, R_BPF_64_32 = 1, 10
# Symbol types, bindings and visibilities (the System V ABI's numbers).
STT_NOTYPE, STT_OBJECT, STT_FUNC, STT_SECTION = 0, 1, 2, 3
STB_LOCAL, STB_GLOBAL, STB_WEAK = 0, 1, 2
_HIDDEN = (1, 2)  # STV_INTERNAL, STV_HIDDEN
_SHN_RESERVED = 0xFF00
_SHF_WRITE, _SHF_EXECINSTR, _SHF_COMPRESSED = 1, 4, 0x800
_ET_REL, _CLASS64, _LITTLE = 1, 2, 1
_TYPES = {0: "ET_NONE", 2: "ET_EXEC", 3: "ET_DYN", 4: "ET_CORE"}
_SHN_XINDEX = 0xFFFF
_SHT_NULL, _SHT_PROGBITS, _SHT_SYMTAB, _SHT_STRTAB, _SHT_RELA, _SHT_NOBITS, _SHT_REL = 0, 1, 2, 3, 4, 8, 9
_HEADER, _SECTION = struct.Struct("<16xHHIQQQIHHHHHH"), struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_REL, _RELA = struct.Struct("<QQ"), struct.Struct("<QQq")
_MAX_FILE = 256 << 20


class Header(NamedTuple):
    """A section's header: `name_off` in the table of names, `at` and `size` in the file; link, info as `kind` means them."""

    name_off: int
    kind: int
    flags: int
    addr: int
    at: int
    size: int
    link: int
    info: int
    align: int
    entry_size: int


@dataclass(frozen=True, slots=True)
class Symbol:
    """`section` is a section index, 0 undefined, -1 none of this file; `offset` and `size` in bytes."""

    name: str
    section: int
    offset: int
    size: int
    kind: int
    bind: int
    hidden: bool = False

    @property
    def weak(self) -> bool:
        return self.bind == STB_WEAK


@dataclass(frozen=True, slots=True)
class Reloc:
    offset: int
    kind: int
    symbol: Symbol


@dataclass(slots=True)
class ElfSection:
    index: int
    name: str
    data: bytes
    size: int
    executable: bool
    writable: bool
    nobits: bool
    relocs: list[Reloc] = field(default_factory=list)


class Elf:
    """The sections by index, the symbols in order, and both by name and place."""

    def __init__(self, sections: dict[int, ElfSection], symbols: list[Symbol]) -> None:
        self.sections = sections
        self.symbols = symbols
        self._by_name: dict[str, ElfSection] = {}
        for s in sections.values():
            self._by_name.setdefault(s.name, s)
        self._objects: dict[tuple[int, int], Symbol] = {}
        self.in_section: defaultdict[int, list[Symbol]] = defaultdict(list)
        for sym in symbols:
            self.in_section[sym.section].append(sym)
            if sym.kind in (STT_OBJECT, STT_NOTYPE) and sym.name:
                self._objects.setdefault((sym.section, sym.offset), sym)

    def find(self, name: str) -> ElfSection | None:
        return self._by_name.get(name)

    def object_at(self, section: int, offset: int) -> Symbol | None:
        """The variable that begins there."""
        return self._objects.get((section, offset))


def read_elf(data: bytes, file: str) -> Elf:
    """Parse a relocatable BPF object. Raises ObjectError with the file and what is wrong."""
    if data[:4] != b"\x7fELF":
        raise ObjectError("not an ELF file" if data else "an empty file, no ELF", file=file)
    if len(data) > _MAX_FILE:
        raise ObjectError(f"ELF of {len(data)} bytes, wanted at most {_MAX_FILE}", file=file)
    if len(data) < _HEADER.size:
        raise ObjectError(f"truncated ELF: {len(data)} bytes, shorter than its header", file=file)
    headers, names = _headers(data, file)
    sections: dict[int, ElfSection] = {}
    tables: list[tuple[int, int, bytes]] = []
    strings: dict[int, bytes] = {}
    symtab: tuple[int, bytes] | None = None
    total = 0
    for index, header in enumerate(headers):
        kind, flags, size, at = header.kind, header.flags, header.size, header.at
        if kind == _SHT_NULL:
            continue
        name = _section_name(names, header, index, file)
        if flags & _SHF_COMPRESSED:
            raise ObjectError("compressed", file=file, section=name)
        if kind == _SHT_NOBITS:
            sections[index] = ElfSection(index, name, b"", size, False, bool(flags & _SHF_WRITE), True)
            continue
        total += size
        if at + size > len(data) or total > len(data):
            raise ObjectError(f"{size} bytes at {at:#x} reach past the end of the file", file=file, section=name)
        raw = data[at : at + size]
        if kind == _SHT_SYMTAB:
            if symtab is not None:
                raise ObjectError("two symbol tables", file=file)
            symtab = header.link, raw
        elif kind == _SHT_STRTAB:
            strings[index] = raw
        elif kind in (_SHT_REL, _SHT_RELA):
            tables.append((kind, header.info, raw))
        elif (kind == _SHT_PROGBITS and not name.startswith(".debug")) or name in (".BTF", ".BTF.ext"):
            executable, writable = bool(flags & _SHF_EXECINSTR), bool(flags & _SHF_WRITE)
            sections[index] = ElfSection(index, name, raw, size, executable, writable, False)
    if symtab is not None and symtab[0] not in strings:
        raise ObjectError(f"names of symbols in section {symtab[0]}, which is no STRTAB", file=file)
    symbols = _symbols(symtab[1], strings[symtab[0]], file) if symtab is not None else []
    for kind, target, raw in tables:
        # .rel.BTF and its like repeat what the symbols say; the loader fills those places from them.
        if target in sections and not sections[target].name.startswith(".BTF"):
            sections[target].relocs = _relocs(kind, raw, symbols, file, sections[target].name)
    return Elf(sections, symbols)


def _headers(data: bytes, file: str) -> tuple[list[Header], bytes]:
    """The sections' headers, and the table of their names. Raises ObjectError for what is no BPF object."""
    wide, order = data[4] == _CLASS64, data[5]
    if not wide or order != _LITTLE:
        said = f"{64 if wide else 32}-bit {'little' if order == _LITTLE else 'big'}-endian"
        raise ObjectError(f"{said} ELF, wanted 64-bit little-endian", file=file)
    kind, machine, _, _, _, start, _, _, _, _, size, count, names_at = _HEADER.unpack_from(data)
    if machine != EM_BPF:
        raise ObjectError(f"ELF machine {machine}, wanted BPF ({EM_BPF})", file=file)
    if kind != _ET_REL:
        raise ObjectError(f"ELF type {_TYPES.get(kind, kind)}, wanted a relocatable object", file=file)
    if not start:
        return [], b""
    if size != _SECTION.size:
        raise ObjectError(f"malformed ELF: section headers of {size} bytes, wanted {_SECTION.size}", file=file)
    if start + size <= len(data):
        first = Header(*_SECTION.unpack_from(data, start))  # where there are too many, it says how many and where
        count = count or first.size
        names_at = first.link if names_at == _SHN_XINDEX else names_at
    if start + count * size > len(data):
        raise ObjectError(
            f"truncated ELF: section headers end at {start + count * size}, the file at {len(data)}", file=file
        )
    headers = [Header(*_SECTION.unpack_from(data, start + i * size)) for i in range(count)]
    if names_at >= count:
        raise ObjectError(f"malformed ELF: names are in section {names_at} of {count}", file=file)
    table = headers[names_at]
    return headers, data[table.at : table.at + table.size]


def _section_name(names: bytes, header: Header, index: int, file: str) -> str:
    end = names.find(b"\0", header.name_off)
    if end < 0:
        raise ObjectError(f"malformed ELF: section {index}: name outside the string table", file=file)
    return names[header.name_off : end].decode("utf-8", "replace")


def _symbols(raw: bytes, names: bytes, file: str) -> list[Symbol]:
    if len(raw) % _SYMBOL.size:
        raise ObjectError(f"symbol table of {len(raw)} bytes, not a multiple of {_SYMBOL.size}", file=file)
    symbols: list[Symbol] = []
    for name_off, info, other, section, value, size in _SYMBOL.iter_unpack(raw):
        end = names.find(b"\0", name_off)
        if name_off and end < 0:
            raise ObjectError(f"symbol {len(symbols)}: name outside the string table", file=file)
        # Names come from their bytes each time, so long ones that share a tail could add up.
        if end - name_off > 4096:
            raise ObjectError(f"symbol {len(symbols)}: name of {end - name_off} bytes", file=file)
        name = names[name_off:end].decode("utf-8", "replace") if name_off else ""
        where = section if section < _SHN_RESERVED else -1
        symbols.append(Symbol(name, where, value, size, info & 15, info >> 4, other & 3 in _HIDDEN))
    return symbols


def _relocs(kind: int, raw: bytes, symbols: list[Symbol], file: str, section: str) -> list[Reloc]:
    form = _REL if kind == _SHT_REL else _RELA
    if len(raw) % form.size:
        raise ObjectError(f"relocations of {len(raw)} bytes, not a multiple of {form.size}", file=file, section=section)
    found = []
    for offset, info, *addend in form.iter_unpack(raw):
        if info >> 32 >= len(symbols):
            raise ObjectError(
                f"relocation against symbol {info >> 32} of {len(symbols)}", file=file, section=section, offset=offset
            )
        if addend and addend[0]:
            raise ObjectError("relocation with an explicit addend, BPF has none", file=file, section=section, offset=offset)
        found.append(Reloc(offset, info & 0xFFFFFFFF, symbols[info >> 32]))
    return found
