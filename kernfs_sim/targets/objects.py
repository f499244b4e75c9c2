"""iter/bpf_map, bpf_prog and bpf_link: BPF objects by id, as the structures that programs read."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from bpfjit.isa.encoding import encode
from runtime import Index, KernelHandle, ffi, lib

from ..caller import Caller
from ..fs.shown import ObjectDirs, Shown
from ..idr import Idr
from ..objects import LinkObject, MapObject, Object, ProgObject
from .base import IndexTarget

if TYPE_CHECKING:
    from ..kernel import Kernel

T = TypeVar("T", bound=Object)
_FUNC_INFO = struct.Struct("<II")  # struct bpf_func_info
Structures = list[tuple[Any, int]]  # the object's structures on the native heap, the walked one first, and their sizes


class Published(Idr[T]):
    """Objects by id, each with its structure in an index that iterators walk."""

    def __init__(self, native: KernelHandle, describe: Callable[[KernelHandle, T], Structures]) -> None:
        super().__init__()
        self._native = native
        self._describe = describe
        self._structures: dict[int, Structures] = {}
        self.on_removal: list[Callable[[int], None]] = []
        self.index = Index(native)

    def add(self, obj: T) -> int:
        i = super().add(obj)
        obj.id = i
        made = self._structures[i] = self._describe(self._native, obj)
        self.index.add(i, made[0][0])
        return i

    def remove(self, i: int) -> None:
        super().remove(i)
        made = self._structures.pop(i, None)
        if made is not None:
            for tell in self.on_removal:
                tell(i)
            self.index.remove(i)
            for obj, size in made:
                if size:
                    self._native.free(obj, size)


def describe_map(native: KernelHandle, m: MapObject) -> Structures:
    m.native.ptr.id = m.id
    return [(m.native.ptr, 0)]  # the map itself, which goes when its object does


def describe_prog(native: KernelHandle, prog: ProgObject) -> Structures:
    program, c, aux = prog.program, native.new("struct bpf_prog"), native.new("struct bpf_prog_aux")
    name = os.fsencode(program.attach_name.removeprefix("btf_trace_"))
    c.type, c.expected_attach_type, c.len = prog.type_id, program.attach_type, len(encode(program.insns)) // 8
    c.tag, c.aux, c.jited, c.gpl_compatible, c.sleepable = prog.tag, aux, 1, program.gpl, program.sleepable
    c.jited_len = getattr(prog.native, "object_bytes", 0)
    aux.id, aux.name, aux.attach_btf_id, aux.prog = prog.id, os.fsencode(prog.name)[:15], prog.attach_btf_id, c
    subprogs = len(prog.verified.facts.subprogs)
    aux.used_map_cnt, aux.func_cnt = len(prog.maps), subprogs if subprogs > 1 else 0
    aux.real_func_cnt = aux.func_cnt
    aux.verified_insns, aux.load_time = prog.verified.stats.processed_insns, prog.load_time_ns
    prog.c = c
    made = [(c, ffi.sizeof(c[0])), (aux, ffi.sizeof(aux[0]))]

    def keep(data: bytes) -> Any:
        text = native.string(data)
        made.append((text, len(data) + 1))
        return text

    if name:
        aux.attach_func_name = keep(name)
    if prog.maps:
        pointers = (int(ffi.cast("uintptr_t", m.native.ptr)) for m in prog.maps)
        aux.used_maps = ffi.cast("struct bpf_map **", keep(b"".join(p.to_bytes(8, "little") for p in pointers)))
    if program.funcs:
        records = b"".join(_FUNC_INFO.pack(f.insn_off, f.type_id) for f in program.funcs)
        aux.func_info = ffi.cast("struct bpf_func_info *", keep(records))
        aux.func_info_cnt = len(program.funcs)
    aux.nr_linfo = len(program.lines)
    prog.symbol = lib.rt_ksym_add(native.ptr, *_code_of(prog), symbol_name(prog).encode())
    return made


def _code_of(prog: ProgObject) -> tuple[int, int]:
    """Address and bytes of the main function, as it was compiled first: that code stays."""
    functions = getattr(prog.native, "functions", ())
    return functions[0] if functions and functions[0][1] else (prog.native.addr, 1)


def symbol_name(prog: ProgObject) -> str:
    """As kallsyms has a program: by its tag and its function's whole name."""
    funcs = prog.program.funcs
    name = prog.btf.types.type(funcs[0].type_id).name if prog.btf is not None and funcs else prog.name
    return f"bpf_prog_{prog.tag.hex()}" + (f"_{name}" if name else "")


def show_types(kernel: Kernel) -> None:
    """Who walks over programs may read the types that they were loaded with: struct btf of each that has none yet."""
    for prog in list(kernel.progs):
        if prog.btf is not None and prog.c is not None and not prog.c.aux.btf:
            prog.c.aux.btf = prog.btf.structure(kernel.native)


def describe_link(native: KernelHandle, link: LinkObject) -> Structures:
    c = link.c = native.new("struct bpf_link")
    c.id, c.type, c.attach_type = link.id, link.type, link.attach_type
    c.prog = link.prog.c
    return [(c, ffi.sizeof(c[0]))]


class BpfMapTarget(IndexTarget):
    name = "bpf_map"

    def index(self, caller: Caller) -> Any:
        return self.kernel.maps.index.ptr


class BpfProgTarget(IndexTarget):
    name = "bpf_prog"

    def index(self, caller: Caller) -> Any:
        show_types(self.kernel)
        return self.kernel.progs.index.ptr


class BpfLinkTarget(IndexTarget):
    name = "bpf_link"

    def index(self, caller: Caller) -> Any:
        show_types(self.kernel)
        return self.kernel.links.index.ptr


def new_map_directories(kernel: Kernel) -> ObjectDirs:
    """/sys/kernel/bpf_map: a directory for each map, by id, in which views of it are pinned."""

    def find(name: str) -> Shown | None:
        m = kernel.maps.get(int(name)) if name.isdecimal() and name == str(int(name)) else None
        return Shown("bpf_map", m.native.ptr, owner=m) if m is not None else None

    made = ObjectDirs(kernel.sysfs.sb, kernel.native, lambda: [str(m.id) for m in kernel.maps], find)
    kernel.maps.on_removal.append(lambda gone: made.forget(str(gone)))
    return made
