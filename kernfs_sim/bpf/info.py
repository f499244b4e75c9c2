"""Finding objects by id and telling about them: NEXT_ID, FD_BY_ID, OBJ_GET_INFO_BY_FD."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from bpfjit.errors import refuse
from bpfjit.uapi import bpf as uapi

from ..caller import CAP_SYS_ADMIN, Caller, Cred
from ..idr import Idr
from ..objects import BtfObject, LinkObject, MapObject, ProgObject
from . import prog_info
from .fd import ObjectFile, install, no_token

if TYPE_CHECKING:
    from ..kernel import Kernel

_MAX_INFO = 4096  # a page
_ACCESS = uapi.BPF_F_RDONLY | uapi.BPF_F_WRONLY


def _need_admin(caller: Caller) -> None:
    if not caller.cred.may(CAP_SYS_ADMIN):
        raise refuse(errno.EPERM, "ids want CAP_SYS_ADMIN")


def _next(idr: Idr[Any], caller: Caller, attr: uapi.GetId) -> int:
    if attr.start_id >= 1 << 31:
        raise refuse(errno.EINVAL, f"start id {attr.start_id}")
    _need_admin(caller)
    found = idr.next_after(attr.start_id)
    if found is None:
        raise refuse(errno.ENOENT, f"no id above {attr.start_id}")
    attr.next_id = found
    return 0


def next_prog(kernel: Kernel, caller: Caller, attr: uapi.GetId) -> int:
    return _next(kernel.progs, caller, attr)


def next_map(kernel: Kernel, caller: Caller, attr: uapi.GetId) -> int:
    return _next(kernel.maps, caller, attr)


def next_btf(kernel: Kernel, caller: Caller, attr: uapi.GetId) -> int:
    return _next(kernel.btfs, caller, attr)


def next_link(kernel: Kernel, caller: Caller, attr: uapi.GetId) -> int:
    return _next(kernel.links, caller, attr)


def _by_id(idr: Idr[Any], caller: Caller, attr: uapi.GetId, *, may_read: bool = True, may_write: bool = True) -> int:
    _need_admin(caller)
    found = idr.hold(attr.start_id)
    if found is None:
        raise refuse(errno.ENOENT, f"no object with id {attr.start_id}")
    try:
        return install(caller, found, may_read=may_read, may_write=may_write)
    finally:
        found.put()


def prog_by_id(kernel: Kernel, caller: Caller, attr: uapi.GetId) -> int:
    return _by_id(kernel.progs, caller, attr)


def map_by_id(kernel: Kernel, caller: Caller, attr: uapi.GetId) -> int:
    if attr.open_flags & ~_ACCESS or attr.open_flags == _ACCESS:
        raise refuse(errno.EINVAL, f"open flags {attr.open_flags:#x}")
    reads, writes = attr.open_flags != uapi.BPF_F_WRONLY, attr.open_flags != uapi.BPF_F_RDONLY
    return _by_id(kernel.maps, caller, attr, may_read=reads, may_write=writes)


def btf_by_id(kernel: Kernel, caller: Caller, attr: uapi.GetId) -> int:
    if attr.open_flags & ~uapi.BPF_F_TOKEN_FD:
        raise refuse(errno.EINVAL, f"open flags {attr.open_flags:#x}")
    if attr.open_flags:
        no_token(caller, attr.fd_by_id_token_fd)
    return _by_id(kernel.btfs, caller, attr)


def link_by_id(kernel: Kernel, caller: Caller, attr: uapi.GetId) -> int:
    return _by_id(kernel.links, caller, attr)


# -- info ------------------------------------------------------------------------------------------


class Info:
    """One info structure being filled; what the caller passed in is there to be read."""

    def __init__(self, caller: Caller, struct: str, given: bytes, opener: Cred) -> None:
        self.caller = caller
        self.opener = opener
        self.layout = uapi.LAYOUTS[struct]
        self.given = given.ljust(self.layout.size, b"\0")
        self.data = bytearray(self.layout.size)
        self.incomplete: OSError | None = None  # raised after what there is has been written

    def asked(self, field: str) -> int:
        offset, size = self.layout.fields[field]
        return int.from_bytes(self.given[offset : offset + size], "little")

    def put(self, field: str, value: int | bytes) -> None:
        offset, size = self.layout.fields[field]
        raw = value if isinstance(value, bytes) else value.to_bytes(size, "little")
        self.data[offset : offset + min(size, len(raw))] = raw[:size]

    def put_name(self, pointer: str, length: str, name: str) -> None:
        """A name into the caller's buffer: cut and NUL-terminated, and ENOSPC, where it does not fit."""
        room, addr = self.asked(length), self.asked(pointer)
        raw = name.encode() + b"\0"
        self.put(pointer, addr)
        self.put(length, len(raw))
        if bool(room) != bool(addr):
            raise refuse(errno.EINVAL, f"a name buffer of {room} bytes at {addr:#x}")
        if addr:
            self.caller.write(addr, raw if len(raw) <= room else raw[: room - 1] + b"\0")
            if len(raw) > room:
                raise refuse(errno.ENOSPC, f"name of {len(raw)} bytes, room for {room}")


