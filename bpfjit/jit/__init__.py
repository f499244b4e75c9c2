"""The JIT: Verified -> LLVM IR -> native code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .cache import ObjectCache, default_directory
from .native import Native

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["Engine", "Native", "ObjectCache", "default_directory"]


def __getattr__(name: str) -> Any:
    if name != "Engine":
        raise AttributeError(name)
    from .engine import Engine  # late: it brings LLVM

    return Engine
