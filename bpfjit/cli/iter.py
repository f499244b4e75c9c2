"""bpfjit iter: load an iterator program, link it, write what it prints."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

from ..dataclass import dataclass
from ..errors import LoadError, UsageError
from ..loader import LoadedObject, MountBpf, Object, mount_bpf
from ..loader.bpf import Bpf
from ..uapi import bpf as uapi
from . import common
from .reach import Reach

ORDERS = {
    "self": uapi.BPF_CGROUP_ITER_SELF_ONLY,
    "descendants_pre": uapi.BPF_CGROUP_ITER_DESCENDANTS_PRE,
    "descendants_post": uapi.BPF_CGROUP_ITER_DESCENDANTS_POST,
    "ancestors_up": uapi.BPF_CGROUP_ITER_ANCESTORS_UP,
}
_READ_BYTES = 1 << 16


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "iter",
        help="run an iterator program and print what it writes, or pin it in a mounted kernel",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="  pin SOURCE FILE [map MAP]: as bpftool has it, in the kernel at --mount\n\n"
        "MAP is id N, name NAME or pinned FILE.\n",
    )
    common.add_source(parser)
    parser.add_argument("words", nargs="*", default=[], metavar="…", help=argparse.SUPPRESS)
    parser.add_argument("--prog", metavar="NAME")
    common.add_system(parser)
    parser.add_argument("--map", metavar="NAME", help="the map whose elements are walked (bpf_map_elem)")
    parser.add_argument("--cgroup", metavar="PATH", help="where the walk begins (cgroup)")
    parser.add_argument("--order", choices=tuple(ORDERS), help="how cgroups are walked (descendants_pre)")
    parser.add_argument("--task-pid", type=int, metavar="N", help="only the threads of this process (task)")
    parser.add_argument("--as-task", type=int, metavar="PID", help="show what this task's namespaces show")
    common.add_engine(parser)
    parser.add_argument("--mount", metavar="DIR", help="in the kernel that is mounted at DIR")
    common.add_output(parser)
    parser.set_defaults(command=iterate)


def _choose(obj: Object, name: str | None) -> str:
    iters = [p.name for p in obj.progs.values() if p.kind is not None and p.kind.attach == "iter"]
    if name is not None and name not in iters:
        raise UsageError(f"no iterator program '{name}'; there are {', '.join(iters) or 'none'}", file=obj.spec.file)
    if name is None and len(iters) > 1:
        raise UsageError(f"--prog is needed; there are {', '.join(iters)}", file=obj.spec.file)
    if not iters:
        raise LoadError('no iterator programs (SEC("iter/…"))', file=obj.spec.file)
    return name or iters[0]


@dataclass(frozen=True, slots=True)
class _Place:
    """A kernel to iterate in: reads of an fd's next bytes, the id of a cgroup by path, what comes before the walk."""

    bpf: Bpf
    read: Callable[[int, int], bytes]
    cgroup_id: Callable[[str], int]
    prepare: Callable[[LoadedObject], None]


@contextlib.contextmanager
def _own(args: argparse.Namespace) -> Iterator[_Place]:
    """A kernel made for the purpose: the object's other programs are attached, and the scenario's events happen."""
    kernel, scenario = common.new_kernel(args)
    if args.as_task is not None:
        reader = kernel.tasks.find(args.as_task)
        if reader is None:
            raise UsageError(f"--as-task {args.as_task}: no such task")
        kernel.caller.namespaces = reader.namespaces

    def prepare(loaded: LoadedObject) -> None:
        for other in loaded.progs.values():
            kind = other.spec.kind
            if kind is not None and kind.attach in ("tp_btf", "raw_tp"):
                loaded.links[other.name] = loaded.attach_prog(other)
        if scenario is not None:
            maps = {key: kernel.caller.fds.get(m.fd).object for key, m in loaded.maps.items()}
            scenario.fill(maps, kernel.native.cpus)
            scenario.play(kernel)

    with kernel:
        yield _Place(
            kernel.bpf,
            lambda fd, size: bytes(kernel.caller.fds.get(fd).read(kernel.caller, size)),
            lambda path: kernel.cgroups.find(path).id,
            prepare,
        )


@contextlib.contextmanager
def _mounted(args: argparse.Namespace) -> Iterator[_Place]:
    if args.scenario or args.host or args.engine != "jit" or args.as_task is not None:
        raise UsageError("--mount: the mounted kernel has its own system and engine")
    with mount_bpf(args.mount) as bpf:
        top = f"{bpf.entry.path}/sys/fs/cgroup"
        yield _Place(bpf, bpf.read, lambda path: os.stat(f"{top}/{path}").st_ino, lambda loaded: None)


