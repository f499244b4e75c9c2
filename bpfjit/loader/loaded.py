"""An object in a kernel: its maps, programs and links, and the way there."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from ..btf import CoreRelo, Kind
from ..dataclass import dataclass
from ..elf.externs import missing_config
from ..elf.maps import kconfig_map
from ..elf.spec import MapSpec, ProgSpec
from ..errors import LoadError, VerifierError, describe
from ..isa.encoding import Insn, encode
from ..uapi import bpf as uapi
from .bpf import Bpf, Buffers, kernel_btf
from .link import Link, attach, attach_type
from .log import LoadStats, log_text, parse_stats, poisoned_call, reason_of
from .map import LoadedMap, create_map, entries, object_name, pin, reuse_map
from .resolve import Resolved, Surroundings, resolve_insns

if TYPE_CHECKING:
    from types import TracebackType

    from .object import Object

_LOG_BYTES = 1 << 24
_BTF_LOG_BYTES = 1 << 16
_FUNC_INFO, _LINE_INFO, _CORE_RELO = struct.Struct("<II"), struct.Struct("<IIII"), struct.Struct("<IIII")
_TARGETS = {"tp_btf": "tracepoint", "iter": "iterator target", "view": "view target", "function": "function"}


@dataclass(slots=True)
class LoadedProg:
    """A program in a kernel."""

    fd: int
    spec: ProgSpec
    stats: LoadStats

    @property
    def name(self) -> str:
        return self.spec.name


class LoadedObject:
    """An object in a kernel: `maps`, `progs` and `links` by name; by_ref: maps as relocations call them.

    A context manager; close() lets go of all.
    """

    def __init__(
        self, obj: Object, bpf: Bpf, *, core_in_kernel: bool = False, targets: Mapping[str, int] | None = None
    ) -> None:
        self.object = obj
        self.spec = obj.spec
        self.bpf = bpf
        self.maps: dict[str, LoadedMap] = {}
        self.progs: dict[str, LoadedProg] = {}
        self.links: dict[str, Link] = {}
        self.btf_fd = 0
        self.by_ref: dict[str, LoadedMap] = {}
        self._core_in_kernel = core_in_kernel
        self._targets = dict(targets or {})
        self._around: Surroundings | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close every fd; what is pinned lives on."""
        links, progs, maps, btf_fd = self.links, self.progs, self.maps, self.btf_fd
        self.links, self.progs, self.maps, self.btf_fd = {}, {}, {}, 0
        self.by_ref, self._around = {}, None
        for link in links.values():
            link.close()
        for m in maps.values():
            m.memory = None
        for fd in (*(p.fd for p in progs.values()), *(m.fd for m in maps.values())):
            self.bpf.close(fd)
        if btf_fd:
            self.bpf.close(btf_fd)

    # -- maps ----------------------------------------------------------------------------------------

    def create_maps(self) -> None:
        """Load the BTF and make every map, filled and frozen as the object says. Raises LoadError, OSError."""
        refusal = self._load_btf()
        for ref, spec in self.object.maps.items():
            self._add_map(ref, spec)
        config: dict[str, int | str] = {}
        if any(e.section == ".kconfig" for e in self.spec.externs.values()):
            config = {**self.bpf.config(), **self.object.kconfig}
        try:
            kconfig = kconfig_map(self.spec.externs, self.spec.btf, self.spec.name, config)
        except LoadError as e:
            raise LoadError(e.cause, file=self.spec.file) from None
        if kconfig is not None:
            self._add_map(".kconfig", kconfig)
        if refusal is not None:  # after the maps, whose own refusal says more
            raise refusal
        for ref, spec in self.object.maps.items():
            self._fill_map_slots(self.by_ref[ref], spec)
        symbols = {e.name for e in self.spec.externs.values() if e.typeless}
        self._around = Surroundings(
            self.spec.btf,
            None if self._core_in_kernel else lambda: self.object.core_btf(self.bpf),
            lambda: kernel_btf(self.bpf),
            self.bpf.symbols(symbols) if symbols else {},
            self.spec.externs,
            {ref: m.fd for ref, m in self.by_ref.items()},
            frozenset(missing_config(self.spec.externs, config)),
        )

    def _load_btf(self) -> LoadError | None:
        """Why the kernel does not take the BTF, if so: __uint() of a huge number makes a type that Linux refuses."""
        if self.spec.btf is None:
            return None
        buffers, log = Buffers(), bytearray(_BTF_LOG_BYTES)
        attr = uapi.BtfLoad(btf=buffers.put(self.spec.btf.data), btf_size=len(self.spec.btf.data))
        try:
            self.btf_fd = self.bpf(uapi.BPF_BTF_LOAD, bytearray(attr.pack()))
            return None
        except OSError as e:
            refusal = e
        attr.btf_log_buf, attr.btf_log_size, attr.btf_log_level = buffers.put(log), len(log), 1
        try:  # once more, for its reasons
            self.btf_fd = self.bpf(uapi.BPF_BTF_LOAD, bytearray(attr.pack()))
        except OSError:
            lines = log_text(log).strip().splitlines()
            why = f"{describe(refusal)}: {lines[-1]}" if lines else describe(refusal)
            return LoadError(f"BTF refused: {why}", file=self.spec.file)
        return None

    def _add_map(self, ref: str, spec: MapSpec) -> None:
        for one in (spec, spec.inner):
            if one is not None:
                one.max_entries = entries(self.bpf, one)
        path = f"{self.object.pin_root}/{spec.name}" if spec.pinning else ""
        fd = reuse_map(self.bpf, spec, path, self.spec.file) if path else None
        reused = fd is not None
        if fd is None:
            fd = create_map(self.bpf, spec, self.btf_fd, self.spec.file)
        loaded = LoadedMap(self.bpf, fd, spec)
        # Names of 15 bytes may coincide; the section then tells such maps apart.
        self.maps[spec.name if spec.name not in self.maps else ref] = self.by_ref[ref] = loaded
        if spec.type == uapi.BPF_MAP_TYPE_ARENA:
            loaded.map_arena(self.spec.file)
        if reused:
            return
        try:
            if spec.contents is not None:
                loaded.update(bytes(4), spec.contents)
            if spec.freeze:
                self.bpf(uapi.BPF_MAP_FREEZE, bytearray(uapi.MapElem(map_fd=fd).pack()))
            if path:
                pin(self.bpf, fd, path)
        except OSError as e:
            raise LoadError(f"map {spec.name}: {describe(e)}", file=self.spec.file) from None

    def _fill_map_slots(self, loaded: LoadedMap, spec: MapSpec) -> None:
        if spec.inner is not None:
            for index, name in spec.slots.items():
                inner = self.by_ref.get(name)
                if inner is None:
                    raise LoadError(f"map {spec.name}: element {index} is {name}, no map", file=self.spec.file)
                self._fill_slot(loaded, index, inner.fd)

    def fill_prog_slots(self) -> None:
        """Put programs into the prog arrays that name them. Raises LoadError for one that is not loaded."""
        for ref, spec in self.object.maps.items():
            if spec.inner is None:
                for index, name in spec.slots.items():
                    prog = self.progs.get(name)
                    if prog is None:
                        raise LoadError(
                            f"map {spec.name}: element {index} is {name}, no loaded program", file=self.spec.file
                        )
                    self._fill_slot(self.by_ref[ref], index, prog.fd)

    def _fill_slot(self, loaded: LoadedMap, index: int, fd: int) -> None:
        try:
            loaded.update(index.to_bytes(4, "little"), fd.to_bytes(4, "little"))
        except OSError as e:
            raise LoadError(f"map {loaded.name}: element {index}: {describe(e)}", file=self.spec.file) from None

    # -- programs --------------------------------------------------------------------------------------

    def load_prog(self, prog: ProgSpec, log_level: int = 0) -> LoadedProg:
        """Relocate and load one program. Raises LoadError or VerifierError."""
        try:
            attr, buffers, resolved = self._prog_attr(prog)
        except LoadError as e:
            raise LoadError(e.cause, file=self.spec.file, section=prog.section, program=prog.name, offset=e.offset) from None
        log = bytearray(_LOG_BYTES) if log_level else bytearray()
        try:
            fd = self._prog_load(attr, buffers, log_level, log)
        except OSError as first:
            refusal = first
            fd = -1
        if fd < 0 and not log_level:
            log = bytearray(_LOG_BYTES)
            with suppress(OSError):  # once more, for its reasons
                fd = self._prog_load(attr, buffers, 1, log)
        if fd < 0:
            from .explain import explain  # late: few programs are refused

            text = log_text(log)
            cause = self._missing(attr, buffers, resolved, text) or reason_of(text) or describe(refusal)
            raise VerifierError(
                cause,
                errno=refusal.errno or 0,
                log=text,
                program=prog.name,
                section=prog.section,
                explanation=explain(text),
            )
        stats = parse_stats(log_text(log), attr.insn_cnt) if log_level else LoadStats(insns=attr.insn_cnt)
        loaded = self.progs[prog.name] = LoadedProg(fd, prog, stats)
        return loaded

    def _missing(self, attr: uapi.ProgLoad, buffers: Buffers, resolved: Resolved, log: str) -> str | None:
        """What the program lacks in this kernel, where the verifier stopped at a call put in place of it."""
        call = poisoned_call(log)
        if call is not None and call[0] < 0:
            # A log of statistics alone does not say which of several; one with instructions does.
            full = bytearray(_LOG_BYTES)
            with suppress(OSError):
                self.bpf.close(self._prog_load(attr, buffers, 1, full))
            call = poisoned_call(log_text(full)) or call
        return resolved.why(*call) if call is not None else None

    def _prog_load(self, attr: uapi.ProgLoad, buffers: Buffers, log_level: int, log: bytearray) -> int:
        attr.log_level, attr.log_size, attr.log_buf = log_level, len(log), buffers.put(log)
        return self.bpf(uapi.BPF_PROG_LOAD, bytearray(attr.pack()))

    def insns(self, prog: ProgSpec) -> list[Insn]:
        """The program's instructions for this kernel: CO-RE, externs and map references resolved."""
        return self._resolve(prog).insns

    def _resolve(self, prog: ProgSpec) -> Resolved:
        assert self._around is not None, "create_maps() comes first"
        return resolve_insns(prog, self._around)

    def _prog_attr(self, prog: ProgSpec) -> tuple[uapi.ProgLoad, Buffers, Resolved]:
        row = prog.kind
        if row is None:
            raise LoadError("unknown section, no program type")
        if not hasattr(uapi, f"BPF_PROG_TYPE_{row.prog_type}") or row.unsupported:
            raise LoadError(row.unsupported or f"program type {row.prog_type} is unknown")
        resolved = self._resolve(prog)
        buffers = Buffers()
        attr = uapi.ProgLoad(
            prog_type=getattr(uapi, f"BPF_PROG_TYPE_{row.prog_type}"),
            insn_cnt=len(resolved.insns),
            insns=buffers.put(encode(resolved.insns)),
            license=buffers.put(self.spec.license.encode() + b"\0"),
            prog_name=object_name(prog.name),
            expected_attach_type=attach_type(row.attach_type),
            prog_flags=(uapi.BPF_F_SLEEPABLE if row.sleepable else 0) | (uapi.BPF_F_XDP_HAS_FRAGS if row.frags else 0),
        )
        if row.btf_attach:
            attr.attach_btf_id = self._attach_id(prog)
            attr.attach_prog_fd = self._targets.get(prog.name, 0)
        if self.btf_fd and prog.funcs:
            attr.prog_btf_fd = self.btf_fd
            funcs = b"".join(_FUNC_INFO.pack(f.insn_off, f.type_id) for f in prog.funcs)
            attr.func_info, attr.func_info_cnt, attr.func_info_rec_size = buffers.put(funcs), len(prog.funcs), 8
            lines = b"".join(_LINE_INFO.pack(x.insn_off, x.file_name_off, x.line_off, x.line_col) for x in prog.lines)
            if lines:
                attr.line_info, attr.line_info_cnt, attr.line_info_rec_size = buffers.put(lines), len(prog.lines), 16
            if self._core_in_kernel and prog.core:
                relos = b"".join(self._core_relo(r) for r in prog.core)
                attr.core_relos, attr.core_relo_cnt, attr.core_relo_rec_size = buffers.put(relos), len(prog.core), 16
        return attr, buffers, resolved

    def _core_relo(self, relo: CoreRelo) -> bytes:
        assert self.spec.btf is not None
        access = self.spec.btf.strings.find(b"\0" + relo.access.encode() + b"\0") + 1
        assert access, "the object's strings stay as they were"
        return _CORE_RELO.pack(relo.insn_off * 8, relo.type_id, access, relo.kind)

    def _attach_id(self, prog: ProgSpec) -> int:
        row = prog.kind
        assert row is not None
        if not prog.target:
            raise LoadError("no target: the section names none")
        if row.prog_type == "EXT" or prog.name in self._targets:
            return self._function_of(prog)
        kind = Kind.TYPEDEF if row.btf_kind == "typedef" else Kind.FUNC
        found = kernel_btf(self.bpf).find(kind, row.btf_prefix + prog.target)
        if found is None:
            raise LoadError(f"unknown {_TARGETS.get(row.attach, 'target')} '{prog.target}'")
        return found

    def _function_of(self, prog: ProgSpec) -> int:
        """The function of another program that one replaces (freplace) or traces (fentry, fexit), in that program's BTF."""
        from .inspect import btf_by_id, get_info

        fd = self._targets.get(prog.name)
        if fd is None:
            raise LoadError("the program that it changes is not given (targets)")
        number = get_info(self.bpf, fd, "prog")["btf_id"]
        found = btf_by_id(self.bpf, number).find(Kind.FUNC, prog.target) if number else None
        if found is None:
            raise LoadError(f"its target has no function '{prog.target}'")
        return found

    # -- attaching -------------------------------------------------------------------------------------

    def attach(self) -> dict[str, Link]:
        """Attach every loaded program whose section says to what. Raises OSError; links made so far stay in `links`."""
        for name, prog in self.progs.items():
            if name not in self.links and prog.spec.kind is not None and prog.spec.kind.attach:
                self.links[name] = self.attach_prog(prog)
        return self.links

    def attach_prog(self, prog: LoadedProg, iter_info: bytes = b"") -> Link:
        """Attach one program as its section says; `iter_info` is a union bpf_iter_link_info. Raises LoadError, OSError."""
        return attach(self.bpf, prog.spec, prog.fd, iter_info)
