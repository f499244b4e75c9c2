"""The verifier: Program -> Verified, or Rejected. Agreement with Linux 6.18 is its measure.

Its hot modules may be compiled (setup.py): types for that stand in the .pxd files, the modules are the same plain Python.
They are imported when something is verified: a program whose verdict is kept (admitted.py) needs none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import _source

if TYPE_CHECKING:
    from .check import verify
    from .walk import Env

_source.prefer_if_needed(__path__)

__all__ = ["Env", "is_compiled", "verify"]


def is_compiled() -> bool:
    """Whether the hot modules run compiled."""
    from . import check

    return not str(check.__file__).endswith(".py")


def __getattr__(name: str) -> Any:
    if name == "verify":
        from .check import verify

        return verify
    if name == "Env":
        from .walk import Env

        return Env
    raise AttributeError(name)
