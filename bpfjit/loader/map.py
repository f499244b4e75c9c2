"""Maps in a kernel: made from a MapSpec, read and written element by element, pinned."""

from __future__ import annotations

import errno
import mmap
from typing import Any

from ..elf.spec import MapSpec
from ..errors import LoadError, describe
from ..spec.map_types import MAP_TYPE_NAMES
from ..uapi import bpf as uapi
from .bpf import Bpf, Buffers

# Kinds whose elements are no plain data: their BTF types are for readers of the object only.
WITHOUT_BTF = frozenset(
    {
        uapi.BPF_MAP_TYPE_PROG_ARRAY,
        uapi.BPF_MAP_TYPE_PERF_EVENT_ARRAY,
        uapi.BPF_MAP_TYPE_STACK_TRACE,
        uapi.BPF_MAP_TYPE_CGROUP_ARRAY,
        uapi.BPF_MAP_TYPE_ARRAY_OF_MAPS,
        uapi.BPF_MAP_TYPE_HASH_OF_MAPS,
        uapi.BPF_MAP_TYPE_DEVMAP,
        uapi.BPF_MAP_TYPE_DEVMAP_HASH,
        uapi.BPF_MAP_TYPE_SOCKMAP,
        uapi.BPF_MAP_TYPE_SOCKHASH,
        uapi.BPF_MAP_TYPE_CPUMAP,
        uapi.BPF_MAP_TYPE_XSKMAP,
    }
)

_RINGS = (uapi.BPF_MAP_TYPE_RINGBUF, uapi.BPF_MAP_TYPE_USER_RINGBUF)


def entries(bpf: Bpf, spec: MapSpec) -> int:
    """max_entries as libbpf hands it on: perf events left open get one a CPU, a ring is a power of two of pages or more."""
    if spec.type == uapi.BPF_MAP_TYPE_PERF_EVENT_ARRAY and not spec.max_entries:
        return bpf.possible_cpus()
    if spec.type in _RINGS and spec.max_entries:
        return max(mmap.PAGESIZE, 1 << (spec.max_entries - 1).bit_length())
    return spec.max_entries


_PAGE_BYTES = 4096


class LoadedMap:
    """A map in a kernel."""

    def __init__(self, bpf: Bpf, fd: int, spec: MapSpec) -> None:
        self._bpf = bpf
        self.fd = fd
        self.spec = spec
        self.name = spec.name
        self.memory: Any = None  # of an arena: its pages, to be read and written

    def map_arena(self, file: str) -> None:
        """Map an arena's pages, without which no program takes it, and put its variables there. Raises LoadError."""
        mmap, size = getattr(self._bpf, "mmap", None), self.spec.max_entries * _PAGE_BYTES
        if mmap is None:
            raise LoadError(f"arena {self.name}: this kernel's maps cannot be mapped from here", file=file)
        try:
            self.memory = mmap(self.fd, size, True, 0, self.spec.extra)
        except OSError as e:
            raise LoadError(f"arena {self.name}: mmap of {size} bytes: {describe(e)}", file=file) from None
        if self.spec.variables:
            self.memory[: len(self.spec.variables)] = self.spec.variables

    def _elem(self, cmd: int, key: bytes, value: bytearray | bytes | None, flags: int = 0) -> None:
        buffers = Buffers()
        attr = uapi.MapElem(map_fd=self.fd, key=buffers.put(key), flags=flags)
        if value is not None:
            attr.value = buffers.put(value)
        self._bpf(cmd, bytearray(attr.pack()))

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:
        """BPF_MAP_UPDATE_ELEM. Raises OSError."""
        self._elem(uapi.BPF_MAP_UPDATE_ELEM, key, value, flags)

    def lookup(self, key: bytes, value_bytes: int | None = None) -> bytes:
        """BPF_MAP_LOOKUP_ELEM; `value_bytes` for per-CPU maps. Raises OSError (ENOENT)."""
        value = bytearray(value_bytes or self.spec.value_size)
        self._elem(uapi.BPF_MAP_LOOKUP_ELEM, key, value)
        return bytes(value)

    def delete(self, key: bytes) -> None:
        self._elem(uapi.BPF_MAP_DELETE_ELEM, key, None)

    def keys(self) -> list[bytes]:
        """Every key, in the map's order."""
        found: list[bytes] = []
        key: bytes | None = None
        while True:
            following = bytearray(self.spec.key_size)
            buffers = Buffers()
            attr = uapi.MapElem(map_fd=self.fd, key=buffers.put(key) if key else 0, value=buffers.put(following))
            try:
                self._bpf(uapi.BPF_MAP_GET_NEXT_KEY, bytearray(attr.pack()))
            except OSError as e:
                if e.errno == errno.ENOENT:
                    return found
                raise
            key = bytes(following)
            found.append(key)

    def pin(self, path: str) -> None:
        pin(self._bpf, self.fd, path)


