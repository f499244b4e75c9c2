"""Programs that are for a function of another program (freplace, fentry, fexit): whether they may, in Linux's words.

An extension is verified as what it extends: with that program's type, context and helpers, its arguments as that function's.
"""

from __future__ import annotations

import errno
from typing import NoReturn

from ..btf import VOID, Btf, Kind
from ..btf.types import COMPOSITES, ENUMS, Type
from ..program import Program, TracedFunction, ValueKind, Verified
from ..uapi import bpf as uapi
from .refusal import Refusal

_SIZED = frozenset({Kind.INT, Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.ENUM64, Kind.FLOAT})


def _no(reason: str) -> NoReturn:
    raise Refusal(reason, errno.EINVAL)


def function_of(target: Verified, btf_id: int, who: str) -> tuple[int, Btf, Type]:
    """A target's function by its id in the target's BTF: its number, that BTF and its type. Raises Refusal."""
    program = target.program
    btf = program.btf
    if not btf_id:
        _no("Tracing programs must provide btf_id")
    if btf is None:
        _no("FENTRY/FEXIT program can only be attached to another program annotated with BTF")
    if not 0 < btf_id < len(btf):
        _no(f"attach_btf_id {btf_id} is invalid")
    func = btf.type(btf_id)
    index = next((i for i, info in enumerate(program.funcs) if info.type_id == btf_id), -1)
    if index < 0 or not target.facts.visited[program.funcs[index].insn_off]:
        _no(f"Subprog {func.name} doesn't exist")
    if index == target.facts.answers_throws:
        _no(f"{who} programs cannot attach to exception callback")
    return index, btf, func


def check_target(ours: Btf | None, own: int, target: Verified, btf_id: int) -> int:
    """The number of the target's function that a program may stand for. Raises Refusal.

    own: the program's main function in `ours`. btf_id: the function, in the target's BTF.
    """
    index, btf, func = function_of(target, btf_id, "Extension")
    if not is_reliable(target, index):
        _no("Cannot replace static functions")
    if target.program.is_extension:
        _no("Cannot recursively attach")
    if target.program.attach_type in (uapi.BPF_TRACE_FENTRY, uapi.BPF_TRACE_FEXIT):
        _no("Cannot extend fentry/fexit")
    if func.kind is not Kind.FUNC:
        _no(f"attach_btf_id {btf_id} is not a function")
    if ours is None or not own:
        _no("Extension programs want BTF of their own function")
    _match(ours, ours.type(own), btf, func)
    return index


def check_traced(target: Verified, btf_id: int, attach_type: int, *, sleepable: bool, nested: bool) -> TracedFunction:
    """What a program of type TRACING sees of another's function. Raises Refusal.

    nested: the target is itself a tracing program that was loaded for a tracing program.
    """
    index, btf, func = function_of(target, btf_id, "FENTRY/FEXIT")
    if nested:
        _no("Cannot nest tracing program attach more than once")
    if attach_type == uapi.BPF_TRACE_RAW_TP:
        _no("Only FENTRY/FEXIT progs are attachable to another BPF prog")
    if attach_type not in (uapi.BPF_TRACE_FENTRY, uapi.BPF_TRACE_FEXIT, uapi.BPF_MODIFY_RETURN):
        _no(f"attach type {attach_type} is not one of another program's functions")
    if sleepable:
        _no(f"{func.name} is not sleepable")
    if attach_type == uapi.BPF_MODIFY_RETURN:
        _no("can't modify return codes of BPF programs")
    proto = func.ref if is_reliable(target, index) else VOID
    of = target.program.type
    return TracedFunction(btf, proto, of.ctx_names, of.kern_ctx)


def is_reliable(target: Verified, index: int) -> bool:
    """Whether a function's prototype says what its registers hold.

    That of a global function always does. A static one's arguments may have been optimised away, and the main function
    may be declared as anything: Linux compares them with what it has seen while it verified.
    """
    program, facts = target.program, target.facts
    btf = program.btf
    assert btf is not None
    func = btf.type(program.funcs[index].type_id)
    whole = not index and not program.is_extension
    if func.linkage == 1 and not whole:
        return True
    proto = btf.type(func.ref)
    returned = btf.resolve(proto.ref)
    if returned.kind is not Kind.INT and returned.kind not in ENUMS:
        return False
    if whole:
        tags = {t.name for _, t in btf.items() if t.kind is Kind.DECL_TAG and t.component == 0 and btf.type(t.ref) is func}
        only = [btf.resolve(param.type_id) for param in proto.params]
        return [t.kind for t in only] == [Kind.PTR] and ("arg:ctx" in tags or _is_context(btf, only[0], program))
    if len(proto.params) > 5:
        return False
    for param, kinds in zip(proto.params, facts.entry_kinds[index][1:], strict=False):
        t = btf.resolve(param.type_id)
        if t.kind is Kind.PTR and _is_context(btf, t, program):
            wanted = ValueKind.POINTER
        elif t.kind is Kind.INT or t.kind in ENUMS:
            wanted = ValueKind.SCALAR
        else:
            return False
        if kinds != wanted:
            return False
    return True


def _is_context(btf: Btf, pointer: Type, program: Program) -> bool:
    names = {btf.type(btf.skip_quals(pointer.ref)).name, btf.resolve(pointer.ref).name}
    return bool(names & program.type.ctx_names)


def _match(btf1: Btf, func1: Type, btf2: Btf, func2: Type) -> None:
    """Both functions are global, and of one prototype."""
    for func in (func1, func2):
        if func.linkage != 1:
            _no(f"{func.name}() is not a global function")
    name1, name2 = func1.name, func2.name
    proto1, proto2 = btf1.type(func1.ref), btf2.type(func2.ref)
    if len(proto1.params) != len(proto2.params):
        _no(f"{name1}() has {len(proto1.params)} args while {name2}() has {len(proto2.params)} args")
    returned1, returned2 = btf1.resolve(proto1.ref), btf2.resolve(proto2.ref)
    if not _alike(returned1, returned2):
        _no(f"Return type {returned1.kind.name} of {name1}() doesn't match type {returned2.kind.name} of {name2}()")
    for i, (p1, p2) in enumerate(zip(proto1.params, proto2.params, strict=True)):
        t1, t2 = btf1.resolve(p1.type_id), btf2.resolve(p2.type_id)
        if not _alike(t1, t2):
            _no(f"arg{i} in {name1}() is {t1.kind.name} while {name2}() has {t2.kind.name}")
        if t1.kind in _SIZED and t1.size != t2.size:
            _no(f"arg{i} in {name1}() has size {t1.size} while {name2}() has {t2.size}")
        if t1.kind is Kind.INT or t1.kind in ENUMS:
            continue
        if t1.kind is not Kind.PTR:
            _no(f"arg{i} in {name1}() has unrecognized type")
        to1, to2 = btf1.resolve(t1.ref), btf2.resolve(t2.ref)
        for name, to in ((name1, to1), (name2, to2)):
            if to.kind not in COMPOSITES:
                _no(f"arg{i} in {name}() is not a pointer to context")
        if to1.name != to2.name:
            _no(f"arg{i} {name1}(struct {to1.name} *) doesn't match {name2}(struct {to2.name} *)")


def _alike(t1: Type, t2: Type) -> bool:
    """Kind, flag and number of members are the same: what BTF says of a type in one word."""
    return (t1.kind, t1.signed if t1.kind in ENUMS else 0, len(t1.members) + len(t1.values)) == (
        t2.kind,
        t2.signed if t2.kind in ENUMS else 0,
        len(t2.members) + len(t2.values),
    )
