"""The cgroup2 hierarchy: C structures that programs walk, and the directories that show them."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

from bpfjit.errors import refuse
from runtime import Index, KernelHandle, ffi, lib

from .caller import Caller
from .cgroup_files import CGROUP_FILES, FILE_BY_NAME
from .fs.inode import Directory, Inode, SuperBlock
from .fs.kernfs import AttrFile, KernfsDir, KernfsFile
from .task import Task, Tasks
from .views import Views

CGROUP2_MAGIC = 0x63677270
CSS_ONLINE, CSS_VISIBLE = 1 << 1, 1 << 3
_INT_MAX = (1 << 31) - 1
_PAGE_BYTES = 4096
_CSET_BYTES, _GROUP_BYTES = ffi.sizeof("struct css_set"), ffi.sizeof("struct task_group")
_SUBSYSTEMS = len(ffi.new("struct cgroup *").subsys)


class Cgroup(KernfsDir):
    """One cgroup: a directory, and a struct cgroup with its kernfs_node, css and css_set on the native heap.

    The structures go when the last name, open file or child that refers to the cgroup has gone.
    """

    def __init__(self, fs: CgroupFs, name: str, parent: Cgroup | None, mode: int, uid: int, gid: int, kn_id: int) -> None:
        super().__init__(fs, mode, uid, gid, kn_id)
        self.fs = fs
        self.name = name
        self.id = kn_id
        self.up = parent
        self.level: int = 0 if parent is None else parent.level + 1
        self.tasks: list[Task] = []
        self.threaded = False
        self.enabled_text = ""  # controllers that the children get
        self._views: Views | None = None
        self.bpf: dict[int, Any] = {}  # attach type -> what is attached (bpf/cgroup_attach.py)
        self._fill(fs.native, parent)

    def _fill(self, native: KernelHandle, parent: Cgroup | None) -> None:
        level = self.level
        c = self.c = native.new("struct cgroup", 8 * (level + 1))
        kn = self.kn = native.new("struct kernfs_node")
        cset = self.cset = native.new("struct css_set")
        group = self.task_group = native.new("struct task_group")
        raw = os.fsencode(self.name) or b"/"
        memcg = self.memcg = native.new("struct mem_cgroup")
        c.self.rstat_cpu = native.new("struct css_rstat_cpu", (native.cpus - 1) * ffi.sizeof("struct css_rstat_cpu"))
        css, addressof = c.self, ffi.addressof
        kn.id, kn.mode, kn.flags, kn.name, kn.priv = self.id, self.mode, 1, native.string(raw), c
        c.self.refcnt.percpu_count_ptr = 1
        c.kn, c.level, c.max_depth, c.max_descendants = kn, level, _INT_MAX, _INT_MAX
        c.root, c.dom_cgrp = self.fs.root_c, c
        css.cgroup, css.flags, css.serial_nr = c, CSS_ONLINE | CSS_VISIBLE, next(self.fs.serials)
        # Linux keeps children on a list in order of creation.
        head = css.children
        head.next = head.prev = addressof(head)
        head = cset.tasks
        head.next = head.prev = addressof(head)
        cset.dfl_cgrp = c
        group.css.cgroup = c
        ancestors = ffi.cast("struct cgroup **", addressof(c, "ancestors"))
        sibling = css.sibling
        if parent is None:
            sibling.next = sibling.prev = addressof(sibling)
        else:
            parent.get()
            up = parent.c
            up.self.refcnt.percpu_count_ptr += 1
            setattr(kn, "__parent", parent.kn)  # written out, it would be a name private to this class
            css.parent = addressof(up, "self")
            group.parent = parent.task_group
            ffi.memmove(ancestors, addressof(up, "ancestors"), 8 * level)
            head, item = up.self.children, addressof(sibling)
            last = head.prev
            sibling.prev, sibling.next = last, addressof(head)
            last.next = head.prev = item
        ancestors[level] = c
        c.subsys = [addressof(css)] * _SUBSYSTEMS
        memcg.css.cgroup, memcg.memory.max = c, (1 << 63) - 1
        if parent is not None:
            memcg.css.parent, memcg.memory.parent = addressof(parent.memcg, "css"), addressof(parent.memcg, "memory")
        c.subsys[lib.memory_cgrp_id] = addressof(memcg, "css")

    @property
    def views(self) -> Views:
        if self._views is None:
            self._views = Views(self.fs.native, "cgroup", self.c, self.fs.scratch)
        return self._views

    @property
    def memory_bytes(self) -> int:
        return int(self.memcg.memory.usage.counter) * _PAGE_BYTES

    def set_memory(self, usage_bytes: int) -> None:
        """What memory.current shows: whole pages, as the kernel counts them."""
        counter = self.memcg.memory
        counter.usage.counter = usage_bytes // _PAGE_BYTES
        counter.watermark = max(counter.watermark, counter.usage.counter)

    @property
    def path(self) -> str:
        """ "/web/api"; "/" for the root."""
        if self.up is None:
            return "/"
        return f"{self.up.path.rstrip('/')}/{self.name}"

    def subgroups(self) -> Iterator[Cgroup]:
        return (c for c in list(self.children.values()) if isinstance(c, Cgroup))  # others may make some meanwhile

    def descendants(self) -> Iterator[Cgroup]:
        """This cgroup and all below it, parents first."""
        yield self
        for child in self.subgroups():
            yield from child.descendants()

    # -- the directory -------------------------------------------------------------------------------

    # The files of the hierarchy itself are made when they are first asked for: most never are.

    def lookup(self, name: str) -> Inode | None:
        found = self.children.get(name)
        if found is None and not self.removed:
            row = FILE_BY_NAME.get(name)
            if row is not None and (self.up is not None or row.on_root):
                found = self.children[name] = AttrFile(self, row.mode, *row.bind(self), self.uid, self.gid)
        return found

    def names(self) -> list[str]:
        own = [row.name for row in CGROUP_FILES if not self.removed and (self.up is not None or row.on_root)]
        return own + [name for name in list(self.children) if name not in FILE_BY_NAME]

    def check_name(self, name: str, *, creating: bool) -> None:
        super().check_name(name, creating=creating)
        if creating and ("\n" in name or "\0" in name):
            raise refuse(errno.EINVAL, f"cgroup name {name!r} has a newline")

    def mkdir(self, caller: Caller, name: str, mode: int) -> Directory:
        return self.fs.create_in(self, name, mode=0o755, uid=caller.cred.uid, gid=caller.cred.gid)

    def rmdir(self, caller: Caller, name: str) -> None:
        child = self.children[name]
        assert isinstance(child, Cgroup)
        self.fs.remove(child)

    def go_offline(self) -> None:
        """rmdir: off the parent's list of children, where programs walk; the structures stay for those who are there."""
        item = self.c.self.sibling
        item.prev.next, item.next.prev = item.next, item.prev
        self.c.self.flags &= ~CSS_ONLINE

    def free(self) -> None:
        native = self.fs.native
        native.free(self.cset, _CSET_BYTES)
        native.free(self.task_group, _GROUP_BYTES)
        if native.ptr != ffi.NULL:
            lib.rt_cgroup_put(native.ptr, self.c)
        self.c = self.kn = self.cset = self.task_group = self.memcg = None
        if self.up is not None:
            self.up.put()


