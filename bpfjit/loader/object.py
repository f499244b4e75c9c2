"""Objects: opened from a file, loaded into a kernel through bpf(2), attached.

What libbpf is to Linux. Nothing here knows which kernel is behind the Bpf it is handed.
"""

from __future__ import annotations

import errno
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from ..btf import Kind, RawBtf
from ..elf.link import object_name, read_object
from ..elf.maps import kconfig_map
from ..elf.spec import MapSpec, ObjectSpec, ProgSpec
from ..errors import LoadError, ObjectError, VerifierError, describe
from ..isa.encoding import CALL, Insn, encode, ld_imm64
from ..relocate.core import POISON, relocate
from ..spec.map_types import MAP_TYPE_NAMES
from ..uapi import bpf as uapi
from .bpf import Bpf, Buffers, kernel_btf
from .compile import compile_c

_LOG_BYTES = 1 << 24
# libbpf's mark for a kernel function that is not there; the call is refused if it can be reached.
_MISSING_KFUNC = Insn(CALL, 0, 0, 0, 2002000000)


def _name(name: str) -> bytes:
    return name.encode()[: uapi.BPF_OBJ_NAME_LEN - 1]


@dataclass(slots=True)
class LoadStats:
    """What the kernel's verifier says of one load: its log, the counts in it, its own time (µs)."""

    log: str = ""
    insns: int = 0
    processed_insns: int | None = None
    states: int | None = None
    duration_us: float | None = None


class LoadedMap:
    """A map in a kernel."""

    def __init__(self, bpf: Bpf, fd: int, spec: MapSpec) -> None:
        self._bpf = bpf
        self.fd = fd
        self.spec = spec
        self.name = spec.name

    def _elem(self, cmd: int, key: bytes, value: bytearray | bytes | None, flags: int = 0) -> None:
        buffers = Buffers()
        attr = uapi.MapElem(map_fd=self.fd, key=buffers.put(key), flags=flags)
        if value is not None:
            attr.value = buffers.put(value)
        self._bpf(cmd, bytearray(attr.pack()))

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:
        """BPF_MAP_UPDATE_ELEM. Raises OSError."""
        self._elem(uapi.BPF_MAP_UPDATE_ELEM, key, value, flags)

    def lookup(self, key: bytes, value_bytes: int | None = None) -> bytes:
        """BPF_MAP_LOOKUP_ELEM; `value_bytes` for per-CPU maps. Raises OSError (ENOENT)."""
        value = bytearray(value_bytes or self.spec.value_size)
        self._elem(uapi.BPF_MAP_LOOKUP_ELEM, key, value)
        return bytes(value)

    def delete(self, key: bytes) -> None:
        self._elem(uapi.BPF_MAP_DELETE_ELEM, key, None)

    def keys(self) -> list[bytes]:
        """Every key, in the map's order."""
        found: list[bytes] = []
        key: bytes | None = None
        while True:
            following = bytearray(self.spec.key_size)
            buffers = Buffers()
            attr = uapi.MapElem(map_fd=self.fd, key=buffers.put(key) if key else 0, value=buffers.put(following))
            try:
                self._bpf(uapi.BPF_MAP_GET_NEXT_KEY, bytearray(attr.pack()))
            except OSError as e:
                if e.errno == errno.ENOENT:
                    return found
                raise
            key = bytes(following)
            found.append(key)

    def pin(self, path: str) -> None:
        pin(self._bpf, self.fd, path)


@dataclass(slots=True)
class LoadedProg:
    """A program in a kernel."""

    fd: int
    spec: ProgSpec
    stats: LoadStats
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = self.spec.name


class Link:
    """An attachment: an fd that keeps a program attached until it is closed (and not pinned)."""

    def __init__(self, bpf: Bpf, fd: int, name: str) -> None:
        self._bpf = bpf
        self.fd = fd
        self.name = name

    def pin(self, path: str) -> None:
        """BPF_OBJ_PIN at `path`: in bpffs, or (once it is there) in a cgroup directory. Raises OSError."""
        pin(self._bpf, self.fd, path)

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            self._bpf.close(fd)


def pin(bpf: Bpf, fd: int, path: str) -> None:
    """BPF_OBJ_PIN. Raises OSError with the path in its text."""
    buffers = Buffers()
    attr = uapi.Obj(pathname=buffers.put(path.encode() + b"\0"), bpf_fd=fd)
    try:
        bpf(uapi.BPF_OBJ_PIN, bytearray(attr.pack()))
    except OSError as e:
        raise OSError(e.errno, f"pin {path}: {e.strerror}") from None


