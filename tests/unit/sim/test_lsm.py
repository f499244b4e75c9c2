"""LSM programs: which hooks take them, what they may answer, and what their answers do, system-wide and for a cgroup.

Linux of the machine that this runs on may refuse LSM programs as a policy (EPERM to root), and so is not asked; what is held
here is what its source says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from systems import RETURN_0, call, field, get_info, load_prog, make_map

from bpfjit.errors import VerifierError, errno_name
from bpfjit.isa.encoding import Insn, encode
from bpfjit.loader.bpf import Bpf, Buffers
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Cred, InProcess, Kernel

HEAD = """
#define EACCES 13
#define EROFS 30
int calls, last;
char name[16];
"""


@pytest.fixture(params=["jit", "interp"])
def kernel(request: pytest.FixtureRequest) -> Iterator[Kernel]:
    with Kernel(engine=request.param) as made:
        yield made


def error_of(ask: Callable[[], Any]) -> str:
    try:
        ask()
    except OSError as e:
        return errno_name(e.errno or 0)
    return "done"


def calls(loaded: Any) -> int:
    """The object's first counter, `calls`."""
    bss = next(m for key, m in loaded.maps.items() if key.endswith(".bss"))
    return int.from_bytes(bss.lookup(bytes(4))[:4], "little", signed=True)


@pytest.fixture
def attached(kernel: Kernel, build: Callable[[str], Any]) -> Iterator[Callable[[str], Any]]:
    made: list[Any] = []

    def attach(body: str) -> Any:
        loaded = build(HEAD + body).load(kernel.bpf)
        made.append(loaded)
        return loaded, loaded.attach()

    yield attach
    for loaded in made:
        loaded.close()


# -- hooks -----------------------------------------------------------------------------------------------


def test_a_program_at_bpf_decides_on_every_command(kernel: Kernel, attached: Callable[[str], Any]) -> None:
    _loaded, links = attached("""
    SEC("lsm/bpf")
    int BPF_PROG(no_arrays, int cmd, union bpf_attr *attr, unsigned int size, bool kernel)
    {
        if (cmd == BPF_MAP_CREATE && attr->map_type == BPF_MAP_TYPE_ARRAY)
            return -EROFS;
        return 0;
    }
    """)
    assert error_of(lambda: make_map(kernel.bpf)) == "EROFS"
    assert error_of(lambda: make_map(kernel.bpf, map_type=uapi.BPF_MAP_TYPE_HASH)) == "done"
    links["no_arrays"].close()
    assert error_of(lambda: make_map(kernel.bpf)) == "done"
    assert not kernel.security.active


def test_a_program_at_bpf_map_sees_the_map_and_what_the_fd_allows(kernel: Kernel, attached: Callable[[str], Any]) -> None:
    attached("""
    SEC("lsm/bpf_map")
    int BPF_PROG(read_only, struct bpf_map *map, fmode_t fmode)
    {
        return map->max_entries == 77 && (fmode & 2) ? -EACCES : 0;
    }
    """)
    fds = len(kernel.caller.fds)
    assert error_of(lambda: make_map(kernel.bpf, max_entries=77)) == "EACCES"
    assert len(kernel.caller.fds) == fds, "the fd is closed again"
    fd = make_map(kernel.bpf, max_entries=77, map_flags=uapi.BPF_F_RDONLY)
    assert fd >= 0
    again = uapi.GetId(start_id=field("bpf_map_info", get_info(kernel.bpf, fd, "bpf_map_info")[0], "id"))
    assert error_of(lambda: call(kernel.bpf, uapi.BPF_MAP_GET_FD_BY_ID, again)) == "EACCES"


def test_a_program_at_bpf_prog_is_asked_for_every_fd(kernel: Kernel, attached: Callable[[str], Any]) -> None:
    attached("""
    SEC("lsm/bpf_prog")
    int BPF_PROG(no_filters, struct bpf_prog *prog)
    {
        return prog->type == BPF_PROG_TYPE_SOCKET_FILTER ? -EACCES : 0;
    }
    """)
    assert error_of(lambda: load_prog(kernel.bpf)) == "EACCES"
    assert error_of(lambda: load_prog(kernel.bpf, prog_type=uapi.BPF_PROG_TYPE_XDP)) == "done"


