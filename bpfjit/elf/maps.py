"""Map declarations of an object: SEC(".maps") by BTF, SEC("maps") by structure, global data by section."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator

from ..btf import Btf, BtfId, Kind, Member, RawBtf
from ..btf.types import COMPOSITES, ENUMS, POINTER_BYTES
from ..errors import BtfError, LoadError
from ..uapi import bpf as uapi
from .externs import Config, config_bytes
from .reader import STT_NOTYPE, STT_OBJECT, STT_SECTION, Elf, ElfSection
from .spec import Extern, MapSpec

_LEGACY = ("type", "key_size", "value_size", "max_entries", "flags")
_PAGE_BYTES = 4096
_NAME_BYTES = uapi.BPF_OBJ_NAME_LEN - 1


def declared_maps(elf: Elf, btf: RawBtf | None, file: str) -> dict[str, MapSpec]:
    """Every map of the object by name. Raises LoadError for a definition that says nothing sensible."""
    maps: dict[str, MapSpec] = {}
    section = elf.find(".maps")
    if section is not None:
        if btf is None:
            raise LoadError("maps defined by BTF, but the object has no BTF", file=file, section=".maps")
        for name, spec in _btf_maps(btf, file):
            if name in maps:
                raise LoadError(f"two maps are called {name}", file=file, section=".maps")
            spec.section = ".maps"
            maps[name] = spec
        _initial_values(elf, btf, section, maps, file)
    legacy = elf.find("maps")
    if legacy is not None:
        for spec in _legacy_maps(elf, legacy, file):
            if spec.name in maps:
                raise LoadError(f"two maps are called {spec.name}", file=file, section="maps")
            maps[spec.name] = spec
    return maps


def _datasec(btf: Btf, name: str) -> BtfId | None:
    return btf.find(Kind.DATASEC, name)


def _btf_maps(btf: Btf, file: str) -> Iterator[tuple[str, MapSpec]]:
    sec_id = _datasec(btf, ".maps")
    if sec_id is None:
        raise LoadError("section .maps has no DATASEC in BTF", file=file, section=".maps")
    for var in btf.type(sec_id).secvars:
        name = btf.type(var.type_id).name
        definition = btf.resolve(btf.type(var.type_id).ref)
        if definition.kind is not Kind.STRUCT:
            raise LoadError(f"map {name}: defined by a {definition.kind.name}, wanted a struct", file=file, section=".maps")
        try:
            yield name, _btf_map(btf, name, definition.members)
        except BtfError as e:
            raise LoadError(f"map {name}: {e}", file=file, section=".maps") from None


def _number(btf: Btf, type_id: int) -> int:
    """__uint(name, N) is `int (*name)[N]`: the array's length is the number. __ulong() is an enum of one value."""
    t = btf.resolve(type_id)
    if t.kind in ENUMS and len(t.values) == 1:
        return t.values[0].value
    if t.kind is not Kind.PTR or btf.resolve(t.ref).kind is not Kind.ARRAY:
        raise BtfError(f"{btf.describe(type_id)} is no __uint() attribute")
    return btf.resolve(t.ref).nelems


def _pointee(btf: Btf, type_id: int) -> BtfId:
    t = btf.resolve(type_id)
    if t.kind is not Kind.PTR:
        raise BtfError(f"{btf.describe(type_id)} is no __type() attribute")
    return t.ref


_U32, _U64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
# Attribute -> field of MapSpec, and what it may be.
_NUMBERS = {
    "type": ("type", 0, _U32),
    "max_entries": ("max_entries", 0, _U32),
    "map_flags": ("flags", 0, _U32),
    "numa_node": ("numa_node", 0, _U32),
    "key_size": ("key_size", 0, _U32),
    "value_size": ("value_size", 0, _U32),
    "pinning": ("pinning", 0, 1),
    "map_extra": ("extra", 0, _U64),
}


