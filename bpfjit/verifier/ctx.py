"""Access to a program's context, by the kind its program type says."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..btf import VOID, Btf, BtfId, Kind, Type
from ..btf.types import COMPOSITES, ENUMS
from ..program import Program, SocketPart, TracedFunction
from ..spec.kinds import CtxField, CtxKind, CtxLayout, FieldKind
from ..spec.lsm import PREFIX, UNTRUSTED
from ..spec.sockets import NO_QUEUE, SOCK_MEMBERS, TCP_MEMBERS, place
from ..spec.targets import CtxArg, Target
from ..uapi import bpf as uapi
from . import lsm
from . import state as st
from .bounds import sync, truncate
from .refusal import Refusal
from .state import OR_NULL, RDONLY, TRUSTED, Reg, T
from .walk import Env, Walk


@dataclass(frozen=True, slots=True)
class Argument:
    """One 8-byte argument of a BTF-typed context: a structure pointer, memory, or (kind SCALAR) a number."""

    type: T
    flags: int = 0
    btf_id: BtfId = VOID
    size: int = 0
    within: tuple[int, int] | None = None  # what a number is known to lie in
    hidden: bool = False  # what no program may read


def arguments(program: Program, env: Env) -> tuple[Argument, ...]:
    """The context of a program that attaches by BTF. Raises Refusal for one that attaches to nothing."""
    btf = env.kernel_btf
    if program.type.ctx is not CtxKind.BTF_ARGS:
        return ()
    if program.traces is not None:
        return _traced_arguments(program.traces, program.attach_type, btf)
    name = program.attach_name
    if btf is None or not name:
        raise Refusal("Tracing programs must provide btf_id", errno.EINVAL)
    if program.attach_type == uapi.BPF_TRACE_RAW_TP:
        type_id = btf.find(Kind.TYPEDEF, name)
        skip = 1  # the tracepoint's own data pointer is not passed on
    else:
        type_id = btf.find(Kind.FUNC, name)
        skip = 0
    if type_id is None:
        raise Refusal(f"attach_btf_id {name} is not in the kernel's BTF", errno.EINVAL)
    proto = btf.resolve(type_id)
    while proto.kind in (Kind.PTR, Kind.FUNC):
        proto = btf.resolve(proto.ref)
    if program.attach_type in LSM_ATTACH_TYPES:
        return _hook_arguments(program, btf, proto, type_id)
    if program.attach_type in FUNCTION_ATTACH_TYPES:
        return _function_arguments(program, btf, proto, env)
    trust = _trust(program, env.targets)
    return tuple(_argument(btf, p.type_id, trust, i) for i, p in enumerate(proto.params[skip:]))


FUNCTION_ATTACH_TYPES = (uapi.BPF_TRACE_FENTRY, uapi.BPF_TRACE_FEXIT, uapi.BPF_MODIFY_RETURN)


LSM_ATTACH_TYPES = (uapi.BPF_LSM_MAC, uapi.BPF_LSM_CGROUP)


def _hook_arguments(program: Program, btf: Btf, proto: Type, type_id: int) -> tuple[Argument, ...]:
    """A security hook's arguments, which may be trusted where the hook's objects are whole; behind them what others said."""
    lsm.check_hook(program, type_id)
    plain = program.attach_name.removeprefix(PREFIX) in UNTRUSTED
    trust = (CtxArg.PLAIN if plain else CtxArg.TRUSTED,) * len(proto.params)
    found = tuple(_argument(btf, p.type_id, trust, i) for i, p in enumerate(proto.params))
    said = lsm.returns_of(program, proto) if program.attach_type == uapi.BPF_LSM_MAC else None
    return (*found, replace(_argument(btf, proto.ref, None, 0), within=said)) if proto.ref else found


def _function_arguments(program: Program, btf: Btf, proto: Type, env: Env) -> tuple[Argument, ...]:
    """A function's arguments, of which nothing is known but their types; behind them what it, or a program, returned."""
    name, row = program.attach_name, env.function(program.attach_name)
    if row is None:
        raise Refusal(f"{name} is no function that programs can attach to", errno.EINVAL)
    if program.attach_type == uapi.BPF_MODIFY_RETURN and not row.modifiable:
        raise Refusal(f"{name}() is not modifiable", errno.EINVAL)
    if program.sleepable and not row.sleepable:
        raise Refusal(f"{name} is not sleepable", errno.EINVAL)
    found = tuple(_argument(btf, p.type_id, (CtxArg.PLAIN,) * len(proto.params), i) for i, p in enumerate(proto.params))
    return found if program.attach_type == uapi.BPF_TRACE_FENTRY else (*found, _argument(btf, proto.ref, None, 0))


_NUMBER = Argument(T.SCALAR, size=8)


