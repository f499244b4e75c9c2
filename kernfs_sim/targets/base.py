"""What every iterator target says of itself: its parameters, whom a session shows it, what fdinfo and link info tell."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from bpfjit.errors import refuse
from bpfjit.uapi import bpf as uapi
from runtime import ffi

from ..caller import Caller
from ..objects import ProgObject
from ..task_files import Held

if TYPE_CHECKING:
    from ..kernel import Kernel

Rows = list[tuple[str, object]]
PutInfo = Callable[[str, int], None]
_INFO_BYTES = uapi.LAYOUTS["bpf_iter_link_info"].size
_MAX_GIVEN = 4096


class LinkInfo:
    """A union bpf_iter_link_info; all zero when none was given."""

    def __init__(self, data: bytes = b"") -> None:
        self.given = bool(data)
        self._data = data[:_INFO_BYTES].ljust(_INFO_BYTES, b"\0")

    @classmethod
    def of(cls, caller: Caller, addr: int, size: int) -> LinkInfo:
        """The caller's. Raises EINVAL, EFAULT, or E2BIG where bytes that are not known are not zero."""
        if bool(addr) != bool(size):
            raise refuse(errno.EINVAL, f"iter_info of {size} bytes at {addr:#x}")
        data = caller.read(addr, min(size, _MAX_GIVEN)) if addr else b""
        if size > _INFO_BYTES and any(data[_INFO_BYTES:]):
            raise refuse(errno.E2BIG, f"iter_info of {size} bytes, known are {_INFO_BYTES}")
        return cls(data)

    def __getitem__(self, field: str) -> int:
        offset, size = uapi.LAYOUTS["bpf_iter_link_info"].fields[field]
        return int.from_bytes(self._data[offset : offset + size], "little")


class IterTarget:
    """One link's target. The class is the kind (`name` as in SEC("iter/name")); an instance holds what is walked.

    Subclasses check the parameters in attach() (raising OSErrors), say in begin() what a session walks, and give back
    in release() what attach() took.
    """

    name: ClassVar[str] = ""
    dump_info: ClassVar[bytes] = b""  # the union bpf_iter_link_info that a dumper, which cannot be given one, goes by

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def attach(self, caller: Caller, info: LinkInfo, prog: ProgObject) -> None:
        """Take and check the link's parameters. Raises EINVAL, EBADF, ENOENT, EACCES."""

    def begin(self, caller: Caller, how: Any) -> Held | None:
        """Fill a session's struct rt_iter_how: what `caller`, who opens it, is shown. Returns what goes with the session."""
        raise NotImplementedError

    def release(self) -> None:
        """The link is gone."""

    def fdinfo(self) -> Rows:
        """What the link's fdinfo says beyond the target's name."""
        return []

    def fill_info(self, put: PutInfo) -> None:
        """Fill struct bpf_link_info, by `put(field, value)`."""


class IndexTarget(IterTarget):
    """Objects by number, all of them."""

    def index(self, caller: Caller) -> Any:
        """The rt_index that this caller walks."""
        raise NotImplementedError

    def begin(self, caller: Caller, how: Any) -> Held | None:
        how.subject = ffi.cast("void *", self.index(caller))
        return None
