"""BPF_PROG_TEST_RUN: running a program on what the caller brings."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bpfjit.errors import ENOTSUPP, refuse
from bpfjit.program import Region, helpers_of
from bpfjit.uapi import bpf as uapi
from bpfjit.uapi.layout import Layout
from runtime import ffi, lib

from ..caller import Caller
from ..objects import ProgObject
from . import run_traced
from .fd import prog_of

if TYPE_CHECKING:
    from ..kernel import Kernel

_HEADROOM = 256
_PAGE = 4096
_SHARED_INFO = 320  # struct skb_shared_info, kept at the end of a page that holds a packet
_MAX_LINEAR = _PAGE - _HEADROOM - _SHARED_INFO  # of an XDP frame: the rest lies in fragments that programs do not see
_MAX_XDP = _MAX_LINEAR + 17 * _PAGE
_MAX_SKB = _PAGE - 64 - _SHARED_INFO
_ETH_HLEN = 14
_MAX_GROWN = 1 << 14  # what helpers may make of a packet, and room to move it
_MAX_META = 216  # what the headroom holds beside Linux's frame structure
_MANY_RUNS = 1000  # who asks for so many waits for the optimiser rather than for slow code
_LOOPBACK = 1  # the device of packets that come from nowhere
# What Linux wants to find behind the Ethernet header, by its protocol in memory order.
_NETWORK_HEADERS = {b"\x08\x00": 20, b"\x86\xdd": 40}
_SKB_CHECKSUM_COMPLETE, _RUN_ON_CPU = 4, 1
# The members of __sk_buff that a caller may set, and that come back.
_SKB_FIELDS = (
    "mark",
    "priority",
    "ingress_ifindex",
    "ifindex",
    "cb",
    "tstamp",
    "wire_len",
    "gso_segs",
    "gso_size",
    "hwtstamp",
)


def test_run(kernel: Kernel, caller: Caller, attr: uapi.TestRun) -> int:
    """Run a program `repeat` times (0 is once). Raises EINVAL, ENOTSUPP, ENOSPC where the output does not fit.

    The current task is the one of the caller's pid where the kernel has it, else the idle task.
    """
    if bool(attr.ctx_size_in) != bool(attr.ctx_in) or bool(attr.ctx_size_out) != bool(attr.ctx_out):
        raise refuse(errno.EINVAL, "a context's size and address go together")
    prog = prog_of(caller, attr.prog_fd)
    runner = _RUNNERS.get(prog.type_id)
    if runner is None:
        raise refuse(ENOTSUPP, f"{prog.program.type.name} programs have no test run")
    prog.get()  # it may close its own fd
    try:
        ret = runner(kernel, caller, attr, prog)
        prog.check_fault()
        return ret
    finally:
        prog.put()


def _current(kernel: Kernel) -> Any:
    task = kernel.tasks.find(os.getpid())
    return ffi.NULL if task is None else task.c


def _field(layout: Layout, ctx: bytes | bytearray, name: str) -> int:
    at, size = layout.fields[name]
    return int.from_bytes(ctx[at : at + size], "little")


def _context(caller: Caller, attr: uapi.TestRun, layout: Layout) -> bytearray:
    """The caller's context, zeroes where it is shorter. Raises E2BIG for a longer one that is not zero behind."""
    given = caller.read(attr.ctx_in, attr.ctx_size_in) if attr.ctx_size_in else b""
    if any(given[layout.size :]):
        raise refuse(errno.E2BIG, f"context of {len(given)} bytes, known are {layout.size}")
    return bytearray(given[: layout.size].ljust(layout.size, b"\0"))


def _run_packet(
    kernel: Kernel,
    attr: uapi.TestRun,
    prog: ProgObject,
    packet: bytes,
    room: int,
    ctx: Any,
    size: int,
    *,
    pulled: int = 0,
    frags: bytes = b"",
) -> tuple[bytes, bytes]:
    """Run on a linear packet in `room` bytes; what it, and its fragments, became. `ctx` (size bytes) is read and written.

    pulled: bytes of the packet's link header that the program does not see, and that are gone afterwards.
    """
    frame = ffi.new("u8[]", _HEADROOM + room + len(frags))
    ffi.memmove(frame + _HEADROOM, packet, len(packet))
    ffi.memmove(frame + _HEADROOM + room, frags, len(frags))
    run = ffi.new("struct rt_packet_run *")
    run.pulled, run.frag_bytes = pulled, len(frags)
    run.data, run.data_size, run.data_capacity = frame, len(packet), _HEADROOM + room
    run.repeat, run.is_xdp = attr.repeat or 1, prog.program.type.id == uapi.BPF_PROG_TYPE_XDP
    run.ctx, run.ctx_size, run.current = ctx, size, _current(kernel)
    if attr.repeat >= _MANY_RUNS:
        prog.optimise()
    lib.rt_packet_run(kernel.native.ptr, ffi.cast("rt_prog_fn", prog.native.addr), run)
    attr.retval, attr.duration = int(run.retval), min(int(run.mean_ns), (1 << 32) - 1)  # as Linux: no more than fits
    kernel.last_mean_ns = float(run.mean_ns)
    return bytes(ffi.buffer(frame, run.data_size)), bytes(ffi.buffer(frame + _HEADROOM + room, len(frags)))


