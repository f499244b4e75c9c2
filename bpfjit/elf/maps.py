"""Map declarations of an object: SEC(".maps") by BTF, SEC("maps") by structure, global data by section."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ..btf import Btf, BtfId, Kind, RawBtf
from ..btf.types import COMPOSITES
from ..errors import BtfError, LoadError
from ..uapi import bpf as uapi
from .reader import Elf, ElfSection
from .spec import Extern, MapSpec

_LEGACY = ("type", "key_size", "value_size", "max_entries", "flags")
_NAME_BYTES = uapi.BPF_OBJ_NAME_LEN - 1


def declared_maps(elf: Elf, btf: RawBtf | None, file: str) -> dict[str, MapSpec]:
    """Every map of the object by name. Raises LoadError for a definition that says nothing sensible."""
    maps: dict[str, MapSpec] = {}
    section = elf.find(".maps")
    if section is not None:
        if btf is None:
            raise LoadError("maps defined by BTF, but the object has no BTF", file=file, section=".maps")
        for name, spec in _btf_maps(btf, file):
            spec.section = ".maps"
            maps[name] = spec
    legacy = elf.find("maps")
    if legacy is not None:
        for spec in _legacy_maps(elf, legacy, file):
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
            yield name, _btf_map(btf, name, definition.members, file)
        except BtfError as e:
            raise LoadError(f"map {name}: {e}", file=file, section=".maps") from None


def _array_number(btf: Btf, type_id: int) -> int:
    """__uint(name, N) is `int (*name)[N]`: the array's length is the number."""
    t = btf.resolve(type_id)
    if t.kind is not Kind.PTR or btf.resolve(t.ref).kind is not Kind.ARRAY:
        raise BtfError(f"{btf.describe(type_id)} is no __uint() attribute")
    return btf.resolve(t.ref).nelems


def _pointee(btf: Btf, type_id: int) -> BtfId:
    t = btf.resolve(type_id)
    if t.kind is not Kind.PTR:
        raise BtfError(f"{btf.describe(type_id)} is no __type() attribute")
    return t.ref


_NUMBERS = {
    "type": "type",
    "max_entries": "max_entries",
    "map_flags": "flags",
    "numa_node": "numa_node",
    "key_size": "key_size",
    "value_size": "value_size",
    "pinning": "pinning",
    "map_extra": "extra",
}


def _btf_map(btf: Btf, name: str, members: tuple, file: str) -> MapSpec:  # type: ignore[type-arg]
    spec = MapSpec(name, 0)
    for m in members:
        if m.name in _NUMBERS:
            number = _array_number(btf, m.type_id)
            field = _NUMBERS[m.name]
            if field in ("key_size", "value_size") and getattr(spec, field) not in (0, number):
                raise BtfError(f"{m.name} {number} conflicts with {getattr(spec, field)} of its type")
            setattr(spec, field, number)
        elif m.name in ("key", "value"):
            type_id = _pointee(btf, m.type_id)
            size = btf.size_of(type_id)
            declared = getattr(spec, f"{m.name}_size")
            if declared not in (0, size):
                raise BtfError(f"{m.name} of {size} bytes conflicts with {m.name}_size {declared}")
            setattr(spec, f"{m.name}_size", size)
            setattr(spec, f"{m.name}_type_id", type_id)
        elif m.name == "values":
            spec.inner = _inner(btf, name, m.type_id, file)
            spec.value_size = spec.value_size or 4
        else:
            raise BtfError(f"unknown attribute '{m.name}'")
    if not spec.type:
        raise BtfError("map type isn't specified")
    return spec


def _inner(btf: Btf, name: str, type_id: BtfId, file: str) -> MapSpec | None:
    """`values` of a map of maps is an array of pointers to the inner definition; of a prog array, to functions."""
    array = btf.resolve(type_id)
    if array.kind is not Kind.ARRAY:
        raise BtfError("'values' is no array")
    inner = btf.resolve(_pointee(btf, array.ref))
    if inner.kind is Kind.FUNC_PROTO:
        return None
    if inner.kind not in COMPOSITES:
        raise BtfError("'values' points to no map definition")
    return _btf_map(btf, f"{name}.inner"[:_NAME_BYTES], inner.members, file)


def _legacy_maps(elf: Elf, section: ElfSection, file: str) -> Iterator[MapSpec]:
    symbols = sorted(
        (s for s in elf.symbols if s.section == section.index and s.kind in ("STT_OBJECT", "STT_NOTYPE") and s.name),
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


def data_maps(elf: Elf, btf: RawBtf | None, object_name: str) -> dict[str, MapSpec]:
    """The maps behind .data, .rodata and .bss (and .data.x, …), by section name."""
    maps: dict[str, MapSpec] = {}
    for s in elf.sections.values():
        base = "." + s.name.split(".")[1] if s.name.startswith(".") else ""
        if base not in (".data", ".rodata", ".bss") or not s.size or s.executable:
            continue
        readonly = base == ".rodata"
        prefix = object_name[: max(0, _NAME_BYTES - len(s.name))]
        name = _map_name(prefix + s.name if base == s.name else s.name)
        flags = uapi.BPF_F_MMAPABLE | (uapi.BPF_F_RDONLY_PROG if readonly else 0)
        sec_id = _datasec(btf, s.name) if btf is not None else None
        contents = bytes(s.size) if s.nobits else s.data
        maps[s.name] = MapSpec(
            name,
            uapi.BPF_MAP_TYPE_ARRAY,
            4,
            s.size,
            1,
            flags,
            contents=contents,
            freeze=readonly,
            value_type_id=sec_id or BtfId(0),
            section=s.name,
        )
    return maps


def kconfig_map(externs: dict[str, Extern], btf: RawBtf | None, object_name: str, values: dict[str, int]) -> MapSpec | None:
    """The map that holds .kconfig externs, laid out in order. Raises LoadError for a strong one without a value."""
    rows = [e for e in externs.values() if e.section == ".kconfig"]
    if not rows:
        return None
    size = max(e.offset + e.size for e in rows)
    contents = bytearray(size)
    for e in rows:
        value = values.get(e.name)
        if value is None:
            if not e.weak:
                raise LoadError(f"unresolved kconfig extern {e.name}")
            value = 0
        if not -(1 << e.size * 8 - 1) <= value < 1 << e.size * 8:
            raise LoadError(f"kconfig extern {e.name}: value {value} does not fit its {e.size} bytes")
        contents[e.offset : e.offset + e.size] = (value & (1 << e.size * 8) - 1).to_bytes(e.size, "little")
    flags = uapi.BPF_F_MMAPABLE | uapi.BPF_F_RDONLY_PROG
    name = _map_name(object_name[: _NAME_BYTES - 8] + ".kconfig")
    return MapSpec(
        name, uapi.BPF_MAP_TYPE_ARRAY, 4, size, 1, flags, contents=bytes(contents), freeze=True, section=".kconfig"
    )


def _map_name(name: str) -> str:
    """As the kernel takes names: letters, digits, _ and ., at most 15 bytes."""
    return "".join(c if c.isalnum() or c in "_." else "_" for c in name)[:_NAME_BYTES]
