"""The vocabulary in which helpers, program types and contexts are described: data, no behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto

from ..btf.record import NOTHING, Special
from ..dataclass import dataclass, field, replace


class ArgKind(Enum):
    """What a helper takes; the names follow the kernel's ARG_*."""

    ANYTHING = auto()
    MAP_PTR = auto()
    MAP_KEY = auto()
    MAP_VALUE = auto()
    UNINIT_MAP_VALUE = auto()  # memory of a value's size that the helper fills
    MEM = auto()  # readable memory, its size in the next argument
    UNINIT_MEM = auto()  # memory that the helper fills, its size in the next argument
    SIZE = auto()  # more than 0
    SIZE_OR_ZERO = auto()
    FIXED_MEM = auto()  # memory of `size` bytes that the helper fills
    HEADER = auto()  # memory of `size` bytes that it reads
    CTX = auto()
    BTF_PTR = auto()  # a pointer to `btf`, or to a structure that holds one at that offset
    CALLBACK = auto()
    STR = auto()  # a constant string in a read-only map
    STACK_OR_NULL = auto()
    ALLOC_SIZE = auto()  # a constant number of bytes, 0 too: the size of the memory returned
    SPIN_LOCK = auto()  # a bpf_spin_lock in a map's value or an object
    KPTR_SLOT = auto()  # where a value or an object keeps a pointer that it owns
    PERCPU = auto()  # memory that each CPU has its own of
    KPTR = auto()  # a pointer that fits there, with its reference
    TIMER = auto()  # a bpf_timer in a map's value
    RINGBUF_MEM = auto()  # a record that was reserved in a ring buffer
    SOCK_COMMON = auto()  # one of the verifier's own pointers to a socket
    SOCKET = auto()  # one of those to a full socket
    DYNPTR = auto()  # one that was made, of the kind in `btf` ("" any)
    NO_FLAGS = auto()  # the constant 0
    UNINIT_DYNPTR = auto()  # two stack slots in which the helper makes one of the kind in `btf`


@dataclass(frozen=True, slots=True)
class Arg:
    """One argument; `size` bytes of FIXED_MEM and HEADER, `btf` the structure's name for BTF_PTR."""

    kind: ArgKind
    nullable: bool = False
    size: int = 0
    btf: str = ""
    expected: str = "ptr_, trusted_ptr_, rcu_ptr_"  # BTF_PTR: what the verifier's log says it should have been

    def or_null(self) -> Arg:
        return replace(self, nullable=True)


ANYTHING = Arg(ArgKind.ANYTHING)
MAP_PTR = Arg(ArgKind.MAP_PTR)
MAP_KEY = Arg(ArgKind.MAP_KEY)
MAP_VALUE = Arg(ArgKind.MAP_VALUE)
UNINIT_MAP_VALUE = Arg(ArgKind.UNINIT_MAP_VALUE)
MEM = Arg(ArgKind.MEM)
UNINIT_MEM = Arg(ArgKind.UNINIT_MEM)
SIZE = Arg(ArgKind.SIZE)
SIZE_OR_ZERO = Arg(ArgKind.SIZE_OR_ZERO)
CTX = Arg(ArgKind.CTX)
CALLBACK = Arg(ArgKind.CALLBACK)
STR = Arg(ArgKind.STR)
STACK_OR_NULL = Arg(ArgKind.STACK_OR_NULL)
ALLOC_SIZE = Arg(ArgKind.ALLOC_SIZE)
RINGBUF_MEM = Arg(ArgKind.RINGBUF_MEM)
SPIN_LOCK = Arg(ArgKind.SPIN_LOCK)
TIMER = Arg(ArgKind.TIMER)
SOCK_COMMON = Arg(ArgKind.SOCK_COMMON)
SOCKET = Arg(ArgKind.SOCKET)
NO_FLAGS = Arg(ArgKind.NO_FLAGS)


def dynptr(kind: str = "") -> Arg:
    return Arg(ArgKind.DYNPTR, btf=kind)


