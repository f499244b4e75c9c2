"""The JIT: Verified -> LLVM IR -> native code."""

from .cache import ObjectCache, default_directory
from .engine import Engine
from .native import Native

__all__ = ["Engine", "Native", "ObjectCache", "default_directory"]
