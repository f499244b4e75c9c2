"""SHA-256 that the interpreter has built in: hashlib loads OpenSSL first, longer than all that is hashed here takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Hash(Protocol):
    def update(self, data: bytes | bytearray, /) -> None: ...

    def digest(self) -> bytes: ...

    def hexdigest(self) -> str: ...


def _builtin() -> Callable[..., Any]:
    for name in ("_sha2", "_sha256"):  # of Python 3.12, and of 3.11
        try:
            found: Callable[..., Any] = __import__(name).sha256
            return found
        except ImportError:
            pass
    import hashlib

    return hashlib.sha256


_make = _builtin()


def sha256(data: bytes | bytearray = b"") -> Hash:
    """A hash object over `data` so far; as hashlib.sha256()."""
    made: Hash = _make(data)
    return made
