"""Links of iterators: exchanging the program, on both kernels."""

from __future__ import annotations

import errno
import os

import pytest

from bpfjit.loader import inspect
from bpfjit.loader.bpf import Buffers
from bpfjit.uapi import bpf as uapi
from kernfs_sim.host import cgroup2_mount

from .worlds import World


def update(walked: World, link_fd: int, prog: str, old: str | None = None, flags: int = 0) -> None:
    attr = uapi.LinkUpdate(link_fd=link_fd, new_prog_fd=walked.prog(prog).fd, flags=flags)
    if old is not None:
        attr.old_prog_fd = walked.prog(old).fd
    walked.bpf(uapi.BPF_LINK_UPDATE, bytearray(attr.pack()))


def test_open_file_keeps_the_old_program_and_new_opens_get_the_new_one(walked: World) -> None:
    link = walked.over()
    before = walked.open(link)
    update(walked, link.fd, "silent")
    after = walked.open(link)
    assert len(walked.read(before, 65536)) == 80
    assert walked.read(after, 65536) == b""


@pytest.mark.parametrize(
    ("prog", "old", "flags", "expected"),
    [
        ("cgroups", None, 0, errno.EINVAL),
        ("silent", "walk", 0, errno.EINVAL),
        ("silent", "silent", uapi.BPF_F_REPLACE, errno.EPERM),
        ("silent", None, 1, errno.EINVAL),
    ],
)
def test_update_is_refused(walked: World, prog: str, old: str | None, flags: int, expected: int) -> None:
    link = walked.over()
    with pytest.raises(OSError) as e:
        update(walked, link.fd, prog, old, flags)
    assert e.value.errno == expected


def test_update_with_the_right_old_program(walked: World) -> None:
    link = walked.over()
    update(walked, link.fd, "silent", "walk", uapi.BPF_F_REPLACE)


def info_of(world: World, link_fd: int, room: int) -> dict[str, int | bytes]:
    """bpf_link_info of an iterator's link, with so many bytes for the target's name."""
    layout, keep = uapi.LAYOUTS["bpf_link_info"], Buffers()
    info, name = bytearray(layout.size), bytearray(room)
    at, size = layout.fields["iter.target_name"]
    if room:
        info[at : at + size] = keep.put(name).to_bytes(size, "little")
    at, size = layout.fields["iter.target_name_len"]
    info[at : at + size] = room.to_bytes(size, "little")
    attr = uapi.GetInfo(bpf_fd=link_fd, info_len=len(info), info=keep.put(info))
    world.bpf(uapi.BPF_OBJ_GET_INFO_BY_FD, bytearray(attr.pack()))
    found: dict[str, int | bytes] = {"name": bytes(name)}
    for field, (at, size) in layout.fields.items():
        if field.startswith("iter.") and field != "iter.target_name":
            found[field.removeprefix("iter.")] = int.from_bytes(info[at : at + size], "little")
    return found


def test_info_tells_the_target_and_what_is_walked(world: World) -> None:
    for info, tid, pid in (({}, 0, 0), ({"tid": os.getpid()}, os.getpid(), 0), ({"pid": os.getpid()}, 0, os.getpid())):
        found = info_of(world, world.link("tasks", **info).fd, 16)
        assert found["name"] == b"task".ljust(16, b"\0") and found["target_name_len"] == 5
        assert (found["task.tid"], found["task.pid"]) == (tid, pid)
    assert info_of(world, world.link("tasks").fd, 0)["target_name_len"] == 5
    with pytest.raises(OSError) as e:
        info_of(world, world.link("tasks").fd, 3)
    assert e.value.errno == errno.ENOSPC
    root = os.stat(cgroup2_mount()).st_ino if world.name == "live" else 1
    found = info_of(world, world.link("cgroups", order=3, cgroup_id=root).fd, 16)
    assert found["name"] == b"cgroup".ljust(16, b"\0")
    assert (found["cgroup.order"], found["cgroup.cgroup_id"]) == (3, root)


def test_info_tells_the_map(elements: World) -> None:
    found = info_of(elements, elements.link("walk", map_fd=elements.obj.maps["elems"].fd).fd, 16)
    assert found["name"] == b"bpf_map_elem".ljust(16, b"\0")
    assert found["map.map_id"] == inspect.get_info(elements.bpf, elements.obj.maps["elems"].fd, "map")["id"]


def test_detach_is_not_supported(walked: World) -> None:
    link = walked.over()
    with pytest.raises(OSError) as e:
        walked.bpf(uapi.BPF_LINK_DETACH, bytearray(uapi.LinkDetach(link_fd=link.fd).pack()))
    assert e.value.errno == errno.EOPNOTSUPP
