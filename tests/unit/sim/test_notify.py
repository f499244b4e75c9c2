"""Watching an inode's end: a mechanism of its own, here used by a file system that truly pins (the RFC's sockfs)."""

from __future__ import annotations

import errno

import pytest
from systems import Simulated, make_map, obj_pin

from kernfs_sim.caller import Caller
from kernfs_sim.fs.inode import Directory, Inode, SuperBlock
from kernfs_sim.objects import Object

S_IFSOCK = 0o140000


class SockDir(Directory):
    """A toy sockfs: pinning makes a socket that holds the object until its inode is freed."""

    def pin(self, caller: Caller, name: str, obj: object) -> None:
        assert isinstance(obj, Object)
        made = Inode(self.sb, S_IFSOCK | 0o600)
        held: Object = obj.get()
        made.watch(lambda inode: held.put())
        self.add(name, made)

    def unlink(self, caller: Caller, name: str) -> None:
        self.drop(name)


@pytest.fixture
def sim() -> Simulated:
    made = Simulated()
    made.mkdir("/tmp/sock")
    made.kernel.vfs.mount(made.caller, "/tmp/sock", SockDir(SuperBlock("sockfs", 0x534F434B), 0o755))
    return made


def test_another_file_system_pins_for_real_by_watching_its_own_inode(sim: Simulated) -> None:
    fd = make_map(sim.bpf)
    obj_pin(sim.bpf, fd, "/tmp/sock/s")  # no bpffs pin is needed: the node holds a reference
    sim.bpf.close(fd)
    assert len(sim.kernel.maps) == 1
    sim.unlink("/tmp/sock/s")
    assert len(sim.kernel.maps) == 0
    sim.close()


def test_the_watch_fires_with_the_last_reference_not_the_last_name(sim: Simulated) -> None:
    inode = Inode(SuperBlock("any", 1), 0o600)
    seen: list[Inode] = []
    inode.watch(seen.append)
    inode.get()
    inode.put()
    assert not seen
    inode.put()
    assert seen == [inode]


def test_watches_fire_once_each_in_order_and_can_be_taken_back() -> None:
    inode = Inode(SuperBlock("any", 1), 0o600)
    seen: list[str] = []

    def second(_: Inode) -> None:
        seen.append("second")

    def never(_: Inode) -> None:
        seen.append("never")

    inode.watch(lambda _: seen.append("first"))
    inode.watch(second)
    inode.watch(second)
    inode.watch(never)
    inode.unwatch(never)
    inode.unwatch(never)  # one that is not there is no error
    inode.put()
    assert seen == ["first", "second", "second"]


def test_a_watch_may_take_another_back_while_the_inode_goes() -> None:
    inode = Inode(SuperBlock("any", 1), 0o600)
    seen: list[str] = []

    def later(_: Inode) -> None:
        seen.append("later")

    inode.watch(lambda i: i.unwatch(later))
    inode.watch(later)
    inode.put()
    assert seen == []


def test_an_inode_that_goes_takes_no_new_reference_and_no_new_watch() -> None:
    inode = Inode(SuperBlock("any", 1), 0o600)
    refused: list[type] = []

    def try_again(i: Inode) -> None:
        for attempt in (i.get, lambda: i.watch(print)):
            with pytest.raises(AssertionError):
                attempt()
            refused.append(AssertionError)

    inode.watch(try_again)
    inode.put()
    assert len(refused) == 2


def test_a_pin_can_be_watched_by_anyone(sim: Simulated) -> None:
    fd = make_map(sim.bpf)
    obj_pin(sim.bpf, fd, "/sys/fs/bpf/m")
    ends: list[Inode] = []
    pin = sim.kernel.vfs.lookup(sim.caller, "/sys/fs/bpf/m")
    pin.watch(ends.append)
    sim.link("/sys/fs/bpf/m", "/sys/fs/bpf/n")
    sim.unlink("/sys/fs/bpf/m")
    assert not ends
    sim.unlink("/sys/fs/bpf/n")
    assert ends == [pin]
    with pytest.raises(OSError) as e:
        sim.stat("/sys/fs/bpf/m")
    assert e.value.errno == errno.ENOENT
