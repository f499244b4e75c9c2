"""One object: its programs, each linked with the functions it calls into one stream of instructions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ..btf import BtfExt, BtfId, Kind, RawBtf, parse_btf, parse_btf_ext, validate
from ..errors import BtfError, LoadError, ObjectError
from ..isa.encoding import CALL, INSN_BYTES, LD_IMM64, Insn, decode
from ..spec.sections import match_section
from ..uapi import bpf as uapi
from .fixup import fix_btf
from .maps import data_maps, declared_maps
from .reader import R_BPF_64_32, R_BPF_64_64, Elf, ElfSection, Reloc, Symbol, read_elf
from .spec import Extern, ExternReloc, MapReloc, ObjectSpec, ProgSpec

_EMPTY_EXT = BtfExt({}, {}, {})
_NOT_PROGRAMS = (".text", ".maps", "maps", "license", "version", ".eh_frame")


class _Function:
    """One function in its section: instructions [start, end)."""

    def __init__(self, name: str, section: ElfSection, start: int, end: int, weak: bool) -> None:
        self.name = name
        self.section = section
        self.start = start
        self.end = end
        self.weak = weak


class _Linker:
    def __init__(self, elf: Elf, btf: RawBtf | None, ext: BtfExt, file: str, externs: dict[str, Extern]) -> None:
        self.elf = elf
        self.btf = btf
        self.ext = ext
        self.file = file
        self.externs = externs
        self.code: dict[int, list[Insn]] = {}
        self.relocs: dict[int, dict[int, Reloc]] = {}
        self.functions: dict[tuple[int, int], _Function] = {}
        self._find_functions()

    def _fail(self, cause: str, section: ElfSection, offset: int | None = None) -> LoadError:
        return LoadError(cause, file=self.file, section=section.name, offset=offset)

    def _find_functions(self) -> None:
        for s in self.elf.sections.values():
            if not s.executable or not s.data:
                continue
            try:
                self.code[s.index] = decode(s.data)
            except ValueError as e:
                raise ObjectError(str(e), file=self.file, section=s.name) from None
            self.relocs[s.index] = {}
            for r in s.relocs:
                if r.offset % INSN_BYTES or r.offset >= len(s.data):
                    raise self._fail("relocation outside the instructions", s, r.offset)
                self.relocs[s.index][r.offset // INSN_BYTES] = r
        for sym in self.elf.symbols:
            if sym.kind != "STT_FUNC" or sym.section not in self.code:
                continue
            section = self.elf.sections[sym.section]
            end = sym.offset + sym.size
            if sym.offset % INSN_BYTES or sym.size % INSN_BYTES or not sym.size or end > len(section.data):
                raise self._fail(f"function {sym.name} of {sym.size} bytes at {sym.offset:#x} does not fit", section)
            key = (sym.section, sym.offset // INSN_BYTES)
            self.functions[key] = _Function(sym.name, section, key[1], end // INSN_BYTES, sym.bind == "STB_WEAK")

    def programs(self) -> dict[str, ProgSpec]:
        progs: dict[str, ProgSpec] = {}
        for (_, _), f in sorted(self.functions.items()):
            name = f.section.name
            if name in _NOT_PROGRAMS or name.startswith(".text"):
                continue
            if f.name in progs:
                raise self._fail(f"two programs are called {f.name}", f.section)
            progs[f.name] = self.link(f)
        return progs

    def link(self, entry: _Function) -> ProgSpec:
        """`entry` followed by every function it reaches, calls resolved between them."""
        section = entry.section.name
        autoload = not section.startswith("?")
        row = match_section(section.removeprefix("?"))
        prog = ProgSpec(entry.name, section, row[0] if row else None, row[1] if row else "", [], autoload=autoload)
        base: dict[tuple[int, int], int] = {}
        order = [entry]
        base[entry.section.index, entry.start] = 0
        pending: list[tuple[int, tuple[int, int]]] = []
        total = entry.end - entry.start

        def need(key: tuple[int, int], section: ElfSection, pc: int) -> None:
            nonlocal total
            if key in base:
                return
            target = self.functions.get(key)
            if target is None:
                raise self._fail(f"call to {key[1] * INSN_BYTES:#x} where no function begins", section, pc * INSN_BYTES)
            base[key] = total
            total += target.end - target.start
            order.append(target)

        i = 0
        while i < len(order):
            f = order[i]
            self._append(prog, f, base[f.section.index, f.start], pending, need)
            i += 1
        for at, key in pending:
            prog.insns[at] = prog.insns[at]._replace(imm=base[key] - at - 1)
        return prog

    def _append(
        self,
        prog: ProgSpec,
        f: _Function,
        base: int,
        pending: list[tuple[int, tuple[int, int]]],
        need: Callable[[tuple[int, int], ElfSection, int], None],
    ) -> None:
        code, relocs, index = self.code[f.section.index], self.relocs[f.section.index], f.section.index
        skip = False
        for pc in range(f.start, f.end):
            insn, at = code[pc], base + pc - f.start
            prog.insns.append(insn)
            if skip:
                skip = False
                continue
            skip = insn.code == LD_IMM64
            reloc = relocs.get(pc)
            key: tuple[int, int] | None = None
            if reloc is not None:
                key = self._relocate(prog, f.section, at, insn, reloc, pc)
            elif insn.code == CALL and insn.src == uapi.BPF_PSEUDO_CALL:
                key = (index, pc + insn.imm + 1)
            elif insn.code == LD_IMM64 and insn.src == uapi.BPF_PSEUDO_FUNC:
                key = (index, pc + insn.imm // INSN_BYTES + 1)
            if key is not None:
                need(key, f.section, pc)
                pending.append((at, key))
        self._infos(prog, f, base)

    def _infos(self, prog: ProgSpec, f: _Function, base: int) -> None:
        """BTF.ext records of this function, from section bytes to instruction numbers of the program."""
        name, low, high = f.section.name, f.start * INSN_BYTES, f.end * INSN_BYTES
        shift = base - f.start
        for info in self.ext.funcs.get(name, ()):
            if low <= info.insn_off < high:
                prog.funcs.append(replace(info, insn_off=info.insn_off // INSN_BYTES + shift))
        for line in self.ext.lines.get(name, ()):
            if low <= line.insn_off < high:
                prog.lines.append(replace(line, insn_off=line.insn_off // INSN_BYTES + shift))
        for relo in self.ext.relos.get(name, ()):
            if low <= relo.insn_off < high:
                prog.core.append(replace(relo, insn_off=relo.insn_off // INSN_BYTES + shift))

    def _relocate(
        self, prog: ProgSpec, section: ElfSection, at: int, insn: Insn, reloc: Reloc, pc: int
    ) -> tuple[int, int] | None:
        """Note what the relocation asks for; the key of a function that is called or taken by address."""
        sym = reloc.symbol
        if reloc.kind == R_BPF_64_32:
            if insn.code != CALL:
                raise self._fail("call relocation at what is no call", section, pc * INSN_BYTES)
            if sym.section == 0:
                self._extern(prog, section, at, sym, pc, call=True)
                return None
            return sym.section, sym.offset // INSN_BYTES + insn.imm + 1
        if reloc.kind != R_BPF_64_64 or insn.code != LD_IMM64:
            raise self._fail(f"relocation of kind {reloc.kind} at opcode {insn.code:#04x}", section, pc * INSN_BYTES)
        if sym.section == 0:
            self._extern(prog, section, at, sym, pc, call=False)
            return None
        target = self.elf.sections.get(sym.section)
        if target is None:
            raise self._fail(f"reference to {sym.name or 'a symbol'} in a section of no use", section, pc * INSN_BYTES)
        if target.executable:
            prog.insns[at] = insn._replace(src=uapi.BPF_PSEUDO_FUNC)
            return sym.section, (sym.offset + insn.imm) // INSN_BYTES
        if target.name in (".maps", "maps"):
            prog.maps.append(MapReloc(at, self._map_at(target, sym, insn.imm, section, pc)))
        else:
            offset = sym.offset + insn.imm
            if not 0 <= offset <= target.size:
                raise self._fail(
                    f"reference {offset:#x} bytes into {target.name} of {target.size}", section, pc * INSN_BYTES
                )
            prog.maps.append(MapReloc(at, target.name, offset))
        return None

    def _map_at(self, maps: ElfSection, sym: Symbol, addend: int, section: ElfSection, pc: int) -> str:
        if sym.kind != "STT_SECTION" and sym.name:
            return sym.name
        offset = sym.offset + addend
        for s in self.elf.symbols:
            if s.section == maps.index and s.offset == offset and s.kind in ("STT_OBJECT", "STT_NOTYPE") and s.name:
                return s.name
        raise self._fail(f"no map at {offset:#x} of {maps.name}", section, pc * INSN_BYTES)

    def _extern(self, prog: ProgSpec, section: ElfSection, at: int, sym: Symbol, pc: int, *, call: bool) -> None:
        extern = self.externs.get(sym.name)
        if extern is not None and extern.section == ".kconfig" and not call:
            prog.maps.append(MapReloc(at, ".kconfig", extern.offset))
            return
        prog.externs.append(ExternReloc(at, sym.name, call, sym.bind == "STB_WEAK"))


def _externs(elf: Elf, btf: RawBtf | None) -> dict[str, Extern]:
    if btf is None:
        return {}
    weak = {s.name for s in elf.symbols if s.section == 0 and s.bind == "STB_WEAK"}
    found: dict[str, Extern] = {}
    for section in (".kconfig", ".ksyms"):
        sec_id = btf.find(Kind.DATASEC, section)
        if sec_id is None:
            continue
        offset = 0
        for var in btf.type(sec_id).secvars:
            t = btf.type(var.type_id)
            size = 0 if t.kind is Kind.FUNC or section == ".ksyms" else btf.size_of(t.ref)
            align = btf.align_of(t.ref) if size else 1
            offset = -(-offset // align) * align
            found[t.name] = Extern(t.name, section, BtfId(var.type_id), t.name in weak, offset, size)
            offset += size
    return found


def _c_string(section: ElfSection | None) -> str:
    return section.data.split(b"\0")[0].decode("utf-8", "replace") if section is not None else ""


def read_object(data: bytes, name: str, file: str) -> ObjectSpec:
    """An object file's bytes -> what it wants loaded. Raises ObjectError, BtfError or LoadError naming the file."""
    elf = read_elf(data, file)
    btf: RawBtf | None = None
    ext = _EMPTY_EXT
    try:
        section = elf.find(".BTF")
        if section is not None:
            btf = parse_btf(section.data)
            validate(btf)
            ext_section = elf.find(".BTF.ext")
            if ext_section is not None:
                ext = parse_btf_ext(ext_section.data, btf)
    except BtfError as e:
        raise BtfError(e.cause, file=file, section=e.section or ".BTF", offset=e.offset) from None
    try:
        externs = _externs(elf, btf)
        progs = _Linker(elf, btf, ext, file, externs).programs()
        maps = declared_maps(elf, btf, file) | data_maps(elf, btf, name)
        btf = fix_btf(btf, elf, externs) if btf is not None else None
    except BtfError as e:
        raise BtfError(e.cause, file=file, section=".BTF") from None
    if not progs and not maps:
        raise ObjectError("no BPF programs or maps in this object", file=file)
    return ObjectSpec(name, _c_string(elf.find("license")), btf, maps, progs, externs, file)


def object_name(path: str) -> str:
    """libbpf's name of an object: the file's name up to its first dot, at most 15 characters."""
    return Path(path).name.split(".")[0][: uapi.BPF_OBJ_NAME_LEN - 1]
