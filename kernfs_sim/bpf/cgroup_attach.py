"""Programs on cgroups: PROG_ATTACH, PROG_DETACH, PROG_QUERY, their links, and what runs for a cgroup in the end."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bpfjit.dataclass import dataclass, field
from bpfjit.errors import refuse
from bpfjit.spec.cgroup_progs import CGROUP_ATTACH_TYPES
from bpfjit.uapi import bpf as uapi

from ..caller import CAP_NET_ADMIN, Caller
from ..cgroup import Cgroup
from ..lsm import slot_of
from ..objects import LinkObject, Object, ProgObject, Told
from . import cgroup_storage
from .fd import link_of, prog_of

if TYPE_CHECKING:
    from ..kernel import Kernel

_MAX_PROGS = 64
_MULTI, _OVERRIDE = uapi.BPF_F_ALLOW_MULTI, uapi.BPF_F_ALLOW_OVERRIDE
_SHARING = _MULTI | _OVERRIDE
_PLACE = uapi.BPF_F_BEFORE | uapi.BPF_F_AFTER
_LINK_FLAGS = uapi.BPF_F_ID | _PLACE | uapi.BPF_F_PREORDER | uapi.BPF_F_LINK
_ATTACH_FLAGS = _SHARING | uapi.BPF_F_REPLACE | _LINK_FLAGS


@dataclass(slots=True, eq=False)
class Entry:
    """One attachment: a program with a reference of its own, or a link (which holds its program)."""

    prog: ProgObject | None
    link: CgroupLink | None
    flags: int

    @property
    def runs(self) -> ProgObject:
        found = self.prog if self.link is None else self.link.prog
        assert found is not None
        return found


@dataclass(slots=True)
class AttachList:
    """What is attached to one cgroup for one attach type; `flags` (none, override or multi) bind all of them."""

    entries: list[Entry] = field(default_factory=list)
    flags: int = 0
    revision: int = 1  # counts changes


def attached(cgroup: Cgroup, attach_type: int) -> AttachList:
    """A cgroup's own list for an attach type."""
    found = cgroup.bpf.get(attach_type)
    if found is None:
        found = cgroup.bpf[attach_type] = AttachList()
    return found


class CgroupLink(LinkObject):
    """A program on a cgroup, for as long as the link or the cgroup lives. `cgroup` is None once it has gone."""

    type = uapi.BPF_LINK_TYPE_CGROUP
    type_name = "cgroup"
    updatable = True

    def __init__(self, prog: ProgObject, cgroup: Cgroup, attach_type: int) -> None:
        super().__init__(prog, cgroup.path)
        self.attach_type = attach_type
        self._slot = slot_of(attach_type, prog.attach_btf_id)
        self.cgroup: Cgroup | None = cgroup

    @property
    def _cgroup_id(self) -> int:
        return self.cgroup.id if self.cgroup is not None else 0

    def fdinfo(self) -> list[tuple[str, object]]:
        return [("cgroup_id", self._cgroup_id), ("attach_type", self.attach_type)]

    def tell(self, info: Told) -> None:
        info.put("cgroup.cgroup_id", self._cgroup_id)
        info.put("cgroup.attach_type", self.attach_type)

    def update(self, fresh: ProgObject) -> None:
        if fresh.program.type.id != self.prog.program.type.id:
            raise refuse(errno.EINVAL, f"program {fresh.name} is a {fresh.program.type.name} program")
        assert self.cgroup is not None, "still_attached() comes first"
        self.replace_prog(fresh)
        attached(self.cgroup, self._slot).revision += 1

    def still_attached(self) -> None:
        """Raises ENOLINK once the cgroup has gone."""
        if self.cgroup is None:
            raise refuse(errno.ENOLINK, f"link {self.id}: its cgroup has been removed")

    def detach(self) -> None:
        self.let_go()

    def let_go(self) -> None:
        cgroup, self.cgroup = self.cgroup, None
        if cgroup is not None:
            at = attached(cgroup, self._slot)
            _take_off(at, next(e for e in at.entries if e.link is self))


