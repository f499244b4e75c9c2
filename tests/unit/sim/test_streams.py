"""Streams of programs (BPF_PROG_STREAM_READ_BY_FD), what the kernel writes there; programs skipped at their own event."""

from __future__ import annotations

import errno
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from systems import RETURN_5, System, call, field, get_info, load_prog

from bpfjit.errors import errno_name
from bpfjit.loader.bpf import Bpf, Buffers
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel

STDOUT, STDERR = 1, 2

SAY = """
SEC("syscall")
int say(void *ctx)
{
	return bpf_stream_printk(BPF_STDOUT, "%s %d\\n", "hello", 7);
}

SEC("syscall")
int warn(void *ctx)
{
	return bpf_stream_printk(BPF_STDERR, "warning");
}

SEC("syscall")
int nowhere(void *ctx)
{
	return bpf_stream_printk(3, "x");
}

SEC("syscall")
int bad_format(void *ctx)
{
	return bpf_stream_printk(BPF_STDOUT, "%z", 1);
}

SEC("syscall")
int too_long(void *ctx)
{
	return bpf_stream_printk(BPF_STDOUT, "%2000d", 1);
}

SEC("syscall")
int nothing(void *ctx)
{
	return bpf_stream_printk(BPF_STDOUT, "");
}
"""


def read(bpf: Bpf, prog: int, stream: int = STDOUT, size: int = 4096, addr: int | None = None) -> bytes:
    keep, buf = Buffers(), bytearray(size)
    attr = uapi.ProgStreamRead(
        stream_buf=keep.put(buf) if addr is None else addr, stream_buf_len=size, stream_id=stream, prog_fd=prog
    )
    return bytes(buf[: call(bpf, uapi.BPF_PROG_STREAM_READ_BY_FD, attr)])


def run(bpf: Bpf, prog: int) -> int:
    attr = bytearray(uapi.TestRun(prog_fd=prog).pack())
    bpf(uapi.BPF_PROG_TEST_RUN, attr)
    ret = uapi.TestRun.unpack(attr).retval
    return ret - (1 << 32) if ret >> 31 else ret


def error_of(ask: Callable[[], Any]) -> str:
    with pytest.raises(OSError) as e:
        ask()
    return errno_name(e.value.errno or 0)


@pytest.fixture(params=["jit", "interp"])
def engine(request: pytest.FixtureRequest) -> Iterator[Kernel]:
    with Kernel(engine=request.param) as kernel:
        yield kernel


@pytest.fixture
def said(engine: Kernel, build: Callable[[str], Any]) -> Any:
    """The programs of SAY, loaded: (bpf, {name: fd})."""
    loaded = build(SAY).load(engine.bpf)
    return engine.bpf, {name: prog.fd for name, prog in loaded.progs.items()}


def test_a_program_without_words_has_empty_streams(system: System) -> None:
    bpf, prog = system.bpf, load_prog(system.bpf, RETURN_5)
    assert read(bpf, prog) == read(bpf, prog, STDERR) == read(bpf, prog, STDOUT, 0) == b""
    assert [error_of(lambda i=i: read(bpf, prog, i)) for i in (0, 3, 0xFFFFFFFF)] == ["ENOENT"] * 3  # type: ignore[misc]
    assert error_of(lambda: read(bpf, 999)) == "EBADF"
    assert error_of(lambda: read(bpf, prog, addr=16, stream=9)) == "ENOENT"
    assert read(bpf, prog, addr=16) == b""
    link = system.link_fd()
    assert error_of(lambda: read(bpf, link)) == "EINVAL"
    for fd in (link, prog):
        bpf.close(fd)


def test_bytes_behind_the_stream_attributes_must_be_zero(system: System) -> None:
    prog = load_prog(system.bpf, RETURN_5)
    attr = uapi.ProgStreamRead(stream_id=STDOUT, prog_fd=prog).pack()
    assert system.bpf(uapi.BPF_PROG_STREAM_READ_BY_FD, bytearray(attr)) == 0
    spoilt = bytearray(attr.ljust(64, b"\0"))
    spoilt[20] = 1
    assert error_of(lambda: system.bpf(uapi.BPF_PROG_STREAM_READ_BY_FD, spoilt)) == "EINVAL"
    system.bpf.close(prog)


def test_what_is_printed_is_read_once_and_in_pieces(said: Any) -> None:
    bpf, progs = said
    assert run(bpf, progs["say"]) == run(bpf, progs["say"]) == 0
    assert read(bpf, progs["say"], size=5) == b"hello"
    assert read(bpf, progs["say"], size=9) == b" 7\nhello "
    assert read(bpf, progs["say"]) == b"7\n" and read(bpf, progs["say"]) == b""


def test_streams_are_apart_from_each_other_and_from_other_programs(said: Any) -> None:
    bpf, progs = said
    assert run(bpf, progs["warn"]) == run(bpf, progs["say"]) == 0
    assert read(bpf, progs["warn"]) == b"" and read(bpf, progs["warn"], STDERR) == b"warning"
    assert read(bpf, progs["say"], STDERR) == b"" and read(bpf, progs["say"]) == b"hello 7\n"


def test_a_bad_buffer_takes_nothing_away(said: Any) -> None:
    bpf, progs = said
    run(bpf, progs["say"])
    assert error_of(lambda: read(bpf, progs["say"], addr=16)) == "EFAULT"
    assert read(bpf, progs["say"]) == b"hello 7\n"


