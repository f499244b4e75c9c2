"""Loader programs: a syscall program and its data that load an object anywhere, without its ELF file.

The program makes the calls that the loader made of a recording kernel (record.py). Its context, 24 bytes and then 16 for
each map and 4 for each program, is that of libbpf's light skeletons: sizes and initial values go in, fds come out.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..btf import Kind
from ..dataclass import dataclass, replace
from ..elf.spec import MapSpec, ProgSpec
from ..errors import LoadError
from ..isa.asm import AsmError, assemble
from ..isa.encoding import CALL, LD_IMM64, Insn, decode, encode, imm64, ld_imm64
from ..uapi import bpf as uapi
from ..uapi.layout import Attr
from .loaded import LoadedObject
from .object import Object
from .record import Call, Close, Recorder

# struct bpf_loader_ctx { u32 sz, flags, log_level, log_size; u64 log_buf; }, then
# struct bpf_map_desc { int map_fd; u32 max_entries; u64 initial_value; } and struct bpf_prog_desc { int prog_fd; }.
CTX_FLAGS, CTX_LOG_LEVEL, CTX_LOG_SIZE, CTX_LOG_BUF, CTX_BYTES = 4, 8, 12, 16, 24
MAP_BYTES, MAP_MAX_ENTRIES, MAP_INITIAL_VALUE, PROG_BYTES = 16, 4, 8, 4
IN_KERNEL = 1  # of flags: initial values are the kernel's memory
LICENSE = "Dual BSD/GPL"
_MAX_CTX = 32767  # an instruction's offset
_NO_FUNCTION = 2002000000  # a helper that no kernel has: a kernel function that could not be found


@dataclass(frozen=True, slots=True)
class LoaderMap:
    """A map that a loader makes, and its place in the context. `name`: that of skeletons, "rodata" for .rodata."""

    name: str
    spec: MapSpec
    ctx_offset: int


@dataclass(frozen=True, slots=True)
class LoaderProg:
    name: str
    spec: ProgSpec
    ctx_offset: int


@dataclass(frozen=True, slots=True)
class LoaderProgram:
    """What a light skeleton carries: instructions, the contents of the map that they use, and the context's layout."""

    name: str
    insns: bytes
    data: bytes
    maps: tuple[LoaderMap, ...]
    progs: tuple[LoaderProg, ...]

    @property
    def ctx_bytes(self) -> int:
        return CTX_BYTES + MAP_BYTES * len(self.maps) + PROG_BYTES * len(self.progs)


def generate(obj: Object, config: Mapping[str, int | str]) -> LoaderProgram:
    """The loader program of an opened object. `config`: the kernel configuration that .kconfig externs are set by.

    Raises LoadError for what a loader program cannot do: pinning maps (bpf_sys_bpf() has no BPF_OBJ_PIN).
    """
    for ref, spec in obj.maps.items():
        if spec.pinning:
            raise LoadError(f"map {spec.name} is pinned by name, which a loader program cannot do", file=obj.spec.file)
        if spec.section.startswith(".bss"):
            # Zero already; written all the same, so that an initial value can take its place.
            obj.maps[ref] = replace(spec, contents=bytes(spec.value_size))
    recorder = Recorder(config)
    loaded = obj.load(recorder, core_in_kernel=True)
    try:
        return _Writer(obj, recorder, loaded).program()
    except AsmError as e:
        raise LoadError(f"the loader program is too long: {e}", file=obj.spec.file) from None


def _identifier(ref: str) -> str:
    return ref.removeprefix(".").replace(".", "_")


def _field(attr: type[Attr], name: str) -> tuple[int, int]:
    """Offset and size of a member of an attr."""
    layout = [*sorted(attr.OFFSETS.values()), attr.SIZE]
    start = attr.OFFSETS[name]
    return start, layout[layout.index(start) + 1] - start


