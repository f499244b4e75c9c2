"""cgroup2: directories, their files, who may be where, and the structures that programs walk."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Callable

import pytest

from kernfs_sim import Cred, InProcess, Kernel
from kernfs_sim.cgroup_files import CGROUP_FILES
from runtime import ffi

TOP = "/sys/fs/cgroup"


def refused(number: int, call: Callable[[], object]) -> None:
    with pytest.raises(OSError) as e:
        call()
    assert errno.errorcode[e.value.errno or 0] == errno.errorcode[number]


def read(kernel: Kernel, path: str) -> str:
    return kernel.read_text(TOP + path)


def write(kernel: Kernel, path: str, text: str) -> None:
    kernel.write_text(TOP + path, text)


def test_mkdir_makes_a_cgroup_with_its_files(kernel: Kernel) -> None:
    kernel.mkdir(f"{TOP}/a")
    assert kernel.listdir(f"{TOP}/a") == [row.name for row in CGROUP_FILES]
    assert [n for n in kernel.listdir(TOP) if n not in {row.name for row in CGROUP_FILES if row.on_root}] == ["a"]
    assert not kernel.exists(f"{TOP}/cgroup.type")
    st = kernel.stat(f"{TOP}/a")
    assert (st.st_mode, st.st_ino) == (0o40755, kernel.cgroups.find("/a").id)
    for row in CGROUP_FILES:
        assert kernel.stat(f"{TOP}/a/{row.name}").st_mode == 0o100000 | row.mode
    assert kernel.vfs.statfs(kernel.caller, f"{TOP}/a/cgroup.stat") == 0x63677270


def test_a_users_cgroup_and_its_files_are_the_users(kernel: Kernel) -> None:
    user = InProcess(Cred(uid=1000, gid=1000, capabilities=frozenset()))
    refused(errno.EACCES, lambda: kernel.vfs.mkdir(user, f"{TOP}/mine"))
    kernel.mkdir(f"{TOP}/user")
    kernel.vfs.chown(kernel.caller, f"{TOP}/user", 1000, 1000)
    kernel.vfs.mkdir(user, f"{TOP}/user/mine")
    for name in ("", "/cgroup.procs", "/cgroup.subtree_control"):
        assert kernel.stat(f"{TOP}/user/mine{name}").st_uid == 1000
    kernel.vfs.rmdir(user, f"{TOP}/user/mine")


@pytest.mark.parametrize("name, number", [("a", errno.EEXIST), ("x\ny", errno.EINVAL), ("n" * 256, errno.ENAMETOOLONG)])
def test_names_that_mkdir_refuses(kernel: Kernel, name: str, number: int) -> None:
    kernel.mkdir(f"{TOP}/a")
    refused(number, lambda: kernel.mkdir(f"{TOP}/{name}"))


def test_rmdir_is_ebusy_with_children_or_tasks_and_enotdir_on_files(kernel: Kernel) -> None:
    kernel.cgroups.create("/a/b")
    refused(errno.EBUSY, lambda: kernel.rmdir(f"{TOP}/a"))
    kernel.tasks.create(5, "x", kernel.cgroups.find("/a/b"))
    refused(errno.EBUSY, lambda: kernel.rmdir(f"{TOP}/a/b"))
    refused(errno.ENOTDIR, lambda: kernel.rmdir(f"{TOP}/a/cgroup.procs"))
    refused(errno.EPERM, lambda: kernel.unlink(f"{TOP}/a/cgroup.procs"))
    refused(errno.EBUSY, lambda: kernel.rmdir(TOP))
    write(kernel, "/cgroup.procs", "5")
    kernel.rmdir(f"{TOP}/a/b")
    kernel.rmdir(f"{TOP}/a")
    assert [c.path for c in kernel.cgroups] == ["/"]


def test_a_removed_cgroup_is_gone_for_the_api_too(kernel: Kernel) -> None:
    gone = kernel.cgroups.create("/a")
    kernel.rmdir(f"{TOP}/a")
    refused(errno.ENOENT, lambda: kernel.cgroups.remove(gone))
    refused(errno.ENOENT, lambda: kernel.cgroups.create_in(gone, "b"))
    refused(errno.ENOENT, lambda: kernel.cgroups.find("/a"))
    assert kernel.cgroups.by_id(gone.id) is None


def test_ids_are_fixed_or_new_and_never_shared(kernel: Kernel) -> None:
    assert kernel.cgroups.create("/a", id=77).id == 77
    refused(errno.EEXIST, lambda: kernel.cgroups.create("/b", id=77))
    refused(errno.EEXIST, lambda: kernel.cgroups.create("/b", id=1))
    refused(errno.EINVAL, lambda: kernel.cgroups.create("/b", id=1 << 64))
    refused(errno.EEXIST, lambda: kernel.cgroups.create("/a"))
    refused(errno.EEXIST, lambda: kernel.cgroups.create("/"))
    assert kernel.cgroups.find("/").id == 1
    assert not kernel.exists(f"{TOP}/b"), "what was refused left nothing"


def test_files_count_and_list_what_is_there(kernel: Kernel) -> None:
    a, b = kernel.cgroups.create("/a"), kernel.cgroups.create("/a/b")
    for pid, tgid, home in ((30, 30, a), (10, 10, b), (11, 10, b)):
        kernel.tasks.create(pid, "t", home, tgid=tgid)
    assert read(kernel, "/a/cgroup.procs") == "30\n"
    assert read(kernel, "/a/b/cgroup.procs") == "10\n"
    assert read(kernel, "/a/b/cgroup.threads") == "10\n11\n"
    assert read(kernel, "/cgroup.stat") == "nr_descendants 2\nnr_dying_descendants 0\n"
    assert read(kernel, "/a/cgroup.events") == "populated 1\nfrozen 0\n"
    assert read(kernel, "/a/memory.current") == "0\n"
    task = kernel.tasks.find(10)
    assert task is not None
    task.c.utime, task.c.stime = 5_000_000, 2_000_000
    assert read(kernel, "/a/cpu.stat") == "usage_usec 7000\nuser_usec 5000\nsystem_usec 2000\nnice_usec 0\n"
    kernel.tasks.remove(task)
    assert read(kernel, "/a/b/cgroup.procs") == "10\n", "a thread of it still runs"


def test_writing_cgroup_procs_moves_the_whole_process(kernel: Kernel) -> None:
    kernel.cgroups.create("/a")
    kernel.tasks.create(10, "t")
    kernel.tasks.create(11, "t", tgid=10)
    write(kernel, "/a/cgroup.procs", "11\n")
    assert read(kernel, "/a/cgroup.threads") == "10\n11\n"
    assert read(kernel, "/cgroup.procs") == ""
    for text, number in (
        ("99", errno.ESRCH),
        ("x", errno.EINVAL),
        ("", errno.EINVAL),
        ("-5", errno.EINVAL),
        ("1 2", errno.EINVAL),
    ):
        refused(number, lambda text=text: write(kernel, "/a/cgroup.procs", text))  # type: ignore[misc]


def test_who_moves_a_task_may_write_where_the_paths_meet(kernel: Kernel) -> None:
    user = InProcess(Cred(uid=1000, gid=1000, capabilities=frozenset()))
    for path in ("/user", "/user/a", "/user/b", "/other"):
        kernel.cgroups.create(path)
        kernel.vfs.chown(kernel.caller, f"{TOP}{path}/cgroup.procs", 1000, 1000)
    kernel.tasks.create(5, "t", kernel.cgroups.find("/user/a"))
    kernel.write_text(f"{TOP}/user/b/cgroup.procs", "5", caller=user)
    assert read(kernel, "/user/b/cgroup.procs") == "5\n"
    refused(errno.EACCES, lambda: kernel.write_text(f"{TOP}/other/cgroup.procs", "5", caller=user))


def test_controllers_are_enabled_from_the_top_down(kernel: Kernel) -> None:
    kernel.cgroups.create("/a/b")
    assert read(kernel, "/cgroup.controllers") == "cpuset cpu io memory pids\n"
    assert read(kernel, "/a/cgroup.controllers") == "\n"
    refused(errno.ENOENT, lambda: write(kernel, "/a/cgroup.subtree_control", "+cpu"))
    write(kernel, "/cgroup.subtree_control", "+memory +cpu\n")
    assert read(kernel, "/cgroup.subtree_control") == "cpu memory\n"
    assert read(kernel, "/a/cgroup.controllers") == "cpu memory\n"
    write(kernel, "/a/cgroup.subtree_control", "+cpu")
    refused(errno.EBUSY, lambda: write(kernel, "/cgroup.subtree_control", "-cpu"))
    for bad in ("cpu", "+nothing", "*cpu", "+"):
        refused(errno.EINVAL, lambda bad=bad: write(kernel, "/cgroup.subtree_control", bad))  # type: ignore[misc]
    write(kernel, "/a/cgroup.subtree_control", "-cpu")
    write(kernel, "/cgroup.subtree_control", "-cpu")
    assert read(kernel, "/a/cgroup.controllers") == "memory\n"


def test_only_leaves_have_processes_where_domain_controllers_are_enabled(kernel: Kernel) -> None:
    kernel.cgroups.create("/a/b")
    kernel.tasks.create(5, "t")
    write(kernel, "/cgroup.subtree_control", "+memory")
    write(kernel, "/a/cgroup.procs", "5")
    refused(errno.EBUSY, lambda: write(kernel, "/a/cgroup.subtree_control", "+memory"))
    write(kernel, "/a/b/cgroup.procs", "5")
    write(kernel, "/a/cgroup.subtree_control", "+memory")
    refused(errno.EBUSY, lambda: write(kernel, "/a/cgroup.procs", "5"))


def test_threaded_cgroups_divide_a_process_within_its_domain(kernel: Kernel) -> None:
    kernel.cgroups.create("/d/t1")
    kernel.cgroups.create("/d/t2")
    kernel.cgroups.create("/d/t1/deep")
    for text, number in (("domain", errno.EINVAL), ("", errno.EINVAL)):
        refused(number, lambda text=text: write(kernel, "/d/cgroup.type", text))  # type: ignore[misc]
    assert read(kernel, "/d/cgroup.type") == "domain\n"
    write(kernel, "/d/t1/cgroup.type", "threaded\n")
    types = {p: read(kernel, f"{p}/cgroup.type") for p in ("/d", "/d/t1", "/d/t2", "/d/t1/deep")}
    assert types == {
        "/d": "domain threaded\n",
        "/d/t1": "threaded\n",
        "/d/t2": "domain invalid\n",
        "/d/t1/deep": "domain invalid\n",
    }
    kernel.tasks.create(10, "t")
    kernel.tasks.create(11, "t", tgid=10)
    refused(errno.EOPNOTSUPP, lambda: write(kernel, "/d/t2/cgroup.procs", "10"))
    write(kernel, "/d/t2/cgroup.type", "threaded")
    write(kernel, "/d/cgroup.procs", "10")
    write(kernel, "/d/t1/cgroup.threads", "11")
    assert read(kernel, "/d/cgroup.procs") == "10\n"
    assert read(kernel, "/d/t1/cgroup.threads") == "11\n"
    refused(errno.EOPNOTSUPP, lambda: read(kernel, "/d/t1/cgroup.procs"))
    refused(errno.EOPNOTSUPP, lambda: write(kernel, "/cgroup.threads", "11"))
    refused(errno.EOPNOTSUPP, lambda: write(kernel, "/d/t1/deep/cgroup.procs", "10"))
    assert kernel.cgroups.find("/d/t1").c.dom_cgrp == kernel.cgroups.find("/d").c


def test_structures_are_linked_as_programs_walk_them(kernel: Kernel) -> None:
    made = [kernel.cgroups.create(path) for path in ("/a", "/a/x", "/a/y", "/a/z", "/a/y/deep")]
    a, deep = made[0], made[-1]

    def children(c: object) -> list[int]:
        head = ffi.addressof(c, "self", "children")
        ids, at, offset = (
            [],
            head.next,
            ffi.offsetof("struct cgroup", "self") + ffi.offsetof("struct cgroup_subsys_state", "sibling"),
        )
        while at != head:
            ids.append(ffi.cast("struct cgroup *", ffi.cast("char *", at) - offset).kn.id)
            at = at.next
        return ids

    assert children(a.c) == [c.id for c in made[1:4]]
    assert [deep.c.ancestors[i].kn.id for i in range(4)] == [1, a.id, made[2].id, deep.id]
    assert ffi.string(deep.kn.name) == b"deep" and getattr(deep.kn, "__parent").id == made[2].id
    kernel.rmdir(f"{TOP}/a/x")
    kernel.rmdir(f"{TOP}/a/z")
    assert children(a.c) == [made[2].id]
    assert a.c.nr_descendants == 2


def test_ten_thousand_cgroups_are_made_quickly(kernel: Kernel) -> None:
    import time

    start = time.process_time()
    for i, j in itertools.product(range(100), range(99)):
        kernel.cgroups.create(f"/{i}/{j}")
    assert time.process_time() - start < 5  # about 0.2 s: a bound against walks that grow with the tree
    assert kernel.cgroups.root.c.nr_descendants == 10_000
