"""Work queues in map values: bpf_wq_init() and its like, whose callback runs later and may sleep."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from ..btf import Special
from ..btf.types import Param
from . import fields
from . import state as st
from .state import OR_NULL, Reg, T

if TYPE_CHECKING:
    from .kfuncs import KfuncSite

SETS_CALLBACK = "bpf_wq_set_callback_impl"


def check_argument(site: KfuncSite, i: int, p: Param, reg: Reg) -> None:
    """A `struct bpf_wq *` argument: it lies in a map's value. Rejects."""
    if reg.type != T.MAP_VALUE or reg.flags & OR_NULL:
        site.w.reject(f"arg#{i} doesn't point to a map value", errno.EINVAL)
    fields.only_one(site.w, i + 1, reg, Special.WORKQUEUE, "bpf_wq")
    site.work = reg


def check_map(site: KfuncSite, i: int, reg: Reg) -> None:
    """The map argument beside a work queue is the map that it lies in. Rejects.

    Linux 6.18 asks only where that map has a work queue itself, and falls over one without any special field.
    """
    work = site.work
    if work is not None and (work.map, work.size) != (reg.map, reg.size):
        uids = f"R1 map_uid={work.size} doesn't match map pointer in R{i + 1} map_uid={reg.size}"
        site.w.reject(f"workqueue pointer in {uids}", errno.EINVAL)


def callback_args(site: KfuncSite) -> list[Reg]:
    """r1-r5 of the callback: the map, the key and the value."""
    assert site.work is not None
    args = [st.pointer(kind) for kind in (T.MAP_PTR, T.MAP_KEY, T.MAP_VALUE)]
    for r in args:
        r.map = site.work.map
    return [*args, st.UNINIT, st.UNINIT]
