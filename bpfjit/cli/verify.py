"""bpfjit verify: the verdict on programs, ours, Linux's, or both."""

from __future__ import annotations

import argparse
import errno
import sys
from typing import TYPE_CHECKING, Any

from ..errors import LoadError, UsageError, VerifierError
from ..spec.profiles import profile_named
from . import common

if TYPE_CHECKING:
    from kernfs_sim import Kernel

    from ..loader import LoadedObject, Object
    from ..loader.bpf import Bpf

KERNELS = ("sim", "live", "both")


def add(commands: Any) -> None:
    parser = commands.add_parser("verify", help="verify programs and say why not")
    common.add_source(parser, many=True)
    parser.add_argument("--prog", metavar="NAME", action="append", help="only this program")
    parser.add_argument("--profile", metavar="VERSION", default="6.18", help="as Linux 6.1, 6.12 or 6.18 (the default)")
    parser.add_argument("--kernel", choices=KERNELS, default="sim", help="whose verifier (live needs root)")
    common.add_output(parser)
    parser.set_defaults(command=verify)


def select(obj: Object, names: list[str] | None) -> list[str]:
    """The programs asked for, else all that want to be loaded. Raises UsageError for an unknown name."""
    if not names:
        return [p.name for p in obj.progs.values() if p.autoload]
    for name in names:
        if name not in obj.progs:
            raise UsageError(f"no program '{name}'; there are {', '.join(obj.progs) or 'none'}", file=obj.spec.file)
    return [name for name in obj.progs if name in names]


_SHARED = ("object", "program", "section", "insns", "not_simulated")  # by both kernels' rows
_STATS, _LOG = 4, 1  # levels of the verifier's log: its counts alone, and what it does


def _verdict(loaded: LoadedObject, name: str, kernel: Kernel | None) -> dict[str, Any]:
    from ..loader.explain import explain
    from ..loader.log import LoadStats, parse_stats

    prog = loaded.object.progs[name]
    row: dict[str, Any] = {"object": loaded.spec.file, "program": name, "section": prog.section}
    why, missing = None, list[str]()
    try:
        made = loaded.load_prog(prog, log_level=_STATS)
        stats = made.stats
        row |= {"verdict": "accepted", "errno": 0, "reason": ""}
        if kernel is not None:
            missing = kernel.missing(kernel.caller.fds.get(made.fd).object.verified)
        loaded.bpf.close(loaded.progs.pop(name).fd)
    except VerifierError as e:
        stats = parse_stats(e.log, len(prog.insns))
        stats.log = _full_log(loaded, name) or e.log
        why = explain(stats.log)
        row |= {"verdict": "rejected", "errno": e.errno, "reason": e.cause}
    except LoadError as e:
        # The loader's own refusal (an extern, a target that is not there): no kernel has seen the program.
        stats = LoadStats(insns=len(prog.insns))
        row |= {"verdict": "rejected", "errno": errno.EINVAL, "reason": e.cause}
    row |= {
        "insns": stats.insns,
        "processed_insns": stats.processed_insns,
        "states": stats.states,
        "duration_us": stats.duration_us,
        "log": stats.log,
        "explanation": why.as_json() if why is not None else None,
        "not_simulated": missing,
    }
    return row


def _full_log(loaded: LoadedObject, name: str) -> str:
    """What the verifier says instruction by instruction; asked for once more, so that the first load is timed without."""
    try:
        loaded.load_prog(loaded.object.progs[name], log_level=_LOG)
    except VerifierError as e:
        return e.log
    loaded.bpf.close(loaded.progs.pop(name).fd)
    return ""


def _verdicts(args: argparse.Namespace, bpf: Bpf, kernel: Kernel | None = None) -> list[dict[str, Any]]:
    from ..loader import LoadedObject

    rows = []
    for source in args.source:
        obj = common.open_source(args, source)
        names = select(obj, args.prog)
        with LoadedObject(obj, bpf) as loaded:
            loaded.create_maps()
            rows += [_verdict(loaded, name, kernel) for name in names]
    return rows


def verify(args: argparse.Namespace) -> int:
    rows: list[dict[str, Any]] = []
    try:
        profile_named(args.profile)
    except ValueError as e:
        raise UsageError(str(e)) from None
    if args.kernel != "live":
        from kernfs_sim import Kernel

        with Kernel(engine="none", btf=common.given_btf(args), profile=args.profile) as kernel:
            rows = _verdicts(args, kernel.bpf, kernel)
    if args.kernel != "sim":
        from ..loader import live_bpf

        live = _verdicts(args, live_bpf)
        if args.kernel == "live":
            rows = live
        else:
            for row, other in zip(rows, live, strict=True):
                row["live"] = {k: v for k, v in other.items() if k not in _SHARED}
    if common.wants_json(args):
        common.print_json(rows, pretty=args.pretty)
    failed = False
    for row in rows:
        if not common.wants_json(args):
            _print(row)
        # What Linux alone refuses is a refusal too.
        refused = next((x for x in (row, row.get("live")) if x and x["verdict"] == "rejected"), None)
        if refused is not None:
            failed = True
            who = "" if refused is row else "refused by Linux alone: "
            place = f"{row['object']}, section {row['section']}, program {row['program']}"
            common.say(f"{place}: {who}{refused['reason']}", refused["log"])
            if refused["explanation"]:
                from ..loader.explain import Explanation, Step

                told = refused["explanation"]
                sys.stderr.write(str(Explanation(**{**told, "path": tuple(Step(**step) for step in told["path"])})))
    return common.FAILED if failed else common.DONE


def _print(row: dict[str, Any]) -> None:
    counts = [f"{row['insns']} instructions"]
    if row["processed_insns"] is not None:
        counts.append(f"{row['processed_insns']} processed")
    if row["duration_us"] is not None:
        counts.append(f"{row['duration_us']:.0f} us")
    print(f"{row['object']}: {row['program']} ({row['section']}): {row['verdict']} ({', '.join(counts)})")
    if row["not_simulated"]:
        print(f"  runs on Linux only: {', '.join(row['not_simulated'])} has no code here")
    live = row.get("live")
    if live is not None:
        same = "agrees" if live["verdict"] == row["verdict"] else "DISAGREES"
        print(f"  Linux {same}: {live['verdict']}" + (f": {live['reason']}" if live["reason"] else ""))
