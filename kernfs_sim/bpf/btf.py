"""BPF_BTF_LOAD."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from bpfjit.btf import parse_btf, struct_records, validate
from bpfjit.errors import BtfError, refuse
from bpfjit.spec.trust import DESTRUCTIBLE
from bpfjit.uapi import bpf as uapi

from ..caller import CAP_BPF, Caller
from ..objects import BtfObject
from .fd import install_new

if TYPE_CHECKING:
    from ..kernel import Kernel

_MAX_BYTES = 16 << 20


def load(kernel: Kernel, caller: Caller, attr: uapi.BtfLoad) -> int:
    """Check BTF and give it an id. Raises EINVAL with the reason in the log, E2BIG past 16 MiB; struct_records()'s too."""
    if attr.btf_flags:
        raise refuse(errno.EINVAL, f"btf_flags {attr.btf_flags:#x}")
    if not caller.cred.capable(CAP_BPF):
        raise refuse(errno.EPERM, "loading BTF wants CAP_BPF")
    if attr.btf_size > _MAX_BYTES:
        raise refuse(errno.E2BIG, f"BTF of {attr.btf_size} bytes, wanted at most {_MAX_BYTES}")
    data = caller.read(attr.btf, attr.btf_size)
    try:
        types = parse_btf(data)
        validate(types)
    except BtfError as e:
        log = kernel.write_log(caller, attr.btf_log_level, attr.btf_log_buf, attr.btf_log_size, f"{e}\n")
        attr.btf_log_true_size = log[0]
        raise refuse(errno.EINVAL, str(e)) from None
    obj = BtfObject(data, types)
    obj.structs = struct_records(types, kernel.btf.types, DESTRUCTIBLE)
    obj.id = kernel.btfs.add(obj)
    obj.on_release = lambda gone: kernel.btfs.remove(gone.id)
    return install_new(caller, obj)