def _btf_map(btf: Btf, name: str, members: tuple[Member, ...], *, inner: bool = False) -> MapSpec:
    spec = MapSpec(name, 0)
    for m in members:
        if m.name in _NUMBERS:
            number = _number(btf, m.type_id)
            attribute, low, high = _NUMBERS[m.name]
            if not low <= number <= high:
                raise BtfError(f"{m.name} {number}, wanted {low} to {high}")
            declared = getattr(spec, attribute)
            if attribute in ("key_size", "value_size") and declared not in (0, number):
                raise BtfError(f"{m.name} {number} conflicts with {declared} of its type")
            if inner and attribute == "pinning":
                raise BtfError("an inner map cannot be pinned")
            setattr(spec, attribute, number)
        elif m.name in ("key", "value"):
            type_id = _pointee(btf, m.type_id)
            size = btf.size_of(type_id)
            if size > _U32:
                raise BtfError(f"{m.name} of {size} bytes: too large")
            declared = getattr(spec, f"{m.name}_size")
            if declared not in (0, size):
                raise BtfError(f"{m.name} of {size} bytes conflicts with {m.name}_size {declared}")
            setattr(spec, f"{m.name}_size", size)
            setattr(spec, f"{m.name}_type_id", type_id)
        elif m.name == "values":
            if inner:
                raise BtfError("an inner map has no inner maps")
            spec.inner = _inner(btf, name, m.type_id)
            spec.value_size = spec.value_size or 4
        else:
            raise BtfError(f"unknown attribute '{m.name}'")
    if not spec.type:
        raise BtfError("map type isn't specified")
    return spec


def _inner(btf: Btf, name: str, type_id: BtfId) -> MapSpec | None:
    """`values` of a map of maps is an array of pointers to the inner definition; of a prog array, to functions."""
    array = btf.resolve(type_id)
    if array.kind is not Kind.ARRAY:
        raise BtfError("'values' is no array")
    inner = btf.resolve(_pointee(btf, array.ref))
    if inner.kind is Kind.FUNC_PROTO:
        return None
    if inner.kind not in COMPOSITES:
        raise BtfError("'values' points to no map definition")
    return _btf_map(btf, f"{name}.inner"[:_NAME_BYTES], inner.members, inner=True)


