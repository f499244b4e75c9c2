"""Owned handles of native things: each releases what it holds exactly once.

A handle keeps whatever its memory needs alive (a map its kernel); `close()` may be called again.
Numbers that come back negative from C are errnos: `ok()` raises them.
"""

from __future__ import annotations

import errno
import functools
import itertools
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ._rt import ffi as ffi
from ._rt import lib as lib

CData = Any  # cffi's objects have no static type


def ok(result: int, what: str) -> int:
    """`result`, or the OSError that its negative errno means; `what` names the object and the operation."""
    if result < 0:
        raise OSError(-result, f"{what}: {os.strerror(-result)}")
    return result


class Symbols(Mapping[str, int]):
    """Name -> address of every runtime function that compiled programs may call."""

    def __init__(self) -> None:
        self._addresses: dict[str, int] = {}
        name, addr = ffi.new("const char **"), ffi.new("void **")
        while lib.rt_symbol(len(self._addresses), name, addr):
            self._addresses[ffi.string(name[0]).decode()] = int(ffi.cast("uintptr_t", addr[0]))

    def __getitem__(self, name: str) -> int:
        return self._addresses[name]

    def __iter__(self) -> Any:
        return iter(self._addresses)

    def __len__(self) -> int:
        return len(self._addresses)


def offsets() -> dict[str, int]:
    """Name -> byte offset of what native code reads in place of a call ("hash.mask"); "cpu" is relative to the thread."""
    found: dict[str, int] = {}
    name, bytes_ = ffi.new("const char **"), ffi.new("s64 *")
    while lib.rt_offset(len(found), name, bytes_):
        found[ffi.string(name[0]).decode()] = int(bytes_[0])
    return found


class KernelHandle:
    """A native kernel: simulated CPUs, RCU, the heap of kernel objects.

    Whatever uses its memory or runs in it holds it meanwhile (hold() and drop()); after close() nothing new may,
    and the memory goes with the last one that still does.
    """

    def __init__(self, cpus: int) -> None:
        self.cpus = cpus
        self.closed = False
        self._holders = 0
        self.ptr: CData = lib.rt_kernel_new(cpus)
        if self.ptr == ffi.NULL:
            raise ValueError(f"a kernel of {cpus} cpus cannot be made, wanted 1 to 64 and memory")

    def hold(self) -> None:
        """Raises ENODEV once the kernel is closed."""
        if self.closed:
            raise OSError(errno.ENODEV, "the kernel has been shut down")
        # The interpreter switches threads between statements, never inside `+=` of an attribute.
        self._holders += 1

    def drop(self) -> None:
        self._holders -= 1
        if not self._holders and self.closed:
            self._free()

    def new(self, ctype: str, extra_bytes: int = 0) -> CData:
        """A zeroed kernel object of a structure type, e.g. "struct cgroup"."""
        pointer, size = _type(ctype)
        obj = lib.rt_kobj_alloc(self._open(), size + extra_bytes)
        if obj == ffi.NULL:
            raise MemoryError(f"no room for a {ctype}")
        return ffi.cast(pointer, obj)

    @functools.cached_property
    def anon_inode(self) -> CData:
        """The struct inode that all files share which have none of their own: those of maps, programs, pidfds."""
        return self.new("struct inode")

    def sock_closed(self, sk: CData) -> None:
        """A socket is closed: maps of sockets do not hold it any more."""
        lib.rt_sock_closed(self._open(), sk)

    def forget(self, obj: CData) -> None:
        """A structure inside another one goes: its local storage too, after readers."""
        lib.rt_kobj_forget_rcu(self._open(), obj)

    def new_bytes(self, size_bytes: int) -> CData:
        """A zeroed kernel object of whatever structure, as a char *."""
        obj = lib.rt_kobj_alloc(self._open(), size_bytes)
        if obj == ffi.NULL:
            raise MemoryError(f"no room for {size_bytes} bytes")
        return ffi.cast("char *", obj)

    def string(self, text: bytes) -> CData:
        """A NUL-terminated string on the heap of kernel objects; give it back with free(it, len + 1)."""
        obj = ffi.cast("char *", lib.rt_kobj_alloc(self._open(), len(text) + 1))
        if obj == ffi.NULL:
            raise MemoryError(f"no room for a string of {len(text)} bytes")
        ffi.memmove(obj, text, len(text))
        return obj

    def free(self, obj: CData, size_bytes: int) -> None:
        """Free a kernel object once no program can still read it."""
        if self.ptr != ffi.NULL:
            lib.rt_kobj_free_rcu(self.ptr, obj, size_bytes)

    def name_pointer(self, obj: CData, name: int) -> None:
        """What %p shows of an object in place of a hash of its address: the name that another kernel gave it."""
        ok(lib.rt_kernel_name_pointer(self._open(), ffi.cast("void *", obj), name), "name of a pointer")

    def owns(self, addr: int, size_bytes: int) -> bool:
        return self.ptr != ffi.NULL and bool(lib.rt_kobj_owns(self.ptr, addr, size_bytes))

    def _open(self) -> CData:
        if self.closed:
            raise OSError(errno.ENODEV, "the kernel has been shut down")
        return self.ptr

    def close(self) -> None:
        self.closed = True
        if not self._holders:
            self._free()

    def _free(self) -> None:
        ptr, self.ptr = self.ptr, ffi.NULL
        if ptr != ffi.NULL:
            lib.rt_kernel_free(ptr)

    def __del__(self) -> None:
        if getattr(self, "ptr", None) is not None:
            self.close()


