"""Names in BTF are found by search before there is an index, and the same ones."""

from __future__ import annotations

from bpfjit.btf import Kind, RawBtf, Type, parse_btf, write_btf
from bpfjit.btf.types import Btf
from kernfs_sim import Kernel


class Searching(RawBtf):
    """Never makes an index."""

    def named(self, name: str) -> list[int]:  # type: ignore[override]
        self._searches = 0
        return list(super().named(name))

    def _index(self) -> dict[str, list[int]]:  # type: ignore[override]
        raise AssertionError("asked for")


def test_every_name_of_the_kernel_is_found_by_search() -> None:
    with Kernel() as kernel:
        data = kernel.btf.data
    indexed, searching = parse_btf(data)._index(), Searching(data)
    assert len(indexed) > 300
    assert {name: searching.named(name) for name in indexed} == indexed
    assert searching.named("no_such_name") == []


def test_a_name_within_another_and_one_that_looks_like_an_id() -> None:
    names = ["u", "task", "subtask", "ask", "task", "k"]
    types = [Type(Kind.VOID, ""), *(Type(Kind.FWD, name) for name in names)]
    searching = Searching(write_btf(Btf(types)))
    for name in set(names):
        assert searching.named(name) == [i for i, other in enumerate(names, 1) if other == name]


def test_who_asks_for_many_gets_an_index() -> None:
    with Kernel() as kernel:
        btf = parse_btf(kernel.btf.data)
    for _ in range(40):
        assert btf.find(Kind.STRUCT, "task_struct") == btf.named("task_struct")[0]
    assert btf._names is not None


def test_flavors_are_known_from_the_first_question_on() -> None:
    types = [Type(Kind.VOID, ""), Type(Kind.STRUCT, "pair", 4), Type(Kind.STRUCT, "pair___v2", 8)]
    assert parse_btf(write_btf(Btf(types))).flavors("pair") == [1, 2]
