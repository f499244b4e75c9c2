"""Programs on cgroups. Simulated only, but for the refusals that Linux gives before anything is attached:
to attach is to change the machine that the tests run on.
"""

from __future__ import annotations

import gc
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from systems import Simulated, System, call, field, get_info, load_prog

from bpfjit.errors import errno_name
from bpfjit.loader.bpf import Buffers
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel

DEVICE, SYSCTL = uapi.BPF_CGROUP_DEVICE, uapi.BPF_CGROUP_SYSCTL
MULTI, OVERRIDE, REPLACE = uapi.BPF_F_ALLOW_MULTI, uapi.BPF_F_ALLOW_OVERRIDE, uapi.BPF_F_REPLACE
BEFORE, AFTER, BY_ID, LINK, PREORDER = (
    uapi.BPF_F_BEFORE,
    uapi.BPF_F_AFTER,
    uapi.BPF_F_ID,
    uapi.BPF_F_LINK,
    uapi.BPF_F_PREORDER,
)


def returns(value: int) -> bytes:
    return struct.pack("<BBhi", 0xB7, 0, 0, value) + struct.pack("<BBhi", 0x95, 0, 0, 0)


def outcome(call: Callable[[], Any]) -> str:
    try:
        call()
    except OSError as e:
        return errno_name(e.errno or 0)
    return "done"


class World:
    """A kernel with /a, /a/b and /a/b/c, and device programs one to four by number."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.bpf = kernel.bpf
        self.sim = Simulated(kernel)
        kernel.cgroups.create("/a/b/c")
        self.dirs = {p: self.sim.open(f"/sys/fs/cgroup{p}") for p in ("/", "/a", "/a/b", "/a/b/c")}
        self.progs = {n: self.load(1) for n in range(1, 5)}
        self.links: dict[int, int] = {}

    def load(self, value: int, prog_type: int = uapi.BPF_PROG_TYPE_CGROUP_DEVICE, attach_type: int = 0) -> int:
        return load_prog(self.bpf, returns(value), prog_type=prog_type, attach_type=attach_type)

    def id_of(self, n: int) -> int:
        return field("bpf_prog_info", get_info(self.bpf, self.progs[n], "bpf_prog_info")[0], "id")

    def attach(self, path: str, n: int, flags: int = 0, attach_type: int = DEVICE, **more: int) -> str:
        attr = uapi.ProgAttach(
            target_fd=self.dirs[path], attach_bpf_fd=self.progs[n], attach_type=attach_type, attach_flags=flags, **more
        )
        return outcome(lambda: call(self.bpf, uapi.BPF_PROG_ATTACH, attr))

    def detach(self, path: str, n: int = 0, attach_type: int = DEVICE, **more: int) -> str:
        fd = self.progs[n] if n else 0
        attr = uapi.ProgAttach(target_fd=self.dirs[path], attach_bpf_fd=fd, attach_type=attach_type, **more)
        return outcome(lambda: call(self.bpf, uapi.BPF_PROG_DETACH, attr))

    def link(self, path: str, n: int, flags: int = 0, relative: int = 0, revision: int = 0) -> str:
        attr = uapi.LinkCreateCgroup(
            prog_fd=self.progs[n],
            target_fd=self.dirs[path],
            attach_type=DEVICE,
            flags=flags,
            relative_fd=relative,
            expected_revision=revision,
        )

        def make() -> None:
            self.links[n] = call(self.bpf, uapi.BPF_LINK_CREATE, attr)

        return outcome(make)

    def query(self, path: str, *, effective: bool = False, room: int = 16, attach_type: int = DEVICE) -> uapi.ProgQuery:
        keep = Buffers()
        self.told, self.told_flags = bytearray(b"\xee" * 64), bytearray(b"\xee" * 64)
        attr = bytearray(
            uapi.ProgQuery(
                target_fd=self.dirs[path],
                attach_type=attach_type,
                query_flags=int(effective),
                prog_ids=keep.put(self.told),
                prog_cnt=room,
                prog_attach_flags=0 if effective else keep.put(self.told_flags),
            ).pack()
        )
        try:
            self.bpf(uapi.BPF_PROG_QUERY, attr)
        finally:
            self.answer = uapi.ProgQuery.unpack(attr)
        return self.answer

    def own(self, path: str, attach_type: int = DEVICE) -> list[int]:
        """The numbers of a cgroup's own programs, in order."""
        return self._numbers(self.query(path, attach_type=attach_type))

    def runs(self, path: str) -> list[int]:
        return self._numbers(self.query(path, effective=True))

    def _numbers(self, answer: uapi.ProgQuery) -> list[int]:
        numbers = {self.id_of(n): n for n in self.progs}
        return [numbers[i] for i in struct.unpack_from(f"<{answer.prog_cnt}I", self.told)]


