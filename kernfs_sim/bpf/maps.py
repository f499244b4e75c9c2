"""bpf(2) on maps: creation and single elements."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from bpfjit.btf import NO_FIELDS, Special
from bpfjit.errors import ENOTSUPP, refuse
from bpfjit.spec.kinds import MapType
from bpfjit.spec.map_types import MAP_TYPE_BY_ID
from bpfjit.spec.privileges import NET_ADMIN_MAPS, UNPRIVILEGED_MAPS
from bpfjit.uapi import bpf as uapi
from runtime import Map, lib

from ..caller import CAP_BPF, CAP_NET_ADMIN, Caller
from ..objects import CALLING_BACK, MapObject
from . import held_maps, map_btf, storage
from .fd import btf_of, install, map_of, no_token

if TYPE_CHECKING:
    from ..kernel import Kernel

_ACCESS = uapi.BPF_F_RDONLY | uapi.BPF_F_WRONLY
_PROG_ACCESS = uapi.BPF_F_RDONLY_PROG | uapi.BPF_F_WRONLY_PROG
_NO_NODE = (1 << 32) - 1
_SHA256_BYTES = 32


def object_name(raw: bytes) -> str:
    """A map's or program's name: letters, digits, _ and ., NUL-terminated. Raises EINVAL."""
    name, end, _ = raw.partition(b"\0")  # what stands behind the NUL is nobody's business
    if not end or any(not ((chr(c).isalnum() and c < 128) or chr(c) in "_.") for c in name):
        raise refuse(errno.EINVAL, f"object name {raw!r}")
    return name.decode()


def create(kernel: Kernel, caller: Caller, attr: uapi.MapCreate) -> int:
    """BPF_MAP_CREATE. Raises EINVAL for shapes that the type does not take, E2BIG, ENOMEM, EPERM."""
    row = MAP_TYPE_BY_ID.get(attr.map_type) if attr.map_type <= kernel.profile.map_type else None
    if row is None:
        raise refuse(errno.EINVAL, f"map type {attr.map_type} is unknown or not simulated yet")
    known = kernel.profile.map_flags
    if attr.map_flags & ~known:
        raise refuse(errno.EINVAL, f"map_flags {attr.map_flags:#x}, Linux {kernel.profile.name} knows {known:#x}")
    by_token = attr.map_flags & uapi.BPF_F_TOKEN_FD
    attr.map_flags &= ~uapi.BPF_F_TOKEN_FD
    _check_shape(row, attr)
    if by_token:
        no_token(caller, attr.map_token_fd)
    open_to_all = not kernel.unprivileged_bpf_disabled and attr.map_type in UNPRIVILEGED_MAPS
    for_net = attr.map_type in NET_ADMIN_MAPS and not kernel.unprivileged_bpf_disabled
    if not open_to_all and not for_net and not caller.cred.capable(CAP_BPF):
        raise refuse(errno.EPERM, f"creating a {row.name} map wants CAP_BPF")
    if attr.map_type in NET_ADMIN_MAPS and not caller.cred.capable(CAP_NET_ADMIN):
        raise refuse(errno.EPERM, f"creating a {row.name} map wants CAP_NET_ADMIN")
    name = object_name(attr.map_name)
    if attr.map_ifindex and row.offload:
        raise refuse(errno.EOPNOTSUPP, f"no device {attr.map_ifindex} takes a {row.name} map")
    if attr.map_ifindex or attr.btf_vmlinux_value_type_id:
        raise refuse(errno.EINVAL, f"a {row.name} map takes no device or struct_ops type here")
    exclusive_to = _exclusive_to(caller, attr)
    if attr.btf_key_type_id and not attr.btf_value_type_id:
        raise refuse(errno.EINVAL, f"key type {attr.btf_key_type_id} without a value type")
    template = held_maps.template_of(caller, attr.inner_map_fd) if row.holds == "map" else None
    btf = btf_of(caller, attr.btf_fd) if attr.btf_value_type_id else None
    record = map_btf.check(kernel, row, attr, btf) if btf is not None else NO_FIELDS
    native = Map(
        kernel.native,
        attr.map_type,
        attr.key_size,
        attr.value_size,
        attr.max_entries,
        attr.map_flags | row.implied_flags,
        attr.map_extra,
        on_node=bool(attr.map_flags & uapi.BPF_F_NUMA_NODE) and attr.numa_node != _NO_NODE,
        fields=btf.own.fields(record) if btf is not None and btf.own is not None else (),
    )
    m = MapObject(native, row, name, record)
    m.exclusive_to = exclusive_to
    m.template = template
    if row.holds == "prog" or (row.holds == "perf_event" and not attr.map_flags & uapi.BPF_F_PRESERVE_ELEMS):
        m.on_last_user = lambda unused: held_maps.clear(kernel, unused)
    elif record.kinds & CALLING_BACK:
        m.on_last_user = lambda unused: _forget_callers(kernel, unused)
    if btf is not None:
        m.btf = btf.get()
        m.btf_key_type_id, m.btf_value_type_id = attr.btf_key_type_id, attr.btf_value_type_id
        native.ptr.btf_key_type_id, native.ptr.btf_value_type_id = attr.btf_key_type_id, attr.btf_value_type_id
    native.ptr.name = name.encode()
    m.id = kernel.maps.add(m)
    m.on_release = lambda gone: _forget(kernel, gone)
    # The new fd allows what the flags leave to syscalls.
    reads, writes = not attr.map_flags & uapi.BPF_F_WRONLY, not attr.map_flags & uapi.BPF_F_RDONLY
    fd = install(caller, m, may_read=reads, may_write=writes)
    m.put()
    return fd


def _forget_callers(kernel: Kernel, m: MapObject) -> None:
    """Nobody has the map any more: its timers are gone, and arm no more. One may just be calling."""
    callers, m.callers = m.callers, []
    for code in callers:
        kernel.upcalls.after_readers(code)


def _forget(kernel: Kernel, m: MapObject) -> None:
    kernel.maps.remove(m.id)
    held_maps.clear(kernel, m)


def _exclusive_to(caller: Caller, attr: uapi.MapCreate) -> bytes:
    """The digest of the one program that may use the map, empty for all. Raises EINVAL for no SHA-256, EFAULT."""
    if not attr.excl_prog_hash and not attr.excl_prog_hash_size:
        return b""
    if not attr.excl_prog_hash or attr.excl_prog_hash_size != _SHA256_BYTES:
        raise refuse(errno.EINVAL, f"exclusive program's hash of {attr.excl_prog_hash_size} bytes, wanted {_SHA256_BYTES}")
    return caller.read(attr.excl_prog_hash, _SHA256_BYTES)


def _check_shape(row: MapType, attr: uapi.MapCreate) -> None:
    flags = attr.map_flags
    shape = f"{row.name} map of {attr.max_entries} entries, key {attr.key_size}, value {attr.value_size}"
    sizes = (("key", attr.key_size, row.key, row.keys), ("value", attr.value_size, row.value, row.values))
    for what, size, (low, high), only in sizes:
        if not low <= size <= high or (only and size not in only):
            wanted = " or ".join(map(str, sorted(only))) if only else f"{low} to {high}"
            raise refuse(errno.EINVAL, f"{shape}: wanted a {what} of {wanted} bytes")
    if row.owner and not (attr.btf_key_type_id and attr.btf_value_type_id):
        raise refuse(errno.EINVAL, f"{shape}: wanted BTF of key and value")
    if not row.entries[1] and attr.max_entries:
        raise refuse(errno.EINVAL, f"{shape}: wanted no number of entries")
    if row.ring and attr.max_entries & (attr.max_entries - 1):
        raise refuse(errno.EINVAL, f"{shape}: wanted a power of two")
    if attr.max_entries < row.entries[0]:
        raise refuse(errno.EINVAL, f"{shape}: wanted at least {row.entries[0]} entries")
    if flags & ~(row.flags | row.unsupported_flags) or flags & row.required_flags != row.required_flags:
        raise refuse(errno.EINVAL, f"{shape}: flags {flags:#x}, known are {row.flags:#x}, wanted {row.required_flags:#x}")
    for both in (_ACCESS, _PROG_ACCESS):
        if flags & both == both:
            raise refuse(errno.EINVAL, f"{shape}: flags {flags:#x} allow neither reading nor writing")
    if attr.map_extra & ~row.extra:
        raise refuse(errno.EINVAL, f"{shape}: map_extra {attr.map_extra:#x}, known are {row.extra:#x}")
    if flags & row.unsupported_flags:
        raise refuse(ENOTSUPP, f"{shape}: flags {flags:#x} are not supported")
    # A map that has all its elements from the start, or lists of its own for every CPU.
    every_node = (row.per_cpu and bool(row.entries[1])) or bool(flags & uapi.BPF_F_NO_COMMON_LRU)
    if flags & uapi.BPF_F_NUMA_NODE and attr.numa_node not in ((_NO_NODE,) if every_node else (0, _NO_NODE)):
        raise refuse(errno.EINVAL, f"{shape}: node {attr.numa_node}, wanted none{'' if every_node else ' or 0'}")
    if row.max_element and attr.key_size + attr.value_size >= row.max_element:
        raise refuse(errno.E2BIG, f"{shape}: too large an element")
    if (-(-attr.value_size // 8) * 8 if row.per_cpu else attr.value_size) > row.max_value:
        raise refuse(errno.E2BIG, f"{shape}: wanted at most {row.max_value} bytes of value")
    if attr.key_size > row.max_key:
        raise refuse(errno.E2BIG, f"{shape}: wanted at most {row.max_key} bytes of key")
    if attr.max_entries > row.entries[1]:
        raise refuse(errno.E2BIG, f"{shape}: wanted at most {row.entries[1]} entries")


def key_of(caller: Caller, m: MapObject, addr: int) -> bytes:
    """The caller's key. Raises EINVAL for one where the map has none."""
    if not m.key_size and addr:
        raise refuse(errno.EINVAL, f"a {m.type.name} map has no keys")
    key = caller.read(addr, m.key_size) if m.key_size else b""
    return storage.key_of(caller, m, key) if m.type.owner else key


