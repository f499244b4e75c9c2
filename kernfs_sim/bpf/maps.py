"""bpf(2) on maps: creation and single elements."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from bpfjit.errors import ENOTSUPP, refuse
from bpfjit.spec.map_types import MAP_TYPE_BY_ID
from bpfjit.uapi import bpf as uapi
from runtime import Map, lib

from ..caller import CAP_BPF, CAP_SYS_ADMIN, Caller
from ..objects import MapObject
from .fd import btf_of, install, map_of

if TYPE_CHECKING:
    from ..kernel import Kernel

_MAX_ELEMENT = (1 << 22) - 48  # KMALLOC_MAX_SIZE less Linux's own part of a hash element: key and value stay below
_MAX_PERCPU_VALUE = 32 << 10  # PCPU_MIN_UNIT_SIZE
_MAX_VALUE = (1 << 31) - 1
_ACCESS = uapi.BPF_F_RDONLY | uapi.BPF_F_WRONLY
_PROG_ACCESS = uapi.BPF_F_RDONLY_PROG | uapi.BPF_F_WRONLY_PROG
_NO_NODE = (1 << 32) - 1


def object_name(raw: bytes) -> str:
    """A map's or program's name: letters, digits, _ and ., NUL-terminated. Raises EINVAL."""
    name, end, _ = raw.partition(b"\0")  # what stands behind the NUL is nobody's business
    if not end or any(not ((chr(c).isalnum() and c < 128) or chr(c) in "_.") for c in name):
        raise refuse(errno.EINVAL, f"object name {raw!r}")
    return name.decode()


def create(kernel: Kernel, caller: Caller, attr: uapi.MapCreate) -> int:
    """BPF_MAP_CREATE. Raises EINVAL for shapes that the type does not take, E2BIG, ENOMEM, EPERM."""
    if not (caller.cred.may(CAP_BPF) or caller.cred.may(CAP_SYS_ADMIN)):
        raise refuse(errno.EPERM, "creating a map wants CAP_BPF")
    row = MAP_TYPE_BY_ID.get(attr.map_type)
    if row is None:
        raise refuse(errno.EINVAL, f"map type {attr.map_type} is unknown or not simulated yet")
    _check_shape(attr)
    name = object_name(attr.map_name)
    if attr.map_ifindex and row.offload:
        raise refuse(errno.EOPNOTSUPP, f"no device {attr.map_ifindex} takes a {row.name} map")
    exclusive = attr.excl_prog_hash or attr.excl_prog_hash_size
    if attr.map_extra or attr.map_ifindex or attr.btf_vmlinux_value_type_id or exclusive:
        raise refuse(errno.EINVAL, f"a {row.name} map takes no map_extra, device, struct_ops type or exclusive program here")
    if attr.btf_key_type_id and not attr.btf_value_type_id:
        raise refuse(errno.EINVAL, f"key type {attr.btf_key_type_id} without a value type")
    btf = btf_of(caller, attr.btf_fd) if attr.btf_value_type_id else None
    native = Map(
        kernel.native, attr.map_type, attr.key_size, attr.value_size, attr.max_entries, attr.map_flags, attr.map_extra
    )
    m = MapObject(native, row, name)
    if btf is not None:
        m.btf = btf.get()
        m.btf_key_type_id, m.btf_value_type_id = attr.btf_key_type_id, attr.btf_value_type_id
        native.ptr.btf_key_type_id, native.ptr.btf_value_type_id = attr.btf_key_type_id, attr.btf_value_type_id
    native.ptr.name = name.encode()
    m.id = kernel.maps.add(m)
    m.on_release = lambda gone: kernel.maps.remove(gone.id)
    # The new fd allows what the flags leave to syscalls.
    reads, writes = not attr.map_flags & uapi.BPF_F_WRONLY, not attr.map_flags & uapi.BPF_F_RDONLY
    fd = install(caller, m, may_read=reads, may_write=writes)
    m.put()
    return fd


def _check_shape(attr: uapi.MapCreate) -> None:
    row = MAP_TYPE_BY_ID[attr.map_type]
    shape = f"{row.name} map of {attr.max_entries} entries, key {attr.key_size}, value {attr.value_size}"
    if not attr.max_entries or not attr.value_size or not attr.key_size:
        raise refuse(errno.EINVAL, f"{shape}: wanted more than 0 of each")
    if row.key_bytes and attr.key_size != row.key_bytes:
        raise refuse(errno.EINVAL, f"{shape}: wanted a key of {row.key_bytes} bytes")
    if attr.map_flags & row.unsupported_flags:
        raise refuse(ENOTSUPP, f"{shape}: flags {attr.map_flags:#x} are not supported")
    if attr.map_flags & ~row.flags:
        raise refuse(errno.EINVAL, f"{shape}: flags {attr.map_flags:#x}, known are {row.flags:#x}")
    for both in (_ACCESS, _PROG_ACCESS):
        if attr.map_flags & both == both:
            raise refuse(errno.EINVAL, f"{shape}: flags {attr.map_flags:#x} allow neither reading nor writing")
    if attr.map_flags & uapi.BPF_F_NUMA_NODE and attr.numa_node not in ((_NO_NODE,) if row.per_cpu else (0, _NO_NODE)):
        raise refuse(errno.EINVAL, f"{shape}: node {attr.numa_node}, wanted none{'' if row.per_cpu else ' or 0'}")
    if attr.value_size > _MAX_VALUE or (row.walk_order == "hash" and attr.key_size + attr.value_size >= _MAX_ELEMENT):
        raise refuse(errno.E2BIG, f"{shape}: too large an element")
    if row.per_cpu and -(-attr.value_size // 8) * 8 > _MAX_PERCPU_VALUE:
        raise refuse(errno.E2BIG, f"{shape}: wanted at most {_MAX_PERCPU_VALUE} bytes of value")
    if row.walk_order == "hash" and attr.max_entries > 1 << 31:
        raise refuse(errno.E2BIG, f"{shape}: more buckets than 32 bits count")


def _refused(m: MapObject, error: int) -> OSError:
    """What native code said of one element, with the map's name."""
    return refuse(-error, f"map {m.name}: {os.strerror(-error)}")


