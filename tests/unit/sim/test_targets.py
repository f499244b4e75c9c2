"""Views and dumpers of every kind of target, and targets that are added at run time."""

from __future__ import annotations

import ctypes
import errno
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel
from kernfs_sim.caller import Cred, InProcess
from kernfs_sim.fs.inode import OpenFile
from kernfs_sim.namespaces import Namespaces

Build = Callable[[str], Any]
DOCS = Path(__file__).resolve().parents[3] / "docs"

VIEWS = """
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 7); __type(key, u32); __type(value, u64); } table SEC(".maps");

SEC("view/task")
int BPF_PROG(show_task, struct seq_file *seq, struct task_struct *task)
{
	BPF_SEQ_PRINTF(seq, "%d %s\\n", task->pid, task->comm);
	return 0;
}

SEC("view/bpf_map")
int BPF_PROG(show_map, struct seq_file *seq, struct bpf_map *map)
{
	BPF_SEQ_PRINTF(seq, "%u %s %u\\n", map->id, map->name, map->max_entries);
	return 0;
}
"""


@pytest.fixture
def viewed(kernel: Kernel, build: Build) -> Any:
    kernel.tasks.create(10, "nginx")
    loaded = build(VIEWS).load(kernel.bpf)
    for name, link in loaded.attach().items():
        link.pin(f"/sys/fs/bpf/{name}")
    return loaded


def test_a_view_of_a_task_is_a_file_in_its_directory(kernel: Kernel, viewed: Any) -> None:
    viewed.links["show_task"].pin("/proc/10/who")
    assert kernel.read_text("/proc/10/who") == "10 nginx\n"
    assert kernel.listdir("/proc/10") == ["comm", "status", "stat", "cgroup", "maps", "who"]
    assert kernel.read_text("/proc/10/comm") == "nginx\n"
    assert kernel.read_text("/proc/10/cgroup") == "0::/\n"
    assert "Threads:\t1\n" in kernel.read_text("/proc/10/status")
    kernel.write_text("/proc/10/who", "rm")
    assert not kernel.exists("/proc/10/who")


def test_a_task_that_exits_takes_its_directory_along(kernel: Kernel, viewed: Any) -> None:
    viewed.links["show_task"].pin("/proc/10/who")
    file = kernel.open("/proc/10/who")
    task = kernel.tasks.find(10)
    assert task is not None
    kernel.tasks.remove(task)
    assert not kernel.exists("/proc/10")
    with pytest.raises(OSError) as e:
        file.read(kernel.caller, 100)
    assert e.value.errno == errno.ENODEV
    file.put()


def test_a_view_of_a_map_is_a_file_in_its_directory(kernel: Kernel, viewed: Any) -> None:
    m = kernel.caller.fds.get(viewed.maps["table"].fd).object
    viewed.links["show_map"].pin(f"/sys/kernel/bpf_map/{m.id}/shape")
    assert kernel.read_text(f"/sys/kernel/bpf_map/{m.id}/shape") == f"{m.id} table 7\n"
    assert str(m.id) in kernel.listdir("/sys/kernel/bpf_map")


def test_a_map_that_goes_takes_its_directory_along(kernel: Kernel, viewed: Any) -> None:
    made = kernel.bpf(
        uapi.BPF_MAP_CREATE, bytearray(uapi.MapCreate(map_type=2, key_size=4, value_size=8, max_entries=1).pack())
    )
    kn = kernel.caller.fds.get(made).object.id
    viewed.links["show_map"].pin(f"/sys/kernel/bpf_map/{kn}/shape")
    file = kernel.open(f"/sys/kernel/bpf_map/{kn}/shape")
    kernel.bpf.close(made)
    assert not kernel.exists(f"/sys/kernel/bpf_map/{kn}")
    with pytest.raises(OSError) as e:
        file.read(kernel.caller, 100)
    assert e.value.errno == errno.ENODEV
    file.put()


@pytest.mark.parametrize("path", ["/proc/10/wrong", "/sys/fs/cgroup/wrong"])
def test_a_view_of_another_target_shows_nothing(kernel: Kernel, viewed: Any, path: str) -> None:
    viewed.links["show_map"].pin(path)
    with pytest.raises(OSError) as e:
        kernel.read_text(path)
    assert e.value.errno == errno.EACCES


@pytest.mark.parametrize("path", ["/proc/011/x", "/proc/999/x", "/sys/kernel/bpf_map/0/x", "/sys/kernel/bpf_map/x/x"])
def test_what_is_not_there_has_no_directory(kernel: Kernel, viewed: Any, path: str) -> None:
    with pytest.raises(OSError) as e:
        viewed.links["show_task"].pin(path)
    assert e.value.errno == errno.ENOENT


