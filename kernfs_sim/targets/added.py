"""Targets that are added at run time: a structure, its objects by number, iterators and views of them, natively walked."""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from bpfjit.btf import Btf, Kind, parse_btf, write_btf
from bpfjit.btf.from_c import btf_from_c
from bpfjit.dataclass import dataclass
from bpfjit.errors import refuse
from bpfjit.spec.targets import CtxArg, Target
from runtime import Index, KernelHandle, ffi

from ..caller import Caller
from ..fs.shown import ObjectDirs, Shown
from .base import IndexTarget

if TYPE_CHECKING:
    from ..kernel import Kernel

_CTYPES = {
    ctypes.c_bool: "_Bool", ctypes.c_char: "char", ctypes.c_int8: "s8", ctypes.c_uint8: "u8", ctypes.c_int16: "s16",
    ctypes.c_uint16: "u16", ctypes.c_int32: "s32", ctypes.c_uint32: "u32", ctypes.c_int64: "s64", ctypes.c_uint64: "u64",
    ctypes.c_void_p: "void *",
}  # fmt: skip


def c_of(cls: type[ctypes.Structure], done: set[str] | None = None) -> str:
    """The C declaration of a ctypes structure, those that it holds before it. Raises EINVAL for what C has no name for."""
    done = set() if done is None else done
    if cls.__name__ in done:
        return ""
    done.add(cls.__name__)
    before, members = "", []
    for name, ctype, *bits in cls._fields_:
        suffix, elem = "", cast(Any, ctype)
        while issubclass(elem, ctypes.Array):
            suffix += f"[{elem._length_}]"
            elem = elem._type_
        if issubclass(elem, ctypes.Structure):
            before += c_of(elem, done)
            spelled = f"struct {elem.__name__}"
        elif elem in _CTYPES:
            spelled = _CTYPES[elem]
        else:
            raise refuse(errno.EINVAL, f"{cls.__name__}.{name}: no C for {elem.__name__}")
        members.append(f"\t{spelled} {name}{suffix}{f': {bits[0]}' if bits else ''};\n")
    return f"{before}struct {cls.__name__} {{\n{''.join(members)}}};\n"


Value: TypeAlias = "int | bytes | str | Sequence[int] | Mapping[str, Value]"


@dataclass(frozen=True, slots=True)
class Member:
    """Where a member is, in bytes, and how many each of its elements takes: `size` for what is no array."""

    offset: int
    size: int
    each: int

    def bytes_of(self, name: str, value: int | bytes | str | Sequence[int]) -> bytes:
        """Raises ValueError."""
        if isinstance(value, int):
            return _number(name, value, self.size)
        if isinstance(value, str | bytes):
            raw = value.encode() if isinstance(value, str) else value
        else:
            raw = b"".join(_number(name, number, self.each) for number in value)
        if len(raw) > self.size:
            raise ValueError(f"{name}: {len(raw)} bytes, there is room for {self.size}")
        return raw.ljust(self.size, b"\0")


def _number(name: str, value: int, size: int) -> bytes:
    if not -(1 << 8 * size - 1) <= value < 1 << 8 * size:
        raise ValueError(f"{name}: {value} does not fit {8 * size} bits")
    return (value % (1 << 8 * size)).to_bytes(size, "little")


class AddedObject:
    """One object of a target; its members are set by name, nested ones as "a.b". `c` is its memory."""

    def __init__(self, target: AddedTarget, number: int) -> None:
        self.target = target
        self.number = number
        self.c: Any = target.native.new_bytes(target.size)

    def set(self, **members: Value) -> None:
        """Integers; strings or bytes for arrays of characters, lists for other arrays, dicts for structures within.

        Raises KeyError for a member that is not there, ValueError for a value that does not fit it; nothing is set then.
        """
        pieces = [piece for name, value in members.items() for piece in self.target.place(name, value)]
        for offset, raw in pieces:
            ffi.memmove(self.c + offset, raw, len(raw))

    def get(self, name: str) -> bytes:
        """A member's bytes. Raises KeyError."""
        member = self.target.member(name)
        return bytes(ffi.buffer(self.c + member.offset, member.size))