def check_lock(m: MapObject, flags: int) -> None:
    """BPF_F_LOCK wants a lock in the value. Raises EINVAL."""
    if flags & uapi.BPF_F_LOCK and m.record.one(Special.SPIN_LOCK) is None:
        raise refuse(errno.EINVAL, f"map {m.name} has no spin lock")


def _done(m: MapObject, error: int) -> int:
    """0, or what native code said of one element, with the map's name."""
    if error:
        raise refuse(-error, f"map {m.name}: {os.strerror(-error)}")
    return 0


# The commands on one element are called far more often than others: for a caller in this process each is one native
# call, which copies from and to the addresses that it gave.


def lookup(kernel: Kernel, caller: Caller, map_fd: int, key: int, value: int, flags: int) -> int:
    """BPF_MAP_LOOKUP_ELEM: the value (of every CPU, for per-CPU maps) to `value`. Raises ENOENT."""
    if flags & ~uapi.BPF_F_LOCK:
        raise refuse(errno.EINVAL, f"lookup flags {flags:#x}")
    m = map_of(caller, map_fd, reading=True)
    if flags:
        check_lock(m, flags)
    if m.type.holds:
        caller.write(value, held_maps.lookup(m, key_of(caller, m, key)))
        return 0
    if caller.is_here and not m.type.owner:
        return _done(m, lib.rt_map_lookup_user(m.native.ptr, key, value, flags))
    given = caller.read(value, m.native.value_bytes) if m.type.tests else b""
    caller.write(value, m.native.read(key_of(caller, m, key), flags, given))
    return 0


