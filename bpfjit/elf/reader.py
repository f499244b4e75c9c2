"""ELF bytes -> sections, symbols and relocations, checked so far that the rest can rely on them.

Headers are read through pyelftools; tables of symbols and relocations, which a hostile file may claim to be
huge, straight from their bytes.
"""

from __future__ import annotations

import io
import struct
from collections import defaultdict

from elftools.elf.elffile import ELFFile

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
_SYMBOL = struct.Struct("<IBBHQQ")
_REL, _RELA = struct.Struct("<QQ"), struct.Struct("<QQq")
_MAX_FILE = 256 << 20


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
    try:
        return _read(data, file)
    except ObjectError:
        raise
    except Exception as e:  # pyelftools raises whatever its parsers stumble over in a hostile file
        text = str(e).strip() or "cannot be read"
        raise ObjectError(f"malformed ELF: {type(e).__name__}: {text}", file=file) from None


def _read(data: bytes, file: str) -> Elf:
    if len(data) < 64:
        raise ObjectError(f"truncated ELF: {len(data)} bytes, shorter than its header", file=file)
    elf = ELFFile(io.BytesIO(data))
    if elf.elfclass != 64 or not elf.little_endian:
        order = "little" if elf.little_endian else "big"
        raise ObjectError(f"{elf.elfclass}-bit {order}-endian ELF, wanted 64-bit little-endian", file=file)
    if elf.header["e_machine"] not in ("EM_BPF", EM_BPF):
        raise ObjectError(f"ELF machine {elf.header['e_machine']}, wanted BPF", file=file)
    if elf.header["e_type"] != "ET_REL":
        raise ObjectError(f"ELF type {elf.header['e_type']}, wanted a relocatable object", file=file)
    end = int(elf.header["e_shoff"]) + int(elf.header["e_shnum"]) * int(elf.header["e_shentsize"])
    if end > len(data):
        raise ObjectError(f"truncated ELF: section headers end at {end}, the file at {len(data)}", file=file)
    sections: dict[int, ElfSection] = {}
    tables: list[tuple[str, int, bytes]] = []
    strings: dict[int, bytes] = {}
    symtab: tuple[int, bytes] | None = None
    total = 0
    for index, s in enumerate(elf.iter_sections()):
        header = s.header
        kind, flags, size, at = header["sh_type"], int(header["sh_flags"]), int(header["sh_size"]), int(header["sh_offset"])
        if kind == "SHT_NULL":
            continue
        if flags & _SHF_COMPRESSED:
            raise ObjectError("compressed", file=file, section=s.name)
        if kind == "SHT_NOBITS":
            sections[index] = ElfSection(index, s.name, b"", size, False, bool(flags & _SHF_WRITE), True)
            continue
        total += size
        if at + size > len(data) or total > len(data):
            raise ObjectError(f"{size} bytes at {at:#x} reach past the end of the file", file=file, section=s.name)
        raw = data[at : at + size]
        if kind == "SHT_SYMTAB":
            if symtab is not None:
                raise ObjectError("two symbol tables", file=file)
            symtab = int(header["sh_link"]), raw
        elif kind == "SHT_STRTAB":
            strings[index] = raw
        elif kind in ("SHT_REL", "SHT_RELA"):
            tables.append((kind, int(header["sh_info"]), raw))
        elif (kind == "SHT_PROGBITS" and not s.name.startswith(".debug")) or s.name in (".BTF", ".BTF.ext"):
            executable, writable = bool(flags & _SHF_EXECINSTR), bool(flags & _SHF_WRITE)
            sections[index] = ElfSection(index, s.name, raw, size, executable, writable, False)
    symbols = _symbols(symtab[1], strings.get(symtab[0], b""), file) if symtab is not None else []
    for kind, target, raw in tables:
        # .rel.BTF and its like repeat what the symbols say; the loader fills those places from them.
        if target in sections and not sections[target].name.startswith(".BTF"):
            sections[target].relocs = _relocs(kind, raw, symbols, file, sections[target].name)
    return Elf(sections, symbols)


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


def _relocs(kind: str, raw: bytes, symbols: list[Symbol], file: str, section: str) -> list[Reloc]:
    form = _REL if kind == "SHT_REL" else _RELA
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
