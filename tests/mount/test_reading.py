"""Reads of views through the mount: what is opened without Python is what would have been opened with it."""

from __future__ import annotations

import ctypes
import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bpfjit import open_object
from bpfjit.loader import LoadedObject
from bpfjit.loader.compile import compile_c
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel
from kernfs_sim.fs.fuse_mount import FuseMount

from .mounts import directory, need_fuse

SOURCE = """
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

int lines = 1;

static int line(u32 i, struct seq_file **seq)
{
	BPF_SEQ_PRINTF(*seq, "line %7u\\n", i);
	return 0;
}

SEC("view/cgroup")
int BPF_PROG(lines_show, struct seq_file *seq, struct cgroup *cgroup)
{
	bpf_loop(lines, line, &seq, 0);
	return 0;
}

SEC("view/cgroup")
int BPF_PROG(other_show, struct seq_file *seq, struct cgroup *cgroup)
{
	BPF_SEQ_PRINTF(seq, "other\\n");
	return 0;
}

SEC("iter/task")
int ids(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;

	if (task)
		BPF_SEQ_PRINTF(ctx->meta->seq, "%d\\n", task->pid);
	return 0;
}

char _license[] SEC("license") = "GPL";
"""
LINE_BYTES = 13


class System:
    """A kernel of one cgroup with the view in it, mounted."""

    def __init__(self, kernel: Kernel, mount: FuseMount, loaded: LoadedObject) -> None:
        self.kernel, self.mount, self.loaded = kernel, mount, loaded
        self.path = f"{mount.directory}/sys/fs/cgroup/web/lines_show"
        self.iter_path = f"{mount.directory}/sys/fs/bpf/ids"

    def set_lines(self, lines: int) -> None:
        data = next(m for name, m in self.loaded.maps.items() if name.endswith(".data"))
        data.update(bytes(4), lines.to_bytes(4, "little"))

    def warm(self) -> None:
        """Opened once, it is opened natively from now on."""
        for _ in range(2):
            assert Path(self.path).read_bytes() == b"line       0\n"

    def update_link(self) -> None:
        link, prog = self.loaded.links["lines_show"].fd, self.loaded.progs["other_show"].fd
        self.kernel.bpf(uapi.BPF_LINK_UPDATE, bytearray(uapi.LinkUpdate(link_fd=link, new_prog_fd=prog).pack()))


@pytest.fixture(scope="module")
def lines_object(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("lines")
    (where / "lines.bpf.c").write_text(SOURCE)
    (where / "lines.bpf.o").write_bytes(compile_c(where / "lines.bpf.c"))
    return where / "lines.bpf.o"


@pytest.fixture
def system(lines_object: Path) -> Iterator[System]:
    need_fuse()
    with directory() as where, Kernel(cpus=2, cache=False) as kernel:
        kernel.cgroups.create("/web")
        for pid in (1, 2):
            kernel.tasks.create(pid)
        with open_object(lines_object).load(kernel.bpf) as loaded, FuseMount(kernel, where) as mount:
            links = loaded.attach()
            links["lines_show"].pin("/sys/fs/bpf/lines_show")
            links["lines_show"].pin("/sys/fs/cgroup/web/lines_show")
            links["ids"].pin("/sys/fs/bpf/ids")
            yield System(kernel, mount, loaded)


def test_a_million_lines(system: System) -> None:
    system.set_lines(1_000_000)
    seen = 0
    with open(system.path, "rb", buffering=0) as f:
        while part := f.read(1 << 20):
            assert part[: (-seen) % LINE_BYTES or LINE_BYTES][-1:] == b"\n"
            seen += len(part)
    assert seen == LINE_BYTES * 1_000_000


def test_tools_on_a_hundred_thousand_lines(system: System) -> None:
    system.set_lines(100_000)
    assert os.popen(f"tail -n 1 {system.path}").read() == "line   99999\n"
    assert os.popen(f"grep -c . {system.path}").read() == "100000\n"


def test_a_long_text_holds_up_nobody(system: System) -> None:
    """But for the first time, when nobody knows yet that it is long."""
    system.set_lines(300_000)
    other = os.path.dirname(system.path) + "/cgroup.stat"

    def took(path: str) -> float:
        begin = time.monotonic()
        with open(path, "rb", buffering=0) as f:
            f.read(1)
        return time.monotonic() - begin

    for _ in range(2):
        took(system.path)
    waits = []
    for _ in range(5):  # on a busy machine everything takes long now and then
        long = threading.Thread(target=took, args=(system.path,))
        begin = time.monotonic()
        long.start()
        time.sleep(0.01)
        quick = took(other)
        long.join()
        waits.append(quick / (time.monotonic() - begin))
    assert min(waits) < 0.3


def test_reads_of_any_size_and_place(system: System) -> None:
    system.set_lines(1000)
    whole = b"".join(b"line %7d\n" % i for i in range(1000))
    for _ in range(2):  # the second open is native
        fd = os.open(system.path, os.O_RDONLY)
        assert b"".join(iter(lambda fd=fd: os.read(fd, 7), b"")) == whole
        assert os.pread(fd, 100, 5000) == whole[5000:5100]
        assert os.pread(fd, 100, len(whole)) == b""
        assert os.read(fd, 0) == b""
        assert os.lseek(fd, 13, os.SEEK_SET) == 13
        assert os.read(fd, 13) == whole[13:26]
        os.close(fd)


def test_a_reader_that_closes_early_leaves_nothing(system: System) -> None:
    system.set_lines(100_000)
    for _ in range(5):
        assert os.popen(f"head -n 1 {system.path}").read() == "line       0\n"
    prog = system.kernel.caller.fds.get(system.loaded.progs["lines_show"].fd).object
    system.kernel.unlink("/sys/fs/bpf/lines_show")
    wait_for(lambda: prog.refs == 2)  # its fd and its link; the closes come when they come


def test_a_program_replaced_under_a_reader(system: System) -> None:
    """Who has the file open goes on with the program it began with; who opens it then gets the new one."""
    system.warm()
    fd = os.open(system.path, os.O_RDONLY)
    assert os.read(fd, 4) == b"line"
    system.update_link()
    assert Path(system.path).read_bytes() == b"other\n"
    assert Path(system.path).read_bytes() == b"other\n"
    assert os.pread(fd, 100, 0) == b"line       0\n"
    os.close(fd)


def test_a_removed_file_is_read_no_more(system: System) -> None:
    system.warm()
    fd = os.open(system.path, os.O_RDONLY)
    assert os.read(fd, 4) == b"line"
    os.rmdir(os.path.dirname(system.path))
    with pytest.raises(OSError, match="No such device"):
        os.read(fd, 4)
    os.close(fd)
    with pytest.raises(FileNotFoundError):
        os.open(system.path, os.O_RDONLY)


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.005)