@pytest.fixture
def world() -> Iterator[World]:
    with Kernel(cache=False, engine="interp") as kernel:
        yield World(kernel)


# -- flags, and what may stand beside what -----------------------------------------------------------------

FLAGS = [
    (0, "done"),
    (OVERRIDE, "done"),
    (MULTI, "done"),
    (OVERRIDE | MULTI, "EINVAL"),
    (REPLACE, "EINVAL"),
    (PREORDER | MULTI, "done"),
    (BEFORE | MULTI, "done"),
    (BEFORE | AFTER | MULTI, "done"),  # nothing is there yet to be before or after
    (1 << 7, "EINVAL"),
    (1 << 31, "EINVAL"),
]


@pytest.mark.parametrize("flags, wanted", FLAGS)
def test_flags_of_the_first_program(world: World, flags: int, wanted: str) -> None:
    assert world.attach("/a", 1, flags) == wanted


# (flags of what is there, flags of what comes) -> the outcome, and what is there then
SECOND = [
    (0, 0, "done", [2]),
    (OVERRIDE, OVERRIDE, "done", [2]),
    (MULTI, MULTI, "done", [1, 2]),
    (0, MULTI, "EPERM", [1]),
    (MULTI, 0, "EPERM", [1]),
    (OVERRIDE, 0, "EPERM", [1]),
    (0, OVERRIDE, "EPERM", [1]),
]


@pytest.mark.parametrize("first, second, wanted, left", SECOND)
def test_programs_share_a_cgroup_by_the_same_flags(
    world: World, first: int, second: int, wanted: str, left: list[int]
) -> None:
    assert world.attach("/a", 1, first) == "done"
    assert world.attach("/a", 2, second) == wanted
    assert world.own("/a") == left
    assert world.answer.attach_flags == first


# (flags above, flags below) -> may a program be attached below, and what runs in /a/b/c
HIERARCHY = [
    (0, 0, "EPERM", [1]),
    (0, MULTI, "EPERM", [1]),
    (OVERRIDE, 0, "done", [2]),
    (OVERRIDE, OVERRIDE, "done", [2]),
    (OVERRIDE, MULTI, "done", [2]),
    (MULTI, 0, "done", [2, 1]),
    (MULTI, OVERRIDE, "done", [2, 1]),
    (MULTI, MULTI, "done", [2, 1]),
]


@pytest.mark.parametrize("above, below, wanted, run", HIERARCHY)
def test_what_is_attached_above_decides_below(world: World, above: int, below: int, wanted: str, run: list[int]) -> None:
    assert world.attach("/a", 1, above) == "done"
    assert world.attach("/a/b", 2, below) == wanted
    assert world.runs("/a/b/c") == run
    assert world.runs("/a") == [1]
    assert world.runs("/") == []


def test_a_program_once_only(world: World) -> None:
    assert world.attach("/a", 1, MULTI) == "done"
    assert world.attach("/a", 1, MULTI) == "EINVAL"
    assert world.link("/a", 1) == "done", "a link is another attachment of it"
    assert world.link("/a", 1) == "done"
    assert world.own("/a") == [1, 1, 1]


def test_replacement(world: World) -> None:
    for n in (1, 2, 3):
        assert world.attach("/a", n, MULTI) == "done"
    assert world.attach("/a", 4, MULTI | REPLACE, replace_bpf_fd=world.progs[2]) == "done"
    assert world.own("/a") == [1, 4, 3]
    assert world.attach("/a", 2, MULTI | REPLACE, replace_bpf_fd=world.progs[2]) == "ENOENT"
    assert world.attach("/a", 1, MULTI | REPLACE, replace_bpf_fd=world.progs[4]) == "EINVAL"
    assert world.attach("/a", 4, MULTI | REPLACE, replace_bpf_fd=world.progs[4]) == "done", "by itself"
    assert world.attach("/a", 2, MULTI | REPLACE, replace_bpf_fd=999) == "EBADF"
    assert world.attach("/a", 2, MULTI | REPLACE | BEFORE, replace_bpf_fd=world.progs[1]) == "EINVAL"
    other = world.load(1, uapi.BPF_PROG_TYPE_CGROUP_SYSCTL)
    assert world.attach("/a", 2, MULTI | REPLACE, replace_bpf_fd=other) == "EINVAL"
    assert world.own("/a") == [1, 4, 3]


