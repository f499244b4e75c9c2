"""The control socket: bpf(2) from elsewhere, with the caller's own memory, credentials and fds; and hostile callers."""

from __future__ import annotations

import dataclasses
import errno
import itertools
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfjit import open_object
from bpfjit.errors import UsageError
from bpfjit.loader import MountBpf
from bpfjit.loader.bpf import Buffers
from bpfjit.uapi import bpf as uapi
from bpfjit.uapi import control as wire
from bpfjit.uapi.control import Ask, Say
from bpfjit.uapi.mounts import FSTYPE, MountEntry
from kernfs_sim import Kernel
from kernfs_sim.control import Control
from kernfs_sim.fs.fuse_callers import IdMap

_serial = itertools.count()


class Socket:
    """A kernel behind a control socket, without a mount."""

    def __init__(self, ids: IdMap | None = None) -> None:
        self.kernel = Kernel(cpus=2, cache=False)
        self.kernel.cgroups.create("/web")
        self.kernel.tasks.create(10, "worker", self.kernel.cgroups.find("/web"))
        self.entry = MountEntry(0, f"test-{os.getpid()}-{next(_serial)}", "/nowhere", FSTYPE, f"rw,user_id={os.getuid()}")
        self.control = Control(self.kernel, self.entry.control, ids)

    def connect(self) -> MountBpf:
        return MountBpf(self.entry)

    def raw(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.connect(self.entry.control)
        sock.settimeout(5)
        assert wire.unpack(sock.recv(wire.PACKET_BYTES))[2] == wire.VERSION
        return sock

    def close(self) -> None:
        self.control.close()
        self.kernel.close()


@pytest.fixture
def at() -> Iterator[Socket]:
    made = Socket()
    yield made
    made.close()


def make_map(bpf: MountBpf, **shape: int) -> int:
    wanted = {"map_type": uapi.BPF_MAP_TYPE_HASH, "key_size": 4, "value_size": 8, "max_entries": 8, **shape}
    return bpf(uapi.BPF_MAP_CREATE, bytearray(uapi.MapCreate(**wanted).pack()))


def wait_for(condition: object, seconds: float = 3.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.005)


def test_an_object_is_loaded_attached_pinned_and_read(at: Socket, wait_object: Path) -> None:
    with at.connect() as bpf, open_object(wait_object).load(bpf) as loaded:
        links = loaded.attach()
        links["wait_show"].pin("/sys/fs/bpf/wait_show")
        links["wait_show"].pin("/sys/fs/cgroup/web/wait_show")
        assert at.kernel.read_text("/sys/fs/cgroup/web/wait_show") == "2 0\n"
        bpf.fire({"tracepoint": "sched_stat_wait", "task": 10, "delta": 1500})
        assert at.kernel.read_text("/sys/fs/cgroup/web/wait_show") == "2 1500\n"
        assert [loaded.maps["longest_wait"].lookup(k) for k in list(loaded.maps["longest_wait"].keys())] == [
            (1500).to_bytes(8, "little")
        ]


def test_large_memory_goes_in_chunks(at: Socket) -> None:
    size = 3 * wire.CHUNK_BYTES + 5
    with at.connect() as bpf:
        fd = make_map(bpf, map_type=uapi.BPF_MAP_TYPE_ARRAY, value_size=size, max_entries=1)
        data, keep = random.Random(1).randbytes(size), Buffers()
        bpf(uapi.BPF_MAP_UPDATE_ELEM, bytearray(uapi.MapElem(fd, key=keep.put(bytes(4)), value=keep.put(data)).pack()))
        out = bytearray(size)
        bpf(uapi.BPF_MAP_LOOKUP_ELEM, bytearray(uapi.MapElem(fd, key=keep.put(bytes(4)), value=keep.put(out)).pack()))
        assert out == data


def test_bad_pointers_are_efault_and_the_connection_goes_on(at: Socket) -> None:
    with at.connect() as bpf:
        fd = make_map(bpf)
        for addr in (8, 1 << 63, (1 << 64) - 2):
            with pytest.raises(OSError) as refused:
                bpf(uapi.BPF_MAP_LOOKUP_ELEM, bytearray(uapi.MapElem(fd, key=addr, value=addr).pack()))
            assert refused.value.errno == errno.EFAULT
        assert make_map(bpf) == fd + 1


def test_what_is_written_back_into_attr_comes_back(at: Socket) -> None:
    with at.connect() as bpf:
        make_map(bpf)
        attr = bytearray(uapi.GetId(start_id=0).pack())
        bpf(uapi.BPF_MAP_GET_NEXT_ID, attr)
        assert uapi.GetId.unpack(attr).next_id == 1


def test_refusals_keep_errno_and_words(at: Socket) -> None:
    with at.connect() as bpf:
        with pytest.raises(OSError, match="fd 77 is not open") as refused:
            bpf(uapi.BPF_MAP_FREEZE, bytearray(uapi.MapElem(map_fd=77).pack()))
        assert refused.value.errno == errno.EBADF


def test_paths_below_the_mount_are_the_simulated_systems(
    at: Socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = tmp_path / "a mount"
    (top / "sys").mkdir(parents=True)
    (tmp_path / "link").symlink_to(top)
    monkeypatch.chdir(tmp_path)
    with MountBpf(dataclasses.replace(at.entry, path=str(top))) as bpf:
        for path, wanted in (
            (f"{top}/sys/fs/bpf/x", "/sys/fs/bpf/x"),
            ("a mount/sys", "/sys"),
            ("a mount", "/"),
            ("link", "/"),
            ("link/sys/x", "/sys/x"),
            ("/sys/fs/bpf/x", "/sys/fs/bpf/x"),
            (f"{top}er/x", f"{top}er/x"),
        ):
            assert bpf.path(path) == wanted


def test_fds_close_with_the_connection(at: Socket) -> None:
    bpf = at.connect()
    make_map(bpf)
    assert len(at.kernel.maps) == 1
    bpf.disconnect()
    wait_for(lambda: len(at.kernel.maps) == 0)


def test_each_connection_has_its_own_fds(at: Socket) -> None:
    with at.connect() as one, at.connect() as two:
        assert make_map(one) == make_map(two)
        one.close(3)
        with pytest.raises(OSError, match="not open"):
            one.close(3)
        two.close(3)


def test_an_events_mistakes_are_usage(at: Socket) -> None:
    with at.connect() as bpf:
        for event, why in (
            ({"tracepoint": "nothing"}, "unknown tracepoint 'nothing'"),
            ({"tracepoint": "sched_stat_wait", "task": 99, "delta": 1}, "task = 99: no such task"),
            ({"tracepoint": "sched_stat_wait", "task": 10, "delta": 1, "more": 2}, "unknown key 'more'"),
            ({}, "no 'tracepoint'"),
        ):
            with pytest.raises(UsageError, match=why):
                bpf.fire(event)


CHILD = """
import os, sys
from bpfjit.loader import MountBpf
from bpfjit.uapi import bpf as uapi
from bpfjit.uapi.mounts import MountEntry
entry = MountEntry(0, sys.argv[1], "/nowhere", "fuse.bpfjit", f"user_id={sys.argv[2]}")
os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
try:
    bpf = MountBpf(entry)
    bpf(uapi.BPF_MAP_GET_NEXT_ID, bytearray(uapi.GetId(start_id=0).pack()))
    print("done")
except OSError as e:
    print(e.errno, e.strerror)
"""


def as_nobody(at: Socket, owner: int = 0) -> str:
    command = [sys.executable, "-c", CHILD, at.entry.dev, str(owner)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is played by root")
def test_another_process_has_its_own_credentials(at: Socket) -> None:
    make_map(keep := at.connect())
    assert as_nobody(at).startswith(f"{errno.EPERM} ")
    keep.disconnect()


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is played by root")
def test_an_ordinary_users_kernel_is_for_that_user_alone() -> None:
    at = Socket(IdMap(1234, 1234))
    try:
        assert as_nobody(at).startswith(f"{errno.EACCES} ")
    finally:
        at.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is played by root")
def test_that_user_is_its_root() -> None:
    at = Socket(IdMap(65534, 65534))
    try:
        assert as_nobody(at) == f"{errno.ENOENT} no id above 0"
    finally:
        at.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is played by root")
def test_only_the_mounts_owner_is_believed() -> None:
    """Anybody may take the address, and would then read the memory of whoever calls."""
    entry = MountEntry(0, f"test-{os.getpid()}-{next(_serial)}", "/nowhere", FSTYPE, "user_id=4321")
    ready_r, ready_w = os.pipe()
    pid = os.fork()
    if not pid:
        os.setresuid(65534, 65534, 65534)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(entry.control)
        listener.listen()
        os.write(ready_w, b"1")
        listener.accept()
        time.sleep(5)
        os._exit(0)
    try:
        os.read(ready_r, 1)
        with pytest.raises(OSError, match="user 65534 answers for user 4321's mount"):
            MountBpf(entry)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(ready_r)
        os.close(ready_w)


# -- hostile callers -----------------------------------------------------------------------------------------


def still_serves(at: Socket) -> None:
    with at.connect() as bpf:
        bpf.close(make_map(bpf))


def test_random_packets(at: Socket) -> None:
    """BPFJIT_FUZZ_ROUNDS=100000 for a longer run."""
    rng = random.Random(7)
    kinds = [*Ask, *Say, 0, 99]
    for i in range(int(os.environ.get("BPFJIT_FUZZ_ROUNDS", "300"))):
        with at.raw() as sock:
            sock.setblocking(False)
            for _ in range(rng.randrange(1, 6)):
                if rng.random() < 0.2:
                    packet = rng.randbytes(rng.randrange(1, 64))
                else:
                    code = rng.choice([0, 1, 3, 28, 29, -1, rng.getrandbits(31)])
                    payload = rng.randbytes(rng.choice([0, 1, 16, 120, 144, 144, 5000]))
                    if rng.random() < 0.5:
                        payload = bytes(len(payload))
                    packet = wire.pack(rng.choice(kinds), code, rng.getrandbits(rng.choice([8, 40, 64])), payload)
                try:
                    sock.send(packet)
                except OSError:
                    break
        if i % 100 == 0:
            still_serves(at)
    still_serves(at)
    wait_for(lambda: len(at.kernel.maps) == 0)


def lookup_packet(fd: int) -> bytes:
    return wire.pack(Ask.CALL, uapi.BPF_MAP_LOOKUP_ELEM, 0, uapi.MapElem(fd, key=1, value=1).pack())


def stalled(at: Socket) -> socket.socket:
    """A caller that has asked, and does not serve its memory."""
    sock = at.raw()
    shape = uapi.MapCreate(map_type=uapi.BPF_MAP_TYPE_HASH, key_size=4, value_size=8, max_entries=8)
    sock.send(wire.pack(Ask.CALL, uapi.BPF_MAP_CREATE, 0, shape.pack()))
    kind, code, fd, _ = wire.unpack(sock.recv(wire.PACKET_BYTES))
    assert (kind, code) == (Say.RETURN, 0)
    sock.send(lookup_packet(fd))
    kind, size, addr, _ = wire.unpack(sock.recv(wire.PACKET_BYTES))
    assert (kind, size, addr) == (Say.READ, 4, 1)
    return sock


def test_a_caller_that_stalls_holds_up_nobody(at: Socket) -> None:
    with stalled(at), stalled(at):
        still_serves(at)
        begin = time.monotonic()
        at.control.close()
        assert time.monotonic() - begin < 2
    wait_for(lambda: len(at.kernel.maps) == 0)


def test_a_caller_that_goes_in_the_middle_of_a_call_leaves_nothing(at: Socket) -> None:
    stalled(at).close()
    wait_for(lambda: len(at.kernel.maps) == 0)


@pytest.mark.parametrize("answer", [b"", b"short", bytes(5000)], ids=["nothing", "5 bytes", "5000 bytes"])
def test_an_answer_of_the_wrong_size_ends_the_connection(at: Socket, answer: bytes) -> None:
    with stalled(at) as sock:
        sock.send(wire.pack(Ask.ANSWER, 0, 0, answer))
        assert sock.recv(100) == b""
    still_serves(at)


def test_connections_of_one_user_are_bounded(at: Socket) -> None:
    many = [at.connect() for _ in range(32)]
    with pytest.raises(OSError) as refused:
        at.connect()
    assert refused.value.errno == errno.EAGAIN
    for one in many:
        one.disconnect()
    wait_for(lambda: not at.control._connections)
    still_serves(at)
