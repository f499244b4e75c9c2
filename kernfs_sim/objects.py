"""Kernel objects of the BPF subsystem and their references: maps, programs, links, BTF.

A reference is held by an fd, a pin, or another object; the last one to be dropped releases the object.
"""

from __future__ import annotations

import errno
import functools
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from bpfjit.btf import NO_FIELDS, BtfId, RawBtf, Record, Special
from bpfjit.dataclass import dataclass
from bpfjit.errors import refuse
from bpfjit.program import MapInfo, Verified
from bpfjit.sha256 import sha256
from bpfjit.spec.kinds import MapType
from bpfjit.uapi import bpf as uapi
from runtime import KernelHandle, Map, ProgHandle, ffi, lib

if TYPE_CHECKING:
    from .bpf.structs import OwnStructs
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

    def hold(self) -> Any:
        """As get(), of what another thread may be letting go of meanwhile. Raises ENXIO."""
        if self.refs <= 0:
            raise refuse(errno.ENXIO, f"{self.kind} {self.id} is going")
        self.refs += 1  # no thread comes between this and the question before it
        return self

    def put(self) -> None:
        assert self.refs > 0, f"{self.kind} {self.id} is gone"
        self.refs -= 1
        if not self.refs:
            self.release()

    def opened(self) -> None:
        """A user holds it: an fd or a pin."""

    def closed(self) -> None:
        """A user has let go of it."""

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
        self.structs: Mapping[BtfId, Record] = {}  # the structures with special fields
        self.own: OwnStructs | None = None  # of a program's BTF: what the runtime knows of them
        self._c: Any = None  # struct btf, from when a program may look at it on
        self._native: KernelHandle | None = None
        self.on_release: Callable[[BtfObject], None] | None = None

    @functools.cached_property
    def digest(self) -> bytes:
        """SHA-256 of the blob."""
        return sha256(self.data).digest()

    def structure(self, native: KernelHandle) -> Any:
        """The struct btf that programs read; made when it is first asked for, with its types and strings."""
        if self._c is None:
            self._c = lib.rt_btf_new(native.ptr, self.data, len(self.data), self.id)
            if self._c == ffi.NULL:
                raise refuse(errno.ENOMEM, f"no room for the {len(self.data)} bytes of btf {self.id}")
            self._native = native
        return self._c

    def release(self) -> None:
        if self.on_release is not None:
            self.on_release(self)
        if self.own is not None:
            self.own.close()
        if self._native is not None and self._native.ptr != ffi.NULL:
            lib.rt_btf_free(self._native.ptr, self._c, len(self.data))


CALLING_BACK = Special.TIMER | Special.WORKQUEUE


