"""What running programs ask of the control side: bpf_sys_bpf() and its companions, for the caller of the test run."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bpfjit.btf import Kind
from bpfjit.errors import refuse
from bpfjit.uapi import bpf as uapi
from runtime import ffi, lib

from ..caller import CAP_SYSLOG, Caller, InKernel
from . import commands

if TYPE_CHECKING:
    from ..kernel import Kernel

# What Linux 6.18 lets a program do; PROG_TEST_RUN is not among it, so no loader runs another.
_ALLOWED = frozenset(
    {
        uapi.BPF_MAP_CREATE,
        uapi.BPF_MAP_DELETE_ELEM,
        uapi.BPF_MAP_UPDATE_ELEM,
        uapi.BPF_MAP_FREEZE,
        uapi.BPF_MAP_GET_FD_BY_ID,
        uapi.BPF_PROG_LOAD,
        uapi.BPF_BTF_LOAD,
        uapi.BPF_LINK_CREATE,
        uapi.BPF_RAW_TRACEPOINT_OPEN,
    }
)


class _Run(threading.local):
    """What this thread runs: for whom, the files closed meanwhile, a bug of ours that could not cross C."""

    caller: InKernel | None = None
    closed: list[Any]
    fault: BaseException | None = None


class Upcalls:
    """One kernel's answers. C reaches them through one callback, whatever the thread."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._run = _Run()
        self._answers = {
            lib.RT_UP_SYS_BPF: self._sys_bpf,
            lib.RT_UP_SYS_CLOSE: self._sys_close,
            lib.RT_UP_FIND_BTF: self._find_btf,
            lib.RT_UP_SYMBOL: self._symbol,
            lib.RT_UP_COPY_USER: self._copy_user,
        }
        self._callback = ffi.callback("s64(u32, u64, u64, u64)", self._answer)
        lib.rt_kernel_upcall(kernel.native.ptr, self._callback)

    @contextmanager
    def on_behalf_of(self, caller: Caller) -> Iterator[None]:
        """While a program runs here, what it asks for is asked by `caller`."""
        run = self._run
        before = run.caller
        run.caller, run.closed, run.fault = InKernel(caller), [], None
        away = not caller.is_here
        if away:
            lib.rt_kernel_elsewhere(self._kernel.native.ptr, 1)
        try:
            yield
        finally:
            if away:
                lib.rt_kernel_elsewhere(self._kernel.native.ptr, -1)
            run.caller, closed, fault = before, run.closed, run.fault
            # As fput() does: the last reference of a file goes when the program has returned, no reader being left.
            if closed:
                lib.rt_rcu_barrier(self._kernel.native.ptr)
            for gone in closed:
                gone.put()
            if fault is not None:
                raise fault

    def after_readers(self, obj: Any) -> None:
        """Drop a reference once no program can be in the object; a program under way here is one of them."""
        if self._run.caller is not None:
            self._run.closed.append(obj)
        else:
            lib.rt_rcu_barrier(self._kernel.native.ptr)
            obj.put()

    def _answer(self, what: int, a: int, b: int, c: int) -> int:
        try:
            return self._answers[what](a, b, c)
        except OSError as e:
            return -(e.errno or errno.EINVAL)
        except BaseException as e:
            self._run.fault = e
            return -errno.EFAULT

    def _caller(self) -> InKernel:
        caller = self._run.caller
        if caller is None:
            raise refuse(errno.EPERM, "no caller in whose context the program runs")
        return caller

    def _sys_bpf(self, cmd: int, addr: int, size: int) -> int:
        if cmd not in _ALLOWED:
            raise refuse(errno.EINVAL, f"programs may not call bpf command {cmd}")
        caller = self._caller()
        attr = bytearray(caller.read(addr, size))
        before = bytes(attr)
        try:
            return commands.call(self._kernel, caller, cmd, attr)
        finally:
            if attr != before:
                caller.write(addr, bytes(attr[:size]))

    def _sys_close(self, fd: int, _b: int, _c: int) -> int:
        self._run.closed.append(self._caller().fds.remove(fd))
        return 0

    def _find_btf(self, addr: int, kind: int, _c: int) -> int:
        name = ffi.string(ffi.cast("char *", addr)).decode("utf-8", "replace")
        try:
            found = self._kernel.btf.types.find(Kind(kind), name)
        except ValueError:
            found = None
        if not found:
            raise refuse(errno.ENOENT, f"no {name} of kind {kind} in the kernel's BTF")
        return int(found)

    def _copy_user(self, dst: int, size: int, src: int) -> int:
        run = self._run.caller
        user = run.user if run is not None else self._kernel.caller
        ffi.memmove(ffi.cast("char *", dst), user.read(src, size), size)
        return 0

    def _symbol(self, addr: int, _b: int, _c: int) -> int:
        name = ffi.string(ffi.cast("char *", addr)).decode("utf-8", "replace")
        run = self._run.caller
        if run is not None and not run.cred.capable(CAP_SYSLOG):
            raise refuse(errno.EPERM, "kernel addresses want CAP_SYSLOG")
        return self._kernel.bpf.symbols({name}).get(name, 0)
