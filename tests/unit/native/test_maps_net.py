"""Maps of devices, CPUs and sockets: what they are made of, what goes in, what comes out, redirections; on both kernels."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from errno import (
    E2BIG,
    EACCES,
    EBADF,
    EEXIST,
    EINVAL,
    ENODEV,
    ENOENT,
    ENOMEM,
    ENOSPC,
    ENOTSOCK,
    EOPNOTSUPP,
    EOVERFLOW,
    EPERM,
)
from typing import Any

import pytest
from bpf_calls import Calls, load_object, u32, u64

from bpfjit.errors import ENOTSUPP
from bpfjit.isa.encoding import CALL, EXIT, Insn, encode, ld_imm64
from bpfjit.loader.bpf import Buffers
from bpfjit.spec.map_types import MAP_TYPE_NAMES
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel
from kernfs_sim.pidfd import pidfd_getfd, pidfd_open
from kernfs_sim.sockets import TCP_CLOSE, TCP_ESTABLISHED, TCP_LISTEN, Endpoint, InetRow, NetlinkRow, UnixRow
from tests.live import without

DEVMAP, DEVMAP_HASH, CPUMAP = uapi.BPF_MAP_TYPE_DEVMAP, uapi.BPF_MAP_TYPE_DEVMAP_HASH, uapi.BPF_MAP_TYPE_CPUMAP
XSKMAP, SOCKMAP, SOCKHASH = uapi.BPF_MAP_TYPE_XSKMAP, uapi.BPF_MAP_TYPE_SOCKMAP, uapi.BPF_MAP_TYPE_SOCKHASH
REUSEPORT = uapi.BPF_MAP_TYPE_REUSEPORT_SOCKARRAY
ALL = (DEVMAP, DEVMAP_HASH, CPUMAP, XSKMAP, SOCKMAP, SOCKHASH, REUSEPORT)
SLOTS = (DEVMAP, CPUMAP, XSKMAP, SOCKMAP, REUSEPORT)
PACKET, LO = bytes(64), 1
ACCESS, PROG_ACCESS = (uapi.BPF_F_RDONLY, uapi.BPF_F_WRONLY), (uapi.BPF_F_RDONLY_PROG, uapi.BPF_F_WRONLY_PROG)


def named(map_type: int) -> str:
    return MAP_TYPE_NAMES[map_type]


@pytest.fixture(params=["sim", "live", "interp"])
def each(request: pytest.FixtureRequest) -> Iterator[Calls]:
    """Both kernels, and ours with the checking interpreter."""
    yield from _calls(request)


def _calls(request: pytest.FixtureRequest) -> Iterator[Calls]:
    if request.param != "interp":
        yield request.getfixturevalue(request.param)
        return
    with Kernel(2, engine="interp") as kernel:
        calls = Calls(kernel.bpf, 2, kernel)
        yield calls
        calls.close_all()


# -- creation ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("map_type", ALL, ids=named)
def test_shapes_that_map_create_takes(calls: Calls, map_type: int) -> None:
    def create(key: int = 4, value: int = 4, entries: int = 4, flags: int = 0, **more: int) -> int:
        return min(calls.create(map_type, key, value, entries, flags, **more), 0)

    any_key, eight = map_type == SOCKHASH, map_type != XSKMAP
    keys = {0: EINVAL, 1: EINVAL * (not any_key), 5: EINVAL * (not any_key), 512: EINVAL * (not any_key)}
    keys[513] = E2BIG if any_key else EINVAL
    assert {key: -create(key=key) for key in keys} == keys
    values = {0: EINVAL, 3: EINVAL, 4: 0, 5: EINVAL, 7: EINVAL, 8: EINVAL * (not eight), 12: EINVAL}
    assert {value: -create(value=value) for value in values} == values
    entries = {0: EINVAL, 1: 0, 256: 0, 257: E2BIG * (map_type == CPUMAP)}
    assert {n: -create(entries=n) for n in entries} == entries
    taken = {uapi.BPF_F_NUMA_NODE}
    taken |= set(ACCESS) if map_type != CPUMAP else set()
    taken |= set(PROG_ACCESS) if map_type == REUSEPORT else set()
    assert {1 << bit for bit in range(20) if not create(flags=1 << bit)} == taken
    assert create(flags=sum(ACCESS)) == -EINVAL
    assert create(flags=uapi.BPF_F_NUMA_NODE, numa_node=1) == -EINVAL
    assert create(map_extra=1) == create(map_ifindex=LO) == -EINVAL


@pytest.mark.parametrize("map_type", ALL, ids=named)
def test_a_program_may_not_write_devices(calls: Calls, map_type: int) -> None:
    info = calls.info(calls.create(map_type, 4, 4, 4))
    assert info["map_flags"] == (uapi.BPF_F_RDONLY_PROG if map_type in (DEVMAP, DEVMAP_HASH) else 0)
    assert (info["key_size"], info["value_size"], info["max_entries"]) == (4, 4, 4)


@pytest.mark.parametrize("map_type", ALL, ids=named)
def test_they_may_be_inner_maps(calls: Calls, map_type: int) -> None:
    outer = calls.create(uapi.BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, 1, inner_map_fd=calls.create(map_type, 4, 4, 4))
    assert outer > 0
    assert calls.update(outer, u32(0), u32(calls.create(map_type, 4, 4, 4))) == 0
    assert calls.update(outer, u32(0), u32(calls.create(map_type, 4, 4, 4, uapi.BPF_F_NUMA_NODE))) == -EINVAL


@pytest.mark.parametrize("map_type", ALL, ids=named)
def test_what_they_do_not_have(calls: Calls, map_type: int) -> None:
    fd = calls.create(map_type, 4, 4, 4)
    assert calls.take(fd, u32(0), 4) == -ENOTSUPP
    assert calls.lookup(fd, u32(0), 4, uapi.BPF_F_LOCK) == -EINVAL
    for command in ("LOOKUP", "UPDATE", "DELETE", "LOOKUP_AND_DELETE"):
        buffers, room = Buffers(), bytearray(64)
        places = [buffers.put(room) for _ in range(3)]
        attr = uapi.MapBatch(map_fd=fd, count=1, keys=places[0], values=places[1], out_batch=places[2])
        assert calls.call(getattr(uapi, f"BPF_MAP_{command}_BATCH"), attr) == -ENOTSUPP
    assert calls.freeze(fd) == 0
    assert calls.update(fd, u32(0), u32(LO)) == -EPERM


@pytest.mark.parametrize("map_type", ALL, ids=named)
def test_all_slots_are_keys(calls: Calls, map_type: int) -> None:
    fd = calls.create(map_type, 4, 4, 3)
    assert calls.keys(fd, 4) == ([u32(0), u32(1), u32(2)] if map_type in SLOTS else [])
    assert calls.next_key(fd, u32(99), 4) == (u32(0) if map_type in SLOTS else -ENOENT)


@pytest.mark.parametrize("map_type", ALL, ids=named)
def test_taking_out_what_is_not_there(calls: Calls, map_type: int) -> None:
    fd = calls.create(map_type, 4, 4, 3)
    inside = {SOCKMAP: EINVAL, SOCKHASH: ENOENT, DEVMAP_HASH: ENOENT, REUSEPORT: ENOENT}.get(map_type, 0)
    beyond = {SOCKHASH: ENOENT, DEVMAP_HASH: ENOENT, REUSEPORT: E2BIG}.get(map_type, EINVAL)
    assert (calls.delete(fd, u32(0)), calls.delete(fd, u32(3))) == (-inside, -beyond)


# -- devices ----------------------------------------------------------------------------------------------------


def xdp(calls: Calls, insns: list[Insn], attach_type: int = 0, flags: int = 0) -> int:
    buffers = Buffers()
    attr = uapi.ProgLoad(prog_type=uapi.BPF_PROG_TYPE_XDP, insn_cnt=len(insns), insns=buffers.put(encode(insns)))
    attr.license, attr.prog_flags, attr.expected_attach_type = buffers.put(b"GPL\0"), flags, attach_type
    return calls._own(calls.call(uapi.BPF_PROG_LOAD, attr))


def passing(calls: Calls, attach_type: int = 0, flags: int = 0) -> int:
    return xdp(calls, [Insn(0xB7, 0, imm=2), Insn(EXIT)], attach_type, flags)


def redirecting(fd: int, index: int, flags: int) -> list[Insn]:
    insns = [*ld_imm64(1, fd, uapi.BPF_PSEUDO_MAP_FD), *ld_imm64(2, index), *ld_imm64(3, flags)]
    return [*insns, Insn(CALL, imm=51), Insn(EXIT)]


def prog_id(calls: Calls, fd: int) -> int:
    buffers, data = Buffers(), bytearray(64)
    assert calls.call(uapi.BPF_OBJ_GET_INFO_BY_FD, uapi.GetInfo(bpf_fd=fd, info_len=64, info=buffers.put(data))) == 0
    return int.from_bytes(data[4:8], "little")


def test_a_device_by_index(calls: Calls) -> None:
    fd = calls.create(DEVMAP, 4, 4, 3)
    assert calls.lookup(fd, u32(0), 4) == -ENOENT
    assert calls.update(fd, u32(0), u32(9999)) == -EINVAL, "no such device"
    assert calls.update(fd, u32(0), u32(LO)) == 0
    assert calls.lookup(fd, u32(0), 4) == u32(LO)
    assert calls.update(fd, u32(0), u32(LO), uapi.BPF_EXIST) == calls.update(fd, u32(1), u32(LO), uapi.BPF_EXIST) == 0
    assert calls.update(fd, u32(2), u32(LO), uapi.BPF_NOEXIST) == -EEXIST
    assert calls.update(fd, u32(3), u32(LO), uapi.BPF_NOEXIST) == -E2BIG
    assert calls.update(fd, u32(3), u32(LO), 3) == -EINVAL
    assert calls.update(fd, u32(0), u32(0)) == 0, "device 0 takes out"
    assert calls.lookup(fd, u32(0), 4) == -ENOENT


def test_a_device_by_any_number(calls: Calls) -> None:
    fd = calls.create(DEVMAP_HASH, 4, 4, 2)
    assert calls.update(fd, u32(77), u32(9999)) == calls.update(fd, u32(77), u32(0)) == -EINVAL
    assert calls.update(fd, u32(77), u32(LO), uapi.BPF_EXIST) == 0, "Linux does not look"
    assert calls.update(fd, u32(77), u32(LO), uapi.BPF_NOEXIST) == -EEXIST
    assert calls.update(fd, u32(77), u32(LO), 3) == -EINVAL
    assert calls.update(fd, u32(5), u32(LO), uapi.BPF_NOEXIST) == 0
    assert calls.update(fd, u32(6), u32(LO)) == -E2BIG
    assert calls.update(fd, u32(5), u32(LO)) == 0
    assert sorted(calls.keys(fd, 4)) == [u32(5), u32(77)]
    assert calls.delete(fd, u32(5)) == 0
    assert calls.lookup(fd, u32(5), 4) == -ENOENT


@pytest.mark.parametrize("map_type", [DEVMAP, DEVMAP_HASH], ids=named)
def test_a_devices_program(calls: Calls, map_type: int) -> None:
    fd, prog = calls.create(map_type, 4, 8, 4), passing(calls, uapi.BPF_XDP_DEVMAP)
    assert calls.update(fd, u32(0), u32(LO) + u32(prog)) == 0
    assert calls.lookup(fd, u32(0), 8) == u32(LO) + u32(prog_id(calls, prog))
    for other in (passing(calls), passing(calls, uapi.BPF_XDP_CPUMAP), fd, 9999):
        assert calls.update(fd, u32(1), u32(LO) + u32(other)) == -EINVAL
    frags = passing(calls, uapi.BPF_XDP_DEVMAP, uapi.BPF_F_XDP_HAS_FRAGS)
    assert calls.update(fd, u32(1), u32(LO) + u32(frags)) == -EINVAL, "the first one says what all are like"
    assert calls.update(fd, u32(1), u32(0) + u32(prog)) == -EINVAL
    assert calls.update(fd, u32(1), u32(LO) + u32(-1)) == 0
    assert calls.lookup(fd, u32(1), 8) == u32(LO) + u32(0)


def test_a_devices_program_stays_while_it_is_there(sim: Calls) -> None:
    fd, prog = sim.create(DEVMAP, 4, 8, 4), passing(sim, uapi.BPF_XDP_DEVMAP)
    sim.update(fd, u32(0), u32(LO) + u32(prog))
    sim.close(prog)
    kernel = sim.kernel
    assert kernel is not None and len(list(kernel.progs)) == 1
    sim.update(fd, u32(0), u32(LO) + u32(0))
    assert not list(kernel.progs)


def test_who_redirects_is_like_what_the_map_holds(calls: Calls) -> None:
    held, by_number = calls.create(DEVMAP, 4, 8, 4), calls.create(DEVMAP_HASH, 4, 8, 4)
    prog = passing(calls, uapi.BPF_XDP_DEVMAP)
    for fd in (held, by_number):
        assert calls.update(fd, u32(0), u32(LO) + u32(prog)) == 0
        assert xdp(calls, redirecting(fd, 0, 0)) > 0
    assert xdp(calls, redirecting(held, 0, 0), 0, uapi.BPF_F_XDP_HAS_FRAGS) == -EINVAL
    assert xdp(calls, redirecting(by_number, 0, 0), 0, uapi.BPF_F_XDP_HAS_FRAGS) > 0, "Linux does not look"


def test_programs_of_entries_have_no_test_run(calls: Calls) -> None:
    for attach_type in (uapi.BPF_XDP_DEVMAP, uapi.BPF_XDP_CPUMAP):
        assert calls.run(passing(calls, attach_type), PACKET).result == -EINVAL


# -- CPUs -------------------------------------------------------------------------------------------------------


def test_a_cpus_queue(calls: Calls) -> None:
    fd = calls.create(CPUMAP, 4, 4, 200)
    assert calls.lookup(fd, u32(0), 4) == -ENOENT
    assert calls.update(fd, u32(0), u32(192)) == 0
    assert calls.lookup(fd, u32(0), 4) == u32(192)
    assert calls.update(fd, u32(0), u32(16384)) == 0
    assert calls.update(fd, u32(0), u32(16385)) == -EOVERFLOW
    assert calls.update(fd, u32(calls.cpus), u32(5)) == -ENODEV
    assert calls.update(fd, u32(200), u32(16385)) == -E2BIG
    assert calls.update(fd, u32(0), u32(16385), uapi.BPF_NOEXIST) == -EEXIST
    assert calls.update(fd, u32(0), u32(5), 3) == -EINVAL
    assert calls.update(fd, u32(0), u32(0), uapi.BPF_EXIST) == 0, "no queue takes out"
    assert calls.lookup(fd, u32(0), 4) == -ENOENT


def test_a_cpus_program(calls: Calls) -> None:
    fd, prog = calls.create(CPUMAP, 4, 8, 2), passing(calls, uapi.BPF_XDP_CPUMAP)
    assert calls.update(fd, u32(0), u32(64) + u32(prog)) == 0
    assert calls.lookup(fd, u32(0), 8) == u32(64) + u32(prog_id(calls, prog))
    for other in (passing(calls), passing(calls, uapi.BPF_XDP_DEVMAP), fd, 9999):
        assert calls.update(fd, u32(0), u32(64) + u32(other)) == -ENOMEM, "what went wrong Linux does not say"
    assert calls.update(fd, u32(0), u32(0) + u32(9999)) == 0


# -- redirections -----------------------------------------------------------------------------------------------

ABORTED, DROP, PASS, TX, REDIRECT = range(5)
BROADCAST, NOT_BACK = 8, 16


class Redirection:
    """bpf_redirect_map() of one map: index and flags are the packet's first words."""

    def __init__(self, calls: Calls, fd: int) -> None:
        insns = [Insn(0x61, 2, 1), Insn(0x61, 3, 1, 4), Insn(0xBF, 4, 2), Insn(0x07, 4, imm=16), Insn(0xB7, 0, imm=99)]
        insns += [Insn(0x2D, 4, 3, 5), Insn(0x79, 3, 2, 8), Insn(0x79, 2, 2, 0), *ld_imm64(1, fd, uapi.BPF_PSEUDO_MAP_FD)]
        self.calls, self.fd = calls, xdp(calls, [*insns, Insn(CALL, imm=51), Insn(EXIT)])

    def verdicts(self, index: int) -> dict[int, int]:
        """By flags."""
        flags = (0, 1, 2, 3, 4, BROADCAST, NOT_BACK, BROADCAST | NOT_BACK | 1, 32, 1 << 32)
        return {f: self.calls.run(self.fd, u64(index) + u64(f) + PACKET).retval for f in flags}


