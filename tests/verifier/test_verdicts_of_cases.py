"""Every case of cases/*.toml: our verdict is the stated one, and Linux's on the same bytes is the same.

A case: name, asm (bpf_text.py), refused (what the log must hold; absent: accepted), and where not the file's
own: type, attach (a BTF name), attach_type, gpl, sleepable. Where builds of Linux 6.18 refuse in different words, `refused`
lists them, ours first, which are the newest's.
`stricter`: why we refuse what Linux accepts. `lines`: C source lines, one an
instruction. `globals`: functions with global linkage, by their C parameters ("f": ["int", "struct two * arg:nonnull"]).
`voids`: functions that BTF says return nothing. Programs with callbacks or any of these get BTF.
`linux_only`: what the program uses is not in the simulated kernel, so it is judged by our verifier with Linux's BTF alone.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bpf_text import assemble
from judges import Case, Live, ours
from program_btf import program_btf

from bpfjit.btf import Btf, BtfId, Kind
from tests.live import without


def _load() -> list[Any]:
    found = []
    for path in sorted((Path(__file__).parent / "cases").glob("*.toml")):
        data = tomllib.loads(path.read_text())
        for row in data["case"]:
            found.append(pytest.param({**data.get("all", {}), **row}, id=f"{path.stem}/{row['name']}"))
    return found


def _member(btf: Btf, type_id: int, name: str) -> tuple[int, int] | None:
    """Byte offset and type of a member, in anonymous structures too."""
    for m in btf.resolve(type_id).members:
        if m.name == name:
            return m.bit_offset // 8, m.type_id
        inner = _member(btf, m.type_id, name) if not m.name else None
        if inner is not None:
            return m.bit_offset // 8 + inner[0], inner[1]
    return None


def offsets(btf: Btf) -> Callable[[str], int]:
    def offset_of(path: str) -> int:
        struct, _, rest = path.partition(".")
        type_id, at = btf.find(Kind.STRUCT, struct), 0
        for part in rest.split("."):
            assert type_id is not None, path
            found = _member(btf, type_id, part)
            assert found is not None, path
            at, type_id = at + found[0], BtfId(found[1])
        return at

    return offset_of


def ids(btf: Btf) -> Callable[[Kind, str], int]:
    def id_of(kind: Kind, name: str) -> int:
        found = btf.find(kind, name)
        assert found is not None, f"{kind.name} {name} is not in this kernel's BTF"
        return found

    return id_of


def case_of(row: dict[str, Any], btf: Btf) -> Case:
    code = assemble(row["asm"], offsets(btf), ids(btf))
    types, funcs, lines = b"", (), ()
    if "func[" in row["asm"] or "globals" in row or "lines" in row or "voids" in row:
        types, funcs, lines = program_btf(code, row.get("globals", {}), row.get("lines", []), row.get("voids", []))
    return Case(
        row.get("type", "socket_filter"),
        tuple(code.insns),
        code.maps,
        row.get("attach", ""),
        row.get("gpl", True),
        row.get("sleepable", False),
        row.get("flags", 0),
        types,
        funcs,
        lines,
        row.get("attach_type", 0),
    )


def test_names_are_unique() -> None:
    ids = [p.id for p in _load()]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("row", [p for p in _load() if "linux_only" not in p.values[0]])
def test_our_verdict(row: dict[str, Any], types: Btf) -> None:
    got = ours(case_of(row, types), types)
    assert got.ok == ("refused" not in row), got.log
    assert words_of(row)[0] in got.log, got.log


def words_of(row: dict[str, Any]) -> list[str]:
    """What a refusal may be put in; [""] where there is none."""
    said = row.get("refused", "")
    return [said] if isinstance(said, str) else said


def _judged() -> list[Any]:
    """The cases; those that attach where this machine's kernel lets nobody attach are skipped, saying so."""
    found = []
    for p in _load():
        target = p.values[0].get("attach", "").partition("bpf_iter_")[2]
        marks = [without(f"iter/{target}")] if target else []
        found.append(pytest.param(*p.values, id=p.id, marks=marks))
    return found


@pytest.mark.parametrize("row", _judged())
def test_linux_agrees(row: dict[str, Any], live: Live) -> None:
    case = case_of(row, live.btf)
    got, mine = live.judge(case), ours(case, live.btf)
    if "stricter" in row:
        assert got.ok, f"no longer stricter than Linux:\n{got.log}"
        return
    assert got.ok == ("refused" not in row), got.log
    newest, *older = words_of(row)
    if not any(words in got.log for words in older):
        assert newest in got.log, got.log
        assert got.errno == mine.errno, f"errno {mine.errno}, Linux says {got.errno}:\n{got.log}"
