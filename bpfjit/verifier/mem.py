"""Loads and stores: what kind of memory a register points into, and whether the access stays inside."""

from __future__ import annotations

import errno

from ..btf import Kind
from ..program import Region
from ..spec.contexts import SOCK_COMMON_FIELDS, SOCK_FIELDS, TCP_SOCK_FIELDS, XDP_SOCK_FIELDS
from ..spec.kinds import CtxKind
from ..uapi import bpf as uapi
from . import btf_walk, ctx, fields, held, objects, stack
from . import state as st
from .bounds import truncate
from .log import tnum_text, type_name
from .state import OR_NULL, RDONLY, Reg, T
from .walk import MAX_VAR_OFF, Walk


def sized_scalar(size: int) -> Reg:
    """A number that `size` bytes were loaded into; shared, as all that is published in a state."""
    return _SIZED.get(size) or _SIZED[8]


def _sized(size: int) -> Reg:
    r = st.unknown_scalar()
    truncate(r, size)
    return r


_SIZED = {size: _sized(size) for size in (1, 2, 4, 8)}
# Names with an underscore are C numbers in the compiled module (mem.pxd).
_STACK, _SCALAR, _OR_NULL, _STACK_REGION = int(T.STACK), int(T.SCALAR), OR_NULL, int(Region.STACK)

_MAP_VALUE, _PACKET, _PACKET_META, _CTX = int(T.MAP_VALUE), int(T.PACKET), int(T.PACKET_META), int(T.CTX)
_MAX_VAR_OFF = MAX_VAR_OFF

# What a helper's memory argument may be, as Linux lists it.
MEMORY_TYPES = "fp, pkt, pkt_meta, map_key, map_value, mem, ringbuf_mem, buf, trusted_ptr_"


def check_alignment(w: Walk, reg: Reg, off: int, size: int, strict: bool = False) -> None:
    """Stack accesses are aligned, all others where `strict` or the program says so (contexts: see ctx.py). Rejects."""
    if size == 1 or not (strict or w.strict_alignment or reg.type == _STACK):
        return
    if reg.type == T.ARENA:
        return
    # The variable part is aligned when its known bits are zero and its unknown ones lie above.
    low = size - 1
    if (st.s64(reg.value) + reg.off + off) & low or reg.mask & low:
        kind = {T.STACK: "stack ", T.PACKET: "packet ", T.PACKET_META: "packet "}.get(T(reg.type), "value ")
        variable = tnum_text(reg.value, reg.mask) if reg.mask else str(st.s64(reg.value))
        w.reject(f"misaligned {kind}access off {variable}+{reg.off}+{off} size {size}")


def _check_region(w: Walk, reg: Reg, regno: int, off: int, size: int, limit: int, what: str) -> None:
    """An access behind a pointer to `limit` bytes, by its smallest and its largest offset. `what` has {off} {size}."""
    if reg.smin < 0 and (reg.smin == st.S64_MIN or off + reg.off + reg.smin < 0):
        w.reject(f"R{regno} min value is negative, either use unsigned index or do a if (index >=0) check.")
    low = reg.off + off + reg.smin
    if low < 0 or low + size > limit:
        w.reject(f"{what.format(off=low, size=size)}\nR{regno} min value is outside of the allowed memory range")
    if reg.umax >= MAX_VAR_OFF:
        w.reject(f"R{regno} unbounded memory access, make sure to bounds check any such access")
    high = reg.off + off + reg.umax
    if high + size > limit:
        w.reject(f"{what.format(off=high, size=size)}\nR{regno} max value is outside of the allowed memory range")


