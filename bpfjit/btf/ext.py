"""BTF.ext: which instruction is which function, line and CO-RE relocation.

Source: Documentation/bpf/btf.rst, ".BTF.ext section"; record sizes may grow, so their stated size is honoured.
"""

from __future__ import annotations

import struct

from ..dataclass import dataclass
from ..errors import BtfError
from .parse import RawBtf
from .types import BtfId

_MAGIC = 0xEB9F


@dataclass(frozen=True, slots=True)
class FuncInfo:
    """insn_off: bytes into the section until the linker makes it instructions of a program."""

    insn_off: int
    type_id: BtfId


@dataclass(frozen=True, slots=True)
class LineInfo:
    insn_off: int
    file_name_off: int
    line_off: int
    line_col: int

    @property
    def line(self) -> int:
        return self.line_col >> 10

    @property
    def column(self) -> int:
        return self.line_col & 0x3FF


@dataclass(frozen=True, slots=True)
class CoreRelo:
    """A CO-RE relocation: `access` is the field path ("0:1:2") or the index of an enumerator."""

    insn_off: int
    type_id: BtfId
    access: str
    kind: int


@dataclass(frozen=True, slots=True)
class BtfExt:
    funcs: dict[str, tuple[FuncInfo, ...]]
    lines: dict[str, tuple[LineInfo, ...]]
    relos: dict[str, tuple[CoreRelo, ...]]


_Row = tuple[int, ...]


def _sections(data: bytes, btf: RawBtf, start: int, length: int, fields: str) -> dict[str, list[_Row]]:
    """One subsection: record size, then for each ELF section its name, count and records."""
    if length == 0:
        return {}
    form = struct.Struct(fields)
    end = start + length
    if end > len(data) or length < 4:
        raise BtfError("BTF.ext subsection reaches past the end", offset=start)
    (rec_size,) = struct.unpack_from("<I", data, start)
    if rec_size < form.size or rec_size % 4:
        raise BtfError(f"BTF.ext record of {rec_size} bytes, wanted at least {form.size}", offset=start)
    pos = start + 4
    found: dict[str, list[_Row]] = {}
    while pos < end:
        if end - pos < 8:
            raise BtfError("BTF.ext subsection ends inside a header", offset=pos)
        name_off, count = struct.unpack_from("<II", data, pos)
        pos += 8
        if count == 0 or count * rec_size > end - pos:
            raise BtfError(f"BTF.ext section with {count} records of {rec_size} bytes does not fit", offset=pos)
        rows = [form.unpack_from(data, pos + i * rec_size) for i in range(count)]
        found.setdefault(btf.string(name_off), []).extend(rows)
        pos += count * rec_size
    return found


def parse_btf_ext(data: bytes, btf: RawBtf) -> BtfExt:
    """Parse a .BTF.ext section whose names and types are in `btf`. Raises BtfError."""
    if len(data) < 24:
        raise BtfError(f"BTF.ext of {len(data)} bytes, shorter than its 24-byte header")
    magic, version, _flags, hdr_len = struct.unpack_from("<HBBI", data)
    if magic != _MAGIC or version != 1:
        raise BtfError(f"BTF.ext magic {magic:#06x} version {version}, wanted {_MAGIC:#06x} version 1")
    if hdr_len < 24 or hdr_len > len(data):
        raise BtfError(f"BTF.ext header of {hdr_len} bytes")
    f_off, f_len, l_off, l_len = struct.unpack_from("<IIII", data, 8)
    c_off, c_len = struct.unpack_from("<II", data, 24) if hdr_len >= 32 else (0, 0)
    funcs = _sections(data, btf, hdr_len + f_off, f_len, "<II")
    lines = _sections(data, btf, hdr_len + l_off, l_len, "<IIII")
    relos = _sections(data, btf, hdr_len + c_off, c_len, "<IIII")
    for rows in funcs.values():
        for _, type_id in rows:
            btf.type(type_id)
    return BtfExt(
        {s: tuple(FuncInfo(o, BtfId(t)) for o, t in rows) for s, rows in funcs.items()},
        {s: tuple(LineInfo(*row) for row in rows) for s, rows in lines.items()},
        {s: tuple(CoreRelo(o, BtfId(t), btf.string(a), k) for o, t, a, k in rows) for s, rows in relos.items()},
    )
