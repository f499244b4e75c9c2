"""BPF_PROG_TEST_RUN: running a program on what the caller brings."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from bpfjit.errors import refuse
from bpfjit.program import Region
from bpfjit.uapi import bpf as uapi
from runtime import ffi, lib

from ..caller import Caller
from ..objects import ProgObject
from .fd import prog_of

if TYPE_CHECKING:
    from ..kernel import Kernel

_HEADROOM = 256
_PAGE = 4096
_SHARED_INFO = 320  # struct skb_shared_info, kept at the end of an XDP frame
_MAX_XDP = _PAGE - _HEADROOM - _SHARED_INFO
_ETH_HLEN = 14


def test_run(kernel: Kernel, caller: Caller, attr: uapi.TestRun) -> int:
    """Run a program `repeat` times (0 is once). Raises EINVAL, ENOTSUPP, ENOSPC where the output does not fit."""
    prog = prog_of(caller, attr.prog_fd)
    if bool(attr.ctx_size_in) != bool(attr.ctx_in) or (attr.ctx_size_out and not attr.ctx_out):
        raise refuse(errno.EINVAL, "a context's size and address go together")
    runner = _RUNNERS.get(prog.program.type.id)
    if runner is None:
        raise refuse(524, f"{prog.program.type.name} programs have no test run")
    ret = runner(kernel, caller, attr, prog)
    prog.check_fault()
    return ret


def _packet(kernel: Kernel, caller: Caller, attr: uapi.TestRun, prog: ProgObject) -> int:
    is_xdp = prog.program.type.id == uapi.BPF_PROG_TYPE_XDP
    size = attr.data_size_in
    if attr.flags or attr.cpu or attr.batch_size:
        raise refuse(errno.EINVAL, f"test run flags {attr.flags:#x}, cpu {attr.cpu}, batch {attr.batch_size}")
    if size < _ETH_HLEN or size > _MAX_XDP:
        raise refuse(errno.EINVAL, f"packet of {size} bytes, wanted {_ETH_HLEN} to {_MAX_XDP}")
    packet = caller.read(attr.data_in, size)
    frame = ffi.new("u8[]", _HEADROOM + _MAX_XDP)
    ffi.memmove(frame + _HEADROOM, packet, size)
    ctx = bytearray(caller.read(attr.ctx_in, attr.ctx_size_in)) if attr.ctx_size_in else bytearray()
    full = uapi.LAYOUTS["xdp_md" if is_xdp else "__sk_buff"].size
    if len(ctx) > full and any(ctx[full:]):
        raise refuse(errno.E2BIG, f"context of {len(ctx)} bytes, known are {full}")
    if is_xdp and ctx:
        _check_xdp_md(ctx, size)
    ctx_c = ffi.new("u8[]", bytes(ctx[:full].ljust(full, b"\0")))
    run = ffi.new("struct rt_packet_run *")
    run.data, run.data_size, run.data_capacity = frame, size, _HEADROOM + _MAX_XDP
    run.repeat, run.is_xdp = attr.repeat or 1, is_xdp
    run.ctx, run.ctx_size = ctx_c, full if attr.ctx_size_in or attr.ctx_size_out else 0
    fn = ffi.cast("rt_prog_fn", prog.native.addr)
    lib.rt_packet_run(kernel.native.ptr, fn, run)
    attr.retval, attr.duration = int(run.retval), int(run.mean_ns)
    kernel.last_mean_ns = float(run.mean_ns)
    out = bytes(ffi.buffer(frame, run.data_size))
    error = None
    if attr.data_out:
        room = attr.data_size_out
        fits = not room or room >= len(out)
        caller.write(attr.data_out, out if fits else out[:room])
        error = None if fits else refuse(errno.ENOSPC, f"packet of {len(out)} bytes, room for {room}")
    attr.data_size_out = len(out)
    if attr.ctx_out:
        text = bytes(ffi.buffer(ctx_c, full))[: attr.ctx_size_out or full]
        caller.write(attr.ctx_out, text)
        attr.ctx_size_out = len(text)
    if error is not None:
        raise error
    return 0


def _check_xdp_md(ctx: bytearray, size: int) -> None:
    """data_meta must be 0, data_end the packet's size, data where the packet begins in the input."""
    data, data_end, data_meta = (int.from_bytes(ctx[i : i + 4], "little") for i in (0, 4, 8))
    if data_meta or data_end != size or data > size or any(ctx[12:24]):
        raise refuse(errno.EINVAL, f"xdp_md of data {data}, data_end {data_end}, data_meta {data_meta} for {size} bytes")