def _traced_arguments(traced: TracedFunction, attach_type: int, kernel_btf: Btf | None) -> tuple[Argument, ...]:
    """The registers that another program's function is called with, and behind them what it returned."""
    if traced.proto == VOID:
        found, returned = (_NUMBER,) * MAX_FUNCTION_ARGS, _NUMBER
    else:
        proto = traced.btf.type(traced.proto)
        found = tuple(slot for p in proto.params for slot in _traced_slots(traced, p.type_id, kernel_btf))
        returned = _traced_slots(traced, proto.ref, kernel_btf)[0]
    return (*found, returned) if attach_type == uapi.BPF_TRACE_FEXIT else found


MAX_FUNCTION_ARGS = 5  # of a program's function


def _traced_slots(traced: TracedFunction, type_id: int, kernel_btf: Btf | None) -> tuple[Argument, ...]:
    """One parameter: numbers and structures as they are, of pointers the context as the kernel has it, and untyped ones."""
    t = traced.btf.resolve(type_id)
    if t.kind is Kind.INT or t.kind in ENUMS or t.kind is Kind.STRUCT:
        return (_NUMBER,) * max(1, (t.size + 7) // 8)
    if t.kind is not Kind.PTR:
        return (Argument(T.SCALAR, hidden=True),)
    to = traced.btf.resolve(t.ref)
    if not t.ref or to.kind is Kind.INT:
        return (Argument(T.SCALAR, _WHOLE, size=8),)
    if not traced.ctx_names & {traced.btf.type(traced.btf.skip_quals(t.ref)).name, to.name}:
        return (Argument(T.SCALAR, hidden=True),)
    found = kernel_btf.find(Kind.STRUCT, traced.kern_ctx) if kernel_btf is not None and traced.kern_ctx else None
    # Where the kernel has no such structure the pointer is a number: there is nothing behind it to be read.
    return (Argument(T.BTF, 0, found) if found is not None else Argument(T.SCALAR, _WHOLE, size=8),)


def attached(program: Program, args: tuple[Argument, ...]) -> int:
    """Facts.attached: how many arguments the function has, and whether what it returned is among the context's."""
    if program.attach_type in (uapi.BPF_TRACE_FEXIT, uapi.BPF_MODIFY_RETURN, uapi.BPF_LSM_MAC) and args:
        return len(args) - 1 | 1 << 32
    return len(args) if program.attach_type == uapi.BPF_TRACE_FENTRY else 0


def _trust(program: Program, targets: Mapping[str, Target]) -> tuple[CtxArg, ...] | None:
    """What is known of the target's arguments, or None for a function or tracepoint (whose pointers are all trusted)."""
    if program.attach_type not in (uapi.BPF_TRACE_VIEW, uapi.BPF_TRACE_ITER):
        return None
    row = targets.get(program.attach_name)
    if row is None:
        raise Refusal(f"{program.attach_name} is no target that programs can attach to", errno.EINVAL)
    return (CtxArg.TRUSTED, *row.args)


_FLAGS = {CtxArg.TRUSTED: TRUSTED, CtxArg.TRUSTED_OR_NULL: TRUSTED | OR_NULL, CtxArg.PLAIN_OR_NULL: OR_NULL, CtxArg.PLAIN: 0}


_WHOLE = 1 << 16  # a number that is read whole: a pointer to what programs do not follow


def _argument(btf: Btf, type_id: int, trust: tuple[CtxArg, ...] | None, index: int) -> Argument:
    t = btf.resolve(type_id)
    how = trust[index] if trust is not None and index < len(trust) else CtxArg.TRUSTED
    if how in (CtxArg.KEY_OR_NULL, CtxArg.VALUE_OR_NULL):
        return Argument(T.MEM, OR_NULL | (RDONLY if how is CtxArg.KEY_OR_NULL else 0), size=-1)
    if t.kind is Kind.INT or t.kind in ENUMS:
        return Argument(T.SCALAR, size=t.size)
    if t.kind is Kind.PTR:
        target = btf.skip(t.ref)
        if btf.type(target).kind in COMPOSITES:
            return Argument(T.BTF, _FLAGS[how], target)
        return Argument(T.SCALAR, _WHOLE, size=8)
    return Argument(T.SCALAR, size=8)


def _invalid(w: Walk, off: int, size: int) -> Refusal:
    return Refusal(f"invalid bpf_context access off={off} size={size}", errno.EACCES, w.pc)


def field_of(layout: CtxLayout, off: int, size: int, write: bool) -> CtxField | None:
    """The member that an access reads or writes; None where no such access is allowed."""
    for f in layout.fields:
        if f.offset <= off < f.offset + f.size:
            inside = off + size <= f.offset + f.size and size <= f.widest and (f.narrow or size == f.word)
            inside = inside and not (f.at_start and off != f.offset)
            if f.kind is not FieldKind.SCALAR:
                inside = off == f.offset and size == f.size
            if write and not (f.writable and (f.parts_written or size >= f.word)):
                inside = False
            if inside:
                return f
    return None


def access(w: Walk, off: int, size: int, write: bool, args: tuple[Argument, ...]) -> Reg:
    """One access of a program's context; what a load leaves. Raises Refusal."""
    kind = w.program.type.ctx
    if off % size:
        raise _invalid(w, off, size)
    if kind is CtxKind.FIELDS:
        return _fields(w, off, size, write)
    if kind is CtxKind.RW_BUFFER:
        if off < 0 or off + size > w.program.type.ctx_size:
            raise _invalid(w, off, size)
        return _sized(size)
    if write:
        raise _invalid(w, off, size)
    if kind is CtxKind.RAW_ARGS:
        if off < 0 or off + size > w.program.type.ctx_size:
            raise _invalid(w, off, size)
        if w.program.type.writes_argument and not off:
            if size != 8:
                raise _invalid(w, off, size)
            return st.pointer(T.TP_BUFFER)
        return _sized(size)
    if kind is CtxKind.BUFFER:
        if off < w.program.type.ctx_start or off + size > w.program.type.ctx_size:
            raise _invalid(w, off, size)
        return _sized(size)
    if kind is not CtxKind.BTF_ARGS or off < 0:
        raise _invalid(w, off, size)
    index = off // 8
    if index >= len(args):
        raise Refusal(
            f"func '{w.program.attach_name}' doesn't have {index + 1}-th argument\n{_invalid(w, off, size).reason}",
            errno.EACCES,
            w.pc,
        )
    arg = args[index]
    if arg.hidden:
        raise _invalid(w, off, size)
    if arg.type is T.SCALAR:
        if off % size or (arg.flags & _WHOLE and size != 8):
            raise _invalid(w, off, size)
        r = _sized(size) if size < 8 else st.scalar()
        if arg.within is not None:
            r = r if size < 8 else st.unknown_scalar()
            r.smin, r.smax = r.s32min, r.s32max = arg.within
            sync(r)
        return r
    if off % 8 or size != 8:
        raise _invalid(w, off, size)
    r = st.pointer(arg.type, arg.flags)
    r.btf_id = arg.btf_id
    r.size = arg.size
    if arg.flags & OR_NULL:
        r.id = w.new_id()
    return r


def socket_part(btf: Btf | None, tcp: bool, field: CtxField, at: int) -> SocketPart | None:
    """What lies behind a socket's member read at `at`; None where the kernel has nothing behind it."""
    path = (TCP_MEMBERS if tcp else SOCK_MEMBERS).get(field.name)
    found = place(btf, "tcp_sock" if tcp else "sock", path) if path is not None and btf is not None else None
    if found is None:
        return None
    offset, size = found
    skip = at - field.offset
    if size > 8:  # an array of words
        offset, size, skip = offset + skip // 4 * 4, 4, skip % 4
    return SocketPart(offset, size, 8 * skip, 0xFFFF if field.name == NO_QUEUE else 0)


def _sized(size: int) -> Reg:
    r = st.unknown_scalar()
    truncate(r, size)
    return r


_POINTERS = {
    FieldKind.PACKET: (T.PACKET, 0),
    FieldKind.PACKET_META: (T.PACKET_META, 0),
    FieldKind.PACKET_END: (T.PACKET_END, 0),
    FieldKind.SOCK_COMMON: (T.SOCK_COMMON, OR_NULL),
    FieldKind.SOCKET: (T.SOCKET, 0),
    FieldKind.SOCKET_OR_NULL: (T.SOCKET, OR_NULL),
    FieldKind.FLOW_KEYS: (T.FLOW_KEYS, 0),
    FieldKind.BTF: (T.BTF, TRUSTED),
}


def _fields(w: Walk, off: int, size: int, write: bool) -> Reg:
    layout = w.program.type.layout_for(w.program.attach_type)
    assert layout is not None
    field = field_of(layout, off, size, write)
    if field is None:
        raise _invalid(w, off, size)
    if field.kind is FieldKind.SCALAR:
        return _sized(size)
    w.facts.native_off[w.pc] = field.native
    kind, flags = _POINTERS[field.kind]
    r = st.pointer(kind, flags)
    if flags & OR_NULL:
        r.id = w.new_id()
    if field.kind is FieldKind.BTF:
        found = w.env.kernel_btf.find(Kind.STRUCT, field.btf) if w.env.kernel_btf is not None else None
        if found is None:
            w.reject(f"struct {field.btf} is not in the kernel's BTF", errno.EINVAL)
        r.btf_id = found
    return r
