"""bpf_seq_read(): the same rules on the simulated and the live kernel."""

from __future__ import annotations

import errno
import os

import pytest

from bpfjit.uapi import bpf as uapi

from .conftest import ELEMENTS
from .worlds import World

ALL = [(i, i) for i in range(ELEMENTS)]
END = (-1, ELEMENTS - 1)  # seq_num of the call at the end is the last index


def lengths(parts: list[bytes]) -> list[int]:
    return [len(p) for p in parts]


def read_errno(walked: World, fd: int, size: int) -> int | None:
    with pytest.raises(OSError) as e:
        walked.read(fd, size)
    return e.value.errno


@pytest.mark.parametrize(
    ("element_bytes", "size", "expected"),
    [
        (10, 65536, [80]),
        (10, 7, [7, 3] * 8),
        (10, 10, [10] * 8),
        (10, 15, [15, 5] * 4),
        (10, 25, [25, 5, 25, 5, 20]),
        (10, 1, [1] * 80),
        (4000, 65536, [32000]),
        (5000, 65536, [30000, 10000]),
        (20000, 65536, [20000] * 8),
    ],
)
def test_reads_fill_then_leave_the_rest_alone(walked: World, element_bytes: int, size: int, expected: list[int]) -> None:
    walked.set(element_bytes=element_bytes)
    assert lengths(walked.drain(walked.walk(), size)) == expected


def test_each_element_is_shown_once_then_the_end(walked: World) -> None:
    walked.drain(walked.walk(), 65536)
    assert walked.calls() == [*ALL, END]


def test_element_that_does_not_fit_runs_again_with_its_seq_num(walked: World) -> None:
    walked.set(element_bytes=20000)
    walked.drain(walked.walk(), 65536)
    # Every element but the first of a fill is tried, rolled back and run again.
    again = [pair for i in range(ELEMENTS) for pair in ([(i, i)] if i == 0 else [(i, i), (i, i)])]
    assert walked.calls() == [*again, END]


@pytest.mark.parametrize(("element_bytes", "fits"), [(32767, True), (32768, False), (40000, False)])
def test_one_element_is_at_most_32767_bytes(walked: World, element_bytes: int, fits: bool) -> None:
    walked.set(element_bytes=element_bytes)
    fd = walked.walk()
    if fits:
        assert len(walked.read(fd, 65536)) == element_bytes
        assert walked.get("helper_ret") == 0xFFFFFFB5  # the second element did not: -EOVERFLOW
    else:
        assert read_errno(walked, fd, 65536) == errno.E2BIG
        assert read_errno(walked, fd, 65536) == errno.E2BIG
        assert walked.get("helper_ret") == 0xFFFFFFB5
        assert walked.calls() == [(0, 0), (0, 0)]  # it never advances


def test_stop_call_that_overflows_is_rolled_back_and_run_again(walked: World) -> None:
    walked.set(element_bytes=4000, stop_bytes=1000)
    fd = walked.walk()
    assert lengths(walked.drain(fd, 65536)) == [32000, 1000]
    assert walked.calls() == [*ALL, END, END]


def test_stop_call_too_large_for_a_buffer_is_e2big(walked: World) -> None:
    walked.set(element_bytes=10, stop_bytes=40000)
    fd = walked.walk()
    assert len(walked.read(fd, 65536)) == 80
    assert read_errno(walked, fd, 65536) == errno.E2BIG
    assert read_errno(walked, fd, 65536) == errno.E2BIG


def test_stop_call_output_comes_last(walked: World) -> None:
    walked.set(element_bytes=10, stop_bytes=5)
    assert lengths(walked.drain(walked.walk(), 65536)) == [85]


def test_what_the_stop_call_returns_is_nothing(walked: World) -> None:
    walked.set(element_bytes=10, stop_bytes=5, stop_ret=1)
    fd = walked.walk()
    assert lengths(walked.drain(fd, 65536)) == [85]
    assert walked.calls() == [*ALL, END]


def test_read_of_zero_runs_one_element_and_keeps_it(walked: World) -> None:
    fd = walked.walk()
    assert walked.read(fd, 0) == b""
    assert walked.calls() == [(0, 0)]
    assert len(walked.read(fd, 65536)) == 10
    assert len(walked.read(fd, 65536)) == 70


def test_return_of_1_drops_the_output_and_tries_again(walked: World) -> None:
    walked.set(again_key=0)
    fd = walked.walk()
    assert read_errno(walked, fd, 65536) == errno.EAGAIN
    assert read_errno(walked, fd, 65536) == errno.EAGAIN
    assert walked.calls() == [(0, 0), (0, 0)]
    walked.set(again_key=0xFFFFFFFF)
    assert len(walked.read(fd, 65536)) == 80


