"""Directories of kernel objects in which views show them: one an object, made when it is first looked up.

/proc has a directory for each task, /sys/kernel/bpf_map one for each map, and a view target that was added at run time
one for each of its objects. What such a directory has beside the views are rows of name and text.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from typing import Any

from bpfjit.dataclass import dataclass
from bpfjit.errors import refuse
from runtime import KernelHandle

from ..caller import Caller
from ..objects import Object
from ..views import Views
from .inode import Inode, SuperBlock
from .kernfs import AttrFile, KernfsDir

Show = Callable[[Caller], str]


@dataclass(frozen=True, slots=True)
class Shown:
    """A kernel object: its view target, its structure, its files, and how it is kept while it is looked at."""

    target: str
    subject: Any
    files: tuple[tuple[str, Show], ...] = ()
    hold: Callable[[], Callable[[], None]] | None = None  # takes a reference and returns what gives it back
    owner: Object | None = None  # where the directory must not hold one, each read does


class ObjectDir(KernfsDir):
    """One object's directory."""

    def __init__(self, parent: ObjectDirs, name: str, shown: Shown) -> None:
        super().__init__(parent.sb, 0o555)
        self.name = name
        self._rows = dict(shown.files)
        self._views = Views(parent.native, shown.target, shown.subject, parent.scratch, shown.owner)
        self._let_go = shown.hold() if shown.hold is not None else None
        self._native = parent.native

    @property
    def views(self) -> Views:
        return self._views

    def lookup(self, name: str) -> Inode | None:
        found = self.children.get(name)
        if found is None and not self.removed and name in self._rows:
            found = self.children[name] = AttrFile(self, 0o444, self._rows[name])
        return found

    def names(self) -> list[str]:
        return [*self._rows, *(n for n in self.children if n not in self._rows)]

    def free(self) -> None:
        if self._let_go is not None and not self._native.closed:
            self._let_go()


class ObjectDirs(KernfsDir):
    """The directory of a kind of object: `names` lists them, `find` gives one by name or None."""

    def __init__(
        self,
        sb: SuperBlock,
        native: KernelHandle,
        names: Callable[[], Iterable[str]],
        find: Callable[[str], Shown | None],
    ) -> None:
        super().__init__(sb, 0o555)
        self.native = native
        self.scratch: list[Any] = []
        self._names = names
        self._find = find

    def lookup(self, name: str) -> Inode | None:
        found = super().lookup(name)
        if found is not None:
            return found
        shown = self._find(name)
        if shown is None:
            return None
        made = ObjectDir(self, name, shown)
        self.add_quietly(name, made)
        return made

    def add_quietly(self, name: str, made: ObjectDir) -> None:
        """As add(), which would look the name up again."""
        self.children[name] = made
        made.parent = self
        self.nlink += 1

    def names(self) -> list[str]:
        listed = list(self._names())
        return listed + [n for n in self.children if n not in listed]

    def forget(self, name: str) -> None:
        """The object has gone, and its directory with everything in it."""
        self.remove(name)

    def mkdir(self, caller: Caller, name: str, mode: int) -> KernfsDir:
        raise refuse(errno.EPERM, f"{name}: objects are not made by their directories")
