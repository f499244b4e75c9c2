"""bpf(2): the table of commands, and the one way into it for every kind of caller."""

from __future__ import annotations

import errno
import importlib
import re
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from bpfjit.errors import refuse
from bpfjit.uapi import bpf as uapi
from bpfjit.uapi.layout import Attr

from ..caller import Caller

if TYPE_CHECKING:
    from ..kernel import Kernel

_ATTR_BYTES = uapi.LAYOUTS["bpf_attr"].size
_MAX_ATTR = 4096  # a page: more is E2BIG whatever it holds


class Command:
    """One command: the part of bpf_attr it reads, the last field it knows, its handler, the fields it writes back.

    The handler is named, as module.function of this package, and imported when the command is first given.
    The handler is called with (kernel, caller, the decoded part); with `spread`, with the part's fields one by one
    (what is called often); with `raw`, with bpf_attr's bytes (several layouts share a command).
    """

    __slots__ = ("end", "found", "module", "name", "number", "out", "part", "raw", "spread", "unpack")

    def __init__(
        self,
        number: int,
        part: type[Attr],
        last: str,
        handler: str,
        out: tuple[str, ...] = (),
        *,
        spread: bool = False,
        raw: bool = False,
    ) -> None:
        self.number = number
        self.part = part
        self.module, _, self.name = handler.partition(".")
        self.spread = spread
        self.raw = raw
        self.unpack = part.FORM.unpack_from
        codes = re.findall(r"\d*[^<x\d]", part.FORM.format)  # of the fields, without the gaps between
        ends = {name: part.OFFSETS[name] + struct.calcsize(c) for name, c in zip(part.FIELDS, codes, strict=True)}
        # Where the last known field ends: bytes behind it must be zero. One with a dot is named by all of bpf_attr.
        dotted = sum(uapi.LAYOUTS["bpf_attr"].fields[last]) if "." in last else 0
        self.end = dotted or ends[last]
        self.found: Callable[..., int] | None = None
        self.out = tuple((part.OFFSETS[name], ends[name]) for name in out)

    @property
    def handler(self) -> Callable[..., int]:
        found = self.found
        if found is None:
            found = self.found = getattr(importlib.import_module(f".{self.module}", __package__), self.name)
        return found


# Of records with more than is known of them Linux says how long they may be.
_TOLD_OF_A_LOAD = ("log_true_size", "func_info_rec_size", "line_info_rec_size", "core_relo_rec_size")
COMMANDS: tuple[Command, ...] = (
    Command(uapi.BPF_MAP_CREATE, uapi.MapCreate, "excl_prog_hash_size", "maps.create"),
    Command(uapi.BPF_MAP_LOOKUP_ELEM, uapi.MapElem, "flags", "maps.lookup", spread=True),
    Command(uapi.BPF_MAP_UPDATE_ELEM, uapi.MapElem, "flags", "maps.update", spread=True),
    Command(uapi.BPF_MAP_DELETE_ELEM, uapi.MapElem, "key", "maps.delete", spread=True),
    Command(uapi.BPF_MAP_GET_NEXT_KEY, uapi.MapElem, "value", "maps.get_next_key", spread=True),
    Command(uapi.BPF_MAP_FREEZE, uapi.MapElem, "map_fd", "maps.freeze"),
    Command(uapi.BPF_MAP_LOOKUP_AND_DELETE_ELEM, uapi.MapElem, "flags", "batch.lookup_and_delete"),
    Command(uapi.BPF_MAP_LOOKUP_BATCH, uapi.MapBatch, "flags", "batch.lookup_batch", ("count",)),
    Command(uapi.BPF_MAP_LOOKUP_AND_DELETE_BATCH, uapi.MapBatch, "flags", "batch.lookup_and_delete_batch", ("count",)),
    Command(uapi.BPF_MAP_UPDATE_BATCH, uapi.MapBatch, "flags", "batch.update_batch", ("count",)),
    Command(uapi.BPF_MAP_DELETE_BATCH, uapi.MapBatch, "flags", "batch.delete_batch", ("count",)),
    Command(uapi.BPF_PROG_LOAD, uapi.ProgLoad, "keyring_id", "progs.load", _TOLD_OF_A_LOAD),
    Command(uapi.BPF_PROG_BIND_MAP, uapi.ProgBindMap, "flags", "progs.bind_map"),
    Command(uapi.BPF_OBJ_PIN, uapi.Obj, "path_fd", "pin.pin"),
    Command(uapi.BPF_OBJ_GET, uapi.Obj, "path_fd", "pin.get"),
    Command(
        uapi.BPF_PROG_TEST_RUN,
        uapi.TestRun,
        "batch_size",
        "run.test_run",
        ("retval", "data_size_out", "ctx_size_out", "duration"),
    ),
    Command(uapi.BPF_PROG_GET_NEXT_ID, uapi.GetId, "next_id", "info.next_prog", ("next_id",)),
    Command(uapi.BPF_MAP_GET_NEXT_ID, uapi.GetId, "next_id", "info.next_map", ("next_id",)),
    Command(uapi.BPF_BTF_GET_NEXT_ID, uapi.GetId, "next_id", "info.next_btf", ("next_id",)),
    Command(uapi.BPF_LINK_GET_NEXT_ID, uapi.GetId, "next_id", "info.next_link", ("next_id",)),
    Command(uapi.BPF_PROG_GET_FD_BY_ID, uapi.GetId, "start_id", "info.prog_by_id"),
    Command(uapi.BPF_MAP_GET_FD_BY_ID, uapi.GetId, "open_flags", "info.map_by_id"),
    Command(uapi.BPF_BTF_GET_FD_BY_ID, uapi.GetId, "fd_by_id_token_fd", "info.btf_by_id"),
    Command(uapi.BPF_LINK_GET_FD_BY_ID, uapi.GetId, "start_id", "info.link_by_id"),
    Command(uapi.BPF_OBJ_GET_INFO_BY_FD, uapi.GetInfo, "info", "info.get_info", ("info_len",)),
    Command(uapi.BPF_RAW_TRACEPOINT_OPEN, uapi.RawTracepointOpen, "cookie", "links.raw_tracepoint_open"),
    Command(uapi.BPF_BTF_LOAD, uapi.BtfLoad, "btf_token_fd", "btf.load", ("btf_log_true_size",)),
    Command(
        uapi.BPF_TASK_FD_QUERY,
        uapi.TaskFdQuery,
        "probe_addr",
        "query.task_fd",
        ("buf_len", "prog_id", "fd_type", "probe_offset", "probe_addr"),
    ),
    Command(uapi.BPF_PROG_ATTACH, uapi.ProgAttach, "expected_revision", "attach.prog_attach"),
    Command(uapi.BPF_PROG_DETACH, uapi.ProgAttach, "expected_revision", "attach.prog_detach"),
    Command(
        uapi.BPF_PROG_QUERY,
        uapi.ProgQuery,
        "revision",
        "attach.prog_query",
        ("attach_flags", "prog_cnt", "revision"),
    ),
    Command(uapi.BPF_LINK_UPDATE, uapi.LinkUpdate, "old_prog_fd", "link_update.update"),
    Command(uapi.BPF_LINK_DETACH, uapi.LinkDetach, "link_fd", "link_update.detach"),
    Command(uapi.BPF_ENABLE_STATS, uapi.EnableStats, "type", "stats.enable"),
    Command(uapi.BPF_ITER_CREATE, uapi.IterCreate, "flags", "iters.create"),
    Command(uapi.BPF_LINK_CREATE, uapi.LinkCreate, "link_create.uprobe_multi.pid", "links.create", raw=True),
    Command(uapi.BPF_TOKEN_CREATE, uapi.TokenCreate, "bpffs_fd", "query.token_create"),
    Command(uapi.BPF_PROG_STREAM_READ_BY_FD, uapi.ProgStreamRead, "prog_fd", "stream.read"),
)
# What hands out fds of maps and programs, which security hooks are asked about.
_GIVE_FDS = frozenset(
    getattr(uapi, f"BPF_{name}") for name in ("MAP_CREATE", "MAP_GET_FD_BY_ID", "OBJ_GET", "PROG_LOAD", "PROG_GET_FD_BY_ID")
)
BY_NUMBER = {row.number: row for row in COMMANDS}


