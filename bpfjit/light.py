"""What skeletons are made of: maps, programs, links and data sections of one object, typed; and light skeletons.

A light skeleton loads its object by running a loader program in the kernel: no ELF file, no BTF and no relocation is
looked at here. Needed of a kernel is bpf(cmd, attr) and close(fd); where it has mmap(fd, size, writable) the data sections
are the maps' own memory, elsewhere copies that pull() and push() move.
"""

from __future__ import annotations

import binascii
import ctypes
import os
import zlib
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar, overload

from .errors import LoadError, describe
from .sha256 import sha256
from .uapi import bpf as uapi

FORMAT = 1  # of the generated classes
K = TypeVar("K")
V = TypeVar("V")
_LOADER_NAME_MAP, _LOADER_NAME_PROG, _LICENSE = b"__loader.map", b"__loader.prog", b"Dual BSD/GPL\0"
_CTX_HEAD, _CTX_MAP, _CTX_PROG = 24, 16, 4
_LOG_BYTES = 1 << 20


class Kernel(Protocol):
    """A kernel's bpf(2), simulated or live."""

    def __call__(self, cmd: int, attr: bytearray) -> int: ...

    def close(self, fd: int) -> None: ...


def unpacked(text: str) -> bytes:
    """The bytes that pack() made a text of."""
    return zlib.decompress(binascii.a2b_base64(text))


class _Memory:
    """Bytes with an address, kept while a call is under way."""

    def __init__(self) -> None:
        self._keep: list[Any] = []

    def put(self, data: bytes | bytearray) -> int:
        if not data:
            return 0
        buffer = (ctypes.c_char * len(data)).from_buffer(data if isinstance(data, bytearray) else bytearray(data))
        self._keep.append(buffer)
        return ctypes.addressof(buffer)


class _Owned:
    """Something behind an fd of a kernel; -1 before load() and after close()."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.fd = -1
        self._bpf: Kernel | None = None

    def _open(self, bpf: Kernel, fd: int) -> None:
        self._bpf, self.fd = bpf, fd

    def _kernel(self) -> Kernel:
        if self._bpf is None or self.fd < 0:
            raise LoadError(f"{self.name} is not loaded")
        return self._bpf

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0 and self._bpf is not None:
            self._bpf.close(fd)

    def pin(self, path: str) -> None:
        """BPF_OBJ_PIN. Raises OSError."""
        memory = _Memory()
        attr = uapi.Obj(pathname=memory.put(os.fsencode(path) + b"\0"), bpf_fd=self.fd)
        try:
            self._kernel()(uapi.BPF_OBJ_PIN, bytearray(attr.pack()))
        except OSError as e:
            raise OSError(e.errno, f"pin {path}: {describe(e)}") from None


class Map(_Owned, Generic[K, V]):
    """A map as a mapping from keys to values: numbers where the types are, else ctypes structures or bytes.

    max_entries may be changed before load(). Values of per-CPU maps are one after the other, as bytes.
    """

    def __init__(self, name: str, key: Any, value: Any, max_entries: int) -> None:
        super().__init__(name)
        self.key, self.value = key, value
        self.max_entries = max_entries

    def _call(self, cmd: int, key: bytes, value: bytes | bytearray = b"", flags: int = 0) -> None:
        memory = _Memory()
        attr = uapi.MapElem(map_fd=self.fd, key=memory.put(key), value=memory.put(value), flags=flags)
        self._kernel()(cmd, bytearray(attr.pack()))

    @overload
    def lookup(self, key: K) -> V | None: ...
    @overload
    def lookup(self, key: K, value_bytes: int) -> bytes | None: ...
    def lookup(self, key: K, value_bytes: int = 0) -> V | bytes | None:
        """The value, None for no such key; of a per-CPU map all `value_bytes` of it."""
        raw = bytearray(value_bytes or ctypes.sizeof(self.value))
        try:
            self._call(uapi.BPF_MAP_LOOKUP_ELEM, _bytes(self.key, key), raw)
        except FileNotFoundError:
            return None
        if value_bytes:
            return bytes(raw)
        found: V = _python(self.value, bytes(raw))
        return found

    def update(self, key: K, value: V, flags: int = 0) -> None:
        self._call(uapi.BPF_MAP_UPDATE_ELEM, _bytes(self.key, key), _bytes(self.value, value), flags)

    def __getitem__(self, key: K) -> V:
        found = self.lookup(key)
        if found is None:
            raise KeyError(key)
        return found

    def __setitem__(self, key: K, value: V) -> None:
        self.update(key, value)

    def __delitem__(self, key: K) -> None:
        try:
            self._call(uapi.BPF_MAP_DELETE_ELEM, _bytes(self.key, key))
        except FileNotFoundError:
            raise KeyError(key) from None

    def __iter__(self) -> Iterator[K]:
        """Every key, in the map's order."""
        raw = b""
        while True:
            following = bytearray(ctypes.sizeof(self.key))
            try:
                self._call(uapi.BPF_MAP_GET_NEXT_KEY, raw, following)
            except FileNotFoundError:
                return
            raw = bytes(following)
            yield _python(self.key, raw)


