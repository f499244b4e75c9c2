"""Loading and running bare instructions through bpf(2), on any kernel behind the wall: simulated or live."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from bpfjit.isa.encoding import CALL, LD_IMM64, Insn, encode
from bpfjit.loader import live_bpf
from bpfjit.loader.bpf import Bpf, Buffers
from bpfjit.uapi import bpf as uapi

PACKET = bytes(range(64))


def _functions(insns: Sequence[Insn]) -> list[int]:
    """Starts of the program's functions; Linux wants BTF for each once one is taken by address."""
    starts = {0}
    for pc, insn in enumerate(insns):
        if (insn.code, insn.src) in ((CALL, uapi.BPF_PSEUDO_CALL), (LD_IMM64, uapi.BPF_PSEUDO_FUNC)):
            starts.add(pc + 1 + insn.imm)
    return sorted(starts)


def _function_types() -> bytes:
    """BTF of one static function `int f(void)`: type 1 int, 2 its prototype, 3 itself."""
    strings = b"\0int\0f\0"
    types = struct.pack("<IIII", 1, 1 << 24, 4, 1 << 24 | 32)
    types += struct.pack("<III", 0, 13 << 24, 1)
    types += struct.pack("<III", 5, 12 << 24, 2)
    return struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings)) + types + strings


class Refused(Exception):
    """PROG_LOAD failed: its errno and the log."""

    def __init__(self, number: int, log: str) -> None:
        super().__init__(f"{errno.errorcode.get(number, number)}\n{log[-1500:]}")
        self.number = number
        self.log = log


@dataclass(frozen=True)
class Loaded:
    fd: int
    log: str


def load(
    bpf: Bpf,
    insns: Sequence[Insn],
    *,
    prog_type: int = uapi.BPF_PROG_TYPE_SOCKET_FILTER,
    log_level: int = 0,
    flags: int = 0,
) -> Loaded:
    """BPF_PROG_LOAD of instructions whose map references are fds. Raises Refused."""
    buffers, log = Buffers(), bytearray(1 << 22 if log_level else 1 << 16)
    code = encode(insns)
    attr = uapi.ProgLoad(prog_type=prog_type, insn_cnt=len(insns), insns=buffers.put(code), license=buffers.put(b"GPL\0"))
    attr.prog_flags = flags
    attr.log_level, attr.log_size, attr.log_buf = log_level or 1, len(log), buffers.put(log)
    btf_fd = -1
    if any(insn.code == LD_IMM64 and insn.src == uapi.BPF_PSEUDO_FUNC for insn in insns):
        types = _function_types()
        btf_fd = bpf(uapi.BPF_BTF_LOAD, bytearray(uapi.BtfLoad(btf=buffers.put(types), btf_size=len(types)).pack()))
        infos = b"".join(struct.pack("<II", start, 3) for start in _functions(insns))
        attr.prog_btf_fd, attr.func_info, attr.func_info_rec_size = btf_fd, buffers.put(infos), 8
        attr.func_info_cnt = len(infos) // 8
    try:
        fd = bpf(uapi.BPF_PROG_LOAD, bytearray(attr.pack()))
    except OSError as e:
        raise Refused(e.errno or 0, log.split(b"\0", 1)[0].decode(errors="replace")) from None
    finally:
        if btf_fd >= 0:
            bpf.close(btf_fd)
    return Loaded(fd, log.split(b"\0", 1)[0].decode(errors="replace"))


def test_run(bpf: Bpf, fd: int, packet: bytes = PACKET) -> tuple[int, bytes]:
    """The program's r0 (its low 32 bits) over a packet, and the packet afterwards."""
    buffers, out = Buffers(), bytearray(len(packet) + 256)
    attr = uapi.TestRun(prog_fd=fd, data_in=buffers.put(packet), data_size_in=len(packet), repeat=1)
    attr.data_out, attr.data_size_out = buffers.put(out), len(out)
    raw = bytearray(attr.pack())
    bpf(uapi.BPF_PROG_TEST_RUN, raw)
    done = uapi.TestRun.unpack(raw)
    return done.retval, bytes(out[: done.data_size_out])


test_run.__test__ = False  # type: ignore[attr-defined]  # named after the command, not a test


def new_array(bpf: Bpf, value_size: int, entries: int = 1) -> int:
    """The fd of a fresh array map."""
    attr = uapi.MapCreate(map_type=uapi.BPF_MAP_TYPE_ARRAY, key_size=4, value_size=value_size, max_entries=entries)
    return bpf(uapi.BPF_MAP_CREATE, bytearray(attr.pack()))


def element(bpf: Bpf, fd: int, size: int, index: int = 0) -> bytes:
    """The bytes of one array element."""
    buffers, value = Buffers(), bytearray(size)
    attr = uapi.MapElem(map_fd=fd, key=buffers.put(index.to_bytes(4, "little")), value=buffers.put(value))
    bpf(uapi.BPF_MAP_LOOKUP_ELEM, bytearray(attr.pack()))
    return bytes(value)


def set_element(bpf: Bpf, fd: int, value: bytes, index: int = 0) -> None:
    """Store one array element."""
    buffers = Buffers()
    attr = uapi.MapElem(map_fd=fd, key=buffers.put(index.to_bytes(4, "little")), value=buffers.put(value))
    bpf(uapi.BPF_MAP_UPDATE_ELEM, bytearray(attr.pack()))


def live_is_there() -> bool:
    try:
        os.close(load(live_bpf, [Insn(0xB7), Insn(0x95)]).fd)
    except (Refused, OSError):
        return False
    return True


def need_live() -> Bpf:
    """The live kernel's bpf(2); skips the test where it is not to be had."""
    if not live_is_there():
        pytest.skip("the live kernel's bpf(2) is not to be had")
    return live_bpf


@contextmanager
def closing(bpf: Bpf) -> Iterator[Callable[[int], int]]:
    """Closes every fd handed to it, whatever happens."""
    fds: list[int] = []

    def keep(fd: int) -> int:
        fds.append(fd)
        return fd

    try:
        yield keep
    finally:
        for fd in fds:
            bpf.close(fd)
