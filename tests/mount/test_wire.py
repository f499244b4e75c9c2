"""The bytes of /dev/fuse: layouts judged by the C header, and requests that no kernel would write."""

from __future__ import annotations

import errno
import os
import random
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernfs_sim import Kernel
from kernfs_sim.fs import fuse_wire as wire
from kernfs_sim.fs.fuse_serve import Server
from runtime import FuseDevice, ffi

from .mounts import example_kernel

# Row or reply -> the structure of <linux/fuse.h> that it is.
STRUCTURES = {
    "forget": "fuse_forget_in", "getattr": "fuse_getattr_in", "setattr": "fuse_setattr_in", "mknod": "fuse_mknod_in",
    "mkdir": "fuse_mkdir_in", "rename": "fuse_rename_in", "rename2": "fuse_rename2_in", "link": "fuse_link_in",
    "open": "fuse_open_in", "read": "fuse_read_in", "write": "fuse_write_in", "release": "fuse_release_in",
    "fsync": "fuse_fsync_in", "getxattr": "fuse_getxattr_in", "flush": "fuse_flush_in", "access": "fuse_access_in",
    "create": "fuse_create_in", "interrupt": "fuse_interrupt_in", "ioctl": "fuse_ioctl_in", "poll": "fuse_poll_in",
    "batch_forget": "fuse_batch_forget_in", "lseek": "fuse_lseek_in",
    "HEADER": "fuse_in_header", "REPLY": "fuse_out_header", "INIT_OUT": "fuse_init_out", "ATTR_OUT": "fuse_attr_out",
    "ENTRY_OUT": "fuse_entry_out", "OPEN_OUT": "fuse_open_out", "WRITE_OUT": "fuse_write_out",
    "STATFS_OUT": "fuse_statfs_out", "FORGET_ONE": "fuse_forget_one", "POLL_OUT": "fuse_poll_out",
    "LSEEK_OUT": "fuse_lseek_out", "INVAL_INODE_OUT": "fuse_notify_inval_inode_out",
    "INVAL_ENTRY_OUT": "fuse_notify_inval_entry_out",
}  # fmt: skip
BY_NAME = {op.name: op for op in wire.OPS}


def test_layouts_and_numbers_are_those_of_the_header(tmp_path: Path) -> None:
    lines = [f'printf("{s} %zu\\n", sizeof(struct {s}));' for s in STRUCTURES.values()]
    lines += [f'printf("{op.name} %d\\n", FUSE_{op.name.upper()});' for op in wire.OPS]
    source = tmp_path / "sizes.c"
    source.write_text("#include <stdio.h>\n#include <linux/fuse.h>\nint main(void)\n{\n" + "\n".join(lines) + "\n}\n")
    subprocess.run(["cc", "-o", tmp_path / "sizes", source], check=True)
    told = dict(
        line.split() for line in subprocess.run([tmp_path / "sizes"], capture_output=True, text=True).stdout.splitlines()
    )
    for name, structure in STRUCTURES.items():
        row = BY_NAME[name].body if name in BY_NAME else getattr(wire, name)
        assert row.size == int(told[structure]), name
    for op in wire.OPS:
        assert op.number == int(told[op.name]), op.name


def request(name: str, fields: tuple[int, ...] = (), tail: bytes = b"", *, node: int = 1, unique: int = 2) -> bytes:
    op = BY_NAME[name]
    body = op.body.pack(*(fields or (0,) * len(op.body.unpack(bytes(op.body.size)))))
    return wire.HEADER.pack(40 + len(body) + len(tail), op.number, unique, node, 0, 0, 1, 0, 0) + body + tail


@pytest.fixture
def served(wait_object: Path) -> Iterator[tuple[Kernel, Server]]:
    """A server with nobody at the other end."""
    with example_kernel(wait_object) as kernel:
        server = Server(kernel, lambda message: None)
        server.start()
        yield kernel, server
        server.close()


def error_of(reply: bytes) -> int:
    return -int(wire.REPLY.unpack_from(reply)[1])


