"""Calls of helpers: every argument against the helper's row, and what the call leaves behind."""

from __future__ import annotations

import errno

from ..btf import Kind
from ..errors import ENOTSUPP
from ..isa.encoding import Insn
from ..spec.helpers import HELPER_BY_ID
from ..spec.helpers.sockets import SOCK
from ..spec.kinds import Arg, ArgKind, Callback, Helper, RetKind
from ..spec.prog_types import helper_groups
from ..uapi import bpf as uapi
from . import btf_walk, ctx, dynptrs, fields, held, locks, mem, objects, sockmaps, stack
from . import state as st
from .bounds import sync
from .log import tnum_text, type_name
from .refs import RefKind
from .state import LOCAL, OR_NULL, PACKET_SLICE, RINGBUF, SCALAR, TRUSTED, UNINIT, UNTRUSTED, Reg, T
from .walk import Walk, non_null

SOCKETS = frozenset({T.SOCKET, T.SOCK_COMMON, T.TCP_SOCK, T.XDP_SOCK})
_SOCKETS = "sock_common, sock, tcp_sock, xdp_sock"
_SOCKET_RESULTS = {
    RetKind.SOCKET_OR_NULL: T.SOCKET,
    RetKind.SOCK_COMMON_OR_NULL: T.SOCK_COMMON,
    RetKind.TCP_SOCK_OR_NULL: T.TCP_SOCK,
}


def helper_of(w: Walk, insn: Insn) -> Helper:
    """The helper of a call, if this program may call it. Rejects what is unknown or not allowed."""
    row = HELPER_BY_ID.get(insn.imm) if insn.imm <= w.env.profile.helper else None
    if w.state.held.locks and (row is None or not row.under_lock):
        w.reject("function calls are not allowed while holding a lock", errno.EINVAL)
    if not insn.imm:
        w.reject("program of this type cannot use helper bpf_unspec#0", errno.EINVAL)
    if row is None:
        w.reject(f"invalid func unknown#{insn.imm}", errno.EINVAL)
    row = row.by_type.get(w.program.type.name, row)
    known = w.program.attach_type in row.only.get(w.program.type.name, (w.program.attach_type,))
    target = w.env.targets.get(w.program.attach_name)
    groups = helper_groups(w.program.type, w.program.attach_type) | ({target.helpers} if target is not None else set())
    if not known or not row.groups & groups:
        w.reject(f"program of this type cannot use helper bpf_{row.name}#{row.id}", errno.EINVAL)
    if row.gpl and not w.program.gpl:
        w.reject("cannot call GPL-restricted function from non-GPL compatible program", errno.EINVAL)
    if w.program.attach_type in row.probes.get(w.program.type.name, ()) and w.program.attach_name not in row.hooks:
        w.reject("helper call is not allowed in probe", errno.EINVAL)
    if row.sleepable and not w.sleepable:
        w.reject("helper call might sleep in a non-sleepable prog", errno.EINVAL)
    if row.sleepable and (section := held.no_sleep_here(w)):
        w.reject(f"sleepable helper bpf_{row.name}#{row.id} in {section}", errno.EINVAL)
    return row


