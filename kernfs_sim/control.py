"""The control socket of a mounted kernel: bpf(2) for other processes, events, and reads of their fds.

Each connection is a caller of its own, with the credentials of the process behind it and its own fds, which close
when it goes. A thread serves each; one that stalls is waited for a while, and alone.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import socket
import struct
import threading
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bpfjit.errors import UsageError, refuse
from bpfjit.uapi import control as wire
from bpfjit.uapi.control import Ask, Say

from .caller import CAP_SYS_ADMIN, Cred, FdTable
from .fs.fuse_callers import IdMap, namespaces_of
from .namespaces import INITIAL, Namespaces
from .scenario import play_event

if TYPE_CHECKING:
    from .kernel import Kernel

_ANSWER_S = 10.0  # how long a caller may take to serve its own memory
_PER_UID, _IN_ALL = 32, 256  # connections
_MOST_BYTES = 1 << 28  # of one caller's memory in one piece
_SO_PEERGROUPS = 59
_UCRED = struct.Struct("iII")


class _Gone(Exception):
    """The other side has closed, or says what makes no sense."""


class Remote:
    """A process at the other end of a connection, as a caller of bpf(2)."""

    is_here = False

    def __init__(self, sock: socket.socket, cred: Cred, pid: int, umask: int) -> None:
        self._sock = sock
        self.cred = cred
        self.pid = pid
        self.umask = umask
        self.namespaces: Namespaces = INITIAL
        self.fds = FdTable()

    def receive(self) -> tuple[int, int, int, bytes]:
        packet = self._sock.recv(wire.PACKET_BYTES + 1)
        try:
            return wire.unpack(packet)
        except ValueError as e:
            raise _Gone(str(e)) from None

    def send(self, message: bytes) -> None:
        self._sock.settimeout(_ANSWER_S)
        self._sock.sendall(message)

    def _ask(self, message: bytes, addr: int, size: int) -> bytes:
        """READ or WRITE, and the caller's answer. Raises EFAULT; _Gone where none comes."""
        self.send(message)
        try:
            kind, code, _, payload = self.receive()
        except TimeoutError:
            raise _Gone("no answer") from None
        if kind != Ask.ANSWER:
            raise _Gone(f"message {kind} where an answer should come")
        if code:
            raise refuse(errno.EFAULT, f"{size} bytes at {addr:#x} cannot be reached")
        return payload

    def read(self, addr: int, size: int) -> bytes:
        parts = []
        for start, n in self._chunks(addr, size):
            part = self._ask(wire.pack(Say.READ, n, start), start, n)
            if len(part) != n:
                raise _Gone(f"{len(part)} bytes where {n} were asked for")
            parts.append(part)
        return b"".join(parts)

    def write(self, addr: int, data: bytes) -> None:
        for start, n in self._chunks(addr, len(data)):
            self._ask(wire.pack(Say.WRITE, 0, start, data[start - addr : start - addr + n]), start, n)

    def _chunks(self, addr: int, size: int) -> list[tuple[int, int]]:
        if size > _MOST_BYTES or addr < 0 or addr + size > 1 << 64:
            raise refuse(errno.EFAULT, f"{size} bytes at {addr:#x}")
        return [(addr + i, min(wire.CHUNK_BYTES, size - i)) for i in range(0, size, wire.CHUNK_BYTES)]


