"""References, locks and sections that a path holds: the data; what is done with it stands in held.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple


class RefKind(IntEnum):
    OBJECT = 0  # what an acquiring function returned
    LOCK = 1  # bpf_spin_lock
    RES_LOCK = 2  # bpf_res_spin_lock
    RES_LOCK_IRQ = 3
    IRQ = 4  # bpf_local_irq_save


LOCKS = frozenset({RefKind.LOCK, RefKind.RES_LOCK, RefKind.RES_LOCK_IRQ})


class Ref(NamedTuple):
    """One thing held: its id, the instruction that took it, and for locks what allocation they lie in."""

    id: int
    pc: int
    kind: RefKind = RefKind.OBJECT
    place: object = None


@dataclass(frozen=True, slots=True)
class Held:
    """All that one path holds. rcu: in an RCU read section of its own; preempt: how often preemption was disabled.

    sleeps: whether it is a work queue's callback, which may sleep, or a timer's, which may not, whatever the program may;
    None: neither.
    """

    refs: tuple[Ref, ...] = ()
    rcu: bool = False
    preempt: int = 0
    sleeps: bool | None = None
    nothing: bool = field(default=True, init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "nothing", not (self.refs or self.rcu or self.preempt))

    @property
    def objects(self) -> tuple[Ref, ...]:
        return tuple(r for r in self.refs if r.kind is RefKind.OBJECT)

    @property
    def locks(self) -> tuple[Ref, ...]:
        return tuple(r for r in self.refs if r.kind in LOCKS)

    @property
    def irqs(self) -> tuple[Ref, ...]:
        return tuple(r for r in self.refs if r.kind is RefKind.IRQ)


def same(old: Held, new: Held, match: Callable[[int, int], bool]) -> bool:
    """Whether two paths hold the same things, by a match of their ids."""
    if old.sleeps != new.sleeps:
        return False
    if old.nothing and new.nothing:
        return True
    if old.rcu != new.rcu or old.preempt != new.preempt or len(old.refs) != len(new.refs):
        return False
    return all(
        o.kind == n.kind and o.place == n.place and match(o.id, n.id) for o, n in zip(old.refs, new.refs, strict=True)
    )
