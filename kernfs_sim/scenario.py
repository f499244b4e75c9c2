"""Scenario files: a system and what happens in it, as TOML."""

from __future__ import annotations

import os
import reprlib
import tomllib
from collections.abc import Callable, Hashable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bpfjit.dataclass import dataclass
from bpfjit.errors import UsageError
from bpfjit.spec.targets import TRACEPOINT_BY_NAME, Tracepoint
from runtime import ffi

from .cgroup import Cgroup
from .scenario_objects import AFTER_TASKS, BEFORE_TASKS, Build
from .task import COMM_BYTES, MAX_PID, Task

if TYPE_CHECKING:
    from .kernel import Kernel
    from .objects import MapObject

U64 = (1 << 64) - 1
_MAX_CPUS = 64


@dataclass(frozen=True, slots=True)
class CgroupRow:
    path: str
    id: int | None


@dataclass(frozen=True, slots=True)
class TaskRow:
    pid: int
    comm: str
    cgroup: str
    tgid: int | None
    uid: int
    pid_ns: str
    ns_pid: int | None
    net_ns: str
    kernel_stack: tuple[int, ...]
    user_stack: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MapRow:
    name: str
    entries: tuple[tuple[Any, Any], ...]


@dataclass(frozen=True, slots=True)
class Event:
    tracepoint: Tracepoint
    args: Mapping[str, Any]
    repeat: int


