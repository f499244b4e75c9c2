"""Formats that are known when a program is compiled, taken apart: text as stores, numbers by the runtime's pieces.

What is compiled is the way of the common case: the text surely fits, every string is short. Else, and for what is not taken
apart (formats.py), the runtime reads the format, so its rules have one home (runtime/src/bprintf.c).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..dataclass import dataclass
from ..program import MapInfo, Region
from ..spec.helpers import HELPER_BY_ID
from . import calls
from .formats import LEFT, LONG, MAX_ARGS, STRING_BYTES, Piece, pieces
from .formats import ZERO as ZEROS
from .memory import at, facts_of
from .values import NULL, ZERO, Value

if TYPE_CHECKING:
    from .emit import FunctionEmitter

_MOST_CALLS = 8  # ways to one call that are told apart
_LINE_BYTES = 1024  # what bpf_trace_printk prints at most
_WORDS_BYTES = 64  # copied word by word
_STACK_FORMAT = 512  # bytes of a format that a program may build on its stack


def _string(f: FunctionEmitter, place: tuple[int, int] | None, size: int | None) -> bytes | None:
    """The string at a place in a constant map, within `size` bytes where that is said; None where none ends there."""
    contents = f.program.maps[place[0]].constant if place is not None else None
    if place is None or contents is None:
        return None
    text = contents[place[1] :] if size is None else contents[place[1] : place[1] + size]
    fmt, nul, _ = text.partition(b"\0")
    return fmt if nul else None


def _known(f: FunctionEmitter, pointer: int, size: int | None) -> bytes | None:
    """The constant string that a register points to."""
    return _string(f, f.constant_at.get(f.regs.get(pointer, NULL).text), size)


def _built(f: FunctionEmitter, pointer: int, size: int) -> bytes | None:
    """The string that stores of constants have left on the stack where a register points to: a guess (_is_built())."""
    start = f.frame_at.get(f.regs.get(pointer, NULL).text)
    if start is None or not 0 < size <= _STACK_FORMAT:
        return None
    found = bytearray()
    while len(found) < size and (byte := f.frame.get(start + len(found), 0)):
        found.append(byte)
    return bytes(found) if len(found) < size else None


def _is_built(f: FunctionEmitter, pointer: int, text: bytes) -> Value:
    """Whether that string lies there on this path too: of stores that it sees, LLVM leaves nothing to be compared."""
    start, whole, pos = f.ptr_of(pointer), text + b"\0", 0
    same = Value("true", 1)
    while pos < len(whole):
        n = next(n for n in (8, 4, 2, 1) if n <= len(whole) - pos)
        word = f.assign(8 * n, f"load i{8 * n}, ptr {f.offset(start, pos).text}, align 1{facts_of(Region.STACK)}")
        same = f.and_(same, f.eq(word, f.const(8 * n, int.from_bytes(whole[pos : pos + n], "little"))))
        pos += n
    return same


Call = tuple[tuple[int, int], int, int]  # (map, offset) of a format, its size, bytes of data


def _calls(f: FunctionEmitter) -> list[Call]:
    """What r2, r3 and r5 hold at a seq_printf that compilers have made of several: constants, one set for each way there.

    A guess that costs nothing: the registers are compared before it is relied upon.
    """
    found: list[Call] = []
    todo = [(f.block.start, f.pc, {2: 2, 3: 3, 5: 5}, dict[int, int | tuple[int, int]]())]
    seen = set[int]()
    while todo and len(found) < _MOST_CALLS:
        start, before, wanted, known = todo.pop()
        for pc in reversed(f.pcs(start, before)):
            for name, regno in list(wanted.items()):
                if regno not in (r for r, _ in f.defs(pc)):
                    continue
                del wanted[name]
                insn, ref = f.insns[pc], f.program.map_refs.get(pc)
                if ref is not None and ref.value_off is not None:
                    known[name] = (ref.map_index, ref.value_off)
                elif insn.code in (0xB7, 0xB4):
                    known[name] = insn.imm
                elif insn.code in (0xBF, 0xBC) and not insn.off:
                    wanted[name] = insn.src
        fmt, size, data = known.get(2), known.get(3), known.get(5)
        if isinstance(fmt, tuple) and isinstance(size, int) and isinstance(data, int):
            found.append((fmt, size, data))
        elif wanted and start not in seen:
            seen.add(start)
            todo += [(p, -1, dict(wanted), dict(known)) for p in f.blocks[start].preds]
    return sorted(set(found))


def _arguments(f: FunctionEmitter, data: int, count: int) -> list[Value]:
    base = f.ptr_of(data) if count else NULL
    return [f.assign(64, f"load i64, ptr {f.offset(base, 8 * i).text}, align 1") for i in range(count)]


def _store(f: FunctionEmitter, start: Value, text: bytes) -> Value:
    """Literal text as the fewest stores; the place behind it."""
    pos = 0
    while pos < len(text):
        n = next(n for n in (8, 4, 2, 1) if n <= len(text) - pos)
        word = f.const(8 * n, int.from_bytes(text[pos : pos + n], "little"))
        f.emit(f"store {word}, ptr {f.offset(start, pos).text}, align 1")
        pos += n
    return f.offset(start, len(text))


def _put(f: FunctionEmitter, start: Value, piece: Piece, arg: Value, slow: str) -> Value:
    """One conversion's text; on to `slow` where it is not written after all."""

    def call(symbol: str, *args: Value) -> Value:
        types = ", ".join(a.type for a in args)
        reads = symbol in ("rt_put_text", "rt_put_field_text", "rt_put_extended")
        facts = "nounwind" if reads else "nounwind willreturn memory(argmem: write)"
        f.module.symbols[symbol] = f"declare ptr @{symbol}(ptr, {types}) {facts}"
        return f.assign(0, f"call ptr @{symbol}({start}, {', '.join(map(str, args))})")

    if piece.letter == "p":
        form = int.from_bytes(piece.form.encode(), "little")
        return call("rt_put_extended", arg, *(f.const(64, n) for n in (form, piece.flags, piece.width)))
    if piece.letter == "s":
        room = f.const(64, STRING_BYTES)
        if piece.width > 0:
            end = call("rt_put_field_text", arg, room, f.const(64, piece.width), f.const(64, piece.flags & LEFT))
        else:
            end = call("rt_put_text", arg, room)
        on = f.label("on")
        f.emit(f"br i1 {f.assign(1, f'icmp eq ptr {end.text}, null').text}, label %{slow}, label %{on}")
        f.begin(on)
        return end
    plain = piece.width < 0 and not piece.flags & ~LONG
    if piece.letter == "c" and plain:
        f.emit(f"store {f.trunc(arg, 8)}, ptr {start.text}, align 1")
        return f.offset(start, 1)
    signed = piece.letter in "di"
    right = piece.letter in "diu" and not piece.flags & ~(LONG | ZEROS)
    if not (plain or right) or piece.letter in "cX":
        numbers = (ord(piece.letter), piece.flags, piece.width)
        return call("rt_put_spec", arg, *(f.const(64, n) for n in numbers))
    if not piece.flags & LONG:
        low = f.trunc(arg, 32)
        arg = f.sext(low, 64) if signed else f.zext(low, 64)
    if not plain:
        fill = ord("0" if piece.flags & ZEROS else " ")
        field = "rt_put_field_s64" if signed else "rt_put_field_u64"
        return call(field, arg, f.const(64, max(piece.width, 0)), f.const(64, fill))
    return call("rt_put_s64" if signed else "rt_put_u64" if piece.letter == "u" else "rt_put_hex", arg)


