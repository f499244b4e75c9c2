"""Which kernel a command speaks to, and which of its objects are meant (`id N`, `name N`, `tag T`, `pinned FILE`)."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..dataclass import dataclass
from ..errors import UsageError, describe
from ..loader import inspect
from . import common

if TYPE_CHECKING:
    from ..loader import LoadedObject
    from ..loader.bpf import OpenBpf

# How objects of a kind are named, by kind.
HANDLES = {
    "prog": ("id", "tag", "pinned", "name"),
    "map": ("id", "pinned", "name"),
    "link": ("id", "pinned"),
    "btf": ("id",),
}


def add_kernel(parser: argparse.ArgumentParser) -> None:
    """--kernel and --mount, and how a SOURCE among the words is loaded into a kernel of its own."""
    parser.add_argument("--mount", metavar="DIR", help="the mounted kernel at DIR (not needed where there is but one)")
    parser.add_argument(
        "--kernel", choices=("mount", "live"), default="mount", help="live: the kernel that this machine runs"
    )
    parser.add_argument(
        "-I", dest="include", metavar="DIR", action="append", default=[], help="where a .bpf.c finds headers"
    )
    parser.add_argument("--btf", metavar="FILE", help="relocate SOURCE against this kernel's BTF instead")
    parser.add_argument("--no-cache", action="store_true", help="neither read nor write compiled code on disk")
    parser.add_argument("-f", "--bpffs", action="store_true", help="show where objects are pinned")
    common.add_output(parser)


@dataclass(slots=True)
class Reach:
    """A kernel at the other end of bpf(2), what was loaded into it for this command, and the words that are left."""

    bpf: OpenBpf
    words: list[str]
    loaded: LoadedObject | None = None

    def path(self, path: str) -> str:
        """A path as the kernel spells it: below a mount it is the simulated system's."""
        spell = getattr(self.bpf, "path", None)
        return spell(path) if spell is not None else path

    def pop(self, what: str) -> str:
        """The next word. Raises UsageError naming what is missing."""
        if not self.words:
            raise UsageError(f"{what} is missing")
        return self.words.pop(0)

    def done(self) -> None:
        """Raises UsageError where words are left."""
        if self.words:
            raise UsageError(f"what is '{self.words[0]}'?")

    # -- objects ---------------------------------------------------------------------------------------

    def is_handle(self, kind: str) -> bool:
        return bool(self.words) and self.words[0] in HANDLES[kind]

    @contextlib.contextmanager
    def each(self, kind: str) -> Iterator[list[int]]:
        """Fds of the objects that the next words name; of all, where none follow. They are closed at the end."""
        with contextlib.ExitStack() as stack:
            fds = self._named(kind) if self.is_handle(kind) else self._all(kind)
            for fd in fds:
                stack.callback(self.bpf.close, fd)
            yield fds

    @contextlib.contextmanager
    def one(self, kind: str) -> Iterator[int]:
        """An fd of the one object that the next words name. Raises UsageError for none or several."""
        wanted = " or ".join(f"{handle} …" for handle in HANDLES[kind])
        if not self.is_handle(kind):
            raise UsageError(f"which {kind}? Wanted {wanted}")
        said = " ".join(self.words[:2])
        with self.each(kind) as fds:
            if len(fds) != 1:
                raise UsageError(f"{said}: {len(fds)} {kind}s, an id says which")
            yield fds[0]

    def _named(self, kind: str) -> list[int]:
        handle = self.words.pop(0)
        value = self.pop(f"what {handle}")
        if handle == "id":
            return [self._by_id(kind, parse_number(value, "id", 1 << 32))]
        if handle == "pinned":
            return [self._by_pin(kind, value)]
        if handle == "tag":
            try:
                wanted: object = bytes.fromhex(value)
            except ValueError:
                wanted = b""
            if not isinstance(wanted, bytes) or len(wanted) != 8:
                raise UsageError(f"tag {value}: wanted 16 hexadecimal digits")
        else:
            wanted = value.encode()[:15].decode("utf-8", "replace")
        found = []
        for fd in self._all(kind):
            info = inspect.get_info(self.bpf, fd, kind)
            if wanted == (info.name if handle == "name" else tag_of(info)):
                found.append(fd)
            else:
                self.bpf.close(fd)
        if not found:
            raise OSError(2, f"no {kind} with {handle} {value}")
        return found

    def _by_id(self, kind: str, number: int) -> int:
        try:
            return inspect.open_id(self.bpf, kind, number)
        except OSError as e:
            raise OSError(e.errno, f"{kind} with id {number}: {os.strerror(e.errno or 0).lower()}") from None

    def _by_pin(self, kind: str, path: str) -> int:
        try:
            fd = inspect.open_pin(self.bpf, self.path(path))
        except OSError as e:
            raise OSError(e.errno, f"{path}: {os.strerror(e.errno or 0).lower()}") from None
        if kind_of(self.bpf, fd) != kind:
            found = kind_of(self.bpf, fd)
            self.bpf.close(fd)
            raise OSError(22, f"{path} is a {found}, no {kind}")
        return fd

    def _all(self, kind: str) -> list[int]:
        found = []
        for number in inspect.ids(self.bpf, kind):
            with contextlib.suppress(FileNotFoundError):  # it went between the two calls
                found.append(inspect.open_id(self.bpf, kind, number))
        return found

    def pins(self) -> dict[tuple[str, int], list[str]]:
        """Paths by (kind, id): what is pinned in the bpffs that this process sees."""
        found: dict[tuple[str, int], list[str]] = {}
        for root in self._bpffs():
            for directory, _, names in os.walk(root):
                for name in names:
                    path = os.path.join(directory, name)
                    try:
                        fd = inspect.open_pin(self.bpf, self.path(path))
                    except OSError:
                        continue
                    kind = kind_of(self.bpf, fd)
                    number = inspect.get_info(self.bpf, fd, kind)["id"]
                    self.bpf.close(fd)
                    found.setdefault((kind, number), []).append(path)
        return found

    def _bpffs(self) -> list[str]:
        entry = getattr(self.bpf, "entry", None)
        if entry is not None:
            return [f"{entry.path}/sys/fs/bpf"]
        if self.loaded is not None:
            return []  # a kernel of this process alone has no files that could be walked
        lines = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
        return [fields[1] for fields in lines if fields[2] == "bpf"]


