"""The control socket's messages: bpf(2) and a little more for a simulated kernel in another process.

One SOCK_SEQPACKET packet is one message: HEADER (kind, code, number), then a payload. The server greets with a RETURN
of VERSION and who it is as JSON, or with why it will not talk. Then the client asks, and serves READ and WRITE on its
own memory until RETURN comes, so that pointers in attr are the client's own.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct

VERSION = 1
HEADER = Struct("<IiQ")
CHUNK_BYTES = 1 << 16  # the largest payload of READ, WRITE, ANSWER and of an fd's data
PACKET_BYTES = HEADER.size + CHUNK_BYTES


class Ask(IntEnum):
    """What a client says."""

    CALL = 2  # code: bpf command; payload: attr. RETURN has attr as it is afterwards
    CLOSE = 3  # code: fd
    READ_FD = 4  # code: fd, number: bytes at most. RETURN has them
    FIRE = 5  # payload: an event as JSON, by a scenario's keys
    CONFIG = 6  # RETURN has the kernel's configuration as JSON
    SYMBOLS = 7  # payload: names as JSON. RETURN has addresses
    FDINFO = 9  # code: fd. RETURN has the lines of its fdinfo
    KNOWN = 10  # of known programs; payload: a request as JSON ("do" and what it wants). RETURN has the answer as JSON
    OPEN = 11  # payload: a path of the simulated system. RETURN has an fd of it, open for reading
    ANSWER = 8  # to READ and WRITE. code: 0 or an errno; payload: the bytes read


class Say(IntEnum):
    """What a server says."""

    READ = 16  # number: address, code: bytes
    WRITE = 17  # number: address; payload: bytes
    # code: 0 or an errno, number: the result. After an errno, number bytes of the payload are attr, the rest says why.
    RETURN = 18
    USAGE = 19  # payload: why what was asked makes no sense


def pack(kind: int, code: int = 0, number: int = 0, payload: bytes | bytearray | memoryview = b"") -> bytes:
    return HEADER.pack(kind, code, number) + payload


def unpack(packet: bytes) -> tuple[int, int, int, bytes]:
    """(kind, code, number, payload). Raises ValueError for what is no message."""
    if not HEADER.size <= len(packet) <= PACKET_BYTES:
        raise ValueError(f"packet of {len(packet)} bytes")
    return *HEADER.unpack_from(packet), packet[HEADER.size :]
