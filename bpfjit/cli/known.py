"""bpfjit known admit | list | revoke | read | pin: programs verified once for everybody."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..uapi import bpf as uapi
from . import common

if TYPE_CHECKING:
    from kernfs_sim import Kernel
    from kernfs_sim.caller import Caller

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
        ("pin", "make a known iterator or view a file of a mounted kernel", pin_known),
    ):
        below = verbs.add_parser(verb, help=text)
        below.add_argument("digest", metavar="DIGEST", help="a program's, or enough of its first digits")
        if verb == "read":
            common.add_system(below)
            common.add_engine(below)
            below.add_argument("--cgroup", metavar="PATH", action="append", default=[], help="of a view: these cgroups")
        elif verb == "pin":
            below.add_argument("file", metavar="FILE", help="below the mount's sys/fs/bpf")
        _finish(below, command)


def _finish(parser: argparse.ArgumentParser, command: Any) -> None:
    parser.add_argument("--store", metavar="DIR", help="where known programs are kept (/var/lib/bpfjit/known)")
    parser.add_argument("--mount", metavar="DIR", help="those of the mounted kernel at DIR")
    common.add_output(parser)
    parser.set_defaults(command=command, no_cache=True)


class Here:
    """Known programs of a kernel of this process; what a mounted one answers to the same questions is MountBpf."""

    def __init__(self, kernel: Kernel, caller: Caller) -> None:
        self.kernel = kernel
        self.caller = caller
        self.bpf = kernel.caller_bpf(caller)

    def __call__(self, cmd: int, attr: bytearray) -> int:
        return self.bpf(cmd, attr)

    def known(self) -> list[tuple[bytes, str, int]]:
        return list(self.kernel.known.listed())

    def admit(self, prog_fd: int, *, anywhere: bool = False) -> bytes:
        return self.kernel.known.admit(self.caller, prog_fd, anywhere=anywhere)

    def revoke(self, digest: bytes) -> None:
        self.kernel.known.revoke(self.caller, digest)

    def instantiate(self, digest: bytes) -> Any:
        return self.kernel.known.instantiate(self.caller, digest)

    def read(self, fd: int, size: int) -> bytes:
        file: Any = self.caller.fds.get(fd)
        data: bytes = file.read(self.caller, size)
        return data


def in_store(kernel: Kernel, store: str | None) -> Kernel:
    """The kernel, with the known programs of a directory."""
    from kernfs_sim.known import KnownPrograms
    from kernfs_sim.known_store import DEFAULT, KnownStore

    kernel.known = KnownPrograms(kernel, KnownStore(Path(store) if store else DEFAULT))
    return kernel


@contextlib.contextmanager
def _reach(args: argparse.Namespace, *, as_nobody: bool = False) -> Iterator[Any]:
    """What the command speaks to: Here, or the MountBpf of --mount. Raises UsageError."""
    if args.mount is not None:
        if args.store or getattr(args, "scenario", None) or getattr(args, "host", None):
            raise UsageError("a mounted kernel has its system and its store already")
        from ..loader import mount_bpf

        with mount_bpf(args.mount) as bpf:
            yield bpf
        return
    from kernfs_sim import Kernel
    from kernfs_sim.caller import Cred, InProcess

    kernel = common.new_kernel(args)[0] if hasattr(args, "scenario") else Kernel(cache=False)
    with in_store(kernel, args.store):
        yield Here(kernel, InProcess(Cred(65534, 65534, frozenset())) if as_nobody else kernel.caller)


def admit_known(args: argparse.Namespace) -> int:
    obj = common.open_source(args, args.source)
    unknown = set(args.prog) - set(obj.progs)
    if unknown:
        raise UsageError(f"no program '{min(unknown)}'; there are {', '.join(obj.progs) or 'none'}", file=obj.spec.file)
    told = []
    with _reach(args) as at, obj.load(at.bpf if isinstance(at, Here) else at) as loaded:
        for name, prog in loaded.progs.items():
            if not args.prog or name in args.prog:
                told.append({"digest": at.admit(prog.fd, anywhere=args.anywhere).hex(), "name": name})
    return _tell(args, told)


def _tell(args: argparse.Namespace, told: list[dict[str, Any]]) -> int:
    if common.wants_json(args):
        common.print_json(told, pretty=args.pretty)
    else:
        sys.stdout.writelines(f"{row['digest']} {row['name']}\n" for row in told)
    return common.DONE


def list_known(args: argparse.Namespace) -> int:
    with _reach(args) as at:
        return _tell(args, [_row(*known) for known in at.known()])


def _row(digest: bytes, name: str, number: int) -> dict[str, Any]:
    if number:
        return {"digest": digest.hex(), "name": f"({name})", "errno": number}
    return {"digest": digest.hex(), "name": name}


def _digest(args: argparse.Namespace, at: Any) -> bytes:
    found: list[bytes] = [digest for digest, _, _ in at.known() if digest.hex().startswith(args.digest.lower())]
    if len(found) != 1:
        raise UsageError(f"{len(found)} known programs begin with {args.digest}")
    return found[0]


def revoke_known(args: argparse.Namespace) -> int:
    with _reach(args) as at:
        at.revoke(_digest(args, at))
    return common.DONE


def _link(at: Any, digest: bytes) -> tuple[int, int]:
    """A known view or iterator made and linked: its link's fd, and its attach type. Raises UsageError for any other."""
    made = at.instantiate(digest)
    if made.attach_type not in (uapi.BPF_TRACE_VIEW, uapi.BPF_TRACE_ITER):
        raise UsageError(f"{digest.hex()[:16]} is neither a view nor an iterator")
    attr = uapi.LinkCreate(prog_fd=made.prog_fd, attach_type=made.attach_type)
    return at(uapi.BPF_LINK_CREATE, bytearray(attr.pack())), made.attach_type


def read_known(args: argparse.Namespace) -> int:
    with _reach(args, as_nobody=True) as at:
        link, attach_type = _link(at, _digest(args, at))
        if attach_type == uapi.BPF_TRACE_VIEW:
            if not isinstance(at, Here):
                raise UsageError("a view of a mounted kernel is read as a file: known pin, then link pin into a cgroup")
            return _views(args, at.kernel, at.caller.fds.get(link))
        file, text = at(uapi.BPF_ITER_CREATE, bytearray(uapi.IterCreate(link_fd=link).pack())), b""
        while data := at.read(file, _READ_BYTES):
            text += data
    if common.wants_json(args):
        common.print_json([{"text": text.decode("utf-8", "backslashreplace")}], pretty=args.pretty)
    else:
        sys.stdout.buffer.write(text)
    return common.DONE


def pin_known(args: argparse.Namespace) -> int:
    from ..loader import mount_bpf
    from ..loader.map import pin

    with mount_bpf(args.mount) as bpf:
        link, _ = _link(bpf, _digest(args, bpf))
        pin(bpf, link, bpf.path(args.file))
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
