"""BPF_PROG_TEST_RUN: sizes, contexts, results and errors, compared with the live kernel call by call."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from errno import E2BIG, EBADF, EINVAL, ENOSPC, ENXIO
from typing import Any

import pytest
from bpf_calls import Calls, Ran

from bpfjit.isa.encoding import Insn
from bpfjit.uapi import bpf as uapi

MOV, LDXW, CALL, EXIT = 0xB7, 0x61, 0x85, Insn(0x95)
XDP, TC, ACT, FILTER = (
    uapi.BPF_PROG_TYPE_XDP,
    uapi.BPF_PROG_TYPE_SCHED_CLS,
    uapi.BPF_PROG_TYPE_SCHED_ACT,
    uapi.BPF_PROG_TYPE_SOCKET_FILTER,
)
RAW_TP, SYSCALL, TRACEPOINT = uapi.BPF_PROG_TYPE_RAW_TRACEPOINT, uapi.BPF_PROG_TYPE_SYSCALL, uapi.BPF_PROG_TYPE_TRACEPOINT
NAMES = {XDP: "xdp", TC: "tc", ACT: "act", FILTER: "filter", RAW_TP: "raw_tp", SYSCALL: "syscall", TRACEPOINT: "tp"}
SKB_LEN = (Insn(LDXW, 0, 1, 0), EXIT)
XDP_LEN = (Insn(LDXW, 2, 1, 0), Insn(LDXW, 3, 1, 4), Insn(0xBF, 0, 3), Insn(0x1F, 0, 2), EXIT)
BYTES = bytes(range(256)) * 300
PACKET = BYTES[:64]
ENOTSUPP = 524


def load(calls: Calls, prog_type: int, insns: tuple[Insn, ...]) -> int:
    fd = calls.load(prog_type, insns, flags=uapi.BPF_F_SLEEPABLE if prog_type == SYSCALL else 0)
    assert fd >= 0, calls.log
    return fd


def length_of(prog_type: int) -> tuple[Insn, ...]:
    """A program that returns how many bytes it sees."""
    return XDP_LEN if prog_type == XDP else SKB_LEN


def returns(value: int) -> tuple[Insn, ...]:
    return Insn(MOV, 0, 0, 0, value), EXIT


@dataclass
class Pair:
    """One program in both kernels; run() asserts that they agree in every part of the answer."""

    sim: Calls
    live: Calls
    fds: dict[tuple[int, tuple[Insn, ...]], tuple[int, int]] = field(default_factory=dict)

    def run(self, prog_type: int, insns: tuple[Insn, ...], data: bytes = b"", **more: Any) -> Ran:
        key = prog_type, insns
        if key not in self.fds:
            self.fds[key] = load(self.sim, prog_type, insns), load(self.live, prog_type, insns)
        ours, theirs = self.fds[key]
        mine, wanted = self.sim.run(ours, data, **more), self.live.run(theirs, data, **more)
        shown = {name: len(v) if isinstance(v, bytes) else v for name, v in more.items()}
        assert mine == wanted, (NAMES[prog_type], len(data), shown)
        return mine


@pytest.fixture
def pair(sim: Calls, live: Calls) -> Iterator[Pair]:
    yield Pair(sim, live)


# -- against the live kernel, answer by answer ------------------------------------------------------------


@pytest.mark.parametrize("prog_type", [XDP, TC, ACT, FILTER], ids=NAMES.get)
def test_packets_of_every_size_are_taken_as_linux_takes_them(pair: Pair, prog_type: int) -> None:
    for size in (
        0,
        1,
        13,
        14,
        15,
        33,
        34,
        54,
        64,
        1500,
        3519,
        3520,
        3521,
        3711,
        3712,
        3713,
        3776,
        4096,
        10000,
        73152,
        73153,
    ):
        pair.run(prog_type, length_of(prog_type), BYTES[:size], room=size + 100)


@pytest.mark.parametrize("prog_type", [XDP, TC, ACT, FILTER], ids=NAMES.get)
def test_a_network_header_must_be_whole(pair: Pair, prog_type: int) -> None:
    for ether_type in (b"\x08\x00", b"\x86\xdd", b"\x08\x06", b"\x81\x00"):
        for size in (14, 15, 33, 34, 53, 54, 60):
            pair.run(prog_type, length_of(prog_type), (bytes(12) + ether_type + bytes(99))[:size], room=200)


@pytest.mark.parametrize("prog_type", [XDP, TC, ACT, FILTER], ids=NAMES.get)
def test_room_for_the_output_repeat_flags(pair: Pair, prog_type: int) -> None:
    for room in (None, 1, 10, 63, 64, 65):
        pair.run(prog_type, returns(2), PACKET, room=room)
    for repeat in (0, 1):
        pair.run(prog_type, returns(2), PACKET, repeat=repeat)
    for name in ("flags", "cpu", "batch_size"):
        for value in (1, 2, 4, 8):
            if (prog_type, name, value) != (XDP, "flags", 2):  # live frames would leave for the network
                pair.run(prog_type, returns(2), PACKET, **{name: value})


def test_xdp_md_in_and_out(pair: Pair) -> None:
    for size in (1, 4, 8, 23, 24, 28, 100):
        pair.run(XDP, XDP_LEN, PACKET, ctx=bytes(size), ctx_room=100)
    rows = [(data, 64, 0, 0, 0, 0) for data in (0, 3, 4, 8, 32, 36, 50, 51, 52, 60, 64, 68)]
    rows += [(0, 63, 0, 0, 0, 0), (0, 65, 0, 0, 0, 0), (8, 4, 0, 0, 0, 0), (0, 64, 4, 0, 0, 0), (4, 64, 4, 0, 0, 0)]
    rows += [(0, 64, 0, 1, 0, 0), (0, 64, 0, 0, 1, 0), (0, 64, 0, 0, 0, 1), (0, 0, 0, 0, 0, 0)]
    for row in rows:
        pair.run(XDP, XDP_LEN, PACKET, ctx=struct.pack("<6I", *row), ctx_room=24, room=200)
    for room in (0, 1, 23, 24, 25, 100):
        pair.run(XDP, XDP_LEN, PACKET, ctx=struct.pack("<6I", 0, 64, 0, 0, 0, 0), ctx_room=room)
    for meta in (212, 216, 220, 252):
        pair.run(XDP, XDP_LEN, BYTES[:600], ctx=struct.pack("<6I", meta, 600, 0, 0, 0, 0), ctx_room=24, room=700)


@pytest.mark.parametrize("prog_type", [TC, FILTER], ids=NAMES.get)
def test_sk_buff_in_and_out(pair: Pair, prog_type: int) -> None:
    for size in (1, 4, 24, 192, 193, 200):
        pair.run(prog_type, SKB_LEN, PACKET, ctx=bytes(size), ctx_room=200)
    for offset in range(0, 192, 4):  # which members a caller may set
        ctx = bytearray(192)
        ctx[offset] = 1
        pair.run(prog_type, SKB_LEN, PACKET, ctx=bytes(ctx), ctx_room=192, room=100)
    for room in (0, 1, 100, 191, 192, 300):
        pair.run(prog_type, SKB_LEN, PACKET, ctx=bytes(192), ctx_room=room)
        pair.run(prog_type, SKB_LEN, PACKET, ctx_room=room)


@pytest.mark.parametrize("prog_type", [TC, FILTER], ids=NAMES.get)
def test_every_member_of_sk_buff_reads_as_in_linux(pair: Pair, prog_type: int) -> None:
    packets = [PACKET, bytes(64), b"\xff" * 6 + bytes(58), b"\1" + bytes(63), b"\2" + bytes(63)]
    packets += [bytes(12) + kind + bytes(50) for kind in (b"\x08\x06", b"\x81\0\0\7\x08\0", b"\0\x20", b"\0\x20\xff\xff")]
    loads = {1: 0x71, 4: 0x61, 8: 0x79}
    for name, (offset, size) in uapi.LAYOUTS["__sk_buff"].fields.items():
        if size not in loads or name in ("data", "data_end", "data_meta", "napi_id", "sk"):
            continue
        insns = (Insn(loads[size], 0, 1, offset), EXIT)
        ours, theirs = pair.sim.load(prog_type, insns), pair.live.load(prog_type, insns)
        assert (ours >= 0) == (theirs >= 0), name
        if ours >= 0:
            for packet in packets:
                mine, wanted = pair.sim.run(ours, packet), pair.live.run(theirs, packet)
                assert (name, mine.retval) == (name, wanted.retval), packet[:16]


@pytest.mark.parametrize("helper", [44, 65], ids=["adjust_head", "adjust_tail"])
def test_adjusting_a_packet_gives_the_same_bytes(pair: Pair, helper: int) -> None:
    for by in (
        0,
        1,
        -1,
        14,
        49,
        50,
        51,
        64,
        100,
        -50,
        -51,
        -200,
        -215,
        -216,
        -217,
        -256,
        3455,
        3456,
        3457,
        4000,
        -(1 << 31),
    ):
        insns = (Insn(MOV, 2, 0, 0, by), Insn(CALL, 0, 0, 0, helper), EXIT)
        pair.run(XDP, insns, PACKET, room=4000)
        for meta, size in ((4, 64), (32, 100)):
            ctx = struct.pack("<6I", meta, size, 0, 0, 0, 0)
            pair.run(XDP, insns, BYTES[:size], ctx=ctx, ctx_room=24, room=4000)


@pytest.mark.parametrize("prog_type", [TC, FILTER], ids=NAMES.get)
def test_skb_load_bytes_copies_or_zeroes(pair: Pair, prog_type: int) -> None:
    for offset in (0, 1, 13, 42, 46, 49, 50, 51, 60, 63, 64, 65, -1, -14, 0xFFFF, 65536, 0x7FFFFFFF):
        for length in (1, 4, 8):
            insns = (
                Insn(0x7A, 10, 0, -8, -1),
                Insn(0xB4, 2, 0, 0, offset),
                Insn(0xBF, 3, 10),
                Insn(0x07, 3, 0, 0, -8),
                Insn(MOV, 4, 0, 0, length),
                Insn(CALL, 0, 0, 0, 26),
                Insn(LDXW, 1, 10, -8),
                Insn(0x67, 1, 0, 0, 8),
                Insn(0x4F, 0, 1),
                EXIT,
            )
            pair.run(prog_type, insns, PACKET)


@pytest.mark.parametrize("prog_type", [RAW_TP, SYSCALL, TRACEPOINT], ids=NAMES.get)
def test_programs_without_packets(pair: Pair, prog_type: int) -> None:
    for size in (0, 8, 64, 96, 97, 65535, 65536):
        pair.run(prog_type, returns(7), ctx=bytes(size))
    pair.run(prog_type, returns(7), PACKET)
    pair.run(prog_type, returns(7), room=10)
    pair.run(prog_type, returns(7), ctx=bytes(8), ctx_room=8)
    for name in ("flags", "cpu", "batch_size", "duration", "repeat"):
        for value in (1, 2, 3, 77):
            pair.run(prog_type, returns(7), **{name: value})
    for cpu in (0, 1, 999):
        pair.run(prog_type, returns(7), flags=1, cpu=cpu)


# -- the rules themselves, on each kernel by itself -------------------------------------------------------


def test_a_socket_filter_sees_the_packet_behind_its_ethernet_header(calls: Calls) -> None:
    fd = load(calls, FILTER, SKB_LEN)
    ran = calls.run(fd, PACKET, room=64)
    assert (ran.retval, ran.data) == (50, bytes(14) + PACKET[14:])
    assert calls.run(load(calls, TC, SKB_LEN), PACKET, room=64).retval == 64


def test_an_xdp_program_sees_the_linear_part_of_a_large_packet(calls: Calls) -> None:
    ran = calls.run(load(calls, XDP, XDP_LEN), BYTES[:5000], room=5000)
    assert (ran.result, ran.retval, ran.data) == (0, 3520, BYTES[:5000])


@pytest.mark.parametrize("prog_type", [XDP, TC, ACT, FILTER], ids=NAMES.get)
def test_output_that_does_not_fit_is_cut_and_enospc(calls: Calls, prog_type: int) -> None:
    fd = load(calls, prog_type, returns(2))
    ran = calls.run(fd, PACKET, room=10)
    assert (ran.result, ran.data_size, ran.data[10:]) == (-ENOSPC, 64, b"\xee" * 54)
    assert calls.run(fd, PACKET[:13]).result == -EINVAL
    assert calls.run(fd, PACKET, ctx=b"\1" * 300).result == -E2BIG
    assert calls.run(9999, PACKET).result == -EBADF


def test_a_raw_tracepoint_runs_on_the_cpu_asked_for(calls: Calls) -> None:
    fd = load(calls, RAW_TP, returns(7))
    assert calls.run(fd, flags=1, cpu=999).result == -ENXIO
    assert calls.run(fd, cpu=1).result == -EINVAL
    assert calls.run(fd, flags=1).retval == 7


def test_some_program_types_have_no_test_run(calls: Calls) -> None:
    assert calls.run(load(calls, TRACEPOINT, returns(0))).result == -ENOTSUPP


def test_a_syscall_program_gives_its_context_back(calls: Calls) -> None:
    insns = (Insn(LDXW, 0, 1, 0), Insn(0x04, 0, 0, 0, 1), Insn(0x63, 1, 0, 4), EXIT)
    ran = calls.run(load(calls, SYSCALL, insns), ctx=struct.pack("<II", 41, 0))
    assert (ran.retval, ran.ctx) == (42, struct.pack("<II", 41, 42))


def test_a_packet_keeps_its_changes_from_one_execution_to_the_next(sim: Calls) -> None:
    insns = (Insn(MOV, 2, 0, 0, 1), Insn(CALL, 0, 0, 0, 44), EXIT)
    ran = sim.run(load(sim, XDP, insns), PACKET, room=64, repeat=5)
    assert ran.data == PACKET[5:]