def _give_back(caller: Caller, attr: uapi.TestRun, packet: bytes, ctx: bytes) -> None:
    """The packet and the context to the caller. Raises ENOSPC when one was cut."""
    cut = ""
    if attr.data_out:
        room = attr.data_size_out or len(packet)
        caller.write(attr.data_out, packet[:room])
        if room < len(packet):
            cut = f"packet of {len(packet)} bytes, room for {room}"
    attr.data_size_out = len(packet)
    if attr.ctx_out and not cut:
        room = attr.ctx_size_out
        caller.write(attr.ctx_out, ctx[:room])
        attr.ctx_size_out = len(ctx)
        if room < len(ctx):
            cut = f"context of {len(ctx)} bytes, room for {room}"
    if cut:
        raise refuse(errno.ENOSPC, cut)


def _xdp(kernel: Kernel, caller: Caller, attr: uapi.TestRun, prog: ProgObject) -> int:
    if prog.program.attach_type in (uapi.BPF_XDP_DEVMAP, uapi.BPF_XDP_CPUMAP):
        raise refuse(errno.EINVAL, f"program {prog.program.name} runs for entries of a map only")
    if attr.flags or attr.batch_size:
        raise refuse(errno.EINVAL, f"test run flags {attr.flags:#x}, batch {attr.batch_size}: live frames are not simulated")
    layout = uapi.LAYOUTS["xdp_md"]
    ctx, size = _context(caller, attr, layout), attr.data_size_in
    if not attr.ctx_size_in:
        ctx[4:8] = size.to_bytes(4, "little")
    meta, end = _field(layout, ctx, "data"), _field(layout, ctx, "data_end")
    if size < _ETH_HLEN + meta or size > _MAX_XDP:
        error = errno.EINVAL if size < _ETH_HLEN + meta else errno.ENOMEM
        raise refuse(error, f"packet of {size - meta} bytes, wanted {_ETH_HLEN} to {_MAX_XDP}")
    device = _field(layout, ctx, "ingress_ifindex")
    queue, egress = _field(layout, ctx, "rx_queue_index"), _field(layout, ctx, "egress_ifindex")
    if _field(layout, ctx, "data_meta") or end > size or meta > end or meta % 4 or meta > _MAX_META:
        raise refuse(errno.EINVAL, f"xdp_md with {meta} bytes of metadata and an end at {end} for {size} bytes")
    if device not in (0, _LOOPBACK) or queue or egress:
        raise refuse(errno.EINVAL, f"xdp_md of device {device}, queue {queue}, to device {egress}")
    packet = caller.read(attr.data_in, size)
    linear = min(end, _MAX_LINEAR)
    ctx_c = ffi.new("u8[]", bytes(ctx))
    ctx_c[layout.fields["ingress_ifindex"][0]] = _LOOPBACK  # what the program sees; the caller gets back what it gave
    out, frags = _run_packet(kernel, attr, prog, packet[:linear], _MAX_LINEAR, ctx_c, layout.size, frags=packet[linear:])
    _give_back(caller, attr, out + frags, bytes(ffi.buffer(ctx_c, 12)) + bytes(ctx[12:]))
    return 0


def _skb(kernel: Kernel, caller: Caller, attr: uapi.TestRun, prog: ProgObject) -> int:
    if attr.flags & ~_SKB_CHECKSUM_COMPLETE or attr.cpu or attr.batch_size:
        raise refuse(errno.EINVAL, f"test run flags {attr.flags:#x}, cpu {attr.cpu}, batch {attr.batch_size}")
    size, layout = attr.data_size_in, uapi.LAYOUTS["__sk_buff"]
    if not _ETH_HLEN <= size <= _MAX_SKB:
        raise refuse(errno.EINVAL, f"packet of {size} bytes, wanted {_ETH_HLEN} to {_MAX_SKB}")
    packet = caller.read(attr.data_in, size)
    wanted = _ETH_HLEN + _NETWORK_HEADERS.get(packet[12:14], 0)
    if size < wanted:
        raise refuse(errno.EINVAL, f"packet of {size} bytes, its protocol wants {wanted}")
    ctx = _context(caller, attr, layout)
    kept = bytearray(layout.size)
    for name in _SKB_FIELDS:
        at, length = layout.fields[name]
        kept[at : at + length] = ctx[at : at + length]
    # But for tc, a packet begins behind the Ethernet header; what is given back has zeroes there.
    hidden = 0 if prog.program.type.id in _SEE_LINK_HEADERS else _ETH_HLEN
    wire, devices = _field(layout, ctx, "wire_len"), [_field(layout, ctx, n) for n in ("ifindex", "ingress_ifindex")]
    if kept != ctx or (wire and wire < size - hidden) or max(devices) > _LOOPBACK:
        raise refuse(errno.EINVAL, "__sk_buff with members set that a test run does not take")
    seen = {"ifindex": _LOOPBACK, "protocol": _protocol(packet), "pkt_type": _pkt_type(packet)}
    if attr.ctx_in or attr.ctx_out:
        seen["wire_len"] = wire or size - hidden
    for name, value in seen.items():
        at, length = layout.fields[name]
        ctx[at : at + length] = value.to_bytes(length, "little")
    ctx_c = ffi.new("u8[]", bytes(ctx))
    room = _MAX_GROWN if any(row.changes_packet for row in helpers_of(prog.verified)) else _MAX_SKB
    out, _ = _run_packet(kernel, attr, prog, packet, room, ctx_c, layout.size, pulled=hidden)
    out = bytes(hidden) + out
    after = bytes(ffi.buffer(ctx_c, layout.size))
    for name in _SKB_FIELDS:
        at, length = layout.fields[name]
        kept[at : at + length] = after[at : at + length]
    _give_back(caller, attr, out, bytes(kept))
    return 0


