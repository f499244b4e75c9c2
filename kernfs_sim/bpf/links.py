"""Links: attaching programs to tracepoints and views."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from bpfjit.errors import refuse
from bpfjit.spec.targets import VIEW_BY_NAME
from bpfjit.uapi import bpf as uapi

from ..caller import Caller, read_string
from ..objects import LinkObject, ProgObject
from . import iters
from .fd import install_new, prog_of

if TYPE_CHECKING:
    from ..kernel import Kernel


def _new_link(
    kernel: Kernel, caller: Caller, link_type: int, prog: ProgObject, target: str, detach: Callable[[], None]
) -> int:
    link = LinkObject(link_type, prog.get(), prog.program.attach_type, target, detach)
    link.id = kernel.links.add(link)
    link.on_release = lambda gone: kernel.links.remove(gone.id)
    return install_new(caller, link)


def raw_tracepoint_open(kernel: Kernel, caller: Caller, attr: uapi.RawTracepointOpen) -> int:
    """Attach a raw_tp program to the tracepoint named, or a tp_btf program to its own. Raises EINVAL, ENOENT."""
    prog = prog_of(caller, attr.prog_fd)
    if prog.program.type.id == uapi.BPF_PROG_TYPE_TRACING:
        if attr.name or prog.program.attach_type != uapi.BPF_TRACE_RAW_TP:
            raise refuse(errno.EINVAL, f"program {prog.name} does not attach to a raw tracepoint")
        name, link_type = prog.program.attach_name.removeprefix("btf_trace_"), uapi.BPF_LINK_TYPE_TRACING
    elif prog.program.type.id == uapi.BPF_PROG_TYPE_RAW_TRACEPOINT:
        name = read_string(caller, attr.name, 128).decode("utf-8", "replace")
        link_type = uapi.BPF_LINK_TYPE_RAW_TRACEPOINT
    else:
        raise refuse(errno.EINVAL, f"a {prog.program.type.name} program does not attach to a raw tracepoint")
    tracepoint = kernel.tracepoints.get(name)
    if tracepoint is None:
        raise refuse(errno.ENOENT, f"no tracepoint {name!r}")
    addr = prog.native.addr
    tracepoint.attach(addr)
    return _new_link(kernel, caller, link_type, prog, name, lambda: tracepoint.detach(addr))


def create(kernel: Kernel, caller: Caller, attr: uapi.LinkCreate) -> int:
    """BPF_LINK_CREATE for views and tp_btf programs. Raises EINVAL, ENOENT for an unknown view target."""
    prog = prog_of(caller, attr.prog_fd)
    if attr.attach_type != prog.program.attach_type:
        raise refuse(errno.EINVAL, f"attach type {attr.attach_type}, program {prog.name} has {prog.program.attach_type}")
    if attr.flags or attr.target_fd:
        raise refuse(errno.EINVAL, f"link flags {attr.flags:#x}, target fd {attr.target_fd}")
    if attr.attach_type == uapi.BPF_TRACE_VIEW:
        target = prog.program.attach_name.removeprefix("bpf_view_")
        if target not in VIEW_BY_NAME:
            raise refuse(errno.ENOENT, f"no view target {target!r}")
        return _new_link(kernel, caller, uapi.BPF_LINK_TYPE_VIEW, prog, target, lambda: None)
    if attr.attach_type == uapi.BPF_TRACE_RAW_TP:
        return raw_tracepoint_open(kernel, caller, uapi.RawTracepointOpen(prog_fd=attr.prog_fd))
    if attr.attach_type == uapi.BPF_TRACE_ITER:
        return iters.create_link(kernel, caller, attr, prog)
    raise refuse(errno.EINVAL, f"attach type {attr.attach_type} has no links here")
