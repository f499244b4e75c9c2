"""Who makes a call: its memory, fds, credentials. The commands of bpf(2) know no other way to them."""

from __future__ import annotations

import errno
import os
from typing import Any, Protocol

from bpfjit.dataclass import dataclass, field
from bpfjit.errors import refuse
from runtime import ffi, lib

from .namespaces import INITIAL, Namespaces

CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER = 0, 1, 3
CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_SYSLOG, CAP_PERFMON, CAP_BPF = 12, 21, 34, 38, 39
ALL_CAPABILITIES = frozenset(range(41))


@dataclass(frozen=True, slots=True)
class Cred:
    """Credentials: effective ids, capabilities, supplementary groups."""

    uid: int = 0
    gid: int = 0
    capabilities: frozenset[int] = ALL_CAPABILITIES
    groups: frozenset[int] = frozenset()

    def may(self, capability: int) -> bool:
        return capability in self.capabilities

    def capable(self, capability: int) -> bool:
        """As bpf(2) asks: CAP_SYS_ADMIN stands in for CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN, which were cut out of it."""
        return capability in self.capabilities or CAP_SYS_ADMIN in self.capabilities


class FdTable:
    """A process's open files by number, lowest free number first.

    0 to 2 are the process's own: `standard` (any file that is no BPF object) is found there.
    """

    def __init__(self, standard: Any = None) -> None:
        self._files: dict[int, Any] = {}
        self._standard = standard
        self._low = 3

    def install(self, file: Any) -> int:
        fd, files = self._low, self._files
        # setdefault() decides between two threads that found the same number free.
        while fd in files or files.setdefault(fd, file) is not file:
            fd += 1
        self._low = fd + 1
        return fd

    def find(self, fd: int) -> Any:
        """The open file, or None."""
        file = self._files.get(fd)
        return self._standard if file is None and 0 <= fd < 3 else file

    def get(self, fd: int) -> Any:
        """The open file. Raises EBADF."""
        file = self._files.get(fd)
        if file is None:
            if 0 <= fd < 3 and self._standard is not None:
                return self._standard
            raise refuse(errno.EBADF, f"fd {fd} is not open")
        return file

    def close(self, fd: int) -> None:
        self.remove(fd).put()

    def remove(self, fd: int) -> Any:
        """Free the number; the file, which the caller has to put(). Raises EBADF."""
        file = self._files.pop(fd, None)
        if file is None:
            raise refuse(errno.EBADF, f"fd {fd} is not open")
        self._low = min(self._low, fd)
        return file

    def dup(self, fd: int) -> int:
        return self.install(self.get(fd).get())

    def __len__(self) -> int:
        return len(self._files)

    def close_all(self) -> None:
        for fd in list(self._files):
            self.close(fd)


class Caller(Protocol):
    """A process, or what stands for one. `is_here`: its memory is this process's, so native code may touch it."""

    fds: FdTable
    cred: Cred
    umask: int
    pid: int
    is_here: bool
    namespaces: Namespaces

    def read(self, addr: int, size: int) -> bytes: ...

    def write(self, addr: int, data: bytes) -> None: ...


class _Terminal:
    """What stands behind a process's first three fds: a file of which bpf(2) knows only that it is none of its own."""

    inode = None


@dataclass(slots=True)
class InProcess:
    """This very process: addresses are its own. Bad ones are EFAULT, as for any other caller."""

    cred: Cred = field(default_factory=Cred)
    fds: FdTable = field(default_factory=lambda: FdTable(_Terminal()))
    umask: int = 0o022
    pid: int = field(default_factory=os.getpid)
    is_here: bool = True
    namespaces: Namespaces = INITIAL

    def read(self, addr: int, size: int) -> bytes:
        buffer = ffi.new("char[]", size)
        if lib.rt_copy_fault(buffer, ffi.cast("void *", addr), size) < 0:
            raise refuse(errno.EFAULT, f"{size} bytes at {addr:#x} cannot be read")
        return bytes(ffi.buffer(buffer))

    def write(self, addr: int, data: bytes) -> None:
        if lib.rt_copy_fault(ffi.cast("void *", addr), data, len(data)) < 0:
            raise refuse(errno.EFAULT, f"{len(data)} bytes at {addr:#x} cannot be written")


class InKernel(InProcess):
    """A program that calls bpf(2) for `user`: with its fds and rights, but with pointers of the kernel's own.

    Kernel memory is this process's. What a command knows to be the user's all the same goes through user_of().
    """

    __slots__ = ("user",)

    def __init__(self, user: Caller) -> None:
        super().__init__(user.cred, user.fds, user.umask, user.pid, namespaces=user.namespaces)
        self.user = user

    def read(self, addr: int, size: int) -> bytes:
        if not addr:  # copy_from_kernel_nofault() looks at the address even where there is nothing to copy
            raise refuse(errno.EFAULT, f"{size} bytes at NULL cannot be read")
        return super().read(addr, size)


def user_of(caller: Caller) -> Caller:
    """Whose memory a pointer is that Linux takes as the user's even from a program: log buffers, tracepoint names."""
    return caller.user if isinstance(caller, InKernel) else caller


def read_string(caller: Caller, addr: int, limit: int) -> bytes:
    """A NUL-terminated string of at most `limit` bytes. Raises EFAULT, or EINVAL where no NUL comes."""
    data = b""
    while len(data) < limit:
        chunk = min(4096 - (addr + len(data)) % 4096, limit - len(data))
        data += caller.read(addr + len(data), chunk)
        if b"\0" in data:
            return data[: data.index(0)]
    raise refuse(errno.EINVAL, f"string at {addr:#x} is longer than {limit} bytes")