def test_return_of_1_further_on_is_a_short_read(walked: World) -> None:
    walked.set(again_key=3)
    fd = walked.walk()
    assert len(walked.read(fd, 65536)) == 30
    assert read_errno(walked, fd, 65536) == errno.EAGAIN
    walked.set(again_key=0xFFFFFFFF)
    assert lengths(walked.drain(fd, 65536)) == [50]
    assert walked.calls()[:6] == [(0, 0), (1, 1), (2, 2), (3, 3), (3, 3), (3, 3)]


def test_after_the_end_reads_give_nothing_and_run_nothing(walked: World) -> None:
    fd = walked.walk()
    walked.drain(fd, 65536)
    ran = walked.get("ncalls")
    assert walked.read(fd, 100) == b"" == walked.read(fd, 100)
    assert walked.get("ncalls") == ran


def test_more_than_a_million_silent_objects_are_eagain(elements: World) -> None:
    """Exactly a million are walked in one read; past that the next read goes on."""
    fd = elements.walk("silent", "million")
    assert elements.read(fd, 100) == b""
    assert elements.get("ncalls") == 1_000_001
    shape = uapi.MapCreate(map_type=uapi.BPF_MAP_TYPE_ARRAY, key_size=4, value_size=8, max_entries=1_000_002)
    larger = elements.bpf(uapi.BPF_MAP_CREATE, bytearray(shape.pack()))
    elements.set(ncalls=0)
    fd = elements.open(elements.link("silent", map_fd=larger))
    assert read_errno(elements, fd, 100) == errno.EAGAIN
    assert elements.get("ncalls") == 1_000_000
    assert elements.read(fd, 100) == b""
    assert elements.get("ncalls") == 1_000_003
    elements.bpf.close(larger)


def test_two_opens_are_sessions_of_their_own(walked: World) -> None:
    link = walked.over()
    first, second = walked.open(link), walked.open(link)
    assert len(walked.read(first, 10)) == 10
    assert len(walked.read(second, 65536)) == 80
    assert lengths(walked.drain(first, 65536)) == [70]
    one, other, one_again = (walked.session_of(call) for call in (0, 1, 1 + ELEMENTS + 1))
    assert 1 <= one == one_again and one < other  # by the order of the opens; others may have opened some between


def test_a_second_fd_goes_on_with_the_same_session(walked: World) -> None:
    fd = walked.walk()
    other = walked.dup(fd)
    assert lengths([walked.read(f, 25) for f in (fd, other, fd)]) == [25, 5, 25]
    assert walked.read(other, 65536) + walked.read(fd, 65536) == bytes(25)


def test_open_file_outlives_its_link(walked: World) -> None:
    link = walked.over()
    fd = walked.open(link)
    assert len(walked.read(fd, 10)) == 10
    link.close()
    assert lengths(walked.drain(fd, 65536)) == [70]


def test_map_stays_in_the_context_at_the_end(elements: World) -> None:
    elements.drain(elements.walk(), 65536)
    raw = elements.obj.maps["calls"].lookup((8).to_bytes(4, "little"))
    assert int.from_bytes(raw[0:4], "little") == 0xFFFFFFFF
    assert int.from_bytes(raw[4:8], "little") == 1


def test_iterators_are_not_made_of_other_links_or_with_flags(walked: World) -> None:
    link = walked.over()
    with pytest.raises(OSError) as e:
        walked.bpf(uapi.BPF_ITER_CREATE, bytearray(uapi.IterCreate(link_fd=link.fd, flags=1).pack()))
    assert e.value.errno == errno.EINVAL
    with pytest.raises(OSError) as e:
        walked.bpf(uapi.BPF_ITER_CREATE, bytearray(uapi.IterCreate(link_fd=walked.obj.maps["elems"].fd).pack()))
    assert e.value.errno == errno.EINVAL


def test_writes_and_seeks_are_refused(walked: World) -> None:
    fd = walked.walk()
    if walked.name == "live":
        outcomes = [
            _errno(lambda: os.write(fd, b"x")),
            _errno(lambda: os.lseek(fd, 0, 0)),
            _errno(lambda: os.pread(fd, 1, 0)),
        ]
    else:
        file = walked.bpf.kernel.caller.fds.get(fd)  # type: ignore[attr-defined]
        caller = walked.bpf.kernel.caller  # type: ignore[attr-defined]
        outcomes = [
            _errno(lambda: file.write(caller, b"x")),
            _errno(lambda: file.lseek(0)),
            _errno(lambda: file.pread(caller, 1, 0)),
        ]
    assert outcomes == [errno.EBADF, errno.ESPIPE, errno.ESPIPE]


def _errno(call: object) -> int | None:
    with pytest.raises(OSError) as e:
        call()  # type: ignore[operator]
    return e.value.errno
