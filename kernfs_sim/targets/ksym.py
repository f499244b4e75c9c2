"""iter/ksym: the kernel's symbols by address, as /proc/kallsyms has them; loaded programs come after the kernel's own."""

from __future__ import annotations

from typing import Any

from runtime import Index, ffi, lib

from ..caller import Caller
from ..task_files import Held
from .base import IterTarget


class KsymTarget(IterTarget):
    """A session walks what there is when it begins."""

    name = "ksym"

    def begin(self, caller: Caller, how: Any) -> Held | None:
        table = SymbolTable(self.kernel)
        how.subject = ffi.cast("void *", table.index.ptr)
        how.last = table.end
        return table


class SymbolTable(Held):
    """Every symbol in the structure that programs are shown, by its place in the list."""

    def __init__(self, kernel: Any) -> None:
        super().__init__(kernel.native)
        self.index = Index(kernel.native)
        own: list[tuple[int, bytes, bytes, bytes]] = []
        while sym := lib.rt_ksym(len(own)):
            own.append((int(sym.start), ffi.string(sym.name), b"", b"T"))
        progs = sorted((int(p.symbol.start), ffi.string(p.symbol.name), b"bpf", b"t") for p in kernel.progs if p.symbol)
        both = [*own, *progs]
        for at, row in enumerate(both):
            # The kernel's own are counted when they are shown, those behind them before.
            self.index.add(at, self._symbol(at + (at < len(own)), len(own), *row))
        # The call at the end finds the last one, and what was looked for behind it.
        value, name, _, letter = both[-1]
        self.end = self._symbol(len(both), len(own), value, name, b"__builtin__kprobes", letter)
        self.end.pos_bpf_end = len(both)

    def _symbol(self, pos: int, own: int, value: int, name: bytes, module: bytes, letter: bytes) -> Any:
        sym = self.new("struct kallsym_iter")
        sym.pos, sym.value, sym.type, sym.show_value, sym.name, sym.module_name = pos, value, letter, 1, name, module
        if module:
            sym.pos_mod_end = sym.pos_ftrace_mod_end = own
        return sym