def _pkt_type(packet: bytes) -> int:
    """PACKET_HOST (0), _MULTICAST (2) or _OTHERHOST (3) for the loopback device, whose addresses are all zeroes."""
    return 2 if packet[0] & 1 else 3 if any(packet[:6]) else 0


def _protocol(packet: bytes) -> int:
    """The Ethernet type as it lies in memory; lengths below 1536 mean 802.3 frames, of type 4 or (raw IPX) 1."""
    if int.from_bytes(packet[12:14], "big") >= 1536:
        return int.from_bytes(packet[12:14], "little")
    return 0x0100 if packet[14:16] == b"\xff\xff" else 0x0400


def _raw_tracepoint(kernel: Kernel, caller: Caller, attr: uapi.TestRun, prog: ProgObject) -> int:
    # Linux runs these once, without a context to give back.
    if attr.data_in or attr.data_out or attr.ctx_out or attr.duration or attr.repeat or attr.batch_size:
        raise refuse(errno.EINVAL, "raw tracepoints are run once, on a context alone")
    most = prog.program.type.ctx_size
    if not _used_ctx(prog) <= attr.ctx_size_in <= most:
        raise refuse(errno.EINVAL, f"context of {attr.ctx_size_in} bytes, the program reads {_used_ctx(prog)} of {most}")
    if attr.cpu and not attr.flags & _RUN_ON_CPU:
        raise refuse(errno.EINVAL, f"test run flags {attr.flags:#x}, cpu {attr.cpu}")
    if attr.cpu >= kernel.native.cpus:
        raise refuse(errno.ENXIO, f"cpu {attr.cpu}, there are {kernel.native.cpus}")
    _run_plain(kernel, caller, attr, prog, 8 * 12)
    return 0


def _used_ctx(prog: ProgObject) -> int:
    """How far into its context a program with a context of bytes reads or writes."""
    facts = prog.verified.facts
    reach = 0
    for pc, insn in enumerate(prog.program.insns):
        if facts.region[pc] & Region.CTX:
            reach = max(reach, insn.off + insn.size)
    return reach


def _syscall(kernel: Kernel, caller: Caller, attr: uapi.TestRun, prog: ProgObject) -> int:
    if attr.data_in or attr.data_out or attr.ctx_out or attr.repeat or attr.flags or attr.batch_size or attr.duration:
        raise refuse(errno.EINVAL, "syscall programs are run once, on a context alone")
    if not _used_ctx(prog) <= attr.ctx_size_in <= 65535:
        used = _used_ctx(prog)
        raise refuse(errno.EINVAL, f"context of {attr.ctx_size_in} bytes, the program uses {used}, wanted at most 65535")
    with kernel.upcalls.on_behalf_of(caller):
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
    lib.rt_prog_bench(kernel.native.ptr, fn, ctx, _current(kernel), 1, retval, mean_ns)
    attr.retval = int(retval[0]) & 0xFFFFFFFF
    kernel.last_mean_ns = float(mean_ns[0])
    return bytes(ffi.buffer(ctx))[:size]


_SEE_LINK_HEADERS = frozenset({uapi.BPF_PROG_TYPE_SCHED_CLS, uapi.BPF_PROG_TYPE_SCHED_ACT})
_RUNNERS: dict[int, Callable[[Kernel, Caller, uapi.TestRun, ProgObject], int]] = {
    uapi.BPF_PROG_TYPE_XDP: _xdp,
    uapi.BPF_PROG_TYPE_SCHED_CLS: _skb,
    uapi.BPF_PROG_TYPE_SCHED_ACT: _skb,
    uapi.BPF_PROG_TYPE_SOCKET_FILTER: _skb,
    uapi.BPF_PROG_TYPE_CGROUP_SKB: _skb,
    uapi.BPF_PROG_TYPE_LWT_IN: _skb,
    uapi.BPF_PROG_TYPE_LWT_OUT: _skb,
    uapi.BPF_PROG_TYPE_LWT_XMIT: _skb,
    uapi.BPF_PROG_TYPE_LWT_SEG6LOCAL: _skb,
    uapi.BPF_PROG_TYPE_RAW_TRACEPOINT: _raw_tracepoint,
    uapi.BPF_PROG_TYPE_SYSCALL: _syscall,
    uapi.BPF_PROG_TYPE_TRACING: run_traced.run,
}
