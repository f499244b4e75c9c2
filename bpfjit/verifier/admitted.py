"""Verdicts written down and taken up again: what lets a program run once more without being looked at again.

A record says what the verifier said, and is worth what its keeper is: whoever restores one vouches that it is what keep()
wrote (kernfs_sim/known.py). Rows of our own tables, and BTF, are named in it rather than copied.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

from ..btf import RawBtf, parse_btf
from ..program import _VERIFIER_KEY, Facts, Program, Stats, Verified
from ..spec.kinds import MapType, ProgType
from ..spec.map_types import MAP_TYPE_BY_ID
from ..spec.prog_types import PROG_TYPE_BY_ID

# What a record may name: the classes that make up a program and what is known of it, and no function at all.
_MODULES = ("bpfjit.program", "bpfjit.isa.encoding", "bpfjit.btf.ext", "bpfjit.btf.types", "bpfjit.btf.record")
_PLAIN = frozenset({("builtins", "bytearray"), ("builtins", "set"), ("builtins", "frozenset"), ("builtins", "range")})


class _Writer(pickle.Pickler):
    def persistent_id(self, obj: Any) -> Any:
        if isinstance(obj, ProgType):
            return "prog_type", obj.id
        if isinstance(obj, MapType):
            return "map_type", obj.id
        return ("btf", obj.data) if isinstance(obj, RawBtf) else None


class _Reader(pickle.Unpickler):
    def persistent_load(self, pid: Any) -> Any:
        kind, value = pid
        if kind == "btf":
            return parse_btf(value)
        return PROG_TYPE_BY_ID[value] if kind == "prog_type" else MAP_TYPE_BY_ID[value]

    def find_class(self, module: str, name: str) -> Any:
        found = super().find_class(module, name) if module in _MODULES or (module, name) in _PLAIN else None
        if not isinstance(found, type):
            raise pickle.UnpicklingError(f"{module}.{name} is no part of a verdict")
        return found


def keep(verified: Verified) -> bytes:
    """A record of a verified program."""
    out = io.BytesIO()
    _Writer(out, protocol=5).dump((verified.program, verified.facts, verified.stats))
    return out.getvalue()


def restore(record: bytes) -> Verified:
    """The verified program of a record that keep() wrote. Raises ValueError for bytes that are none."""
    try:
        program, facts, stats = _Reader(io.BytesIO(record)).load()
    except Exception as e:  # whatever a damaged pickle runs into
        raise ValueError(f"no record of a verdict: {e}") from None
    if not (isinstance(program, Program) and isinstance(facts, Facts) and isinstance(stats, Stats)):
        raise ValueError("no record of a verdict: it holds something else")
    return Verified(_VERIFIER_KEY, program, facts, stats, "")
