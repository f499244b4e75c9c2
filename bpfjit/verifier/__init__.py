"""The verifier: Program -> Verified, or Rejected. Agreement with Linux 6.18 is its measure."""

from .check import verify
from .walk import Env

__all__ = ["Env", "verify"]