def _raw_tracepoint(kernel: Kernel, caller: Caller, attr: uapi.TestRun, prog: ProgObject) -> int:
    # Linux runs these once, without a context to give back.
    if attr.data_in or attr.data_out or attr.ctx_out or attr.duration or attr.repeat or attr.batch_size:
        raise refuse(errno.EINVAL, "raw tracepoints are run once, on a context alone")
    if attr.ctx_size_in < prog.program.type.ctx_size and attr.ctx_size_in < _used_ctx(prog):
        raise refuse(errno.EINVAL, f"context of {attr.ctx_size_in} bytes, the program reads {_used_ctx(prog)}")
    _run_plain(kernel, caller, attr, prog, 8 * 12)
    return 0


def _used_ctx(prog: ProgObject) -> int:
    """How far into its context a raw tracepoint program reads."""
    facts = prog.verified.facts
    reach = 0
    for pc, insn in enumerate(prog.program.insns):
        if facts.region[pc] & Region.CTX:
            reach = max(reach, insn.off + insn.size)
    return reach


def _syscall(kernel: Kernel, caller: Caller, attr: uapi.TestRun, prog: ProgObject) -> int:
    if attr.data_in or attr.data_out or attr.ctx_out or attr.repeat or attr.flags or attr.batch_size:
        raise refuse(errno.EINVAL, "syscall programs are run once, on a context alone")
    if attr.ctx_size_in > 65535:
        raise refuse(errno.EINVAL, f"context of {attr.ctx_size_in} bytes, wanted at most 65535")
    ctx = _run_plain(kernel, caller, attr, prog, 65535)
    if attr.ctx_size_in:
        caller.write(attr.ctx_in, ctx[: attr.ctx_size_in])
    return 0


def _run_plain(kernel: Kernel, caller: Caller, attr: uapi.TestRun, prog: ProgObject, size: int) -> bytes:
    given = caller.read(attr.ctx_in, attr.ctx_size_in) if attr.ctx_size_in else b""
    ctx = ffi.new("u64[]", -(-size // 8))
    ffi.memmove(ctx, given[:size], min(len(given), size))
    retval, mean_ns = ffi.new("u64 *"), ffi.new("double *")
    fn = ffi.cast("rt_prog_fn", prog.native.addr)
    lib.rt_prog_bench(kernel.native.ptr, fn, ctx, 1, retval, mean_ns)
    attr.retval = int(retval[0]) & 0xFFFFFFFF
    kernel.last_mean_ns = float(mean_ns[0])
    return bytes(ffi.buffer(ctx))[:size]


_RUNNERS: dict[int, Callable[[Kernel, Caller, uapi.TestRun, ProgObject], int]] = {
    uapi.BPF_PROG_TYPE_XDP: _packet,
    uapi.BPF_PROG_TYPE_SCHED_CLS: _packet,
    uapi.BPF_PROG_TYPE_SCHED_ACT: _packet,
    uapi.BPF_PROG_TYPE_SOCKET_FILTER: _packet,
    uapi.BPF_PROG_TYPE_RAW_TRACEPOINT: _raw_tracepoint,
    uapi.BPF_PROG_TYPE_SYSCALL: _syscall,
}
