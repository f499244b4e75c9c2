"""iter/ksym: the kernel's symbols by address, as /proc/kallsyms has them; loaded programs come after the kernel's own."""

from __future__ import annotations

from typing import Any

from runtime import Index, ffi

from ..caller import Caller
from ..task_files import Held
from .base import IterTarget


class KsymTarget(IterTarget):
    """A session walks what there is when it begins."""

    name = "ksym"

    def begin(self, caller: Caller, how: Any) -> Held | None:
        table = SymbolTable(self.kernel)
        how.subject = ffi.cast("void *", table.index.ptr)
        return table


class SymbolTable(Held):
    """Every symbol in the structure that programs are shown, by its place in the list."""

    def __init__(self, kernel: Any) -> None:
        super().__init__(kernel.native)
        self.index = Index(kernel.native)
        own = own_symbols(kernel)
        progs = sorted((p.native.addr, f"bpf_prog_{p.tag.hex()}" + (f"_{p.name}" if p.name else "")) for p in kernel.progs)
        rows = [(value, name, "", "T") for value, name in own] + [(value, name, "bpf", "t") for value, name in progs]
        for pos, (value, name, module, letter) in enumerate(rows):
            sym = self.new("struct kallsym_iter")
            sym.pos, sym.value, sym.type, sym.show_value = pos, value, letter.encode(), 1
            sym.name, sym.module_name, sym.exported = name.encode()[:511], module.encode(), int(not module)
            if module:
                sym.pos_mod_end = sym.pos_ftrace_mod_end = len(own)
            self.index.add(pos, sym)


def own_symbols(kernel: Any) -> list[tuple[int, str]]:
    """The kernel's own symbols by address, those of programs left out: what has an address here are helpers."""
    from bpfjit.spec.helpers import HELPERS  # late: few ask for symbols

    addresses = kernel.symbols
    return sorted({(addresses[h.symbol], f"bpf_{h.name}") for h in HELPERS if h.symbol in addresses})
