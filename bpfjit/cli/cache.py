"""bpfjit cache show | clear: compiled code on disk, and verdicts beside it."""

from __future__ import annotations

import argparse
from typing import Any

from ..errors import ObjectError
from ..jit.cache import OBJECT, VERDICT, ObjectCache, default_directory
from . import common


def add(commands: Any) -> None:
    parser = commands.add_parser("cache", help="compiled code on disk: what there is, or none of it any more")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, command, said in (
        ("show", show, "where it is, how much, and since when"),
        ("clear", clear, "throw all of it away"),
    ):
        sub = verbs.add_parser(verb, help=said)
        common.add_output(sub)
        sub.set_defaults(command=command)


def _cache() -> ObjectCache | None:
    directory = default_directory()
    return None if directory is None else ObjectCache(directory)


def show(args: argparse.Namespace) -> int:
    cache = _cache()
    found = [] if cache is None else cache.entries()
    answer = {
        "directory": None if cache is None else str(cache.directory),
        "objects": sum(e.path.suffix == f".{OBJECT}" for e in found),
        "verdicts": sum(e.path.suffix == f".{VERDICT}" for e in found),
        "bytes": sum(e.size for e in found),
        "oldest": min((e.made for e in found), default=None),
        "newest": max((e.made for e in found), default=None),
    }
    if common.wants_json(args):
        common.print_json(answer, pretty=args.pretty)
    elif cache is None:
        print("no cache: $BPFJIT_NO_CACHE is set, or there is no home")
    else:
        print(f"{cache.directory}: {answer['objects']} objects, {answer['verdicts']} verdicts, {answer['bytes']} bytes")
    return common.DONE


def clear(args: argparse.Namespace) -> int:
    cache = _cache()
    try:
        gone = 0 if cache is None else cache.clear()
    except OSError as e:
        raise ObjectError((e.strerror or "cannot be removed").lower(), file=e.filename) from None
    if common.wants_json(args):
        common.print_json({"removed": gone}, pretty=args.pretty)
    else:
        print(f"{gone} files removed")
    return common.DONE
