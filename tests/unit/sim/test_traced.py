"""fentry and fexit at the functions of another program: what they may be loaded for, and what they see while it runs.

Linux of the machine that this runs on refuses them all as a policy (EPERM to root); this holds what its source says.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from systems import call, field, get_info
from test_extensions import PLAIN, TARGET, VALUE, run
from test_functions import insn, reads, returns

from bpfjit.btf import Kind
from bpfjit.errors import VerifierError, errno_name
from bpfjit.loader.bpf import Buffers
from bpfjit.loader.inspect import btf_by_id
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel

FENTRY, FEXIT = uapi.BPF_TRACE_FENTRY, uapi.BPF_TRACE_FEXIT


class World:
    """A kernel with a program that others trace."""

    def __init__(self, kernel: Kernel, build: Callable[[str], Any], target: str = TARGET) -> None:
        self.kernel, self.bpf, self.build = kernel, kernel.bpf, build
        self.target = build(target).load(kernel.bpf)
        self.entry = next(iter(self.target.progs.values())).fd

    def tracers(self, body: str, target: int | None = None) -> Any:
        """An object whose programs trace the target; what they note in `seen`, by index."""
        source = "struct pair { int a, b; };\nunsigned long long seen[16];\n" + body
        obj = self.build(source)
        return obj.load(self.bpf, targets=dict.fromkeys(obj.spec.progs, target or self.entry))

    def run(self) -> int:
        return run(self.bpf, self.entry)

    def load(self, function: str, insns: bytes, **more: int) -> tuple[int, str]:
        """A tracing program out of instructions: its fd, or -1; the errno and the log."""
        number = field("bpf_prog_info", get_info(self.bpf, self.entry, "bpf_prog_info")[0], "btf_id")
        btf_id = btf_by_id(self.bpf, number).find(Kind.FUNC, function) if function else 0
        keep, log = Buffers(), bytearray(4096)
        shape = {
            "prog_type": uapi.BPF_PROG_TYPE_TRACING,
            "expected_attach_type": FENTRY,
            "attach_btf_id": int(btf_id or 0),
            "attach_prog_fd": self.entry,
            **more,
        }
        attr = uapi.ProgLoad(
            insn_cnt=len(insns) // 8,
            insns=keep.put(insns),
            license=keep.put(b"GPL\0"),
            log_level=1,
            log_size=len(log),
            log_buf=keep.put(log),
            **shape,
        )
        try:
            return call(self.bpf, uapi.BPF_PROG_LOAD, attr), ""
        except OSError as e:
            return -1, f"{errno_name(e.errno or 0)}: {log.split(b'processed')[0].decode()}"


@pytest.fixture(params=[True, False], ids=["tiered", "optimised"])
def world(request: pytest.FixtureRequest, build: Callable[[str], Any]) -> Iterator[World]:
    with Kernel(tiered=request.param) as kernel:
        yield World(kernel, build)


def seen(tracers: Any) -> list[int]:
    bss = next(m for name, m in tracers.maps.items() if name.endswith(".bss"))
    return list(struct.unpack("<16Q", bss.lookup(bytes(4))[:128]))


BOTH = """
SEC("fentry/get_value") int BPF_PROG(before, void *skb, int x) { seen[0]++; seen[1] = x; return 0; }
SEC("fexit/get_value") int BPF_PROG(behind, void *skb, int x, int ret)
{
	seen[2]++;
	seen[3] = x;
	seen[4] = ret;
	return 0;
}
"""


def test_arguments_and_what_is_returned_while_the_links_are_there(world: World) -> None:
    tracers = world.tracers(BOTH)
    assert world.run() == PLAIN
    assert seen(tracers)[:5] == [0] * 5, "loaded is not attached"
    links = tracers.attach()
    assert world.run() == PLAIN
    assert seen(tracers)[:5] == [1, 5, 1, 5, 69]
    links["before"].close()
    world.run()
    assert seen(tracers)[:3] == [1, 5, 2]
    links["behind"].close()
    world.run()
    assert seen(tracers)[:3] == [1, 5, 2]


STATIC = """
static __attribute__((noinline)) int apart(int x)
{
	volatile int r = x + 1;

	return r;
}

SEC("tc")
int entry(struct __sk_buff *skb)
{
	return apart(skb->len);
}
"""


def test_the_whole_program_and_a_static_function(kernel: Kernel, build: Any) -> None:
    """A static function whose arguments are what its prototype says is known by that."""
    world = World(kernel, build, STATIC)
    tracers = world.tracers("""
    SEC("fexit/entry") int BPF_PROG(whole, void *skb, int ret) { seen[0]++; seen[1] = ret; return 0; }
    SEC("fexit/apart") int BPF_PROG(inner, int x, int ret) { seen[2]++; seen[3] = x; seen[4] = ret; return 0; }
    """)
    tracers.attach()
    assert world.run() == 65
    assert seen(tracers)[:5] == [1, 65, 1, 64, 65]
    assert "func 'apart' doesn't have 3-th argument" in world.load("apart", reads(2), expected_attach_type=FEXIT)[1]


UNTOLD = """
struct pair { int a, b; };

