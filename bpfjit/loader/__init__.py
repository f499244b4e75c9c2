"""The loader: objects from files into a kernel, through bpf(cmd, attr) alone."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .bpf import Bpf, LiveBpf, live_bpf
    from .link import Link
    from .loaded import LoadedObject, LoadedProg
    from .map import LoadedMap
    from .mount import MountBpf, mount_bpf
    from .object import Object, open_object

# Imported when first asked for: who only talks to a kernel needs no ELF reader.
_HOMES = {
    **dict.fromkeys(("Bpf", "LiveBpf", "live_bpf"), "bpf"),
    "Link": "link",
    **dict.fromkeys(("LoadedObject", "LoadedProg"), "loaded"),
    "LoadedMap": "map",
    **dict.fromkeys(("MountBpf", "mount_bpf"), "mount"),
    **dict.fromkeys(("Object", "open_object"), "object"),
}
__all__ = [
    "Bpf", "Link", "LiveBpf", "LoadedMap", "LoadedObject", "LoadedProg", "MountBpf", "Object", "live_bpf", "mount_bpf",
    "open_object",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(name)
    return getattr(importlib.import_module(f".{home}", __package__), name)