def _bytes(form: Any, value: Any) -> bytes:
    """A key or value as the kernel has it."""
    return bytes(value if isinstance(value, (form, bytes, bytearray)) else form(value))


def _python(form: Any, raw: bytes) -> Any:
    made = form.from_buffer_copy(raw)
    return getattr(made, "value", made) if not isinstance(made, ctypes.Structure | ctypes.Union) else made


class Link(_Owned):
    """An attachment, until it is closed (and not pinned)."""


class Prog(_Owned):
    """A program. `attach_to` is how its section says it attaches: raw_tp, tp_btf, iter or view; "" for by hand."""

    def __init__(self, name: str, attach_to: str = "", target: str = "", attach_type: int = 0) -> None:
        super().__init__(name)
        self.attach_to, self.target, self.attach_type = attach_to, target, attach_type

    def attach(self, iter_info: bytes = b"") -> Link:
        """Attach as the section says; `iter_info` is a union bpf_iter_link_info. Raises LoadError, OSError."""
        bpf, memory = self._kernel(), _Memory()
        try:
            if self.attach_to in ("raw_tp", "tp_btf"):
                name = memory.put(self.target.encode() + b"\0") if self.attach_to == "raw_tp" else 0
                raw = uapi.RawTracepointOpen(name=name, prog_fd=self.fd)
                fd = bpf(uapi.BPF_RAW_TRACEPOINT_OPEN, bytearray(raw.pack()))
            elif self.attach_to in ("iter", "view"):
                attr = uapi.LinkCreate(prog_fd=self.fd, attach_type=self.attach_type)
                attr.iter_info, attr.iter_info_len = memory.put(iter_info), len(iter_info)
                fd = bpf(uapi.BPF_LINK_CREATE, bytearray(attr.pack()))
            else:
                raise LoadError("nothing to attach to", program=self.name)
        except OSError as e:
            raise OSError(e.errno, f"attach {self.name}: {describe(e)}") from None
        link = Link(self.name)
        link._open(bpf, fd)
        return link


class Section:
    """A data section: its map, the structure that shows it, and what it is at first."""

    def __init__(self, name: str, form: Any, initial: bytes, *, constant: bool = False) -> None:
        self.name, self.form, self.constant = name, form, constant
        self.initial, self.before = initial, bytearray(initial)
        self.view: Any = form.from_buffer(self.before)

    def loaded(self, bpf: Kernel, m: Map[Any, Any]) -> None:
        """From now on the view is the map's memory."""
        size, mmap = len(self.before), getattr(bpf, "mmap", None)
        if self.constant or mmap is None:
            self.view = self.form.from_buffer(bytearray(self.before))
        else:
            self.view = self.form.from_buffer(mmap(m.fd, size, True))


