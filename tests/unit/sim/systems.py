"""Two kernels behind one face: the simulated one and Linux's own, each with a bpffs, for rules that both must keep.

Files are numbered fds on both sides. Linux's bpffs is mounted in a directory of its own and unmounted by close().
"""

from __future__ import annotations

import os
import struct
import subprocess
import tempfile
from collections.abc import Callable
from typing import Any

import pytest

from bpfjit import live_bpf
from bpfjit.btf import Kind
from bpfjit.loader.bpf import Bpf, Buffers, kernel_btf
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel
from kernfs_sim.fs.inode import Stat

RETURN_5 = bytes.fromhex("b400000005000000 9500000000000000")  # w0 = 5; exit
RETURN_0 = bytes.fromhex("b400000000000000 9500000000000000")


def call(bpf: Bpf, command: int, attr: Any) -> int:
    return bpf(command, bytearray(attr.pack()))


def load_prog(
    bpf: Bpf,
    insns: bytes = RETURN_5,
    *,
    prog_type: int = uapi.BPF_PROG_TYPE_SOCKET_FILTER,
    attach_type: int = 0,
    attach_btf_id: int = 0,
    name: bytes = b"",
    license: bytes = b"GPL\0",
) -> int:
    keep = Buffers()
    attr = uapi.ProgLoad(
        prog_type=prog_type,
        insn_cnt=len(insns) // 8,
        insns=keep.put(insns),
        license=keep.put(license),
        prog_name=name,
        expected_attach_type=attach_type,
        attach_btf_id=attach_btf_id,
    )
    return call(bpf, uapi.BPF_PROG_LOAD, attr)


def make_map(bpf: Bpf, *, map_type: int = uapi.BPF_MAP_TYPE_ARRAY, name: bytes = b"", **shape: int) -> int:
    wanted = {"key_size": 4, "value_size": 8, "max_entries": 2, **shape}
    return call(bpf, uapi.BPF_MAP_CREATE, uapi.MapCreate(map_type=map_type, map_name=name, **wanted))


def int_btf() -> bytes:
    """BTF of two integers: 1 is `unsigned int`, 2 is `unsigned long long`."""
    strings = b"\0unsigned int\0unsigned long long\0"
    types = struct.pack("<IIII", 1, 1 << 24, 4, 32) + struct.pack("<IIII", 14, 1 << 24, 8, 64)
    return struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings)) + types + strings


def load_btf(bpf: Bpf, data: bytes | None = None) -> int:
    keep, blob = Buffers(), data if data is not None else int_btf()
    return call(bpf, uapi.BPF_BTF_LOAD, uapi.BtfLoad(btf=keep.put(blob), btf_size=len(blob)))


def map_with_btf(bpf: Bpf, **more: int) -> int:
    btf = load_btf(bpf)
    try:
        return make_map(bpf, btf_fd=btf, btf_key_type_id=1, btf_value_type_id=2, **more)
    finally:
        bpf.close(btf)


def update_map(bpf: Bpf, fd: int, key: bytes, value: bytes) -> None:
    keep = Buffers()
    call(bpf, uapi.BPF_MAP_UPDATE_ELEM, uapi.MapElem(map_fd=fd, key=keep.put(key), value=keep.put(value)))


def obj_pin(bpf: Bpf, fd: int, path: str) -> None:
    keep = Buffers()
    call(bpf, uapi.BPF_OBJ_PIN, uapi.Obj(pathname=keep.put(os.fsencode(path) + b"\0"), bpf_fd=fd))


def obj_get(bpf: Bpf, path: str, flags: int = 0) -> int:
    keep = Buffers()
    return call(bpf, uapi.BPF_OBJ_GET, uapi.Obj(pathname=keep.put(os.fsencode(path) + b"\0"), file_flags=flags))


def get_info(bpf: Bpf, fd: int, struct_name: str, *, size: int | None = None, given: bytes = b"") -> tuple[bytes, int]:
    """OBJ_GET_INFO_BY_FD into `size` bytes (all of the structure without it): the bytes and the length told."""
    size = uapi.LAYOUTS[struct_name].size if size is None else size
    keep, info = Buffers(), bytearray(given.ljust(size, b"\0"))
    attr = bytearray(uapi.GetInfo(bpf_fd=fd, info_len=size, info=keep.put(info)).pack())
    bpf(uapi.BPF_OBJ_GET_INFO_BY_FD, attr)
    return bytes(info), uapi.GetInfo.unpack(attr).info_len


def field(struct_name: str, info: bytes, name: str) -> int:
    offset, size = uapi.LAYOUTS[struct_name].fields[name]
    return int.from_bytes(info[offset : offset + size], "little")


