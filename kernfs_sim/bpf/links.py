"""Links: attaching programs to tracepoints and views."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from bpfjit.errors import refuse
from bpfjit.spec.cgroup_progs import CGROUP_ATTACH_TYPES
from bpfjit.spec.lsm import PREFIX
from bpfjit.uapi import bpf as uapi
from runtime import Tracepoint

from ..caller import Caller, read_string, user_of
from ..functions import FUNCTION_ATTACH_TYPES, MAX_PROGS
from ..objects import LinkObject, ProgObject, Told
from . import iters
from .fd import install_new, prog_of

if TYPE_CHECKING:
    from ..kernel import Kernel


_CGROUP_TYPES = set(CGROUP_ATTACH_TYPES.values())


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
        tracepoint.attach(prog.native.addr, prog=prog.own.ptr)
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


class TracingLink(LinkObject):
    """An fentry, fexit or fmod_ret program at a kernel function."""

    type = uapi.BPF_LINK_TYPE_TRACING
    type_name = "tracing"

    def __init__(self, kernel: Kernel, prog: ProgObject, cookie: int) -> None:
        name = prog.program.attach_name
        function = kernel.functions.get(name)
        if function is None:
            raise refuse(errno.EINVAL, f"{name} is no function of the simulated kernel that programs attach to")
        if any(isinstance(link, TracingLink) and link.prog is prog for link in kernel.links):
            raise refuse(errno.EBUSY, f"program {prog.id} is attached to {name} already")
        if function.count >= MAX_PROGS:
            raise refuse(errno.E2BIG, f"{name} has {MAX_PROGS} programs")
        super().__init__(prog, name)
        # A program at a security hook answers as one of fmod_ret does, before it.
        attach_type = prog.program.attach_type
        self._place = function.places[uapi.BPF_MODIFY_RETURN if attach_type == uapi.BPF_LSM_MAC else attach_type]
        self._security = kernel.use_security() if name.startswith(PREFIX) else None
        if self._security is not None:
            self._security.used(name, 1)
        self._place.attach(prog.native.addr, first=True, prog=prog.own.ptr)
        self._btf_id = kernel.btf.id
        self.cookie = cookie

    def fdinfo(self) -> list[tuple[str, object]]:
        return [
            ("attach_type", self.attach_type),
            ("target_obj_id", self._btf_id),
            ("target_btf_id", self.prog.attach_btf_id),
            ("cookie", self.cookie),
        ]

    def tell(self, info: Told) -> None:
        info.put("tracing.attach_type", self.attach_type)
        info.put("tracing.target_obj_id", self._btf_id)
        info.put("tracing.target_btf_id", self.prog.attach_btf_id)
        info.put("tracing.cookie", self.cookie)

    def let_go(self) -> None:
        self._place.detach(self.prog.native.addr)
        if self._security is not None:
            self._security.used(self.target, -1)


def _at_function(kernel: Kernel, prog: ProgObject, cookie: int) -> LinkObject:
    """A program at the function that it was loaded for: the kernel's, or another program's."""
    if prog.program.traces is None:
        return TracingLink(kernel, prog, cookie)
    from . import traced  # late, as few are

    return traced.new_link(kernel, prog, cookie)


def publish(kernel: Kernel, caller: Caller, link: LinkObject) -> int:
    """A new link gets its id and an fd, which takes over its reference."""
    link.id = kernel.links.add(link)
    link.on_release = lambda gone: kernel.links.remove(gone.id)
    return install_new(caller, link)


def raw_tracepoint_open(kernel: Kernel, caller: Caller, attr: uapi.RawTracepointOpen) -> int:
    """Attach a raw_tp program to the tracepoint named, or a tp_btf program to its own. Raises EINVAL, ENOENT."""
    prog = prog_of(caller, attr.prog_fd)
    if prog.program.is_extension and not attr.name:
        from . import extensions

        return publish(kernel, caller, extensions.new_link(kernel, caller, prog, 0, 0, attr.cookie))
    if prog.program.type.id == uapi.BPF_PROG_TYPE_TRACING:
        if not attr.name and prog.program.attach_type in FUNCTION_ATTACH_TYPES:
            return publish(kernel, caller, _at_function(kernel, prog, attr.cookie))
        if attr.name or prog.program.attach_type != uapi.BPF_TRACE_RAW_TP:
            raise refuse(errno.EINVAL, f"program {prog.name} does not attach to a raw tracepoint")
        name = prog.program.attach_name.removeprefix("btf_trace_")
    elif prog.program.type.id == uapi.BPF_PROG_TYPE_LSM and not attr.name and prog.program.attach_type == uapi.BPF_LSM_MAC:
        return publish(kernel, caller, TracingLink(kernel, prog, attr.cookie))
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
    if prog.program.is_extension:
        from . import extensions  # late, as few have any

        how = uapi.LinkCreateTracing.unpack(raw)
        if attr.attach_type or attr.flags:
            raise refuse(errno.EINVAL, f"attach type {attr.attach_type}, flags {attr.flags:#x} of an extension")
        return publish(
            kernel, caller, extensions.new_link(kernel, caller, prog, how.target_fd, how.target_btf_id, how.cookie)
        )
    if prog.program.type.id in _CGROUP_TYPES and prog.program.attach_type != uapi.BPF_LSM_MAC:
        from . import cgroup_attach

        cgroup_attach.check_type(caller, prog, attr.attach_type)
        return publish(kernel, caller, cgroup_attach.new_link(kernel, caller, raw, prog))
    if prog.type_id in (uapi.BPF_PROG_TYPE_SK_SKB, uapi.BPF_PROG_TYPE_SK_MSG):
        from . import sockmap_progs

        return publish(kernel, caller, sockmap_progs.new_link(caller, prog, attr))
    if attr.attach_type != prog.program.attach_type:
        raise refuse(errno.EINVAL, f"attach type {attr.attach_type}, program {prog.name} has {prog.program.attach_type}")
    if attr.attach_type in (*FUNCTION_ATTACH_TYPES, uapi.BPF_LSM_MAC):
        how = uapi.LinkCreateTracing.unpack(raw)
        if how.target_fd or how.target_btf_id:
            raise refuse(
                errno.EINVAL, f"target fd {how.target_fd}, BTF id {how.target_btf_id}: those are extensions' to give"
            )
        return publish(kernel, caller, _at_function(kernel, prog, how.cookie))
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
