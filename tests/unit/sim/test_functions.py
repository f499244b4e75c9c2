"""fentry, fexit and fmod_ret: what they may do, what a test run calls, and what attached programs see.

Nothing is attached to the real system: on Linux programs are loaded and run, attached they are to the simulated kernel only.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from systems import Simulated, System, call, field, get_info, live_or_skip, make_map

from bpfjit.btf import Kind
from bpfjit.errors import errno_name
from bpfjit.loader.bpf import Buffers, kernel_btf
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel
from tests.live import without

FENTRY, FEXIT, MODIFY = uapi.BPF_TRACE_FENTRY, uapi.BPF_TRACE_FEXIT, uapi.BPF_MODIFY_RETURN
HOOKS = {"fentry": FENTRY, "fexit": FEXIT, "fmod_ret": MODIFY}


def insn(code: int, regs: int = 0, off: int = 0, imm: int = 0) -> bytes:
    return struct.pack("<BBhi", code, regs, off, imm)


def returns(value: int) -> bytes:
    return insn(0xB7, 0, 0, value) + insn(0x95)


def reads(index: int, size: int = 8) -> bytes:
    """A program that reads an argument slot."""
    return insn({8: 0x79, 4: 0x61, 2: 0x69, 1: 0x71}[size], 0x12, 8 * index) + returns(0)


def load(system: System, hook: str, function: str, insns: bytes, *, flags: int = 0) -> int:
    btf_id = kernel_btf(system.bpf).find(Kind.FUNC, function)
    keep = Buffers()
    attr = uapi.ProgLoad(
        prog_type=uapi.BPF_PROG_TYPE_TRACING,
        insn_cnt=len(insns) // 8,
        insns=keep.put(insns),
        license=keep.put(b"GPL\0"),
        expected_attach_type=HOOKS[hook],
        attach_btf_id=int(btf_id or 0),
        prog_flags=flags,
    )
    return call(system.bpf, uapi.BPF_PROG_LOAD, attr)


def outcome(call: Callable[[], Any]) -> str:
    try:
        call()
    except OSError as e:
        return errno_name(e.errno or 0)
    return "done"


PROGRAMS = {
    "returns 0": returns(0),
    "returns 1": returns(1),
    "returns -1": returns(-1),
    "reads argument 0": reads(0),
    "reads half of argument 0": reads(0, 4),
    "reads a byte of argument 0": reads(0, 1),
    "reads argument 1": reads(1),
    "reads argument 2": reads(2),
    "reads argument 6": reads(6),
    "reads argument 7": reads(7),
    "reads argument 8": reads(8),
    "reads behind argument 0": insn(0x79, 0x02, 8) + insn(0x79, 0x22, 0) + returns(0),
    "follows argument 0": insn(0x79, 0x12, 0) + insn(0x79, 0x22, 0) + returns(0),
    "writes its context": insn(0x7B, 0x11, 0) + returns(0),
}
# Function -> how many arguments it has, and which of them are pointers.
FUNCTIONS = {
    "bpf_fentry_test1": (1, ()),
    "bpf_fentry_test2": (2, ()),
    "bpf_fentry_test3": (3, ()),
    "bpf_fentry_test4": (4, (0,)),
    "bpf_fentry_test5": (5, (1,)),
    "bpf_fentry_test6": (6, (1, 4)),
    "bpf_fentry_test7": (1, (0,)),
    "bpf_fentry_test8": (1, (0,)),
    "bpf_modify_return_test": (2, (1,)),
    "bpf_modify_return_test2": (7, (1, 4)),
}
MODIFIABLE = ("bpf_fentry_test1", "bpf_modify_return_test", "bpf_modify_return_test2")
STRUCTURES = ("bpf_fentry_test7", "bpf_fentry_test8")


def expected(hook: str, function: str, program: str) -> str:
    """Linux's verdict, by its rules."""
    count, pointers = FUNCTIONS[function]
    if hook == "fmod_ret" and function not in MODIFIABLE:
        return "EINVAL"
    if program in ("returns 1", "returns -1"):
        return "done" if hook == "fmod_ret" else "EINVAL"
    if program.startswith("reads argument"):
        return "done" if int(program.split()[-1]) < count + (hook != "fentry") else "EACCES"
    if program in ("reads half of argument 0", "reads a byte of argument 0"):
        return "EACCES" if 0 in pointers else "done"
    if program == "follows argument 0":
        return "done" if function in STRUCTURES else "EACCES"
    return "EACCES" if program in ("writes its context", "reads behind argument 0") else "done"


@pytest.fixture(scope="module", params=["simulated", pytest.param("live", marks=without("fentry/bpf_fentry_test1"))])
def judge(request: pytest.FixtureRequest) -> Iterator[System]:
    system = live_or_skip() if request.param == "live" else Simulated(Kernel(cache=False, engine="interp"))
    yield system
    system.close()


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_what_a_program_may_do_with_a_function(judge: System, hook: str, function: str) -> None:
    for name, insns in PROGRAMS.items():
        told = outcome(lambda i=insns: judge.bpf.close(load(judge, hook, function, i)))  # type: ignore[misc]
        assert told == expected(hook, function, name), name


