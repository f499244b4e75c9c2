"""iter/cgroup: one cgroup, what is below it, or what is above."""

from __future__ import annotations

import errno
from typing import Any

from bpfjit.errors import refuse
from bpfjit.uapi import bpf as uapi

from ..caller import Caller
from ..cgroup import Cgroup
from ..objects import ProgObject
from ..task_files import Held
from .base import IterTarget, LinkInfo, PutInfo, Rows

# As fdinfo spells them.
ORDER_NAMES = {
    uapi.BPF_CGROUP_ITER_SELF_ONLY: "self_only",
    uapi.BPF_CGROUP_ITER_DESCENDANTS_PRE: "descendants_pre",
    uapi.BPF_CGROUP_ITER_DESCENDANTS_POST: "descendants_post",
    uapi.BPF_CGROUP_ITER_ANCESTORS_UP: "ancestors_up",
}


class CgroupTarget(IterTarget):
    name = "cgroup"
    order = 0
    dump_info = uapi.BPF_CGROUP_ITER_DESCENDANTS_PRE.to_bytes(4, "little")  # `order` comes first
    cgroup: Cgroup | None = None

    def attach(self, caller: Caller, info: LinkInfo, prog: ProgObject) -> None:
        if not info.given:
            raise refuse(errno.EINVAL, "a cgroup iterator wants an order")
        fd, kn_id, self.order = info["cgroup.cgroup_fd"], info["cgroup.cgroup_id"], info["cgroup.order"]
        if self.order not in ORDER_NAMES:
            raise refuse(errno.EINVAL, f"cgroup order {self.order}, wanted 1 to 4")
        if fd and kn_id:
            raise refuse(errno.EINVAL, "cgroup_fd and cgroup_id are both given")
        cgroup: Cgroup | None = self.kernel.cgroups.root
        if fd:
            inode = getattr(caller.fds.get(fd), "inode", None)
            if not isinstance(inode, Cgroup):
                raise refuse(errno.EBADF, f"fd {fd} is no cgroup")
            cgroup = inode
        elif kn_id:
            cgroup = self.kernel.cgroups.by_id(kn_id)
            if cgroup is None:
                raise refuse(errno.ENOENT, f"no cgroup with id {kn_id}")
        assert cgroup is not None
        cgroup.get()
        self.cgroup = cgroup

    def begin(self, caller: Caller, how: Any) -> Held | None:
        assert self.cgroup is not None
        how.subject, how.order = self.cgroup.c, self.order
        return None

    def release(self) -> None:
        if self.cgroup is not None:
            self.cgroup.put()

    def fdinfo(self) -> Rows:
        assert self.cgroup is not None
        return [("cgroup_path", self.cgroup.path), ("order", ORDER_NAMES[self.order])]

    def fill_info(self, put: PutInfo) -> None:
        assert self.cgroup is not None
        put("iter.cgroup.cgroup_id", self.cgroup.id)
        put("iter.cgroup.order", self.order)
