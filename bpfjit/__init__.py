"""bpfjit: verify, compile and run BPF programs beneath a simulated kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .loader import live_bpf, mount_bpf, open_object

__version__ = "0.1.0"
__all__ = ["__version__", "live_bpf", "mount_bpf", "open_object"]


def __getattr__(name: str) -> Any:
    # Imported when first asked for: the isa, btf and spec rooms are of use without the loader and its libraries.
    if name in ("live_bpf", "mount_bpf", "open_object"):
        from . import loader

        return getattr(loader, name)
    raise AttributeError(name)
