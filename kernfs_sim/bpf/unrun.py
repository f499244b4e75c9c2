"""What stands for native code in a kernel that only verifies: whoever runs it is told so."""

from __future__ import annotations

from bpfjit.errors import ENOTSUPP, refuse
from bpfjit.program import Verified
from runtime import ffi


class Unrun:
    """A program that was verified and does not run; an attempt leaves a fault, as the interpreter's do."""

    def __init__(self, verified: Verified) -> None:
        self._name = verified.program.name
        self.fault: OSError | None = None
        two = "uint64_t(void *, uint64_t)"  # the second argument of programs that want only one is never looked at
        self._entry = ffi.callback(two, lambda ctx, size: self._enter())
        self.addr = self.tail_addr = int(ffi.cast("uintptr_t", self._entry))

    def _enter(self) -> int:
        self.fault = refuse(ENOTSUPP, f"program {self._name}: this kernel verifies programs and does not run them")
        return 0

    def close(self) -> None:
        pass
