"""The native runtime: maps, seq files, helpers and kernel objects in C, and the handles that own them.

Everything exported hangs under `runtime`; this package is the only importer of runtime._rt.
"""

from .handles import (
    Code,
    Field,
    FuseDevice,
    Index,
    Iter,
    KernelHandle,
    Map,
    ProgHandle,
    Structs,
    Symbols,
    Tracepoint,
    View,
    ffi,
    lib,
    offsets,
    ok,
)

__all__ = [
    "Code",
    "Field",
    "FuseDevice",
    "Index",
    "Iter",
    "KernelHandle",
    "Map",
    "ProgHandle",
    "Structs",
    "Symbols",
    "Tracepoint",
    "View",
    "ffi",
    "lib",
    "offsets",
    "ok",
]
