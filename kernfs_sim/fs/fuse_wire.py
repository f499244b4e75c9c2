"""The bytes of /dev/fuse: requests as rows, and the replies' structures. No file system here, and no system call.

Numbers and layouts are those of <linux/fuse.h>, protocol 7.31 to 7.45; all of it little-endian.
"""

from __future__ import annotations

import errno
from enum import Enum, auto
from struct import Struct

from bpfjit.dataclass import dataclass

MAJOR, MINOR, OLDEST_MINOR = 7, 38, 31  # what we speak; older kernels than Linux 5.4 are refused
ROOT_ID = 1
MAX_PAGES = 256
MAX_WRITE = 128 << 10
BUFFER_BYTES = MAX_WRITE + 4096  # what a read of the device must have room for

# INIT flags that we take up, where the kernel offers them.
ATOMIC_O_TRUNC, BIG_WRITES, ASYNC_DIO = 1 << 3, 1 << 5, 1 << 15
DO_READDIRPLUS, READDIRPLUS_AUTO, PARALLEL_DIROPS = 1 << 13, 1 << 14, 1 << 18
HANDLE_KILLPRIV, ABORT_ERROR, MAX_PAGES_FLAG = 1 << 19, 1 << 21, 1 << 22
WANTED = (
    ATOMIC_O_TRUNC | BIG_WRITES | ASYNC_DIO | DO_READDIRPLUS | READDIRPLUS_AUTO | PARALLEL_DIROPS | HANDLE_KILLPRIV
    | ABORT_ERROR | MAX_PAGES_FLAG
)  # fmt: skip

FOPEN_DIRECT_IO, FOPEN_NONSEEKABLE, FOPEN_NOFLUSH = 1 << 0, 1 << 2, 1 << 5
FATTR_MODE, FATTR_UID, FATTR_GID, FATTR_SIZE, FATTR_ATIME, FATTR_MTIME = (1 << bit for bit in range(6))
FATTR_MTIME_NOW = 1 << 8
RENAME_NOREPLACE = 1
POLL_SCHEDULE_NOTIFY = 1
# Attributes and names hold until we say otherwise: some thirty years.
FOREVER_S = 1 << 30


class Tail(Enum):
    """What follows a request's fixed part."""

    NOTHING = auto()
    NAME = auto()  # one NUL-terminated name
    NAMES = auto()  # two of them
    DATA = auto()  # as many bytes as the request says
    ANY = auto()  # not looked at


@dataclass(frozen=True, slots=True)
class Op:
    """A request: its number, name, fixed part, tail; `silent`: it gets no reply."""

    number: int
    name: str
    body: Struct
    tail: Tail = Tail.NOTHING
    silent: bool = False


def _op(number: int, name: str, body: str = "", tail: Tail = Tail.NOTHING, *, silent: bool = False) -> Op:
    return Op(number, name, Struct("<" + body), tail, silent)


