"""LLVM IR -> native code in this process, through llvmlite: optimised, emitted as an object, linked (link.py)."""

from __future__ import annotations

import functools
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite
import llvmlite.binding as llvm
from llvmlite.binding.newpassmanagers import NewPassManager

from ..btf import RawBtf
from ..program import Binding, Verified
from . import source
from .cache import ObjectCache
from .emit import Emitter
from .image import functions, line_offsets, text
from .link import Image, Linked, addresses
from .native import Native
from .perf import Function, Perf
from .profile import Points, Profiled
from .recipe import Recipe
from .tiers import Tiers

CALL_CONVENTION = 3  # the version of what native code and runtime assume of each other


@functools.cache
def _configure() -> None:
    """What LLVM is set to once in a process.

    A choice is made without a branch only where that costs one instruction at most (LLVM would take four): what the data
    of packets chooses again and again the processor foresees, and a result that waits for both sides is late.
    """
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    llvm.initialize_native_asmparser()
    llvm.set_option("bpfjit", "-two-entry-phi-node-folding-threshold=1")


class Engine:
    """Compiles verified programs; one for each kernel.

    speed_level: LLVM's -O level. cache: where objects are kept. tiers: who watches what is not optimised yet.
    """

    def __init__(self, speed_level: int = 2, cache: ObjectCache | None = None, tiers: Tiers | None = None) -> None:
        _configure()
        self._quick_machine = _machine(0)
        self._layout = str(self._quick_machine.target_data)
        self.tiers = tiers if tiers is not None else Tiers()
        self.perf = Perf.from_environment()
        self.speed_level = speed_level
        self.cache = cache
        # Whatever beside its IR decides a program's code.
        self._identity = (
            str(CALL_CONVENTION),
            llvmlite.__version__,
            ".".join(map(str, llvm.llvm_version_info)),
            *_host(),
            str(speed_level),
        )

    @functools.cached_property
    def machine(self) -> Any:
        """The optimised code's target; who only ever runs the first tier's does not pay for it."""
        return _machine(self.speed_level)

    def ir(self, verified: Verified) -> str:
        """The program's LLVM IR before any optimisation."""
        return Emitter(verified).module("prog")

    def _module(self, text: str) -> Any:
        module = llvm.parse_assembly(text)
        module.triple = self._quick_machine.triple
        module.data_layout = self._layout
        return module

    def _optimise(self, module: Any) -> None:
        options = llvm.create_pipeline_tuning_options(speed_level=self.speed_level)
        builder = llvm.create_pass_builder(self.machine, options)
        _run(builder.getModulePassManager(), module, builder)

    def _simplify(self, module: Any) -> None:
        """What the first tier's code needs to be worth running: the stack's variables in registers."""
        builder = llvm.create_pass_builder(self._quick_machine, llvm.create_pipeline_tuning_options(speed_level=0))
        passes = llvm.create_new_module_pass_manager()
        passes.add_sroa_pass()
        _run(passes, module, builder)

    def _annotated(self, verified: Verified, *, quick: bool = False) -> Any:
        """The module after LLVM's passes, its instructions knowing the line records they come from (quick: first tier)."""
        emitter = Emitter(verified)
        ir = emitter.module("prog")
        module = self._module(source.annotate(emitter.quick(ir) if quick else ir, verified.program))
        if quick:
            self._simplify(module)
        else:
            self._optimise(module)
        return module

    def ir_listing(self, verified: Verified) -> str:
        """The program's optimised IR, C source lines between."""
        return source.ir_listing(str(self._annotated(verified)), verified.program)

    def asm_listing(self, verified: Verified, insn: Callable[[int], str] | None = None) -> str:
        """The program as assembly text of this machine, C source lines between, and BPF as `insn` spells an instruction."""
        return source.asm_listing(self.machine.emit_assembly(self._annotated(verified)), verified.program, insn)

    def _key(self, ir: str) -> str:
        return ObjectCache.key(*self._identity, ir) if self.cache is not None else ""

    def _quick_key(self, ir: str) -> str:
        return self._key("quick" + ir)

    def optimised(self, verified: Verified, binding: Binding) -> Linked:
        """The optimised code of a program whose first tier runs already."""
        emitter = Emitter(verified)
        return self._link(self._object(emitter.module("prog")), emitter, binding)

    def _object(self, ir: str, *, quick: bool = False) -> bytes:
        """The object of a module: from the cache, else compiled and put there."""
        key = self._quick_key(ir) if quick else self._key(ir)
        image = self.cache.get(key) if self.cache is not None else None
        if image is None:
            module = self._module(ir)
            if quick:
                self._simplify(module)
            else:
                self._optimise(module)
            image = bytes((self._quick_machine if quick else self.machine).emit_object(module))
            if self.cache is not None:
                self.cache.put(key, image)
        return image

    def image(self, verified: Verified) -> Image:
        """A verified program compiled, to be put into memory again and again."""
        emitter = Emitter(verified)
        data = self._object(emitter.module("prog"))
        return Image(data, tuple(emitter.symbols), emitter.function_names("prog"), emitter.tail_calls)

    def compile(self, verified: Verified, binding: Binding, *, tiered: bool = False) -> Native:
        """Native code of a verified program, its symbols bound to the addresses of `binding`.

        tiered: begin with code that is made at once, unless the optimised code is in the cache.
        """
        emitter = Emitter(verified)
        ir = emitter.module("prog")
        entries = ("prog_enter" if emitter.tail_calls else "prog", "prog")
        names = emitter.function_names("prog")
        quick = emitter.quick(ir)
        recipe = Recipe(self._key(ir), self._quick_key(quick), tuple(emitter.symbols), names, emitter.tail_calls)
        if not tiered or (self.cache is not None and self.cache.has(recipe.optimised)):
            return Native(self._link(self._object(ir), emitter, binding), entries, recipe=recipe)
        first = self._link(self._object(quick, quick=True), emitter, binding, entries)
        native = Native(first, entries, lambda: self._link(self._object(ir), emitter, binding), recipe=recipe)
        self.tiers.watch(native)
        return native

    def traced(self, verified: Verified, binding: Binding) -> Linked:
        """Code of a program whose functions others trace."""
        emitter = Emitter(verified, traced=True)
        return self._link(self._object(emitter.module("prog")), emitter, binding)

    def profiled(self, verified: Verified, binding: Binding) -> Profiled:
        """Native code that counts its executions and cycles, segment by segment."""
        points = Points(verified.program)
        emitter = Emitter(verified, points)
        module = self._module(emitter.module("prog"))
        self._optimise(module)
        image = bytes(self.machine.emit_object(module))
        return Profiled(self._link(image, emitter, binding), points.at, verified.program)

    def _link(self, image: bytes, emitter: Emitter, binding: Binding, gates: Sequence[str] = ()) -> Linked:
        code = Linked(image, addresses(emitter.symbols, binding), emitter.function_names("prog"), gates)
        if self.perf is not None:
            self.perf.add(self._functions(emitter, image, code.functions))
        return code

    def _functions(self, emitter: Emitter, image: bytes, extents: Sequence[tuple[int, int]]) -> list[Function]:
        """The program's functions as perf is told of them, with their lines where the image is the optimised one."""
        program, lines = emitter.program, list[tuple[int, int, str]]()
        if isinstance(program.btf, RawBtf):
            with_lines = bytes(self.machine.emit_object(self._annotated(emitter.verified)))
            base = extents[0][0] - functions(with_lines)["prog"][0]
            offsets = line_offsets(with_lines) if text(with_lines) == text(image) else {}
            for record, offset in sorted(offsets.items(), key=lambda item: item[1]):
                info = program.lines[record - 1]
                lines.append((base + offset, info.line, program.btf.string(info.file_name_off)))
        found = []
        for sub, (addr, size) in zip(emitter.facts.subprogs, extents, strict=True):
            name = f"bpf_prog_{program.name or 'unnamed'}" + (f".{sub.name}" if sub.start else "")
            if size:
                found.append(Function(name, addr, size, [line for line in lines if addr <= line[0] < addr + size]))
        return found

    def line_addresses(self, verified: Verified, native: Native) -> list[int]:
        """By line record, the address of the first code that comes from it; where none does, that of its function.

        The program is compiled once more, with a line table: asked for seldom.
        """
        program, subprogs = verified.program, verified.facts.subprogs
        quick = not native.optimised
        machine = self._quick_machine if quick else self.machine
        image = bytes(machine.emit_object(self._annotated(verified, quick=quick)))
        entry = functions(image)["prog"][0]
        emitter = Emitter(verified)
        ir = emitter.module("prog")
        same = text(image) == text(self._object(emitter.quick(ir) if quick else ir, quick=quick))
        offsets = line_offsets(image) if same else {}
        found = []
        for record, info in enumerate(program.lines, 1):
            index = bisect_right([s.start for s in subprogs], info.insn_off) - 1
            # A function begins where its first line does, whatever its prologue is attributed to.
            at = offsets.get(record) if info.insn_off > subprogs[index].start else None
            found.append(native.functions[0][0] - entry + at if at is not None else native.functions[index][0])
        return found


@functools.cache
def _host() -> tuple[str, str, str]:
    """Target, processor and its features: of this process, once."""
    target = llvm.Target.from_default_triple()
    return str(target.name), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


@functools.cache
def _machine(level: int) -> Any:
    """One for all engines of the process: LLVM only reads it, and llvmlite lets one thread in at a time."""
    _, cpu, features = _host()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=cpu,
        features=features,
        opt=level,
        reloc="pic",
        codemodel="small",
        jit=True,
    )


def _run(passes: Any, module: Any, builder: Any) -> None:
    try:
        passes.run(module, builder)
    finally:
        # llvmlite 0.50 never frees a pass manager by itself: ObjectRef's empty _dispose() hides this one, and
        # 48 KiB would stay behind.
        NewPassManager._dispose(passes)
