"""Objects of LLVM put into memory: sections side by side, relocations applied, the pages of code sealed.

What the code generator leaves open in an object of the small code model is little: calls and addresses of outside
symbols, and places in the object's own data. Source: the x86-64 psABI, relocation types. LLVM's own linker wants a
session for each program, and takes most of a millisecond.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterable, Mapping, Sequence

from runtime import Code

from ..dataclass import dataclass
from ..errors import LoadError
from ..program import Binding
from .memory import at

_SHDR, _SYM, _RELA = struct.Struct("<IIQQQQIIQQ"), struct.Struct("<IBBHQQ"), struct.Struct("<QQq")
_SYMTAB, _RELA_SECTION, _NOBITS = 2, 4, 8
_WRITE, _ALLOC = 1, 2
_ABS64, _PC32, _PLT32, _GOTPCREL, _GOTPCRELX, _REX_GOTPCRELX = 1, 2, 4, 9, 41, 42
_BY_TABLE = frozenset({_GOTPCREL, _GOTPCRELX, _REX_GOTPCRELX})
_JUMP = bytes.fromhex("ff2500000000")  # jmp *0(%rip), the address behind it
_MOV, _LEA = 0x8B, 0x8D  # of an address out of the table; the address itself, where it is near
_GATE, _THROUGH = bytes.fromhex("48b8"), bytes.fromhex("48ff4008ff20")  # movabs CELL, %rax; incq 8(%rax); jmp *(%rax)
_STUB_BYTES = 16
_PAGE = 4096
_U64 = (1 << 64) - 1
_NOTHING = ctypes.c_uint64()  # what is kept of a program that no kernel has
# What numbers that make no sense run into.
_DAMAGE = (struct.error, IndexError, KeyError, ValueError, OverflowError, MemoryError, StopIteration)


@dataclass(frozen=True, slots=True)
class Image:
    """A compiled program: the object's bytes, the outside symbols it names, its functions' names in order."""

    data: bytes
    symbols: tuple[str, ...]
    functions: tuple[str, ...]
    tail_calls: bool = False

    @property
    def entries(self) -> tuple[str, str]:
        """Where callers enter, and where tail calls do."""
        return ("prog_enter" if self.tail_calls else "prog", "prog")


class Linked:
    """An object linked into this process: `symbols` are where its functions and data lie, valid until close().

    functions: address and bytes of each of the functions asked for, (0, 0) for one that has no code of its own (inlined, or
    never called). gates: for each entry asked for an address by which whoever comes is counted and sent on, whose aim may
    change.
    """

    def __init__(
        self, data: bytes, outside: Mapping[str, int], functions: Iterable[str] = (), gates: Iterable[str] = ()
    ) -> None:
        """Raises LoadError for an object that is damaged, or asks for more than is known here."""
        self._code: Code | None = None
        self.object_bytes = len(data)
        names = sorted(set(gates))
        self._cells = (ctypes.c_uint64 * (2 * len(names)))()  # of each gate: where it leads, how many came
        try:
            code, places, first_gate = _link(data, outside, len(names), ctypes.addressof(self._cells))
        except _DAMAGE as e:
            raise LoadError(f"object of {len(data)} bytes is damaged: {e}") from None
        self._code = code
        self.symbols = {name: code.addr + place for name, (place, _) in places.items()}
        self.functions = tuple((code.addr + places[n][0], places[n][1]) if n in places else (0, 0) for n in functions)
        self.gates = {name: code.addr + first_gate + _STUB_BYTES * i for i, name in enumerate(names)}
        self.lead(self)

    def lead(self, to: Linked) -> None:
        """Whoever comes by a gate from now on enters the other's code."""
        for i, name in enumerate(self.gates):
            self._cells[2 * i] = to.entry(name)

    def entry(self, name: str) -> int:
        if name not in self.symbols:
            raise LoadError(f"object of {self.object_bytes} bytes without {name}")
        return self.symbols[name]

    @property
    def came(self) -> int:
        """How many came by the gates, about: of two at once one may be lost."""
        return sum(self._cells[1::2])

    def close(self) -> None:
        """Release the code; nobody may be running it."""
        code, self._code = self._code, None
        if code is not None:
            code.close()

    def __del__(self) -> None:
        self.close()


