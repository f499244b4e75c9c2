"""iter/bpf_map_elem, bpf_sk_storage_map and sockmap: the elements of one map."""

from __future__ import annotations

import errno
from typing import Any

from bpfjit.errors import refuse
from bpfjit.uapi import bpf as uapi

from ..bpf.fd import ObjectFile, map_of
from ..caller import Caller
from ..objects import MapObject, ProgObject
from ..task_files import Held
from .base import IterTarget, LinkInfo, PutInfo, Rows


class MapElemTarget(IterTarget):
    name = "bpf_map_elem"
    map: MapObject | None = None

    def walks(self, m: MapObject) -> bool:
        """Whether maps of that type have such elements."""
        return m.type.elem_iterator

    def attach(self, caller: Caller, info: LinkInfo, prog: ProgObject) -> None:
        fd = info["map.map_fd"]
        if not fd:
            raise refuse(errno.EBADF, "a map element iterator wants a map")
        file = caller.fds.get(fd)
        if not isinstance(file, ObjectFile):
            raise refuse(errno.EINVAL, f"fd {fd} is no BPF map")
        m = map_of(caller, fd)
        if not self.walks(m):
            raise refuse(errno.EINVAL, f"elements of a {m.type.name} map cannot be walked")
        facts = prog.verified.facts
        if facts.max_rdonly_access > m.key_size or facts.max_rdwr_access > m.native.value_bytes:
            reach = f"{facts.max_rdonly_access} bytes of key and {facts.max_rdwr_access} of value"
            raise refuse(errno.EACCES, f"program {prog.name} reaches {reach}, map {m.name} has less")
        self.map = m.get()

    def begin(self, caller: Caller, how: Any) -> Held | None:
        assert self.map is not None
        how.subject = self.map.native.ptr
        return None

    def release(self) -> None:
        if self.map is not None:
            self.map.put()

    def fdinfo(self) -> Rows:
        assert self.map is not None
        return [("map_id", self.map.id)]

    def fill_info(self, put: PutInfo) -> None:
        assert self.map is not None
        put("iter.map.map_id", self.map.id)


class SkStorageTarget(MapElemTarget):
    name = "bpf_sk_storage_map"

    def walks(self, m: MapObject) -> bool:
        return m.type.id == uapi.BPF_MAP_TYPE_SK_STORAGE


class SockmapTarget(MapElemTarget):
    name = "sockmap"

    def walks(self, m: MapObject) -> bool:
        return m.type.holds == "sock"