class Skeleton:
    """An object's maps, programs and links. Subclasses are generated, with an attribute for each of them.

    Between making one and load(), data sections and maps' max_entries may be set. A context manager; close() lets go.
    """

    FORMAT: ClassVar[int] = 0
    NAME: ClassVar[str] = ""
    LINKS: ClassVar[type[dict[str, Link]]] = dict

    def __init__(self) -> None:
        if self.FORMAT != FORMAT:
            raise LoadError(f"skeleton {self.NAME} of format {self.FORMAT}, wanted {FORMAT}: generate it again")
        self._maps: tuple[Map[Any, Any], ...] = ()
        self._progs: tuple[Prog, ...] = ()
        self._sections: dict[str, Section] = {}
        self._kconfig: tuple[tuple[str, int, int, str], ...] = ()  # name, offset, bytes, what it is
        self._links: dict[str, Link] = self.LINKS()
        self.is_loaded = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def load(self, bpf: Kernel) -> Self:
        """Make the maps and programs in a kernel. Raises OSError, LoadError; nothing is left behind then."""
        if self.is_loaded:
            raise LoadError(f"skeleton {self.NAME} is loaded already")
        self._configure(bpf)
        self._load(bpf)
        self.is_loaded = True
        try:
            by_name = {m.name: m for m in self._maps}
            for section in self._sections.values():
                section.loaded(bpf, by_name[section.name])
        except BaseException:
            self.close()
            raise
        return self

    def _load(self, bpf: Kernel) -> None:
        raise NotImplementedError

    def _configure(self, bpf: Kernel) -> None:
        """Values of .kconfig externs that nobody has set, from the kernel at hand where it tells them."""
        config: Mapping[str, int | str] = getattr(bpf, "config", dict)() if self._kconfig else {}
        for name, at, size, what in self._kconfig:
            section = self._sections["kconfig"]
            if name in config and section.before[at : at + size] == section.initial[at : at + size]:
                section.before[at : at + size] = _config_bytes(what, size, config[name])

    def attach(self) -> Mapping[str, Link]:
        """Attach every program whose section says to what, and has not been yet; links by the programs' names."""
        for prog in self._progs:
            if prog.attach_to and prog.name not in self._links:
                self._links[prog.name] = prog.attach()
        return self._links

    @property
    def links(self) -> Mapping[str, Link]:
        return self._links

    def pull(self, section: str) -> None:
        """Read a section's map into its view, for kernels without mmap."""
        s = self._sections[section]
        raw = next(m for m in self._maps if m.name == section).lookup(b"\0\0\0\0", len(s.before))
        assert raw is not None, "an array of one element has it"
        ctypes.memmove(ctypes.addressof(s.view), bytes(raw), len(s.before))

    def push(self, section: str) -> None:
        """Write a section's view into its map, for kernels without mmap."""
        next(m for m in self._maps if m.name == section).update(b"\0\0\0\0", bytes(self._sections[section].view))

    def close(self) -> None:
        """Close every link, program and map; what is pinned lives on."""
        for section in self._sections.values():
            section.view = section.form.from_buffer(section.before)
        links, self._links = self._links, self.LINKS()
        for owned in (*links.values(), *self._progs, *self._maps):
            owned.close()
        self.is_loaded = False


def _config_bytes(what: str, size: int, value: int | str) -> bytes:
    if isinstance(value, str) and value[:1] == '"':
        return value[1:-1].encode()[: size - 1].ljust(size, b"\0") if what == "string" else bytes(size)
    letters = {"n": 0, "y": 1, "m": 2}
    if what == "char" and isinstance(value, str):
        return value[:1].encode()
    number = letters[value] if value in letters else int(value, 0) if isinstance(value, str) else value
    return (number & (1 << 8 * size) - 1).to_bytes(size, "little")


