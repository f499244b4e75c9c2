"""Local storage: values that belong to tasks and cgroups, on both kernels."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from errno import EBADF, EEXIST, EINVAL, ENOENT, ENOTSOCK, ESRCH
from typing import Any

import pytest
from bpf_calls import Calls, load_object, u32, u64

from bpfjit.errors import ENOTSUPP
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel
from kernfs_sim.pidfd import pidfd_getfd, pidfd_open
from kernfs_sim.sockets import Endpoint, InetRow, UnixRow
from kernfs_sim.task_files import FileRow
from runtime import ffi

TASK, CGROUP, INODE, SK = (
    uapi.BPF_MAP_TYPE_TASK_STORAGE,
    uapi.BPF_MAP_TYPE_CGRP_STORAGE,
    uapi.BPF_MAP_TYPE_INODE_STORAGE,
    uapi.BPF_MAP_TYPE_SK_STORAGE,
)
COUNT, COUNT_IF_THERE, DELETE = range(3)


class Storage:
    """tests/objects/storage.bpf.c in one kernel, with this process as a task of it."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        kernel: Any = calls.kernel
        if kernel is not None:
            self.task = kernel.tasks.create(os.getpid(), "pytest", kernel.cgroups.create("/web"))
        self.object = load_object(calls, "storage")
        self.of_task, self.of_cgroup = (self.object.maps[name].fd for name in ("of_task", "of_cgroup"))
        self.pidfd = os.pidfd_open(os.getpid()) if kernel is None else pidfd_open(kernel, kernel.caller, os.getpid())

    def close(self) -> None:
        if self.calls.is_live:
            os.close(self.pidfd)
        self.object.close()

    def run(self, name: str, op: int = 0, value: int = 0) -> int:
        ran = self.calls.run(self.object.progs[name].fd, ctx=struct.pack("<QQ", op, value))
        assert ran.result == 0
        return ran.retval - (1 << 32) if ran.retval >> 31 else ran.retval


@pytest.fixture(params=["sim", "live", "interp"])
def storage(request: pytest.FixtureRequest) -> Iterator[Storage]:
    kernel = Kernel(2, engine="interp") if request.param == "interp" else None
    calls = Calls(kernel.bpf, 2, kernel) if kernel is not None else request.getfixturevalue(request.param)
    made = Storage(calls)
    yield made
    made.close()
    if kernel is not None:
        kernel.close()


def test_without_btf_there_is_no_storage(calls: Calls) -> None:
    for map_type in (TASK, CGROUP, INODE, SK):
        assert calls.create(map_type, 4, 8, 0, uapi.BPF_F_NO_PREALLOC) == -EINVAL


def test_a_tasks_value_is_made_on_demand_and_stays(storage: Storage) -> None:
    assert storage.run("operate", COUNT_IF_THERE) == -1
    assert storage.run("operate", DELETE) == -ENOENT
    assert [storage.run("operate", COUNT, 5) for _ in range(3)] == [1, 2, 3]
    assert storage.run("operate", COUNT_IF_THERE, 7) == 4
    found = storage.calls.lookup(storage.of_task, u32(storage.pidfd), 16)
    assert found == u64(4) + u64(1000 + 15 + 7)
    assert storage.run("operate", DELETE) == 0
    assert storage.run("operate", COUNT_IF_THERE) == -1


def test_syscalls_name_a_task_by_its_pidfd(storage: Storage) -> None:
    calls, fd, key = storage.calls, storage.of_task, u32(storage.pidfd)
    assert calls.lookup(fd, key, 16) == -ENOENT
    assert calls.update(fd, key, bytes(16), uapi.BPF_EXIST) == -ENOENT
    assert calls.update(fd, key, u64(9) + u64(1), uapi.BPF_NOEXIST) == 0
    assert calls.update(fd, key, bytes(16), uapi.BPF_NOEXIST) == -EEXIST
    assert calls.update(fd, key, bytes(16), 3) == -EINVAL
    assert storage.run("operate", COUNT) == 10
    assert calls.update(fd, key, u64(1) + u64(1), uapi.BPF_EXIST) == 0
    assert storage.run("operate", COUNT) == 2
    assert calls.delete(fd, key) == 0
    assert calls.delete(fd, key) == -ENOENT
    for bad in (u32(9999), u32(fd)):
        assert calls.lookup(fd, bad, 16) == -EBADF
        assert calls.update(fd, bad, bytes(16)) == -EBADF
        assert calls.delete(fd, bad) == -EBADF
    assert calls.next_key(fd, None, 4) == -ENOTSUPP
    assert calls.take(fd, key, 16) == -ENOTSUPP
    for cmd in (24, 25, 26, 27):
        assert calls.call(cmd, uapi.MapBatch(map_fd=fd, count=1)) == -ENOTSUPP


