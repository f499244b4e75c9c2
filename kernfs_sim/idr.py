"""Ids as the kernel hands them out: 32-bit, cyclic, never 0."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

MAX_ID = (1 << 31) - 1


class Counted(Protocol):
    refs: int


T = TypeVar("T", bound=Counted)


class Idr(Generic[T]):
    """Living objects by id. An id is given again only after all others have been. Any thread may call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects: dict[int, T] = {}
        self._ids: list[int] = []
        self._last = 0

    def add(self, obj: T) -> int:
        """A new id for `obj`."""
        with self._lock:
            i = self._last
            while True:
                i = i + 1 if i < MAX_ID else 1
                if i not in self._objects:
                    break
            self._last = i
            self._objects[i] = obj
            bisect.insort(self._ids, i)
            return i

    def get(self, i: int) -> T | None:
        return self._objects.get(i)

    def hold(self, i: int) -> T | None:
        """The object with a reference of the caller's, None for one that is going (its id is there a little longer)."""
        obj = self._objects.get(i)
        if obj is None or obj.refs <= 0:
            return None
        obj.refs += 1  # no thread comes between this and the question before it
        return obj

    def remove(self, i: int) -> None:
        with self._lock:
            if self._objects.pop(i, None) is not None:
                del self._ids[bisect.bisect_left(self._ids, i)]

    def next_after(self, i: int) -> int | None:
        """The smallest living id above `i`."""
        with self._lock:
            at = bisect.bisect_right(self._ids, i)
            return self._ids[at] if at < len(self._ids) else None

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[T]:
        with self._lock:
            return iter([self._objects[i] for i in self._ids])