def uninit_dynptr(kind: str) -> Arg:
    return Arg(ArgKind.UNINIT_DYNPTR, btf=kind)


def fixed_mem(size: int) -> Arg:
    return Arg(ArgKind.FIXED_MEM, size=size)


def header(size: int) -> Arg:
    return Arg(ArgKind.HEADER, size=size)


def btf_ptr(name: str) -> Arg:
    return Arg(ArgKind.BTF_PTR, btf=name)


class RetKind(Enum):
    """What a helper leaves in r0."""

    INTEGER = auto()
    VOID = auto()
    MAP_VALUE = auto()
    MAP_VALUE_OR_NULL = auto()
    BTF_PTR = auto()  # a trusted, non-null pointer to `ret_btf`
    BTF_PTR_OR_NULL = auto()  # a plain one
    RINGBUF_MEM_OR_NULL = auto()  # as many bytes as the ALLOC_SIZE argument says
    DYNPTR_MEM_OR_NULL = auto()  # as many bytes of the dynptr as the ALLOC_SIZE argument says
    SOCKET_OR_NULL = auto()
    SOCK_COMMON_OR_NULL = auto()
    TCP_SOCK_OR_NULL = auto()
    CPUS_OWN = auto()  # what one CPU has of the PERCPU argument
    CPUS_OWN_OR_NULL = auto()
    KPTR_OR_NULL = auto()  # what the KPTR_SLOT argument held


INTEGER, VOID, MAP_VALUE_OR_NULL = RetKind.INTEGER, RetKind.VOID, RetKind.MAP_VALUE_OR_NULL


class Callback(Enum):
    """How a helper calls back: which arguments the callback's r1-r5 are."""

    NONE = auto()
    LOOP = auto()  # (u32 index, void *ctx)
    TIMER = auto()  # later, and by itself: (struct bpf_map *map, void *key, void *value)
    MAP_ELEM = auto()  # (struct bpf_map *map, const void *key, void *value, void *ctx)
    VMA = auto()  # (struct task_struct *task, struct vm_area_struct *vma, void *ctx)
    SAMPLE = auto()  # (const struct bpf_dynptr *sample, void *ctx)


@dataclass(frozen=True, slots=True)
class Helper:
    """One helper function.

    `decl` is its C prototype for programs (`%s` stands for the name), `groups` the sets of program
    types that may call it, `symbol` the runtime's function (r1-r5 as u64, u64 back). `inline` names
    the lowering that the JIT knows, `min_ret`/`max_ret` what an INTEGER result is known to lie in.
    `changes_packet`: packet pointers are invalid after the call. `writes_map`: of a map that programs may
    not write it is refused. `map_use`: it takes maps whose row has this use. `acquires`: what it returns is a reference
    that must be given back; `releases`: the argument (1-based) that gives one back; `passes_reference`: the argument
    whose reference the result shares. `by_type`: what it is instead for programs of a type, by its name; `only`: for which
    attach types a program type may call it; `probes`: for which one finds it but may not call it, `hooks` aside.
    Without a `symbol` the simulated kernel has no such helper.
    """

    id: int
    name: str
    decl: str
    args: tuple[Arg, ...]
    ret: RetKind
    symbol: str
    groups: frozenset[str]
    gpl: bool = False
    sleepable: bool = False
    inline: str = ""
    ret_btf: str = ""
    ret_range: tuple[int, int] | None = None
    ret_size_arg: int = 0  # the result is at most the (unsigned) size in this argument, 1-based: probe_read_str
    callback: Callback = Callback.NONE
    changes_packet: bool = False
    writes_map: bool = False
    map_use: str = ""
    passes_reference: int = 0
    takes_packet: bool = False  # what it reads or writes may lie in the packet
    under_lock: bool = False  # it may be called while a bpf_spin_lock is held
    acquires: bool = False
    releases: int = 0
    told_attached: bool = False  # behind its arguments the runtime's function has Facts.attached
    by_type: Mapping[str, Helper] = field(default_factory=dict)
    only: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    probes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    hooks: frozenset[str] = frozenset()


