"""bpfjit event: a tracepoint happens in a mounted kernel."""

from __future__ import annotations

import argparse
from typing import Any

from ..errors import UsageError
from . import common


def add(commands: Any) -> None:
    parser = commands.add_parser("event", help="let a tracepoint happen in a mounted kernel")
    parser.add_argument("tracepoint", metavar="TRACEPOINT", help="sched_stat_wait, cgroup_mkdir, …")
    parser.add_argument("arguments", metavar="NAME=VALUE", nargs="*", help="as in a scenario: task=10 delta=1500")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="how often")
    add_mount(parser)
    common.add_output(parser)
    parser.set_defaults(command=event)


def add_mount(parser: argparse.ArgumentParser) -> None:
    """--mount DIR, for the commands that work on a mounted kernel."""
    parser.add_argument("--mount", metavar="DIR", help="the mounted kernel's directory (not needed where there is one)")


def _value(text: str) -> int | str:
    try:
        return int(text, 0)
    except ValueError:
        return text


def event(args: argparse.Namespace) -> int:
    from ..loader import mount_bpf

    table: dict[str, Any] = {"tracepoint": args.tracepoint, "repeat": args.repeat}
    for argument in args.arguments:
        name, equals, value = argument.partition("=")
        if not equals or name in table:
            raise UsageError(f"{argument}: wanted NAME=VALUE, each name once")
        table[name] = _value(value)
    with mount_bpf(args.mount) as bpf:
        bpf.fire(table)
    return common.DONE
