"""bpfjit mount: the simulated kernel's files in a directory of this machine, until Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from . import common
from .known import in_store
from .view import CGROUP_ROOT, chosen, full_match, set_up

if TYPE_CHECKING:
    from kernfs_sim.cgroup import Cgroup

    from ..loader import Link


def add(commands: Any) -> None:
    parser = commands.add_parser("mount", help="serve the simulated kernel's files in a directory until Ctrl-C")
    parser.add_argument("directory", metavar="DIR", help="an empty directory")
    common.add_source(parser, many=True, required=False)
    common.add_system(parser)
    parser.add_argument("--cgroup", metavar="GLOB", action="append", help="views in these cgroups only (/web/*, /**)")
    parser.add_argument("--store", metavar="DIR", help="known programs for its users (/var/lib/bpfjit/known)")
    parser.add_argument("--ready-fd", type=int, metavar="N", help="a line is written to this fd once files are served")
    common.add_engine(parser)
    common.add_output(parser)
    parser.set_defaults(command=mount)


def mount(args: argparse.Namespace) -> int:
    from kernfs_sim.fs.fuse_mount import FuseMount

    if args.ready_fd is not None:
        _check_fd(args.ready_fd)
    objects = [common.open_source(args, source) for source in args.source]
    kernel, scenario = common.new_kernel(args)
    with in_store(kernel, args.store):
        loaded = [o.load(kernel.bpf) for o in objects]
        views = set_up(kernel, loaded, scenario)
        for cgroup in chosen(kernel, args.cgroup):
            _expose(cgroup, views)
        kernel.cgroups.on_change.append(lambda event, cgroup: _follow(event, cgroup, views, args.cgroup))
        with _until_told() as (wait, end), FuseMount(kernel, args.directory, on_end=end) as served:
            if served.cleaned:
                sys.stderr.write(f"bpfjit: {served.directory}: the mount of a killed run was cleaned away\n")
            _say_ready(args, served.directory)
            wait()
    return common.DONE


@contextlib.contextmanager
def _until_told() -> Iterator[tuple[Callable[[], None], Callable[[], None]]]:
    """wait() returns once SIGINT, SIGTERM or SIGHUP came or end() was called: meanwhile they do nothing else."""
    # A pipe: a handler may run within any call, and must not wait for a lock that call holds.
    told, tell = os.pipe()

    def end() -> None:
        os.write(tell, b"x")

    def wait() -> None:
        os.read(told, 1)

    try:
        with common.ended_by(end):
            yield wait, end
    finally:
        os.close(told)
        os.close(tell)


def _check_fd(fd: int) -> None:
    try:
        os.fstat(fd)
    except OSError:
        raise UsageError(f"--ready-fd {fd}: not open") from None


def _expose(cgroup: Cgroup, views: list[Link]) -> None:
    for link in views:
        link.pin(f"{CGROUP_ROOT}{cgroup.path.rstrip('/')}/{link.name}")


def _follow(event: str, cgroup: Cgroup, views: list[Link], patterns: list[str] | None) -> None:
    """A cgroup that is made meanwhile gets the views too, where --cgroup names it."""
    if event == "cgroup_mkdir" and (not patterns or any(full_match(p, cgroup.path) for p in patterns)):
        _expose(cgroup, views)


def _say_ready(args: argparse.Namespace, directory: str) -> None:
    if args.ready_fd is not None:
        os.write(args.ready_fd, b"ready\n")
        os.close(args.ready_fd)
    if common.wants_json(args):
        common.print_json({"mount": directory, "pid": os.getpid()}, pretty=args.pretty)
    else:
        print(f"serving {args.directory}; Ctrl-C unmounts")
    sys.stdout.flush()