@functools.cache
def _type(ctype: str) -> tuple[CData, int]:
    return ffi.typeof(f"{ctype} *"), ffi.sizeof(ctype)


class Field(NamedTuple):
    """A special field of a value or an object: struct rt_field, pointers as addresses."""

    kind: int
    offset: int
    size: int
    node_off: int = 0
    destroy: int = 0
    type: int = 0


def native_fields(fields: Sequence[Field]) -> CData:
    made = ffi.new("struct rt_field[]", len(fields))
    for to, f in zip(made, fields, strict=True):
        to.kind, to.offset, to.size, to.node_off = f.kind, f.offset, f.size, f.node_off
        to.destroy = ffi.cast("void (*)(void *)", f.destroy)
        to.type = ffi.cast("struct rt_struct *", f.type)
    return made


class Structs:
    """The structures of one BTF that programs allocate objects of; maps that own such keep them beyond close()."""

    def __init__(self) -> None:
        self.ptr: CData = lib.rt_structs_new()
        if self.ptr == ffi.NULL:
            raise MemoryError("set of structures")

    def new(self, size_bytes: int) -> int:
        """The address of a structure without special fields yet."""
        made = lib.rt_struct_new(self.ptr, size_bytes)
        if made == ffi.NULL:
            raise MemoryError(f"structure of {size_bytes} bytes")
        return int(ffi.cast("uintptr_t", made))

    def define(self, struct: int, fields: Sequence[Field]) -> None:
        lib.rt_struct_define(ffi.cast("struct rt_struct *", struct), native_fields(fields), len(fields))

    def close(self) -> None:
        ptr, self.ptr = self.ptr, ffi.NULL
        lib.rt_structs_put(ptr)


