"""Every helper that programs may call: rows only. Ids and prototypes: Linux's UAPI (bpf-helpers(7)).

Which program types may call which helper was read off Linux 6.18 by loading one call of each.
"""

from __future__ import annotations

from ..kinds import Helper
from .dynptrs import DYNPTR_HELPERS
from .kptrs import KPTR_HELPERS
from .linux import LINUX_HELPERS
from .maps import MAP_HELPERS
from .net import NET_HELPERS
from .objects import OBJECT_HELPERS
from .packets import PACKET_HELPERS
from .redirect import REDIRECT_HELPERS
from .rings import RING_HELPERS
from .sockets import SOCKET_HELPERS
from .stacks import STACK_HELPERS
from .storage import STORAGE_HELPERS
from .syscall import SYSCALL_HELPERS
from .system import SYSTEM_HELPERS
from .timers import TIMER_HELPERS
from .tracing import TRACING_HELPERS

_TABLES = (
    DYNPTR_HELPERS,
    KPTR_HELPERS,
    LINUX_HELPERS,
    MAP_HELPERS,
    NET_HELPERS,
    OBJECT_HELPERS,
    PACKET_HELPERS,
    REDIRECT_HELPERS,
    RING_HELPERS,
    SOCKET_HELPERS,
    STACK_HELPERS,
    STORAGE_HELPERS,
    SYSCALL_HELPERS,
    SYSTEM_HELPERS,
    TIMER_HELPERS,
    TRACING_HELPERS,
)
HELPERS: tuple[Helper, ...] = tuple(sorted((h for table in _TABLES for h in table), key=lambda h: h.id))
HELPER_BY_ID = {h.id: h for h in HELPERS}


def helper_for(id_: int, type_name: str) -> Helper:
    """The helper that programs of a type have by this number. Raises KeyError."""
    row = HELPER_BY_ID[id_]
    return row.by_type.get(type_name, row)
