"""The verifier: Program -> Verified, or Rejected. Agreement with Linux 6.18 is its measure.

Its hot modules may be compiled (setup.py): types for that stand in the .pxd files, the modules are the same plain Python.
"""

from . import _source

_source.prefer_if_needed(__path__)

from . import check as check_module  # noqa: E402
from .check import verify  # noqa: E402
from .walk import Env  # noqa: E402


def is_compiled() -> bool:
    """Whether the hot modules run compiled."""
    return not str(check_module.__file__).endswith(".py")


__all__ = ["Env", "is_compiled", "verify"]