class Map:
    """A native map. Keys and values are bytes of key_size and `value_bytes` (per-CPU maps: every CPU's).

    on_node: bound to node 0, the only one. fields: the special fields of a value.
    """

    def __init__(
        self,
        kernel: KernelHandle,
        map_type: int,
        key_size: int,
        value_size: int,
        max_entries: int,
        flags: int,
        extra: int,
        *,
        on_node: bool = False,
        fields: Sequence[Field] = (),
    ) -> None:
        err = ffi.new("int *")
        shape = ffi.new("struct bpf_map *")
        shape.map_type, shape.key_size, shape.value_size, shape.max_entries = map_type, key_size, value_size, max_entries
        shape.map_flags, shape.map_extra, shape.numa_node = flags, extra, -1 + on_node
        special = native_fields(fields)
        kernel.hold()
        self.kernel = kernel
        self.ptr: CData = lib.rt_map_new(kernel.ptr, shape, special, len(fields), err)
        if self.ptr == ffi.NULL:
            kernel.drop()
            raise OSError(-err[0], f"map of {max_entries} entries of {key_size}+{value_size} bytes: {os.strerror(-err[0])}")
        self.addr = int(ffi.cast("uintptr_t", self.ptr))
        self.value_bytes = int(lib.rt_map_value_bytes(self.ptr))
        self.key_size = key_size

    @property
    def direct(self) -> int:
        """The address of the first value of an array, 0 for what cannot be addressed."""
        return int(ffi.cast("uintptr_t", lib.rt_map_direct(self.ptr)))

    @property
    def user(self) -> tuple[int, int]:
        """An arena's user address and its size in bytes, both 0 until a user has mapped it."""
        size = ffi.new("u64 *")
        return int(lib.rt_arena_user(self.ptr, size)), int(size[0])

    @property
    def memory_bytes(self) -> int:
        """What the map takes now, as the runtime counts it."""
        return int(lib.rt_map_memory_bytes(self.ptr))

    def owns(self, addr: int, size_bytes: int) -> bool:
        return bool(lib.rt_map_owns(self.ptr, addr, size_bytes))

    def lookup(self, key: bytes) -> bytes | None:
        """The value, or None where there is none."""
        value = ffi.new("char[]", self.value_bytes)
        if lib.rt_map_copy_out(self.ptr, key, value, 0) < 0:
            return None
        return bytes(ffi.buffer(value))

    def read(self, key: bytes, flags: int = 0, given: bytes = b"") -> bytes:
        """As lookup(), the kind's own errno raised. `given`: what the value's buffer holds before (a membership test)."""
        value = ffi.new("char[]", self.value_bytes)
        ffi.memmove(value, given, len(given))
        ok(lib.rt_map_copy_out(self.ptr, key, value, flags), "map lookup")
        return bytes(ffi.buffer(value))

    def take(self, key: bytes, flags: int = 0) -> bytes:
        """The value, its element gone from the map."""
        value = ffi.new("char[]", self.value_bytes)
        ok(lib.rt_map_take(self.ptr, key, value, flags), "map lookup and delete")
        return bytes(ffi.buffer(value))

    def update(self, key: bytes, value: bytes, flags: int = 0) -> None:
        ok(lib.rt_map_copy_in(self.ptr, key, value, flags), "map update")

    def delete(self, key: bytes) -> None:
        ok(lib.rt_map_delete(self.ptr, key), "map delete")

    def next_key(self, key: bytes | None) -> bytes | None:
        """The key after `key`, or the first one for None and for a key that is not there."""
        following = ffi.new("char[]", self.key_size)
        result = lib.rt_map_next_key(self.ptr, ffi.NULL if key is None else key, following)
        if result == -errno.ENOENT:
            return None
        ok(result, "map next key")
        return bytes(ffi.buffer(following))

    def close(self) -> None:
        ptr, self.ptr = self.ptr, ffi.NULL
        if ptr != ffi.NULL:
            lib.rt_map_free(ptr)
            self.kernel.drop()

    def __del__(self) -> None:
        if getattr(self, "ptr", None) is not None:
            self.close()


class ProgHandle:
    """What is kept of a program while it is loaded (struct rt_prog): figures, who is in it, what it said."""

    def __init__(self, kernel: KernelHandle) -> None:
        self.ptr: CData = lib.rt_prog_new(kernel.ptr)
        if self.ptr == ffi.NULL:
            raise MemoryError("no room for a program")
        kernel.hold()
        self.kernel = kernel
        self._reading = threading.Lock()

    def enter_at(self, addr: int) -> CData:
        """Its entry's address, by which runs are counted; as a function."""
        fn = ffi.cast("rt_prog_fn", addr)
        lib.rt_prog_code(self.kernel.ptr, self.ptr, fn)
        return fn

    def read_stream(self, stream: int, size: int, take: Callable[[bytes], None]) -> int:
        """Hand over at most `size` bytes of what was written to a stream; they stay if that fails. Raises ENOENT."""
        size = min(size, 1 << 20)  # more than a stream ever holds
        buf = ffi.new("char[]", size)
        with self._reading:
            n = ok(lib.rt_stream_peek(self.ptr, stream, buf, size), f"stream {stream}")
            take(bytes(ffi.buffer(buf, n)))
            lib.rt_stream_drop(self.ptr, stream, n)
        return n

    def close(self) -> None:
        ptr, self.ptr = self.ptr, ffi.NULL
        if ptr != ffi.NULL:
            lib.rt_prog_free(self.kernel.ptr, ptr)
            self.kernel.drop()