# -- bpfdump ---------------------------------------------------------------------------------------------

DUMPERS = """
SEC("dump/task")
int tasks(struct bpfdump__task *ctx)
{
	struct task_struct *task = ctx->task;

	if (task)
		BPF_SEQ_PRINTF(ctx->meta->seq, "%d %s %llu\\n", task->pid, task->comm, ctx->meta->seq_num);
	return 0;
}

SEC("dump//sys/kernel/bpfdump/task/file")
int files(struct bpfdump__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;

	if (task && file)
		BPF_SEQ_PRINTF(ctx->meta->seq, "%d %u %lu\\n", task->tgid, ctx->fd, file->f_inode->i_ino);
	return 0;
}

SEC("dump/cgroup")
int groups(struct bpfdump__cgroup *ctx)
{
	struct cgroup *cgroup = ctx->cgroup;

	if (cgroup)
		BPF_SEQ_PRINTF(ctx->meta->seq, "%llu\\n", cgroup->kn->id);
	return 0;
}

SEC("dump/tcp")
int sockets(struct bpfdump__tcp *ctx)
{
	struct sock_common *sk = ctx->sk_common;

	if (sk)
		BPF_SEQ_PRINTF(ctx->meta->seq, "%d %u %d%d%d\\n", sk->skc_num, ctx->uid, bpf_skc_to_tcp6_sock(sk) != 0,
				bpf_skc_to_tcp_timewait_sock(sk) != 0, bpf_skc_to_tcp_request_sock(sk) != 0);
	return 0;
}
"""


@pytest.fixture
def dumpers(kernel: Kernel, build: Build) -> Any:
    from kernfs_sim.task_files import FileRow

    inner = kernel.namespaces.add_pid("inner")
    kernel.tasks.create(10, "nginx").files.open(FileRow("/etc/passwd", ino=77))
    kernel.tasks.create(20, "sh", pid_ns=inner, ns_pid=1)
    return build(DUMPERS).load(kernel.bpf)


def pin(kernel: Kernel, loaded: Any, prog: str, path: str) -> None:
    from bpfjit.loader.map import pin as pin_fd

    pin_fd(kernel.bpf, loaded.progs[prog].fd, path)


def test_targets_are_directories_and_dumpers_files(kernel: Kernel, dumpers: Any) -> None:
    assert kernel.dumpers.targets()[0] == ("bpf_link", "bpfdump__bpf_link")
    assert ("task/file", "bpfdump__task_file") in kernel.dumpers.targets()
    assert "bpf_map/elem" not in dict(kernel.dumpers.targets())
    pin(kernel, dumpers, "tasks", "/sys/kernel/bpfdump/task/mine")
    pin(kernel, dumpers, "files", "/sys/kernel/bpfdump/task/file/f1")
    assert kernel.read_text("/sys/kernel/bpfdump/task/mine") == "10 nginx 0\n20 sh 1\n"
    assert kernel.read_text("/sys/kernel/bpfdump/task/file/f1") == "10 0 77\n"
    assert kernel.listdir("/sys/kernel/bpfdump/task") == ["file", "vma", "mine"]
    assert [path for path, _ in kernel.dumpers.dumpers()] == ["task/mine", "task/file/f1"]
    kernel.unlink("/sys/kernel/bpfdump/task/mine")
    assert [path for path, _ in kernel.dumpers.dumpers()] == ["task/file/f1"]


def test_a_dumper_walks_what_its_reader_may_see(kernel: Kernel, dumpers: Any) -> None:
    from kernfs_sim.sockets import TCP_LISTEN, TCP_NEW_SYN_RECV, TCP_TIME_WAIT, Endpoint, InetRow

    pin(kernel, dumpers, "tasks", "/sys/kernel/bpfdump/task/mine")
    pin(kernel, dumpers, "sockets", "/sys/kernel/bpfdump/tcp/all")
    other = kernel.namespaces.add_net("other")
    here, there = kernel.namespaces.net[""], Endpoint.parse("[::1]:9")
    kernel.sockets.add(here, InetRow(6, Endpoint.parse("[::1]:80"), there, TCP_LISTEN, uid=33))
    kernel.sockets.add(other, InetRow(6, Endpoint.parse("[::1]:81"), there, TCP_TIME_WAIT))
    kernel.sockets.add(other, InetRow(6, Endpoint.parse("[::1]:82"), there, TCP_NEW_SYN_RECV))
    inside = InProcess(namespaces=Namespaces(kernel.namespaces.pid["inner"], other))
    assert kernel.read_text("/sys/kernel/bpfdump/task/mine", caller=inside) == "20 sh 0\n"
    assert kernel.read_text("/sys/kernel/bpfdump/tcp/all") == "80 33 100\n"
    assert kernel.read_text("/sys/kernel/bpfdump/tcp/all", caller=inside) == "81 0 010\n82 0 001\n"