def _initial_values(elf: Elf, btf: Btf, section: ElfSection, maps: dict[str, MapSpec], file: str) -> None:
    """`.values = { [i] = &map }` leaves a relocation in the definition's last member: slot i names a map or program."""
    starts = sorted((s.offset, s.offset + s.size, s.name) for s in elf.in_section[section.index] if s.name in maps)
    for r in section.relocs:
        at = bisect_right(starts, (r.offset, 1 << 64, "")) - 1
        if at < 0 or r.offset >= starts[at][1]:
            raise LoadError("initial value of no map", file=file, section=".maps", offset=r.offset)
        start, _, name = starts[at]
        values_at = _values_offset(btf, name)
        if values_at is None or r.offset < start + values_at or (r.offset - start - values_at) % POINTER_BYTES:
            raise LoadError(f"map {name}: initial value outside its 'values'", file=file, section=".maps", offset=r.offset)
        if not r.symbol.name or r.symbol.kind == STT_SECTION:
            raise LoadError(f"map {name}: initial value without a name", file=file, section=".maps", offset=r.offset)
        maps[name].slots[(r.offset - start - values_at) // POINTER_BYTES] = r.symbol.name


def _values_offset(btf: Btf, name: str) -> int | None:
    var_id = btf.find(Kind.VAR, name)
    definition = btf.resolve(btf.type(var_id).ref) if var_id is not None else None
    member = next((m for m in definition.members if m.name == "values"), None) if definition is not None else None
    return member.bit_offset // 8 if member is not None else None


def _legacy_maps(elf: Elf, section: ElfSection, file: str) -> Iterator[MapSpec]:
    symbols = sorted(
        (s for s in elf.in_section[section.index] if s.kind in (STT_OBJECT, STT_NOTYPE) and s.name),
        key=lambda s: s.offset,
    )
    if not symbols:
        raise LoadError("no map symbols", file=file, section="maps")
    each = len(section.data) // len(symbols)
    for s in symbols:
        data = section.data[s.offset : s.offset + each]
        if len(data) < 16:
            raise LoadError(f"map {s.name}: definition of {len(data)} bytes, wanted at least 16", file=file, section="maps")
        if any(data[20:]):
            raise LoadError(f"map {s.name}: unknown non-zero options in its definition", file=file, section="maps")
        values = struct.unpack_from("<IIIII", data.ljust(20, b"\0"))
        yield MapSpec(s.name, **dict(zip(_LEGACY, values, strict=True)), section="maps")


def data_maps(elf: Elf, btf: RawBtf | None, object_name: str, file: str) -> dict[str, MapSpec]:
    """The maps behind .data, .rodata and .bss (and .data.x, …), by section name. Raises LoadError for absurd sizes."""
    maps: dict[str, MapSpec] = {}
    for s in elf.sections.values():
        base = "." + s.name.split(".")[1] if s.name.startswith(".") else ""
        if base not in (".data", ".rodata", ".bss") or not s.size or s.executable:
            continue
        if s.size > _U32:
            raise LoadError(f"{s.size} bytes of data, wanted at most {_U32}", file=file, section=s.name)
        if s.name in maps:
            raise LoadError("two data sections of one name", file=file, section=s.name)
        readonly = base == ".rodata"
        prefix = object_name[: max(0, _NAME_BYTES - len(s.name))]
        flags = uapi.BPF_F_MMAPABLE | (uapi.BPF_F_RDONLY_PROG if readonly else 0)
        sec_id = _datasec(btf, s.name) if btf is not None else None
        maps[s.name] = MapSpec(
            _map_name(prefix + s.name if base == s.name else s.name),
            uapi.BPF_MAP_TYPE_ARRAY,
            4,
            s.size,
            1,
            flags,
            contents=None if s.nobits else s.data,  # a new map is zero already
            freeze=readonly,
            value_type_id=sec_id or BtfId(0),
            section=s.name,
        )
    return maps


ARENA_SECTION = ".addr_space.1"


def place_in_arena(elf: Elf, maps: dict[str, MapSpec], file: str) -> str:
    """Variables in an arena's address space go to its beginning; the arena's name, "" where there are no variables.

    Raises LoadError where the object has no arena, or one that is too small.
    """
    section = elf.find(ARENA_SECTION)
    if section is None or not section.size:
        return ""
    arenas = [spec for spec in maps.values() if spec.type == uapi.BPF_MAP_TYPE_ARENA]
    if len(arenas) != 1:
        raise LoadError(f"{section.size} bytes of variables, {len(arenas)} arenas", file=file, section=ARENA_SECTION)
    arena = arenas[0]
    if section.size > arena.max_entries * _PAGE_BYTES:
        room = f"arena {arena.name} has {arena.max_entries} pages"
        raise LoadError(f"{section.size} bytes of variables, {room}", file=file, section=ARENA_SECTION)
    arena.variables = bytes(section.size) if section.nobits else section.data
    return arena.name


def kconfig_map(externs: dict[str, Extern], btf: Btf | None, object_name: str, config: Config) -> MapSpec | None:
    """The map that holds .kconfig externs, laid out in order; 0 for those without a value. Raises LoadError."""
    rows = [e for e in externs.values() if e.section == ".kconfig"]
    if not rows or btf is None:
        return None
    contents = bytearray(max(e.offset + e.size for e in rows))
    for e in rows:
        if e.name in config:
            contents[e.offset : e.offset + e.size] = config_bytes(btf, e, config[e.name])
    flags = uapi.BPF_F_MMAPABLE | uapi.BPF_F_RDONLY_PROG
    return MapSpec(
        _map_name(object_name[: _NAME_BYTES - 8] + ".kconfig"),
        uapi.BPF_MAP_TYPE_ARRAY,
        4,
        len(contents),
        1,
        flags,
        contents=bytes(contents),
        freeze=True,
        value_type_id=_datasec(btf, ".kconfig") or BtfId(0),
        section=".kconfig",
    )


def _map_name(name: str) -> str:
    """As the kernel takes names: letters, digits, _ and ., at most 15 bytes."""
    return "".join(c if (c.isascii() and c.isalnum()) or c in "_." else "_" for c in name)[:_NAME_BYTES]
