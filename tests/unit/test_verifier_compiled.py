"""The verifier's modules may be compiled: the same Python either way, the same verdicts, and never older than the source."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bpfjit.verifier import _source, branch, state

FOLDER = Path(_source.__file__).parent


def _declared(module: str) -> dict[str, set[str]]:
    """By class, the attributes that a .pxd file declares."""
    found: dict[str, set[str]] = {}
    name = ""
    for line in (FOLDER / f"{module}.pxd").read_text().splitlines():
        if m := re.match(r"cdef class (\w+):", line):
            name = m[1]
            found[name] = set()
        elif m := re.match(r"    cdef (?:public )?(?:long long|\w+) ([\w, ]+)$", line):
            found[name] |= set(m[1].split(", "))
        elif line and not line.startswith(" "):
            name = ""
    return found


@pytest.mark.parametrize("module", [state, branch], ids=["state", "branch"])
def test_slots_and_declarations_are_the_same(module: object) -> None:
    source = (FOLDER / f"{module.__name__.rpartition('.')[2]}.py").read_text()  # type: ignore[attr-defined]
    for name, attributes in _declared(module.__name__.rpartition(".")[2]).items():  # type: ignore[attr-defined]
        body = source.split(f"class {name}:", 1)[1].split("__slots__ = (", 1)[1].split(")", 1)[0]
        assert set(re.findall(r'"(\w+)"', body)) == attributes, name


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.pxd")), ids=lambda path: path.stem)
def test_every_attribute_of_a_compiled_class_is_declared(path: Path) -> None:
    """A compiled class has no others: what is only assigned is an error there, and nowhere else."""
    source = path.with_suffix(".py").read_text()
    for name, attributes in _declared(path.stem).items():
        body = re.split(r"^(?:class|def) ", source.split(f"class {name}:", 1)[1], maxsplit=1, flags=re.M)[0]
        assigned = set(re.findall(r"^ +self\.(\w+)(?:: [^=\n]+)? = ", body, flags=re.M))
        for several in re.findall(r"^ +(self\.\w+(?:, self\.\w+)+) = ", body, flags=re.M):
            assigned |= set(re.findall(r"self\.(\w+)", several))
        assert assigned <= attributes, f"{name}: {assigned - attributes} is not in {path.name}"


def _where(folder: Path, **env: str) -> str:
    """The file that a copy of the finder would run `m` from."""
    script = "import sys; sys.path.insert(0, sys.argv[1]); import p; import p.m; print(p.m.__file__)"
    run = subprocess.run(
        [sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=True, env={**os.environ, **env}
    )
    return Path(run.stdout.strip()).name


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with one module as source and, by the same name, something compiled; as deep in its tree as the verifier."""
    home = tmp_path / "bpfjit" / "p"
    home.mkdir(parents=True)
    shutil.copy(FOLDER / "_source.py", home)
    (home / "__init__.py").write_text("from . import _source\n_source.prefer_if_needed(__path__)\n")
    (home / "m.py").write_text("")
    library = home / f"m{_source.SUFFIXES[0]}"
    library.write_bytes(b"not really compiled")
    os.utime(home / "m.py", (1000, 1000))
    return tmp_path / "bpfjit"


def test_a_source_newer_than_its_compiled_form_runs_in_a_source_tree(package: Path) -> None:
    os.utime(package / "p" / f"m{_source.SUFFIXES[0]}", (500, 500))
    (package.parent / "pyproject.toml").touch()
    assert _where(package) == "m.py"


def test_in_an_installed_wheel_the_times_of_unpacking_say_nothing(package: Path) -> None:
    os.utime(package / "p" / f"m{_source.SUFFIXES[0]}", (500, 500))
    with pytest.raises(subprocess.CalledProcessError):  # the compiled form is chosen, which is none
        _where(package)


def test_the_source_runs_where_it_is_asked_for(package: Path) -> None:
    assert _where(package, BPFJIT_PURE="1") == "m.py"


def test_the_compiled_form_runs_otherwise(package: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):  # it is no real library, so loading it fails
        _where(package, BPFJIT_PURE="")


_VERDICTS = """
import sys
sys.path.insert(0, sys.argv[1])
from judges import ours
from test_verdicts_of_cases import _load, case_of
from kernfs_sim import Kernel
types = Kernel().btf.types
for param in _load():
    try:
        case = case_of(param.values[0], types)
    except AssertionError as e:  # a function or structure that only the live kernel has
        print(param.id, e)
        continue
    got = ours(case, types, 2)
    print(param.id, got.errno, got.log)
"""


@pytest.mark.skipif(not _source.compiled(FOLDER), reason="nothing is compiled here: `make compiled`")
def test_compiled_and_source_say_the_same() -> None:
    """Verdict, errno and the whole log at level 2 of every case."""
    said = [
        subprocess.run(
            [sys.executable, "-c", _VERDICTS, str(Path(__file__).parents[1] / "verifier")],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "BPFJIT_PURE": pure},
        ).stdout
        for pure in ("", "1")
    ]
    assert said[0] == said[1] and said[0]


# Bare numbers that are shifted in the compiled modules, where they have 32 bits: by a register's number, or in Python's own.
_SHIFTS = {
    "at.depth",
    "bit",
    "fetched",
    "i",
    "insn.dst",
    "insn.src",
    "last",
    "max",
    "nargs",
    "_nargs",
    "op.dst",
    "op.src",
    "regno",
}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.pxd")), ids=lambda path: path.stem)
def test_what_is_shifted_by_more_than_31_is_no_bare_number(path: Path) -> None:
    source = path.with_suffix(".py").read_text()
    code = "\n".join(line.partition("#")[0] for line in source.splitlines() if line.startswith(" "))
    found = set(re.findall(r"\b\d+ << \(?([a-z][\w.]*)", code))
    assert found <= _SHIFTS, f"shift a number that the .pxd file declares as u64 instead: {found - _SHIFTS}"
