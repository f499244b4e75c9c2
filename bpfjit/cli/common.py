"""What the commands share: options, JSON, errors as one line and an exit code."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import BpfError, BtfError, CompileError, ObjectError, UsageError, VerifierError, describe

if TYPE_CHECKING:
    from kernfs_sim import Kernel

    from ..btf import RawBtf
    from ..loader import Object

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
ENGINES = ("jit", "interp")


@contextlib.contextmanager
def ended_by(end: Callable[[], None]) -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP call end() and do nothing else, also where whoever started us has them ignored."""
    before = {number: signal.signal(number, lambda *_: end()) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Parser(argparse.ArgumentParser):
    """argparse whose complaints are the contract's: one line on stderr, exit code 2, no abbreviations.

    Options may stand before, between and after the words that are none.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "allow_abbrev": False})
        self._intermixing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        # argparse takes all positionals at the first that comes, unless it is asked to do it in two passes.
        takes_rest = any(a.nargs in (argparse.PARSER, argparse.REMAINDER) for a in self._get_positional_actions())
        if takes_rest or self._intermixing:
            return super().parse_known_args(args, namespace)
        self._intermixing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._intermixing = False

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"bpfjit: error: {message}\n")


def add_output(parser: argparse.ArgumentParser) -> None:
    """-j, -p and -d, which every command takes, before its name or after."""
    # SUPPRESS: a subcommand that is not given the option must not undo what came before its name.
    add = parser.add_argument
    add("-j", "--json", action="store_true", default=argparse.SUPPRESS, help="JSON on stdout and nothing else")
    add("-p", "--pretty", action="store_true", default=argparse.SUPPRESS, help="indented JSON")
    add("-d", "--debug", action="store_true", default=argparse.SUPPRESS, help="a traceback with an error")


def add_source(parser: argparse.ArgumentParser, *, many: bool = False, required: bool = True) -> None:
    what = "a .bpf.c file or a BPF object"
    if many and not required:
        parser.add_argument("source", metavar="SOURCE", nargs="*", default=[], help=what)
    else:
        parser.add_argument("source", metavar="SOURCE", nargs="+" if many else None, help=what)
    parser.add_argument(
        "-I", dest="include", metavar="DIR", action="append", default=[], help="where a .bpf.c finds headers"
    )
    parser.add_argument("--btf", metavar="FILE", help="relocate against this kernel's BTF instead")
    parser.add_argument("--no-cache", action="store_true", help="neither read nor write compiled code on disk")


def add_system(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--scenario", metavar="FILE", help="the simulated system and its events, as TOML")
    group.add_argument("--host", action="store_true", help="this machine's cgroups, tasks, sockets and routes")
    parser.add_argument("--follow", action="store_true", help="with --host: look again whenever a file is opened")


def add_engine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--engine", choices=ENGINES, default="jit", help="native code (jit) or the checking interpreter")


def open_source(args: argparse.Namespace, source: str) -> Object:
    from ..loader import open_object

    return open_object(source, include=args.include, btf=given_btf(args))


def given_btf(args: argparse.Namespace) -> RawBtf | None:
    """The types of the kernel that --btf names. Raises ObjectError."""
    path = args.btf
    if path is None:
        return None
    from ..btf import parse_btf

    try:
        with open(path, "rb") as f:
            return parse_btf(f.read())
    except OSError as e:
        raise ObjectError((e.strerror or "unreadable").lower(), file=path) from None
    except BtfError as e:
        raise ObjectError(f"not BTF: {e.cause}", file=path) from None


def new_kernel(args: argparse.Namespace) -> tuple[Kernel, Any]:
    """The kernel that --scenario or --host asks for, and the scenario (None without one)."""
    from kernfs_sim import Kernel

    if args.scenario:
        from kernfs_sim.scenario import load

        scenario = load(args.scenario)
        return Kernel.from_loaded_scenario(scenario, engine=args.engine, cache=not args.no_cache), scenario
    if getattr(args, "follow", False) and not args.host:
        raise UsageError("--follow goes with --host")
    if args.host:
        kernel = Kernel.from_host(engine=args.engine, cache=not args.no_cache, follow=getattr(args, "follow", False))
        assert kernel.host is not None
        for line in kernel.host.unseen:
            sys.stderr.write(f"bpfjit: --host: {line}\n")
        return kernel, None
    return Kernel(engine=args.engine, cache=not args.no_cache), None


def wants_json(args: argparse.Namespace) -> bool:
    return bool(args.json or args.pretty)


def print_json(value: Any, *, pretty: bool = False) -> None:
    json.dump(value, sys.stdout, indent=2 if pretty else None, separators=None if pretty else (",", ":"))
    sys.stdout.write("\n")


def write_bytes(data: bytes) -> None:
    """Bytes as they are on stdout, behind what was printed before."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def run(command: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    """Run a command; whatever it raises for becomes one line on stderr and the contract's exit code."""
    try:
        code = command(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever read us has had enough; what is still buffered must not be complained about at exit.
        _drop_stdout()
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as e:  # the one place where errors end; a bug of ours is told as such
        code, line = _verdict(e)
        say(line, e.log if isinstance(e, VerifierError) else "")
        if args.debug:
            import traceback

            traceback.print_exception(e)
        return code


def _verdict(e: Exception) -> tuple[int, str]:
    """The exit code and the line for an error."""
    if isinstance(e, UsageError | ObjectError | CompileError | BtfError):
        return USAGE, str(e)
    if isinstance(e, BpfError):
        return FAILED, str(e)
    if isinstance(e, OSError):
        return FAILED, describe(e) if e.filename is None else f"{e.filename}: {(e.strerror or '').lower()}"
    return FAILED, f"internal error, a bug of bpfjit: {type(e).__name__}: {e} (-d shows where)"


def say(line: str, log: str = "") -> None:
    """One error line on stderr, and a verifier's log after it."""
    try:
        sys.stdout.flush()
    except OSError:
        _drop_stdout()
    sys.stderr.write("bpfjit: error: " + " ".join(line.splitlines()) + "\n" + log)
    if log and not log.endswith("\n"):
        sys.stderr.write("\n")


def _drop_stdout() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
