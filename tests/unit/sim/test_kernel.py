"""A kernel's life, open files, and many views at once."""

from __future__ import annotations

import errno
import gc
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from kernfs_sim import Cred, InProcess, Kernel

BPFFS, TOP = "/sys/fs/bpf", "/sys/fs/cgroup"


def refused(number: int, call: Callable[[], object]) -> None:
    with pytest.raises(OSError) as e:
        call()
    assert errno.errorcode[e.value.errno or 0] == errno.errorcode[number]


@pytest.fixture
def link(kernel: Kernel, wait: Any) -> Any:
    """A view's link, pinned."""
    made = wait.load(kernel.bpf).attach()["wait_show"]
    made.pin(f"{BPFFS}/w")
    return made


LONG = """
u64 lines = 3;
SEC("view/cgroup") int BPF_PROG(show, struct seq_file *seq, struct cgroup *cgroup)
{
    u64 id = cgroup->kn->id;
    int i;
    for (i = 0; i < 64; i++) {
        if (i >= lines) break;
        BPF_SEQ_PRINTF(seq, "%llu of %100d\\n", id, i);
    }
    return 0;
}
"""
RETURNS = """
int result = 0;
SEC("view/cgroup") int BPF_PROG(show, struct seq_file *seq, struct cgroup *cgroup)
{ BPF_SEQ_PRINTF(seq, "text\\n"); return result; }
"""


def shown(kernel: Kernel, build: Any, source: str, **variables: int) -> tuple[str, Any]:
    obj = build(source).load(kernel.bpf)
    for m in obj.maps.values():
        if m.spec.name.endswith((".data", ".bss")):
            (value,) = variables.values()
            m.update(bytes(4), (value & (1 << 8 * m.spec.value_size) - 1).to_bytes(m.spec.value_size, "little"))
    made = obj.attach()["show"]
    made.pin(f"{BPFFS}/show")
    made.pin(f"{TOP}/show")
    return f"{TOP}/show", made


# -- reading -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lines", [0, 3, 64])
def test_every_way_of_reading_gives_the_same_text(kernel: Kernel, build: Any, lines: int) -> None:
    path, made = shown(kernel, build, LONG, lines=lines)
    wanted = "".join(f"1 of {i:100}\n" for i in range(lines)).encode()
    assert kernel.read_bytes(path) == wanted
    file = kernel.open(path)
    assert file.read_all(kernel.caller) == wanted
    assert file.read(kernel.caller, 100) == b"", "the end was reached"
    file.lseek(2)
    assert file.read_all(kernel.caller) == wanted[2:]
    assert file.pread(kernel.caller, 5, 3) == wanted[3:8]
    file.put()
    file = kernel.open(path)
    pieces = []
    while piece := file.read(kernel.caller, 1000):
        pieces.append(piece)
    file.put()
    assert b"".join(pieces) == wanted
    assert kernel.read_views(made.fd, [kernel.cgroups.root]) == [wanted]


@pytest.mark.parametrize("result, outcome", [(0, b"text\n"), (1, b""), (2, b""), (-errno.EPERM, None), (-5, None)])
def test_a_views_return_value(kernel: Kernel, build: Any, result: int, outcome: bytes | None) -> None:
    path, made = shown(kernel, build, RETURNS, result=result)
    file = kernel.open(path)
    if outcome is None:
        refused(-result, lambda: kernel.read_bytes(path))
        refused(-result, lambda: file.read(kernel.caller, 10))
        refused(-result, lambda: kernel.read_views(made.fd))
    else:
        assert kernel.read_bytes(path) == outcome
        assert file.read(kernel.caller, 10) == outcome
        assert kernel.read_views(made.fd) == [outcome]
    file.put()