@pytest.mark.parametrize("map_type", [DEVMAP, DEVMAP_HASH], ids=named)
def test_redirection_to_a_device(each: Calls, map_type: int) -> None:
    fd = each.create(map_type, 4, 4, 4)
    assert each.update(fd, u32(0), u32(LO)) == 0
    both = {4: ABORTED, 32: ABORTED, 1 << 32: ABORTED, BROADCAST: REDIRECT, BROADCAST | NOT_BACK | 1: REDIRECT}
    there = {0: REDIRECT, 1: REDIRECT, 2: REDIRECT, 3: REDIRECT, NOT_BACK: REDIRECT}
    verdicts = Redirection(each, fd).verdicts
    assert verdicts(0) == verdicts(1 << 32) == {**there, **both}
    missing = {0: ABORTED, 1: DROP, 2: PASS, 3: TX, NOT_BACK: ABORTED}
    assert verdicts(1) == verdicts(99) == {**missing, **both}


@pytest.mark.parametrize("map_type", [CPUMAP, XSKMAP], ids=named)
def test_redirection_to_a_cpu_or_socket(each: Calls, map_type: int) -> None:
    fd = each.create(map_type, 4, 4, 4)
    refused = dict.fromkeys((4, 32, 1 << 32, BROADCAST, NOT_BACK, BROADCAST | NOT_BACK | 1), ABORTED)
    verdicts = Redirection(each, fd).verdicts
    assert verdicts(0) == {0: ABORTED, 1: DROP, 2: PASS, 3: TX, **refused}
    if map_type == CPUMAP:
        assert each.update(fd, u32(0), u32(64)) == 0
        assert verdicts(0) == {**dict.fromkeys(range(4), REDIRECT), **refused}


