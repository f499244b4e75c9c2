"""Known programs: verified once for an administrator, run by anyone who knows their digest.

What instantiate() trusts is admit()'s: the verdict and the native code of a program whose every part the digest covers.
Maps are made afresh for each user, or are the user's own of the same shape. See docs/known-programs.md.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bpfjit.btf import Kind
from bpfjit.dataclass import dataclass
from bpfjit.errors import LoadError, refuse
from bpfjit.isa.encoding import encode
from bpfjit.jit import Native
from bpfjit.jit.link import Image
from bpfjit.program import StructRef, Verified
from bpfjit.sha256 import sha256
from bpfjit.spec.map_types import MAP_TYPE_BY_ID
from bpfjit.uapi import bpf as uapi
from bpfjit.verifier.admitted import keep, restore
from runtime import ProgHandle

from .bpf import maps as bpf_maps
from .bpf.fd import install_new, map_of, prog_of
from .bpf.tag import tag_of
from .caller import CAP_SYS_ADMIN, Caller, Cred, InProcess
from .fingerprint import fingerprint
from .known_store import KnownStore
from .objects import MapObject, ProgObject

if TYPE_CHECKING:
    from .kernel import Kernel

# What is admitted without further ado: programs that only show something to whoever asks, or act with his own rights.
_HARMLESS = frozenset({(uapi.BPF_PROG_TYPE_TRACING, uapi.BPF_TRACE_ITER), (uapi.BPF_PROG_TYPE_TRACING, uapi.BPF_TRACE_VIEW)})
_HARMLESS_TYPES = frozenset({uapi.BPF_PROG_TYPE_SYSCALL, uapi.BPF_PROG_TYPE_SOCKET_FILTER})
_SHAPE = ("type", "key_size", "value_size", "max_entries", "flags", "extra")


@dataclass(frozen=True, slots=True)
class KnownMap:
    """A map as it was admitted; `contents` of a map of one element, which `frozen` nobody can change any more."""

    name: str
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int
    extra: int
    contents: bytes | None
    frozen: bool


@dataclass(frozen=True, slots=True)
class Known:
    """One admitted program."""

    digest: bytes
    verified: Verified
    image: Image
    maps: tuple[KnownMap, ...]
    load_flags: int

    @property
    def name(self) -> str:
        return self.verified.program.name


@dataclass(frozen=True, slots=True)
class Instance:
    """A known program in a user's hands: fds, in the caller's table, of the program and of its maps by index."""

    prog_fd: int
    map_fds: tuple[int, ...]


class KnownPrograms:
    """A kernel's known programs, and the store that they are shared through (None: this kernel alone)."""

    def __init__(self, kernel: Kernel, store: KnownStore | None) -> None:
        self._kernel = kernel
        self.store = store
        self._entries: dict[bytes, Known] = {}

    # -- the administrator's side --------------------------------------------------------------------------

    def admit(self, caller: Caller, prog_fd: int, *, anywhere: bool = False) -> bytes:
        """Let everyone run a loaded program; its digest. `anywhere`: though it acts on more than its reader asks for.

        Raises EPERM without CAP_SYS_ADMIN, EOPNOTSUPP for maps that hold other objects or have special fields.
        """
        if not caller.cred.may(CAP_SYS_ADMIN):
            raise refuse(errno.EPERM, "admitting a program wants CAP_SYS_ADMIN")
        prog = prog_of(caller, prog_fd)
        what = prog.program.type.id, prog.program.attach_type
        if not anywhere and what not in _HARMLESS and what[0] not in _HARMLESS_TYPES:
            raise refuse(errno.EPERM, f"{prog.name}: a {prog.program.type.name} program, which acts on others' doings")
        if any(isinstance(x, StructRef) for call in prog.verified.facts.kfuncs.values() for x in call.hidden.values()):
            raise refuse(errno.EOPNOTSUPP, f"{prog.name}: a program with objects of its own types cannot be shared")
        known_maps = tuple(_known_map(m) for m in prog.maps)
        digest = _digest(prog, known_maps)
        known = Known(digest, prog.verified, self._kernel.jit.image(prog.verified), known_maps, prog.load_flags)
        if self.store is not None:
            self.store.put(digest, _packed(known))
        self._entries[digest] = known
        return digest

    def revoke(self, caller: Caller, digest: bytes) -> None:
        """No new instances; those that there are live on. Raises EPERM, ENOENT."""
        if not caller.cred.may(CAP_SYS_ADMIN):
            raise refuse(errno.EPERM, "revoking a program wants CAP_SYS_ADMIN")
        known = self._entries.pop(digest, None)
        if self.store is not None:
            self.store.remove(digest)
        elif known is None:
            raise refuse(errno.ENOENT, f"no known program {digest.hex()[:16]}")

    def __iter__(self) -> Any:
        return iter(sorted({*self._entries, *(self.store or ())}))

    def get(self, digest: bytes) -> Known:
        """An admitted program. Raises ENOENT, EACCES, EBADMSG, ESTALE for one of another version or processor."""
        known = self._entries.get(digest)
        if known is None:
            if self.store is None:
                raise refuse(errno.ENOENT, f"no known program {digest.hex()[:16]}")
            known = self._entries[digest] = _unpacked(digest, self.store.get(digest))
        return known

    # -- the user's side -----------------------------------------------------------------------------------

    def instantiate(self, caller: Caller, digest: bytes, maps: Mapping[int, int] | None = None) -> Instance:
        """A known program for a caller who needs no rights for it; nothing is verified or compiled.

        maps: by index, fds of maps to be used in place of new ones: of the same shape, readable and writable for the
        caller, and not where the program was compiled for a constant. Raises as get(); EBADF, EINVAL, EPERM for maps.
        """
        known, kernel = self.get(digest), self._kernel
        fds: list[int] = []
        try:
            for index, row in enumerate(known.maps):
                given = (maps or {}).get(index)
                fds.append(_new_map(kernel, caller, row) if given is None else _given_map(caller, given, row))
            used = tuple(map_of(caller, fd).get() for fd in fds)
            try:
                prog = self._program(caller, known, used)
            except BaseException:
                for m in used:
                    m.put()
                raise
        except BaseException:
            for fd in fds:
                caller.fds.close(fd)
            raise
        prog.id = kernel.progs.add(prog)
        prog.on_release = lambda gone: kernel.progs.remove(gone.id)
        return Instance(install_new(caller, prog), tuple(fds))

    def _program(self, caller: Caller, known: Known, used: tuple[MapObject, ...]) -> ProgObject:
        kernel, program = self._kernel, known.verified.program
        own = ProgHandle(kernel.native)
        try:
            if kernel.engine == "interp":
                native: Any = kernel.compile(known.verified, used, own)
            else:
                native = Native.of(known.image, kernel.binding(used, own))
        except LoadError as e:
            own.close()
            raise refuse(errno.ENOEXEC, f"known program {known.digest.hex()[:16]}: {e.cause}") from None
        prog = ProgObject(own, known.verified, native, used, None)
        prog.tag, prog.uid, prog.load_flags = tag_of(program.insns), caller.cred.uid, known.load_flags
        if program.attach_name:
            kind = Kind.TYPEDEF if program.attach_type == uapi.BPF_TRACE_RAW_TP else Kind.FUNC
            prog.attach_btf_id = int(kernel.btf.types.find(kind, program.attach_name) or 0)
        return prog