def test_a_batch_reads_many_cgroups_in_order_and_leaves_out_the_removed(kernel: Kernel, link: Any) -> None:
    groups = [kernel.cgroups.create(f"/g{i}") for i in range(500)]
    with kernel.batch(f"{BPFFS}/w", groups) as batch:
        assert batch.texts() == [f"{c.id} 0\n".encode() for c in groups]
        data, ends = batch.read()
        assert bytes(data[: ends[0]]) == f"{groups[0].id} 0\n".encode() and ends[-1] == len(data)
        for gone in groups[::2]:
            kernel.cgroups.remove(gone)
        assert batch.texts() == [f"{c.id} 0\n".encode() for c in groups[1::2]]
        assert batch.cgroups == groups[1::2]
        kernel.unlink(f"{BPFFS}/w")
        link.close()
        assert len(batch.texts()) == 250, "a batch holds its link"
    assert len(kernel.links) == 1  # the recording one
    refused(errno.ENODEV, batch.read)
    assert all(c.refs == 0 for c in groups[::2])
    refused(errno.ENOENT, lambda: kernel.batch(f"{BPFFS}/none"))


def test_a_batch_whose_texts_outgrow_its_buffer_is_whole(kernel: Kernel, build: Any) -> None:
    groups = [kernel.cgroups.create(f"/g{i}") for i in range(40)]
    _, made = shown(kernel, build, LONG, lines=60)
    wanted = ["".join(f"{c.id} of {i:100}\n" for i in range(60)).encode() for c in groups]
    with kernel.batch(made.fd, groups) as batch:
        assert batch.texts() == wanted
        assert batch.texts() == wanted
    assert kernel.read_views(made.fd, []) == []


def test_a_batch_of_no_view_is_eacces(kernel: Kernel, wait: Any) -> None:
    obj = wait.load(kernel.bpf)
    record = obj.attach()["wait_record"]
    refused(errno.EACCES, lambda: kernel.batch(record.fd))
    refused(errno.EACCES, lambda: kernel.batch(obj.maps["longest_wait"].fd))
    refused(errno.ENXIO, lambda: kernel.batch(BPFFS))


def test_a_path_that_was_walked_is_walked_again_once_a_name_goes(kernel: Kernel, link: Any) -> None:
    kernel.cgroups.create("/a")
    for _ in range(3):
        link.pin(f"{TOP}/a/w")
        assert kernel.read_text(f"{TOP}/a/w")
        kernel.write_text(f"{TOP}/a/w", "rm")
        refused(errno.ENOENT, lambda: kernel.read_text(f"{TOP}/a/w"))
    user = InProcess(Cred(uid=1000, gid=1000, capabilities=frozenset()))
    link.pin(f"{TOP}/a/w")
    kernel.vfs.chmod(kernel.caller, f"{TOP}/a/w", 0o644)
    kernel.read_text(f"{TOP}/a/w")
    kernel.vfs.chmod(kernel.caller, f"{TOP}/a", 0o700)
    refused(errno.EACCES, lambda: kernel.read_text(f"{TOP}/a/w", caller=user))


# -- the end -------------------------------------------------------------------------------------------