def test_no_task_is_no_value(storage: Storage) -> None:
    assert storage.run("without_a_task") == -EINVAL


def test_a_cgroups_value(storage: Storage) -> None:
    assert [storage.run("by_cgroup") for _ in range(3)] == [1, 2, 3]


def test_a_cgroup_is_named_by_its_directory(sim: Calls) -> None:
    """Ours alone: the live system's cgroups are not ours to open."""
    storage = Storage(sim)
    kernel: Any = sim.kernel
    fd = kernel.caller.fds.install(kernel.open("/sys/fs/cgroup/web"))
    assert storage.run("by_cgroup") == 1
    assert sim.lookup(storage.of_cgroup, u32(fd), 16) == u64(1) + bytes(8)
    assert sim.delete(storage.of_cgroup, u32(fd)) == 0
    assert storage.run("by_cgroup") == 1
    storage.object.close()


def test_what_belongs_to_a_task_goes_with_it(sim: Calls) -> None:
    storage = Storage(sim)
    kernel: Any = sim.kernel
    assert storage.run("operate", COUNT) == 1
    kernel.tasks.remove(storage.task)
    assert sim.lookup(storage.of_task, u32(storage.pidfd), 16) == -EBADF
    kernel.tasks.create(os.getpid(), "again", kernel.cgroups.root)
    assert storage.run("operate", COUNT_IF_THERE) == -1
    with pytest.raises(OSError) as refused:
        pidfd_open(kernel, kernel.caller, 99999)
    assert refused.value.errno == ESRCH
    storage.object.close()


class Files:
    """Fds of a socket, a Unix socket, two regular files (one twice) and a directory, in one kernel."""

    def __init__(self, storage: Storage) -> None:
        kernel: Any = storage.calls.kernel
        self.pidfd = storage.pidfd
        self.sockets: list[Any] = []
        self.fds: list[int] = []
        if kernel is None:
            self.sockets = [socket.socket(), *socket.socketpair(socket.AF_UNIX)]
            inet, unix, _ = (s.fileno() for s in self.sockets)
            paths = (__file__, __file__, "/etc/passwd", "/tmp")
            self.fds = first, again, other, self.directory = [os.open(path, os.O_RDONLY) for path in paths]
        else:
            here = Endpoint.parse("127.0.0.1:80")
            net = storage.task.namespaces.net
            sockets = [kernel.sockets.add(net, InetRow(6, here, here, 10, ino=77)), kernel.sockets.add(net, UnixRow(ino=78))]
            self.sockets = sockets
            files = storage.task.files
            at = [files.install(s.file()) for s in sockets]
            at += [files.open(FileRow("/tmp/a", ino=5)), files.open(FileRow("/tmp/b", ino=6))]
            inet, unix, first, other = (pidfd_getfd(kernel, kernel.caller, storage.pidfd, fd) for fd in at)
            again = pidfd_getfd(kernel, kernel.caller, storage.pidfd, at[2])
            self.directory = kernel.caller.fds.install(kernel.open("/sys/fs/cgroup"))
        self.inet, self.unix, self.first, self.again, self.other = inet, unix, first, again, other

    def close(self) -> None:
        for s in self.sockets if self.fds else ():
            s.close()
        for fd in self.fds:
            os.close(fd)


@pytest.fixture
def files(storage: Storage) -> Iterator[Files]:
    made = Files(storage)
    yield made
    made.close()


def test_a_sockets_value_is_named_by_its_fd(storage: Storage, files: Files) -> None:
    calls, fd = storage.calls, storage.object.maps["of_sk"].fd
    for name in (files.inet, files.unix):
        key = u32(name)
        assert calls.lookup(fd, key, 16) == -ENOENT
        assert calls.update(fd, key, bytes(16), uapi.BPF_EXIST) == -ENOENT
        assert calls.update(fd, key, u64(name) + u64(1), uapi.BPF_NOEXIST) == 0
        assert calls.update(fd, key, bytes(16), uapi.BPF_NOEXIST) == -EEXIST
        assert calls.update(fd, key, bytes(16), 3) == -EINVAL
        assert calls.lookup(fd, key, 16) == u64(name) + u64(1)
    assert calls.delete(fd, u32(files.inet)) == 0
    assert calls.delete(fd, u32(files.inet)) == -ENOENT
    assert calls.lookup(fd, u32(files.unix), 16) == u64(files.unix) + u64(1)
    for bad in (files.first, files.directory, files.pidfd, fd):
        assert calls.lookup(fd, u32(bad), 16) == -ENOTSOCK
        assert calls.update(fd, u32(bad), bytes(16), 3) == -ENOTSOCK
        assert calls.delete(fd, u32(bad)) == -ENOTSOCK
    assert calls.lookup(fd, u32(9999), 16) == -EBADF
    assert calls.next_key(fd, None, 4) == -ENOTSUPP


