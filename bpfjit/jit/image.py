"""What an emitted object holds: where each function's code lies, and which line record an address comes from."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping

_SHDR, _SYM = struct.Struct("<IIQQQQIIQQ"), struct.Struct("<IBBHQQ")
_SYMTAB, _FUNC, _EXEC = 2, 2, 4


def functions(image: bytes) -> dict[str, tuple[int, int]]:
    """Name -> (offset in the code, bytes) of each function that has code of its own."""
    at, size, count = struct.unpack_from("<Q", image, 40)[0], *struct.unpack_from("<HH", image, 58)
    headers = [_SHDR.unpack_from(image, at + i * size) for i in range(count)]
    found = {}
    for _, kind, _, _, offset, length, link, *_ in headers:
        if kind != _SYMTAB:
            continue
        names = headers[link][4]
        for pos in range(offset, offset + length, _SYM.size):
            name, info, _, section, value, extent = _SYM.unpack_from(image, pos)
            if info & 15 == _FUNC and section < count:
                end = image.index(b"\0", names + name)
                found[image[names + name : end].decode()] = (value, extent)
    return found


def text(image: bytes) -> bytes:
    """The code, before anything is relocated."""
    from elftools.elf.elffile import ELFFile  # late: running programs needs none of it

    section = ELFFile(io.BytesIO(image)).get_section_by_name(".text")
    return bytes(section.data()) if section is not None else b""


def line_offsets(image: bytes) -> Mapping[int, int]:
    """Line record -> the lowest offset of code that comes from it, out of an object with a line table."""
    from elftools.elf.elffile import ELFFile

    found: dict[int, int] = {}
    dwarf = ELFFile(io.BytesIO(image)).get_dwarf_info()
    for unit in dwarf.iter_CUs():
        program = dwarf.line_program_for_CU(unit)
        for entry in program.get_entries() if program is not None else ():
            state = entry.state
            if state is not None and state.line and not state.end_sequence:
                found[state.line] = min(state.address, found.get(state.line, state.address))
    return found
