"""bpfjit link show | pin | detach: bpftool's verbs on links."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from ..loader import inspect
from ..loader.inspect import Info
from ..loader.map import pin
from ..uapi import bpf as uapi
from . import common
from .map import nothing, out
from .names import ATTACH_TYPES, LINK_TYPES, PROG_TYPES
from .reach import Reach, add_kernel, failed, reach

_ORDERS = {
    uapi.BPF_CGROUP_ITER_SELF_ONLY: "self_only",
    uapi.BPF_CGROUP_ITER_DESCENDANTS_PRE: "descendants_pre",
    uapi.BPF_CGROUP_ITER_DESCENDANTS_POST: "descendants_post",
    uapi.BPF_CGROUP_ITER_ANCESTORS_UP: "ancestors_up",
}
_MAP_TARGETS = ("bpf_map_elem", "bpf_sk_storage_map", "sockmap")
_TASK_TARGETS = ("task", "task_file", "task_vma")


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "link",
        help="show, pin and detach links of a mounted kernel, of Linux's, or of an object",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="  show|list [LINK]    pin LINK FILE    detach LINK\n\nLINK is id N or pinned FILE.\n",
    )
    parser.add_argument("verb", choices=tuple(_VERBS), metavar="VERB", help=", ".join(_VERBS))
    parser.add_argument("words", nargs="*", metavar="…", help="the rest, as bpftool takes it")
    add_kernel(parser)
    parser.set_defaults(command=command)


def command(args: argparse.Namespace) -> int:
    with reach(args, "link", args.words) as at:
        return _VERBS[args.verb](args, at)


def show(args: argparse.Namespace, at: Reach) -> int:
    single = at.is_handle("link")
    pins = at.pins() if args.bpffs else {}
    with at.each("link") as fds:
        at.done()
        rows = [_described(at, fd, pins) for fd in fds]
        if common.wants_json(args):
            out(args, rows[0][0] if single else [row for row, _ in rows])
        else:
            sys.stdout.write("".join(text for _, text in rows))
    return common.DONE


# What a type of link tells: rows of (JSON key, value, how the text says it).
Rows = list[tuple[str, Any, str]]


def _raw_tracepoint(at: Reach, fd: int, info: Info) -> Rows:
    name, cookie = inspect.link_text(at.bpf, fd, "raw_tracepoint.tp_name"), info["raw_tracepoint.cookie"]
    return [("tp_name", name, f"\n\ttp '{name}'  "), ("cookie", cookie, f"cookie {cookie}  " if cookie else "")]


def _tracing(at: Reach, fd: int, info: Info) -> Rows:
    prog = inspect.open_id(at.bpf, "prog", info["prog_id"])
    try:
        kind = PROG_TYPES[inspect.get_info(at.bpf, prog, "prog")["type"]]
    finally:
        at.bpf.close(prog)
    obj, type_id, cookie = (info[f"tracing.{n}"] for n in ("target_obj_id", "target_btf_id", "cookie"))
    return [
        ("prog_type", kind, f"\n\tprog_type {kind}  "),
        _attach_type(info["tracing.attach_type"]),
        ("target_obj_id", obj, f"\n\ttarget_obj_id {obj}  " if obj or type_id else ""),
        ("target_btf_id", type_id, f"target_btf_id {type_id}  " if obj or type_id else ""),
        ("cookie", cookie, f"\n\tcookie {cookie}  " if cookie else ""),
    ]


def _attach_type(number: int) -> tuple[str, Any, str]:
    name = ATTACH_TYPES.get(number, number)
    return "attach_type", name, f"attach_type {name}  "


def _cgroup(at: Reach, fd: int, info: Info) -> Rows:
    number = info["cgroup.cgroup_id"]
    return [("cgroup_id", number, f"\n\tcgroup_id {number}  "), _attach_type(info["cgroup.attach_type"])]


def _iter(at: Reach, fd: int, info: Info) -> Rows:
    target = inspect.link_text(at.bpf, fd, "iter.target_name")
    rows: Rows = [("target_name", target, f"target_name {target}  ")]
    if target in _MAP_TARGETS:
        rows.append(("map_id", info["iter.map.map_id"], f"map_id {info['iter.map.map_id']}  "))
    for word in ("tid", "pid") if target in _TASK_TARGETS else ():
        if info[f"iter.task.{word}"]:
            rows.append((word, info[f"iter.task.{word}"], f"{word} {info[f'iter.task.{word}']} "))
            break
    if target == "cgroup":
        number, order = info["iter.cgroup.cgroup_id"], _ORDERS.get(info["iter.cgroup.order"], "order_unspec")
        rows += [("cgroup_id", number, f"cgroup_id {number}  "), ("order", order, f"order {order}  ")]
    return rows


_ROWS: dict[int, Callable[[Reach, int, Info], Rows]] = {
    uapi.BPF_LINK_TYPE_RAW_TRACEPOINT: _raw_tracepoint,
    uapi.BPF_LINK_TYPE_TRACING: _tracing,
    uapi.BPF_LINK_TYPE_CGROUP: _cgroup,
    uapi.BPF_LINK_TYPE_ITER: _iter,
}


def _view(at: Reach, fd: int) -> Rows:
    """What bpftool does not know: a view's target, which its fdinfo tells."""
    target = inspect.fdinfo(at.bpf, fd).get("attach_target", "")
    return [("target", target, f"target {target}  ")]


def _described(at: Reach, fd: int, pins: dict[tuple[str, int], list[str]]) -> tuple[dict[str, Any], str]:
    info = inspect.get_info(at.bpf, fd, "link")
    kind = LINK_TYPES.get(info["type"], str(info["type"]))
    tell = _ROWS.get(info["type"])
    rows = tell(at, fd, info) if tell is not None else _view(at, fd) if info["type"] == uapi.BPF_LINK_TYPE_VIEW else []
    pinned = pins.get(("link", info["id"]), [])
    row = {"id": info["id"], "type": kind, "prog_id": info["prog_id"], **{key: value for key, value, _ in rows}}
    row |= {"pinned": pinned} if pinned else {}
    text = f"{info['id']}: {kind}  prog {info['prog_id']}  " + "".join(said for _, _, said in rows)
    return row, text + "".join(f"\n\tpinned {path}" for path in pinned) + "\n"


def pin_link(args: argparse.Namespace, at: Reach) -> int:
    with at.one("link") as fd:
        path = at.pop("FILE")
        at.done()
        pin(at.bpf, fd, at.path(path))
    return nothing(args)


def detach(args: argparse.Namespace, at: Reach) -> int:
    with at.one("link") as fd:
        at.done()
        try:
            at.bpf(uapi.BPF_LINK_DETACH, bytearray(uapi.LinkDetach(link_fd=fd).pack()))
        except OSError as e:
            raise failed("failed link detach", e) from None
    return nothing(args)


_VERBS: dict[str, Callable[[argparse.Namespace, Reach], int]] = {
    "show": show,
    "list": show,
    "pin": pin_link,
    "detach": detach,
}