class Tracepoint:
    """A tracepoint and the programs attached to it (function addresses); `count` of them."""

    def __init__(self, kernel: KernelHandle) -> None:
        kernel.hold()
        self.kernel = kernel
        self.count = 0
        self._firing = 0
        self._changing = threading.Lock()  # C leaves it to its caller that only one attaches or detaches
        self._closed = False
        self.ptr: CData = lib.rt_tracepoint_new(kernel.ptr)
        if self.ptr == ffi.NULL:
            kernel.drop()
            raise MemoryError("no room for a tracepoint")

    def attach(self, addr: int, *, first: bool = False, prog: CData = ffi.NULL) -> None:
        """A program (its entry; what is kept of it, struct rt_prog) after all others, or before them."""
        attach = lib.rt_tracepoint_attach_first if first else lib.rt_tracepoint_attach
        with self._changing:
            ok(attach(self.ptr, ffi.cast("rt_prog_fn", addr), prog), "tracepoint attach")
            self.count += 1

    def detach(self, addr: int) -> None:
        with self._changing:
            ok(lib.rt_tracepoint_detach(self.ptr, ffi.cast("rt_prog_fn", addr)), "tracepoint detach")
            self.count -= 1
        lib.rt_rcu_barrier(self.kernel.ptr)

    def fire(self, args: list[int], current: CData, repeat: int = 1) -> None:
        """Run every attached program with these raw arguments (unsigned 64-bit), `repeat` times. Raises ENODEV."""
        if self._closed:
            raise OSError(errno.ENODEV, "the kernel has been shut down")
        self._firing += 1
        try:
            lib.rt_tracepoint_fire(self.ptr, ffi.new("u64[]", args or [0]), current or ffi.NULL, repeat)
        finally:
            self._firing -= 1
            if self._closed:
                self._free()

    def ask(self, args: list[int], current: CData) -> int:
        """Run the programs until one returns something but 0, and say what; each finds behind `args` what the last said."""
        if self._closed:
            raise OSError(errno.ENODEV, "the kernel has been shut down")
        self._firing += 1
        try:
            return int(lib.rt_tracepoint_ask(self.ptr, ffi.new("u64[]", [*args, 0]), len(args), current or ffi.NULL))
        finally:
            self._firing -= 1
            if self._closed:
                self._free()

    def close(self) -> None:
        self._closed = True
        self._free()

    def _free(self) -> None:
        if self._firing:
            return
        ptr, self.ptr = self.ptr, ffi.NULL
        if ptr != ffi.NULL:
            lib.rt_tracepoint_free(ptr)
            self.kernel.drop()

    def __del__(self) -> None:
        if getattr(self, "ptr", None) is not None:
            self.close()


class Index:
    """Kernel objects by ascending number: what an iterator over tasks or maps walks."""

    def __init__(self, kernel: KernelHandle) -> None:
        self.kernel = kernel
        self.ptr: CData = lib.rt_index_new(kernel.ptr)
        if self.ptr == ffi.NULL:
            raise MemoryError("no room for an index")

    def add(self, number: int, obj: CData) -> None:
        ok(lib.rt_index_add(self.ptr, number, obj), f"index of {number}")

    def remove(self, number: int) -> None:
        if self.ptr != ffi.NULL:  # the garbage collector frees a kernel's registry and its last objects in any order
            ok(lib.rt_index_remove(self.ptr, number), f"index of {number}")

    def close(self) -> None:
        ptr, self.ptr = self.ptr, ffi.NULL
        if ptr != ffi.NULL:
            lib.rt_index_free(ptr)

    def __del__(self) -> None:
        if getattr(self, "ptr", None) is not None:
            self.close()


_uncleared = ffi.new_allocator(should_clear_after_alloc=False)


class Iter:
    """One open iterator: a session over a target. `how` is a struct rt_iter_how."""

    def __init__(self, kernel: KernelHandle, fn: CData, how: CData, session_id: int) -> None:
        self.ptr: CData = lib.rt_iter_open(kernel.ptr, fn, how, session_id)
        if self.ptr == ffi.NULL:
            raise MemoryError("no room for an open iterator")

    def read(self, size_bytes: int, current: CData) -> bytes:
        # Nobody reads further than what was written: clearing 64 KiB takes as long as a thousand elements' text.
        buf = _uncleared("char[]", size_bytes) if size_bytes else ffi.NULL
        n = ok(lib.rt_iter_read(self.ptr, buf, size_bytes, current), "iterator")
        return bytes(ffi.buffer(buf, n)) if n else b""

    def close(self) -> None:
        ptr, self.ptr = self.ptr, ffi.NULL
        if ptr != ffi.NULL:
            lib.rt_iter_close(ptr)

    def __del__(self) -> None:
        if getattr(self, "ptr", None) is not None:
            self.close()