class Call:
    """One helper call under examination: what its arguments have shown so far."""

    def __init__(self, w: Walk, row: Helper, args: tuple[ctx.Argument, ...]) -> None:
        self.w = w
        self.row = row
        self.ctx_args = args
        self.map_index = -1
        self.map_uid = 0
        self.key: int | None = None
        self.callback: int | None = None
        self.size_max = 0
        self.shared_ref = 0
        self.dynptr: Reg | None = None
        self.released_dynptr = 0
        self.percpu: Reg | None = None
        self.kptr: objects.Slot | None = None  # what is exchanged with the second argument

    def check(self) -> None:
        for i, arg in enumerate(self.row.args):
            self._argument(i + 1, arg)
        if self.map_index >= 0:
            self._map()
        if self.row.passes_reference:
            self.shared_ref = self.w.regs[self.row.passes_reference].ref
        if self.released_dynptr:
            dynptrs.release(self.w, self.released_dynptr)
        elif self.kptr is not None:
            objects.given_away(self.w, self.w.regs[2].ref)
        elif self.row.releases and not held.release(self.w, self.w.regs[self.row.releases].ref):
            row = self.row
            self.w.reject(f"func bpf_{row.name}#{row.id} reference has not been acquired before", errno.EINVAL)

    def _argument(self, regno: int, arg: Arg) -> None:
        w, kind = self.w, arg.kind
        reg = w.read(regno)
        if kind is ArgKind.ANYTHING:
            if reg.is_pointer and not w.env.privileged:
                w.reject(f"R{regno} leaks addr into helper function")
            return
        if reg.type in (T.PACKET, T.PACKET_META) and not self.row.takes_packet:
            w.reject("helper access to the packet is not allowed")
        if arg.nullable and reg.type == SCALAR and reg.is_const and reg.value == 0:
            w.precise(regno)
            return
        if arg.nullable and reg.flags & OR_NULL and kind not in (ArgKind.MEM, ArgKind.UNINIT_MEM):
            # The helper looks for NULL itself. Of memory with a size Linux lets it pass too, and reads it.
            w.regs[regno] = non_null(reg)
            self._argument(regno, arg)
            w.regs[regno] = reg
            return
        if kind in (ArgKind.SIZE, ArgKind.SIZE_OR_ZERO):
            self._size(regno, reg, kind is ArgKind.SIZE_OR_ZERO)
        elif kind is ArgKind.MAP_PTR:
            if reg.type != T.MAP_PTR or reg.flags & OR_NULL:
                self._mismatch(regno, reg, "map_ptr")
            if self.map_index not in (-1, reg.map) or (self.map_index == reg.map and self.map_uid != reg.size):
                uids = f"R1 map_uid={self.map_uid} doesn't match map pointer in R2 map_uid={reg.size}"
                w.reject(f"timer pointer in {uids}", errno.EINVAL)
            self.map_index, self.map_uid = reg.map, reg.size
            known = w.facts.call_map.get(w.pc, reg.map)
            w.facts.call_map[w.pc] = reg.map if known == reg.map else -1
        elif kind in (ArgKind.MAP_KEY, ArgKind.MAP_VALUE, ArgKind.UNINIT_MAP_VALUE):
            m = w.program.maps[self.map_index]
            if kind is not ArgKind.MAP_KEY and sockmaps.refers(m):
                if kind is not ArgKind.MAP_VALUE or arg.nullable:
                    w.reject("invalid arg_type for sockmap/sockhash", errno.EINVAL)
                return self._argument(regno, SOCK)
            size = m.key_size if kind is ArgKind.MAP_KEY else m.value_size
            if not size and reg.type == T.STACK:
                w.reject("invalid zero-sized read")
            writes = kind is ArgKind.UNINIT_MAP_VALUE and not m.type.tests
            mem.helper_memory(w, regno, size, writes=writes, args=self.ctx_args)
            if kind is ArgKind.MAP_KEY and reg.type == T.STACK:
                self.key = stack.constant_word(w, reg, size)
        elif kind is ArgKind.FIXED_MEM:
            mem.helper_memory(w, regno, arg.size, writes=True, args=self.ctx_args)
            mem.check_alignment(w, reg, 0, arg.size, strict=True)
        elif kind is ArgKind.HEADER:
            mem.helper_memory(w, regno, arg.size, writes=False, args=self.ctx_args)
        elif kind is ArgKind.CTX:
            if reg.type != T.CTX:
                self._mismatch(regno, reg, "ctx")
            if reg.off or not reg.is_const:
                w.reject(f"dereference of modified ctx ptr R{regno} off={reg.off} disallowed")
        elif kind is ArgKind.SOCKET:
            if reg.type != T.SOCKET or (reg.flags & OR_NULL and not arg.nullable):
                self._mismatch(regno, reg, "sock")
        elif kind is ArgKind.SOCK_COMMON or (kind is ArgKind.BTF_PTR and arg.btf == "sock_common" and reg.type in SOCKETS):
            if reg.type not in SOCKETS or reg.flags & OR_NULL:
                self._mismatch(regno, reg, arg.expected if arg.btf else _SOCKETS)
            if self.row.releases == regno:
                self._released(regno, reg)
            elif reg.off or not reg.is_const or reg.value:
                mem.check_pointer_offset(w, regno, reg)
        elif kind is ArgKind.BTF_PTR:
            self._btf_pointer(regno, reg, arg)
            if self.row.releases == regno:
                self._released(regno, reg)
        elif kind is ArgKind.CALLBACK:
            if reg.type != T.FUNC:
                self._mismatch(regno, reg, "func")
            self.callback = reg.frame
        elif kind is ArgKind.ALLOC_SIZE:
            if reg.type != SCALAR:
                self._mismatch(regno, reg, "scalar")
            if not reg.is_const:
                w.reject(f"R{regno} is not a known constant'")
            w.precise(regno)
            self.size_max = reg.value
        elif kind is ArgKind.NO_FLAGS:
            if reg.type != SCALAR or not reg.is_const or reg.value:
                w.reject(f"{self.row.name}() doesn't support non-zero flags", errno.EINVAL)
            w.precise(regno)
        elif kind is ArgKind.RINGBUF_MEM:
            if reg.type != T.MEM or not reg.flags & RINGBUF or reg.flags & OR_NULL:
                self._mismatch(regno, reg, "ringbuf_mem")
            self._released(regno, reg)
        elif kind is ArgKind.SPIN_LOCK:
            locks.check(w, regno, reg, RefKind.LOCK, take=not self.row.under_lock)
        elif kind is ArgKind.PERCPU:
            self.percpu = objects.percpu_argument(w, regno, reg)
        elif kind is ArgKind.KPTR_SLOT:
            self.kptr = objects.kptr_slot(w, regno, reg)
        elif kind is ArgKind.KPTR:
            objects.check_kptr(w, regno, reg, self.kptr)
            self._released(regno, reg)
        elif kind is ArgKind.TIMER:
            fields.timer(w, regno, reg)
            self.map_index, self.map_uid = reg.map, reg.size
        elif kind in (ArgKind.DYNPTR, ArgKind.UNINIT_DYNPTR) and reg.type not in (T.STACK, T.DYNPTR):
            self._mismatch(regno, reg, "fp, dynptr_ptr")
        elif kind is ArgKind.DYNPTR:
            wanted = dynptrs.Kind[arg.btf.upper()] if arg.btf else None
            if self.row.releases == regno and wanted is not None:
                self.released_dynptr = dynptrs.check_released(w, regno, reg, wanted)
            else:
                self.dynptr = dynptrs.initialized(w, regno, reg, wanted)
        elif kind is ArgKind.UNINIT_DYNPTR:
            if self.row.name == "dynptr_from_mem" and w.regs[1].type != T.MAP_VALUE:
                w.reject(f"Unsupported reg type {type_name(w.regs[1])} for bpf_dynptr_from_mem data")
            dynptrs.make(w, regno, reg, dynptrs.Kind[arg.btf.upper()])
        elif kind is ArgKind.STR:
            self._constant_string(regno, reg)
        elif kind is ArgKind.STACK_OR_NULL:
            if reg.type != T.STACK and not (reg.type == SCALAR and reg.is_const and reg.value == 0):
                self._mismatch(regno, reg, "fp")
        elif reg.flags & OR_NULL or not reg.is_pointer:
            # MEM and UNINIT_MEM are looked at together with their size, the next argument.
            self._mismatch(regno, reg, mem.MEMORY_TYPES)

    def _map(self) -> None:
        """Whether this helper may do to the map what it does; Linux asks once all arguments are good."""
        w, row, m = self.w, self.row, self.w.program.maps[self.map_index]
        if row.writes_map and m.flags & uapi.BPF_F_RDONLY_PROG:
            w.reject("write into map forbidden")
        if row.callback is Callback.MAP_ELEM and not m.type.for_each:
            w.reject("callback function not allowed for map", ENOTSUPP)
        sockmaps.check_update(w, row, m)
        if row.map_use and row.map_use not in m.type.uses:
            w.reject(f"cannot pass map_type {m.type.id} into func bpf_{row.name}#{row.id}", errno.EINVAL)

    def _finds(self) -> bool:
        """A lookup of a known key that an array surely has."""
        m = self.w.program.maps[self.map_index]
        if self.row.name != "map_lookup_elem" or m.type.walk_order != "index" or m.type.holds:
            return False
        if self.key is None or self.key >= m.max_entries:
            return False
        if m.template and m.flags & uapi.BPF_F_INNER_MAP:
            return False  # the map that is there then may be shorter
        stack.need_word(self.w, self.w.regs[2])
        return True

    def _released(self, regno: int, reg: Reg) -> None:
        """An argument that gives back a reference is that reference itself."""
        w = self.w
        if reg.off:
            what = "must have zero offset when passed to release func or trusted arg to kfunc"
            w.reject(f"R{regno} {what}", errno.EINVAL)
        if not reg.is_const or reg.value:
            w.reject(f"variable {type_name(reg)} access var_off={tnum_text(reg.value, reg.mask)} disallowed")
        if not reg.ref:
            w.reject(f"R{regno} must be referenced when passed to release function", errno.EINVAL)

    def _mismatch(self, regno: int, reg: Reg, wanted: str) -> None:
        self.w.reject(f"R{regno} type={type_name(reg)} expected={wanted}")

    def _btf_pointer(self, regno: int, reg: Reg, arg: Arg) -> None:
        w, btf = self.w, self.w.env.kernel_btf
        if reg.type != T.BTF or reg.flags & ((0 if arg.nullable else OR_NULL) | UNTRUSTED | LOCAL):
            self._mismatch(regno, reg, arg.expected)
        assert btf is not None
        if reg.off < 0 or not reg.is_const or not btf_walk.holds(btf, reg.btf_id, reg.off + st.s64(reg.value), arg.btf):
            w.reject(f"R{regno} is of type {btf.resolve(reg.btf_id).name} but {arg.btf} is expected")

    def _size(self, regno: int, reg: Reg, zero_ok: bool) -> None:
        w = self.w
        if reg.type != SCALAR:
            self._mismatch(regno, reg, "scalar")
        memory = self.row.args[regno - 2]
        writes = memory.kind is ArgKind.UNINIT_MEM
        mem.check_size(w, regno, reg, zero_ok=zero_ok)
        pointer = w.regs[regno - 1]
        null = memory.nullable and pointer.type == SCALAR and pointer.is_const and pointer.value == 0
        if null:
            if reg.umax:
                w.reject(f"R{regno - 1} type=scalar expected=fp")  # a size without memory
            w.precise(regno)
            return
        if reg.umin == 0:
            mem.helper_memory(w, regno - 1, 0, writes=False, args=self.ctx_args)
        if writes and not reg.is_const and pointer.type == T.STACK:
            # The helper may leave some of it unwritten, which the program may read all the same.
            mem.helper_memory(w, regno - 1, reg.umax, writes=False, args=self.ctx_args)
        mem.helper_memory(w, regno - 1, reg.umax, writes=writes, args=self.ctx_args)
        w.precise(regno)
        self.size_max = reg.umax

    def _constant_string(self, regno: int, reg: Reg) -> None:
        w = self.w
        if reg.type != T.MAP_VALUE or reg.flags & OR_NULL:
            self._mismatch(regno, reg, "map_value")
        mem.constant_string(w, regno, reg)

    def leave(self) -> Reg:
        """r0 after the call; the other caller-saved registers are lost."""
        w, row = self.w, self.row
        regs = w.regs
        sizes = [regs[i] for i in range(6)]
        finds = row.ret is RetKind.MAP_VALUE_OR_NULL and self._finds()
        moves_packet = row.name == "dynptr_write" and self.dynptr is not None and dynptrs.may_move(self.dynptr)
        if row.changes_packet or moves_packet:
            forget_packet(w)
        for i in range(6):
            regs[i] = UNINIT
        if row.ret is RetKind.VOID:
            return UNINIT
        if row.ret is RetKind.MAP_VALUE:
            r = st.pointer(T.MAP_VALUE)
            r.map = self.map_index
            if fields.may_lock(w.program.maps[self.map_index]):
                r.id = w.new_id()
        elif row.ret is RetKind.MAP_VALUE_OR_NULL:
            inner = w.program.maps[self.map_index].inner
            r = st.pointer(T.MAP_PTR if inner >= 0 else T.MAP_VALUE)
            r.map = inner if inner >= 0 else self.map_index
            r.size = self.map_uid
            if not finds:
                r.flags, r.id = OR_NULL, w.new_id()
            elif fields.may_lock(w.program.maps[self.map_index]):
                r.id = w.new_id()
        elif row.ret is RetKind.DYNPTR_MEM_OR_NULL:
            assert self.dynptr is not None
            r = dynptrs.memory(self.dynptr, self.size_max)
            r.flags, r.id = r.flags | OR_NULL, w.new_id()
        elif row.ret in _SOCKET_RESULTS:
            r = st.pointer(_SOCKET_RESULTS[row.ret], OR_NULL)
            r.id = w.new_id()
        elif row.ret is RetKind.BTF_PTR_OR_NULL:
            r = st.pointer(T.BTF, OR_NULL)
            r.btf_id, r.id = _struct_id(w, row.ret_btf), w.new_id()
        elif row.ret is RetKind.RINGBUF_MEM_OR_NULL:
            r = st.pointer(T.MEM, OR_NULL | RINGBUF)
            r.size = self.size_max
        elif self.kptr is not None:
            r = objects.taken_out(self.kptr)
        elif self.percpu is not None:
            r = objects.cpus_own(w, self.percpu, or_null=row.ret is RetKind.CPUS_OWN_OR_NULL)
        elif row.ret is RetKind.BTF_PTR:
            r = st.pointer(T.BTF, TRUSTED)
            r.btf_id = _struct_id(w, row.ret_btf)
        else:
            r = st.unknown_scalar()
            if row.ret_size_arg:
                # At most the size that was asked for; errors are above -4095.
                r.smin, r.smax = -4095, sizes[row.ret_size_arg].umax
                r.s32min, r.s32max = -4095, min(sizes[row.ret_size_arg].umax, st.S32_MAX)
                sync(r)
        if row.acquires or (row.ret is RetKind.MAP_VALUE_OR_NULL and sockmaps.refers(w.program.maps[self.map_index])):
            r.id = r.ref = held.acquire(w)
        elif row.passes_reference:
            r.ref = self.shared_ref
        regs[0] = r
        w.leave(r)
        return r


