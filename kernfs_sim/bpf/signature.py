"""Signatures at BPF_PROG_LOAD: over the instructions as submitted, and the contents of the maps of fd_array in order."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from bpfjit.errors import refuse
from bpfjit.uapi import bpf as uapi

from ..caller import Caller, InKernel
from .fd import map_of

if TYPE_CHECKING:
    from ..kernel import Kernel

_MAX_BYTES = 8192  # KMALLOC_MAX_CACHE_SIZE


def check(kernel: Kernel, caller: Caller, attr: uapi.ProgLoad, insns: bytes) -> None:
    """Verify the signature that a load brings; refuse a load without one where the kernel requires it.

    What a running program loads needs none: it has been let in by its own. Raises EINVAL, ENOMEM for bytes that cannot be
    read, EOPNOTSUPP without the means to verify, EBADMSG, ENOPKG, ENOKEY, EKEYREJECTED.
    """
    if not attr.signature:
        if kernel.require_signatures and not isinstance(caller, InKernel):
            raise refuse(errno.EKEYREJECTED, "a program without a signature, and this kernel requires one")
        return
    if attr.signature_size > _MAX_BYTES:
        raise refuse(errno.EINVAL, f"signature of {attr.signature_size} bytes, wanted at most {_MAX_BYTES}")
    trusted = kernel.keyrings.certificates(attr.keyring_id)
    try:
        signature = caller.read(attr.signature, attr.signature_size)
    except OSError:
        raise refuse(errno.ENOMEM, f"signature of {attr.signature_size} bytes cannot be read") from None
    metadata = [_contents(caller, attr.fd_array + 4 * i) for i in range(attr.fd_array_cnt)]
    try:
        import cryptography  # noqa: F401  (an optional dependency)
    except ImportError:
        raise refuse(errno.EOPNOTSUPP, "verifying signatures wants the package 'cryptography'") from None
    from ..pkcs7 import verify

    verify(signature, b"".join((insns, *metadata)), trusted)


def _contents(caller: Caller, addr: int) -> bytes:
    """What a map holds that is signed with the program: one frozen value, which nobody can change any more."""
    m = map_of(caller, int.from_bytes(caller.read(addr, 4), "little"))
    if not m.type.direct or m.max_entries != 1 or not m.frozen:
        raise refuse(errno.EINVAL, f"map {m.name} of a signed program, wanted a frozen array of one element")
    return m.native.lookup(bytes(4)) or b""