class Simulated:
    """The simulated kernel, called as one process calls a kernel."""

    is_live = False
    outside = "/tmp"

    def __init__(self, kernel: Kernel | None = None) -> None:
        self.kernel = kernel or Kernel()
        self.bpf: Bpf = self.kernel.bpf
        self.root = "/sys/fs/bpf"
        self.caller = self.kernel.caller

    def close(self) -> None:
        self.kernel.close()

    def link_fd(self) -> int:
        """A link that is no tracepoint's: here a view's."""
        btf_id = self.kernel.btf.types.find_func("bpf_view_cgroup")
        prog = load_prog(
            self.bpf,
            RETURN_0,
            prog_type=uapi.BPF_PROG_TYPE_TRACING,
            attach_type=uapi.BPF_TRACE_VIEW,
            attach_btf_id=int(btf_id or 0),
        )
        try:
            return call(self.bpf, uapi.BPF_LINK_CREATE, uapi.LinkCreate(prog_fd=prog, attach_type=uapi.BPF_TRACE_VIEW))
        finally:
            self.bpf.close(prog)

    def plain_fd(self) -> int:
        """An fd that is of no BPF object and no file with a name."""
        return self.caller.fds.install(self.kernel.open("/sys/fs/bpf"))

    def open(self, path: str, flags: int = os.O_RDONLY, mode: int = 0o666) -> int:
        return self.caller.fds.install(self.kernel.vfs.open(self.caller, path, flags, mode))

    def read(self, fd: int, size: int) -> bytes:
        data: bytes = self.caller.fds.get(fd).read(self.caller, size)
        return data

    def stat(self, path: str, *, follow_symlinks: bool = True) -> Stat:
        return self.kernel.vfs.stat(self.caller, path, follow=follow_symlinks)

    def write(self, fd: int, data: bytes) -> int:
        return int(self.caller.fds.get(fd).write(self.caller, data))

    def listdir(self, path: str) -> list[str]:
        """Without the kernel's own, whose names have dots."""
        return [name for name in self.kernel.listdir(path) if "." not in name]

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = getattr(self.kernel.vfs, _SIM_NAMES.get(name, name))
        return lambda *args, **kwargs: call(self.caller, *args, **kwargs)


_SIM_NAMES = {"listdir": "readdir"}


class Live:
    """Linux on this machine, with a bpffs of our own."""

    is_live = True

    def __init__(self) -> None:
        self.bpf: Bpf = live_bpf
        self._scratch = tempfile.TemporaryDirectory(prefix="bpfjit-test-")
        self.outside = self._scratch.name
        self.root = f"{self.outside}/bpf"
        os.mkdir(self.root)
        subprocess.run(["mount", "-t", "bpf", "bpf", self.root], check=True, capture_output=True)

    def close(self) -> None:
        subprocess.run(["umount", "-l", self.root], check=True)
        self._scratch.cleanup()

    def link_fd(self) -> int:
        """A link that is no tracepoint's: here an iterator's."""
        btf_id = kernel_btf(live_bpf).find(Kind.FUNC, "bpf_iter_bpf_map")
        prog = load_prog(
            self.bpf,
            RETURN_0,
            prog_type=uapi.BPF_PROG_TYPE_TRACING,
            attach_type=uapi.BPF_TRACE_ITER,
            attach_btf_id=int(btf_id or 0),
        )
        try:
            return call(self.bpf, uapi.BPF_LINK_CREATE, uapi.LinkCreate(prog_fd=prog, attach_type=uapi.BPF_TRACE_ITER))
        finally:
            self.bpf.close(prog)

    def plain_fd(self) -> int:
        """An open iterator: a file of the BPF subsystem that is no object."""
        link = self.link_fd()
        try:
            return call(self.bpf, uapi.BPF_ITER_CREATE, uapi.IterCreate(link_fd=link))
        finally:
            self.bpf.close(link)

    def statfs(self, path: str) -> int:
        out = subprocess.run(["stat", "-f", "-c", "%t", path], check=True, capture_output=True, text=True)
        return int(out.stdout, 16)

    def mknod(self, path: str, mode: int = 0o600) -> None:
        os.mknod(path, mode | 0o100000)

    def open(self, path: str, flags: int = os.O_RDONLY, mode: int = 0o666) -> int:
        return os.open(path, flags, mode)

    def listdir(self, path: str) -> list[str]:
        # A fresh bpffs may have pins of the kernel's own, and only those have dots.
        return [name for name in os.listdir(path) if "." not in name]

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call: Callable[..., Any] = getattr(os, name)
        return call


System = Simulated | Live


def live_or_skip() -> Live:
    """The live kernel; without it a test is skipped."""
    try:
        return Live()
    except OSError as e:
        pytest.skip(f"the live kernel is not to be had: {e}")
