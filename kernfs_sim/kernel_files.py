"""The files of a simulated kernel, as its own caller (or another) reads and writes them."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import TYPE_CHECKING

from runtime import KernelHandle

from .bpf.fd import object_of
from .caller import Caller
from .cgroup import Cgroup, CgroupFs
from .fs.bpffs import Pin
from .fs.inode import O_WRONLY, OpenFile, Stat
from .fs.vfs import Vfs
from .views import ViewBatch


class KernelFiles:
    """What a Kernel does with paths."""

    if TYPE_CHECKING:
        vfs: Vfs
        caller: Caller
        cgroups: CgroupFs
        native: KernelHandle

        def refresh(self) -> None: ...

    def open(self, path: str, flags: int = 0, *, caller: Caller | None = None) -> OpenFile:
        """open(2): an open file with read(), pread(), write(), lseek(); put() closes it."""
        self.refresh()
        return self.vfs.open(caller or self.caller, path, flags)

    def read_bytes(self, path: str, *, caller: Caller | None = None) -> bytes:
        """The whole of a file, through open, read until the end, close."""
        self.refresh()
        return self.vfs.read(caller or self.caller, path)

    def read_text(self, path: str, *, caller: Caller | None = None) -> str:
        """As read_bytes(), decoded as UTF-8. Raises UnicodeDecodeError for what is not."""
        return self.read_bytes(path, caller=caller).decode()

    def batch(self, link: int | str, cgroups: Iterable[Cgroup] | None = None) -> ViewBatch:
        """A view of many cgroups (all, without `cgroups`) to be read in one native call, over and over.

        link: an fd of a view's link, or its pin's path in bpffs. Raises EACCES for what is no view of cgroups.
        """
        if isinstance(link, str):
            pin = self.vfs.lookup(self.caller, link)
            obj = pin.object if isinstance(pin, Pin) else None
        else:
            obj = object_of(self.caller, link)
        return ViewBatch(self.native, obj, list(self.cgroups if cgroups is None else cgroups))

    def read_views(self, link: int | str, cgroups: Iterable[Cgroup] | None = None) -> list[bytes]:
        """What a view shows of each cgroup, in order, at once; batch() for reading the same ones again."""
        with self.batch(link, cgroups) as batch:
            return batch.texts()

    def write_text(self, path: str, text: str, *, caller: Caller | None = None) -> int:
        """open for writing, write, close; the bytes written."""
        who = caller or self.caller
        file = self.vfs.open(who, path, O_WRONLY)
        try:
            return file.write(who, text.encode())
        finally:
            file.put()

    def unlink(self, path: str) -> None:
        self.vfs.unlink(self.caller, path)

    def mkdir(self, path: str) -> None:
        self.vfs.mkdir(self.caller, path)

    def rmdir(self, path: str) -> None:
        self.vfs.rmdir(self.caller, path)

    def stat(self, path: str) -> Stat:
        return self.vfs.stat(self.caller, path)

    def listdir(self, path: str) -> list[str]:
        return self.vfs.readdir(self.caller, path)

    def exists(self, path: str) -> bool:
        try:
            self.vfs.lookup(self.caller, path)
        except OSError as e:
            if e.errno in (errno.ENOENT, errno.ENOTDIR, errno.EPERM):
                return False
            raise
        return True
