"""bpfjit view: from sources to files in cgroup directories, read."""

from __future__ import annotations

import argparse
import base64
import contextlib
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import LoadError, UsageError
from . import common
from .iter import link_info

if TYPE_CHECKING:
    from kernfs_sim import Kernel
    from kernfs_sim.cgroup import Cgroup

    from ..loader import Link, LoadedObject

CGROUP_ROOT = "/sys/fs/cgroup"
BPFFS = "/sys/fs/bpf"


def add(commands: Any) -> None:
    parser = commands.add_parser("view", help="run view programs and print the files they make")
    common.add_source(parser, many=True)
    common.add_system(parser)
    parser.add_argument("--cgroup", metavar="GLOB", action="append", help="only these cgroups (/web/*, /**)")
    common.add_engine(parser)
    common.add_output(parser)
    parser.set_defaults(command=view)


def full_match(pattern: str, path: str) -> bool:
    """pathlib's full match (PurePath.full_match of Python 3.13): `*` stays within a name, `**` crosses names."""
    absolute, parts = pattern.startswith("/"), [p for p in pattern.split("/") if p]
    expression = "/" if absolute else ""
    for i, part in enumerate(parts):
        last = i == len(parts) - 1
        if part == "**":
            expression += ".*" if last else "(?:.+/)?"
        else:
            name = "[^/]+" if part == "*" else _name_expression(part)
            expression += name if last else name + "/"
    return re.fullmatch(expression, path, re.DOTALL) is not None


def _name_expression(part: str) -> str:
    out, i = "", 0
    while i < len(part):
        c = part[i]
        i += 1
        if c == "*":
            out += "[^/]*"
        elif c == "?":
            out += "[^/]"
        elif c == "[" and (end := part.find("]", i + (2 if part[i : i + 1] == "!" else 1))) >= 0:
            out += _set_expression(part[i:end])
            i = end + 1
        else:
            out += re.escape(c)
    return out


def _set_expression(inside: str) -> str:
    """What stands between [ and ]: characters and ranges, `!` first for any other."""
    negated = inside.startswith("!")
    chars = re.sub(r"([\\\[\]^&~|])", r"\\\1", inside[negated:])
    # An empty range (z-a) matches nothing.
    chars = re.sub(r"(?s)(\\?.)-(\\?.)", lambda m: m[0] if m[1][-1] <= m[2][-1] else "", chars)
    if not chars:
        return "[^/]" if negated else "(?!)"
    return f"(?!/)[{'^' if negated else ''}{chars}]"


def chosen(kernel: Kernel, patterns: Sequence[str] | None) -> list[Cgroup]:
    """The cgroups that --cgroup names; without it, all but the root. Raises UsageError for a pattern without a match."""
    every = list(kernel.cgroups)
    if not patterns:
        return [c for c in every if c.up is not None]
    for pattern in patterns:
        if not any(full_match(pattern, c.path) for c in every):
            raise UsageError(f"--cgroup {pattern}: no such cgroup")
    return [c for c in every if any(full_match(p, c.path) for p in patterns)]


def view(args: argparse.Namespace) -> int:
    objects = [common.open_source(args, source) for source in args.source]
    kernel, scenario = common.new_kernel(args)
    with kernel:
        loaded = [o.load(kernel.bpf) for o in objects]
        views = set_up(kernel, loaded, scenario)
        if not views:
            raise LoadError('no view programs (SEC("view/cgroup")) in ' + ", ".join(args.source))
        rows = []
        for cgroup in chosen(kernel, args.cgroup):
            for link in views:
                path = f"{CGROUP_ROOT}{cgroup.path.rstrip('/')}/{link.name}"
                link.pin(path)
                rows.append((path, cgroup.path, link.name))
        _print(args, [(path, cgroup, program, kernel.read_bytes(path)) for path, cgroup, program in rows])
    return common.DONE


def set_up(kernel: Kernel, loaded: list[LoadedObject], scenario: Any) -> list[Link]:
    """Attach everything, fill the maps, play the events, pin views and iterators in bpffs. The views' links.

    Iterators get the usual parameters: all cgroups from the root, the object's only map. Where there is no telling, as
    between several maps, they are not attached.
    """
    for obj in loaded:
        for name, prog in obj.progs.items():
            if prog.spec.kind is not None and prog.spec.kind.attach == "iter":
                with contextlib.suppress(UsageError):
                    info = link_info(obj, prog.spec.target, lambda path: kernel.cgroups.find(path).id)
                    obj.links[name] = obj.attach_prog(prog, info)
            elif prog.spec.kind is not None and prog.spec.kind.attach:
                obj.links[name] = obj.attach_prog(prog)
    links = [(obj.progs[name].spec.kind, link) for obj in loaded for name, link in obj.links.items()]
    views = [link for kind, link in links if kind is not None and kind.attach == "view"]
    if scenario is not None:
        scenario.fill(_named_maps(kernel, loaded), kernel.native.cpus)
        scenario.play(kernel)
    for kind, link in links:
        if kind is not None and kind.attach in ("view", "iter"):
            link.pin(f"{BPFFS}/{link.name}")
    return views


def _named_maps(kernel: Kernel, loaded: list[LoadedObject]) -> dict[str, Any]:
    """Maps by the objects' own names for them, which may be longer than the kernel's."""
    found: dict[str, Any] = {}
    for obj in loaded:
        for name, m in obj.maps.items():
            found[name] = kernel.caller.fds.get(m.fd).object
    return found


def _print(args: argparse.Namespace, files: list[tuple[str, str, str, bytes]]) -> None:
    if args.json or args.pretty:
        out = []
        for path, cgroup, program, data in files:
            row = {"path": path, "cgroup": cgroup, "program": program}
            try:
                row["text"] = data.decode()
            except UnicodeDecodeError:
                row["base64"] = base64.b64encode(data).decode()
            out.append(row)
        common.print_json(out, pretty=args.pretty)
        return
    sys.stdout.flush()
    stdout = sys.stdout.buffer
    gap = b""
    for path, _, _, data in files:
        stdout.write(gap + f"==> {path} <==\n".encode() + data)
        gap = b"\n\n" if data and not data.endswith(b"\n") else b"\n"
    stdout.flush()
