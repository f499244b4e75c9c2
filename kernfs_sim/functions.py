"""Kernel functions that programs trace: what runs before one (fentry), in its place (fmod_ret) and behind it (fexit)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bpfjit.spec.targets import FUNCTIONS
from bpfjit.uapi import bpf as uapi
from runtime import KernelHandle, Tracepoint

FUNCTION_ATTACH_TYPES = (uapi.BPF_TRACE_FENTRY, uapi.BPF_MODIFY_RETURN, uapi.BPF_TRACE_FEXIT)
_U64, _U32 = (1 << 64) - 1, (1 << 32) - 1
MAX_PROGS = 38  # of one function, as Linux's trampolines take


class KernelFunction:
    """One function: the programs at each of its places, the last attached first."""

    def __init__(self, name: str, native: KernelHandle) -> None:
        self.name = name
        self.places = {place: Tracepoint(native) for place in FUNCTION_ATTACH_TYPES}

    @property
    def count(self) -> int:
        return sum(place.count for place in self.places.values())

    def call(self, args: list[int], body: Callable[[], int], current: Any = None) -> int:
        """What the function returns (an int, unsigned 32 bits), its programs run around it; `args` as unsigned 64 bits.

        Where an fmod_ret program returns something but 0 the function itself does not run.
        """
        if not self.count:
            return body() & _U32
        raw = [arg & _U64 for arg in args]
        if self.places[uapi.BPF_TRACE_FENTRY].count:
            self.places[uapi.BPF_TRACE_FENTRY].fire(raw, current)
        ret = self.places[uapi.BPF_MODIFY_RETURN].ask(raw, current) if self.places[uapi.BPF_MODIFY_RETURN].count else 0
        if not ret & _U32:
            ret = body()
        if self.places[uapi.BPF_TRACE_FEXIT].count:
            self.places[uapi.BPF_TRACE_FEXIT].fire([*raw, ret & _U32], current)
        return ret & _U32

    def close(self) -> None:
        for place in self.places.values():
            if not place.count:
                place.close()


def new_functions(native: KernelHandle) -> dict[str, KernelFunction]:
    return {row.name: KernelFunction(row.name, native) for row in FUNCTIONS}