def _map_value(w: Walk, reg: Reg, regno: int, off: int, size: int, value: Reg | None, value_regno: int) -> Reg:
    limit = w.plain_values[reg.map]
    if limit >= 0 and reg.smin > -_MAX_VAR_OFF and reg.umax < _MAX_VAR_OFF:
        low = reg.off + off + reg.smin
        if low >= 0 and low + size <= limit and reg.off + off + reg.umax + size <= limit:
            w.touch_value(reg.map)
            return sized_scalar(size)
    m, write = w.program.maps[reg.map], value is not None
    if write and m.flags & uapi.BPF_F_RDONLY_PROG:
        w.reject(f"write into map forbidden, value_size={m.value_size} off={reg.off + off} size={size}")
    if not write and m.flags & uapi.BPF_F_WRONLY_PROG:
        w.reject(f"read from map forbidden, value_size={m.value_size} off={reg.off + off} size={size}")
    what = f"invalid access to map value, value_size={m.value_size} off={{off}} size={{size}}"
    _check_region(w, reg, regno, off, size, m.value_size, what)
    w.touch_value(reg.map)
    kptr = fields.touched(w, m, reg, off, size, direct=True)
    if kptr is not None:
        return fields.kptr_access(w, kptr, value, value_regno)
    if not write and m.constant is not None and reg.is_const:
        at = reg.off + off + reg.value
        return st.const_scalar(int.from_bytes(m.constant[at : at + size], "little"))
    return sized_scalar(size)


def _packet(w: Walk, reg: Reg, regno: int, off: int, size: int, write: bool) -> Reg:
    if write and not w.program.type.packet_writable:
        w.reject("cannot write into packet")
    if reg.smin < 0:
        w.reject(f"R{regno} min value is negative, either use unsigned index or do a if (index >=0) check.")
    if reg.range < 0:
        w.reject(f"R{regno} offset is outside of the packet", errno.EINVAL)
    at = reg.off + off
    if at < 0 or at + size > reg.range:
        text = f"invalid access to packet, off={at} size={size}, R{regno}(id={reg.id},off={at},r={reg.range})"
        w.reject(f"{text}\nR{regno} offset is outside of the packet")
    w.touch(Region.PACKET)
    return sized_scalar(size)


def _memory(w: Walk, reg: Reg, regno: int, off: int, size: int, write: bool) -> Reg:
    if write and reg.flags & RDONLY:
        w.reject(f"R{regno} cannot write into {type_name(reg)}")
    if reg.flags & st.UNTRUSTED:  # wherever that is: what is not there reads as 0
        w.touch(Region.PROBE)
        return sized_scalar(size)
    if reg.size < 0:
        # An iterator's key or value: its size is known when it is attached; how far we reach is compared then.
        if reg.off + off < 0:
            w.reject(f"R{regno} invalid {'rdonly' if reg.flags & RDONLY else 'rdwr'} buffer access: off={off}, size={size}")
        if not reg.is_const:
            w.reject(f"R{regno} invalid variable buffer offset: off={off}, var_off={tnum_text(reg.value, reg.mask)}")
        reach = reg.off + off + reg.value + size
        if reg.flags & RDONLY:
            w.facts.max_rdonly_access = max(w.facts.max_rdonly_access, reach)
        else:
            w.facts.max_rdwr_access = max(w.facts.max_rdwr_access, reach)
    else:
        what = f"invalid access to memory, mem_size={reg.size} off={{off}} size={{size}}"
        _check_region(w, reg, regno, off, size, reg.size, what)
    w.touch(Region.MEMORY)
    return sized_scalar(size)


def _context(w: Walk, reg: Reg, regno: int, off: int, size: int, write: bool, args: tuple[ctx.Argument, ...]) -> Reg:
    if w.program.type.ctx is CtxKind.NONE:
        w.reject(f"invalid bpf_context access off={off} size={size}")
    if not reg.is_const:
        w.reject(f"variable ctx access var_off={tnum_text(reg.value, reg.mask)} disallowed")
    if reg.off:
        w.reject(f"dereference of modified ctx ptr R{regno} off={reg.off} disallowed")
    w.touch(Region.CTX)
    return ctx.access(w, off, size, write, args)


def anywhere() -> Reg:
    """An address of which nothing is known: it is read, and no more."""
    return st.pointer(T.MEM, RDONLY | st.UNTRUSTED)