class CgroupFs(SuperBlock):
    """The hierarchy as a whole; `kernel.cgroups`."""

    def __init__(self, native: KernelHandle, tasks: Tasks) -> None:
        super().__init__("cgroup2", CGROUP2_MAGIC)
        self.native = native
        self.index = Index(native)  # the same cgroups by id, as kernel functions find them
        self.tasks = tasks
        self.serials = itertools.count(1)
        self._ids = itertools.count(2)
        self._taken: dict[int, Cgroup] = {}
        self.reserved: set[int] = set()  # ids that will be asked for by number
        self.removals = 0
        self.scratch: list[Any] = []
        self.root_c: Any = native.new("struct cgroup_root")
        self.root = self._new("", None, 0o755, 0, 0, 1)
        self.root_c.cgrp = self.root.c
        # Told of "cgroup_mkdir" once a cgroup is there, of "cgroup_rmdir" while it still is: (event, cgroup).
        self.on_change: list[Callable[[str, Cgroup], None]] = []
        self.on_removal: list[Callable[[Cgroup], None]] = []  # told of what goes with a cgroup, also at the kernel's end
        tasks.home = self.root

    def _new(self, name: str, parent: Cgroup | None, mode: int, uid: int, gid: int, kn_id: int | None) -> Cgroup:
        if kn_id is None:
            kn_id = next(i for i in self._ids if i not in self._taken and i not in self.reserved)
        if not 0 < kn_id < 1 << 64:
            raise refuse(errno.EINVAL, f"id {kn_id} is out of range")
        if kn_id in self._taken:
            raise refuse(errno.EEXIST, f"id {kn_id} is taken by {self._taken[kn_id].path}")
        made = Cgroup(self, name, parent, mode, uid, gid, kn_id)
        self._taken[kn_id] = made
        self.index.add(kn_id, made.c)
        return made

    def create(self, path: str, id: int | None = None) -> Cgroup:
        """Make the cgroup at `path` ("/web/api") and the parents that are not there; `id` fixes its kernfs id.

        Raises EEXIST when it exists or the id is taken.
        """
        self._need_open()
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
            if name in (".", "..") or len(os.fsencode(name)) > 255:
                raise refuse(errno.EINVAL, f"cgroup name {name!r}")
            at.check_name(name, creating=True)
            at = self.create_in(at, name, id=id if last else None)
        return at

    def create_in(
        self, parent: Cgroup, name: str, *, mode: int = 0o755, uid: int = 0, gid: int = 0, id: int | None = None
    ) -> Cgroup:
        self._need_open()
        with self.changing:
            return self._create_in(parent, name, mode, uid, gid, id)

    def _need_open(self) -> None:
        if self.native.closed:
            raise refuse(errno.ENODEV, "the kernel has been shut down")

    def _create_in(self, parent: Cgroup, name: str, mode: int, uid: int, gid: int, id: int | None) -> Cgroup:
        if parent.removed:
            raise refuse(errno.ENOENT, f"{name}: the cgroup above has been removed")
        if parent.lookup(name) is not None:
            raise refuse(errno.EEXIST, f"{name}: exists in {parent.path}")
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

    def exists(self, path: str) -> bool:
        try:
            self.find(path)
        except FileNotFoundError:
            return False
        return True

    def by_id(self, kn_id: int) -> Cgroup | None:
        return self._taken.get(kn_id)

    def renumber_root(self, kn_id: int) -> None:
        """The root's id, where it is not Linux's 1 (a hierarchy seen from inside a cgroup namespace)."""
        root = self.root
        del self._taken[root.id]
        self.index.remove(root.id)
        self.index.add(kn_id, root.c)
        root.id = root.ino = root.kn.id = kn_id
        self._taken[kn_id] = root

    def remove(self, cgroup: Cgroup) -> None:
        """rmdir of an empty cgroup, which is the kernel's cgroup_rmdir(). Raises EBUSY while it has children or tasks."""
        with self.changing:
            if cgroup.removed:
                raise refuse(errno.ENOENT, f"cgroup {cgroup.path} has been removed")
            cgroup.get()  # programs at the function's end look at it too
            try:
                self.tasks.traced("cgroup_rmdir", [int(ffi.cast("uintptr_t", cgroup.kn))], lambda: self._remove(cgroup))
            finally:
                cgroup.put()

    def _remove(self, cgroup: Cgroup) -> None:
        if cgroup.up is None or any(True for _ in cgroup.subgroups()) or cgroup.tasks:
            raise refuse(errno.EBUSY, f"cgroup {cgroup.path} has children or tasks")
        for tell in self.on_change:
            tell("cgroup_rmdir", cgroup)
        for let_go in self.on_removal:
            let_go(cgroup)
        self.removals += 1
        parent = cgroup.up
        del self._taken[cgroup.id]
        self.index.remove(cgroup.id)
        cgroup.go_offline()
        at: Cgroup | None = parent
        while at is not None:
            at.c.nr_descendants -= 1
            at = at.up
        parent.remove(cgroup.name)

    def shut_down(self) -> None:
        """The kernel goes: whoever has a file open finds it removed."""
        self.removals += 1
        for cgroup in self:
            for tell in self.on_removal:
                tell(cgroup)
            cgroup.removed = True
            for child in cgroup.children.values():
                if isinstance(child, KernfsFile):
                    child.deactivate()

    def __iter__(self) -> Iterator[Cgroup]:
        return self.root.descendants()
