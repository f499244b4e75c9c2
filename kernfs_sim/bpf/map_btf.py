"""What BTF says of a map's keys and values, checked as BPF_MAP_CREATE does: sizes, kinds, special fields."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from bpfjit.btf import MAP_FIELDS, NO_FIELDS, Btf, Kind, Record, Type, parse_record
from bpfjit.errors import ENOTSUPP, BtfError, refuse
from bpfjit.spec.kinds import MapType
from bpfjit.spec.trust import DESTRUCTIBLE
from bpfjit.uapi import bpf as uapi

from ..objects import BtfObject

if TYPE_CHECKING:
    from ..kernel import Kernel

_PROG_ACCESS = uapi.BPF_F_RDONLY_PROG | uapi.BPF_F_WRONLY_PROG


def check(kernel: Kernel, row: MapType, attr: uapi.MapCreate, btf: BtfObject) -> Record:
    """The special fields of the map's value. Raises EINVAL, EACCES, EOPNOTSUPP, ENOTSUPP."""
    if btf.is_kernel:
        raise refuse(errno.EACCES, "a map's types are a program's, not the kernel's")
    types = btf.types
    key = _sized(types, attr.btf_key_type_id, attr.key_size, "key") if attr.btf_key_type_id else None
    if key is None and not row.btf_key:
        raise refuse(errno.EINVAL, f"a {row.name} map wants its key's type too")
    value = _sized(types, attr.btf_value_type_id, attr.value_size, "value")
    try:
        record = parse_record(types, attr.btf_value_type_id, MAP_FIELDS, kernel.btf.types, DESTRUCTIBLE.keys())
    except OSError:
        record = NO_FIELDS  # Linux makes the map all the same: none of its fields is special then
    if record:
        if attr.map_flags & _PROG_ACCESS:
            raise refuse(errno.EACCES, "special fields in a map that programs may not write, or not read")
        if record.kinds & ~row.fields:
            raise refuse(errno.EOPNOTSUPP, f"a {row.name} map holds no {record.kinds & ~row.fields!r}")
    _check_key(row, attr, types, key, value)
    return record


def _sized(types: Btf, type_id: int, size: int, what: str) -> Type:
    try:
        found, t = types.size_of(type_id), types.resolve(type_id)
    except BtfError as e:
        raise refuse(errno.EINVAL, f"{what} type: {e}") from None
    if found != size:
        raise refuse(errno.EINVAL, f"{what} type {type_id} has {found} bytes, wanted {size}")
    return t


def _check_key(row: MapType, attr: uapi.MapCreate, types: Btf, key: Type | None, value: Type) -> None:
    """A type's own wish, by the word in its row."""
    wish = row.btf_key
    if wish == "none":
        raise refuse(ENOTSUPP, f"a {row.name} map has no BTF")
    if wish == "u32" and key is None:
        if not row.direct or attr.max_entries != 1 or value.kind is not Kind.DATASEC:
            raise refuse(errno.EINVAL, "only the map behind a data section has no key type")
    elif wish in ("u32", "int") and (key is None or key.kind is not Kind.INT or key.bits != 32 or key.bit_offset):
        raise refuse(errno.EINVAL, "the key is no 32-bit integer in BTF")
    elif wish == "struct" and (key is None or key.kind is not Kind.STRUCT):
        raise refuse(errno.EINVAL, "the key is no structure in BTF")
    elif wish == "cgroup" and not _is_cgroup_key(types, key, attr.key_size):
        raise refuse(errno.EINVAL, "the key is no cgroup's id, nor struct bpf_cgroup_storage_key")
    elif wish == "void" and key is not None:
        raise refuse(errno.EINVAL, "the map has no keys")


def _is_cgroup_key(types: Btf, key: Type | None, size: int) -> bool:
    """A 64-bit integer; in the long key a structure of one and a 32-bit one behind it."""
    if key is None:
        return False
    if size == 8:
        return key.kind is Kind.INT and key.bits == 64 and not key.bit_offset
    members = [(m.bit_offset, types.resolve(m.type_id)) for m in key.members]
    places = [(at, t.kind, t.bits) for at, t in members if t.kind is Kind.INT]
    return key.kind is Kind.STRUCT and len(members) == 2 and places == [(0, Kind.INT, 64), (64, Kind.INT, 32)]
