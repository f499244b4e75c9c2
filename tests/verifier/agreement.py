"""How far our verdicts agree with Linux's on other people's BPF objects, program by program:

    python tests/verifier/agreement.py DIRECTORY_OR_OBJECT… [--seconds 20] [--every] [--only GLOB] [--rows FILE]

Each program is loaded by our loader into the live kernel, and our verifier judges the bytes that go there, with the same
types, maps and flags. Printed are the counts, the differences grouped by what was said first, and how many instructions
each verifier processed. Exit 1 if a program is accepted here that Linux refuses. Needs bpf(2) as root; attaches nothing.
"""

from __future__ import annotations

import argparse
import errno
import fnmatch
import json
import os
import re
import signal
import statistics
import sys
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bpfjit import open_object
from bpfjit.btf import (
    MAP_FIELDS,
    NO_FIELDS,
    BtfId,
    FuncInfo,
    Kind,
    LineInfo,
    RawBtf,
    Record,
    parse_btf,
    parse_record,
    struct_records,
)
from bpfjit.errors import BpfError
from bpfjit.isa.encoding import LD_IMM64, decode
from bpfjit.loader import LoadedObject, Object
from bpfjit.loader.bpf import Buffers, kernel_btf, live_bpf
from bpfjit.program import MapInfo, MapRef, Program, Rejected
from bpfjit.spec.map_types import MAP_TYPE_BY_ID
from bpfjit.spec.prog_types import PROG_TYPE_BY_ID
from bpfjit.spec.targets import function_elsewhere
from bpfjit.spec.trust import DESTRUCTIBLE
from bpfjit.uapi import bpf as uapi
from bpfjit.verifier import Env, verify
from runtime import ffi


class Unknown(Exception):
    """Something that our side has no row for yet."""


class OutOfTime(Exception):
    pass


@dataclass
class Row:
    object: str
    program: str
    section: str
    ours: str
    linux: str
    our_errno: int = 0
    linux_errno: int = 0
    our_insns: int = 0
    linux_insns: int = 0
    our_us: float = 0
    linux_us: float = 0

    @property
    def kind(self) -> str:
        if bool(self.our_errno) == bool(self.linux_errno):
            return "agree"
        return "TIMID" if self.our_errno else "UNSOUND"


def _memory(addr: int, size: int) -> bytes:
    return bytes(ffi.buffer(ffi.cast("char *", addr), size)) if size else b""


