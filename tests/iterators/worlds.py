"""One interface to two kernels: the simulated one and the one that runs us."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfjit import live_bpf, open_object
from bpfjit.loader import Link, LoadedObject, LoadedProg
from bpfjit.loader.bpf import Bpf
from bpfjit.uapi import bpf as uapi
from kernfs_sim import Kernel
from tests.live import forbids

HERE = Path(__file__).parent


def link_info(**fields: int) -> bytes:
    """A union bpf_iter_link_info with these fields ("map.map_fd" as map_fd=…)."""
    layout = uapi.LAYOUTS["bpf_iter_link_info"]
    raw = bytearray(layout.size)
    for name, value in fields.items():
        dotted = next(f for f in layout.fields if f.split(".")[1] == name)
        offset, size = layout.fields[dotted]
        raw[offset : offset + size] = value.to_bytes(size, "little")
    return bytes(raw)


class World(ABC):
    """A kernel, the test object loaded into it, and reads of fds."""

    name = ""
    bpf: Bpf
    leader = 0  # the process whose THREADS threads are walked in place of a map's elements; 0: elements are

    def __init__(self, obj: LoadedObject) -> None:
        self.obj = obj

    def walk_threads(self, tids: list[int]) -> None:
        """Let walks go over these threads, the first of which leads them."""
        self.leader = tids[0]
        for key, tid in enumerate(tids):
            self.obj.maps["threads"].update(tid.to_bytes(4, "little"), key.to_bytes(4, "little"))

    @abstractmethod
    def read(self, fd: int, size: int) -> bytes:
        """One read(2)."""

    @abstractmethod
    def dup(self, fd: int) -> int:
        """dup(2)."""

    def set(self, **values: int) -> None:
        """Set the program's global variables."""
        spec = self.obj.spec
        assert spec.btf is not None
        for m in self.obj.maps.values():
            if m.spec.section not in (".data", ".bss"):
                continue
            data = bytearray(m.lookup(bytes(4)))
            for var in spec.btf.type(m.spec.value_type_id).secvars:
                name = spec.btf.type(var.type_id).name
                if name in values:
                    data[var.offset : var.offset + 4] = (values[name] & 0xFFFFFFFF).to_bytes(4, "little")
            m.update(bytes(4), bytes(data))

    def get(self, name: str) -> int:
        spec = self.obj.spec
        assert spec.btf is not None
        for m in self.obj.maps.values():
            if m.spec.section in (".data", ".bss"):
                for var in spec.btf.type(m.spec.value_type_id).secvars:
                    if spec.btf.type(var.type_id).name == name:
                        return int.from_bytes(m.lookup(bytes(4))[var.offset : var.offset + 4], "little")
        raise KeyError(name)

    def calls(self) -> list[tuple[int, int]]:
        """(key, seq_num) of every call of `walk`, -1 for the call at the end."""
        found = []
        for i in range(min(self.get("ncalls"), 64)):
            raw = self.obj.maps["calls"].lookup(i.to_bytes(4, "little"))
            key = int.from_bytes(raw[0:4], "little")
            found.append((-1 if key == 0xFFFFFFFF else key, int.from_bytes(raw[8:16], "little")))
        return found

    def session_of(self, call: int) -> int:
        """The session_id that the nth call of `walk` was given."""
        return int.from_bytes(self.obj.maps["calls"].lookup(call.to_bytes(4, "little"))[16:24], "little")

    def link(self, prog: str, **info: int) -> Link:
        link = self.obj.attach_prog(self.obj.progs[prog], link_info(**info) if info else b"")
        self.obj.links[f"{prog}.{link.fd}"] = link
        return link

    def open(self, link: Link) -> int:
        return self.bpf(uapi.BPF_ITER_CREATE, bytearray(uapi.IterCreate(link_fd=link.fd).pack()))

    def prog(self, name: str) -> LoadedProg:
        """The program of that name; the one that does it with threads where they are walked."""
        return self.obj.progs.get(f"{name}_threads" if self.leader else name) or self.obj.progs[name]

    def over(self, prog: str = "walk", map: str = "elems") -> Link:
        """A link of the program that walks a map's elements, or as many threads."""
        name = self.prog(prog).spec.name
        return self.link(name, pid=self.leader) if self.leader else self.link(name, map_fd=self.obj.maps[map].fd)

    def walk(self, prog: str = "walk", map: str = "elems") -> int:
        return self.open(self.over(prog, map))

    def drain(self, fd: int, size: int) -> list[bytes]:
        """Reads of `size` until the end."""
        found = []
        while data := self.read(fd, size):
            found.append(data)
        return found


class Simulated(World):
    name = "simulated"

    def __init__(self, kernel: Kernel, data: Path, like: World | None = None) -> None:
        """like: a world that has loaded the object, of which the same programs are loaded here."""
        self.kernel = kernel
        self.bpf = kernel.bpf
        super().__init__(open_object(data).load(kernel.bpf, only=None if like is None else list(like.obj.progs)))

    def read(self, fd: int, size: int) -> bytes:
        return bytes(self.kernel.caller.fds.get(fd).read(self.kernel.caller, size))

    def dup(self, fd: int) -> int:
        return self.kernel.caller.fds.dup(fd)


class Live(World):
    name = "live"

    def __init__(self, data: Path) -> None:
        self.bpf = live_bpf
        obj = open_object(data)
        self.forbidden = [p.name for p in obj.progs.values() if forbids(p.section)]
        super().__init__(obj.load(live_bpf, only=[name for name in obj.progs if name not in self.forbidden]))

    def link(self, prog: str, **info: int) -> Link:
        if prog in self.forbidden:
            pytest.skip(f"this machine's kernel does not let {prog} be loaded: {self.obj.spec.progs[prog].section}")
        return super().link(prog, **info)

    def read(self, fd: int, size: int) -> bytes:
        return os.read(fd, size)

    def dup(self, fd: int) -> int:
        return os.dup(fd)


def worlds(which: str, data: Path, tids: list[int]) -> Iterator[World]:
    """A world that walks elements or, where thread ids are given, those threads."""
    if which == "simulated":
        with Kernel(cpus=2) as kernel:
            for tid in tids:
                kernel.tasks.create(tid, tgid=tids[0])
            world: World = Simulated(kernel, data)
            with world.obj:
                if tids:
                    world.walk_threads(tids)
                yield world
    else:
        world = Live(data)
        with world.obj:
            if tids:
                world.walk_threads(tids)
            yield world