OPS = (
    _op(1, "lookup", "", Tail.NAME),
    _op(2, "forget", "Q", silent=True),  # nlookup
    _op(3, "getattr", "IIQ"),  # flags, -, fh
    _op(4, "setattr", "IIQQQQQQIIIIIIII"),  # see SETATTR
    _op(5, "readlink"),
    _op(6, "symlink", "", Tail.NAMES),  # name, target
    _op(8, "mknod", "IIII", Tail.NAME),  # mode, rdev, umask, -
    _op(9, "mkdir", "II", Tail.NAME),  # mode, umask
    _op(10, "unlink", "", Tail.NAME),
    _op(11, "rmdir", "", Tail.NAME),
    _op(12, "rename", "Q", Tail.NAMES),  # newdir
    _op(13, "link", "Q", Tail.NAME),  # oldnodeid
    _op(14, "open", "II"),  # flags, open_flags
    _op(15, "read", "QQIIQII"),  # fh, offset, size, read_flags, lock_owner, flags, -
    _op(16, "write", "QQIIQII", Tail.DATA),  # fh, offset, size, write_flags, lock_owner, flags, -
    _op(17, "statfs"),
    _op(18, "release", "QIIQ"),  # fh, flags, release_flags, lock_owner
    _op(20, "fsync", "QII"),  # fh, flags, -
    _op(21, "setxattr", "II", Tail.ANY),
    _op(22, "getxattr", "II", Tail.NAME),  # size, -
    _op(23, "listxattr", "II"),  # size, -
    _op(24, "removexattr", "", Tail.NAME),
    _op(25, "flush", "QIIQ"),  # fh, -, -, lock_owner
    _op(26, "init", "IIII", Tail.ANY),  # major, minor, max_readahead, flags
    _op(27, "opendir", "II"),  # flags, -
    _op(28, "readdir", "QQIIQII"),  # as read
    _op(29, "releasedir", "QIIQ"),  # as release
    _op(30, "fsyncdir", "QII"),  # as fsync
    _op(34, "access", "II"),  # mask, -
    _op(35, "create", "IIII", Tail.NAME),  # flags, mode, umask, open_flags
    _op(36, "interrupt", "Q", silent=True),  # unique
    _op(38, "destroy", "", Tail.ANY),
    _op(39, "ioctl", "QIIQII", Tail.ANY),  # fh, flags, cmd, arg, in_size, out_size
    _op(40, "poll", "QQII"),  # fh, kh, flags, events
    _op(41, "notify_reply", "", Tail.ANY, silent=True),
    _op(42, "batch_forget", "II", Tail.ANY, silent=True),  # count, -
    _op(44, "readdirplus", "QQIIQII"),  # as read
    _op(45, "rename2", "QII", Tail.NAMES),  # newdir, flags, -
    _op(46, "lseek", "QQII"),  # fh, offset, whence, -
)
OP_BY_NUMBER = {op.number: op for op in OPS}

HEADER = Struct("<IIQQIIIHH")  # len, opcode, unique, nodeid, uid, gid, pid, total_extlen, -
REPLY = Struct("<IiQ")  # len, error, unique
FORGET_ONE = Struct("<QQ")  # nodeid, nlookup
INIT_OUT = Struct("<IIIIHHIIHHI28x")
ATTR_OUT = Struct("<QII" + (ATTR := "QQQQQQIIIIIIIIII"))
ENTRY_OUT = Struct("<QQQQII" + ATTR)
OPEN_OUT = Struct("<QII")  # fh, open_flags, -
WRITE_OUT = Struct("<II")
STATFS_OUT = Struct("<QQQQQIIII24x")
DIRENT = Struct("<QQII")  # ino, off, namelen, type
POLL_OUT = Struct("<II")
LSEEK_OUT = Struct("<Q")
NOTIFY_POLL, INVAL_INODE, INVAL_ENTRY = 1, 2, 3  # notifications: REPLY with unique 0 and one of these as the error
NOTIFY_POLL_OUT = Struct("<Q")  # kh
INVAL_INODE_OUT = Struct("<Qqq")
INVAL_ENTRY_OUT = Struct("<QII")


@dataclass(frozen=True, slots=True)
class Request:
    """One request, taken apart. `names` has the names of its tail, `data` a write's bytes or an unread tail."""

    op: Op
    unique: int
    nodeid: int
    uid: int
    gid: int
    pid: int
    fields: tuple[int, ...]
    names: tuple[str, ...] = ()
    data: bytes = b""


class Malformed(Exception):
    """A request that the kernel would not write: `unique` to refuse it by, 0 where there is none, and the errno."""

    def __init__(self, why: str, unique: int = 0, number: int = errno.EIO) -> None:
        super().__init__(why)
        self.unique = unique
        self.errno = number


def parse(raw: bytes | memoryview) -> Request:
    """A request from what one read of the device gave. Raises Malformed; ENOSYS for an unknown one."""
    if len(raw) < HEADER.size:
        raise Malformed(f"request of {len(raw)} bytes")
    length, number, unique, nodeid, uid, gid, pid, ext_words, _ = HEADER.unpack_from(raw)
    if length != len(raw):
        raise Malformed(f"request says it has {length} bytes, has {len(raw)}", unique)
    op = OP_BY_NUMBER.get(number)
    if op is None:
        raise Malformed(f"request {number} is unknown", unique, errno.ENOSYS)
    start = HEADER.size + op.body.size
    end = length - 8 * ext_words  # extensions (supplementary groups) stand last; we ask for none
    if end < start:
        raise Malformed(f"{op.name} of {length} bytes is cut short", unique)
    fields = op.body.unpack_from(raw, HEADER.size)
    tail = b""
    names: tuple[str, ...] = ()
    if op.tail is not Tail.NOTHING:
        tail = bytes(raw[start:end])
        if op.tail is Tail.DATA:
            if len(tail) < fields[2]:
                raise Malformed(f"{op.name} of {fields[2]} bytes has {len(tail)}", unique)
            tail = tail[: fields[2]]
        elif op.tail is not Tail.ANY:
            names, tail = _names(op, tail, unique), b""
    return Request(op, unique, nodeid, uid, gid, pid, fields, names, tail)


