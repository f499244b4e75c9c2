"""Exposing objects in kernfs: never before a pin, never beyond it, and never under another file's name."""

from __future__ import annotations

import errno
import itertools
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest
from systems import RETURN_0, Simulated, call, load_prog, make_map, obj_get, obj_pin

from bpfjit.btf import Kind
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Cred, InProcess, Kernel
from kernfs_sim.caller import CAP_BPF, CAP_PERFMON
from kernfs_sim.cgroup_files import CGROUP_FILES
from kernfs_sim.fs.inode import OpenFile
from kernfs_sim.fs.kernfs import ExposedFile
from runtime import ffi

BPFFS, CGROUPFS, SYSFS = "/sys/fs/bpf", "/sys/fs/cgroup", "/sys/kernel"


def refused(number: int, call: Callable[[], object]) -> None:
    with pytest.raises(OSError) as e:
        call()
    assert errno.errorcode[e.value.errno or 0] == errno.errorcode[number]


@pytest.fixture
def sim() -> Any:
    made = Simulated()
    made.kernel.cgroups.create("/web/api")
    yield made
    made.close()


OBJECTS: dict[str, Callable[[Simulated], int]] = {
    "prog": lambda s: load_prog(s.bpf),
    "map": lambda s: make_map(s.bpf),
    "link": lambda s: s.link_fd(),
}


@pytest.fixture(params=list(OBJECTS))
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


# -- when an object may be exposed, and for how long ---------------------------------------------------


@pytest.mark.parametrize("directory", [f"{CGROUPFS}/web/api", CGROUPFS, SYSFS])
def test_exposing_before_a_bpffs_pin_is_enxio(sim: Simulated, kind: str, directory: str) -> None:
    fd = OBJECTS[kind](sim)
    refused(errno.ENXIO, lambda: obj_pin(sim.bpf, fd, f"{directory}/obj"))
    obj_pin(sim.bpf, fd, f"{BPFFS}/obj")
    obj_pin(sim.bpf, fd, f"{directory}/obj")
    assert sim.kernel.exists(f"{directory}/obj")


def test_a_path_in_neither_file_system_is_eperm(sim: Simulated, kind: str) -> None:
    fd = OBJECTS[kind](sim)
    obj_pin(sim.bpf, fd, f"{BPFFS}/obj")
    refused(errno.EPERM, lambda: obj_pin(sim.bpf, fd, "/tmp/obj"))


def test_an_exposed_node_holds_no_reference(sim: Simulated, kind: str) -> None:
    fd = OBJECTS[kind](sim)
    obj_pin(sim.bpf, fd, f"{BPFFS}/obj")
    obj_pin(sim.bpf, fd, f"{CGROUPFS}/web/obj")
    obj = sim.caller.fds.get(fd).object
    assert obj.refs == 2  # the fd and the pin
    sim.bpf.close(fd)
    sim.unlink(f"{BPFFS}/obj")
    assert obj.refs == 0


def test_unpinning_removes_every_exposed_file(sim: Simulated, kind: str) -> None:
    fd = OBJECTS[kind](sim)
    obj_pin(sim.bpf, fd, f"{BPFFS}/obj")
    paths = [f"{CGROUPFS}/web/obj", f"{CGROUPFS}/web/api/other", f"{SYSFS}/obj"]
    for path in paths:
        obj_pin(sim.bpf, fd, path)
        sim.stat(path)  # so that the path is known
    sim.unlink(f"{BPFFS}/obj")
    for path in paths:
        refused(errno.ENOENT, lambda path=path: sim.stat(path))  # type: ignore[misc]
        refused(errno.ENOENT, lambda path=path: sim.open(path))  # type: ignore[misc]
    refused(errno.ENXIO, lambda: obj_pin(sim.bpf, fd, paths[0]))