def _take_off(at: AttachList, entry: Entry) -> None:
    at.entries.remove(entry)
    at.revision += 1
    if not at.entries:
        at.flags = 0
    if entry.prog is not None:
        entry.prog.put()


def forget(kernel: Kernel, cgroup: Cgroup) -> None:
    """The cgroup goes: programs are let go, links stay without a cgroup; what programs stored of it goes too."""
    cgroup_storage.forget(kernel, cgroup)
    for at in cgroup.bpf.values():
        for entry in list(at.entries):
            if entry.link is not None:
                entry.link.cgroup = None
            _take_off(at, entry)


def _up(cgroup: Cgroup) -> Iterator[Cgroup]:
    at: Cgroup | None = cgroup
    while at is not None:
        yield at
        at = at.up


def effective_at(cgroup: Cgroup, attach_type: int) -> list[tuple[ProgObject, Cgroup]]:
    """The programs that run for a cgroup, each with the one that it is attached to: its own, then those of the cgroups
    above that share (multi).

    An overridable one above runs where nothing is attached below it. What is marked BPF_F_PREORDER comes first, from
    the topmost cgroup down.
    """
    early: list[tuple[ProgObject, Cgroup]] = []
    late: list[tuple[ProgObject, Cgroup]] = []
    for at in _up(cgroup):
        found = at.bpf.get(attach_type)
        if found is None or ((early or late) and not found.flags & _MULTI):
            continue
        early[:0] = [(e.runs, at) for e in found.entries if e.flags & uapi.BPF_F_PREORDER]
        late += [(e.runs, at) for e in found.entries if not e.flags & uapi.BPF_F_PREORDER]
    return early + late


def effective(cgroup: Cgroup, attach_type: int) -> list[ProgObject]:
    """As effective_at(), the programs alone."""
    return [prog for prog, _ in effective_at(cgroup, attach_type)]


