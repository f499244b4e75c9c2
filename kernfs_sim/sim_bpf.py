"""bpf(2) of a simulated kernel as a caller has it, and what else a loader asks of a system."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import TYPE_CHECKING

from bpfjit.btf import RawBtf
from runtime import lib

from .bpf import commands
from .caller import CAP_SYSLOG, Caller

if TYPE_CHECKING:
    from .kernel import Kernel

# What a program may ask of the kernel's configuration: the release that is simulated, and what of it is here.
CONFIG: Mapping[str, int | str] = {
    "LINUX_KERNEL_VERSION": 6 << 16 | 18 << 8,
    "LINUX_HAS_BPF_COOKIE": 1,
    "LINUX_HAS_SYSCALL_WRAPPER": 1,
    **dict.fromkeys(
        ("CONFIG_BPF", "CONFIG_BPF_SYSCALL", "CONFIG_BPF_JIT", "CONFIG_CGROUPS", "CONFIG_64BIT", "CONFIG_X86_64"), "y"
    ),
    "CONFIG_HZ": "250",
}


class SimBpf:
    """bpf(2) of a simulated kernel for one caller: what a loader is handed."""

    types: RawBtf | None = None

    def __init__(self, kernel: Kernel, caller: Caller) -> None:
        self.kernel = kernel
        self.caller = caller

    def __call__(self, cmd: int, attr: bytearray) -> int:
        """One bpf(2) call. Raises OSError; ENODEV once the kernel is closed."""
        native = self.kernel.native
        native.hold()
        try:
            return commands.call(self.kernel, self.caller, cmd, attr)
        finally:
            native.drop()

    def close(self, fd: int) -> None:
        self.caller.fds.close(fd)

    def mmap(self, fd: int, size: int, writable: bool, offset: int = 0, addr: int = 0) -> memoryview:
        """mmap(2) of a map: its memory, without a copy; `addr`: where the user has an arena. Raises OSError."""
        from .bpf import map_mmap

        return map_mmap.mmap(self.caller, fd, size, writable, offset, addr)

    def poll(self, fd: int, timeout_ms: int) -> int:
        """poll(2) of a ring buffer: POLLIN or POLLOUT, 0 when the time is over. Raises OSError."""
        from .bpf import map_mmap

        return map_mmap.poll(self.caller, fd, timeout_ms)

    def open(self, path: str) -> int:
        """open(2) for reading, of a path of the simulated system: an fd. Raises OSError."""
        return self.caller.fds.install(self.kernel.vfs.open(self.caller, path))

    def fdinfo(self, fd: int) -> str:
        text: str = self.caller.fds.get(fd).fdinfo()
        return text

    def possible_cpus(self) -> int:
        return self.kernel.native.cpus

    def config(self) -> Mapping[str, int | str]:
        return CONFIG

    def symbols(self, names: Set[str]) -> Mapping[str, int]:
        """Addresses of kernel symbols, as far as the kernel has them and the caller may see addresses."""
        if not self.caller.cred.capable(CAP_SYSLOG):
            return {}
        return {name: addr for name in names if (addr := int(lib.rt_ksym_address(name.encode())))}
