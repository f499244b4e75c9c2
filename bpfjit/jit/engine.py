"""LLVM IR -> native code in this process, through llvmlite: optimised, emitted as an object, linked.

Each program has a JIT session of its own, which gives back all of its memory: one that is shared keeps 9 KiB for every
program ever linked (llvmlite 0.50, JITLink and RTDyld alike).
"""

from __future__ import annotations

import functools
from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

import llvmlite
import llvmlite.binding as llvm
from llvmlite.binding.newpassmanagers import NewPassManager

from ..program import Binding, Verified
from . import source
from .cache import ObjectCache
from .emit import Emitter
from .image import functions, line_offsets, text
from .memory import at

CALL_CONVENTION = 2  # the version of what native code and runtime assume of each other


class Native:
    """One program's native code: `addr` is its entry, valid until close(); `tail_addr` where a tail call enters it.

    functions: address and bytes of each function's code, (0, 0) for one that has none of its own (inlined, or never
    called).
    """

    def __init__(
        self,
        session: Any,
        library: Any,
        addr: int,
        tail_addr: int,
        object_bytes: int,
        functions: tuple[tuple[int, int], ...],
    ) -> None:
        self._session = session
        self._library = library
        self.addr = addr
        self.tail_addr = tail_addr
        self.object_bytes = object_bytes
        self.functions = functions

    def close(self) -> None:
        """Release the code; nobody may be running it."""
        library, self._library = self._library, None
        if library is not None:
            library.close()
            self._session.close()
            self.addr = 0

    def __del__(self) -> None:
        if getattr(self, "_library", None) is not None:
            self.close()


@functools.cache
def _configure() -> None:
    """What LLVM is set to once in a process.

    A choice is made without a branch only where that costs one instruction at most (LLVM would take four): what the data
    of packets chooses again and again the processor foresees, and a result that waits for both sides is late.
    """
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.set_option("bpfjit", "-two-entry-phi-node-folding-threshold=1")


class Engine:
    """Compiles verified programs; one for each kernel. `speed_level` is LLVM's -O level, `cache` where objects are kept."""

    def __init__(self, speed_level: int = 2, cache: ObjectCache | None = None) -> None:
        _configure()
        target = llvm.Target.from_default_triple()
        self.machine = target.create_target_machine(
            cpu=llvm.get_host_cpu_name(),
            features=llvm.get_host_cpu_features().flatten(),
            opt=speed_level,
            reloc="pic",
            codemodel="small",
            jit=True,
        )
        self.speed_level = speed_level
        self.cache = cache
        # Whatever beside its IR decides a program's code.
        self._identity = (
            str(CALL_CONVENTION),
            llvmlite.__version__,
            ".".join(map(str, llvm.llvm_version_info)),
            str(target.name),
            llvm.get_host_cpu_name(),
            llvm.get_host_cpu_features().flatten(),
            str(speed_level),
        )

    def ir(self, verified: Verified) -> str:
        """The program's LLVM IR before any optimisation."""
        return Emitter(verified).module("prog")

    def _module(self, text: str) -> Any:
        module = llvm.parse_assembly(text)
        module.triple = self.machine.triple
        module.data_layout = str(self.machine.target_data)
        return module

    def _optimise(self, module: Any) -> None:
        options = llvm.create_pipeline_tuning_options(speed_level=self.speed_level)
        builder = llvm.create_pass_builder(self.machine, options)
        passes = builder.getModulePassManager()
        try:
            passes.run(module, builder)
        finally:
            # llvmlite 0.50 never frees a pass manager by itself: ObjectRef's empty _dispose() hides this one, and
            # 48 KiB would stay behind.
            NewPassManager._dispose(passes)

    def _annotated(self, verified: Verified) -> Any:
        """The module after LLVM's passes, its instructions knowing the line records they come from."""
        module = self._module(source.annotate(self.ir(verified), verified.program))
        self._optimise(module)
        return module

    def ir_listing(self, verified: Verified) -> str:
        """The program's optimised IR, C source lines between."""
        return source.ir_listing(str(self._annotated(verified)), verified.program)

    def asm_listing(self, verified: Verified) -> str:
        """The program as assembly text of this machine, C source lines between."""
        return source.asm_listing(self.machine.emit_assembly(self._annotated(verified)), verified.program)

    def _object(self, ir: str) -> bytes:
        """The object of a module: from the cache, else compiled and put there."""
        key = ObjectCache.key(*self._identity, ir) if self.cache is not None else ""
        image = self.cache.get(key) if self.cache is not None else None
        if image is None:
            module = self._module(ir)
            self._optimise(module)
            image = bytes(self.machine.emit_object(module))
            if self.cache is not None:
                self.cache.put(key, image)
        return image

    def compile(self, verified: Verified, binding: Binding) -> Native:
        """Native code of a verified program, its symbols bound to the addresses of `binding`."""
        emitter = Emitter(verified)
        image = self._object(emitter.module("prog"))
        builder = llvm.JITLibraryBuilder().add_object_img(image)
        for name, addr in addresses(emitter.symbols, binding).items():
            builder.import_symbol(name, addr)
        builder.export_symbol("prog")
        if emitter.tail_calls:
            builder.export_symbol("prog_enter")
        session = llvm.create_lljit_compiler(self.machine, use_jit_link=True)
        library = builder.link(session, "prog")
        addr, code = library["prog"], functions(image)
        places = (code.get(emitter.function_name("prog", i)) for i in range(len(verified.facts.subprogs)))
        base = addr - code["prog"][0]
        enter = library["prog_enter"] if emitter.tail_calls else addr
        extents = tuple((base + at[0], at[1]) if at else (0, 0) for at in places)
        return Native(session, library, enter, addr, len(image), extents)

    def line_addresses(self, verified: Verified, native: Native) -> list[int]:
        """By line record, the address of the first code that comes from it; where none does, that of its function.

        The program is compiled once more, with a line table: asked for seldom.
        """
        program, subprogs = verified.program, verified.facts.subprogs
        image = bytes(self.machine.emit_object(self._annotated(verified)))
        entry = functions(image)["prog"][0]
        same = text(image) == text(self._object(self.ir(verified)))
        offsets = line_offsets(image) if same else {}
        found = []
        for record, info in enumerate(program.lines, 1):
            index = bisect_right([s.start for s in subprogs], info.insn_off) - 1
            # A function begins where its first line does, whatever its prologue is attributed to.
            at = offsets.get(record) if info.insn_off > subprogs[index].start else None
            found.append(native.tail_addr - entry + at if at is not None else native.functions[index][0])
        return found


def addresses(symbols: Mapping[str, str], binding: Binding) -> dict[str, int]:
    """Where each outside symbol of a module lies."""
    found = {}
    for name in symbols:
        if name == "rt_this_cpu":  # no address: an offset from the thread's own
            found[name] = at("cpu") % (1 << 64)
        elif name.startswith("map"):
            index, _, values = name[3:].partition(".")
            found[name] = (binding.values if values else binding.maps)[int(index)]
        else:
            found[name] = binding.helpers[name]
    return found