def _need_room_above(cgroup: Cgroup, attach_type: int) -> None:
    """Raises EPERM below a cgroup whose program neither shares nor may be overridden."""
    for at in _up(cgroup):
        found = at.bpf.get(attach_type)
        if at is cgroup or found is None:
            continue
        if found.flags & _MULTI:
            return
        if found.entries:
            if not found.flags & _OVERRIDE:
                raise refuse(errno.EPERM, f"cgroup {at.path} has a program that is not to be overridden")
            return


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be attached, and where in the list: before or after `relative` (an fd, or an id), or at its end."""

    prog: ProgObject
    attach_type: int
    flags: int
    relative: int
    revision: int
    replace: ProgObject | None = None

    @property
    def slot(self) -> int:
        return slot_of(self.attach_type, self.prog.attach_btf_id)


def attach(kernel: Kernel, caller: Caller, cgroup: Cgroup, request: Request, link: CgroupLink | None) -> None:
    """Put a program, or the link of one, into a cgroup's list.

    Raises EINVAL, ESTALE for an old revision, EPERM, E2BIG past 64 programs, ENOENT for a program that is not there.
    """
    flags, at = request.flags, attached(cgroup, request.slot)
    sharing = flags & _SHARING
    replacing = bool(flags & uapi.BPF_F_REPLACE)
    if sharing == _SHARING or (replacing and (not flags & _MULTI or flags & _PLACE)):
        raise refuse(errno.EINVAL, f"attach flags {flags:#x} do not go together")
    if replacing != (request.replace is not None):
        raise refuse(errno.EINVAL, "a program to be replaced and BPF_F_REPLACE go together")
    if request.revision and request.revision != at.revision:
        raise refuse(errno.ESTALE, f"revision {request.revision}, cgroup {cgroup.path} is at {at.revision}")
    _need_room_above(cgroup, request.slot)
    if at.entries and at.flags != sharing:
        raise refuse(errno.EPERM, f"cgroup {cgroup.path} is shared by flags {at.flags:#x}, wanted {sharing:#x}")
    if len(at.entries) >= _MAX_PROGS:
        raise refuse(errno.E2BIG, f"cgroup {cgroup.path} has {_MAX_PROGS} programs")
    prog = request.prog if link is None else None
    entry = _entry_to_change(at, prog, request)
    if entry is None:
        index = _index(kernel, caller, at, request, link)
        at.entries.insert(index, Entry(prog and prog.get(), link, flags))
    else:
        before = entry.prog
        entry.prog, entry.link, entry.flags = prog and prog.get(), link, flags
        if before is not None:
            before.put()
    at.flags = sharing
    at.revision += 1
    cgroup_storage.values(request.prog, cgroup, request.attach_type)  # there from now on
    if request.attach_type == uapi.BPF_LSM_CGROUP:
        kernel.use_security().used(request.prog.program.attach_name, 1)  # and is from now on, if for nothing


def _entry_to_change(at: AttachList, prog: ProgObject | None, request: Request) -> Entry | None:
    if not request.flags & _MULTI:
        return at.entries[0] if at.entries else None
    replace = request.replace
    if prog is not None and prog is not replace and any(e.prog is prog for e in at.entries):
        raise refuse(errno.EINVAL, f"program {prog.id} is attached here already")
    if replace is None:
        return None
    for entry in at.entries:
        if entry.prog is replace:
            return entry
    raise refuse(errno.ENOENT, f"program {replace.id} is not attached here")


def _index(kernel: Kernel, caller: Caller, at: AttachList, request: Request, link: CgroupLink | None) -> int:
    """Where in the list the new entry goes."""
    flags, anchor = request.flags, request.relative
    before, after = bool(flags & uapi.BPF_F_BEFORE), bool(flags & uapi.BPF_F_AFTER)
    by_link, by_id = bool(flags & uapi.BPF_F_LINK), bool(flags & uapi.BPF_F_ID)
    if by_link or by_id or anchor:
        if before == after or by_link != (link is not None):
            raise refuse(errno.EINVAL, f"attach flags {flags:#x} do not say where")
        found = _anchor(kernel, caller, by_link, by_id, anchor)
        for i, entry in enumerate(at.entries):
            if found is (entry.link if by_link else entry.prog):
                if (entry.flags ^ flags) & uapi.BPF_F_PREORDER:
                    raise refuse(errno.EINVAL, "one of the two is pre-ordered, the other is not")
                return i if before else i + 1
        raise refuse(errno.ENOENT, f"{found.kind} {found.id} is not attached here")
    if at.entries and before and after:
        raise refuse(errno.EINVAL, "before and after at once")
    return 0 if before else len(at.entries)


def _anchor(kernel: Kernel, caller: Caller, by_link: bool, by_id: bool, anchor: int) -> Object:
    found: Object | None
    if by_id:
        found = kernel.links.get(anchor) if by_link else kernel.progs.get(anchor)
        if found is None:
            raise refuse(errno.ENOENT, f"no {'link' if by_link else 'program'} with id {anchor}")
        return found
    if not anchor:
        raise refuse(errno.EINVAL, "no link to be put beside")
    return link_of(caller, anchor) if by_link else prog_of(caller, anchor)


def cgroup_of(caller: Caller, fd: int) -> Cgroup:
    """The cgroup whose directory an fd is of. Raises EBADF for any other file too."""
    inode = getattr(caller.fds.get(fd), "inode", None)
    if not isinstance(inode, Cgroup) or inode.removed:
        raise refuse(errno.EBADF, f"fd {fd} is no cgroup")
    return inode


def check_type(caller: Caller, prog: ProgObject, attach_type: int) -> None:
    """Raises EINVAL where a program does not attach as `attach_type`, EPERM for cgroup_skb without CAP_NET_ADMIN."""
    program = prog.program
    fits = CGROUP_ATTACH_TYPES.get(attach_type) == program.type.id
    if program.type.id == uapi.BPF_PROG_TYPE_CGROUP_SKB:
        if not caller.cred.capable(CAP_NET_ADMIN):
            raise refuse(errno.EPERM, "attaching a cgroup_skb program wants CAP_NET_ADMIN")
        # A program that may answer 2 or 3 (congestion) means something on the way out only.
        fits = fits and not (prog.verified.facts.egress_only and program.attach_type != attach_type)
    elif program.type.attach_types:
        fits = fits and program.attach_type == attach_type
    if not fits:
        raise refuse(errno.EINVAL, f"a {program.type.name} program for {program.attach_type} as attach type {attach_type}")


def new_link(kernel: Kernel, caller: Caller, raw: bytes, prog: ProgObject) -> CgroupLink:
    """The link of BPF_LINK_CREATE on a cgroup: always one among others (BPF_F_ALLOW_MULTI)."""
    attr = uapi.LinkCreateCgroup.unpack(raw)
    if attr.flags & ~_LINK_FLAGS:
        raise refuse(errno.EINVAL, f"link flags {attr.flags:#x}")
    cgroup = cgroup_of(caller, attr.target_fd)
    link = CgroupLink(prog, cgroup, attr.attach_type)
    request = Request(prog, attr.attach_type, attr.flags | _MULTI, attr.relative_fd, attr.expected_revision)
    try:
        attach(kernel, caller, cgroup, request, link)
    except BaseException:
        link.cgroup = None
        link.put()
        raise
    return link


def _slots(cgroup: Cgroup, attach_type: int) -> list[int]:
    """Under what the programs are that a query after an attach type is about."""
    if attach_type != uapi.BPF_LSM_CGROUP:
        return [attach_type]
    return sorted({slot for at in _up(cgroup) for slot in at.bpf if slot & 0xFF == attach_type and slot > 0xFF})


# -- commands ------------------------------------------------------------------------------------------

# Attach types that Linux has and no program here attaches as.
_ELSEWHERE = {
    uapi.BPF_LIRC_MODE2,
    uapi.BPF_SK_LOOKUP,
    uapi.BPF_TCX_INGRESS,
    uapi.BPF_TCX_EGRESS,
    uapi.BPF_NETKIT_PRIMARY,
    uapi.BPF_NETKIT_PEER,
}


def _need_cgroup_type(attach_type: int) -> None:
    if attach_type not in CGROUP_ATTACH_TYPES:
        what = "is not simulated" if attach_type in _ELSEWHERE else "has no such command"
        raise refuse(errno.EINVAL, f"attach type {attach_type} {what}")


def prog_attach(kernel: Kernel, caller: Caller, attr: uapi.ProgAttach) -> int:
    """BPF_PROG_ATTACH to a cgroup: the program stays until it is detached or the cgroup goes."""
    _need_cgroup_type(attr.attach_type)
    if attr.attach_flags & ~_ATTACH_FLAGS:
        raise refuse(errno.EINVAL, f"attach flags {attr.attach_flags:#x}")
    prog = _prog_for(caller, attr.attach_bpf_fd, attr.attach_type)
    try:
        check_type(caller, prog, attr.attach_type)
    except PermissionError:  # this command has one answer for all that does not fit
        raise refuse(errno.EINVAL, f"program {prog.id} may not be attached by this caller") from None
    cgroup = cgroup_of(caller, attr.target_fd)
    replacing = attr.attach_flags & uapi.BPF_F_REPLACE and attr.attach_flags & _MULTI
    replace = _prog_for(caller, attr.replace_bpf_fd, attr.attach_type) if replacing else None
    request = Request(prog, attr.attach_type, attr.attach_flags, attr.relative_fd, attr.expected_revision, replace)
    attach(kernel, caller, cgroup, request, None)
    return 0


def _prog_for(caller: Caller, fd: int, attach_type: int) -> ProgObject:
    prog = prog_of(caller, fd)
    if prog.type_id != CGROUP_ATTACH_TYPES[attach_type]:
        raise refuse(errno.EINVAL, f"a {prog.program.type.name} program as attach type {attach_type}")
    return prog


def prog_detach(kernel: Kernel, caller: Caller, attr: uapi.ProgAttach) -> int:
    """BPF_PROG_DETACH: the program named, or the only one where it does not share. Raises ENOENT, ESTALE, EINVAL."""
    _need_cgroup_type(attr.attach_type)
    if attr.attach_flags or attr.relative_fd:
        raise refuse(errno.EINVAL, f"detach flags {attr.attach_flags:#x}, relative fd {attr.relative_fd}")
    cgroup = cgroup_of(caller, attr.target_fd)
    prog: ProgObject | None
    try:
        prog = _prog_for(caller, attr.attach_bpf_fd, attr.attach_type)
    except OSError:  # the only program is detached by any fd at all
        prog = None
    if attr.attach_type == uapi.BPF_LSM_CGROUP and prog is None:
        raise refuse(errno.EINVAL, f"fd {attr.attach_bpf_fd} does not say which program")
    at = attached(cgroup, slot_of(attr.attach_type, prog.attach_btf_id if prog is not None else 0))
    if attr.expected_revision and attr.expected_revision != at.revision:
        raise refuse(errno.ESTALE, f"revision {attr.expected_revision}, cgroup {cgroup.path} is at {at.revision}")
    if not at.flags & _MULTI:
        found = at.entries[0] if at.entries else None
    elif prog is None:
        raise refuse(errno.EINVAL, f"fd {attr.attach_bpf_fd} does not say which of several programs")
    else:
        found = next((e for e in at.entries if e.prog is prog and e.link is None), None)
    if found is None:
        raise refuse(errno.ENOENT, f"cgroup {cgroup.path} has no such program")
    _take_off(at, found)
    return 0


def prog_query(kernel: Kernel, caller: Caller, attr: uapi.ProgQuery) -> int:
    """BPF_PROG_QUERY: the ids of a cgroup's programs, its own or (BPF_F_QUERY_EFFECTIVE) all that run for it.

    Raises ENOSPC after filling the caller's room; the count is told in any case.
    """
    _need_cgroup_type(attr.attach_type)
    cgroup = cgroup_of(caller, attr.target_fd)
    everything, room = bool(attr.query_flags), attr.prog_cnt
    if everything and attr.prog_attach_flags:
        raise refuse(errno.EINVAL, "effective programs have no attach flags")
    slots = _slots(cgroup, attr.attach_type)
    at = attached(cgroup, attr.attach_type)
    if attr.attach_type == uapi.BPF_LSM_CGROUP and not everything and room and attr.prog_ids and not attr.prog_attach_flags:
        raise refuse(errno.EINVAL, "LSM programs are told with their attach flags")
    own = [(e.runs, attached(cgroup, slot).flags) for slot in slots for e in attached(cgroup, slot).entries]
    progs = [p for slot in slots for p in effective(cgroup, slot)] if everything else [p for p, _ in own]
    attr.attach_flags = 0 if everything else at.flags
    attr.prog_cnt = len(progs)
    attr.revision = 0 if everything or attr.attach_type == uapi.BPF_LSM_CGROUP else at.revision
    if not room or not attr.prog_ids or not progs:
        return 0
    told = progs[:room]
    caller.write(attr.prog_ids, b"".join(p.id.to_bytes(4, "little") for p in told))
    if attr.prog_attach_flags:
        caller.write(attr.prog_attach_flags, b"".join(flags.to_bytes(4, "little") for _, flags in own[:room]))
    if room < len(progs):
        raise refuse(errno.ENOSPC, f"{len(progs)} programs, room for {room}")
    return 0