class Object:
    """An opened object; maps and programs may be looked at and changed until load()."""

    def __init__(self, spec: ObjectSpec, *, btf: RawBtf | None = None, kconfig: Mapping[str, int] | None = None) -> None:
        self.spec = spec
        self.name = spec.name
        self.maps = spec.maps
        self.progs = spec.progs
        self._btf = btf
        self._kconfig = kconfig

    def core_btf(self, bpf: Bpf) -> RawBtf:
        """The types that CO-RE relocates against."""
        return self._btf or kernel_btf(bpf)

    def load(self, bpf: Bpf, *, only: Sequence[str] | None = None) -> LoadedObject:
        """Create the maps and load the programs (those named, else all that want to be).

        Raises LoadError, VerifierError, or OSError for a refused map; nothing is left behind then.
        """
        loaded = LoadedObject(self, bpf)
        try:
            loaded.create_maps()
            for prog in self.progs.values():
                if prog.name in only if only is not None else prog.autoload:
                    loaded.load_prog(prog)
        except BaseException:
            loaded.close()
            raise
        return loaded


class LoadedObject:
    """An object in a kernel: `maps`, `progs` and `links` by name. A context manager; close() lets go of all."""

    def __init__(self, obj: Object, bpf: Bpf) -> None:
        self.object = obj
        self.spec = obj.spec
        self.bpf = bpf
        self.maps: dict[str, LoadedMap] = {}
        self.progs: dict[str, LoadedProg] = {}
        self.links: dict[str, Link] = {}
        self.btf_fd = 0
        self._by_ref: dict[str, LoadedMap] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close every fd; what is pinned lives on."""
        for link in self.links.values():
            link.close()
        fds = [p.fd for p in self.progs.values()] + [m.fd for m in self.maps.values()]
        for fd in [*fds, self.btf_fd] if self.btf_fd else fds:
            self.bpf.close(fd)
        self.links, self.progs, self.maps, self.btf_fd = {}, {}, {}, 0

    # -- maps ----------------------------------------------------------------------------------------

    def create_maps(self) -> None:
        self._load_btf()
        for ref, spec in self.object.maps.items():
            self._add_map(ref, spec)
        kconfig = kconfig_map(self.spec.externs, self.spec.btf, self.spec.name, self._kconfig_values())
        if kconfig is not None:
            self._add_map(".kconfig", kconfig)

    def _kconfig_values(self) -> dict[str, int]:
        values = dict(self.object._kconfig or {})
        release = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", platform.release())
        if release:
            major, minor, patch = (int(x or 0) for x in release.groups())
            values.setdefault("LINUX_KERNEL_VERSION", major << 16 | minor << 8 | min(patch, 255))
        return values

    def _load_btf(self) -> None:
        if self.spec.btf is None:
            return
        buffers = Buffers()
        attr = uapi.BtfLoad(btf=buffers.put(self.spec.btf.data), btf_size=len(self.spec.btf.data))
        try:
            self.btf_fd = self.bpf(uapi.BPF_BTF_LOAD, bytearray(attr.pack()))
        except OSError as e:
            raise LoadError(f"BTF refused: {describe(e)}", file=self.spec.file) from None

    def _add_map(self, ref: str, spec: MapSpec) -> None:
        fd = self._create_map(spec)
        loaded = LoadedMap(self.bpf, fd, spec)
        self.maps[spec.name] = self._by_ref[ref] = loaded
        if spec.contents is not None:
            loaded.update(bytes(4), spec.contents)
        if spec.freeze:
            self.bpf(uapi.BPF_MAP_FREEZE, bytearray(uapi.MapElem(map_fd=fd).pack()))

    def _create_map(self, spec: MapSpec) -> int:
        inner_fd = self._create_map(spec.inner) if spec.inner is not None else 0
        with_btf = self.btf_fd and (spec.key_type_id or spec.value_type_id)
        attr = uapi.MapCreate(
            map_type=spec.type,
            key_size=spec.key_size,
            value_size=spec.value_size,
            max_entries=spec.max_entries,
            map_flags=spec.flags,
            inner_map_fd=inner_fd,
            numa_node=spec.numa_node,
            map_name=_name(spec.name),
            btf_fd=self.btf_fd if with_btf else 0,
            btf_key_type_id=spec.key_type_id if with_btf else 0,
            btf_value_type_id=spec.value_type_id if with_btf else 0,
            map_extra=spec.extra,
        )
        try:
            return self.bpf(uapi.BPF_MAP_CREATE, bytearray(attr.pack()))
        except OSError as e:
            kind = MAP_TYPE_NAMES.get(spec.type, str(spec.type))
            shape = f"{kind} of {spec.max_entries} entries, key {spec.key_size} and value {spec.value_size} bytes"
            raise LoadError(f"map {spec.name} ({shape}) refused: {describe(e)}", file=self.spec.file) from None
        finally:
            if inner_fd:
                self.bpf.close(inner_fd)

    # -- programs --------------------------------------------------------------------------------------

    def load_prog(self, prog: ProgSpec, log_level: int = 0) -> LoadedProg:
        """Relocate and load one program. Raises LoadError or VerifierError."""
        attr, buffers = self._prog_attr(prog)
        log = bytearray(_LOG_BYTES) if log_level else bytearray()
        stats = LoadStats(insns=attr.insn_cnt)
        try:
            try:
                fd = self._prog_load(attr, buffers, log_level, log)
            except OSError as e:
                if not log_level:
                    log = bytearray(_LOG_BYTES)
                    fd = self._prog_load(attr, buffers, 1, log)  # once more, for its reasons
                else:
                    raise e
        except OSError as e:
            text = _log_text(log)
            reason = _reason(text) or describe(e)
            raise VerifierError(reason, errno=e.errno or 0, log=text, program=prog.name, section=prog.section) from None
        if log_level:
            stats = parse_stats(_log_text(log), attr.insn_cnt)
        loaded = self.progs[prog.name] = LoadedProg(fd, prog, stats)
        return loaded

    def _prog_load(self, attr: uapi.ProgLoad, buffers: Buffers, log_level: int, log: bytearray) -> int:
        attr.log_level, attr.log_size, attr.log_buf = log_level, len(log), buffers.put(log)
        return self.bpf(uapi.BPF_PROG_LOAD, bytearray(attr.pack()))

    def insns(self, prog: ProgSpec) -> list[Insn]:
        """The program's instructions for this kernel: CO-RE, externs and map references resolved."""
        insns = prog.insns[:]
        if prog.core:
            if self.spec.btf is None:
                raise LoadError("CO-RE relocations without BTF", program=prog.name)
            relocate(insns, prog.core, self.spec.btf, self.object.core_btf(self.bpf), prog.name)
        for extern in prog.externs:
            if not extern.weak and not extern.call:
                raise LoadError(f"unresolved extern {extern.name}", file=self.spec.file, program=prog.name)
            if extern.call:
                insns[extern.pc] = _MISSING_KFUNC
            else:
                insns[extern.pc : extern.pc + 2] = ld_imm64(insns[extern.pc].dst, 0)
        for reloc in prog.maps:
            target = self._by_ref.get(reloc.map_name)
            if target is None:
                raise LoadError(f"reference to unknown map {reloc.map_name}", file=self.spec.file, program=prog.name)
            if insns[reloc.pc] == POISON:
                continue
            value_off, src = reloc.value_off, uapi.BPF_PSEUDO_MAP_FD
            if value_off is not None:
                src = uapi.BPF_PSEUDO_MAP_VALUE
            value = target.fd | (value_off or 0) << 32
            insns[reloc.pc : reloc.pc + 2] = ld_imm64(insns[reloc.pc].dst, value, src)
        return insns

    def _prog_attr(self, prog: ProgSpec) -> tuple[uapi.ProgLoad, Buffers]:
        row = prog.kind
        if row is None:
            raise LoadError("unknown section, no program type", file=self.spec.file, section=prog.section, program=prog.name)
        insns = self.insns(prog)
        buffers = Buffers()
        attr = uapi.ProgLoad(
            prog_type=getattr(uapi, f"BPF_PROG_TYPE_{row.prog_type}"),
            insn_cnt=len(insns),
            insns=buffers.put(encode(insns)),
            license=buffers.put(self.spec.license.encode() + b"\0"),
            prog_name=_name(prog.name),
            expected_attach_type=_attach_type(row.attach_type),
            prog_flags=uapi.BPF_F_SLEEPABLE if row.sleepable else 0,
        )
        if row.btf_prefix:
            attr.attach_btf_id = self._attach_id(prog)
        if self.btf_fd and prog.funcs:
            attr.prog_btf_fd = self.btf_fd
            funcs = b"".join(f.insn_off.to_bytes(4, "little") + f.type_id.to_bytes(4, "little") for f in prog.funcs)
            attr.func_info, attr.func_info_cnt, attr.func_info_rec_size = buffers.put(funcs), len(prog.funcs), 8
            lines = b"".join(
                b"".join(n.to_bytes(4, "little") for n in (x.insn_off, x.file_name_off, x.line_off, x.line_col))
                for x in prog.lines
            )
            if lines:
                attr.line_info, attr.line_info_cnt, attr.line_info_rec_size = buffers.put(lines), len(prog.lines), 16
        return attr, buffers

    def _attach_id(self, prog: ProgSpec) -> int:
        row = prog.kind
        assert row is not None
        if not prog.target:
            raise LoadError("no target: the section names none", section=prog.section, program=prog.name)
        kind = Kind.TYPEDEF if row.btf_kind == "typedef" else Kind.FUNC
        found = kernel_btf(self.bpf).find(kind, row.btf_prefix + prog.target)
        if found is None:
            what = {"tp_btf": "tracepoint", "iter": "iterator target", "view": "view target"}.get(row.attach, "target")
            raise LoadError(f"unknown {what} '{prog.target}'", file=self.spec.file, section=prog.section, program=prog.name)
        return found

    # -- attaching -------------------------------------------------------------------------------------

    def attach(self) -> dict[str, Link]:
        """Attach every loaded program whose section says to what. Raises OSError; links made so far stay in `links`."""
        for name, prog in self.progs.items():
            if name not in self.links and prog.spec.kind is not None and prog.spec.kind.attach:
                self.links[name] = self.attach_prog(prog)
        return self.links

    def attach_prog(self, prog: LoadedProg, iter_info: bytes = b"") -> Link:
        """Attach one program as its section says; `iter_info` is a union bpf_iter_link_info."""
        row = prog.spec.kind
        assert row is not None
        buffers = Buffers()
        try:
            if row.attach in ("tp_btf", "raw_tp"):
                name = buffers.put(prog.spec.target.encode() + b"\0") if row.attach == "raw_tp" else 0
                attr = bytearray(uapi.RawTracepointOpen(name=name, prog_fd=prog.fd).pack())
                fd = self.bpf(uapi.BPF_RAW_TRACEPOINT_OPEN, attr)
            elif row.attach in ("iter", "view"):
                link = uapi.LinkCreate(
                    prog_fd=prog.fd,
                    attach_type=_attach_type(row.attach_type),
                    iter_info=buffers.put(iter_info),
                    iter_info_len=len(iter_info),
                )
                fd = self.bpf(uapi.BPF_LINK_CREATE, bytearray(link.pack()))
            else:
                raise LoadError("nothing to attach to", section=prog.spec.section, program=prog.name)
        except OSError as e:
            raise OSError(e.errno, f"attach {prog.name} ({prog.spec.section}): {describe(e)}") from None
        return Link(self.bpf, fd, prog.name)


