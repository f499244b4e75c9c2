"""Dumpers: iterator programs without a link, as files of bpfdump or as a mere fd."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from bpfjit.errors import refuse
from bpfjit.uapi import bpf as uapi

from .bpf.fd import prog_of
from .bpf.iters import IterLink, OpenIter
from .caller import Caller
from .objects import ProgObject
from .targets.base import LinkInfo

if TYPE_CHECKING:
    from .kernel import Kernel


class OpenDumper(OpenIter):
    """An open dumper, whose fdinfo says what it dumps and by which program."""

    def __init__(self, kernel: Kernel, caller: Caller, prog: ProgObject, target: str, flags: int = 0) -> None:
        self.target, self.prog_id = target, prog.id
        walked = kernel.targets.iters[prog.program.attach_name.removeprefix("bpf_iter_")](kernel)
        walked.attach(caller, LinkInfo(walked.dump_info), prog)
        link = IterLink(prog, walked)
        try:
            super().__init__(kernel, caller, link, flags)
        finally:
            link.put()  # the open file holds it from now on

    def fdinfo(self) -> str:
        return super().fdinfo() + f"target:\t{self.target}\nprog_id:\t{self.prog_id}\n"


def open_dumper(kernel: Kernel, caller: Caller, prog: ProgObject, target: str, flags: int) -> OpenDumper:
    return OpenDumper(kernel, caller, prog, target, flags)


def anonymous(kernel: Kernel, caller: Caller, prog_fd: int) -> int:
    """A dumper without a name: the fd that BPF_PROG_ATTACH of an iterator program gives. Raises EINVAL."""
    prog = prog_of(caller, prog_fd)
    if prog.program.attach_type != uapi.BPF_TRACE_ITER:
        raise refuse(errno.EINVAL, f"program {prog.name} is no dumper")
    target = kernel.dumpers.directory_of(prog.program.attach_name)
    return caller.fds.install(OpenDumper(kernel, caller, prog, target))
