"""A directory of this machine with the simulated kernel's files in it: mounting, the threads that serve, unmounting.

As root by mount(2), as an ordinary user by fusermount3(1). The serving process never makes a call that could wait
for its own mount: what it must know of it comes from /proc/self/mountinfo.
"""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from bpfjit.errors import refuse
from bpfjit.uapi.mounts import FSTYPE, MountEntry, mounted_on
from runtime import FuseDevice, ffi

from ..control import Control
from . import fuse_wire as wire
from .fuse_callers import IdMap
from .fuse_serve import Server

if TYPE_CHECKING:
    from ..kernel import Kernel

_MS_NOSUID, _MS_NODEV = 2, 4
_MNT_FORCE, _MNT_DETACH = 1, 2
# A read of the device that brings no request and is no end: its caller was killed as it came, or a signal.
_AGAIN = (errno.ENOENT, errno.EINTR, errno.EAGAIN)
_JOIN_S = 2.0


def _is_stale(entry: MountEntry) -> bool:
    """Whether a mount's server is gone: nobody answers for it, and calls on it give ENOTCONN."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        try:
            sock.connect(entry.control)
            return False
        except OSError:
            pass
    try:
        os.statvfs(entry.path)  # stat() would be answered from what the kernel remembers
    except OSError as e:
        return e.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    return False


def check_place(directory: str) -> None:
    """Raises EINVAL for a directory (an absolute path without links) that hides what the server itself reads.

    It would wait for its own answer then, and with it everybody who looks there: of /proc, every ps(1).
    """
    own = (
        os.path.realpath("/proc"),
        "/dev",
        os.path.realpath(sys.prefix),
        sys.base_prefix,
        *map(os.path.realpath, sys.path),
    )
    below_proc = os.path.commonpath((directory, own[0])) == own[0]
    if below_proc or any(os.path.commonpath((directory, path)) == directory for path in own):
        raise refuse(errno.EINVAL, f"{directory}: the server itself needs what is there")


def clean_stale(directory: str) -> bool:
    """Unmount what killed runs have left on a directory; whether there was any. Raises OSError where it cannot."""
    cleaned = False
    while (entry := mounted_on(directory)) is not None and entry.fstype == FSTYPE and _is_stale(entry):
        _unmount(directory, lazily=True)
        cleaned = True
    return cleaned


def _libc(call: str, *args: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, call)(*args):
        number = ctypes.get_errno()
        raise refuse(number, f"{call}: {os.strerror(number).lower()}")


def _fusermount() -> str:
    found = shutil.which("fusermount3") or shutil.which("fusermount")
    if found is None:
        raise refuse(errno.ENOENT, "an ordinary user's mount needs fusermount3 (package fuse3)")
    return found


def _unmount(directory: str, *, lazily: bool = False) -> None:
    if os.geteuid() == 0:
        _libc("umount2", os.fsencode(directory), _MNT_DETACH if lazily else 0)
        return
    command = [_fusermount(), "-u", *(["-z"] if lazily else []), "--", directory]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise refuse(errno.EBUSY if "busy" in done.stderr else errno.EPERM, done.stderr.strip() or "fusermount3 failed")


def _mount_as_root(directory: str) -> int:
    try:
        fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    except OSError as e:
        raise refuse(e.errno or errno.ENODEV, f"/dev/fuse: {os.strerror(e.errno or 0).lower()}") from None
    options = f"fd={fd},rootmode=40755,user_id=0,group_id=0,default_permissions,allow_other"
    try:
        _libc(
            "mount", b"bpfjit", os.fsencode(directory), FSTYPE.encode(), ctypes.c_ulong(_MS_NOSUID | _MS_NODEV),
            options.encode(),
        )  # fmt: skip
    except OSError:
        os.close(fd)
        raise
    return fd


def _mount_as_user(directory: str) -> int:
    """fusermount3 opens the device, mounts, and hands the fd over a socket."""
    command = [_fusermount(), "-o", "default_permissions,nosuid,nodev,fsname=bpfjit,subtype=bpfjit", "--", directory]
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        done = subprocess.Popen(
            command,
            env={**os.environ, "_FUSE_COMMFD": str(theirs.fileno())},
            pass_fds=(theirs.fileno(),),
            stderr=subprocess.PIPE,
            text=True,
        )
        theirs.close()
        _, ancillary, _, _ = ours.recvmsg(1, socket.CMSG_SPACE(4))
        _, complaint = done.communicate()
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds = array.array("i", data[:4])
            os.set_inheritable(fds[0], False)
            return fds[0]
    raise refuse(errno.EPERM, complaint.strip() or f"fusermount3 failed with {done.returncode}")


class FuseMount:
    """The kernel's files at `directory` until close(); a context manager.

    Root's mount is open to every user; an ordinary user's is for that user alone, who is root in it. `threads`
    requests are served at once. `on_end` is called when nobody serves any more: unmounted, by whomever.
    Raises OSError: EBUSY where a bpfjit serves that directory already, ENOTDIR, EACCES.
    """

    def __init__(
        self,
        kernel: Kernel,
        directory: str | os.PathLike[str],
        *,
        threads: int = 4,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        self.kernel = kernel
        self.directory = os.path.realpath(directory)
        check_place(self.directory)
        self.cleaned = clean_stale(self.directory)  # whether a killed run's mount was there
        entry = mounted_on(self.directory)
        if entry is not None and entry.fstype == FSTYPE:
            raise refuse(errno.EBUSY, f"{self.directory}: another bpfjit serves this directory")
        kernel.own_mounts.add(self.directory)
        self._closed = False
        self.control: Control | None = None
        self._lock_fd = self._lock()
        self._fd = -1
        try:
            self._fd = self._mount()
        except BaseException:
            os.close(self._lock_fd)
            raise
        self.entry = mounted_on(self.directory)
        ids = IdMap() if os.geteuid() == 0 else IdMap(os.geteuid(), os.getegid())
        self._device = FuseDevice(self._fd)
        self.server = Server(kernel, self._write, ids, self._device)
        self._on_end = on_end
        self._workers = [threading.Thread(target=self._work, name=f"fuse-{i}", daemon=True) for i in range(threads)]
        self._running = threads
        self._count = threading.Lock()
        try:
            self._handshake()
        except BaseException:
            self.close()
            raise
        assert self.entry is not None
        try:
            self.control = self._open_control(self.entry.control, ids)
        except OSError as e:
            self.close()
            raise refuse(e.errno or 0, f"{self.directory}: control socket: {os.strerror(e.errno or 0).lower()}") from None
        self.server.start()
        for worker in self._workers:
            worker.start()

    def _lock(self) -> int:
        """Hold the directory below the mount, so that of two runs at the same moment one is refused."""
        try:
            fd = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as e:
            raise refuse(e.errno or errno.ENOENT, f"{self.directory}: {os.strerror(e.errno or 0).lower()}") from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise refuse(errno.EBUSY, f"{self.directory}: another bpfjit serves this directory") from None
        return fd

    def _mount(self) -> int:
        if not stat.S_ISDIR(os.fstat(self._lock_fd).st_mode):
            raise refuse(errno.ENOTDIR, f"{self.directory} is no directory")
        return _mount_as_root(self.directory) if os.geteuid() == 0 else _mount_as_user(self.directory)

    def _open_control(self, address: bytes, ids: IdMap) -> Control:
        """The control socket. Who had our device number before, and was unmounted by others, may be about to let go."""
        end = time.monotonic() + _JOIN_S
        while True:
            try:
                return Control(self.kernel, address, ids)
            except OSError as e:
                if e.errno != errno.EADDRINUSE or time.monotonic() > end:
                    raise
            time.sleep(0.01)

    def _handshake(self) -> None:
        """INIT: the kernel's first request, before any other; twice where it speaks a later major."""
        for _ in range(2):
            raw = os.read(self._fd, wire.BUFFER_BYTES)
            self._write(self.server.serve(raw))
            if wire.parse(raw).fields[0] == wire.MAJOR:
                return
        raise refuse(errno.EPROTO, "the kernel speaks no FUSE that we do")

    # -- serving -----------------------------------------------------------------------------------------

    def _write(self, message: bytes) -> None:
        """A reply or notification. What is answered too late, or told of what the kernel has forgotten, is no error."""
        try:
            os.write(self._fd, message)
        except OSError as e:
            if e.errno == errno.EINVAL:
                # The kernel does not take it, and would let the caller wait for another.
                _, _, unique = wire.REPLY.unpack_from(message)
                if unique:
                    os.write(self._fd, wire.refusal(unique, errno.EIO))

    def _work(self) -> None:
        buffer = bytearray(wire.BUFFER_BYTES)
        view, serve, device = memoryview(buffer), self.server.serve, self._device
        native = ffi.from_buffer(buffer)
        while True:
            try:
                size = device.next(native, len(buffer))
            except OSError as e:
                if e.errno in _AGAIN:
                    continue
                break  # ENODEV: unmounted; ECONNABORTED: broken off
            message = serve(view[:size])
            if message:
                try:
                    self._write(message)
                except OSError:
                    break
        with self._count:
            self._running -= 1
            last = not self._running
        if last and self._on_end is not None:
            self._on_end()

    # -- the end -----------------------------------------------------------------------------------------

    def close(self) -> None:
        """Unmount, and let go of all. Whoever still uses a file gets ENOTCONN. May be called again."""
        if self._closed:
            return
        self._closed = True
        if self.control is not None:  # first: the address is the next one's that gets our device number
            self.control.close()
        entry = mounted_on(self.directory)
        if entry is not None and self.entry is not None and entry.mount_id == self.entry.mount_id:
            self._take_down()
        end = time.monotonic() + _JOIN_S
        for worker in self._workers:
            if worker.is_alive():
                worker.join(max(0.0, end - time.monotonic()))
        self.server.close()
        if not any(worker.is_alive() for worker in self._workers):
            self._device.close()
            os.close(self._fd)
        # else: an ordinary user cannot break the connection off while others use it; it goes with this process
        os.close(self._lock_fd)

    def _take_down(self) -> None:
        try:
            _unmount(self.directory)
            return
        except OSError:
            pass
        if os.geteuid() == 0:
            # In use: break the connection off, so that nobody waits, and take the name away.
            try:
                _libc("umount2", os.fsencode(self.directory), _MNT_FORCE)
                return
            except OSError:
                pass
        _unmount(self.directory, lazily=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
