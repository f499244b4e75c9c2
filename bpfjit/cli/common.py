"""What the commands share: options, JSON, errors as one line and an exit code."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..btf import RawBtf, parse_btf
from ..errors import BpfError, BtfError, CompileError, ObjectError, UsageError, VerifierError, describe

if TYPE_CHECKING:
    from kernfs_sim import Kernel

    from ..loader import Object

DONE, FAILED, USAGE = 0, 1, 2
ENGINES = ("jit", "interp")


def add_output(parser: argparse.ArgumentParser) -> None:
    """-j, -p and -d, which every command takes."""
    parser.add_argument("-j", "--json", action="store_true", help="JSON on stdout and nothing else")
    parser.add_argument("-p", "--pretty", action="store_true", help="indented JSON")
    parser.add_argument("-d", "--debug", action="store_true", help="a traceback with an error")


def add_source(parser: argparse.ArgumentParser, *, many: bool = False) -> None:
    parser.add_argument("source", metavar="SOURCE", nargs="+" if many else None, help="a .bpf.c file or a BPF object")
    parser.add_argument(
        "-I", dest="include", metavar="DIR", action="append", default=[], help="where a .bpf.c finds headers"
    )
    parser.add_argument("--btf", metavar="FILE", help="relocate against this kernel's BTF instead")
    parser.add_argument("--no-cache", action="store_true", help="neither read nor write compiled code on disk")


def add_system(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--scenario", metavar="FILE", help="the simulated system and its events, as TOML")
    group.add_argument("--host", action="store_true", help="this machine's cgroups and tasks")


def add_engine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--engine", choices=ENGINES, default="jit", help="native code (jit) or the checking interpreter")


def open_source(args: argparse.Namespace, source: str) -> Object:
    from ..loader import open_object

    return open_object(source, include=args.include, btf=_btf(args.btf) if args.btf else None)


def _btf(path: str) -> RawBtf:
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
        return Kernel.from_loaded_scenario(scenario, engine=args.engine), scenario
    if args.host:
        return Kernel.from_host(engine=args.engine), None
    return Kernel(engine=args.engine), None


def print_json(value: Any, *, pretty: bool = False) -> None:
    json.dump(value, sys.stdout, indent=2 if pretty else None, separators=None if pretty else (",", ":"))
    sys.stdout.write("\n")


def run(command: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    """Run a command; whatever it raises for becomes one line on stderr and the contract's exit code."""
    try:
        return command(args)
    except VerifierError as e:
        _say(f"{e}")
        sys.stderr.write(e.log if e.log.endswith("\n") or not e.log else e.log + "\n")
        code = FAILED
    except (UsageError, ObjectError, CompileError) as e:
        _say(str(e))
        code = USAGE
    except BtfError as e:
        _say(str(e))
        code = USAGE
    except BpfError as e:
        _say(str(e))
        code = FAILED
    except BrokenPipeError:
        sys.stderr.close()  # whoever read us has had enough
        return FAILED
    except OSError as e:
        _say(describe(e) if e.filename is None else f"{e.filename}: {(e.strerror or '').lower()}")
        code = FAILED
    except KeyboardInterrupt:
        return 130
    if args.debug:
        import traceback

        traceback.print_exc()
    return code


def _say(line: str) -> None:
    sys.stdout.flush()
    sys.stderr.write("bpfjit: error: " + line.replace("\n", " ") + "\n")
