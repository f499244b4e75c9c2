"""What this machine's kernel lets nobody do: some guests' kernels refuse whole targets of iterators, to root too."""

from __future__ import annotations

import errno
import functools

import pytest

from bpfjit.loader.bpf import Buffers, kernel_btf, live_bpf
from bpfjit.uapi import bpf as uapi


@functools.cache
def forbids_iter(target: str) -> bool:
    """Whether the smallest iterator over a target is EPERM though the smallest over bpf_prog is let in."""
    return _refusal(target) == errno.EPERM and not _refusal("bpf_prog")


def without(target: str) -> pytest.MarkDecorator:
    """Skip where the kernel forbids iterators over a target: nobody could make it a judge of them."""
    return pytest.mark.skipif(forbids_iter(target), reason=f"this machine's kernel lets nobody load iter/{target}")


def _refusal(target: str) -> int:
    keep, insns = Buffers(), bytes.fromhex("b700000000000000 9500000000000000")  # r0 = 0; exit
    try:
        btf = kernel_btf(live_bpf)
        attr = uapi.ProgLoad(
            prog_type=uapi.BPF_PROG_TYPE_TRACING,
            expected_attach_type=uapi.BPF_TRACE_ITER,
            insn_cnt=len(insns) // 8,
            insns=keep.put(insns),
            license=keep.put(b"GPL\0"),
            attach_btf_id=btf.find_func(f"bpf_iter_{target}") or 0,
        )
        live_bpf.close(live_bpf(uapi.BPF_PROG_LOAD, bytearray(attr.pack())))
    except OSError as e:
        return e.errno or 0
    return 0
