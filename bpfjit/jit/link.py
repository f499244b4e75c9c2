"""Objects of the JIT put into memory without LLVM: for code that was compiled before, by us or for everybody.

What the code generator leaves open in an object of the small code model is little: calls and addresses of outside
symbols, and places in the object's own constants. Source: the x86-64 psABI, relocation types.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from runtime import Code

from ..dataclass import dataclass
from ..errors import LoadError
from ..program import Binding
from .image import functions
from .memory import at

_SHDR, _SYM, _RELA = struct.Struct("<IIQQQQIIQQ"), struct.Struct("<IBBHQQ"), struct.Struct("<QQq")
_SYMTAB, _RELA_SECTION, _NOBITS, _ALLOC = 2, 4, 8, 2
_ABS64, _PC32, _PLT32, _GOTPCREL, _GOTPCRELX, _REX_GOTPCRELX = 1, 2, 4, 9, 41, 42
_BY_TABLE = frozenset({_GOTPCREL, _GOTPCRELX, _REX_GOTPCRELX})
_JUMP = bytes.fromhex("ff2500000000")  # jmp *0(%rip), the address behind it
_STUB_BYTES = 16
_U64 = (1 << 64) - 1
# What numbers that make no sense run into.
_DAMAGE = (struct.error, IndexError, KeyError, ValueError, OverflowError, MemoryError, StopIteration)


@dataclass(frozen=True, slots=True)
class Image:
    """A compiled program: the object's bytes, the outside symbols it names, its functions' names in order."""

    data: bytes
    symbols: tuple[str, ...]
    functions: tuple[str, ...]
    tail_calls: bool = False


class LinkedCode:
    """Native code in memory of its own; as jit.Native, `addr` is the entry until close(), `tail_addr` a tail call's."""

    optimised = True  # once and for all, by whoever compiled it
    runs = 0

    def __init__(self, image: Image, binding: Binding) -> None:
        """Raises LoadError for an object that asks for more than is known here."""
        self.object_bytes = len(image.data)
        try:
            extents = functions(image.data)
            code, defined = _link(image.data, addresses(image.symbols, binding))
        except _DAMAGE as e:
            raise LoadError(f"object of {len(image.data)} bytes is damaged: {e}") from None
        self._code: Code | None = code
        if "prog" not in defined or "prog" not in extents or (image.tail_calls and "prog_enter" not in defined):
            code.close()
            raise LoadError(f"object of {len(image.data)} bytes without an entry")
        self.tail_addr = code.addr + defined["prog"]
        self.addr = code.addr + defined["prog_enter"] if image.tail_calls else self.tail_addr
        places = (extents.get(name) for name in image.functions)
        base = self.tail_addr - extents["prog"][0]
        self.functions = tuple((base + at[0], at[1]) if at else (0, 0) for at in places)

    def close(self) -> None:
        """Release the code; nobody may be running it."""
        code, self._code = self._code, None
        if code is not None:
            code.close()
            self.addr = 0


def _link(data: bytes, outside: Mapping[str, int]) -> tuple[Code, dict[str, int]]:
    """Code at its place in memory, and where in it each global symbol lies."""
    at, size, count = struct.unpack_from("<Q", data, 40)[0], *struct.unpack_from("<HH", data, 58)
    headers = [_SHDR.unpack_from(data, at + i * size) for i in range(count)]
    image, places = bytearray(), {}
    for index, (_, kind, flags, _, offset, length, _, _, align, _) in enumerate(headers):
        if flags & _ALLOC:
            image += bytes(-len(image) % max(align, 16))
            places[index] = len(image)
            image += bytes(length) if kind == _NOBITS else data[offset : offset + length]
    symtab = next(h for h in headers if h[1] == _SYMTAB)
    names = headers[symtab[6]][4]
    symbols = [_SYM.unpack_from(data, pos) for pos in range(symtab[4], symtab[4] + symtab[5], _SYM.size)]

    def name(index: int) -> str:
        start = names + symbols[index][0]
        return data[start : data.index(b"\0", start)].decode()

    relocations = [
        (places[info], *_RELA.unpack_from(data, pos))
        for _, kind, _, _, offset, length, _, info, _, _ in headers
        if kind == _RELA_SECTION and info in places
        for pos in range(offset, offset + length, _RELA.size)
    ]
    # Behind the sections: a table of addresses, and a jump to each outside function that may be too far to call.
    wanted = sorted({info >> 32 for _, _, info, _ in relocations if symbols[info >> 32][3] == 0})
    image += bytes(-len(image) % 16)
    table = {index: len(image) + 8 * i for i, index in enumerate(wanted)}
    image += bytes(8 * len(wanted))
    image += bytes(-len(image) % 16)
    stubs = {index: len(image) + _STUB_BYTES * i for i, index in enumerate(wanted)}
    image += bytes(_STUB_BYTES * len(wanted))
    for index in wanted:
        symbol = name(index)
        found = outside[symbol] if symbol in outside else Code.libc(symbol)
        if not found:
            raise LoadError(f"object with an unknown symbol {symbol}")
        address = (found & _U64).to_bytes(8, "little")
        image[table[index] : table[index] + 8] = address
        image[stubs[index] : stubs[index] + _STUB_BYTES] = (_JUMP + address).ljust(_STUB_BYTES, b"\xcc")
    code = Code(len(image))
    try:
        for section, offset, info, addend in relocations:
            kind, index = info & 0xFFFFFFFF, info >> 32
            where, owner = section + offset, symbols[index][3]
            if where + 8 > len(image):
                raise LoadError(f"object with a relocation at {where:#x} of {len(image):#x} bytes")
            if owner == 0:
                target = table[index] if kind in _BY_TABLE else stubs[index]
            elif owner in places and kind not in _BY_TABLE:
                target = places[owner] + symbols[index][4]
            else:
                raise LoadError(f"object with relocation {kind} of symbol {name(index) or index}")
            if kind in (_PC32, _PLT32) or kind in _BY_TABLE:
                image[where : where + 4] = (target + addend - where & 0xFFFFFFFF).to_bytes(4, "little")
            elif kind == _ABS64 and owner:
                image[where : where + 8] = (code.addr + target + addend & _U64).to_bytes(8, "little")
            else:
                raise LoadError(f"object with relocation {kind} of symbol {name(index) or index}")
        code.seal(bytes(image))
    except BaseException:
        code.close()
        raise
    return code, {name(i): places[s[3]] + s[4] for i, s in enumerate(symbols) if s[3] in places and s[1] >> 4}


def addresses(symbols: Sequence[str] | Mapping[str, str], binding: Binding) -> dict[str, int]:
    """Where each outside symbol of a module lies."""
    found = {}
    for name in symbols:
        if name == "rt_this_cpu":  # no address: an offset from the thread's own
            found[name] = at("cpu") % (1 << 64)
        elif name.startswith("map"):
            index, _, values = name[3:].partition(".")
            found[name] = (binding.values if values else binding.maps)[int(index)]
        else:
            found[name] = binding.helpers[name]
    return found
