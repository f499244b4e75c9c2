"""What a scenario says of namespaces, open files, memory, sockets and routes: rows, and how they are built."""

from __future__ import annotations

import ipaddress
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from bpfjit.errors import UsageError

from .namespaces import NetNs
from .routes import RouteRow
from .sockets import (
    IPPROTO_TCP,
    IPPROTO_UDP,
    SOCK_DGRAM,
    SOCK_SEQPACKET,
    SOCK_STREAM,
    TCP_CLOSE,
    TCP_ESTABLISHED,
    TCP_LISTEN,
    TCP_STATES,
    Endpoint,
    InetRow,
    NetlinkRow,
    SocketRow,
    UnixRow,
)
from .task import Task
from .task_files import FileRow
from .task_mm import vm_flags

if TYPE_CHECKING:
    from .kernel import Kernel

U64 = (1 << 64) - 1
U32 = (1 << 32) - 1
_UNIX_TYPES = {"stream": SOCK_STREAM, "dgram": SOCK_DGRAM, "seqpacket": SOCK_SEQPACKET}
Build = Callable[["Kernel"], None]


class Table(Protocol):
    """One TOML table being read (scenario.py)."""

    def fail(self, cause: str) -> UsageError: ...
    def take(self, key: str, kind: type, default: Any = None, *, required: bool = False) -> Any: ...
    def integer(self, key: str, low: int, high: int, default: Any = None, *, required: bool = False) -> Any: ...
    def done(self) -> None: ...


def _parsed(t: Table, key: str, parse: Callable[[str], Any], default: str | None = None) -> Any:
    text = t.take(key, str, default, required=default is None)
    try:
        return parse(text)
    except ValueError as e:
        raise t.fail(f"{key} = {text!r}: {e}") from None


def _net(t: Table, kernel: Kernel, name: str) -> NetNs:
    if name not in kernel.namespaces.net:
        raise t.fail(f"net_ns = {name!r}: no such namespace")
    return kernel.namespaces.net[name]


def _task(t: Table, kernel: Kernel, pid: int) -> Task:
    found = kernel.tasks.find(pid)
    if found is None:
        raise t.fail(f"task = {pid}: no such task")
    return found


def pid_ns(t: Table) -> Build:
    name, parent = t.take("name", str, required=True), t.take("parent", str, "")
    t.done()

    def build(kernel: Kernel) -> None:
        if name in kernel.namespaces.pid or parent not in kernel.namespaces.pid:
            raise t.fail(f"name = {name!r}, parent = {parent!r}: wanted a new one below one that is there")
        kernel.namespaces.add_pid(name, parent)

    return build


def net_ns(t: Table) -> Build:
    name = t.take("name", str, required=True)
    t.done()

    def build(kernel: Kernel) -> None:
        if name in kernel.namespaces.net:
            raise t.fail(f"name = {name!r} is there already")
        kernel.namespaces.add_net(name)

    return build


def open_file(t: Table) -> Build:
    pid, fd = t.integer("task", 1, U32, required=True), t.integer("fd", 0, 1 << 20)
    row = FileRow(
        t.take("path", str, required=True),
        t.integer("flags", 0, U32, 0),
        t.integer("pos", 0, U64 >> 1, 0),
        t.integer("ino", 0, U64, 0),
        t.integer("mode", 0, 0o177777, stat.S_IFREG | 0o644),
        size=t.integer("size", 0, U64 >> 1, 0),
    )
    t.done()

    def build(kernel: Kernel) -> None:
        try:
            _task(t, kernel, pid).files.open(row, fd)
        except OSError as e:
            raise t.fail(str(e.strerror)) from None

    return build


def memory(t: Table) -> Build:
    pid, perms = t.integer("task", 1, U32, required=True), t.take("perms", str, "rw-p")
    start, end = t.integer("start", 0, U64, required=True), t.integer("end", 0, U64, required=True)
    path, offset, ino = t.take("path", str, ""), t.integer("offset", 0, U64, 0), t.integer("ino", 0, U64, 0)
    t.done()

    def build(kernel: Kernel) -> None:
        try:
            _task(t, kernel, pid).mm.add(start, end, vm_flags(perms), FileRow(path, ino=ino) if path else None, offset)
        except OSError as e:
            raise t.fail(str(e.strerror)) from None

    return build