class FieldKind(Enum):
    SCALAR = auto()
    SOCK_COMMON = auto()  # a socket, or NULL
    SOCKET = auto()
    SOCKET_OR_NULL = auto()
    FLOW_KEYS = auto()
    BTF = auto()  # a trusted pointer to the kernel structure `btf`
    PACKET = auto()
    PACKET_META = auto()
    PACKET_END = auto()


@dataclass(frozen=True, slots=True)
class CtxField:
    """A member of a context structure as programs see it: offset and size in bytes.

    Pointers to the packet are 32-bit members in the UAPI; `native` is where the 64-bit pointer lies
    behind the UAPI structure in the runtime's context.
    """

    name: str
    offset: int
    size: int
    kind: FieldKind = FieldKind.SCALAR
    writable: bool = False
    narrow: bool = True  # may be read in parts
    native: int = -1
    readable: bool = True
    widest: int = 8  # bytes of the widest access to an array of words
    at_start: bool = False  # a part of it is read at its first byte only
    parts_written: bool = False  # it may be written in parts: __sk_buff's cb
    btf: str = ""

    @property
    def word(self) -> int:
        """Bytes of its plain access: its own size, or one element of an array of words."""
        return self.size if self.size <= 8 else 4


@dataclass(frozen=True, slots=True)
class CtxLayout:
    """A UAPI context: its structure, size in bytes and fields."""

    struct: str
    size: int
    fields: tuple[CtxField, ...]


class CtxKind(Enum):
    """How a program type's context is accessed."""

    NONE = auto()  # no access at all
    FIELDS = auto()  # a UAPI structure, field by field
    RAW_ARGS = auto()  # u64 args[], 8 bytes each, scalars
    BUFFER = auto()  # plain bytes, read only, up to `ctx_size`
    RW_BUFFER = auto()  # plain bytes of the caller's (syscall programs)
    BTF_ARGS = auto()  # arguments of the function or tracepoint attached to, typed by BTF
    MEMORY = auto()  # r1 is memory of r2 bytes: bare instruction streams (`bpfjit raw`)


@dataclass(frozen=True, slots=True)
class ProgType:
    """One program type: what its context is, which helper groups it may call, what it may return.

    `groups_by_attach` adds groups for one expected attach type; `ret_range` is signed 64-bit bounds.
    `ctx_start`, `ctx_size`: the bytes of a BUFFER that may be read. `loads_packet`: LD_ABS and LD_IND are allowed.
    `kfunc_hook`: by which kfuncs are allowed it (spec/kfuncs.py). `ctx_names`: what functions call the structure that
    r1 points to; `kern_ctx`: the kernel's own for it. `attach_types`: what it may be loaded for (none: 0 only);
    layouts and ret_ranges: what differs by that. writes_argument: the first of its RAW_ARGS is memory that it may write, of
    a size that is known when it is attached.
    """

    id: int
    name: str
    ctx: CtxKind
    groups: frozenset[str]
    layout: CtxLayout | None = None
    ctx_size: int = 0
    ctx_start: int = 0
    ret_range: tuple[int, int] | None = None
    test_run: bool = False
    packet_writable: bool = False
    writes_argument: bool = False
    loads_packet: bool = False
    kfunc_hook: str = ""
    ctx_names: frozenset[str] = frozenset()
    kern_ctx: str = ""
    attach_types: tuple[int, ...] = ()
    layouts: Mapping[int, CtxLayout] = field(default_factory=dict)
    ret_ranges: Mapping[int, tuple[int, int]] = field(default_factory=dict)

    def layout_for(self, attach_type: int) -> CtxLayout | None:
        return self.layouts.get(attach_type, self.layout)

    def ret_range_for(self, attach_type: int) -> tuple[int, int] | None:
        return self.ret_ranges.get(attach_type, self.ret_range)


