"""A user of a kernel by capabilities: a caller with credentials on the simulated one, on Linux a child without root."""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from systems import Live, Simulated, System

from bpfjit.loader.bpf import Bpf
from kernfs_sim import Cred, InProcess
from kernfs_sim.caller import CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON, CAP_SYS_ADMIN

UID = 1000
CAPABILITIES: Mapping[str, frozenset[int]] = {
    "nobody": frozenset(),
    "bpf": frozenset({CAP_BPF}),
    "bpf and net_admin": frozenset({CAP_BPF, CAP_NET_ADMIN}),
    "bpf and perfmon": frozenset({CAP_BPF, CAP_PERFMON}),
    "sys_admin": frozenset({CAP_SYS_ADMIN}),
}
_PR_SET_KEEPCAPS, _CAP_VERSION_3 = 8, 0x20080522


def as_user(system: System, who: str, fds: Mapping[str, int], act: Callable[[Bpf, Mapping[str, int]], Any]) -> Any:
    """What act(bpf, fds) returns (as JSON knows it), done by a user who inherits those fds."""
    if isinstance(system, Simulated):
        caller = InProcess(Cred(UID, UID, CAPABILITIES[who]))
        files = {name: caller.fds.install(system.caller.fds.get(fd).get()) for name, fd in fds.items()}
        try:
            return json.loads(json.dumps(act(system.kernel.caller_bpf(caller), files)))
        finally:
            caller.fds.close_all()
    return _in_child(system, CAPABILITIES[who], lambda: act(system.bpf, fds))


def _in_child(system: Live, capabilities: frozenset[int], act: Callable[[], Any]) -> Any:
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            _become(capabilities)
            answer = act()
        except BaseException as e:
            answer = f"{type(e).__name__}: {e}"
        os.write(writer, json.dumps(answer).encode())
        os._exit(0)
    os.close(writer)
    data = b""
    while part := os.read(reader, 1 << 16):
        data += part
    os.close(reader)
    os.waitpid(pid, 0)
    return json.loads(data)


def _become(capabilities: frozenset[int]) -> None:
    """This process becomes an ordinary user's, with no capabilities but those."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(UID)
    os.setuid(UID)
    bits = sum(1 << c for c in capabilities)
    low, high = bits & 0xFFFFFFFF, bits >> 32
    header = (ctypes.c_uint32 * 2)(_CAP_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)
    if libc.capset(header, data):
        raise OSError(ctypes.get_errno(), "capset")