def test_what_cannot_be_printed_is_an_error_to_the_program(said: Any) -> None:
    bpf, progs = said
    assert run(bpf, progs["nowhere"]) == -errno.ENOENT
    assert run(bpf, progs["bad_format"]) == -errno.EINVAL
    assert run(bpf, progs["nothing"]) == 0 and read(bpf, progs["nothing"]) == b""
    assert run(bpf, progs["too_long"]) == 0 and read(bpf, progs["too_long"]) == b" " * 1023


def test_a_stream_holds_less_than_100000_bytes_until_it_is_read(said: Any) -> None:
    bpf, progs = said
    done = 0
    while not (ret := run(bpf, progs["say"])):
        done += 8
    assert ret == -errno.ENOSPC and done == 99_992
    assert read(bpf, progs["say"], size=15) == b"hello 7\nhello 7" and run(bpf, progs["say"]) == 0
    assert run(bpf, progs["say"]) == -errno.ENOSPC  # of the second text a byte is still there
    assert len(read(bpf, progs["say"], size=1 << 20)) == 99_985 and run(bpf, progs["say"]) == 0


def test_linux_takes_the_same_programs(system: System, build: Callable[[str], Any]) -> None:
    """What they print there is another matter: this kernel may have no memory to spare for it (ENOMEM)."""
    loaded = build(SAY).load(system.bpf)
    rets = {name: run(system.bpf, prog.fd) for name, prog in loaded.progs.items()}
    wanted = {"say": 0, "warn": 0, "nothing": 0, "too_long": 0, "nowhere": -errno.ENOENT, "bad_format": -errno.EINVAL}
    if system.is_live and rets["say"] == -errno.ENOMEM:
        wanted |= dict.fromkeys(("say", "warn", "nothing", "too_long"), -errno.ENOMEM)
    assert rets == wanted
    loaded.close()


# -- may_goto --------------------------------------------------------------------------------------------

FOREVER = bytes.fromhex("b700000000000000 0700000001000000 e500010000000000 0500fdff00000000 9500000000000000")


def test_a_loop_of_may_goto_ends_after_a_quarter_of_a_second(system: System) -> None:
    prog = load_prog(system.bpf, FOREVER)
    keep, data = Buffers(), bytearray(64)
    attr = bytearray(uapi.TestRun(prog_fd=prog, data_in=keep.put(data), data_size_in=64, repeat=1).pack())
    start = time.monotonic()
    system.bpf(uapi.BPF_PROG_TEST_RUN, attr)
    assert 0.24 < time.monotonic() - start < 20 and uapi.TestRun.unpack(attr).retval > 1 << 17
    if not system.is_live:
        said = read(system.bpf, prog, STDERR).decode().splitlines()
        assert said[0] == "ERROR: Timeout detected for may_goto instruction"
        assert said[1] == "CPU: 0 UID: 0 PID: 0 Comm: swapper/0" and said[2:] == ["Call trace:", ""]
    assert read(system.bpf, prog) == b""
    system.bpf.close(prog)


# -- recursion -------------------------------------------------------------------------------------------

OWN_EVENT = """
int runs, other_runs;

SEC("tp_btf/bpf_trace_printk")
int BPF_PROG(again, const char *text)
{
	runs++;
	bpf_printk("again");
	return 0;
}

SEC("tp_btf/bpf_trace_printk")
int BPF_PROG(other, const char *text)
{
	other_runs++;
	return 0;
}

SEC("syscall")
int print(void *ctx)
{
	bpf_printk("first");
	return 0;
}
"""


def counts(loaded: Any) -> list[int]:
    """What both counters of the object stand at, sorted."""
    bss = next(m for name, m in loaded.maps.items() if name.endswith(".bss"))
    return sorted(struct.unpack("<2i", bss.lookup(bytes(4))))


def misses(bpf: Bpf, fd: int) -> int:
    return field("bpf_prog_info", get_info(bpf, fd, "bpf_prog_info")[0], "recursion_misses")


def test_a_program_is_passed_over_at_the_event_that_it_makes_itself(engine: Kernel, build: Callable[[str], Any]) -> None:
    loaded = build(OWN_EVENT).load(engine.bpf)
    links = loaded.attach()
    for _ in range(3):
        run(engine.bpf, loaded.progs["print"].fd)
    assert counts(loaded) == [3, 6]
    assert misses(engine.bpf, loaded.progs["again"].fd) == 3 and misses(engine.bpf, loaded.progs["other"].fd) == 0
    assert "recursion_misses:\t3" in engine.bpf.fdinfo(loaded.progs["again"].fd)
    links["again"].close()
    run(engine.bpf, loaded.progs["print"].fd)
    assert counts(loaded) == [3, 7]


def test_a_program_on_two_cpus_does_not_miss(build: Callable[[str], Any]) -> None:
    """Who is in a program is known for each CPU."""
    with Kernel(cpus=2) as kernel:
        loaded = build(OWN_EVENT).load(kernel.bpf)
        loaded.attach()
        fd = loaded.progs["print"].fd
        threads = [threading.Thread(target=lambda: [run(kernel.bpf, fd) for _ in range(50)]) for _ in range(2)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert misses(kernel.bpf, loaded.progs["again"].fd) == 100
