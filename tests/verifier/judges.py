"""The two judges of a program's bytes: our verifier, and the live kernel's through bpf(2)."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field, replace
from functools import cache

from bpfjit.btf import NO_FIELDS, Btf, FuncInfo, Kind, LineInfo, parse_btf, parse_record
from bpfjit.btf.from_c import btf_from_c
from bpfjit.btf.write import write_btf
from bpfjit.isa.encoding import Insn, encode, ld_imm64
from bpfjit.loader.bpf import Buffers, kernel_btf, live_bpf
from bpfjit.program import MapInfo, MapRef, Program, Rejected, Verified
from bpfjit.spec.map_types import MAP_TYPE_BY_ID
from bpfjit.spec.prog_types import PROG_TYPES
from bpfjit.uapi import bpf as uapi
from bpfjit.verifier import Env, verify

TYPES = {row.name: row for row in PROG_TYPES}
_IDS = {row.name: row.id for row in PROG_TYPES}


@dataclass(frozen=True)
class MapSpec:
    """A map that cases may name; `content` makes it a frozen read-only one with that value.

    members: C members of the value's structure, which give the map BTF. inner: of a map of maps, what it holds.
    """

    type: int
    key: int
    value: int
    entries: int = 4
    flags: int = 0
    content: bytes = b""
    members: str = ""
    inner: str = ""
    extra: int = 0

    @property
    def types(self) -> Btf | None:
        """BTF with a key of int and the value's structure."""
        if not self.members:
            return None
        return btf_from_c(f"{_SPECIAL} struct value {{ {self.members} }};")


_SPECIAL = """
typedef int key; struct bpf_spin_lock { unsigned int val; }; struct bpf_timer { unsigned long long __opaque[2]; };
struct bpf_wq { unsigned long long __opaque[2]; };
"""
MAPS = {
    "array": MapSpec(uapi.BPF_MAP_TYPE_ARRAY, 4, 16, 1),
    "big": MapSpec(uapi.BPF_MAP_TYPE_ARRAY, 4, 256, 1),
    "many": MapSpec(uapi.BPF_MAP_TYPE_ARRAY, 4, 48, 8),
    "hash": MapSpec(uapi.BPF_MAP_TYPE_HASH, 8, 48),
    "hash4": MapSpec(uapi.BPF_MAP_TYPE_HASH, 4, 8),
    "hash48": MapSpec(uapi.BPF_MAP_TYPE_HASH, 4, 48),
    "percpu": MapSpec(uapi.BPF_MAP_TYPE_PERCPU_ARRAY, 4, 16, 1),
    "lru": MapSpec(uapi.BPF_MAP_TYPE_LRU_HASH, 8, 16),
    "rdonly": MapSpec(uapi.BPF_MAP_TYPE_ARRAY, 4, 16, 1, uapi.BPF_F_RDONLY_PROG),
    "wronly": MapSpec(uapi.BPF_MAP_TYPE_ARRAY, 4, 16, 1, uapi.BPF_F_WRONLY_PROG),
    "ringbuf": MapSpec(uapi.BPF_MAP_TYPE_RINGBUF, 0, 0, 4096),
    "rodata": MapSpec(uapi.BPF_MAP_TYPE_ARRAY, 4, 16, 1, uapi.BPF_F_RDONLY_PROG, b"%d %d\0ab" + bytes(8)),
    "noterm": MapSpec(uapi.BPF_MAP_TYPE_ARRAY, 4, 8, 1, uapi.BPF_F_RDONLY_PROG, b"abcdefgh"),
    "locked": MapSpec(uapi.BPF_MAP_TYPE_ARRAY, 4, 16, 1, members="struct bpf_spin_lock lock; int n; long long sum;"),
    "timed": MapSpec(uapi.BPF_MAP_TYPE_ARRAY, 4, 24, 1, members="struct bpf_timer timer; long long sum;"),
    "outer": MapSpec(uapi.BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, inner="array"),
    "outer_locked": MapSpec(uapi.BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, inner="locked"),
    "outer_timed": MapSpec(uapi.BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, inner="timed"),
    "sized": MapSpec(uapi.BPF_MAP_TYPE_ARRAY, 4, 16, 4, uapi.BPF_F_INNER_MAP),
    "outer_sized": MapSpec(uapi.BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, inner="sized"),
    "progs": MapSpec(uapi.BPF_MAP_TYPE_PROG_ARRAY, 4, 4),
    "arena": MapSpec(uapi.BPF_MAP_TYPE_ARENA, 0, 0, 4, uapi.BPF_F_MMAPABLE, extra=1 << 44),
    "arena2": MapSpec(uapi.BPF_MAP_TYPE_ARENA, 0, 0, 4, uapi.BPF_F_MMAPABLE, extra=1 << 44),
    "arena_nowhere": MapSpec(uapi.BPF_MAP_TYPE_ARENA, 0, 0, 4, uapi.BPF_F_MMAPABLE),
    "stacks": MapSpec(uapi.BPF_MAP_TYPE_STACK_TRACE, 4, 64),
    "queued": MapSpec(uapi.BPF_MAP_TYPE_ARRAY, 4, 24, 1, members="struct bpf_wq work; long long sum;"),
    "outer_queued": MapSpec(uapi.BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, inner="queued"),
    "of_cgroup": MapSpec(uapi.BPF_MAP_TYPE_CGROUP_STORAGE, 16, 24, 0),
    "of_cgroup_too": MapSpec(uapi.BPF_MAP_TYPE_CGROUP_STORAGE, 8, 8, 0),
    "of_cpu": MapSpec(uapi.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE, 8, 8, 0),
    "devmap": MapSpec(uapi.BPF_MAP_TYPE_DEVMAP, 4, 8),
    "devmap_hash": MapSpec(uapi.BPF_MAP_TYPE_DEVMAP_HASH, 4, 4),
    "cpumap": MapSpec(uapi.BPF_MAP_TYPE_CPUMAP, 4, 8),
    "xskmap": MapSpec(uapi.BPF_MAP_TYPE_XSKMAP, 4, 4),
    "sockmap": MapSpec(uapi.BPF_MAP_TYPE_SOCKMAP, 4, 8),
    "sockhash": MapSpec(uapi.BPF_MAP_TYPE_SOCKHASH, 8, 8),
    "reuseport": MapSpec(uapi.BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, 4, 8),
    "perf": MapSpec(uapi.BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4),
    "of_socket": MapSpec(uapi.BPF_MAP_TYPE_SK_STORAGE, 4, 8, 0, uapi.BPF_F_NO_PREALLOC, members="long long sum;"),
    "user_ringbuf": MapSpec(uapi.BPF_MAP_TYPE_USER_RINGBUF, 0, 0, 4096),
}