def _kernel_object(w: Walk, reg: Reg, regno: int, off: int, size: int, write: bool) -> Reg:
    btf = w.env.kernel_btf
    assert btf is not None
    name = btf.resolve(reg.btf_id).name
    if not reg.is_const:
        w.reject(f"R{regno} is ptr_{name} invalid variable offset: off={off}, var_off={tnum_text(reg.value, reg.mask)}")
    at = reg.off + off + st.s64(reg.value)
    if at < 0:
        w.reject(f"R{regno} is ptr_{name} invalid negative access: off={at}")
    if write:
        w.reject("only read is supported")
    found = btf_walk.member_at(btf, reg.btf_id, at, size, w.pc)
    # A flexible array's length is not known: its elements may lie behind the object.
    sure = (reg.ref or reg.flags & (st.TRUSTED | st.RCU)) and at + size <= btf.resolve(reg.btf_id).size
    w.touch(Region.KERNEL if sure else Region.PROBE)
    if found.elsewhere:
        return anywhere()
    if not found.btf_id:
        return sized_scalar(size)
    flags = st.UNTRUSTED if reg.flags & st.UNTRUSTED else 0
    if not flags and (held.is_trusted(reg) or reg.flags & st.RCU):
        flags = btf_walk.member_flags(btf, reg.btf_id, found.member, held.in_rcu(w) and not reg.flags & OR_NULL)
    r = st.pointer(T.BTF, flags)
    r.btf_id = found.btf_id
    if flags & OR_NULL:
        r.id = w.new_id()
    return r


_SOCKETS = {
    T.SOCKET: SOCK_FIELDS,
    T.SOCK_COMMON: SOCK_COMMON_FIELDS,
    T.TCP_SOCK: TCP_SOCK_FIELDS,
    T.XDP_SOCK: XDP_SOCK_FIELDS,
}


def _socket(w: Walk, reg: Reg, regno: int, off: int, size: int, write: bool) -> Reg:
    """A socket as the kernel shows it to programs: the members of bpf_sock and its like, read only."""
    if write:
        w.reject(f"R{regno} cannot write into {type_name(reg)}")
    if reg.smin < 0:
        w.reject(f"R{regno} min value is negative, either use unsigned index or do a if (index >=0) check.")
    at = reg.off + off
    if not reg.is_const:
        w.reject(f"variable {type_name(reg)} access var_off={tnum_text(reg.value, reg.mask)} disallowed")
    field = ctx.field_of(_SOCKETS[T(reg.type)], at, size, False) if at >= 0 and not at % size else None
    if field is None:
        w.reject(f"R{regno} invalid {type_name(reg)} access off={at} size={size}")
    part = ctx.socket_part(w.env.kernel_btf, reg.type == T.TCP_SOCK, field, at)
    if part is not None:
        w.facts.socket_parts[w.pc] = part
    w.touch(Region.KERNEL)
    return sized_scalar(size)


_FLOW_KEYS_BYTES = uapi.LAYOUTS["bpf_flow_keys"].size


def _flow_keys(w: Walk, reg: Reg, regno: int, off: int, size: int, write: bool) -> Reg:
    at = reg.off + off
    if at < 0 or at + size > _FLOW_KEYS_BYTES:
        w.reject(f"invalid access to flow keys off={off} size={size}")
    w.touch(Region.MEMORY)
    return sized_scalar(size)


def _tracepoint_buffer(w: Walk, reg: Reg, regno: int, off: int, size: int) -> Reg:
    """How much of it there is Linux sees when the program is attached."""
    if off < 0:
        w.reject(f"R{regno} invalid tracepoint buffer access: off={off}, size={size}")
    if not reg.is_const or reg.value:
        w.reject(f"R{regno} invalid variable buffer offset: off={off}, var_off={tnum_text(reg.value, reg.mask)}")
    w.touch(Region.MEMORY)
    return sized_scalar(size)


# An access through these is compiled for what they are: the same instruction may meet no other kind.
_APART = frozenset({T.ARENA, T.CTX, T.BTF, T.SOCKET, T.SOCK_COMMON, T.TCP_SOCK, T.XDP_SOCK})


