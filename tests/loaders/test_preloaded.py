"""maps.debug and progs.debug: what every fresh bpffs shows, by programs of the kernel's own."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from both import compiled, live_side

from bpfjit import open_object
from kernfs_sim import Kernel
from kernfs_sim.caller import Cred, InProcess

BPFFS = "/sys/fs/bpf"
NAMES = ["maps.debug", "progs.debug"]


class Files:
    """The root of a fresh bpffs: what a process sees and may do there."""

    def __init__(self, path: str, calls: Any) -> None:
        self.path, self.calls = path, calls

    def outcome(self, call: str, *names: str) -> object:
        try:
            return getattr(self.calls, call)(*(f"{self.path}/{name}" for name in names))
        except OSError as e:
            return e.errno


@pytest.fixture(params=["simulated", "live"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Files]:
    if request.param == "simulated":
        with Kernel() as kernel:

            class Calls:
                unlink, stat, listdir, mkdir = kernel.unlink, kernel.stat, kernel.listdir, kernel.mkdir

                @staticmethod
                def rename(old: str, new: str) -> None:
                    kernel.vfs.rename(kernel.caller, old, new)

            yield Files(BPFFS, Calls)
        return
    live_side()
    subprocess.run(["mount", "-t", "bpf", "bpf", str(tmp_path)], check=True, capture_output=True)
    try:
        if "maps.debug" not in os.listdir(tmp_path):
            pytest.skip("this Linux preloads no iterators")
        yield Files(str(tmp_path), os)
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_they_are_there_from_the_start_and_stay(files: Files) -> None:
    assert sorted(files.calls.listdir(files.path)) == NAMES
    for name in NAMES:
        status = files.outcome("stat", name)
        assert stat.S_IMODE(status.st_mode) == 0o400  # type: ignore[attr-defined]
        assert files.outcome("unlink", name) == 1
        assert files.outcome("rename", name, "mine") == 1
    assert files.outcome("mkdir", "a.b") == 1
    assert sorted(files.calls.listdir(files.path)) == NAMES


def test_they_list_maps_and_programs() -> None:
    with Kernel() as kernel, open_object(compiled("trip")).load(kernel.bpf) as loaded:
        for key in (1, 2, 5):
            loaded.maps["seen"].update(key.to_bytes(4, "little"), bytes(8))
        maps = kernel.read_text(f"{BPFFS}/maps.debug").splitlines()
        assert maps[0] == "  id name             max_entries  cur_entries"
        assert maps[1] == f"{1:4} {'seen':16}  {16:10}   {3:10}"
        assert maps[2] == f"{2:4} {'sums':16}  {4:10}   {0:10}"
        progs = kernel.read_text(f"{BPFFS}/progs.debug").splitlines()
        assert progs[0] == "  id name             attached"
        names = [re.split(r" +", line.strip())[1] for line in progs[1:]]
        assert names == ["count", "sum", "fields", "keep", "switched", "dump_bpf_map", "dump_bpf_prog"]
        assert progs[-1].endswith("dump_bpf_prog    bpf_iter_bpf_prog ")


def test_nothing_is_loaded_before_somebody_reads_and_nothing_stays() -> None:
    kernel = Kernel()
    assert not list(kernel.progs)
    kernel.read_text(f"{BPFFS}/maps.debug")
    kernel.read_text(f"{BPFFS}/maps.debug")
    assert len(list(kernel.progs)) == 2
    assert len(kernel.caller.fds) == 0
    kernel.close()
    assert not list(kernel.progs)
    assert not list(kernel.maps)


def test_only_root_reads_them() -> None:
    with Kernel() as kernel, pytest.raises(PermissionError):
        kernel.read_text(f"{BPFFS}/maps.debug", caller=InProcess(Cred(1000, 1000, frozenset())))


def test_the_skeleton_is_the_sources(tmp_path: Path) -> None:
    """Programs and texts are those of iterators.bpf.c (the bytes may be another clang's)."""
    from bpfjit.cli.main import main

    root = Path(__file__).resolve().parents[2]
    source = root / "kernfs_sim" / "data" / "iterators.bpf.c"
    assert main(["gen", "skeleton", "-L", str(source), "-o", str(tmp_path / "made.py")]) == 0

    def classes(text: str) -> list[str]:
        return [line.strip() for line in text.splitlines() if line.startswith("class ") or "Prog(" in line]

    assert classes((tmp_path / "made.py").read_text()) == classes((root / "kernfs_sim" / "preloaded.py").read_text())