@contextmanager
def bounded(seconds: int) -> Iterator[None]:
    def ring(_signal: int, _frame: object) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class Both:
    """The live kernel, with our verifier beside each BPF_PROG_LOAD."""

    def __init__(self, seconds: int) -> None:
        self.types: RawBtf | None = kernel_btf(live_bpf)
        self.maps: dict[int, uapi.MapCreate] = {}
        self.contents: dict[int, bytes] = {}
        self.frozen: set[int] = set()
        self.btfs: dict[int, RawBtf] = {}
        self.records: dict[int, Record] = {}  # by map fd: the special fields of its values
        self.templates: dict[int, MapInfo] = {}  # by fd of a map of maps: what it holds
        self.seconds = seconds
        self.row: Row | None = None

    def __call__(self, cmd: int, attr: bytearray) -> int:
        if cmd == uapi.BPF_PROG_LOAD:
            return self._load(uapi.ProgLoad.unpack(attr))
        got = live_bpf(cmd, attr)
        if cmd == uapi.BPF_MAP_CREATE:
            made = self.maps[got] = uapi.MapCreate.unpack(attr)
            self.contents.pop(got, None)
            self.frozen.discard(got)
            self.records[got] = self._record(made)
            if made.inner_map_fd in self.maps and MAP_TYPE_BY_ID.get(made.map_type) is not None:
                inner = self._info(-1, made.inner_map_fd)
                self.templates[got] = replace(inner, name="", frozen=False, constant=None, template=True)
        elif cmd == uapi.BPF_BTF_LOAD:
            load = uapi.BtfLoad.unpack(attr)
            self.btfs[got] = parse_btf(_memory(load.btf, load.btf_size))
        elif cmd == uapi.BPF_MAP_UPDATE_ELEM:
            elem = uapi.MapElem.unpack(attr)
            if elem.map_fd in self.maps:
                self.contents[elem.map_fd] = _memory(elem.value, self.maps[elem.map_fd].value_size)
        elif cmd == uapi.BPF_MAP_FREEZE:
            self.frozen.add(uapi.MapElem.unpack(attr).map_fd)
        return got

    def close(self, fd: int) -> None:
        live_bpf.close(fd)

    def config(self) -> Mapping[str, int | str]:
        return live_bpf.config()

    def possible_cpus(self) -> int:
        return live_bpf.possible_cpus()

    def symbols(self, names: Set[str]) -> Mapping[str, int]:
        return live_bpf.symbols(names)

    def _load(self, attr: uapi.ProgLoad) -> int:
        assert self.row is not None
        row, log, b = self.row, bytearray(1 << 24), Buffers()
        fd = -1
        # The time without a log; then, of what is refused, the reason.
        for level in (4, 1):
            attr.log_level, attr.log_buf, attr.log_size = level, b.put(log), len(log)
            try:
                fd = live_bpf(uapi.BPF_PROG_LOAD, bytearray(attr.pack()))
            except OSError as e:
                row.linux_errno = e.errno or errno.EIO
            text = log.split(b"\0", 1)[0].decode("utf-8", "replace")
            row.linux_insns = row.linux_insns or _number(r"processed (\d+) insns", text)
            row.linux_us = row.linux_us or _number(r"verification time (\d+) usec", text)
            row.linux = last_line(text)
            if fd >= 0:
                break
        self._ours(attr, row)
        if fd < 0:
            raise OSError(row.linux_errno, row.linux)
        return fd

    def _ours(self, attr: uapi.ProgLoad, row: Row) -> None:
        start = time.perf_counter()
        try:
            with bounded(self.seconds):
                verified = verify(self._program(attr), Env(self.types, True, 0, function=function_elsewhere))
            row.our_insns = verified.stats.processed_insns
            row.our_us = verified.stats.duration_us
        except Rejected as e:
            row.ours, row.our_errno, row.our_insns = e.reason, e.errno, e.stats.processed_insns
            row.our_us = e.stats.duration_us
        except Unknown as e:
            row.ours, row.our_errno = f"not known: {e}", errno.ENOSYS
        except OutOfTime:
            row.ours, row.our_errno = f"takes longer than {self.seconds} s", errno.ETIME
        except Exception as e:
            where = traceback.extract_tb(e.__traceback__)[-1]
            row.ours = f"CRASH {type(e).__name__}: {e} at {where.name}:{where.lineno}"
            row.our_errno = errno.ENOTRECOVERABLE
        row.our_us = row.our_us or (time.perf_counter() - start) * 1e6

    def _program(self, attr: uapi.ProgLoad) -> Program:
        kind = PROG_TYPE_BY_ID.get(attr.prog_type)
        if kind is None:
            raise Unknown(f"program type {attr.prog_type}")
        insns = decode(_memory(attr.insns, attr.insn_cnt * 8))
        fds: list[int] = []
        refs: dict[int, MapRef] = {}
        pc = 0
        while pc < len(insns):
            insn = insns[pc]
            if insn.code == LD_IMM64 and insn.src in (uapi.BPF_PSEUDO_MAP_FD, uapi.BPF_PSEUDO_MAP_VALUE):
                if insn.imm not in fds:
                    fds.append(insn.imm)
                high = insns[pc + 1].imm & 0xFFFFFFFF
                refs[pc] = MapRef(fds.index(insn.imm), high if insn.src == uapi.BPF_PSEUDO_MAP_VALUE else None)
            pc += 2 if insn.code == LD_IMM64 else 1
        types = self.types
        assert types is not None
        name = ""
        if attr.attach_btf_id:
            t = types.type(BtfId(attr.attach_btf_id))
            name = t.name if t.kind in (Kind.FUNC, Kind.TYPEDEF) else ""
        funcs, size = [], attr.func_info_rec_size
        for i in range(attr.func_info_cnt):
            data = _memory(attr.func_info + i * size, 8)
            funcs.append(FuncInfo(int.from_bytes(data[:4], "little"), BtfId(int.from_bytes(data[4:], "little"))))
        lines, size = [], attr.line_info_rec_size
        for i in range(attr.line_info_cnt):
            data = _memory(attr.line_info + i * size, 16)
            lines.append(LineInfo(*(int.from_bytes(data[j : j + 4], "little") for j in range(0, 16, 4))))
        license_ = _memory(attr.license, 128).split(b"\0")[0].decode()
        return Program(
            attr.prog_name.split(b"\0")[0].decode(),
            kind,
            tuple(insns),
            attr.expected_attach_type,
            name,
            self._infos(fds),
            refs,
            self.btfs.get(attr.prog_btf_fd),
            tuple(funcs),
            tuple(lines),
            license_.startswith(("GPL", "Dual")),
            bool(attr.prog_flags & uapi.BPF_F_SLEEPABLE),
            0,
            bool(attr.prog_flags & uapi.BPF_F_STRICT_ALIGNMENT),
            self._structs(attr.prog_btf_fd),
        )

    def _infos(self, fds: list[int]) -> tuple[MapInfo, ...]:
        """The program's maps, what maps of maps hold behind them."""
        found, templates = [], []
        for i, fd in enumerate(fds):
            info = self._info(i, fd)
            if info.type.holds == "map":
                info = replace(info, inner=len(fds) + len(templates))
                templates.append(self.templates[fd])
            found.append(info)
        return (*found, *templates)

    def _structs(self, btf_fd: int) -> dict[BtfId, Record]:
        types = self.btfs.get(btf_fd)
        return struct_records(types, self.types, DESTRUCTIBLE.keys()) if types is not None else {}

    def _record(self, m: uapi.MapCreate) -> Record:
        types = self.btfs.get(m.btf_fd)
        if types is None or not m.btf_value_type_id:
            return NO_FIELDS
        try:
            return parse_record(types, m.btf_value_type_id, MAP_FIELDS, self.types, DESTRUCTIBLE.keys())
        except OSError:
            return NO_FIELDS

    def _info(self, index: int, fd: int) -> MapInfo:
        m = self.maps.get(fd)
        if m is None:
            raise Unknown("a map that was not made here")
        kind = MAP_TYPE_BY_ID.get(m.map_type)
        if kind is None:
            raise Unknown(f"map type {m.map_type}")
        constant = None
        if fd in self.frozen and m.map_flags & uapi.BPF_F_RDONLY_PROG and kind.direct and m.max_entries == 1:
            constant = self.contents.get(fd, bytes(m.value_size))
        name = m.map_name.split(b"\0")[0].decode()
        flags = m.map_flags | kind.implied_flags
        shape = (kind, m.key_size, m.value_size, m.max_entries, flags, fd in self.frozen, constant)
        return MapInfo(index + 1, name, *shape, self.records[fd], bool(m.btf_value_type_id))


