"""Iterators: links of iterator programs to what they walk, and the files that run them."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from bpfjit.errors import refuse
from bpfjit.uapi import bpf as uapi
from runtime import Iter, ffi, lib

from ..caller import Caller
from ..cgroup import Cgroup
from ..fs.inode import OpenFile
from ..objects import LinkObject, MapObject, ProgObject, Told
from .fd import ObjectFile, link_of, map_of

if TYPE_CHECKING:
    from ..kernel import Kernel

_INFO_BYTES = uapi.LAYOUTS["bpf_iter_link_info"].size
MAX_READ_BYTES = 1 << 21


class IterLink(LinkObject):
    """A link to an iterator target: `how` (a struct rt_iter_how) says what a session walks, `subject` keeps it alive."""

    type = uapi.BPF_LINK_TYPE_ITER
    type_name = "iter"
    updatable = True

    def __init__(self, prog: ProgObject, target: str, how: Any, subject: MapObject | Cgroup | None) -> None:
        super().__init__(prog, target)
        self.how = how
        self.subject: Any = subject
        if subject is not None:
            subject.get()

    def fdinfo(self) -> list[tuple[str, object]]:
        return [("target_name", self.target), *_tell(_FDINFO, self).items()]

    def tell(self, info: Told) -> None:
        for field, value in _tell(_INFO_FIELDS, self).items():
            info.put(f"iter.{field}", value)
        info.put_name("iter.target_name", "iter.target_name_len", self.target)

    def let_go(self) -> None:
        if self.subject is not None:
            self.subject.put()


_ORDERS = {
    uapi.BPF_CGROUP_ITER_SELF_ONLY: "self_only",
    uapi.BPF_CGROUP_ITER_DESCENDANTS_PRE: "descendants_pre",
    uapi.BPF_CGROUP_ITER_DESCENDANTS_POST: "descendants_post",
    uapi.BPF_CGROUP_ITER_ANCESTORS_UP: "ancestors_up",
}


def _tell(table: Mapping[str, Callable[[IterLink], dict[str, Any]]], link: IterLink) -> dict[str, Any]:
    tell = table.get(link.target)
    return tell(link) if tell is not None else {}


def _task_fdinfo(link: IterLink) -> dict[str, object]:
    if link.how.tid:
        return {"task_type": "TID", "tid": link.how.tid}
    return {"task_type": "PID", "pid": link.how.tgid} if link.how.tgid else {"task_type": "ALL"}


# What fdinfo and bpf_link_info tell of a link beyond its target's name, by target.
_FDINFO: Mapping[str, Callable[[IterLink], dict[str, Any]]] = {
    "task": _task_fdinfo,
    "bpf_map_elem": lambda link: {"map_id": link.subject.id},
    "cgroup": lambda link: {"cgroup_path": link.subject.path, "order": _ORDERS[link.how.order]},
}
_INFO_FIELDS: Mapping[str, Callable[[IterLink], dict[str, Any]]] = {
    "task": lambda link: {"task.tid": link.how.tid, "task.pid": link.how.tgid},
    "bpf_map_elem": lambda link: {"map.map_id": link.subject.id},
    "cgroup": lambda link: {"cgroup.cgroup_id": link.subject.id, "cgroup.order": link.how.order},
}


class OpenIter(OpenFile):
    """An open iterator: a session of its own, which goes on with the program it began with."""

    seekable = False

    def __init__(self, kernel: Kernel, link: IterLink, flags: int = 0) -> None:
        super().__init__(None, flags)
        self._kernel = kernel
        self._link = link.get()
        self._prog = link.prog.get()
        fn = ffi.cast("rt_prog_fn", self._prog.native.addr)
        self._native = Iter(kernel.native, fn, link.how, next(kernel.sessions))

    def read(self, caller: Caller, size: int) -> bytes:
        if not self.readable:
            raise refuse(errno.EBADF, "file is not open for reading")
        data = self._native.read(min(size, MAX_READ_BYTES), ffi.NULL)
        self._prog.check_fault()
        return data

    def pread(self, caller: Caller, size: int, pos: int) -> bytes:
        raise refuse(errno.ESPIPE, "an iterator has no positions")

    def lseek(self, pos: int) -> int:
        raise refuse(errno.ESPIPE, "an iterator has no positions")

    def write(self, caller: Caller, data: bytes) -> int:
        raise refuse(errno.EBADF, "an iterator cannot be written")

    def release(self) -> None:
        self._native.close()
        self._prog.put()
        self._link.put()


class _Info:
    """The caller's union bpf_iter_link_info; empty when none was given."""

    def __init__(self, caller: Caller, attr: uapi.LinkCreate) -> None:
        if bool(attr.iter_info) != bool(attr.iter_info_len):
            raise refuse(errno.EINVAL, f"iter_info of {attr.iter_info_len} bytes at {attr.iter_info:#x}")
        data = caller.read(attr.iter_info, min(attr.iter_info_len, 4096)) if attr.iter_info else b""
        if attr.iter_info_len > _INFO_BYTES and any(data[_INFO_BYTES:]):
            raise refuse(errno.E2BIG, f"iter_info of {attr.iter_info_len} bytes, known are {_INFO_BYTES}")
        self.given = bool(data)
        self._data = data[:_INFO_BYTES].ljust(_INFO_BYTES, b"\0")

    def __getitem__(self, field: str) -> int:
        offset, size = uapi.LAYOUTS["bpf_iter_link_info"].fields[field]
        return int.from_bytes(self._data[offset : offset + size], "little")


