"""--host: this machine's cgroups and tasks in the simulated kernel, and machines made of plain files."""

from __future__ import annotations

import errno
import ipaddress
import itertools
import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel
from kernfs_sim.host import cgroup2_mount, populate
from kernfs_sim.routes import RouteRow
from kernfs_sim.sockets import IPPROTO_TCP, TCP_LISTEN, Endpoint, InetRow, UnixRow
from runtime import ffi, lib


class Machine:
    """A made-up machine: a directory for its cgroup2 mount and one for its procfs."""

    def __init__(self, where: Path, mount: str = "cgroup2") -> None:
        self.top = where / mount
        self.top.mkdir()
        self.proc = where / "proc"
        (self.proc / "self").mkdir(parents=True)
        escaped = b"".join(b"\\%03o" % c if c in b" \t\n\\" else bytes([c]) for c in os.fsencode(self.top))
        lines = [
            b"proc /proc proc rw 0 0",
            b"cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0",
            b"cgroup2 " + escaped + b" cgroup2 rw 0 0",
        ]
        (self.proc / "self/mounts").write_bytes(b"\n".join(lines) + b"\n")

    def cgroup(self, path: str, *pids: int, memory: int | None = None) -> Path:
        made = self.top / path
        made.mkdir(parents=True, exist_ok=True)
        (made / "cgroup.procs").write_text("".join(f"{p}\n" for p in pids))
        if memory is not None:
            (made / "memory.current").write_text(f"{memory}\n")
        return made

    def task(self, pid: int, comm: bytes = b"sh", uid: int = 0, tgid: int | None = None) -> None:
        made = self.proc / str(pid)
        made.mkdir()
        (made / "comm").write_bytes(comm + b"\n")
        (made / "status").write_text(f"Name:\tx\nTgid:\t{tgid or pid}\nUid:\t0\t{uid}\t0\t0\n")

    def kernel(self) -> Kernel:
        kernel = Kernel()
        populate(kernel, self.proc)
        return kernel


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_paths_ids_levels_and_memory_are_the_machines(machine: Machine) -> None:
    dirs = [machine.top] + [machine.cgroup(p) for p in ("b", "a", "a/x", "a/x/deep")]
    machine.cgroup("a", memory=4096)
    kernel = machine.kernel()
    found = {c.path: (c.id, c.level, int(c.c.level), int(c.kn.id)) for c in kernel.cgroups}
    for d in dirs:
        path = "/" + "".join(str(d.relative_to(machine.top))).removeprefix(".")
        level, ino = len(d.relative_to(machine.top).parts), d.stat().st_ino
        assert found.pop(path) == (ino, level, level, ino)
    assert not found
    assert kernel.read_text("/sys/fs/cgroup/a/memory.current") == "4096\n"
    assert kernel.stat("/sys/fs/cgroup").st_ino == machine.top.stat().st_ino
    assert kernel.cgroups.by_id(machine.top.stat().st_ino) is kernel.cgroups.root


MEMORY = """
#include <bpf/bpf_core_read.h>
#define OOM_KILL 4 /* of enum memcg_memory_event, which the simulated kernel's types have not */
#define AT bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id)

SEC("iter/cgroup")
int memory(struct bpf_iter__cgroup *ctx)
{
	struct cgroup *cgroup = ctx->cgroup;
	struct seq_file *seq = ctx->meta->seq;
	struct mem_cgroup *memcg, *above;

	if (!cgroup)
		return 0;
	memcg = bpf_core_cast(cgroup->subsys[AT], struct mem_cgroup);
	above = bpf_core_cast(memcg->css.parent, struct mem_cgroup);
	BPF_SEQ_PRINTF(seq, "%llu: %ld pages", cgroup->kn->id, memcg->memory.usage.counter);
	BPF_SEQ_PRINTF(seq, ", at most %lu, %ld killed", memcg->memory.watermark, memcg->memory_events[OOM_KILL].counter);
	BPF_SEQ_PRINTF(seq, "; above: %ld\\n", above->memory.usage.counter);
	return 0;
}
"""