# The commands on one element are called far more often than others: for a caller in this process each is one native
# call, which copies from and to the addresses that it gave.


def lookup(kernel: Kernel, caller: Caller, map_fd: int, key: int, value: int, flags: int) -> int:
    """BPF_MAP_LOOKUP_ELEM: the value (of every CPU, for per-CPU maps) to `value`. Raises ENOENT."""
    if flags & ~uapi.BPF_F_LOCK:
        raise refuse(errno.EINVAL, f"lookup flags {flags:#x}")
    m = map_of(caller, map_fd, reading=True)
    if flags:
        raise refuse(errno.EINVAL, f"map {m.name} has no spin lock")
    if caller.is_here:
        error = lib.rt_map_lookup_user(m.native.ptr, key, value)
        if error:
            raise _refused(m, error)
        return 0
    found = m.native.lookup(caller.read(key, m.key_size))
    if found is None:
        raise _refused(m, -errno.ENOENT)
    caller.write(value, found)
    return 0


def update(kernel: Kernel, caller: Caller, map_fd: int, key: int, value: int, flags: int) -> int:
    """BPF_MAP_UPDATE_ELEM. Raises EEXIST under BPF_NOEXIST, ENOENT under BPF_EXIST, E2BIG when full, EPERM when frozen."""
    m = map_of(caller, map_fd, writing=True)
    if m.frozen:
        raise refuse(errno.EPERM, f"map {m.name} is frozen")
    if flags & uapi.BPF_F_LOCK:
        raise refuse(errno.EINVAL, f"map {m.name} has no spin lock")
    if caller.is_here:
        error = lib.rt_map_update_user(m.native.ptr, key, value, flags)
        if error:
            raise _refused(m, error)
        return 0
    raw_key = caller.read(key, m.key_size)
    m.native.update(raw_key, caller.read(value, m.native.value_bytes), flags)
    return 0


def delete(kernel: Kernel, caller: Caller, map_fd: int, key: int, value: int, flags: int) -> int:
    m = map_of(caller, map_fd, writing=True)
    if m.frozen:
        raise refuse(errno.EPERM, f"map {m.name} is frozen")
    if caller.is_here:
        error = lib.rt_map_delete_user(m.native.ptr, key)
        if error:
            raise _refused(m, error)
        return 0
    m.native.delete(caller.read(key, m.key_size))
    return 0


def get_next_key(kernel: Kernel, caller: Caller, map_fd: int, key: int, following: int, flags: int) -> int:
    """BPF_MAP_GET_NEXT_KEY: the key after `key` (0: the first) to `following`. Raises ENOENT at the end."""
    m = map_of(caller, map_fd, reading=True)
    if caller.is_here:
        error = lib.rt_map_next_key_user(m.native.ptr, key, following)
        if error:
            raise _refused(m, error)
        return 0
    found = m.native.next_key(caller.read(key, m.key_size) if key else None)
    if found is None:
        raise _refused(m, -errno.ENOENT)
    caller.write(following, found)
    return 0


def freeze(kernel: Kernel, caller: Caller, attr: uapi.MapElem) -> int:
    """BPF_MAP_FREEZE: from now on no syscall writes the map. Raises EPERM for one that is frozen already."""
    m = map_of(caller, attr.map_fd, writing=True)
    if m.frozen:
        raise refuse(errno.EPERM, f"map {m.name} is frozen already")
    m.frozen = True
    m.native.ptr.frozen = True
    return 0
