"""Known programs: verified once for an administrator, run by anyone who knows their digest.

What instantiate() trusts is admit()'s: the verdict and the native code of a program whose every part the digest covers.
Maps are made afresh for each user, or are the user's own of the same shape. See docs/known-programs.md.
"""

from __future__ import annotations

import errno
import functools
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bpfjit.btf import Kind, RawBtf
from bpfjit.dataclass import dataclass
from bpfjit.errors import LoadError, refuse
from bpfjit.isa.encoding import encode
from bpfjit.jit import Native
from bpfjit.jit.link import Image
from bpfjit.program import StructRef, Verified
from bpfjit.sha256 import sha256
from bpfjit.uapi import bpf as uapi
from bpfjit.verifier.admitted import keep, restore
from runtime import ProgHandle

from .bpf import btf as bpf_btf
from .bpf import held_maps
from .bpf.fd import install_new, map_of, prog_of
from .bpf.tag import tag_of
from .caller import CAP_BPF, CAP_SYS_ADMIN, Caller
from .fingerprint import fingerprint
from .known_maps import KnownMap, describe, given_map, new_map
from .known_store import KnownStore
from .objects import BtfObject, MapObject, ProgObject

if TYPE_CHECKING:
    from .kernel import Kernel

# What is admitted without further ado: programs that only show something to whoever asks, or act with his own rights.
_HARMLESS = frozenset({(uapi.BPF_PROG_TYPE_TRACING, uapi.BPF_TRACE_ITER), (uapi.BPF_PROG_TYPE_TRACING, uapi.BPF_TRACE_VIEW)})
_HARMLESS_TYPES = frozenset({uapi.BPF_PROG_TYPE_SYSCALL, uapi.BPF_PROG_TYPE_SOCKET_FILTER})
_PER_USER_BYTES = 64 << 20  # of what users without CAP_BPF may have made for them at once


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
    """A known program in a user's hands: fds, in the caller's table, of the program and of its maps by index.

    attach_type: what LINK_CREATE wants to hear.
    """

    prog_fd: int
    map_fds: tuple[int, ...]
    attach_type: int


class Used:
    """What each user's instances take, by uid."""

    def __init__(self) -> None:
        self.bytes: dict[int, int] = {}
        self.changing = threading.Lock()


class Charge:
    """Bytes of a user's, until the last of the objects that they are for has gone."""

    def __init__(self, used: Used, uid: int, size: int, limit: int | None) -> None:
        """Raises ENOMEM past `limit` bytes."""
        self._used, self._uid, self._size, self._owners = used, uid, size, 0
        with used.changing:
            have = used.bytes.get(uid, 0)
            if limit is not None and have + size > limit:
                raise refuse(errno.ENOMEM, f"user {uid}: {have} bytes of known programs and {size} more, at most {limit}")
            used.bytes[uid] = have + size

    def belongs_to(self, owners: Sequence[ProgObject | MapObject]) -> None:
        self._owners = len(owners)
        for owner in owners:
            owner.on_release = functools.partial(self._released, owner.on_release)

    def _released(self, before: Callable[[Any], None] | None, gone: Any) -> None:
        if before is not None:
            before(gone)
        with self._used.changing:  # the last two may go at once, each in a thread of its own
            self._owners -= 1
            last = not self._owners
        if last:
            self.give_back()

    def give_back(self) -> None:
        with self._used.changing:
            self._used.bytes[self._uid] -= self._size
            if not self._used.bytes[self._uid]:
                del self._used.bytes[self._uid]