def test_programs_read_the_machines_memory_counters(machine: Machine, build: Callable[[str], Any]) -> None:
    web, api = machine.cgroup("web", memory=40960), machine.cgroup("web/api", memory=8192)
    (api / "memory.events").write_text("low 0\nhigh 7\nmax 0\noom 2\noom_kill 1\n")

    def shown() -> list[str]:
        info = struct.pack("<IIQ", uapi.BPF_CGROUP_ITER_DESCENDANTS_PRE, 0, web.stat().st_ino)
        link = loaded.attach_prog(loaded.progs["memory"], info)
        fd = kernel.bpf(uapi.BPF_ITER_CREATE, bytearray(uapi.IterCreate(link_fd=link.fd).pack()))
        text: bytes = kernel.caller.fds.get(fd).read(kernel.caller, 4096)
        link.close()
        return text.decode().splitlines()

    with Kernel() as kernel:
        host = populate(kernel, machine.proc)
        loaded = build(MEMORY).load(kernel.bpf)
        ids = [d.stat().st_ino for d in (web, api)]
        assert shown() == [
            f"{ids[0]}: 10 pages, at most 10, 0 killed; above: 0",
            f"{ids[1]}: 2 pages, at most 2, 1 killed; above: 10",
        ]
        (api / "memory.current").write_text("4096\n")
        host.refresh()
        assert shown()[1] == f"{ids[1]}: 1 pages, at most 2, 1 killed; above: 10"


def test_siblings_come_in_order_of_creation(machine: Machine) -> None:
    made = {name: machine.cgroup(name).stat().st_ino for name in ("z", "m", "a")}
    wanted = sorted(made, key=lambda name: made[name])
    assert [c.name for c in machine.kernel().cgroups.root.subgroups()] == wanted


def test_tasks_have_their_comm_uid_and_cgroup(machine: Machine) -> None:
    machine.cgroup("a", 30, 20)
    machine.task(20, b"nginx: worker x", uid=33)
    machine.task(30, b"a\xff b\\c")
    kernel = machine.kernel()
    assert kernel.read_text("/sys/fs/cgroup/a/cgroup.procs") == "20\n30\n"
    task, odd = kernel.tasks.find(20), kernel.tasks.find(30)
    assert task is not None and odd is not None
    assert (task.comm, int(task._cred.uid.val)) == ("nginx: worker x", 33)
    assert ffi.string(odd.c.comm) == b"a\xff b\\c"


def test_a_parent_may_have_the_higher_number_and_another_cgroup(machine: Machine) -> None:
    machine.cgroup("a", 20)
    machine.cgroup("b", 30)
    machine.cgroup("c", 1, 40)
    for pid, parent in ((1, 0), (20, 30), (30, 40), (40, 99)):
        machine.task(pid)
        (machine.proc / str(pid) / "stat").write_text(f"{pid} (x) S {parent} {'0 ' * 17}{pid} {'0 ' * 40}\n")
    kernel = machine.kernel()
    assert {t.pid: int(t.c.real_parent.pid) for t in kernel.tasks} == {1: 1, 20: 30, 30: 40, 40: 1}


def test_a_long_kernel_thread_name_is_cut(machine: Machine) -> None:
    machine.cgroup("a", 9)
    machine.task(9, b"kworker/u8:3-events_unbound")
    task = machine.kernel().tasks.find(9)
    assert task is not None and task.comm == "kworker/u8:3-ev"


def test_a_threaded_cgroup_gives_its_threads(machine: Machine) -> None:
    made = machine.cgroup("a")
    (made / "cgroup.procs").unlink()
    (made / "cgroup.threads").write_text("12\n")
    machine.task(12, tgid=11)
    kernel = machine.kernel()
    assert kernel.read_text("/sys/fs/cgroup/a/cgroup.threads") == "12\n"
    assert kernel.read_text("/sys/fs/cgroup/a/cgroup.procs") == "11\n"


