"""bpf(2) as a test sees it, on the simulated and on the live kernel: refusals come back as negative errnos."""

from __future__ import annotations

import functools
import os
import struct
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bpfjit import live_bpf, open_object
from bpfjit.isa.encoding import Insn, encode
from bpfjit.loader.bpf import Buffers
from bpfjit.loader.compile import compile_c
from bpfjit.spec.map_types import MAP_TYPE_BY_ID
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel

OBJECTS = Path(__file__).resolve().parents[2] / "objects"
LOG_BYTES = 1 << 16
_SCRATCH = tempfile.TemporaryDirectory(prefix="bpfjit-tests-")  # gone with the session


def u32(value: int) -> bytes:
    return struct.pack("<I", value & 0xFFFFFFFF)


def u64(value: int) -> bytes:
    return struct.pack("<Q", value & 0xFFFFFFFFFFFFFFFF)


def possible_cpus() -> int:
    """How many CPUs the live kernel gives a per-CPU value."""
    text = Path("/sys/devices/system/cpu/possible").read_text().strip()
    return int(text.split(",")[-1].split("-")[-1]) + 1


@dataclass(slots=True)
class Ran:
    """What a test run gave: the call's result, the program's return value, packet and context that came out."""

    result: int
    retval: int
    data: bytes
    data_size: int
    ctx: bytes
    ctx_size: int


