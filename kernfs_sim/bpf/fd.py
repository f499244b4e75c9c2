"""BPF objects as open files: each fd of a map, program, link or BTF holds a reference."""

from __future__ import annotations

import errno
from typing import NoReturn, TypeVar

from bpfjit.errors import refuse

from ..caller import Caller, Cred
from ..fs.inode import OpenFile
from ..objects import BtfObject, LinkObject, MapObject, Object, ProgObject
from . import fdinfo

T = TypeVar("T", bound=Object)


class ObjectFile(OpenFile):
    """The open file behind an object's fd. `may_read`/`may_write`: what a map fd allows (BPF_F_RDONLY, _WRONLY).

    `cred` is whose who opened it: what is told of kernel addresses depends on that, not on who asks.
    """

    __slots__ = ("cred", "may_read", "may_write", "object")

    def __init__(self, obj: Object, cred: Cred, *, may_read: bool = True, may_write: bool = True) -> None:
        super().__init__(None, 2)
        self.cred = cred
        self.object = obj.get()
        obj.opened()
        self.may_read = may_read
        self.may_write = may_write

    def release(self) -> None:
        self.object.closed()
        self.object.put()

    def fdinfo(self) -> str:
        return super().fdinfo() + fdinfo.lines(self.object)


def install(caller: Caller, obj: Object, *, may_read: bool = True, may_write: bool = True) -> int:
    """A new fd for an object, close-on-exec as bpf(2)'s are."""
    return caller.fds.install(ObjectFile(obj, caller.cred, may_read=may_read, may_write=may_write))


def install_new(caller: Caller, obj: Object) -> int:
    """As install(), handing over the reference that the object was made with."""
    fd = install(caller, obj)
    obj.put()
    return fd


def _of(caller: Caller, fd: int, kind: type[T], what: str) -> T:
    file = caller.fds.get(fd)
    if not isinstance(file, ObjectFile) or not isinstance(file.object, kind):
        raise refuse(errno.EINVAL, f"fd {fd} is no BPF {what}")
    return file.object


def no_token(caller: Caller, fd: int) -> NoReturn:
    """An fd that is said to be a token's: none is made here. Raises EBADF, EINVAL."""
    caller.fds.get(fd)
    raise refuse(errno.EINVAL, f"fd {fd} is no token")


def map_of(caller: Caller, fd: int, *, reading: bool = False, writing: bool = False) -> MapObject:
    """The map behind an fd. Raises EBADF, EINVAL, or EPERM where the fd does not allow the access."""
    file = caller.fds.get(fd)
    if not isinstance(file, ObjectFile) or not isinstance(found := file.object, MapObject):
        raise refuse(errno.EINVAL, f"fd {fd} is no BPF map")
    if (reading and not file.may_read) or (writing and not file.may_write):
        raise refuse(errno.EPERM, f"map fd {fd} does not allow {'writing' if writing else 'reading'}")
    return found


def prog_of(caller: Caller, fd: int) -> ProgObject:
    return _of(caller, fd, ProgObject, "program")


def link_of(caller: Caller, fd: int) -> LinkObject:
    return _of(caller, fd, LinkObject, "link")


def btf_of(caller: Caller, fd: int) -> BtfObject:
    return _of(caller, fd, BtfObject, "BTF object")


def object_of(caller: Caller, fd: int) -> Object:
    """Whatever object an fd is of, to be pinned. Raises EINVAL for other files and for none."""
    file = caller.fds.find(fd)
    if not isinstance(file, ObjectFile) or isinstance(file.object, BtfObject):
        raise refuse(errno.EINVAL, f"fd {fd} is no BPF map, program or link")
    found: Object = file.object
    return found