def _inet(t: Table, kind: str, uid: int, ino: int) -> SocketRow:
    local, remote = _parsed(t, "local", Endpoint.parse), t.take("remote", str, "")
    default = "listen" if kind == "tcp" and not remote else "established" if remote else "close"
    state = t.take("state", str, default)
    if state not in TCP_STATES:
        raise t.fail(f"state = {state!r}, wanted one of {', '.join(TCP_STATES)}")
    any_end = Endpoint(ipaddress.ip_address(16 * b"\0" if local.address.version == 6 else 4 * b"\0"))
    try:
        there = Endpoint.parse(remote) if remote else any_end
    except ValueError as e:
        raise t.fail(f"remote = {remote!r}: {e}") from None
    if there.address.version != local.address.version:
        raise t.fail(f"remote = {remote!r}: another family than local")
    protocol = IPPROTO_TCP if kind == "tcp" else IPPROTO_UDP
    return InetRow(protocol, local, there, TCP_STATES[state], uid, ino, bucket=local.port & 0xFFFF)


def _unix(t: Table, kind: str, uid: int, ino: int) -> SocketRow:
    path, shape, state = t.take("path", str, ""), t.take("type", str, "stream"), t.take("state", str, "close")
    states = {"close": TCP_CLOSE, "listen": TCP_LISTEN, "established": TCP_ESTABLISHED}
    if shape not in _UNIX_TYPES or state not in states:
        raise t.fail(f"type = {shape!r}, state = {state!r}: wanted {'|'.join(_UNIX_TYPES)} and {'|'.join(states)}")
    return UnixRow("\0" + path[1:] if path.startswith("@") else path, _UNIX_TYPES[shape], states[state], uid, ino)


def _netlink(t: Table, kind: str, uid: int, ino: int) -> SocketRow:
    protocol, portid = t.integer("protocol", 0, 31, 0), t.integer("portid", 0, U32, 0)
    return NetlinkRow(protocol, portid, t.integer("groups", 0, U32, 0), ino=ino)


_KINDS = {"tcp": _inet, "udp": _inet, "unix": _unix, "netlink": _netlink}


def socket(t: Table) -> Build:
    kind = t.take("kind", str, required=True)
    if kind not in _KINDS:
        raise t.fail(f"kind = {kind!r}, wanted one of {', '.join(_KINDS)}")
    row = _KINDS[kind](t, kind, t.integer("uid", 0, U32, 0), t.integer("ino", 0, U64, 0))
    name, pid, fd = t.take("net_ns", str, ""), t.integer("task", 1, U32), t.integer("fd", 0, 1 << 20)
    t.done()

    def build(kernel: Kernel) -> None:
        made = kernel.sockets.add(_net(t, kernel, name), row)
        if pid is not None:
            try:
                _task(t, kernel, pid).files.install(made.file(), fd)
            except OSError as e:
                raise t.fail(str(e.strerror)) from None

    return build


def route(t: Table) -> Build:
    row = RouteRow(
        _parsed(t, "dst", ipaddress.IPv6Network),
        t.take("dev", str, required=True),
        _parsed(t, "via", lambda text: ipaddress.IPv6Address(text) if text else None, ""),
        t.integer("metric", 0, U32, 1024),
        t.integer("flags", 0, U32, 1),
    )
    name = t.take("net_ns", str, "")
    t.done()

    def build(kernel: Kernel) -> None:
        kernel.routes.add(_net(t, kernel, name), row)

    return build


# Tables of a scenario, in the order in which they are built: before the tasks, and after them.
BEFORE_TASKS = (("pid_ns", pid_ns), ("net_ns", net_ns))
AFTER_TASKS = (("file", open_file), ("memory", memory), ("socket", socket), ("route", route))
