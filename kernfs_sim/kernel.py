"""A simulated kernel: everything hangs from here, and two of them know nothing of each other."""

from __future__ import annotations

import ctypes
import errno
import functools
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from bpfjit.btf import RawBtf, parse_btf
from bpfjit.errors import ENOTSUPP, refuse
from bpfjit.jit.cache import ObjectCache, default_directory
from bpfjit.jit.tiers import Tiers
from bpfjit.program import Binding, Verified, helpers_of
from bpfjit.spec.profiles import DEFAULT_PROFILE, profile_named
from bpfjit.spec.targets import ITER_TARGETS, TRACEPOINTS
from bpfjit.uapi import bpf as uapi
from runtime import KernelHandle, ProgHandle, Symbols, Tracepoint, ffi, lib, ok

from .bpf.iters import IterLink, OpenIter
from .bpf.upcalls import Upcalls
from .caller import Caller, InProcess
from .cgroup import Cgroup, CgroupFs
from .fs.bpfdump import BpfDump
from .fs.bpffs import Preloaded, new_bpffs
from .fs.inode import Directory, OpenFile
from .fs.kernfs import DataFile, KernfsDir, new_sysfs
from .fs.procfs import new_procfs
from .fs.tracefs import TracePipe
from .fs.vfs import RootFs, Vfs
from .functions import new_functions
from .idr import Idr
from .kernel_files import KernelFiles
from .keyrings import Keyrings
from .namespaces import NamespaceSet
from .objects import BtfObject, LinkObject, MapObject, ProgObject
from .sim_bpf import SimBpf
from .targets.objects import Published, describe_link, describe_map, describe_prog, new_map_directories
from .targets.registry import Targets
from .task import Task, Tasks

if TYPE_CHECKING:
    from pathlib import Path

    from bpfjit.jit.engine import Engine
    from bpfjit.jit.native import Native
    from bpfjit.jit.recipe import Recipe

    from .host import Host
    from .kept import KeptPrograms
    from .known import KnownPrograms
    from .lsm import Security
    from .routes import Routes
    from .scenario import Scenario
    from .sockets import Socket, Sockets
    from .targets.added import AddedTarget

# What a fresh bpffs shows, and by which program of preloaded.py.
PRELOADED = {"maps.debug": "dump_bpf_map", "progs.debug": "dump_bpf_prog"}
_VMLINUX = os.path.join(os.path.dirname(__file__), "data", "vmlinux.btf")
ENGINES = ("jit", "interp", "none")


