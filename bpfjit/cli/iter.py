"""bpfjit iter: load an iterator program, link it, write what it prints."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..errors import LoadError, UsageError
from ..loader import LoadedObject, Object
from ..uapi import bpf as uapi
from . import common

ORDERS = {
    "self": uapi.BPF_CGROUP_ITER_SELF_ONLY,
    "descendants_pre": uapi.BPF_CGROUP_ITER_DESCENDANTS_PRE,
    "descendants_post": uapi.BPF_CGROUP_ITER_DESCENDANTS_POST,
    "ancestors_up": uapi.BPF_CGROUP_ITER_ANCESTORS_UP,
}
_READ_BYTES = 1 << 16


def add(commands: Any) -> None:
    parser = commands.add_parser("iter", help="run an iterator program and print what it writes")
    common.add_source(parser)
    parser.add_argument("--prog", metavar="NAME")
    common.add_system(parser)
    parser.add_argument("--map", metavar="NAME", help="the map whose elements are walked (bpf_map_elem)")
    parser.add_argument("--cgroup", metavar="PATH", help="where the walk begins (cgroup)")
    parser.add_argument("--order", choices=tuple(ORDERS), help="how cgroups are walked (descendants_pre)")
    parser.add_argument("--task-pid", type=int, metavar="N", help="only the threads of this process (task)")
    common.add_engine(parser)
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


def _link_info(args: argparse.Namespace, kernel: Any, loaded: LoadedObject, target: str) -> bytes:
    """The union bpf_iter_link_info that the options say."""
    layout = uapi.LAYOUTS["bpf_iter_link_info"]
    info = bytearray(layout.size)

    def put(field: str, value: int) -> None:
        offset, size = layout.fields[field]
        info[offset : offset + size] = value.to_bytes(size, "little")

    if target == "bpf_map_elem":
        name = args.map or (next(iter(loaded.maps)) if len(loaded.maps) == 1 else None)
        if name not in loaded.maps:
            raise UsageError(f"--map {name}: there are {', '.join(loaded.maps) or 'no maps'}", file=loaded.spec.file)
        put("map.map_fd", loaded.maps[name].fd)
    elif target == "cgroup":
        put("cgroup.order", ORDERS[args.order or "descendants_pre"])
        put("cgroup.cgroup_id", kernel.cgroups.find(args.cgroup or "/").id)
    elif target == "task" and args.task_pid is not None:
        put("task.pid", args.task_pid)
    else:
        return b""
    return bytes(info)


def iterate(args: argparse.Namespace) -> int:
    obj = common.open_source(args, args.source)
    name = _choose(obj, args.prog)
    kernel, scenario = common.new_kernel(args)
    with kernel:
        loaded = obj.load(kernel.bpf)
        prog = loaded.progs[name] if name in loaded.progs else loaded.load_prog(obj.progs[name])
        for other in loaded.progs.values():
            kind = other.spec.kind
            if kind is not None and kind.attach in ("tp_btf", "raw_tp"):
                loaded.links[other.name] = loaded.attach_prog(other)
        if scenario is not None:
            maps = {key: kernel.caller.fds.get(m.fd).object for key, m in loaded.maps.items()}
            scenario.fill(maps, kernel.native.cpus)
            scenario.play(kernel)
        link = loaded.attach_prog(prog, _link_info(args, kernel, loaded, prog.spec.target))
        loaded.links[name] = link
        fd = kernel.bpf(uapi.BPF_ITER_CREATE, bytearray(uapi.IterCreate(link_fd=link.fd).pack()))
        file = kernel.caller.fds.get(fd)
        out = sys.stdout.buffer
        parts = []
        try:
            while data := file.read(kernel.caller, _READ_BYTES):
                if args.json or args.pretty:
                    parts.append(data)
                else:
                    out.write(data)  # what came before an error is delivered
        finally:
            out.flush()
    if args.json or args.pretty:
        text = b"".join(parts).decode("utf-8", "replace")
        common.print_json({"program": name, "target": prog.spec.target, "text": text}, pretty=args.pretty)
    return common.DONE