HELPERS = [
    ("xdp", 23, {0: REDIRECT, 1: ABORTED, 2: ABORTED}),
    ("sched_cls", 23, {0: 7, 1: 7, 2: 2, 3: 2, 1 << 32: 2}),
    ("sched_cls", 155, {0: 7, 1: 2}),
]


@pytest.mark.parametrize(("kind", "helper", "want"), HELPERS, ids=lambda x: str(x)[:9])
def test_redirection_by_number(each: Calls, kind: str, helper: int, want: dict[int, int]) -> None:
    prog_type = getattr(uapi, f"BPF_PROG_TYPE_{kind.upper()}")
    for device in (LO, 99):
        found = {}
        for flags in want:
            insns = [*ld_imm64(1, device), *ld_imm64(2, flags), Insn(CALL, imm=helper), Insn(EXIT)]
            found[flags] = each.run(each.load(prog_type, insns), PACKET).retval
        assert found == want


def test_redirection_to_a_neighbour(each: Calls) -> None:
    def verdict(size: int, flags: int) -> int:
        insns = [Insn(0x7A, 10, off=-8 * i) for i in range(1, 4)]  # *(u64 *)(r10 - 8 * i) = 0
        insns += [*ld_imm64(1, LO), Insn(0xBF, 2, 10), Insn(0x07, 2, imm=-24), Insn(0xB7, 3, imm=size), *ld_imm64(4, flags)]
        fd = each.load(uapi.BPF_PROG_TYPE_SCHED_CLS, [*insns, Insn(CALL, imm=152), Insn(EXIT)])
        return each.run(fd, PACKET).retval

    assert [verdict(*x) for x in ((0, 0), (20, 0), (19, 0), (1, 0), (20, 1))] == [7, 7, 2, 2, 2]


