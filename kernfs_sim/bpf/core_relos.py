"""CO-RE at BPF_PROG_LOAD: the program's relocations against the kernel's own types, by the code that loaders use.

Linux shares that code with libbpf too; what a light skeleton brings is relocated here.
"""

from __future__ import annotations

import errno
import struct

from bpfjit.btf import BtfId, CoreRelo, RawBtf
from bpfjit.errors import BpfError, refuse
from bpfjit.isa.encoding import Insn
from bpfjit.relocate.core import relocate
from bpfjit.uapi import bpf as uapi

from ..caller import Caller

_RECORD = struct.Struct("<IIII")
_MAX_RECORD = 252  # and a multiple of 4, as of func_info and line_info
_MAX_RELOS = ((1 << 31) - 1) // _RECORD.size


def apply(caller: Caller, attr: uapi.ProgLoad, insns: list[Insn], local: RawBtf, kernel: RawBtf) -> None:
    """Relocate `insns` in place. Raises EINVAL, EFAULT, or E2BIG for records with unknown bytes that are not zero."""
    size, count = attr.core_relo_rec_size, attr.core_relo_cnt
    if count > _MAX_RELOS or not _RECORD.size <= size <= _MAX_RECORD or size % 4:
        raise refuse(errno.EINVAL, f"{count} CO-RE relocations of {size} bytes each")
    for i in range(count):
        record = caller.read(attr.core_relos + i * size, size)
        if any(record[_RECORD.size :]):
            raise refuse(errno.E2BIG, "nonzero tailing record in core_relo")
        insn_off, type_id, access, kind = _RECORD.unpack_from(record)
        if insn_off % 8 or insn_off // 8 >= len(insns):
            raise refuse(errno.EINVAL, f"Invalid core_relo[{i}].insn_off:{insn_off} prog->len:{len(insns)}")
        if not 0 < type_id < len(local):
            raise refuse(errno.EINVAL, f"relo #{i}: bad type id {type_id}")
        end = local.strings.find(b"\0", access)
        if end < 0:
            raise refuse(errno.EINVAL, f"relo #{i}: no string at {access}")
        spec = local.strings[access:end].decode("utf-8", "replace")
        try:
            relocate(insns, [CoreRelo(insn_off // 8, BtfId(type_id), spec, kind)], local, kernel, "")
        except BpfError as e:
            raise refuse(errno.EINVAL, f"relo #{i}: {e.cause}") from None