def _names(op: Op, tail: bytes, unique: int) -> tuple[str, ...]:
    count = 2 if op.tail is Tail.NAMES else 1
    parts = tail.split(b"\0")
    if len(parts) <= count:
        raise Malformed(f"{op.name}: a name has no end", unique)
    names = tuple(part.decode("utf-8", "surrogateescape") for part in parts[:count])
    # A symbolic link's target is a path; every other name stands for an entry of a directory.
    if any("/" in name for name in (names[:1] if op.name == "symlink" else names)):
        raise Malformed(f"{op.name}: a name has a slash", unique)
    return names


def forgets(request: Request) -> list[tuple[int, int]]:
    """(node, lookups to forget) of a FORGET or BATCH_FORGET; a batch that is cut short counts as far as it goes."""
    if request.op.name == "forget":
        return [(request.nodeid, request.fields[0])]
    whole = min(request.fields[0], len(request.data) // FORGET_ONE.size)
    return [FORGET_ONE.unpack_from(request.data, i * FORGET_ONE.size) for i in range(whole)]


def reply(unique: int, body: bytes = b"") -> bytes:
    return REPLY.pack(REPLY.size + len(body), 0, unique) + body


def refusal(unique: int, number: int) -> bytes:
    """A reply of nothing but an errno. The device takes 1 to 511 only; the kernel's own errnos become EIO."""
    return REPLY.pack(REPLY.size, -number if 0 < number < 512 else -errno.EIO, unique)


def notify_poll(kernel_handle: int) -> bytes:
    """Tell the kernel that those who poll an open file shall ask again."""
    return REPLY.pack(REPLY.size + NOTIFY_POLL_OUT.size, NOTIFY_POLL, 0) + NOTIFY_POLL_OUT.pack(kernel_handle)


def inval_inode(nodeid: int) -> bytes:
    """Tell the kernel that a node's attributes (no data of ours is cached) are not what they were."""
    body = INVAL_INODE_OUT.pack(nodeid, -1, 0)
    return REPLY.pack(REPLY.size + len(body), INVAL_INODE, 0) + body


def inval_entry(parent: int, name: bytes) -> bytes:
    """Tell the kernel that a name does not stand for what it did."""
    body = INVAL_ENTRY_OUT.pack(parent, len(name), 0) + name + b"\0"
    return REPLY.pack(REPLY.size + len(body), INVAL_ENTRY, 0) + body


def init_reply(request: Request) -> bytes:
    """The reply to INIT. Raises Malformed for a protocol that we do not speak."""
    major, minor, max_readahead, flags = request.fields
    if major > MAJOR:
        # The kernel asks again with the major that it is told.
        return reply(request.unique, INIT_OUT.pack(MAJOR, MINOR, 0, 0, 0, 0, 0, 0, 0, 0, 0))
    if major < MAJOR or minor < OLDEST_MINOR:
        raise Malformed(f"FUSE {major}.{minor}, wanted 7.{OLDEST_MINOR} or later", request.unique, errno.EPROTO)
    body = INIT_OUT.pack(
        MAJOR, min(minor, MINOR), max_readahead, flags & WANTED, 64, 48, MAX_WRITE, 1, MAX_PAGES, 0, 0
    )  # fmt: skip
    return reply(request.unique, body)


def dirent(ino: int, offset: int, name: bytes, kind: int) -> bytes:
    """An entry of READDIR; `kind` is the DT_ number, `offset` where reading goes on after it."""
    raw = DIRENT.pack(ino, offset, len(name), kind) + name
    return raw.ljust(-(-len(raw) // 8) * 8, b"\0")
