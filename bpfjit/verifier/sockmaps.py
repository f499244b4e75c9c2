"""Maps of sockets: what is found in them, and which programs may change them."""

from __future__ import annotations

import errno

from ..program import MapInfo
from ..spec.kinds import Helper
from ..uapi import bpf as uapi
from .state import T
from .walk import Walk

# What a lookup has found, once it is known that it found something (MapType.finds).
FOUND = {"socket": T.SOCKET, "xdp_sock": T.XDP_SOCK}
# Where a program can get no socket that is locked already.
_UPDATING = frozenset({"socket_filter", "sched_cls", "sched_act", "xdp", "sk_reuseport", "flow_dissector", "sk_lookup"})


def refers(m: MapInfo) -> bool:
    """A lookup takes a reference of the socket that it finds."""
    return m.type.finds == "socket"


def check_update(w: Walk, row: Helper, m: MapInfo) -> None:
    """Whether this program may put sockets in or take them out by the helpers of every map. Rejects."""
    if not refers(m) or row.map_use not in ("update", "delete"):
        return
    program = w.program
    allowed = program.type.name in _UPDATING or program.attach_type == uapi.BPF_TRACE_ITER
    if not allowed and not (program.type.name == "sock_ops" and row.map_use == "delete"):
        refused = f"cannot pass map_type {m.type.id} into func bpf_{row.name}#{row.id}"
        w.reject(f"cannot update sockmap in this context\n{refused}", errno.EINVAL)