def test_close_gives_back_fds_and_memory_and_may_be_called_again(wait: Any) -> None:
    def resident() -> int:
        with open("/proc/self/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    fds = len(os.listdir("/proc/self/fd"))
    before = 0
    for i in range(40):
        kernel = Kernel(engine="interp")  # what LLVM keeps of each of its engines is not the kernel's
        for j in range(300):
            kernel.cgroups.create(f"/g{j}")
        obj = wait.load(kernel.bpf)
        made = obj.attach()["wait_show"]
        made.pin(f"{BPFFS}/w")
        made.pin(f"{TOP}/g7/w")
        kernel.read_text(f"{TOP}/g7/w")
        kernel.close()
        kernel.close()
        assert (len(kernel.progs), len(kernel.maps), len(kernel.links), len(kernel.caller.fds)) == (0, 0, 0, 0)
        del kernel, obj, made
        gc.collect()
        if i == 9:
            before = resident()
    assert resident() - before < 8 << 20
    assert len(os.listdir("/proc/self/fd")) == fds


def test_whatever_is_still_held_after_close_does_no_harm(wait: Any) -> None:
    hold_on_after_close(wait)
    gc.collect()


def hold_on_after_close(wait: Any) -> None:
    kernel = Kernel()
    cgroup = kernel.cgroups.create("/a")
    obj = wait.load(kernel.bpf)
    made = obj.attach()["wait_show"]
    made.pin(f"{BPFFS}/w")
    made.pin(f"{TOP}/a/w")
    unread, read, stat = (kernel.open(f"{TOP}/a/{n}") for n in ("w", "w", "cgroup.stat"))
    assert read.read(kernel.caller, 100) == b"2 0\n"
    batch = kernel.batch(made.fd)
    held = kernel.caller.fds.get(made.fd).object.get()
    kernel.close()
    for file in (unread, read, stat):
        refused(errno.ENODEV, lambda file=file: file.pread(kernel.caller, 10, 0))  # type: ignore[misc]
    refused(errno.ENODEV, lambda: unread.read_all(kernel.caller))
    refused(errno.ENODEV, lambda: kernel.bpf(0, bytearray(128)))
    refused(errno.ENODEV, lambda: kernel.fire("sched_wakeup", [0]))
    refused(errno.ENODEV, lambda: kernel.cgroups.create("/b"))
    refused(errno.ENODEV, lambda: kernel.tasks.create(5))
    refused(errno.ENOENT, lambda: kernel.read_text(f"{TOP}/a/w"))
    refused(errno.ENOENT, lambda: kernel.open(BPFFS))
    assert cgroup.path == "/a"
    held.put()
    for file in (read, unread, stat):
        file.put()
    batch.close()
    batch.close()
    assert len(kernel.links) == 0


def test_a_kernel_may_be_dropped_without_close_in_any_order(wait: Any) -> None:
    for order in range(4):
        kernel: Any = Kernel()
        obj: Any = wait.load(kernel.bpf)
        made: Any = obj.attach()["wait_show"]
        made.pin(f"{BPFFS}/w")
        made.pin(f"{TOP}/w")
        file: Any = kernel.open(f"{TOP}/w")
        file.read(kernel.caller, 10)
        if order == 0:
            del kernel
        elif order == 1:
            del file
        elif order == 2:
            del obj, made
        gc.collect()
    kernel = obj = made = file = None
    gc.collect()


def test_close_waits_for_no_one_and_harms_no_thread(wait: Any) -> None:
    """Threads read, fire and load while the kernel is closed under them."""
    for _ in range(10):
        kernel = Kernel(cpus=2)
        kernel.cgroups.create("/a")
        made = wait.load(kernel.bpf).attach()["wait_show"]
        made.pin(f"{BPFFS}/w")
        made.pin(f"{TOP}/a/w")
        started, wrong = threading.Barrier(4), []

        def until_refused(call: Callable[[], object], started: Any = started, wrong: list[object] = wrong) -> None:
            started.wait()
            try:
                while True:
                    call()
            except OSError as e:
                if e.errno not in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
                    wrong.append(e)
            except BaseException as e:
                wrong.append(e)

        calls: list[Callable[[], object]] = [
            lambda k=kernel: k.read_text(f"{TOP}/a/w"),  # type: ignore[misc]
            lambda k=kernel: k.fire("sched_switch", [0, 0, 0, 0], None, 1000),  # type: ignore[misc]
            lambda k=kernel: k.bpf(12, bytearray(16)),  # type: ignore[misc]
        ]
        threads = [threading.Thread(target=until_refused, args=(call,)) for call in calls]
        for t in threads:
            t.start()
        started.wait()
        kernel.close()
        for t in threads:
            t.join(20)
        assert not wrong and not any(t.is_alive() for t in threads)


def test_a_kernel_of_no_or_too_many_cpus_is_refused() -> None:
    for cpus in (0, -1, 65):
        with pytest.raises(ValueError, match="cpus"):
            Kernel(cpus)
    with pytest.raises(ValueError, match="engine"):
        Kernel(engine="fast")
