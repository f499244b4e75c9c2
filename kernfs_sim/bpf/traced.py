"""fentry and fexit at the functions of another program.

The target goes on in code of its own that has them entered and left through the runtime; it is made once, and stands in
the main function's place while anything is traced.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from bpfjit.btf import VOID
from bpfjit.errors import refuse
from bpfjit.program import TracedFunction
from bpfjit.uapi import bpf as uapi
from bpfjit.verifier.ctx import MAX_FUNCTION_ARGS
from runtime import Tracepoint, ffi, lib, ok

from ..functions import MAX_PROGS
from ..objects import LinkObject, ProgObject, Told

if TYPE_CHECKING:
    from ..kernel import Kernel

_PLACES = (uapi.BPF_TRACE_FENTRY, uapi.BPF_TRACE_FEXIT)


class TracedFunctions:
    """A program's functions that others trace: by number, what runs before and behind. entry: the code that does so."""

    def __init__(self, kernel: Kernel, target: ProgObject) -> None:
        self._target = target
        self._at: dict[int, dict[int, Tracepoint]] = {}
        self._code = ffi.cast("void *", kernel.trace(target))
        self.entry = ffi.NULL

    def count(self, index: int) -> int:
        return sum(place.count for place in self._at.get(index, {}).values())

    def attach(self, index: int, function: TracedFunction, prog: ProgObject) -> None:
        """Raises EBUSY where another program stands in the function's place, E2BIG past 38 programs."""
        target = self._target
        if index in target.replaced:
            raise refuse(errno.EBUSY, f"the function of program {target.id} has been replaced")
        if self.count(index) >= MAX_PROGS:
            raise refuse(errno.E2BIG, f"function {index} of program {target.id} has {MAX_PROGS} programs")
        places = self._at.get(index)
        if places is None:
            places = self._at[index] = {place: Tracepoint(target.own.kernel) for place in _PLACES}
            nargs = MAX_FUNCTION_ARGS if function.proto == VOID else len(function.btf.type(function.proto).params)
            ok(lib.rt_prog_trace(target.own.ptr, index, *(places[p].ptr for p in _PLACES), nargs), "traced function")
        places[prog.program.attach_type].attach(prog.native.addr, first=True, prog=prog.own.ptr)
        if not self.entry:
            self._stand(self._code)

    def detach(self, index: int, prog: ProgObject) -> None:
        target = self._target
        self._at[index][prog.program.attach_type].detach(prog.native.addr)
        if self.count(index):
            return
        places = self._at.pop(index)
        ok(lib.rt_prog_trace(target.own.ptr, index, ffi.NULL, ffi.NULL, 0), "traced function")
        if not self._at:
            self._stand(ffi.NULL)
        lib.rt_rcu_barrier(target.own.kernel.ptr)
        for place in places.values():
            place.close()

    def _stand(self, code: Any) -> None:
        """Whoever enters the program comes to this code, where no extension stands in its place."""
        before, self.entry = self.entry, code
        if 0 not in self._target.replaced:
            ok(lib.rt_prog_replace(self._target.own.ptr, 0, before, code), "traced program")


class TracedLink(LinkObject):
    """An fentry or fexit program at a function of another program."""

    type = uapi.BPF_LINK_TYPE_TRACING
    type_name = "tracing"

    def __init__(self, kernel: Kernel, prog: ProgObject, target: ProgObject, btf_id: int, cookie: int) -> None:
        function = prog.program.traces
        assert function is not None
        self._index = next(i for i, info in enumerate(target.program.funcs) if info.type_id == btf_id)
        if target.traced is None:
            target.traced = TracedFunctions(kernel, target)
        target.traced.attach(self._index, function, prog)
        super().__init__(prog, prog.program.attach_name)
        self._traced = target.get()
        self._btf_id = btf_id
        self.cookie = cookie

    def fdinfo(self) -> list[tuple[str, object]]:
        return [
            ("attach_type", self.attach_type),
            ("target_obj_id", self._traced.id),
            ("target_btf_id", self._btf_id),
            ("cookie", self.cookie),
        ]

    def tell(self, info: Told) -> None:
        info.put("tracing.attach_type", self.attach_type)
        info.put("tracing.target_obj_id", self._traced.id)
        info.put("tracing.target_btf_id", self._btf_id)
        info.put("tracing.cookie", self.cookie)

    def let_go(self) -> None:
        self._traced.traced.detach(self._index, self.prog)
        self._traced.put()


def new_link(kernel: Kernel, prog: ProgObject, cookie: int) -> TracedLink:
    """At the function that it was loaded for, once: it cannot be named again. Raises EINVAL, EBUSY, E2BIG."""
    waiting = prog.extends
    if waiting is None:
        raise refuse(errno.EINVAL, f"program {prog.id} has been attached already, and what it traces is not known any more")
    link = TracedLink(kernel, prog, *waiting, cookie)
    prog.extends = None
    waiting[0].put()
    return link
