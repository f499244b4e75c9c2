"""Random plausible programs, judged by our verifier and by Linux's on the same bytes.

In the suite a few hundred run (test_verdicts.py). A longer run, one line for every difference, minimised:

    python tests/differential/verdicts.py --count 20000 --seed 1 [--only unsound] [--type xdp]

"unsound" is what we accept and Linux rejects, "timid" what we reject and Linux accepts. Exit 1 if anything is unsound.
"""

from __future__ import annotations

import argparse
import errno
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "verifier"))

from bpf_text import assemble
from judges import MAPS, Case, Live, Verdict, live_or_reason, ours
from program_btf import program_btf
from test_verdicts_of_cases import ids
from walks import difference

from bpfjit.btf import Btf

TYPES = ("socket_filter", "xdp", "sched_cls", "raw_tracepoint", "syscall")
_OPS = ("+=", "-=", "*=", "|=", "&=", "^=", "<<=", ">>=", "s>>=", "/=", "%=")
_JUMPS = ("==", "!=", ">", ">=", "<", "<=", "s>", "s>=", "s<", "s<=", "&")
_EDGES = (0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 63, 64, 127, 255, 256, -1, -2, -8, -16, 0x7FFFFFFF, -0x80000000, 0xFFFF)
_VALUES = ("array", "big")
_SCALARS = (0, 2, 3, 4, 5, 7, 8)


@dataclass
class Maker:
    """Writes one program: `kinds` is what each register should hold by now, in straight-line order."""

    rng: random.Random
    type: str
    lines: list[str] = field(default_factory=list)
    tail: list[str] = field(default_factory=list)
    kinds: dict[int, str] = field(default_factory=dict)
    spilled: dict[int, str] = field(default_factory=dict)
    labels: int = 0
    depth: int = 0

    def say(self, *lines: str) -> None:
        self.lines += lines

    def label(self) -> str:
        self.labels += 1
        return f"l{self.labels}"

    def imm(self) -> int:
        r = self.rng
        return r.choice(_EDGES) if r.random() < 0.8 else r.randint(-(1 << 31), (1 << 31) - 1)

    def scalar(self) -> int:
        """A register that holds a number; makes one where there is none."""
        found = [i for i, k in self.kinds.items() if k == "scalar"]
        return self.rng.choice(found) if found else self.number()

    def number(self) -> int:
        reg, r = self.rng.choice(_SCALARS), self.rng
        if r.random() < 0.4:
            self.call(r.choice(("get_prandom_u32", "ktime_get_ns")))
            self.say(f"r{reg} = r0") if reg else None
        elif r.random() < 0.5 and self.type != "raw_tracepoint":
            self.say(f"r{reg} = *(u32 *)(r6 + {8 if self.type != 'xdp' else 12})")
        else:
            self.say(f"r{reg} = {self.imm()}")
        self.kinds[reg] = "scalar"
        return reg

    def call(self, name: str) -> None:
        self.say(f"call {name}")
        for i in range(1, 6):
            self.kinds.pop(i, None)
        self.kinds[0] = "scalar"

    def pointer(self) -> tuple[int, str]:
        """A register that points to something of a size, and what: fp or a map's name."""
        r = self.rng
        found = [(i, k) for i, k in self.kinds.items() if k in ("fp", *_VALUES, "hash48")]
        if found and r.random() < 0.6:
            return r.choice(found)
        reg = r.choice((2, 3, 4, 5, 9))
        if r.random() < 0.3:
            self.say(f"r{reg} = r10", f"r{reg} += {-8 * r.randint(1, 4)}")
            self.kinds[reg] = "fp"
        else:
            name = r.choice(_VALUES)
            self.say(f"r{reg} = value[{name}]" + (f" + {r.randint(0, 12)}" if r.random() < 0.3 else ""))
            self.kinds[reg] = name
        return reg, self.kinds[reg]


Step = Callable[[Maker], None]


