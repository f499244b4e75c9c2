"""The cgroup2 hierarchy: C structures that programs walk, and the directories that show them."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Iterator
from typing import Any

from bpfjit.errors import refuse
from runtime import KernelHandle, ffi

from .caller import Caller
from .fs.inode import Directory, SuperBlock
from .fs.kernfs import AttrFile, KernfsDir
from .task import Task, Tasks
from .views import Views

CGROUP2_MAGIC = 0x63677270
CSS_ONLINE, CSS_VISIBLE = 1 << 1, 1 << 3


class Cgroup(KernfsDir):
    """One cgroup: a directory, and a struct cgroup with its kernfs_node, css and css_set on the native heap."""

    def __init__(self, fs: CgroupFs, name: str, parent: Cgroup | None, mode: int, uid: int, gid: int, kn_id: int) -> None:
        super().__init__(fs, mode, uid, gid, kn_id)
        self.fs = fs
        self.name = name
        self.id = kn_id
        self.up = parent
        self.level: int = 0 if parent is None else parent.level + 1
        self.tasks: list[Task] = []
        self.type = "domain"
        self.enabled_text = ""  # controllers that the children get
        self.memory_bytes = 0
        native = fs.native
        self._pointer_bytes = 8 * (self.level + 1)
        self.c: Any = native.new("struct cgroup", self._pointer_bytes)
        self.kn: Any = native.new("struct kernfs_node")
        self.cset: Any = native.new("struct css_set")
        self.task_group: Any = native.new("struct task_group")
        self._name = native.string((name or "/").encode())
        self._fill(parent)
        self.views = Views(native, "cgroup", self.c)
        self._add_files()

    def _fill(self, parent: Cgroup | None) -> None:
        c, kn = self.c, self.kn
        kn.id, kn.mode, kn.flags, kn.name, kn.priv = self.id, self.mode, 1, self._name, c
        c.kn, c.level, c.max_depth, c.max_descendants = kn, self.level, (1 << 31) - 1, (1 << 31) - 1
        c.root, c.dom_cgrp = self.fs.root_c, c
        c.self.cgroup, c.self.flags, c.self.id, c.self.serial_nr = c, CSS_ONLINE | CSS_VISIBLE, 0, next(self.fs.serials)
        # Linux keeps children on a list in order of creation.
        for head in (c.self.children, c.self.sibling, self.cset.tasks):
            head.next = head.prev = ffi.addressof(head)
        self.cset.dfl_cgrp = c
        self.task_group.css.cgroup = c
        ancestors = ffi.cast("struct cgroup **", ffi.addressof(c, "ancestors"))
        if parent is not None:
            setattr(kn, "__parent", parent.kn)  # written out, it would be a name private to this class
            c.self.parent = ffi.addressof(parent.c.self)
            self.task_group.parent = parent.task_group
            above = ffi.cast("struct cgroup **", ffi.addressof(parent.c, "ancestors"))
            for i in range(self.level):
                ancestors[i] = above[i]
            head, item = parent.c.self.children, ffi.addressof(c.self.sibling)
            item.prev, item.next = head.prev, ffi.addressof(head)
            head.prev.next = item
            head.prev = item
        ancestors[self.level] = c
        for i in range(6):
            c.subsys[i] = ffi.addressof(c.self)

    @property
    def path(self) -> str:
        """ "/web/api"; "/" for the root."""
        if self.up is None:
            return "/"
        return f"{self.up.path.rstrip('/')}/{self.name}"

    def subgroups(self) -> Iterator[Cgroup]:
        return (c for c in self.children.values() if isinstance(c, Cgroup))

    def descendants(self) -> Iterator[Cgroup]:
        """This cgroup and all below it, parents first."""
        yield self
        for child in self.subgroups():
            yield from child.descendants()

    # -- the directory -------------------------------------------------------------------------------

    def _add_files(self) -> None:
        from .cgroup_files import CGROUP_FILES

        for row in CGROUP_FILES:
            if self.up is None and not row.on_root:
                continue
            show = None if row.show is None else _bind(row.show, self)
            store = None if row.store is None else _bind_store(row.store, self)
            self.add(row.name, AttrFile(self, row.mode, show, store))

    def check_name(self, name: str, *, creating: bool) -> None:
        if creating and "\n" in name:
            raise refuse(errno.EINVAL, f"cgroup name {name!r} has a newline")

    def mkdir(self, caller: Caller, name: str, mode: int) -> Directory:
        return self.fs.create_in(self, name, mode=mode, uid=caller.cred.uid, gid=caller.cred.gid)

    def rmdir(self, caller: Caller, name: str) -> None:
        child = self.children[name]
        assert isinstance(child, Cgroup)
        self.fs.remove(child)

    def go_offline(self) -> None:
        """rmdir: no walk comes here any more; who holds the cgroup still sees its structures."""
        item = self.c.self.sibling
        item.prev.next, item.next.prev = item.next, item.prev
        self.c.self.flags &= ~CSS_ONLINE

    def free(self) -> None:
        native = self.fs.native
        native.free(self.c, ffi.sizeof("struct cgroup") + self._pointer_bytes)
        native.free(self.kn, ffi.sizeof("struct kernfs_node"))
        native.free(self.cset, ffi.sizeof("struct css_set"))
        native.free(self.task_group, ffi.sizeof("struct task_group"))
        native.free(self._name, len(self.name) + 1)


def _bind(show: Any, cgroup: Cgroup) -> Any:
    return lambda caller: show(cgroup, caller)


def _bind_store(store: Any, cgroup: Cgroup) -> Any:
    return lambda caller, data: store(cgroup, caller, data)


class CgroupFs(SuperBlock):
    """The hierarchy as a whole; `kernel.cgroups`."""

    def __init__(self, native: KernelHandle, tasks: Tasks) -> None:
        super().__init__("cgroup2", CGROUP2_MAGIC)
        self.native = native
        self.tasks = tasks
        self.serials = itertools.count(1)
        self._ids = itertools.count(2)
        self._taken: dict[int, Cgroup] = {}
        self.root_c: Any = native.new("struct cgroup_root")
        self.root = self._new("", None, 0o755, 0, 0, 1)
        self.root_c.cgrp = self.root.c
        self.on_change: list[Any] = []  # called after a cgroup is made or removed: (event, cgroup)
        tasks.home = self.root

    def _new(self, name: str, parent: Cgroup | None, mode: int, uid: int, gid: int, kn_id: int | None) -> Cgroup:
        if kn_id is None:
            kn_id = next(i for i in self._ids if i not in self._taken)
        if not 0 < kn_id < 1 << 64 or kn_id in self._taken:
            raise refuse(errno.EEXIST, f"cgroup id {kn_id} is taken or out of range")
        made = Cgroup(self, name, parent, mode, uid, gid, kn_id)
        self._taken[kn_id] = made
        return made

    def create(self, path: str, id: int | None = None) -> Cgroup:
        """Make the cgroup at `path` ("/web/api") and the parents that are not there; `id` fixes its kernfs id.

        Raises EEXIST when it exists or the id is taken.
        """
        parts = [p for p in path.split("/") if p]
        if not parts:
            raise refuse(errno.EEXIST, f"cgroup {path!r} exists")
        at = self.root
        for i, name in enumerate(parts):
            last = i == len(parts) - 1
            child = at.lookup(name)
            if isinstance(child, Cgroup) and not last:
                at = child
                continue
            if child is not None:
                raise refuse(errno.EEXIST, f"cgroup {path!r} exists")
            if name in (".", "..") or len(name) > 255:
                raise refuse(errno.EINVAL, f"cgroup name {name!r}")
            at = self.create_in(at, name, id=id if last else None)
        return at

    def create_in(
        self, parent: Cgroup, name: str, *, mode: int = 0o755, uid: int = 0, gid: int = 0, id: int | None = None
    ) -> Cgroup:
        made = self._new(name, parent, mode, uid, gid, id)
        parent.add(name, made)
        at: Cgroup | None = parent
        while at is not None:
            at.c.nr_descendants += 1
            at = at.up
        for tell in self.on_change:
            tell("cgroup_mkdir", made)
        return made

    def find(self, path: str) -> Cgroup:
        """The cgroup at `path`. Raises ENOENT."""
        at = self.root
        for name in path.split("/"):
            if not name:
                continue
            child = at.lookup(name)
            if not isinstance(child, Cgroup):
                raise refuse(errno.ENOENT, f"cgroup {path!r} does not exist")
            at = child
        return at

    def by_id(self, kn_id: int) -> Cgroup | None:
        return self._taken.get(kn_id)

    def remove(self, cgroup: Cgroup) -> None:
        """rmdir of an empty cgroup. Raises EBUSY while it has children or tasks."""
        if cgroup.up is None or any(True for _ in cgroup.subgroups()) or cgroup.tasks:
            raise refuse(errno.EBUSY, f"cgroup {cgroup.path} has children or tasks")
        for tell in self.on_change:
            tell("cgroup_rmdir", cgroup)
        parent = cgroup.up
        cgroup.go_offline()
        del self._taken[cgroup.id]
        parent.remove(cgroup.name)
        at: Cgroup | None = parent
        while at is not None:
            at.c.nr_descendants -= 1
            at = at.up

    def __iter__(self) -> Iterator[Cgroup]:
        return self.root.descendants()
