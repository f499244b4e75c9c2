"""Known programs of a mounted kernel: admitted by root, taken by an ordinary user of another process."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfjit import open_object
from bpfjit.cli.known import in_store
from bpfjit.loader import MountBpf
from bpfjit.loader.mount import find_mount
from bpfjit.uapi import control as wire
from bpfjit.uapi.control import Ask
from kernfs_sim import Kernel
from kernfs_sim.fs.fuse_mount import FuseMount

from .mounts import NOBODY, SCENARIO, Place, Ran, directory, need_fuse

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "wait_latency.bpf.c"
WALKS = ROOT / "benchmarks" / "iterators" / "walks.bpf.c"
# The command as a user who may not read the interpreter's own files: what it needs is imported before.
AS_USER = """
import os, sys
import bpfjit.loader.compile, encodings.idna, locale, shutil, subprocess, tempfile
import bpfjit.loader.mount, bpfjit.loader.map
from bpfjit.cli import completion, known, link, main as command
uid, argv = int(sys.argv[1]), sys.argv[2:]
os.setgroups([]); os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
sys.exit(command.main(argv))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A mount of root's, whose administrator has admitted the example's view."""
    need_fuse()
    store = tmp_path_factory.mktemp("store") / "known"
    kernel = in_store(Kernel.from_scenario(SCENARIO, cache=False), str(store))
    with directory() as where, kernel, FuseMount(kernel, where):
        yield Place(where, NOBODY)


@pytest.fixture(scope="module")
def digest(place: Place) -> str:
    done = bpfjit(place, f"known admit {EXAMPLE} --prog wait_show", user=0)
    assert done.code == 0, done.err
    return done.out.split()[0]


def bpfjit(place: Place, command: str, user: int = NOBODY) -> Ran:
    argv = [sys.executable, "-c", AS_USER, str(user), *command.split(), "--mount", place.directory]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    return Ran(done.returncode, done.stdout, done.stderr)


def test_an_ordinary_user_pins_a_view_and_reads_it(place: Place, digest: str) -> None:
    listed = bpfjit(place, "known list -j")
    assert json.loads(listed.out) == [{"digest": digest, "name": "wait_show"}], listed.err
    pinned = f"{place.directory}/sys/fs/bpf/mine"
    made = bpfjit(place, f"known pin {digest[:12]} {pinned}")
    assert made.code == 0, made.err
    seen = place.sh("stat -c %u sys/fs/bpf/mine")
    assert seen.out == f"{NOBODY}\n"
    # What is shown in a cgroup is whose directory that is to say.
    refused = bpfjit(place, f"link pin pinned {pinned} {place.directory}/sys/fs/cgroup/web/mine")
    assert refused.code == 1
    done = bpfjit(place, f"link pin pinned {pinned} {place.directory}/sys/fs/cgroup/web/mine", user=0)
    assert done.code == 0, done.err
    assert place.sh("chmod 644 sys/fs/cgroup/web/mine", user=0).code == 0
    assert place.sh("cat sys/fs/cgroup/web/mine").out == "2 0\n"
    assert place.sh("rm sys/fs/bpf/mine").code == 0 and place.sh("cat sys/fs/cgroup/web/mine", user=0).code


def test_an_ordinary_user_reads_an_iterator(place: Place) -> None:
    done = bpfjit(place, f"known admit {WALKS} --prog tasks_print", user=0)
    assert done.code == 0, done.err
    digest = done.out.split()[0]
    read = bpfjit(place, f"known read {digest}")
    assert read.code == 0 and read.out, read.err
    assert bpfjit(place, f"known pin {digest} {place.directory}/sys/fs/bpf/walk").code == 0
    assert place.sh("cat sys/fs/bpf/walk").out == read.out
    assert bpfjit(place, f"known revoke {digest}", user=0).code == 0
    assert place.sh("cat sys/fs/bpf/walk").out == read.out, "what there is lives on"
    assert bpfjit(place, f"known read {digest}").code == 2


def test_only_root_admits_and_revokes(place: Place, digest: str) -> None:
    refused = bpfjit(place, f"known revoke {digest}")
    assert refused.code == 1 and "CAP_SYS_ADMIN" in refused.err
    assert bpfjit(place, f"known admit {EXAMPLE}").code == 1
    nothing = bpfjit(place, "known read 00ff")
    assert nothing.code == 2 and "0 known programs begin with 00ff" in nothing.err
    assert "neither" not in bpfjit(place, f"known read {digest}").err


def test_fds_go_with_the_connection(place: Place, digest: str) -> None:
    with MountBpf(find_mount(place.directory)) as bpf:
        made = bpf.instantiate(bytes.fromhex(digest))
        assert made.prog_fd > 0 and len(made.map_fds) == 2
        with pytest.raises(OSError) as unknown:
            bpf.instantiate(bytes(32))
        assert unknown.value.errno == errno.ENOENT
        given = bpf.instantiate(bytes.fromhex(digest), {0: made.map_fds[0]})
        with pytest.raises(OSError, match="cannot take the place"):
            bpf.instantiate(bytes.fromhex(digest), {0: made.map_fds[1]})
        assert given.prog_fd != made.prog_fd


NONSENSE: list[object] = [
    *({}, [], 7, {"do": []}, {"do": "instantiate"}, {"do": "admit"}, {"do": "admit", "prog_fd": "x"}),
    *({"do": "instantiate", "digest": digest, "maps": {}} for digest in (7, "zz", None)),
    *({"do": "instantiate", "digest": "", "maps": maps} for maps in ([], {"x": 1}, {"0": "x"}, 3)),
]


@pytest.mark.parametrize("request_", [b"", b"{", *(json.dumps(request).encode() for request in NONSENSE)])
def test_requests_that_make_no_sense_are_einval(place: Place, request_: bytes) -> None:
    with MountBpf(find_mount(place.directory)) as bpf:
        with pytest.raises(OSError) as refused:
            bpf._ask(Ask.KNOWN, 0, 0, request_)
        assert refused.value.errno == errno.EINVAL
        assert wire.VERSION == 1 and bpf.known()


def test_the_object_of_an_administrator_is_admitted_by_fd(place: Place) -> None:
    with MountBpf(find_mount(place.directory)) as bpf, open_object(EXAMPLE).load(bpf) as it:
        with pytest.raises(PermissionError, match="acts on others"):
            bpf.admit(it.progs["wait_record"].fd)
        digest = bpf.admit(it.progs["wait_record"].fd, anywhere=True)
        assert digest in {d for d, _, _ in bpf.known()}
        bpf.revoke(digest)
        assert digest not in {d for d, _, _ in bpf.known()}