# (the third program's flags, what it is put beside) -> the outcome and the order; 1 and 2 are there
PLACES = [
    (0, 0, "done", [1, 2, 3]),
    (BEFORE, 0, "done", [3, 1, 2]),
    (AFTER, 0, "done", [1, 2, 3]),
    (BEFORE, 1, "done", [3, 1, 2]),
    (AFTER, 1, "done", [1, 3, 2]),
    (BEFORE, 2, "done", [1, 3, 2]),
    (AFTER, 2, "done", [1, 2, 3]),
    (BEFORE | AFTER, 0, "EINVAL", [1, 2]),
    (BEFORE | AFTER, 1, "EINVAL", [1, 2]),
    (0, 1, "EINVAL", [1, 2]),
    (BEFORE, 4, "ENOENT", [1, 2]),
    (BEFORE | LINK, 1, "EINVAL", [1, 2]),
    (BEFORE | PREORDER, 1, "EINVAL", [1, 2]),
]


@pytest.mark.parametrize("by_id", [False, True])
@pytest.mark.parametrize("flags, beside, wanted, order", PLACES)
def test_a_place_in_the_list(world: World, flags: int, beside: int, wanted: str, order: list[int], by_id: bool) -> None:
    for n in (1, 2):
        assert world.attach("/a", n, MULTI) == "done"
    anchor = world.progs[beside] if beside else 0
    if by_id and beside:
        flags, anchor = flags | BY_ID, world.id_of(beside)
    assert world.attach("/a", 3, MULTI | flags, relative_fd=anchor) == wanted
    assert world.own("/a") == order


def test_links_are_placed_beside_links(world: World) -> None:
    assert world.link("/a", 1) == "done"
    assert world.link("/a", 2, BEFORE | LINK, world.links[1]) == "done"
    info = get_info(world.bpf, world.links[1], "bpf_link_info")[0]
    assert world.link("/a", 3, AFTER | LINK | BY_ID, field("bpf_link_info", info, "id")) == "done"
    assert world.own("/a") == [2, 1, 3]
    assert world.link("/a", 4, BEFORE, world.links[1]) == "EINVAL", "a link beside a program"
    assert world.link("/a", 4, BEFORE | LINK, 999) == "EBADF"
    assert world.link("/a", 4, BEFORE | LINK | BY_ID, 999_999) == "ENOENT"
    assert world.link("/a", 4, BEFORE | LINK) == "EINVAL"
    assert world.link("/a", 4, MULTI) == "EINVAL", "flags that links do not have"
    assert world.own("/a") == [2, 1, 3]


def test_preordered_programs_run_first_from_the_top_down(world: World) -> None:
    world.attach("/a", 1, MULTI)
    world.attach("/a", 2, MULTI | PREORDER)
    world.attach("/a/b", 3, MULTI)
    world.attach("/a/b", 4, MULTI | PREORDER)
    assert world.runs("/a/b/c") == [2, 4, 3, 1]
    assert world.runs("/a") == [2, 1]


def test_revisions_count_changes(world: World) -> None:
    world.query("/a")
    assert world.answer.revision == 1
    world.attach("/a", 1, MULTI)
    assert world.attach("/a", 2, MULTI, expected_revision=1) == "ESTALE"
    assert world.attach("/a", 2, MULTI, expected_revision=2) == "done"
    assert world.link("/a", 3, revision=2) == "ESTALE"
    assert world.link("/a", 3, revision=3) == "done"
    assert world.detach("/a", 1, expected_revision=3) == "ESTALE"
    assert world.detach("/a", 1, expected_revision=4) == "done"
    world.query("/a")
    assert world.answer.revision == 5
    world.query("/a", effective=True)
    assert world.answer.revision == 0


