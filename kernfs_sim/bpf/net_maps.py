"""What maps of devices, CPUs and sockets take from syscalls, and what they show of it (Linux 6.18)."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bpfjit.errors import ENOTSUPP, refuse
from bpfjit.uapi import bpf as uapi
from runtime import ffi

from ..caller import Caller
from ..objects import MapObject, ProgObject
from ..pidfd import TaskFile
from ..sockets import AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP, SOCK_DGRAM, SOCK_STREAM
from .fd import ObjectFile

if TYPE_CHECKING:
    from ..kernel import Kernel

_MOST_QUEUED = 16384
_S32_MAX = (1 << 31) - 1
# What goes into the native map (None: what is there goes), the flags that it decides on, and the program held with it.
Entry = tuple[bytes | None, int, ProgObject | None]


def _slot(m: MapObject, key: bytes, flags: int) -> None:
    """An index in bounds; all slots exist. Raises EINVAL, E2BIG, EEXIST."""
    if flags > uapi.BPF_EXIST:
        raise refuse(errno.EINVAL, f"flags {flags:#x} on map {m.name}")
    if int.from_bytes(key, "little") >= m.max_entries:
        raise refuse(errno.E2BIG, f"map {m.name} has {m.max_entries} entries")
    if flags == uapi.BPF_NOEXIST:
        raise refuse(errno.EEXIST, f"map {m.name}: every entry is there")


def _program(caller: Caller, m: MapObject, fd: int, attach_type: int, error: int) -> ProgObject | None:
    """The XDP program of an entry, by a positive fd. Raises `error` for one of another kind."""
    from .held_maps import claim

    if not 0 < fd <= _S32_MAX:
        return None
    file = caller.fds.find(fd)
    prog = file.object if isinstance(file, ObjectFile) else None
    xdp = isinstance(prog, ProgObject) and prog.program.type.id == uapi.BPF_PROG_TYPE_XDP
    if not isinstance(prog, ProgObject) or not xdp or prog.program.attach_type != attach_type:
        raise refuse(error, f"fd {fd} is no XDP program for entries of a {m.type.name} map")
    try:
        claim(m, prog)
    except OSError as e:
        raise refuse(error, str(e.args[1])) from None
    return prog


def _device(kernel: Kernel, caller: Caller, m: MapObject, key: bytes, value: bytes, flags: int) -> Entry:
    ifindex, fd = int.from_bytes(value[:4], "little"), int.from_bytes(value[4:8], "little")
    hashed = m.type.walk_order == "hash"
    if hashed and (flags > uapi.BPF_EXIST or not ifindex):
        raise refuse(errno.EINVAL, f"flags {flags:#x}, device {ifindex} on map {m.name}")
    if not hashed:
        _slot(m, key, flags)
        flags = uapi.BPF_ANY
    elif flags == uapi.BPF_NOEXIST and m.native.lookup(key) is not None:
        raise refuse(errno.EEXIST, f"map {m.name}: the key is there")
    if not ifindex:
        if 0 < fd <= _S32_MAX:
            raise refuse(errno.EINVAL, f"map {m.name}: a program without a device")
        return None, flags, None
    if caller.namespaces.net_ns(kernel).device_at(ifindex) is None:
        raise refuse(errno.EINVAL, f"map {m.name}: there is no device {ifindex}")
    prog = _program(caller, m, fd, uapi.BPF_XDP_DEVMAP, errno.EINVAL)
    return value[:4] + (prog.id if prog is not None else 0).to_bytes(4, "little"), flags, prog


def _cpu(kernel: Kernel, caller: Caller, m: MapObject, key: bytes, value: bytes, flags: int) -> Entry:
    """Nothing is started: packets do not go to other CPUs here."""
    queued, fd = int.from_bytes(value[:4], "little"), int.from_bytes(value[4:8], "little")
    _slot(m, key, flags)
    if queued > _MOST_QUEUED:
        raise refuse(errno.EOVERFLOW, f"map {m.name}: a queue of {queued}, at most {_MOST_QUEUED}")
    cpu = int.from_bytes(key, "little")
    if cpu >= kernel.native.cpus:
        raise refuse(errno.ENODEV, f"map {m.name}: cpu {cpu}, there are {kernel.native.cpus}")
    if not queued:
        return None, uapi.BPF_ANY, None
    prog = _program(caller, m, fd, uapi.BPF_XDP_CPUMAP, errno.ENOMEM)  # all that goes wrong there is ENOMEM
    return value[:4] + (prog.id if prog is not None else 0).to_bytes(4, "little"), uapi.BPF_ANY, prog


def _socket(caller: Caller, fd: int) -> Any:
    """The struct sock behind an fd. Raises EBADF, ENOTSOCK."""
    file = caller.fds.get(fd)
    sk = file.sock if isinstance(file, TaskFile) else None
    if not sk:
        raise refuse(errno.ENOTSOCK, f"fd {fd} is no socket")
    return sk


def _sock(kernel: Kernel, caller: Caller, m: MapObject, key: bytes, value: bytes, flags: int) -> Entry:
    fd = int.from_bytes(value, "little")
    if fd > _S32_MAX:
        raise refuse(errno.EINVAL, f"map {m.name}: fd {fd:#x}")
    sk = _socket(caller, fd)
    return int(ffi.cast("uintptr_t", sk)).to_bytes(8, "little"), flags, None


def _reuseport(kernel: Kernel, caller: Caller, m: MapObject, key: bytes, value: bytes, flags: int) -> Entry:
    if flags > uapi.BPF_EXIST:
        raise refuse(errno.EINVAL, f"flags {flags:#x} on map {m.name}")
    if int.from_bytes(key, "little") >= m.max_entries:
        raise refuse(errno.E2BIG, f"map {m.name} has {m.max_entries} entries")
    fd = int.from_bytes(value, "little")
    if m.value_size == 8 and fd > _S32_MAX:
        raise refuse(errno.EINVAL, f"map {m.name}: fd {fd:#x}")
    sk = _socket(caller, fd)
    if flags == uapi.BPF_EXIST:
        raise refuse(errno.ENOENT, f"map {m.name}: no such key")
    inet = sk.__sk_common.skc_family in (AF_INET, AF_INET6) and sk.sk_protocol in (IPPROTO_TCP, IPPROTO_UDP)
    if not inet or sk.sk_type not in (SOCK_STREAM, SOCK_DGRAM):
        raise refuse(ENOTSUPP, f"fd {fd} is no TCP or UDP socket")
    raise refuse(errno.EINVAL, f"fd {fd} is no socket with SO_REUSEPORT: here are none")


def _xsk(kernel: Kernel, caller: Caller, m: MapObject, key: bytes, value: bytes, flags: int) -> Entry:
    if flags > uapi.BPF_EXIST:
        raise refuse(errno.EINVAL, f"flags {flags:#x} on map {m.name}")
    if int.from_bytes(key, "little") >= m.max_entries:
        raise refuse(errno.E2BIG, f"map {m.name} has {m.max_entries} entries")
    fd = int.from_bytes(value, "little")
    _socket(caller, fd)
    raise refuse(errno.EOPNOTSUPP, f"fd {fd} is no AF_XDP socket: here are none")


_ENTRIES: dict[str, Callable[[Kernel, Caller, MapObject, bytes, bytes, int], Entry]] = {
    "device": _device,
    "cpu": _cpu,
    "sock": _sock,
    "reuseport": _reuseport,
    "xsk": _xsk,
}
KINDS = frozenset(_ENTRIES)


def lookup(m: MapObject, key: bytes) -> bytes:
    """A device or a queue with its program's id, a socket's cookie. Raises ENOENT, ENOSPC where a cookie has no room."""
    if m.type.holds == "xsk":
        raise refuse(errno.EOPNOTSUPP, f"entries of a {m.type.name} map are not looked at")
    return m.native.read(key)[: m.value_size]


def update(kernel: Kernel, caller: Caller, m: MapObject, key: bytes, value: bytes, flags: int) -> Any:
    """Put an entry in; the program that was held with the one before. Raises what Linux says of each kind."""
    native, flags, prog = _ENTRIES[m.type.holds](kernel, caller, m, key, value, flags)
    with m.changing:
        if native is None:
            m.native.delete(key)
        else:
            m.native.update(key, native, flags)
        before = m.held.pop(key, None)
        if prog is not None:
            m.held[key] = prog.get()
    return before