def test_exposed_files_are_tied_to_the_first_pin_even_where_a_second_exists(sim: Simulated, kind: str) -> None:
    fd = OBJECTS[kind](sim)
    obj_pin(sim.bpf, fd, f"{BPFFS}/first")
    obj_pin(sim.bpf, fd, f"{BPFFS}/second")
    obj_pin(sim.bpf, fd, f"{CGROUPFS}/web/obj")
    sim.unlink(f"{BPFFS}/second")
    assert sim.kernel.exists(f"{CGROUPFS}/web/obj")
    obj_pin(sim.bpf, fd, f"{BPFFS}/second")
    sim.unlink(f"{BPFFS}/first")
    assert not sim.kernel.exists(f"{CGROUPFS}/web/obj")
    # The second pin is no backing inode; the next one made is.
    refused(errno.ENXIO, lambda: obj_pin(sim.bpf, fd, f"{CGROUPFS}/web/obj"))
    obj_pin(sim.bpf, fd, f"{BPFFS}/third")
    obj_pin(sim.bpf, fd, f"{CGROUPFS}/web/obj")


def test_a_hard_link_or_new_name_of_the_pin_keeps_the_inode_and_so_the_files(sim: Simulated, kind: str) -> None:
    fd = OBJECTS[kind](sim)
    obj_pin(sim.bpf, fd, f"{BPFFS}/first")
    obj_pin(sim.bpf, fd, f"{CGROUPFS}/web/obj")
    sim.link(f"{BPFFS}/first", f"{BPFFS}/hard")
    sim.unlink(f"{BPFFS}/first")
    sim.rename(f"{BPFFS}/hard", f"{BPFFS}/renamed")
    assert sim.kernel.exists(f"{CGROUPFS}/web/obj")
    sim.unlink(f"{BPFFS}/renamed")
    assert not sim.kernel.exists(f"{CGROUPFS}/web/obj")


def test_replacing_the_pin_by_rename_removes_the_files(sim: Simulated, kind: str) -> None:
    fd, other = OBJECTS[kind](sim), make_map(sim.bpf)
    obj_pin(sim.bpf, fd, f"{BPFFS}/obj")
    obj_pin(sim.bpf, other, f"{BPFFS}/other")
    obj_pin(sim.bpf, fd, f"{CGROUPFS}/web/obj")
    sim.rename(f"{BPFFS}/other", f"{BPFFS}/obj")
    assert not sim.kernel.exists(f"{CGROUPFS}/web/obj")


# -- what an exposed file does -------------------------------------------------------------------------


@pytest.mark.parametrize("command", [b"rm", b"rm\n", b"rm\0", b"rm\n\0", b"rm\0rest"])
def test_writing_rm_removes_the_file(sim: Simulated, kind: str, command: bytes) -> None:
    fd = OBJECTS[kind](sim)
    obj_pin(sim.bpf, fd, f"{BPFFS}/obj")
    obj_pin(sim.bpf, fd, f"{CGROUPFS}/web/obj")
    file = sim.open(f"{CGROUPFS}/web/obj", os.O_WRONLY)
    assert sim.write(file, command) == len(command)
    refused(errno.ENOENT, lambda: sim.stat(f"{CGROUPFS}/web/obj"))
    refused(errno.ENODEV, lambda: sim.write(file, command))
    sim.bpf.close(file)
    sim.bpf.close(obj_get(sim.bpf, f"{BPFFS}/obj"))
    obj_pin(sim.bpf, fd, f"{CGROUPFS}/web/obj")


@pytest.mark.parametrize("command", [b"", b"xxx", b"rm ", b" rm", b"rmx", b"r", b"rm\n\n", b"RM", b"\0rm", b"\n"])
def test_any_other_write_is_einval(sim: Simulated, kind: str, command: bytes) -> None:
    fd = OBJECTS[kind](sim)
    obj_pin(sim.bpf, fd, f"{BPFFS}/obj")
    for directory in (f"{CGROUPFS}/web", SYSFS):
        obj_pin(sim.bpf, fd, f"{directory}/obj")
        file = sim.open(f"{directory}/obj", os.O_RDWR)
        refused(errno.EINVAL, lambda file=file: sim.write(file, command))  # type: ignore[misc]
        sim.bpf.close(file)
        assert sim.kernel.exists(f"{directory}/obj")


def test_a_file_open_for_reading_takes_no_command(sim: Simulated) -> None:
    fd = sim.link_fd()
    obj_pin(sim.bpf, fd, f"{BPFFS}/obj")
    obj_pin(sim.bpf, fd, f"{CGROUPFS}/web/obj")
    file = sim.open(f"{CGROUPFS}/web/obj", os.O_RDONLY)
    refused(errno.EBADF, lambda: sim.write(file, b"rm"))
    writer = sim.open(f"{CGROUPFS}/web/obj", os.O_WRONLY)
    refused(errno.EBADF, lambda: sim.read(writer, 10))


