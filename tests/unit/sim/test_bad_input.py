"""Fds of every kind where a command wants another, and wild pointers wherever it has one: both kernels answer alike."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from systems import RETURN_0, Live, Simulated, System, int_btf, live_or_skip, load_btf, load_prog, make_map, update_map

from bpfjit.errors import errno_name
from bpfjit.loader.bpf import Buffers
from bpfjit.uapi import bpf as uapi
from bpfjit.uapi.layout import Attr
from kernfs_sim import Kernel

# Pointers: none, one into the first page, one into nothing, the kernel's, one that ends behind all memory.
WILD = (0, 1, 0x7000_0000_0000, 0xFFFF_8000_0000_0000, (1 << 64) - 8)
NO_FD, NEGATIVE = 9999, -1


class Command(NamedTuple):
    """A call that succeeds or fails by what a member is: its attr (fds and buffers by name), and which members are tried."""

    number: int
    attr: type[Attr]
    members: dict[str, int | str]
    fds: tuple[str, ...] = ()
    pointers: tuple[str, ...] = ()


_ELEM = {"map_fd": "hash", "key": "key", "value": "out"}
_BATCH = {"map_fd": "array", "keys": "key", "values": "out", "count": 1}
_LOAD = {"prog_type": uapi.BPF_PROG_TYPE_SOCKET_FILTER, "insn_cnt": 2, "insns": "code", "license": "license"}
_BTF = {"btf": "btf_blob", "btf_size": len(int_btf())}
_MAP = {"map_type": uapi.BPF_MAP_TYPE_ARRAY, "key_size": 4, "value_size": 8, "max_entries": 1}
_OF_MAPS = {"map_type": uapi.BPF_MAP_TYPE_ARRAY_OF_MAPS, "key_size": 4, "value_size": 4, "max_entries": 1}
_RUN = {"prog_fd": "prog", "data_in": "packet", "data_size_in": 64, "data_out": "out", "data_size_out": 64}
_ATTACH = {"target_fd": "dir", "attach_bpf_fd": "prog"}
_REPLACE = {"link_fd": "link", "new_prog_fd": "prog", "old_prog_fd": "prog", "flags": uapi.BPF_F_REPLACE}
_BY_DIR = {"bpf_fd": "hash", "pathname": "path", "file_flags": uapi.BPF_F_PATH_FD}
COMMANDS = {
    "lookup": Command(uapi.BPF_MAP_LOOKUP_ELEM, uapi.MapElem, _ELEM, ("map_fd",), ("key", "value")),
    "update": Command(uapi.BPF_MAP_UPDATE_ELEM, uapi.MapElem, _ELEM, ("map_fd",), ("key", "value")),
    "delete": Command(uapi.BPF_MAP_DELETE_ELEM, uapi.MapElem, {**_ELEM, "value": 0}, ("map_fd",), ("key",)),
    "next key": Command(uapi.BPF_MAP_GET_NEXT_KEY, uapi.MapElem, _ELEM, ("map_fd",), ("key", "value")),
    "take": Command(
        uapi.BPF_MAP_LOOKUP_AND_DELETE_ELEM,
        uapi.MapElem,
        {**_ELEM, "map_fd": "queue", "key": 0},
        ("map_fd",),
        ("key", "value"),
    ),
    "freeze": Command(uapi.BPF_MAP_FREEZE, uapi.MapElem, {}, ("map_fd",)),
    "lookup batch": Command(
        uapi.BPF_MAP_LOOKUP_BATCH,
        uapi.MapBatch,
        {**_BATCH, "out_batch": "token"},
        ("map_fd",),
        ("keys", "values", "out_batch", "in_batch"),
    ),
    "update batch": Command(uapi.BPF_MAP_UPDATE_BATCH, uapi.MapBatch, _BATCH, ("map_fd",), ("keys", "values")),
    "delete batch": Command(uapi.BPF_MAP_DELETE_BATCH, uapi.MapBatch, {**_BATCH, "map_fd": "hash"}, ("map_fd",), ("keys",)),
    "a map with BTF": Command(
        uapi.BPF_MAP_CREATE,
        uapi.MapCreate,
        {**_MAP, "btf_fd": "btf", "btf_key_type_id": 1, "btf_value_type_id": 2},
        ("btf_fd",),
        ("excl_prog_hash",),
    ),
    "a map of maps": Command(uapi.BPF_MAP_CREATE, uapi.MapCreate, _OF_MAPS, ("inner_map_fd",)),
    "a program": Command(
        uapi.BPF_PROG_LOAD,
        uapi.ProgLoad,
        _LOAD,
        ("prog_btf_fd", "attach_prog_fd"),
        ("insns", "license", "log_buf", "fd_array"),
    ),
    "a program's records": Command(
        uapi.BPF_PROG_LOAD,
        uapi.ProgLoad,
        {**_LOAD, "prog_btf_fd": "btf", "func_info_cnt": 1, "func_info_rec_size": 8},
        ("prog_btf_fd",),
        ("func_info",),
    ),
    "a program's log": Command(
        uapi.BPF_PROG_LOAD, uapi.ProgLoad, {**_LOAD, "log_level": 1, "log_size": 4096}, (), ("log_buf", "insns")
    ),
    "pin": Command(uapi.BPF_OBJ_PIN, uapi.Obj, {"pathname": "path"}, ("bpf_fd",), ()),
    "pin there": Command(uapi.BPF_OBJ_PIN, uapi.Obj, {"bpf_fd": "hash"}, (), ("pathname",)),
    "pin in a directory": Command(uapi.BPF_OBJ_PIN, uapi.Obj, _BY_DIR, ("path_fd",)),
    "get": Command(uapi.BPF_OBJ_GET, uapi.Obj, {"pathname": "path"}, ("path_fd", "bpf_fd"), ("pathname",)),
    "test run": Command(
        uapi.BPF_PROG_TEST_RUN, uapi.TestRun, _RUN, ("prog_fd",), ("data_in", "data_out", "ctx_in", "ctx_out")
    ),
    "bind": Command(uapi.BPF_PROG_BIND_MAP, uapi.ProgBindMap, {"prog_fd": "prog", "map_fd": "hash"}, ("prog_fd", "map_fd")),
    "info": Command(
        uapi.BPF_OBJ_GET_INFO_BY_FD, uapi.GetInfo, {"bpf_fd": "prog", "info_len": 64, "info": "out"}, ("bpf_fd",), ("info",)
    ),
    "a raw tracepoint": Command(
        uapi.BPF_RAW_TRACEPOINT_OPEN, uapi.RawTracepointOpen, {"prog_fd": "prog", "name": "license"}, ("prog_fd",), ("name",)
    ),
    "BTF": Command(uapi.BPF_BTF_LOAD, uapi.BtfLoad, _BTF, (), ("btf", "btf_log_buf")),
    "BTF's log": Command(
        uapi.BPF_BTF_LOAD, uapi.BtfLoad, {**_BTF, "btf_log_level": 1, "btf_log_size": 64}, (), ("btf_log_buf",)
    ),
    "whose fd": Command(uapi.BPF_TASK_FD_QUERY, uapi.TaskFdQuery, {"pid": "self"}, ("fd",)),
    "attach": Command(uapi.BPF_PROG_ATTACH, uapi.ProgAttach, _ATTACH, ("target_fd", "attach_bpf_fd")),
    "detach": Command(uapi.BPF_PROG_DETACH, uapi.ProgAttach, _ATTACH, ("target_fd", "attach_bpf_fd")),
    "query": Command(uapi.BPF_PROG_QUERY, uapi.ProgQuery, {}, ("target_fd",)),
    "link": Command(
        uapi.BPF_LINK_CREATE, uapi.LinkCreate, {"prog_fd": "prog", "target_fd": "dir"}, ("prog_fd", "target_fd")
    ),
    "update a link": Command(
        uapi.BPF_LINK_UPDATE,
        uapi.LinkUpdate,
        {"link_fd": "link", "new_prog_fd": "prog"},
        ("link_fd", "new_prog_fd", "old_prog_fd"),
    ),
    "replace": Command(uapi.BPF_LINK_UPDATE, uapi.LinkUpdate, _REPLACE, ("old_prog_fd",)),
    "detach a link": Command(uapi.BPF_LINK_DETACH, uapi.LinkDetach, {}, ("link_fd",)),
    "iterate": Command(uapi.BPF_ITER_CREATE, uapi.IterCreate, {}, ("link_fd",)),
    "stream": Command(
        uapi.BPF_PROG_STREAM_READ_BY_FD,
        uapi.ProgStreamRead,
        {"prog_fd": "prog", "stream_id": 1, "stream_buf": "out", "stream_buf_len": 16},
        ("prog_fd",),
        ("stream_buf",),
    ),
    "token": Command(uapi.BPF_TOKEN_CREATE, uapi.TokenCreate, {}, ("bpffs_fd",)),
}
# What is not the same file in both: the link is an iterator's there and a view's here, the plain file no directory there.
APART = {("iterate", "link_fd", "link"), ("token", "bpffs_fd", "plain")}


class Bench:
    """One kernel, an fd of each kind, and buffers of which nothing is left from one call to the next."""

    def __init__(self, system: System) -> None:
        self.system, bpf = system, system.bpf
        kinds = {
            "hash": (uapi.BPF_MAP_TYPE_HASH, 4),
            "array": (uapi.BPF_MAP_TYPE_ARRAY, 4),
            "queue": (uapi.BPF_MAP_TYPE_QUEUE, 0),
        }
        self.fds = {name: make_map(bpf, map_type=kind, key_size=key) for name, (kind, key) in kinds.items()}
        ring = {"key_size": 0, "value_size": 0, "max_entries": 4096}
        self.fds["ring"] = make_map(bpf, map_type=uapi.BPF_MAP_TYPE_RINGBUF, **ring)
        self.fds["programs"] = make_map(bpf, map_type=uapi.BPF_MAP_TYPE_PROG_ARRAY, value_size=4)
        of_maps = {"map_type": uapi.BPF_MAP_TYPE_ARRAY_OF_MAPS, "value_size": 4, "inner_map_fd": self.fds["array"]}
        self.fds["maps"] = make_map(bpf, **of_maps)
        self.fds |= {"prog": load_prog(bpf), "btf": load_btf(bpf), "link": system.link_fd(), "plain": system.plain_fd()}
        self.fds["dir"] = system.open(system.root, os.O_RDONLY | os.O_DIRECTORY)
        self.fds |= {"none": NO_FD, "negative": NEGATIVE}
        self._keep = keep = Buffers()
        self.out = bytearray(4096)
        self.token = bytearray(64)
        pid = os.getpid() if isinstance(system, Live) else system.caller.pid
        texts = {"code": RETURN_0, "license": b"GPL\0", "btf_blob": int_btf(), "packet": bytes(64), "key": bytearray(64)}
        texts |= {"out": self.out, "token": self.token, "path": os.fsencode(system.root) + b"/x\0"}
        self.names = {**self.fds, **{name: keep.put(data) for name, data in texts.items()}, "self": pid}

    def close(self) -> None:
        for fd in set(self.fds.values()) - {NO_FD, NEGATIVE}:
            self.system.bpf.close(fd)

    def answer(self, command: Command, **changed: int | str) -> str:
        bpf, members = self.system.bpf, {**command.members, **changed}
        self.out[:], self.token[:] = bytes(len(self.out)), bytes(len(self.token))
        attr: Any = command.attr(**{k: self.names[v] if isinstance(v, str) else v for k, v in members.items()})
        try:
            made = bpf(command.number, bytearray(attr.pack()))
        except OSError as e:
            return errno_name(e.errno or 0)
        if made > 2:
            bpf.close(made)
        if command.number == uapi.BPF_OBJ_PIN:
            self.system.unlink(f"{self.system.root}/x")
        return "done"

    def answers(self, name: str) -> dict[tuple[str, str, str], str]:
        command = COMMANDS[name]
        found = {}
        update_map(self.system.bpf, self.fds["hash"], bytes(4), bytes(8))
        for member in command.fds:
            for kind in self.fds:
                found[name, member, kind] = self._tried(command, member, kind)
        for member in command.pointers:
            for wild in WILD:
                found[name, member, hex(wild)] = self.answer(command, **{member: wild})
        return {case: said for case, said in found.items() if case not in APART}

    def _tried(self, command: Command, member: str, kind: str) -> str:
        try:
            return self.answer(command, **{member: kind})
        except struct.error:  # an unsigned member: -1 is another number
            return self.answer(command, **{member: 0xFFFFFFFF})


@pytest.fixture(scope="module")
def systems() -> Iterator[tuple[System, System]]:
    made: tuple[System, System] = (Simulated(Kernel(cache=False, engine="interp")), live_or_skip())
    yield made
    for system in made:
        system.close()


@pytest.mark.parametrize("name", COMMANDS)
def test_linux_says_the_same(systems: tuple[System, System], name: str) -> None:
    sim, live = (Bench(system) for system in systems)
    try:
        assert sim.answers(name) == live.answers(name)
    finally:
        for bench in (sim, live):
            bench.close()


def test_nothing_of_it_is_left() -> None:
    """Simulated, where objects, their references and fds can be counted."""
    with Kernel(cache=False, engine="interp") as kernel:
        sim = Simulated(kernel)

        def held() -> tuple[int, ...]:
            kinds = (kernel.maps, kernel.progs, kernel.links, kernel.btfs)
            return (
                len(kernel.caller.fds),
                kernel.native._holders,
                *(len(k) for k in kinds),
                *(sum(o.refs for o in k) for k in kinds),
            )

        found = []
        for _ in range(3):
            for name in COMMANDS:
                bench = Bench(sim)
                bench.answers(name)
                bench.close()
            found.append(held())
        assert found[1] == found[2] == found[0]