class Control:
    """Serves connections at an abstract address (bytes that begin with NUL) until close(). Raises EADDRINUSE."""

    def __init__(self, kernel: Kernel, address: bytes, ids: IdMap | None = None) -> None:
        self.kernel = kernel
        self.ids = ids or IdMap()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        try:
            self._listener.bind(address)
            self._listener.listen(16)
        except OSError:
            self._listener.close()
            raise
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, int] = {}
        self._threads: set[threading.Thread] = set()
        self._closed = False
        self._acceptor = threading.Thread(target=self._accept, name="control", daemon=True)
        self._acceptor.start()

    def close(self) -> None:
        """Let every connection go, with its fds."""
        self._closed = True
        for sock in (self._listener, *self._connections):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in (self._acceptor, *self._threads):
            if thread is not threading.current_thread():
                thread.join(2.0)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                if self._closed:
                    return
                threading.Event().wait(0.05)  # out of fds: later
                continue
            pid, uid, gid = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
            with self._lock:
                mine = sum(1 for other in self._connections.values() if other == uid)
                full = self._closed or mine >= _PER_UID or len(self._connections) >= _IN_ALL
                if not full:
                    self._connections[sock] = uid
            # An ordinary user's kernel is for that user alone, as the mount is.
            if full or (self.ids.root_uid and uid != self.ids.root_uid):
                with contextlib.suppress(OSError):
                    sock.setblocking(False)
                    sock.send(_failed(errno.EAGAIN if full else errno.EACCES, "no connection for you here"))
                self._drop(sock)
                continue
            cred = self.ids.cred(uid, gid, _groups_of(sock))
            thread = threading.Thread(target=self._serve, args=(sock, cred, pid), name="control-client", daemon=True)
            self._threads.add(thread)
            thread.start()

    def _drop(self, sock: socket.socket) -> None:
        with self._lock:
            self._connections.pop(sock, None)
        sock.close()

    def _serve(self, sock: socket.socket, cred: Cred, pid: int) -> None:
        remote = Remote(sock, cred, pid, _umask_of(pid))
        try:
            self.kernel.refresh()  # it may have begun since the machine was looked at
            remote.namespaces = namespaces_of(self.kernel, pid)
            who = json.dumps({"pid": os.getpid(), "cpus": self.kernel.native.cpus}).encode()
            remote.send(wire.pack(Say.RETURN, 0, wire.VERSION, who))
            while True:
                sock.settimeout(None)
                kind, code, number, payload = remote.receive()
                ask = _ASKS.get(kind)
                if ask is None:
                    break
                remote.send(_answer(self.kernel, remote, ask, code, number, payload))
        except (_Gone, OSError):
            pass
        finally:
            remote.fds.close_all()
            self._drop(sock)
            self._threads.discard(threading.current_thread())


def _groups_of(sock: socket.socket) -> tuple[int, ...]:
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 4 * 65536)  # NGROUPS_MAX
    except OSError:
        return ()
    return struct.unpack(f"{len(raw) // 4}I", raw)