class FuseDevice:
    """An open /dev/fuse: next() answers opens, reads and releases of the nodes that show() has told of by itself.

    What a node shows is kept by `keep`, a function that lets it go; it is called once nobody has the node open after
    retire() or forget(). Handles of such opens are numbers from 1 << 63 on.
    """

    OURS = 1 << 63

    def __init__(self, fd: int) -> None:
        self.ptr: CData = lib.rt_fuse_new(fd)
        if self.ptr == ffi.NULL:
            raise MemoryError("no room for a FUSE connection")
        self._tags = itertools.count(1)
        self._kept: dict[int, tuple[object, Callable[[], None]]] = {}

    def next(self, buffer: CData, size_bytes: int) -> int:
        """Wait for a request that is not for here: its size. Raises OSError as read(2) of the device does."""
        n = int(lib.rt_fuse_next(self.ptr, buffer, size_bytes))
        if n < 0:
            raise OSError(-n, os.strerror(-n))
        return n

    def show(
        self, nodeid: int, kernel: KernelHandle, fn: CData, obj: CData, subject: object, keep: Callable[[], None]
    ) -> None:
        """Opens of a node show `obj` through a program from now on; `subject` is what subject() gives for them."""
        tag = next(self._tags)
        self._kept[tag] = (subject, keep)
        ok(lib.rt_fuse_show(self.ptr, nodeid, kernel.ptr, fn, obj, tag), "fuse node")

    def retire(self) -> None:
        """No node is shown so any more; reads of the opens that are left come from next()."""
        lib.rt_fuse_retire(self.ptr)
        self.reap()

    def forget(self, nodeid: int) -> None:
        lib.rt_fuse_forget(self.ptr, nodeid)
        self.reap()

    def reap(self) -> None:
        """Let go of what nobody has open any more."""
        while tag := lib.rt_fuse_reap(self.ptr):
            self._kept.pop(tag)[1]()

    def subject(self, handle: int) -> Any:
        """What show() was told for an open's node. Raises EBADF."""
        found = self._kept.get(lib.rt_fuse_tag(self.ptr, handle))
        if found is None:
            raise OSError(errno.EBADF, f"no open view {handle:#x}")
        return found[0]

    def read(self, handle: int, size_bytes: int, pos: int) -> bytes:
        buf = ffi.new("char[]", size_bytes)
        n = ok(lib.rt_fuse_read(self.ptr, handle, buf, size_bytes, pos), "view")
        return ffi.unpack(buf, n) if n else b""

    def made(self, handle: int) -> bool:
        """Whether an open's text has been read. Raises EBADF."""
        return bool(ok(lib.rt_fuse_made(self.ptr, handle), "view"))

    def release(self, handle: int) -> None:
        lib.rt_fuse_release(self.ptr, handle)
        self.reap()

    def close(self) -> None:
        """Every open is closed. Nobody may be in next()."""
        ptr = self.ptr
        if ptr != ffi.NULL:
            lib.rt_fuse_shut(ptr)
            self.reap()
            self.ptr = ffi.NULL
            lib.rt_fuse_free(ptr)


class View:
    """One open view: a program that shows one kernel object."""

    __slots__ = ("keep", "ptr")

    def __init__(self, kernel: KernelHandle, fn: CData, obj: CData, keep: object = None) -> None:
        self.ptr: CData = lib.rt_view_open(kernel.ptr, fn, obj)
        self.keep = keep  # the link whose program runs
        if self.ptr == ffi.NULL:
            raise MemoryError("no room for an open view")

    def read(self, size_bytes: int, pos: int, current: CData) -> bytes:
        buf = ffi.new("char[]", size_bytes)
        n = lib.rt_view_read(self.ptr, buf, size_bytes, pos, current)
        if n < 0:
            raise OSError(-n, f"view: {os.strerror(-n)}")
        return ffi.unpack(buf, n) if n else b""

    def close(self) -> None:
        ptr, self.ptr = self.ptr, ffi.NULL
        if ptr != ffi.NULL:
            lib.rt_view_close(ptr)

    def __del__(self) -> None:
        if getattr(self, "ptr", None) is not None:
            self.close()


class Code:
    """Memory for linked code of `size_bytes`: reserved, so that its address is known, then sealed with its contents."""

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes
        self._ptr: CData = lib.rt_code_reserve(size_bytes)
        if self._ptr == ffi.NULL:
            raise MemoryError(f"no room for {size_bytes} bytes of code")
        self.addr = int(ffi.cast("uintptr_t", self._ptr))

    @staticmethod
    def libc(name: str) -> int:
        """The address of a function that compilers call of their own accord (memcpy), 0 for any other."""
        return int(ffi.cast("uintptr_t", lib.rt_code_libc(name.encode())))

    def seal(self, data: bytes, sealed_bytes: int) -> None:
        """Write the code and make it executable, never to be written again; what lies behind `sealed_bytes` stays data."""
        assert len(data) == self._size_bytes, "what was reserved for"
        ok(lib.rt_code_seal(self._ptr, data, len(data), sealed_bytes), "sealing code")

    def close(self) -> None:
        ptr, self._ptr = self._ptr, ffi.NULL
        if ptr != ffi.NULL:
            lib.rt_code_free(ptr, self._size_bytes)

    def __del__(self) -> None:
        if getattr(self, "_ptr", None) is not None:
            self.close()
