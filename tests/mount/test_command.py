"""bpfjit mount as a command: it serves, is talked to, and ends cleanly, however it ends."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bpfjit.cli.main import build_parser, main
from bpfjit.loader import mount_bpf
from bpfjit.loader.compile import compile_c
from bpfjit.uapi.mounts import mounted_on, mounts
from kernfs_sim.fs.fuse_mount import check_place

from .mounts import SCENARIO, directory, need_fuse, user_is_killed_and_mounts_again

BPFJIT = str(Path(sys.executable).parent / "bpfjit")


@contextlib.contextmanager
def server(where: str, *words: object, **more: Any) -> Iterator[subprocess.Popen[str]]:
    """A bpfjit mount that serves by now; it is killed if it still runs at the end."""
    ready_r, ready_w = os.pipe()
    command = [BPFJIT, "mount", where, *map(str, words), "--ready-fd", str(ready_w), "--no-cache"]
    with subprocess.Popen(
        command, pass_fds=(ready_w,), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more
    ) as child:
        os.close(ready_w)
        try:
            if os.read(ready_r, 6) != b"ready\n":
                raise AssertionError(child.communicate())
            yield child
        finally:
            os.close(ready_r)
            if child.poll() is None:
                child.kill()


def run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BPFJIT, *map(str, words)], capture_output=True, text=True, timeout=30, check=False)


def compiled(where: Path, text: str) -> Path:
    source = where / "source.bpf.c"
    source.write_text(text)
    (where / "source.bpf.o").write_bytes(compile_c(source))
    return where / "source.bpf.o"


@pytest.fixture
def where() -> Iterator[str]:
    need_fuse()
    with directory() as made:
        yield made


def test_a_session(where: str, wait_object: Path) -> None:
    view = Path(where, "sys/fs/cgroup/web/api/wait_show")
    with server(where, wait_object, "--scenario", SCENARIO, "--cgroup", "/web/*") as child:
        assert view.read_text() == "3 42000\n"
        assert not Path(where, "sys/fs/cgroup/batch/wait_show").exists()
        assert run("event", "sched_stat_wait", "task=11", "delta=50000", "--repeat", 2, "--mount", where).returncode == 0
        assert view.read_text() == "3 50000\n"
        os.mkdir(f"{where}/sys/fs/cgroup/web/new")
        assert Path(where, "sys/fs/cgroup/web/new/wait_show").read_text() == "6 0\n"
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=10)
    assert (child.returncode, err) == (0, "")
    assert out == f"serving {where}; Ctrl-C unmounts\n"
    assert mounted_on(where) is None


ITERATORS = """
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3);
	__type(key, u32);
	__type(value, u64);
} squares SEC(".maps");

SEC("iter/bpf_map_elem")
int elements(struct bpf_iter__bpf_map_elem *ctx)
{
	u32 *key = ctx->key;

	if (key)
		BPF_SEQ_PRINTF(ctx->meta->seq, "%u\\n", *key);
	return 0;
}

SEC("iter/cgroup")
int groups(struct bpf_iter__cgroup *ctx)
{
	struct cgroup *cgroup = ctx->cgroup;

	if (cgroup)
		BPF_SEQ_PRINTF(ctx->meta->seq, "%llu\\n", cgroup->kn->id);
	return 0;
}

char _license[] SEC("license") = "GPL";
"""


def test_iterators_in_a_mount(where: str, tmp_path: Path) -> None:
    """Those of its own objects are pinned, with the usual parameters; others run in it by `bpfjit iter --mount`."""
    source = compiled(tmp_path, ITERATORS)
    with server(where, source, "--scenario", SCENARIO) as child:
        assert Path(where, "sys/fs/bpf/groups").read_text() == "1\n2\n3\n4\n5\n"
        assert Path(where, "sys/fs/bpf/elements").read_text() == "0\n1\n2\n"
        os.mkdir(f"{where}/sys/fs/cgroup/web/new")
        for words, wanted in (
            (("--prog", "groups", "--cgroup", "/web"), "2\n3\n4\n6\n"),
            (("--prog", "groups", "--cgroup", "/web/new", "--order", "ancestors_up"), "6\n2\n1\n"),
            (("--prog", "elements", "--map", "squares"), "0\n1\n2\n"),
        ):
            ran = run("iter", source, "--mount", where, *words)
            assert (ran.stdout, ran.stderr) == (wanted, "")
        for words, file, wanted in (
            (("--prog", "groups", "--order", "self"), "mine", "1\n"),
            (("map", "name", "squares", "--prog", "elements"), "all", "0\n1\n2\n"),
        ):
            path = f"{where}/sys/fs/bpf/{file}"
            assert main(["iter", "pin", str(source), path, *words, "--mount", where]) == 0
            assert Path(path).read_text() == wanted
        refused = run("iter", source, "--mount", where, "--prog", "groups", "--host")
        assert (refused.returncode, refused.stderr) == (
            2, "bpfjit: error: --mount: the mounted kernel has its own system and engine\n",
        )  # fmt: skip
        child.terminate()
        assert child.wait(10) == 0


PIDS = """
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

