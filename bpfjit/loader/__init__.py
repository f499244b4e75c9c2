"""The loader: objects from files into a kernel, through bpf(cmd, attr) alone."""

from .bpf import Bpf, LiveBpf, live_bpf
from .link import Link
from .loaded import LoadedObject, LoadedProg
from .map import LoadedMap
from .mount import MountBpf, mount_bpf
from .object import Object, open_object

__all__ = [
    "Bpf", "Link", "LiveBpf", "LoadedMap", "LoadedObject", "LoadedProg", "MountBpf", "Object", "live_bpf", "mount_bpf",
    "open_object",
]  # fmt: skip
