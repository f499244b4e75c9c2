"""Namespaces: which tasks a reader sees and under which numbers, which network objects it sees."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from bpfjit.dataclass import dataclass
from runtime import Index, KernelHandle

if TYPE_CHECKING:
    from .kernel import Kernel
    from .objects import ProgObject
    from .task import Task

CLONE_NEWNET, CLONE_NEWPID = 0x40000000, 0x20000000
# Linux's numbers of the initial namespaces; others count on from where its allocator does.
_INIT_PID_INUM, _INIT_NET_INUM, _FIRST_INUM = 0xEFFFFFFC, 0xF0000000, 0xF0000001
NET_OBJECTS = ("ipv6_route", "netlink", "tcp", "udp", "unix")


class PidNs:
    """A pid namespace: the tasks in it and below it by the numbers that they have here."""

    def __init__(self, native: KernelHandle, inum: int, parent: PidNs | None = None) -> None:
        self.parent = parent
        self.level: int = parent.level + 1 if parent is not None else 0
        self.index = Index(native)
        self.by_nr: dict[int, Task] = {}
        self.c: Any = native.new("struct pid_namespace")
        self.c.level, self.c.pid_max = self.level, 1 << 22
        self.c.ns.inum, self.c.ns.ns_type = inum, CLONE_NEWPID
        if parent is not None:
            self.c.parent = parent.c

    def chain(self) -> list[PidNs]:
        """This namespace and those above, the outermost first: where a task in it has numbers."""
        return [*(self.parent.chain() if self.parent is not None else []), self]

    def free_nr(self) -> int:
        return next(i for i in itertools.count(1) if i not in self.by_nr)

    def add(self, nr: int, task: Task) -> None:
        self.by_nr[nr] = task
        self.index.add(nr, task.c)
        if nr == 1:
            self.c.child_reaper = task.c

    def remove(self, nr: int) -> None:
        del self.by_nr[nr]
        self.index.remove(nr)


class NetNs:
    """A network namespace: its routes and sockets, each kind by number in the order that Linux walks them."""

    def __init__(self, native: KernelHandle, inum: int, cookie: int) -> None:
        self.native = native
        self.c: Any = native.new("struct net")
        self.c.ns.inum, self.c.ns.ns_type, self.c.net_cookie = inum, CLONE_NEWNET, cookie
        self.indexes = {kind: Index(native) for kind in NET_OBJECTS}
        self.devices: dict[str, Any] = {}
        self.flow_dissector: ProgObject | None = None
        self._numbers = itertools.count(1)
        self.device("lo")  # every namespace has it, as device 1

    def add(self, kind: str, obj: Any) -> int:
        """One more object of a kind, behind those that are there; its number, by which remove() takes it off."""
        number = next(self._numbers)
        self.indexes[kind].add(number, obj)
        return number

    def remove(self, kind: str, number: int) -> None:
        self.indexes[kind].remove(number)

    def device(self, name: str) -> Any:
        """The struct net_device of that name; made when it is first asked for."""
        found = self.devices.get(name)
        if found is None:
            found = self.devices[name] = self.native.new("struct net_device")
            found.name, found.ifindex, found.nd_net.net = name.encode()[:15], len(self.devices), self.c
            if name == "lo":
                self.c.loopback_dev = found
        return found

    def device_at(self, ifindex: int) -> Any:
        """The device of that number, None where there is none."""
        return next((d for d in self.devices.values() if d.ifindex == ifindex), None)


class NamespaceSet:
    """All namespaces of a kernel: the initial ones, and others by the names that a scenario gives them."""

    def __init__(self, native: KernelHandle) -> None:
        self.native = native
        self._inums = itertools.count(_FIRST_INUM)
        self.pid = {"": PidNs(native, _INIT_PID_INUM)}
        self.net = {"": NetNs(native, _INIT_NET_INUM, 1)}

    def add_pid(self, name: str, parent: str = "") -> PidNs:
        made = self.pid[name] = PidNs(self.native, next(self._inums), self.pid[parent])
        return made

    def add_net(self, name: str) -> NetNs:
        made = self.net[name] = NetNs(self.native, next(self._inums), len(self.net) + 1)
        return made


@dataclass(frozen=True, slots=True)
class Namespaces:
    """The namespaces that a caller is in; None for the initial one."""

    pid: PidNs | None = None
    net: NetNs | None = None

    def pid_ns(self, kernel: Kernel) -> PidNs:
        return self.pid or kernel.namespaces.pid[""]

    def net_ns(self, kernel: Kernel) -> NetNs:
        return self.net or kernel.namespaces.net[""]


INITIAL = Namespaces()
