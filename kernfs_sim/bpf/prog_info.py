"""bpf_prog_info: a program's numbers, and its arrays as far as the caller has room for them."""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from bpfjit.dataclass import dataclass
from bpfjit.errors import refuse
from bpfjit.isa.encoding import CALL, encode
from bpfjit.uapi import bpf as uapi
from runtime import ffi

from ..caller import CAP_BPF, CAP_SYSLOG
from ..objects import ProgObject
from .tag import tag_of

if TYPE_CHECKING:
    from ..kernel import Kernel
    from .info import Info

_FUNC, _LINE = struct.Struct("<II"), struct.Struct("<IIII")


@dataclass(frozen=True, slots=True)
class Array:
    """One array of bpf_prog_info: the members with its length and address, bytes of an element, what is in it.

    secret: whoever opened the program's fd must be allowed to see kernel addresses, else the address member comes back
    as 0. contents is called only where the caller has room; count is told always.
    """

    length: str
    pointer: str
    size: int
    count: Callable[[Kernel, ProgObject], int]
    contents: Callable[[Kernel, ProgObject], bytes]
    secret: bool = False
    censor: Callable[[bytes], bytes] | None = None  # what is left for those who may not see kernel addresses


def fill(kernel: Kernel, info: Info, prog: ProgObject) -> None:
    """Raises EINVAL for record sizes that are not Linux's, EFAULT for an array that cannot be written."""
    program, caller = prog.program, info.caller
    info.data[:] = info.given  # what has no value here stays as the caller had it
    info.put("type", prog.type_id)
    info.put("id", prog.id)
    info.put("tag", prog.tag)
    info.put("name", prog.name.encode().ljust(uapi.BPF_OBJ_NAME_LEN, b"\0"))
    info.put("load_time", prog.load_time_ns)
    info.put("created_by_uid", prog.uid)
    gpl = uapi.LAYOUTS["bpf_prog_info"].fields["ifindex"][0] + 4
    info.data[gpl] = info.data[gpl] & ~1 | program.gpl
    _fill_array(kernel, info, prog, _MAP_IDS)
    for counts, size_member, size in _RECORDS:
        if (info.asked(counts) or info.asked(size_member)) and info.asked(size_member) != size:
            raise refuse(errno.EINVAL, f"{size_member} {info.asked(size_member)}, wanted {size}")
        info.put(size_member, size)
    info.put("run_time_ns", prog.own.ptr.ns)
    info.put("run_cnt", prog.own.ptr.runs)
    info.put("recursion_misses", prog.own.ptr.misses)
    info.put("verified_insns", prog.verified.stats.processed_insns)
    info.put("btf_id", prog.btf.id if prog.btf is not None else 0)
    if not caller.cred.capable(CAP_BPF):
        for array in _ARRAYS[:-1]:
            info.put(array.length, 0)
        return
    for array in _ARRAYS:
        _fill_array(kernel, info, prog, array)
    of_kernel = prog.attach_btf_id and not program.is_extension and program.traces is None
    info.put("attach_btf_obj_id", kernel.btf.id if of_kernel else 0)
    info.put("attach_btf_id", prog.attach_btf_id)


def _fill_array(kernel: Kernel, info: Info, prog: ProgObject, array: Array) -> None:
    room, count = info.asked(array.length), array.count(kernel, prog)
    info.put(array.length, count)
    if not room or not count:
        return
    if array.secret and not info.opener.may(CAP_SYSLOG):
        info.put(array.pointer, 0)
        return
    contents = array.contents(kernel, prog)
    if array.censor is not None and not info.opener.may(CAP_SYSLOG):
        contents = array.censor(contents)
    info.caller.write(info.asked(array.pointer), contents[: min(room, count) * array.size])


def _functions(kernel: Kernel, prog: ProgObject) -> int:
    return max(len(prog.verified.facts.subprogs), 1)


def _places(prog: ProgObject) -> tuple[tuple[int, int], ...]:
    """Address and bytes of each function's native code; the interpreter has one entry and no code."""
    return getattr(prog.native, "functions", None) or ((prog.native.addr, 0),) * len(prog.verified.facts.subprogs)