class Kernel(KernelFiles):
    """A kernel with bpf(2), cgroups, tasks, tracepoints and its file systems mounted where Linux has them.

    cpus: simulated CPUs (1 to 64). engine: "jit", "interp" for the checking interpreter, or "none": programs are verified
    and do not run. cache: keep compiled code on disk ($XDG_CACHE_HOME/bpfjit, unless $BPFJIT_NO_CACHE is set). tiered:
    programs run at once, and are optimised when they run often; else before they run. require_signatures: refuse programs
    without one that a certificate of `keyrings` vouches for (loaded by a signed loader program they need none). known: the
    directory through which known programs are shared (docs/known-programs.md). btf: with engine "none", the types of another
    kernel, by which programs are judged. Paths are those of the simulated system; every call is made as `caller` (this
    process as root, unless another is given).
    Raises OSError as the kernel would. A context manager: close() gives everything back.
    """

    def __init__(
        self,
        cpus: int = 1,
        *,
        engine: str = "jit",
        cache: bool = True,
        tiered: bool = True,
        require_signatures: bool = False,
        known: Path | None = None,
        btf: RawBtf | None = None,
        profile: str = DEFAULT_PROFILE.name,
    ) -> None:
        if engine not in ENGINES:
            raise ValueError(f"engine {engine!r}, wanted one of {', '.join(ENGINES)}")
        if btf is not None and engine != "none":
            raise ValueError(f"engine {engine!r} with another kernel's BTF: its structures are not here, wanted 'none'")
        self.engine = engine
        self.profile = profile_named(profile)
        self.require_signatures = require_signatures
        self.keyrings = Keyrings()
        self._known_store = known
        self._iterators: Any = None
        directory = default_directory() if cache else None
        self._cache = ObjectCache(directory) if directory is not None else None
        self._tiered = tiered
        self._tiers = Tiers()
        self.native = KernelHandle(cpus)
        self.symbols = Symbols()
        self._jit: Engine | None = None
        self.host: Host | None = None  # the machine that is shown, if one is
        self.follows = False
        self._following = threading.Lock()
        self.own_mounts: set[str] = set()  # directories of this machine that this kernel serves, not to be looked into
        self.last_mean_ns = 0.0  # of the last test run, finer than bpf_attr's whole ns
        self.maps: Published[MapObject] = Published(self.native, describe_map)
        self.progs: Published[ProgObject] = Published(self.native, describe_prog)
        self.links: Published[LinkObject] = Published(self.native, describe_link)
        self.btfs: Idr[BtfObject] = Idr()
        self.targets = Targets()
        self.on_link_update: list[Callable[[], None]] = []  # called once a link has another program
        self.sessions = itertools.count(1)
        # The sysctl: 0 lets ordinary users load a little, 1 and 2 nothing (1 for good, until the next boot).
        self.unprivileged_bpf_disabled = 2
        self.is_elsewhere = btf is not None
        if btf is None:
            with open(_VMLINUX, "rb", buffering=0) as file:
                btf = parse_btf(file.read())
        self.btf = BtfObject(btf.data, btf, "vmlinux", kernel=True)
        self.btf.id = self.btfs.add(self.btf)
        ok(lib.rt_kernel_types(self.native.ptr, btf.data, len(btf.data)), "the kernel's BTF")
        self.tracepoints = {row.name: Tracepoint(self.native) for row in TRACEPOINTS}
        self.functions = new_functions(self.native)
        flush = self.functions["bpf_rstat_flush"].places  # which css_rstat_flush() calls without coming back to Python
        before, after = flush[uapi.BPF_TRACE_FENTRY].ptr, flush[uapi.BPF_TRACE_FEXIT].ptr
        lib.rt_kernel_rstat_hook(self.native.ptr, before, after)
        lib.rt_kernel_printk_hook(self.native.ptr, self.tracepoints["bpf_trace_printk"].ptr)
        self.namespaces = NamespaceSet(self.native)
        self.tasks = Tasks(self.native, self.namespaces)
        self.tasks.traced = self._traced
        self.cgroups = CgroupFs(self.native, self.tasks)
        lib.rt_kernel_registries(self.native.ptr, self.namespaces.pid[""].index.ptr, self.cgroups.index.ptr)
        self.idle = self.tasks.create_idle(self.cgroups.root)
        lib.rt_kernel_idle(self.native.ptr, self.idle.c)
        # What a tracepoint passes where a scenario says nothing of the registers: they are an object all the same.
        self.pt_regs = self.native.new("struct pt_regs")
        self.caller = InProcess()
        self.bpf = SimBpf(self, self.caller)
        self.upcalls = Upcalls(self)
        self.vfs = Vfs()
        self.security: Security | None = None  # made for the first program at a security hook
        self.cgroups.on_change.append(self._cgroup_event)
        self.cgroups.on_removal.append(self._forget_programs)
        self._mount()

    def _mount(self) -> None:
        root = self.vfs.root
        assert isinstance(root, RootFs)
        for name in ("proc", "sys", "tmp"):
            root.mkdir(self.caller, name, 0o755)
        self.sysfs = new_sysfs(("/fs/bpf", "/fs/cgroup", "/kernel/btf", "/kernel/bpfdump", "/kernel/tracing"))
        self.vfs.mount(self.caller, "/sys", self.sysfs)
        btf = self.sysfs_directory("/kernel/btf")
        btf.add("vmlinux", DataFile(btf, 0o444, self.btf.data))
        tracing = self.sysfs_directory("/kernel/tracing")
        tracing.add("trace_pipe", TracePipe(tracing, self.native))
        self.vfs.mount(self.caller, "/proc", new_procfs(self))
        self.sysfs_directory("/kernel").add("bpf_map", new_map_directories(self))
        self.dumpers = BpfDump(self._open_dumper)
        for row in ITER_TARGETS:
            self.dumpers.add_target(row)
        self.vfs.mount(self.caller, "/sys/kernel/bpfdump", self.dumpers.root)
        self._bpffs = new_bpffs(_map_text, self._open_link_pin)
        for name, prog in PRELOADED.items():
            self._bpffs.add(name, Preloaded(self._bpffs.fs(), functools.partial(self._preloaded, prog)))
        self.vfs.mount(self.caller, "/sys/fs/bpf", self._bpffs)
        self.vfs.mount(self.caller, "/sys/fs/cgroup", self.cgroups.root)

    def _preloaded(self, prog: str) -> LinkObject:
        """The link of one of the iterators that every bpffs shows: both are loaded by the first who reads one."""
        if self._iterators is None:
            from .preloaded import Iterators

            kernel = SimBpf(self, InProcess())
            self._iterators = Iterators().load(kernel), kernel.caller
            self._iterators[0].attach()
        made, owner = self._iterators
        link: LinkObject = owner.fds.get(made.links[prog].fd).object
        return link

    def sysfs_directory(self, path: str) -> KernfsDir:
        """A directory of sysfs, by its path below /sys."""
        at: Directory = self.sysfs
        for name in path.strip("/").split("/"):
            found = at.lookup(name)
            assert isinstance(found, KernfsDir), path
            at = found
        assert isinstance(at, KernfsDir)
        return at

    @classmethod
    def from_scenario(cls, path: str | Path, *, engine: str = "jit", cache: bool = True) -> Kernel:
        """A kernel with a scenario's cpus, cgroups and tasks. Raises UsageError naming what is wrong in the file."""
        return cls.from_loaded_scenario(load_scenario(path), engine=engine, cache=cache)

    @classmethod
    def from_loaded_scenario(cls, scenario: Scenario, *, engine: str = "jit", cache: bool = True) -> Kernel:
        kernel = cls(scenario.cpus, engine=engine, cache=cache)
        scenario.populate(kernel)
        return kernel

    @classmethod
    def from_host(cls, *, engine: str = "jit", cache: bool = True, follow: bool = False) -> Kernel:
        """A kernel with this machine's cgroups, tasks, sockets and routes. Raises OSError where it has no cgroup2.

        follow: they are looked at again whenever a file is opened. `host.unseen` says what could not be seen.
        """
        from .host import populate

        kernel = cls(engine=engine, cache=cache)
        kernel.host = populate(kernel)
        kernel.follows = follow
        return kernel

    def refresh(self) -> None:
        """Where the machine is followed: be what it is now."""
        if self.follows and self.host is not None:
            with self._following:
                self.host.refresh()

    # -- life ----------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close this process's fds, take every name away, and let go of the native kernel.

        What others still hold (an open file, an object, a thread in a program) stays valid until they drop it;
        everything new is refused with ENODEV or ENOENT. May be called again.
        """
        if self.native.closed:
            return
        self.caller.fds.close_all()
        if self._iterators is not None:
            self._iterators[0].close()
            self._iterators = None
        self.cgroups.shut_down()
        self._drop_names(self._bpffs)
        for prog in self.progs:
            prog.check_fault()
        lib.rt_kernel_printk_hook(self.native.ptr, ffi.NULL)
        for tracepoint in self.tracepoints.values():
            if not tracepoint.count:
                tracepoint.close()
        lib.rt_kernel_rstat_hook(self.native.ptr, ffi.NULL, ffi.NULL)
        for function in self.functions.values():
            function.close()
        self.vfs = Vfs()
        self.native.close()

    def _drop_names(self, directory: Directory) -> None:
        for name, inode in list(directory.children.items()):
            if isinstance(inode, Directory):
                self._drop_names(inode)
            directory.drop(name)

    def replace_btf(self, data: bytes, types: RawBtf) -> None:
        """The kernel's types, with more of them behind those that there were."""
        self.btf.data, self.btf.types = data, types
        ok(lib.rt_kernel_types(self.native.ptr, data, len(data)), "the kernel's BTF")
        self.bpf.types = None  # which the loader reads once
        btf = self.sysfs_directory("/kernel/btf")
        btf.remove("vmlinux")
        btf.add("vmlinux", DataFile(btf, 0o444, data))

    def add_target(self, name: str, c: str | type[ctypes.Structure], struct: str = "") -> AddedTarget:
        """A target of one's own: iterators (SEC("iter/NAME")), views and dumpers of it can be loaded from now on.

        c: the structure, as C declarations or as a ctypes.Structure; `struct` names it where that is not the target's
        name. Objects are added to what is returned, by number; they live in kernel memory and are walked natively.
        Views of them are pinned in /sys/kernel/NAME/NUMBER/. Raises EEXIST for a name that is taken, BtfError for bad C.
        """
        from .targets.added import add_target  # late: it reads C

        return add_target(self, name, c, struct)

    def use_security(self) -> Security:
        """The security hooks, which bpf(2) and the file systems ask from now on."""
        if self.security is None:
            from .lsm import Security

            self.security = self.vfs.security = Security(self)
        return self.security

    def caller_bpf(self, caller: Caller) -> SimBpf:
        """bpf(2) for another caller."""
        return SimBpf(self, caller)

    @functools.cached_property
    def sockets(self) -> Sockets:
        from .sockets import Sockets

        return Sockets(self.native)

    @functools.cached_property
    def routes(self) -> Routes:
        from .routes import Routes

        return Routes()

    # -- programs ------------------------------------------------------------------------------------

    @functools.cached_property
    def known(self) -> KnownPrograms:
        """Programs that were admitted once and that any caller may run."""
        from .known import KnownPrograms
        from .known_store import KnownStore

        return KnownPrograms(self, KnownStore(self._known_store) if self._known_store is not None else None)

    @property
    def jit(self) -> Engine:
        if self._jit is None:
            from bpfjit.jit.engine import Engine  # late: what is kept as native code is run without LLVM

            self._jit = Engine(cache=self._cache, tiers=self._tiers)
        return self._jit

    @functools.cached_property
    def kept(self) -> KeptPrograms | None:
        """Verdicts on disk; None where nothing is kept, or perf is to be told of all code that is made."""
        if (
            self._cache is None
            or self.engine != "jit"
            or self.profile is not DEFAULT_PROFILE
            or os.environ.get("BPFJIT_PERF")
        ):
            return None
        from .kept import KeptPrograms

        return KeptPrograms(self, self._cache)

    def revive(
        self,
        recipe: Recipe,
        verified: Verified,
        maps: tuple[MapObject, ...],
        own: ProgHandle,
        btf: BtfObject | None,
    ) -> Native | None:
        """Native code out of the cache; None where it is not there. Raises LoadError for what cannot be linked."""
        if self._cache is None:
            return None
        binding = self._binding_of(verified, maps, own, btf)
        native = recipe.revive(self._cache, binding, lambda: self.jit.optimised(verified, binding), tiered=self._tiered)
        if native is not None and not native.optimised:
            self._tiers.watch(native)
        return native

    def binding(
        self,
        maps: tuple[MapObject, ...],
        own: ProgHandle | None = None,
        btf: BtfObject | None = None,
        *,
        walks: bool = False,
    ) -> Binding:
        """The addresses behind a program's references. walks: an iterator's, which is handed elements of any map."""
        return Binding(
            self.symbols,
            tuple(m.native.addr for m in maps),
            tuple(m.native.direct for m in maps),
            lambda addr, size: any(m.native.owns(addr, size) for m in (self.maps if walks else self._reachable(maps))),
            lambda addr, size: (
                self.native.owns(addr, size) or any(m.native.addr <= addr < m.native.addr + 256 for m in self.maps)
            ),
            lambda addr: next((m.info() for m in self.maps if m.native.addr == addr), None),
            int(ffi.cast("uintptr_t", own.ptr)) if own is not None else 0,
            btf.own.address if btf is not None and btf.own is not None else lambda type_id: 0,
            tuple(m.native.user[0] if m.type.arena else 0 for m in maps),
        )

    def _reachable(self, maps: tuple[MapObject, ...]) -> Iterator[MapObject]:
        """Maps that a program may have in its hands: its own, and what maps of maps hold."""
        for m in maps:
            yield m
            if m.type.holds == "map":
                yield from {*m.held.values(), *m.ever_held}

    def _binding_of(
        self, verified: Verified, maps: tuple[MapObject, ...], own: ProgHandle, btf: BtfObject | None
    ) -> Binding:
        return self.binding(maps, own, btf, walks=verified.program.attach_type == uapi.BPF_TRACE_ITER)

    def missing(self, verified: Verified) -> list[str]:
        """The helpers that a program calls and that have no code here, as the disassembler names them."""
        return [f"bpf_{row.name}#{row.id}" for row in helpers_of(verified) if row.symbol not in self.symbols]

    def compile(self, verified: Verified, maps: tuple[MapObject, ...], own: ProgHandle, btf: BtfObject | None = None) -> Any:
        """Something that runs a verified program: native code, or the interpreter behind the same face. Raises ENOTSUPP."""
        if self.engine == "none":
            from .bpf.unrun import Unrun

            return Unrun(verified)
        missing = self.missing(verified)
        if missing:
            raise refuse(ENOTSUPP, f"program {verified.program.name}: {missing[0]} is not simulated yet")
        binding = self._binding_of(verified, maps, own, btf)
        if self.engine == "interp":
            from bpfjit.interp import Machine  # late: few ask for it

            return Machine(verified, binding)
        return self.jit.compile(verified, binding, tiered=self._tiered)

    def trace(self, target: ProgObject) -> int:
        """The entry of a program's code that lets its functions be traced, made and kept with the program."""
        binding = self._binding_of(target.verified, target.maps, target.own, target.btf)
        return int(target.native.keep(self.jit.traced(target.verified, binding)).entry("prog"))

    def _open_dumper(self, caller: Caller, prog: ProgObject, target: str, flags: int) -> OpenFile:
        from .dumpers import open_dumper

        return open_dumper(self, caller, prog, target, flags)

    def _open_link_pin(self, caller: Caller, link: LinkObject, flags: int) -> OpenFile:
        if isinstance(link, IterLink):
            return OpenIter(self, caller, link, flags)
        raise refuse(errno.EIO, f"a pinned link to {link.target} cannot be read")

    def fire(self, tracepoint: str, args: list[int], current: Any = None, repeat: int = 1) -> None:
        """Let a tracepoint happen: raw arguments (unsigned 64-bit), the task that runs, how often. Raises KeyError."""
        self.tracepoints[tracepoint].fire(args, current, repeat)
        for prog in self.progs:
            prog.check_fault()

    def run_cgroup(
        self,
        attach_type: int,
        cgroup: Cgroup,
        ctx: bytearray,
        current: Task | None = None,
        *,
        sock: Socket | None = None,
        optval: bytearray | None = None,
        retval: int = 0,
    ) -> int:
        """What programs attached to a cgroup (and above) make of an event there.

        ctx: the attach type's UAPI structure (struct bpf_sock_addr, …), which programs may change. sock: the socket that it
        is about (ctx.sk): where ctx tells of the socket, it tells what that is, and what programs set of it is set there.
        optval: what ctx.optval to optval_end is, written back. retval: what comes of it without programs (0, or -errno).

        Returns retval; -EPERM where a program forbids it, or what programs made it with bpf_set_retval() (of getsockopt:
        ctx.retval). Raises ValueError for a socket or optval that the attach type has no place for.
        """
        from .bpf import cgroup_run

        return cgroup_run.run(self, cgroup, attach_type, ctx, current, sock, optval, retval)

    def _traced(self, name: str, args: list[int], body: Callable[[], None]) -> None:
        """A kernel function that Python plays: it returns 0, or the negative errno that it raises."""
        refused: list[OSError] = []

        def run() -> int:
            try:
                body()
            except OSError as e:
                refused.append(e)
                return -(e.errno or 0)
            return 0

        self.functions[name].call(args, run)
        if refused:
            raise refused[0]
        for prog in self.progs if self.functions[name].count else ():
            prog.check_fault()

    def _forget_programs(self, cgroup: Cgroup) -> None:
        if cgroup.bpf:
            from .bpf import cgroup_attach

            cgroup_attach.forget(self, cgroup)

    def _cgroup_event(self, event: str, cgroup: Cgroup) -> None:
        """cgroup_mkdir and cgroup_rmdir happen with the directory: (cgroup, path)."""
        if not self.tracepoints[event].count:
            return
        self.fire_cgroup(event, cgroup)

    def fire_cgroup(self, tracepoint: str, cgroup: Cgroup, current: Any = None, repeat: int = 1) -> None:
        """fire() with the two arguments of the cgroup tracepoints: the cgroup, and its path as a string."""
        raw = os.fsencode(cgroup.path)
        path = self.native.string(raw)
        try:
            args = [int(ffi.cast("uintptr_t", cgroup.c)), int(ffi.cast("uintptr_t", path))]
            self.fire(tracepoint, args, current, repeat)
        finally:
            self.native.free(path, len(raw) + 1)


# What few kernels come to is imported when one does: most of a process's start is imports.


def _map_text(m: MapObject) -> bytes:
    from .bpf.show import map_text

    return map_text(m)


def load_scenario(path: str | Path) -> Scenario:
    from .scenario import load

    return load(path)