def create_map(bpf: Bpf, spec: MapSpec, btf_fd: int, file: str) -> int:
    """BPF_MAP_CREATE of what a MapSpec says, its inner map's template made for as long as that takes; the fd.

    Raises LoadError naming the map, its shape and what the kernel says.
    """
    inner_fd = create_map(bpf, spec.inner, btf_fd, file) if spec.inner is not None else 0
    with_btf = btf_fd and (spec.key_type_id or spec.value_type_id) and spec.type not in WITHOUT_BTF
    attr = uapi.MapCreate(
        map_type=spec.type,
        key_size=spec.key_size,
        value_size=spec.value_size,
        max_entries=spec.max_entries,
        map_flags=spec.flags,
        inner_map_fd=inner_fd,
        numa_node=spec.numa_node,
        map_name=object_name(spec.name),
        btf_fd=btf_fd if with_btf else 0,
        btf_key_type_id=spec.key_type_id if with_btf else 0,
        btf_value_type_id=spec.value_type_id if with_btf else 0,
        map_extra=spec.extra,
    )
    try:
        return bpf(uapi.BPF_MAP_CREATE, bytearray(attr.pack()))
    except OSError as e:
        kind = MAP_TYPE_NAMES.get(spec.type, f"type {spec.type}")
        shape = f"{kind} of {spec.max_entries} entries, key {spec.key_size} and value {spec.value_size} bytes"
        raise LoadError(f"map {spec.name} ({shape}) refused: {describe(e)}", file=file) from None
    finally:
        if inner_fd:
            bpf.close(inner_fd)


def reuse_map(bpf: Bpf, spec: MapSpec, path: str, file: str) -> int | None:
    """The map pinned at `path` for LIBBPF_PIN_BY_NAME, None where nothing is. Raises LoadError for a map unlike `spec`."""
    buffers, info = Buffers(), bytearray(uapi.LAYOUTS["bpf_map_info"].size)
    try:
        fd = bpf(uapi.BPF_OBJ_GET, bytearray(uapi.Obj(pathname=buffers.put(path.encode() + b"\0")).pack()))
    except OSError as e:
        if e.errno == errno.ENOENT:
            return None
        raise LoadError(f"map {spec.name}: {path}: {describe(e)}", file=file) from None
    try:
        attr = uapi.GetInfo(bpf_fd=fd, info_len=len(info), info=buffers.put(info))
        bpf(uapi.BPF_OBJ_GET_INFO_BY_FD, bytearray(attr.pack()))
        fields = uapi.LAYOUTS["bpf_map_info"].fields
        for name, wanted in _SHAPE.items():
            at, size = fields[name]
            found = int.from_bytes(info[at : at + size], "little")
            if found != getattr(spec, wanted):
                raise LoadError(f"map {spec.name}: {path} has {name} {found}, wanted {getattr(spec, wanted)}", file=file)
    except OSError as e:
        bpf.close(fd)
        raise LoadError(f"map {spec.name}: {path} is no map: {describe(e)}", file=file) from None
    except BaseException:
        bpf.close(fd)
        raise
    return fd


# What must agree: field of bpf_map_info -> field of MapSpec.
_SHAPE = {
    "type": "type",
    "key_size": "key_size",
    "value_size": "value_size",
    "max_entries": "max_entries",
    "map_flags": "flags",
}


def object_name(name: str) -> bytes:
    """A name as bpf_attr holds it: at most 15 bytes."""
    return name.encode()[: uapi.BPF_OBJ_NAME_LEN - 1]


def pin(bpf: Bpf, fd: int, path: str) -> None:
    """BPF_OBJ_PIN. Raises OSError with the path in its text."""
    buffers = Buffers()
    attr = uapi.Obj(pathname=buffers.put(path.encode() + b"\0"), bpf_fd=fd)
    try:
        bpf(uapi.BPF_OBJ_PIN, bytearray(attr.pack()))
    except OSError as e:
        raise OSError(e.errno, f"pin {path}: {e.strerror}") from None
