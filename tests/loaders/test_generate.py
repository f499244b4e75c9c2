"""Loader programs across the wall: ours in Linux, bpftool's in ours, and what both leave behind."""

from __future__ import annotations

import random
import struct
from errno import E2BIG, EACCES, EFAULT, EINVAL
from pathlib import Path
from typing import Any

import pytest
from both import Side, compiled
from light import CTX, Light, bpftool, ours

from bpfjit import open_object
from bpfjit.errors import LoadError
from bpfjit.isa.encoding import decode
from bpfjit.loader.bpf import Buffers
from bpfjit.loader.compile import compile_c
from bpfjit.loader.generate import generate
from bpfjit.uapi import bpf as uapi

MAKERS = {"ours": ours, "bpftool": lambda name, side: bpftool(name)}
MAPS = ["seen", "sums", "rodata", "data", "bss", "kconfig"]
PROGS = ["count", "sum", "fields", "keep", "switched"]
PACKET = bytes(64)


def fds_from_elf(side: Side) -> dict[str, int]:
    """The same object through the ELF loader."""
    loaded = open_object(compiled("trip")).load(side.bpf)
    fds = {name.rpartition(".")[2]: m.fd for name, m in loaded.maps.items()} | {n: p.fd for n, p in loaded.progs.items()}
    for fd in fds.values():
        side.own(fd)
    side.own(loaded.btf_fd)
    return fds


def behaviour(side: Side, fds: dict[str, int]) -> dict[str, Any]:
    """What can be seen of an object's maps and programs, fds and ids aside."""
    seen: dict[str, Any] = {}
    for name in MAPS:
        info = side.info(fds[name], "bpf_map_info")
        wanted = ("type", "key_size", "value_size", "max_entries", "map_flags", "btf_key_type_id", "btf_value_type_id")
        seen[name] = {member: int.from_bytes(info[member], "little") for member in wanted}
        seen[name]["name"] = info["name"].rstrip(b"\0")
        if name not in ("seen", "sums"):
            seen[name]["contents"] = side.lookup(fds[name], seen[name]["value_size"])
            seen[name]["written"] = side.update(fds[name], seen[name]["contents"])
    for name in PROGS:
        info = side.info(fds[name])
        seen[name] = {member: info[member] for member in ("type", "name", "nr_map_ids")}
    for name in ("count", "sum", "fields", "sum", "count"):
        seen.setdefault("runs", []).append(side.run(fds[name])[1])
    keep = Buffers()
    run = uapi.TestRun(prog_fd=fds["keep"], data_in=keep.put(PACKET), data_size_in=len(PACKET), repeat=3)
    seen["packet"] = side.call(uapi.BPF_PROG_TEST_RUN, run)
    seen["element"] = side.lookup(fds["seen"], 8), side.lookup(fds["sums"], 8), side.lookup(fds["bss"], 24)
    return seen


@pytest.mark.parametrize("maker", MAKERS)
def test_a_loader_makes_what_the_elf_loader_makes(maker: str, side: Side) -> None:
    from_elf = behaviour(side, fds_from_elf(side))
    light = MAKERS[maker]("trip", side)
    before = side.open_fds()
    assert light.run(side) == 0, light.log
    assert sorted(light.fds) == sorted(MAPS + PROGS)
    assert side.open_fds() == before + len(light.fds)
    found = behaviour(side, light.fds)
    if maker == "bpftool":  # old ones number the kconfig type otherwise, or not at all
        for name in MAPS:
            for member in ("btf_key_type_id", "btf_value_type_id"):
                del found[name][member], from_elf[name][member]
        del found["kconfig"]["contents"], from_elf["kconfig"]["contents"]  # the version of where bpftool ran
    assert found == from_elf
    assert found["runs"][0] == 3
    assert found["packet"] == 0


