"""The lines of /proc/PID/fdinfo/N that tell of a BPF object: rows of key and value, in Linux's order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bpfjit.uapi import bpf as uapi

from ..objects import BtfObject, LinkObject, MapObject, Object, ProgObject

_PAGE = 4096
Rows = list[tuple[str, object]]
LINK_TYPE_NAMES = {
    uapi.BPF_LINK_TYPE_RAW_TRACEPOINT: "raw_tracepoint",
    uapi.BPF_LINK_TYPE_TRACING: "tracing",
    uapi.BPF_LINK_TYPE_ITER: "iter",
    uapi.BPF_LINK_TYPE_VIEW: "view",
}


def _prog(prog: ProgObject) -> Rows:
    insn_bytes = 8 * len(prog.program.insns)
    return [
        ("prog_type", prog.program.type.id),
        ("prog_jited", 1),
        ("prog_tag", prog.tag.hex()),
        ("memlock", -(-insn_bytes // _PAGE) * _PAGE),
        ("prog_id", prog.id),
        ("run_time_ns", 0),
        ("run_cnt", 0),
        ("recursion_misses", 0),
        ("verified_insns", prog.verified.stats.processed_insns),
    ]


def _map(m: MapObject) -> Rows:
    return [
        ("map_type", m.type.id),
        ("key_size", m.key_size),
        ("value_size", m.value_size),
        ("max_entries", m.max_entries),
        ("map_flags", f"{m.flags:#x}"),
        ("map_extra", "0x0"),
        ("memlock", m.native.memory_bytes),
        ("map_id", m.id),
        ("frozen", int(m.frozen)),
    ]


def _link(link: LinkObject) -> Rows:
    rows: Rows = [
        ("link_type", LINK_TYPE_NAMES[link.type]),
        ("link_id", link.id),
        ("prog_tag", link.prog.tag.hex()),
        ("prog_id", link.prog.id),
    ]
    if link.type == uapi.BPF_LINK_TYPE_VIEW:
        rows.append(("attach_target", link.target))
    elif link.type == uapi.BPF_LINK_TYPE_RAW_TRACEPOINT:
        rows.append(("tp_name", link.target))
    elif link.type == uapi.BPF_LINK_TYPE_TRACING:
        rows += [("attach_type", link.attach_type), ("target_obj_id", 1), ("target_btf_id", link.prog.attach_btf_id)]
    return rows


def _btf(btf: BtfObject) -> Rows:
    return [("btf_id", btf.id)]


_TELL: tuple[tuple[type, Callable[[Any], Rows]], ...] = (
    (ProgObject, _prog),
    (MapObject, _map),
    (LinkObject, _link),
    (BtfObject, _btf),
)


def lines(obj: Object) -> str:
    """`key:\\tvalue` lines of an object."""
    tell = next(tell for kind, tell in _TELL if isinstance(obj, kind))
    return "".join(f"{key}:\t{value}\n" for key, value in tell(obj))
