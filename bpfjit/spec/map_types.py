"""Map types: rows. Flags and sizes as Linux 6.18 takes them in BPF_MAP_CREATE."""

from __future__ import annotations

from ..uapi import bpf as uapi
from .kinds import MapType

_ACCESS = uapi.BPF_F_RDONLY | uapi.BPF_F_WRONLY | uapi.BPF_F_RDONLY_PROG | uapi.BPF_F_WRONLY_PROG
_HASH = uapi.BPF_F_NO_PREALLOC | uapi.BPF_F_NUMA_NODE | uapi.BPF_F_ZERO_SEED | _ACCESS
_ARRAY = uapi.BPF_F_NUMA_NODE | uapi.BPF_F_MMAPABLE | uapi.BPF_F_INNER_MAP | _ACCESS

MAP_TYPES: tuple[MapType, ...] = (
    MapType(uapi.BPF_MAP_TYPE_HASH, "hash", _HASH, offload=True, elem_iterator=True),
    MapType(
        uapi.BPF_MAP_TYPE_ARRAY,
        "array",
        _ARRAY,
        key_bytes=4,
        offload=True,
        delete=False,
        direct=True,
        preallocated=True,
        walk_order="index",
        elem_iterator=True,
    ),
    MapType(uapi.BPF_MAP_TYPE_PERCPU_HASH, "percpu_hash", _HASH, per_cpu=True, elem_iterator=True),
    MapType(
        uapi.BPF_MAP_TYPE_PERCPU_ARRAY,
        "percpu_array",
        uapi.BPF_F_NUMA_NODE | _ACCESS,
        key_bytes=4,
        per_cpu=True,
        delete=False,
        preallocated=True,
        walk_order="index",
        elem_iterator=True,
    ),
    MapType(
        uapi.BPF_MAP_TYPE_LRU_HASH,
        "lru_hash",
        _HASH | uapi.BPF_F_NO_COMMON_LRU,
        unsupported_flags=uapi.BPF_F_NO_PREALLOC,
        elem_iterator=True,
    ),
)
MAP_TYPE_BY_ID = {row.id: row for row in MAP_TYPES}
MAP_TYPE_NAMES = {
    value: name.removeprefix("BPF_MAP_TYPE_").lower()
    for name, value in vars(uapi).items()
    if name.startswith("BPF_MAP_TYPE_") and isinstance(value, int)
}
