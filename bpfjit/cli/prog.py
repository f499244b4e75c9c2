"""bpfjit prog: a program of an object by itself (run, dump), and bpftool's verbs on programs in a kernel."""

from __future__ import annotations

import argparse
from typing import Any

from . import common
from .reach import HANDLES, add_kernel

KINDS = ("xlated", "jited", "facts", "ir", "asm")


def add(commands: Any) -> None:
    parser = commands.add_parser("prog", help="run a program on given input, look into it, or into those of a kernel")
    verbs = parser.add_subparsers(
        dest="verb", required=True, metavar="run|profile|dump|show|list|pin|load|loadall|attach|detach|tracelog"
    )
    run_ = verbs.add_parser("run", help="run a program once or many times on a packet or context")
    common.add_source(run_)
    _add_words(run_, "after a PROG in SOURCE's place: data_in FILE [data_out FILE] [ctx_in FILE] [ctx_out FILE] [repeat N]")
    run_.add_argument("--prog", metavar="NAME")
    common.add_engine(run_)
    for name, what in (("data-in", "packet"), ("data-out", "packet"), ("ctx-in", "context"), ("ctx-out", "context")):
        run_.add_argument(
            f"--{name}", metavar="FILE", help=f"the {what} {'read' if name.endswith('in') else 'written'}; - is stdin/stdout"
        )
    run_.add_argument("--repeat", type=int, default=1, metavar="N", help="executions (the mean of their times is told)")
    run_.add_argument("--kernel", choices=("sim", "live"), default="sim")
    run_.add_argument("--mount", metavar="DIR", help="where PROG is: the mounted kernel at DIR")
    common.add_output(run_)
    run_.set_defaults(command=_run)
    profile_ = verbs.add_parser("profile", help="where a program spends its time: executions by source line and instruction")
    common.add_source(profile_)
    profile_.add_argument("--prog", metavar="NAME")
    profile_.add_argument("--data-in", metavar="FILE", help="the packet read; - is stdin")
    profile_.add_argument("--ctx-in", metavar="FILE", help="the context read; - is stdin")
    profile_.add_argument("--repeat", type=int, default=1000, metavar="N", help="executions")
    profile_.add_argument("--asm", action="store_true", help="native code, C and BPF between, with executions")
    common.add_output(profile_)
    profile_.set_defaults(command=_profile, data_out=None, ctx_out=None)
    dump_ = verbs.add_parser("dump", help="print a program at a stage of its way to native code")
    dump_.add_argument("kind", choices=KINDS)
    common.add_source(dump_)
    _add_words(dump_, "after a PROG in SOURCE's place: [file FILE] [opcodes] [linum] [visual]")
    dump_.add_argument("--prog", metavar="NAME")
    dump_.add_argument("--kernel", choices=("mount", "live"), default="mount", help="where PROG is")
    dump_.add_argument("--mount", metavar="DIR", help="where PROG is: the mounted kernel at DIR")
    common.add_output(dump_)
    dump_.set_defaults(command=_dump)
    for verb, what in (
        ("show", "[PROG]: programs, all or those named"),
        ("list", "as show"),
        ("pin", "PROG FILE: give a program a name in bpffs"),
        ("load", "OBJ FILE [pinmaps DIR]: load an object, pin its first program"),
        ("loadall", "OBJ DIR [pinmaps DIR]: load an object, pin all of its programs"),
        ("attach", "PROG ATTACH_TYPE [MAP]: a program of a map of sockets, or this network namespace's flow dissector"),
        ("detach", "PROG ATTACH_TYPE [MAP]: take such a program off"),
        ("tracelog", "[stdout|stderr PROG]: what programs print with bpf_printk(), or what one has in a stream"),
    ):
        words = verbs.add_parser(
            verb, help=what, description=f"{verb} {what}. PROG is id N, tag T, name NAME or pinned FILE."
        )
        words.add_argument("words", nargs="*", metavar="…", help=what)
        add_kernel(words)
        words.set_defaults(command=_object_verb)


def _add_words(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("words", nargs="*", metavar="…", help=what)


def _run(args: argparse.Namespace) -> int:
    from . import prog_object, prog_source

    if args.source not in HANDLES["prog"]:
        return prog_source.run(args)
    args.kernel = "live" if args.kernel == "live" else "mount"
    return prog_object.run(args, [args.source, *args.words])


def _profile(args: argparse.Namespace) -> int:
    from .prog_profile import profile

    return profile(args)


def _dump(args: argparse.Namespace) -> int:
    from . import prog_object, prog_source

    if args.source not in HANDLES["prog"]:
        return prog_source.dump(args)
    return prog_object.dump(args, args.kind, [args.source, *args.words])


def _object_verb(args: argparse.Namespace) -> int:
    from . import prog_object

    return prog_object.VERBS[args.verb](args)
