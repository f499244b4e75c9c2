"""Compiled code on disk: one file a program, found by everything that its code depends on. Verdicts are kept beside it.

The IR names the outside by symbols, so its text, the LLVM that compiles it and the machine it is for say all.
A file is written whole under another name and then renamed; it begins with a digest of itself, and one that
does not match, or belongs to somebody else, is not used.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from ..dataclass import dataclass
from ..sha256 import sha256

if TYPE_CHECKING:
    from pathlib import Path

_DIGEST_BYTES = 32
OBJECT, VERDICT = "o", "v"  # what there is under a key: compiled code, or what the verifier said


def default_directory() -> str | None:
    """$XDG_CACHE_HOME/bpfjit, else ~/.cache/bpfjit; None where $BPFJIT_NO_CACHE is set or there is no home."""
    if os.environ.get("BPFJIT_NO_CACHE", "0") not in ("", "0"):
        return None
    base = os.environ.get("XDG_CACHE_HOME")
    if base and os.path.isabs(base):
        return os.path.join(base, "bpfjit")
    home = os.path.expanduser("~")
    return os.path.join(home, ".cache", "bpfjit") if os.path.isabs(home) else None


@dataclass(frozen=True, slots=True)
class Entry:
    """One file on disk: its size in bytes and when it was made (seconds since 1970)."""

    path: Path
    size: int
    made: float


class ObjectCache:
    """Objects by key in a directory of our own. Whatever goes wrong with it costs a compilation, never a result."""

    def __init__(self, directory: str | Path) -> None:
        self._directory = os.fspath(directory)

    @property
    def directory(self) -> Path:
        from pathlib import Path  # late: most processes only look for a file

        return Path(self._directory)

    @staticmethod
    def key(*parts: str | bytes | bytearray) -> str:
        digest = sha256()
        for part in parts:
            raw = part.encode() if isinstance(part, str) else part
            digest.update(len(raw).to_bytes(8, "little"))
            digest.update(raw)
        return digest.hexdigest()

    def _path(self, key: str, kind: str = OBJECT) -> str:
        return os.path.join(self._directory, f"{key}.{kind}")

    def has(self, key: str) -> bool:
        """Whether there is an object under `key`; whether it is whole, get() says."""
        return os.path.exists(self._path(key))

    def get(self, key: str, kind: str = OBJECT) -> bytes | None:
        """What is stored under `key`, if it is there, ours and whole; what is damaged is thrown away."""
        path = self._path(key, kind)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return None
        with os.fdopen(fd, "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
                return None
            data = file.read()
        image = data[_DIGEST_BYTES:]
        if _sealed(key, kind, image) == data[:_DIGEST_BYTES]:
            return image
        with contextlib.suppress(OSError):
            os.unlink(path)
        return None

    def entries(self) -> list[Entry]:
        """What is there, in no order; none where the directory cannot be read."""
        found = []
        with contextlib.suppress(OSError):
            for path in [p for kind in (OBJECT, VERDICT) for p in self.directory.glob(f"*.{kind}")]:
                with contextlib.suppress(FileNotFoundError):
                    status = path.lstat()
                    found.append(Entry(path, status.st_size, status.st_mtime))
        return found

    def clear(self) -> int:
        """Remove all, and what a process that died left half written; how many files of ours. Raises OSError."""
        entries = self.entries()
        for path in [*(e.path for e in entries), *self.directory.glob(".new-*")]:
            path.unlink(missing_ok=True)
        return len(entries)

    def put(self, key: str, image: bytes, kind: str = OBJECT) -> None:
        """Store something under a key; a directory that cannot be written is left alone."""
        import tempfile  # late: most processes find what they want

        data = _sealed(key, kind, image) + image
        try:
            os.makedirs(self._directory, mode=0o700, exist_ok=True)
            status = os.lstat(self._directory)
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
                return
            fd, name = tempfile.mkstemp(dir=self._directory, prefix=".new-")
        except OSError:
            return
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data)
            os.rename(name, self._path(key, kind))
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(name)


def _sealed(key: str, kind: str, image: bytes) -> bytes:
    return sha256(f"{key}.{kind}".encode() + image).digest()
