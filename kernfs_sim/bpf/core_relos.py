"""CO-RE at BPF_PROG_LOAD: the program's relocations against the kernel's own types, by the code that loaders use.

Linux shares that code with libbpf too; what a light skeleton brings is relocated here.
"""

from __future__ import annotations

import errno
import struct

from bpfjit.btf import BtfId, CoreRelo, RawBtf
from bpfjit.errors import BpfError, refuse
from bpfjit.isa.encoding import ALU, ALU64, LD_IMM64, LDX, ST, STX, Insn, imm64
from bpfjit.relocate.core import Value, patch, resolve
from bpfjit.uapi import bpf as uapi

from ..caller import Caller
from .log import Unseen

_RECORD = struct.Struct("<IIII")
_MAX_RECORD = 252  # and a multiple of 4, as of func_info and line_info
_MAX_RELOS = ((1 << 31) - 1) // _RECORD.size


def apply(caller: Caller, attr: uapi.ProgLoad, insns: list[Insn], local: RawBtf, kernel: RawBtf) -> None:
    """Relocate `insns` in place. Raises EINVAL, EFAULT, or E2BIG for records with unknown bytes that are not zero.

    The log has Linux's last line about a fault, not how it came there.
    """
    size, count = attr.core_relo_rec_size, attr.core_relo_cnt
    if count > _MAX_RELOS or not _RECORD.size <= size <= _MAX_RECORD or size % 4:
        raise Unseen(errno.EINVAL, "", f"{count} CO-RE relocations of {size} bytes each")
    for i in range(count):
        record = caller.read(attr.core_relos + i * size, size)
        if any(record[_RECORD.size :]):
            attr.core_relo_rec_size = _RECORD.size
            raise Unseen(errno.E2BIG, "nonzero tailing record in core_relo")
        insn_off, type_id, access, kind = _RECORD.unpack_from(record)
        if insn_off % 8 or insn_off // 8 >= len(insns):
            raise refuse(errno.EINVAL, f"Invalid core_relo[{i}].insn_off:{insn_off} prog->len:{len(insns)}")
        if not type_id:
            raise refuse(errno.EINVAL, "target candidate search failed for 0")
        if type_id >= len(local):
            raise refuse(errno.EINVAL, f"relo #{i}: bad type id {type_id}")
        end = local.strings.find(b"\0", access)
        spec = local.strings[access:end].decode("utf-8", "replace") if end >= 0 else "<?>"
        relo = CoreRelo(insn_off // 8, BtfId(type_id), spec, kind)
        who = f"prog '': relo #{i}: "  # Linux does not know the name here
        try:
            value = resolve(local, relo, kernel)
        except BpfError as e:
            t = local.type(type_id)
            what = f"{who}parsing [{type_id}] {t.kind.name} {t.name or '<anon>'} + {spec} failed: -22\n"
            raise Unseen(errno.EINVAL, what, f"relo #{i}: {e.cause}") from None
        try:
            patch(insns, relo, value)
        except BpfError as e:
            said = _misfit(insns, insn_off // 8, value)
            raise Unseen(errno.EINVAL, f"{who}{said}\n" if said else "", f"relo #{i}: {e.cause}") from None


def _misfit(insns: list[Insn], pc: int, value: Value) -> str:
    """How an instruction is not what its relocation is about: a class that has none, or another value in it."""
    insn = insns[pc]
    form = insn.code & 7
    if insn.code == LD_IMM64:
        kind, got, bits = "LDIMM64", imm64(insns, pc) if pc + 1 < len(insns) else 0, 64
    elif form in (ALU, ALU64):
        if insn.is_x:
            return ""
        kind, got, bits = "ALU/ALU64", insn.imm, 32
    elif form in (LDX, ST, STX):
        kind, got, bits = "LDX/ST/STX", insn.off, 16
    else:
        parts = (("code", insn.code), ("src", insn.src), ("dst", insn.dst), ("off", insn.off), ("imm", insn.imm))
        told = ", ".join(f"{part}:{number & 0xFFFFFFFF:#x}" for part, number in parts)
        return f"trying to relocate unrecognized insn #{pc}, {told}"
    got &= (1 << bits) - 1
    if value.local is not None and got != value.local:
        return f"unexpected insn #{pc} ({kind}) value: got {got}, exp {value.local} -> {value.value}"
    return f"insn #{pc} ({kind}) value too big: {value.value}"
