"""Special fields of values: what a map's BTF may say, judged by Linux too (BPF_MAP_CREATE's errno)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from errno import E2BIG, EFAULT, EINVAL, ENOENT, EOPNOTSUPP
from pathlib import Path

import pytest

from bpfjit import live_bpf, open_object
from bpfjit.btf import OBJECT_FIELDS, Btf, Kind, RawBtf, Special, Type, parse_record, write_btf
from bpfjit.btf.types import VOID_TYPE
from bpfjit.loader.bpf import Bpf, Buffers
from bpfjit.loader.compile import compile_c
from bpfjit.spec.map_types import MAP_TYPE_BY_ID
from bpfjit.uapi import bpf as uapi
from bpfjit.uapi.layout import Attr
from kernfs_sim import Kernel

SOURCE = Path(__file__).resolve().parents[1] / "objects" / "records.bpf.c"
HASH, LRU, PERCPU = uapi.BPF_MAP_TYPE_HASH, uapi.BPF_MAP_TYPE_LRU_HASH, uapi.BPF_MAP_TYPE_PERCPU_HASH
ARRAY, PERCPU_ARRAY, LPM = uapi.BPF_MAP_TYPE_ARRAY, uapi.BPF_MAP_TYPE_PERCPU_ARRAY, uapi.BPF_MAP_TYPE_LPM_TRIE

# structure -> the errno of its BTF, or of a hash with such values (0: made, with or without special fields)
CASES = {
    "plain": 0,
    "lock": 0,
    "lock_only": 0,
    "two_locks": E2BIG,
    "lock_nested": 0,
    "lock_array": 0,
    "lock_in_array": 0,
    "lock_in_one": 0,
    "lock_packed": EFAULT,
    "timer": 0,
    "two_timers": 0,
    "timer_and_lock": 0,
    "wq": 0,
    "kptr": 0,
    "kptr_untrusted": 0,
    "kptr_file": ENOENT,
    "kptr_mine": 0,
    "kptr_percpu": 0,
    "kptr_int": 0,
    "kptr_array": 0,
    "kptr_many": 0,
    "kptr_too_many": 0,
    "tagged_otherwise": 0,
    "tagged_twice": 0,
    "plain_pointer": 0,
    "refcount": 0,
    "list": 0,
    "list_no_lock": EINVAL,
    "list_untagged": EINVAL,
    "list_of_nothing": ENOENT,
    "list_no_member": ENOENT,
    "list_wrong_member": EINVAL,
    "list_both": 0,
    "tree": 0,
    "tree_of_list": EINVAL,
    "node_in_map": 0,
    "uptr": EOPNOTSUPP,
    "bits": EINVAL,
    "bits_plain": 0,
    "in_union": 0,
    "task_work": 0,
    "res_lock": 0,
    "lock_and_res_lock": EINVAL,
}


@pytest.fixture(scope="module")
def types(tmp_path_factory: pytest.TempPathFactory) -> RawBtf:
    out = tmp_path_factory.mktemp("records") / "records.bpf.o"
    out.write_bytes(compile_c(SOURCE))
    found = open_object(out).spec.btf
    assert found is not None
    return found


def alone(types: RawBtf, name: str) -> bytes:
    """The cases' BTF with the members of one case only: a kernel refuses BTF with any bad structure in it."""
    others = {i for i, t in types.items() if t.kind is Kind.STRUCT and t.name in CASES and t.name != name}
    kept = [VOID_TYPE]
    for i, t in types.items():
        if i in others:
            t = replace(t, members=())
        elif t.kind is Kind.DECL_TAG and t.ref in others:
            t = Type(Kind.FWD, "dropped")
        kept.append(t)
    return write_btf(Btf(kept))


class Judge:
    """One kernel, asked about the cases one by one."""

    def __init__(self, bpf: Bpf, types: RawBtf) -> None:
        self.bpf = bpf
        self.types = types

    def call(self, cmd: int, attr: Attr) -> int:
        """A new fd, or a negative errno."""
        try:
            return self.bpf(cmd, bytearray(attr.pack()))
        except OSError as e:
            return -(e.errno or 1)

    def create(self, map_type: int, name: str, **more: int) -> int:
        """The errno of BTF with such a structure, or of a map with such values; 0 if it is made."""
        value = self.types.find(Kind.STRUCT, name)
        key = self.types.find(Kind.INT, "unsigned int")
        assert value is not None and key is not None
        buffers, data = Buffers(), alone(self.types, name)
        btf_fd = self.call(uapi.BPF_BTF_LOAD, uapi.BtfLoad(btf=buffers.put(data), btf_size=len(data)))
        if btf_fd < 0:
            return -btf_fd
        attr = uapi.MapCreate(
            map_type=map_type,
            key_size=4,
            value_size=self.types.size_of(value),
            max_entries=2,
            btf_fd=btf_fd,
            btf_key_type_id=key,
            btf_value_type_id=value,
        )
        for field, given in more.items():
            setattr(attr, field, given)
        fd = self.call(uapi.BPF_MAP_CREATE, attr)
        for opened in (fd, btf_fd):
            if opened >= 0:
                self.bpf.close(opened)
        return -min(fd, 0)


