"""A program's instructions for the kernel at hand: CO-RE, externs and map references resolved.

What cannot be resolved becomes a call that no verifier accepts, so that it does no harm where it cannot be
reached; `why` then says, by the number in that call, what was missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..btf import Btf, Kind
from ..dataclass import dataclass, field
from ..elf.spec import Extern, ExternReloc, ProgSpec
from ..errors import BtfError, LoadError
from ..isa.encoding import CALL, LD_IMM64, Insn, ld_imm64
from ..relocate.core import POISON, relocate
from ..relocate.match import types_agree
from ..uapi import bpf as uapi

# Unknown helpers, as libbpf numbers them, plus the place in the program's list of externs.
_POISON_EXTERN = 2002000000


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the instructions of one object may refer to.

    local: the object's BTF. kernel: the running kernel's, core: the one to relocate against, None where the kernel
    itself relocates. symbols: addresses of kernel symbols by name. map_fds: by the reference that MapReloc names.
    missing: .kconfig externs without a value.
    """

    local: Btf | None
    core: Callable[[], Btf] | None
    kernel: Callable[[], Btf]
    symbols: Mapping[str, int]
    externs: Mapping[str, Extern]
    map_fds: Mapping[str, int]
    missing: frozenset[str] = frozenset()


@dataclass(slots=True)
class Resolved:
    """Instructions ready for a kernel, and why some are poisoned: by (pc, imm) of the call in their place."""

    insns: list[Insn]
    core: dict[int, str] = field(default_factory=dict)
    externs: dict[int, str] = field(default_factory=dict)

    def why(self, pc: int, imm: int) -> str | None:
        """What was missing where the verifier met the call of `imm` at `pc` (-1: not known)."""
        if imm == POISON.imm:
            if pc < 0 and len(self.core) == 1:
                return next(iter(self.core.values()))
            return self.core.get(pc)
        return self.externs.get(imm)


def resolve_insns(prog: ProgSpec, around: Surroundings) -> Resolved:
    """Raises LoadError for references that make no sense."""
    result = Resolved(prog.insns[:])
    insns = result.insns
    if prog.core and around.local is None:
        raise LoadError("CO-RE relocations without BTF", program=prog.name)
    if prog.core and around.core is not None:
        assert around.local is not None
        result.core = relocate(insns, prog.core, around.local, around.core(), prog.name)
    for index, extern in enumerate(prog.externs):
        if insns[extern.pc] == POISON:
            continue
        found = _extern(insns[extern.pc], extern, around)
        if found is None:
            imm = _POISON_EXTERN + index
            result.externs[imm] = f"unresolved extern {extern.name}"
            found = (Insn(CALL, imm=imm),) * (2 if insns[extern.pc].code == LD_IMM64 else 1)
        insns[extern.pc : extern.pc + len(found)] = found
    for reloc in prog.maps:
        fd = around.map_fds.get(reloc.map_name)
        if fd is None:
            raise LoadError(f"reference to unknown map {reloc.map_name}", program=prog.name)
        if insns[reloc.pc] != POISON:
            src = uapi.BPF_PSEUDO_MAP_FD if reloc.value_off is None else uapi.BPF_PSEUDO_MAP_VALUE
            insns[reloc.pc : reloc.pc + 2] = ld_imm64(insns[reloc.pc].dst, fd | (reloc.value_off or 0) << 32, src)
    return result


def _extern(insn: Insn, ref: ExternReloc, around: Surroundings) -> tuple[Insn, ...] | None:
    """The instruction, or the two, that refer to an extern; None where it cannot be resolved."""
    extern = around.externs.get(ref.name)
    if extern is not None and extern.section == ".kconfig":
        if ref.call or ref.name in around.missing:
            return None
        return ld_imm64(insn.dst, around.map_fds[".kconfig"] | extern.offset << 32, uapi.BPF_PSEUDO_MAP_VALUE)
    if extern is not None and not extern.typeless:
        btf_id = _kernel_id(extern, around, Kind.FUNC if extern.function else Kind.VAR)
        if btf_id is not None and ref.call:
            return (Insn(CALL, src=uapi.BPF_PSEUDO_KFUNC_CALL, imm=btf_id),)
        if btf_id is not None:
            return ld_imm64(insn.dst, btf_id, uapi.BPF_PSEUDO_BTF_ID)
    elif not ref.call and ref.name in around.symbols:
        return ld_imm64(insn.dst, around.symbols[ref.name])
    # The address of a weak symbol that is not there is NULL; a call of it must not be reached.
    return ld_imm64(insn.dst, 0) if ref.weak and not ref.call else None


def _kernel_id(extern: Extern, around: Surroundings, kind: Kind) -> int | None:
    kernel, local = around.kernel(), around.local
    assert local is not None, "externs come from BTF"
    found = kernel.find(kind, extern.name.split("___")[0])
    if around.core is None:
        return found  # nobody compares types who leaves them to the kernel
    try:
        return found if found is not None and types_agree(local, extern.type_id, kernel, kernel.type(found).ref) else None
    except BtfError as e:
        raise LoadError(f"extern {extern.name}: {e}") from None
