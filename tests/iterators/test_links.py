"""Links of iterators: exchanging the program, on both kernels."""

from __future__ import annotations

import errno

import pytest

from bpfjit.uapi import bpf as uapi

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


def test_detach_is_not_supported(walked: World) -> None:
    link = walked.over()
    with pytest.raises(OSError) as e:
        walked.bpf(uapi.BPF_LINK_DETACH, bytearray(uapi.LinkDetach(link_fd=link.fd).pack()))
    assert e.value.errno == errno.EOPNOTSUPP
