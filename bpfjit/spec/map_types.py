"""Map types: rows. Flags and sizes as Linux 6.18 takes them in BPF_MAP_CREATE."""

from __future__ import annotations

from typing import Any

from ..btf.record import NOTHING, Special
from ..uapi import bpf as uapi
from .kinds import MapType

_ACCESS = uapi.BPF_F_RDONLY | uapi.BPF_F_WRONLY | uapi.BPF_F_RDONLY_PROG | uapi.BPF_F_WRONLY_PROG
_HASH = uapi.BPF_F_NO_PREALLOC | uapi.BPF_F_NUMA_NODE | uapi.BPF_F_ZERO_SEED | _ACCESS
_ARRAY = uapi.BPF_F_NUMA_NODE | uapi.BPF_F_MMAPABLE | uapi.BPF_F_INNER_MAP | _ACCESS
_LRU = uapi.BPF_F_NUMA_NODE | uapi.BPF_F_ZERO_SEED | uapi.BPF_F_NO_COMMON_LRU | _ACCESS

_KMALLOC_MAX = 1 << 22
_MAX_HASH_ELEMENT = _KMALLOC_MAX - 48  # less Linux's own part of an element: key and value stay below
_MAX_STORAGE_VALUE = 65535 - 80  # less Linux's own part of an element
_NR_CPUS = 256  # of a usual x86-64 configuration
_MAX_PERCPU_VALUE = 32 << 10  # PCPU_MIN_UNIT_SIZE
_LPM_KEY = (4 + 1, 4 + 256)  # a length in bits and 1 to 256 bytes
_NONE = (0, 0)
_RING = (4096, 1 << 31)  # whole pages, a power of two

_ELEMENTS = frozenset({"lookup", "update", "delete", "for_each"})
_PER_CPU = _ELEMENTS | {"percpu_lookup"}
_ARRAY_BATCH = frozenset({"lookup", "update"})
_LPM_BATCH = _ARRAY_BATCH | {"delete"}
_HASH_BATCH = _LPM_BATCH | {"take"}

_POINTERS = Special.KPTR | Special.REFCOUNT
_LOCKS = Special.SPIN_LOCK | Special.RES_SPIN_LOCK
_CALLBACKS = Special.TIMER | Special.WORKQUEUE | Special.TASK_WORK
_ALL_FIELDS = _POINTERS | _LOCKS | _CALLBACKS | Special.GRAPH_ROOT


def _storage(id_: int, name: str, owner: str, more_fields: Special = NOTHING) -> MapType:
    """A value for each object: made as objects come, so without a number of entries; its types must be known."""
    return MapType(
        id_,
        name,
        uapi.BPF_F_NO_PREALLOC | uapi.BPF_F_CLONE,
        frozenset({name}),
        key=(4, 4),
        entries=_NONE,
        max_value=_MAX_STORAGE_VALUE,
        required_flags=uapi.BPF_F_NO_PREALLOC,
        fields=_POINTERS | _LOCKS | more_fields,
        for_each=False,
        btf_key="int",
        owner=owner,
    )


_FOUR_OR_EIGHT = frozenset({4, 8})
_DEVICES = uapi.BPF_F_NUMA_NODE | uapi.BPF_F_RDONLY | uapi.BPF_F_WRONLY
_SOCKET_UPDATES = frozenset({"lookup", "update", "delete", "select_reuseport"})


def _net(id_: int, name: str, uses: frozenset[str], holds: str, **rules: Any) -> MapType:
    """What packets and sockets are redirected by: numbers and objects of the kernel, without BTF, batches and callbacks."""
    common: dict[str, Any] = {
        "flags": _DEVICES,
        "key": (4, 4),
        "values": _FOUR_OR_EIGHT,
        "walk_order": "index",
        "btf_key": "none",
    }
    return MapType(id_, name, uses=uses, holds=holds, for_each=False, sleepable=False, **(common | rules))


