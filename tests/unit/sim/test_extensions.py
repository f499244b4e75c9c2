"""Programs that take the place of another's function (freplace): what they may stand for, and for how long they do.

Linux of the machine that this runs on may refuse them as a policy (EPERM to root); this holds what its source says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from systems import call, field, get_info, make_map, update_map

from bpfjit.errors import LoadError, VerifierError, errno_name
from bpfjit.loader.bpf import Bpf, Buffers
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel

TARGET = """
struct pair { int a, b; };
int seen;

__attribute__((noinline)) int get_value(struct __sk_buff *skb, int x)
{
	volatile int r = x;

	seen++;
	return r + skb->len;
}

__attribute__((noinline)) int sum(struct pair *p)
{
	volatile int r = p ? p->a + p->b : 0;

	return r;
}

static __attribute__((noinline)) int quiet(int x)
{
	volatile int r = x;

	return r;
}

SEC("tc")
int entry(struct __sk_buff *skb)
{
	struct pair p = { 1, 2 };

	return get_value(skb, 5) * 100 + sum(&p) * 10 + quiet(1);
}
"""
PLAIN = (64 + 5) * 100 + 31


def run(bpf: Bpf, fd: int) -> int:
    keep = Buffers()
    attr = uapi.TestRun(prog_fd=fd, data_in=keep.put(bytearray(64)), data_size_in=64, repeat=1)
    raw = bytearray(attr.pack())
    bpf(uapi.BPF_PROG_TEST_RUN, raw)
    return uapi.TestRun.unpack(raw).retval


class World:
    def __init__(self, kernel: Kernel, build: Callable[[str], Any]) -> None:
        self.kernel, self.bpf, self.build = kernel, kernel.bpf, build
        self.target = build(TARGET).load(kernel.bpf)
        self.entry = self.target.progs["entry"].fd

    def extension(self, body: str, target: int | None = None) -> Any:
        """An object with one extension, `new`."""
        source = "struct pair { int a, b; };\n" + body
        return self.build(source).load(self.bpf, targets={"new": self.entry if target is None else target})

    def run(self) -> int:
        return run(self.bpf, self.entry)


@pytest.fixture(params=[True, False], ids=["tiered", "optimised"])
def world(request: pytest.FixtureRequest, build: Callable[[str], Any]) -> Iterator[World]:
    with Kernel(tiered=request.param) as kernel:
        yield World(kernel, build)


VALUE = 'SEC("freplace/get_value") int new(struct __sk_buff *skb, int x) { return x * 2 + skb->len; }'


def test_a_function_is_another_while_the_link_is_there(world: World) -> None:
    assert world.run() == PLAIN
    extension = world.extension(VALUE)
    assert world.run() == PLAIN, "loaded is not attached"
    link = extension.attach()["new"]
    assert world.run() == PLAIN + 500
    link.close()
    assert world.run() == PLAIN


def test_an_extension_stays_when_its_target_is_optimised(world: World) -> None:
    extension = world.extension(VALUE)
    extension.attach()
    for prog in world.kernel.progs:
        prog.optimise()
    assert world.run() == PLAIN + 500


def test_memory_is_handed_on_by_its_size(world: World) -> None:
    world.extension('SEC("freplace/sum") int new(struct pair *p) { return p ? p->a * 7 : 0; }').attach()
    assert world.run() == PLAIN - 30 + 70
    with pytest.raises(VerifierError, match=r"invalid access to memory|invalid mem access|outside"):
        world.extension('SEC("freplace/sum") int new(struct pair *p) { return p ? p[3].a : 0; }')


def test_one_function_has_one_extension_at_a_time(world: World) -> None:
    first, second = world.extension(VALUE), world.extension(VALUE)
    first.attach()
    with pytest.raises(OSError, match="EBUSY"):
        second.attach()
    first.links["new"].close()
    second.attach()
    assert world.run() == PLAIN + 500


def test_what_was_attached_has_to_be_named_again(world: World) -> None:
    extension = world.extension(VALUE)
    extension.attach()["new"].close()
    fd = extension.progs["new"].fd
    link = uapi.LinkCreateTracing(prog_fd=fd)
    with pytest.raises(OSError, match="has to be named"):
        call(world.bpf, uapi.BPF_LINK_CREATE, link)
    other = world.build(TARGET).load(world.bpf)
    btf_id = field("bpf_prog_info", get_info(world.bpf, fd, "bpf_prog_info")[0], "attach_btf_id")
    link = uapi.LinkCreateTracing(prog_fd=fd, target_fd=other.progs["entry"].fd, target_btf_id=btf_id)
    made = call(world.bpf, uapi.BPF_LINK_CREATE, link)
    assert run(world.bpf, other.progs["entry"].fd) == PLAIN + 500 and world.run() == PLAIN
    world.bpf.close(made)
    with pytest.raises(OSError, match="both or none"):
        call(world.bpf, uapi.BPF_LINK_CREATE, uapi.LinkCreateTracing(prog_fd=fd, target_btf_id=btf_id))


def test_link_and_program_say_what_they_are(world: World) -> None:
    extension = world.extension(VALUE)
    link = extension.attach()["new"]
    info, _ = get_info(world.bpf, link.fd, "bpf_link_info")
    target = field("bpf_prog_info", get_info(world.bpf, world.entry, "bpf_prog_info")[0], "id")
    assert field("bpf_link_info", info, "type") == uapi.BPF_LINK_TYPE_TRACING
    assert field("bpf_link_info", info, "tracing.attach_type") == 0
    assert field("bpf_link_info", info, "tracing.target_obj_id") == target
    own, _ = get_info(world.bpf, extension.progs["new"].fd, "bpf_prog_info")
    assert field("bpf_prog_info", own, "type") == uapi.BPF_PROG_TYPE_EXT
    assert f"prog_type:\t{uapi.BPF_PROG_TYPE_EXT}" in world.bpf.fdinfo(extension.progs["new"].fd)


def test_the_target_stays_as_long_as_it_is_extended(world: World) -> None:
    progs = len(list(world.kernel.progs))
    extension = world.extension(VALUE)
    link = extension.attach()["new"]
    world.target.close()
    assert len(list(world.kernel.progs)) == progs + 1
    link.close()
    assert len(list(world.kernel.progs)) == progs
    extension.close()
    assert len(list(world.kernel.progs)) == 0


def test_a_loaded_extension_keeps_its_target_until_it_goes(world: World) -> None:
    extension = world.extension(VALUE)
    world.target.close()
    assert len(list(world.kernel.progs)) == 2
    extension.close()
    assert len(list(world.kernel.progs)) == 0


# what an extension is -> the reason for its refusal
REFUSED = [
    (
        'SEC("freplace/get_value") int new(struct __sk_buff *skb) { return 0; }',
        r"new\(\) has 1 args while get_value\(\) has 2",
    ),
    (
        'SEC("freplace/get_value") int new(struct __sk_buff *skb, long x) { return 0; }',
        "arg1 in new.. has size 8 while .* has 4",
    ),
    ('SEC("freplace/get_value") int new(int x, int y) { return 0; }', "arg0 in new.. is INT while get_value.. has PTR"),
    ('SEC("freplace/get_value") int new(struct pair *p, int y) { return 0; }', "struct pair .* doesn't match get_value"),
    (
        'SEC("freplace/get_value") void *new(struct __sk_buff *s, int y) { return s; }',
        "Return type PTR .* doesn't match type INT",
    ),
    ('SEC("freplace/quiet") int new(int x) { return x; }', "Cannot replace static functions"),
    (
        'SEC("freplace/get_value") int new(struct __sk_buff *skb, int x) { return ((int *)(long)skb->data)[0]; }',
        "invalid access to packet",
    ),
]


@pytest.mark.parametrize(("body", "reason"), REFUSED)
def test_an_extension_is_like_the_function_that_it_stands_for(world: World, body: str, reason: str) -> None:
    with pytest.raises(VerifierError, match=reason):
        world.extension(body)


def test_tracing_programs_are_not_extended(kernel: Kernel, build: Callable[[str], Any]) -> None:
    target = build("""
    __attribute__((noinline)) int f(int x)
    {
        volatile int r = x;

        return r;
    }

    SEC("fentry/bpf_fentry_test1") int BPF_PROG(before, int a) { return f(a) & 0; }
    """).load(kernel.bpf)
    with pytest.raises(VerifierError, match="Cannot extend fentry/fexit"):
        build('SEC("freplace/f") int new(int x) { return x; }').load(kernel.bpf, targets={"new": target.progs["before"].fd})


def test_a_function_that_the_target_does_not_have(world: World) -> None:
    with pytest.raises(LoadError, match="no function 'none'"):
        world.extension('SEC("freplace/none") int new(int x) { return x; }')


def test_an_extension_has_no_extensions(world: World) -> None:
    first = world.extension(VALUE)
    body = 'SEC("freplace/new") int new(struct __sk_buff *skb, int x) { return 0; }'
    with pytest.raises(VerifierError, match="Cannot recursively attach"):
        world.extension(body, first.progs["new"].fd)


def test_what_the_target_relied_upon_stays_true(kernel: Kernel, build: Callable[[str], Any]) -> None:
    """A function that left the packet alone is not replaced by one that does not."""
    target = build("""
    __attribute__((noinline)) int f(struct xdp_md *ctx)
    {
        volatile int r = 1;

        return r;
    }

    SEC("xdp") int x(struct xdp_md *ctx) { return f(ctx); }
    """).load(kernel.bpf)
    body = 'SEC("freplace/f") int new(struct xdp_md *ctx) { return bpf_xdp_adjust_head(ctx, 4); }'
    with pytest.raises(VerifierError, match="Extension program changes packet data, while original does not"):
        build(body).load(kernel.bpf, targets={"new": target.progs["x"].fd})


def test_an_extension_runs_nowhere_else(world: World) -> None:
    fd = world.extension(VALUE).progs["new"].fd
    with pytest.raises(OSError) as e:
        run(world.bpf, fd)
    assert errno_name(e.value.errno or 0) == "ENOTSUPP"
    array = make_map(world.bpf, map_type=uapi.BPF_MAP_TYPE_PROG_ARRAY, value_size=4)
    with pytest.raises(OSError, match="is an extension"):
        update_map(world.bpf, array, bytes(4), fd.to_bytes(4, "little"))


def test_tail_calls_do_not_lead_to_what_is_extended(world: World) -> None:
    """Nor is what they lead to extended: a function of it might come back to it without an end."""
    array = make_map(world.bpf, map_type=uapi.BPF_MAP_TYPE_PROG_ARRAY, value_size=4)
    entry, extension = world.entry.to_bytes(4, "little"), world.extension(VALUE)
    link = extension.attach()["new"]
    with pytest.raises(OSError, match="stand in the places of"):
        update_map(world.bpf, array, bytes(4), entry)
    link.close()
    update_map(world.bpf, array, bytes(4), entry)
    with pytest.raises(OSError, match="is in a program array"):
        world.extension(VALUE).attach()
    world.bpf.close(array)
    world.extension(VALUE).attach()


def test_the_interpreter_takes_no_extensions(build: Callable[[str], Any]) -> None:
    with Kernel(engine="interp") as kernel, pytest.raises(VerifierError, match=r"should be JITed|EINVAL"):
        World(kernel, build).extension(VALUE)
