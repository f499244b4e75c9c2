"""bpf(2) on many elements of a map: the batch commands, and LOOKUP_AND_DELETE_ELEM."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from bpfjit.errors import ENOTSUPP, refuse
from bpfjit.uapi import bpf as uapi
from runtime import ffi, lib

from ..caller import Caller
from ..objects import MapObject
from . import held_maps
from .fd import map_of
from .maps import check_lock, key_of

if TYPE_CHECKING:
    from ..kernel import Kernel

_END = (1 << 64) - 1
_CHUNK = 1 << 16  # elements that are read from the caller at once


def _begin(caller: Caller, attr: uapi.MapBatch, use: str, *, reading: bool, writing: bool) -> MapObject:
    m = map_of(caller, attr.map_fd, reading=reading, writing=writing)
    if writing and m.frozen:
        raise refuse(errno.EPERM, f"map {m.name} is frozen")
    if use not in m.type.batch:
        raise refuse(ENOTSUPP, f"a {m.type.name} map has no batches of this kind")
    if attr.elem_flags & ~uapi.BPF_F_LOCK:
        raise refuse(errno.EINVAL, f"element flags {attr.elem_flags:#x} of a batch")
    check_lock(m, attr.elem_flags)
    return m


def _place(caller: Caller, m: MapObject, addr: int) -> int:
    """Where a walk goes on. An array's token is the last key, a hash's (4 bytes, as Linux's) is our own."""
    if not addr:
        return 0
    if m.type.walk_order == "hash":
        return int.from_bytes(caller.read(addr, 4), "little")
    at = int(lib.rt_map_seek(m.native.ptr, caller.read(addr, m.key_size)))
    return max(at, 0)


def _read(kernel: Kernel, caller: Caller, attr: uapi.MapBatch, m: MapObject, take: bool) -> int:
    """Walk on from attr.in_batch; ENOENT with the last batch, which is delivered all the same."""
    if attr.flags and m.type.walk_order == "hash":  # the walks of other maps do not look at them
        raise refuse(errno.EINVAL, f"batch flags {attr.flags:#x}")
    wanted, attr.count = attr.count, 0
    if not wanted:
        return 0
    native = m.native
    wanted = min(wanted, m.max_entries + 1)  # no map gives more than it has room for; one more finds the end
    keys = ffi.new("char[]", wanted * m.key_size)
    values = ffi.new("char[]", wanted * native.value_bytes)
    if m.type.walk_order:
        pos = ffi.new("u64 *", _place(caller, m, attr.in_batch))
        n = int(lib.rt_map_read_batch(native.ptr, pos, keys, values, wanted, take, attr.elem_flags))
        if n == wanted and m.type.walk_order == "hash":  # Linux goes on over empty buckets, and so finds the end
            ahead, key = ffi.new("u64 *", pos[0]), ffi.new("char[]", m.key_size)
            value = ffi.new("char[]", native.value_bytes)
            if not lib.rt_map_read_batch(native.ptr, ahead, key, value, 1, False, attr.elem_flags):
                pos[0] = _END
        at_end = pos[0] == _END
        token = min(int(pos[0]), (1 << 32) - 1).to_bytes(4, "little") if m.type.walk_order == "hash" else b""
    else:  # an order of the keys' own
        err = ffi.new("int *")
        prev = ffi.from_buffer(caller.read(attr.in_batch, m.key_size)) if attr.in_batch else ffi.NULL
        n = int(lib.rt_map_read_keys(native.ptr, prev, keys, values, wanted, attr.elem_flags, err))
        at_end, token = bool(err[0]), b""
    if at_end and not n and attr.in_batch:
        raise refuse(errno.ENOENT, f"map {m.name}: the end")
    raw_keys, raw_values = bytes(ffi.buffer(keys, n * m.key_size)), bytes(ffi.buffer(values, n * native.value_bytes))
    if m.type.holds:
        each = [raw_keys[i : i + m.key_size] for i in range(0, len(raw_keys), m.key_size)]
        raw_values = b"".join(held_maps.lookup(m, key) for key in each)
        for key in each if take else ():
            held_maps.taken(kernel, m, key)
    caller.write(attr.keys, raw_keys)
    caller.write(attr.values, raw_values)
    if not token and n:
        token = bytes(ffi.buffer(keys + (n - 1) * m.key_size, m.key_size))
    caller.write(attr.out_batch, token)
    attr.count = n
    if at_end:
        raise refuse(errno.ENOENT, f"map {m.name}: the end")
    return 0


def lookup_batch(kernel: Kernel, caller: Caller, attr: uapi.MapBatch) -> int:
    """BPF_MAP_LOOKUP_BATCH: up to attr.count elements. Raises ENOENT when the walk has come to its end."""
    return _read(kernel, caller, attr, _begin(caller, attr, "lookup", reading=True, writing=False), False)


def lookup_and_delete_batch(kernel: Kernel, caller: Caller, attr: uapi.MapBatch) -> int:
    return _read(kernel, caller, attr, _begin(caller, attr, "take", reading=True, writing=True), True)


def _write(kernel: Kernel, caller: Caller, attr: uapi.MapBatch, m: MapObject, *, delete: bool) -> int:
    if not attr.count:
        return 0
    if m.type.holds:
        return _write_held(kernel, caller, attr, m, delete=delete)
    err, wanted, step = ffi.new("int *"), attr.count, _CHUNK
    attr.count = 0
    while attr.count < wanted:
        n = min(step, wanted - attr.count)
        try:
            keys = caller.read(attr.keys + attr.count * m.key_size, n * m.key_size)
            at = attr.values + attr.count * m.native.value_bytes
            values = ffi.NULL if delete else ffi.from_buffer(caller.read(at, n * m.native.value_bytes))
        except OSError:
            if n == 1:
                raise
            step = n // 2  # all before the element that cannot be read is stored, as one at a time would be
            continue
        done = int(lib.rt_map_write_batch(m.native.ptr, ffi.from_buffer(keys), values, n, attr.elem_flags, err))
        attr.count += done
        if err[0]:
            raise refuse(-err[0], f"map {m.name}: element {attr.count} of a batch")
    return 0


def _write_held(kernel: Kernel, caller: Caller, attr: uapi.MapBatch, m: MapObject, *, delete: bool) -> int:
    wanted, attr.count = attr.count, 0
    for i in range(wanted):
        key = caller.read(attr.keys + i * m.key_size, m.key_size)
        if delete:
            held_maps.delete(kernel, m, key)
        else:
            held_maps.update(kernel, caller, m, key, caller.read(attr.values + 4 * i, 4), attr.elem_flags)
        attr.count += 1
    return 0


def update_batch(kernel: Kernel, caller: Caller, attr: uapi.MapBatch) -> int:
    """BPF_MAP_UPDATE_BATCH: attr.count says how many were stored, also where one is refused (E2BIG)."""
    m = _begin(caller, attr, "update", reading=False, writing=True)
    return _write(kernel, caller, attr, m, delete=False)


def delete_batch(kernel: Kernel, caller: Caller, attr: uapi.MapBatch) -> int:
    m = _begin(caller, attr, "delete", reading=False, writing=True)
    return _write(kernel, caller, attr, m, delete=True)


def lookup_and_delete(kernel: Kernel, caller: Caller, attr: uapi.MapElem) -> int:
    """BPF_MAP_LOOKUP_AND_DELETE_ELEM: the value to attr.value, the element gone. Raises ENOENT, ENOTSUPP."""
    if attr.flags & ~uapi.BPF_F_LOCK:
        raise refuse(errno.EINVAL, f"lookup flags {attr.flags:#x}")
    m = map_of(caller, attr.map_fd, reading=True, writing=True)
    if m.frozen:
        raise refuse(errno.EPERM, f"map {m.name} is frozen")
    check_lock(m, attr.flags)
    key = key_of(caller, m, attr.key)
    if m.type.holds:
        raise refuse(ENOTSUPP, f"elements of a {m.type.name} map are not taken")
    caller.write(attr.value, m.native.take(key, attr.flags))
    return 0