def _attach_type(name: str) -> int:
    return int(getattr(uapi, f"BPF_{name}")) if name else 0


def _log_text(log: bytearray) -> str:
    return log.split(b"\0", 1)[0].decode("utf-8", "replace")


# Log lines that are no refusal: instructions, states, C source, headings.
_NOT_A_REASON = re.compile(r"^(\d+: \(|;|from |R\d+ ?[=_(]|func#|Validating|caller:|callee:|mark_precise|\s*$)")
_STATISTICS = re.compile(r"^(processed |verification time|stack depth)")


def _reason(log: str) -> str:
    """The refusal in a verifier log: its last lines before the statistics, the first of them."""
    lines = log.splitlines()
    while lines and _STATISTICS.match(lines[-1]):
        lines.pop()
    reason = ""
    for line in reversed(lines):
        if _NOT_A_REASON.match(line):
            break
        reason = line
    return reason or (lines[-1] if lines else "")


def parse_stats(log: str, insns: int) -> LoadStats:
    """The counts in a log of level 1 to 7."""
    stats = LoadStats(log=log, insns=insns)
    if m := re.search(r"processed (\d+) insns.*?total_states (\d+)", log):
        stats.processed_insns, stats.states = int(m[1]), int(m[2])
    if m := re.search(r"verification time ([\d.]+) usec", log):
        stats.duration_us = float(m[1])
    return stats


def open_object(
    source: str | Path,
    *,
    include: Sequence[str] = (),
    btf: RawBtf | None = None,
    kconfig: Mapping[str, int] | None = None,
) -> Object:
    """Open a BPF object: an ELF file, or a `.bpf.c` that is compiled first.

    btf: types to relocate against instead of the kernel's own. kconfig: values of kconfig externs.
    Raises ObjectError, CompileError, BtfError or LoadError, each naming the file.
    """
    path = Path(source)
    if path.suffix == ".c":
        data = compile_c(path, include=include)
    else:
        try:
            data = path.read_bytes()
        except OSError as e:
            raise ObjectError((e.strerror or "unreadable").lower(), file=str(source)) from None
    return Object(read_object(data, object_name(str(source)), str(source)), btf=btf, kconfig=kconfig)