SEC("iter/task")
int pids(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;

	if (task)
		BPF_SEQ_PRINTF(ctx->meta->seq, "%d\\n", task->pid);
	return 0;
}

char _license[] SEC("license") = "GPL";
"""


DUMPERS = """
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

SEC("dump/task")
int tasks(struct bpfdump__task *ctx)
{
	struct task_struct *task = ctx->task;

	if (task)
		BPF_SEQ_PRINTF(ctx->meta->seq, "%d\\n", task->pid);
	return 0;
}

SEC("dump//sys/kernel/bpfdump/task/file")
int files(struct bpfdump__task_file *ctx)
{
	if (!ctx->task)
		BPF_SEQ_PRINTF(ctx->meta->seq, "no more\\n");
	return 0;
}

char _license[] SEC("license") = "GPL";
"""


def test_dumpers_are_files_of_the_only_mount(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both spellings of a section; --mount is not needed."""
    source = str(compiled(tmp_path, DUMPERS))
    monkeypatch.setattr("bpfjit.loader.mount.mounts", lambda: (e for e in mounts() if e.path == where))
    dumpers = Path(where, "sys/kernel/bpfdump/task")
    with server(where, "--scenario", SCENARIO):
        for prog, name in (("tasks", "all"), ("files", "my1")):
            assert main(["dumper", "pin", source, name, "--prog", prog]) == 0
        assert (dumpers / "all").read_text() == "10\n11\n12\n"
        assert (dumpers / "file" / "my1").read_text() == "no more\n"
        assert main(["dumper", "pin", source, "all", "--prog", "tasks"]) == 1
        assert "exists" in capsys.readouterr().err
        assert main(["dumper", "show", "dumper"]) == 0
        lines = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert [line[0] for line in lines] == ["dumper", "task/all", "task/file/my1"]
        assert lines[1][1].isdigit() and lines[2][1].isdigit()
        (dumpers / "file" / "my1").unlink()
        assert main(["dumper", "show", "dumper"]) == 0
        assert "my1" not in capsys.readouterr().out


def test_this_machine_mounted_and_followed(where: str, tmp_path: Path) -> None:
    """Processes that begin later are seen, and a reader in a pid namespace of its own sees that alone."""
    source = compiled(tmp_path, PIDS)
    with server(where, source, "--host", "--follow") as child:
        pids = f"{where}/sys/fs/bpf/pids"
        assert {str(os.getpid()), str(child.pid)} <= set(Path(pids).read_text().split())
        with subprocess.Popen(["sleep", "60"]) as late:
            assert Path(where, f"proc/{late.pid}/comm").read_text() == "sleep\n"
            assert str(late.pid) in Path(pids).read_text().split()
            late.kill()
        assert subprocess.check_output(["cat", f"{where}/proc/self/comm"], text=True) == "cat\n"
        apart = subprocess.run(
            ["unshare", "--fork", "--pid", "cat", pids], capture_output=True, text=True, check=True, timeout=30
        )
        assert len(apart.stdout.split()) == 1
        child.terminate()
        assert child.wait(10) == 0


def test_sigterm_unmounts_though_the_mount_is_in_use(where: str) -> None:
    with server(where) as child:
        fd = os.open(f"{where}/sys/fs/cgroup/cgroup.procs", os.O_RDONLY)
        child.terminate()
        assert child.wait(10) == 0
        assert mounted_on(where) is None
        with pytest.raises(OSError) as gone:
            os.read(fd, 10)
        assert gone.value.errno in (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO)
        os.close(fd)


def test_an_unmount_from_outside_ends_the_server(where: str) -> None:
    with server(where) as child:
        subprocess.run(["umount", where], check=True)
        assert child.wait(10) == 0


