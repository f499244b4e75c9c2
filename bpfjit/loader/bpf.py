"""The way to a kernel: bpf(cmd, attr) and little else; and the live kernel's end of it.

`attr` is a bytearray of union bpf_attr; what the kernel writes back is written into it. A refusal raises
OSError with the kernel's errno. The simulated kernel's end is kernfs_sim.Kernel.bpf.
"""

from __future__ import annotations

import mmap
import os
import re
import select
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any, Protocol

from runtime import ffi, lib

from ..btf import RawBtf, parse_btf
from ..uapi import bpf as uapi


class Buffers:
    """Memory that attrs point into, kept for as long as the call takes."""

    def __init__(self) -> None:
        self._keep: list[Any] = []

    def put(self, data: bytes | bytearray) -> int:
        """The address of `data` (a bytearray may be written to by the kernel); 0 for nothing."""
        if not data:
            return 0
        buffer = ffi.from_buffer(data)
        self._keep.append((buffer, data))
        return int(ffi.cast("uintptr_t", buffer))


class Bpf(Protocol):
    """A kernel as a caller of bpf(2) sees it. `types` is for the loader: the kernel's BTF once it has been read."""

    types: RawBtf | None

    def __call__(self, cmd: int, attr: bytearray) -> int:
        """One bpf(2) call: its result. Raises OSError."""
        ...

    def close(self, fd: int) -> None:
        """close(2) of an fd that a call returned."""
        ...

    def config(self) -> Mapping[str, int | str]:
        """The kernel's configuration as a .config file has it, and LINUX_KERNEL_VERSION as a number."""
        ...

    def symbols(self, names: Set[str]) -> Mapping[str, int]:
        """The addresses of those kernel symbols that there are."""
        ...

    def possible_cpus(self) -> int:
        """How many values a per-CPU map's element has."""
        ...


class OpenBpf(Bpf, Protocol):
    """A kernel that can be looked into besides: what Linux tells in files, beside bpf(2)."""

    def open(self, path: str) -> int:
        """open(2) of a file or directory for reading: an fd, to be closed by close(). Raises OSError."""
        ...

    def fdinfo(self, fd: int) -> str:
        """The lines of /proc/PID/fdinfo/N of an fd that a call returned. Raises OSError."""
        ...


def kernel_btf(bpf: Bpf) -> RawBtf:
    """The kernel's own types: BTF id 1, read through bpf(2) once. Raises OSError where it may not be read."""
    if bpf.types is None:
        attr = bytearray(uapi.GetId(start_id=1).pack())
        fd = bpf(uapi.BPF_BTF_GET_FD_BY_ID, attr)
        try:
            data = bytearray(_btf_info(bpf, fd, bytearray()))
            _btf_info(bpf, fd, data)
        finally:
            bpf.close(fd)
        bpf.types = parse_btf(bytes(data))
    return bpf.types


def _btf_info(bpf: Bpf, fd: int, data: bytearray) -> int:
    layout = uapi.LAYOUTS["bpf_btf_info"]
    buffers, info = Buffers(), bytearray(layout.size)
    info[0:8] = buffers.put(data).to_bytes(8, "little")
    at = layout.fields["btf_size"][0]
    info[at : at + 4] = len(data).to_bytes(4, "little")
    bpf(uapi.BPF_OBJ_GET_INFO_BY_FD, bytearray(uapi.GetInfo(bpf_fd=fd, info_len=len(info), info=buffers.put(info)).pack()))
    return int.from_bytes(info[at : at + 4], "little")


class LiveBpf:
    """bpf(2) of the kernel that this process runs on."""

    types: RawBtf | None = None

    def __call__(self, cmd: int, attr: bytearray) -> int:
        result = int(lib.rt_sys_bpf(cmd, ffi.from_buffer(attr), len(attr)))
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        return result

    def close(self, fd: int) -> None:
        os.close(fd)

    def mmap(self, fd: int, size: int, writable: bool, offset: int = 0, addr: int = 0) -> mmap.mmap | memoryview:
        """mmap(2) of a map, at `addr` where that is given (MAP_FIXED_NOREPLACE). Raises OSError."""
        if addr:
            at = int(lib.rt_sys_mmap(fd, addr, size, writable))
            if at < 0:
                raise OSError(-at, os.strerror(-at))
            memory = ffi.gc(ffi.cast("char *", at), lambda p: lib.rt_sys_munmap(p, size))
            return memoryview(ffi.buffer(memory, size))
        return mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0), offset=offset)

    def poll(self, fd: int, timeout_ms: int) -> int:
        """poll(2) of a ring buffer: POLLIN or POLLOUT, 0 when the time is over."""
        waiter = select.poll()
        waiter.register(fd, select.POLLIN | select.POLLOUT)
        return sum(events for _, events in waiter.poll(timeout_ms))

    def open(self, path: str) -> int:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def fdinfo(self, fd: int) -> str:
        return Path(f"/proc/self/fdinfo/{fd}").read_text()

    def possible_cpus(self) -> int:
        """From /sys/devices/system/cpu/possible: "0-3", "0-1,4"."""
        ranges = Path("/sys/devices/system/cpu/possible").read_text().strip().split(",")
        return 1 + int(ranges[-1].rpartition("-")[2])

    def config(self) -> Mapping[str, int | str]:
        """From /proc/config.gz or /boot/config-RELEASE, as far as they are there."""
        import gzip  # late: whoever asks for the configuration wants it

        release = os.uname().release
        try:
            text = gzip.decompress(Path("/proc/config.gz").read_bytes()).decode("utf-8", "replace")
        except OSError:
            boot = Path(f"/boot/config-{release}")
            text = boot.read_text(errors="replace") if boot.is_file() else ""
        return {**parse_config(text), **virtual_config(release)}

    def symbols(self, names: Set[str]) -> Mapping[str, int]:
        """From /proc/kallsyms; the first of a name, as in libbpf."""
        found: dict[str, int] = {}
        with open("/proc/kallsyms") as f:
            for line in f:
                parts = line.split(None, 3)
                if len(parts) > 2 and parts[2] in names:
                    found.setdefault(parts[2], int(parts[0], 16))
        return found


def parse_config(text: str) -> dict[str, int | str]:
    """What the lines of a .config file set."""
    rows = (line.partition("=") for line in text.splitlines())
    return {name: value for name, equals, value in rows if equals and name.startswith("CONFIG_")}


def virtual_config(release: str) -> dict[str, int]:
    """The values that libbpf makes up, by a release like "6.18.0-rc1": the version as KERNEL_VERSION() has it."""
    m = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", release)
    major, minor, patch = (int(x or 0) for x in m.groups()) if m else (0, 0, 0)
    version = major << 16 | minor << 8 | min(patch, 255)
    return {"LINUX_KERNEL_VERSION": version, "LINUX_HAS_BPF_COOKIE": 1, "LINUX_HAS_SYSCALL_WRAPPER": 1}


live_bpf = LiveBpf()