def _write(f: FunctionEmitter, start: Value, parts: list[Piece], args: list[Value], slow: str) -> Value:
    left = iter(args)
    for piece in parts:
        start = _put(f, start, piece, next(left), slow) if piece.letter else _store(f, start, piece.text)
    return start


def _distance(f: FunctionEmitter, start: Value, end: Value) -> Value:
    return f.sub(f.to_int(end), f.to_int(start))


def _meet(f: FunctionEmitter, fast: list[tuple[Value, str]], slow: str, done: str) -> None:
    """Where all ways meet: (result, block) of each that has branched to `done`, and the runtime's own answer from `slow`."""
    f.begin(slow)
    called = calls.helper(f, HELPER_BY_ID[f.insns[f.pc].imm])
    f.emit(f"br label %{done}")
    f.begin(done)
    ways = ", ".join(f"[ {v.text}, %{label} ]" for v, label in [*fast, (called, slow)])
    f.set(0, f.assign(64, f"phi i64 {ways}"))


def _end(f: FunctionEmitter, done: str, result: Value) -> tuple[Value, str]:
    """The end of a fast way."""
    label = f.block.last_label
    f.emit(f"br label %{done}")
    return result, label


def _taken_apart(fmt: bytes | None, data_size: int | None) -> list[Piece] | None:
    if fmt is None or data_size is None or data_size % 8 or not 0 <= data_size <= 8 * MAX_ARGS:
        return None
    return pieces(fmt, data_size // 8)


@dataclass(frozen=True, slots=True)
class _Way:
    """One format that a call may have: the condition (as IR, where it is asked for) that it has, and its pieces."""

    holds: Callable[[], Value]
    parts: list[Piece]

    @property
    def most(self) -> int:
        return sum(p.most for p in self.parts)

    @property
    def nargs(self) -> int:
        return sum(1 for p in self.parts if p.letter)


def _ways(f: FunctionEmitter) -> list[_Way]:
    """The formats that a seq_printf is seen to have."""
    found = []
    for place, size, data in _calls(f):
        parts = _taken_apart(_string(f, place, size), data) if size > 0 else None

        def holds(place: tuple[int, int] = place, size: int = size, data: int = data) -> Value:
            there = f.offset(f.module.map_values(place[0]), place[1])
            same = f.assign(1, f"icmp eq ptr {f.ptr_of(2).text}, {there.text}")
            for regno, value in ((3, size), (5, data)):
                same = f.and_(same, f.eq(f.trunc(f.int_of(regno), 32), f.const(32, value)))
            return same

        if parts is not None:
            found.append(_Way(holds, parts))
    if not found:
        fmt = _built(f, 2, f.regs.get(3, ZERO).number or 0)
        parts = _taken_apart(fmt, f.regs.get(5, ZERO).number)
        if fmt is not None and parts is not None:
            text = fmt
            found.append(_Way(lambda: _is_built(f, 2, text), parts))
    return found


def seq_printf(f: FunctionEmitter, m: MapInfo | None, index: int) -> bool:
    """bpf_seq_printf(seq, fmt, fmt_size, data, data_len)."""
    ways = _ways(f)
    if not ways:
        return False
    kernel = facts_of(Region.KERNEL)
    seq = f.ptr_of(1)
    count_at = f.offset(seq, at("seq_file.count"))
    count = f.assign(64, f"load i64, ptr {count_at.text}, align 8{kernel}")
    room = f.assign(64, f"load i64, ptr {f.offset(seq, at('seq_file.size')).text}, align 8{kernel}")
    slow, done = f.label("slow"), f.label("done")
    ends = []
    for way in ways:
        fast, other = f.label("fast"), f.label("other")
        same = way.holds()
        # A full buffer counts as one that has overflowed.
        fits = f.ult(f.add(count, f.const(64, way.most)), room)
        f.emit(f"br i1 {f.and_(same, fits).text}, label %{fast}, label %{other}")
        f.begin(fast)
        buf = f.assign(0, f"load ptr, ptr {f.offset(seq, at('seq_file.buf')).text}, align 8{kernel}")
        end = _write(f, f.offset(buf, count), way.parts, _arguments(f, 4, way.nargs), slow)
        f.emit(f"store {_distance(f, buf, end)}, ptr {count_at.text}, align 8{kernel}")
        ends.append(_end(f, done, ZERO))
        f.begin(other)
    f.emit(f"br label %{slow}")
    _meet(f, ends, slow, done)
    return True


def _copy(f: FunctionEmitter, to: Value, start: Value, length: Value) -> None:
    """Short ones word by word: words just stored a processor hands to loads of words, not to the load of a vector."""
    if length.number is None or length.number > _WORDS_BYTES:
        f.emit(f"call void @llvm.memcpy.p0.p0.i64({to}, {start}, {length}, i1 false)")
        return
    pos = 0
    while pos < length.number:
        n = next(n for n in (8, 4, 2, 1) if n <= length.number - pos)
        word = f.assign(8 * n, f"load i{8 * n}, ptr {f.offset(start, pos).text}, align 1")
        f.emit(f"store {word}, ptr {f.offset(to, pos).text}, align 1")
        pos += n


def seq_write(f: FunctionEmitter, m: MapInfo | None, index: int) -> bool:
    """bpf_seq_write(seq, data, len): a copy, where it fits."""
    kernel = facts_of(Region.KERNEL)
    seq, length = f.ptr_of(1), f.zext(f.trunc(f.int_of(3), 32), 64)
    count_at = f.offset(seq, at("seq_file.count"))
    count = f.assign(64, f"load i64, ptr {count_at.text}, align 8{kernel}")
    size = f.assign(64, f"load i64, ptr {f.offset(seq, at('seq_file.size')).text}, align 8{kernel}")
    fast, slow, done = f.label("fast"), f.label("slow"), f.label("done")
    after = f.add(count, length)
    f.emit(f"br i1 {f.ult(after, size).text}, label %{fast}, label %{slow}")
    f.begin(fast)
    buf = f.assign(0, f"load ptr, ptr {f.offset(seq, at('seq_file.buf')).text}, align 8{kernel}")
    _copy(f, f.offset(buf, count), f.ptr_of(2), length)
    f.emit(f"store {after}, ptr {count_at.text}, align 8{kernel}")
    _meet(f, [_end(f, done, ZERO)], slow, done)
    return True


def snprintf(f: FunctionEmitter, m: MapInfo | None, index: int) -> bool:
    """bpf_snprintf(str, str_size, fmt, data, data_len): into the caller's buffer, with a NUL; its length with that."""
    parts = _taken_apart(_known(f, 3, None), f.regs.get(5, ZERO).number)
    if parts is None:
        return False
    way = _Way(lambda: Value("true", 1), parts)
    fast, slow, done = f.label("fast"), f.label("slow"), f.label("done")
    start, size = f.ptr_of(1), f.zext(f.trunc(f.int_of(2), 32), 64)
    fits = f.ult(f.const(64, way.most), size)
    args = _arguments(f, 4, way.nargs)
    for piece, arg in zip((p for p in parts if p.letter), args, strict=True):
        if piece.letter in "sp":  # what it points to may lie where the text goes: the runtime copies it first
            beyond = f.sub(arg, f.sub(f.to_int(start), f.const(64, STRING_BYTES)))
            fits = f.and_(fits, f.ule(f.add(size, f.const(64, STRING_BYTES)), beyond))
    f.emit(f"br i1 {fits.text}, label %{fast}, label %{slow}")
    f.begin(fast)
    end = _write(f, start, parts, args, slow)
    f.emit(f"store i8 0, ptr {end.text}, align 1")
    _meet(f, [_end(f, done, f.add(_distance(f, start, end), f.const(64, 1)))], slow, done)
    return True


def trace_printk(f: FunctionEmitter, m: MapInfo | None, index: int) -> bool:
    """bpf_trace_printk(fmt, fmt_size, a, b, c)."""
    return _line(f, lambda text: pieces(text, 3), lambda count: [f.int_of(3 + i) for i in range(count)])


def trace_vprintk(f: FunctionEmitter, m: MapInfo | None, index: int) -> bool:
    """bpf_trace_vprintk(fmt, fmt_size, data, data_len)."""
    data = f.regs.get(4, ZERO).number
    return _line(f, lambda text: _taken_apart(text, data), lambda count: _arguments(f, 3, count))


def _line(f: FunctionEmitter, apart: Callable[[bytes], list[Piece] | None], arguments: Callable[[int], list[Value]]) -> bool:
    """A line made on the stack, then given to the log."""
    size = f.regs.get(2, ZERO).number or 0
    fmt = _known(f, 1, size) if size > 0 else None
    built = _built(f, 1, size) if fmt is None else None
    text = fmt if built is None else built
    parts = apart(text) if text is not None else None
    if parts is None:
        return False
    way = _Way(lambda: Value("true", 1) if built is None else _is_built(f, 1, built), parts)
    if way.most >= _LINE_BYTES:
        return False
    line = f.name()
    # A string's sixteen bytes may reach beyond the last that counts.
    f.allocas.append(f"  {line} = alloca [{way.most + 16} x i8], align 8")
    fast, slow, done = f.label("fast"), f.label("slow"), f.label("done")
    f.emit(f"br i1 {way.holds().text}, label %{fast}, label %{slow}")
    f.begin(fast)
    start = Value(line, 0)
    count = _distance(f, start, _write(f, start, parts, arguments(way.nargs), slow))
    f.module.symbols["rt_trace_text"] = "declare i64 @rt_trace_text(ptr, i64) nounwind"
    written = f.assign(64, f"call i64 @rt_trace_text({start}, {count})")
    _meet(f, [_end(f, done, written)], slow, done)
    return True