def arithmetic(m: Maker) -> None:
    r, dst = m.rng, m.scalar()
    w = r.choice("rrw")
    kind = r.random()
    if kind < 0.08:
        m.say(f"{w}{dst} = -{w}{dst}")
    elif kind < 0.16:
        m.say(f"{w}{dst} = ({r.choice(('s8', 's16'))}) {w}{m.scalar()}")
    elif kind < 0.2:
        m.say(f"r{dst} = {r.choice(('be', 'le', 'bswap'))}{r.choice((16, 32, 64))} r{dst}")
    elif kind < 0.45:
        m.say(f"{w}{dst} {r.choice(_OPS[:6])} {w}{m.scalar()}")
    else:
        op = r.choice(_OPS)
        imm = r.randint(0, 31 if w == "w" else 63) if "<<" in op or ">>" in op else m.imm()
        m.say(f"{w}{dst} {op} {imm or 1}")


def copy(m: Maker) -> None:
    src, dst = m.scalar(), m.rng.choice(_SCALARS)
    m.say(f"{m.rng.choice('rrw')}{dst} = {m.rng.choice('r')}{src}".replace(f"w{dst} = r", f"w{dst} = w"))
    m.kinds[dst] = "scalar"


def mask(m: Maker) -> None:
    m.say(f"{m.rng.choice('rrw')}{m.scalar()} &= {m.rng.choice((1, 3, 7, 8, 15, 31, 255))}")


def bound(m: Maker) -> None:
    r, w = m.rng, m.rng.choice("rrw")
    other = f"{w}{m.scalar()}" if r.random() < 0.25 else str(m.imm())
    m.say(f"if {w}{m.scalar()} {r.choice(_JUMPS)} {other} goto out")


def narrow(m: Maker) -> None:
    """The usual pair of bounds checks, at times off by one."""
    reg, top = m.scalar(), m.rng.choice((7, 8, 15, 16, 255, 256))
    w = m.rng.choice("rrrw")
    m.say(f"if {w}{reg} {m.rng.choice(('>', '>=', 's>', 's>='))} {top} goto out")
    if m.rng.random() < 0.5:
        m.say(f"if {w}{reg} s< {m.rng.choice((0, 0, 0, -1, 1))} goto out")


def skip(m: Maker) -> None:
    """A branch around a few steps."""
    if m.depth > 2:
        return
    label, w = m.label(), m.rng.choice("rrw")
    m.say(f"if {w}{m.scalar()} {m.rng.choice(_JUMPS)} {m.imm()} goto {label}")
    m.depth += 1
    for _ in range(m.rng.randint(1, 3)):
        m.rng.choice(_SIMPLE)(m)
    m.depth -= 1
    m.say(f"{label}:")


def spill(m: Maker) -> None:
    r = m.rng
    off = -8 * r.randint(1, 4)
    if r.random() < 0.3:
        reg, kind = m.pointer()
        size = "u64"
    else:
        reg, kind = m.scalar(), "scalar"
        size = r.choice(("u64", "u64", "u64", "u32", "u16", "u8"))
    if r.random() < 0.1:
        m.say(f"*({size} *)(r10 {off:+d}) = {m.imm()}")
    else:
        m.say(f"*({size} *)(r10 {off:+d}) = r{reg}")
    m.spilled[off] = kind


def fill(m: Maker) -> None:
    r = m.rng
    if not m.spilled:
        return spill(m)
    off = r.choice(list(m.spilled))
    kind = m.spilled[off]
    reg = r.choice((2, 3, 4, 5, 7, 8))
    size = "u64" if kind != "scalar" or r.random() < 0.6 else r.choice(("u32", "u16", "u8", "s32", "s8"))
    within = r.choice((0, 0, 0, 4, 1)) if size not in ("u64",) else 0
    within -= within % {"u32": 4, "s32": 4, "u16": 2}.get(size, 1)
    m.say(f"r{reg} = *({size} *)(r10 {off + within:+d})")
    m.kinds[reg] = kind
    return None


def clobber(m: Maker) -> None:
    m.say(f"*({m.rng.choice(('u8', 'u16', 'u32'))} *)(r10 {-4 * m.rng.randint(1, 8):+d}) = {m.imm()}")