def _one_kind(w: Walk, reg: Reg) -> None:
    """Paths that meet at an instruction must bring pointers that one piece of code can serve."""
    before = w.pointer_at[w.pc]
    if before == reg.type:
        return
    if not before:
        w.pointer_at[w.pc] = reg.type
    elif before in _APART or reg.type in _APART:
        w.reject("same insn cannot be used with different pointers", errno.EINVAL)


def access(
    w: Walk,
    reg: Reg,
    regno: int,
    off: int,
    size: int,
    args: tuple[ctx.Argument, ...],
    value: Reg | None = None,
    value_regno: int = -1,
) -> Reg:
    """Check one access of `size` bytes at reg+off; `value` (of register `value_regno`, -1: of none) is what a store
    writes. Returns what a load leaves."""
    write = value is not None
    if reg.type <= _SCALAR or reg.flags & _OR_NULL:
        w.reject(f"R{regno} invalid mem access '{type_name(reg)}'")
    check_alignment(w, reg, off, size)
    _one_kind(w, reg)
    if reg.type == _STACK:
        w.touch(_STACK_REGION)
        if value is not None:
            stack.write(w, reg, regno, off, size, value, value_regno)
            return value
        return stack.read(w, reg, regno, off, size)
    if value is not None and value.type != _SCALAR and not w.env.privileged:
        w.reject(f"R{regno} leaks addr into map")
    if reg.type == _MAP_VALUE:
        return _map_value(w, reg, regno, off, size, value, value_regno)
    if reg.type == T.ARENA:
        w.touch(Region.ARENA)
        return sized_scalar(size)
    if reg.type == _PACKET or reg.type == _PACKET_META:
        return _packet(w, reg, regno, off, size, write)
    if reg.type == _CTX:
        return _context(w, reg, regno, off, size, write, args)
    if reg.type == T.MEM:
        return _memory(w, reg, regno, off, size, write)
    if reg.type == T.BTF and reg.flags & st.LOCAL:
        return objects.access(w, reg, regno, off, size, write=write) or sized_scalar(size)
    if reg.type == T.BTF:
        return _kernel_object(w, reg, regno, off, size, write)
    if reg.type in _SOCKETS:
        return _socket(w, reg, regno, off, size, write)
    if reg.type == T.FLOW_KEYS:
        return _flow_keys(w, reg, regno, off, size, write)
    if reg.type == T.TP_BUFFER:
        return _tracepoint_buffer(w, reg, regno, off, size)
    if reg.type == T.MAP_KEY:
        if write:
            w.reject(f"write to change key R{regno} not allowed")
        m = w.program.maps[reg.map]
        _check_region(
            w, reg, regno, off, size, m.key_size, f"invalid access to key, key_size={m.key_size} off={{off}} size={{size}}"
        )
        w.touch(Region.MAP_KEY)
        return sized_scalar(size)
    if reg.type == T.MAP_PTR and write:
        name = "bpf_array" if w.program.maps[reg.map].type.walk_order == "index" else "bpf_htab"
        w.reject(f"only read from {name} is supported")
    if reg.type == T.MAP_PTR and w.env.kernel_btf is not None:
        return _map_pointer(w, reg, regno, off, size)
    return w.reject(f"R{regno} invalid mem access '{type_name(reg)}'")


def _map_pointer(w: Walk, reg: Reg, regno: int, off: int, size: int) -> Reg:
    """A map's own structure may be read: numbers, and pointers that are only numbers here."""
    btf = w.env.kernel_btf
    assert btf is not None
    if reg.off or not reg.is_const or off < 0:
        w.reject(f"R{regno} is bpf_map invalid negative access: off={off + reg.off}")
    map_id = btf.find(Kind.STRUCT, "bpf_map")
    if map_id is None:
        w.reject(f"R{regno} invalid mem access 'map_ptr'", errno.EACCES)
    btf_walk.member_at(btf, map_id, off, size, w.pc)
    w.touch(Region.KERNEL)
    return sized_scalar(size)


# Pointers that may be handed on with any offset; into structures only with a constant one; others with none.
_ANY_OFFSET = frozenset({T.STACK, T.PACKET, T.PACKET_META, T.MAP_KEY, T.MAP_VALUE, T.MEM, T.SCALAR})


