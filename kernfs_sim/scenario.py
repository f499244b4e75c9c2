"""Scenario files: a system and what happens in it, as TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bpfjit.errors import UsageError
from bpfjit.spec.targets import TRACEPOINT_BY_NAME, Tracepoint
from runtime import ffi

from .cgroup import Cgroup
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

    def populate(self, kernel: Kernel) -> None:
        for row in self.cgroups:
            try:
                kernel.cgroups.create(row.path, row.id)
            except OSError as e:
                raise UsageError(f"cgroup {row.path}: {e.strerror}", file=self.file) from None
        for task in self.tasks:
            try:
                cgroup = kernel.cgroups.find(task.cgroup)
                kernel.tasks.create(task.pid, task.comm, cgroup, tgid=task.tgid, uid=task.uid)
            except OSError as e:
                raise UsageError(f"task {task.pid}: {e.strerror}", file=self.file) from None

    def fill(self, maps: Mapping[str, MapObject], cpus: int) -> None:
        """Put the entries into the loaded objects' maps. Raises UsageError for an unknown map or a misfit."""
        for row in self.maps:
            target = maps.get(row.name)
            if target is None:
                raise UsageError(f"map '{row.name}' is in none of the loaded objects", file=self.file)
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
        """Let the events happen, in order. Raises UsageError for a task or cgroup that is not there."""
        for event in self.events:
            current: Any = None
            raw = []
            for name, kind in event.tracepoint.args:
                value = event.args.get(name, 0) if name else 0
                if kind == "task":
                    task = self._task(kernel, name, value)
                    current = task.c
                    raw.append(int(ffi.cast("uintptr_t", task.c)))
                elif kind == "cgroup":
                    cgroup = self._cgroup(kernel, value)
                    raw.append(int(ffi.cast("uintptr_t", cgroup.c)))
                elif kind == "pt_regs":
                    raw.append(int(ffi.cast("uintptr_t", kernel.pt_regs)))
                elif kind == "cgroup_path":
                    raw.append(int(ffi.cast("uintptr_t", cgroup._name)))
                else:
                    raw.append(value & U64)
            if "task" in event.args and "task" not in dict(event.tracepoint.args):
                current = self._task(kernel, "task", event.args["task"]).c
            if "prev" in event.args:
                current = self._task(kernel, "prev", event.args["prev"]).c  # it is prev that gives the cpu up
            kernel.fire(event.tracepoint.name, raw, current, event.repeat)

    def _task(self, kernel: Kernel, name: str, pid: Any) -> Task:
        found = kernel.tasks.find(pid) if isinstance(pid, int) else None
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
            raise UsageError(f"{where}: wanted a table, found {table!r}", file=file)
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
            raise self.fail(f"{key} = {value!r}, wanted {_KINDS[kind]}")
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


def _cgroup_row(t: _Reader) -> CgroupRow:
    path = t.take("path", str, required=True)
    if not path.startswith("/") or path.strip("/") == "" or any(p in (".", "..") for p in path.split("/")):
        raise t.fail(f"path = {path!r}, wanted an absolute path below /")
    row = CgroupRow(path, t.integer("id", 1, U64))
    t.done()
    return row


def _task_row(t: _Reader) -> TaskRow:
    comm = t.take("comm", str, "")
    if len(comm.encode()) > COMM_BYTES:
        raise t.fail(f"comm = {comm!r}, wanted at most {COMM_BYTES} bytes")
    row = TaskRow(
        t.integer("pid", 1, MAX_PID, required=True),
        comm,
        t.take("cgroup", str, "/"),
        t.integer("tgid", 1, MAX_PID),
        t.integer("uid", 0, 0xFFFFFFFF, 0),
    )
    t.done()
    return row


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
            args[arg] = t.take(arg, str, required=True)
        else:
            args[arg] = t.integer(arg, -(1 << 63), U64, required=kind == "task" and not name.startswith("sys_"))
            if args[arg] is None:
                del args[arg]
    t.done()
    return Event(row, args, repeat)


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
    top = _Reader(table, "scenario", file)
    scenario = Scenario(
        file,
        top.integer("cpus", 1, _MAX_CPUS, 1),
        tuple(_cgroup_row(t) for t in top.tables("cgroup")),
        tuple(_task_row(t) for t in top.tables("task")),
        tuple(_map_row(t) for t in top.tables("map")),
        tuple(_event(t) for t in top.tables("event")),
    )
    top.done()
    return scenario