def test_unlink_rename_and_links_are_no_kernfs_operations(sim: Simulated, kind: str) -> None:
    fd = OBJECTS[kind](sim)
    obj_pin(sim.bpf, fd, f"{BPFFS}/obj")
    path = f"{CGROUPFS}/web/obj"
    obj_pin(sim.bpf, fd, path)
    refused(errno.EPERM, lambda: sim.unlink(path))
    refused(errno.EPERM, lambda: sim.rename(path, f"{CGROUPFS}/web/new"))
    refused(errno.EPERM, lambda: sim.link(path, f"{CGROUPFS}/web/new"))
    refused(errno.EPERM, lambda: sim.symlink("x", f"{CGROUPFS}/web/new"))
    refused(errno.EACCES, lambda: sim.open(f"{CGROUPFS}/web/new", os.O_CREAT | os.O_WRONLY))
    refused(errno.EPERM, lambda: sim.mkdir(f"{SYSFS}/new"))
    refused(errno.EACCES, lambda: obj_get(sim.bpf, path))
    assert sim.kernel.exists(path)


def test_reading_in_a_kernfs_without_views_is_eio(sim: Simulated, kind: str) -> None:
    fd = OBJECTS[kind](sim)
    obj_pin(sim.bpf, fd, f"{BPFFS}/obj")
    obj_pin(sim.bpf, fd, f"{SYSFS}/obj")
    refused(errno.EIO, lambda: sim.kernel.read_bytes(f"{SYSFS}/obj"))


def test_reading_what_is_no_view_in_a_cgroup_directory_is_eacces(sim: Simulated) -> None:
    tp = load_prog(sim.bpf, RETURN_0, prog_type=uapi.BPF_PROG_TYPE_RAW_TRACEPOINT)
    from bpfjit.loader.bpf import Buffers

    keep = Buffers()
    attr = uapi.RawTracepointOpen(name=keep.put(b"sched_switch\0"), prog_fd=tp)
    fds = {"prog": tp, "map": make_map(sim.bpf), "link": call(sim.bpf, uapi.BPF_RAW_TRACEPOINT_OPEN, attr)}
    for name, fd in fds.items():
        obj_pin(sim.bpf, fd, f"{BPFFS}/{name}")
        path = f"{CGROUPFS}/web/{name}"
        obj_pin(sim.bpf, fd, path)
        refused(errno.EACCES, lambda path=path: sim.kernel.read_bytes(path))  # type: ignore[misc]
        file = sim.open(path)
        refused(errno.EACCES, lambda file=file: sim.read(file, 1))  # type: ignore[misc]


def test_reading_a_node_whose_inode_is_dead_is_enxio(sim: Simulated) -> None:
    fd = sim.link_fd()
    obj_pin(sim.bpf, fd, f"{BPFFS}/obj")
    obj_pin(sim.bpf, fd, f"{CGROUPFS}/web/obj")
    node = sim.kernel.vfs.lookup(sim.caller, f"{CGROUPFS}/web/obj")
    assert isinstance(node, ExposedFile)
    node.backing = None  # as between the inode's end and the node's removal
    refused(errno.ENXIO, lambda: sim.kernel.read_bytes(f"{CGROUPFS}/web/obj"))


# -- no name collisions (what the RFC's critics asked for) ---------------------------------------------


@pytest.mark.parametrize("name", [row.name for row in CGROUP_FILES])
def test_exposing_under_a_stable_files_name_is_eexist(sim: Simulated, name: str) -> None:
    fd = sim.link_fd()
    obj_pin(sim.bpf, fd, f"{BPFFS}/obj")
    refused(errno.EEXIST, lambda: obj_pin(sim.bpf, fd, f"{CGROUPFS}/web/api/{name}"))
    refused(errno.EEXIST, lambda: sim.mkdir(f"{CGROUPFS}/web/api/{name}"))
    refused(errno.EEXIST, lambda: sim.kernel.cgroups.create(f"/web/api/{name}"))
    sim.kernel.read_bytes(f"{CGROUPFS}/web/api/{name}")