def test_at_most_64_programs(world: World) -> None:
    for n in range(10, 75):
        world.progs[n] = world.load(1)
    assert [world.attach("/a", n, MULTI) for n in range(10, 75)] == ["done"] * 64 + ["E2BIG"]


def test_attach_types_are_apart(world: World) -> None:
    world.progs[9] = world.load(1, uapi.BPF_PROG_TYPE_CGROUP_SYSCTL)
    assert world.attach("/a", 1) == "done"
    assert world.attach("/a", 9) == "EINVAL", "a sysctl program is no device program"
    assert world.attach("/a", 9, attach_type=SYSCTL) == "done"
    assert world.own("/a") == [1] and world.own("/a", SYSCTL) == [9]


def test_a_congested_egress_program_does_not_go_to_ingress(world: World) -> None:
    skb, egress = uapi.BPF_PROG_TYPE_CGROUP_SKB, uapi.BPF_CGROUP_INET_EGRESS
    world.progs[8], world.progs[9] = world.load(2, skb, egress), world.load(1, skb, egress)
    assert world.attach("/a", 8, attach_type=uapi.BPF_CGROUP_INET_INGRESS) == "EINVAL"
    assert world.attach("/a", 9, attach_type=uapi.BPF_CGROUP_INET_INGRESS) == "done"
    assert world.attach("/a", 8, attach_type=egress) == "done"


# -- query, detach -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("effective", [False, True])
@pytest.mark.parametrize("room", [0, 1, 2, 3, 9])
def test_query_fills_the_room_there_is(world: World, room: int, effective: bool) -> None:
    for n in (1, 2, 3):
        world.attach("/a", n, MULTI)
    assert outcome(lambda: world.query("/a", room=room, effective=effective)) == ("ENOSPC" if 0 < room < 3 else "done")
    assert world.answer.prog_cnt == 3
    ids = [world.id_of(n) for n in (1, 2, 3)][:room]
    assert world.told == struct.pack(f"<{len(ids)}I", *ids).ljust(64, b"\xee")
    if not effective:
        assert world.answer.attach_flags == MULTI
        assert world.told_flags == struct.pack("<I", MULTI) * len(ids) + b"\xee" * (64 - 4 * len(ids))


def test_detach(world: World) -> None:
    assert world.detach("/a", 1) == "ENOENT"
    world.attach("/a", 1)
    assert world.detach("/a", 2) == "done", "the only program goes by whatever fd"
    world.attach("/a", 1, MULTI)
    world.attach("/a", 2, MULTI)
    assert (world.detach("/a", 3), world.detach("/a"), world.detach("/a", 2, attach_flags=MULTI)) == (
        "ENOENT",
        "EINVAL",
        "EINVAL",
    )
    assert world.detach("/a", 1) == "done"
    assert world.own("/a") == [2]
    assert world.detach("/a", 2) == "done"
    assert world.attach("/a", 3, OVERRIDE) == "done", "the flags went with the last program"


def test_a_link_is_not_detached_as_a_program(world: World) -> None:
    world.link("/a", 1)
    assert world.detach("/a", 1) == "ENOENT"
    assert world.own("/a") == [1]


# -- links -------------------------------------------------------------------------------------------------


def link_info(world: World, n: int) -> tuple[int, int]:
    info = get_info(world.bpf, world.links[n], "bpf_link_info")[0]
    assert field("bpf_link_info", info, "type") == uapi.BPF_LINK_TYPE_CGROUP
    return field("bpf_link_info", info, "cgroup.cgroup_id"), field("bpf_link_info", info, "cgroup.attach_type")


def update(world: World, n: int, fresh: int, old: int | None = None) -> str:
    attr = uapi.LinkUpdate(link_fd=world.links[n], new_prog_fd=world.progs[fresh])
    if old is not None:
        attr.flags, attr.old_prog_fd = REPLACE, world.progs[old]
    return outcome(lambda: call(world.bpf, uapi.BPF_LINK_UPDATE, attr))


def test_a_link_holds_on_until_its_last_fd(world: World) -> None:
    world.link("/a", 1)
    assert link_info(world, 1) == (world.kernel.cgroups.find("/a").id, DEVICE)
    text = world.kernel.caller.fds.get(world.links[1]).fdinfo()
    assert text.endswith(f"cgroup_id:\t{world.kernel.cgroups.find('/a').id}\nattach_type:\t{DEVICE}\n")
    assert world.own("/a") == [1]
    world.bpf.close(world.links[1])
    assert world.own("/a") == []