def get_info(kernel: Kernel, caller: Caller, attr: uapi.GetInfo) -> int:
    """BPF_OBJ_GET_INFO_BY_FD: fills what fits of the kind's structure and says how much that was."""
    file = caller.fds.find(attr.bpf_fd)
    if file is None:
        raise refuse(errno.EBADFD, f"fd {attr.bpf_fd} is not open")  # not EBADF, in this command alone
    if not isinstance(file, ObjectFile):
        raise refuse(errno.EINVAL, f"fd {attr.bpf_fd} is no BPF object")
    if attr.info_len > _MAX_INFO:
        raise refuse(errno.E2BIG, f"info of {attr.info_len} bytes, wanted at most {_MAX_INFO}")
    struct, fill = next((struct, fill) for kind, struct, fill in _INFOS if isinstance(file.object, kind))
    size = uapi.LAYOUTS[struct].size
    given = caller.read(attr.info, attr.info_len)
    if attr.info_len > size and any(given[size:]):
        raise refuse(errno.E2BIG, f"info of {attr.info_len} bytes, known are {size}")
    info = Info(caller, struct, given[:size], file.cred)
    fill(kernel, info, file.object)
    length = min(attr.info_len, size)
    caller.write(attr.info, bytes(info.data[:length]))
    attr.info_len = length
    if info.incomplete is not None:
        raise info.incomplete
    return 0


def _map(kernel: Kernel, info: Info, m: MapObject) -> None:
    info.put("type", m.type.id)
    info.put("id", m.id)
    info.put("key_size", m.key_size)
    info.put("value_size", m.value_size)
    info.put("max_entries", m.max_entries)
    info.put("map_flags", m.flags)
    info.put("map_extra", m.extra)
    info.put("name", m.name.encode())
    if m.btf is not None:
        info.put("btf_id", m.btf.id)
        info.put("btf_key_type_id", m.btf_key_type_id)
        info.put("btf_value_type_id", m.btf_value_type_id)


def _btf(kernel: Kernel, info: Info, btf: BtfObject) -> None:
    room, addr = info.asked("btf_size"), info.asked("btf")
    info.put("btf", addr)
    info.put("btf_size", len(btf.data))
    if addr and room:
        info.caller.write(addr, btf.data[:room])
    info.put("id", btf.id)
    info.put("kernel_btf", int(btf.is_kernel))
    try:
        info.put_name("name", "name_len", btf.name)
    except OSError as e:
        if e.errno != errno.ENOSPC:
            raise
        info.incomplete = e
    info.put("name_len", len(btf.name.encode()))  # without its NUL, unlike a tracepoint's


def _link(kernel: Kernel, info: Info, link: LinkObject) -> None:
    info.put("type", link.type)
    info.put("id", link.id)
    info.put("prog_id", link.prog.id)
    link.tell(info)


_INFOS: tuple[tuple[type, str, Any], ...] = (
    (MapObject, "bpf_map_info", _map),
    (ProgObject, "bpf_prog_info", prog_info.fill),
    (BtfObject, "bpf_btf_info", _btf),
    (LinkObject, "bpf_link_info", _link),
)