static __attribute__((noinline)) int apart(struct pair *p, int x)
{
	volatile int r = x;

	return r + p->a;
}

SEC("tc")
int entry(struct __sk_buff *skb)
{
	struct pair p = { 40, 2 };

	return apart(&p, skb->len);
}
"""


def test_a_function_that_its_prototype_tells_nothing_of_has_five_registers(kernel: Kernel, build: Any) -> None:
    world = World(kernel, build, UNTOLD)
    tracers = world.tracers("""
    SEC("fexit/apart") int behind(unsigned long long *ctx)
    {
        seen[0] = (unsigned)ctx[1];
        seen[1] = ctx[5];
        seen[2] = bpf_get_func_arg_cnt(ctx);
        return 0;
    }
    """)
    tracers.attach()
    assert world.run() == 104
    assert seen(tracers)[:3] == [64, 104, 5]
    assert world.load("apart", reads(6), expected_attach_type=FEXIT)[1].startswith("EACCES: ")
    assert "func 'apart' doesn't have 7-th argument" in world.load("apart", reads(6), expected_attach_type=FEXIT)[1]


def test_tracing_stays_when_its_target_is_optimised(world: World) -> None:
    tracers = world.tracers(BOTH)
    tracers.attach()
    for prog in world.kernel.progs:
        prog.optimise()
    assert world.run() == PLAIN and seen(tracers)[:3] == [1, 5, 1]


def test_tail_calls_come_to_their_end_within_a_traced_program(kernel: Kernel, build: Any) -> None:
    from systems import make_map, update_map

    array = make_map(kernel.bpf, map_type=uapi.BPF_MAP_TYPE_PROG_ARRAY, value_size=4, max_entries=1)
    target = build("""
    struct { __uint(type, BPF_MAP_TYPE_PROG_ARRAY); __uint(key_size, 4); __uint(value_size, 4); __uint(max_entries, 1); }
    jumps SEC(".maps");
    SEC("tc") int last(struct __sk_buff *skb) { return 77; }
    SEC("tc") int entry(struct __sk_buff *skb) { bpf_tail_call(skb, &jumps, 0); return 1; }
    """).load(kernel.bpf)
    kernel.bpf.close(array)
    update_map(kernel.bpf, target.maps["jumps"].fd, bytes(4), target.progs["last"].fd.to_bytes(4, "little"))
    body = 'unsigned long long seen[16];\nSEC("fexit/entry") int BPF_PROG(b, void *c, int r) { seen[0] = r; return 0; }'
    last = 'unsigned long long seen[16];\nSEC("fexit/last") int BPF_PROG(b, void *c, int r) { seen[0] += r; return 0; }'
    outer = build(body).load(kernel.bpf, targets={"b": target.progs["entry"].fd})
    inner = build(last).load(kernel.bpf, targets={"b": target.progs["last"].fd})
    outer.attach()
    inner.attach()
    assert run(kernel.bpf, target.progs["entry"].fd) == 77
    assert seen(outer)[0] == seen(inner)[0] == 77


def test_a_tracer_is_traced_and_its_tracer_is_not(kernel: Kernel, build: Any) -> None:
    world = World(kernel, build)
    outer = world.tracers('SEC("fentry/entry") int BPF_PROG(outer, void *c) { seen[0]++; return 0; }')
    outer.attach()
    body = 'SEC("fexit/outer") int BPF_PROG(again, void *c, int r) { seen[0]++; return 0; }'
    again = world.tracers(body, outer.progs["outer"].fd)
    again.attach()
    assert world.run() == PLAIN
    assert seen(outer)[0] == seen(again)[0] == 1
    with pytest.raises(VerifierError, match="Cannot nest tracing program attach more than once"):
        world.tracers('SEC("fentry/again") int BPF_PROG(third, void *c) { return 0; }', again.progs["again"].fd)


def test_one_stands_in_its_place_or_others_trace_it(world: World) -> None:
    extension = world.build("struct pair { int a, b; };\n" + VALUE).load(world.bpf, targets={"new": world.entry})
    tracers = world.tracers(BOTH)
    before = tracers.attach_prog(tracers.progs["before"])
    with pytest.raises(OSError, match="EBUSY"):
        extension.attach()
    before.close()
    extension.attach()
    with pytest.raises(OSError, match="EBUSY"):
        tracers.attach_prog(tracers.progs["behind"])
    extension.links["new"].close()
    tracers.attach_prog(tracers.progs["behind"])
    assert world.run() == PLAIN and seen(tracers)[2] == 1


def test_another_stands_in_the_place_of_the_whole_program(world: World) -> None:
    """What is traced within it is not run meanwhile, and traced again behind it."""
    tracers = world.tracers(BOTH)
    tracers.attach()
    other = 'struct pair { int a, b; };\nSEC("freplace/entry") int new(struct __sk_buff *skb) { return skb->len; }'
    extension = world.build(other).load(world.bpf, targets={"new": world.entry})
    link = extension.attach()["new"]
    assert world.run() == 64 and seen(tracers)[0] == 0
    link.close()
    assert world.run() == PLAIN and seen(tracers)[0] == 1
    extension.close()


def test_an_extension_is_traced(world: World) -> None:
    extension = world.build("struct pair { int a, b; };\n" + VALUE).load(world.bpf, targets={"new": world.entry})
    extension.attach()
    body = 'SEC("fexit/new") int BPF_PROG(b, void *skb, int x, int ret) { seen[0] = x; seen[1] = ret; return 0; }'
    tracers = world.tracers(body, extension.progs["new"].fd)
    tracers.attach()
    assert world.run() == PLAIN + 500
    assert seen(tracers)[:2] == [5, 74]


PACKETS = [
    (
        'SEC("xdp") int entry(struct xdp_md *ctx) { return XDP_PASS; }',
        "struct xdp_buff *xdp",
        "xdp->data_end - xdp->data",
        "xdp->data - xdp->data_hard_start",
        [64, 256],
    ),
    (
        'SEC("tc") int entry(struct __sk_buff *skb) { return 0; }',
        "struct sk_buff *skb",
        "skb->len",
        "*(unsigned short *)&skb->protocol",
        [64, 0x0400],  # ETH_P_802_2, as the packet has no protocol
    ),
]


@pytest.mark.parametrize(("target", "argument", "first", "second", "wanted"), PACKETS)
def test_a_packet_is_seen_as_the_kernel_has_it(
    kernel: Kernel, build: Any, target: str, argument: str, first: str, second: str, wanted: list[int]
) -> None:
    world = World(kernel, build, target)
    what = f"{{ seen[0] = {first}; seen[1] = {second}; return 0; }}"
    tracers = world.tracers(f'SEC("fentry/entry") int BPF_PROG(before, {argument}) {what}')
    tracers.attach()
    world.run()
    assert seen(tracers)[:2] == wanted
    wrong = f'SEC("fentry/entry") int BPF_PROG(b, {argument}) {{ {argument.split("*")[1]}->data = 0; return 0; }}'
    with pytest.raises(VerifierError, match="only read is supported"):
        world.tracers(wrong)


def test_nothing_is_left_of_tracing(kernel: Kernel, build: Any) -> None:
    world = World(kernel, build)

    def held() -> tuple[int, ...]:
        return kernel.native._holders, len(kernel.caller.fds), len(list(kernel.progs)), len(list(kernel.links))

    before = held()
    for _ in range(3):
        tracers = world.tracers(BOTH)
        tracers.attach()
        world.run()
        tracers.close()
    assert held() == before
    world.target.close()
    assert held()[2] == 0


def test_link_and_program_say_what_they_are(world: World) -> None:
    tracers = world.tracers(BOTH)
    link = tracers.attach()["behind"]
    info, _ = get_info(world.bpf, link.fd, "bpf_link_info")
    target = field("bpf_prog_info", get_info(world.bpf, world.entry, "bpf_prog_info")[0], "id")
    own, _ = get_info(world.bpf, tracers.progs["behind"].fd, "bpf_prog_info")
    function = field("bpf_prog_info", own, "attach_btf_id")
    told = [field("bpf_link_info", info, n) for n in ("type", "tracing.attach_type", "tracing.target_obj_id")]
    assert told == [uapi.BPF_LINK_TYPE_TRACING, FEXIT, target]
    assert function == field("bpf_link_info", info, "tracing.target_btf_id") != 0
    assert field("bpf_prog_info", own, "attach_btf_obj_id") == 0, "it is no function of the kernel"
    assert f"target_obj_id:\t{target}\ntarget_btf_id:\t{function}" in world.bpf.fdinfo(link.fd)


def test_it_is_attached_once(world: World) -> None:
    tracers = world.tracers(BOTH)
    fd = tracers.progs["before"].fd
    attr = uapi.LinkCreateTracing(prog_fd=fd, attach_type=FENTRY)
    link = call(world.bpf, uapi.BPF_LINK_CREATE, attr)
    for more in (attr, uapi.LinkCreateTracing(prog_fd=fd, attach_type=FENTRY, target_fd=world.entry, target_btf_id=1)):
        with pytest.raises(OSError) as e:
            call(world.bpf, uapi.BPF_LINK_CREATE, more)
        assert errno_name(e.value.errno or 0) == "EINVAL"
    world.bpf.close(link)
    with pytest.raises(OSError, match="has been attached already"):
        call(world.bpf, uapi.BPF_RAW_TRACEPOINT_OPEN, uapi.RawTracepointOpen(prog_fd=fd))


def test_at_most_38_programs(world: World) -> None:
    fds = [world.load("quiet", returns(0))[0] for _ in range(39)]
    links = [call(world.bpf, uapi.BPF_RAW_TRACEPOINT_OPEN, uapi.RawTracepointOpen(prog_fd=fd)) for fd in fds[:38]]
    with pytest.raises(OSError) as e:
        call(world.bpf, uapi.BPF_RAW_TRACEPOINT_OPEN, uapi.RawTracepointOpen(prog_fd=fds[38]))
    assert errno_name(e.value.errno or 0) == "E2BIG"
    world.run()
    for fd in (*links, *fds):
        world.bpf.close(fd)


def test_the_target_stays_as_long_as_it_is_traced(world: World) -> None:
    tracers = world.tracers(BOTH)
    links = tracers.attach()
    world.target.close()
    assert len(list(world.kernel.progs)) == 3
    for link in links.values():
        link.close()
    assert len(list(world.kernel.progs)) == 2
    tracers.close()
    assert len(list(world.kernel.progs)) == 0


# function, instructions, what else is asked for -> errno and reason
REFUSED = [
    ("", returns(0), {}, "EINVAL: Tracing programs must provide btf_id"),
    ("entry", returns(0), {"attach_btf_id": 9999}, "EINVAL: attach_btf_id 9999 is invalid"),
    ("entry", returns(0), {"attach_btf_id": 1}, "EINVAL: Subprog .* doesn't exist"),
    (
        "sum",
        returns(0),
        {"expected_attach_type": uapi.BPF_MODIFY_RETURN},
        "EINVAL: can't modify return codes of BPF programs",
    ),
    ("sum", returns(0), {"expected_attach_type": uapi.BPF_TRACE_RAW_TP}, "EINVAL: Only FENTRY/FEXIT progs are attachable"),
    ("get_value", returns(0), {"prog_flags": uapi.BPF_F_SLEEPABLE}, "EINVAL: get_value is not sleepable"),
    ("get_value", returns(1), {}, "EINVAL: .*At program exit the register R0 has"),
    ("get_value", reads(2), {}, "EACCES: .*func 'get_value' doesn't have 3-th argument"),
    ("get_value", reads(3), {"expected_attach_type": FEXIT}, "EACCES: .*func 'get_value' doesn't have 4-th argument"),
    ("sum", reads(0), {}, "EACCES: .*invalid bpf_context access off=0 size=8"),
    ("get_value", insn(0x7B, 0x11, 0) + returns(0), {}, "EACCES: .*invalid bpf_context access off=0 size=8"),
]


@pytest.mark.parametrize(("function", "insns", "more", "reason"), REFUSED)
def test_what_is_not_traced(world: World, function: str, insns: bytes, more: dict[str, int], reason: str) -> None:
    import re

    fd, said = world.load(function, insns, **more)
    assert fd < 0 and re.match(reason, said, re.S), said


def test_what_names_no_program(world: World) -> None:
    progs = len(list(world.kernel.progs))
    link = world.tracers(BOTH).attach()["before"]
    assert world.load("sum", returns(0), attach_prog_fd=link.fd)[1].startswith("EINVAL")
    assert world.load("sum", returns(0), attach_prog_fd=999)[1].startswith("EINVAL")
    assert world.load("sum", returns(0), attach_prog_fd=world.target.btf_fd)[1].startswith("ENOTSUPP")
    assert len(list(world.kernel.progs)) == progs + 2


def test_the_interpreter_is_not_traced(build: Callable[[str], Any]) -> None:
    with Kernel(engine="interp") as kernel:
        assert World(kernel, build).load("sum", returns(0))[1] == "EINVAL: Can attach to only JITed progs\n"


def test_links_come_and_go_while_the_target_runs(world: World) -> None:
    """Two threads run it, one traces it and lets go, again and again: no run goes wrong, and what is seen is whole."""
    trouble: list[BaseException] = []
    done = threading.Event()

    def runs() -> None:
        try:
            while not done.is_set():
                assert world.run() == PLAIN
        except BaseException as e:
            trouble.append(e)

    threads = [threading.Thread(target=runs) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(15):
            tracers = world.tracers(BOTH)
            tracers.attach()
            world.run()
            before, argument, behind, again, returned = seen(tracers)[:5]
            assert before >= 1 and behind >= 1 and (argument, again, returned) == (5, 5, 69)
            tracers.close()
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not trouble