def test_a_links_program_is_exchanged_in_its_place(world: World) -> None:
    for n in (1, 2, 3):
        world.link("/a", n)
    world.progs[9] = world.load(1, uapi.BPF_PROG_TYPE_CGROUP_SYSCTL)
    assert (update(world, 2, 4, old=1), update(world, 2, 9)) == ("EPERM", "EINVAL")
    assert update(world, 2, 4, old=2) == "done"
    assert world.own("/a") == world.runs("/a/b") == [1, 4, 3]
    world.query("/a")
    assert world.answer.revision == 5


def test_link_detach_leaves_the_link_without_a_cgroup(world: World) -> None:
    world.link("/a", 1)
    detach = uapi.LinkDetach(link_fd=world.links[1])
    assert outcome(lambda: call(world.bpf, uapi.BPF_LINK_DETACH, detach)) == "done"
    assert world.own("/a") == []
    assert link_info(world, 1)[0] == 0
    assert outcome(lambda: call(world.bpf, uapi.BPF_LINK_DETACH, detach)) == "done", "once more is no error"
    assert update(world, 1, 2) == "ENOLINK"


def test_links_and_programs_go_with_the_cgroup(world: World) -> None:
    world.attach("/a/b/c", 1, MULTI)
    world.link("/a/b/c", 2)
    prog_id = world.id_of(1)
    world.bpf.close(world.progs.pop(1))
    assert world.kernel.progs.get(prog_id) is not None, "attached, it lives"
    world.kernel.rmdir("/sys/fs/cgroup/a/b/c")
    assert world.kernel.progs.get(prog_id) is None
    assert link_info(world, 2)[0] == 0
    assert update(world, 2, 3) == "ENOLINK"
    assert world.attach("/a/b/c", 3) == "EBADF"


def test_nothing_outlives_the_kernel() -> None:
    gc.collect()  # what other tests have left
    before = len([o for o in gc.get_objects() if type(o).__name__ == "ProgObject"])
    with Kernel(cache=False, engine="interp") as kernel:
        world = World(kernel)
        world.attach("/a", 1, MULTI)
        world.link("/a/b", 2)
    del world
    gc.collect()
    assert len(list(kernel.progs)) == len(list(kernel.links)) == 0
    del kernel
    gc.collect()
    assert len([o for o in gc.get_objects() if type(o).__name__ == "ProgObject"]) == before


# -- what the programs decide ------------------------------------------------------------------------------


def test_one_no_is_enough_and_all_run(world: World) -> None:
    world.progs[5] = world.load(0)
    ctx = bytearray(struct.pack("<III", 2 << 16 | 2, 1, 3))
    cgroup = world.kernel.cgroups.find("/a/b/c")
    assert world.kernel.run_cgroup(DEVICE, cgroup, ctx) == 0, "nobody has anything against it"
    world.attach("/a", 1, MULTI)
    assert world.kernel.run_cgroup(DEVICE, cgroup, ctx) == 0
    world.attach("/a", 5, MULTI)
    assert world.kernel.run_cgroup(DEVICE, cgroup, ctx) == -1
    assert world.kernel.run_cgroup(DEVICE, world.kernel.cgroups.root, ctx) == 0


@pytest.mark.parametrize("engine", ["jit", "interp"])
def test_programs_read_and_write_the_context(engine: str) -> None:
    """A connect4 program sends port 80 (here in network order) to 8080 and leaves others alone."""
    with Kernel(cache=False, engine=engine) as kernel:
        world = World(kernel)
        at = uapi.LAYOUTS["bpf_sock_addr"].fields["user_port"][0]
        insns = (
            struct.pack("<BBhi", 0x61, 0x12, at, 0)  # r2 = ctx->user_port
            + struct.pack("<BBhi", 0x55, 2, 2, 0x5000)  # if r2 != htons(80) goto out
            + struct.pack("<BBhi", 0xB7, 3, 0, 0x901F)
            + struct.pack("<BBhi", 0x63, 0x31, at, 0)  # ctx->user_port = htons(8080)
            + returns(1)
        )
        connect4 = uapi.BPF_CGROUP_INET4_CONNECT
        world.progs[7] = load_prog(world.bpf, insns, prog_type=uapi.BPF_PROG_TYPE_CGROUP_SOCK_ADDR, attach_type=connect4)
        assert world.attach("/a", 7, attach_type=connect4) == "done"
        for path, given, wanted in (("/a", 0x5000, 0x901F), ("/a", 0x1600, 0x1600), ("/", 0x5000, 0x5000)):
            ctx = bytearray(uapi.LAYOUTS["bpf_sock_addr"].size)
            ctx[at : at + 4] = given.to_bytes(4, "little")
            assert world.kernel.run_cgroup(connect4, world.kernel.cgroups.find(path), ctx) == 0
            assert int.from_bytes(ctx[at : at + 4], "little") == wanted