_Walk = tuple[Any, MapObject | Cgroup | None]


def _how(kind: int, subject: Any, **rest: int) -> Any:
    how = ffi.new("struct rt_iter_how *")
    how.kind, how.subject = kind, subject
    for name, value in rest.items():
        setattr(how, name, value)
    return how


def _task(kernel: Kernel, caller: Caller, info: _Info, prog: ProgObject) -> _Walk:
    tid, pid, pid_fd = info["task.tid"], info["task.pid"], info["task.pid_fd"]
    if (tid != 0) + (pid != 0) + (pid_fd != 0) > 1:
        raise refuse(errno.EINVAL, f"tid {tid}, pid {pid}, pid_fd {pid_fd}: wanted one of them")
    if pid_fd:
        raise refuse(errno.EBADF, f"pid_fd {pid_fd}: there are no pidfds here")
    return _how(lib.RT_ITER_TASK, kernel.tasks.index.ptr, tid=tid, tgid=pid), None


def _cgroup(kernel: Kernel, caller: Caller, info: _Info, prog: ProgObject) -> _Walk:
    if not info.given:
        raise refuse(errno.EINVAL, "a cgroup iterator wants an order")
    fd, kn_id, order = info["cgroup.cgroup_fd"], info["cgroup.cgroup_id"], info["cgroup.order"]
    if not uapi.BPF_CGROUP_ITER_SELF_ONLY <= order <= uapi.BPF_CGROUP_ITER_ANCESTORS_UP:
        raise refuse(errno.EINVAL, f"cgroup order {order}, wanted 1 to 4")
    if fd and kn_id:
        raise refuse(errno.EINVAL, "cgroup_fd and cgroup_id are both given")
    cgroup: Cgroup | None = kernel.cgroups.root
    if fd:
        file = caller.fds.get(fd)
        inode = getattr(file, "inode", None)
        if not isinstance(inode, Cgroup):
            raise refuse(errno.EBADF, f"fd {fd} is no cgroup")
        cgroup = inode
    elif kn_id:
        cgroup = kernel.cgroups.by_id(kn_id)
        if cgroup is None:
            raise refuse(errno.ENOENT, f"no cgroup with id {kn_id}")
    assert cgroup is not None
    return _how(lib.RT_ITER_CGROUP, cgroup.c, order=order), cgroup


def _bpf_map(kernel: Kernel, caller: Caller, info: _Info, prog: ProgObject) -> _Walk:
    return _how(lib.RT_ITER_BPF_MAP, kernel.map_index.ptr), None


def _bpf_map_elem(kernel: Kernel, caller: Caller, info: _Info, prog: ProgObject) -> _Walk:
    fd = info["map.map_fd"]
    if not fd:
        raise refuse(errno.EBADF, "a map element iterator wants a map")
    file = caller.fds.get(fd)
    if not isinstance(file, ObjectFile):
        raise refuse(errno.EINVAL, f"fd {fd} is no BPF map")
    m = map_of(caller, fd)
    if not m.type.walk_order:
        raise refuse(errno.EINVAL, f"elements of a {m.type.name} map cannot be walked")
    facts = prog.verified.facts
    if facts.max_rdonly_access > m.key_size or facts.max_rdwr_access > m.native.value_bytes:
        reach = f"{facts.max_rdonly_access} bytes of key and {facts.max_rdwr_access} of value"
        raise refuse(errno.EACCES, f"program {prog.name} reaches {reach}, map {m.name} has less")
    return _how(lib.RT_ITER_BPF_MAP_ELEM, m.native.ptr), m


_TARGETS: dict[str, Callable[[Kernel, Caller, _Info, ProgObject], _Walk]] = {
    "task": _task,
    "cgroup": _cgroup,
    "bpf_map": _bpf_map,
    "bpf_map_elem": _bpf_map_elem,
}


def new_link(kernel: Kernel, caller: Caller, attr: uapi.LinkCreate, prog: ProgObject) -> IterLink:
    """The link of an iterator program. Raises EINVAL, EBADF, ENOENT, EACCES as the target's parameters are."""
    target = prog.program.attach_name.removeprefix("bpf_iter_")
    how, subject = _TARGETS[target](kernel, caller, _Info(caller, attr), prog)
    return IterLink(prog, target, how, subject)


def create(kernel: Kernel, caller: Caller, attr: uapi.IterCreate) -> int:
    """BPF_ITER_CREATE: an open iterator over what the link walks. Raises EINVAL for other links."""
    if attr.flags:
        raise refuse(errno.EINVAL, f"iterator flags {attr.flags:#x}")
    link = link_of(caller, attr.link_fd)
    if not isinstance(link, IterLink):
        raise refuse(errno.EINVAL, f"link {link.id} is no iterator's")
    return caller.fds.install(OpenIter(kernel, link))