def test_our_loader_makes_the_same_in_both_kernels(sim: Side, real: Side) -> None:
    made = [ours("trip", sim) for _ in range(2)]
    assert made[0] == made[1]
    for light, side in zip(made, (sim, real), strict=True):
        assert light.run(side) == 0, light.log
    seen = [behaviour(side, light.fds) for light, side in zip(made, (sim, real), strict=True)]
    for one in seen:
        del one["kconfig"]["contents"]
    assert seen[0] == seen[1]
    # Instructions that no CO-RE has touched are the same bytes, whatever the fds.
    for name in ("count", "sum", "keep"):
        assert sim.info(made[0].fds[name])["tag"] == real.info(made[1].fds[name])["tag"]


@pytest.mark.parametrize("name", ["globals", "maps", "subprogs", "legacy_maps", "ksyms", "tracing", "makes"])
def test_objects_of_every_kind_have_loaders(name: str, side: Side) -> None:
    before = side.open_fds()
    light = ours(name, side)
    with open_object(compiled(name)).load(side.bpf) as loaded:
        wanted = {p: int.from_bytes(side.info(x.fd)["nr_map_ids"], "little") for p, x in loaded.progs.items()}
        assert light.run(side) == 0, light.log
        assert {p: int.from_bytes(side.info(light.fds[p])["nr_map_ids"], "little") for p in wanted} == wanted
    side.close_all()
    assert side.open_fds() == before


def test_loaders_fill_maps_of_maps_and_prog_arrays_and_find_kernel_functions(side: Side) -> None:
    light = ours("nested", side)
    before = side.open_fds()
    assert light.run(side) == 0, light.log
    assert side.open_fds() == before + len(light.fds)
    assert side.run(light.fds["nested"])[1] == 5
    assert side.lookup(light.fds["second"], 8) == struct.pack("<Q", 5)
    assert side.run(light.fds["locked"])[1] == 9  # the function that is not there is not called
    keep = Buffers()
    run = bytearray(uapi.TestRun(prog_fd=light.fds["xdp_main"], data_in=keep.put(PACKET), data_size_in=64).pack())
    assert side.call(uapi.BPF_PROG_TEST_RUN, run) == 0
    assert uapi.TestRun.unpack(run).retval == 7


@pytest.mark.parametrize("maker", MAKERS)
def test_the_context_sets_sizes_and_initial_values(maker: str, side: Side) -> None:
    keep, light = Buffers(), MAKERS[maker]("trip", side)
    values = {"rodata": struct.pack("<Iii", 50, 1, 2), "bss": struct.pack("<Q", 1000).ljust(24, b"\0")}
    entries = {"seen": 77, "sums": 5}
    assert light.run(side, entries=entries, values={n: keep.put(v) for n, v in values.items()}) == 0, light.log
    sizes = {n: int.from_bytes(side.info(light.fds[n], "bpf_map_info")["max_entries"], "little") for n in entries}
    assert sizes == entries
    assert side.lookup(light.fds["rodata"], 12) == values["rodata"]
    assert side.run(light.fds["count"])[1] == 1050


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("culprit", ["seen", "sums", "kconfig"])
def test_a_loader_that_fails_closes_what_it_made(maker: str, culprit: str, side: Side) -> None:
    light = MAKERS[maker]("trip", side)
    before = side.open_fds()
    if maker == "ours":  # bpftool's go on with what the object said
        assert light.run(side, values={"data": 8}) == -EFAULT
    # A hash takes no such number of buckets, an array of one element no other.
    assert light.run(side, entries={culprit: 0xFFFFFFFF}) in (-E2BIG, -EINVAL, -12, -22)
    assert side.open_fds() == before


def test_a_refused_program_is_what_a_loader_returns(side: Side, tmp_path: Path) -> None:
    source = tmp_path / "bad.bpf.c"
    source.write_text(
        '#include "vmlinux.h"\n#include <bpf/bpf_helpers.h>\n'
        'int n;\nSEC("syscall") int good(void *ctx) { return n++; }\n'
        'SEC("xdp") int bad(struct xdp_md *ctx) { return *(volatile char *)(long)ctx->data; }\n'
        'char _license[] SEC("license") = "GPL";\n'
    )
    path = tmp_path / "bad.bpf.o"
    path.write_bytes(compile_c(source))
    made = generate(open_object(path), {})
    light = Light(made.insns, made.data, [m.name for m in made.maps], [p.name for p in made.progs])
    before = side.open_fds()
    assert light.run(side) == -EACCES
    assert side.open_fds() == before