def test_who_may_sleep(judge: System) -> None:
    told = [
        outcome(lambda f=f: judge.bpf.close(load(judge, "fentry", f, returns(0), flags=uapi.BPF_F_SLEEPABLE)))  # type: ignore[misc]
        for f in ("bpf_fentry_test1", "bpf_fentry_test2", "bpf_modify_return_test")
    ]
    assert told == ["done", "EINVAL", "done"]


def run(system: System, prog: int, **more: int) -> int:
    attr = bytearray(uapi.TestRun(prog_fd=prog, **more).pack())
    system.bpf(uapi.BPF_PROG_TEST_RUN, attr)
    return uapi.TestRun.unpack(attr).retval


RUNS = [
    ("fentry", "bpf_fentry_test1", 0),
    ("fexit", "bpf_fentry_test6", 0),
    ("fmod_ret", "bpf_modify_return_test", 2 << 16 | 33),
]


@pytest.mark.parametrize("hook, function, wanted", RUNS)
def test_a_test_run_calls_the_test_functions(judge: System, hook: str, function: str, wanted: int) -> None:
    prog = load(judge, hook, function, returns(0))
    assert run(judge, prog) == wanted
    for more in ({"flags": 1}, {"cpu": 1}, {"batch_size": 1}):
        assert outcome(lambda m=more: run(judge, prog, **m)) == "EINVAL"  # type: ignore[misc]
    judge.bpf.close(prog)


# -- attached: simulated only ------------------------------------------------------------------------------------


class World:
    """A kernel, and programs that note what they see in an array: element i is `r1[i]` at their last run, 15 counts runs."""

    def __init__(self, engine: str) -> None:
        self.kernel = Kernel(cpus=2, cache=False, engine=engine)
        self.system = Simulated(self.kernel)
        self.bpf = self.kernel.bpf

    def note(self, slots: int) -> tuple[int, bytes]:
        """A map, and instructions that put so many argument slots into it and count."""
        m = make_map(self.bpf, max_entries=1, value_size=128)
        code = insn(0x18, 0x26, 0, m) + insn(0)  # r6 = the value
        for i in range(slots):
            code += insn(0x79, 0x12, 8 * i) + insn(0x7B, 0x26, 8 * i)
        return m, code + insn(0xB7, 2, 0, 1) + insn(0xDB, 0x26, 120)

    def seen(self, m: int) -> tuple[int, ...]:
        keep, value = Buffers(), bytearray(128)
        call(self.bpf, uapi.BPF_MAP_LOOKUP_ELEM, uapi.MapElem(map_fd=m, key=keep.put(bytes(4)), value=keep.put(value)))
        return struct.unpack("<16Q", value)

    def attach(self, hook: str, function: str, insns: bytes, cookie: int = 0) -> int:
        prog = load(self.system, hook, function, insns)
        return self.link(prog, hook, cookie)

    def link(self, prog: int, hook: str, cookie: int = 0) -> int:
        return call(
            self.bpf, uapi.BPF_LINK_CREATE, uapi.LinkCreateTracing(prog_fd=prog, attach_type=HOOKS[hook], cookie=cookie)
        )


