"""Formats that are known when a program is compiled, taken apart: text as stores, numbers by the runtime's pieces.

What is compiled is the way of the common case: the text surely fits, every string is short. Else, and for every conversion
that is not taken apart (%p and its kin), the runtime reads the format, so its rules have one home (runtime/src/bprintf.c).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..dataclass import dataclass
from ..program import MapInfo, Region
from ..spec.helpers import HELPER_BY_ID
from . import calls
from .memory import at, facts_of
from .values import NULL, ZERO, Value

if TYPE_CHECKING:
    from .emit import FunctionEmitter

_CONVERSION = re.compile(rb"%([0+\- ]*)([1-9][0-9]*)?(?:(ll?)?([diuxX])|([cs]))")
_FLAGS = {ord("-"): 1, ord("0"): 2, ord("+"): 4, ord(" "): 8}  # as rt_put_spec() takes them
_ZERO, _LONG = 2, 16
_MAX_ARGS, _ARGS_BYTES = 12, 512  # as Linux copies them before it prints
_WIDEST, _STRING_BYTES = 128, 64  # a field, and a string with its NUL, that are still written in place
_MOST_CALLS = 8  # ways to one call that are told apart
_LINE_BYTES = 1024  # what bpf_trace_printk prints at most
_SPACES = b"\t\n\v\f\r"


@dataclass(frozen=True, slots=True)
class Piece:
    """Literal text, or one conversion of the next argument: its letter, flags (rt_put_spec), width (-1: none)."""

    text: bytes = b""
    letter: str = ""
    flags: int = 0
    width: int = -1

    @property
    def most(self) -> int:
        """The bytes that it writes at most."""
        digits = {"c": 1, "s": _STRING_BYTES - 1}.get(self.letter, 21)
        return max(digits, self.width) if self.letter else len(self.text)

    @property
    def held(self) -> int:
        """The bytes that Linux's copy of the argument takes at most, alignment and all."""
        return {"c": 1, "s": _STRING_BYTES}.get(self.letter, 12) if self.letter else 0


