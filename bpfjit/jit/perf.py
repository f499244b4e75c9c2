"""What perf is told of native code, where $BPFJIT_PERF says so: names by address, and source lines in a jitdump file.

"map": /tmp/perf-PID.map, one line a function, which perf report reads by itself. "dump": jit-PID.dump in the current
directory, for `perf record -k mono` and `perf inject --jit`: code with its lines, copied, so that it can be looked at when
the process has gone. perf finds the file because its first page is mapped executable (perf's jitdump specification).
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
import threading
import time
from collections.abc import Sequence
from typing import BinaryIO

from ..dataclass import dataclass, field

_MAGIC, _VERSION, _X86_64 = 0x4A695444, 1, 62
_CODE_LOAD, _DEBUG_INFO = 0, 2


@dataclass(frozen=True, slots=True)
class Function:
    """One function's code, and (address, line, file) of where its lines begin."""

    name: str
    addr: int
    size: int
    lines: Sequence[tuple[int, int, str]] = ()


@dataclass(slots=True)
class Perf:
    """The files of this process; add() is called for every function that is linked."""

    kinds: frozenset[str]
    directory: str = "."
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _dump: BinaryIO | None = None
    _page: mmap.mmap | None = None
    _count: int = 0

    @classmethod
    def from_environment(cls) -> Perf | None:
        """$BPFJIT_PERF: "map", "dump" or "map,dump"; None without it."""
        kinds = frozenset(os.environ.get("BPFJIT_PERF", "").split(",")) & {"map", "dump"}
        return cls(kinds) if kinds else None

    def add(self, functions: Sequence[Function]) -> None:
        with self._lock:
            if "map" in self.kinds:
                with open(f"/tmp/perf-{os.getpid()}.map", "a", encoding="utf-8") as out:
                    out.writelines(f"{f.addr:x} {f.size:x} {f.name}\n" for f in functions)
            if "dump" in self.kinds:
                for function in functions:
                    self._load(self._dump or self._open(), function)

    def _open(self) -> BinaryIO:
        out = self._dump = open(os.path.join(self.directory, f"jit-{os.getpid()}.dump"), "w+b")  # noqa: SIM115
        stamp = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        out.write(struct.pack("<IIIIIIQQ", _MAGIC, _VERSION, 40, _X86_64, 0, os.getpid(), stamp, 0))
        out.flush()
        self._page = mmap.mmap(out.fileno(), 40, prot=mmap.PROT_READ | mmap.PROT_EXEC, flags=mmap.MAP_PRIVATE)
        return out

    def _load(self, out: BinaryIO, function: Function) -> None:
        stamp = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        if function.lines:
            entries = b"".join(struct.pack("<QII", at, line, 0) + file.encode() + b"\0" for at, line, file in function.lines)
            body = struct.pack("<QQ", function.addr, len(function.lines)) + entries
            out.write(struct.pack("<IIQ", _DEBUG_INFO, 16 + len(body), stamp) + body)
        code = ctypes.string_at(function.addr, function.size)
        where = (function.addr, function.addr, function.size, self._count)
        self._count += 1
        body = struct.pack("<IIQQQQ", os.getpid(), threading.get_native_id(), *where) + function.name.encode() + b"\0" + code
        out.write(struct.pack("<IIQ", _CODE_LOAD, 16 + len(body), stamp) + body)
        out.flush()
