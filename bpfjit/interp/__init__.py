"""The checking interpreter."""

from .machine import InterpreterFault, Machine

__all__ = ["InterpreterFault", "Machine"]
