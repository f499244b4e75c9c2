"""What an object says it wants: maps and programs, before any kernel is asked."""

from __future__ import annotations

from ..btf import VOID, BtfId, CoreRelo, FuncInfo, LineInfo, RawBtf
from ..dataclass import dataclass, field
from ..isa.encoding import Insn
from ..spec.kinds import Section


@dataclass(slots=True)
class MapSpec:
    """One map as the object declares it; sizes in bytes. `contents` fills its first value and `freeze` then closes it.

    May be changed between opening and loading. `pinning` 1 is libbpf's LIBBPF_PIN_BY_NAME. `inner` is the template of
    a map of maps, `slots` what its elements (or a prog array's) are at first: index -> name of a map or program.
    """

    name: str
    type: int
    key_size: int = 0
    value_size: int = 0
    max_entries: int = 0
    flags: int = 0
    extra: int = 0
    numa_node: int = 0
    pinning: int = 0
    key_type_id: BtfId = VOID
    value_type_id: BtfId = VOID
    contents: bytes | None = None
    freeze: bool = False
    inner: MapSpec | None = None
    slots: dict[int, str] = field(default_factory=dict)
    section: str = ""
    variables: bytes = b""  # of an arena: what its first pages hold


@dataclass(frozen=True, slots=True)
class MapReloc:
    """The ld_imm64 at `pc` names a map, or (`value_off` bytes into) its first value."""

    pc: int
    map_name: str
    value_off: int | None = None


@dataclass(frozen=True, slots=True)
class ExternReloc:
    """The instruction at `pc` refers to a symbol outside the object; `call`: a kernel function."""

    pc: int
    name: str
    call: bool
    weak: bool


@dataclass(slots=True)
class ProgSpec:
    """One program with the functions it calls, linked into one stream of instructions.

    Offsets in relocations and infos are instruction numbers of this stream. `autoload` False: a `?` section.
    """

    name: str
    section: str
    kind: Section | None
    target: str
    insns: list[Insn]
    maps: list[MapReloc] = field(default_factory=list)
    externs: list[ExternReloc] = field(default_factory=list)
    core: list[CoreRelo] = field(default_factory=list)
    funcs: list[FuncInfo] = field(default_factory=list)
    lines: list[LineInfo] = field(default_factory=list)
    autoload: bool = True


@dataclass(frozen=True, slots=True)
class Extern:
    """A symbol that kernel or configuration give: `section` is .kconfig or .ksyms, `offset` and `size` its bytes.

    type_id: a variable's type, a function's prototype. typeless: declared as void, known by its address alone.
    """

    name: str
    section: str
    type_id: BtfId
    weak: bool
    offset: int = 0
    size: int = 0
    function: bool = False
    typeless: bool = False


@dataclass(slots=True)
class ObjectSpec:
    """A whole object as opened."""

    name: str
    license: str
    btf: RawBtf | None
    maps: dict[str, MapSpec]
    progs: dict[str, ProgSpec]
    externs: dict[str, Extern]
    file: str = ""
