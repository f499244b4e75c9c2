"""The command line: bpfjit NOUN …, each noun in a file of its own."""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Sequence

from .. import __version__
from . import common

# Each is a module here, and only the one asked for is imported.
NOUNS = (
    "view", "verify", "prog", "map", "link", "btf", "cgroup", "iter", "dumper", "mount", "event",
    "gen", "known", "raw", "bench", "feature", "cache", "completion",
)  # fmt: skip


def build_parser(nouns: Sequence[str] = NOUNS) -> common.Parser:
    parser = common.Parser(
        prog="bpfjit",
        description="Verify, compile and run BPF programs beneath a simulated kernel.",
    )
    parser.add_argument("--version", action="version", version=f"bpfjit {__version__}")
    common.add_output(parser)
    parser.set_defaults(json=False, pretty=False, debug=False)
    commands = parser.add_subparsers(dest="noun", required=True, metavar="COMMAND")
    for noun in nouns:
        importlib.import_module(f".{noun}", __package__).add(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command line's exit code: 0 done, 1 refused or failed, 2 bad usage or unreadable input."""
    words = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files and C sources need not be UTF-8
    first = next((w for w in words if not w.startswith("-")), "")
    # Only what is asked for is imported; --help and complaints name every command.
    nouns = (first,) if first in NOUNS else () if "--version" in words else NOUNS
    try:
        args = build_parser(nouns).parse_args(words)
    except SystemExit as e:  # argparse's way out: --help, --version, bad usage
        return int(e.code or 0)
    return common.run(args.command, args)


if __name__ == "__main__":
    sys.exit(main())
