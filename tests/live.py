"""What this machine's kernel lets nobody do: some hosts' kernels refuse whole kinds of programs, to root too."""

from __future__ import annotations

import errno
import functools

import pytest

from bpfjit.btf import Kind
from bpfjit.loader.bpf import Buffers, kernel_btf, live_bpf
from bpfjit.spec.sections import match_section
from bpfjit.uapi import bpf as uapi


@functools.cache
def forbids(section: str) -> bool:
    """Whether the smallest program of a section is EPERM though the smallest iterator over programs is let in."""
    return _refusal(section) == errno.EPERM and not _refusal("iter/bpf_prog")


def without(section: str) -> pytest.MarkDecorator:
    """Skip where the kernel forbids programs of a section: nobody could make it a judge of them."""
    return pytest.mark.skipif(forbids(section), reason=f"this machine's kernel lets nobody load {section}")


def _refusal(section: str) -> int:
    found = match_section(section)
    assert found is not None, f"there is no section {section}"
    row, target = found
    keep, insns = Buffers(), bytes.fromhex("b700000000000000 9500000000000000")  # r0 = 0; exit
    attr = uapi.ProgLoad(insn_cnt=len(insns) // 8, insns=keep.put(insns), license=keep.put(b"GPL\0"))
    attr.prog_type = getattr(uapi, f"BPF_PROG_TYPE_{row.prog_type}")
    attr.expected_attach_type = getattr(uapi, f"BPF_{row.attach_type}") if row.attach_type else 0
    try:
        if row.btf_attach:
            attr.attach_btf_id = kernel_btf(live_bpf).find(Kind[row.btf_kind.upper()], row.btf_prefix + target) or 0
        live_bpf.close(live_bpf(uapi.BPF_PROG_LOAD, bytearray(attr.pack())))
    except OSError as e:
        return e.errno or 0
    return 0
