"""bpfjit cgroup show | tree | attach | detach: bpftool's verbs on the programs of cgroups."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

from ..errors import UsageError
from ..loader import inspect
from ..loader.bpf import Buffers
from ..uapi import bpf as uapi
from . import common
from .map import nothing, out
from .names import ATTACH_TYPES
from .prog_object import full_name
from .reach import Reach, add_kernel, failed, reach

_ROOM = 1024
_FLAGS = {0: "", uapi.BPF_F_ALLOW_OVERRIDE: "override", uapi.BPF_F_ALLOW_MULTI: "multi"}
_BY_NAME = {name: number for number, name in ATTACH_TYPES.items()}
# What a cgroup may have programs for: bpftool asks after each, by the kernel's name or its own shorter one.
TYPES = tuple(n for n, name in ATTACH_TYPES.items() if name.startswith("cgroup_") or name == "lsm_cgroup")
_SHORT = {
    "ingress": "cgroup_inet_ingress",
    "egress": "cgroup_inet_egress",
    "sock_create": "cgroup_inet_sock_create",
    "sock_ops": "cgroup_sock_ops",
    "device": "cgroup_device",
    "sysctl": "cgroup_sysctl",
    "getsockopt": "cgroup_getsockopt",
    "setsockopt": "cgroup_setsockopt",
    "sock_release": "cgroup_inet_sock_release",
    **{f"{what}{n}": f"cgroup_inet{n}_{what}" for what in ("bind", "connect", "getpeername", "getsockname") for n in "46"},
    **{f"{what}{n}": f"cgroup_udp{n}_{what}" for what in ("sendmsg", "recvmsg") for n in "46"},
    **{f"post_bind{n}": f"cgroup_inet{n}_post_bind" for n in "46"},
    **{f"{w}_unix": f"cgroup_unix_{w}" for w in ("connect", "sendmsg", "recvmsg", "getpeername", "getsockname")},
}
_HEAD = ("ID", "AttachType", "AttachFlags", "Name")


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "cgroup",
        help="show, attach and detach programs of cgroups, of a mounted kernel or of Linux's",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="  show|list CGROUP [effective]    tree [CGROUP] [effective]\n"
        "  attach CGROUP TYPE PROG [multi|override]    detach CGROUP TYPE PROG\n\n"
        "CGROUP is its directory; TYPE cgroup_inet_ingress, cgroup_device, connect4, …\n",
    )
    parser.add_argument("verb", choices=tuple(_VERBS), metavar="VERB", help=", ".join(_VERBS))
    parser.add_argument("words", nargs="*", metavar="…", help="the rest, as bpftool takes it")
    add_kernel(parser)
    parser.set_defaults(command=command)


def command(args: argparse.Namespace) -> int:
    with reach(args, "prog", args.words, load=False) as at:
        return _VERBS[args.verb](args, at)


@contextlib.contextmanager
def _directory(at: Reach, path: str) -> Iterator[int]:
    """An fd of a cgroup's directory."""
    opened: Callable[[str], int] | None = getattr(at.bpf, "open", None)
    assert opened is not None, "a kernel that a command reaches opens files"
    try:
        fd = opened(path)
    except OSError as e:
        raise failed(f"can't open cgroup {path}", e) from None
    try:
        yield fd
    finally:
        at.bpf.close(fd)


# -- show ------------------------------------------------------------------------------------------------


def _programs(at: Reach, cgroup: int, effective: bool) -> list[dict[str, Any]]:
    """What each attach type of a cgroup has. Raises OSError where no type can be asked after."""
    rows, refusals = [], []
    for attach_type in TYPES:
        keep, ids, flags = Buffers(), bytearray(4 * _ROOM), bytearray(4 * _ROOM)
        attr = uapi.ProgQuery(
            target_fd=cgroup,
            attach_type=attach_type,
            query_flags=uapi.BPF_F_QUERY_EFFECTIVE if effective else 0,
            prog_ids=keep.put(ids),
            prog_cnt=_ROOM,
            prog_attach_flags=0 if effective else keep.put(flags),
        )
        raw = bytearray(attr.pack())
        try:
            at.bpf(uapi.BPF_PROG_QUERY, raw)
        except OSError as e:
            refusals.append(e)
            continue
        told = uapi.ProgQuery.unpack(raw)
        for i in range(min(told.prog_cnt, _ROOM)):
            number = int.from_bytes(ids[4 * i : 4 * i + 4], "little")
            with contextlib.suppress(FileNotFoundError):
                own = int.from_bytes(flags[4 * i : 4 * i + 4], "little") or told.attach_flags
                rows.append(_row(at, number, attach_type, None if effective else own))
    if len(refusals) == len(TYPES):
        raise refusals[0]
    return rows