def test_files_are_opened_where_the_program_lets_them(kernel: Kernel, attached: Callable[[str], Any]) -> None:
    attached("""
    SEC("lsm.s/file_open")
    int BPF_PROG(not_b, struct file *file)
    {
        const unsigned char *n = file->f_path.dentry->d_name.name;
        char first = 0;

        bpf_probe_read_kernel(&first, 1, n);
        return first == 'b' ? -EACCES : 0;
    }
    """)
    for path in ("/sys/fs/cgroup/cgroup.procs", "/sys/fs/bpf"):
        expected = "EACCES" if path.endswith("bpf") else "done"
        assert error_of(lambda p=path: kernel.open(p).put()) == expected  # type: ignore[misc]
    assert error_of(lambda: kernel.read_text("/sys/fs/cgroup/cgroup.controllers")) == "done"


def test_names_are_made_and_taken_away_where_the_programs_let_them(kernel: Kernel, attached: Callable[[str], Any]) -> None:
    _loaded, links = attached("""
    SEC("lsm/inode_mkdir")
    int BPF_PROG(mkdir, struct inode *dir, struct dentry *dentry, umode_t mode)
    {
        return dentry->d_name.len > 3 ? -EROFS : 0;
    }

    SEC("lsm/inode_rmdir")
    int BPF_PROG(rmdir, struct inode *dir, struct dentry *dentry)
    {
        return -EACCES;
    }

    SEC("lsm/inode_unlink")
    int BPF_PROG(unlink, struct inode *dir, struct dentry *dentry, int ret)
    {
        return ret ? ret : -EROFS;
    }
    """)
    assert error_of(lambda: kernel.mkdir("/sys/fs/cgroup/long")) == "EROFS"
    assert error_of(lambda: kernel.mkdir("/sys/fs/cgroup/abc")) == "done"
    assert error_of(lambda: kernel.rmdir("/sys/fs/cgroup/abc")) == "EACCES"
    keep = Buffers()
    pin = uapi.Obj(pathname=keep.put(b"/sys/fs/bpf/m\0"), bpf_fd=make_map(kernel.bpf))
    call(kernel.bpf, uapi.BPF_OBJ_PIN, pin)
    assert error_of(lambda: kernel.unlink("/sys/fs/bpf/m")) == "EROFS" and kernel.exists("/sys/fs/bpf/m")
    for link in links.values():
        link.close()
    assert error_of(lambda: kernel.unlink("/sys/fs/bpf/m")) == error_of(lambda: kernel.rmdir("/sys/fs/cgroup/abc")) == "done"


def test_the_first_that_says_no_is_the_answer(kernel: Kernel, attached: Callable[[str], Any]) -> None:
    """The last attached runs first, as of fmod_ret programs; the others do not run."""
    program = """
    SEC("lsm/inode_mkdir")
    int BPF_PROG({name}, struct inode *dir, struct dentry *dentry, umode_t mode)
    {{
        calls++;
        return -{error};
    }}
    """
    first, _ = attached(program.format(name="one", error="EACCES"))
    second, _ = attached(program.format(name="two", error="EROFS"))
    assert error_of(lambda: kernel.mkdir("/sys/fs/cgroup/a")) == "EROFS"
    assert (calls(first), calls(second)) == (0, 1)


def test_fentry_at_a_hook_sees_it_happen(kernel: Kernel, attached: Callable[[str], Any]) -> None:
    loaded, _ = attached("""
    SEC("fentry/bpf_lsm_inode_mkdir")
    int BPF_PROG(see, struct inode *dir, struct dentry *dentry, umode_t mode)
    {
        calls++;
        return 0;
    }
    """)
    kernel.mkdir("/sys/fs/cgroup/a")
    assert calls(loaded) == 1


