"""BPF_PROG_ATTACH, BPF_PROG_DETACH and BPF_PROG_QUERY: by its attach type a program goes to a cgroup, a map, a namespace."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from bpfjit.errors import refuse
from bpfjit.uapi import bpf as uapi

from .. import dumpers
from ..caller import CAP_NET_ADMIN, Caller
from ..namespaces import NetNs
from ..objects import ProgObject
from . import cgroup_attach, sockmap_progs
from .fd import prog_of

if TYPE_CHECKING:
    from ..kernel import Kernel


def prog_attach(kernel: Kernel, caller: Caller, attr: uapi.ProgAttach) -> int:
    if attr.attach_type == uapi.BPF_TRACE_ITER:
        return dumpers.anonymous(kernel, caller, attr.attach_bpf_fd)  # bpfdump's, which Linux does not have
    if attr.attach_type == uapi.BPF_FLOW_DISSECTOR:
        return _attach_dissector(kernel, caller, attr)
    if attr.attach_type in sockmap_progs.PROG_TYPES:
        return sockmap_progs.attach(caller, attr)
    return cgroup_attach.prog_attach(kernel, caller, attr)


def prog_detach(kernel: Kernel, caller: Caller, attr: uapi.ProgAttach) -> int:
    if attr.attach_type == uapi.BPF_FLOW_DISSECTOR:
        return _detach_dissector(kernel, caller, attr)
    if attr.attach_type in sockmap_progs.PROG_TYPES:
        return sockmap_progs.detach(caller, attr)
    return cgroup_attach.prog_detach(kernel, caller, attr)


def prog_query(kernel: Kernel, caller: Caller, attr: uapi.ProgQuery) -> int:
    if not caller.cred.capable(CAP_NET_ADMIN):
        raise refuse(errno.EPERM, "a query wants CAP_NET_ADMIN")
    if attr.query_flags & ~uapi.BPF_F_QUERY_EFFECTIVE:
        raise refuse(errno.EINVAL, f"query flags {attr.query_flags:#x}")
    if attr.attach_type in sockmap_progs.PROG_TYPES:
        return sockmap_progs.query(caller, attr)
    return cgroup_attach.prog_query(kernel, caller, attr)


# -- network namespaces: who says how packets are taken apart, of which there are none here --------------------


def _dissector(caller: Caller, attr: uapi.ProgAttach) -> ProgObject:
    """The program that an attr is about. Raises EINVAL for one of another type, and for what says more than which."""
    prog = prog_of(caller, attr.attach_bpf_fd)
    if prog.type_id != uapi.BPF_PROG_TYPE_FLOW_DISSECTOR:
        raise refuse(errno.EINVAL, f"a {prog.program.type.name} program as flow dissector")
    more = (attr.target_fd, attr.attach_flags, attr.replace_bpf_fd, attr.relative_fd, attr.expected_revision)
    if any(more):
        raise refuse(errno.EINVAL, f"target fd, flags, fds, revision {more}: the caller's own namespace is meant")
    return prog


def _attach_dissector(kernel: Kernel, caller: Caller, attr: uapi.ProgAttach) -> int:
    """One for all namespaces is the first one's; where that has none each other may have its own. Raises EEXIST, EINVAL."""
    prog = _dissector(caller, attr)
    own, first = caller.namespaces.net_ns(kernel), kernel.namespaces.net[""]
    others: list[NetNs] = [*kernel.namespaces.net.values()] if own is first else [first]
    if any(net.flow_dissector is not None for net in others if net is not own):
        raise refuse(errno.EEXIST, "another network namespace has a flow dissector")
    if own.flow_dissector is prog:
        raise refuse(errno.EINVAL, f"program {prog.id} is the flow dissector already")
    before, own.flow_dissector = own.flow_dissector, prog.get()
    if before is not None:
        before.put()
    return 0


def _detach_dissector(kernel: Kernel, caller: Caller, attr: uapi.ProgAttach) -> int:
    prog, own = _dissector(caller, attr), caller.namespaces.net_ns(kernel)
    if own.flow_dissector is not prog:
        raise refuse(errno.ENOENT, f"program {prog.id} is not the flow dissector")
    own.flow_dissector = None
    prog.put()
    return 0
