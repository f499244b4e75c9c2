"""BPF_BTF_LOAD."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from bpfjit.btf import parse_btf, struct_records
from bpfjit.errors import refuse
from bpfjit.spec.trust import DESTRUCTIBLE
from bpfjit.uapi import bpf as uapi

from ..caller import CAP_BPF, Caller
from ..objects import BtfObject
from .fd import install_new, no_token
from .log import UserLog
from .structs import OwnStructs

if TYPE_CHECKING:
    from ..kernel import Kernel
    from .btf_check import BtfLog

_MAX_BYTES = 16 << 20


def load(kernel: Kernel, caller: Caller, attr: uapi.BtfLoad) -> int:
    """Check BTF and give it an id; the log tells all that was looked at. Raises what check() does, and what UserLog does."""
    if attr.btf_flags & ~uapi.BPF_F_TOKEN_FD:
        raise refuse(errno.EINVAL, f"btf_flags {attr.btf_flags:#x}")
    if attr.btf_flags:
        no_token(caller, attr.btf_token_fd)
    if not caller.cred.capable(CAP_BPF):
        raise refuse(errno.EPERM, "loading BTF wants CAP_BPF")
    if attr.btf_size > _MAX_BYTES:
        raise refuse(errno.E2BIG, f"BTF of {attr.btf_size} bytes, wanted at most {_MAX_BYTES}")
    obj = _found_before(kernel, caller, attr) or _checked(kernel, caller, attr)
    publish(kernel, obj)
    return install_new(caller, obj)


def publish(kernel: Kernel, obj: BtfObject) -> None:
    """Sound BTF becomes an object of the kernel, with an id."""
    obj.own = OwnStructs(obj.types, kernel.btf.types, kernel.symbols, obj.structs)
    obj.id = kernel.btfs.add(obj)
    obj.on_release = lambda gone: kernel.btfs.remove(gone.id)


def _found_before(kernel: Kernel, caller: Caller, attr: uapi.BtfLoad) -> BtfObject | None:
    """BTF that was found sound once; None for other, and where a log is to tell of looking at it."""
    log = UserLog(caller, attr.btf_log_level, attr.btf_log_buf, attr.btf_log_size)
    if kernel.kept is None or log.level:
        return None
    try:
        data = caller.read(attr.btf, attr.btf_size)
    except OSError:
        return None
    return BtfObject(data, parse_btf(data)) if kernel.kept.is_sound(data) else None


def _checked(kernel: Kernel, caller: Caller, attr: uapi.BtfLoad) -> BtfObject:
    from .btf_check import BtfLog  # late: most BTF was seen before

    log = UserLog(caller, attr.btf_log_level, attr.btf_log_buf, attr.btf_log_size)
    said = BtfLog(bool(attr.btf_log_level))
    try:
        data = caller.read(attr.btf, attr.btf_size)
        obj = check(kernel, data, said)
    except OSError:
        attr.btf_log_true_size = log.true_size("".join(said.parts))
        log.hand_over()
        raise
    if kernel.kept is not None and not obj.structs:
        kernel.kept.found_sound(data)
    attr.btf_log_true_size = log.true_size("".join(said.parts))
    log.hand_over()
    return obj


def check(kernel: Kernel, data: bytes, log: BtfLog) -> BtfObject:
    """BTF that holds together. Raises EINVAL, ENOTSUPP, EEXIST, E2BIG, ELOOP; struct_records()'s errors too."""
    from .btf_check import Table
    from .btf_resolve import Resolver

    table = Table(data, log)
    table.read()
    Resolver(table).check()
    types = parse_btf(data)
    obj = BtfObject(data, types)
    obj.structs = struct_records(types, kernel.btf.types, DESTRUCTIBLE.keys())
    return obj