def pieces(fmt: bytes, nargs: int) -> list[Piece] | None:
    """A format (without its NUL) taken apart; None for one that is refused, or is better read by the runtime."""
    found: list[Piece] = []
    pos, used = 0, 0
    while pos < len(fmt):
        end = fmt.find(b"%", pos)
        end = len(fmt) if end < 0 else end
        if end > pos:
            text = fmt[pos:end]
            if any(c == 0x7F or (c < 0x20 and c not in _SPACES) for c in text):
                return None
            found.append(Piece(text))
            pos = end
            continue
        if fmt[pos : pos + 2] == b"%%":
            found.append(Piece(b"%"))
            pos += 2
            continue
        match = _CONVERSION.match(fmt, pos)
        if match is None or used == min(nargs, _MAX_ARGS):
            return None
        flags, width, long, number, other = match.groups()
        letter = (number or other).decode()
        if letter == "s" and (flags or width or fmt[match.end() : match.end() + 1].isalnum() or not fmt.isascii()):
            return None
        bits = sum({_FLAGS[c] for c in flags}) | (_LONG if long else 0)
        found.append(Piece(letter=letter, flags=bits, width=int(width) if width and len(width) < 4 else -1))
        if (width and len(width) >= 4) or found[-1].width > _WIDEST:
            return None
        used += 1
        pos = match.end()
    return found if sum(p.held for p in found) <= _ARGS_BYTES else None


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
        facts = "nounwind" if symbol == "rt_put_text" else "nounwind willreturn memory(argmem: write)"
        f.module.symbols[symbol] = f"declare ptr @{symbol}(ptr, {types}) {facts}"
        return f.assign(0, f"call ptr @{symbol}({start}, {', '.join(map(str, args))})")

    if piece.letter == "s":
        end = call("rt_put_text", arg, f.const(64, _STRING_BYTES))
        on = f.label("on")
        f.emit(f"br i1 {f.assign(1, f'icmp eq ptr {end.text}, null').text}, label %{slow}, label %{on}")
        f.begin(on)
        return end
    plain = piece.width < 0 and not piece.flags & ~_LONG
    if piece.letter == "c" and plain:
        f.emit(f"store {f.trunc(arg, 8)}, ptr {start.text}, align 1")
        return f.offset(start, 1)
    signed = piece.letter in "di"
    right = piece.letter in "diu" and not piece.flags & ~(_LONG | _ZERO)
    if not (plain or right) or piece.letter in "cX":
        numbers = (ord(piece.letter), piece.flags, piece.width)
        return call("rt_put_spec", arg, *(f.const(64, n) for n in numbers))
    if not piece.flags & _LONG:
        low = f.trunc(arg, 32)
        arg = f.sext(low, 64) if signed else f.zext(low, 64)
    if not plain:
        fill = ord("0" if piece.flags & _ZERO else " ")
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
    if fmt is None or data_size is None or data_size % 8 or not 0 <= data_size <= 8 * _MAX_ARGS:
        return None
    return pieces(fmt, data_size // 8)


def seq_printf(f: FunctionEmitter, m: MapInfo | None, index: int) -> bool:
    """bpf_seq_printf(seq, fmt, fmt_size, data, data_len)."""
    taken = []
    for place, size, data in _calls(f):
        parts = _taken_apart(_string(f, place, size), data) if size > 0 else None
        if parts is not None:
            taken.append((place, size, data, parts))
    if not taken:
        return False
    kernel = facts_of(Region.KERNEL)
    seq = f.ptr_of(1)
    count_at = f.offset(seq, at("seq_file.count"))
    count = f.assign(64, f"load i64, ptr {count_at.text}, align 8{kernel}")
    room = f.assign(64, f"load i64, ptr {f.offset(seq, at('seq_file.size')).text}, align 8{kernel}")
    slow, done = f.label("slow"), f.label("done")
    ends = []
    for place, size, data, parts in taken:
        fast, other = f.label("fast"), f.label("other")
        there = f.offset(f.module.map_values(place[0]), place[1])
        same = f.assign(1, f"icmp eq ptr {f.ptr_of(2).text}, {there.text}")
        for regno, value in ((3, size), (5, data)):
            same = f.and_(same, f.eq(f.trunc(f.int_of(regno), 32), f.const(32, value)))
        # A full buffer counts as one that has overflowed.
        fits = f.ult(f.add(count, f.const(64, sum(p.most for p in parts))), room)
        f.emit(f"br i1 {f.and_(same, fits).text}, label %{fast}, label %{other}")
        f.begin(fast)
        buf = f.assign(0, f"load ptr, ptr {f.offset(seq, at('seq_file.buf')).text}, align 8{kernel}")
        args = _arguments(f, 4, sum(1 for p in parts if p.letter))
        end = _write(f, f.offset(buf, count), parts, args, slow)
        f.emit(f"store {_distance(f, buf, end)}, ptr {count_at.text}, align 8{kernel}")
        ends.append(_end(f, done, ZERO))
        f.begin(other)
    f.emit(f"br label %{slow}")
    _meet(f, ends, slow, done)
    return True


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
    f.emit(f"call void @llvm.memcpy.p0.p0.i64({f.offset(buf, count)}, {f.ptr_of(2)}, {length}, i1 false)")
    f.emit(f"store {after}, ptr {count_at.text}, align 8{kernel}")
    _meet(f, [_end(f, done, ZERO)], slow, done)
    return True


def snprintf(f: FunctionEmitter, m: MapInfo | None, index: int) -> bool:
    """bpf_snprintf(str, str_size, fmt, data, data_len): into the caller's buffer, with a NUL; its length with that."""
    parts = _taken_apart(_known(f, 3, None), f.regs.get(5, ZERO).number)
    if parts is None:
        return False
    fast, slow, done = f.label("fast"), f.label("slow"), f.label("done")
    most = sum(p.most for p in parts)
    # A string among the arguments may lie where the text goes: the runtime copies it first.
    if any(p.letter == "s" for p in parts):
        return False
    fits = f.ult(f.const(32, most), f.trunc(f.int_of(2), 32))
    args = _arguments(f, 4, sum(1 for p in parts if p.letter))
    f.emit(f"br i1 {fits.text}, label %{fast}, label %{slow}")
    f.begin(fast)
    start = f.ptr_of(1)
    end = _write(f, start, parts, args, slow)
    f.emit(f"store i8 0, ptr {end.text}, align 1")
    _meet(f, [_end(f, done, f.add(_distance(f, start, end), f.const(64, 1)))], slow, done)
    return True


def trace_printk(f: FunctionEmitter, m: MapInfo | None, index: int) -> bool:
    """bpf_trace_printk(fmt, fmt_size, a, b, c): a line made on the stack, then given to the log."""
    fmt_size = f.regs.get(2, ZERO).number
    fmt = _known(f, 1, fmt_size) if fmt_size else None
    parts = pieces(fmt, 3) if fmt is not None else None
    most = sum(p.most for p in parts) if parts is not None else 0
    if parts is None or most >= _LINE_BYTES or any(p.letter == "s" for p in parts):
        return False
    line = f.name()
    f.allocas.append(f"  {line} = alloca [{max(most, 1)} x i8], align 8")
    start = Value(line, 0)
    args = [f.int_of(3 + i) for i in range(sum(1 for p in parts if p.letter))]
    count = _distance(f, start, _write(f, start, parts, args, ""))
    f.module.symbols["rt_trace_text"] = "declare i64 @rt_trace_text(ptr, i64) nounwind"
    f.set(0, f.assign(64, f"call i64 @rt_trace_text({start}, {count})"))
    return True