def _known_map(m: MapObject) -> KnownMap:
    if m.type.holds or m.record.fields or m.exclusive_to:
        raise refuse(errno.EOPNOTSUPP, f"map {m.name}: a {m.type.name} map with more in it than bytes cannot be shared")
    contents = m.native.lookup(bytes(4)) if m.type.direct and m.max_entries == 1 else None
    return KnownMap(m.name, m.type.id, m.key_size, m.value_size, m.max_entries, m.flags, m.extra, contents, m.frozen)


def _digest(prog: ProgObject, maps: tuple[KnownMap, ...]) -> bytes:
    """SHA-256 over all that makes the program what it is, in an order and form that depend on no fd, id or address."""
    program = prog.program
    insns = list(program.insns)
    for pc, ref in program.map_refs.items():
        src = uapi.BPF_PSEUDO_MAP_IDX if ref.value_off is None else uapi.BPF_PSEUDO_MAP_IDX_VALUE
        insns[pc] = insns[pc]._replace(src=src, imm=ref.map_index)
    parts = [
        "bpfjit known program 1",
        program.type.name,
        program.name,
        str(program.attach_type),
        program.attach_name,
        f"{program.gpl} {program.sleepable} {program.strict_alignment} {prog.load_flags}",
        encode(insns).hex(),
        *[f"{m.name} {[getattr(m, s) for s in _SHAPE]} {m.contents and m.contents.hex()} {m.frozen}" for m in maps],
        sha256(getattr(program.btf, "data", b"")).hexdigest(),
        repr([(f.insn_off, int(f.type_id)) for f in program.funcs]),
    ]
    digest = sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part.encode())
    return digest.digest()


