"""Links: programs attached to what their sections name."""

from __future__ import annotations

from ..elf.spec import ProgSpec
from ..errors import LoadError, describe
from ..uapi import bpf as uapi
from .bpf import Bpf, Buffers
from .map import pin


class Link:
    """An attachment: an fd that keeps a program attached until it is closed (and not pinned)."""

    def __init__(self, bpf: Bpf, fd: int, name: str) -> None:
        self._bpf = bpf
        self.fd = fd
        self.name = name

    def pin(self, path: str) -> None:
        """BPF_OBJ_PIN at `path`: in bpffs, or (once it is there) in a cgroup directory. Raises OSError."""
        pin(self._bpf, self.fd, path)

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            self._bpf.close(fd)


def attach(bpf: Bpf, spec: ProgSpec, prog_fd: int, iter_info: bytes = b"") -> Link:
    """Attach a loaded program as its section says; `iter_info` is a union bpf_iter_link_info. Raises LoadError, OSError."""
    row = spec.kind
    buffers = Buffers()
    try:
        if row is not None and row.attach in ("tp_btf", "raw_tp"):
            name = buffers.put(spec.target.encode() + b"\0") if row.attach == "raw_tp" else 0
            raw = uapi.RawTracepointOpen(name=name, prog_fd=prog_fd)
            fd = bpf(uapi.BPF_RAW_TRACEPOINT_OPEN, bytearray(raw.pack()))
        elif row is not None and row.attach in ("iter", "view", "function"):
            link = uapi.LinkCreate(
                prog_fd=prog_fd,
                attach_type=attach_type(row.attach_type),
                iter_info=buffers.put(iter_info),
                iter_info_len=len(iter_info),
            )
            fd = bpf(uapi.BPF_LINK_CREATE, bytearray(link.pack()))
        else:
            raise LoadError("nothing to attach to", section=spec.section, program=spec.name)
    except OSError as e:
        raise OSError(e.errno, f"attach {spec.name} ({spec.section}): {describe(e)}") from None
    return Link(bpf, fd, spec.name)


def attach_type(name: str) -> int:
    return int(getattr(uapi, f"BPF_{name}")) if name else 0