class Light(Skeleton):
    """A skeleton that carries a loader program and its data instead of an object file.

    SIGNATURE: PKCS#7 over instructions and data, for kernels that ask for one; KEYRING the serial number of the keyring.
    """

    INSNS: ClassVar[bytes] = b""
    DATA: ClassVar[bytes] = b""
    SIGNATURE: ClassVar[bytes] = b""
    KEYRING: ClassVar[int] = 0

    def _load(self, bpf: Kernel) -> None:
        log = bytearray()
        result = self._run(bpf, log)
        if result < 0:
            log = bytearray(_LOG_BYTES)
            result = self._run(bpf, log)  # once more, for the reasons
        if result < 0:
            for owned in (*self._maps, *self._progs):
                owned.fd = -1
            text = log.split(b"\0", 1)[0].decode("utf-8", "replace").strip().splitlines()
            why = f": {text[-2] if len(text) > 1 else text[-1]}" if text else ""
            raise OSError(-result, f"skeleton {self.NAME}: {os.strerror(-result)}{why}")

    def _run(self, bpf: Kernel, log: bytearray) -> int:
        """Run the loader: what it returned. Raises OSError where it could not be run."""
        memory, held = _Memory(), []
        try:
            size = len(self.DATA)
            create = uapi.MapCreate(
                map_type=uapi.BPF_MAP_TYPE_ARRAY, key_size=4, value_size=size, max_entries=1, map_name=_LOADER_NAME_MAP
            )
            if self.SIGNATURE:
                create.excl_prog_hash_size = 32
                create.excl_prog_hash = memory.put(sha256(self.INSNS).digest())
            map_fd = bpf(uapi.BPF_MAP_CREATE, bytearray(create.pack()))
            held.append(map_fd)
            update = uapi.MapElem(map_fd=map_fd, key=memory.put(bytes(4)), value=memory.put(self.DATA))
            bpf(uapi.BPF_MAP_UPDATE_ELEM, bytearray(update.pack()))
            bpf(uapi.BPF_MAP_FREEZE, bytearray(uapi.MapElem(map_fd=map_fd).pack()))
            load = uapi.ProgLoad(
                prog_type=uapi.BPF_PROG_TYPE_SYSCALL,
                insn_cnt=len(self.INSNS) // 8,
                insns=memory.put(self.INSNS),
                license=memory.put(_LICENSE),
                prog_flags=uapi.BPF_F_SLEEPABLE,
                prog_name=_LOADER_NAME_PROG,
                fd_array=memory.put(map_fd.to_bytes(4, "little")),
            )
            if self.SIGNATURE:
                load.fd_array_cnt = 1
                load.signature, load.signature_size = memory.put(self.SIGNATURE), len(self.SIGNATURE)
                load.keyring_id = self.KEYRING
            prog_fd = bpf(uapi.BPF_PROG_LOAD, bytearray(load.pack()))
            held.append(prog_fd)
            ctx = self._context(memory, log)
            run = uapi.TestRun(prog_fd=prog_fd, ctx_in=memory.put(ctx), ctx_size_in=len(ctx))
            attr = bytearray(run.pack())
            bpf(uapi.BPF_PROG_TEST_RUN, attr)
            result = uapi.TestRun.unpack(attr).retval
            if result >> 31:
                return result - (1 << 32)
            self._take(bpf, ctx)
            return 0
        except OSError as e:
            raise OSError(e.errno, f"skeleton {self.NAME}: the loader: {describe(e)}") from None
        finally:
            for fd in held:
                bpf.close(fd)

    def _context(self, memory: _Memory, log: bytearray) -> bytearray:
        ctx = bytearray(_CTX_HEAD + _CTX_MAP * len(self._maps) + _CTX_PROG * len(self._progs))
        ctx[0:4] = len(ctx).to_bytes(4, "little")
        if log:
            ctx[8:12], ctx[12:16] = (1).to_bytes(4, "little"), len(log).to_bytes(4, "little")
            ctx[16:24] = memory.put(log).to_bytes(8, "little")
        for i, m in enumerate(self._maps):
            at, section = _CTX_HEAD + _CTX_MAP * i, self._sections.get(m.name)
            ctx[at + 4 : at + 8] = m.max_entries.to_bytes(4, "little")
            if section is not None:
                ctx[at + 8 : at + 16] = memory.put(section.before).to_bytes(8, "little")
        return ctx

    def _take(self, bpf: Kernel, ctx: bytearray) -> None:
        progs_at = _CTX_HEAD + _CTX_MAP * len(self._maps)
        for i, m in enumerate(self._maps):
            at = _CTX_HEAD + _CTX_MAP * i
            m._open(bpf, int.from_bytes(ctx[at : at + 4], "little"))
        for i, p in enumerate(self._progs):
            at = progs_at + _CTX_PROG * i
            p._open(bpf, int.from_bytes(ctx[at : at + 4], "little"))
