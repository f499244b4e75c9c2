"""The command line: bpfjit NOUN …, each noun in a file of its own."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from .. import __version__
from . import common

# Noun -> the module that adds it. Only the one asked for is imported.
NOUNS = {
    "view": "view",
    "verify": "verify",
    "prog": "prog",
    "raw": "raw",
    "iter": "iter",
}


def build_parser(nouns: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bpfjit", description="Verify, compile and run BPF programs beneath a simulated kernel."
    )
    parser.add_argument("--version", action="version", version=f"bpfjit {__version__}")
    commands = parser.add_subparsers(dest="noun", required=True, metavar="COMMAND")
    for noun in nouns:
        importlib.import_module(f".{NOUNS[noun]}", __package__).add(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    first = next((w for w in words if not w.startswith("-")), "")
    parser = build_parser([first] if first in NOUNS else list(NOUNS))
    args = parser.parse_args(words)
    return common.run(args.command, args)


if __name__ == "__main__":
    sys.exit(main())
