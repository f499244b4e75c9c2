"""Looking into a kernel through bpf(2): objects by id, name, tag or pin, and what they tell about themselves."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping

from ..btf import RawBtf, parse_btf
from ..dataclass import dataclass
from ..errors import BtfError
from ..uapi import bpf as uapi
from .bpf import Bpf, Buffers, OpenBpf, kernel_btf


@dataclass(frozen=True, slots=True)
class ObjectKind:
    """A kind of object: the commands that find it, its info structure."""

    name: str
    next_id: int
    by_id: int
    info: str


KINDS = {
    row.name: row
    for row in (
        ObjectKind("prog", uapi.BPF_PROG_GET_NEXT_ID, uapi.BPF_PROG_GET_FD_BY_ID, "bpf_prog_info"),
        ObjectKind("map", uapi.BPF_MAP_GET_NEXT_ID, uapi.BPF_MAP_GET_FD_BY_ID, "bpf_map_info"),
        ObjectKind("link", uapi.BPF_LINK_GET_NEXT_ID, uapi.BPF_LINK_GET_FD_BY_ID, "bpf_link_info"),
        ObjectKind("btf", uapi.BPF_BTF_GET_NEXT_ID, uapi.BPF_BTF_GET_FD_BY_ID, "bpf_btf_info"),
    )
}


def ids(bpf: Bpf, kind: str) -> Iterator[int]:
    """The ids of all living objects of a kind, ascending. Raises OSError (EPERM)."""
    attr = uapi.GetId()
    while True:
        raw = bytearray(attr.pack())
        try:
            bpf(KINDS[kind].next_id, raw)
        except FileNotFoundError:
            return
        attr = uapi.GetId(start_id=uapi.GetId.unpack(raw).next_id)
        yield attr.start_id


def open_id(bpf: Bpf, kind: str, number: int) -> int:
    """An fd of the object with that id. Raises OSError (ENOENT)."""
    return bpf(KINDS[kind].by_id, bytearray(uapi.GetId(start_id=number).pack()))


def open_pin(bpf: Bpf, path: str) -> int:
    """An fd of what is pinned there. Raises OSError."""
    keep = Buffers()
    return bpf(uapi.BPF_OBJ_GET, bytearray(uapi.Obj(pathname=keep.put(os.fsencode(path) + b"\0")).pack()))


class Info:
    """An info structure as the kernel filled it; members by name, `name` as text."""

    def __init__(self, struct: str, data: bytes, arrays: Mapping[str, bytes]) -> None:
        self.struct = struct
        self.data = data
        self.arrays = arrays

    def __getitem__(self, member: str) -> int:
        offset, size = uapi.LAYOUTS[self.struct].fields[member]
        return int.from_bytes(self.data[offset : offset + size], "little")

    @property
    def name(self) -> str:
        offset, size = uapi.LAYOUTS[self.struct].fields["name"]
        return self.data[offset : offset + size].split(b"\0")[0].decode("utf-8", "replace")

    def words(self, array: str, size: int = 4) -> list[int]:
        raw = self.arrays[array]
        return [int.from_bytes(raw[i : i + size], "little") for i in range(0, len(raw), size)]


# Arrays of the info structures: pointer -> (the member with its length, bytes of an element, the record size's member).
ARRAYS: dict[str, tuple[str, int, str]] = {
    "map_ids": ("nr_map_ids", 4, ""),
    "xlated_prog_insns": ("xlated_prog_len", 1, ""),
    "jited_prog_insns": ("jited_prog_len", 1, ""),
    "jited_ksyms": ("nr_jited_ksyms", 8, ""),
    "jited_func_lens": ("nr_jited_func_lens", 4, ""),
    "func_info": ("nr_func_info", 8, "func_info_rec_size"),
    "line_info": ("nr_line_info", 16, "line_info_rec_size"),
    "jited_line_info": ("nr_jited_line_info", 8, "jited_line_info_rec_size"),
    "prog_tags": ("nr_prog_tags", 8, ""),
    "btf": ("btf_size", 1, ""),
    "raw_tracepoint.tp_name": ("raw_tracepoint.tp_name_len", 1, ""),
    "iter.target_name": ("iter.target_name_len", 1, ""),
}
_NAME_BYTES = 256


def get_info(bpf: Bpf, fd: int, kind: str, *arrays: str) -> Info:
    """What an object tells about itself, with those arrays whole. Raises OSError."""
    struct = KINDS[kind].info
    layout = uapi.LAYOUTS[struct]
    first = _ask(bpf, fd, struct, bytearray(layout.size))
    if not arrays:
        return Info(struct, first, {})
    given, keep, room = bytearray(layout.size), Buffers(), {}

    def put(member: str, value: int) -> None:
        offset, size = layout.fields[member]
        given[offset : offset + size] = value.to_bytes(size, "little")

    told = Info(struct, first, {})
    for array in arrays:
        length, size, record = ARRAYS[array]
        count = told[length]
        room[array] = bytearray(count * size)
        if count:
            put(array, keep.put(room[array]))
            put(length, count)
            if record:
                put(record, size)
    return Info(struct, _ask(bpf, fd, struct, given), {a: bytes(b) for a, b in room.items()})


def _ask(bpf: Bpf, fd: int, struct: str, data: bytearray) -> bytes:
    keep = Buffers()
    bpf(uapi.BPF_OBJ_GET_INFO_BY_FD, bytearray(uapi.GetInfo(bpf_fd=fd, info_len=len(data), info=keep.put(data)).pack()))
    return bytes(data)


def link_text(bpf: Bpf, fd: int, pointer: str) -> str:
    """A name that link info has: it is asked for with a buffer, as a length alone is refused."""
    struct, layout = "bpf_link_info", uapi.LAYOUTS["bpf_link_info"]
    given, keep, name = bytearray(layout.size), Buffers(), bytearray(_NAME_BYTES)
    for member, value in ((pointer, keep.put(name)), (ARRAYS[pointer][0], len(name))):
        offset, size = layout.fields[member]
        given[offset : offset + size] = value.to_bytes(size, "little")
    _ask(bpf, fd, struct, given)
    return name.split(b"\0")[0].decode("utf-8", "replace")


def btf_name(bpf: Bpf, fd: int) -> str:
    """What BTF is called ("vmlinux"), "" for what has no name."""
    layout = uapi.LAYOUTS["bpf_btf_info"]
    given, keep, name = bytearray(layout.size), Buffers(), bytearray(_NAME_BYTES)
    for member, value in (("name", keep.put(name)), ("name_len", len(name))):
        offset, size = layout.fields[member]
        given[offset : offset + size] = value.to_bytes(size, "little")
    _ask(bpf, fd, "bpf_btf_info", given)
    return name.split(b"\0")[0].decode("utf-8", "replace")


def fdinfo(bpf: OpenBpf, fd: int) -> dict[str, str]:
    """The lines of an fd's fdinfo, by key."""
    lines = (line.partition(":") for line in bpf.fdinfo(fd).splitlines())
    return {key: value.strip() for key, _, value in lines}


