"""The errors that users of bpfjit see: loading errors that carry their place; kernel refusals are OSErrors."""

from __future__ import annotations

import errno as _errno
import os

ENOTSUPP = 524  # the kernel's own, which no C library names


class BpfError(Exception):
    """A BPF object cannot be used: what is wrong, and where.

    `file`, `section` and `offset` (bytes) name the place as far as it is known; str() is one line.
    """

    def __init__(
        self,
        cause: str,
        *,
        file: str | None = None,
        section: str | None = None,
        program: str | None = None,
        offset: int | None = None,
    ) -> None:
        super().__init__(cause)
        self.cause = cause
        self.file = file
        self.section = section
        self.program = program
        self.offset = offset

    def __str__(self) -> str:
        place = [part for part in (self.file, self.section and f"section {self.section}") if part]
        if self.program:
            place.append(f"program {self.program}")
        if self.offset is not None:
            place.append(f"offset {self.offset:#x}")
        text = ": ".join([", ".join(place), self.cause]) if place else self.cause
        # Names come from files: what would break the line, or the terminal, is shown as an escape.
        return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class ObjectError(BpfError):
    """An input that is missing, unreadable or no BPF object at all (exit code 2)."""


class BtfError(BpfError):
    """BTF or BTF.ext that is malformed."""


class LoadError(BpfError):
    """An object whose contents cannot be loaded: an unresolved extern, a bad map definition (exit code 1)."""


class CompileError(BpfError):
    """A C source that does not compile, or no compiler to be had."""


class VerifierError(BpfError):
    """A program that the verifier rejected; `errno` and `log` are what bpf(2) gave.

    explanation: loader.explain.Explanation of the log (its str() is text for people), None where the log is empty.
    """

    def __init__(
        self, cause: str, *, errno: int, log: str, program: str, section: str | None = None, explanation: object = None
    ) -> None:
        super().__init__(cause, program=program, section=section)
        self.errno = errno
        self.log = log
        self.explanation = explanation


class UsageError(BpfError):
    """Bad command line or scenario (exit code 2)."""


def refuse(number: int, what: str) -> OSError:
    """The simulated kernel's refusal: an OSError with `number` as errno and one line naming object, found, wanted."""
    return OSError(number, what)


def errno_name(number: int) -> str:
    """The symbolic name of an errno ("EINVAL"), or its number where it has none."""
    if number == ENOTSUPP:
        return "ENOTSUPP"
    return _errno.errorcode.get(number, str(number))


def describe(error: OSError) -> str:
    """One line for people: what was refused, and the errno's name."""
    number = error.errno or 0
    text = error.strerror or os.strerror(number)
    return f"{text} ({errno_name(number)})"
