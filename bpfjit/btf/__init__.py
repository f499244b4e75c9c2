"""BTF: types, parsing, writing, from and to C. Written by us; no library does it."""

from .ext import BtfExt, CoreRelo, FuncInfo, LineInfo, parse_btf_ext
from .parse import RawBtf, parse_btf, validate
from .types import VOID, Btf, BtfId, Enumerator, Kind, Member, Param, SecVar, Type
from .write import write_btf

__all__ = [
    "VOID",
    "Btf",
    "BtfExt",
    "BtfId",
    "CoreRelo",
    "Enumerator",
    "FuncInfo",
    "Kind",
    "LineInfo",
    "Member",
    "Param",
    "RawBtf",
    "SecVar",
    "Type",
    "parse_btf",
    "parse_btf_ext",
    "validate",
    "write_btf",
]