@pytest.mark.parametrize("maker", MAKERS)
def test_a_context_of_another_size(maker: str, sim: Side, real: Side) -> None:
    for by in (-1, -4, 1, 100):
        results = []
        for side in (sim, real):
            light = MAKERS[maker]("trip", side)
            before = side.open_fds()
            results.append(light.run(side, ctx_bytes=light.ctx_bytes + by))
            if results[-1]:
                assert side.open_fds() == before
            side.close_all()
        assert results[0] == results[1] == (-EINVAL if by < 0 else 0)


def test_a_loader_whose_data_are_cut_is_refused(sim: Side, real: Side) -> None:
    for keep in (8, 100, 4096, 9000):
        refused = []
        for side in (sim, real):
            light = ours("trip", side)
            light.data = light.data[:keep]
            before = side.open_fds()
            refused.append(light.run(side))
            assert side.open_fds() == before
        assert refused[0] == refused[1] < 0


def test_a_loader_cut_or_altered_anywhere_does_no_harm(sim: Side) -> None:
    rng, good = random.Random(6), ours("trip", sim)
    assert sim.kernel is not None
    fds = sim.kernel.caller.fds
    outcomes = set()
    for _ in range(40):
        data, insns = bytearray(good.data), bytearray(good.insns)
        kind = rng.choice(["cut", "data", "data", "insns"])
        if kind == "cut":
            insns = insns[: rng.randrange(1, len(insns) // 8) * 8]
        else:
            into = data if kind == "data" else insns
            into[rng.randrange(len(into))] ^= 1 << rng.randrange(8)
        light = Light(bytes(insns), bytes(data), good.maps, good.progs)
        result = light.run(sim)
        outcomes.add(result)
        if result and kind != "insns":  # other instructions may leave things open, and may say so in Linux too
            assert len(fds) == 0, (kind, result)
        fds.close_all()
        sim.forget()
    assert {0, -EINVAL, -EACCES} <= outcomes
    assert not list(sim.kernel.maps)
    assert not list(sim.kernel.progs)


def test_a_loader_may_run_twice(side: Side) -> None:
    """What the first run left in its map is of no consequence to the second."""
    light = ours("trip", side)
    m = side.map(value=len(light.data))
    assert side.update(m, light.data) == 0
    prog = side.load(decode(light.insns), uapi.BPF_PROG_TYPE_SYSCALL, fds=[m], license=b"Dual BSD/GPL\0")
    before = side.open_fds()
    ctx = CTX.pack(light.ctx_bytes, 0, 0, 0, 0).ljust(light.ctx_bytes, b"\0")
    for n in (1, 2):
        result, retval, after = side.run(prog, ctx)
        assert (result, retval) == (0, 0)
        for i in range(len(MAPS)):
            side.own(struct.unpack_from("<i", after, CTX.size + 16 * i)[0])
        for i in range(len(PROGS)):
            side.own(struct.unpack_from("<i", after, CTX.size + 16 * len(MAPS) + 4 * i)[0])
        assert side.open_fds() == before + n * (len(MAPS) + len(PROGS))


def test_what_a_loader_program_cannot_do_is_said(tmp_path: Path) -> None:
    source = tmp_path / "pinned.bpf.c"
    source.write_text(
        '#include "vmlinux.h"\n#include <bpf/bpf_helpers.h>\n'
        "struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __uint(key_size, 4); __uint(value_size, 8);\n"
        '__uint(pinning, 1); } kept SEC(".maps");\nSEC("xdp") int p(void *ctx) { return 0; }\n'
        'char _license[] SEC("license") = "GPL";\n'
    )
    path = tmp_path / "pinned.bpf.o"
    path.write_bytes(compile_c(source))
    with pytest.raises(LoadError, match="kept is pinned by name"):
        generate(open_object(path), {})
