"""bpfjit known admit | list | revoke | read: programs verified once for everybody."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..uapi import bpf as uapi
from . import common

_READ_BYTES = 1 << 16


def add(commands: Any) -> None:
    parser = commands.add_parser("known", help="programs that an administrator admits once and anyone may run")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    admit = verbs.add_parser("admit", help="verify and compile programs of an object and let everyone run them")
    common.add_source(admit)
    admit.add_argument("--prog", metavar="NAME", action="append", default=[], help="only this program (may be repeated)")
    admit.add_argument("--anywhere", action="store_true", help="programs too that act on more than their reader asks for")
    _finish(admit, admit_known)
    _finish(verbs.add_parser("list", help="the programs that there are"), list_known)
    for verb, text, command in (
        ("revoke", "let no one run a program any more", revoke_known),
        ("read", "run a known iterator or view as a user without rights, and print what it writes", read_known),
    ):
        below = verbs.add_parser(verb, help=text)
        below.add_argument("digest", metavar="DIGEST", help="a program's, or enough of its first digits")
        if verb == "read":
            common.add_system(below)
            common.add_engine(below)
            below.add_argument("--cgroup", metavar="PATH", action="append", default=[], help="of a view: these cgroups")
        _finish(below, command)


def _finish(parser: argparse.ArgumentParser, command: Any) -> None:
    parser.add_argument("--store", metavar="DIR", help="where known programs are kept (/var/lib/bpfjit/known)")
    common.add_output(parser)
    parser.set_defaults(command=command, no_cache=True)


def _store(args: argparse.Namespace) -> Path:
    from kernfs_sim.known_store import DEFAULT

    return Path(args.store) if args.store else DEFAULT


def admit_known(args: argparse.Namespace) -> int:
    from kernfs_sim import Kernel

    obj = common.open_source(args, args.source)
    unknown = set(args.prog) - set(obj.progs)
    if unknown:
        raise UsageError(f"no program '{min(unknown)}'; there are {', '.join(obj.progs) or 'none'}", file=obj.spec.file)
    told = []
    with Kernel(cache=False, known=_store(args)) as kernel, obj.load(kernel.bpf) as loaded:
        for name, prog in loaded.progs.items():
            if not args.prog or name in args.prog:
                digest = kernel.known.admit(kernel.caller, prog.fd, anywhere=args.anywhere)
                told.append({"digest": digest.hex(), "name": name})
    return _tell(args, told)


def _tell(args: argparse.Namespace, told: list[dict[str, Any]]) -> int:
    if common.wants_json(args):
        common.print_json(told, pretty=args.pretty)
    else:
        sys.stdout.writelines(f"{row['digest']} {row['name']}\n" for row in told)
    return common.DONE


def list_known(args: argparse.Namespace) -> int:
    from kernfs_sim import Kernel

    told: list[dict[str, Any]] = []
    with Kernel(cache=False, known=_store(args)) as kernel:
        for digest in kernel.known:
            try:
                told.append({"digest": digest.hex(), "name": kernel.known.get(digest).name})
            except OSError as e:
                told.append({"digest": digest.hex(), "name": f"({e.strerror})", "errno": e.errno})
    return _tell(args, told)


def _digest(args: argparse.Namespace, kernel: Any) -> bytes:
    given = args.digest.lower()
    found = [d for d in kernel.known if d.hex().startswith(given)]
    if len(found) != 1:
        raise UsageError(f"{len(found)} known programs begin with {args.digest}")
    digest: bytes = found[0]
    return digest


def revoke_known(args: argparse.Namespace) -> int:
    from kernfs_sim import Kernel

    with Kernel(cache=False, known=_store(args)) as kernel:
        kernel.known.revoke(kernel.caller, _digest(args, kernel))
    return common.DONE


def read_known(args: argparse.Namespace) -> int:
    from kernfs_sim.caller import Cred, InProcess
    from kernfs_sim.known import KnownPrograms
    from kernfs_sim.known_store import KnownStore

    kernel, _ = common.new_kernel(args)
    with kernel:
        known = KnownPrograms(kernel, KnownStore(_store(args)))
        kernel.known = known
        digest = _digest(args, kernel)
        user = InProcess(Cred(65534, 65534, frozenset()))  # nobody
        bpf = kernel.caller_bpf(user)
        made = known.instantiate(user, digest)
        attach_type = known.get(digest).verified.program.attach_type
        if attach_type not in (uapi.BPF_TRACE_VIEW, uapi.BPF_TRACE_ITER):
            raise UsageError(f"{known.get(digest).name} is neither a view nor an iterator")
        link = bpf(uapi.BPF_LINK_CREATE, bytearray(uapi.LinkCreate(prog_fd=made.prog_fd, attach_type=attach_type).pack()))
        if attach_type == uapi.BPF_TRACE_VIEW:
            return _views(args, kernel, user.fds.get(link))
        file = user.fds.get(bpf(uapi.BPF_ITER_CREATE, bytearray(uapi.IterCreate(link_fd=link).pack())))
        text = b""
        while data := file.read(user, _READ_BYTES):
            text += data
        if common.wants_json(args):
            common.print_json([{"text": text.decode("utf-8", "backslashreplace")}], pretty=args.pretty)
        else:
            sys.stdout.buffer.write(text)
        return common.DONE


def _views(args: argparse.Namespace, kernel: Any, link: Any) -> int:
    wanted = set(args.cgroup)
    cgroups = [c for c in kernel.cgroups if c.path != "/" and (not wanted or c.path in wanted)]
    missing = wanted - {c.path for c in cgroups}
    if missing:
        raise UsageError(f"no cgroup {min(missing)}")
    texts = kernel.read_views(kernel.caller.fds.install(link.get()), cgroups)
    rows = [{"cgroup": c.path, "text": t.decode("utf-8", "backslashreplace")} for c, t in zip(cgroups, texts, strict=True)]
    if common.wants_json(args):
        common.print_json(rows, pretty=args.pretty)
    else:
        sys.stdout.write("\n".join(f"==> {row['cgroup']} <==\n{row['text']}" for row in rows))
    return common.DONE