_KIND_BY_LINE = {"prog_type": "prog", "map_type": "map", "link_type": "link", "btf_id": "btf"}


def kind_of(bpf: OpenBpf, fd: int) -> str:
    """What an fd is of, by the first line of its fdinfo that only one kind has."""
    return next((_KIND_BY_LINE[key] for key in inspect.fdinfo(bpf, fd) if key in _KIND_BY_LINE), "file")


def tag_of(info: inspect.Info) -> bytes:
    return info["tag"].to_bytes(8, "little")


def parse_number(text: str, what: str, limit: int) -> int:
    """A number below `limit`. Raises UsageError."""
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if not 0 <= value < limit:
        raise UsageError(f"{what} {text}: no number below {limit}")
    return value


@contextlib.contextmanager
def reach(args: argparse.Namespace, kind: str, words: Sequence[str], *, load: bool = True) -> Iterator[Reach]:
    """The kernel that the command line means. The first word is a SOURCE where it names no object of `kind`: it is loaded,
    and attached, in a kernel of its own.
    """
    left = list(words)
    if left and left[0] not in HANDLES[kind] and load:
        if args.mount or args.kernel == "live":
            raise UsageError(f"what is '{left[0]}'? Wanted {', '.join(HANDLES[kind])}")
        from kernfs_sim import Kernel

        obj = common.open_source(args, left.pop(0))
        with Kernel(cache=not args.no_cache) as kernel, obj.load(kernel.bpf) as loaded:
            for name, prog in loaded.progs.items():
                row = prog.spec.kind
                if row is not None and row.attach and prog.spec.target:
                    with contextlib.suppress(OSError):  # one that wants to be told what it walks has no link
                        loaded.links[name] = loaded.attach_prog(prog)
            yield Reach(kernel.bpf, left, loaded)
        return
    if args.kernel == "live":
        from ..loader import live_bpf

        yield Reach(live_bpf, left)
        return
    from ..loader import mount_bpf

    with mount_bpf(args.mount) as bpf:
        yield Reach(bpf, left)


def failed(what: str, error: OSError) -> OSError:
    """An OSError whose text says what did not succeed."""
    return OSError(
        error.errno, f"{what}: {describe(error)}" if error.strerror is None else f"{what}: {error.strerror.lower()}"
    )