def test_open_files_hold_the_program_and_nothing_else_does(system: System) -> None:
    system.warm()
    fd = os.open(system.path, os.O_RDONLY)
    prog = system.kernel.caller.fds.get(system.loaded.progs["lines_show"].fd).object
    os.unlink(f"{system.mount.directory}/sys/fs/bpf/lines_show")
    system.loaded.links.pop("lines_show").close()
    wait_for(lambda: prog.refs == 2)  # its fd, and the open file
    os.close(fd)
    wait_for(lambda: prog.refs == 1)


def test_readers_at_once_while_files_come_and_go(system: System) -> None:
    """Nobody sees half of a text, or an error but that of a file which is not there."""
    stop, wrong = threading.Event(), []
    system.set_lines(500)
    whole = {b"".join(b"line %7d\n" % i for i in range(500))}

    def read() -> None:
        while not stop.is_set():
            try:
                got = Path(system.path).read_bytes()
            except FileNotFoundError:
                continue
            except OSError as e:
                # Removed while it was open; or between look-up and open, and so again when the kernel tried once more.
                if e.errno not in (errno.ENODEV, errno.ESTALE):
                    wrong.append(e)
                continue
            if got not in whole:
                wrong.append(got)
            time.sleep(0.001)  # the interpreter is shared with those who change things

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    link = system.loaded.links["lines_show"]
    for _ in range(40):
        system.kernel.write_text("/sys/fs/cgroup/web/lines_show", "rm")
        link.pin("/sys/fs/cgroup/web/lines_show")
        time.sleep(0.002)
    stop.set()
    for reader in readers:
        reader.join(5)
    assert not wrong
    assert Path(system.path).read_bytes() in whole


def test_an_iterator_is_read_to_its_end_and_not_sought_in(system: System) -> None:
    for _ in range(2):
        assert Path(system.iter_path).read_text() == "1\n2\n"
    fd = os.open(system.iter_path, os.O_RDONLY)
    with pytest.raises(OSError, match="Illegal seek"):
        os.lseek(fd, 0, os.SEEK_SET)
    assert b"".join(iter(lambda: os.read(fd, 1), b"")) == b"1\n2\n"
    os.close(fd)


def test_a_bad_buffer_is_efault_and_loses_nothing(system: System) -> None:
    """As of Linux's iterators; here the machine's kernel looks at the buffer before it asks."""
    libc = ctypes.CDLL(None, use_errno=True)
    system.warm()
    for path, whole in ((system.path, b"line       0\n"), (system.iter_path, b"1\n2\n")):
        fd = os.open(path, os.O_RDONLY)
        assert libc.read(fd, ctypes.c_void_p(8), 4096) == -1 and ctypes.get_errno() == errno.EFAULT
        assert os.read(fd, 4096) == whole
        os.close(fd)


def test_everything_goes_with_the_mount(system: System) -> None:
    system.warm()
    fd = os.open(system.path, os.O_RDONLY)
    prog = system.kernel.caller.fds.get(system.loaded.progs["lines_show"].fd).object
    before = prog.refs
    system.mount.close()
    assert prog.refs < before
    with pytest.raises(OSError):
        os.read(fd, 1)
    os.close(fd)