def index(m: Maker) -> None:
    """Pointer plus number, and an access near the end."""
    r = m.rng
    p, kind = m.pointer()
    s = m.scalar()
    if r.random() < 0.75:
        m.say(f"r{s} &= {r.choice((1, 3, 7, 8, 15))}" if r.random() < 0.6 else f"if r{s} > {r.choice((7, 15))} goto out")
    q = r.choice([i for i in (2, 3, 4, 5) if i != s])
    m.say(f"r{q} = r{p}", f"r{q} {r.choice(('+=', '+=', '+=', '+=', '+=', '-='))} r{s}")
    m.kinds[q] = "moved"
    access(m, q, kind)


def access(m: Maker, p: int | None = None, kind: str = "") -> None:
    r = m.rng
    if p is None:
        p, kind = m.pointer()
    size = r.choice((1, 1, 2, 4, 8))
    top = 0 if kind == "fp" else MAPS[kind].value
    off = r.choice((0, 0, 0, 0, 0, 1, 8, top - size, top - size, top - size + 1, -1, top - 8))
    if kind == "fp":
        off = -off if off > 0 else off
        off -= off % size
    text = f"*(u{size * 8} *)(r{p} {off:+d})"
    kinds = r.random()
    if kinds < 0.5:
        dst = r.choice((0, 3, 7))
        m.say(f"r{dst} = {text}")
        m.kinds[dst] = "scalar"
    elif kinds < 0.7:
        m.say(f"{text} = r{m.scalar()}")
    elif kinds < 0.85:
        m.say(f"{text} = {m.imm()}")
    elif size >= 4:
        m.say(f"lock {text} {r.choice(('add', 'fetch_add', 'xchg', 'or', 'cmpxchg'))} r{m.scalar()}")


