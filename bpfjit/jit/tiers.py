"""Two tiers: code that is made at once, and the optimised code that takes its place where a program runs often.

The first tier is entered by gates (link.py) that count its runs. A thread looks at the counts now and then; what has become
hot is compiled again and the gates lead there, by one store that whoever enters next sees. A view that is read once
never pays for it.
"""

from __future__ import annotations

import _thread
import atexit
import threading
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .native import Native

HOT_RUNS = 5000
_FIRST_S, _LONGEST_S = 0.02, 1.0  # between two looks: longer while nothing becomes hot


class Tiers:
    """Watches natives of the first tier; its thread lives while there are any."""

    def __init__(self) -> None:
        self._watched: weakref.WeakSet[Native] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._at_rest = threading.Event()
        self._at_rest.set()
        # LLVM must not be at work while the process takes itself apart.
        atexit.register(_stop, weakref.ref(self))

    def watch(self, native: Native) -> None:
        with self._lock:
            self._watched.add(native)
            if self._at_rest.is_set() and not self._stop.is_set():
                self._at_rest.clear()
                # Not Thread.start(): that waits until the thread runs, on a busy machine longer than all of a load takes.
                _thread.start_new_thread(self._look, ())

    def _look(self) -> None:
        wait = _FIRST_S
        try:
            while not self._stop.wait(wait):
                hot = [native for native in list(self._watched) if native.runs >= HOT_RUNS]
                for native in hot:
                    if not self._stop.is_set():
                        native.optimise()
                        self._watched.discard(native)
                wait = _FIRST_S if hot else min(2 * wait, _LONGEST_S)
                del hot
                with self._lock:
                    if not self._watched:
                        return
        finally:
            self._at_rest.set()

    def stop(self) -> None:
        """No more compiling; returns when none is under way."""
        self._stop.set()
        self._at_rest.wait()


def _stop(tiers: weakref.ref[Tiers]) -> None:
    alive = tiers()
    if alive is not None:
        alive.stop()
