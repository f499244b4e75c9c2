"""One program's native code: its entries, and the better code that may take its place."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..program import Binding
from .link import Image, Linked, addresses

if TYPE_CHECKING:
    from .recipe import Recipe

Extents = tuple[tuple[int, int], ...]


class Native:
    """`addr` is the program's entry, the same until close(); `tail_addr` where a tail call enters it.

    A native of the first tier has `better`, which makes the optimised code; it is entered by gates. recipe: how the same
    code is made again out of the cache.
    """

    def __init__(
        self,
        code: Linked,
        entries: tuple[str, str] = ("prog", "prog"),
        better: Callable[[], Linked] | None = None,
        *,
        recipe: Recipe | None = None,
    ) -> None:
        self._codes = [code]  # the first tier's stays: somebody may be in it, or hold a callback's address
        self._lock = threading.RLock()
        self._better = better
        self._beside: list[Linked] = []
        self.recipe = recipe
        self.addr, self.tail_addr = (code.gates[name] if better is not None else code.entry(name) for name in entries)

    @classmethod
    def of(cls, image: Image, binding: Binding) -> Native:
        """What was compiled elsewhere, or before. Raises LoadError for an object that asks for more than is known here."""
        return cls(Linked(image.data, addresses(image.symbols, binding), image.functions), image.entries)

    @property
    def object_bytes(self) -> int:
        return self._codes[-1].object_bytes

    @property
    def functions(self) -> Extents:
        """Address and bytes of each of the program's functions, (0, 0) for one without code of its own."""
        return self._codes[-1].functions

    @property
    def optimised(self) -> bool:
        return self._better is None

    @property
    def runs(self) -> int:
        """How often it was entered in its first tier, about; 0 once that is over."""
        with self._lock:
            return 0 if self._better is None else self._codes[0].came

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
            self._codes[0].lead(code)
            self._codes.append(code)

    def keep(self, code: Linked) -> Linked:
        """Other code of the same program, which lives as long: a timer may hold an address in it."""
        self._beside.append(code)
        return code

    def close(self) -> None:
        """Release the code; nobody may be running it."""
        with self._lock:
            self._better = None
            codes, self._codes = self._codes, self._codes[-1:]
            beside, self._beside = self._beside, []
        for code in (*codes, *beside):
            code.close()
        self.addr = 0
