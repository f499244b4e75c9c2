"""bpf(2) of a mounted simulated kernel, from any process: pointers in attr are this process's own."""

from __future__ import annotations

import errno
import json
import os
import socket
import struct
import threading
from collections.abc import Mapping, Set
from typing import Any, Self

from runtime import ffi, lib

from ..btf import RawBtf
from ..dataclass import dataclass
from ..errors import UsageError, refuse
from ..uapi import control as wire
from ..uapi.control import Ask, Say
from ..uapi.mounts import FSTYPE, MountEntry, mounts


@dataclass(frozen=True, slots=True)
class Instance:
    """A known program that was taken: fds of it and of its maps by index; attach_type is what LINK_CREATE wants to hear."""

    prog_fd: int
    map_fds: tuple[int, ...]
    attach_type: int


def _ours() -> list[MountEntry]:
    return [entry for entry in mounts() if entry.fstype == FSTYPE]


def any_mount() -> bool:
    """Whether there is a mounted kernel of ours."""
    return bool(_ours())


def find_mount(directory: str | os.PathLike[str] | None = None) -> MountEntry:
    """The mount that a path lies in; without a path, the only one there is. Raises UsageError."""
    ours = _ours()
    if directory is None:
        if len(ours) == 1:
            return ours[0]
        there_are = ", ".join(entry.path for entry in ours) or "none"
        raise UsageError(f"which mount? There are {there_are} (bpfjit mount DIR makes one)")
    path = os.path.realpath(directory)
    above = [entry for entry in ours if path == entry.path or path.startswith(entry.path.rstrip("/") + "/")]
    if not above:
        raise UsageError(f"{directory}: no bpfjit mount (bpfjit mount DIR makes one)")
    return max(above, key=lambda entry: len(entry.path))


