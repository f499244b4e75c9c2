"""Known programs whose maps hold more than bytes, and how much of them a user may have."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from both import Side, compiled

from bpfjit import open_object
from bpfjit.loader.bpf import Buffers
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel
from kernfs_sim.caller import CAP_BPF, Cred, InProcess

USER = Cred(1000, 1000, frozenset())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """Every program of the object, admitted by an administrator: the directory, digests by name."""
    directory = tmp_path_factory.mktemp("holders") / "known"
    with Kernel(known=directory) as kernel, open_object(compiled("holders")).load(kernel.bpf) as it:
        found = {name: kernel.known.admit(kernel.caller, prog.fd, anywhere=True) for name, prog in it.progs.items()}
    return directory, found


class Place:
    """A user's side of a fresh kernel that has the programs."""

    def __init__(self, kernel: Kernel, digests: dict[str, bytes]) -> None:
        self.kernel, self.digests = kernel, digests
        self.who = InProcess(USER)
        self.side = Side(kernel.caller_bpf(self.who), kernel)

    def take(self, name: str, who: InProcess | None = None) -> Any:
        return self.kernel.known.instantiate(who or self.who, self.digests[name])

    def map(self, made: Any, name: str) -> int:
        fds = {self.who.fds.get(fd).object.name: fd for fd in made.map_fds}
        return int(fds[name])

    def run(self, made: Any) -> int:
        keep = Buffers()
        attr = bytearray(uapi.TestRun(prog_fd=made.prog_fd, data_in=keep.put(bytes(64)), data_size_in=64).pack())
        assert self.side.call(uapi.BPF_PROG_TEST_RUN, attr) == 0
        return uapi.TestRun.unpack(attr).retval


@pytest.fixture(params=["jit", "interp"])
def place(request: pytest.FixtureRequest, store: tuple[Path, dict[str, bytes]]) -> Iterator[Place]:
    with Kernel(known=store[0], engine=request.param) as kernel:
        yield Place(kernel, store[1])


def test_locks_are_of_each_users_own_map(place: Place) -> None:
    one, two = place.take("count"), place.take("count")
    assert [place.run(one) for _ in range(3)] == [1, 2, 3] and place.run(two) == 1


def test_timers_run(place: Place) -> None:
    made = place.take("start")
    assert place.run(made) == 0
    end = time.monotonic() + 10
    while not (fired := place.run(made)) and time.monotonic() < end:
        time.sleep(0.01)
    assert fired == 1


def test_a_map_of_maps_holds_what_its_user_puts_in(place: Place) -> None:
    made = place.take("look")
    assert place.run(made) == 0
    outer = place.map(made, "outer")
    inner = place.side.map(uapi.BPF_MAP_TYPE_HASH, 8, 4)
    assert inner == -1, "who may make no maps"
    admin = Side(place.kernel.bpf, place.kernel)
    fd = admin.map(uapi.BPF_MAP_TYPE_HASH, 8, 4)
    assert admin.update(fd, (77).to_bytes(8, "little"), 1) == 0
    mine = place.who.fds.install(place.kernel.caller.fds.get(fd).get())
    assert place.side.update(outer, mine.to_bytes(4, "little"), 1) == 0
    assert place.run(made) == 77
    wrong = admin.map(uapi.BPF_MAP_TYPE_HASH, 16, 4)
    other = place.who.fds.install(place.kernel.caller.fds.get(wrong).get())
    assert place.side.update(outer, other.to_bytes(4, "little"), 0) == -22


def test_a_known_program_calls_another_by_tail(place: Place) -> None:
    made, leaf = place.take("jump"), place.take("leaf")
    assert place.run(made) == 1
    assert place.side.update(place.map(made, "further"), leaf.prog_fd.to_bytes(4, "little"), 1) == 0
    assert place.run(made) == 42
    other = place.take("start")
    assert place.side.update(place.map(made, "further"), other.prog_fd.to_bytes(4, "little"), 0) == -22, "of another type"


def test_maps_of_an_instance_have_their_types(place: Place) -> None:
    made = place.take("count")
    m = place.who.fds.get(place.map(made, "locked")).object
    assert m.btf is not None and m.btf.types.type(m.btf_value_type_id).name == "counted"
    prog = place.who.fds.get(made.prog_fd).object
    assert prog.btf is m.btf and prog.btf.id
    number = m.btf.id
    place.who.fds.close_all()
    assert number not in {b.id for b in place.kernel.btfs}


def test_a_user_has_so_much_and_no_more(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    import kernfs_sim.known as known

    monkeypatch.setattr(known, "_PER_USER_BYTES", 1 << 16)
    taken = []
    with pytest.raises(OSError, match=r"user 1000: .* bytes of known programs") as refused:
        for _ in range(1000):
            taken.append(place.take("count"))
    assert refused.value.errno == 12 and taken  # ENOMEM
    another = InProcess(Cred(1001, 1001, frozenset()))
    assert place.take("count", another), "another user has his own"
    with_rights = InProcess(Cred(1000, 1000, frozenset({CAP_BPF})))
    assert place.take("count", with_rights)
    with_rights.fds.close_all()
    # A map that outlives its program counts until it goes, too.
    place.who.fds.close(taken[0].prog_fd)
    with pytest.raises(OSError):
        place.take("count")
    for fd in taken[0].map_fds:
        place.who.fds.close(fd)
    assert place.take("count")


def test_nothing_of_a_user_is_counted_when_all_has_gone(place: Place) -> None:
    for name in place.digests:
        place.take(name)
    assert place.kernel.known._used.bytes[1000] > 0
    place.who.fds.close_all()
    assert place.kernel.known._used.bytes == {}