def _row(at: Reach, number: int, attach_type: int, flags: int | None) -> dict[str, Any]:
    fd = inspect.open_id(at.bpf, "prog", number)
    try:
        info = inspect.get_info(at.bpf, fd, "prog")
        name = full_name(at.bpf, fd, info)
    finally:
        at.bpf.close(fd)
    row: dict[str, Any] = {"id": number, "attach_type": ATTACH_TYPES[attach_type]}
    row |= {"attach_flags": _FLAGS.get(flags, f"unknown({flags:x})")} if flags is not None else {}
    row |= {"name": name}
    if attach_type == uapi.BPF_LSM_CGROUP and info["attach_btf_id"]:
        with contextlib.suppress(OSError):
            row["attach_btf_name"] = inspect.btf_by_id(at.bpf, 1).type(info["attach_btf_id"]).name
    return row


def _line(row: dict[str, Any], indent: str = "") -> str:
    columns = [f"{row['attach_type']:<15}"]
    columns += [f"{row['attach_flags']:<15}"] if "attach_flags" in row else []
    columns += [f"{row['name']:<15}"] + ([f"{row['attach_btf_name']:<15}"] if "attach_btf_name" in row else [])
    return f"{indent}{row['id']:<8} {' '.join(columns)}\n"


def _head(effective: bool) -> str:
    names = [name for name in _HEAD[1:] if not (effective and name == "AttachFlags")]
    return " ".join([f"{_HEAD[0]:<8}", *(f"{name:<15}" for name in names)]) + "\n"


def _effective(at: Reach) -> bool:
    if at.words and at.words[0] == "effective":
        at.words.pop(0)
        return True
    return False


def show(args: argparse.Namespace, at: Reach) -> int:
    path = at.pop("CGROUP")
    effective = _effective(at)
    at.done()
    with _directory(at, path) as fd:
        try:
            rows = _programs(at, fd, effective)
        except OSError as e:
            raise failed(f"can't query bpf programs attached to {path}", e) from None
    if common.wants_json(args):
        out(args, rows)
    elif rows:
        sys.stdout.write(_head(effective) + "".join(_line(row) for row in rows))
    return common.DONE


def tree(args: argparse.Namespace, at: Reach) -> int:
    """Every cgroup below one that has programs; without a name, below the root."""
    root = at.words.pop(0) if at.words and at.words[0] != "effective" else _root(at)
    effective = _effective(at)
    at.done()
    found: list[tuple[str, list[dict[str, Any]]]] = []
    for directory, names, _ in os.walk(root):
        names.sort()
        with _directory(at, directory) as fd:
            try:
                rows = _programs(at, fd, effective)
            except OSError as e:
                raise failed(f"can't query bpf programs attached to {directory}", e) from None
        if rows:
            found.append((directory, rows))
    if common.wants_json(args):
        out(args, [{"cgroup": directory, "programs": rows} for directory, rows in found])
        return common.DONE
    sys.stdout.write("CgroupPath\n" + _head(effective))
    for directory, rows in found:
        sys.stdout.write(f"{directory}\n" + "".join(_line(row, "    ") for row in rows))
    return common.DONE


def _root(at: Reach) -> str:
    entry = getattr(at.bpf, "entry", None)
    if entry is not None:
        return f"{entry.path}/sys/fs/cgroup"
    with open("/proc/mounts") as mounts:
        for line in mounts:
            if line.split()[2] == "cgroup2":
                return line.split()[1]
    raise OSError(errno.ENOENT, "cgroup v2 isn't mounted")


# -- attach ----------------------------------------------------------------------------------------------


def _attach_type(at: Reach) -> int:
    word = at.pop("TYPE")
    found = _BY_NAME.get(_SHORT.get(word, word))
    if found not in TYPES:
        raise UsageError(f"invalid attach type '{word}'")
    return found


def attach(args: argparse.Namespace, at: Reach) -> int:
    path = at.pop("CGROUP")
    attach_type = _attach_type(at)
    with at.one("prog") as prog, _directory(at, path) as fd:
        flags = 0
        while at.words:
            word = at.words.pop(0)
            flag = next((number for number, name in _FLAGS.items() if number and name == word), None)
            if flag is None:
                raise UsageError(f"what is '{word}'? Wanted multi or override")
            flags |= flag
        attr = uapi.ProgAttach(target_fd=fd, attach_bpf_fd=prog, attach_type=attach_type, attach_flags=flags)
        try:
            at.bpf(uapi.BPF_PROG_ATTACH, bytearray(attr.pack()))
        except OSError as e:
            raise failed("failed to attach program", e) from None
    return nothing(args)


def detach(args: argparse.Namespace, at: Reach) -> int:
    path = at.pop("CGROUP")
    attach_type = _attach_type(at)
    with at.one("prog") as prog, _directory(at, path) as fd:
        at.done()
        attr = uapi.ProgAttach(target_fd=fd, attach_bpf_fd=prog, attach_type=attach_type)
        try:
            at.bpf(uapi.BPF_PROG_DETACH, bytearray(attr.pack()))
        except OSError as e:
            raise failed("failed to detach program", e) from None
    return nothing(args)


_VERBS: dict[str, Callable[[argparse.Namespace, Reach], int]] = {
    "show": show,
    "list": show,
    "tree": tree,
    "attach": attach,
    "detach": detach,
}
