"""BPF_PROG_TEST_RUN of fentry, fexit and fmod_ret programs: Linux's test functions run, whatever is attached to them."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from bpfjit.errors import ENOTSUPP, refuse
from bpfjit.uapi import bpf as uapi
from runtime import ffi

from ..caller import Caller
from ..objects import ProgObject

if TYPE_CHECKING:
    from ..kernel import Kernel

# The calls of bpf_fentry_test1 and on: their arguments (numbers and pointers alike), and what they return: the sum.
_CALLS = (
    ("bpf_fentry_test1", (1,), 2),
    ("bpf_fentry_test2", (2, 3), 5),
    ("bpf_fentry_test3", (4, 5, 6), 15),
    ("bpf_fentry_test4", (7, 8, 9, 10), 34),
    ("bpf_fentry_test5", (11, 12, 13, 14, 15), 65),
    ("bpf_fentry_test6", (16, 17, 18, 19, 20, 21), 111),
)


def run(kernel: Kernel, caller: Caller, attr: uapi.TestRun, prog: ProgObject) -> int:
    """Raises EINVAL for what Linux takes none of here, EFAULT where a test function returned something else than it does."""
    if attr.flags or attr.cpu or attr.batch_size:
        raise refuse(errno.EINVAL, f"test run flags {attr.flags:#x}, cpu {attr.cpu}, batch {attr.batch_size}")
    attach_type = prog.program.attach_type
    runner = _RUNNERS.get(attach_type)
    if runner is None:
        raise refuse(ENOTSUPP, f"tracing programs of attach type {attach_type} have no test run")
    attr.retval = runner(kernel)
    for other in kernel.progs:
        other.check_fault()
    return 0


def _fentry(kernel: Kernel) -> int:
    call = kernel.functions
    test = ffi.new("u64 *")  # a struct bpf_fentry_test_t, which holds one pointer
    address = int(ffi.cast("uintptr_t", test))
    returned = [call[name].call(list(args), lambda s=total: s) == total for name, args, total in _CALLS]  # type: ignore[misc]
    returned.append(call["bpf_fentry_test7"].call([0], lambda: 0) == 0)
    returned.append(call["bpf_fentry_test8"].call([address], lambda: int(test[0])) == 0)
    if not all(returned):
        raise refuse(errno.EFAULT, "a test function returned what it does not return")
    return 0


def _modify_return(kernel: Kernel) -> int:
    """What both functions returned, summed up; in the upper half, how many of them had their effect on *b."""
    total = effects = 0
    for name, rest in (("bpf_modify_return_test", ()), ("bpf_modify_return_test2", (3, 4, 5, 6, 7))):
        b = ffi.new("int *", 2)

        def body(b: object = b, rest: tuple[int, ...] = rest) -> int:
            b[0] += 1  # type: ignore[index]
            return 1 + int(b[0]) + sum(rest)  # type: ignore[index]

        total += kernel.functions[name].call([1, int(ffi.cast("uintptr_t", b)), *rest], body)
        effects += int(b[0]) != 2
    return effects << 16 | total & 0xFFFF


_RUNNERS: dict[int, Callable[[Kernel], int]] = {
    uapi.BPF_TRACE_FENTRY: _fentry,
    uapi.BPF_TRACE_FEXIT: _fentry,
    uapi.BPF_MODIFY_RETURN: _modify_return,
}
