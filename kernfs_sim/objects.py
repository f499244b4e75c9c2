"""Kernel objects of the BPF subsystem and their references: maps, programs, links, BTF.

A reference is held by an fd, a pin, or another object; the last one to be dropped releases the object.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bpfjit.btf import RawBtf
from bpfjit.program import Verified
from bpfjit.spec.kinds import MapType
from runtime import Map, ffi

if TYPE_CHECKING:
    from .fs.inode import Inode


class Object:
    """Something with an id and references. `backing_inode` is the bpffs inode of its first pin."""

    kind = "object"

    def __init__(self) -> None:
        self.refs = 1
        self.id = 0
        self.backing_inode: Inode | None = None

    def get(self) -> Any:
        assert self.refs > 0, f"{self.kind} {self.id} is gone"
        self.refs += 1
        return self

    def put(self) -> None:
        assert self.refs > 0, f"{self.kind} {self.id} is gone"
        self.refs -= 1
        if not self.refs:
            self.release()

    def release(self) -> None:
        """The last reference is gone."""


class BtfObject(Object):
    kind = "btf"

    def __init__(self, data: bytes, types: RawBtf, name: str = "", *, kernel: bool = False) -> None:
        super().__init__()
        self.data = data
        self.types = types
        self.name = name
        self.is_kernel = kernel
        self.on_release: Callable[[BtfObject], None] | None = None

    def release(self) -> None:
        if self.on_release is not None:
            self.on_release(self)


class MapObject(Object):
    kind = "map"

    def __init__(self, native: Map, row: MapType, name: str) -> None:
        super().__init__()
        self.native = native
        self.type = row
        self.name = name
        self.key_size = native.key_size
        self.value_size = int(native.ptr.value_size)
        self.max_entries = int(native.ptr.max_entries)
        self.flags = int(native.ptr.map_flags)
        self.frozen = False
        self.btf: BtfObject | None = None
        self.btf_key_type_id = 0
        self.btf_value_type_id = 0
        self.on_release: Callable[[MapObject], None] | None = None

    def release(self) -> None:
        if self.on_release is not None:
            self.on_release(self)
        if self.btf is not None:
            self.btf.put()
        self.native.close()


class ProgObject(Object):
    """A loaded program: what was verified, its native code (anything with `addr` and close())."""

    kind = "prog"

    def __init__(self, verified: Verified, native: Any, maps: tuple[MapObject, ...], btf: BtfObject | None) -> None:
        super().__init__()
        self.verified = verified
        self.program = verified.program
        self.native = native
        self.maps = maps
        self.btf = btf
        self.fd_btfs: tuple[BtfObject, ...] = ()  # what else its fd_array named
        self.tag = b""
        self.uid = 0
        self.attach_btf_id = 0
        self.fn = ffi.cast("rt_prog_fn", native.addr)
        self.load_time_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self.on_release: Callable[[ProgObject], None] | None = None

    @property
    def name(self) -> str:
        return self.program.name

    def check_fault(self) -> None:
        """Raise what the checking interpreter found while it could not (it is called from C)."""
        fault = getattr(self.native, "fault", None)
        if fault is not None:
            self.native.fault = None
            raise fault

    def release(self) -> None:
        if self.on_release is not None:
            self.on_release(self)
        self.fn = None
        self.native.close()
        for m in self.maps:
            m.put()
        for btf in (self.btf, *self.fd_btfs):
            if btf is not None:
                btf.put()


class LinkObject(Object):
    """An attached program. `detach` undoes the attachment; `target` names what it is attached to."""

    kind = "link"

    def __init__(self, link_type: int, prog: ProgObject, attach_type: int, target: str, detach: Callable[[], None]) -> None:
        super().__init__()
        self.type = link_type
        self.prog = prog
        self.attach_type = attach_type
        self.target = target
        self._detach = detach
        self.on_release: Callable[[LinkObject], None] | None = None

    def release(self) -> None:
        if self.on_release is not None:
            self.on_release(self)
        self._detach()
        self.prog.put()