class Calls:
    """One kernel's bpf(2). Results are >= 0 or -errno; every fd made here is closed at the end of the test."""

    def __init__(self, bpf: Any, cpus: int, kernel: Kernel | None) -> None:
        self.bpf = bpf
        self.cpus = cpus
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

    def _own(self, fd: int) -> int:
        if fd >= 0:
            self._fds.append(fd)
        return fd

    def close(self, fd: int) -> None:
        self._fds.remove(fd)
        self.bpf.close(fd)

    def close_all(self) -> None:
        for fd in list(self._fds):
            self.close(fd)

    # -- maps ------------------------------------------------------------------------------------------

    def create(self, map_type: int, key: int, value: int, entries: int, flags: int = 0, **more: Any) -> int:
        attr = uapi.MapCreate(
            map_type=map_type, key_size=key, value_size=value, max_entries=entries, map_flags=flags, **more
        )
        return self._own(self.call(uapi.BPF_MAP_CREATE, attr))

    def value_bytes(self, map_type: int, value: int) -> int:
        return -(-value // 8) * 8 * self.cpus if MAP_TYPE_BY_ID[map_type].per_cpu else value

    def update(self, fd: int, key: bytes, value: bytes, flags: int = 0) -> int:
        buffers = Buffers()
        attr = uapi.MapElem(map_fd=fd, key=buffers.put(key) if key else 0, value=buffers.put(value), flags=flags)
        return self.call(uapi.BPF_MAP_UPDATE_ELEM, attr)

    def lookup(self, fd: int, key: bytes, size: int, flags: int = 0, given: bytes = b"") -> bytes | int:
        """`given`: what the buffer of the value holds before."""
        buffers, value = Buffers(), bytearray(given.ljust(size, b"\0"))
        attr = uapi.MapElem(map_fd=fd, key=buffers.put(key) if key else 0, value=buffers.put(value), flags=flags)
        result = self.call(uapi.BPF_MAP_LOOKUP_ELEM, attr)
        return result if result < 0 else bytes(value)

    def delete(self, fd: int, key: bytes) -> int:
        buffers = Buffers()
        return self.call(uapi.BPF_MAP_DELETE_ELEM, uapi.MapElem(map_fd=fd, key=buffers.put(key) if key else 0))

    def take(self, fd: int, key: bytes, size: int, flags: int = 0) -> bytes | int:
        """LOOKUP_AND_DELETE."""
        buffers, value = Buffers(), bytearray(size)
        attr = uapi.MapElem(map_fd=fd, key=buffers.put(key) if key else 0, value=buffers.put(value), flags=flags)
        result = self.call(uapi.BPF_MAP_LOOKUP_AND_DELETE_ELEM, attr)
        return result if result < 0 else bytes(value)

    def next_key(self, fd: int, key: bytes | None, size: int) -> bytes | int:
        buffers, following = Buffers(), bytearray(size)
        attr = uapi.MapElem(map_fd=fd, key=buffers.put(key) if key else 0, value=buffers.put(following))
        result = self.call(uapi.BPF_MAP_GET_NEXT_KEY, attr)
        return result if result < 0 else bytes(following)

    def keys(self, fd: int, size: int) -> list[bytes]:
        found: list[bytes] = []
        key: bytes | None = None
        while isinstance(key := self.next_key(fd, key, size), bytes):
            found.append(key)
        return found

    def info(self, fd: int) -> dict[str, int]:
        """The numbers of struct bpf_map_info."""
        buffers, layout = Buffers(), uapi.LAYOUTS["bpf_map_info"]
        data = bytearray(layout.size)
        assert (
            self.call(uapi.BPF_OBJ_GET_INFO_BY_FD, uapi.GetInfo(bpf_fd=fd, info_len=len(data), info=buffers.put(data))) == 0
        )
        return {name: int.from_bytes(data[at : at + size], "little") for name, (at, size) in layout.fields.items()}

    def freeze(self, fd: int) -> int:
        return self.call(uapi.BPF_MAP_FREEZE, uapi.MapElem(map_fd=fd))

    # -- programs --------------------------------------------------------------------------------------

    def load(self, prog_type: int, insns: Sequence[Insn], *, flags: int = 0) -> int:
        """Load bare instructions; the verifier's log is in `log`."""
        buffers, log = Buffers(), bytearray(LOG_BYTES)
        attr = uapi.ProgLoad(
            prog_type=prog_type,
            insn_cnt=len(insns),
            insns=buffers.put(encode(insns)),
            license=buffers.put(b"GPL\0"),
            log_level=1,
            log_size=len(log),
            log_buf=buffers.put(log),
            prog_flags=flags,
        )
        fd = self._own(self.call(uapi.BPF_PROG_LOAD, attr))
        self.log = log.split(b"\0", 1)[0].decode("utf-8", "replace")
        return fd

    def run(
        self,
        fd: int,
        data: bytes = b"",
        *,
        ctx: bytes = b"",
        room: int | None = None,
        ctx_room: int | None = None,
        **more: int,
    ) -> Ran:
        """PROG_TEST_RUN. `room`: bytes for the packet that comes out (None: no buffer), ctx_room alike."""
        buffers = Buffers()
        out, ctx_out = bytearray(b"\xee" * max(room or 0, 4096)), bytearray(b"\xee" * max(ctx_room or 0, 256))
        ctx_in = bytearray(ctx)
        fields = {"data_size_in": len(data), "ctx_size_in": len(ctx)} | more
        attr = uapi.TestRun(
            prog_fd=fd,
            data_in=buffers.put(data),
            ctx_in=buffers.put(ctx_in),
            data_out=buffers.put(out) if room is not None else 0,
            data_size_out=room or 0,
            ctx_out=buffers.put(ctx_out) if ctx_room is not None else 0,
            ctx_size_out=ctx_room or 0,
            **fields,
        )
        raw = bytearray(attr.pack())
        result = self.call(uapi.BPF_PROG_TEST_RUN, raw)
        done = uapi.TestRun.unpack(raw)
        came = bytes(ctx_out[: done.ctx_size_out]) if ctx_room is not None else bytes(ctx_in)
        return Ran(result, done.retval, bytes(out[: done.data_size_out]), done.data_size_out, came, done.ctx_size_out)


@functools.cache
def compiled(name: str) -> str:
    """tests/objects/NAME.bpf.c, compiled once a session; the object's path."""
    out = Path(_SCRATCH.name) / f"{name}.bpf.o"
    out.write_bytes(compile_c(OBJECTS / f"{name}.bpf.c"))
    return str(out)


def load_object(calls: Calls, name: str, only: Sequence[str] | None = None) -> Any:
    """An object of tests/objects in this kernel."""
    return open_object(compiled(name)).load(calls.bpf, only=only)


def live_calls() -> Calls:
    """The live kernel, or a skip."""
    calls = Calls(live_bpf, possible_cpus(), None)
    fd = calls.create(uapi.BPF_MAP_TYPE_LRU_HASH, 4, 4, 1)  # a type that wants CAP_BPF even where others do not
    if fd < 0:
        pytest.skip(f"the live kernel's bpf(2) is not to be had: {os.strerror(-fd)}")
    calls.close(fd)
    return calls