class MapObject(Object):
    kind = "map"

    def __init__(self, native: Map, row: MapType, name: str, record: Record = NO_FIELDS) -> None:
        super().__init__()
        self.native = native
        self.type = row
        self.name = name
        self.record = record  # the special fields of a value
        self.key_size = native.key_size
        self.value_size = int(native.ptr.value_size)
        self.max_entries = int(native.ptr.max_entries)
        self.flags = int(native.ptr.map_flags)
        self.extra = int(native.ptr.map_extra)
        self.frozen = False
        self.template: MapInfo | None = None  # of a map of maps: what it holds is like this
        self.held: dict[bytes, Any] = {}  # what the values of a map of kernel objects are
        self.changing = threading.Lock()  # of `held`
        self.ever_held: weakref.WeakSet[MapObject] = weakref.WeakSet()  # of a map of maps
        self.progs: dict[int, ProgObject] = {}  # of a map of sockets, by attach type
        self.prog_links: set[int] = set()  # of those, which are there by a link
        self.tail_owner: TailOwner | None = None  # what the programs of a prog array are like
        self.users = 0
        self.on_last_user: Callable[[MapObject], None] | None = None
        self.exclusive_to = b""  # the digest of the one program that may use it
        self.callers: list[TimerCode] = []  # code of programs that are gone, which its timers may still call
        self.written_through = 0  # mappings of its memory that may write
        self.btf: BtfObject | None = None
        self.btf_key_type_id = 0
        self.btf_value_type_id = 0
        self.on_release: Callable[[MapObject], None] | None = None

    @property
    def user_value_bytes(self) -> int:
        """A value as syscalls have it."""
        return self.value_size if self.type.holds else self.native.value_bytes

    def info(self) -> MapInfo:
        """The map as verifier and engines see it; the contents of a frozen read-only array are constants."""
        constant = None
        if self.frozen and self.flags & uapi.BPF_F_RDONLY_PROG and self.type.direct and self.max_entries == 1:
            constant = self.native.lookup(bytes(4))
        return MapInfo(
            self.id,
            self.name,
            self.type,
            self.key_size,
            self.value_size,
            self.max_entries,
            self.flags,
            self.frozen,
            constant,
            self.record,
            self.btf is not None,
        )

    def opened(self) -> None:
        self.users += 1
        self.native.ptr.usercnt.counter = self.users

    def closed(self) -> None:
        self.users -= 1
        self.native.ptr.usercnt.counter = self.users
        if not self.users and self.record.kinds & CALLING_BACK:
            lib.rt_map_drop_timers(self.native.ptr)
        if not self.users and self.on_last_user is not None:
            self.on_last_user(self)

    def release(self) -> None:
        if self.on_release is not None:
            self.on_release(self)
        if self.btf is not None:
            self.btf.put()
        progs, self.progs = self.progs, {}
        for prog in progs.values():
            prog.put()
        self.native.close()


class TimerCode:
    """The code of a program that is gone, and its maps: timers in `users` maps may call it while those have users."""

    def __init__(self, native: Any, own: ProgHandle, maps: Sequence[MapObject], users: int) -> None:
        self._native = native
        self._own = own
        self._maps = maps
        self._users = users

    def put(self) -> None:
        self._users -= 1
        if not self._users:
            self._native.close()
            self._own.close()
            for m in self._maps:
                m.put()


@dataclass(frozen=True, slots=True)
class TailOwner:
    """What the programs of one prog array have in common, by the first one that used it or was put in."""

    prog_type: int
    attach_type: int
    attach_name: str
    frags: bool
    storages: tuple[int, ...] = ()  # the ids of cgroup storage maps: who has any has those

    @classmethod
    def of(cls, prog: ProgObject) -> TailOwner:
        program = prog.program
        frags = bool(prog.load_flags & uapi.BPF_F_XDP_HAS_FRAGS)
        storages = tuple(sorted(m.id for m in prog.maps if "local_storage" in m.type.uses))
        return cls(program.type.id, program.attach_type, program.attach_name, frags, storages)


