"""Random programs that verify by construction: the same seed gives the same program.

Numbers come out of a map's value (or a packet), so that nothing is known of them, and go back into it, so that
everything is seen: words 0-7 are the program's memory, 8-17 what the registers held at the end. r9 is its address all along.
"""

from __future__ import annotations

from random import Random

VALUE_BYTES = 144
_WORDS = 8
_STACK = 64
_ALU = ("+=", "-=", "*=", "/=", "s/=", "%=", "s%=", "|=", "&=", "^=", "<<=", ">>=", "s>>=", "=")
_CONDITIONS = ("==", "!=", ">", ">=", "<", "<=", "s>", "s>=", "s<", "s<=", "&")
_IMMEDIATES = (0, 1, -1, 2, 3, 7, -7, 31, 32, 63, 255, -256, 0x7FFFFFFF, -0x80000000, 0x12345678)
_SIZES = {8: 1, 16: 2, 32: 4, 64: 8}


class _Function:
    """The body of one function: `free` registers hold numbers that may be overwritten."""

    def __init__(self, program: Program, name: str, free: list[int], memory: list[tuple[str, int]]) -> None:
        self.program = program
        self.random = program.random
        self.name = name
        self.free = free
        self.memory = memory  # (base register, lowest offset): 64 bytes each that may be read and written
        self.lines: list[str] = []
        self.branches = 0

    def emit(self, *lines: str) -> None:
        self.lines += lines

    def reg(self) -> int:
        return self.random.choice(self.free)

    def place(self, size: int) -> str:
        base, low = self.random.choice(self.memory)
        # What a callee is handed may be its caller's stack, which wants to be aligned.
        step = self.random.choice((1, size)) if base == "r9" else size
        return f"({base} {low + self.random.randrange(0, 64 - size + 1, step):+d})"

    # -- kinds of statements -----------------------------------------------------------------------

    def alu(self) -> None:
        op, w, dst = self.random.choice(_ALU), self.random.choice("rw"), self.reg()
        if self.random.random() < 0.6:
            self.emit(f"{w}{dst} {op} {w}{self.reg()}")
            return
        imm = self.random.choice(_IMMEDIATES)
        if op in ("<<=", ">>=", "s>>="):
            imm = self.random.randrange(64 if w == "r" else 32)
        elif op in ("/=", "s/=", "%=", "s%="):
            imm = imm or 5
        self.emit(f"{w}{dst} {op} {imm}")

    def unary(self) -> None:
        w, dst, src = self.random.choice("rw"), self.reg(), self.reg()
        self.emit(
            self.random.choice(
                (
                    f"{w}{dst} = -{w}{dst}",
                    f"r{dst} = {self.random.choice(('le', 'be', 'bswap'))}{self.random.choice((16, 32, 64))} r{dst}",
                    f"{w}{dst} = (s{self.random.choice((8, 16))}){w}{src}",
                    f"r{dst} = (s32)r{src}",
                    f"r{dst} = {self.random.getrandbits(64):#x} ll",
                )
            )
        )

    def load(self) -> None:
        bits = self.random.choice((8, 16, 32, 64))
        sign = self.random.choice("su") if bits < 64 else "u"
        self.emit(f"r{self.reg()} = *({sign}{bits} *){self.place(_SIZES[bits])}")

    def store(self) -> None:
        bits = self.random.choice((8, 16, 32, 64))
        what = f"r{self.reg()}" if self.random.random() < 0.7 else str(self.random.choice(_IMMEDIATES))
        self.emit(f"*(u{bits} *){self.place(_SIZES[bits])} = {what}")

    def indexed(self) -> None:
        """An access at an offset that only the run knows."""
        base, low = self.memory[-1]
        bits, index, value = self.random.choice((8, 16, 32, 64)), self.reg(), self.reg()
        if base in ("r10", self.program.packet) or index == value:
            return  # each sum with a packet's address would want a comparison with its end
        size = _SIZES[bits]
        mask = 31 if base == "r9" else 32 - size
        self.emit(f"r{index} &= {mask}", f"r{index} += {base}")
        place = f"*(u{bits} *)(r{index} {low + self.random.randrange(0, 32 - size + 1, 1 if base == 'r9' else size):+d})"
        self.emit(f"{place} = r{value}" if self.random.random() < 0.5 else f"r{value} = {place}", f"r{index} = 3")

    def atomic(self) -> None:
        bits, src = self.random.choice((32, 64)), self.reg()
        base, low = self.random.choice([m for m in self.memory if m[0] != self.program.packet])
        place = f"({base} {low + self.random.randrange(0, 64, 8):+d})"
        wide = "64" if bits == 64 else ""
        kinds = [f"lock *(u{bits} *){place} {self.random.choice(('+=', '|=', '&=', '^='))} r{src}"]
        for name in ("fetch_add", "fetch_or", "fetch_and", "fetch_xor", "xchg"):
            kinds.append(f"r{src} = atomic{wide}_{name}((u{bits} *){place}, r{src})")
        if 0 in self.free:
            kinds.append(f"r0 = atomic{wide}_cmpxchg((u{bits} *){place}, r0, r{src})")
        self.emit(self.random.choice(kinds))

    def branch(self) -> None:
        if self.branches >= self.program.max_branches:
            return
        self.branches += 1
        label, w = self.program.label(), self.random.choice("rw")
        operand = f"{w}{self.reg()}" if self.random.random() < 0.5 else f"{self.random.choice(_IMMEDIATES) & 0xFFFFFFFF:#x}"
        self.emit(f"if {w}{self.reg()} {self.random.choice(_CONDITIONS)} {operand} goto {label}")
        self.some(self.random.randrange(1, 4), self.SIMPLE)
        if self.random.random() < 0.4:
            over = self.program.label()
            self.emit(f"{self.random.choice(('goto', 'gotol'))} {over}", f"{label}:")
            self.some(self.random.randrange(1, 4), self.SIMPLE)
            self.emit(f"{over}:")
        else:
            self.emit(f"{label}:")

    def loop(self) -> None:
        """A loop of a fixed number of rounds; its counter is a register that the body leaves alone."""
        if len(self.free) < 3:
            return
        counter, label = self.reg(), self.program.label()
        self.free = [r for r in self.free if r != counter]
        self.emit(f"r{counter} = {self.random.randrange(2, 7)}", f"{label}:")
        self.some(self.random.randrange(1, 5), self.SIMPLE)
        self.emit(f"r{counter} -= 1", f"if r{counter} != 0x0 goto {label}")
        self.free.append(counter)

    def call(self) -> None:
        callees = self.program.callees(self.name)
        if not callees:
            return
        self.arguments()
        base, low = self.random.choice([m for m in self.memory if m[0] != self.program.packet])
        self.emit(f"r1 = {base}", f"r1 += {low}", f"call {self.random.choice(callees)}")
        self.refresh()

    def callback(self) -> None:
        if self.name != "main":
            return
        self.emit(f"r1 = {self.random.randrange(1, 5)}", "r2 = &each", "r3 = r10", f"r3 += {-_STACK}", "r4 = 0")
        self.emit("call bpf_loop")
        self.program.uses_callback = True
        self.refresh()

    def aligned_update(self) -> None:
        """A word of memory changed: what is behind a pointer to a stack is reached aligned."""
        base, low = self.memory[0]
        place, r = f"*(u64 *)({base} {low + self.random.randrange(0, 64, 8):+d})", self.reg()
        self.emit(f"r{r} = {place}", f"r{r} {self.random.choice(('+=', '^=', '*='))} r{self.reg()}", f"{place} = r{r}")

    def arguments(self) -> None:
        for r in (2, 3, 4, 5):
            if r not in self.free:
                self.emit(f"r{r} = r{self.reg()}")

    def refresh(self) -> None:
        """After a call r1-r5 hold nothing: numbers again."""
        for r in range(1, 6):
            if r in self.free:
                base, low = self.memory[0]
                self.emit(f"r{r} = *(u64 *)({base} {low + 8 * r:+d})")

    SIMPLE = (alu, alu, alu, unary, load, store, indexed, atomic)
    ALL = (*SIMPLE, branch, branch, loop, call, callback)

    def some(self, count: int, kinds: tuple[object, ...]) -> None:
        for _ in range(count):
            self.random.choice(kinds)(self)  # type: ignore[operator]