def test_the_mode_says_who_reads(kernel: Kernel, dumpers: Any) -> None:
    pin(kernel, dumpers, "tasks", "/sys/kernel/bpfdump/task/mine")
    nobody = InProcess(cred=Cred(65534, 65534, frozenset()))
    with pytest.raises(OSError) as e:
        kernel.read_text("/sys/kernel/bpfdump/task/mine", caller=nobody)
    assert e.value.errno == errno.EACCES
    kernel.vfs.chmod(kernel.caller, "/sys/kernel/bpfdump/task/mine", 0o644)
    assert kernel.read_text("/sys/kernel/bpfdump/task/mine", caller=nobody).startswith("10 nginx")


def test_fdinfo_tells_target_and_program_also_without_a_name(kernel: Kernel, dumpers: Any) -> None:
    pin(kernel, dumpers, "files", "/sys/kernel/bpfdump/task/file/f1")
    prog_id = kernel.caller.fds.get(dumpers.progs["files"].fd).object.id
    named = kernel.open("/sys/kernel/bpfdump/task/file/f1")
    attr = uapi.ProgAttach(attach_bpf_fd=dumpers.progs["files"].fd, attach_type=uapi.BPF_TRACE_ITER)
    fd = kernel.bpf(uapi.BPF_PROG_ATTACH, bytearray(attr.pack()))
    unnamed: OpenFile = kernel.caller.fds.get(fd)
    for file in (named, unnamed):
        assert file.fdinfo().endswith(f"target:\ttask/file\nprog_id:\t{prog_id}\n")
        assert file.read(kernel.caller, 100) == b"10 0 77\n"
    kernel.unlink("/sys/kernel/bpfdump/task/file/f1")
    assert named.read(kernel.caller, 100) == b""
    named.put()


@pytest.mark.parametrize(
    ("prog", "path", "expected"),
    [
        ("tasks", "/sys/kernel/bpfdump/task/file/wrong", errno.EINVAL),
        ("tasks", "/sys/kernel/bpfdump/wrong", errno.EPERM),
        ("tasks", "/sys/kernel/bpfdump/nothing/wrong", errno.ENOENT),
        ("tasks", "/sys/kernel/bpfdump/task/file", errno.EEXIST),
    ],
)
def test_a_dumper_belongs_to_its_target(kernel: Kernel, dumpers: Any, prog: str, path: str, expected: int) -> None:
    with pytest.raises(OSError) as e:
        pin(kernel, dumpers, prog, path)
    assert e.value.errno == expected


def test_a_cgroup_dumper_walks_the_whole_hierarchy(kernel: Kernel, dumpers: Any) -> None:
    kernel.cgroups.create("/a/b")
    pin(kernel, dumpers, "groups", "/sys/kernel/bpfdump/cgroup/ids")
    assert kernel.read_text("/sys/kernel/bpfdump/cgroup/ids") == "1\n2\n3\n"


# -- targets of one's own ----------------------------------------------------------------------------------


class softirq(ctypes.Structure):
    _fields_ = (("nr", ctypes.c_uint32), ("count", ctypes.c_uint64), ("name", ctypes.c_char * 16))


SOFTIRQ_C = "struct softirq { u32 nr; u64 count; char name[16]; };"
SOFTIRQ = """
struct softirq { u32 nr; u64 count; char name[16]; } __attribute__((preserve_access_index));
struct bpf_iter__softirq { struct bpf_iter_meta *meta; struct softirq *softirq; } __attribute__((preserve_access_index));

SEC("iter/softirq")
int all(struct bpf_iter__softirq *ctx)
{
	struct softirq *s = ctx->softirq;

	if (s)
		BPF_SEQ_PRINTF(ctx->meta->seq, "%s %llu\\n", s->name, s->count);
	return 0;
}

SEC("view/softirq")
int BPF_PROG(one, struct seq_file *seq, struct softirq *s)
{
	BPF_SEQ_PRINTF(seq, "%u %s\\n", s->nr, s->name);
	return 0;
}
"""


