"""Links: attaching programs to tracepoints and views."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from bpfjit.errors import refuse
from bpfjit.spec.cgroup_progs import CGROUP_PROG_TYPES
from bpfjit.uapi import bpf as uapi
from runtime import Tracepoint

from ..caller import Caller, read_string, user_of
from ..objects import LinkObject, ProgObject, Told
from . import cgroup_attach, iters
from .fd import install_new, prog_of

if TYPE_CHECKING:
    from ..kernel import Kernel


_CGROUP_TYPES = {row.id for row in CGROUP_PROG_TYPES}


class ViewLink(LinkObject):
    type = uapi.BPF_LINK_TYPE_VIEW
    type_name = "view"
    updatable = True

    def fdinfo(self) -> list[tuple[str, object]]:
        return [("attach_target", self.target)]


class RawTpLink(LinkObject):
    """A raw_tp or tp_btf program at a tracepoint."""

    type = uapi.BPF_LINK_TYPE_RAW_TRACEPOINT
    type_name = "raw_tracepoint"

    def __init__(self, prog: ProgObject, name: str, tracepoint: Tracepoint, cookie: int) -> None:
        tracepoint.attach(prog.native.addr)
        super().__init__(prog, name)
        self._tracepoint = tracepoint
        self.cookie = cookie

    def fdinfo(self) -> list[tuple[str, object]]:
        return [("tp_name", self.target), ("cookie", self.cookie)]

    def tell(self, info: Told) -> None:
        info.put("raw_tracepoint.cookie", self.cookie)
        info.put_name("raw_tracepoint.tp_name", "raw_tracepoint.tp_name_len", self.target)

    def let_go(self) -> None:
        self._tracepoint.detach(self.prog.native.addr)


def publish(kernel: Kernel, caller: Caller, link: LinkObject) -> int:
    """A new link gets its id and an fd, which takes over its reference."""
    link.id = kernel.links.add(link)
    link.on_release = lambda gone: kernel.links.remove(gone.id)
    return install_new(caller, link)


def raw_tracepoint_open(kernel: Kernel, caller: Caller, attr: uapi.RawTracepointOpen) -> int:
    """Attach a raw_tp program to the tracepoint named, or a tp_btf program to its own. Raises EINVAL, ENOENT."""
    prog = prog_of(caller, attr.prog_fd)
    if prog.program.type.id == uapi.BPF_PROG_TYPE_TRACING:
        if attr.name or prog.program.attach_type != uapi.BPF_TRACE_RAW_TP:
            raise refuse(errno.EINVAL, f"program {prog.name} does not attach to a raw tracepoint")
        name = prog.program.attach_name.removeprefix("btf_trace_")
    elif prog.program.type.id == uapi.BPF_PROG_TYPE_RAW_TRACEPOINT:
        name = read_string(user_of(caller), attr.name, 128).decode("utf-8", "replace")
    else:
        raise refuse(errno.EINVAL, f"a {prog.program.type.name} program does not attach to a raw tracepoint")
    tracepoint = kernel.tracepoints.get(name)
    if tracepoint is None:
        raise refuse(errno.ENOENT, f"no tracepoint {name!r}")
    return publish(kernel, caller, RawTpLink(prog, name, tracepoint, attr.cookie))


def create(kernel: Kernel, caller: Caller, raw: bytes) -> int:
    """BPF_LINK_CREATE for views, iterators and tp_btf programs. Raises EINVAL, ENOENT for an unknown view target."""
    attr = uapi.LinkCreate.unpack(raw)
    prog = prog_of(caller, attr.prog_fd)
    if prog.program.type.id in _CGROUP_TYPES:
        cgroup_attach.check_type(caller, prog, attr.attach_type)
        return publish(kernel, caller, cgroup_attach.new_link(kernel, caller, raw, prog))
    if attr.attach_type != prog.program.attach_type:
        raise refuse(errno.EINVAL, f"attach type {attr.attach_type}, program {prog.name} has {prog.program.attach_type}")
    if attr.flags or attr.target_fd:
        raise refuse(errno.EINVAL, f"link flags {attr.flags:#x}, target fd {attr.target_fd}")
    if attr.attach_type == uapi.BPF_TRACE_VIEW:
        target = prog.program.attach_name.removeprefix("bpf_view_")
        if f"bpf_view_{target}" not in kernel.targets.rows:
            raise refuse(errno.ENOENT, f"no view target {target!r}")
        return publish(kernel, caller, ViewLink(prog, target))
    if attr.attach_type == uapi.BPF_TRACE_RAW_TP:
        cookie = uapi.LinkCreateTracing.unpack(raw).cookie
        return raw_tracepoint_open(kernel, caller, uapi.RawTracepointOpen(prog_fd=attr.prog_fd, cookie=cookie))
    if attr.attach_type == uapi.BPF_TRACE_ITER:
        return publish(kernel, caller, iters.new_link(kernel, caller, attr, prog))
    raise refuse(errno.EINVAL, f"attach type {attr.attach_type} has no links here")
