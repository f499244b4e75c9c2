"""bpfjit dumper: programs of an object pinned as files of bpfdump; its targets and dumpers listed."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator
from typing import Any

from ..dataclass import dataclass
from ..errors import LoadError, UsageError
from ..loader import LoadedObject, mount_bpf
from ..loader.bpf import Bpf, Buffers
from ..loader.map import pin as pin_fd
from ..loader.mount import any_mount
from ..spec.targets import ITER_TARGETS
from ..uapi import bpf as uapi
from . import common
from .event import add_mount

MOUNT = "/sys/kernel/bpfdump"
_WIDTH = 24  # of a column, as the proposal prints them


def add(commands: Any) -> None:
    parser = commands.add_parser("dumper", help="programs that dump kernel objects when their file is read")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    pin = verbs.add_parser("pin", help="load an object and pin its dumper; without a mounted kernel its output is printed")
    common.add_source(pin)
    pin.add_argument("name", metavar="NAME", help="the file's name in its target's directory")
    pin.add_argument("--prog", metavar="PROG", help="which program, where the object has several")
    common.add_system(pin)
    common.add_engine(pin)
    pin.set_defaults(command=pin_dumper)
    show = verbs.add_parser("show", help="list the targets, or the dumpers that there are")
    show.add_argument("what", choices=("target", "dumper"))
    show.set_defaults(command=show_dumpers)
    for verb in (pin, show):
        add_mount(verb)
        common.add_output(verb)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where dumpers are: a kernel's bpf(2), and its bpfdump as directories that can be listed and read."""

    bpf: Bpf
    root: str
    kernel: Any = None  # the simulated one, where it is in this process

    def tree(self) -> Iterator[tuple[str, list[str]]]:
        """(directory below the root, files in it), sorted."""
        if self.kernel is not None:
            files: dict[str, list[str]] = {path: [] for path, _ in self.kernel.dumpers.targets()}
            for path, _ in self.kernel.dumpers.dumpers():
                files[path.rpartition("/")[0]].append(path.rpartition("/")[2])
            yield from files.items()
            return
        for directory, below, names in os.walk(self.root):
            below.sort()
            if directory != self.root:
                yield os.path.relpath(directory, self.root), sorted(names)


@contextlib.contextmanager
def _place(args: argparse.Namespace) -> Iterator[_Place]:
    given = getattr(args, "scenario", None) or getattr(args, "host", False)
    if args.mount and given:
        raise UsageError("--mount: the mounted kernel has its own system")
    if args.mount or (not given and any_mount()):
        with mount_bpf(args.mount) as bpf:
            yield _Place(bpf, os.path.join(bpf.entry.path, MOUNT.lstrip("/")))
        return
    if not hasattr(args, "engine"):
        args.engine, args.no_cache, args.scenario, args.host = "jit", True, None, False
    kernel, _ = common.new_kernel(args)
    with kernel:
        yield _Place(kernel.bpf, MOUNT, kernel)


def directory_of(place: _Place, target: str) -> str:
    """The directory of an iterator target. Raises LoadError for one that has no dumpers."""
    row = next((row for row in ITER_TARGETS if row.name == target), None)
    found = target if row is None else row.directory if row.directory is None else row.directory or row.name
    if found is None or found not in dict(place.tree()):
        raise LoadError(f"target {target!r} has no dumpers")
    return found


def pin_dumper(args: argparse.Namespace) -> int:
    obj = common.open_source(args, args.source)
    with _place(args) as place, obj.load(place.bpf) as loaded:
        prog = _choose(loaded, args.prog)
        path = f"{MOUNT}/{directory_of(place, prog.spec.target)}/{args.name}"
        pin_fd(place.bpf, prog.fd, path)
        if place.kernel is not None:
            common.write_bytes(place.kernel.read_bytes(path))
        elif args.json or args.pretty:
            common.print_json({"dumper": path.removeprefix(MOUNT + "/")}, pretty=args.pretty)
    return common.DONE


def _choose(loaded: LoadedObject, name: str | None) -> Any:
    dumpers = {n: p for n, p in loaded.progs.items() if p.spec.kind is not None and p.spec.kind.attach == "iter"}
    if name is None and len(dumpers) == 1:
        return next(iter(dumpers.values()))
    if name is None or name not in dumpers:
        raise UsageError(f"--prog: there are {', '.join(dumpers) or 'no dumpers'}", file=loaded.spec.file)
    return dumpers[name]


def _prog_id(bpf: Bpf, path: str) -> int:
    """The id of the program behind a dumper's file."""
    buffers, info = Buffers(), bytearray(uapi.LAYOUTS["bpf_prog_info"].size)
    fd = bpf(uapi.BPF_OBJ_GET, bytearray(uapi.Obj(pathname=buffers.put(path.encode() + b"\0")).pack()))
    try:
        attr = uapi.GetInfo(bpf_fd=fd, info_len=len(info), info=buffers.put(info))
        bpf(uapi.BPF_OBJ_GET_INFO_BY_FD, bytearray(attr.pack()))
    finally:
        bpf.close(fd)
    at, size = uapi.LAYOUTS["bpf_prog_info"].fields["id"]
    return int.from_bytes(info[at : at + size], "little")


def show_dumpers(args: argparse.Namespace) -> int:
    with _place(args) as place:
        if args.what == "target":
            keys: tuple[str, str] = ("target", "prog_ctx_type")
            rows: list[tuple[str, Any]] = [(d, f"bpfdump__{d.replace('/', '_')}") for d, _ in place.tree()]
        else:
            keys = ("dumper", "prog_id")
            paths = [f"{d}/{name}" for d, names in place.tree() for name in names]
            rows = [(path, _prog_id(place.bpf, f"{MOUNT}/{path}")) for path in paths]
    if args.json or args.pretty:
        common.print_json([dict(zip(keys, row, strict=True)) for row in rows], pretty=args.pretty)
    else:
        for first, second in (keys, *rows):
            print(f"{first:<{_WIDTH}}{second:<{_WIDTH}}".rstrip())
    return common.DONE
