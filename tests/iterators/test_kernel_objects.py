"""Kernel objects through iterators: the same object file shows the same bytes of the same things on both kernels."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfjit.loader.compile import compile_c
from kernfs_sim import Kernel
from tests.live import without

from .worlds import HERE, Live, Simulated, World

ROOT = HERE.parents[1]


@pytest.fixture(scope="session")
def objects_object(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("iterators") / "kernel_objects.bpf.o"
    path.write_bytes(compile_c(HERE / "kernel_objects.bpf.c"))
    return path


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A process with two threads, files, a pipe, sockets and mapped memory."""
    where = tmp_path_factory.mktemp("child")
    command = [sys.executable, str(HERE / "child.py"), str(where)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        while "S" not in Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2]:
            time.sleep(0.01)
        yield process.pid
        process.stdin.close()


@pytest.fixture(scope="module")
def both(live: object, child: int, objects_object: Path) -> Iterator[tuple[Live, Simulated]]:
    """Linux, and this machine in the simulated kernel."""
    real = Live(objects_object)
    with real.obj, Kernel.from_host() as kernel:
        sim = Simulated(kernel, objects_object, real)
        with sim.obj:
            yield real, sim


@pytest.fixture(params=["simulated", pytest.param("both", marks=without("iter/bpf_sk_storage_map"))])
def storing(request: pytest.FixtureRequest, objects_object: Path, child: int) -> Iterator[tuple[World, ...]]:
    """What socket storage is walked on."""
    if request.param == "both":
        yield request.getfixturevalue("both")
        return
    with Kernel.from_host() as kernel:
        sim = Simulated(kernel, objects_object)
        with sim.obj:
            yield (sim,)


def show(world: World, prog: str, **info: int) -> str:
    return b"".join(world.drain(world.open(world.link(prog, **info)), 65536)).decode("utf-8", "surrogateescape")


@pytest.mark.parametrize("prog", ["files", "maps", "processes", "file_sockets"])
@pytest.mark.parametrize("how", ["all", "pid", "tid"])
def test_a_process_looks_the_same(both: tuple[Live, Simulated], child: int, prog: str, how: str) -> None:
    texts = []
    for world in both:
        world.set(wanted_tgid=child)
        texts.append(show(world, prog, **({} if how == "all" else {how: child})))
    assert texts[0] == texts[1]
    assert len(texts[0].splitlines()) >= 2 if prog != "processes" or how != "tid" else 1


def test_a_thread_that_shares_its_files_is_passed_over_unless_asked_for(both: tuple[Live, Simulated], child: int) -> None:
    second = max(int(t) for t in os.listdir(f"/proc/{child}/task"))
    assert second != child
    for world in both:
        world.set(wanted_tgid=child)
        owners = {line.split()[1] for line in show(world, "files", pid=child).splitlines()[:-1]}
        assert owners == {str(child)}
        lines = show(world, "files", tid=second).splitlines()
        assert {line.split()[1] for line in lines[:-1]} == {str(second)}
        # The call at the end of a walk of one thread keeps the place behind its last fd.
        assert lines[-1] == f"end 0 0 {int(lines[-2].split()[2]) + 1}"
        assert show(world, "files", pid=second) == "end 0 0 0\n"  # no process has that number
        assert show(world, "maps", tid=1 << 30) == "end 0 0\n"


def test_maps_are_those_of_procfs(both: tuple[Live, Simulated], child: int) -> None:
    wanted = [" ".join(line.split()) for line in Path(f"/proc/{child}/maps").read_text().splitlines() if "[" not in line]
    for world in both:
        world.set(wanted_tgid=child)
        found = show(world, "maps", pid=child).splitlines()
        named = [line for line in found if line in wanted]
        assert sorted(set(named)) == sorted(set(wanted))


def test_loaded_programs_and_links_show_themselves(both: tuple[Live, Simulated]) -> None:
    shapes, kinds = [], []
    for world in both:
        link = world.link("progs")
        ids = {_fdinfo(world, prog.fd)["prog_id"] for prog in world.obj.progs.values()}  # others run programs too
        lines = [line.split() for line in show(world, "progs").splitlines()]
        shapes.append(sorted((tuple(line[1:4]), tuple(line[5:])) for line in lines if line[0] in ids))
        assert [int(line[0]) for line in lines] == sorted(int(line[0]) for line in lines)
        link_id = _fdinfo(world, link.fd)["link_id"]
        row = next(r.split() for r in show(world, "links").splitlines() if r.split()[0] == link_id)
        kinds.append((row[1], row[2] == _fdinfo(world, world.obj.progs["progs"].fd)["prog_id"]))
        link.close()
    assert shapes[0] == shapes[1] and len(shapes[0]) == len(world.obj.progs)
    assert kinds[0] == kinds[1] == ("4", True)


