"""LLVM IR -> native code in this process, through llvmlite: optimised, emitted as an object, linked.

Each program has a JIT session of its own, which gives back all of its memory: one that is shared keeps 9 KiB for every
program ever linked (llvmlite 0.50, JITLink and RTDyld alike).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import llvmlite
import llvmlite.binding as llvm
from llvmlite.binding.newpassmanagers import NewPassManager

from ..program import Binding, Verified
from . import source
from .cache import ObjectCache
from .emit import Emitter

CALL_CONVENTION = 1  # the version of what native code and runtime assume of each other


class Native:
    """One program's native code: `addr` is its entry, valid until close()."""

    def __init__(self, session: Any, library: Any, addr: int, object_bytes: int) -> None:
        self._session = session
        self._library = library
        self.addr = addr
        self.object_bytes = object_bytes

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


class Engine:
    """Compiles verified programs; one for each kernel. `speed_level` is LLVM's -O level, `cache` where objects are kept."""

    def __init__(self, speed_level: int = 2, cache: ObjectCache | None = None) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
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
        session = llvm.create_lljit_compiler(self.machine, use_jit_link=True)
        library = builder.link(session, "prog")
        return Native(session, library, library["prog"], len(image))


def addresses(symbols: Mapping[str, str], binding: Binding) -> dict[str, int]:
    """Where each outside symbol of a module lies."""
    found = {}
    for name in symbols:
        if name.startswith("map"):
            index, _, values = name[3:].partition(".")
            found[name] = (binding.values if values else binding.maps)[int(index)]
        else:
            found[name] = binding.helpers[name]
    return found
