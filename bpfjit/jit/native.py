"""One program's native code, and the linked objects that hold it."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Any

Extents = tuple[tuple[int, int], ...]


class Linked:
    """An object linked into this process: `symbols` are its entries' addresses, valid until close().

    functions: address and bytes of each function's code, (0, 0) for one that has none of its own (inlined, or never
    called).
    """

    def __init__(self, session: Any, library: Any, symbols: dict[str, int], object_bytes: int, functions: Extents) -> None:
        self._session = session
        self._library = library
        self.symbols = symbols
        self.object_bytes = object_bytes
        self.functions = functions

    def close(self) -> None:
        library, self._library = self._library, None
        if library is not None:
            library.close()
            self._session.close()

    def __del__(self) -> None:
        if getattr(self, "_library", None) is not None:
            self.close()


class Native:
    """One program's native code: `addr` is its entry, the same until close(); `tail_addr` where a tail call enters it.

    A native of the first tier has `better`, which makes the optimised code; `slot` and `counter` are the addresses of
    its entry's slot and count.
    """

    def __init__(
        self,
        code: Linked,
        addr: int,
        tail_addr: int,
        better: Callable[[], Linked] | None = None,
        slot: int = 0,
        counter: int = 0,
    ) -> None:
        self._codes = [code]  # the first tier's stays: somebody may be in it, or hold a callback's address
        self._lock = threading.RLock()
        self._better = better
        self._slot = slot
        self._counter = counter
        self.addr = addr
        self.tail_addr = tail_addr

    @property
    def object_bytes(self) -> int:
        return self._codes[-1].object_bytes

    @property
    def functions(self) -> Extents:
        return self._codes[-1].functions

    @property
    def optimised(self) -> bool:
        return self._better is None

    @property
    def runs(self) -> int:
        """How often it was entered in its first tier, about; 0 once that is over."""
        with self._lock:
            return 0 if self._better is None else ctypes.c_uint64.from_address(self._counter).value

    def optimise(self) -> None:
        """Compile it as well as can be, and let whoever enters from now on have that."""
        better = self._better
        if better is None:
            return
        code = better()
        with self._lock:
            if self._better is None:  # closed meanwhile, or another thread was first
                code.close()
                return
            self._better = None
            self._codes.append(code)
            ctypes.c_uint64.from_address(self._slot).value = code.symbols["prog"]

    def close(self) -> None:
        """Release the code; nobody may be running it."""
        with self._lock:
            self._better = None
            codes, self._codes = self._codes, []
        for code in codes:
            code.close()
        self.addr = 0
