"""Verdicts on disk: what was verified once is loaded again without verifier and compiler, and never believed blindly."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import bpfjit.verifier.check as check
import kernfs_sim.kept as kept
from bpfjit import open_object
from bpfjit.dataclass import fields
from bpfjit.isa.asm import assemble
from bpfjit.isa.encoding import encode
from bpfjit.jit import Engine
from bpfjit.jit.tiers import HOT_RUNS
from bpfjit.loader.bpf import Buffers
from bpfjit.loader.compile import compile_c
from bpfjit.program import MapInfo, Program
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel
from kernfs_sim.caller import CAP_BPF, Cred, InProcess
from kernfs_sim.objects import ProgObject

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "wait_latency.bpf.c"


@pytest.fixture(autouse=True)
def directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("BPFJIT_NO_CACHE", "0")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "bpfjit"


class Seen:
    """What has been verified, by name."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def take(self) -> list[str]:
        names, self.names = self.names, []
        return names


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    found, before = Seen(), check.verify

    def verify(program: Any, env: Any) -> Any:
        found.names.append(program.name)
        return before(program, env)

    monkeypatch.setattr(check, "verify", verify)
    yield found


@pytest.fixture(scope="module")
def example() -> bytes:
    return compile_c(EXAMPLE)


def view(example: bytes, kernel: Kernel) -> str:
    """What the example's view shows, and what is found out about its programs."""
    from bpfjit.loader.object import open_bytes

    kernel.cgroups.create("/web")
    with open_bytes(example, "wait.bpf.o").load(kernel.bpf) as loaded:
        loaded.attach()
        loaded.links["wait_show"].pin("/sys/fs/bpf/wait_show")
        loaded.links["wait_show"].pin("/sys/fs/cgroup/web/wait_show")
        text = kernel.read_text("/sys/fs/cgroup/web/wait_show")
        kernel.unlink("/sys/fs/bpf/wait_show")
    return text


def in_a_new_kernel(example: bytes) -> str:
    with Kernel() as kernel:
        return view(example, kernel)


