"""The exception by which any part of the verifier refuses a program."""

from __future__ import annotations


class Refusal(Exception):
    """`reason` is the log's last line(s), `number` the errno of PROG_LOAD, `pc` the instruction."""

    def __init__(self, reason: str, number: int, pc: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.number = number
        self.pc = pc
