"""Ordinary tools on a real mount: what they print, and what they are refused."""

from __future__ import annotations

import errno
import os
import random
import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from kernfs_sim import Kernel
from kernfs_sim.fs.fuse_mount import FuseMount

from .mounts import NOBODY, Place

CG, BPF = "sys/fs/cgroup", "sys/fs/bpf"

# name: (script, stdout). Every script ends well, as root and as an ordinary user in a mount of his own.
READING = {
    "cat of a view": (f"cat {CG}/web/api/wait_show", "3 42000\n"),
    "cat of all": (f"cat {CG}/web/*/wait_show", "3 42000\n4 1500\n"),
    "ls": (f"ls {BPF}", "maps.debug\nprogs.debug\nwait_show\n"),
    "ls -l": (f"ls -l {BPF} | cut -c1-10 | tail -1", "-rw-------\n"),
    "ls of a cgroup": (f"ls {CG}/web/api | grep -c .", "10\n"),
    "grep -r": (f"grep -r 1500 {CG}/web", f"{CG}/web/static/wait_show:4 1500\n"),
    "find": (f"find {CG} -name wait_show | sort | tail -1", f"{CG}/web/wait_show\n"),
    "find by type": (f"find {CG} -type d | wc -l", "5\n"),
    "tail": (f"tail -n 1 {CG}/web/api/wait_show", "3 42000\n"),
    "tail -c": (f"tail -c 4 {CG}/web/api/wait_show", "000\n"),
    "head -c": (f"head -c 3 {CG}/web/api/wait_show", "3 4"),
    "dd with 1-byte reads": (f"dd if={CG}/web/api/wait_show bs=1 status=none", "3 42000\n"),
    "wc -c": (f"wc -c < {CG}/web/api/wait_show", "8\n"),
    "cp of a view": (f"t=$(mktemp) && cp {CG}/web/api/wait_show $t && cat $t && rm $t", "3 42000\n"),
    "cmp": (f"cmp {CG}/web/api/wait_show {CG}/web/api/wait_show && echo same", "same\n"),
    "the kernel's BTF": ("head -c 2 sys/kernel/btf/vmlinux | od -An -tx1", " 9f eb\n"),
    "st_size of BTF": ("stat -c %s sys/kernel/btf/vmlinux; wc -c < sys/kernel/btf/vmlinux", None),
    "a cgroup's inode number is its id": (f"stat -c %i {CG}/web/api", "3\n"),
    "a loop over cgroups": (
        f'for f in {CG}/*/ {CG}/*/*/; do read id wait < $f/wait_show; echo "$id=$wait"; done',
        "5=3000000\n2=0\n3=42000\n4=1500\n",
    ),
    "du and df": (f"du -s {CG} | cut -f1 && df {CG} >/dev/null && echo well", "0\nwell\n"),
    "exec of nothing": (f"test -x {CG}/web/api/wait_show || echo no", "no\n"),
}
CHANGING = {
    "mkdir makes a cgroup": (
        f"mkdir {CG}/new && ls {CG}/new | head -1 && cat {CG}/cgroup.stat | head -1",
        "cgroup.controllers\nnr_descendants 5\n",
    ),
    "rmdir": (f"mkdir {CG}/new && rmdir {CG}/new && ls -d {CG}/new 2>/dev/null || echo gone", "gone\n"),
    "a task moves": (
        f"cat {CG}/web/api/cgroup.procs; mkdir {CG}/new; echo 10 > {CG}/new/cgroup.procs; cat {CG}/new/cgroup.procs",
        "11\n10\n",
    ),
    "rm of a pin takes the exposed files along": (
        f"cat {CG}/web/wait_show >/dev/null; rm {BPF}/wait_show; ls {CG}/web | grep -c wait; cat {CG}/web/wait_show 2>&1",
        f"0\ncat: {CG}/web/wait_show: No such file or directory\n",
    ),
    "writing rm removes an exposed file": (
        f"cat {CG}/web/wait_show; echo rm > {CG}/web/wait_show; ls {CG}/web | grep -c wait; ls {CG}/web/api | grep -c wait",
        "2 0\n0\n1\n",
    ),
    "mv of a pin": (
        f"mv {BPF}/wait_show {BPF}/other && ls {BPF}/o* && cat {CG}/web/api/wait_show",
        f"{BPF}/other\n3 42000\n",
    ),
    "mkdir in bpffs": (
        f"mkdir {BPF}/d && mv {BPF}/wait_show {BPF}/d/w && ls {BPF}/d && rm -r {BPF}/d && ls {BPF}",
        "w\nmaps.debug\nprogs.debug\n",
    ),
    "ln": (f"ln {BPF}/wait_show {BPF}/twin && stat -c %h {BPF}/twin {BPF}/wait_show", "2\n2\n"),
    "ln -s": (
        f"ln -s wait_show {BPF}/sym && readlink {BPF}/sym && stat -L -c %F {BPF}/sym",
        "wait_show\nregular empty file\n",
    ),
    "chmod": (f"chmod 640 {BPF}/wait_show && stat -c %a {BPF}/wait_show", "640\n"),
    "touch": (f"touch -d @1000000000 {BPF}/wait_show && stat -c %Y {BPF}/wait_show", "1000000000\n"),
}