def test_a_second_load_neither_verifies_nor_compiles(example: bytes, seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    assert in_a_new_kernel(example) == "2 0\n"
    assert seen.take() == ["wait_record", "wait_show"]

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("called")

    monkeypatch.setattr(Engine, "__init__", never)
    assert in_a_new_kernel(example) == "2 0\n"
    assert seen.take() == []


def test_what_comes_from_the_disk_is_what_was_found_out(example: bytes) -> None:
    def programs() -> list[tuple[Any, ...]]:
        from bpfjit.loader.object import open_bytes

        with Kernel() as kernel, open_bytes(example, "wait.bpf.o").load(kernel.bpf):
            return [_described(p) for p in kernel.progs]

    assert programs() == programs()


def _described(prog: ProgObject) -> tuple[Any, ...]:
    p, f, s = prog.program, prog.verified.facts, prog.verified.stats
    btf = p.btf.data if p.btf is not None else b""  # type: ignore[attr-defined]
    program = (p.name, p.type.id, p.insns, p.attach_name, [m.name for m in p.maps], p.map_refs, btf, p.funcs, p.lines)
    return program, [getattr(f, name) for name in f.__slots__], s, prog.tag, prog.native.functions != ()


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


DAMAGE: dict[str, Callable[[bytes], bytes | None]] = {
    "gone": lambda data: None,
    "cut": lambda data: data[:-1],
    "empty": lambda data: b"",
    "grown": lambda data: data + b"x",
    "first byte": lambda data: _flip(data, 0),
    "middle byte": lambda data: _flip(data, len(data) // 2),
    "last byte": lambda data: _flip(data, len(data) - 1),
}


@pytest.mark.parametrize("kind", ["o", "v"])
@pytest.mark.parametrize("how", DAMAGE)
def test_what_is_damaged_is_made_again(seen: Seen, directory: Path, kind: str, how: str) -> None:
    with Kernel() as kernel:
        load(kernel, RETURN_ONE)
        (path,) = directory.glob(f"*.{kind}")
        data = DAMAGE[how](path.read_bytes())
        path.unlink()
        if data is not None:
            path.write_bytes(data)
        for verified in (["p", "p"], []):
            assert run(kernel, load(kernel, RETURN_ONE)) == 1
            assert seen.take() == verified


def test_no_changed_byte_of_a_verdict_is_believed(seen: Seen, directory: Path) -> None:
    with Kernel() as kernel:
        load(kernel, RETURN_ONE)
        (path,) = directory.glob("*.v")
        data = path.read_bytes()
        seen.take()
        for at in range(0, len(data), 13):
            path.write_bytes(_flip(data, at))
            assert run(kernel, load(kernel, RETURN_ONE)) == 1
            assert seen.take() == ["p"]
            assert path.read_bytes() != _flip(data, at)


def test_what_another_may_write_is_not_believed(example: bytes, seen: Seen, directory: Path) -> None:
    in_a_new_kernel(example)
    for path in directory.glob("*.v"):
        path.chmod(0o666)
    seen.take()
    in_a_new_kernel(example)
    assert len(seen.take()) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of another owner")
def test_what_another_owns_is_not_believed(example: bytes, seen: Seen, directory: Path) -> None:
    in_a_new_kernel(example)
    for path in directory.glob("*.v"):
        os.chown(path, 12345, 12345)
    seen.take()
    in_a_new_kernel(example)
    assert len(seen.take()) == 2


# -- what a verdict depends on ----------------------------------------------------------------------------------

RETURN_ONE = "r0 = 1\nexit"
VALUE = "r1 = 0 ll\nr0 = *(u32 *)(r1 + 0)\nexit"


def make_map(
    kernel: Kernel, value: int = 1, *, freeze: bool = False, flags: int = 0, size: int = 4, name: bytes = b"m"
) -> int:
    attr = uapi.MapCreate(
        map_type=uapi.BPF_MAP_TYPE_ARRAY, key_size=4, value_size=size, max_entries=1, map_flags=flags, map_name=name
    )
    fd = kernel.bpf(uapi.BPF_MAP_CREATE, bytearray(attr.pack()))
    keep = Buffers()
    update = uapi.MapElem(map_fd=fd, key=keep.put(bytes(4)), value=keep.put(value.to_bytes(size, "little")))
    kernel.bpf(uapi.BPF_MAP_UPDATE_ELEM, bytearray(update.pack()))
    if freeze:
        kernel.bpf(uapi.BPF_MAP_FREEZE, bytearray(uapi.MapElem(map_fd=fd).pack()))
    return fd


def load(
    kernel: Kernel,
    text: str,
    *,
    map_fd: int | None = None,
    bpf: Any = None,
    log: bool = False,
    license: bytes = b"GPL\0",
    **more: Any,
) -> int:
    keep = Buffers()
    insns = list(assemble(text))
    if map_fd is not None:
        insns[0] = insns[0]._replace(src=uapi.BPF_PSEUDO_MAP_VALUE, imm=map_fd)
    wanted = {"prog_type": uapi.BPF_PROG_TYPE_SOCKET_FILTER, "prog_name": b"p", **more}
    attr = uapi.ProgLoad(insns=keep.put(encode(insns)), insn_cnt=len(insns), license=keep.put(license), **wanted)
    if log:
        buffer = bytearray(4096)
        attr.log_level, attr.log_size, attr.log_buf = 2, len(buffer), keep.put(buffer)
        fd = (bpf or kernel.bpf)(uapi.BPF_PROG_LOAD, bytearray(attr.pack()))
        assert b"processed 2 insns" in buffer
        return int(fd)
    return int((bpf or kernel.bpf)(uapi.BPF_PROG_LOAD, bytearray(attr.pack())))


def run(kernel: Kernel, fd: int, repeat: int = 1) -> int:
    keep = Buffers()
    raw = bytearray(uapi.TestRun(prog_fd=fd, data_in=keep.put(bytes(64)), data_size_in=64, repeat=repeat).pack())
    kernel.bpf(uapi.BPF_PROG_TEST_RUN, raw)
    return uapi.TestRun.unpack(raw).retval


DIFFERENT: dict[str, Callable[[Kernel], Any]] = {
    "instructions": lambda k: load(k, "r0 = 2\nexit"),
    "name": lambda k: load(k, RETURN_ONE, prog_name=b"q"),
    "type": lambda k: load(k, RETURN_ONE, prog_type=uapi.BPF_PROG_TYPE_XDP),
    "flags": lambda k: load(k, RETURN_ONE, prog_flags=uapi.BPF_F_STRICT_ALIGNMENT),
    "attach type": lambda k: load(
        k, RETURN_ONE, prog_type=uapi.BPF_PROG_TYPE_CGROUP_SKB, expected_attach_type=uapi.BPF_CGROUP_INET_EGRESS
    ),
    "licence": lambda k: load(k, RETURN_ONE, license=b"none\0"),
    "a log": lambda k: load(k, RETURN_ONE, log=True),
    "rights": lambda k: _as_user(k, RETURN_ONE),
}


def _as_user(kernel: Kernel, text: str) -> int:
    who = InProcess(Cred(1000, 1000, frozenset({CAP_BPF})))
    return load(kernel, text, bpf=kernel.caller_bpf(who))


@pytest.mark.parametrize("what", DIFFERENT)
def test_a_program_that_differs_in_one_thing_is_verified(what: str, seen: Seen) -> None:
    with Kernel() as kernel:
        load(kernel, RETURN_ONE)
        load(kernel, RETURN_ONE)
        assert len(seen.take()) == 1
        DIFFERENT[what](kernel)
        assert len(seen.take()) == 1


MAPS: dict[str, dict[str, Any]] = {
    "size": {"size": 8},
    "name": {"name": b"n"},
    "flags": {"flags": uapi.BPF_F_RDONLY_PROG},
    "frozen": {"freeze": True},
}


@pytest.mark.parametrize("what", MAPS)
def test_a_program_of_another_map_is_verified(what: str, seen: Seen) -> None:
    with Kernel() as kernel:
        for _ in range(2):  # another map, another fd, another id: the same to a program
            assert run(kernel, load(kernel, VALUE, map_fd=make_map(kernel, 7))) == 7
        assert len(seen.take()) == 1
        assert run(kernel, load(kernel, VALUE, map_fd=make_map(kernel, 8, **MAPS[what]))) == 8
        assert len(seen.take()) == 1


def test_all_that_a_program_may_know_of_a_map_is_in_its_key() -> None:
    """Whoever gives MapInfo a member says here whether a verdict depends on it: on all but what is new with each map."""
    derived = {"type", "constant", "record"}  # by its number, by its bytes, by BTF
    assert set(fields(MapInfo)) == {"id", *derived, *kept.PLAIN}
    assert set(fields(Program)) == {
        *("name", "type", "insns", "attach_type", "attach_name", "maps", "map_refs", "btf", "funcs", "lines", "gpl"),
        *("sleepable", "memory_bytes", "strict_alignment", "structs", "is_extension", "traces"),
    }


def test_constants_are_part_of_the_program(seen: Seen) -> None:
    constant = {"freeze": True, "flags": uapi.BPF_F_RDONLY_PROG}
    with Kernel() as kernel:
        for value in (5, 6, 5):
            assert run(kernel, load(kernel, VALUE, map_fd=make_map(kernel, value, **constant))) == value
        assert len(seen.take()) == 2


def test_a_log_that_makes_no_sense_is_refused_of_what_is_known_too() -> None:
    with Kernel() as kernel:
        load(kernel, RETURN_ONE)
        for wrong in ({"log_size": 100}, {"log_buf": 4096}, {"log_buf": 4096, "log_size": 100}):
            with pytest.raises(OSError) as refused:
                load(kernel, RETURN_ONE, **wrong)
            assert refused.value.errno == errno.EINVAL


def test_what_is_refused_is_refused_again(seen: Seen, directory: Path) -> None:
    with Kernel() as kernel:
        for _ in range(2):
            with pytest.raises(PermissionError, match="R5 !read_ok"):
                load(kernel, "r0 = r5\nexit")
        assert len(seen.take()) == 2
        assert list(directory.glob("*.v")) == []


def test_another_version_of_ours_verifies_anew(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    with Kernel() as kernel:
        load(kernel, RETURN_ONE)
        monkeypatch.setattr(kept, "fingerprint", lambda: "another")
        load(kernel, RETURN_ONE)
        assert len(seen.take()) == 2


def test_a_kernel_with_targets_of_its_own_keeps_nothing(seen: Seen, directory: Path) -> None:
    with Kernel() as kernel:
        kernel.add_target("thing", "struct thing { int a; };")
        for _ in range(2):
            load(kernel, RETURN_ONE)
        assert len(seen.take()) == 2 and not list(directory.glob("*.v"))


def test_without_a_cache_and_in_the_interpreter_all_is_verified(seen: Seen) -> None:
    for kernel in (Kernel(), Kernel(cache=False), Kernel(engine="interp")):
        with kernel:
            load(kernel, RETURN_ONE)
            load(kernel, RETURN_ONE)
    assert len(seen.take()) == 1 + 2 + 2


# -- how it runs --------------------------------------------------------------------------------------------------


def test_code_of_the_first_tier_is_optimised_once_it_runs_often(seen: Seen, directory: Path) -> None:
    for first in (True, False):
        with Kernel() as kernel:
            fd = load(kernel, RETURN_ONE)
            native = kernel.caller.fds.get(fd).object.native
            assert not native.optimised and run(kernel, fd) == 1 and native.runs == 1
            if not first:
                assert run(kernel, fd, HOT_RUNS) == 1 and native.optimised
    with Kernel() as kernel:
        fd = load(kernel, RETURN_ONE)
        assert kernel.caller.fds.get(fd).object.native.optimised and run(kernel, fd) == 1
    assert len(seen.take()) == 1


def test_a_kernel_without_tiers_does_not_take_the_first(seen: Seen) -> None:
    with Kernel() as kernel:
        load(kernel, RETURN_ONE)
    with Kernel(tiered=False) as kernel:
        assert kernel.caller.fds.get(load(kernel, RETURN_ONE)).object.native.optimised
    assert len(seen.take()) == 2


@pytest.mark.parametrize("name", ["switch", "calls", "jhash", "parse", "siphash"])
def test_kept_code_answers_as_fresh_code_does(name: str, seen: Seen) -> None:
    source, answers = ROOT / "benchmarks" / "programs" / f"{name}.bpf.c", []
    for tiered in (True, True, False, False):
        with Kernel(tiered=tiered) as kernel, open_object(source).load(kernel.bpf) as it:
            answers.append(run(kernel, it.progs["prog"].fd))
    assert len(set(answers)) == 1
    assert len(seen.take()) == 2