@pytest.mark.parametrize("declared", [SOFTIRQ_C, softirq], ids=["c", "ctypes"])
def test_an_added_target_has_iterators_views_and_dumpers(kernel: Kernel, build: Build, declared: Any) -> None:
    target = kernel.add_target("softirq", declared)
    target.add(3, nr=3, count=1 << 40, name="NET_RX")
    target.add(1, nr=1, count=7, name="TIMER")
    loaded = build(SOFTIRQ).load(kernel.bpf)
    links = loaded.attach()
    links["all"].pin("/sys/fs/bpf/all")
    links["one"].pin("/sys/fs/bpf/one")
    links["one"].pin("/sys/kernel/softirq/3/about")
    assert kernel.read_text("/sys/fs/bpf/all") == f"TIMER 7\nNET_RX {1 << 40}\n"
    assert kernel.read_text("/sys/kernel/softirq/3/about") == "3 NET_RX\n"
    next(iter(target)).set(count=8)
    pin(kernel, loaded, "all", "/sys/kernel/bpfdump/softirq/all")
    assert kernel.read_text("/sys/kernel/bpfdump/softirq/all").startswith("TIMER 8\n")
    target.remove(3)
    assert not kernel.exists("/sys/kernel/softirq/3/about")
    assert kernel.read_text("/sys/fs/bpf/all") == "TIMER 8\n"


@pytest.mark.parametrize(("name", "expected"), [("task", errno.EEXIST), ("no name", errno.EINVAL)])
def test_a_target_needs_a_name_of_its_own(kernel: Kernel, name: str, expected: int) -> None:
    with pytest.raises(OSError) as e:
        kernel.add_target(name, "struct x { int a; };", "x")
    assert e.value.errno == expected


def test_a_member_that_is_not_there_is_a_key_error(kernel: Kernel) -> None:
    with pytest.raises(KeyError):
        kernel.add_target("softirq", SOFTIRQ_C).add(1, wrong=1)


DISK_C = "struct io { u64 reads; u64 writes; }; struct disk { char name[8]; struct io io; s16 temps[3]; void *p; };"


def test_members_within_members_and_arrays_are_set(kernel: Kernel) -> None:
    made = kernel.add_target("disk", DISK_C).add(1, name="sda", io={"reads": 5, "writes": 1 << 40}, temps=[-1, 2], p=77)
    assert made.get("name") == b"sda" + bytes(5)
    assert struct.unpack("<QQ", made.get("io.reads") + made.get("io.writes")) == (5, 1 << 40)
    assert struct.unpack("<3h", made.get("temps")) == (-1, 2, 0) and made.get("p")[0] == 77
    made.set(io={"writes": 3}, **{"io.reads": 4})
    assert struct.unpack("<QQ", made.get("io.reads") + made.get("io.writes")) == (4, 3)


@pytest.mark.parametrize(
    ("members", "error", "message"),
    [
        ({"io": 5}, KeyError, "disk has no member 'io'; it has name, io.reads, io.writes, temps, p"),
        ({"io": {"size": 5}}, KeyError, "no member 'io.size'"),
        ({"name": "a longer name"}, ValueError, "name: 13 bytes, there is room for 8"),
        ({"io": {"reads": 1 << 64}}, ValueError, "io.reads: 18446744073709551616 does not fit 64 bits"),
        ({"temps": [1, 2, 3, 4]}, ValueError, "temps: 8 bytes, there is room for 6"),
        ({"temps": [1 << 16]}, ValueError, "temps: 65536 does not fit 16 bits"),
    ],
)
def test_what_does_not_fit_a_member_is_said_and_sets_nothing(
    kernel: Kernel, members: dict[str, Any], error: type[Exception], message: str
) -> None:
    made = kernel.add_target("disk", DISK_C).add(1, name="sda")
    with pytest.raises(error, match=re.escape(message)):
        made.set(p=1, **members)
    assert made.get("p") == bytes(8) and made.get("name").startswith(b"sda\0")


def test_the_example_of_the_documentation_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (DOCS / "targets.md").read_text()
    blocks = re.findall(r"```(python|c)\n(.*?)```", text, re.S)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "softirq.bpf.c").write_text(next(body for kind, body in blocks if kind == "c"))
    python = next(body for kind, body in blocks if kind == "python")
    assert len(python.strip().splitlines()) < 30
    scope: dict[str, Any] = {}
    exec(compile(python, "targets.md", "exec"), scope)
    assert scope["text"] == re.search(r"```text\n(.*?)```", text, re.S)[1]  # type: ignore[index]
    scope["kernel"].close()


# -- statistics up the hierarchy ---------------------------------------------------------------------------