@dataclass(frozen=True, slots=True)
class MapType:
    """One map type and its rules.

    flags: those of BPF_MAP_CREATE that it takes; `required_flags` must all be set, `unsupported_flags` are answered with
    ENOTSUPP rather than EINVAL, `implied_flags` it has unasked; `extra`: the bits of map_extra. key, value, entries: the
    sizes that it takes (EINVAL outside), of keys and values only those in `keys` and `values` where they are given;
    max_key, max_value: above it E2BIG; max_element: of key and value together. uses: what helpers may do with it
    (Helper.map_use). batch: its batch commands ("lookup", "update", "delete", "take"). fields: the special fields that
    a value may hold. per_cpu: a syscall's value is round_up(value_size, 8) * ncpus bytes. `direct`: its first value may
    be addressed by ld_imm64. walk_order: of its elements ("": the keys' own). `tests`: a lookup asks whether the
    value given is there. btf_key: the kind that its key has in BTF, "" any, "none": no BTF at all. offload: a type
    that a device could hold. holds: what its values are, put in by fd and seen by syscalls as ids: "map", "prog",
    "cgroup"; "device", "cpu" with a program; "sock", "reuseport", "xsk" (kernfs_sim/bpf/net_maps.py). finds: what a
    program's lookup gives in place of a value: "socket" (a reference), "xdp_sock". ring: its memory is a ring of records.
    arena: its memory is pages that programs reach by 32-bit addresses. owner: what a value belongs to, named by an fd.
    sleepable: programs that sleep may use it. inner: it may be a map's inner map. elem_iterator: iter/bpf_map_elem walks
    its elements.
    """

    id: int
    name: str
    flags: int
    uses: frozenset[str]
    key: tuple[int, int] = (1, 0xFFFFFFFF)
    value: tuple[int, int] = (1, 0xFFFFFFFF)
    entries: tuple[int, int] = (1, 0xFFFFFFFF)
    keys: frozenset[int] = frozenset()
    values: frozenset[int] = frozenset()
    max_key: int = 0xFFFFFFFF
    max_value: int = (1 << 31) - 1
    max_element: int = 0
    required_flags: int = 0
    unsupported_flags: int = 0
    implied_flags: int = 0
    extra: int = 0
    batch: frozenset[str] = frozenset()
    fields: Special = NOTHING
    per_cpu: bool = False
    direct: bool = False
    lookup: str = ""
    walk_order: str = ""
    for_each: bool = True
    tests: bool = False
    btf_key: str = ""
    offload: bool = False
    holds: str = ""
    finds: str = ""
    ring: bool = False
    arena: bool = False
    owner: str = ""
    sleepable: bool = True
    inner: bool = True
    elem_iterator: bool = False

    @property
    def redirects_sockets(self) -> bool:
        """Whether it has programs that say where the data of its sockets goes."""
        return self.holds == "sock"

    @property
    def has_programs(self) -> bool:
        """Whether programs that use it must be like those in it. Of devices by number Linux asks no such thing."""
        return self.holds in ("prog", "cpu") or (self.holds == "device" and self.walk_order == "index")


@dataclass(frozen=True, slots=True)
class Section:
    """A section name's meaning: the program type, the expected attach type, whether BTF names the target."""

    prefix: str
    prog_type: str
    attach_type: str = ""
    attach: str = ""  # how Object.attach() attaches it: "", "tp_btf", "raw_tp", "iter", "view", "function"
    btf_prefix: str = ""  # attach target in kernel BTF: prefix + what follows the slash
    btf_kind: str = "func"
    btf_attach: bool = False  # the kernel is told what it attaches to by a BTF id
    sleepable: bool = False
    exact: bool = False
    frags: bool = False  # XDP that takes packets in several buffers
    dumper: bool = False  # what follows the slash is a directory of bpfdump
    unsupported: str = ""  # why the loader cannot load it