@pytest.fixture(params=["simulated", "live"])
def judge(request: pytest.FixtureRequest, types: RawBtf) -> Iterator[Judge]:
    if request.param == "simulated":
        with Kernel() as kernel:
            yield Judge(kernel.bpf, types)
        return
    if os.geteuid():
        pytest.skip("the live kernel wants root")
    yield Judge(live_bpf, types)


def test_what_a_hash_takes_for_a_value(judge: Judge) -> None:
    assert {name: judge.create(HASH, name) for name in CASES} == CASES


def test_each_map_type_holds_its_kinds_of_field(judge: Judge) -> None:
    kinds = {
        "lock": Special.SPIN_LOCK,
        "res_lock": Special.RES_SPIN_LOCK,
        "timer": Special.TIMER,
        "wq": Special.WORKQUEUE,
        "task_work": Special.TASK_WORK,
        "kptr": Special.KPTR_REF,
        "refcount": Special.REFCOUNT,
        "list": Special.LIST_HEAD | Special.SPIN_LOCK,
    }
    for map_type in (HASH, LRU, PERCPU, ARRAY, PERCPU_ARRAY):
        held = MAP_TYPE_BY_ID[map_type].fields
        wanted = {name: 0 if kind & held == kind else EOPNOTSUPP for name, kind in kinds.items()}
        assert {name: judge.create(map_type, name) for name in kinds} == wanted, MAP_TYPE_BY_ID[map_type].name


def test_sizes_and_kinds_of_keys_and_values(judge: Judge) -> None:
    plain = judge.types.find(Kind.STRUCT, "plain")
    lock_id = judge.types.find(Kind.STRUCT, "lock_only")
    assert plain is not None and lock_id is not None
    assert judge.create(HASH, "plain", value_size=24) == EINVAL
    assert judge.create(HASH, "plain", key_size=8) == EINVAL
    assert judge.create(HASH, "plain", btf_value_type_id=9999) == EINVAL
    assert judge.create(HASH, "plain", btf_key_type_id=lock_id) == 0
    assert judge.create(ARRAY, "plain", btf_key_type_id=lock_id) == EINVAL
    assert judge.create(HASH, "plain", btf_key_type_id=0) == EINVAL
    assert judge.create(ARRAY, "plain", btf_key_type_id=0) == EINVAL
    assert judge.create(LPM, "plain", key_size=16, btf_key_type_id=plain, map_flags=uapi.BPF_F_NO_PREALLOC) == 0
    assert judge.create(LPM, "plain", key_size=4, map_flags=uapi.BPF_F_NO_PREALLOC) == EINVAL
    assert judge.create(HASH, "lock", map_flags=uapi.BPF_F_RDONLY_PROG) == 13
    assert judge.create(HASH, "plain", map_flags=uapi.BPF_F_RDONLY_PROG) == 0


def test_a_record_says_where_each_field_is(types: RawBtf) -> None:
    def record(name: str) -> list[tuple[Special, int, int]]:
        struct_id = types.find(Kind.STRUCT, name)
        assert struct_id is not None
        return [(f.kind, f.offset, f.size) for f in parse_record(types, struct_id).fields]

    assert record("plain") == []
    with pytest.raises(OSError, match="a second bpf_timer"):
        record("two_timers")
    assert record("lock_packed") == []  # unaligned: no lock at all, as for Linux
    assert record("lock_nested") == [(Special.SPIN_LOCK, 12, 4)]
    assert record("timer_and_lock") == [(Special.TIMER, 0, 16), (Special.SPIN_LOCK, 16, 4)]
    assert record("kptr_array") == [(Special.KPTR_REF, at, 8) for at in (0, 8, 16)]
    item = types.find(Kind.STRUCT, "item")
    tree = types.find(Kind.STRUCT, "tree")
    assert item is not None and tree is not None
    root = parse_record(types, tree).fields[1]
    assert (root.kind, root.type_id, root.node, root.node_offset) == (Special.RB_ROOT, item, "tree", 24)
    nodes = parse_record(types, item, OBJECT_FIELDS)
    assert nodes.kinds == Special.LIST_NODE | Special.RB_NODE | Special.REFCOUNT
    assert nodes.overlapping(23, 2) is nodes.at(0) or nodes.overlapping(23, 2) is nodes.fields[0]
