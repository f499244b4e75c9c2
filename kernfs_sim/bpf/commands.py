"""bpf(2): the table of commands, and the one way into it for every kind of caller."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bpfjit.errors import refuse
from bpfjit.uapi import bpf as uapi
from bpfjit.uapi.layout import Attr

from ..caller import Caller
from . import batch, btf, info, iters, link_update, links, maps, pin, progs, run

if TYPE_CHECKING:
    from ..kernel import Kernel

Handler = Callable[["Kernel", Caller, Any], int]
_ATTR_BYTES = uapi.LAYOUTS["bpf_attr"].size
_MAX_ATTR = 4096  # a page: more is E2BIG whatever it holds


@dataclass(frozen=True, slots=True)
class Command:
    """One command: the part of bpf_attr it reads, the last field it knows, its handler, the fields it writes back."""

    number: int
    attr: type[Attr]
    last: str
    handler: Handler
    out: tuple[str, ...] = ()


COMMANDS: tuple[Command, ...] = (
    Command(uapi.BPF_MAP_CREATE, uapi.MapCreate, "excl_prog_hash_size", maps.create),
    Command(uapi.BPF_MAP_LOOKUP_ELEM, uapi.MapElem, "flags", maps.lookup),
    Command(uapi.BPF_MAP_UPDATE_ELEM, uapi.MapElem, "flags", maps.update),
    Command(uapi.BPF_MAP_DELETE_ELEM, uapi.MapElem, "key", maps.delete),
    Command(uapi.BPF_MAP_GET_NEXT_KEY, uapi.MapElem, "value", maps.get_next_key),
    Command(uapi.BPF_MAP_FREEZE, uapi.MapElem, "map_fd", maps.freeze),
    Command(uapi.BPF_MAP_LOOKUP_AND_DELETE_ELEM, uapi.MapElem, "flags", batch.lookup_and_delete),
    Command(uapi.BPF_MAP_LOOKUP_BATCH, uapi.MapBatch, "flags", batch.lookup_batch, ("count",)),
    Command(uapi.BPF_MAP_LOOKUP_AND_DELETE_BATCH, uapi.MapBatch, "flags", batch.lookup_and_delete_batch, ("count",)),
    Command(uapi.BPF_MAP_UPDATE_BATCH, uapi.MapBatch, "flags", batch.update_batch, ("count",)),
    Command(uapi.BPF_MAP_DELETE_BATCH, uapi.MapBatch, "flags", batch.delete_batch, ("count",)),
    Command(uapi.BPF_PROG_LOAD, uapi.ProgLoad, "keyring_id", progs.load, ("log_true_size",)),
    Command(uapi.BPF_OBJ_PIN, uapi.Obj, "path_fd", pin.pin),
    Command(uapi.BPF_OBJ_GET, uapi.Obj, "path_fd", pin.get),
    Command(
        uapi.BPF_PROG_TEST_RUN,
        uapi.TestRun,
        "batch_size",
        run.test_run,
        ("retval", "data_size_out", "ctx_size_out", "duration"),
    ),
    Command(uapi.BPF_PROG_GET_NEXT_ID, uapi.GetId, "next_id", info.next_prog, ("next_id",)),
    Command(uapi.BPF_MAP_GET_NEXT_ID, uapi.GetId, "next_id", info.next_map, ("next_id",)),
    Command(uapi.BPF_BTF_GET_NEXT_ID, uapi.GetId, "next_id", info.next_btf, ("next_id",)),
    Command(uapi.BPF_LINK_GET_NEXT_ID, uapi.GetId, "next_id", info.next_link, ("next_id",)),
    Command(uapi.BPF_PROG_GET_FD_BY_ID, uapi.GetId, "start_id", info.prog_by_id),
    Command(uapi.BPF_MAP_GET_FD_BY_ID, uapi.GetId, "open_flags", info.map_by_id),
    Command(uapi.BPF_BTF_GET_FD_BY_ID, uapi.GetId, "fd_by_id_token_fd", info.btf_by_id),
    Command(uapi.BPF_LINK_GET_FD_BY_ID, uapi.GetId, "start_id", info.link_by_id),
    Command(uapi.BPF_OBJ_GET_INFO_BY_FD, uapi.GetInfo, "info", info.get_info, ("info_len",)),
    Command(uapi.BPF_RAW_TRACEPOINT_OPEN, uapi.RawTracepointOpen, "cookie", links.raw_tracepoint_open),
    Command(uapi.BPF_BTF_LOAD, uapi.BtfLoad, "btf_token_fd", btf.load, ("btf_log_true_size",)),
    Command(uapi.BPF_LINK_UPDATE, uapi.LinkUpdate, "old_prog_fd", link_update.update),
    Command(uapi.BPF_LINK_DETACH, uapi.LinkDetach, "link_fd", link_update.detach),
    Command(uapi.BPF_ITER_CREATE, uapi.IterCreate, "flags", iters.create),
    Command(uapi.BPF_LINK_CREATE, uapi.LinkCreate, "iter_info_len", links.create),
)
BY_NUMBER = {row.number: row for row in COMMANDS}
_KNOWN = {row.number for row in COMMANDS}
# Linux's commands that are not here yet: refused, and named in the README's limits.
_MISSING = set(range(uapi.BPF_PROG_STREAM_READ_BY_FD + 1)) - _KNOWN


def _layout(row: Command) -> tuple[int, int]:
    """Where a command's part of bpf_attr ends: (bytes of the struct, end of its last known field)."""
    start = row.attr.OFFSETS[row.last]
    following = sorted(o for o in row.attr.OFFSETS.values() if o > start)
    return row.attr.SIZE, following[0] if following else row.attr.SIZE


def call(kernel: Kernel, caller: Caller, cmd: int, attr: bytearray) -> int:
    """One bpf(2) call. `attr` may be of any version's size: what is missing is zero, unknown tails must be.

    Raises OSError: EINVAL for unknown commands and non-zero unused bytes, E2BIG for a non-zero tail.
    """
    if len(attr) > _ATTR_BYTES:
        if len(attr) > _MAX_ATTR or any(attr[_ATTR_BYTES:]):
            raise refuse(errno.E2BIG, f"attr of {len(attr)} bytes, known are {_ATTR_BYTES}")
    row = BY_NUMBER.get(cmd)
    if row is None:
        if cmd in _MISSING:
            raise refuse(errno.EINVAL, f"bpf command {cmd} is not simulated yet")
        raise refuse(errno.EINVAL, f"unknown bpf command {cmd}")
    end = _layout(row)[1]
    if any(attr[end:]):
        raise refuse(errno.EINVAL, f"bpf command {cmd}: bytes of attr past {row.last} are not zero")
    decoded = row.attr.unpack(attr)
    try:
        return row.handler(kernel, caller, decoded)
    finally:
        if row.out:
            _write_back(row, decoded, attr)


def _write_back(row: Command, decoded: Attr, attr: bytearray) -> None:
    packed = decoded.pack()
    layout = [*sorted(row.attr.OFFSETS.values()), row.attr.SIZE]
    for name in row.out:
        start = row.attr.OFFSETS[name]
        end = min(layout[layout.index(start) + 1], len(attr))
        if end - start >= 4:
            attr[start:end] = packed[start:end]
