"""The maps of known programs: what is kept of one, and how each user gets one of his own."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from bpfjit.btf import RawBtf
from bpfjit.dataclass import dataclass
from bpfjit.errors import refuse
from bpfjit.program import MapInfo
from bpfjit.spec.map_types import MAP_TYPE_BY_ID
from bpfjit.uapi import bpf as uapi

from .bpf import maps as bpf_maps
from .bpf.fd import install, map_of
from .caller import Caller, Cred, FdTable, InProcess
from .objects import BtfObject, MapObject

if TYPE_CHECKING:
    from .kernel import Kernel

_SHAPE = ("type", "key_size", "value_size", "max_entries", "flags", "extra")
_ELEMENT_BYTES = 64  # beside its key and value, at most


@dataclass(frozen=True, slots=True)
class KnownMap:
    """A map as it was admitted.

    contents: of a map of one element, which `frozen` nobody can change any more. btf_key, btf_value: its types in the
    program's BTF, 0 for none. inner: what the maps in it are like; those, and the programs in a prog array, each user
    puts in himself.
    """

    name: str
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    extra: int
    contents: bytes | None = None
    frozen: bool = False
    btf_key: int = 0
    btf_value: int = 0
    inner: KnownMap | None = None

    def text(self) -> str:
        """All of it, for a digest."""
        contents = self.contents.hex() if self.contents is not None else None
        shape = [self.name, *(getattr(self, s) for s in _SHAPE), contents, self.frozen, self.btf_key, self.btf_value]
        return f"{shape} {self.inner.text() if self.inner is not None else ''}"

    def most_bytes(self, cpus: int) -> int:
        """What it may come to take, full."""
        row = MAP_TYPE_BY_ID[self.type]
        if row.ring:
            return self.max_entries
        value = -(-self.value_size // 8) * 8 * (cpus if row.per_cpu else 1)
        return self.max_entries * (-(-self.key_size // 8) * 8 + value + (0 if row.direct else _ELEMENT_BYTES))

    def as_json(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in self.__slots__}
        plain["contents"] = self.contents.hex() if self.contents is not None else None
        plain["inner"] = self.inner.as_json() if self.inner is not None else None
        return plain

    @classmethod
    def of_json(cls, plain: dict[str, Any]) -> KnownMap:
        """Raises ValueError, KeyError, TypeError."""
        contents, inner = plain["contents"], plain["inner"]
        told = {"contents": bytes.fromhex(contents) if contents is not None else None}
        return cls(**plain | told | {"inner": cls.of_json(inner) if inner is not None else None})


def describe(m: MapObject, types: RawBtf | None) -> KnownMap:
    """A map of a program with these types. Raises EOPNOTSUPP for what cannot be made again from a description."""
    if m.exclusive_to:
        raise refuse(errno.EOPNOTSUPP, f"map {m.name} is for one program alone and cannot be shared")
    if m.type.arena:
        raise refuse(errno.EOPNOTSUPP, f"map {m.name} is an arena, whose address is its user's, and cannot be shared")
    own = m.btf is not None and isinstance(types, RawBtf) and m.btf.data == types.data
    if m.record.fields and not own:
        raise refuse(errno.EOPNOTSUPP, f"map {m.name} has special fields by other BTF than the program's")
    contents = m.native.lookup(bytes(4)) if m.type.direct and m.max_entries == 1 else None
    shape = (m.name, m.type.id, m.key_size, m.value_size, m.max_entries, m.flags, m.extra)
    ids = (m.btf_key_type_id, m.btf_value_type_id) if own else (0, 0)
    inner = _inner(m.name, m.template) if m.template is not None else None
    return KnownMap(*shape, contents, m.frozen, *ids, inner)


def _inner(outer: str, template: MapInfo) -> KnownMap:
    if template.record.fields:
        raise refuse(errno.EOPNOTSUPP, f"map {outer} holds maps with special fields, which cannot be shared")
    sizes = (template.key_size, template.value_size, template.max_entries)
    return KnownMap(template.name, template.type.id, *sizes, template.flags, 0)


def new_map(kernel: Kernel, caller: Caller, row: KnownMap, btf: BtfObject | None) -> int:
    """A map as it was admitted, for a caller who could not make one himself."""
    maker = InProcess(Cred(), FdTable())
    try:
        m = map_of(maker, _make(kernel, maker, row, btf))
        if row.contents is not None:
            m.native.update(bytes(4), row.contents)
        if row.frozen:
            m.frozen = m.native.ptr.frozen = True
        reads, writes = not row.flags & uapi.BPF_F_WRONLY, not row.flags & uapi.BPF_F_RDONLY
        return install(caller, m, may_read=reads, may_write=writes)
    finally:
        maker.fds.close_all()


def _make(kernel: Kernel, maker: InProcess, row: KnownMap, btf: BtfObject | None) -> int:
    attr = uapi.MapCreate(
        map_type=row.type,
        key_size=row.key_size,
        value_size=row.value_size,
        max_entries=row.max_entries,
        map_flags=row.flags,
        map_extra=row.extra,
        map_name=row.name.encode().ljust(16, b"\0"),
    )
    if row.inner is not None:
        attr.inner_map_fd = _make(kernel, maker, row.inner, btf)
    if btf is not None and row.btf_value:
        attr.btf_fd, attr.btf_key_type_id, attr.btf_value_type_id = install(maker, btf), row.btf_key, row.btf_value
    return bpf_maps.create(kernel, maker, attr)


def given_map(caller: Caller, fd: int, row: KnownMap) -> int:
    """Another fd of a map of the caller's own, where it may take the place of an admitted one. Raises EINVAL, EPERM."""
    m = map_of(caller, fd, reading=True, writing=True)
    wanted = {s: getattr(row, s) for s in _SHAPE}
    found = {s: getattr(m, s) if s != "type" else m.type.id for s in _SHAPE}
    special = m.record.fields or m.exclusive_to or m.type.holds
    if row.frozen or found != wanted or special or m.type is not MAP_TYPE_BY_ID[row.type]:
        raise refuse(errno.EINVAL, f"map {m.name} cannot take the place of {row.name}: {found}, wanted {wanted}")
    return caller.fds.dup(fd)
