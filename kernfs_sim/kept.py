"""Verdicts kept on disk beside compiled code: what was verified once is loaded again without verifier and compiler.

A record is found by everything that its verdict depends on: the bytes that bpf(2) was handed, the maps as the program may
know them, its BTF, what its loader may do, and this version of ours. It is believed as compiled code is (jit/cache.py): a
file of the user's own, whole by its digest. A kernel that runs for somebody else believes no such file: for that there are
known programs (known.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bpfjit.dataclass import dataclass
from bpfjit.errors import LoadError
from bpfjit.isa.encoding import Insn, encode
from bpfjit.jit.cache import VERDICT, ObjectCache
from bpfjit.jit.native import Native
from bpfjit.jit.recipe import Recipe
from bpfjit.program import MapInfo, MapRef, Verified
from bpfjit.spec.targets import TARGET_BY_FUNC
from bpfjit.uapi import bpf as uapi
from bpfjit.verifier.admitted import keep, restore
from runtime import ProgHandle

from .caller import Caller
from .fingerprint import fingerprint
from .objects import BtfObject, MapObject

if TYPE_CHECKING:
    from .kernel import Kernel

_MAX_RECORDS_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class Kept:
    """A program as it comes from the disk: its verdict, its code, its digest after relocation."""

    verified: Verified
    native: Native
    digest: bytes


class KeptPrograms:
    """The verdicts in one directory, for one kernel."""

    def __init__(self, kernel: Kernel, cache: ObjectCache) -> None:
        self._kernel = kernel
        self._cache = cache

    def key(
        self,
        caller: Caller,
        attr: uapi.ProgLoad,
        insns: Sequence[Insn],
        refs: Mapping[int, MapRef],
        maps: Sequence[MapObject],
        btf: BtfObject | None,
        gpl: bool,
        privileged: bool,
    ) -> str:
        """By what a program's verdict is found; "" for one that is not kept.

        insns: as they were handed in, before relocation.
        """
        if not self._same_kernel() or any(m.template is not None for m in maps):
            return ""
        records = (
            (attr.func_info, attr.func_info_cnt, attr.func_info_rec_size),
            (attr.line_info, attr.line_info_cnt, attr.line_info_rec_size),
            (attr.core_relos, attr.core_relo_cnt, attr.core_relo_rec_size),
        )
        if any(count * size > _MAX_RECORDS_BYTES for _, count, size in records):
            return ""
        code = bytearray(encode(insns))
        for pc in refs:
            if insns[pc].src in (uapi.BPF_PSEUDO_MAP_FD, uapi.BPF_PSEUDO_MAP_VALUE):
                code[8 * pc + 4 : 8 * pc + 8] = bytes(4)  # the fd
        try:
            told = [caller.read(addr, count * size) if count else b"" for addr, count, size in records]
        except OSError:
            return ""
        given = (attr.prog_type, attr.expected_attach_type, attr.prog_flags, attr.attach_btf_id, gpl, privileged)
        sizes = [(count, size) for _, count, size in records]
        parts: list[bytes | bytearray] = [fingerprint().encode(), attr.prog_name, repr((given, sizes)).encode(), code, *told]
        parts += [repr([(pc, ref.map_index, ref.value_off) for pc, ref in sorted(refs.items())]).encode()]
        parts += [btf.digest if btf is not None else b""]
        for m in maps:
            parts += _shape(m)
        return ObjectCache.key(*parts)

    def is_sound(self, btf: bytes) -> bool:
        """Whether this BTF was found sound before, and without structures that have special fields."""
        return self._same_kernel() and self._cache.get(self._key_of_btf(btf), VERDICT) is not None

    def found_sound(self, btf: bytes) -> None:
        if self._same_kernel():
            self._cache.put(self._key_of_btf(btf), b"", VERDICT)

    @staticmethod
    def _key_of_btf(btf: bytes) -> str:
        return ObjectCache.key("btf", fingerprint(), btf)

    def _same_kernel(self) -> bool:
        """Whether the kernel has the types and targets that every one has, and none of its own."""
        return self._kernel.targets.rows.keys() == TARGET_BY_FUNC.keys() and not self._kernel.is_elsewhere

    def get(
        self, key: str, maps: tuple[MapObject, ...], infos: tuple[MapInfo, ...], btf: BtfObject | None, own: ProgHandle
    ) -> Kept | None:
        """A program as it was kept; None where it was not, or anything of it is damaged or gone."""
        record = self._cache.get(key, VERDICT)
        if record is None:
            return None
        kernel = self._kernel
        try:
            head, at = record[: record.index(b"\0")].decode().split("\n"), record.index(b"\0") + 1
            optimised, first, tail_calls, digest, symbols, functions = head
            recipe = Recipe(optimised, first, tuple(symbols.split()), tuple(functions.split()), tail_calls == "True")
            verified = restore(record[at:], own=btf.types if btf is not None else None, maps=infos)
            native = kernel.revive(recipe, verified, maps, own, btf)
            return Kept(verified, native, bytes.fromhex(digest)) if native is not None else None
        except (ValueError, KeyError, TypeError, LoadError):
            return None

    def put(self, key: str, verified: Verified, recipe: Recipe, btf: BtfObject | None, digest: bytes) -> None:
        """Keep a program that has been verified and compiled."""
        texts = (recipe.optimised, recipe.first, str(recipe.tail_calls), digest.hex())
        head = "\n".join([*texts, " ".join(recipe.symbols), " ".join(recipe.functions)])
        record = keep(verified, own=btf.types if btf is not None else None)
        self._cache.put(key, head.encode() + b"\0" + record, VERDICT)


# Of a map's MapInfo: what says itself, and what its type, its BTF and its contents say.
PLAIN = ("name", "key_size", "value_size", "max_entries", "flags", "frozen", "has_btf", "inner", "template")


def _shape(m: MapObject) -> list[bytes]:
    """A map as programs may know it: everything of it but its id."""
    info = m.info()
    shape = (info.type.id, *(getattr(info, name) for name in PLAIN))
    types, constant = m.btf.digest if m.btf is not None else b"", info.constant
    return [repr((shape, m.btf_key_type_id, m.btf_value_type_id, constant is None)).encode(), types, constant or b""]
