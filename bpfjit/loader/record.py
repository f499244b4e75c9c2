"""A kernel that only takes notes: what a loader would have called, so that a program can call it again elsewhere.

What would have come back (fds, ids of the kernel's types, addresses of its symbols) is a mark, and found again where a
later call carries it.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

from runtime import ffi

from ..btf import BtfId, Kind, RawBtf
from ..dataclass import dataclass, field
from ..errors import LoadError
from ..spec.map_types import MAP_TYPE_NAMES
from ..uapi import bpf as uapi
from ..uapi.layout import Attr
from .bpf import live_bpf

# Marks: numbers that no object has. Instructions hold them in 32 bits, addresses in 64.
_FIRST_FD, _FIRST_TYPE, _FIRST_SYMBOL = 1 << 24, 1 << 28, 0xFFFFFFFFFA000000
_FD_VALUES = frozenset(
    {uapi.BPF_MAP_TYPE_PROG_ARRAY, uapi.BPF_MAP_TYPE_ARRAY_OF_MAPS, uapi.BPF_MAP_TYPE_HASH_OF_MAPS}
)  # maps whose elements are fds when they are written


@dataclass(slots=True)
class Call:
    """One bpf(2) call: attr without its marks, what its pointers point to, and where marks stood.

    memory: field -> bytes. fds: field -> the earlier call whose fd goes there. value_fd: the call whose fd is the value.
    """

    cmd: int
    attr: Attr
    memory: dict[str, bytes] = field(default_factory=dict)
    fds: dict[str, int] = field(default_factory=dict)
    value_fd: int | None = None
    makes_fd: bool = False


@dataclass(frozen=True, slots=True)
class Close:
    """close(2) of the fd that an earlier call made."""

    call: int


@dataclass(frozen=True, slots=True)
class TypeName:
    """A type of the kernel that is looked up when the trace is run."""

    kind: Kind
    name: str


class _Names(RawBtf):
    """The kernel's types, of which nothing is known yet: every name is there, under a mark."""

    def __init__(self, marks: dict[int, TypeName]) -> None:
        self._marks = marks
        self._ids: dict[TypeName, int] = {}

    def find(self, kind: Kind, name: str) -> BtfId | None:
        wanted = TypeName(kind, name)
        mark = self._ids.setdefault(wanted, _FIRST_TYPE + len(self._ids))
        self._marks[mark] = wanted
        return BtfId(mark)


class Recorder:
    """A Bpf that keeps a trace. `types` and `symbols` hand out marks; type_names and symbol_names say of what."""

    def __init__(self, config: Mapping[str, int | str]) -> None:
        self.trace: list[Call | Close] = []
        self.type_names: dict[int, TypeName] = {}
        self.symbol_names: dict[int, str] = {}
        self.types: RawBtf | None = _Names(self.type_names)
        self._config = config

    def config(self) -> Mapping[str, int | str]:
        return self._config

    def possible_cpus(self) -> int:
        return live_bpf.possible_cpus()  # of the machine that generates, as libbpf's generator has it

    def symbols(self, names: Set[str]) -> Mapping[str, int]:
        found = {name: _FIRST_SYMBOL + i for i, name in enumerate(sorted(names))}
        self.symbol_names.update({mark: name for name, mark in found.items()})
        return found

    def close(self, fd: int) -> None:
        self.trace.append(Close(self.call_of(fd)))

    def call_of(self, fd: int) -> int:
        """The call that made an fd."""
        index = fd - _FIRST_FD
        assert 0 <= index < len(self.trace), f"fd {fd} is none of ours"
        return index

    def is_fd(self, number: int) -> bool:
        return 0 <= number - _FIRST_FD < len(self.trace)

    def __call__(self, cmd: int, attr: bytearray) -> int:
        row = _ROWS.get(cmd)
        if row is None:
            raise LoadError(f"bpf command {cmd} is none that a loader program may make")
        decoded = row.attr.unpack(attr)
        call = Call(cmd, decoded, makes_fd=row.makes_fd)
        for name in row.fds:
            fd = getattr(decoded, name)
            if self.is_fd(fd):
                call.fds[name] = self.call_of(fd)
                setattr(decoded, name, 0)
        for name, size in _sizes(self, call).items():
            addr = getattr(decoded, name)
            if addr:
                call.memory[name] = _string(addr) if size < 0 else bytes(ffi.buffer(ffi.cast("char *", addr), size))
                setattr(decoded, name, 0)
        value = call.memory.get("value", b"")
        if len(value) == 4 and self._map(call).map_type in _FD_VALUES:
            call.value_fd = self.call_of(int.from_bytes(value, "little"))
            call.memory["value"] = bytes(4)
        self.trace.append(call)
        return _FIRST_FD + len(self.trace) - 1

    def _map(self, call: Call) -> uapi.MapCreate:
        """The map that a call is about, as it was made."""
        made = self.trace[call.fds["map_fd"]]
        assert isinstance(made, Call) and isinstance(made.attr, uapi.MapCreate)
        return made.attr


@dataclass(frozen=True, slots=True)
class _Row:
    attr: type[Attr]
    fds: tuple[str, ...] = ()
    makes_fd: bool = False


_ROWS = {
    uapi.BPF_BTF_LOAD: _Row(uapi.BtfLoad, makes_fd=True),
    uapi.BPF_MAP_CREATE: _Row(uapi.MapCreate, ("btf_fd", "inner_map_fd"), makes_fd=True),
    uapi.BPF_MAP_UPDATE_ELEM: _Row(uapi.MapElem, ("map_fd",)),
    uapi.BPF_MAP_FREEZE: _Row(uapi.MapElem, ("map_fd",)),
    uapi.BPF_PROG_LOAD: _Row(uapi.ProgLoad, ("prog_btf_fd",), makes_fd=True),
}
_STRING = -1


def _sizes(recorder: Recorder, call: Call) -> dict[str, int]:
    """The pointers of a call and how many bytes are behind each; _STRING up to a NUL."""
    attr = call.attr
    if isinstance(attr, uapi.BtfLoad):
        return {"btf": attr.btf_size}
    if isinstance(attr, uapi.ProgLoad):
        return {
            "insns": attr.insn_cnt * 8,
            "license": _STRING,
            "func_info": attr.func_info_cnt * attr.func_info_rec_size,
            "line_info": attr.line_info_cnt * attr.line_info_rec_size,
            "core_relos": attr.core_relo_cnt * attr.core_relo_rec_size,
        }
    if call.cmd == uapi.BPF_MAP_UPDATE_ELEM:
        made = recorder._map(call)
        if "PERCPU" in MAP_TYPE_NAMES.get(made.map_type, "").upper():
            raise LoadError(f"a value of a per-CPU map depends on the CPUs: {made.map_name.decode()}")
        return {"key": made.key_size, "value": made.value_size}
    return {}


def _string(addr: int) -> bytes:
    return bytes(ffi.string(ffi.cast("char *", addr))) + b"\0"
