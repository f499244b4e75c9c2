"""What perf is told: the map's lines, and a jitdump's records, of the code that is there."""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

import pytest

from bpfjit import open_object
from bpfjit.jit.perf import Perf
from kernfs_sim import Kernel

SOURCE = Path(__file__).parent.parent.parent / "benchmarks" / "programs" / "jhash.bpf.c"


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BPFJIT_PERF", "map,dump")
    with Kernel(tiered=False) as kernel:
        yield kernel
    Path(f"/tmp/perf-{os.getpid()}.map").unlink(missing_ok=True)


def test_map_and_dump_name_the_code(kernel: Kernel, tmp_path: Path) -> None:
    loaded = open_object(SOURCE).load(kernel.bpf)
    native = kernel.caller.fds.get(loaded.progs["prog"].fd).object.native
    addr, size = native.functions[0]
    said = Path(f"/tmp/perf-{os.getpid()}.map").read_text().splitlines()
    assert said == [f"{addr:x} {size:x} bpf_prog_prog"]
    dump = (tmp_path / f"jit-{os.getpid()}.dump").read_bytes()
    magic, version, header, machine, _, pid = struct.unpack_from("<IIIIII", dump)
    assert (magic, version, header, machine, pid) == (0x4A695444, 1, 40, 62, os.getpid())
    at, kinds = header, []
    while at < len(dump):
        kind, length, _ = struct.unpack_from("<IIQ", dump, at)
        body = dump[at + 16 : at + length]
        kinds.append(kind)
        if kind == 0:
            assert struct.unpack_from("<IIQQQQ", body)[2:5] == (addr, addr, size)
            assert body[40:].endswith(b"bpf_prog_prog\0" + ctypes.string_at(addr, size))
        else:
            start, count = struct.unpack_from("<QQ", body)
            first, line = struct.unpack_from("<QI", body, 16)
            assert start == addr and count > 5 and addr <= first < addr + size and 0 < line < 34
            assert body[32:].startswith(str(SOURCE).encode())
        at += length
    assert kinds == [2, 0] and at == len(dump), "a function's lines come before its code"
    loaded.close()


@pytest.mark.parametrize(("value", "kinds"), [("", None), ("0", None), ("map", {"map"}), ("map,dump", {"map", "dump"})])
def test_only_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch, value: str, kinds: set[str] | None) -> None:
    monkeypatch.setenv("BPFJIT_PERF", value)
    perf = Perf.from_environment()
    assert (None if perf is None else perf.kinds) == kinds