class AddedTarget:
    """A target's objects: what kernel.add_target() returns. Iterates over them in order of their numbers."""

    def __init__(self, kernel: Kernel, name: str, c: str, struct: str) -> None:
        self.kernel = kernel
        self.native: KernelHandle = kernel.native
        self.name = name
        self.header = (
            f"#pragma once\n#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)\n"
            f"{c}\nstruct bpf_iter__{name} {{\n\tstruct bpf_iter_meta *meta;\n\tstruct {struct} *{name};\n}};\n"
            f"struct bpfdump__{name} {{\n\tstruct bpf_dump_meta *meta;\n\tstruct {struct} *{name};\n}};\n"
            f"#pragma clang attribute pop\n"
        )
        functions = (
            f"int bpf_iter_{name}(struct bpf_iter_meta *meta, struct {struct} *{name});\n"
            f"int bpf_view_{name}(struct seq_file *seq, struct {struct} *{name});\n"
        )
        btf = btf_from_c(self.header + functions, kernel.btf.types)
        type_id = btf.find(Kind.STRUCT, struct)
        if type_id is None:
            raise refuse(errno.EINVAL, f"target {name}: no struct {struct} is declared")
        self.size = btf.size_of(type_id)
        self.layout: dict[str, Member] = dict(_leaves(btf, type_id, 0, ""))
        self.index = Index(self.native)
        self._objects: dict[int, AddedObject] = {}
        data = write_btf(btf)
        kernel.replace_btf(data, parse_btf(data))
        self.directory = ObjectDirs(kernel.sysfs.sb, self.native, lambda: map(str, sorted(self._objects)), self._find)

    def _find(self, name: str) -> Shown | None:
        found = self._objects.get(int(name)) if name.isdecimal() else None
        return Shown(self.name, found.c) if found is not None else None

    def member(self, name: str) -> Member:
        """Raises KeyError."""
        found = self.layout.get(name)
        if found is None:
            raise KeyError(f"{self.name} has no member {name!r}; it has {', '.join(self.layout)}")
        return found

    def place(self, name: str, value: Value) -> Iterator[tuple[int, bytes]]:
        """Where the bytes of a member go. Raises KeyError, ValueError."""
        if isinstance(value, Mapping):
            for inner, part in value.items():
                yield from self.place(f"{name}.{inner}", part)
            return
        member = self.member(name)
        yield member.offset, member.bytes_of(name, value)

    def add(self, number: int, **members: Value) -> AddedObject:
        """A new object. Raises EEXIST where the number is taken; else as AddedObject.set() does."""
        if number in self._objects:
            raise refuse(errno.EEXIST, f"{self.name} {number} exists")
        made = AddedObject(self, number)
        made.set(**members)
        self._objects[number] = made
        self.index.add(number, made.c)
        return made

    def remove(self, number: int) -> None:
        """The object goes, once no program looks at it. Raises KeyError."""
        gone = self._objects.pop(number)
        self.directory.forget(str(number))
        self.index.remove(number)
        self.native.free(gone.c, self.size)

    def __iter__(self) -> Iterator[AddedObject]:
        return iter([self._objects[n] for n in sorted(self._objects)])


def _leaves(btf: Btf, type_id: int, base: int, prefix: str) -> Iterator[tuple[str, Member]]:
    for m in btf.resolve(type_id).members:
        at, inner = base + m.bit_offset // 8, btf.resolve(m.type_id)
        if inner.kind in (Kind.STRUCT, Kind.UNION):
            yield from _leaves(btf, m.type_id, at, f"{prefix}{m.name}." if m.name else prefix)
        elif not m.bitfield_bits:
            size, elem = btf.size_of(m.type_id), inner
            while elem.kind is Kind.ARRAY:
                elem = btf.resolve(elem.ref)
            each = 8 if elem.kind is Kind.PTR else elem.size
            yield prefix + m.name, Member(at, size, each if inner.kind is Kind.ARRAY else size)


def add_target(kernel: Kernel, name: str, c: str | type[ctypes.Structure], struct: str = "") -> AddedTarget:
    """Add a target to a kernel: iterators, views and dumpers of it load from now on; see Kernel.add_target()."""
    if f"bpf_iter_{name}" in kernel.targets.rows or not name.isidentifier():
        raise refuse(errno.EEXIST if name.isidentifier() else errno.EINVAL, f"target {name!r}")
    source = c if isinstance(c, str) else c_of(c)
    made = AddedTarget(kernel, name, source, struct or (name if isinstance(c, str) else c.__name__))

    class Walked(IndexTarget):
        def index(self, caller: Caller) -> Any:
            return made.index.ptr

    Walked.name = name
    row = Target(name, (CtxArg.TRUSTED_OR_NULL,))
    kernel.targets.rows[f"bpf_iter_{name}"] = row
    kernel.targets.rows[f"bpf_view_{name}"] = Target(name, (CtxArg.TRUSTED,))
    kernel.targets.iters[name] = Walked
    kernel.dumpers.add_target(row)
    kernel.sysfs_directory("/kernel").add(name, made.directory)
    return made