@pytest.mark.parametrize("name", ["a b", "back\\slash", "\\x2d", "tab\there", "é", os.fsdecode(b"\xff\xfe"), "it's.slice"])
def test_odd_names_of_cgroups_and_of_the_mount(tmp_path: Path, name: str) -> None:
    machine = Machine(tmp_path, mount=name)
    made = machine.cgroup(f"{name}/{name}")
    kernel = machine.kernel()
    assert cgroup2_mount(machine.proc) == machine.top
    assert kernel.cgroups.find(f"/{name}/{name}").id == made.stat().st_ino
    assert kernel.listdir(f"/sys/fs/cgroup/{name}")[-1] == name


def test_tasks_that_have_ended_and_those_of_other_namespaces_are_left_out(machine: Machine) -> None:
    machine.cgroup("a", 0, 5, 6)
    machine.task(6)
    assert [t.pid for t in machine.kernel().tasks] == [6]


def test_cgroups_that_vanish_while_we_look_are_left_out(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.cgroup("a/x")
    machine.cgroup("b")
    real = os.scandir

    def vanishing(path: str) -> object:
        if path.endswith("/a"):
            raise FileNotFoundError(errno.ENOENT, "gone", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", vanishing)
    assert sorted(c.path for c in machine.kernel().cgroups) == ["/", "/a", "/b"]


def test_a_machine_without_cgroup2_is_refused(machine: Machine) -> None:
    (machine.proc / "self/mounts").write_text("proc /proc proc rw 0 0\nx y\n\n")
    with pytest.raises(OSError, match="no cgroup2 hierarchy") as e:
        machine.kernel()
    assert e.value.errno == errno.ENOENT


def test_ten_thousand_cgroups_are_built_in_seconds(machine: Machine) -> None:
    for i in range(100):
        for j in range(99):
            (machine.top / f"{i}/{j}").mkdir(parents=True)
    start = time.process_time()
    kernel = machine.kernel()
    assert sum(1 for _ in kernel.cgroups) == 10_001
    assert time.process_time() - start < 10  # about 1 s


# -- this very machine ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mount() -> Path:
    try:
        return cgroup2_mount()
    except OSError as e:
        pytest.skip(f"no cgroup2 here: {e}")


def test_the_real_tree_is_the_same_here(mount: Path) -> None:
    """Cgroups come and go on a living machine: those that were there before and after must be here."""

    def walk() -> dict[str, int]:
        found = {}
        for directory, _, _ in os.walk(mount):
            path = "/" + str(Path(directory).relative_to(mount)).removeprefix(".")
            found[path] = os.stat(directory).st_ino
        return found

    before = walk()
    with Kernel.from_host() as kernel:
        here = {c.path: c.id for c in kernel.cgroups}
        after = walk()
        assert {p: i for p, i in before.items() if after.get(p) == i}.items() <= here.items()
        assert set(here) <= set(before) | set(after)


def test_this_process_is_found_in_its_cgroup_with_its_name(mount: Path) -> None:
    line = next(text for text in Path("/proc/self/cgroup").read_text().splitlines() if text.startswith("0::"))
    with Kernel.from_host() as kernel:
        task = kernel.tasks.find(os.getpid())
        assert task is not None and task.cgroup is not None
        assert task.cgroup.path == line.removeprefix("0::")
        assert task.comm == Path("/proc/self/comm").read_text().rstrip("\n")


def test_an_unprivileged_user_sees_the_same_cgroups(mount: Path) -> None:
    if os.getuid():
        pytest.skip("only root can become somebody else")
    # Everything is imported before: the interpreter itself may be root's alone.
    code = (
        "import os; from kernfs_sim import Kernel; Kernel.from_host().close(); os.setgid(65534); os.setuid(65534); "
        "k = Kernel.from_host(); print(sum(1 for _ in k.cgroups)); assert len(list(k.tasks)) > 0"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert out.returncode == 0, out.stderr
    with Kernel.from_host() as kernel:
        assert out.stdout.split()[0] == str(sum(1 for _ in kernel.cgroups))


def test_formats_of_the_usual_files_are_the_machines(mount: Path) -> None:
    """Each `key value` file here has a subset of the real one's keys, in the real order."""
    with Kernel.from_host() as kernel:
        for name in ("cgroup.stat", "cpu.stat"):
            theirs = [row.split() for row in (mount / name).read_text().splitlines()]
            ours = [row.split() for row in kernel.read_text(f"/sys/fs/cgroup/{name}").splitlines()]
            assert all(len(row) == 2 and row[1].isdigit() for row in ours + theirs)
            order = [row[0] for row in theirs]
            places = [order.index(row[0]) for row in ours]
            assert places == sorted(places)
        for name in ("cgroup.procs", "cgroup.controllers", "cgroup.subtree_control", "cgroup.threads"):
            theirs_text = (mount / name).read_text()
            ours_text = kernel.read_text(f"/sys/fs/cgroup/{name}")
            assert bool(theirs_text.endswith("\n")) == bool(ours_text.endswith("\n")) or not theirs_text
        listed = kernel.listdir("/sys/fs/cgroup")
        assert {n for n in listed if "." in n and not (mount / n).exists()} <= {"memory.current"}
        for name in listed:
            if (mount / name).is_file():
                assert kernel.stat(f"/sys/fs/cgroup/{name}").st_mode == (mount / name).stat().st_mode


def test_a_followed_machine_is_looked_at_whenever_a_file_is_opened(live: object) -> None:
    with Kernel.from_host(follow=True) as kernel:
        assert kernel.host is not None
        with subprocess.Popen(["sleep", "100"]) as child:
            kernel.read_text("/proc/1/comm")
            task = kernel.tasks.find(child.pid)
            assert task is not None and kernel.read_text(f"/proc/{child.pid}/comm") == "sleep\n"
            assert kernel.read_text(f"/proc/{child.pid}/maps").split("\n")[0].endswith("/sleep")
            child.kill()
        with pytest.raises(FileNotFoundError):
            kernel.read_text(f"/proc/{child.pid}/comm")
        assert kernel.tasks.find(child.pid) is None


def test_self_is_the_process_that_follows_it(live: object) -> None:
    with Kernel() as kernel:
        with pytest.raises(FileNotFoundError):
            kernel.read_text("/proc/self/comm")  # this process is none of its
        kernel.tasks.create(os.getpid(), "me")
        assert kernel.read_text("/proc/self/comm") == "me\n"
        assert kernel.vfs.readlink(kernel.caller, "/proc/self") == str(os.getpid())
        assert "self" in kernel.listdir("/proc")


def test_the_machines_cpu_times_are_those_of_its_cgroups(mount: Path) -> None:
    """Tasks that have ended have had their part in them."""

    def figures(text: str) -> dict[str, int]:
        return {key: int(value) for key, value in (line.split() for line in text.splitlines())}

    before = figures((mount / "cpu.stat").read_text())
    with Kernel.from_host() as kernel:
        ours = figures(kernel.read_text("/sys/fs/cgroup/cpu.stat"))
    after = figures((mount / "cpu.stat").read_text())
    for key in ("usage_usec", "user_usec", "system_usec"):
        assert before[key] <= ours[key] <= after[key]


def test_what_cannot_be_seen_is_said(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.cgroup("a", 20, 30)
    machine.task(20)
    machine.task(30)
    real = os.readlink

    def forbidden(path: str) -> str:
        if "/30/ns/" in path:
            raise PermissionError(errno.EACCES, "permission denied")
        return real(path)

    monkeypatch.setattr(os, "readlink", forbidden)
    # What is not there belongs to a task that has ended: nothing is missed of that.
    assert populate(Kernel(), machine.proc).unseen == ["net namespace of 1 tasks could not be seen"]


# -- looked at again -------------------------------------------------------------------------------------


def _process(machine: Machine, pid: int, files: int, areas: int, comm: bytes = b"sh") -> None:
    machine.task(pid, comm)
    where = machine.proc / str(pid)
    (where / "stat").write_text(f"{pid} (x) S 0 {'0 ' * 17}{pid} {'0 ' * 40}\n")
    (where / "fd").mkdir()
    for fd in range(files):
        (where / "fd" / str(fd)).symlink_to(machine.proc / "self/mounts")
    (where / "maps").write_text("".join(f"{i:x}0000-{i:x}1000 r-xp 0 08:01 {i} /lib/{i}\n" for i in range(1, areas + 1)))


def test_what_is_looked_at_again_takes_no_more_memory(machine: Machine) -> None:
    machine.cgroup("a", 20)
    kernel = Kernel()
    host = None
    grown = []
    for turn in range(12):
        shutil.rmtree(machine.proc / "20", ignore_errors=True)
        _process(machine, 20, files=40 + 40 * (turn % 2), areas=10 + 5 * (turn % 3), comm=b"%d" % turn)
        if host is None:
            host = populate(kernel, machine.proc)
        else:
            host.refresh()
        task = kernel.tasks.find(20)
        assert task is not None and ffi.string(task.c.comm) == b"%d" % turn
        assert (len(task.files.by_fd), int(task.mm.c.map_count)) == (40 + 40 * (turn % 2), 10 + 5 * (turn % 3))
        assert int(task.mm.c.total_vm) == task.mm.c.map_count
        lib.rt_rcu_barrier(kernel.native.ptr)
        # So large an object is taken from the end of the heap.
        grown.append(int(ffi.cast("uintptr_t", kernel.native.string(bytes(5000)))))
    steps = [b - a for a, b in itertools.pairwise(grown)]
    assert steps[-6:] == [steps[-1]] * 6, steps  # nothing but those


def test_sockets_stay_who_they_are_while_their_figures_and_places_change() -> None:
    kernel = Kernel()
    net, sockets = kernel.namespaces.net[""], kernel.sockets

    def tcp(port: int, ino: int, state: int = TCP_LISTEN, uid: int = 0) -> tuple[InetRow, None]:
        here, there = (Endpoint.parse(f"127.0.0.1:{p}") for p in (port, 0))
        return InetRow(IPPROTO_TCP, here, there, state, uid, ino), None

    def walked() -> list[int]:
        listed = sorted((s for s in sockets.all if s.kind == "tcp"), key=lambda s: s.number)
        return [s.row.ino for s in listed]

    sockets.become(net, [tcp(1, 11), tcp(2, 12), tcp(3, 13)])
    first = {s.row.ino: s.c for s in sockets.all}
    sockets.become(net, [tcp(3, 13), tcp(9, 19), tcp(1, 11, state=1, uid=7), (UnixRow("/x", ino=5), 77)])
    assert walked() == [13, 19, 11]
    second = {s.row.ino: s.c for s in sockets.all}
    assert second[11] == first[11] and second[13] == first[13]
    common = ffi.cast("struct sock_common *", second[11])
    assert (common.skc_state, ffi.cast("struct sock *", common).sk_uid.val) == (1, 7)
    assert sockets.by_ino(12) is None
    sockets.become(net, [])
    assert not sockets.all


def test_routes_stay_up_to_the_first_that_changed() -> None:
    kernel = Kernel()
    net, routes = kernel.namespaces.net[""], kernel.routes
    rows = [RouteRow(ipaddress.IPv6Network(f"2001:db8:{i}::/48"), "lo") for i in range(4)]
    routes.become(net, rows)
    before = [r.c for r in routes.all]
    routes.become(net, [*rows[:2], rows[3]])
    assert [r.row for r in routes.all] == [*rows[:2], rows[3]] and [r.c for r in routes.all][:2] == before[:2]