def test_programs_look_devices_up(each: Calls) -> None:
    obj = load_object(each, "net_maps", ["device"])
    fd = obj.maps["devices"].fd
    assert each.run(obj.progs["device"].fd, PACKET).retval == 0
    assert each.update(fd, u32(3), u32(LO) + u32(0)) == 0
    assert each.run(obj.progs["device"].fd, PACKET).retval == 100 + LO


# -- sockets ----------------------------------------------------------------------------------------------------

# name -> the simulated one, how the live one is made, and what a sockmap says of it.
SOCKETS = {
    "tcp": (InetRow(6, Endpoint.parse("0.0.0.0:0"), Endpoint.parse("0.0.0.0:0"), TCP_CLOSE, ino=1), EOPNOTSUPP),
    "tcp_listens": (InetRow(6, Endpoint.parse("127.0.0.1:80"), Endpoint.parse("0.0.0.0:0"), TCP_LISTEN, ino=2), 0),
    "tcp_talks": (InetRow(6, Endpoint.parse("127.0.0.1:9"), Endpoint.parse("127.0.0.1:80"), TCP_ESTABLISHED, ino=3), 0),
    "tcp6_listens": (InetRow(6, Endpoint.parse("[::1]:80"), Endpoint.parse("[::]:0"), TCP_LISTEN, ino=4), 0),
    "tcp_ends": (InetRow(6, Endpoint.parse("127.0.0.1:9"), Endpoint.parse("127.0.0.1:80"), 8, ino=5), EOPNOTSUPP),
    "udp": (InetRow(17, Endpoint.parse("0.0.0.0:0"), Endpoint.parse("0.0.0.0:0"), TCP_CLOSE, ino=6), EOPNOTSUPP),
    "udp_bound": (InetRow(17, Endpoint.parse("127.0.0.1:53"), Endpoint.parse("0.0.0.0:0"), TCP_CLOSE, ino=7), 0),
    "unix": (UnixRow(ino=8), EOPNOTSUPP),
    "unix_talks": (UnixRow(state=TCP_ESTABLISHED, ino=9), 0),
    "unix_datagram": (UnixRow(type=2, ino=10), 0),
    "unix_packets": (UnixRow(type=5, state=TCP_ESTABLISHED, ino=11), EOPNOTSUPP),
    "netlink": (NetlinkRow(0, ino=12), EOPNOTSUPP),
}


