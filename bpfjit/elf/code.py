"""Functions of an object, and programs linked from them: each with all it calls in one stream of instructions."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import TypeVar

from ..btf import BtfExt, CoreRelo, FuncInfo, LineInfo, RawBtf
from ..dataclass import dataclass, replace
from ..errors import LoadError, ObjectError
from ..isa.encoding import CALL, INSN_BYTES, LD_IMM64, Insn, decode
from ..spec.sections import match_section
from ..uapi import bpf as uapi
from .reader import (
    R_BPF_64_32,
    R_BPF_64_64,
    STB_LOCAL,
    STT_FUNC,
    STT_SECTION,
    Elf,
    ElfSection,
    Reloc,
    Symbol,
)
from .spec import ExternReloc, MapReloc, ProgSpec

_NOT_PROGRAMS = (".text", ".eh_frame")
MAP_SECTIONS = (".maps", "maps")
_ANSWERS = "exception_callback:"
_MAX_INSNS = 1_000_000  # BPF_COMPLEXITY_LIMIT_INSNS: no kernel takes a longer program
_MAX_TOTAL_INSNS = 8_000_000  # of all programs, each with its copy of what it calls
_MAX_FUNCTIONS = 100_000

Place = tuple[int, int]  # section index, instruction
_Info = TypeVar("_Info", FuncInfo, LineInfo, CoreRelo)


@dataclass(frozen=True, slots=True)
class Function:
    """One function in its section: instructions [start, end)."""

    name: str
    section: ElfSection
    start: int
    end: int
    static: bool

    @property
    def place(self) -> Place:
        return self.section.index, self.start


@dataclass(slots=True)
class _Stream:
    """A program under way: which functions it has so far, where each begins, which calls wait for their distance."""

    prog: ProgSpec
    order: list[Function]
    base: dict[Place, int]
    length: int
    calls: list[tuple[int, Place]]


class Linker:
    """Links the programs of an object. Raises LoadError naming section and offset, ObjectError for broken code."""

    def __init__(self, elf: Elf, btf: RawBtf | None, ext: BtfExt, file: str) -> None:
        self.elf = elf
        # Few objects throw: of the others, no tag is looked at.
        self.throwing = btf if btf is not None and _ANSWERS.encode() in btf.data else None
        self.ext = ext
        self.file = file
        self.code: dict[int, list[Insn]] = {}
        self.relocs: dict[int, dict[int, Reloc]] = {}
        self.functions: dict[Place, Function] = {}
        self._total = 0
        self._find_code()
        self._find_functions()

    def _fail(self, cause: str, section: ElfSection, pc: int | None = None) -> LoadError:
        return LoadError(cause, file=self.file, section=section.name, offset=None if pc is None else pc * INSN_BYTES)

    def _find_code(self) -> None:
        for s in self.elf.sections.values():
            if not s.executable or not s.data:
                continue
            try:
                self.code[s.index] = decode(s.data)
            except ValueError as e:
                raise ObjectError(str(e), file=self.file, section=s.name) from None
            at: dict[int, Reloc] = {}
            for r in s.relocs:
                if r.offset % INSN_BYTES or r.offset >= len(s.data):
                    raise LoadError("relocation outside the instructions", file=self.file, section=s.name, offset=r.offset)
                if at.setdefault(r.offset // INSN_BYTES, r) is not r:
                    raise self._fail("two relocations of one instruction", s, r.offset // INSN_BYTES)
            self.relocs[s.index] = at

    def _find_functions(self) -> None:
        for index in self.code:
            section, end = self.elf.sections[index], 0
            found = [s for s in self.elf.in_section[index] if s.kind == STT_FUNC]
            if len(found) > _MAX_FUNCTIONS:
                raise self._fail(f"{len(found)} functions, wanted at most {_MAX_FUNCTIONS}", section)
            for sym in sorted(found, key=lambda s: s.offset):
                if sym.offset % INSN_BYTES or sym.size % INSN_BYTES or not sym.size or sym.offset + sym.size > section.size:
                    raise self._fail(f"function {sym.name} of {sym.size} bytes at {sym.offset:#x} does not fit", section)
                if sym.offset < end:
                    raise self._fail(f"function {sym.name} at {sym.offset:#x} lies within another", section)
                end = sym.offset + sym.size
                function = Function(sym.name, section, sym.offset // INSN_BYTES, end // INSN_BYTES, sym.bind == STB_LOCAL)
                self.functions[function.place] = function

    def programs(self) -> dict[str, ProgSpec]:
        """Every global function in a section that is not .text, by name, in the order of the file.

        Static functions there are subprograms, as those in .text are.
        """
        progs: dict[str, ProgSpec] = {}
        for _, f in sorted(self.functions.items()):
            if f.static or f.section.name.startswith(_NOT_PROGRAMS):
                continue
            if f.name in progs:
                raise self._fail(f"two programs are called {f.name}", f.section)
            progs[f.name] = self.link(f)
        return progs

    def link(self, entry: Function) -> ProgSpec:
        """`entry` followed by every function it reaches, calls resolved between them."""
        section = entry.section.name
        row = match_section(section.removeprefix("?"))
        prog = ProgSpec(
            entry.name, section, row[0] if row else None, row[1] if row else "", [], autoload=not section.startswith("?")
        )
        stream = _Stream(prog, [entry], {entry.place: 0}, entry.end - entry.start, [])
        self._need_answer(stream, entry)
        for f in stream.order:  # grows as calls are met
            self._append(stream, f)
            if stream.length > _MAX_INSNS:
                raise self._fail(f"program {entry.name} and what it calls are longer than any kernel takes", entry.section)
            if self._total + stream.length > _MAX_TOTAL_INSNS:
                raise self._fail(f"programs of more than {_MAX_TOTAL_INSNS} instructions in all", entry.section)
        self._total += stream.length
        for at, place in stream.calls:
            prog.insns[at] = prog.insns[at]._replace(imm=stream.base[place] - at - 1)
        return prog

    def _append(self, stream: _Stream, f: Function) -> None:
        prog, base = stream.prog, stream.base[f.place]
        code, relocs, index = self.code[f.section.index], self.relocs[f.section.index], f.section.index
        second_slot = False
        for pc in range(f.start, f.end):
            insn, at = code[pc], base + pc - f.start
            prog.insns.append(insn)
            if second_slot:
                second_slot = False
                continue
            second_slot = insn.code == LD_IMM64
            if second_slot and pc + 1 == f.end:
                raise self._fail(f"function {f.name} ends inside an instruction of two slots", f.section, pc)
            reloc = relocs.get(pc)
            place: Place | None = None
            if reloc is not None:
                place = self._relocate(prog, f.section, at, insn, reloc, pc)
            elif insn.code == CALL and insn.src == uapi.BPF_PSEUDO_CALL:
                place = index, pc + insn.imm + 1
            elif insn.code == LD_IMM64 and insn.src == uapi.BPF_PSEUDO_FUNC:
                place = index, pc + insn.imm // INSN_BYTES + 1
            if place is not None:
                self._need(stream, place, f.section, pc)
                stream.calls.append((at, place))
        self._infos(prog, f, base)

    def _need(self, stream: _Stream, place: Place, section: ElfSection, pc: int) -> None:
        if place in stream.base:
            return
        target = self.functions.get(place)
        if target is None:
            raise self._fail(f"call to {place[1] * INSN_BYTES:#x} where no function begins", section, pc)
        stream.base[place] = stream.length
        stream.length += target.end - target.start
        stream.order.append(target)

    def _need_answer(self, stream: _Stream, entry: Function) -> None:
        """The function that answers bpf_throw() is called by nobody: a tag of the main function names it."""
        if self.throwing is None:
            return
        infos = self.ext.funcs.get(entry.section.name, ())
        ids = [info.type_id for info in infos if info.insn_off == entry.start * INSN_BYTES]
        tags = [tag for i in ids for tag in self.throwing.decl_tags(i) if tag.startswith(_ANSWERS)]
        for f in self.functions.values() if tags else ():
            if f.name == tags[0].removeprefix(_ANSWERS) and not f.static:
                self._need(stream, f.place, entry.section, entry.start)

    def _infos(self, prog: ProgSpec, f: Function, base: int) -> None:
        """BTF.ext records of this function, from section bytes to instruction numbers of the program."""
        name = f.section.name
        prog.funcs += _moved(self.ext.funcs.get(name, ()), f, base)
        prog.lines += _moved(self.ext.lines.get(name, ()), f, base)
        prog.core += _moved(self.ext.relos.get(name, ()), f, base)

    def _relocate(self, prog: ProgSpec, section: ElfSection, at: int, insn: Insn, reloc: Reloc, pc: int) -> Place | None:
        """Note what the relocation asks for; the place of a function that is called or taken by address."""
        sym = reloc.symbol
        if reloc.kind == R_BPF_64_32:
            if insn.code != CALL:
                raise self._fail("call relocation at what is no call", section, pc)
            if sym.section == 0:
                prog.externs.append(ExternReloc(at, sym.name, True, sym.weak))
                return None
            return sym.section, sym.offset // INSN_BYTES + insn.imm + 1
        if reloc.kind != R_BPF_64_64 or insn.code != LD_IMM64:
            raise self._fail(f"relocation of kind {reloc.kind} at opcode {insn.code:#04x}", section, pc)
        if sym.section == 0:
            prog.externs.append(ExternReloc(at, sym.name, False, sym.weak))
            return None
        target = self.elf.sections.get(sym.section)
        if target is None:
            raise self._fail(f"reference to {sym.name or 'a symbol'} in a section of no use", section, pc)
        if target.executable:
            prog.insns[at] = insn._replace(src=uapi.BPF_PSEUDO_FUNC)
            return sym.section, (sym.offset + insn.imm) // INSN_BYTES
        if target.name in MAP_SECTIONS:
            prog.maps.append(MapReloc(at, self._map_at(target, sym, insn.imm, section, pc)))
            return None
        offset = sym.offset + insn.imm
        if not 0 <= offset <= target.size:
            raise self._fail(f"reference {offset:#x} bytes into {target.name} of {target.size}", section, pc)
        prog.maps.append(MapReloc(at, target.name, offset))
        return None

    def _map_at(self, maps: ElfSection, sym: Symbol, addend: int, section: ElfSection, pc: int) -> str:
        if sym.kind != STT_SECTION and sym.name:
            return sym.name
        found = self.elf.object_at(maps.index, sym.offset + addend)
        if found is None:
            raise self._fail(f"no map at {sym.offset + addend:#x} of {maps.name}", section, pc)
        return found.name


def _moved(infos: Sequence[_Info], f: Function, base: int) -> list[_Info]:
    """The records of one function out of a section's, which are in order."""
    low = bisect_left(infos, f.start * INSN_BYTES, key=lambda x: x.insn_off)
    high = bisect_left(infos, f.end * INSN_BYTES, key=lambda x: x.insn_off)
    return [replace(x, insn_off=x.insn_off // INSN_BYTES + base - f.start) for x in infos[low:high]]


def sorted_infos(ext: BtfExt) -> BtfExt:
    """BTF.ext with every section's records in the order of instructions."""

    def rows(by_section: dict[str, tuple[_Info, ...]]) -> dict[str, tuple[_Info, ...]]:
        return {name: tuple(sorted(found, key=lambda x: x.insn_off)) for name, found in by_section.items()}

    return BtfExt(rows(ext.funcs), rows(ext.lines), rows(ext.relos))