def _pin(args: argparse.Namespace) -> int:
    """iter pin SOURCE FILE [map MAP]: load, link and pin; reading the file runs the iterator."""
    if len(args.words) < 2:
        raise UsageError("wanted iter pin SOURCE FILE [map MAP]")
    source, path, *rest = args.words
    obj = common.open_source(args, source)
    name = _choose(obj, args.prog)
    with _mounted(args) as place, contextlib.ExitStack() as stack:
        assert isinstance(place.bpf, MountBpf)
        at = Reach(place.bpf, rest)
        map_fd = None
        if at.words:
            if at.pop("map") != "map":
                raise UsageError(f"what is '{rest[0]}'? Wanted map")
            map_fd = stack.enter_context(at.one("map"))
        at.done()
        loaded = stack.enter_context(obj.load(place.bpf))
        prog = loaded.progs[name] if name in loaded.progs else loaded.load_prog(obj.progs[name])
        info = _info(args, place, loaded, prog.spec.target, map_fd)
        link = loaded.links[name] = loaded.attach_prog(prog, info)
        link.pin(place.bpf.path(path))
    return common.DONE


def _info(args: argparse.Namespace, place: _Place, loaded: LoadedObject, target: str, map_fd: int | None = None) -> bytes:
    """The link's parameters, as the options say."""
    return link_info(
        loaded,
        target,
        place.cgroup_id,
        map_name=args.map,
        map_fd=map_fd,
        cgroup=args.cgroup or "/",
        order=args.order or "descendants_pre",
        pid=args.task_pid,
    )


def link_info(
    loaded: LoadedObject,
    target: str,
    cgroup_id: Callable[[str], int],
    *,
    map_name: str | None = None,
    map_fd: int | None = None,
    cgroup: str = "/",
    order: str = "descendants_pre",
    pid: int | None = None,
) -> bytes:
    """A union bpf_iter_link_info for an iterator over `target`; b"" where it wants none. Raises UsageError."""
    layout = uapi.LAYOUTS["bpf_iter_link_info"]
    info = bytearray(layout.size)

    def put(field: str, value: int) -> None:
        offset, size = layout.fields[field]
        info[offset : offset + size] = value.to_bytes(size, "little")

    if target == "bpf_map_elem" and map_fd is not None:
        put("map.map_fd", map_fd)
    elif target == "bpf_map_elem":
        # The only one of the object's own: constants and globals lie in maps too.
        own = [name for name, m in loaded.maps.items() if m.spec.section in (".maps", "maps")]
        name = map_name or (own[0] if len(own) == 1 else None)
        if name not in loaded.maps:
            raise UsageError(f"--map {name}: there are {', '.join(loaded.maps) or 'no maps'}", file=loaded.spec.file)
        put("map.map_fd", loaded.maps[name].fd)
    elif target == "cgroup":
        put("cgroup.order", ORDERS[order])
        put("cgroup.cgroup_id", cgroup_id(cgroup))
    elif target in ("task", "task_file", "task_vma") and pid is not None:
        put("task.pid", pid)
    else:
        return b""
    return bytes(info)


def iterate(args: argparse.Namespace) -> int:
    if args.source == "pin":
        return _pin(args)
    if args.words:
        raise UsageError(f"what is '{args.words[0]}'?")
    obj = common.open_source(args, args.source)
    name = _choose(obj, args.prog)
    with (_mounted if args.mount else _own)(args) as place, obj.load(place.bpf) as loaded:
        prog = loaded.progs[name] if name in loaded.progs else loaded.load_prog(obj.progs[name])
        place.prepare(loaded)
        info = _info(args, place, loaded, prog.spec.target)
        link = loaded.links[name] = loaded.attach_prog(prog, info)
        fd = place.bpf(uapi.BPF_ITER_CREATE, bytearray(uapi.IterCreate(link_fd=link.fd).pack()))
        out = sys.stdout.buffer
        parts = []
        try:
            while data := place.read(fd, _READ_BYTES):
                if common.wants_json(args):
                    parts.append(data)
                else:
                    out.write(data)  # what came before an error is delivered
        finally:
            out.flush()
            place.bpf.close(fd)
    if common.wants_json(args):
        text = b"".join(parts).decode("utf-8", "replace")
        common.print_json({"program": name, "target": prog.spec.target, "text": text}, pretty=args.pretty)
    return common.DONE
