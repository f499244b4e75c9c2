"""Security hooks: programs of LSM type are asked whether what is about to happen may, system-wide or for a cgroup's tasks.

Nothing is asked where no program is attached: bpf(2) and the file systems look at `active` only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bpfjit.errors import refuse
from bpfjit.spec.lsm import HOOKS, PREFIX
from bpfjit.uapi import bpf as uapi
from runtime import ffi

from .caller import Caller, InKernel
from .fs.inode import Directory, Inode
from .objects import MapObject, ProgObject
from .task_files import FileRow, KernelFile

if TYPE_CHECKING:
    from .cgroup import Cgroup
    from .kernel import Kernel

_FMODE = {0: 1, 1: 2, 2: 3}  # of O_RDONLY, O_WRONLY, O_RDWR


def slot_of(attach_type: int, attach_btf_id: int) -> int:
    """Under what a cgroup keeps programs of an attach type: those of BPF_LSM_CGROUP hook by hook."""
    return attach_type if attach_type != uapi.BPF_LSM_CGROUP else attach_btf_id << 8 | attach_type


class Security:
    """The hooks of one kernel."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._users = dict.fromkeys(HOOKS, 0)  # programs and links, on cgroups and not
        self._ids = {name: int(kernel.btf.types.find_func(PREFIX + name) or 0) for name in HOOKS}
        self.active: frozenset[str] = frozenset()

    def used(self, hook: str, by: int) -> None:
        """One program more at a hook (named in full), or one less."""
        name = hook.removeprefix(PREFIX)
        if name in self._users:
            self._users[name] += by
            self.active = frozenset(name for name, users in self._users.items() if users)

    def ask(self, caller: Caller, name: str, args: list[int]) -> None:
        """Let a hook happen. Raises what its programs answer."""
        kernel = self._kernel
        task = kernel.tasks.find(caller.pid) or kernel.idle
        ret = kernel.functions[PREFIX + name].call(args, lambda: self._cgroups(name, args, task), task.c)
        for prog in kernel.progs:
            prog.check_fault()
        if ret:
            raise refuse((1 << 32) - ret if ret >> 31 else ret, f"a program at {PREFIX}{name} says no")

    def _cgroups(self, name: str, args: list[int], task: Any) -> int:
        """What the programs say that the current task's cgroup has at the hook."""
        from .bpf.cgroup_attach import effective
        from .bpf.cgroup_run import run_hook

        cgroup: Cgroup = task.cgroup
        progs = effective(cgroup, slot_of(uapi.BPF_LSM_CGROUP, self._ids[name]))
        return run_hook(self._kernel, progs, args, task) if progs else 0

    # -- what happens --------------------------------------------------------------------------------

    def bpf(self, caller: Caller, cmd: int, attr: bytes) -> None:
        native, size = self._kernel.native, uapi.LAYOUTS["bpf_attr"].size
        union = native.new("struct sock_common", size)  # room for the union, of which C here has no layout
        try:
            ffi.memmove(union, attr[:size], min(len(attr), size))
            self.ask(caller, "bpf", [cmd, _address(union), len(attr), int(isinstance(caller, InKernel))])
        finally:
            native.free(union, ffi.sizeof("struct sock_common") + size)

    def new_fd(self, caller: Caller, fd: int) -> int:
        """The fd that a command has made, of a map or program; closed where that may not be."""
        file = caller.fds.get(fd)
        obj = getattr(file, "object", None)
        try:
            if isinstance(obj, MapObject) and "bpf_map" in self.active:
                self.ask(caller, "bpf_map", [obj.native.addr, (1 if file.may_read else 0) | (2 if file.may_write else 0)])
            elif isinstance(obj, ProgObject) and "bpf_prog" in self.active:
                self.ask(caller, "bpf_prog", [_address(obj.c)])
        except OSError:
            caller.fds.close(fd)
            raise
        return fd

    def file_open(self, caller: Caller, inode: Inode, path: str, flags: int) -> None:
        native = self._kernel.native
        row = FileRow(path, flags, ino=inode.ino, mode=inode.mode, uid=inode.uid, gid=inode.gid, size=inode.size())
        file = KernelFile(native, row, inode.structure(native))
        try:
            self.ask(caller, "file_open", [_address(file.c)])
        finally:
            file.put()

    def name(self, caller: Caller, hook: str, directory: Directory, name: str, *more: int) -> None:
        """inode_mkdir, inode_rmdir, inode_unlink: a name in a directory is to be made or taken away."""
        native = self._kernel.native
        row = FileRow(name, 0)
        file = KernelFile(native, row)
        try:
            dentry = file.c.f_path.dentry
            inode = directory.lookup(name)
            dentry.d_inode = inode.structure(native) if inode is not None else ffi.NULL
            self.ask(caller, hook, [_address(directory.structure(native)), _address(dentry), *more])
        finally:
            file.put()


def _address(c: Any) -> int:
    return int(ffi.cast("uintptr_t", c))