STATISTICS = """
extern void css_rstat_updated(struct cgroup_subsys_state *css, int cpu) __ksym;
extern void css_rstat_flush(struct cgroup_subsys_state *css) __ksym;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH); __uint(max_entries, 64); __type(key, u64); __type(value, u64);
} fresh SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 64); __type(key, u64); __type(value, u64); } sums SEC(".maps");
u64 flushed;

SEC("fentry/cgroup_attach_task")
int BPF_PROG(count, struct cgroup *dst, struct task_struct *leader, bool threadgroup)
{
	u64 id = dst->kn->id, one = 1, *n = bpf_map_lookup_elem(&fresh, &id);
	struct cgroup *held;

	if (n)
		*n += 1;
	else
		bpf_map_update_elem(&fresh, &id, &one, 0);
	held = bpf_cgroup_from_id(id); /* what a function is called with is not trusted by the kernel's */
	if (!held)
		return 0;
	css_rstat_updated(&held->self, bpf_get_smp_processor_id());
	bpf_cgroup_release(held);
	return 0;
}

static void add(u64 id, u64 more)
{
	u64 *sum = bpf_map_lookup_elem(&sums, &id);

	if (sum)
		*sum += more;
	else
		bpf_map_update_elem(&sums, &id, &more, 0);
}

SEC("fentry/bpf_rstat_flush")
int BPF_PROG(flush, struct cgroup *cgrp, struct cgroup *parent, int cpu)
{
	u64 id = cgrp->kn->id, *n = bpf_map_lookup_percpu_elem(&fresh, &id, cpu), more;

	flushed++;
	if (!n || !*n)
		return 0;
	more = *n;
	*n = 0;
	add(id, more);
	if (parent) {
		u64 up = parent->kn->id, zero = 0, *m = bpf_map_lookup_percpu_elem(&fresh, &up, cpu);

		if (m)
			*m += more;
		else {
			bpf_map_update_elem(&fresh, &up, &zero, 0);
			m = bpf_map_lookup_percpu_elem(&fresh, &up, cpu);
			if (m)
				*m += more;
		}
	}
	return 0;
}

SEC("iter.s/cgroup")
int show(struct bpf_iter__cgroup *ctx)
{
	struct cgroup *cgroup = ctx->cgroup;
	u64 id, *sum;

	if (!cgroup)
		return 1;
	css_rstat_flush(&cgroup->self);
	id = cgroup->kn->id;
	sum = bpf_map_lookup_elem(&sums, &id);
	BPF_SEQ_PRINTF(ctx->meta->seq, "%llu %llu %llu\\n", id, sum ? *sum : 0, flushed);
	return 0;
}
"""


@pytest.mark.parametrize("cpus", [1, 2])
def test_statistics_are_summed_up_the_hierarchy_when_they_are_wanted(build: Build, cpus: int) -> None:
    with Kernel(cpus=cpus) as kernel:
        for path in ("/a/x", "/a/y", "/b"):
            kernel.cgroups.create(path)
        loaded = build(STATISTICS).load(kernel.bpf)
        for name in ("count", "flush"):
            loaded.links[name] = loaded.attach_prog(loaded.progs[name])
        for pid, path in enumerate(("/a/x", "/a/x", "/a/y", "/b", "/a"), 1):
            kernel.tasks.create(pid)
            kernel.write_text(f"/sys/fs/cgroup{path}/cgroup.procs", f"{pid}\n")

        def show(path: str) -> list[str]:
            info = bytearray(uapi.LAYOUTS["bpf_iter_link_info"].size)
            info[0:4] = uapi.BPF_CGROUP_ITER_SELF_ONLY.to_bytes(4, "little")
            info[8:16] = kernel.cgroups.find(path).id.to_bytes(8, "little")
            link = loaded.attach_prog(loaded.progs["show"], bytes(info))
            fd = kernel.bpf(uapi.BPF_ITER_CREATE, bytearray(uapi.IterCreate(link_fd=link.fd).pack()))
            text: bytes = kernel.caller.fds.get(fd).read(kernel.caller, 4096)
            link.close()
            return text.decode().split()

        ids = {path: str(kernel.cgroups.find(path).id) for path in ("/", "/a", "/a/x", "/a/y", "/b")}
        assert show("/a/x") == [ids["/a/x"], "2", "1"]  # itself alone
        assert show("/a") == [ids["/a"], "4", "3"]  # y and a; x has nothing new
        assert show("/a") == [ids["/a"], "4", "3"]  # nothing has been updated since
        assert show("/") == [ids["/"], "5", "5"]  # b and the root, children first
