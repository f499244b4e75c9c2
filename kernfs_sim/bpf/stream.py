"""BPF_PROG_STREAM_READ_BY_FD: what a program wrote to its streams, and what the kernel has to say of it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from bpfjit.uapi import bpf as uapi

from ..caller import Caller, user_of
from .fd import prog_of

if TYPE_CHECKING:
    from ..kernel import Kernel


def read(kernel: Kernel, caller: Caller, attr: uapi.ProgStreamRead) -> int:
    """The bytes read, 0 where nothing waits. Raises EBADF, EINVAL, EFAULT, ENOENT for any stream but stdout and stderr."""
    prog = prog_of(caller, attr.prog_fd)
    take = functools.partial(user_of(caller).write, attr.stream_buf)
    return prog.own.read_stream(attr.stream_id, attr.stream_buf_len, take)