_TRAILER = ("processed ", "verification time", "stack depth", "max_states", "mark_precise", "peak_states")


def last_line(log: str) -> str:
    lines = [x for x in log.splitlines() if x and not x.startswith(_TRAILER)]
    return lines[-1] if lines else ""


def _number(pattern: str, text: str) -> int:
    found = re.findall(pattern, text)
    return int(found[-1]) if found else 0


unloaded: Counter[str] = Counter()


def ready(obj: Object) -> Object:
    """The object as its user space would have it: sizes that are set there given, nothing pinned."""
    for m in obj.maps.values():
        m.pinning = 0
        kind = MAP_TYPE_BY_ID.get(m.type)
        if kind is None or kind.entries[1]:  # storages have none
            m.max_entries = m.max_entries or 1024
        if m.type == uapi.BPF_MAP_TYPE_STACK_TRACE:
            m.value_size = m.value_size or 8 * 127
    return obj


def judge(path: Path, bpf: Both, only: str) -> Iterator[Row]:
    try:
        obj = open_object(str(path))
    except BpfError as e:
        print(f"# {path.name}: {e}", file=sys.stderr)
        return
    for name, prog in obj.progs.items():
        if not fnmatch.fnmatch(f"{path.stem}/{name}", only):
            continue
        row = bpf.row = Row(path.stem, name, prog.section, "", "")
        try:
            with LoadedObject(ready(open_object(str(path))), bpf) as loaded:
                loaded.create_maps()
                loaded.load_prog(loaded.object.progs[name])
        except (BpfError, OSError) as e:
            if not row.linux_errno:
                unloaded[str(e).split(": ", 1)[-1][:90]] += 1
                continue
        if row.linux_errno == errno.EPERM and not row.linux:
            unloaded["refused by Linux unseen (EPERM, empty log)"] += 1
            continue
        yield row


