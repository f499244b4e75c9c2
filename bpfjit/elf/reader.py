"""ELF bytes -> sections, symbols and relocations, checked so far that the rest can rely on them."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

from elftools.common.exceptions import ELFError
from elftools.construct.lib.container import Container
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import SymbolTableSection

from ..errors import ObjectError

EM_BPF = 247
R_BPF_64_64, R_BPF_64_32 = 1, 10


@dataclass(frozen=True, slots=True)
class Symbol:
    """`section` is a section index, 0 undefined; `offset` and `size` in bytes."""

    name: str
    section: int
    offset: int
    size: int
    kind: str
    bind: str


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


@dataclass(slots=True)
class Elf:
    sections: dict[int, ElfSection]
    symbols: list[Symbol]

    def find(self, name: str) -> ElfSection | None:
        return next((s for s in self.sections.values() if s.name == name), None)


def _int(container: Container, key: str) -> int:
    return int(container[key])


def read_elf(data: bytes, file: str) -> Elf:
    """Parse a relocatable BPF object. Raises ObjectError with the file and what is wrong."""
    try:
        return _read(data, file)
    except ObjectError:
        raise
    except Exception as e:  # pyelftools raises whatever its parsers stumble over in a hostile file
        raise ObjectError(f"malformed ELF: {type(e).__name__}: {e}", file=file) from None


def _read(data: bytes, file: str) -> Elf:
    if data[:4] != b"\x7fELF":
        raise ObjectError("not an ELF file", file=file)
    try:
        elf = ELFFile(io.BytesIO(data))
    except ELFError as e:
        raise ObjectError(f"malformed ELF: {e}", file=file) from None
    if elf.elfclass != 64 or not elf.little_endian:
        raise ObjectError(
            f"ELF of {elf.elfclass} bits, little endian {elf.little_endian}; wanted 64, little endian", file=file
        )
    if elf.header["e_machine"] not in ("EM_BPF", EM_BPF):
        raise ObjectError(f"ELF machine {elf.header['e_machine']}, wanted BPF", file=file)
    if elf.header["e_type"] != "ET_REL":
        raise ObjectError(f"ELF type {elf.header['e_type']}, wanted a relocatable object", file=file)
    sections: dict[int, ElfSection] = {}
    symbols: list[Symbol] = []
    relocations = []
    for index, s in enumerate(elf.iter_sections()):
        flags, size, kind = _int(s.header, "sh_flags"), _int(s.header, "sh_size"), s.header["sh_type"]
        nobits = kind == "SHT_NOBITS"
        if not nobits and kind != "SHT_NULL" and _int(s.header, "sh_offset") + size > len(data):
            raise ObjectError(f"section {s.name} of {size} bytes reaches past the end of the file", file=file)
        if nobits and size > 1 << 30:
            raise ObjectError(f"section {s.name} of {size} bytes", file=file)
        if isinstance(s, SymbolTableSection):
            for sym in s.iter_symbols():
                shndx = sym["st_shndx"]
                where = shndx if isinstance(shndx, int) else 0 if shndx == "SHN_UNDEF" else -1
                symbols.append(
                    Symbol(
                        sym.name,
                        where,
                        int(sym["st_value"]),
                        int(sym["st_size"]),
                        str(sym["st_info"]["type"]),
                        str(sym["st_info"]["bind"]),
                    )
                )
        elif isinstance(s, RelocationSection):
            relocations.append((_int(s.header, "sh_info"), s))
        elif kind in ("SHT_PROGBITS", "SHT_NOBITS") or s.name in (".BTF", ".BTF.ext"):
            sections[index] = ElfSection(
                index, s.name, b"" if nobits else bytes(s.data()), size, bool(flags & 4), bool(flags & 1), nobits
            )
    for target, section in relocations:
        if target not in sections:
            continue
        for r in section.iter_relocations():
            number = int(r["r_info_sym"])
            if number >= len(symbols):
                raise ObjectError(f"relocation against symbol {number} of {len(symbols)}", file=file, section=section.name)
            sections[target].relocs.append(Reloc(int(r["r_offset"]), int(r["r_info_type"]), symbols[number]))
    return Elf(sections, symbols)
