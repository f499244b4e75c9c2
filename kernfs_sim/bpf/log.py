"""The log attributes of PROG_LOAD and BTF_LOAD: what is written of a log, how long it says it is, when that is an error."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from bpfjit.errors import refuse
from bpfjit.program import LOG_FIXED, LOG_STATS

from ..caller import Caller, user_of

_LEVELS = 1 | 2 | LOG_STATS | LOG_FIXED  # BPF_LOG_MASK
_MAX_BYTES = 0xFFFFFFFF >> 2


class Unseen(OSError):
    """A program refused before any of its instructions was looked at. said: what the log has of it, to the last byte."""

    def __init__(self, number: int, said: str, why: str = "") -> None:
        super().__init__(number, why or said.strip())
        self.said = said


class UserLog:
    """A caller's log buffer. Raises EINVAL for an unknown level, a buffer without size or level, a size without buffer.

    Without a buffer the log is measured only. Of a log that does not fit the buffer has the end, or at level 8
    (BPF_LOG_FIXED) the beginning; NUL-terminated either way.
    """

    __slots__ = ("addr", "caller", "level", "overflows", "size", "text")

    def __init__(self, caller: Caller, level: int, addr: int, size: int) -> None:
        if level & ~_LEVELS or bool(addr) != bool(size) or (addr and not level) or size > _MAX_BYTES:
            raise refuse(errno.EINVAL, f"log level {level} with a buffer of {size} bytes at {addr:#x}")
        self.caller, self.level, self.addr, self.size = caller, level, addr, size
        self.text = b""
        self.overflows = 0

    def true_size(self, text: str, missing: int = 0, cuts: Sequence[tuple[int, int]] = ()) -> int:
        """Take a log whose middle or beginning of `missing` bytes was not kept, and that was cut back as `cuts` say.

        The bytes that it needs: the longest that it ever was.
        """
        if not self.level:
            return 0
        raw = text.encode("utf-8", "surrogateescape")
        end = missing + len(raw)
        first = 0  # of what the buffer still has
        for length, left in cuts:
            first = min(max(first, length + 1 - self.size), left)
        first = max(first, end + 1 - self.size)
        longest = max([end, *(length for length, _ in cuts)]) + 1
        if self.level & LOG_FIXED:
            self.text = raw[: max(self.size - 1, 0)]
        else:
            self.text = raw[max(first - missing, 0) :] if self.size else b""
        self.overflows = longest if longest > self.size else 0
        return longest

    def hand_over(self) -> None:
        """Write what true_size() took. Raises EFAULT, or ENOSPC where the buffer was too small, before any other error."""
        if not self.level or not self.addr:
            return
        user_of(self.caller).write(self.addr, self.text + b"\0")
        if self.overflows:
            raise refuse(errno.ENOSPC, f"a log of {self.overflows} bytes does not fit the {self.size} given")
