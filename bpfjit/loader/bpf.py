"""The way to a kernel: bpf(cmd, attr) and little else; and the live kernel's end of it.

`attr` is a bytearray of union bpf_attr; what the kernel writes back is written into it. A refusal raises
OSError with the kernel's errno. The simulated kernel's end is kernfs_sim.Kernel.bpf.
"""

from __future__ import annotations

import os
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


live_bpf = LiveBpf()