def live_sockets() -> tuple[dict[str, socket.socket], list[socket.socket]]:
    """One of each kind, on the loopback device; and what else has to be closed."""
    four, six, local, datagram = socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.SOCK_DGRAM
    made = {name: socket.socket() for name in ("tcp", "tcp_listens", "tcp_talks")}
    made |= {
        "tcp6_listens": socket.socket(six),
        "udp": socket.socket(four, datagram),
        "udp_bound": socket.socket(four, datagram),
    }
    made |= {"unix": socket.socket(local), "unix_datagram": socket.socket(local, datagram)}
    made["netlink"] = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    for name, host in (("tcp_listens", "127.0.0.1"), ("tcp6_listens", "::1"), ("udp_bound", "127.0.0.1")):
        made[name].bind((host, 0))
    for name in ("tcp_listens", "tcp6_listens"):
        made[name].listen()
    made["tcp_talks"].connect(made["tcp_listens"].getsockname())
    peer = made["tcp_listens"].accept()[0]
    other = socket.create_connection(made["tcp_listens"].getsockname())
    made["tcp_ends"] = made["tcp_listens"].accept()[0]
    other.shutdown(socket.SHUT_WR)
    made["tcp_ends"].recv(1)
    made["unix_talks"], unix_peer = socket.socketpair(local)
    made["unix_packets"], packets_peer = socket.socketpair(local, socket.SOCK_SEQPACKET)
    return made, [peer, other, unix_peer, packets_peer]