@pytest.mark.parametrize("name", READING)
def test_reading(shared_place: Place, name: str) -> None:
    script, wanted = READING[name]
    ran = shared_place.sh(script)
    assert ran.err == ""
    if wanted is None:
        first, second = ran.out.splitlines()
        assert first == second != "0"
    else:
        assert ran.out == wanted


@pytest.mark.parametrize("name", CHANGING)
def test_changing(place: Place, name: str) -> None:
    script, wanted = CHANGING[name]
    ran = place.sh(script)
    assert (ran.out, ran.err) == (wanted, "")


# name: (script, the tool's complaint). The same for root and in an ordinary user's mount: they are its root.
REFUSED = {
    "a pin's name has no dot": (f"mkdir {BPF}/a.b", "Operation not permitted"),
    "no plain files in bpffs": (f": > {BPF}/plain", "Permission denied"),
    "a link that is no iterator's is not read": (f"cat {BPF}/wait_show", "Input/output error"),
    "no plain files in a cgroup": (f": > {CG}/web/plain", "Permission denied"),
    "an exposed file takes rm alone": (f"/bin/echo other > {CG}/web/wait_show", "Invalid argument"),
    "files of a cgroup are not unlinked": (f"rm {CG}/web/wait_show", "Operation not permitted"),
    "a cgroup with children": (f"rmdir {CG}/web", "Device or resource busy"),
    "a mount point": (f"rmdir {CG}", "busy"),
    "a cgroup twice": (f"mkdir {CG}/web", "File exists"),
    "no such file": (f"cat {CG}/nothing", "No such file or directory"),
    "a file is no directory": (f"ls {CG}/web/wait_show/x", "Not a directory"),
    "no such task": (f"/bin/echo 4000000 > {CG}/web/cgroup.procs", "No such process"),
    "no number": (f"/bin/echo word > {CG}/web/cgroup.procs", "Invalid argument"),
    "across file systems": (f"ln {BPF}/wait_show {CG}/web/other", "Invalid cross-device link"),
    "a long name": (f"mkdir {CG}/" + "x" * 256, "File name too long"),
    "nothing is made in sysfs": ("mkdir sys/fs/other", "Operation not permitted"),
    "a fifo": (f"mkfifo {BPF}/fifo", "Operation not permitted"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(shared_place: Place, name: str) -> None:
    script, complaint = REFUSED[name]
    ran = shared_place.sh(script)
    assert ran.code != 0
    assert complaint in ran.err


# What an ordinary user is refused in root's mount.
FOREIGN = {
    "a pin": (f"cat {BPF}/wait_show", "Permission denied"),
    "an exposed file": (f"cat {CG}/web/wait_show", "Permission denied"),
    "cgroup.procs": (f"echo 10 > {CG}/cgroup.procs", "Permission denied"),
    "mkdir": (f"mkdir {CG}/x", "Permission denied"),
    "rm in the sticky bpffs": (f"rm -f {BPF}/wait_show", "Operation not permitted"),
    "chmod": (f"chmod 777 {CG}/web", "Operation not permitted"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_modes_and_owners_hold_for_other_users(fuse: tuple[Kernel, FuseMount], name: str) -> None:
    script, complaint = FOREIGN[name]
    ran = Place(fuse[1].directory, NOBODY).sh(script)
    assert ran.code != 0
    assert complaint in ran.err


def test_others_read_what_they_may(fuse: tuple[Kernel, FuseMount]) -> None:
    kernel, mount = fuse
    other = Place(mount.directory, NOBODY)
    assert other.sh(f"cat {CG}/web/api/cgroup.procs").out == "11\n"
    Place(mount.directory, 0).sh(f"chmod 644 {CG}/web/api/wait_show")
    assert other.sh(f"cat {CG}/web/api/wait_show").out == "3 42000\n"
    # bpffs is open to all: what a user makes there is his.
    assert other.sh(f"mkdir {BPF}/mine && stat -c %u {BPF}/mine").out == f"{NOBODY}\n"
    assert kernel.stat("/sys/fs/bpf/mine").st_uid == NOBODY


def test_members_of_a_supplementary_group(fuse: tuple[Kernel, FuseMount]) -> None:
    kernel, mount = fuse
    kernel.vfs.chown(kernel.caller, "/sys/fs/cgroup/web/wait_show", 0, 4242)
    kernel.vfs.chmod(kernel.caller, "/sys/fs/cgroup/web/wait_show", 0o640)
    assert mount.server.notifier.flush(1)
    command = ["setpriv", "--reuid=65534", "--regid=65534", "cat", f"{mount.directory}/{CG}/web/wait_show"]
    member = [*command[:3], "--groups=4242", *command[3:]]
    assert subprocess.run(member, capture_output=True, check=False).stdout == b"2 0\n"
    other = [*command[:3], "--groups=4243", *command[3:]]
    assert b"Permission denied" in subprocess.run(other, capture_output=True, check=False).stderr


def test_what_changes_behind_the_mount_is_seen_in_it(fuse: tuple[Kernel, FuseMount]) -> None:
    os.stat(f"{fuse[1].directory}/{CG}/web")
    kernel, mount = fuse
    top = f"{mount.directory}/{CG}"
    before = os.stat(top).st_nlink
    kernel.mkdir("/sys/fs/cgroup/late")
    assert mount.server.notifier.flush(1)
    assert os.stat(top).st_nlink == before + 1
    assert stat.S_ISDIR(os.stat(f"{top}/late").st_mode)
    kernel.rmdir("/sys/fs/cgroup/late")
    assert mount.server.notifier.flush(1)
    with pytest.raises(FileNotFoundError):
        os.stat(f"{top}/late")
    assert os.stat(top).st_nlink == before
    kernel.vfs.chmod(kernel.caller, "/sys/fs/cgroup/web", 0o700)
    kernel.vfs.chown(kernel.caller, "/sys/fs/cgroup/web", 7, 8)
    assert mount.server.notifier.flush(1)
    st = os.stat(f"{top}/web")
    assert (st.st_mode & 0o777, st.st_uid, st.st_gid) == (0o700, 7, 8)


def test_a_cgroup_removed_while_its_file_is_read(fuse: tuple[Kernel, FuseMount]) -> None:
    kernel, mount = fuse
    kernel.mkdir("/sys/fs/cgroup/late")
    fd = os.open(f"{mount.directory}/{CG}/late/cgroup.stat", os.O_RDONLY)
    assert os.read(fd, 3) == b"nr_"
    os.rmdir(f"{mount.directory}/{CG}/late")
    with pytest.raises(OSError, match="No such device"):
        os.read(fd, 3)
    os.close(fd)


def test_many_at_once(fuse: tuple[Kernel, FuseMount], capfd: pytest.CaptureFixture[str]) -> None:
    """Directories made, walked, pinned into and removed by many: every refusal is one of Linux's, and nothing hangs."""
    kernel, mount = fuse
    top = f"{mount.directory}/{CG}/web"
    wrong: list[object] = []
    may = {errno.EEXIST, errno.ENOENT, errno.EBUSY, errno.ENODEV, errno.ESTALE, errno.ENXIO}

    def attempt(call: Callable[[], object]) -> None:
        try:
            call()
        except OSError as e:
            if e.errno not in may:
                wrong.append(e)
        except Exception as e:
            wrong.append(e)

    def tool(rng: random.Random) -> Callable[[], object]:
        path = f"{top}/{rng.choice('abc')}"
        return rng.choice(
            [
                lambda: os.mkdir(path),
                lambda: os.rmdir(path),
                lambda: os.listdir(top),
                lambda: os.stat(f"{path}/cgroup.procs"),
                lambda: Path(path, "cgroup.stat").read_bytes(),
                lambda: Path(path, "cgroup.procs").write_text("11"),
                lambda: Path(top, "api", "cgroup.procs").write_text("11"),
            ]
        )

    def inside(rng: random.Random) -> Callable[[], object]:
        path = f"/sys/fs/cgroup/web/{rng.choice('abc')}"
        pin = kernel.vfs.lookup(kernel.caller, "/sys/fs/bpf/wait_show")
        return rng.choice(
            [
                lambda: kernel.mkdir(path),
                lambda: kernel.rmdir(path),
                lambda: kernel.listdir("/sys/fs/cgroup/web"),
                lambda: kernel.vfs.pin(kernel.caller, f"{path}/wait_show", pin.object),  # type: ignore[attr-defined]
                lambda: kernel.write_text(f"{path}/wait_show", "rm"),
            ]
        )

    def work(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(200):
            attempt((tool if seed % 3 else inside)(rng))

    workers = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert not worker.is_alive()
    assert not wrong
    assert capfd.readouterr().err == ""
    assert mount.server.notifier.flush(1)
    assert set(os.listdir(top)) == set(kernel.listdir("/sys/fs/cgroup/web"))


def test_everything_is_forgotten_at_the_end(fuse: tuple[Kernel, FuseMount]) -> None:
    """The kernel's references, and ours for it, go with the mount: no inode is left held."""
    kernel, mount = fuse
    Place(mount.directory, 0).sh("find . -type f -exec cat {} + >/dev/null 2>&1")
    inode = kernel.vfs.lookup(kernel.caller, "/sys/fs/cgroup/web/api/wait_show")
    assert inode.refs > 1
    mount.close()
    assert inode.refs == 1
    assert len(mount.server.nodes) == 0
