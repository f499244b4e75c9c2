"""Formats taken apart: what a constant format prints, piece by piece, as long as that needs no more than its own text."""

from __future__ import annotations

import re

from ..dataclass import dataclass

# After %p: strings of either memory, IP addresses, numbers and symbols, behind which further letters are passed over.
_CONVERSION = re.compile(
    rb"%([0+\- ]*)([1-9][0-9]*)?(?:(ll?)?([diuxX])|([cs])|p(?:([ku])s|([iI][46]|[KxsSB])[0-9A-Za-z]*|(?![0-9A-Za-z])))"
)
_FLAGS = {ord("-"): 1, ord("0"): 2, ord("+"): 4, ord(" "): 8}  # as rt_put_spec() takes them
LEFT, ZERO, LONG = 1, 2, 16
MAX_ARGS, _ARGS_BYTES = 12, 512  # as Linux copies them before it prints
_WIDEST, STRING_BYTES = 128, 64  # a field, and a string with its NUL, that are still written in place
_SPACES = b"\t\n\v\f\r"
# What %pFORM prints at most without a width, and what Linux's copy of it takes: text, or an aligned number.
_NAME = 175  # bytes of struct rt_ksym's name at most; with "+0x…/0x…" behind it
_AT = _NAME + 2 * len("+0x") + 2 * 16
_FORMS = {"": (16, 12), "K": (16, 12), "x": (16, 12), "s": (_NAME, 12), "S": (_AT, 12), "B": (_AT, _AT + 1)}
_FORMS |= {"i4": (15, 16), "I4": (15, 16), "i6": (32, 33), "I6": (39, 40)}
_UNPADDED = frozenset({"B", "i4", "I4", "i6", "I6"})


@dataclass(frozen=True, slots=True)
class Piece:
    """Literal text, or one conversion of an argument: letter, flags (rt_put_spec), width (-1: none), what is behind %p."""

    text: bytes = b""
    letter: str = ""
    flags: int = 0
    width: int = -1
    form: str = ""

    @property
    def most(self) -> int:
        """The bytes that it writes at most."""
        if self.letter == "p":
            return max(_FORMS[self.form][0], self.width)
        digits = {"c": 1, "s": STRING_BYTES - 1}.get(self.letter, 21)
        return max(digits, self.width) if self.letter else len(self.text)

    @property
    def held(self) -> int:
        """The bytes that Linux's copy of the argument takes at most, alignment and all."""
        if self.letter == "p":
            return _FORMS[self.form][1]
        return {"c": 1, "s": STRING_BYTES}.get(self.letter, 12) if self.letter else 0


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
        if match is None or used == min(nargs, MAX_ARGS):
            return None
        flags, width, long, number, other, memory, form = match.groups()
        letter = (number or other or (b"s" if memory else b"p")).decode()
        if letter in "sp" and not (fmt.isascii() and (form or not fmt[match.end() : match.end() + 1].isalnum())):
            return None
        if (width and len(width) >= 4) or int(width or 0) > _WIDEST:
            return None
        bits = sum({_FLAGS[c] for c in flags}) | (LONG if long else 0)
        piece = Piece(letter=letter, flags=bits, width=int(width) if width else -1, form=(form or b"").decode())
        if memory or piece.form in _UNPADDED:  # neither flags nor width are heeded
            piece = Piece(letter=letter, form=piece.form)
        found.append(piece)
        used += 1
        pos = match.end()
    return found if sum(p.held for p in found) <= _ARGS_BYTES else None