class ProgObject(Object):
    """A loaded program: what was verified, its native code (anything with `addr` and close()), and what is kept of it."""

    kind = "prog"

    def __init__(
        self, own: ProgHandle, verified: Verified, native: Any, maps: tuple[MapObject, ...], btf: BtfObject | None
    ) -> None:
        super().__init__()
        self.own = own
        self.verified = verified
        self.program = verified.program
        self.native = native
        self.maps = maps
        self.btf = btf
        self.fd_btfs: tuple[BtfObject, ...] = ()  # what else its fd_array named
        self.tag = b""
        self.uid = 0
        self.attach_btf_id = 0
        self.load_flags = 0
        self.extends: tuple[ProgObject, int] | None = None  # the program and function that it was loaded for, until attached
        self.nested = False  # it traces a program that traces: nobody traces it
        self.replaced: set[int] = set()  # its functions in whose places others stand
        self.traced: Any = None  # its functions that others trace, from the first one on (bpf/traced.py)
        self.c: Any = None  # struct bpf_prog, from when it has an id on
        self.symbol: Any = ffi.NULL  # struct rt_ksym, from then on
        self.fn = own.enter_at(native.addr)
        self.load_time_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self.on_release: Callable[[ProgObject], None] | None = None

    @property
    def name(self) -> str:
        return self.program.name

    @property
    def type_id(self) -> int:
        """BPF_PROG_TYPE_*: an extension is no program of the type that it extends."""
        return uapi.BPF_PROG_TYPE_EXT if self.program.is_extension else self.program.type.id

    def optimise(self) -> None:
        """Have the best code there is before the next run, where that is not so yet."""
        optimise = getattr(self.native, "optimise", None)
        if optimise is not None:
            optimise()

    def check_fault(self) -> None:
        """Raise what the checking interpreter found while it could not (it is called from C)."""
        fault = getattr(self.native, "fault", None)
        if fault is not None:
            self.native.fault = None
            raise fault

    def release(self) -> None:
        if self.on_release is not None:
            self.on_release(self)
        if self.symbol and self.own.kernel.ptr != ffi.NULL:
            lib.rt_ksym_remove(self.own.kernel.ptr, self.symbol)
        self.fn = None
        timed = {t for m in self.maps for t in (m, *m.ever_held) if t.record.kinds & CALLING_BACK and t.users}
        if timed and any(sub.is_callback for sub in self.verified.facts.subprogs):
            code = TimerCode(self.native, self.own, self.maps, len(timed))
            for m in timed:
                m.callers.append(code)
        else:
            self.native.close()
            self.own.close()
            for m in self.maps:
                m.put()
        if self.extends is not None:
            self.extends[0].put()
        for btf in (self.btf, *self.fd_btfs):
            if btf is not None:
                btf.put()


class Told(Protocol):
    """An info structure being filled (BPF_OBJ_GET_INFO_BY_FD): members by their dotted names."""

    def put(self, field: str, value: int | bytes) -> None: ...

    def put_name(self, pointer: str, length: str, name: str) -> None:
        """Text into the caller's buffer. Raises ENOSPC for one that is too small, after filling it."""
        ...


class LinkObject(Object):
    """An attached program; `target` names what it is attached to. Each type of link is a subclass."""

    kind = "link"
    type = 0  # BPF_LINK_TYPE_*
    type_name = ""
    updatable = False  # its program may be exchanged: who has a file open goes on with the one it began with

    def __init__(self, prog: ProgObject, target: str) -> None:
        super().__init__()
        self.prog = prog.get()
        self.attach_type = prog.program.attach_type
        self.target = target
        self.c: Any = None  # struct bpf_link, from when it has an id on
        self.on_release: Callable[[LinkObject], None] | None = None

    def fdinfo(self) -> list[tuple[str, object]]:
        """The lines of fdinfo that only this type has."""
        return []

    def tell(self, info: Told) -> None:
        """Fill what bpf_link_info has for this type."""

    def update(self, fresh: ProgObject) -> None:
        """BPF_LINK_UPDATE, the old program checked. Raises EINVAL for a program of another kind or target."""
        have, want = fresh.program, self.prog.program
        if (have.type.id, have.attach_type, have.attach_name) != (want.type.id, want.attach_type, want.attach_name):
            raise refuse(errno.EINVAL, f"program {have.name} is for {have.attach_name}, the link for {want.attach_name}")
        self.replace_prog(fresh)

    def replace_prog(self, fresh: ProgObject) -> None:
        before, self.prog = self.prog, fresh.get()
        if self.c is not None:
            self.c.prog = fresh.c
        before.put()

    def still_attached(self) -> None:
        """Raises ENOLINK for a link whose target has gone."""

    def detach(self) -> None:
        """BPF_LINK_DETACH. Raises EOPNOTSUPP for types that stay attached until the last fd and pin have gone."""
        raise refuse(errno.EOPNOTSUPP, f"a link to {self.target} cannot be detached")

    def let_go(self) -> None:
        """Undo the attachment: the link goes."""

    def release(self) -> None:
        if self.on_release is not None:
            self.on_release(self)
        self.let_go()
        self.prog.put()