def test_a_link_says_what_it_is(kernel: Kernel, attached: Callable[[str], Any]) -> None:
    _loaded, links = attached("""
    SEC("lsm/bpf_prog")
    int BPF_PROG(yes, struct bpf_prog *prog) { return 0; }
    """)
    info, _ = get_info(kernel.bpf, links["yes"].fd, "bpf_link_info")
    assert field("bpf_link_info", info, "type") == uapi.BPF_LINK_TYPE_TRACING
    assert field("bpf_link_info", info, "tracing.attach_type") == uapi.BPF_LSM_MAC
    assert f"attach_type:\t{uapi.BPF_LSM_MAC}" in kernel.bpf.fdinfo(links["yes"].fd)


# -- cgroups ---------------------------------------------------------------------------------------------

CGROUP = """
SEC("lsm_cgroup/inode_mkdir")
int BPF_PROG(mine, struct inode *dir, struct dentry *dentry, umode_t mode)
{
    calls++;
    return 0;
}

SEC("lsm_cgroup/inode_mkdir")
int BPF_PROG(which, struct inode *dir, struct dentry *dentry, umode_t mode)
{
    bpf_set_retval(-EROFS);
    return 0;
}
"""


def attach_to(kernel: Kernel, cgroup: str, prog: int) -> int:
    fd = kernel.caller.fds.install(kernel.open(f"/sys/fs/cgroup{cgroup}"))
    try:
        link = uapi.LinkCreate(prog_fd=prog, target_fd=fd, attach_type=uapi.BPF_LSM_CGROUP)
        return call(kernel.bpf, uapi.BPF_LINK_CREATE, link)
    finally:
        kernel.bpf.close(fd)


def test_a_cgroups_program_decides_for_its_tasks_only(kernel: Kernel, build: Callable[[str], Any]) -> None:
    a = kernel.cgroups.create("/a")
    loaded = build(HEAD + CGROUP).load(kernel.bpf)
    task = kernel.tasks.create(pid=4711, comm="inside", cgroup=a)
    inside = InProcess(pid=task.pid)
    link = attach_to(kernel, "/a", loaded.progs["mine"].fd)
    assert error_of(lambda: kernel.vfs.mkdir(inside, "/sys/fs/cgroup/x")) == "EPERM"
    assert error_of(lambda: kernel.mkdir("/sys/fs/cgroup/x")) == "done"
    assert calls(loaded) == 1
    other = attach_to(kernel, "/a", loaded.progs["which"].fd)
    assert error_of(lambda: kernel.vfs.mkdir(inside, "/sys/fs/cgroup/y")) == "EROFS"  # which the second made of EPERM
    kernel.bpf.close(link)
    assert error_of(lambda: kernel.vfs.mkdir(inside, "/sys/fs/cgroup/y")) == "EROFS"
    kernel.bpf.close(other)
    assert error_of(lambda: kernel.vfs.mkdir(inside, "/sys/fs/cgroup/y")) == "done"


def test_programs_of_other_hooks_are_told_in_one_query(kernel: Kernel, build: Callable[[str], Any]) -> None:
    kernel.cgroups.create("/a")
    loaded = build(
        HEAD
        + CGROUP
        + """
    SEC("lsm_cgroup/bpf_prog")
    int BPF_PROG(third, struct bpf_prog *prog) { return 1; }
    """
    ).load(kernel.bpf)
    for name in ("mine", "third"):
        attach_to(kernel, "/a", loaded.progs[name].fd)
    keep, ids, flags = Buffers(), bytearray(16), bytearray(16)
    fd = kernel.caller.fds.install(kernel.open("/sys/fs/cgroup/a"))
    attr = bytearray(
        uapi.ProgQuery(
            target_fd=fd,
            attach_type=uapi.BPF_LSM_CGROUP,
            prog_ids=keep.put(ids),
            prog_cnt=4,
            prog_attach_flags=keep.put(flags),
        ).pack()
    )
    kernel.bpf(uapi.BPF_PROG_QUERY, attr)
    assert uapi.ProgQuery.unpack(attr).prog_cnt == 2
    infos = [get_info(kernel.bpf, loaded.progs[n].fd, "bpf_prog_info")[0] for n in ("mine", "third")]
    wanted = {field("bpf_prog_info", info, "id") for info in infos}
    assert {int.from_bytes(ids[i : i + 4], "little") for i in (0, 4)} == wanted


# -- what is refused -------------------------------------------------------------------------------------


