"""The JIT: Verified -> LLVM IR -> native code."""

from .engine import Engine, Native

__all__ = ["Engine", "Native"]