def lookup(m: Maker) -> None:
    r = m.rng
    name = r.choice(("hash48", "many", "hash4", "array"))
    m.say(f"*(u32 *)(r10 - {r.choice((4, 8, 16))}) = {r.choice((0, 1, 7, 8))}")
    at = m.lines[-1].split(")")[1].split("- ")[1]
    m.spilled.pop(-int(at) // 8 * 8, None)
    m.say("r2 = r10", f"r2 += -{at}", f"r1 = map[{name}]")
    m.call("map_lookup_elem")
    if r.random() < 0.3:
        m.say("*(u64 *)(r10 - 24) = r0")
    if r.random() < 0.85:
        m.say(f"if r0 {r.choice(('==', '==', '==', '!=', '>'))} 0 goto {r.choice(('out', 'out', '+1'))}")
    if r.random() < 0.3:
        m.say("r0 = *(u64 *)(r10 - 24)")
    access(m, 0, name)
    if m.kinds.get(0) != "scalar" or r.random() < 0.6:
        m.say("r0 = 0")
    m.kinds[0] = "scalar"


def helper(m: Maker) -> None:
    r = m.rng
    size = m.scalar()
    if r.random() < 0.7:
        m.say(f"r{size} &= {r.choice((7, 15, 16))}")
    if r.random() < 0.7:
        m.say(f"r{size} += 1")
    off = -8 * r.randint(1, 4)
    m.say(f"r2 = r{size}", *((f"r1 = value[{r.choice(_VALUES)}]",) if r.random() < 0.5 else ("r1 = r10", f"r1 += {off}")))
    if m.type == "raw_tracepoint" and r.random() < 0.6:
        m.say("r3 = 0")
        m.call(r.choice(("probe_read_kernel", "probe_read_kernel_str")))
    else:
        m.call("get_current_comm")


def loop(m: Maker) -> None:
    if m.depth:
        return
    r, label = m.rng, m.label()
    reg = r.choice((7, 8))
    m.say(f"r{reg} = {r.choice((0, 0, 1))}", f"{label}:")
    m.depth += 3
    for _ in range(r.randint(0, 3)):
        r.choice((access, copy, spill, fill, arithmetic))(m)
    m.depth -= 3
    if r.random() < 0.5:
        p, kind = m.pointer()
        m.say(f"r4 = r{p}", f"r4 += r{reg}", f"r5 = *(u8 *)(r4 {'-16' if kind == 'fp' else '+0'})")
    test = f"if {r.choice('rrw')}{reg} {r.choice(('<', '<=', '!=', 's<'))} {r.choice((4, 8, 15, 16))} goto {label}"
    m.say(f"r{reg} += {r.choice((1, 1, 2))}", test)
    m.kinds = {i: k for i, k in m.kinds.items() if i in (6, 9, reg)}
    m.kinds[reg] = "scalar"


_BODIES = (
    ("r0 = r1", "exit"),
    ("r0 = r1", "r0 &= 15", "exit"),
    ("r0 = *(u64 *)(r2 + 0)", "exit"),
    ("*(u64 *)(r2 + 0) = r1", "r0 = 0", "exit"),
    ("*(u8 *)(r2 + 1) = 3", "r0 = r1", "exit"),
    ("r0 = 1", "if r1 > 15 goto +1", "r0 = r1", "exit"),
    ("r6 = r2", "call get_prandom_u32", "*(u64 *)(r6 + 8) = r0", "exit"),
    ("r0 = r2", "exit"),
    ("*(u64 *)(r10 - 8) = r1", "r0 = *(u32 *)(r10 - 8)", "exit"),
)


def function(m: Maker) -> None:
    r, name = m.rng, f"f{len(m.tail)}"
    s = m.scalar()
    p, _ = m.pointer()
    if s != p and p != 1:
        m.say(f"r1 = r{s}", f"r2 = r{p}")
        m.say(f"call fn {name}")
        body = r.choice(_BODIES)
        m.tail += [f"{name}:", *body]
        for i in range(1, 6):
            m.kinds.pop(i, None)
        m.kinds[0] = "moved" if body == _BODIES[7] else "scalar"
        m.spilled.clear() if r.random() < 0.5 else None


def packet(m: Maker) -> None:
    """data + n against data_end, in any shape."""
    r = m.rng
    if m.type not in ("xdp", "sched_cls"):
        return
    data, end = (0, 4) if m.type == "xdp" else (76, 80)
    n = r.choice((1, 8, 14, 16))
    m.say(f"r2 = *(u32 *)(r6 + {data})", f"r3 = *(u32 *)(r6 + {end})", "r4 = r2")
    if r.random() < 0.4:
        s = r.choice((7, 8, 0))
        if m.kinds.get(s) == "scalar":
            m.say(f"r{s} &= {r.choice((7, 255, 65535))}" if r.random() < 0.8 else f"r{s} >>= 60", f"r4 += r{s}", "r2 = r4")
    m.say(f"r4 += {n}")
    op = r.choice((">", ">=", "<", "<="))
    first, second = ("r4", "r3") if r.random() < 0.5 else ("r3", "r4")
    good = r.random() < 0.9
    if (op in (">", ">=")) == ((first == "r4") == good):
        m.say(f"if {first} {op} {second} goto out")
    else:
        label = m.label()
        m.say(f"if {first} {op} {second} goto {label}", "goto out", f"{label}:")
    if m.type == "xdp" and r.random() < 0.1:
        m.say("r1 = r6", "r2 = 0", "call xdp_adjust_head")
    size = r.choice((1, 2, 4, 8))
    size = min(size, n) if r.random() < 0.9 else size
    off = r.choice((0, 0, 0, n - size, n - size, n - size + 1, max(n - size - 1, 0)))
    if r.random() < 0.8:
        m.say(f"r5 = *(u{size * 8} *)(r2 {off:+d})")
    else:
        m.say(f"*(u{size * 8} *)(r2 {off:+d}) = 1", "r5 = 0")
    m.kinds |= {2: "pkt", 3: "pkt_end", 4: "pkt", 5: "scalar"}


_ROUNDS = (
    ("r0 = 0", "exit"),
    ("r0 = 1", "exit"),
    ("r0 = 2", "exit"),
    ("*(u64 *)(r2 - 8) = r1", "r0 = 0", "exit"),
    ("r3 = *(u64 *)(r2 - 8)", "r3 += 1", "*(u64 *)(r2 - 8) = r3", "r0 = 0", "exit"),
    ("if r1 > 3 goto +2", "r0 = 0", "exit", "r0 = 1", "exit"),
    ("r4 = value[big]", "if r1 > 15 goto +2", "r4 += r1", "*(u8 *)(r4 + 240) = r1", "r0 = 0", "exit"),
    ("call get_prandom_u32", "r0 &= 1", "exit"),
)
_ELEMENTS = (
    ("r0 = 0", "exit"),
    ("r5 = *(u32 *)(r2 + 0)", "*(u64 *)(r3 + 40) = r5", "r0 = 0", "exit"),
    ("*(u64 *)(r3 + 41) = 1", "r0 = 0", "exit"),
    ("*(u32 *)(r2 + 0) = 1", "r0 = 0", "exit"),
    ("r5 = *(u64 *)(r3 + 0)", "*(u64 *)(r4 - 16) = r5", "r0 = r5", "r0 &= 1", "exit"),
)


def callback(m: Maker) -> None:
    """bpf_loop() or a walk of a map, whose callback is handed a piece of this stack."""
    r, name = m.rng, f"c{len(m.tail)}"
    m.say("*(u64 *)(r10 - 8) = 0", "*(u64 *)(r10 - 16) = 0") if r.random() < 0.8 else None
    if r.random() < 0.6:
        count = "r1 = " + str(r.choice((0, 1, 2, 5, 100))) if r.random() < 0.6 else f"r1 = r{m.scalar()}"
        m.say(count, f"r2 = func[{name}]", "r3 = r10", "r4 = 0", "call loop")
        m.tail += [f"{name}:", *r.choice(_ROUNDS)]
    else:
        m.say(
            f"r1 = map[{r.choice(('many', 'hash48'))}]", f"r2 = func[{name}]", "r3 = r10", "r4 = 0", "call for_each_map_elem"
        )
        m.tail += [f"{name}:", *r.choice(_ELEMENTS)]
    for i in range(1, 6):
        m.kinds.pop(i, None)
    m.kinds[0] = "scalar"
    m.spilled[-8] = m.spilled[-16] = "scalar"


def rounds(m: Maker) -> None:
    """A callback that writes one of three places a round: which of them can have been written after so many rounds?"""
    r, name = m.rng, f"c{len(m.tail)}"
    slots = (-8, -16, -24)
    m.say(*(f"*(u64 *)(r10 {at:+d}) = 7" for at in slots))
    m.say(f"r1 = {r.choice((1, 2, 2, 3))}", f"r2 = func[{name}]", "r3 = r10", "r4 = 0", "call loop")
    for at in r.sample(slots, 3):
        m.say(f"r1 = *(u64 *)(r10 {at:+d})", f"if r1 != {r.choice((42, 42, 7))} goto out")
    m.say("r0 = *(u64 *)(r10 + 8)" if r.random() < 0.7 else "r0 = 0")
    first, second, third = r.sample(slots, 3)
    m.tail += [
        f"{name}:",
        "r9 = r2",
        "call get_prandom_u32",
        "r1 = r0",
        "r0 = 0",
        "if r1 == 1 goto +3",
        "if r1 == 2 goto +4",
    ]
    for at in (first, second, third):
        m.tail += [f"*(u64 *)(r9 {at:+d}) = 42", "exit"]
    for i in range(1, 6):
        m.kinds.pop(i, None)
    m.kinds[0] = m.spilled[-8] = m.spilled[-16] = m.spilled[-24] = "scalar"


def deep(m: Maker) -> None:
    """Two ways leave different things far down the stack; what is read there matters on each."""
    r, at, far, join = m.rng, -8 * m.rng.randint(30, 64), m.label(), m.label()
    good = r.choice(("0", "8", "value[array]"))
    m.say("call get_prandom_u32", f"r1 = {good}", f"if r0 == {m.imm()} goto {far}", f"goto {join}")
    m.say(f"{far}:", f"r1 = {r.choice((0, 8, 15, 16, 100))}", f"{join}:", f"*(u64 *)(r10 {at:+d}) = r1")
    m.say(*("call get_prandom_u32",) * r.randint(2, 9))
    if r.random() < 0.4:
        m.say(f"*(u64 *)(r10 {-8 * r.randint(30, 64):+d}) = 0")
    m.say(f"r1 = *(u64 *)(r10 {at:+d})")
    m.say(*(("r2 = value[array]", "r2 += r1") if good[0] != "v" else ("r2 = r1",)), "r0 = *(u8 *)(r2 + 0)")
    for i in range(1, 6):
        m.kinds.pop(i, None)
    m.kinds[0] = "scalar"


def numbers(m: Maker) -> None:
    """An open-coded iterator; at times the check or the end of it is forgotten."""
    if m.depth:
        return
    r, again, done = m.rng, m.label(), m.label()
    at = ("r1 = r10", "r1 += -48")
    m.say(
        *at, f"r2 = {r.choice((0, 0, -1))}", f"r3 = {r.choice((0, 3, 16))}", "call kfunc bpf_iter_num_new", f"{again}:", *at
    )
    m.say("call kfunc bpf_iter_num_next")
    if r.random() < 0.95:
        m.say(f"if r0 == 0 goto {done}")
    m.say("r7 = *(u32 *)(r0 + 0)")
    m.kinds = {i: k for i, k in m.kinds.items() if i in (6, 8, 9)} | {7: "scalar"}
    m.depth += 3
    for _ in range(r.randint(0, 2)):
        r.choice((access, copy, spill, fill, arithmetic))(m)
    m.depth -= 3
    m.say(f"goto {again}", f"{done}:")
    if r.random() < 0.95:
        m.say(*at, "call kfunc bpf_iter_num_destroy")
    m.kinds = {i: k for i, k in m.kinds.items() if i in (6, 9)}


def update(m: Maker) -> None:
    r = m.rng
    m.say(f"*(u32 *)(r10 - 4) = {r.choice((0, 1, 9))}", f"*(u64 *)(r10 - {r.choice((16, 16, 24))}) = r{m.scalar()}")
    m.say(f"r1 = map[{r.choice(('hash4', 'hash4', 'hash48'))}]", "r2 = r10", "r2 += -4", "r3 = r10", "r3 += -16", "r4 = 0")
    m.call(r.choice(("map_update_elem", "map_update_elem", "map_delete_elem")))
    m.spilled.clear()


def reserve(m: Maker) -> None:
    """Memory of a ring buffer, written and given back (or not)."""
    r, size = m.rng, m.rng.choice((8, 16))
    m.say("r1 = map[ringbuf]", f"r2 = {size}", "r3 = 0", "call ringbuf_reserve")
    if r.random() < 0.93:
        m.say("if r0 == 0 goto out")
    m.say(f"*(u64 *)(r0 + {r.choice((0, 0, size - 8, size - 7))}) = {m.imm()}")
    if r.random() < 0.93:
        m.say("r1 = r0", "r2 = 0", f"call {r.choice(('ringbuf_submit', 'ringbuf_discard'))}", "r0 = 0")
    for i in range(1, 6):
        m.kinds.pop(i, None)
    m.kinds[0] = "scalar"


_BORROWERS = (
    ("*(u64 *)(r1 + 0) = r2", "r0 = 0", "exit"),
    ("*(u32 *)(r1 + 0) = r2", "r0 = *(u32 *)(r1 + 0)", "exit"),
    ("r0 = *(u64 *)(r1 + 0)", "exit"),
    ("*(u64 *)(r1 + 0) = r10", "r0 = 0", "exit"),
    ("*(u64 *)(r10 - 8) = r1", "r1 = *(u64 *)(r10 - 8)", "*(u8 *)(r1 + 1) = 7", "r0 = r2", "exit"),
    ("r1 += r2", "*(u8 *)(r1 + 0) = 1", "r0 = 0", "exit"),
)


def borrow(m: Maker) -> None:
    """A function is handed a place of this stack."""
    r, name, off = m.rng, f"b{len(m.tail)}", -8 * m.rng.randint(1, 4)
    s = m.scalar()
    m.say(f"r{s} &= 7") if r.random() < 0.5 else None
    m.say(f"r2 = r{s}", "r1 = r10", f"r1 += {off}", f"call fn {name}")
    m.tail += [f"{name}:", *r.choice(_BORROWERS)]
    for i in range(1, 6):
        m.kinds.pop(i, None)
    m.kinds[0] = m.spilled[off] = "scalar"


_SIMPLE: tuple[Step, ...] = (arithmetic, arithmetic, copy, mask, bound, narrow, spill, fill, clobber, index, access)
_CALLS: tuple[Step, ...] = (callback, rounds, deep, numbers, update, reserve, borrow)
_ALL: tuple[Step, ...] = (*_SIMPLE, index, skip, skip, lookup, helper, loop, function, packet, packet, *_CALLS)


def make(seed: int, type_: str | None = None) -> tuple[str, str]:
    """The program type and text of one program."""
    rng = random.Random(seed)
    m = Maker(rng, type_ or rng.choice(TYPES))
    m.say("r6 = r1", "if r1 == 0 goto out")
    m.number()
    for _ in range(rng.randint(2, 9)):
        rng.choice(_ALL)(m)
    m.say(*(("r0 = 0",) if rng.random() < 0.8 else ()), "exit", "out:", "r0 = 0", "exit", *m.tail)
    return m.type, "\n".join(m.lines)


def case_of(type_: str, text: str, btf: Btf | None = None) -> Case:
    """The program; `btf`: the kernel's types, by which kernel functions are named."""
    code = assemble(text, id_of=ids(btf)) if btf is not None else assemble(text)
    types, funcs, _ = program_btf(code, {}, []) if code.functions or "func[" in text else (b"", (), ())
    return Case(type_, tuple(code.insns), code.maps, btf=types, funcs=funcs)


@dataclass(frozen=True)
class Difference:
    seed: int
    type: str
    text: str
    mine: Verdict
    theirs: Verdict

    @property
    def kind(self) -> str:
        return "unsound" if self.mine.ok else "timid"

    def __str__(self) -> str:
        one_line = "; ".join(self.text.split("\n")).replace(":;", ":")
        said = self.theirs.reason if self.mine.ok else self.mine.reason
        return f"{self.kind} seed {self.seed} {self.type}: {said}\n    {one_line}"


def compare(live: Live, seed: int, type_: str, text: str) -> Difference | None:
    case = case_of(type_, text, live.btf)
    mine, theirs = ours(case, live.btf, 0), live.judge(case, 0)
    if mine.ok == theirs.ok or stumbles(live, case, theirs):
        return None
    return Difference(seed, type_, text, mine, theirs)


def stumbles(live: Live, case: Case, verdict: Verdict) -> bool:
    """Linux refuses because of itself ("verifier bug: …"): of callbacks that no path calls it finds no code, for one."""
    return verdict.errno == errno.EFAULT and "verifier bug" in live.judge(case, 1).log


def minimise(live: Live, d: Difference) -> Difference:
    """Leave out lines as long as the judges differ in the same way."""
    lines, kind, best = d.text.split("\n"), d.kind, d
    again = True
    while again:
        again = False
        for i in range(len(lines) - 1, -1, -1):
            fewer = lines[:i] + lines[i + 1 :]
            try:
                found = compare(live, d.seed, d.type, "\n".join(fewer))
            except (KeyError, ValueError, IndexError):
                continue  # a label went with its line
            if found is not None and found.kind == kind:
                lines, best, again = fewer, found, True
    case = case_of(best.type, best.text, live.btf)
    return Difference(d.seed, d.type, best.text, ours(case, live.btf, 1), live.judge(case, 1))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--type", choices=TYPES)
    parser.add_argument("--only", choices=("unsound", "timid"))
    parser.add_argument("--states", action="store_true", help="compare every register's state on the way too")
    args = parser.parse_args()
    live = live_or_reason()
    if not isinstance(live, Live):
        sys.exit(live)
    tally = {"accepted by both": 0, "rejected by both": 0, "unsound": 0, "timid": 0}
    for seed in range(args.seed, args.seed + args.count):
        type_, text = make(seed, args.type)
        case = case_of(type_, text, live.btf)
        mine, theirs = ours(case, live.btf, 0), live.judge(case, 0)
        if mine.ok == theirs.ok:
            tally["accepted by both" if mine.ok else "rejected by both"] += 1
            if args.states and (walks := difference(live, case)) is not None:
                tally["walked otherwise"] = tally.get("walked otherwise", 0) + 1
                print(f"walked otherwise: seed {seed} {type_}\n{walks}", flush=True)
            continue
        if stumbles(live, case, theirs):
            tally["Linux's own bug"] = tally.get("Linux's own bug", 0) + 1
            continue
        d = Difference(seed, type_, text, mine, theirs)
        tally[d.kind] += 1
        if args.only in (None, d.kind):
            print(minimise(live, d), flush=True)
    print(tally)
    return bool(tally["unsound"])


if __name__ == "__main__":
    sys.exit(main())