def test_an_inodes_value_is_named_by_any_open_file(storage: Storage, files: Files) -> None:
    calls, fd = storage.calls, storage.object.maps["of_inode"].fd
    for name in (files.inet, files.unix, files.first, files.other, files.directory):
        key = u32(name)
        assert calls.lookup(fd, key, 16) == -ENOENT
        assert calls.update(fd, key, bytes(16), uapi.BPF_EXIST) == -ENOENT
        assert calls.update(fd, key, u64(name) + u64(1), uapi.BPF_NOEXIST) == 0
        assert calls.update(fd, key, bytes(16), uapi.BPF_NOEXIST) == -EEXIST
        assert calls.lookup(fd, key, 16) == u64(name) + u64(1)
    assert calls.lookup(fd, u32(files.again), 16) == u64(files.first) + u64(1), "the same file"
    assert calls.delete(fd, u32(files.again)) == 0
    assert calls.lookup(fd, u32(files.first), 16) == -ENOENT
    assert calls.lookup(fd, u32(9999), 16) == -EBADF
    assert calls.update(fd, u32(9999), bytes(16), 3) == -EBADF
    assert calls.next_key(fd, None, 4) == -ENOTSUPP


def test_bpf_objects_share_an_inode(storage: Storage) -> None:
    calls, of_inode = storage.calls, storage.object.maps["of_inode"].fd
    assert calls.update(of_inode, u32(of_inode), u64(5) + u64(6)) == 0
    assert calls.lookup(of_inode, u32(storage.of_task), 16) == u64(5) + u64(6)
    assert calls.delete(of_inode, u32(storage.object.progs["operate"].fd)) == 0


def test_what_belongs_to_a_file_or_socket_goes_with_it(sim: Calls) -> None:
    storage = Storage(sim)
    kernel: Any = sim.kernel
    files = Files(storage)
    of_inode, of_sk = storage.object.maps["of_inode"].fd, storage.object.maps["of_sk"].fd
    address = int(ffi.cast("uintptr_t", ffi.cast("struct sock *", files.sockets[1].c).sk_socket))
    assert sim.update(of_inode, u32(files.unix), bytes(16)) == sim.update(of_sk, u32(files.unix), bytes(16)) == 0
    kernel.sockets.remove(files.sockets[1])
    assert sim.lookup(of_sk, u32(files.unix), 16) == -ENOTSOCK
    assert sim.lookup(of_inode, u32(files.unix), 16) == -EBADF
    again = kernel.sockets.add(storage.task.namespaces.net, UnixRow(ino=79))
    assert int(ffi.cast("uintptr_t", ffi.cast("struct sock *", again.c).sk_socket)) == address, "in the same place"
    fd = pidfd_getfd(kernel, kernel.caller, storage.pidfd, storage.task.files.install(again.file()))
    assert sim.lookup(of_inode, u32(fd), 16) == sim.lookup(of_sk, u32(fd), 16) == -ENOENT
    # A file of bpffs: its inode goes with its last name and fd.
    named = kernel.caller.fds.install(kernel.open("/sys/fs/bpf"))
    assert sim.update(of_inode, u32(named), bytes(16)) == 0
    storage.object.close()


def test_a_tasks_file_is_taken_over_by_its_pidfd(sim: Calls) -> None:
    storage = Storage(sim)
    kernel: Any = sim.kernel
    for pidfd, fd in ((storage.pidfd, 3), (storage.of_task, 0), (9999, 0)):
        with pytest.raises(OSError) as refused:
            pidfd_getfd(kernel, kernel.caller, pidfd, fd)
        assert refused.value.errno == EBADF
    kernel.tasks.remove(storage.task)
    with pytest.raises(OSError) as refused:
        pidfd_getfd(kernel, kernel.caller, storage.pidfd, 0)
    assert refused.value.errno == ESRCH
    storage.object.close()


@pytest.mark.parametrize("engine", ["jit", "interp"])
def test_a_security_hook_keeps_a_value_with_the_inode(engine: str) -> None:
    """Ours alone: where BPF is no security module of the machine's, Linux loads no such program."""
    with Kernel(2, engine=engine, cache=False) as kernel:
        calls = Calls(kernel.bpf, 2, kernel)
        loaded = load_object(calls, "inode_storage")
        loaded.attach()
        path, other = "/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/cgroup.controllers"
        fds = [kernel.caller.fds.install(kernel.open(p)) for p in (path, path, other, path)]
        found = [calls.lookup(loaded.maps["opens"].fd, u32(fd), 8) for fd in fds]
        assert found == [u64(3), u64(3), u64(1), u64(3)]
        loaded.close()
        calls.close_all()
