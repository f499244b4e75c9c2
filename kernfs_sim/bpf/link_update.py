"""BPF_LINK_UPDATE and BPF_LINK_DETACH."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from bpfjit.errors import refuse
from bpfjit.uapi import bpf as uapi

from ..caller import Caller
from .fd import link_of, prog_of

if TYPE_CHECKING:
    from ..kernel import Kernel


def update(kernel: Kernel, caller: Caller, attr: uapi.LinkUpdate) -> int:
    """Exchange a link's program for one of the same kind and target.

    Raises EINVAL for another target or a link that takes no other program, EPERM where BPF_F_REPLACE names
    another program than the link has.
    """
    if attr.flags & ~uapi.BPF_F_REPLACE:
        raise refuse(errno.EINVAL, f"link update flags {attr.flags:#x}")
    link = link_of(caller, attr.link_fd)
    fresh = prog_of(caller, attr.new_prog_fd)
    if attr.old_prog_fd and not attr.flags & uapi.BPF_F_REPLACE:
        raise refuse(errno.EINVAL, "an old program without BPF_F_REPLACE")
    old = prog_of(caller, attr.old_prog_fd) if attr.flags & uapi.BPF_F_REPLACE else None
    if not link.updatable:
        raise refuse(errno.EINVAL, f"a link to {link.target} keeps its program")
    link.still_attached()
    if old is not None and old is not link.prog:
        raise refuse(errno.EPERM, f"link {link.id} has program {link.prog.id}, not {old.id}")
    link.update(fresh)
    for tell in kernel.on_link_update:
        tell()
    return 0


def detach(kernel: Kernel, caller: Caller, attr: uapi.LinkDetach) -> int:
    """BPF_LINK_DETACH. Raises EOPNOTSUPP for links that stay until their last fd and pin are gone."""
    link_of(caller, attr.link_fd).detach()
    return 0
