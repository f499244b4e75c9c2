"""Maps whose values are kernel objects: put in by fd, seen by syscalls as ids, let go of once no program can hold them."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bpfjit.dataclass import replace
from bpfjit.errors import ENOTSUPP, refuse
from bpfjit.program import MapInfo
from bpfjit.uapi import bpf as uapi
from runtime import ffi

from ..caller import Caller
from ..cgroup import Cgroup
from ..objects import MapObject, Object, ProgObject, TailOwner
from ..perf import PerfEvent
from . import net_maps
from .fd import map_of, prog_of

if TYPE_CHECKING:
    from ..kernel import Kernel


def template_of(caller: Caller, inner_fd: int) -> MapInfo:
    """What a map of maps holds, by the map of an fd, which is not kept. Raises EBADF, EINVAL, ENOTSUPP."""
    inner = map_of(caller, inner_fd)
    if inner.template is not None:
        raise refuse(errno.EINVAL, f"map {inner.name} holds maps itself")
    if not inner.type.inner:
        raise refuse(ENOTSUPP, f"a {inner.type.name} map is no inner map")
    return replace(inner.info(), id=0, name="", frozen=False, constant=None, template=True)


def _takes(template: MapInfo, inner: MapObject) -> bool:
    """Whether a map is like the template: an array of another length only where that was allowed for."""
    have = inner.info()
    same = all(getattr(have, part) == getattr(template, part) for part in _SAME)
    sized = template.type.direct and not template.flags & uapi.BPF_F_INNER_MAP
    return same and (not sized or template.max_entries == have.max_entries)


_SAME = ("type", "key_size", "value_size", "flags", "record")


def _map(caller: Caller, m: MapObject, fd: int) -> tuple[Object, Any]:
    inner = map_of(caller, fd)
    assert m.template is not None
    if not _takes(m.template, inner):
        raise refuse(errno.EINVAL, f"map {inner.name} is unlike what map {m.name} holds")
    return inner, inner.native.ptr


def _prog(caller: Caller, m: MapObject, fd: int) -> tuple[Object, Any]:
    prog = prog_of(caller, fd)
    if prog.program.is_extension:
        raise refuse(errno.EINVAL, f"program {prog.id} is an extension, which takes a function's arguments")
    claim(m, prog)
    if prog.replaced:
        raise refuse(errno.EBUSY, f"others stand in the places of functions of program {prog.id}")
    return prog, ffi.cast("void *", prog.native.tail_addr)


def _cgroup(caller: Caller, m: MapObject, fd: int) -> tuple[Any, Any]:
    file = caller.fds.get(fd)
    inode = getattr(file, "inode", None)
    if not isinstance(inode, Cgroup):
        raise refuse(errno.EBADF, f"fd {fd} is no cgroup")
    return inode, inode.c


def _perf_event(caller: Caller, m: MapObject, fd: int) -> tuple[Any, Any]:
    file = caller.fds.get(fd)
    if not isinstance(file, PerfEvent):
        raise refuse(errno.EBADF, f"fd {fd} is no perf event")
    return file, file.c


_RESOLVE: dict[str, Callable[[Caller, MapObject, int], tuple[Any, Any]]] = {
    "map": _map,
    "prog": _prog,
    "cgroup": _cgroup,
    "perf_event": _perf_event,
}


def claim(m: MapObject, prog: ProgObject) -> None:
    """The first program that a map of programs meets says what they must be like. Raises EINVAL for another kind."""
    owner = TailOwner.of(prog)
    if m.type.holds != "prog":  # entries have programs of another attach type than whoever redirects to them
        owner = replace(owner, attach_type=0, attach_name="")
    if m.tail_owner is None:
        m.tail_owner = owner
        return
    if set(owner.storages) <= set(m.tail_owner.storages):
        owner = replace(owner, storages=m.tail_owner.storages)
    if m.tail_owner != owner:
        raise refuse(errno.EINVAL, f"program {prog.name} is unlike the programs of map {m.name}")


def lookup(m: MapObject, key: bytes) -> bytes:
    """The id of what is there. Raises ENOENT, ENOTSUPP for objects without ids."""
    if m.type.holds in net_maps.KINDS:
        return net_maps.lookup(m, key)
    if m.type.holds in ("cgroup", "perf_event"):
        raise refuse(ENOTSUPP, f"what map {m.name} holds has no ids")
    with m.changing:
        found = m.held.get(key)
    if found is None:
        raise refuse(errno.ENOENT, f"map {m.name}: no such key")
    return int(found.id).to_bytes(4, "little")


def update(kernel: Kernel, caller: Caller, m: MapObject, key: bytes, value: bytes, flags: int) -> None:
    """Put in the object of an fd; what was there goes after readers. Raises EBADF, EINVAL, E2BIG, EEXIST, ENOENT."""
    if m.type.holds in net_maps.KINDS:
        _let_go(kernel, net_maps.update(kernel, caller, m, key, value, flags))
        return
    if m.type.walk_order == "index":
        if flags != uapi.BPF_ANY:
            raise refuse(errno.EINVAL, f"flags {flags:#x} on map {m.name}")
        if int.from_bytes(key, "little") >= m.max_entries:
            raise refuse(errno.E2BIG, f"map {m.name} has {m.max_entries} entries")
    obj, pointer = _RESOLVE[m.type.holds](caller, m, int.from_bytes(value, "little"))
    address = int(ffi.cast("uintptr_t", pointer)).to_bytes(8, "little")
    with m.changing:
        m.native.update(key, address, flags)
        before = m.held.pop(key, None)
        m.held[key] = obj.get()
        if m.template is not None:
            m.ever_held.add(obj)
    _let_go(kernel, before)


def delete(kernel: Kernel, m: MapObject, key: bytes) -> None:
    with m.changing:
        m.native.delete(key)
        before = m.held.pop(key, None)
    _let_go(kernel, before)


def clear(kernel: Kernel, m: MapObject) -> None:
    """Everything goes: a prog array whose last fd and pin have gone, or any of these maps at its end."""
    for key in list(m.held):
        delete(kernel, m, key)


def taken(kernel: Kernel, m: MapObject, key: bytes) -> None:
    """An element has been taken out of the native map: its object goes too."""
    with m.changing:
        before = m.held.pop(key, None)
    _let_go(kernel, before)


def _let_go(kernel: Kernel, before: Any) -> None:
    if before is not None:
        kernel.upcalls.after_readers(before)