def _xlated(kernel: Kernel, prog: ProgObject) -> bytes:
    """The instructions with map ids for the fds that they came with."""
    insns = list(prog.program.insns)
    for pc, ref in prog.program.map_refs.items():
        value = ref.value_off is not None
        src = uapi.BPF_PSEUDO_MAP_VALUE if value else uapi.BPF_PSEUDO_MAP_FD
        insns[pc] = insns[pc]._replace(src=src, imm=prog.maps[ref.map_index].id)
        insns[pc + 1] = insns[pc + 1]._replace(imm=ref.value_off or 0)
    starts = [s.start for s in prog.verified.facts.subprogs]
    for pc, insn in enumerate(insns):
        # As Linux's JIT leaves calls of the program's own functions: the distance in off, the function's number in imm.
        if insn.code == CALL and insn.src == uapi.BPF_PSEUDO_CALL and pc + 1 + insn.imm in starts:
            insns[pc] = insn._replace(off=(insn.imm + 0x8000) % 0x10000 - 0x8000, imm=starts.index(pc + 1 + insn.imm))
    return encode(insns)


def _without_calls(insns: bytes) -> bytes:
    """Calls without the functions that they call, which are kernel addresses."""
    out = bytearray(insns)
    for at in range(0, len(out), 8):
        if out[at] == CALL:
            out[at + 4 : at + 8] = bytes(4)
    return bytes(out)


def _jited(kernel: Kernel, prog: ProgObject) -> bytes:
    return b"".join(bytes(ffi.buffer(ffi.cast("char *", addr), size)) for addr, size in _places(prog) if size)


def _jited_lines(kernel: Kernel, prog: ProgObject) -> bytes:
    found = kernel.jit.line_addresses(prog.verified, prog.native)
    return b"".join(addr.to_bytes(8, "little") for addr in found)


def _tags(kernel: Kernel, prog: ProgObject) -> bytes:
    functions = prog.verified.facts.subprogs
    if len(functions) < 2:
        return prog.tag
    return b"".join(tag_of(prog.program.insns[f.start : f.end]) for f in functions)


_MAP_IDS = Array(
    "nr_map_ids",
    "map_ids",
    4,
    lambda kernel, prog: len(prog.maps),
    lambda kernel, prog: b"".join(m.id.to_bytes(4, "little") for m in prog.maps),
)
_ARRAYS = (
    Array(
        "xlated_prog_len",
        "xlated_prog_insns",
        1,
        lambda kernel, prog: 8 * len(prog.program.insns),
        _xlated,
        censor=_without_calls,
    ),
    Array(
        "jited_prog_len",
        "jited_prog_insns",
        1,
        lambda kernel, prog: sum(size for _, size in _places(prog)),
        _jited,
        secret=True,
    ),
    Array(
        "nr_jited_ksyms",
        "jited_ksyms",
        8,
        _functions,
        lambda kernel, prog: b"".join(addr.to_bytes(8, "little") for addr, _ in _places(prog)),
        secret=True,
    ),
    Array(
        "nr_jited_func_lens",
        "jited_func_lens",
        4,
        _functions,
        lambda kernel, prog: b"".join(size.to_bytes(4, "little") for _, size in _places(prog)),
        secret=True,
    ),
    Array(
        "nr_func_info",
        "func_info",
        _FUNC.size,
        lambda kernel, prog: len(prog.program.funcs),
        lambda kernel, prog: b"".join(_FUNC.pack(f.insn_off, f.type_id) for f in prog.program.funcs),
    ),
    Array(
        "nr_line_info",
        "line_info",
        _LINE.size,
        lambda kernel, prog: len(prog.program.lines),
        lambda kernel, prog: b"".join(
            _LINE.pack(x.insn_off, x.file_name_off, x.line_off, x.line_col) for x in prog.program.lines
        ),
    ),
    Array(
        "nr_jited_line_info",
        "jited_line_info",
        8,
        lambda kernel, prog: len(prog.program.lines) if hasattr(prog.native, "functions") else 0,
        _jited_lines,
        secret=True,
    ),
    Array("nr_prog_tags", "prog_tags", uapi.BPF_TAG_SIZE, _functions, _tags),
)
# Arrays of records: the count, the size of one as the caller has it, and as Linux has it.
_RECORDS = (
    ("nr_func_info", "func_info_rec_size", _FUNC.size),
    ("nr_line_info", "line_info_rec_size", _LINE.size),
    ("nr_jited_line_info", "jited_line_info_rec_size", 8),
)
