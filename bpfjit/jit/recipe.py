"""How code that the cache has is put into memory again, without LLVM."""

from __future__ import annotations

from collections.abc import Callable

from ..dataclass import dataclass
from ..program import Binding
from .cache import ObjectCache
from .link import Image, Linked, addresses
from .native import Native


@dataclass(frozen=True, slots=True)
class Recipe:
    """Where a program's objects are in the cache, and what else linking them wants.

    optimised, first: the keys of its two tiers' objects. symbols, functions, tail_calls: as of Image.
    """

    optimised: str
    first: str
    symbols: tuple[str, ...]
    functions: tuple[str, ...]
    tail_calls: bool

    def revive(self, cache: ObjectCache, binding: Binding, better: Callable[[], Linked], *, tiered: bool) -> Native | None:
        """The program's code as the cache has it, the optimised if it has that; None where it has none.

        better: makes the optimised code once the first tier is hot. Raises LoadError for what cannot be linked.
        """
        image = cache.get(self.optimised)
        if image is not None:
            return Native(self._linked(image, binding), self._entries)
        image = cache.get(self.first) if tiered else None
        return Native(self._linked(image, binding, gates=True), self._entries, better) if image is not None else None

    @property
    def _entries(self) -> tuple[str, str]:
        return Image(b"", self.symbols, self.functions, self.tail_calls).entries

    def _linked(self, image: bytes, binding: Binding, *, gates: bool = False) -> Linked:
        return Linked(image, addresses(self.symbols, binding), self.functions, self._entries if gates else ())