def btf_by_id(bpf: Bpf, number: int) -> RawBtf:
    """The types with that BTF id. Raises OSError; BtfError for a module's, which stand on the kernel's and are not read."""
    if number == 1:
        return kernel_btf(bpf)
    fd = open_id(bpf, "btf", number)
    try:
        info = get_info(bpf, fd, "btf", "btf")
    finally:
        bpf.close(fd)
    if info["kernel_btf"]:
        raise BtfError(f"BTF {number} is a module's, built upon the kernel's")
    return parse_btf(info.arrays["btf"])


class MapFd:
    """A map in a kernel by its fd: its shape, and its elements as bytes (per-CPU maps: every CPU's value, 8-aligned)."""

    def __init__(self, bpf: OpenBpf, fd: int) -> None:
        self.bpf = bpf
        self.fd = fd
        self.info = get_info(bpf, fd, "map")
        self.key_size, self.value_size = self.info["key_size"], self.info["value_size"]

    @property
    def per_cpu(self) -> bool:
        return self.info["type"] in PER_CPU

    @property
    def stride(self) -> int:
        """Bytes from one CPU's value to the next."""
        return -(-self.value_size // 8) * 8

    @property
    def value_bytes(self) -> int:
        return self.stride * self.bpf.possible_cpus() if self.per_cpu else self.value_size

    def call(self, cmd: int, key: bytes | bytearray, value: bytes | bytearray = b"", flags: int = 0) -> None:
        keep = Buffers()
        attr = uapi.MapElem(map_fd=self.fd, key=keep.put(key), value=keep.put(value), flags=flags)
        self.bpf(cmd, bytearray(attr.pack()))

    def lookup(self, key: bytes, cmd: int = uapi.BPF_MAP_LOOKUP_ELEM) -> bytes:
        """Raises OSError (ENOENT)."""
        value = bytearray(self.value_bytes)
        self.call(cmd, key, value)
        return bytes(value)

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:
        self.call(uapi.BPF_MAP_UPDATE_ELEM, key, value, flags)

    def next_key(self, key: bytes | None) -> bytes:
        """Raises OSError (ENOENT) at the end."""
        following = bytearray(self.key_size)
        self.call(uapi.BPF_MAP_GET_NEXT_KEY, key or b"", following)
        return bytes(following)

    def all_keys(self) -> Iterator[bytes]:
        key: bytes | None = None
        while True:
            try:
                key = self.next_key(key)
            except OSError as e:
                if e.errno == errno.ENOENT:
                    return
                raise
            yield key


PER_CPU = frozenset(
    {
        uapi.BPF_MAP_TYPE_PERCPU_HASH,
        uapi.BPF_MAP_TYPE_PERCPU_ARRAY,
        uapi.BPF_MAP_TYPE_LRU_PERCPU_HASH,
        uapi.BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE,
    }
)
