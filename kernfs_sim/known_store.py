"""Where known programs are kept for everybody: files that only their administrator can have written.

A file is believed for who owns it and every directory above it, then for its own digest. It is read once, whole, through
descriptors that follow no link, and judged by what was read.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bpfjit.errors import refuse
from bpfjit.sha256 import sha256

DEFAULT = Path("/var/lib/bpfjit/known")
_MAGIC = b"bpfjit known 1\n"
_MAX_BYTES = 64 << 20
_SUFFIX = ".prog"


class KnownStore:
    """A directory of known programs, by digest. trusted: the uids whose files are believed (root's, and our own)."""

    def __init__(self, directory: Path, trusted: frozenset[int] | None = None) -> None:
        self.directory = directory.absolute()
        self.trusted = trusted if trusted is not None else frozenset({0, os.geteuid()})

    def put(self, digest: bytes, data: bytes) -> None:
        """Store a program under its digest, replacing what was there. Raises OSError."""
        self.directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        directory = self._open()
        try:
            whole = _MAGIC + sha256(digest + data).digest() + data
            fd, name = tempfile.mkstemp(dir=self.directory, prefix=".new-")
            try:
                with os.fdopen(fd, "wb") as file:
                    os.fchmod(file.fileno(), 0o644)
                    file.write(whole)
                    file.flush()
                    os.fsync(file.fileno())
                os.rename(os.path.basename(name), self._name(digest), src_dir_fd=directory, dst_dir_fd=directory)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(name)
                raise
        finally:
            os.close(directory)

    def get(self, digest: bytes) -> bytes:
        """What put() stored. Raises ENOENT, EACCES for what somebody else may have written, EBADMSG for damage."""
        directory = self._open()
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
            try:
                fd = os.open(self._name(digest), flags, dir_fd=directory)
            except OSError as e:
                number = errno.EACCES if e.errno == errno.ELOOP else e.errno or errno.ENOENT
                raise refuse(number, f"known program {digest.hex()[:16]}: {e.strerror}") from None
        finally:
            os.close(directory)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1 or not self._is_ours(status):
                raise refuse(errno.EACCES, f"known program {digest.hex()[:16]}: not a file of its administrator's alone")
            with os.fdopen(os.dup(fd), "rb") as file:
                whole = file.read(_MAX_BYTES + 1)
        finally:
            os.close(fd)
        data = whole[len(_MAGIC) + 32 :]
        sealed = whole[len(_MAGIC) : len(_MAGIC) + 32]
        if not whole.startswith(_MAGIC) or sha256(digest + data).digest() != sealed:
            raise refuse(errno.EBADMSG, f"known program {digest.hex()[:16]}: damaged")
        return data

    def remove(self, digest: bytes) -> None:
        """Raises OSError."""
        directory = self._open()
        try:
            os.unlink(self._name(digest), dir_fd=directory)
        finally:
            os.close(directory)

    def __iter__(self) -> Iterator[bytes]:
        """The digests that there are files for."""
        with contextlib.suppress(FileNotFoundError):
            for name in sorted(os.listdir(self.directory)):
                stem, dot, _ = name.partition(_SUFFIX)
                if dot and len(stem) == 64:
                    with contextlib.suppress(ValueError):
                        yield bytes.fromhex(stem)

    def _name(self, digest: bytes) -> str:
        return digest.hex() + _SUFFIX

    def _is_ours(self, status: os.stat_result) -> bool:
        return status.st_uid in self.trusted and not status.st_mode & 0o022

    def _open(self) -> int:
        """The directory, reached from the root through directories that nobody else can exchange. Raises EACCES."""
        fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        parts = self.directory.parts[1:]
        try:
            for i, part in enumerate(parts):
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                try:
                    below = os.open(part, flags, dir_fd=fd)
                except OSError as e:
                    number = errno.EACCES if e.errno in (errno.ELOOP, errno.ENOTDIR) else e.errno or errno.EACCES
                    raise refuse(number, f"known programs in {self.directory}: {part}: {e.strerror}") from None
                os.close(fd)
                fd = below
                status = os.fstat(fd)
                # In a sticky directory (/tmp) others may add names, not exchange ours.
                sticky = status.st_mode & stat.S_ISVTX and i < len(parts) - 1 and status.st_uid in self.trusted
                if not self._is_ours(status) and not sticky:
                    raise refuse(errno.EACCES, f"known programs in {self.directory}: others may write {part}")
        except BaseException:
            os.close(fd)
            raise
        return fd