def test_two_mounts_on_one_directory(where: str) -> None:
    with server(where) as first:
        second = run("mount", where)
        assert second.returncode == 1
        assert second.stderr == f"bpfjit: error: {where}: another bpfjit serves this directory (EBUSY)\n"
        assert os.listdir(f"{where}/sys/fs/cgroup")
        first.terminate()
        assert first.wait(10) == 0


@pytest.mark.parametrize("place", ["/", "/proc", "/proc/1", f"/proc/{os.getpid()}/task", "/dev", sys.prefix, os.getcwd()])
def test_a_mount_does_not_hide_what_its_server_reads(place: str) -> None:
    """Asked of the check alone: if it failed, the machine would hang."""
    with pytest.raises(OSError, match="the server itself needs") as e:
        check_place(os.path.realpath(place))
    assert e.value.errno == errno.EINVAL


def test_a_mount_may_be_anywhere_else(tmp_path: Path) -> None:
    for place in (tmp_path, "/tmp", "/mnt", "/processes", "/sys/fs"):
        check_place(os.path.realpath(place))


def test_kill_9_in_the_middle_of_reads(where: str, wait_object: Path) -> None:
    """Readers get an error at once, nobody hangs, and the next run cleans up."""
    path = f"{where}/sys/fs/cgroup/web/wait_show"
    seen: list[int] = []

    def read() -> None:
        while not seen or len(seen) < 4:
            try:
                Path(path).read_bytes()
            except OSError as e:
                seen.append(e.errno or 0)
                return

    with server(where, wait_object, "--scenario", SCENARIO) as child:
        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        time.sleep(0.2)
        child.kill()
        child.wait(10)
        for reader in readers:
            reader.join(5)
            assert not reader.is_alive()
    assert set(seen) <= {errno.ENOTCONN, errno.ECONNABORTED}
    with pytest.raises(OSError, match="not connected"):
        os.listdir(where)
    with pytest.raises(OSError, match="nobody serves this mount"):
        mount_bpf(where)
    with server(where) as child:
        assert "cgroup" in os.listdir(f"{where}/sys/fs")
        child.terminate()
        _, err = child.communicate(timeout=10)
    assert err == f"bpfjit: {where}: the mount of a killed run was cleaned away\n"
    assert mounted_on(where) is None


def test_an_ordinary_users_killed_server(wait_object: Path) -> None:
    need_fuse()
    assert user_is_killed_and_mounts_again(wait_object)


WORDS = (["DIR"], ["--scenario", "F"], ["a.o", "b.o"], ["--cgroup", "/*"])


@pytest.mark.parametrize("order", [*itertools.permutations(range(len(WORDS)))])
def test_options_stand_anywhere(order: tuple[int, ...]) -> None:
    words = [word for i in order for word in WORDS[i]]
    args = build_parser(["mount"]).parse_args(["mount", *words])
    places = [word for word in words if word in ("DIR", "a.o", "b.o")]
    assert (args.directory, args.source) == (places[0], places[1:])
    assert (args.scenario, args.cgroup) == ("F", ["/*"])


# name: (words, exit code, complaint)
MISTAKES: dict[str, tuple[tuple[str, ...], int, str]] = {
    "no such directory": (("mount", "/nonexistent"), 1, "/nonexistent: no such file or directory (ENOENT)"),
    "no directory": (("mount", "/dev/null"), 1, "/dev/null: not a directory (ENOTDIR)"),
    "no mount": (("event", "sched_wakeup", "task=1", "--mount", "/"), 2, "/: no bpfjit mount (bpfjit mount DIR makes one)"),
    "no value": (("event", "sched_wakeup", "task"), 2, "task: wanted NAME=VALUE, each name once"),
    "nothing": (("mount",), 2, "the following arguments are required: DIR"),
    "no file to pin": (("iter", "pin", "x.o"), 2, "wanted iter pin SOURCE FILE [map MAP]"),
    "a word too much": (("iter", "x.o", "y"), 2, "what is 'y'?"),
    "no fd": (("mount", "/nonexistent", "--ready-fd", "1000000000"), 2, "--ready-fd 1000000000: not open"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    words, code, complaint = MISTAKES[name]
    assert main(words) == code
    assert capsys.readouterr().err == f"bpfjit: error: {complaint}\n"