def _packed(known: Known) -> bytes:
    """Four parts, each behind its length: what the code depends on, maps and names, the object, the verdict."""
    image = known.image
    head = {
        "name": known.name,
        "load_flags": known.load_flags,
        "symbols": image.symbols,
        "functions": image.functions,
        "tail_calls": image.tail_calls,
        "maps": [
            {**{s: getattr(m, s) for s in ("name", *_SHAPE, "frozen")}, "contents": m.contents.hex() if m.contents else None}
            for m in known.maps
        ],
    }
    parts = (fingerprint().encode(), json.dumps(head).encode(), image.data, keep(known.verified))
    return b"".join(len(p).to_bytes(8, "little") + p for p in parts)


def _unpacked(digest: bytes, data: bytes) -> Known:
    """Raises ESTALE, EBADMSG."""
    try:
        parts, at = [], 0
        while at < len(data):
            size = int.from_bytes(data[at : at + 8], "little")
            parts.append(data[at + 8 : at + 8 + size])
            at += 8 + size
        made_for, head_text, code, record = parts
        if made_for.decode() != fingerprint():
            raise refuse(errno.ESTALE, f"known program {digest.hex()[:16]}: of another version or processor, admit it again")
        head = json.loads(head_text)
        image = Image(code, tuple(head["symbols"]), tuple(head["functions"]), head["tail_calls"])
        maps = tuple(
            KnownMap(**{**m, "contents": bytes.fromhex(m["contents"]) if m["contents"] is not None else None})
            for m in head["maps"]
        )
        return Known(digest, restore(record), image, maps, head["load_flags"])
    except (ValueError, KeyError, TypeError) as e:
        raise refuse(errno.EBADMSG, f"known program {digest.hex()[:16]}: {e}") from None


def _new_map(kernel: Kernel, caller: Caller, row: KnownMap) -> int:
    """A map as it was admitted, for a caller who could not make one himself."""
    attr = uapi.MapCreate(
        map_type=row.type,
        key_size=row.key_size,
        value_size=row.value_size,
        max_entries=row.max_entries,
        map_flags=row.flags,
        map_extra=row.extra,
        map_name=row.name.encode().ljust(16, b"\0"),
    )
    fd = bpf_maps.create(kernel, InProcess(Cred(), caller.fds), attr)
    m = map_of(caller, fd)
    if row.contents is not None:
        m.native.update(bytes(4), row.contents)
    if row.frozen:
        m.frozen = m.native.ptr.frozen = True
    return fd


def _given_map(caller: Caller, fd: int, row: KnownMap) -> int:
    """Another fd of a map of the caller's own, where it may take the place of an admitted one."""
    m = map_of(caller, fd, reading=True, writing=True)
    wanted = {s: getattr(row, s) for s in _SHAPE}
    found = {s: getattr(m, s) if s != "type" else m.type.id for s in _SHAPE}
    if row.frozen or found != wanted or m.record.fields or m.exclusive_to or m.type is not MAP_TYPE_BY_ID[row.type]:
        raise refuse(errno.EINVAL, f"map {m.name} cannot take the place of {row.name}: {found}, wanted {wanted}")
    return caller.fds.dup(fd)
