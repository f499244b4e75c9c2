"""bpf(2) of one kernel, for tests that put the same calls to two: every fd made is closed at the end."""

from __future__ import annotations

import functools
import os
import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bpfjit import live_bpf
from bpfjit.isa.asm import assemble
from bpfjit.isa.encoding import Insn, encode
from bpfjit.loader.bpf import Buffers
from bpfjit.loader.compile import compile_c
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel

HERE = Path(__file__).parent
LOG_BYTES = 1 << 16
_SCRATCH = tempfile.TemporaryDirectory(prefix="bpfjit-loaders-")  # gone with the session


class Side:
    """One kernel's bpf(2). Results are >= 0 or -errno; `log` is the verifier's last one."""

    def __init__(self, bpf: Any, kernel: Kernel | None) -> None:
        self.bpf = bpf
        self.kernel = kernel
        self.is_live = kernel is None
        self.log = ""
        self._fds: list[int] = []

    def call(self, cmd: int, attr: Any) -> int:
        raw = attr if isinstance(attr, bytearray) else bytearray(attr.pack())
        try:
            return int(self.bpf(cmd, raw))
        except OSError as e:
            return -(e.errno or 0)

    def own(self, fd: int) -> int:
        if fd >= 0:
            self._fds.append(fd)
        return fd

    def close(self, fd: int) -> None:
        self._fds.remove(fd)
        self.bpf.close(fd)

    def forget(self) -> None:
        """The fds have been closed elsewhere."""
        self._fds.clear()

    def close_all(self) -> None:
        for fd in list(self._fds):
            self.close(fd)

    def open_fds(self) -> int:
        """How many fds the caller has open."""
        return len(self.kernel.caller.fds) if self.kernel is not None else len(os.listdir("/proc/self/fd"))

    def map(self, map_type: int = uapi.BPF_MAP_TYPE_ARRAY, value: int = 8, entries: int = 1, **more: Any) -> int:
        attr = uapi.MapCreate(map_type=map_type, key_size=4, value_size=value, max_entries=entries, **more)
        return self.own(self.call(uapi.BPF_MAP_CREATE, attr))

    def update(self, fd: int, value: bytes, key: int = 0) -> int:
        keep = Buffers()
        attr = uapi.MapElem(map_fd=fd, key=keep.put(key.to_bytes(4, "little")), value=keep.put(value))
        return self.call(uapi.BPF_MAP_UPDATE_ELEM, attr)

    def lookup(self, fd: int, size: int, key: int = 0) -> bytes:
        keep, value = Buffers(), bytearray(size)
        attr = uapi.MapElem(map_fd=fd, key=keep.put(key.to_bytes(4, "little")), value=keep.put(value))
        result = self.call(uapi.BPF_MAP_LOOKUP_ELEM, attr)
        assert result == 0, result
        return bytes(value)

    def load(
        self,
        insns: Sequence[Insn] | str,
        prog_type: int = uapi.BPF_PROG_TYPE_SOCKET_FILTER,
        *,
        fds: Sequence[int] | None = None,
        license: bytes = b"GPL\0",
        **more: int,
    ) -> int:
        """BPF_PROG_LOAD of instructions, or of their text; `fds` is the fd_array."""
        keep, log = Buffers(), bytearray(LOG_BYTES)
        raw = encode(assemble(insns) if isinstance(insns, str) else insns)
        if prog_type == uapi.BPF_PROG_TYPE_SYSCALL:
            more.setdefault("prog_flags", uapi.BPF_F_SLEEPABLE)
        attr = uapi.ProgLoad(
            prog_type=prog_type,
            insn_cnt=len(raw) // 8,
            insns=keep.put(raw),
            license=keep.put(license),
            log_level=1,
            log_size=len(log),
            log_buf=keep.put(log),
            **more,
        )
        if fds is not None:
            attr.fd_array = keep.put(struct.pack(f"<{len(fds)}i", *fds))
        fd = self.own(self.call(uapi.BPF_PROG_LOAD, attr))
        self.log = log.split(b"\0", 1)[0].decode("utf-8", "replace")
        return fd

    def run(self, fd: int, ctx: bytes = b"", **more: int) -> tuple[int, int, bytes]:
        """PROG_TEST_RUN on a context: (result, signed return value, the context afterwards)."""
        keep, given = Buffers(), bytearray(ctx)
        attr = uapi.TestRun(prog_fd=fd, ctx_in=keep.put(given), ctx_size_in=len(given))
        for name, value in more.items():
            setattr(attr, name, value)
        raw = bytearray(attr.pack())
        result = self.call(uapi.BPF_PROG_TEST_RUN, raw)
        retval = uapi.TestRun.unpack(raw).retval
        return result, retval - (1 << 32) if retval >> 31 else retval, bytes(given)

    def info(self, fd: int, struct_name: str = "bpf_prog_info") -> dict[str, bytes]:
        """OBJ_GET_INFO_BY_FD by member."""
        layout, keep = uapi.LAYOUTS[struct_name], Buffers()
        info = bytearray(layout.size)
        result = self.call(uapi.BPF_OBJ_GET_INFO_BY_FD, uapi.GetInfo(bpf_fd=fd, info_len=len(info), info=keep.put(info)))
        assert result == 0, result
        return {name: bytes(info[at : at + size]) for name, (at, size) in layout.fields.items()}


def live_side() -> Side:
    """The live kernel, or a skip."""
    side = Side(live_bpf, None)
    fd = side.map(uapi.BPF_MAP_TYPE_LRU_HASH)  # a type that wants CAP_BPF even where others do not
    if fd < 0:
        pytest.skip(f"the live kernel's bpf(2) is not to be had: {os.strerror(-fd)}")
    side.close(fd)
    return side


@functools.cache
def compiled(name: str) -> str:
    """NAME.bpf.c of this directory or of tests/objects, compiled once a session; the object's path."""
    source = HERE / f"{name}.bpf.c"
    if not source.exists():
        source = HERE.parent / "objects" / f"{name}.bpf.c"
    out = Path(_SCRATCH.name) / f"{name}.bpf.o"
    out.write_bytes(compile_c(source))
    return str(out)