class MountBpf:
    """bpf(2) of the simulated kernel that a directory shows: what a loader is handed. Fds are the connection's own.

    May be called from several threads, one call at a time. A context manager; disconnect() closes every fd.
    """

    types: RawBtf | None = None

    def __init__(self, entry: MountEntry) -> None:
        self.entry = entry
        self._lock = threading.Lock()
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        try:
            self._sock.connect(entry.control)
            _, uid, _ = struct.unpack("iII", self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            # Anybody may take a name; only the mount's own server may read this process's memory.
            if uid not in (0, entry.owner):
                raise refuse(errno.EPERM, f"{entry.path}: user {uid} answers for user {entry.owner}'s mount")
            version, who = self._ask(None)
            if version != wire.VERSION:
                raise refuse(errno.EPROTO, f"{entry.path}: its server speaks version {version}, we speak {wire.VERSION}")
            self.server = json.loads(who)
        except (ConnectionError, FileNotFoundError) as e:
            self._sock.close()
            raise refuse(errno.ENOTCONN, f"{entry.path}: nobody serves this mount ({os.strerror(e.errno or 0)})") from None
        except BaseException:
            self._sock.close()
            raise

    def __call__(self, cmd: int, attr: bytearray) -> int:
        """One bpf(2) call: its result. Raises OSError as the kernel says; ENOTCONN where it is gone."""
        return self._ask(Ask.CALL, cmd, 0, attr, attr)[0]

    def close(self, fd: int) -> None:
        """close(2) of an fd that a call returned."""
        self._ask(Ask.CLOSE, fd)

    def read(self, fd: int, size: int) -> bytes:
        """read(2) of an fd, an iterator's: at most 64 KiB at once. Raises OSError."""
        return self._ask(Ask.READ_FD, fd, size)[1]

    def open(self, path: str) -> int:
        """open(2) for reading, of a path of this machine below the mount. Raises OSError."""
        return self._ask(Ask.OPEN, 0, 0, os.fsencode(self.path(path)))[0]

    def fire(self, event: Mapping[str, Any]) -> None:
        """Let an event happen, as a scenario's [[event]] names it. Raises UsageError, EPERM for all but root."""
        self._ask(Ask.FIRE, 0, 0, json.dumps(dict(event)).encode())

    def fdinfo(self, fd: int) -> str:
        return self._ask(Ask.FDINFO, fd)[1].decode()

    def possible_cpus(self) -> int:
        return int(self.server["cpus"])

    def config(self) -> Mapping[str, int | str]:
        found: dict[str, int | str] = json.loads(self._ask(Ask.CONFIG)[1])
        return found

    def symbols(self, names: Set[str]) -> Mapping[str, int]:
        found: dict[str, int] = json.loads(self._ask(Ask.SYMBOLS, 0, 0, json.dumps(sorted(names)).encode())[1])
        return found

    # -- known programs: docs/known-programs.md -------------------------------------------------------------

    def known(self) -> list[tuple[bytes, str, int]]:
        """Each known program's digest, its name, and 0; or why it cannot be had, and the errno."""
        return [(bytes.fromhex(digest), name, number) for digest, name, number in self._known("list")]

    def instantiate(self, digest: bytes, maps: Mapping[int, int] | None = None) -> Instance:
        """A known program for this process. maps: by index, fds of its own maps to take in place of new ones.

        Raises ENOENT, EACCES, EBADMSG, ESTALE for the program; EBADF, EINVAL, EPERM for maps; ENOMEM for too many.
        """
        made = self._known("instantiate", digest=digest.hex(), maps=dict(maps or {}))
        return Instance(made["prog_fd"], tuple(made["map_fds"]), made["attach_type"])

    def admit(self, prog_fd: int, *, anywhere: bool = False) -> bytes:
        """Let everyone run a loaded program; its digest. Raises EPERM for all but root, EOPNOTSUPP."""
        return bytes.fromhex(self._known("admit", prog_fd=prog_fd, anywhere=anywhere))

    def revoke(self, digest: bytes) -> None:
        """No new instances of a known program. Raises EPERM for all but root, ENOENT."""
        self._known("revoke", digest=digest.hex())

    def _known(self, do: str, **request: Any) -> Any:
        return json.loads(self._ask(Ask.KNOWN, 0, 0, json.dumps({"do": do, **request}).encode())[1])

    def path(self, path: str | os.PathLike[str]) -> str:
        """A path of this machine below the mount as the simulated system spells it; others as they are."""
        top = self.entry.path.rstrip("/")
        absolute = os.path.abspath(path)
        head, name = os.path.split(absolute)
        # As it is written; or by a symbolic link to the mount, or into it.
        for spelt in (absolute, os.path.join(os.path.realpath(head), name), os.path.realpath(absolute)):
            if spelt == top or spelt.startswith(top + "/"):
                return spelt.removeprefix(top) or "/"
        return os.fspath(path)

    def disconnect(self) -> None:
        self._sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.disconnect()

    # -- the conversation --------------------------------------------------------------------------------

    def _ask(
        self,
        kind: int | None,
        code: int = 0,
        number: int = 0,
        payload: bytes | bytearray = b"",
        attr: bytearray | None = None,
    ) -> tuple[int, bytes]:
        if len(payload) > wire.CHUNK_BYTES:
            raise refuse(errno.E2BIG, f"{len(payload)} bytes, a message takes {wire.CHUNK_BYTES}")
        with self._lock:
            try:
                if kind is not None:  # None: the server's greeting
                    self._sock.send(wire.pack(kind, code, number, payload))
                while True:
                    said, code, number, data = wire.unpack(self._sock.recv(wire.PACKET_BYTES + 1))
                    if said == Say.READ:
                        self._sock.send(_read_memory(number, code))
                    elif said == Say.WRITE:
                        self._sock.send(_write_memory(number, data))
                    else:
                        break
            except (ConnectionError, ValueError):
                raise refuse(errno.ENOTCONN, f"{self.entry.path}: the server is gone") from None
        if said == Say.USAGE:
            raise UsageError(data.decode())
        if attr is not None:
            size = number if code else len(data)
            attr[:] = data[:size].ljust(len(attr), b"\0")[: len(attr)]
        if code:
            text = data[number:] if attr is not None else data
            raise OSError(code, text.decode() or os.strerror(code))
        return number, data


def _read_memory(addr: int, size: int) -> bytes:
    if not 0 <= size <= wire.CHUNK_BYTES:
        return wire.pack(Ask.ANSWER, errno.EFAULT)
    buffer = ffi.new("char[]", size)
    if size and lib.rt_copy_fault(buffer, ffi.cast("void *", addr), size) < 0:
        return wire.pack(Ask.ANSWER, errno.EFAULT)
    return wire.pack(Ask.ANSWER, 0, 0, bytes(ffi.buffer(buffer)))


def _write_memory(addr: int, data: bytes) -> bytes:
    failed = lib.rt_copy_fault(ffi.cast("void *", addr), data, len(data)) < 0
    return wire.pack(Ask.ANSWER, errno.EFAULT if failed else 0)


def mount_bpf(directory: str | os.PathLike[str] | None = None) -> MountBpf:
    """bpf(2) of the kernel that is mounted there (without a directory: of the only one). Raises UsageError, OSError."""
    return MountBpf(find_mount(directory))