class Program:
    """The program of one seed: `text` names its map as {fd}; with `packet` its memory is an XDP program's packet."""

    def __init__(self, seed: int, *, packet: bool = False) -> None:
        self.random = Random(seed)
        self.packet = "r9" if packet else ""  # no atomics there, nor is it handed to functions that have some
        self.labels = 0
        self.max_branches = 3
        self.uses_callback = False
        self.functions = [f"f{i}" for i in range(self.random.randrange(3))]
        main = self._main()
        bodies = [line for name in self.functions for line in self._function(name)]
        self.text = "\n".join([*main, *bodies, *(self._callback() if self.uses_callback else [])])

    def label(self) -> str:
        self.labels += 1
        return f"L{self.labels}"

    def callees(self, caller: str) -> list[str]:
        """Functions call only later ones: no recursion."""
        return self.functions[self.functions.index(caller) + 1 :] if caller in self.functions else self.functions

    def _main(self) -> list[str]:
        f = _Function(self, "main", [0, 1, 2, 3, 4, 5, 6, 7, 8], [("r10", -_STACK), ("r9", 0)])
        if self.packet:
            f.emit("r9 = *(u32 *)(r1 +0)", "r2 = *(u32 *)(r1 +4)", "r3 = r9", f"r3 += {VALUE_BYTES}", "r0 = 0")
            f.emit("if r3 > r2 goto out")
        else:
            f.emit("r9 = map[fd:{fd}][0]+0")
        for i in range(_WORDS):
            f.emit(f"r0 = *(u64 *)(r9 +{8 * i})", f"*(u64 *)(r10 {8 * i - _STACK:+d}) = r0")
        f.emit(*(f"r{r} = *(u64 *)(r9 +{8 * (r % _WORDS)})" for r in range(9)))
        f.some(self.random.randrange(6, 20), _Function.ALL)
        # A function or callback that nobody calls would be refused as unreachable.
        for name in [n for n in self.functions if not any(line == f"call {n}" for line in f.lines)]:
            f.emit("r1 = r10", f"r1 += {-_STACK}", f"call {name}")
            f.refresh()
        f.emit(*(f"*(u64 *)(r9 +{8 * (_WORDS + r)}) = r{r}" for r in range(9)))
        for i in range(_WORDS):
            f.emit(f"r1 = *(u64 *)(r10 {8 * i - _STACK:+d})", "r0 += r1", "r0 *= 31")
        f.emit(f"*(u64 *)(r9 +{8 * (_WORDS + 9)}) = r0", *(["out:"] if self.packet else []), "exit")
        return f.lines

    def _function(self, name: str) -> list[str]:
        """r1 is an address of 64 bytes, r2-r5 are numbers; r0 is one on return."""
        f = _Function(self, name, [0, 2, 3, 4, 5, 7, 8], [("r6", 0)])
        f.emit(f"{name}:", "r6 = r1", "r0 = r2", "r7 = r3", "r8 = r4")
        if self.random.random() < 0.6:
            f.memory.append(("r10", -_STACK))
            f.emit(*(f"*(u64 *)(r10 {8 * i - _STACK:+d}) = r{self.random.choice((2, 3, 4, 5))}" for i in range(_WORDS)))
        f.some(self.random.randrange(2, 8), (*_Function.SIMPLE, _Function.branch, _Function.loop, _Function.call))
        f.emit("exit")
        return f.lines

    def _callback(self) -> list[str]:
        """r1 is the round, r2 the address of main's 64 bytes of stack."""
        f = _Function(self, "each", [0, 1, 3, 4, 5], [("r2", 0)])
        f.emit("each:", "r0 = r1", "r3 = *(u64 *)(r2 +0)", "r4 = *(u64 *)(r2 +8)", "r5 = r1")
        for _ in range(self.random.randrange(1, 5)):
            self.random.choice((f.alu, f.unary, f.aligned_update))()
        f.emit("r0 &= 1" if self.random.random() < 0.3 else "r0 = 0", "exit")
        return f.lines
