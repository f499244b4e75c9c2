"""Our dataclass does what the standard library's does, for what it knows."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
import sys
from typing import Any, ClassVar

import pytest

from bpfjit import dataclass as ours


@ours.dataclass(frozen=True, slots=True)
class Frozen:
    KIND: ClassVar[str] = "k"
    a: int
    b: str = "x"
    c: list[int] = ours.field(default_factory=list)
    d: int = ours.field(default=3, compare=False, repr=False)


@ours.dataclass(slots=True)
class Open:
    a: int = 1


@ours.dataclass(slots=True)
class Derived(Open):
    z: int = 2


@ours.dataclass
class Plain:
    a: int
    b: int = 2

    def __post_init__(self) -> None:
        self.a += 1


def standard(cls: Any, **how: bool) -> Any:
    """The same class, made by the standard library."""
    rows = []
    for name, f in ours.fields(cls).items():
        default: dict[str, Any] = {} if f.default is ours._NONE else {"default": f.default}
        if f.default_factory is not ours._NONE:
            default = {"default_factory": f.default_factory}
        rows.append((name, object, dataclasses.field(**default, compare=f.compare, repr=f.repr)))
    return dataclasses.make_dataclass(cls.__name__, rows, **how)


@pytest.mark.parametrize(
    "args", [(1,), (1, "y"), (1, "y", [2], 4), (), (1, 2, 3, 4, 5)], ids=["few", "some", "all", "none", "many"]
)
def test_objects_are_made_and_shown_as_by_the_standard_library(args: tuple[Any, ...]) -> None:
    theirs = standard(Frozen, frozen=True, slots=True)
    try:
        wanted = theirs(*args)
    except TypeError:
        with pytest.raises(TypeError):
            Frozen(*args)
        return
    assert repr(Frozen(*args)) == repr(wanted)
    assert Frozen.__match_args__ == theirs.__match_args__  # type: ignore[attr-defined]


def test_members_compare_hash_and_cannot_be_changed() -> None:
    a = Frozen(1, c=[])
    assert a == Frozen(1, "x", [], 9) != Frozen(2) and a != Open(1)
    assert a.c is not Frozen(1).c
    with pytest.raises(AttributeError):
        a.a = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del a.a
    with pytest.raises(TypeError):
        hash(Open())
    assert hash(Frozen(1, "x", ())) == hash(Frozen(1, "x", (), 8))  # type: ignore[arg-type]
    assert not hasattr(a, "__dict__")


def test_members_of_bases_come_first() -> None:
    made = Derived(5, 6)
    assert (made.a, made.z, repr(made)) == (5, 6, "Derived(a=5, z=6)")
    made.z = 7
    assert made != Derived(5, 6) and made != Open(5)


def test_post_init_is_called() -> None:
    assert (Plain(1).a, Plain(1, 5).b, Plain.b) == (2, 5, 2)


def test_the_standard_librarys_functions_take_the_objects() -> None:
    assert dataclasses.asdict(Frozen(1)) == {"a": 1, "b": "x", "c": [], "d": 3}
    assert dataclasses.replace(Frozen(1), b="q") == ours.replace(Frozen(1), b="q") == Frozen(1, "q")


def test_objects_are_copied_and_pickled() -> None:
    a = Frozen(1, "q", [4])
    assert copy.copy(a) == copy.deepcopy(a) == pickle.loads(pickle.dumps(a)) == a
    assert pickle.loads(pickle.dumps(Derived(3, 4))) == Derived(3, 4)


def test_no_process_pays_for_the_standard_librarys() -> None:
    code = "import sys, bpfjit.dataclass; sys.exit('dataclasses' in sys.modules or 'inspect' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_first_objects_are_made_like_all_others() -> None:
    for _ in range(2 * ours._BY_HAND):
        assert Frozen(1, d=5).d == 5 and Frozen(a=2) == Frozen(2) and Plain(4).a == 5
        for wrong in ((lambda: Frozen()), (lambda: Frozen(1, a=1)), (lambda: Frozen(1, e=1)), (lambda: Open(1, 2))):  # type: ignore[call-arg]
            with pytest.raises(TypeError):
                wrong()
