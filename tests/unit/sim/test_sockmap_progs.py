"""Programs of maps of sockets, by BPF_PROG_ATTACH and by links, and a namespace's flow dissector; on both kernels."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from systems import RETURN_0, Live, Simulated, System, call, field, get_info, live_or_skip, load_prog, make_map

from bpfjit.errors import errno_name
from bpfjit.loader.bpf import Buffers
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel

PARSER, VERDICT = uapi.BPF_SK_SKB_STREAM_PARSER, uapi.BPF_SK_SKB_STREAM_VERDICT
SKB_VERDICT, MSG_VERDICT = uapi.BPF_SK_SKB_VERDICT, uapi.BPF_SK_MSG_VERDICT
DISSECTOR = uapi.BPF_FLOW_DISSECTOR
NO_FD = 9999


def outcome(act: Callable[[], Any]) -> Any:
    try:
        return act()
    except OSError as e:
        return errno_name(e.errno or 0)


class Kit:
    """One kernel, its programs by name, a map of the kind in question."""

    def __init__(self, system: System, map_type: int = uapi.BPF_MAP_TYPE_SOCKMAP) -> None:
        self.system, self.bpf = system, system.bpf
        self.map = make_map(system.bpf, map_type=map_type, value_size=4)
        skb, msg, flow = (getattr(uapi, f"BPF_PROG_TYPE_{n}") for n in ("SK_SKB", "SK_MSG", "FLOW_DISSECTOR"))
        shapes = {"skb": (skb, 0), "skb2": (skb, 0), "parser": (skb, PARSER), "verdict": (skb, SKB_VERDICT)}
        shapes |= {"msg": (msg, 0), "msg_verdict": (msg, MSG_VERDICT), "flow": (flow, DISSECTOR), "flow2": (flow, DISSECTOR)}
        shapes |= {"filter": (uapi.BPF_PROG_TYPE_SOCKET_FILTER, 0)}
        self.fd = {
            name: load_prog(system.bpf, RETURN_0, prog_type=kind, attach_type=attach)
            for name, (kind, attach) in shapes.items()
        }
        self.fd |= {"none": NO_FD, "map": self.map, "stdin": 0}

    def close(self) -> None:
        for fd in {*self.fd.values()} - {NO_FD, 0}:
            self.bpf.close(fd)

    def attach(self, prog: str, attach_type: int, command: int = uapi.BPF_PROG_ATTACH, target: int = -1, **more: int) -> Any:
        target = self.map if target < 0 else target
        attr = uapi.ProgAttach(target_fd=target, attach_bpf_fd=self.fd[prog], attach_type=attach_type, **more)
        return outcome(lambda: call(self.bpf, command, attr))

    def detach(self, prog: str, attach_type: int, **more: int) -> Any:
        return self.attach(prog, attach_type, uapi.BPF_PROG_DETACH, **more)

    def query(self, attach_type: int, room: int = 4, target: int = -1, flags: int = 0) -> tuple[Any, ...]:
        """How it went, the count and flags told, whether an id was, and that the revision was left alone."""
        keep, ids = Buffers(), bytearray(16)
        attr = uapi.ProgQuery(
            target_fd=self.map if target < 0 else target,
            attach_type=attach_type,
            prog_cnt=room,
            prog_ids=keep.put(ids),
            attach_flags=7,
            revision=5,
            query_flags=flags,
        )
        raw = bytearray(attr.pack())
        done = outcome(lambda: self.bpf(uapi.BPF_PROG_QUERY, raw))
        told = uapi.ProgQuery.unpack(raw)
        assert told.revision == 5
        return done, told.prog_cnt, told.attach_flags, any(ids)

    def link(self, prog: str, attach_type: int, target: int = -1, flags: int = 0) -> Any:
        target = self.map if target < 0 else target
        attr = uapi.LinkCreate(prog_fd=self.fd[prog], target_fd=target, attach_type=attach_type, flags=flags)
        return outcome(lambda: call(self.bpf, uapi.BPF_LINK_CREATE, attr))


MAPS = [uapi.BPF_MAP_TYPE_SOCKMAP, uapi.BPF_MAP_TYPE_SOCKHASH]


@pytest.fixture(params=["simulated", "live"])
def system(request: pytest.FixtureRequest) -> Iterator[System]:
    made: System = Simulated(Kernel(engine="interp", cache=False)) if request.param == "simulated" else live_or_skip()
    yield made
    made.close()


@pytest.fixture(params=MAPS, ids=["sockmap", "sockhash"])
def kit(request: pytest.FixtureRequest, system: System) -> Iterator[Kit]:
    made = Kit(system, request.param)
    yield made
    made.close()


def test_the_last_attached_is_there(kit: Kit) -> None:
    assert kit.query(PARSER) == (0, 0, 0, False)
    assert [kit.attach(p, PARSER) for p in ("skb", "parser", "verdict")] == [0, 0, 0], "of whatever attach type"
    assert kit.query(PARSER) == (0, 1, 0, True) and kit.query(PARSER, 0) == (0, 1, 0, False)
    assert kit.detach("parser", PARSER) == "ENOENT" and kit.detach("verdict", PARSER) == 0
    assert kit.detach("verdict", PARSER) == "ENOENT"
    assert kit.attach("msg", MSG_VERDICT) == kit.attach("msg_verdict", MSG_VERDICT) == 0
    assert kit.query(MSG_VERDICT) == (0, 1, 0, True)


def test_one_kind_of_verdict(kit: Kit) -> None:
    assert kit.attach("skb", SKB_VERDICT) == 0
    assert kit.attach("skb", VERDICT) == kit.detach("skb", VERDICT) == kit.link("skb", VERDICT) == "EBUSY"
    assert kit.query(VERDICT) == ("EBUSY", 0, 0, False)
    assert kit.detach("skb", SKB_VERDICT) == kit.attach("skb", VERDICT) == 0


def test_what_attaching_does_not_take(kit: Kit) -> None:
    for act in (kit.attach, kit.detach):
        wrong = [("msg", PARSER), ("skb", MSG_VERDICT), ("filter", PARSER), ("map", PARSER), ("stdin", PARSER)]
        assert {act(*pair) for pair in wrong} == {"EINVAL"}
        assert act("none", PARSER) == act("skb", PARSER, target=NO_FD) == "EBADF"
        assert act("skb", PARSER, target=kit.fd["skb"]) == "EINVAL"
        for more in ("attach_flags", "replace_bpf_fd", "relative_fd", "expected_revision"):
            assert act("skb", PARSER, **{more: 1}) == "EINVAL"
        array = make_map(kit.bpf)
        assert act("skb", PARSER, target=array) == "ENOTSUP"
        kit.bpf.close(array)
    assert kit.query(PARSER, flags=1) == ("EINVAL", 4, 7, False)
    assert kit.query(PARSER, target=NO_FD) == ("EBADF", 4, 7, False)
    assert kit.query(PARSER, target=kit.fd["skb"]) == ("EINVAL", 4, 7, False)


def test_a_link_has_the_place_for_itself(kit: Kit) -> None:
    link = kit.link("skb", PARSER)
    assert kit.link("skb2", PARSER) == kit.attach("skb2", PARSER) == kit.detach("skb", PARSER) == "EBUSY"
    info = get_info(kit.bpf, link, "bpf_link_info")[0]
    map_id = field("bpf_map_info", get_info(kit.bpf, kit.map, "bpf_map_info")[0], "id")
    parts = ("type", "sockmap.map_id", "sockmap.attach_type")
    assert [field("bpf_link_info", info, p) for p in parts] == [uapi.BPF_LINK_TYPE_SOCKMAP, map_id, PARSER]

    def update(new: str, old: str = "", flags: int = 0) -> Any:
        attr = uapi.LinkUpdate(link_fd=link, new_prog_fd=kit.fd[new], old_prog_fd=kit.fd[old] if old else 0, flags=flags)
        return outcome(lambda: call(kit.bpf, uapi.BPF_LINK_UPDATE, attr))

    assert [update("skb2"), update("msg"), update("filter"), update("parser")] == [0, "EINVAL", "EINVAL", "EINVAL"]
    assert update("skb", "skb", uapi.BPF_F_REPLACE) == "EPERM" and update("skb", "skb2", uapi.BPF_F_REPLACE) == 0
    detach = uapi.LinkDetach(link_fd=link)
    assert call(kit.bpf, uapi.BPF_LINK_DETACH, detach) == call(kit.bpf, uapi.BPF_LINK_DETACH, detach) == 0
    assert update("skb") == "ENOLINK"
    assert field("bpf_link_info", get_info(kit.bpf, link, "bpf_link_info")[0], "sockmap.map_id") == 0
    assert kit.attach("skb", PARSER) == 0
    kit.bpf.close(link)
    assert kit.query(PARSER)[1] == 1, "what came behind the link stays"
    other = kit.link("skb2", PARSER)
    assert other > 0, "what is there without a link goes"
    kit.bpf.close(other)
    assert kit.query(PARSER)[1] == 0


def test_what_links_do_not_take(kit: Kit) -> None:
    array = make_map(kit.bpf)
    wrong = [kit.link("skb", PARSER, target) for target in (array, kit.fd["skb"])]
    wrong += [kit.link("skb", PARSER, flags=1), kit.link("skb", MSG_VERDICT), kit.link("msg", PARSER)]
    assert set(wrong) == {"EINVAL"} and kit.link("skb", PARSER, NO_FD) == "EBADF"
    kit.bpf.close(array)


def test_a_map_keeps_its_programs() -> None:
    """Simulated, where they can be counted."""
    with Kernel(cache=False) as kernel:
        kit = Kit(Simulated(kernel))
        assert kit.attach("skb", PARSER) == 0 and kit.link("msg_verdict", MSG_VERDICT) > 0
        links = [fd for fd in range(64) if outcome(lambda f=fd: get_info(kernel.bpf, f, "bpf_link_info")) != "EBADF"]  # type: ignore[misc]
        for fd in {*kit.fd.values()} - {NO_FD, 0, kit.map}:
            kernel.bpf.close(fd)
        assert len(list(kernel.progs)) == 2
        kernel.bpf.close(kit.map)
        assert len(list(kernel.progs)) == 2, "the link keeps the map"
        for fd in links:
            outcome(lambda f=fd: kernel.bpf.close(f))  # type: ignore[misc]
        assert not list(kernel.progs) and not list(kernel.maps)


def test_a_namespaces_flow_dissector(system: System) -> None:
    """On Linux in a network namespace that is gone with its thread."""
    found: list[Any] = []

    def ask() -> None:
        if isinstance(system, Live) and ctypes.CDLL(None).unshare(0x40000000):
            return
        kit = Kit(system)
        steps = [kit.attach(p, DISSECTOR, target=0) for p in ("flow", "flow", "flow2", "filter", "none")]
        steps += [kit.attach("flow", DISSECTOR, target=5), kit.attach("flow", DISSECTOR, target=0, attach_flags=2)]
        steps += [kit.detach(p, DISSECTOR, target=0) for p in ("flow", "filter", "none", "stdin")]
        steps += [kit.detach("flow2", DISSECTOR, target=5), kit.detach("flow2", DISSECTOR, target=0, relative_fd=1)]
        steps += [kit.detach("flow2", DISSECTOR, target=0), kit.detach("flow2", DISSECTOR, target=0)]
        found.extend(steps)
        kit.close()

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    attached = [0, "EINVAL", 0, "EINVAL", "EBADF", "EINVAL", "EINVAL"]
    assert found == [*attached, "ENOENT", "EINVAL", "EBADF", "EINVAL", "EINVAL", "EINVAL", 0, "ENOENT"]