class KnownPrograms:
    """A kernel's known programs, and the store that they are shared through (None: this kernel alone)."""

    def __init__(self, kernel: Kernel, store: KnownStore | None) -> None:
        self._kernel = kernel
        self.store = store
        self._entries: dict[bytes, Known] = {}
        self._used = Used()

    # -- the administrator's side --------------------------------------------------------------------------

    def admit(self, caller: Caller, prog_fd: int, *, anywhere: bool = False) -> bytes:
        """Let everyone run a loaded program; its digest. `anywhere`: though it acts on more than its reader asks for.

        Raises EPERM without CAP_SYS_ADMIN, EOPNOTSUPP for maps that cannot be made again (describe()).
        """
        if not caller.cred.may(CAP_SYS_ADMIN):
            raise refuse(errno.EPERM, "admitting a program wants CAP_SYS_ADMIN")
        prog = prog_of(caller, prog_fd)
        what = prog.program.type.id, prog.program.attach_type
        if not anywhere and what not in _HARMLESS and what[0] not in _HARMLESS_TYPES:
            raise refuse(errno.EPERM, f"{prog.name}: a {prog.program.type.name} program, which acts on others' doings")
        if any(isinstance(x, StructRef) for call in prog.verified.facts.kfuncs.values() for x in call.hidden.values()):
            raise refuse(errno.EOPNOTSUPP, f"{prog.name}: a program with objects of its own types cannot be shared")
        types = prog.program.btf
        known_maps = tuple(describe(m, types if isinstance(types, RawBtf) else None) for m in prog.maps)
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

    def listed(self) -> Iterator[tuple[bytes, str, int]]:
        """Each program's digest, its name, and 0; or why it cannot be had, and the errno."""
        for digest in self:
            try:
                yield digest, self.get(digest).name, 0
            except OSError as e:
                yield digest, e.strerror or "", e.errno or 0

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
        caller, and not where the program was compiled for a constant. Raises as get(); EBADF, EINVAL, EPERM for maps;
        ENOMEM for a user without CAP_BPF who has 64 MiB of instances.
        """
        known, kernel = self.get(digest), self._kernel
        fds: list[int] = []
        btf = self._btf(known)
        charge = self._charge(caller, known, maps or {})
        try:
            for index, row in enumerate(known.maps):
                given = (maps or {}).get(index)
                fds.append(new_map(kernel, caller, row, btf) if given is None else given_map(caller, given, row))
            used = tuple(map_of(caller, fd).get() for fd in fds)
            try:
                prog = self._program(caller, known, used, btf)
            except BaseException:
                for m in used:
                    m.put()
                raise
            try:
                for m in used:
                    if m.type.holds == "prog":
                        held_maps.claim(m, prog)
            except BaseException:
                prog.put()
                raise
        except BaseException:
            for fd in fds:
                caller.fds.close(fd)
            charge.give_back()
            raise
        finally:
            if btf is not None:
                btf.put()
        prog.id = kernel.progs.add(prog)
        prog.on_release = lambda gone: kernel.progs.remove(gone.id)
        charge.belongs_to([prog, *(m for i, m in enumerate(used) if i not in (maps or {}))])
        return Instance(install_new(caller, prog), tuple(fds), prog.program.attach_type)

    def _btf(self, known: Known) -> BtfObject | None:
        """The program's types as an object of the kernel; whoever uses it refers to it."""
        types = known.verified.program.btf
        if not isinstance(types, RawBtf):
            return None
        made = BtfObject(types.data, types)
        made.structs = known.verified.program.structs
        bpf_btf.publish(self._kernel, made)
        return made

    def _charge(self, caller: Caller, known: Known, given: Mapping[int, int]) -> Charge:
        """Room for an instance among what the caller has already. Raises ENOMEM for who has had enough."""
        cpus = self._kernel.native.cpus
        wanted = len(known.image.data) + sum(m.most_bytes(cpus) for i, m in enumerate(known.maps) if i not in given)
        limit = None if caller.cred.capable(CAP_BPF) else _PER_USER_BYTES
        return Charge(self._used, caller.cred.uid, wanted, limit)

    def _program(self, caller: Caller, known: Known, used: tuple[MapObject, ...], btf: BtfObject | None) -> ProgObject:
        kernel, program = self._kernel, known.verified.program
        own = ProgHandle(kernel.native)
        try:
            if kernel.engine == "interp":
                native: Any = kernel.compile(known.verified, used, own, btf)
            else:
                native = Native.of(known.image, kernel.binding(used, own, btf))
        except LoadError as e:
            own.close()
            raise refuse(errno.ENOEXEC, f"known program {known.digest.hex()[:16]}: {e.cause}") from None
        prog = ProgObject(own, known.verified, native, used, btf.get() if btf is not None else None)
        prog.tag, prog.uid, prog.load_flags = tag_of(program.insns), caller.cred.uid, known.load_flags
        if program.attach_name:
            kind = Kind.TYPEDEF if program.attach_type == uapi.BPF_TRACE_RAW_TP else Kind.FUNC
            prog.attach_btf_id = int(kernel.btf.types.find(kind, program.attach_name) or 0)
        return prog


def _digest(prog: ProgObject, maps: tuple[KnownMap, ...]) -> bytes:
    """SHA-256 over all that makes the program what it is, in an order and form that depend on no fd, id or address."""
    program = prog.program
    insns = list(program.insns)
    for pc, ref in program.map_refs.items():
        src = uapi.BPF_PSEUDO_MAP_IDX if ref.value_off is None else uapi.BPF_PSEUDO_MAP_IDX_VALUE
        insns[pc] = insns[pc]._replace(src=src, imm=ref.map_index)
    parts = [
        "bpfjit known program 2",
        program.type.name,
        program.name,
        str(program.attach_type),
        program.attach_name,
        f"{program.gpl} {program.sleepable} {program.strict_alignment} {prog.load_flags}",
        encode(insns).hex(),
        *[m.text() for m in maps],
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
        "maps": [m.as_json() for m in known.maps],
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
        maps = tuple(KnownMap.of_json(m) for m in head["maps"])
        return Known(digest, restore(record), image, maps, head["load_flags"])
    except (ValueError, KeyError, TypeError) as e:
        raise refuse(errno.EBADMSG, f"known program {digest.hex()[:16]}: {e}") from None
