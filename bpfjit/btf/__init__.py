"""BTF: types, parsing, writing, from and to C. Written by us; no library does it."""

from .ext import BtfExt, CoreRelo, FuncInfo, LineInfo, parse_btf_ext
from .parse import RawBtf, parse_btf, validate
from .record import MAP_FIELDS, NO_FIELDS, OBJECT_FIELDS, Field, Record, Special, parse_record, struct_records
from .types import VOID, Btf, BtfId, Enumerator, Kind, Member, Param, SecVar, Type
from .write import write_btf

__all__ = [
    "MAP_FIELDS",
    "NO_FIELDS",
    "OBJECT_FIELDS",
    "VOID",
    "Btf",
    "BtfExt",
    "BtfId",
    "CoreRelo",
    "Enumerator",
    "Field",
    "FuncInfo",
    "Kind",
    "LineInfo",
    "Member",
    "Param",
    "RawBtf",
    "Record",
    "SecVar",
    "Special",
    "Type",
    "parse_btf",
    "parse_btf_ext",
    "parse_record",
    "struct_records",
    "validate",
    "write_btf",
]
