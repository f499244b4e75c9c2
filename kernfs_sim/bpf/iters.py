"""Iterators: links of iterator programs to what they walk, and the files that run them. The targets: kernfs_sim/targets."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from bpfjit.errors import refuse
from bpfjit.uapi import bpf as uapi
from runtime import Iter, ffi

from ..caller import Caller
from ..fs.inode import OpenFile
from ..objects import LinkObject, ProgObject, Told
from ..targets.base import IterTarget, LinkInfo, Rows
from .fd import link_of

if TYPE_CHECKING:
    from ..kernel import Kernel

MAX_READ_BYTES = 1 << 21


class IterLink(LinkObject):
    """A link to an iterator target, which holds what is walked."""

    type = uapi.BPF_LINK_TYPE_ITER
    type_name = "iter"
    updatable = True

    def __init__(self, prog: ProgObject, walked: IterTarget) -> None:
        super().__init__(prog, walked.name)
        self.walked = walked

    def fdinfo(self) -> Rows:
        return [("target_name", self.target), *self.walked.fdinfo()]

    def tell(self, info: Told) -> None:
        self.walked.fill_info(info.put)
        info.put_name("iter.target_name", "iter.target_name_len", self.target)

    def let_go(self) -> None:
        self.walked.release()


class OpenIter(OpenFile):
    """An open iterator: a session of its own, which goes on with the program it began with.

    What is walked is what the caller who opens it is shown: the tasks of its pid namespace, its network's sockets.
    """

    seekable = False

    def __init__(self, kernel: Kernel, caller: Caller, link: IterLink, flags: int = 0) -> None:
        super().__init__(None, flags)
        self._link = link.get()
        self._prog = link.prog.get()
        self._handle = kernel.native
        self._handle.hold()
        how = ffi.new("struct rt_iter_how *")
        how.ops = kernel.targets.walk(link.target)
        self._keep = link.walked.begin(caller, how)
        self._native = Iter(kernel.native, self._prog.fn, how, next(kernel.sessions))

    def read(self, caller: Caller, size: int) -> bytes:
        if not self.readable:
            raise refuse(errno.EBADF, "file is not open for reading")
        data = self._native.read(min(size, MAX_READ_BYTES), ffi.NULL)
        self._prog.check_fault()
        return data

    def pread(self, caller: Caller, size: int, pos: int) -> bytes:
        raise refuse(errno.ESPIPE, "an iterator has no positions")

    def lseek(self, pos: int) -> int:
        raise refuse(errno.ESPIPE, "an iterator has no positions")

    def write(self, caller: Caller, data: bytes) -> int:
        raise refuse(errno.EBADF, "an iterator cannot be written")

    def release(self) -> None:
        self._native.close()
        if self._keep is not None:
            self._keep.free()
        self._prog.put()
        self._link.put()
        self._handle.drop()


def new_link(kernel: Kernel, caller: Caller, attr: uapi.LinkCreate, prog: ProgObject) -> IterLink:
    """The link of an iterator program. Raises EINVAL, EBADF, ENOENT, EACCES as the target's parameters are."""
    walked = kernel.targets.iters[prog.program.attach_name.removeprefix("bpf_iter_")](kernel)
    walked.attach(caller, LinkInfo.of(caller, attr.iter_info, attr.iter_info_len), prog)
    return IterLink(prog, walked)


def create(kernel: Kernel, caller: Caller, attr: uapi.IterCreate) -> int:
    """BPF_ITER_CREATE: an open iterator over what the link walks. Raises EINVAL for other links."""
    if attr.flags:
        raise refuse(errno.EINVAL, f"iterator flags {attr.flags:#x}")
    link = link_of(caller, attr.link_fd)
    if not isinstance(link, IterLink):
        raise refuse(errno.EINVAL, f"link {link.id} is no iterator's")
    kernel.refresh()
    return caller.fds.install(OpenIter(kernel, caller, link))
