"""func_info and line_info of PROG_LOAD: records about a program's functions and source lines, checked as by Linux."""

from __future__ import annotations

import errno
import struct
from collections.abc import Sequence

from bpfjit.btf import BtfId, FuncInfo, Kind, LineInfo, RawBtf
from bpfjit.errors import BtfError, refuse
from bpfjit.isa.encoding import CALL, LD_IMM64, Insn
from bpfjit.uapi import bpf as uapi

from ..caller import Caller
from ..objects import BtfObject

_FUNC, _LINE = struct.Struct("<II"), struct.Struct("<IIII")
_ANSWERS = "exception_callback:"
_MAX_RECORD, _MAX_RECORDS = 252, 1_000_000


def read(
    caller: Caller, attr: uapi.ProgLoad, insns: Sequence[Insn], btf: BtfObject | None
) -> tuple[tuple[FuncInfo, ...], tuple[LineInfo, ...]]:
    """The records. Raises EINVAL for what does not fit the program or its types, E2BIG for what stands behind them."""
    funcs = _records(caller, attr.func_info, attr.func_info_cnt, attr.func_info_rec_size, _FUNC, "func_info")
    lines = _records(caller, attr.line_info, attr.line_info_cnt, attr.line_info_rec_size, _LINE, "line_info")
    if (funcs or lines) and btf is None:
        raise refuse(errno.EINVAL, "func_info and line_info want BTF")
    if btf is None:
        return (), ()
    starts = _functions(insns)
    if funcs:
        _check_funcs(btf.types, funcs, starts)
    if lines:
        _check_lines(btf.types, lines, insns, starts)
    return tuple(FuncInfo(off, BtfId(type_id)) for off, type_id in funcs), tuple(LineInfo(*rest) for rest in lines)


def _records(caller: Caller, addr: int, count: int, size: int, form: struct.Struct, what: str) -> list[tuple[int, ...]]:
    if not count:
        return []
    if size < form.size or size % 4 or size > _MAX_RECORD or count > _MAX_RECORDS:
        raise refuse(errno.EINVAL, f"{what}: {count} records of {size} bytes")
    data = caller.read(addr, count * size)
    if size > form.size and any(any(data[i * size + form.size : (i + 1) * size]) for i in range(count)):
        raise refuse(errno.E2BIG, f"{what}: records of {size} bytes, known are {form.size}")
    return [form.unpack_from(data, i * size) for i in range(count)]


def _functions(insns: Sequence[Insn]) -> list[int]:
    """Where the program's functions begin: what it calls, what it takes the address of, and its first instruction."""
    found, pc = {0}, 0
    while pc < len(insns):
        insn = insns[pc]
        called = insn.code == CALL and insn.src == uapi.BPF_PSEUDO_CALL
        if called or (insn.code == LD_IMM64 and insn.src == uapi.BPF_PSEUDO_FUNC):
            found.add(pc + 1 + insn.imm)
        pc += 2 if insn.code == LD_IMM64 else 1
    return sorted(found)


def _answers_throws(types: RawBtf, funcs: list[tuple[int, ...]]) -> list[int]:
    """Where the function begins that a tag of the main one names to answer bpf_throw(): nothing calls it."""
    if _ANSWERS.encode() not in types.data or not funcs:
        return []
    names = [tag.removeprefix(_ANSWERS) for tag in types.decl_tags(funcs[0][1]) if tag.startswith(_ANSWERS)]
    return [off for off, type_id in funcs if types.type(type_id).name in names]


def _check_funcs(types: RawBtf, funcs: list[tuple[int, ...]], starts: list[int]) -> None:
    for _, type_id in funcs:
        try:
            kind = types.type(type_id).kind
        except BtfError as e:
            raise refuse(errno.EINVAL, f"func_info: {e}") from None
        if kind is not Kind.FUNC:
            raise refuse(errno.EINVAL, f"func_info: type {type_id} is a {kind.name}, no function")
    offsets = [off for off, _ in funcs]
    starts = sorted({*starts, *_answers_throws(types, funcs)})
    if offsets != starts:
        raise refuse(errno.EINVAL, f"func_info: functions at {offsets}, the program's begin at {starts}")


def _check_lines(types: RawBtf, lines: list[tuple[int, ...]], insns: Sequence[Insn], starts: list[int]) -> None:
    before = -1
    for off, file_name_off, line_off, _ in lines:
        if not before < off < len(insns) or not insns[off].code:
            raise refuse(errno.EINVAL, f"line_info: instruction {off} after {before}, there are {len(insns)}")
        if max(file_name_off, line_off) >= len(types.strings):
            raise refuse(errno.EINVAL, f"line_info: text at {file_name_off} or {line_off} is outside BTF's")
        before = off
    missing = set(starts) - {off for off, *_ in lines}
    if missing:
        raise refuse(errno.EINVAL, f"line_info: missing for the function at {min(missing)}")
