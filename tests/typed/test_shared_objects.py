"""Objects in the hands of several threads at once: none is lost, none is seen after it was dropped."""

from __future__ import annotations

import threading
from pathlib import Path

from bpfjit import open_object
from bpfjit.loader.bpf import Buffers
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel
from runtime import lib

SOURCE = Path(__file__).parent / "shared_objects.bpf.c"
ROUNDS = 5000


def test_threads_share_a_tree_a_list_and_a_slot() -> None:
    returned: list[tuple[str, int]] = []
    with Kernel(4, cache=False) as kernel:
        with open_object(SOURCE).load(kernel.bpf) as obj:

            def run(prog: str) -> None:
                buffers = Buffers()
                attr = uapi.TestRun(prog_fd=obj.progs[prog].fd, data_in=buffers.put(bytes(64)), data_size_in=64)
                attr.repeat = ROUNDS
                raw = bytearray(attr.pack())
                kernel.bpf(uapi.BPF_PROG_TEST_RUN, raw)
                returned.append((prog, uapi.TestRun.unpack(raw).retval))

            threads = [threading.Thread(target=run, args=(prog,)) for prog in obj.progs]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            assert sorted(returned) == [(prog, 0) for prog in sorted(obj.progs)]
            assert lib.rt_objects_alive(kernel.native.ptr) == 1  # what the slot keeps
        lib.rt_rcu_barrier(kernel.native.ptr)
        assert lib.rt_objects_alive(kernel.native.ptr) == 0
