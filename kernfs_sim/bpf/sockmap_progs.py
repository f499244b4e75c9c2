"""Programs of a map of sockets: what says where the data of its sockets goes. They stay with the map; no data flows here."""

from __future__ import annotations

import errno

from bpfjit.errors import refuse
from bpfjit.uapi import bpf as uapi

from ..caller import Caller
from ..objects import LinkObject, MapObject, ProgObject, Told
from .fd import map_of, prog_of

# Attach type -> the type of its programs.
PROG_TYPES = {
    uapi.BPF_SK_SKB_STREAM_PARSER: uapi.BPF_PROG_TYPE_SK_SKB,
    uapi.BPF_SK_SKB_STREAM_VERDICT: uapi.BPF_PROG_TYPE_SK_SKB,
    uapi.BPF_SK_SKB_VERDICT: uapi.BPF_PROG_TYPE_SK_SKB,
    uapi.BPF_SK_MSG_VERDICT: uapi.BPF_PROG_TYPE_SK_MSG,
}
# A map has one of these two.
_RIVALS = {
    uapi.BPF_SK_SKB_VERDICT: uapi.BPF_SK_SKB_STREAM_VERDICT,
    uapi.BPF_SK_SKB_STREAM_VERDICT: uapi.BPF_SK_SKB_VERDICT,
}


def _place(m: MapObject, attach_type: int) -> None:
    """Raises EOPNOTSUPP for a map that holds no sockets, EBUSY where the other kind of verdict is there."""
    if not m.type.redirects_sockets:
        raise refuse(errno.EOPNOTSUPP, f"a {m.type.name} map has no programs")
    if _RIVALS.get(attach_type) in m.progs:
        raise refuse(errno.EBUSY, f"map {m.name} has a verdict of the other kind")


def _put_in(m: MapObject, attach_type: int, prog: ProgObject | None) -> None:
    before = m.progs.pop(attach_type, None)
    if prog is not None:
        m.progs[attach_type] = prog.get()
    if before is not None:
        before.put()


def _checked(caller: Caller, attr: uapi.ProgAttach) -> ProgObject:
    prog = prog_of(caller, attr.attach_bpf_fd)
    if prog.type_id != PROG_TYPES[attr.attach_type]:
        raise refuse(errno.EINVAL, f"a {prog.program.type.name} program as attach type {attr.attach_type}")
    return prog


def _no_more(attr: uapi.ProgAttach) -> None:
    if attr.attach_flags or attr.replace_bpf_fd or attr.relative_fd or attr.expected_revision:
        raise refuse(errno.EINVAL, f"attach flags {attr.attach_flags:#x}: a map's programs have none, nor an order")


def _unlinked(m: MapObject, attach_type: int) -> None:
    if attach_type in m.prog_links:
        raise refuse(errno.EBUSY, f"map {m.name} has its program by a link")


def attach(caller: Caller, attr: uapi.ProgAttach) -> int:
    """In the place of whichever was there. Raises EBADF, EINVAL, EOPNOTSUPP, EBUSY."""
    prog = _checked(caller, attr)
    _no_more(attr)
    m = map_of(caller, attr.target_fd)
    _place(m, attr.attach_type)
    _unlinked(m, attr.attach_type)
    _put_in(m, attr.attach_type, prog)
    return 0


def detach(caller: Caller, attr: uapi.ProgAttach) -> int:
    """The program that is named. Raises ENOENT where another one is there, or none."""
    _no_more(attr)
    m = map_of(caller, attr.target_fd)
    prog = _checked(caller, attr)
    _place(m, attr.attach_type)
    _unlinked(m, attr.attach_type)
    if m.progs.get(attr.attach_type) is not prog:
        raise refuse(errno.ENOENT, f"map {m.name} has another program, or none")
    _put_in(m, attr.attach_type, None)
    return 0


def query(caller: Caller, attr: uapi.ProgQuery) -> int:
    """The program's id, where the caller has room. Raises EINVAL for flags, else as attach()."""
    if attr.query_flags:
        raise refuse(errno.EINVAL, f"query flags {attr.query_flags:#x}")
    m = map_of(caller, attr.target_fd)
    room, attr.prog_cnt, attr.attach_flags = attr.prog_cnt, 0, 0  # what is told of a refusal too
    _place(m, attr.attach_type)
    prog = m.progs.get(attr.attach_type)
    attr.prog_cnt = int(prog is not None)
    if prog is not None and room and attr.prog_ids:
        caller.write(attr.prog_ids, prog.id.to_bytes(4, "little"))
    return 0


class SockmapLink(LinkObject):
    """A program of a map of sockets, for as long as the link lives. The map is None once it has been detached."""

    type = uapi.BPF_LINK_TYPE_SOCKMAP
    type_name = "sockmap"
    updatable = True

    def __init__(self, prog: ProgObject, m: MapObject, attach_type: int) -> None:
        _place(m, attach_type)
        _unlinked(m, attach_type)  # what was attached without one goes
        super().__init__(prog, m.name)
        self.attach_type = attach_type
        self._map: MapObject | None = m.get()
        _put_in(m, attach_type, prog)
        m.prog_links.add(attach_type)

    @property
    def _map_id(self) -> int:
        return self._map.id if self._map is not None else 0

    def fdinfo(self) -> list[tuple[str, object]]:
        return [("map_id", self._map_id), ("attach_type", self.attach_type)]

    def tell(self, info: Told) -> None:
        info.put("sockmap.map_id", self._map_id)
        info.put("sockmap.attach_type", self.attach_type)

    def update(self, fresh: ProgObject) -> None:
        super().update(fresh)
        assert self._map is not None, "still_attached() comes first"
        _put_in(self._map, self.attach_type, fresh)

    def still_attached(self) -> None:
        """Raises ENOLINK once it has been detached."""
        if self._map is None:
            raise refuse(errno.ENOLINK, f"link {self.id} has been detached")

    def detach(self) -> None:
        self.let_go()

    def let_go(self) -> None:
        m, self._map = self._map, None
        if m is not None:
            m.prog_links.discard(self.attach_type)
            _put_in(m, self.attach_type, None)
            m.put()


def new_link(caller: Caller, prog: ProgObject, attr: uapi.LinkCreate) -> SockmapLink:
    """Raises EINVAL for flags, a type that is not the program's, a map that holds no sockets; EBADF, EBUSY."""
    fits = PROG_TYPES.get(attr.attach_type) == prog.type_id
    if not fits or attr.flags:
        raise refuse(errno.EINVAL, f"attach type {attr.attach_type}, flags {attr.flags:#x}: no link of a map of sockets")
    m = map_of(caller, attr.target_fd)
    if not m.type.redirects_sockets:
        raise refuse(errno.EINVAL, f"map {m.name} holds no sockets that are redirected")
    return SockmapLink(prog, m, attr.attach_type)