def _link(data: bytes, outside: Mapping[str, int], gates: int, cells: int) -> tuple[Code, dict[str, tuple[int, int]], int]:
    """Code at its place in memory; where in it each named symbol lies, and its bytes; where the first gate lies."""
    at, size, count = struct.unpack_from("<Q", data, 40)[0], *struct.unpack_from("<HH", data, 58)
    headers = [_SHDR.unpack_from(data, at + i * size) for i in range(count)]
    image, places = bytearray(), dict[int, int]()

    def place(writes: int) -> None:
        for index, (_, kind, flags, _, offset, length, _, _, align, _) in enumerate(headers):
            if flags & _ALLOC and flags & _WRITE == writes:
                image.extend(bytes(-len(image) % max(align, 16)))
                places[index] = len(image)
                image.extend(bytes(length) if kind == _NOBITS else data[offset : offset + length])

    place(0)
    symtab = next(h for h in headers if h[1] == _SYMTAB)
    names = headers[symtab[6]][4]
    symbols = [_SYM.unpack_from(data, pos) for pos in range(symtab[4], symtab[4] + symtab[5], _SYM.size)]

    def name(index: int) -> str:
        start = names + symbols[index][0]
        return data[start : data.index(b"\0", start)].decode()

    relocations = [
        (section, *_RELA.unpack_from(data, pos))
        for _, kind, _, _, offset, length, _, section, _, _ in headers
        if kind == _RELA_SECTION and headers[section][2] & _ALLOC
        for pos in range(offset, offset + length, _RELA.size)
    ]
    # Behind the code: a table of addresses, a jump to each outside function that may be too far to call, the gates.
    wanted = sorted({info >> 32 for _, _, info, _ in relocations if symbols[info >> 32][3] == 0})
    image += bytes(-len(image) % 16)
    table = {index: len(image) + 8 * i for i, index in enumerate(wanted)}
    image += bytes(8 * len(wanted))
    image += bytes(-len(image) % 16)
    stubs = {index: len(image) + _STUB_BYTES * i for i, index in enumerate(wanted)}
    addresses = dict[int, int]()
    for index in wanted:
        symbol = name(index)
        found = outside[symbol] if symbol in outside else Code.libc(symbol)
        if not found:
            raise LoadError(f"object with an unknown symbol {symbol}")
        addresses[index] = found & _U64
        address = addresses[index].to_bytes(8, "little")
        image[table[index] : table[index] + 8] = address
        image += (_JUMP + address).ljust(_STUB_BYTES, b"\xcc")
    first_gate = len(image)
    for i in range(gates):
        image += _GATE + (cells + 16 * i).to_bytes(8, "little") + _THROUGH
    sealed = len(image)
    if any(h[2] & (_ALLOC | _WRITE) == _ALLOC | _WRITE for h in headers):
        image += bytes(-len(image) % _PAGE)
        sealed = len(image)
        place(_WRITE)
    code = Code(len(image))
    try:
        for section, offset, info, addend in relocations:
            kind, index = info & 0xFFFFFFFF, info >> 32
            where, owner = places[section] + offset, symbols[index][3]
            if where + (8 if kind == _ABS64 else 4) > len(image):
                raise LoadError(f"object with a relocation at {where:#x} of {len(image):#x} bytes")
            if owner == 0:
                target = addresses[index] - code.addr
                near = -1 << 31 <= target + addend - where < 1 << 31
                if kind == _REX_GOTPCRELX and near and image[where - 2] == _MOV:
                    image[where - 2] = _LEA
                elif kind in _BY_TABLE:
                    target = table[index]
                elif kind == _PLT32 and not near:
                    target = stubs[index]
                elif not near:
                    raise LoadError(f"object with relocation {kind} of symbol {name(index)}, which is far away")
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
        code.seal(bytes(image), sealed)
    except BaseException:
        code.close()
        raise
    return code, {name(i): (places[s[3]] + s[4], s[5]) for i, s in enumerate(symbols) if s[0] and s[3] in places}, first_gate


def addresses(symbols: Sequence[str] | Mapping[str, str], binding: Binding) -> dict[str, int]:
    """Where each outside symbol of a module lies."""
    found = {}
    for name in symbols:
        if name == "rt_this_cpu":  # no address: an offset from the thread's own
            found[name] = at("cpu") % (1 << 64)
        elif name == "own":
            found[name] = binding.own or ctypes.addressof(_NOTHING)
        elif name.startswith("struct"):
            found[name] = binding.struct(int(name.removeprefix("struct")))
        elif name.startswith("map"):
            index, _, what = name[3:].partition(".")
            found[name] = {"": binding.maps, "values": binding.values, "user": binding.users}[what][int(index)]
        else:
            found[name] = binding.helpers[name]
    return found
