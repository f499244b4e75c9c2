"""Programs for a function of another program: what they may be; of type EXT (freplace), by a link put into its place."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from bpfjit.errors import ENOTSUPP, refuse
from bpfjit.isa.encoding import CALL
from bpfjit.program import Program, TracedFunction, Verified
from bpfjit.uapi import bpf as uapi
from bpfjit.verifier.extension import check_target, check_traced
from bpfjit.verifier.refusal import Refusal
from runtime import ffi, lib, ok

from ..caller import Caller
from ..objects import BtfObject, LinkObject, ProgObject, Told
from .fd import prog_of

if TYPE_CHECKING:
    from ..kernel import Kernel


def target_of(kernel: Kernel, caller: Caller, attr: uapi.ProgLoad) -> ProgObject | None:
    """The program that another one is loaded for. Raises EINVAL for what extends nothing, ENOTSUPP for types."""
    if not attr.attach_prog_fd:
        if attr.prog_type == uapi.BPF_PROG_TYPE_EXT:
            words = "Cannot replace kernel functions" if attr.attach_btf_id else "Tracing programs must provide btf_id"
            raise refuse(errno.EINVAL, words)
        return None
    found = getattr(caller.fds.find(attr.attach_prog_fd), "object", None)
    if isinstance(found, BtfObject):  # the same member names the types that attach_btf_id is of
        if found.is_kernel:
            return None
        raise refuse(ENOTSUPP, f"btf {found.id} is not the kernel's")
    if not isinstance(found, ProgObject):
        raise refuse(errno.EINVAL, f"fd {attr.attach_prog_fd} is neither a program nor BTF")
    if attr.prog_type not in (uapi.BPF_PROG_TYPE_TRACING, uapi.BPF_PROG_TYPE_EXT):
        raise refuse(errno.EINVAL, f"a program of type {attr.prog_type} extends no other")
    target = found
    if attr.prog_type == uapi.BPF_PROG_TYPE_TRACING:
        return target
    if attr.expected_attach_type:
        raise refuse(errno.EINVAL, f"an extension for attach type {attr.expected_attach_type}")
    if attr.prog_flags & uapi.BPF_F_SLEEPABLE:
        raise refuse(errno.EINVAL, "Only fentry/fexit/fmod_ret, lsm, iter, uprobe, and struct_ops programs can be sleepable")
    if kernel.engine == "interp":
        raise refuse(errno.EINVAL, "Extension programs should be JITed")
    return target


def function_of(program: Program, target: ProgObject, btf_id: int) -> int:
    """Which function of the target a program may stand for. Raises EINVAL with the reason."""
    own = program.funcs[0].type_id if program.funcs else 0
    try:
        return check_target(program.btf, own, target.verified, btf_id)
    except Refusal as e:
        raise refuse(e.number, e.reason) from None


def traced_function(target: ProgObject, attr: uapi.ProgLoad) -> TracedFunction:
    """What a tracing program sees of the target's function. Raises EINVAL with the reason."""
    sleepable = bool(attr.prog_flags & uapi.BPF_F_SLEEPABLE)
    btf_id, attach_type = attr.attach_btf_id, attr.expected_attach_type
    if not hasattr(target.native, "keep"):
        raise refuse(errno.EINVAL, "Can attach to only JITed progs")
    try:
        return check_traced(target.verified, btf_id, attach_type, sleepable=sleepable, nested=target.nested)
    except Refusal as e:
        raise refuse(e.number, e.reason) from None


def check_verified(verified: Verified, target: ProgObject, btf_id: int) -> None:
    """What the target's verifier relied upon of its function. Raises EINVAL, ENOTSUPP."""
    index = function_of(verified.program, target, btf_id)
    if 0 in verified.facts.packet_changers and index not in target.verified.facts.packet_changers:
        raise refuse(errno.EINVAL, "Extension program changes packet data, while original does not")
    insns = verified.program.insns
    tails = any(insn.code == CALL and not insn.src and insn.imm == uapi.BPF_FUNC_tail_call for insn in insns)
    if tails or any(call.name == "bpf_throw" for call in verified.facts.kfuncs.values()):
        raise refuse(ENOTSUPP, "tail calls and exceptions of extensions are not simulated yet")


class ExtensionLink(LinkObject):
    """A program in the place of a function of another, until the link goes."""

    type = uapi.BPF_LINK_TYPE_TRACING
    type_name = "tracing"

    def __init__(self, prog: ProgObject, target: ProgObject, btf_id: int, cookie: int) -> None:
        check_verified(prog.verified, target, btf_id)
        self._index = function_of(prog.program, target, btf_id)
        if self._index in target.replaced:
            raise refuse(errno.EBUSY, f"the function of program {target.id} has been replaced already")
        if target.traced is not None and target.traced.count(self._index):
            raise refuse(errno.EBUSY, f"the function of program {target.id} is traced")
        target.replaced.add(self._index)
        self._replace(target, stands_for(target, self._index), ffi.cast("void *", prog.native.addr))
        super().__init__(prog, target.name)
        self.attach_type = 0
        self._extended = target.get()
        self._btf_id = btf_id
        self.cookie = cookie

    def fdinfo(self) -> list[tuple[str, object]]:
        return [
            ("attach_type", 0),
            ("target_obj_id", self._extended.id),
            ("target_btf_id", self._btf_id),
            ("cookie", self.cookie),
        ]

    def tell(self, info: Told) -> None:
        info.put("tracing.target_obj_id", self._extended.id)
        info.put("tracing.target_btf_id", self._btf_id)
        info.put("tracing.cookie", self.cookie)

    def _replace(self, target: ProgObject, before: Any, after: Any) -> None:
        ok(lib.rt_prog_replace(target.own.ptr, self._index, before, after), f"function {self._index} of program {target.id}")

    def let_go(self) -> None:
        target = self._extended
        self._replace(target, ffi.cast("void *", self.prog.native.addr), stands_for(target, self._index))
        target.replaced.discard(self._index)
        lib.rt_rcu_barrier(target.own.kernel.ptr)
        target.put()


def stands_for(target: ProgObject, index: int) -> Any:
    """Whose code a function is where no extension stands in its place: NULL for its own."""
    return target.traced.entry if target.traced is not None and not index else ffi.NULL


def new_link(kernel: Kernel, caller: Caller, prog: ProgObject, target_fd: int, btf_id: int, cookie: int) -> ExtensionLink:
    """Put an extension into its place: that which it was loaded for, once, or the one that is named.

    Raises EINVAL where neither is there or the function is of another kind, EBUSY where one stands there already or tail
    calls lead to it.
    """
    if bool(target_fd) != bool(btf_id):
        raise refuse(errno.EINVAL, f"target fd {target_fd}, BTF id {btf_id}: both or none")
    waiting = prog.extends
    if target_fd:
        target = prog_of(caller, target_fd)
        same = target.program.type.id == prog.program.type.id and target.program.attach_type == prog.program.attach_type
        if not same:
            raise refuse(
                errno.EINVAL, f"program {target.id} is a {target.program.type.name} program, not one for this extension"
            )
    elif waiting is None:
        raise refuse(errno.EINVAL, f"program {prog.id} has been attached: what it extends now has to be named")
    else:
        target, btf_id = waiting
    if any(target in m.held.values() for m in kernel.maps if m.type.holds == "prog"):
        # Its function might jump to the program itself, without an end.
        raise refuse(errno.EBUSY, f"program {target.id} is in a program array")
    link = ExtensionLink(prog, target, btf_id, cookie)
    if waiting is not None:
        prog.extends = None
        waiting[0].put()
    return link