def map_infos(names: list[str]) -> tuple[MapInfo, ...]:
    """The maps as our verifier sees them, what maps of maps hold behind them."""
    found, templates = [], []
    for i, name in enumerate(names):
        info = _info(i + 1, name)
        if inner := MAPS[name].inner:
            info = replace(info, inner=len(names) + len(templates))
            templates.append(replace(_info(0, inner), name="", template=True))
        found.append(info)
    return (*found, *templates)


def _info(id_: int, name: str) -> MapInfo:
    m, types = MAPS[name], MAPS[name].types
    row, frozen, constant = MAP_TYPE_BY_ID[m.type], bool(m.content), m.content or None
    record = parse_record(types, types.find(Kind.STRUCT, "value") or 0) if types is not None else NO_FIELDS
    flags = m.flags | row.implied_flags
    return MapInfo(id_, name, row, m.key, m.value, m.entries, flags, frozen, constant, record, types is not None)


@dataclass(frozen=True)
class Case:
    """One program for both judges. `maps`: by instruction, the map's name and the offset into its value or None."""

    type: str
    insns: tuple[Insn, ...]
    maps: dict[int, tuple[str, int | None]] = field(default_factory=dict)
    attach: str = ""
    gpl: bool = True
    sleepable: bool = False
    flags: int = 0
    btf: bytes = b""
    funcs: tuple[tuple[int, int], ...] = ()
    lines: tuple[tuple[int, int, int, int], ...] = ()
    expected: int = 0  # the attach type, where the name in `attach` does not say it


@dataclass(frozen=True)
class Verdict:
    """accepted, or the errno, the log, and its last line before the statistics."""

    errno: int
    log: str
    verified: Verified | None = None

    @property
    def ok(self) -> bool:
        return not self.errno

    @property
    def reason(self) -> str:
        lines = [x for x in self.log.splitlines() if x and not x.startswith(_TRAILER)]
        return lines[-1] if lines else ""


_TRAILER = ("processed ", "verification time", "stack depth", "max_states", "mark_precise")
_ATTACH = {"bpf_iter_": uapi.BPF_TRACE_ITER, "btf_trace_": uapi.BPF_TRACE_RAW_TP}


def attach_type(case: Case) -> int:
    return next((value for prefix, value in _ATTACH.items() if case.attach.startswith(prefix)), case.expected)


def program_of(case: Case) -> Program:
    """The case as our kernel hands it to the verifier."""
    names = sorted({name for name, _ in case.maps.values()})
    return Program(
        "case",
        TYPES[case.type],
        case.insns,
        attach_type(case),
        case.attach,
        map_infos(names),
        {pc: MapRef(names.index(name), off) for pc, (name, off) in case.maps.items()},
        parse_btf(case.btf) if case.btf else None,
        tuple(FuncInfo(off, type_id) for off, type_id in case.funcs),  # type: ignore[arg-type]
        tuple(LineInfo(*x) for x in case.lines),
        case.gpl,
        case.sleepable or case.type == "syscall",
        strict_alignment=bool(case.flags & uapi.BPF_F_STRICT_ALIGNMENT),
    )


