"""Deprecated cgroup storage: values for the cgroups (and attach types) that programs are attached to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runtime import ffi, lib

from ..cgroup import Cgroup
from ..objects import MapObject, ProgObject

if TYPE_CHECKING:
    from ..kernel import Kernel


def _is_storage(m: MapObject) -> bool:
    return "local_storage" in m.type.uses


def values(prog: ProgObject, cgroup: Cgroup, attach_type: int) -> list[Any]:
    """What the program's two kinds of storage have for a cgroup, made where it is not there; NULL for a kind it has not."""
    found = [ffi.NULL, ffi.NULL]
    for m in prog.maps:
        if _is_storage(m):
            found[m.type.per_cpu] = lib.rt_cgroup_storage(m.native.ptr, cgroup.id, attach_type)
    return found


def forget(kernel: Kernel, cgroup: Cgroup) -> None:
    """The cgroup is gone, and its values with it."""
    for m in kernel.maps:
        if _is_storage(m):
            lib.rt_cgroup_storage_forget(m.native.ptr, cgroup.id)
