"""bpfdump, as its proposal has it: a directory for each target, a file in it for each dumper, which runs when it is read.

A dumper is made by pinning a loaded iterator program and removed with unlink(). Its mode says who may read it: nothing
else is asked of a reader, who sees the tasks and sockets of its own namespaces.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable, Iterator

from bpfjit.errors import refuse
from bpfjit.spec.targets import Target

from ..caller import Caller
from ..objects import Object, ProgObject
from .bpffs import Pin
from .inode import Directory, Inode, OpenFile, SuperBlock

BPFDUMP_MAGIC = 0x706D7564
DumperOpen = Callable[[Caller, ProgObject, str, int], OpenFile]  # caller, program, the target's directory, flags
MOUNT = "/sys/kernel/bpfdump"


class BpfDumpFs(SuperBlock):
    """The one bpfdump of a kernel, which says how a dumper is opened."""

    def __init__(self, open_dumper: DumperOpen) -> None:
        super().__init__("bpfdump", BPFDUMP_MAGIC)
        self.open_dumper = open_dumper


class Dumper(Pin):
    """A dumper's file: it holds the program."""

    def __init__(self, directory: TargetDir, prog: ProgObject, mode: int, uid: int, gid: int) -> None:
        self.dump_fs = directory.fs
        self.target = directory.path
        Inode.__init__(self, directory.fs, stat.S_IFREG | mode, uid, gid)
        self._size = 0
        self.object: ProgObject = prog.get()

    def free(self) -> None:
        self.object.put()

    def open(self, caller: Caller, flags: int) -> OpenFile:
        opened = self.dump_fs.open_dumper(caller, self.object, self.target, flags)
        opened.inode = self.get()
        return opened


class TargetDir(Directory):
    """A target's directory; without a target (the root, or a mere part of a path) it takes no dumpers."""

    def __init__(self, fs: BpfDumpFs, path: str = "") -> None:
        super().__init__(fs, 0o755)
        self.fs = fs
        self.path = path  # below the mount: "task/file"
        self.target: Target | None = None

    def pin(self, caller: Caller, name: str, obj: object) -> None:
        assert isinstance(obj, Object)
        if self.target is None:
            raise refuse(errno.EPERM, f"{name}: no target has its dumpers here")
        if not isinstance(obj, ProgObject) or obj.program.attach_name != f"bpf_iter_{self.target.name}":
            raise refuse(errno.EINVAL, f"{name}: a {obj.kind} is no dumper of {self.path}")
        self.add(name, Dumper(self, obj, 0o600 & ~caller.umask, caller.cred.uid, caller.cred.gid))

    def unlink(self, caller: Caller, name: str) -> None:
        self.drop(name)

    def subdirectory(self, name: str) -> TargetDir:
        found = self.children.get(name)
        if found is None:
            found = TargetDir(self.fs, f"{self.path}/{name}".lstrip("/"))
            self.add(name, found)
        assert isinstance(found, TargetDir)
        return found


class BpfDump:
    """The file system as the kernel knows it: its root, its targets, the dumpers that there are."""

    def __init__(self, open_dumper: DumperOpen) -> None:
        self.root = TargetDir(BpfDumpFs(open_dumper))

    def add_target(self, row: Target) -> None:
        if row.directory is None:
            return
        at = self.root
        for part in (row.directory or row.name).split("/"):
            at = at.subdirectory(part)
        at.target = row

    def directories(self, at: TargetDir | None = None) -> Iterator[TargetDir]:
        """Every directory that has a target, in order of their paths."""
        here = at or self.root
        if here.target is not None:
            yield here
        for name in sorted(here.children):
            child = here.children[name]
            if isinstance(child, TargetDir):
                yield from self.directories(child)

    def targets(self) -> list[tuple[str, str]]:
        """(target, the type of its programs' context), as `dumper show target` prints them."""
        return [(d.path, f"bpfdump__{d.path.replace('/', '_')}") for d in self.directories()]

    def dumpers(self) -> list[tuple[str, int]]:
        """(path below the mount, id of the program), as `dumper show dumper` prints them."""
        return [
            (f"{d.path}/{name}", child.object.id)
            for d in self.directories()
            for name, child in sorted(d.children.items())
            if isinstance(child, Dumper)
        ]

    def directory_of(self, attach_name: str) -> str:
        """The target's directory, by the function that a program attaches to. Raises EINVAL where there is none."""
        for d in self.directories():
            if d.target is not None and f"bpf_iter_{d.target.name}" == attach_name:
                return d.path
        raise refuse(errno.EINVAL, f"{attach_name or 'the program'} is no target of dumpers")