def ours(case: Case, btf: Btf | None, log_level: int = 1) -> Verdict:
    """Our verifier's verdict."""
    try:
        verified = verify(program_of(case), Env(btf, True, log_level))
    except Rejected as e:
        return Verdict(e.errno, e.log)
    return Verdict(0, verified.log, verified)


class Live:
    """The kernel underneath: maps are made once, programs loaded and closed again."""

    def __init__(self) -> None:
        self.btf = kernel_btf(live_bpf)
        self._maps: dict[str, int] = {}

    def close(self) -> None:
        for fd in self._maps.values():
            os.close(fd)
        self._maps.clear()

    def _map(self, name: str) -> int:
        if name not in self._maps:
            m = MAPS[name]
            make = uapi.MapCreate(
                map_type=m.type, key_size=m.key, value_size=m.value, max_entries=m.entries, map_flags=m.flags
            )
            make.map_extra = m.extra
            make.map_name = name.encode()
            if m.inner:
                make.inner_map_fd = self._map(m.inner)
            types = m.types
            if types is not None:
                b, data = Buffers(), write_btf(types)
                load = uapi.BtfLoad(btf=b.put(data), btf_size=len(data))
                make.btf_fd = live_bpf(uapi.BPF_BTF_LOAD, bytearray(load.pack()))
                make.btf_key_type_id, make.btf_value_type_id = (
                    types.find(Kind.INT, "int") or 0,
                    types.find(Kind.STRUCT, "value") or 0,
                )
            fd = live_bpf(uapi.BPF_MAP_CREATE, bytearray(make.pack()))
            if types is not None:
                os.close(make.btf_fd)
            if m.content:
                b = Buffers()
                elem = uapi.MapElem(map_fd=fd, key=b.put(bytes(4)), value=b.put(m.content.ljust(m.value, b"\0")))
                live_bpf(uapi.BPF_MAP_UPDATE_ELEM, bytearray(elem.pack()))
                live_bpf(uapi.BPF_MAP_FREEZE, bytearray(uapi.MapElem(map_fd=fd).pack()))
            self._maps[name] = fd
        return self._maps[name]

    def judge(self, case: Case, log_level: int = 1, log_bytes: int = 1 << 20) -> Verdict:
        fd, log, number = self._load(case, log_level, log_bytes)
        if fd >= 0:
            os.close(fd)
        return Verdict(number, log)

    def _load(self, case: Case, log_level: int, log_bytes: int) -> tuple[int, str, int]:
        insns = list(case.insns)
        for pc, (name, off) in case.maps.items():
            pseudo = uapi.BPF_PSEUDO_MAP_FD if off is None else uapi.BPF_PSEUDO_MAP_VALUE
            insns[pc : pc + 2] = ld_imm64(insns[pc].dst, self._map(name) | (off or 0) << 32, pseudo)
        b, log = Buffers(), bytearray(log_bytes)
        attr = uapi.ProgLoad(
            prog_type=_IDS[case.type],
            insn_cnt=len(insns),
            insns=b.put(encode(insns)),
            license=b.put(b"GPL\0" if case.gpl else b"Proprietary\0"),
            log_level=log_level,
            log_size=len(log) if log_level else 0,
            log_buf=b.put(log) if log_level else 0,
            prog_flags=case.flags | (uapi.BPF_F_SLEEPABLE if case.sleepable or case.type == "syscall" else 0),
            expected_attach_type=attach_type(case),
        )
        btf_fd = -1
        if case.attach:
            kind = Kind.TYPEDEF if case.attach.startswith("btf_trace_") else Kind.FUNC
            found = self.btf.find(kind, case.attach)
            assert found is not None, case.attach
            attr.attach_btf_id = found
        if case.btf:
            load = uapi.BtfLoad(btf=b.put(case.btf), btf_size=len(case.btf))
            btf_fd = live_bpf(uapi.BPF_BTF_LOAD, bytearray(load.pack()))
            attr.prog_btf_fd = btf_fd
            funcs = b"".join(x.to_bytes(4, "little") for pair in case.funcs for x in pair)
            lines = b"".join(x.to_bytes(4, "little") for row in case.lines for x in row)
            attr.func_info_rec_size, attr.func_info_cnt, attr.func_info = 8, len(case.funcs), b.put(funcs)
            attr.line_info_rec_size, attr.line_info_cnt, attr.line_info = 16, len(case.lines), b.put(lines)
        try:
            fd, number = live_bpf(uapi.BPF_PROG_LOAD, bytearray(attr.pack())), 0
        except OSError as e:
            fd, number = -1, e.errno or errno.EIO
        finally:
            if btf_fd >= 0:
                os.close(btf_fd)
        return fd, log.split(b"\0", 1)[0].decode("utf-8", "replace"), number


@cache
def live_or_reason() -> Live | str:
    """The live judge, or why it is not to be had."""
    probe = Case("socket_filter", (Insn(0xB7), Insn(0x95)))
    try:
        live = Live()
        got = live.judge(probe)
    except OSError as e:
        return f"the live kernel is not to be had: {e}"
    return live if got.ok else f"the live kernel is not to be had: errno {got.errno}"
