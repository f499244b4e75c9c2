"""The targets of one kernel: those that every kernel has, and those that were added to this one."""

from __future__ import annotations

from typing import Any

from bpfjit.spec.targets import TARGET_BY_FUNC, Target
from runtime import ffi, lib

from . import TARGETS
from .base import IterTarget


class Targets:
    """`rows` by the function that a program attaches to, as the verifier wants them; `iters` by name."""

    def __init__(self) -> None:
        self.rows: dict[str, Target] = dict(TARGET_BY_FUNC)
        self.iters: dict[str, type[IterTarget]] = {kind.name: kind for kind in TARGETS}

    def walk(self, name: str) -> Any:
        """The native walk of an iterator target."""
        row = self.rows[f"bpf_iter_{name}"]
        ops = lib.rt_iter_walk(row.walk.encode())
        assert ops != ffi.NULL, f"the runtime has no walk {row.walk!r}"
        return ops

    def views(self) -> list[str]:
        """Names of view targets."""
        return [row.name for func, row in self.rows.items() if func.startswith("bpf_view_")]