def _of_cgroups(id_: int, name: str, max_value: int, **rules: Any) -> MapType:
    """Deprecated: values that come as programs are attached to cgroups, keyed by cgroup, or by that and the attach type."""
    return MapType(
        id_,
        name,
        uapi.BPF_F_NUMA_NODE | _ACCESS,
        frozenset({"local_storage"}),
        keys=frozenset({8, 16}),
        entries=_NONE,
        max_value=max_value,
        for_each=False,
        btf_key="cgroup",
        sleepable=False,
        inner=False,
        **rules,
    )


MAP_TYPES: tuple[MapType, ...] = (
    MapType(
        uapi.BPF_MAP_TYPE_HASH,
        "hash",
        _HASH,
        _ELEMENTS,
        entries=(1, 1 << 31),
        max_element=_MAX_HASH_ELEMENT,
        batch=_HASH_BATCH,
        fields=_ALL_FIELDS,
        lookup="hash",
        walk_order="hash",
        elem_iterator=True,
        offload=True,
    ),
    MapType(
        uapi.BPF_MAP_TYPE_ARRAY,
        "array",
        _ARRAY,
        _ELEMENTS,
        key=(4, 4),
        batch=_ARRAY_BATCH,
        fields=_ALL_FIELDS,
        direct=True,
        lookup="array",
        walk_order="index",
        elem_iterator=True,
        btf_key="u32",
        offload=True,
    ),
    MapType(
        uapi.BPF_MAP_TYPE_PERCPU_HASH,
        "percpu_hash",
        _HASH,
        _PER_CPU,
        entries=(1, 1 << 31),
        max_value=_MAX_PERCPU_VALUE,
        max_element=_MAX_HASH_ELEMENT,
        batch=_HASH_BATCH,
        fields=_POINTERS,
        per_cpu=True,
        lookup="hash",
        walk_order="hash",
        elem_iterator=True,
    ),
    MapType(
        uapi.BPF_MAP_TYPE_PERCPU_ARRAY,
        "percpu_array",
        uapi.BPF_F_NUMA_NODE | _ACCESS,
        _PER_CPU,
        key=(4, 4),
        max_value=_MAX_PERCPU_VALUE,
        batch=_ARRAY_BATCH,
        fields=_POINTERS,
        per_cpu=True,
        lookup="percpu_array",
        walk_order="index",
        elem_iterator=True,
        btf_key="u32",
    ),
    MapType(
        uapi.BPF_MAP_TYPE_LRU_HASH,
        "lru_hash",
        _LRU | uapi.BPF_F_NO_PREALLOC,
        _ELEMENTS,
        entries=(1, 1 << 31),
        max_element=_MAX_HASH_ELEMENT,
        unsupported_flags=uapi.BPF_F_NO_PREALLOC,
        batch=_HASH_BATCH,
        fields=_POINTERS | _CALLBACKS | Special.GRAPH_ROOT,
        lookup="lru_hash",
        walk_order="hash",
        elem_iterator=True,
    ),
    MapType(
        uapi.BPF_MAP_TYPE_LRU_PERCPU_HASH,
        "lru_percpu_hash",
        _LRU | uapi.BPF_F_NO_PREALLOC,
        _PER_CPU,
        entries=(1, 1 << 31),
        max_value=_MAX_PERCPU_VALUE,
        max_element=_MAX_HASH_ELEMENT,
        unsupported_flags=uapi.BPF_F_NO_PREALLOC,
        batch=_HASH_BATCH,
        fields=_POINTERS,
        per_cpu=True,
        lookup="lru_hash",
        walk_order="hash",
        elem_iterator=True,
    ),
    MapType(
        uapi.BPF_MAP_TYPE_LPM_TRIE,
        "lpm_trie",
        uapi.BPF_F_NO_PREALLOC | uapi.BPF_F_NUMA_NODE | _ACCESS,
        _ELEMENTS,
        key=_LPM_KEY,
        value=(1, _KMALLOC_MAX - 256 - 24),  # less the longest key and Linux's own part of a node
        required_flags=uapi.BPF_F_NO_PREALLOC,
        batch=_LPM_BATCH,
        for_each=False,
        btf_key="struct",
        sleepable=False,
    ),
    MapType(
        uapi.BPF_MAP_TYPE_ARRAY_OF_MAPS,
        "array_of_maps",
        uapi.BPF_F_NUMA_NODE | uapi.BPF_F_RDONLY | uapi.BPF_F_WRONLY,
        frozenset({"lookup"}),
        key=(4, 4),
        value=(4, 4),
        batch=_ARRAY_BATCH,
        for_each=False,
        walk_order="index",
        lookup="array_of_maps",
        btf_key="none",
        holds="map",
        inner=False,
    ),
    MapType(
        uapi.BPF_MAP_TYPE_HASH_OF_MAPS,
        "hash_of_maps",
        _HASH,
        frozenset({"lookup"}),
        value=(4, 4),
        entries=(1, 1 << 31),
        max_element=_MAX_HASH_ELEMENT,
        batch=_HASH_BATCH,
        for_each=False,
        walk_order="hash",
        lookup="hash_of_maps",
        btf_key="none",
        holds="map",
        inner=False,
    ),
    MapType(
        uapi.BPF_MAP_TYPE_PROG_ARRAY,
        "prog_array",
        uapi.BPF_F_NUMA_NODE | uapi.BPF_F_RDONLY | uapi.BPF_F_WRONLY,
        frozenset({"tail_call"}),
        key=(4, 4),
        value=(4, 4),
        for_each=False,
        walk_order="index",
        btf_key="none",
        holds="prog",
        inner=False,
        sleepable=False,
    ),
    MapType(
        uapi.BPF_MAP_TYPE_CGROUP_ARRAY,
        "cgroup_array",
        uapi.BPF_F_NUMA_NODE | uapi.BPF_F_RDONLY | uapi.BPF_F_WRONLY,
        frozenset({"under_cgroup"}),
        key=(4, 4),
        value=(4, 4),
        for_each=False,
        walk_order="index",
        btf_key="none",
        holds="cgroup",
        sleepable=False,
    ),
    MapType(
        uapi.BPF_MAP_TYPE_PERF_EVENT_ARRAY,
        "perf_event_array",
        uapi.BPF_F_NUMA_NODE | uapi.BPF_F_RDONLY | uapi.BPF_F_WRONLY | uapi.BPF_F_PRESERVE_ELEMS,
        frozenset({"perf_event"}),
        key=(4, 4),
        value=(4, 4),
        for_each=False,
        walk_order="index",
        btf_key="none",
        holds="perf_event",
        sleepable=False,
    ),
    MapType(
        uapi.BPF_MAP_TYPE_QUEUE,
        "queue",
        uapi.BPF_F_NUMA_NODE | _ACCESS,
        frozenset({"push", "pop", "peek"}),
        key=_NONE,
        max_value=_KMALLOC_MAX,
    ),
    MapType(
        uapi.BPF_MAP_TYPE_STACK,
        "stack",
        uapi.BPF_F_NUMA_NODE | _ACCESS,
        frozenset({"push", "pop", "peek"}),
        key=_NONE,
        max_value=_KMALLOC_MAX,
    ),
    MapType(
        uapi.BPF_MAP_TYPE_BLOOM_FILTER,
        "bloom_filter",
        uapi.BPF_F_NUMA_NODE | uapi.BPF_F_ZERO_SEED | _ACCESS,
        frozenset({"push", "peek"}),
        key=_NONE,
        max_value=_KMALLOC_MAX,
        extra=0xF,
        tests=True,
        btf_key="void",
        sleepable=False,
    ),
    MapType(
        uapi.BPF_MAP_TYPE_RINGBUF,
        "ringbuf",
        uapi.BPF_F_NUMA_NODE,
        frozenset({"ringbuf"}),
        key=_NONE,
        value=_NONE,
        entries=_RING,
        ring=True,
        for_each=False,
    ),
    MapType(
        uapi.BPF_MAP_TYPE_USER_RINGBUF,
        "user_ringbuf",
        uapi.BPF_F_NUMA_NODE,
        frozenset({"user_ringbuf"}),
        key=_NONE,
        value=_NONE,
        entries=_RING,
        ring=True,
        for_each=False,
    ),
    MapType(
        uapi.BPF_MAP_TYPE_STACK_TRACE,
        "stack_trace",
        uapi.BPF_F_NUMA_NODE | uapi.BPF_F_RDONLY | uapi.BPF_F_WRONLY | uapi.BPF_F_STACK_BUILD_ID,
        frozenset({"stack"}),
        key=(4, 4),
        value=(8, 127 * 32),
        entries=(1, 1 << 31),
        for_each=False,
        btf_key="none",
        sleepable=False,
    ),
    MapType(
        uapi.BPF_MAP_TYPE_ARENA,
        "arena",
        uapi.BPF_F_MMAPABLE | uapi.BPF_F_SEGV_ON_FAULT | uapi.BPF_F_NO_USER_CONV,
        frozenset(),
        key=_NONE,
        value=_NONE,
        required_flags=uapi.BPF_F_MMAPABLE,
        extra=-4096,  # the user's address: where a page begins
        for_each=False,
        arena=True,
    ),
    _storage(uapi.BPF_MAP_TYPE_TASK_STORAGE, "task_storage", "task", Special.UPTR),
    _storage(uapi.BPF_MAP_TYPE_CGRP_STORAGE, "cgrp_storage", "cgroup"),
    _storage(uapi.BPF_MAP_TYPE_INODE_STORAGE, "inode_storage", "inode"),
    _storage(uapi.BPF_MAP_TYPE_SK_STORAGE, "sk_storage", "sock"),
    _of_cgroups(uapi.BPF_MAP_TYPE_CGROUP_STORAGE, "cgroup_storage", _MAX_STORAGE_VALUE, fields=Special.SPIN_LOCK),
    _of_cgroups(uapi.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE, "percpu_cgroup_storage", _MAX_PERCPU_VALUE, per_cpu=True),
    # A program that finds a device's entry may not write it.
    _net(
        uapi.BPF_MAP_TYPE_DEVMAP,
        "devmap",
        frozenset({"lookup", "redirect"}),
        "device",
        implied_flags=uapi.BPF_F_RDONLY_PROG,
    ),
    _net(
        uapi.BPF_MAP_TYPE_DEVMAP_HASH,
        "devmap_hash",
        frozenset({"lookup", "redirect"}),
        "device",
        implied_flags=uapi.BPF_F_RDONLY_PROG,
        walk_order="hash",
    ),
    _net(
        uapi.BPF_MAP_TYPE_CPUMAP,
        "cpumap",
        frozenset({"redirect"}),
        "cpu",
        flags=uapi.BPF_F_NUMA_NODE,
        entries=(1, _NR_CPUS),
    ),
    _net(
        uapi.BPF_MAP_TYPE_XSKMAP,
        "xskmap",
        frozenset({"lookup", "redirect"}),
        "xsk",
        values=frozenset({4}),
        finds="xdp_sock",
    ),
    _net(uapi.BPF_MAP_TYPE_SOCKMAP, "sockmap", _SOCKET_UPDATES | {"sockmap"}, "sock", finds="socket"),
    _net(
        uapi.BPF_MAP_TYPE_SOCKHASH,
        "sockhash",
        _SOCKET_UPDATES | {"sockhash"},
        "sock",
        key=(1, 0xFFFFFFFF),
        max_key=512,
        walk_order="hash",
        finds="socket",
    ),
    _net(
        uapi.BPF_MAP_TYPE_REUSEPORT_SOCKARRAY,
        "reuseport_sockarray",
        frozenset({"select_reuseport"}),
        "reuseport",
        flags=uapi.BPF_F_NUMA_NODE | _ACCESS,
        btf_key="",
    ),
)
MAP_TYPE_BY_ID = {row.id: row for row in MAP_TYPES}
MAP_TYPE_NAMES = {
    value: name.removeprefix("BPF_MAP_TYPE_").lower()
    for name, value in vars(uapi).items()
    if name.startswith("BPF_MAP_TYPE_") and isinstance(value, int)
}