# -- refusals that come before anything is attached: on both ---------------------------------------------------


def test_refusals_before_anything_is_attached(system: System) -> None:
    device = load_prog(system.bpf, returns(1), prog_type=uapi.BPF_PROG_TYPE_CGROUP_DEVICE)
    sock = load_prog(
        system.bpf, returns(1), prog_type=uapi.BPF_PROG_TYPE_CGROUP_SOCK, attach_type=uapi.BPF_CGROUP_INET4_POST_BIND
    )
    plain = load_prog(system.bpf)
    no_cgroup = system.open(system.root)

    def attach(**attr: int) -> str:
        return outcome(lambda: call(system.bpf, uapi.BPF_PROG_ATTACH, uapi.ProgAttach(**attr)))

    def detach(**attr: int) -> str:
        return outcome(lambda: call(system.bpf, uapi.BPF_PROG_DETACH, uapi.ProgAttach(**attr)))

    def query(**attr: int) -> str:
        return outcome(lambda: call(system.bpf, uapi.BPF_PROG_QUERY, uapi.ProgQuery(**attr)))

    def link(**attr: int) -> str:
        return outcome(lambda: call(system.bpf, uapi.BPF_LINK_CREATE, uapi.LinkCreateCgroup(**attr)))

    for wrong in (999, no_cgroup, plain):
        assert attach(target_fd=wrong, attach_bpf_fd=device, attach_type=DEVICE) == "EBADF"
        assert detach(target_fd=wrong, attach_bpf_fd=device, attach_type=DEVICE) == "EBADF"
        assert query(target_fd=wrong, attach_type=DEVICE) == "EBADF"
        assert link(target_fd=wrong, prog_fd=device, attach_type=DEVICE) == "EBADF"
    for attach_type in (100, uapi.BPF_TRACE_FENTRY, uapi.BPF_XDP):
        assert attach(target_fd=no_cgroup, attach_bpf_fd=device, attach_type=attach_type) == "EINVAL"
        assert query(target_fd=no_cgroup, attach_type=attach_type) == "EINVAL"
        assert link(target_fd=no_cgroup, prog_fd=device, attach_type=attach_type) == "EINVAL"
    assert attach(target_fd=no_cgroup, attach_bpf_fd=plain, attach_type=DEVICE) == "EINVAL"
    assert attach(target_fd=no_cgroup, attach_bpf_fd=device, attach_type=SYSCTL) == "EINVAL"
    assert attach(target_fd=no_cgroup, attach_bpf_fd=999, attach_type=DEVICE) == "EBADF"
    assert attach(target_fd=no_cgroup, attach_bpf_fd=sock, attach_type=uapi.BPF_CGROUP_INET6_POST_BIND) == "EINVAL"
    assert attach(target_fd=no_cgroup, attach_bpf_fd=device, attach_type=DEVICE, attach_flags=1 << 7) == "EINVAL"
    assert detach(target_fd=no_cgroup, attach_bpf_fd=device, attach_type=DEVICE, attach_flags=MULTI) == "EINVAL"
    assert query(target_fd=no_cgroup, attach_type=DEVICE, query_flags=2) == "EINVAL"
    assert link(target_fd=no_cgroup, prog_fd=plain, attach_type=DEVICE) == "EINVAL"
    assert link(target_fd=no_cgroup, prog_fd=sock, attach_type=uapi.BPF_CGROUP_INET6_POST_BIND) == "EINVAL"
    assert link(target_fd=no_cgroup, prog_fd=device, attach_type=DEVICE, flags=MULTI) == "EINVAL"
    for fd in (device, sock, plain, no_cgroup):
        system.bpf.close(fd)
