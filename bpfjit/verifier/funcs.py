"""Functions with global linkage: verified once by what their BTF prototype promises, not at each call.

A scalar argument may be anything, a pointer to the program's context must be that, any other pointer is
memory of the pointed-at type's size, or NULL.
"""

from __future__ import annotations

import errno

from ..btf import Btf, Kind
from ..btf.types import COMPOSITES, ENUMS, Type, essential
from ..program import Program
from . import ctx, dynptrs, held, mem
from . import state as st
from .log import type_name
from .refusal import Refusal
from .state import LOCAL, OR_NULL, SCALAR, TRUSTED, Reg, T
from .walk import Walk, non_null


def global_functions(program: Program, starts: list[int], kernel_btf: Btf | None) -> dict[int, tuple[Reg, ...]]:
    """By subprog index (main aside, but of an extension): the argument registers each global function is verified with."""
    btf = program.btf
    if btf is None:
        return {}
    by_off = {info.insn_off: info.type_id for info in program.funcs}
    found: dict[int, tuple[Reg, ...]] = {}
    for index, start in enumerate(starts):
        type_id = by_off.get(start)
        if (index == 0 and not program.is_extension) or type_id is None:
            continue
        func = btf.type(type_id)
        if func.kind is not Kind.FUNC or func.linkage != 1:
            continue
        if not returns_number(program, type_id):
            what = "doesn't return scalar. Only those are supported."
            raise Refusal(f"Global function {func.name}() {what}", errno.EINVAL)
        params = btf.type(func.ref).params
        if len(params) > 5:
            raise Refusal(f"Global function {func.name}() with {len(params)} > 5 args. Buggy compiler.", errno.EINVAL)
        tags = _tags(btf, type_id)
        found[index] = tuple(
            _tagged(btf, p.type_id, i, tags.get(i, frozenset()), kernel_btf)
            or _argument(program, btf, p.type_id, func.name, i, "nonnull" in tags.get(i, ()))
            for i, p in enumerate(params)
        )
    return found


def returns_number(program: Program, type_id: int) -> bool:
    """Whether a function's BTF says that it returns an integer or an enumeration."""
    assert program.btf is not None
    returned = program.btf.resolve(program.btf.type(program.btf.type(type_id).ref).ref)
    return returned.kind is Kind.INT or returned.kind in ENUMS


def _tags(btf: Btf, func: int) -> dict[int, frozenset[str]]:
    """By argument, its tags ("arg:nonnull" and its like). Raises Refusal for one that is not known."""
    found: dict[int, frozenset[str]] = {}
    for _, t in btf.items():
        if t.kind is Kind.DECL_TAG and t.ref == func and t.component >= 0 and t.name.startswith("arg:"):
            found[t.component] = found.get(t.component, frozenset()) | {t.name.removeprefix("arg:")}
    for i, tags in found.items():
        if unknown := tags - {"arena", "ctx", "nonnull", "nullable", "trusted"}:
            raise Refusal(f"arg#{i}: tag arg:{min(unknown)} is not supported by bpfjit yet", errno.EOPNOTSUPP)
    return found


def _tagged(btf: Btf, type_id: int, i: int, tags: frozenset[str], kernel_btf: Btf | None) -> Reg | None:
    """The argument as its tags or its type make it something of its own: the context, a trusted pointer, a dynptr."""
    t = btf.resolve(type_id)
    if t.kind is not Kind.PTR:
        if tags:
            raise Refusal(f"arg#{i} has pointer tag, but is not a pointer type", errno.EINVAL)
        return None
    if "ctx" in tags:
        return st.pointer(T.CTX)
    if "arena" in tags:
        return st.pointer(T.ARENA)
    name = btf.resolve(t.ref).name
    if name == "bpf_dynptr":
        r = st.pointer(T.DYNPTR)
        r.size = dynptrs.Kind.LOCAL
        return r
    if "trusted" not in tags:
        return None
    found = kernel_btf.find(Kind.STRUCT, essential(name)) if kernel_btf is not None else None
    if found is None:
        raise Refusal(f"arg#{i} type {name} is not in the kernel's BTF", errno.EINVAL)
    r = st.pointer(T.BTF, TRUSTED | (OR_NULL if "nullable" in tags else 0))
    r.btf_id = found
    return r


def exception_callback(program: Program) -> int:
    """Where the function begins that the main one's BTF tag names to answer bpf_throw; 0 without one. Raises Refusal."""
    btf = program.btf
    if btf is None or not program.funcs:
        return 0
    tag, main = "exception_callback:", program.funcs[0].type_id
    names = [t.name.removeprefix(tag) for _, t in btf.items() if _is_tag(t, main) and t.name.startswith(tag)]
    if not names:
        return 0
    if len(names) > 1:
        raise Refusal("multiple exception callback tags for main subprog", errno.EEXIST)
    found = btf.find(Kind.FUNC, names[0])
    if found is None:
        raise Refusal(f"exception callback '{names[0]}' could not be found in BTF", errno.ENOENT)
    if btf.type(found).linkage != 1:
        raise Refusal(f"exception callback '{names[0]}' must have global linkage", errno.EINVAL)
    start = next((info.insn_off for info in program.funcs if info.type_id == found), 0)
    if not start:
        raise Refusal("exception callback type id not found in func_info", errno.EINVAL)
    return start