def test_a_program_is_seen_with_its_types_functions_and_maps(both: tuple[Live, Simulated]) -> None:
    texts = []
    for world in both:
        ids = {_fdinfo(world, prog.fd)["prog_id"] for prog in world.obj.progs.values()}
        rows = (line.split(" ", 1) for line in show(world, "prog_types").splitlines())
        texts.append([rest for prog_id, rest in rows if prog_id in ids])
    assert texts[0] == texts[1]
    names = {text.split()[-2] for text in texts[0]}
    assert names == set(both[0].obj.progs) and "a_program_of_a_rather_long_name" in names


def test_progs_debug_has_whole_names(both: tuple[Live, Simulated]) -> None:
    (row,) = [line for line in both[1].kernel.read_text("/sys/fs/bpf/progs.debug").splitlines() if "a_program" in line]
    assert row.split()[1:] == ["a_program_of_a_rather_long_name", "bpf_iter_bpf_prog"]


def test_a_loaded_program_is_a_symbol(both: tuple[Live, Simulated]) -> None:
    wanted = {f"t bpf_prog_{_tag(world, 'tcp')}_tcp [bpf]" for world in both}
    for world in both:
        assert wanted & set(show(world, "symbols").splitlines())


def test_formats_name_symbols(both: tuple[Live, Simulated]) -> None:
    for world in both:
        *lines, last = show(world, "symbol_formats").splitlines()
        # The call at the end is given what was looked at last; css_rstat_updated is an extern without a type.
        assert last.split("|")[:2] == [f"end 1 css_rstat_updated {lines[-1].split('|')[0]}", "__builtin__kprobes"]
        rows = [line.split("|") for line in lines]
        named = {row[0]: row[1:] for row in rows if row[2].startswith(f"{row[0]}+")}  # others share another's address
        names = ("bpf_seq_write", "bpf_map_lookup_elem", "bpf_task_acquire", "css_rstat_flush")
        prog = f"bpf_prog_{_tag(world, 'a_program_of_a_rather_long_name')}_a_program_of_a_rather_long_name"
        for name in (*names, prog):
            module, at, plain, in_trace, right, left, wide, with_letter = named[name]
            size = at.rpartition("/")[2]
            assert int(size, 16) > 2 and module == ("bpf" if name == prog else "")
            assert (at, plain, in_trace) == (f"{name}+0x0/{size}", name, f"{name}+0x1/{size}")
            assert (right, left) == (f"{name}+0x2/{size}".rjust(60), name.ljust(60))
            assert (wide, with_letter) == (f"{name}+0x3/{size}", at)


def _tag(world: World, prog: str) -> str:
    return _fdinfo(world, world.obj.progs[prog].fd)["prog_tag"]


def _fdinfo(world: World, fd: int) -> dict[str, str]:
    if isinstance(world, Simulated):
        text = world.kernel.caller.fds.get(fd).fdinfo()
    else:
        text = Path(f"/proc/self/fdinfo/{fd}").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines())


@pytest.mark.parametrize(
    ("prog", "info"),
    [
        ("files", {}), ("files", {"tid": 1}), ("maps", {"pid": 1}), ("processes", {}), ("netlink", {}), ("routes", {}),
        ("tcp", {}), ("udp", {}), ("unix_sockets", {}), ("progs", {}), ("links", {}), ("symbols", {}),
    ],
)  # fmt: skip
def test_fdinfo_of_a_link_names_what_is_walked(both: tuple[Live, Simulated], prog: str, info: dict[str, int]) -> None:
    told = []
    for world in both:
        rows = _fdinfo(world, world.link(prog, **info).fd)
        for key in ("flags", "mnt_id", "ino", "link_id", "prog_id", "prog_tag"):
            rows.pop(key)
        told.append(rows)
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("prog", "info"),
    [("files", {"pid_fd": 0x7FFFFFF0}), ("files", {"pid": 1, "tid": 1}), ("maps", {"pid": 1, "pid_fd": 1})],
)
def test_attach_parameters_are_checked(both: tuple[Live, Simulated], prog: str, info: dict[str, int]) -> None:
    refused = []
    for world in both:
        with pytest.raises(OSError) as e:
            world.link(prog, **info)
        refused.append(e.value.errno)
    assert refused[0] == refused[1]


