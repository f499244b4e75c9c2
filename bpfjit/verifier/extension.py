"""Programs that take the place of a function of another program (freplace): whether they may, in Linux's words.

An extension is verified as what it extends: with that program's type, context and helpers, its arguments as that function's.
"""

from __future__ import annotations

import errno
from typing import NoReturn

from ..btf import Btf, Kind
from ..btf.types import COMPOSITES, ENUMS, Type
from ..program import Program
from .refusal import Refusal

_SIZED = frozenset({Kind.INT, Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.ENUM64, Kind.FLOAT})


def _no(reason: str) -> NoReturn:
    raise Refusal(reason, errno.EINVAL)


def check_target(ours: Btf | None, own: int, target: Program, btf_id: int) -> int:
    """The number of the target's function that a program may stand for. Raises Refusal.

    own: the program's main function in `ours`. btf_id: the function, in the target's BTF.
    """
    btf = target.btf
    if btf is None:
        _no("FENTRY/FEXIT program can only be attached to another program annotated with BTF")
    if not 0 < btf_id < len(btf):
        _no(f"attach_btf_id {btf_id} is invalid")
    func = btf.type(btf_id)
    index = next((i for i, info in enumerate(target.funcs) if info.type_id == btf_id), -1)
    if index < 0:
        _no(f"Subprog {func.name} doesn't exist")
    if func.kind is Kind.FUNC and func.linkage != 1:
        _no("Cannot replace static functions")
    if target.is_extension:
        _no("Cannot recursively attach")
    if func.kind is not Kind.FUNC:
        _no(f"attach_btf_id {btf_id} is not a function")
    if ours is None or not own:
        _no("Extension programs want BTF of their own function")
    _match(ours, ours.type(own), btf, func)
    if not index:
        _no(f"{func.name}() is the whole program, which cannot be replaced here")
    return index


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