def _load(
    bpf: Bpf,
    hook: str,
    insns: list[Insn] | None = None,
    *,
    attach_type: int,
    license: bytes = b"GPL\0",
    kernel: Kernel,
) -> str:
    btf_id = int(kernel.btf.types.find_func(hook) or 0)
    code = encode(insns) if insns is not None else RETURN_0
    try:
        bpf.close(
            load_prog(
                bpf, code, prog_type=uapi.BPF_PROG_TYPE_LSM, attach_type=attach_type, attach_btf_id=btf_id, license=license
            )
        )
    except OSError as e:
        return f"{errno_name(e.errno or 0)}: {e.args[1].split(': ', 1)[-1]}"
    return "done"


def _returns(value: int) -> list[Insn]:
    return [Insn(0xB7, 0, imm=value), Insn(0x95)]


# (hook, attach type, instructions, licence) -> the outcome
REFUSED = [
    ("bpf_lsm_bpf_prog", uapi.BPF_LSM_MAC, _returns(0), b"GPL\0", "done"),
    ("bpf_lsm_bpf_prog", uapi.BPF_LSM_MAC, _returns(-4095), b"GPL\0", "done"),
    (
        "bpf_lsm_bpf_prog",
        uapi.BPF_LSM_MAC,
        _returns(1),
        b"GPL\0",
        "EINVAL: At program exit the register R0 has smin=1 smax=1 should have been in [-4095, 0]",
    ),
    (
        "bpf_lsm_bpf_prog",
        uapi.BPF_LSM_MAC,
        _returns(-4096),
        b"GPL\0",
        "EINVAL: At program exit the register R0 has smin=-4096 smax=-4096 should have been in [-4095, 0]",
    ),
    ("bpf_lsm_bpf_prog", uapi.BPF_LSM_CGROUP, _returns(1), b"GPL\0", "done"),
    (
        "bpf_lsm_bpf_prog",
        uapi.BPF_LSM_CGROUP,
        _returns(2),
        b"GPL\0",
        "EINVAL: At program exit the register R0 has smin=2 smax=2 should have been in [0, 1]",
    ),
    ("bpf_lsm_bpf_prog", uapi.BPF_LSM_MAC, _returns(0), b"MIT\0", "EINVAL: LSM programs must have a GPL compatible license"),
    ("bpf_lsm_bpf_prog", uapi.BPF_TRACE_FENTRY, _returns(0), b"GPL\0", "EINVAL: a lsm program for attach type 24"),
    ("", uapi.BPF_LSM_MAC, _returns(0), b"GPL\0", "EINVAL: Tracing programs must provide btf_id"),
]


@pytest.mark.parametrize(("hook", "attach_type", "insns", "license", "expected"), REFUSED)
def test_what_a_program_may_be(
    kernel: Kernel, hook: str, attach_type: int, insns: list[Insn], license: bytes, expected: str
) -> None:
    assert _load(kernel.bpf, hook, insns, attach_type=attach_type, license=license, kernel=kernel) == expected


def test_a_function_that_is_no_hook_takes_no_lsm_program(kernel: Kernel) -> None:
    got = _load(kernel.bpf, "bpf_fentry_test1", attach_type=uapi.BPF_LSM_MAC, kernel=kernel)
    assert got.startswith("EINVAL") and got.endswith("points to wrong type name bpf_fentry_test1")


def test_where_linux_may_not_sleep_programs_may_not(kernel: Kernel, build: Callable[[str], Any]) -> None:
    body = 'SEC("lsm.s/inode_mkdir") int BPF_PROG(p, struct inode *dir, struct dentry *dentry, umode_t mode) { return 0; }'
    with pytest.raises(VerifierError, match="bpf_lsm_inode_mkdir is not sleepable"):
        build(body).load(kernel.bpf)


def test_loading_wants_perfmon(kernel: Kernel) -> None:
    from kernfs_sim.caller import CAP_BPF

    bpf = kernel.caller_bpf(InProcess(Cred(1000, 1000, frozenset({CAP_BPF}))))
    assert _load(bpf, "bpf_lsm_bpf_prog", attach_type=uapi.BPF_LSM_MAC, kernel=kernel).startswith("EPERM")