def call(kernel: Kernel, caller: Caller, cmd: int, attr: bytearray) -> int:
    """One bpf(2) call. `attr` may be of any version's size: what is missing is zero, unknown tails must be.

    Raises OSError: EINVAL for unknown commands and non-zero unused bytes, E2BIG for a non-zero tail.
    """
    size = len(attr)
    if size > _ATTR_BYTES and (size > _MAX_ATTR or any(attr[_ATTR_BYTES:])):
        raise refuse(errno.E2BIG, f"attr of {size} bytes, known are {_ATTR_BYTES}")
    security = kernel.security
    if security is not None and "bpf" in security.active:
        security.bpf(caller, cmd, bytes(attr))
    row = BY_NUMBER.get(cmd) if cmd <= kernel.profile.command else None
    if row is None:
        raise refuse(errno.EINVAL, f"bpf command {cmd} is unknown")
    if size > row.end and any(attr[row.end :]):
        raise refuse(errno.EINVAL, f"bpf command {cmd}: bytes of attr past {row.end} are not zero")
    if row.raw:
        return (row.found or row.handler)(kernel, caller, bytes(attr[:_ATTR_BYTES]).ljust(_ATTR_BYTES, b"\0"))
    if row.spread:
        fields = row.unpack(attr if size >= row.part.SIZE else bytes(attr).ljust(row.part.SIZE, b"\0"))
        return (row.found or row.handler)(kernel, caller, *fields)
    decoded = row.part.unpack(attr)
    try:
        ret = row.handler(kernel, caller, decoded)
        return ret if security is None or cmd not in _GIVE_FDS else security.new_fd(caller, ret)
    finally:
        if row.out:
            packed = decoded.pack()
            for start, end in row.out:
                if end <= size:
                    attr[start:end] = packed[start:end]


def call_at(kernel: Kernel, caller: Caller, cmd: int, addr: int, size: int) -> int:
    """As call(), attr lying in the caller's memory. Raises E2BIG past a page, EFAULT for what cannot be read."""
    if size > _MAX_ATTR:
        raise refuse(errno.E2BIG, f"attr of {size} bytes, known are {_ATTR_BYTES}")
    given = caller.read(addr, size)
    attr = bytearray(given)
    try:
        return call(kernel, caller, cmd, attr)
    finally:
        if attr != given:
            caller.write(addr, bytes(attr))
