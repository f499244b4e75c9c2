"""Verdicts written down and taken up again: what lets a program run once more without being looked at again.

A record says what the verifier said, and is worth what its keeper is: whoever restores one vouches that it is what keep()
wrote (kernfs_sim/known.py for everybody, kernfs_sim/kept.py for the user who keeps it). Rows of our own tables are named in
it rather than copied.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

from ..btf import RawBtf, parse_btf
from ..dataclass import replace
from ..program import _VERIFIER_KEY, Facts, MapInfo, Program, Stats, Verified
from ..spec.kinds import MapType, ProgType
from ..spec.map_types import MAP_TYPE_BY_ID
from ..spec.prog_types import PROG_TYPE_BY_ID

# What a record may name: the classes that make up a program and what is known of it, and no function at all.
_MODULES = ("bpfjit.program", "bpfjit.isa.encoding", "bpfjit.btf.ext", "bpfjit.btf.types", "bpfjit.btf.record")
_PLAIN = frozenset({("builtins", "bytearray"), ("builtins", "set"), ("builtins", "frozenset"), ("builtins", "range")})


class _Writer(pickle.Pickler):
    def __init__(self, out: io.BytesIO, own: RawBtf | None) -> None:
        super().__init__(out, protocol=5)
        self._own = own

    def persistent_id(self, obj: Any) -> Any:
        if obj is self._own and obj is not None:
            return "own btf", 0
        if isinstance(obj, ProgType):
            return "prog_type", obj.id
        if isinstance(obj, MapType):
            return "map_type", obj.id
        return ("btf", obj.data) if isinstance(obj, RawBtf) else None


class _Reader(pickle.Unpickler):
    def __init__(self, record: bytes, own: RawBtf | None) -> None:
        super().__init__(io.BytesIO(record))
        self._own = own

    def persistent_load(self, pid: Any) -> Any:
        kind, value = pid
        if kind == "own btf":
            return self._own
        if kind == "btf":
            return parse_btf(value)
        return PROG_TYPE_BY_ID[value] if kind == "prog_type" else MAP_TYPE_BY_ID[value]

    def find_class(self, module: str, name: str) -> Any:
        found = super().find_class(module, name) if module in _MODULES or (module, name) in _PLAIN else None
        if not isinstance(found, type):
            raise pickle.UnpicklingError(f"{module}.{name} is no part of a verdict")
        return found


def keep(verified: Verified, *, own: RawBtf | None = None) -> bytes:
    """A record of a verified program. own: its BTF, where restore() will be handed that rather than find it inside."""
    out = io.BytesIO()
    _Writer(out, own).dump((verified.program, verified.facts, verified.stats))
    return out.getvalue()


def restore(record: bytes, *, own: RawBtf | None = None, maps: tuple[MapInfo, ...] | None = None) -> Verified:
    """The verified program of a record that keep() wrote. Raises ValueError for bytes that are none.

    maps: those of the program that runs now, with the ids that they have now; else those of the record.
    """
    try:
        program, facts, stats = _Reader(record, own).load()
    except Exception as e:  # whatever a damaged pickle runs into
        raise ValueError(f"no record of a verdict: {e}") from None
    if not (isinstance(program, Program) and isinstance(facts, Facts) and isinstance(stats, Stats)):
        raise ValueError("no record of a verdict: it holds something else")
    if maps is not None:
        program = replace(program, maps=maps)
    return Verified(_VERIFIER_KEY, program, facts, stats, "")
