"""One object: what its sections want loaded, before any kernel is asked."""

from __future__ import annotations

from pathlib import Path

from ..btf import BtfExt, RawBtf, parse_btf, parse_btf_ext, validate
from ..dataclass import replace
from ..errors import BtfError, LoadError, ObjectError
from ..uapi import bpf as uapi
from .code import Linker, sorted_infos
from .externs import find_externs
from .fixup import fix_btf
from .maps import ARENA_SECTION, data_maps, declared_maps, place_in_arena
from .reader import Elf, ElfSection, read_elf
from .spec import ObjectSpec

_EMPTY_EXT = BtfExt({}, {}, {})


def _c_string(section: ElfSection | None) -> str:
    return section.data.split(b"\0")[0].decode("utf-8", "replace") if section is not None else ""


def _read_btf(elf: Elf, file: str) -> tuple[RawBtf | None, BtfExt]:
    section = elf.find(".BTF")
    if section is None:
        return None, _EMPTY_EXT
    name = ".BTF"
    try:
        btf = parse_btf(section.data)
        validate(btf)
        ext_section = elf.find(name := ".BTF.ext")
        ext = sorted_infos(parse_btf_ext(ext_section.data, btf)) if ext_section is not None else _EMPTY_EXT
    except BtfError as e:
        raise BtfError(e.cause, file=file, section=name, offset=e.offset) from None
    return btf, ext


def read_object(data: bytes, name: str, file: str) -> ObjectSpec:
    """An object file's bytes -> what it wants loaded.

    Raises ObjectError or BtfError for a file that cannot be read as an object (malformed ELF, BTF or BTF.ext),
    LoadError for a readable one whose code, maps or externs make no sense; each names the file.
    """
    elf = read_elf(data, file)
    btf, ext = _read_btf(elf, file)
    try:
        externs = find_externs(elf, btf, file)
        progs = Linker(elf, btf, ext, file).programs()
        maps = declared_maps(elf, btf, file)
        for ref, spec in data_maps(elf, btf, name, file).items():
            if ref in maps:
                raise LoadError(f"a map is called like the section {ref}", file=file)
            maps[ref] = spec
        arena = place_in_arena(elf, maps, file)
        for prog in progs.values() if arena else ():
            prog.maps[:] = [replace(m, map_name=arena) if m.map_name == ARENA_SECTION else m for m in prog.maps]
        fixed = fix_btf(btf, elf, externs) if btf is not None else None
    except BtfError as e:
        raise LoadError(e.cause, file=file, section=e.section) from None
    if not progs and not maps:
        raise ObjectError("no BPF programs or maps in this object", file=file)
    return ObjectSpec(name, _c_string(elf.find("license")), fixed, maps, progs, externs, file)


def object_name(path: str) -> str:
    """libbpf's name of an object: the file's name up to its first dot, at most 15 characters."""
    return Path(path).name.split(".")[0][: uapi.BPF_OBJ_NAME_LEN - 1]
