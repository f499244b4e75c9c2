"""Links of iterators: exchanging the program, on both kernels."""

from __future__ import annotations

import errno

import pytest

from bpfjit.uapi import bpf as uapi

from .worlds import World


def update(world: World, link_fd: int, prog: str, old: str | None = None, flags: int = 0) -> None:
    attr = uapi.LinkUpdate(link_fd=link_fd, new_prog_fd=world.obj.progs[prog].fd, flags=flags)
    if old is not None:
        attr.old_prog_fd = world.obj.progs[old].fd
    world.bpf(uapi.BPF_LINK_UPDATE, bytearray(attr.pack()))


def test_open_file_keeps_the_old_program_and_new_opens_get_the_new_one(world: World) -> None:
    link = world.link("walk", map_fd=world.obj.maps["elems"].fd)
    before = world.open(link)
    update(world, link.fd, "silent")
    after = world.open(link)
    assert len(world.read(before, 65536)) == 80
    assert world.read(after, 65536) == b""


@pytest.mark.parametrize(
    ("prog", "old", "flags", "expected"),
    [
        ("tasks", None, 0, errno.EINVAL),
        ("silent", "walk", 0, errno.EINVAL),
        ("silent", "bump", uapi.BPF_F_REPLACE, errno.EPERM),
        ("silent", None, 1, errno.EINVAL),
    ],
)
def test_update_is_refused(world: World, prog: str, old: str | None, flags: int, expected: int) -> None:
    link = world.link("walk", map_fd=world.obj.maps["elems"].fd)
    with pytest.raises(OSError) as e:
        update(world, link.fd, prog, old, flags)
    assert e.value.errno == expected


def test_update_with_the_right_old_program(world: World) -> None:
    link = world.link("walk", map_fd=world.obj.maps["elems"].fd)
    update(world, link.fd, "silent", "walk", uapi.BPF_F_REPLACE)


def test_detach_is_not_supported(world: World) -> None:
    link = world.link("walk", map_fd=world.obj.maps["elems"].fd)
    with pytest.raises(OSError) as e:
        world.bpf(uapi.BPF_LINK_DETACH, bytearray(uapi.LinkDetach(link_fd=link.fd).pack()))
    assert e.value.errno == errno.EOPNOTSUPP
