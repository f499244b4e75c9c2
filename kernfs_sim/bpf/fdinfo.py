"""The lines of /proc/PID/fdinfo/N that tell of a BPF object: rows of key and value, in Linux's order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..objects import BtfObject, LinkObject, MapObject, Object, ProgObject

_PAGE = 4096
Rows = list[tuple[str, object]]


def _prog(prog: ProgObject) -> Rows:
    insn_bytes = 8 * len(prog.program.insns)
    return [
        ("prog_type", prog.type_id),
        ("prog_jited", 1),
        ("prog_tag", prog.tag.hex()),
        ("memlock", -(-insn_bytes // _PAGE) * _PAGE),
        ("prog_id", prog.id),
        ("run_time_ns", prog.own.ptr.ns),
        ("run_cnt", prog.own.ptr.runs),
        ("recursion_misses", prog.own.ptr.misses),
        ("verified_insns", prog.verified.stats.processed_insns),
    ]


def _map(m: MapObject) -> Rows:
    return [
        ("map_type", m.type.id),
        ("key_size", m.key_size),
        ("value_size", m.value_size),
        ("max_entries", m.max_entries),
        ("map_flags", f"{m.flags:#x}"),
        ("map_extra", f"{m.extra:#x}"),
        ("memlock", m.native.memory_bytes),
        ("map_id", m.id),
        ("frozen", int(m.frozen)),
        *([("owner_prog_type", m.tail_owner.prog_type), ("owner_jited", 1)] if m.tail_owner is not None else []),
    ]


def _link(link: LinkObject) -> Rows:
    return [
        ("link_type", link.type_name),
        ("link_id", link.id),
        ("prog_tag", link.prog.tag.hex()),
        ("prog_id", link.prog.id),
        *link.fdinfo(),
    ]


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