def test_exposing_twice_or_over_a_child_cgroup_is_eexist(sim: Simulated) -> None:
    fd = sim.link_fd()
    obj_pin(sim.bpf, fd, f"{BPFFS}/obj")
    obj_pin(sim.bpf, fd, f"{CGROUPFS}/web/obj")
    refused(errno.EEXIST, lambda: obj_pin(sim.bpf, fd, f"{CGROUPFS}/web/obj"))
    refused(errno.EEXIST, lambda: obj_pin(sim.bpf, fd, f"{CGROUPFS}/web/api"))
    refused(errno.EEXIST, lambda: sim.mkdir(f"{CGROUPFS}/web/obj"))


# -- modes, owners, users ------------------------------------------------------------------------------


def user_of(uid: int = 1000, *capabilities: int) -> InProcess:
    return InProcess(Cred(uid=uid, gid=uid, capabilities=frozenset(capabilities)))


def test_an_exposed_file_is_roots_and_600_until_it_is_changed(sim: Simulated, wait: Any) -> None:
    kernel = sim.kernel
    links = wait.load(kernel.bpf).attach()
    path = f"{CGROUPFS}/web/api/wait_show"
    links["wait_show"].pin(f"{BPFFS}/wait_show")
    links["wait_show"].pin(path)
    st = kernel.stat(path)
    assert (st.st_mode & 0o7777, st.st_uid, st.st_gid) == (0o600, 0, 0)
    user = user_of()
    refused(errno.EACCES, lambda: kernel.read_text(path, caller=user))
    sim.chmod(path, 0o644)
    assert kernel.read_text(path, caller=user) == "3 0\n"
    refused(errno.EACCES, lambda: kernel.write_text(path, "rm", caller=user))
    sim.chmod(path, 0o640)
    refused(errno.EACCES, lambda: kernel.read_text(path, caller=user))
    sim.chown(path, 0, 1000)
    assert kernel.read_text(path, caller=user) == "3 0\n"
    sim.chown(path, 1000, 0)
    kernel.write_text(path, "rm", caller=user)
    assert not kernel.exists(path)


def test_an_unprivileged_caller_loads_and_makes_nothing(sim: Simulated) -> None:
    bpf = sim.kernel.caller_bpf(user_of())
    refused(errno.EPERM, lambda: load_prog(bpf, prog_type=uapi.BPF_PROG_TYPE_TRACING))
    refused(errno.EPERM, lambda: load_prog(bpf, prog_type=uapi.BPF_PROG_TYPE_XDP))
    refused(errno.EPERM, lambda: load_prog(bpf))
    refused(errno.EPERM, lambda: make_map(bpf))
    with_bpf = sim.kernel.caller_bpf(user_of(1000, CAP_BPF))
    make_map(with_bpf)
    refused(errno.EPERM, lambda: load_prog(with_bpf, RETURN_0, prog_type=uapi.BPF_PROG_TYPE_RAW_TRACEPOINT))
    tracing = sim.kernel.caller_bpf(user_of(1000, CAP_BPF, CAP_PERFMON))
    load_prog(tracing, RETURN_0, prog_type=uapi.BPF_PROG_TYPE_RAW_TRACEPOINT)


def test_a_user_who_may_not_write_a_directory_exposes_nothing_there(sim: Simulated) -> None:
    user = user_of(1000, CAP_BPF, CAP_PERFMON)
    bpf = sim.kernel.caller_bpf(user)
    fd = make_map(bpf)
    obj_pin(bpf, fd, f"{BPFFS}/mine")
    refused(errno.EACCES, lambda: obj_pin(bpf, fd, f"{CGROUPFS}/web/mine"))
    sim.chown(f"{CGROUPFS}/web", 1000, 1000)
    obj_pin(bpf, fd, f"{CGROUPFS}/web/mine")
    assert sim.stat(f"{BPFFS}/mine").st_uid == 1000
    assert sim.stat(f"{CGROUPFS}/web/mine").st_uid == 0, "the RFC makes every such node root's"
    other = user_of(1001)
    refused(errno.EPERM, lambda: sim.kernel.vfs.unlink(other, f"{BPFFS}/mine"))
    refused(errno.EACCES, lambda: obj_get(sim.kernel.caller_bpf(other), f"{BPFFS}/mine"))
    sim.kernel.vfs.unlink(user, f"{BPFFS}/mine")
    assert not sim.kernel.exists(f"{CGROUPFS}/web/mine")