def check_pointer_offset(w: Walk, regno: int, reg: Reg) -> None:
    """A pointer as an argument: memory may have any offset, a structure a constant one, others none. Rejects."""
    if reg.type in _ANY_OFFSET:
        return
    fixed_ok = reg.type == T.BTF
    if reg.off < 0:
        w.reject(f"negative offset {type_name(reg)} ptr R{regno} off={reg.off} disallowed")
    if reg.off and not fixed_ok:
        w.reject(f"dereference of modified {type_name(reg)} ptr R{regno} off={reg.off} disallowed")
    if not reg.is_const or reg.value:
        w.reject(f"variable {type_name(reg)} access var_off={tnum_text(reg.value, reg.mask)} disallowed")


_MAX_SIZE = 1 << 29  # BPF_MAX_VAR_SIZ


def check_size(w: Walk, regno: int, reg: Reg, *, zero_ok: bool) -> None:
    """A size argument in register `regno`: not negative, bounded. Rejects."""
    if reg.smin < 0:
        w.reject(f"R{regno} min value is negative, either use unsigned or 'var &= const'")
    if reg.umin == 0 and not zero_ok:
        w.reject(f"R{regno} invalid zero-sized read: u64=[{reg.umin},{reg.umax}]")
    if reg.umax >= _MAX_SIZE:
        w.reject(f"R{regno} unbounded memory access, use 'var &= const' or 'if (var < const)'")


def constant_string(w: Walk, regno: int, reg: Reg) -> None:
    """A pointer to a constant string in a map that nobody can change. Rejects."""
    m = w.program.maps[reg.map]
    if m.constant is None:
        w.reject(f"R{regno} does not point to a readonly map'")
    if not reg.is_const:
        w.reject(f"R{regno} is not a constant address'")
    at = reg.off + reg.value
    if not 0 <= at < len(m.constant) or m.constant.find(0, at) < 0:
        w.reject("string is not zero-terminated", errno.EINVAL)


def helper_memory(w: Walk, regno: int, size: int, *, writes: bool, args: tuple[ctx.Argument, ...]) -> None:
    """A helper gets `size` bytes behind register `regno`."""
    reg = w.regs[regno]
    if reg.flags & OR_NULL or not reg.is_pointer:
        w.reject(f"R{regno} type={type_name(reg)} expected={MEMORY_TYPES}")
    if reg.type == T.STACK:
        stack.helper_access(w, reg, regno, size, writes=writes)
    elif reg.type in (T.MAP_VALUE, T.PACKET, T.PACKET_META, T.MEM, T.MAP_KEY) and not reg.flags & st.UNTRUSTED:
        if size == 0 and reg.type in (T.PACKET, T.PACKET_META):
            return
        if reg.type == T.MAP_VALUE:
            fields.touched(w, w.program.maps[reg.map], reg, 0, size, direct=False)
        if reg.type == T.PACKET and not writes:
            _packet(w, reg, regno, 0, size, False)
        else:
            access(w, reg, regno, 0, size, args, st.ZERO if writes else None)
    elif reg.type == T.BTF and reg.flags & st.TRUSTED and not writes:
        _kernel_object_bytes(w, reg, regno, size)
    else:
        w.reject(f"R{regno} type={type_name(reg)} expected={MEMORY_TYPES}")


def _kernel_object_bytes(w: Walk, reg: Reg, regno: int, size: int) -> None:
    """Plain bytes of a structure: read member by member as far as it is one scalar, as Linux does."""
    btf = w.env.kernel_btf
    assert btf is not None
    at = reg.off + st.s64(reg.value)
    if not reg.is_const or at < 0:
        w.reject(f"R{regno} is ptr_{btf.resolve(reg.btf_id).name} invalid negative access: off={at}")
    t = btf.resolve(reg.btf_id)
    if at + size > t.size:
        w.reject(f"access beyond struct {t.name} at off {at} size {size}")
    btf_walk.member_at(btf, reg.btf_id, at, size, w.pc)