def _umask_of(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/status") as f:
            found = re.search(r"^Umask:\s*([0-7]+)$", f.read(), re.M)
    except OSError:
        found = None
    return int(found[1], 8) if found else 0o022


# -- what is asked: each gives a result and a payload, and raises OSError or UsageError ---------------------

_Asked = Callable[["Kernel", Remote, int, int, bytes], tuple[int, bytes]]


def _failed(number: int, why: str, attr: bytes = b"") -> bytes:
    room = wire.CHUNK_BYTES - len(attr)
    return wire.pack(Say.RETURN, number or errno.EIO, len(attr), attr + why.encode("utf-8", "replace")[:room])


def _answer(kernel: Kernel, remote: Remote, ask: _Asked, code: int, number: int, payload: bytes) -> bytes:
    attr = bytearray(payload)
    try:
        if ask is _call:
            result = kernel.caller_bpf(remote)(code, attr)
            return wire.pack(Say.RETURN, 0, result & ((1 << 64) - 1), attr)
        result, data = ask(kernel, remote, code, number, payload)
        return wire.pack(Say.RETURN, 0, result, data)
    except UsageError as e:
        return wire.pack(Say.USAGE, 0, 0, str(e).encode("utf-8", "replace")[: wire.CHUNK_BYTES])
    except OSError as e:
        return _failed(e.errno or errno.EIO, e.strerror or "", bytes(attr) if ask is _call else b"")
    except _Gone:
        raise
    except Exception:  # a bug of ours ends a call, not the server
        traceback.print_exc()
        return _failed(errno.EIO, "internal error, a bug of bpfjit")


def _call(kernel: Kernel, remote: Remote, code: int, number: int, payload: bytes) -> tuple[int, bytes]:
    raise AssertionError("its attr comes back whether it succeeds or not: see _answer()")


def _close(kernel: Kernel, remote: Remote, code: int, number: int, payload: bytes) -> tuple[int, bytes]:
    remote.fds.close(code)
    return 0, b""


def _read_fd(kernel: Kernel, remote: Remote, code: int, number: int, payload: bytes) -> tuple[int, bytes]:
    file: Any = remote.fds.get(code)
    data = file.read(remote, min(number, wire.CHUNK_BYTES))
    return len(data), data


def _open(kernel: Kernel, remote: Remote, code: int, number: int, payload: bytes) -> tuple[int, bytes]:
    file = kernel.vfs.open(remote, os.fsdecode(payload))
    return remote.fds.install(file), b""


def _fdinfo(kernel: Kernel, remote: Remote, code: int, number: int, payload: bytes) -> tuple[int, bytes]:
    file: Any = remote.fds.get(code)
    return 0, file.fdinfo().encode()


def _fire(kernel: Kernel, remote: Remote, code: int, number: int, payload: bytes) -> tuple[int, bytes]:
    if not remote.cred.may(CAP_SYS_ADMIN):
        raise refuse(errno.EPERM, "events are for root to fire")
    play_event(kernel, _json(payload))
    return 0, b""


def _config(kernel: Kernel, remote: Remote, code: int, number: int, payload: bytes) -> tuple[int, bytes]:
    return 0, json.dumps(dict(kernel.bpf.config())).encode()


def _symbols(kernel: Kernel, remote: Remote, code: int, number: int, payload: bytes) -> tuple[int, bytes]:
    names = _json(payload)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise refuse(errno.EINVAL, "names of symbols are a list of strings")
    return 0, json.dumps(dict(kernel.caller_bpf(remote).symbols(set(names)))).encode()


def _known(kernel: Kernel, remote: Remote, code: int, number: int, payload: bytes) -> tuple[int, bytes]:
    request = _json(payload)
    verb = _KNOWN.get(str(request.get("do"))) if isinstance(request, dict) else None
    if verb is None:
        raise refuse(errno.EINVAL, f"what is to be done with known programs? Wanted one of {', '.join(_KNOWN)}")
    try:
        answer = verb(kernel, remote, request)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise refuse(errno.EINVAL, f"a request to {request['do']} that makes no sense") from None
    return 0, json.dumps(answer).encode()


def _list_known(kernel: Kernel, remote: Remote, request: dict[str, Any]) -> Any:
    return [[digest.hex(), name, number] for digest, name, number in kernel.known.listed()]


def _instantiate(kernel: Kernel, remote: Remote, request: dict[str, Any]) -> Any:
    maps = {int(index): int(fd) for index, fd in request.get("maps", {}).items()}
    made = kernel.known.instantiate(remote, bytes.fromhex(request["digest"]), maps)
    return {"prog_fd": made.prog_fd, "map_fds": made.map_fds, "attach_type": made.attach_type}


def _admit(kernel: Kernel, remote: Remote, request: dict[str, Any]) -> Any:
    return kernel.known.admit(remote, int(request["prog_fd"]), anywhere=bool(request.get("anywhere"))).hex()


def _revoke(kernel: Kernel, remote: Remote, request: dict[str, Any]) -> Any:
    kernel.known.revoke(remote, bytes.fromhex(request["digest"]))


_KNOWN: dict[str, Callable[[Kernel, Remote, dict[str, Any]], Any]] = {
    "list": _list_known,
    "instantiate": _instantiate,
    "admit": _admit,
    "revoke": _revoke,
}


def _json(payload: bytes) -> Any:
    try:
        return json.loads(payload)
    except (ValueError, RecursionError):
        raise refuse(errno.EINVAL, "what should be JSON is not") from None


_ASKS: dict[int, _Asked] = {
    Ask.CALL: _call,
    Ask.CLOSE: _close,
    Ask.READ_FD: _read_fd,
    Ask.FDINFO: _fdinfo,
    Ask.OPEN: _open,
    Ask.FIRE: _fire,
    Ask.CONFIG: _config,
    Ask.SYMBOLS: _symbols,
    Ask.KNOWN: _known,
}