def test_socket_storage_is_walked_with_its_sockets(storing: tuple[World, ...], child: int) -> None:
    texts = []
    for world in storing:
        world.set(wanted_tgid=child)
        assert show(world, "mark_sockets", pid=child) == ""
        fd = world.obj.maps["marks"].fd
        first, second = (sorted(show(world, "marked", map_fd=fd).splitlines()) for _ in range(2))
        texts.append((first, second))
    assert texts[0] == texts[-1]
    first, second = texts[0]
    assert first[-1] == second[-1] == "end 1 0 0" and len(first) == 6
    assert {int(line.split()[0]) + 100 for line in first[:-1]} == {int(line.split()[0]) for line in second[:-1]}


@pytest.mark.parametrize(
    ("prog", "map_name", "expected"),
    [("marked", None, errno.EBADF), ("marked", ".bss", errno.EINVAL), ("marked_wide", "marks", errno.EACCES)],
)
def test_socket_storage_wants_its_map(storing: tuple[World, ...], prog: str, map_name: str | None, expected: int) -> None:
    for world in storing:
        fds = {m.spec.section if m.spec.section == ".bss" else name: m.fd for name, m in world.obj.maps.items()}
        with pytest.raises(OSError) as e:
            world.link(prog, **({} if map_name is None else {"map_fd": fds[map_name]}))
        assert e.value.errno == expected


@pytest.fixture(scope="module")
def network(live: object, objects_object: Path) -> dict[str, dict[str, str]]:
    """A network namespace with routes and sockets, as its files, Linux's iterators and ours show it."""
    command = ["unshare", "-n", sys.executable, "-m", "tests.iterators.in_netns", str(objects_object)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, dict[str, str]] = json.loads(ran.stdout)
    return found


@pytest.mark.parametrize("prog", ["netlink", "routes", "unix_sockets"])
def test_a_network_namespace_looks_the_same(network: dict[str, dict[str, str]], prog: str) -> None:
    assert network["sim"][prog] == network["live"][prog]
    assert len(network["sim"][prog].splitlines()) > 1


@pytest.mark.parametrize(("prog", "kinds"), [("tcp", {"tcp6", "time-wait"}), ("udp", set())])
def test_internet_sockets_look_the_same(network: dict[str, dict[str, str]], prog: str, kinds: set[str]) -> None:
    """TCP in Linux's order too; UDP is walked by hashes of addresses, which nothing tells."""
    sim, live = (network[k][prog].splitlines() for k in ("sim", "live"))
    assert sorted(sim) == sorted(live)
    assert prog == "udp" or sim == live
    assert kinds <= {word for line in sim for word in line.split()}


@pytest.mark.parametrize(("prog", "name"), [("netlink", "netlink"), ("routes", "ipv6_route")])
def test_a_program_gives_the_bytes_of_the_file(network: dict[str, dict[str, str]], prog: str, name: str) -> None:
    assert network["sim"][prog] == network["file"][name]


STEPS = ("write", "open", "map", "close", "replace", "unmap", "rename", "threads", "join", "listen", "exec")
WALKS = ("files", "maps", "processes", "file_sockets")


def _asleep(pid: int, comm: str = "") -> None:
    """Until a process waits for what comes next, under that name where one is given."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
        if rest.split()[0] == "S" and name == (comm or name):
            return
        time.sleep(0.005)
    raise TimeoutError(f"process {pid} does not wait")


def test_a_followed_process_is_at_every_open_what_it_is_by_then(live: object, objects_object: Path, tmp_path: Path) -> None:
    """Files come, go and change place; memory is mapped and given back; threads, names and sockets come and go."""
    command = [sys.executable, str(HERE / "changing.py"), str(tmp_path)]
    real, seen = Live(objects_object), {prog: [""] for prog in WALKS}
    with (
        real.obj,
        Kernel.from_host(follow=True) as kernel,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdin is not None and process.stdout is not None
        sim = Simulated(kernel, objects_object)
        for step in ("begin", *STEPS):
            process.stdin.write(f"{step}\n")
            process.stdin.flush()
            if step != "exec":
                assert process.stdout.readline() == "done\n"
            _asleep(process.pid, "cat" if step == "exec" else "")
            for prog in WALKS:
                texts = []
                for world in (real, sim):
                    world.set(wanted_tgid=process.pid)
                    texts.append(show(world, prog, pid=process.pid))
                assert texts[1] == texts[0], (step, prog)
                if texts[0] != seen[prog][-1]:
                    seen[prog] += [step, texts[0]]
        process.stdin.close()
        sim.obj.close()
    changed = {prog: [s for s in texts if s in STEPS] for prog, texts in seen.items()}
    assert changed["processes"] == ["rename", "threads", "join", "exec"]
    assert set(changed["files"]) >= {"write", "open", "close", "replace", "exec"}
    assert set(changed["maps"]) >= {"map", "unmap", "exec"}
    assert changed["file_sockets"] == ["exec"]