# name: (request, errno; 0 for a reply that says well, None for no reply)
HOSTILE: dict[str, tuple[bytes, int | None]] = {
    "nothing": (b"", None),
    "half a header": (bytes(20), None),
    "a wrong length": (request("getattr")[:-4], errno.EIO),
    "an unknown request": (wire.HEADER.pack(40, 999, 2, 1, 0, 0, 0, 0, 0), errno.ENOSYS),
    "a body cut short": (wire.HEADER.pack(44, 15, 2, 1, 0, 0, 0, 0, 0) + bytes(4), errno.EIO),
    "extensions longer than the request": (wire.HEADER.pack(40, 17, 2, 1, 0, 0, 0, 99, 0), errno.EIO),
    "a name without an end": (request("lookup", tail=b"sys"), errno.EIO),
    "a name with a slash": (request("lookup", tail=b"sys/fs\0"), errno.EIO),
    "one name of two": (request("symlink", tail=b"name\0"), errno.EIO),
    "an unknown node": (request("getattr", node=999), errno.ESTALE),
    "node 0": (request("getattr", node=0), errno.ESTALE),
    "an unknown handle": (request("read", (999, 0, 10, 0, 0, 0, 0)), errno.EBADF),
    "a native handle where there is none": (request("read", (1 << 63, 0, 10, 0, 0, 0, 0)), errno.EBADF),
    "a release twice": (request("release", (999, 0, 0, 0)), 0),
    "a write longer than its bytes": (request("write", (1, 0, 100, 0, 0, 0, 0), b"short"), errno.EIO),
    "forgetting more than there was": (request("forget", (1 << 63,)), None),
    "a batch longer than its bytes": (request("batch_forget", (1 << 31, 0), bytes(16)), None),
    "a directory read by no handle": (request("readdir", (999, 0, 10, 0, 0, 0, 0)), errno.EBADF),
    "the root made a file's parent": (request("mknod", (0o100600, 0, 0, 0), b"..\0"), errno.EEXIST),
    "an empty name": (request("mkdir", (0o755, 0), b"\0"), errno.EEXIST),
    "dots looked up": (request("lookup", tail=b"..\0"), errno.ENOENT),
    "rename flags": (request("rename2", (1, 2, 0), b"a\0b\0"), errno.EINVAL),
    "an old protocol": (request("init", (7, 8, 0, 0)), errno.EPROTO),
    "a future protocol": (request("init", (8, 0, 0, 0)), 0),
    "an ioctl": (request("ioctl"), errno.ENOTTY),
    "extended attributes": (request("getxattr", tail=b"user.x\0"), errno.ENOSYS),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_requests(served: tuple[Kernel, Server], name: str, capsys: pytest.CaptureFixture[str]) -> None:
    raw, wanted = HOSTILE[name]
    reply = served[1].serve(raw)
    assert (error_of(reply) if reply else None) == wanted
    assert capsys.readouterr().err == "", "a bug of ours was told"


def random_request(rng: random.Random, nodes: list[int], handles: list[int]) -> bytes:
    op = rng.choice(wire.OPS)
    count = len(op.body.unpack(bytes(op.body.size)))
    letters = str(op.body.format).strip("<")
    values = []
    for letter in letters[:count]:
        bits = 64 if letter == "Q" else 32
        values.append(
            rng.choice([0, 1, rng.choice(nodes), rng.choice(handles), 4096, rng.getrandbits(bits)]) & ((1 << bits) - 1)
        )
    names = [b"sys", b"fs", b"bpf", b"cgroup", b"web", b"api", b"wait_show", b"cgroup.procs", b"x", b"..", b"", b"a" * 300]
    tail = b""
    if op.tail is wire.Tail.NAME:
        tail = rng.choice(names) + b"\0"
    elif op.tail is wire.Tail.NAMES:
        tail = rng.choice(names) + b"\0" + rng.choice(names) + b"\0"
    elif op.tail is not wire.Tail.NOTHING:
        tail = rng.choice([b"", b"rm", b"10\n", rng.randbytes(rng.randrange(200))])
        if op.name == "write":
            values[2] = len(tail)
    body = op.body.pack(*values) + tail
    uid = rng.choice([0, 0, 65534])
    raw = wire.HEADER.pack(40 + len(body), op.number, rng.getrandbits(64) | 1, rng.choice(nodes), uid, uid, 1, 0, 0) + body
    if rng.random() < 0.1:  # and some that are broken in their bytes
        broken = bytearray(raw)
        for _ in range(rng.randrange(1, 4)):
            broken[rng.randrange(len(broken))] = rng.getrandbits(8)
        raw = bytes(broken)[: rng.choice([len(broken), rng.randrange(len(broken) + 1)])]
    return raw


def test_random_requests(served: tuple[Kernel, Server], capsys: pytest.CaptureFixture[str]) -> None:
    """Every request is answered once, by its own number, with an errno that the device takes; nothing leaks.

    BPFJIT_FUZZ_ROUNDS=1000000 for a longer run.
    """
    _, server = served
    rng = random.Random(11)
    nodes, handles = [1, 999], [0, 1 << 63]
    for _ in range(int(os.environ.get("BPFJIT_FUZZ_ROUNDS", "4000"))):
        raw = random_request(rng, nodes, handles)
        reply = server.serve(raw)
        if not reply:
            continue
        length, error, unique = wire.REPLY.unpack_from(reply)
        assert length == len(reply)
        assert -512 < error <= 0
        assert unique == struct.unpack_from("<Q", raw, 8)[0]
        name = wire.OP_BY_NUMBER[wire.HEADER.unpack_from(raw)[1]].name if not error else ""
        if name in ("lookup", "mkdir", "symlink", "link", "mknod", "create"):
            nodes.append(wire.ENTRY_OUT.unpack_from(reply, wire.REPLY.size)[0])
        elif name in ("open", "opendir"):
            handles.append(wire.OPEN_OUT.unpack_from(reply, wire.REPLY.size)[0])
    assert capsys.readouterr().err == "", "a bug of ours was told"
    assert len(nodes) > 10 and len(handles) > 10, "the requests come to nothing"
    server.close()
    assert len(server.nodes) == 0 and not server._handles


# -- the native part, with a socket for the device -------------------------------------------------------------


class Native:
    """A server with its native part: what is sent comes back answered."""

    def __init__(self, kernel: Kernel) -> None:
        self.near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.near.settimeout(5)
        self.device = FuseDevice(self.far.fileno())
        self.server = Server(kernel, self.far.send, None, self.device)
        self.server.start()
        self.slow = 0  # requests that came to Python
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        buffer = bytearray(wire.BUFFER_BYTES)
        while size := self.device.next(ffi.from_buffer(buffer), len(buffer)):
            self.slow += 1
            reply = self.server.serve(memoryview(buffer)[:size])
            if reply:
                self.far.send(reply)

    def ask(self, raw: bytes) -> bytes:
        self.near.send(raw)
        return self.near.recv(1 << 20)

    def close(self) -> None:
        self.near.shutdown(socket.SHUT_WR)  # next() reads nothing then
        self._thread.join(5)
        assert not self._thread.is_alive()
        self.server.close()
        self.device.close()
        self.near.close()
        self.far.close()


@pytest.fixture
def native(wait_object: Path) -> Iterator[Native]:
    with example_kernel(wait_object) as kernel:
        made = Native(kernel)
        yield made
        made.close()


def node_of(native: Native, *names: bytes) -> int:
    node = 1
    for name in names:
        node = wire.ENTRY_OUT.unpack_from(native.ask(request("lookup", tail=name + b"\0", node=node)), 16)[0]
    return node


def open_node(native: Native, node: int, flags: int = 0) -> int:
    return int(wire.OPEN_OUT.unpack_from(native.ask(request("open", (flags, 0), node=node)), 16)[0])


VIEW = (b"sys", b"fs", b"cgroup", b"web", b"api", b"wait_show")


def test_the_second_open_and_its_reads_and_release_stay_native(native: Native) -> None:
    node = node_of(native, *VIEW)
    first = open_node(native, node)
    second = open_node(native, node)
    assert first < FuseDevice.OURS <= second
    before = native.slow
    for handle in (first, second):
        assert native.ask(request("read", (handle, 0, 100, 0, 0, 0, 0), node=node))[16:] == b"3 42000\n"
        assert native.ask(request("read", (handle, 2, 3, 0, 0, 0, 0), node=node))[16:] == b"420"
        assert native.ask(request("read", (handle, 100, 3, 0, 0, 0, 0), node=node))[16:] == b""
        assert native.ask(request("read", (handle, 0, 0, 0, 0, 0, 0), node=node))[16:] == b""
        assert error_of(native.ask(request("release", (handle, 0, 0, 0), node=node))) == 0
        assert error_of(native.ask(request("read", (handle, 0, 3, 0, 0, 0, 0), node=node))) == errno.EBADF
    assert native.slow - before == 6 + 1  # the first's, and the read of the second once it was closed


def test_an_open_to_write_is_not_native(native: Native) -> None:
    node = node_of(native, *VIEW)
    open_node(native, node)
    assert open_node(native, node, os.O_RDWR) < FuseDevice.OURS


def test_random_requests_to_the_native_part(native: Native) -> None:
    rng = random.Random(5)
    node = node_of(native, *VIEW)
    handles = [open_node(native, node) for _ in range(8)]
    for _ in range(int(os.environ.get("BPFJIT_FUZZ_ROUNDS", "2000"))):
        name = rng.choice(["open", "read", "read", "release"])
        handle = rng.choice([*handles, 1 << 63, (1 << 63) + 1000, (1 << 64) - 1, rng.getrandbits(64)])
        fields = {
            "open": (rng.choice([0, 0, 1, 2, rng.getrandbits(32)]), 0),
            "read": (handle, rng.choice([0, 0, 3, rng.getrandbits(64)]), rng.choice([0, 1, 100, 65536]), 0, 0, 0, 0),
            "release": (handle, 0, 0, 0),
        }[name]
        raw = request(name, fields, node=rng.choice([node, node, 1, 77]), unique=rng.getrandbits(64) | 1)
        if rng.random() < 0.1:
            cut = raw[: rng.randrange(40, len(raw) + 1)]
            raw = struct.pack("<I", len(cut)) + cut[4:]
        reply = native.ask(raw)
        assert wire.REPLY.unpack_from(reply)[2] == struct.unpack_from("<Q", raw, 8)[0]
        if name == "open" and len(reply) > 16:
            handles.append(wire.OPEN_OUT.unpack_from(reply, 16)[0])
    assert native.ask(request("read", (open_node(native, node), 0, 100, 0, 0, 0, 0), node=node))[16:] == b"3 42000\n"