def _struct_id(w: Walk, name: str) -> int:
    btf = w.env.kernel_btf
    found = btf.find(Kind.STRUCT, name) if btf is not None else None
    if found is None:
        w.reject(f"struct {name} is not in the kernel's BTF", errno.EINVAL)
    return found


def forget_packet(w: Walk, state: st.State | None = None) -> None:
    """The packet may have moved: every pointer into it is an unknown number now."""
    for frame in (state or w.state).frames:
        for i, r in enumerate(frame.regs):
            if r.type in (T.PACKET, T.PACKET_META, T.PACKET_END) or r.flags & PACKET_SLICE:
                frame.regs[i] = UNINIT if not w.env.privileged else st.scalar()
        for index, slot in frame.stack.items():
            spilled = slot.reg
            if spilled is not None and (
                spilled.type in (T.PACKET, T.PACKET_META, T.PACKET_END) or spilled.flags & PACKET_SLICE
            ):
                frame.stack[index] = st.filled(st.MISC)


def callback_args(w: Walk, row: Helper, map_index: int, ctx_reg: Reg) -> list[Reg]:
    """r1-r5 of the callback that this helper enters."""
    if row.callback is Callback.LOOP:
        return [st.scalar(), ctx_reg, UNINIT, UNINIT, UNINIT]
    if row.callback is Callback.VMA:
        vma = st.pointer(T.BTF)
        vma.btf_id = _struct_id(w, "vm_area_struct")
        return [w.regs[1], vma, w.regs[4], UNINIT, UNINIT]
    if row.callback is Callback.SAMPLE:
        return [dynptrs.handed(w, dynptrs.Kind.LOCAL), ctx_reg, UNINIT, UNINIT, UNINIT]
    map_ptr = st.pointer(T.MAP_PTR)
    map_ptr.map = map_index
    key = st.pointer(T.MAP_KEY)
    key.map = map_index
    value = st.pointer(T.MAP_VALUE)
    value.map = map_index
    return [map_ptr, key, value, ctx_reg, UNINIT]
