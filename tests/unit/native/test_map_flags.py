"""Every flag of BPF_MAP_CREATE on maps of every type, alone and beside others: the same answer on both kernels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from bpf_calls import Calls

from bpfjit.loader.bpf import Buffers
from bpfjit.spec.map_types import MAP_TYPE_NAMES
from bpfjit.uapi import bpf as uapi

_TYPES = {name: number for number, name in MAP_TYPE_NAMES.items() if number}
_NO_PREALLOC, _NUMA, _LISTS = uapi.BPF_F_NO_PREALLOC, uapi.BPF_F_NUMA_NODE, uapi.BPF_F_NO_COMMON_LRU
_PAIRS = [
    uapi.BPF_F_RDONLY | uapi.BPF_F_WRONLY,
    uapi.BPF_F_RDONLY_PROG | uapi.BPF_F_WRONLY_PROG,
    uapi.BPF_F_RDONLY | uapi.BPF_F_RDONLY_PROG,
    uapi.BPF_F_MMAPABLE | uapi.BPF_F_RDONLY,
    uapi.BPF_F_MMAPABLE | uapi.BPF_F_INNER_MAP,
    _NO_PREALLOC | uapi.BPF_F_MMAPABLE,
    _NO_PREALLOC | _LISTS,
    _LISTS | _NUMA,
]
FLAGS = [0, *(1 << bit for bit in range(22)), *_PAIRS]
OTHERS: list[dict[str, int]] = [{}, {"numa_node": 1}, {"numa_node": 0xFFFFFFFF}, {"inner_map_fd": 1}, {"map_extra": 1}]
# Key, value, entries, flags where 4, 4, 2 and none do not do.
SHAPES = {
    **dict.fromkeys(("queue", "stack", "bloom_filter"), (0, 4, 2, 0)),
    **dict.fromkeys(("ringbuf", "user_ringbuf"), (0, 0, 4096, 0)),
    **dict.fromkeys(("cgroup_storage", "percpu_cgroup_storage"), (8, 8, 0, 0)),
    **dict.fromkeys(("sk_storage", "inode_storage", "task_storage", "cgrp_storage"), (4, 4, 0, _NO_PREALLOC)),
    "lpm_trie": (8, 8, 2, _NO_PREALLOC),
    "stack_trace": (4, 80, 2, 0),
    "arena": (0, 0, 2, uapi.BPF_F_MMAPABLE),
}


def _int_btf(calls: Calls) -> int:
    types, strings = bytes.fromhex("01000000 00000001 04000000 20000001"), b"\0int\0"
    sizes = (24, 0, len(types), len(types), len(strings))
    blob = b"\x9f\xeb\1\0" + b"".join(n.to_bytes(4, "little") for n in sizes) + types + strings
    keep = Buffers()
    return int(calls.call(uapi.BPF_BTF_LOAD, uapi.BtfLoad(btf=keep.put(blob), btf_size=len(blob))))


def _answers(calls: Calls, name: str) -> Iterator[tuple[Any, ...]]:
    key, value, entries, base = SHAPES.get(name, (4, 4, 2, 0))
    inner, btf = calls.create(uapi.BPF_MAP_TYPE_ARRAY, 4, 4, 1), _int_btf(calls)
    for flags in FLAGS:
        for other in OTHERS:
            more = dict(other)
            if "inner_map_fd" in more or name.endswith("_of_maps"):
                more["inner_map_fd"] = inner
            if name in ("sk_storage", "inode_storage", "task_storage", "cgrp_storage"):
                more |= {"btf_fd": btf, "btf_key_type_id": 1, "btf_value_type_id": 1}
            made = calls.create(_TYPES[name], key, value, entries, base ^ flags, **more)
            if made > 0:
                calls.close(made)
            yield hex(base ^ flags), tuple(other.items()), min(made, 0)
    calls.bpf.close(btf)


@pytest.mark.parametrize("name", _TYPES)
def test_flags_are_taken_or_refused_as_on_linux(sim: Calls, live: Calls, name: str) -> None:
    assert list(_answers(sim, name)) == list(_answers(live, name))
