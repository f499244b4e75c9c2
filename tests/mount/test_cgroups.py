"""bpftool's verbs on cgroups, and what programs print, of a mounted kernel."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import pytest

from bpfjit import open_object
from bpfjit.cli.main import main
from bpfjit.loader.compile import compile_c
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel
from kernfs_sim.bpf.fd import ObjectFile
from kernfs_sim.fs.fuse_mount import FuseMount

SOURCE = """
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

SEC("cgroup/dev")
int devices(struct bpf_cgroup_dev_ctx *ctx)
{
	return 1;
}

SEC("lsm_cgroup/bpf_prog")
int BPF_PROG(progs, struct bpf_prog *prog)
{
	return 1;
}

SEC("syscall")
int talk(void *ctx)
{
	bpf_printk("to all\\n");
	return bpf_stream_printk(BPF_STDOUT, "to %s\\n", "you");
}

char _license[] SEC("license") = "GPL";
"""
HEAD = "ID       AttachType      AttachFlags     Name           \n"


def said(*words: str) -> tuple[int, str, str]:
    """A command's exit code, text, and complaint."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    return code, out.getvalue(), err.getvalue()


@pytest.fixture
def place(fuse: tuple[Kernel, FuseMount], tmp_path: Path) -> tuple[Kernel, str]:
    kernel, mount = fuse
    source = tmp_path / "c.bpf.c"
    source.write_text(SOURCE)
    made = source.with_suffix(".o")
    made.write_bytes(compile_c(source))
    loaded = open_object(made).load(kernel.bpf)
    kernel.mkdir("/sys/fs/cgroup/x")
    kernel.mkdir("/sys/fs/cgroup/x/y")
    assert loaded.progs
    return kernel, str(mount.directory)


def test_programs_are_attached_shown_and_detached(place: tuple[Kernel, str]) -> None:
    _, top = place
    x, at = f"{top}/sys/fs/cgroup/x", ("--mount", top)
    assert said("cgroup", "show", x, *at) == (0, "", "")
    assert said("cgroup", "attach", x, "device", "name", "devices", "multi", *at) == (0, "", "")
    code, text, _ = said("cgroup", "list", x, *at)
    number = text.splitlines()[1].split()[0]
    row = f"{number:<8} cgroup_device   multi           devices        \n"
    assert code == 0 and text == HEAD + row
    _, text, _ = said("cgroup", "show", f"{x}/y", "effective", *at)
    assert text == f"ID       AttachType      Name           \n{number:<8} cgroup_device   devices        \n"
    shown = {"id": int(number), "attach_type": "cgroup_device", "attach_flags": "multi", "name": "devices"}
    assert json.loads(said("-j", "cgroup", "show", x, *at)[1]) == [shown]
    tree = f"CgroupPath\n{HEAD}{x}\n    {row}"
    assert said("cgroup", "tree", *at) == said("cgroup", "tree", f"{top}/sys/fs/cgroup", *at) == (0, tree, "")
    assert json.loads(said("-j", "cgroup", "tree", *at)[1]) == [{"cgroup": x, "programs": [shown]}]
    assert said("cgroup", "detach", x, "cgroup_device", "id", number, *at) == (0, "", "")
    assert said("cgroup", "show", x, *at) == (0, "", "")
    code, _, complaint = said("cgroup", "detach", x, "device", "id", number, *at)
    assert code == 1 and complaint.startswith("bpfjit: error: failed to detach program")


def test_a_hook_is_named_behind_its_program(place: tuple[Kernel, str]) -> None:
    _, top = place
    x = f"{top}/sys/fs/cgroup/x"
    assert said("cgroup", "attach", x, "lsm_cgroup", "name", "progs", "multi", "--mount", top)[0] == 0
    text = said("cgroup", "show", x, "--mount", top)[1]
    assert text.splitlines()[1].split()[1:] == ["lsm_cgroup", "multi", "progs", "bpf_lsm_bpf_prog"]


# words -> exit code, complaint
REFUSED = [
    (("show",), 2, "CGROUP is missing"),
    (("show", "{top}/none"), 1, "can't open cgroup"),
    (("show", "{top}/tmp"), 1, "can't query bpf programs attached to"),
    (("show", "{top}/sys/fs/cgroup/x", "more"), 2, "what is 'more'?"),
    (("attach", "{top}/sys/fs/cgroup/x"), 2, "TYPE is missing"),
    (("attach", "{top}/sys/fs/cgroup/x", "xdp", "name", "devices"), 2, "invalid attach type 'xdp'"),
    (("attach", "{top}/sys/fs/cgroup/x", "device"), 2, "which prog?"),
    (("attach", "{top}/sys/fs/cgroup/x", "device", "name", "devices", "many"), 2, "Wanted multi or override"),
    (("attach", "{top}/sys/fs/cgroup/x", "sysctl", "name", "devices"), 1, "failed to attach program"),
]


@pytest.mark.parametrize(("words", "code", "complaint"), REFUSED)
def test_what_makes_no_sense_is_said(place: tuple[Kernel, str], words: tuple[str, ...], code: int, complaint: str) -> None:
    _, top = place
    got = said("cgroup", *(word.format(top=top) for word in words), "--mount", top)
    assert got[0] == code and complaint in got[2] and got[1] == ""


def test_what_programs_print_is_read_once(place: tuple[Kernel, str]) -> None:
    kernel, top = place
    talk = next(prog for prog in kernel.progs if prog.name == "talk")
    fd = kernel.caller.fds.install(ObjectFile(talk, kernel.caller.cred))
    for _ in range(2):
        kernel.bpf(uapi.BPF_PROG_TEST_RUN, bytearray(uapi.TestRun(prog_fd=fd).pack()))
    pipe = Path(f"{top}/sys/kernel/tracing/trace_pipe")
    assert pipe.read_text() == "to all\n" * 2 and pipe.read_text() == ""
    kernel.bpf(uapi.BPF_PROG_TEST_RUN, bytearray(uapi.TestRun(prog_fd=fd).pack()))
    assert said("prog", "tracelog", "--mount", top) == (0, "to all\n", "")
    assert said("prog", "tracelog", "stdout", "name", "talk", "--mount", top) == (0, "to you\n" * 3, "")
    assert said("-j", "prog", "tracelog", "stderr", "name", "talk", "--mount", top) == (0, '{"stream":""}\n', "")
    code, _, complaint = said("prog", "tracelog", "nowhere", "name", "talk", "--mount", top)
    assert code == 2 and "Wanted stdout or stderr" in complaint