@pytest.fixture(params=["jit", "interp"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    made = World(request.param)
    yield made
    made.kernel.close()


def test_fentry_sees_the_arguments_and_fexit_the_result(world: World) -> None:
    before, code = world.note(6)
    world.attach("fentry", "bpf_fentry_test6", code + returns(0))
    after, code = world.note(7)
    link = world.attach("fexit", "bpf_fentry_test6", code + returns(0))
    prog = load(world.system, "fentry", "bpf_fentry_test1", returns(0))
    assert run(world.system, prog) == 0
    assert world.seen(before)[:6] == (16, 17, 18, 19, 20, 21)
    assert world.seen(after)[:7] == (16, 17, 18, 19, 20, 21, 111)
    assert run(world.system, prog) == 0
    assert world.seen(before)[15] == world.seen(after)[15] == 2
    world.bpf.close(link)
    run(world.system, prog)
    assert (world.seen(before)[15], world.seen(after)[15]) == (3, 2)


def test_fmod_ret_takes_the_functions_place(world: World) -> None:
    after, code = world.note(3)
    world.attach("fexit", "bpf_modify_return_test", code + returns(0))
    prog = load(world.system, "fmod_ret", "bpf_modify_return_test2", returns(0))
    assert run(world.system, prog) == 2 << 16 | 33
    link = world.attach("fmod_ret", "bpf_modify_return_test", returns(100))
    assert run(world.system, prog) == 1 << 16 | 129, "one effect is missing, and 100 stands for 4"
    assert world.seen(after)[0] == 1 and world.seen(after)[2] == 100
    world.bpf.close(link)
    assert run(world.system, prog) == 2 << 16 | 33


def test_the_last_attached_runs_first(world: World) -> None:
    """fmod_ret programs run until one says something: the first attached is not asked any more."""
    first, code = world.note(1)
    world.attach("fmod_ret", "bpf_modify_return_test", code + returns(0))
    world.attach("fmod_ret", "bpf_modify_return_test", returns(7))
    prog = load(world.system, "fmod_ret", "bpf_modify_return_test", returns(0))
    run(world.system, prog)
    assert world.seen(first)[15] == 0


def test_a_function_of_the_kernels_own(world: World) -> None:
    before, code = world.note(1)
    world.attach("fentry", "cgroup_rmdir", code + returns(0))
    after, code = world.note(2)
    world.attach("fexit", "cgroup_rmdir", code + returns(0))
    cgroup = world.kernel.cgroups.create("/web")
    task = world.kernel.tasks.create(10, "t", cgroup)
    from runtime import ffi

    node = int(ffi.cast("uintptr_t", cgroup.kn))
    assert outcome(lambda: world.kernel.rmdir("/sys/fs/cgroup/web")) == "EBUSY"
    assert world.seen(before)[0] == node and world.seen(after)[1] == (1 << 32) - 16, "-EBUSY"
    moved, code = world.note(3)
    world.attach("fentry", "cgroup_attach_task", code + returns(0))
    world.kernel.tasks.move(task, world.kernel.cgroups.root)
    root, subject = (int(ffi.cast("uintptr_t", c)) for c in (world.kernel.cgroups.root.c, task.c))
    assert world.seen(moved)[:3] == (root, subject, 0)
    world.kernel.rmdir("/sys/fs/cgroup/web")
    assert world.seen(after)[1] == 0 and world.seen(after)[15] == 2


def test_a_tracing_link_tells_what_it_is(world: World) -> None:
    prog = load(world.system, "fexit", "bpf_fentry_test3", returns(0))
    link = world.link(prog, "fexit", cookie=77)
    info = get_info(world.bpf, link, "bpf_link_info")[0]
    btf_id = kernel_btf(world.bpf).find(Kind.FUNC, "bpf_fentry_test3")
    told = {
        n: field("bpf_link_info", info, n)
        for n in ("type", "tracing.attach_type", "tracing.target_btf_id", "tracing.cookie")
    }
    assert list(told.values()) == [uapi.BPF_LINK_TYPE_TRACING, FEXIT, btf_id, 77]
    text = world.kernel.caller.fds.get(link).fdinfo()
    assert text.endswith(f"attach_type:\t{FEXIT}\ntarget_obj_id:\t1\ntarget_btf_id:\t{btf_id}\ncookie:\t77\n")
    assert outcome(lambda: world.link(prog, "fexit")) == "EBUSY"
    assert outcome(lambda: world.link(prog, "fentry")) == "EINVAL"
    other = load(world.system, "fexit", "bpf_fentry_test3", returns(0))
    assert (
        outcome(lambda: call(world.bpf, uapi.BPF_LINK_UPDATE, uapi.LinkUpdate(link_fd=link, new_prog_fd=other))) == "EINVAL"
    )
    assert outcome(lambda: call(world.bpf, uapi.BPF_LINK_DETACH, uapi.LinkDetach(link_fd=link))) == "ENOTSUP"
    old_way = call(world.bpf, uapi.BPF_RAW_TRACEPOINT_OPEN, uapi.RawTracepointOpen(prog_fd=other))
    assert field("bpf_link_info", get_info(world.bpf, old_way, "bpf_link_info")[0], "type") == uapi.BPF_LINK_TYPE_TRACING


def test_at_most_38_programs(world: World) -> None:
    for _ in range(38):
        world.attach("fentry", "bpf_fentry_test2", returns(0))
    assert outcome(lambda: world.attach("fexit", "bpf_fentry_test2", returns(0))) == "E2BIG"


def test_a_section_says_it_all(build: Callable[[str], Any]) -> None:
    obj = build(
        """
        int seen, ret_seen;
        SEC("fentry/bpf_fentry_test2") int BPF_PROG(before, int a, unsigned long long b) { seen = a * 10 + b; return 0; }
        SEC("fexit/bpf_fentry_test2") int BPF_PROG(after, int a, unsigned long long b, int ret) { ret_seen = ret; return 0; }
        """
    )
    with Kernel(cache=False) as kernel, obj.load(kernel.bpf) as loaded:
        assert set(loaded.attach()) == {"before", "after"}
        assert run(Simulated(kernel), loaded.progs["before"].fd) == 0
        bss = next(m for name, m in loaded.maps.items() if name.endswith(".bss"))
        assert sorted(struct.unpack("<2i", bss.lookup(bytes(4)))) == [5, 23]