@dataclass(frozen=True, slots=True)
class Scenario:
    """A parsed scenario; `populate` builds its system, `fill` its maps, `play` its events."""

    file: str
    cpus: int
    cgroups: tuple[CgroupRow, ...]
    tasks: tuple[TaskRow, ...]
    maps: tuple[MapRow, ...]
    events: tuple[Event, ...]
    before_tasks: tuple[Build, ...] = ()  # namespaces
    after_tasks: tuple[Build, ...] = ()  # what tasks have, sockets, routes

    def populate(self, kernel: Kernel) -> None:
        """Make the cgroups and tasks. Raises UsageError for what the kernel refuses."""
        ids = {row.path: row.id for row in self.cgroups if row.id is not None}
        kernel.cgroups.reserved.update(ids.values())
        for row in self.cgroups:
            parts = row.path.split("/")[1:]
            for i in range(1, len(parts) + 1):
                path = "/" + "/".join(parts[:i])
                try:
                    if not kernel.cgroups.exists(path):
                        kernel.cgroups.create(path, ids.get(path))
                except OSError as e:
                    raise UsageError(f"cgroup {path!r}: {e.strerror}", file=self.file) from None
        for build in self.before_tasks:
            build(kernel)
        leaders_first = sorted(self.tasks, key=lambda t: t.tgid is not None and t.tgid != t.pid)
        for task in leaders_first:
            where = f"task {task.pid}"
            if task.tgid is not None and task.tgid != task.pid and kernel.tasks.find(task.tgid) is None:
                raise UsageError(f"{where}: tgid = {task.tgid}: no such task", file=self.file)
            try:
                cgroup = kernel.cgroups.find(task.cgroup)
            except OSError:
                raise UsageError(f"{where}: cgroup = {task.cgroup!r}: no such cgroup", file=self.file) from None
            namespaces = kernel.namespaces
            for key, name, known in (("pid_ns", task.pid_ns, namespaces.pid), ("net_ns", task.net_ns, namespaces.net)):
                if name not in known:
                    raise UsageError(f"{where}: {key} = {name!r}: no such namespace", file=self.file)
            try:
                made = kernel.tasks.create(
                    task.pid,
                    task.comm,
                    cgroup,
                    tgid=task.tgid,
                    uid=task.uid,
                    pid_ns=namespaces.pid[task.pid_ns] if task.pid_ns else None,
                    ns_pid=task.ns_pid,
                    net_ns=namespaces.net[task.net_ns] if task.net_ns else None,
                )
                made.set_stack(task.kernel_stack, task.user_stack)
            except OSError as e:
                raise UsageError(f"{where}: {e.strerror}", file=self.file) from None
        for build in self.after_tasks:
            build(kernel)

    def fill(self, maps: Mapping[str, MapObject], cpus: int) -> None:
        """Put the entries into the loaded objects' maps. Raises UsageError for an unknown map or a misfit."""
        for row in self.maps:
            target = maps.get(row.name)
            if target is None:
                raise UsageError(f"map '{row.name}' is in none of the loaded objects", file=self.file)
            if target.frozen:
                raise UsageError(f"map {row.name}: read-only, it is not filled after loading", file=self.file)
            for key, value in row.entries:
                where = f"map {row.name}: "
                raw_key = _as_bytes(key, target.key_size, where + "key", self.file)
                raw_value = _as_bytes(value, target.value_size, where + "value", self.file)
                if target.type.per_cpu:
                    raw_value = raw_value.ljust(-(-len(raw_value) // 8) * 8, b"\0") * cpus
                try:
                    target.native.update(raw_key, raw_value)
                except OSError as e:
                    raise UsageError(f"{where}{e.strerror} at key {key!r}", file=self.file) from None

    def play(self, kernel: Kernel) -> None:
        """Let the events happen, in order. Raises UsageError for a task or cgroup that is not there, and then plays none."""
        for fire in [self._resolved(kernel, event) for event in self.events]:
            fire()

    def _resolved(self, kernel: Kernel, event: Event) -> Callable[[], None]:
        row, args = event.tracepoint, event.args
        kinds = dict(row.args)
        tasks = {name: self._task(kernel, name, args[name]) for name in ("task", "prev", "next") if name in args}
        # Who runs: prev gives the cpu up, next is yet to get it; else the task the event is about.
        runs = tasks.get("prev") or tasks.get("task")
        current = runs.c if runs is not None else None
        if "cgroup" in kinds:
            cgroup = self._cgroup(kernel, args["cgroup"])
            return lambda: kernel.fire_cgroup(row.name, cgroup, current, event.repeat)
        objects = {"task": lambda name: tasks[name].c, "pt_regs": lambda name: kernel.pt_regs}
        raw = [
            int(ffi.cast("uintptr_t", objects[kind](name))) if kind in objects else args.get(name, 0) & U64
            for name, kind in row.args
        ]
        return lambda: kernel.fire(row.name, raw, current, event.repeat)

    def _task(self, kernel: Kernel, name: str, pid: Any) -> Task:
        found = kernel.tasks.find(pid)
        if found is None:
            raise UsageError(f"{name} = {pid!r}: no such task", file=self.file)
        return found

    def _cgroup(self, kernel: Kernel, path: Any) -> Cgroup:
        try:
            return kernel.cgroups.find(str(path))
        except OSError:
            raise UsageError(f"cgroup = {path!r}: no such cgroup", file=self.file) from None


def _as_bytes(value: Any, size: int, where: str, file: str) -> bytes:
    """An entry's integer, string or hex text ("x:00ff") as `size` bytes."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise UsageError(f"{where} {value!r}: wanted an integer, a string or hex bytes", file=file)
    if isinstance(value, int):
        if not -(1 << size * 8 - 1) <= value < 1 << size * 8:
            raise UsageError(f"{where} {value}: does not fit {size} bytes", file=file)
        return (value & (1 << size * 8) - 1).to_bytes(size, "little")
    if value.startswith("x:"):
        try:
            raw = bytes.fromhex(value[2:])
        except ValueError:
            raise UsageError(f"{where} {value!r}: not hex", file=file) from None
        if len(raw) != size:
            raise UsageError(f"{where} {value!r}: {len(raw)} bytes, wanted exactly {size}", file=file)
        return raw
    raw = value.encode()
    if len(raw) > size:
        raise UsageError(f"{where} {value!r}: {len(raw)} bytes, wanted at most {size}", file=file)
    return raw.ljust(size, b"\0")


class _Reader:
    """One TOML table being read: every key is asked for once, what is left over is an error."""

    def __init__(self, table: Any, where: str, file: str) -> None:
        if not isinstance(table, dict):
            raise UsageError(f"{where}: wanted a table, found {reprlib.repr(table)}", file=file)
        self.table = dict(table)
        self.where = where
        self.file = file

    def fail(self, cause: str) -> UsageError:
        return UsageError(f"{self.where}: {cause}", file=self.file)

    def take(self, key: str, kind: type, default: Any = None, *, required: bool = False) -> Any:
        if key not in self.table:
            if required:
                raise self.fail(f"no '{key}'")
            return default
        value = self.table.pop(key)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
            raise self.fail(f"{key} = {reprlib.repr(value)}, wanted {_KINDS[kind]}")
        return value

    def integer(self, key: str, low: int, high: int, default: Any = None, *, required: bool = False) -> Any:
        value = self.take(key, int, default, required=required)
        if value is not None and not low <= value <= high:
            raise self.fail(f"{key} = {value}, wanted {low} to {high}")
        return value

    def tables(self, key: str) -> list[_Reader]:
        rows = self.take(key, list, [])
        return [_Reader(row, f"[[{key}]] {i + 1}", self.file) for i, row in enumerate(rows)]

    def done(self) -> None:
        for key in self.table:
            raise self.fail(f"unknown key '{key}'")


_KINDS = {int: "an integer", str: "a string", list: "a list", dict: "a table"}


def _cgroup_path(t: _Reader, key: str, path: str) -> str:
    """A path as the hierarchy spells it: "/web/api", "/" for the root."""
    parts = [p for p in path.split("/") if p]
    if not path.startswith("/") or any(p in (".", "..") or len(os.fsencode(p)) > 255 for p in parts):
        raise t.fail(f"{key} = {reprlib.repr(path)}, wanted an absolute path of names of at most 255 bytes")
    return "/" + "/".join(parts)


def _cgroup_row(t: _Reader) -> CgroupRow:
    given = t.take("path", str, required=True)
    path = _cgroup_path(t, "path", given)
    if path == "/" or "\0" in path or "\n" in path:
        raise t.fail(f"path = {given!r}, wanted an absolute path below /")
    row = CgroupRow(path, t.integer("id", 2, U64))
    t.done()
    return row


def _task_row(t: _Reader) -> TaskRow:
    comm = t.take("comm", str, "")
    if len(comm.encode()) > COMM_BYTES or "\0" in comm:
        raise t.fail(f"comm = {comm!r}, wanted at most {COMM_BYTES} bytes")
    row = TaskRow(
        t.integer("pid", 1, MAX_PID, required=True),
        comm,
        _cgroup_path(t, "cgroup", t.take("cgroup", str, "/")),
        t.integer("tgid", 1, MAX_PID),
        t.integer("uid", 0, 0xFFFFFFFF, 0),
        t.take("pid_ns", str, ""),
        t.integer("ns_pid", 1, MAX_PID),
        t.take("net_ns", str, ""),
        _addresses(t, "kernel_stack"),
        _addresses(t, "user_stack"),
    )
    t.done()
    return row


_MAX_STACK = 127  # perf_event_max_stack


def _addresses(t: _Reader, key: str) -> tuple[int, ...]:
    """A stack: addresses, innermost first."""
    found = t.take(key, list, [])
    if len(found) > _MAX_STACK or any(not isinstance(a, int) or isinstance(a, bool) or not 0 <= a <= U64 for a in found):
        raise t.fail(f"{key} = {reprlib.repr(found)}, wanted at most {_MAX_STACK} addresses")
    return tuple(found)


def _map_row(t: _Reader) -> MapRow:
    name = t.take("name", str, required=True)
    entries = []
    for i, entry in enumerate(t.take("entries", list, [])):
        e = _Reader(entry, f"{t.where} entry {i + 1}", t.file)
        if "key" not in e.table or "value" not in e.table:
            raise e.fail("wanted key and value")
        entries.append((e.table.pop("key"), e.table.pop("value")))
        e.done()
    t.done()
    return MapRow(name, tuple(entries))


def _event(t: _Reader) -> Event:
    name = t.take("tracepoint", str, required=True)
    row = TRACEPOINT_BY_NAME.get(name)
    if row is None:
        raise t.fail(f"unknown tracepoint '{name}'")
    repeat = t.integer("repeat", 0, 1 << 32, 1)
    args: dict[str, Any] = {}
    for arg, kind in (*row.args, *((("task", "task"),) if name.startswith("sys_") else ())):
        if not arg:
            continue
        if kind == "cgroup":
            args[arg] = _cgroup_path(t, arg, t.take(arg, str, required=True))
        else:
            args[arg] = t.integer(arg, -(1 << 63), U64, required=kind == "task" and not name.startswith("sys_"))
            if args[arg] is None:
                del args[arg]
    t.done()
    return Event(row, args, repeat)


def play_event(kernel: Kernel, table: Any) -> None:
    """Let one event happen, given as an [[event]] table. Raises UsageError."""
    event = _event(_Reader(table, "event", ""))
    Scenario("", kernel.native.cpus, (), (), (), (event,)).play(kernel)


def load(path: str | Path) -> Scenario:
    """Read a scenario. Raises UsageError naming the file and the key or value that is wrong."""
    file = str(path)
    try:
        text = Path(path).read_bytes().decode()
        table = tomllib.loads(text)
    except OSError as e:
        raise UsageError((e.strerror or "unreadable").lower(), file=file) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise UsageError(f"bad TOML: {e}", file=file) from None
    except RecursionError:
        raise UsageError("bad TOML: nested too deeply", file=file) from None
    top = _Reader(table, "scenario", file)
    scenario = Scenario(
        file,
        top.integer("cpus", 1, _MAX_CPUS, 1),
        tuple(_cgroup_row(t) for t in top.tables("cgroup")),
        tuple(_task_row(t) for t in top.tables("task")),
        tuple(_map_row(t) for t in top.tables("map")),
        tuple(_event(t) for t in top.tables("event")),
        tuple(read(t) for key, read in BEFORE_TASKS for t in top.tables(key)),
        tuple(read(t) for key, read in AFTER_TASKS for t in top.tables(key)),
    )
    top.done()
    _no_duplicates(file, "cgroup", "path", (row.path for row in scenario.cgroups))
    _no_duplicates(file, "cgroup", "id", (row.id for row in scenario.cgroups))
    _no_duplicates(file, "task", "pid", (row.pid for row in scenario.tasks))
    _no_duplicates(file, "map", "name", (row.name for row in scenario.maps))
    return scenario


def _no_duplicates(file: str, table: str, key: str, values: Iterable[Hashable]) -> None:
    first: dict[Hashable, int] = {}
    for i, value in enumerate(values, 1):
        if value is not None and first.setdefault(value, i) != i:
            raise UsageError(f"[[{table}]] {i}: {key} = {value!r} is [[{table}]] {first[value]}'s", file=file)
