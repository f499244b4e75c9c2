"""func_info and line_info of PROG_LOAD: records about a program's functions and source lines, checked as by Linux.

What the log has of each fault is Linux's, which ends some of these lines and not others.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator, Sequence

from bpfjit.btf import BtfId, FuncInfo, Kind, LineInfo, RawBtf
from bpfjit.isa.encoding import CALL, LD_IMM64, Insn
from bpfjit.uapi import bpf as uapi

from ..caller import Caller
from ..objects import BtfObject
from .log import Unseen

_FUNC, _LINE = struct.Struct("<II"), struct.Struct("<IIII")
_ANSWERS = "exception_callback:"
_MAX_RECORD, _MAX_RECORDS = 252, 1_000_000


def read(
    caller: Caller, attr: uapi.ProgLoad, insns: Sequence[Insn], btf: BtfObject | None
) -> tuple[tuple[FuncInfo, ...], tuple[LineInfo, ...]]:
    """The records. Raises EINVAL for what does not fit the program or its types, E2BIG for what stands behind them."""
    if not attr.func_info_cnt and not attr.line_info_cnt:
        return (), ()
    assert btf is not None, "load() has looked"
    funcs: list[tuple[int, ...]] = []
    starts = _functions(insns)
    if attr.func_info_cnt:
        if _bad_size(attr.func_info_rec_size, attr.func_info_cnt, _FUNC):
            raise Unseen(errno.EINVAL, f"invalid func info rec size {attr.func_info_rec_size}\n")
        funcs = list(_funcs(caller, attr, btf.types))
        _check_funcs(btf.types, funcs, starts)
    if attr.line_info_cnt and _bad_size(attr.line_info_rec_size, attr.line_info_cnt, _LINE):
        raise Unseen(errno.EINVAL, "", f"{attr.line_info_cnt} line_info records of {attr.line_info_rec_size} bytes")
    lines = list(_lines(caller, attr, btf.types, insns, starts))
    return tuple(FuncInfo(off, BtfId(type_id)) for off, type_id in funcs), tuple(LineInfo(*rest) for rest in lines)


def _bad_size(size: int, count: int, form: struct.Struct) -> bool:
    return size < form.size or size % 4 != 0 or size > _MAX_RECORD or count > _MAX_RECORDS


def _record(caller: Caller, attr: uapi.ProgLoad, what: str, index: int, form: struct.Struct) -> tuple[int, ...]:
    """One record. Raises EFAULT, or E2BIG for more in it than is known, whose size the caller is told."""
    size = getattr(attr, f"{what}_rec_size")
    data = caller.read(getattr(attr, what) + index * size, size)
    if any(data[form.size :]):
        setattr(attr, f"{what}_rec_size", form.size)
        raise Unseen(errno.E2BIG, f"nonzero tailing record in {what.replace('func_', 'func ')}")
    return form.unpack_from(data)


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


def _funcs(caller: Caller, attr: uapi.ProgLoad, types: RawBtf) -> Iterator[tuple[int, ...]]:
    before = 0
    for i in range(attr.func_info_cnt):
        off, type_id = _record(caller, attr, "func_info", i, _FUNC)
        if i == 0 and off:
            raise Unseen(errno.EINVAL, f"nonzero insn_off {off} for the first func info record")
        if i and off <= before:
            raise Unseen(errno.EINVAL, f"same or smaller insn offset ({off}) than previous func info record ({before})")
        if not 0 < type_id < len(types) or types.type(type_id).kind is not Kind.FUNC:
            raise Unseen(errno.EINVAL, f"invalid type id {_signed(type_id)} in func info")
        before = off
        yield off, type_id


def _check_funcs(types: RawBtf, funcs: list[tuple[int, ...]], starts: list[int]) -> None:
    starts = sorted({*starts, *_answers_throws(types, funcs)})
    if len(funcs) != len(starts):
        raise Unseen(errno.EINVAL, "number of funcs in func_info doesn't match number of subprogs\n")
    if [off for off, _ in funcs] != starts:
        raise Unseen(errno.EINVAL, "func_info BTF section doesn't match subprog layout in BPF program\n")


def _lines(
    caller: Caller, attr: uapi.ProgLoad, types: RawBtf, insns: Sequence[Insn], starts: list[int]
) -> Iterator[tuple[int, ...]]:
    before = function = 0
    for i in range(attr.line_info_cnt):
        record = off, file_name_off, line_off, _ = _record(caller, attr, "line_info", i, _LINE)
        if (i and off <= before) or off >= len(insns):
            raise Unseen(
                errno.EINVAL, f"Invalid line_info[{i}].insn_off:{off} (prev_offset:{before} prog->len:{len(insns)})\n"
            )
        if not insns[off].code:
            raise Unseen(errno.EINVAL, f"Invalid insn code at line_info[{i}].insn_off\n")
        if max(file_name_off, line_off) >= len(types.strings):
            raise Unseen(errno.EINVAL, f"Invalid line_info[{i}].line_off or .file_name_off\n")
        if function < len(starts) and off == starts[function]:
            function += 1
        elif function < len(starts) and starts[function] < off:
            raise Unseen(errno.EINVAL, f"missing bpf_line_info for func#{function}\n")
        before = off
        yield record
    if attr.line_info_cnt and function < len(starts):
        left = len(starts) - function
        raise Unseen(errno.EINVAL, f"missing bpf_line_info for {left} funcs starting from func#{function}\n")


def _signed(number: int) -> int:
    return number - (1 << 32) if number >> 31 else number