def update(kernel: Kernel, caller: Caller, map_fd: int, key: int, value: int, flags: int) -> int:
    """BPF_MAP_UPDATE_ELEM. Raises EEXIST under BPF_NOEXIST, ENOENT under BPF_EXIST, E2BIG when full, EPERM when frozen."""
    m = map_of(caller, map_fd, writing=True)
    if m.frozen:
        raise refuse(errno.EPERM, f"map {m.name} is frozen")
    if flags & uapi.BPF_F_LOCK:
        check_lock(m, flags)
    if m.type.holds:
        held_maps.update(kernel, caller, m, key_of(caller, m, key), caller.read(value, m.value_size), flags)
        return 0
    if caller.is_here and not m.type.owner:
        return _done(m, lib.rt_map_update_user(m.native.ptr, key, value, flags))
    raw_key = key_of(caller, m, key)
    m.native.update(raw_key, caller.read(value, m.native.value_bytes), flags)
    return 0


def delete(kernel: Kernel, caller: Caller, map_fd: int, key: int, value: int, flags: int) -> int:
    """BPF_MAP_DELETE_ELEM. Raises ENOENT, or what a type without it answers."""
    m = map_of(caller, map_fd, writing=True)
    if m.frozen:
        raise refuse(errno.EPERM, f"map {m.name} is frozen")
    if m.type.holds:
        held_maps.delete(kernel, m, key_of(caller, m, key))
        return 0
    if caller.is_here and not m.type.owner:
        return _done(m, lib.rt_map_delete_user(m.native.ptr, key))
    m.native.delete(key_of(caller, m, key))
    return 0


def get_next_key(kernel: Kernel, caller: Caller, map_fd: int, key: int, following: int, flags: int) -> int:
    """BPF_MAP_GET_NEXT_KEY: the key after `key` (0: the first) to `following`. Raises ENOENT at the end."""
    m = map_of(caller, map_fd, reading=True)
    if caller.is_here:
        return _done(m, lib.rt_map_next_key_user(m.native.ptr, key, following))
    found = m.native.next_key(key_of(caller, m, key) if key else None)
    if found is None:
        return _done(m, -errno.ENOENT)
    caller.write(following, found)
    return 0


def freeze(kernel: Kernel, caller: Caller, attr: uapi.MapElem) -> int:
    """BPF_MAP_FREEZE: from now on no syscall writes the map. Raises EPERM for one that is frozen already."""
    m = map_of(caller, attr.map_fd, writing=True)
    if m.written_through:
        raise refuse(errno.EBUSY, f"map {m.name} is mapped for writing")
    if m.frozen:
        raise refuse(errno.EPERM, f"map {m.name} is frozen already")
    m.frozen = True
    m.native.ptr.frozen = True
    return 0