def _is_tag(t: Type, func: int) -> bool:
    return t.kind is Kind.DECL_TAG and t.ref == func and t.component < 0


def _argument(program: Program, btf: Btf, type_id: int, name: str, index: int, nonnull: bool) -> Reg:
    t = btf.resolve(type_id)
    if t.kind is Kind.INT or t.kind in ENUMS:
        return st.scalar()
    if t.kind is Kind.PTR:
        target = btf.type(btf.skip_quals(t.ref))
        resolved = btf.resolve(t.ref)
        names = program.type.ctx_names
        if target.name in names or resolved.name in names:
            return st.pointer(T.CTX)
        if resolved.kind in COMPOSITES or resolved.kind in ENUMS or resolved.kind in (Kind.INT, Kind.PTR, Kind.ARRAY):
            r = st.pointer(T.MEM, 0 if nonnull else OR_NULL)
            r.size = btf.size_of(t.ref)
            return r
    raise Refusal(f"Arg#{index} type {t.kind.name} in {name}() is not supported yet.", errno.EINVAL)


def name_of(program: Program, start: int) -> str:
    """The function's name by func_info, or "main"/"sub@N"."""
    for info in program.funcs:
        if info.insn_off == start and program.btf is not None:
            return program.btf.type(info.type_id).name
    return program.name if start == 0 else f"sub_{start}"


def check_call(w: Walk, contract: tuple[Reg, ...], name: str, args: tuple[ctx.Argument, ...]) -> None:
    """The registers at a call of a global function against its contract. Raises Refusal."""
    for regno, wanted in enumerate(contract, 1):
        try:
            _check_argument(w, regno, wanted, args)
        except Refusal as e:
            number = e.number if wanted.type == T.BTF else errno.EINVAL
            raise Refusal(f"{e.reason}\nCaller passes invalid args into func#{name}", number, w.pc) from None


def _check_argument(w: Walk, regno: int, wanted: Reg, args: tuple[ctx.Argument, ...]) -> None:
    reg = w.read(regno)
    if wanted.type == SCALAR:
        if reg.type != SCALAR:
            w.reject(f"R{regno} is not a scalar")
    elif wanted.type == T.CTX:
        if reg.type != T.CTX or reg.off or not reg.is_const:
            w.reject(f"R{regno} type={type_name(reg)} expected=ctx")
    elif wanted.type == T.ARENA:
        if reg.type not in (T.ARENA, SCALAR):
            w.reject(f"R{regno} is not a pointer to arena or scalar.")
    elif wanted.type == T.DYNPTR:
        dynptrs.initialized(w, regno, reg)
    elif reg.type == SCALAR and reg.is_const and reg.value == 0 and wanted.flags & OR_NULL:
        w.precise(regno)
    elif wanted.type == T.BTF:
        _check_trusted(w, regno, reg, wanted)
    else:
        if not wanted.flags & OR_NULL and (reg.flags & OR_NULL or reg.type == SCALAR):
            if reg.type == SCALAR and not (reg.is_const and reg.value == 0):
                w.reject(f"R{regno} type={type_name(reg)} expected={mem.MEMORY_TYPES}")
            w.reject(f"arg#{regno - 1} is expected to be non-NULL", errno.EINVAL)
        w.regs[regno] = non_null(reg)  # the function looks for NULL itself
        mem.helper_memory(w, regno, wanted.size, writes=False, args=args)
        mem.helper_memory(w, regno, wanted.size, writes=True, args=args)
        w.regs[regno] = reg


def _check_trusted(w: Walk, regno: int, reg: Reg, wanted: Reg) -> None:
    """A pointer to a kernel structure that the function may rely upon."""
    maybe = reg.flags & OR_NULL and not wanted.flags & OR_NULL
    if reg.type != T.BTF or reg.flags & LOCAL or maybe or not held.is_trusted(non_null(reg)):
        w.reject(f"R{regno} type={type_name(reg)} expected=ptr_, trusted_ptr_, rcu_ptr_")
    btf = w.env.kernel_btf
    assert btf is not None
    if reg.off < 0 or not reg.is_const or reg.off or reg.btf_id != wanted.btf_id:
        found, name = btf.resolve(reg.btf_id).name, btf.resolve(wanted.btf_id).name
        w.reject(f"R{regno} is of type {found} but {name} is expected")