class _Writer:
    """Puts the calls' attrs and memory into the data and writes the instructions around them.

    r6 is the context, r7 the last result. The data begin with the fds of the maps, which programs name by index; every
    fd that is made has a word of the data, 0 while it is not open.
    """

    def __init__(self, obj: Object, recorder: Recorder, loaded: LoadedObject) -> None:
        self.obj = obj
        self.recorder = recorder
        self.trace = recorder.trace
        self.lines: list[str] = []
        self.data = bytearray()
        self.labels = 0
        self.weak = {e.name: e.weak for e in obj.spec.externs.values()}
        self.maps = self._maps(loaded)
        at = CTX_BYTES + MAP_BYTES * len(self.maps)
        self.progs = tuple(LoaderProg(p.name, p.spec, at + PROG_BYTES * i) for i, p in enumerate(loaded.progs.values()))
        if at + PROG_BYTES * len(self.progs) > _MAX_CTX:
            raise LoadError(f"{len(self.maps)} maps and {len(self.progs)} programs: too many", file=obj.spec.file)
        self.call_of_map = {recorder.call_of(m.fd): i for i, m in enumerate(loaded.maps.values())}
        self.call_of_prog = {recorder.call_of(p.fd): i for i, p in enumerate(loaded.progs.values())}
        made = [i for i, c in enumerate(self.trace) if isinstance(c, Call) and c.makes_fd]
        in_array = [*self.call_of_map, *(i for i in made if i not in self.call_of_map)]
        self.slots = {call: 4 * i for i, call in enumerate(in_array)}
        self.add(bytes(-(-4 * len(self.slots) // 8) * 8))  # the fds come first

    def _maps(self, loaded: LoadedObject) -> tuple[LoaderMap, ...]:
        refs = {id(m): ref for ref, m in loaded.by_ref.items()}
        return tuple(
            LoaderMap(_identifier(refs[id(m)]), m.spec, CTX_BYTES + MAP_BYTES * i)
            for i, m in enumerate(loaded.maps.values())
        )

    # -- data ------------------------------------------------------------------------------------------

    def add(self, data: bytes, align: int = 8) -> int:
        self.data += bytes(-len(self.data) % align)
        at = len(self.data)
        self.data += data
        return at

    # -- instructions ----------------------------------------------------------------------------------

    def emit(self, text: str) -> None:
        self.lines.append(text)

    def label(self) -> str:
        self.labels += 1
        return f"L{self.labels}"

    def address(self, reg: int, at: int) -> None:
        self.emit(f"r{reg} = map[idx:0][0]+{at}")

    def point(self, at: int, target: int) -> None:
        """A pointer in the data to other data."""
        self.address(1, at)
        self.address(2, target)
        self.emit("*(u64 *)(r1 +0) = r2")

    def move(self, at: int, size: int, ctx: int, *, unless_zero: bool = False) -> None:
        """A member of the context to the data."""
        kind, after = ("u64" if size == 8 else "u32"), self.label()
        self.emit(f"r2 = *({kind} *)(r6 +{ctx})")
        if unless_zero:
            self.emit(f"if r2 == 0 goto {after}")
        self.address(1, at)
        self.emit(f"*({kind} *)(r1 +0) = r2")
        self.emit(f"{after}:")

    def check(self) -> None:
        """r0 is a result: negative, it ends the loader."""
        self.emit("r7 = r0\nif r7 s< 0 goto failed")

    def load_fd(self, reg: int, call: int) -> None:
        self.address(reg, self.slots[call])
        self.emit(f"r{reg} = *(u32 *)(r{reg} +0)")

    def close(self, call: int) -> None:
        """Close a fd if it is open."""
        after = self.label()
        self.load_fd(1, call)
        self.emit(f"if w1 s<= 0 goto {after}\ncall bpf_sys_close\n{after}:")

    def program(self) -> LoaderProgram:
        self.emit("r6 = r1\nr0 = 0")
        for at in range(0, -(-4 * len(self.slots) // 8) * 8, 8):  # a loader may be run again
            self.address(1, at)
            self.emit("*(u64 *)(r1 +0) = r0")
        for index, entry in enumerate(self.trace):
            if isinstance(entry, Close):
                self.close(entry.call)
                self._forget(entry.call)
            else:
                self._call(index, entry)
        for call, i in self.call_of_map.items():
            self._give(call, self.maps[i].ctx_offset)
        for call, i in self.call_of_prog.items():
            self._give(call, self.progs[i].ctx_offset)
        closed = {e.call for e in self.trace if isinstance(e, Close)}
        own = {*self.call_of_map, *self.call_of_prog, *closed}
        for call in self.slots:
            if call not in own:  # the BTF has served its purpose
                self.close(call)
        self.emit("r0 = 0\nexit\nfailed:")
        for call in self.slots:
            self.close(call)
        self.emit("r0 = r7\nexit")
        insns = assemble("\n".join(self.lines))
        return LoaderProgram(self.obj.name, encode(insns), bytes(self.data), self.maps, self.progs)

    def _forget(self, call: int) -> None:
        self.address(1, self.slots[call])
        self.emit("r2 = 0\n*(u32 *)(r1 +0) = r2")

    def _give(self, call: int, ctx: int) -> None:
        self.load_fd(1, call)
        self.emit(f"*(u32 *)(r6 +{ctx}) = r1")

    # -- calls -----------------------------------------------------------------------------------------

    def _call(self, index: int, call: Call) -> None:
        kind = type(call.attr)
        at = self.add(call.attr.pack())
        for name, memory in call.memory.items():
            target = self.add(self._insns(memory) if name == "insns" else memory)
            self.point(at + kind.OFFSETS[name], target)
            if name == "insns":
                self._look_up(memory, target)
            elif name == "value":
                self._value(call, target)
        for name, made in call.fds.items():
            self.load_fd(2, made)
            self.address(1, at + kind.OFFSETS[name])
            self.emit("*(u32 *)(r1 +0) = r2")
        if kind is uapi.MapCreate and index in self.call_of_map:
            entries = self.maps[self.call_of_map[index]].ctx_offset + MAP_MAX_ENTRIES
            self.move(at + uapi.MapCreate.OFFSETS["max_entries"], 4, entries, unless_zero=True)
        elif kind is uapi.BtfLoad:
            self._log(at, kind, "btf_log_level", "btf_log_size", "btf_log_buf")
        elif kind is uapi.ProgLoad:
            self._log(at, kind, "log_level", "log_size", "log_buf")
            self.point(at + kind.OFFSETS["fd_array"], 0)
            self._attach_id(call.attr, at)
        self.emit(f"r1 = {call.cmd}")
        self.address(2, at)
        self.emit(f"r3 = {call.attr.SIZE}\ncall bpf_sys_bpf")
        if isinstance(call.attr, uapi.ProgLoad) and call.attr.attach_btf_id:
            self._close_module(at)
        self.check()
        if call.makes_fd:
            self.address(1, self.slots[index])
            self.emit("*(u32 *)(r1 +0) = r7")

    def _log(self, at: int, kind: type[Attr], level: str, size: str, buf: str) -> None:
        for name, ctx in ((level, CTX_LOG_LEVEL), (size, CTX_LOG_SIZE), (buf, CTX_LOG_BUF)):
            offset, width = _field(kind, name)
            self.move(at + offset, width, ctx)

    def _value(self, call: Call, target: int) -> None:
        """An element's value: another call's fd, or what the context brings in place of the object's contents."""
        if call.value_fd is not None:
            self.load_fd(2, call.value_fd)
            self.address(1, target)
            self.emit("*(u32 *)(r1 +0) = r2")
            return
        index = self.call_of_map.get(call.fds["map_fd"])
        if index is None or self.maps[index].spec.contents is None:
            return
        keep, in_kernel, copied = self.label(), self.label(), self.label()
        self.emit(f"r3 = *(u64 *)(r6 +{self.maps[index].ctx_offset + MAP_INITIAL_VALUE})\nif r3 == 0 goto {keep}")
        self.address(1, target)
        self.emit(f"r2 = {len(call.memory['value'])}\nr0 = *(u32 *)(r6 +{CTX_FLAGS})\nr0 &= {IN_KERNEL}")
        self.emit(f"if r0 != 0 goto {in_kernel}\ncall bpf_copy_from_user\ngoto {copied}\n{in_kernel}:")
        self.emit(f"call bpf_probe_read_kernel\n{copied}:")
        self.check()
        self.emit(f"{keep}:")

    # -- what only the running kernel knows --------------------------------------------------------------

    def _find(self, name: str, kind: Kind) -> None:
        """r0: the id of a type of the kernel, negative for none."""
        raw = name.encode() + b"\0"
        self.address(1, self.add(raw, 1))
        self.emit(f"r2 = {len(raw)}\nr3 = {int(kind)}\nr4 = 0\ncall bpf_btf_find_by_name_kind")

    def _attach_id(self, attr: Attr, at: int) -> None:
        assert isinstance(attr, uapi.ProgLoad)
        wanted = self.recorder.type_names.get(attr.attach_btf_id)
        if wanted is None:
            return
        self._find(wanted.name, wanted.kind)
        self.check()
        self.address(1, at + uapi.ProgLoad.OFFSETS["attach_btf_id"])
        # The upper half is the fd of a module's BTF, which goes into the next member.
        self.emit("*(u64 *)(r1 +0) = r7")

    def _close_module(self, at: int) -> None:
        none = self.label()
        self.emit("r7 = r0")
        self.address(1, at + uapi.ProgLoad.OFFSETS["attach_prog_fd"])
        self.emit(f"r1 = *(u32 *)(r1 +0)\nif r1 == 0 goto {none}\ncall bpf_sys_close\n{none}:\nr0 = r7")

    def _insns(self, memory: bytes) -> bytes:
        """Instructions as they lie in the data: maps by index, and what must be looked up as if it were not there."""
        insns, pc = decode(memory), 0
        while pc < len(insns):
            insn = insns[pc]
            if insn.code == LD_IMM64:
                insns[pc : pc + 2] = self._reference(insns, pc)
                pc += 1
            elif insn.code == CALL and insn.src == uapi.BPF_PSEUDO_KFUNC_CALL:
                insns[pc] = Insn(CALL, imm=_NO_FUNCTION)
            pc += 1
        return encode(insns)

    def _reference(self, insns: list[Insn], pc: int) -> tuple[Insn, Insn]:
        insn, high = insns[pc], insns[pc + 1]
        if insn.src in _BY_INDEX:
            return insn._replace(src=_BY_INDEX[insn.src], imm=self.call_of_map[self.recorder.call_of(insn.imm)]), high
        name = self._name_at(insns, pc)
        if name is None:
            return insn, high
        absent = Insn(CALL, imm=_NO_FUNCTION)
        return ld_imm64(insn.dst, 0) if self.weak.get(name, False) else (absent, absent)

    def _name_at(self, insns: list[Insn], pc: int) -> str | None:
        """The name of the variable or symbol that a ld_imm64 refers to."""
        insn = insns[pc]
        if insn.src == uapi.BPF_PSEUDO_BTF_ID:
            return self.recorder.type_names[insn.imm].name
        return self.recorder.symbol_names.get(imm64(insns, pc)) if insn.src == 0 else None

    def _look_up(self, memory: bytes, target: int) -> None:
        """Ask for every type and symbol that the instructions name; what is not there stays as _insns() left it."""
        insns, pc = decode(memory), 0
        while pc < len(insns):
            insn, at = insns[pc], target + 8 * pc
            if insn.code == LD_IMM64:
                symbol = self._name_at(insns, pc)
                if symbol is not None and insn.src == 0:
                    self._symbol(insn, symbol, at)
                elif symbol is not None:
                    self._type(insn, self.recorder.type_names[insn.imm].kind, symbol, at, wide=True)
                pc += 1
            elif insn.code == CALL and insn.src == uapi.BPF_PSEUDO_KFUNC_CALL:
                wanted = self.recorder.type_names[insn.imm]
                self._type(insn, wanted.kind, wanted.name, at, wide=False)
            pc += 1

    def _type(self, insn: Insn, kind: Kind, name: str, at: int, *, wide: bool) -> None:
        absent, module = self.label(), self.label()
        self._find(name, kind)
        self.emit(f"if r0 s<= 0 goto {absent}\nr1 = r0\nr1 >>= 32\nif r1 != 0 goto {module}")
        self._patch(insn, at)
        if wide:
            self.emit("r0 = 0\n*(u64 *)(r1 +8) = r0")
        # What modules have cannot be named without their BTF in the array of fds: as if it were not there.
        self.emit(f"goto {absent}\n{module}:\ncall bpf_sys_close\n{absent}:")

    def _patch(self, insn: Insn, at: int) -> None:
        """The instruction at `at` in the data, its immediate r0's lower half. Leaves the address in r1."""
        low = int.from_bytes(encode([insn])[:4], "little")
        self.emit(f"r0 <<= 32\nr1 = {low:#x} ll\nr0 |= r1")
        self.address(1, at)
        self.emit("*(u64 *)(r1 +0) = r0")

    def _symbol(self, insn: Insn, name: str, at: int) -> None:
        absent, raw = self.label(), name.encode() + b"\0"
        self.address(1, self.add(raw, 1))
        self.emit(f"r2 = {len(raw)}\nr3 = 0\nr4 = r10\nr4 += -8\ncall bpf_kallsyms_lookup_name")
        self.emit(f"if r0 != 0 goto {absent}\nr8 = *(u64 *)(r10 -8)\nr0 = r8")
        self._patch(insn, at)
        self.emit(f"r8 >>= 32\nr8 <<= 32\n*(u64 *)(r1 +8) = r8\n{absent}:")


_BY_INDEX = {
    uapi.BPF_PSEUDO_MAP_FD: uapi.BPF_PSEUDO_MAP_IDX,
    uapi.BPF_PSEUDO_MAP_VALUE: uapi.BPF_PSEUDO_MAP_IDX_VALUE,
}