def shape(reason: str) -> str:
    """A message without its numbers and names, for grouping."""
    first = reason.split("\n")[0]
    first = re.sub(r" \([\w.-]+:\d+: .*\)$", "", first)
    return re.sub(r"\b(0x[0-9a-f]+|\d+)\b", "N", re.sub(r"-?\d+", "N", first))[:110]


def report(rows: list[Row], *, every: bool) -> None:
    kinds = Counter(row.kind for row in rows)
    total = len(rows) or 1
    print(f"{len(rows)} programs: {kinds['agree']} agree ({100 * kinds['agree'] / total:.1f}%), ", end="")
    print(f"{kinds['TIMID']} refused here only, {kinds['UNSOUND']} accepted here only")
    for kind in ("UNSOUND", "TIMID"):
        groups: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            if row.kind == kind:
                groups[shape(row.linux if kind == "UNSOUND" else row.ours)].append(row)
        if groups:
            print(f"\n{kind} (grouped by {'what Linux says' if kind == 'UNSOUND' else 'what we say'}):")
        for said, members in sorted(groups.items(), key=lambda item: -len(item[1])):
            shown = members if every else members[:3]
            print(f"{len(members):5} {said}   e.g. {', '.join(f'{m.object}/{m.program}' for m in shown)}")
    both = [r for r in rows if not r.our_errno and not r.linux_errno and r.linux_insns]
    if both:
        ratios = sorted(r.our_insns / r.linux_insns for r in both)
        print(f"\nprocessed instructions, ours by Linux's: median {statistics.median(ratios):.2f}, ", end="")
        print(
            f"90% below {ratios[int(len(ratios) * 0.9)]:.2f}, most {ratios[-1]:.2f}; of programs with 1,000 and more: ",
            end="",
        )
        large = [r.our_insns / r.linux_insns for r in both if r.linux_insns >= 1000]
        print(f"{statistics.median(large):.2f}" if large else "none")
        worst = sorted(both, key=lambda r: -r.our_insns / r.linux_insns)[:8]
        print("  most: " + ", ".join(f"{r.object}/{r.program} {r.our_insns}/{r.linux_insns}" for r in worst))
        timed = [r.our_us / r.linux_us for r in both if r.linux_us and r.linux_insns >= 1000]
        if timed:
            print(f"  time, ours by Linux's, of those: median {statistics.median(timed):.1f}")
    wrong = [r for r in rows if r.our_errno and r.linux_errno and r.our_errno != r.linux_errno]
    print(f"\nrefused by both with another errno: {len(wrong)}")
    words = Counter(
        f"{shape(r.ours)!r} for {shape(r.linux)!r}"
        for r in rows
        if r.our_errno and r.linux_errno and r.ours.split("\n")[-1].split(" (")[0] not in r.linux
    )
    print(f"refused by both in other words: {sum(words.values())}")
    for text, count in words.most_common(None if every else 25):
        print(f"{count:5} {text}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("path", nargs="+", type=Path)
    parser.add_argument("--seconds", type=int, default=20, help="how long ours may take for one program")
    parser.add_argument("--only", default="*", help="GLOB of object/program")
    parser.add_argument("--every", action="store_true", help="name every difference")
    parser.add_argument("--rows", type=Path, help="write all rows there as JSON")
    args = parser.parse_args()
    rows: list[Row] = []
    bpf = Both(args.seconds)
    for path in args.path:
        for file in sorted(path.glob("*.o")) if path.is_dir() else [path]:
            if not fnmatch.fnmatch(file.stem, args.only.split("/")[0]):
                continue
            rows += judge(file, bpf, args.only)
    report(rows, every=args.every)
    if unloaded:
        print(f"\nnot loaded, for reasons before any verifier: {sum(unloaded.values())}")
        for said, count in unloaded.most_common(None if args.every else 12):
            print(f"{count:5} {said}")
    if args.rows:
        args.rows.write_text(json.dumps([asdict(r) | {"kind": r.kind} for r in rows], indent=0))
    return any(r.kind == "UNSOUND" for r in rows)


if __name__ == "__main__":
    os.nice(5)
    sys.exit(main())