# -- lives -------------------------------------------------------------------------------------------


def test_removing_the_cgroup_removes_its_files_and_open_ones_are_enodev(sim: Simulated, wait: Any) -> None:
    kernel = sim.kernel
    links = wait.load(kernel.bpf).attach()
    links["wait_show"].pin(f"{BPFFS}/w")
    links["wait_show"].pin(f"{CGROUPFS}/web/api/w")
    unread, read = sim.open(f"{CGROUPFS}/web/api/w"), sim.open(f"{CGROUPFS}/web/api/w")
    stable = sim.open(f"{CGROUPFS}/web/api/cgroup.stat")
    assert sim.read(read, 100) == b"3 0\n"
    kernel.rmdir(f"{CGROUPFS}/web/api")
    for file in (unread, read, stable):
        refused(errno.ENODEV, lambda file=file: sim.read(file, 100))  # type: ignore[misc]
        sim.bpf.close(file)
    assert kernel.read_bytes(f"{CGROUPFS}/web/cgroup.stat")
    kernel.rmdir(f"{CGROUPFS}/web")
    links["wait_show"].pin(f"{CGROUPFS}/w")
    assert kernel.read_text(f"{CGROUPFS}/w") == "1 0\n"


def test_an_open_file_keeps_the_program_though_nothing_else_does(sim: Simulated, wait: Any) -> None:
    kernel = sim.kernel
    obj = wait.load(kernel.bpf)
    links = obj.attach()
    links["wait_show"].pin(f"{BPFFS}/w")
    links["wait_show"].pin(f"{CGROUPFS}/web/api/w")
    file = sim.open(f"{CGROUPFS}/web/api/w")
    for link in links.values():
        link.close()
    obj.close()
    sim.unlink(f"{BPFFS}/w")
    assert len(kernel.links) == len(kernel.progs) == 1
    assert len(kernel.maps) > 0
    refused(errno.ENODEV, lambda: sim.read(file, 100))
    sim.bpf.close(file)
    assert len(kernel.links) == len(kernel.progs) == len(kernel.maps) == 0


def release_steps(sim: Simulated) -> dict[str, Callable[[], None]]:
    """A map, a recording program and a view, attached, pinned, exposed and open; and the ways to let go of each."""
    kernel, bpf = sim.kernel, sim.bpf
    path = f"{CGROUPFS}/web/api/w"
    find = kernel.btf.types.find
    record = load_prog(
        bpf,
        RETURN_0,
        prog_type=uapi.BPF_PROG_TYPE_TRACING,
        attach_type=uapi.BPF_TRACE_RAW_TP,
        attach_btf_id=int(find(Kind.TYPEDEF, "btf_trace_sched_stat_wait") or 0),
    )
    recording = call(bpf, uapi.BPF_RAW_TRACEPOINT_OPEN, uapi.RawTracepointOpen(prog_fd=record))
    view = sim.link_fd()
    obj_pin(bpf, view, f"{BPFFS}/w")
    obj_pin(bpf, view, path)
    file = sim.open(path, os.O_RDWR)
    assert sim.read(file, 100) == b""

    def command() -> None:
        try:
            sim.write(file, b"rm")
        except OSError as e:
            assert e.errno in (errno.ENODEV, errno.EBADF)  # removed otherwise, or closed before

    return {
        "close program": lambda: bpf.close(record),
        "close recording link": lambda: bpf.close(recording),
        "close view link": lambda: bpf.close(view),
        "unpin": lambda: sim.unlink(f"{BPFFS}/w"),
        "rm": command,
        "rmdir": lambda: sim.rmdir(f"{CGROUPFS}/web/api"),
        "close file": lambda: bpf.close(file),
    }


