"""How the generated UAPI structures are packed: the base of every class in bpf.py."""

from __future__ import annotations

import struct
from typing import Any, ClassVar, Self

from ..dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Layout:
    """A UAPI structure: its size and, by (dotted) name, each member's offset and size in bytes."""

    size: int
    fields: dict[str, tuple[int, int]]


class Attr:
    """One command's part of union bpf_attr, little-endian.

    Integers are unsigned unless the header says otherwise; pointers are addresses in the caller's memory.
    """

    SIZE: ClassVar[int]
    FORM: ClassVar[struct.Struct]
    FIELDS: ClassVar[tuple[str, ...]]
    OFFSETS: ClassVar[dict[str, int]]

    def pack(self) -> bytes:
        """The bytes that cross bpf(2); SIZE of them."""
        return self.FORM.pack(*[getattr(self, name) for name in self.FIELDS])

    @classmethod
    def unpack(cls, data: bytes | bytearray | memoryview) -> Self:
        """Read the structure from attr bytes; what is not there is zero, what is more is ignored."""
        if len(data) < cls.SIZE:
            data = bytes(data) + bytes(cls.SIZE - len(data))
        return cls(*cls.FORM.unpack_from(data))

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # each generated dataclass has its own
        raise TypeError("Attr is a base class")