class Sockets:
    """One socket of each kind in one kernel, by the fds of its caller."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        kernel: Any = calls.kernel
        self.open: list[socket.socket] = []
        self.made: dict[str, Any] = {}
        if kernel is None:
            self.made, self.open = live_sockets()
            self.fd = {name: s.fileno() for name, s in self.made.items()}
            self.open += self.made.values()
            return
        task = kernel.tasks.create(os.getpid(), "pytest", kernel.cgroups.create("/web"))
        pidfd = pidfd_open(kernel, kernel.caller, os.getpid())
        self.made = {name: kernel.sockets.add(task.namespaces.net, row) for name, (row, _) in SOCKETS.items()}
        at = {name: task.files.install(s.file()) for name, s in self.made.items()}
        self.fd = {name: pidfd_getfd(kernel, kernel.caller, pidfd, fd) for name, fd in at.items()}

    def close(self, name: str) -> None:
        if self.calls.is_live:
            self.made[name].close()
        else:
            kernel: Any = self.calls.kernel
            kernel.sockets.remove(self.made[name])

    def close_all(self) -> None:
        for s in self.open:
            s.close()


@pytest.fixture(params=["sim", pytest.param("live", marks=without("iter/sockmap")), "interp"])
def walking(request: pytest.FixtureRequest) -> Iterator[Calls]:
    """As `each`, where sockets of a map may be walked."""
    yield from _calls(request)


@pytest.fixture
def sockets(each: Calls) -> Iterator[Sockets]:
    made = Sockets(each)
    yield made
    made.close_all()


@pytest.mark.parametrize("map_type", [SOCKMAP, SOCKHASH], ids=named)
def test_which_sockets_go_in(sockets: Sockets, map_type: int) -> None:
    calls = sockets.calls
    fd = calls.create(map_type, 4, 8, 64)
    want = {name: error for name, (_, error) in SOCKETS.items()}
    assert {name: -calls.update(fd, u32(i), u64(sockets.fd[name])) for i, name in enumerate(want)} == want
    cookies = [calls.lookup(fd, u32(i), 8) for i, name in enumerate(want) if not want[name]]
    assert len(set(cookies)) == len(cookies) and all(isinstance(c, bytes) and any(c) for c in cookies)
    assert calls.update(fd, u32(60), u64(sockets.fd["udp_bound"])) == 0, "in several places"
    assert calls.lookup(fd, u32(60), 8) in cookies


@pytest.mark.parametrize("map_type", [SOCKMAP, SOCKHASH], ids=named)
def test_flags_and_room_of_sockmaps(sockets: Sockets, map_type: int) -> None:
    calls, good, bad = sockets.calls, u64(sockets.fd["tcp_talks"]), u64(sockets.fd["udp"])
    fd = calls.create(map_type, 4, 8, 2)
    assert calls.update(fd, u32(0), good, uapi.BPF_EXIST) == -ENOENT
    assert calls.update(fd, u32(0), good, uapi.BPF_NOEXIST) == 0
    assert calls.update(fd, u32(0), good, uapi.BPF_NOEXIST) == -EEXIST
    assert calls.update(fd, u32(0), good, uapi.BPF_EXIST) == calls.update(fd, u32(0), good) == 0
    assert calls.update(fd, u32(0), good, 3) == calls.update(fd, u32(0), good, 8) == -EINVAL
    assert calls.update(fd, u32(0), bad, 3) == -EOPNOTSUPP, "the socket is looked at first"
    assert calls.update(fd, u32(0), u64(sockets.fd["unix_packets"]), 3) == -EINVAL, "but for this kind"
    assert calls.update(fd, u32(0), good, uapi.BPF_F_LOCK) == -EINVAL
    assert calls.update(fd, u32(1), good) == 0
    assert calls.update(fd, u32(2), good) == -E2BIG
    assert calls.update(fd, u32(2), good, uapi.BPF_EXIST) == (-E2BIG if map_type == SOCKMAP else -ENOENT)
    assert calls.delete(fd, u32(1)) == 0
    assert calls.delete(fd, u32(1)) == (-EINVAL if map_type == SOCKMAP else -ENOENT)
    assert calls.lookup(fd, u32(1), 8) == -ENOENT
    for what, error in ((fd, ENOTSOCK), (9999, EBADF), (1 << 32, EINVAL), (1 << 31, EINVAL)):
        assert calls.update(fd, u32(0), u64(what)) == -error


@pytest.mark.parametrize("map_type", [SOCKMAP, SOCKHASH, REUSEPORT], ids=named)
def test_a_cookie_wants_eight_bytes(sockets: Sockets, map_type: int) -> None:
    calls, fd = sockets.calls, sockets.calls.create(map_type, 4, 4, 2)
    assert calls.update(fd, u32(0), u32(sockets.fd["tcp_talks"])) == (0 if map_type != REUSEPORT else -EINVAL)
    assert calls.lookup(fd, u32(0), 4) == calls.lookup(fd, u32(9), 4) == -ENOSPC


@pytest.mark.parametrize("map_type", [SOCKMAP, SOCKHASH], ids=named)
def test_a_closed_socket_goes_out(sockets: Sockets, map_type: int) -> None:
    calls, fd = sockets.calls, sockets.calls.create(map_type, 4, 8, 4)
    for i, name in enumerate(("tcp_talks", "tcp_listens", "tcp_talks")):
        assert calls.update(fd, u32(i), u64(sockets.fd[name])) == 0
    sockets.close("tcp_talks")
    there = [isinstance(calls.lookup(fd, u32(i), 8), bytes) for i in range(3)]
    assert there == [False, True, False]


def test_what_a_reuseport_array_takes(sockets: Sockets) -> None:
    calls, fd = sockets.calls, sockets.calls.create(REUSEPORT, 4, 8, 4)
    unlike = {name for name in SOCKETS if name.startswith(("unix", "netlink"))}
    for name, number in sockets.fd.items():
        want = ENOTSUPP if name in unlike else EINVAL  # of those that could, none has SO_REUSEPORT
        assert (name, calls.update(fd, u32(0), u64(number))) == (name, -want)
        assert calls.update(fd, u32(0), u64(number), uapi.BPF_EXIST) == -ENOENT
    assert calls.update(fd, u32(4), u64(9999)) == -E2BIG
    assert calls.update(fd, u32(4), u64(9999), 3) == -EINVAL
    for what, error in ((fd, ENOTSOCK), (9999, EBADF), (1 << 32, EINVAL)):
        assert calls.update(fd, u32(0), u64(what)) == -error


def test_an_xskmap_wants_sockets_of_xdp(sockets: Sockets) -> None:
    calls, fd = sockets.calls, sockets.calls.create(XSKMAP, 4, 4, 4)
    for number in sockets.fd.values():
        assert calls.update(fd, u32(0), u32(number)) == -EOPNOTSUPP
    for what, error in ((fd, ENOTSOCK), (9999, EBADF), (-1, EBADF)):
        assert calls.update(fd, u32(0), u32(what)) == -error
    assert calls.update(fd, u32(4), u32(9999)) == -E2BIG
    assert calls.update(fd, u32(4), u32(9999), 3) == -EINVAL
    assert calls.lookup(fd, u32(0), 4) == calls.lookup(fd, u32(9), 4) == -EOPNOTSUPP


def test_programs_take_sockets_out_of_maps_and_put_them_in_others(sockets: Sockets) -> None:
    calls = sockets.calls
    obj = load_object(calls, "net_maps", ["move", "drop"])
    from_, to = obj.maps["sockets"].fd, obj.maps["by_name"].fd
    assert calls.run(obj.progs["move"].fd, PACKET).retval == 0
    for name, family, kind in (("tcp_talks", 2, 1), ("tcp6_listens", 10, 1), ("udp_bound", 2, 2)):
        assert calls.update(from_, u32(1), u64(sockets.fd[name])) == 0
        assert calls.run(obj.progs["move"].fd, PACKET).retval == 1000 * family + kind
        assert calls.lookup(to, u64(7), 8) == calls.lookup(from_, u32(1), 8)
        assert calls.run(obj.progs["drop"].fd, PACKET).retval == 0
        assert calls.lookup(to, u64(7), 8) == -ENOENT
    assert calls.run(obj.progs["drop"].fd, PACKET).retval == (1 << 32) - ENOENT
    obj.close()


def named_map(fd: int) -> bytes:
    """bpf_iter_link_info of a map."""
    return u32(fd).ljust(uapi.LAYOUTS["bpf_iter_link_info"].size, b"\0")


def walked(calls: Calls, obj: Any, prog: str, map_name: str) -> str:
    """What an iterator writes about a map."""
    link = obj.attach_prog(obj.progs[prog], named_map(obj.maps[map_name].fd))
    try:
        fd = calls._own(calls.call(uapi.BPF_ITER_CREATE, uapi.IterCreate(link_fd=link.fd)))
        assert fd > 0
        if calls.is_live:
            return os.read(fd, 4096).decode()
        kernel: Any = calls.kernel
        return bytes(kernel.caller.fds.get(fd).read(kernel.caller, 4096)).decode()
    finally:
        link.close()


def test_sockets_of_a_map_are_walked(walking: Calls) -> None:
    sockets, calls = Sockets(walking), walking
    obj = load_object(calls, "net_maps", ["list", "copy"])
    from_, to = obj.maps["sockets"].fd, obj.maps["by_name"].fd
    empty, end = "end 1 1 0\n", "end 1 0 0\n"
    assert walked(calls, obj, "list", "sockets") == 4 * empty + end
    assert walked(calls, obj, "list", "by_name") == end
    for index, name in ((3, "tcp_talks"), (1, "udp_bound")):
        assert calls.update(from_, u32(index), u64(sockets.fd[name])) == 0
    assert walked(calls, obj, "list", "sockets") == f"{empty}1 2 17\n{empty}3 2 6\n{end}"
    assert walked(calls, obj, "copy", "sockets") == ""
    assert calls.lookup(to, u64(7), 8) == calls.lookup(from_, u32(3), 8), "the last one"
    assert walked(calls, obj, "list", "by_name") == "7 2 6\n" + end
    obj.close()
    sockets.close_all()


def test_what_a_walk_over_sockets_wants(walking: Calls) -> None:
    obj = load_object(walking, "net_maps", ["list", "list_wide"])
    wanted = [("list", 0, EBADF), ("list", 9999, EBADF), ("list", obj.maps["devices"].fd, EINVAL)]
    wanted += [("list_wide", obj.maps["by_name"].fd, EACCES), ("list_wide", obj.maps["sockets"].fd, EACCES)]
    for prog, fd, error in wanted:
        with pytest.raises(OSError) as e:
            obj.attach_prog(obj.progs[prog], named_map(fd))
        assert (prog, fd, e.value.errno) == (prog, fd, error)
    obj.close()


@pytest.mark.parametrize("engine", ["jit", "interp"])
def test_sock_ops_collect_sockets(engine: str) -> None:
    """What runs when a connection is there; elsewhere there is no socket to put in. Simulated only: nothing is attached."""
    with Kernel(2, engine=engine) as kernel:
        calls = Calls(kernel.bpf, 2, kernel)
        obj = load_object(calls, "net_maps", ["collect"])
        web = kernel.cgroups.create("/web")
        cgroup = kernel.caller.fds.install(kernel.open("/sys/fs/cgroup/web"))
        attr = uapi.ProgAttach(target_fd=cgroup, attach_bpf_fd=obj.progs["collect"].fd, attach_type=uapi.BPF_CGROUP_SOCK_OPS)
        assert calls.call(uapi.BPF_PROG_ATTACH, attr) == 0
        sock = kernel.sockets.add(kernel.namespaces.net[""], SOCKETS["tcp_talks"][0])
        for op, there in ((4, True), (5, True), (11, True), (3, False), (10, False)):
            ctx = bytearray(uapi.LAYOUTS["bpf_sock_ops"].size)
            ctx[0:4] = u32(op)
            assert kernel.run_cgroup(uapi.BPF_CGROUP_SOCK_OPS, web, ctx, sock=sock) == 0
            for name, key in (("sockets", u32(1)), ("by_name", u64(7))):
                assert isinstance(calls.lookup(obj.maps[name].fd, key, 8), bytes) is there
                calls.delete(obj.maps[name].fd, key)
        obj.close()
