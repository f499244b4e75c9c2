"""A program's own structures as the runtime knows them: sizes, and the special fields by which objects let go of others."""

from __future__ import annotations

from collections.abc import Mapping

from bpfjit.btf import BtfId, RawBtf, Record, Special
from bpfjit.btf import Field as SpecialField
from bpfjit.spec.trust import DESTRUCTIBLE
from runtime import Field, Structs

_NO_FIELDS = Record()


class OwnStructs:
    """The structures of one BTF, told to the runtime when somebody asks for them."""

    def __init__(self, types: RawBtf, kernel: RawBtf, symbols: Mapping[str, int], records: Mapping[BtfId, Record]) -> None:
        self._types = types
        self._kernel = kernel
        self._symbols = symbols
        self._records = records
        self._set: Structs | None = None
        self._known: dict[int, int] = {}

    def address(self, type_id: int) -> int:
        """Where the runtime's description of a structure lies."""
        if type_id not in self._known:
            if self._set is None:
                self._set = Structs()
            self._known[type_id] = self._set.new(self._types.type(BtfId(type_id)).size)
            fields = self.fields(self._records.get(BtfId(type_id), _NO_FIELDS))
            self._set.define(self._known[type_id], fields)
        return self._known[type_id]

    def fields(self, record: Record) -> list[Field]:
        """Special fields with what they lead to."""
        return [self._field(f) for f in record.fields]

    def _field(self, f: SpecialField) -> Field:
        destroy, type_address = 0, 0
        if f.in_kernel and f.kind is Special.KPTR_REF:
            destroy = self._symbols.get(DESTRUCTIBLE.get(self._kernel.type(f.type_id).name, ""), 0)
        elif not f.in_kernel and f.kind & (Special.KPTR | Special.GRAPH_ROOT):
            type_address = self.address(self._types.skip(f.type_id))
        return Field(f.kind, f.offset, f.size, f.node_offset, destroy, type_address)

    def close(self) -> None:
        """The BTF is gone; maps that own objects of its types keep their descriptions."""
        if self._set is not None:
            self._set.close()
            self._set = None