def test_every_order_of_letting_go_releases_everything() -> None:
    """All 5,040 orders; afterwards no id, fd or inode is left, and no program on the tracepoint."""
    sim = Simulated(Kernel(engine="interp"))  # quicker to load; attaching and releasing are the same
    kernel = sim.kernel
    btfs = len(kernel.btfs)
    kernel.cgroups.create("/web")
    for order in itertools.permutations(range(7)):
        cgroup = kernel.cgroups.create("/web/api")
        steps = list(release_steps(sim).values())
        for i in order:
            steps[i]()
        left = [len(kernel.links), len(kernel.progs), len(kernel.maps), len(kernel.btfs) - btfs, len(sim.caller.fds)]
        assert left == [0] * 5, order
        assert kernel.tracepoints["sched_stat_wait"].count == 0, order
        assert cgroup.refs == 0, order
    sim.close()


def test_no_reader_sees_freed_memory_while_cgroups_come_and_go(kernel: Kernel, wait: Any) -> None:
    """Two threads read whatever is there; each text is of a cgroup that had that file, or the read is refused."""
    link = wait.load(kernel.bpf).attach()["wait_show"]
    link.pin(f"{BPFFS}/w")
    done = threading.Event()
    wrong: list[object] = []
    seen = [0, 0]

    def reader(me: int) -> None:
        path = f"{CGROUPFS}/busy/w"
        while not done.is_set():
            try:
                file = kernel.open(path)
            except OSError as e:
                if e.errno not in (errno.ENOENT, errno.ENODEV):
                    wrong.append(e)
                continue
            try:
                node = file.inode
                assert isinstance(node, ExposedFile)
                wanted = f"{node.parent.ino} 0\n".encode()  # type: ignore[attr-defined]
                for _ in range(3):
                    text = file.pread(kernel.caller, 100, 0)
                    seen[me] += 1
                    if text != wanted:
                        wrong.append((text, wanted))
            except OSError as e:
                if e.errno != errno.ENODEV:
                    wrong.append(e)
            finally:
                file.put()

    threads = [threading.Thread(target=reader, args=(i,)) for i in range(2)]
    for t in threads:
        t.start()
    for cycle in range(1500):
        kernel.cgroups.create("/busy")
        link.pin(f"{CGROUPFS}/busy/w")
        if cycle % 8 == 0:
            while not done.wait(0.0005) and sum(seen) < cycle // 8:
                pass
        kernel.rmdir(f"{CGROUPFS}/busy")
        kernel.cgroups.remove(kernel.cgroups.create(f"/other{cycle}"))  # takes over what was freed
    done.set()
    for t in threads:
        t.join()
    assert not wrong
    assert min(seen) > 0


def test_two_kernels_know_nothing_of_each_other(wait: Any) -> None:
    with Kernel() as one, Kernel() as two:
        one.cgroups.create("/only/here")
        loaded = wait.load(one.bpf)
        links = loaded.attach()
        links["wait_show"].pin(f"{BPFFS}/w")
        assert sorted(two.listdir(BPFFS)) == ["maps.debug", "progs.debug"]
        assert not two.exists(f"{CGROUPFS}/only")
        assert (len(two.progs), len(two.maps), len(two.links), len(two.caller.fds)) == (0, 0, 0, 0)
        task = one.tasks.create(7, "x", one.cgroups.find("/only/here"))
        assert two.tasks.find(7) is None
        two.fire("sched_stat_wait", [0, 1])
        one.fire("sched_stat_wait", [int(ffi.cast("uintptr_t", task.c)), 5])
        links["wait_show"].pin(f"{CGROUPFS}/only/here/w")
        assert one.read_text(f"{CGROUPFS}/only/here/w") == "3 5\n"
        two.cgroups.create("/here")
        assert two.cgroups.find("/here").id == 2


def test_a_view_that_goes_between_its_lookup_and_its_opening_is_not_there(kernel: Kernel, wait: Any) -> None:
    kernel.cgroups.create("/going")
    link = wait.load(kernel.bpf).attach()["wait_show"]
    link.pin(f"{BPFFS}/w")
    link.pin(f"{CGROUPFS}/going/w")
    inode = kernel.vfs.lookup(kernel.caller, f"{CGROUPFS}/going/w")
    kernel.rmdir(f"{CGROUPFS}/going")
    with pytest.raises(OSError, match="has gone since its name was looked up"):
        OpenFile(inode, 0)
