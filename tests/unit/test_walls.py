"""The house keeps its walls: imports point down, and only the verifier makes Verified."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent

# Longest prefix wins. Lower ranks are imported by higher ones, never the other way.
RANKS = {
    "bpfjit.cli": 5,
    "bpfjit": 5,
    "kernfs_sim": 4,
    "bpfjit.loader": 3,
    "bpfjit.elf": 2,
    "bpfjit.relocate": 1,  # CO-RE is applied on both sides of the wall, as one file of Linux is libbpf's and the kernel's
    "bpfjit.verifier": 2,
    "bpfjit.interp": 2,
    "bpfjit.jit": 2,
    "bpfjit.light": 1,  # skeletons' own loader, which needs nothing of the compiler
    "bpfjit.isa": 1,
    "bpfjit.btf": 1,
    "bpfjit.spec": 1,
    "bpfjit.program": 1,
    "bpfjit.uapi": 0,
    "bpfjit.dataclass": -1,
    "bpfjit.sha256": -1,
    "bpfjit.errors": 0,
    "runtime": 0,
}
# Rooms of one rank that may know each other.
TOGETHER = [{"bpfjit.isa", "bpfjit.btf", "bpfjit.spec", "bpfjit.program", "bpfjit.relocate"}]
FORBIDDEN = {"kernfs_sim": ("bpfjit.elf", "bpfjit.loader")}


def room(module: str) -> str | None:
    parts = module.split(".")
    for n in range(len(parts), 0, -1):
        name = ".".join(parts[:n])
        if name in RANKS:
            return name
    return None


def modules() -> list[Path]:
    return [p for top in ("bpfjit", "runtime", "kernfs_sim") for p in sorted((ROOT / top).rglob("*.py"))]


def imports(path: Path) -> set[str]:
    package = list(path.relative_to(ROOT).with_suffix("").parts[:-1])
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{name}.{a.name}" for a in node.names} if not node.module or node.level else {name}
            found.add(name)
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    here = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
    assert here is not None, "every module belongs to a room"
    if path == ROOT / "bpfjit" / "__init__.py":
        return  # the front door opens onto every room
    for name in imports(path):
        there = room(name)
        if there is None or there == here or there == "bpfjit":
            continue
        assert there not in FORBIDDEN.get(here, ()), f"{here} never imports {there}"
        together = any({here, there} <= group for group in TOGETHER)
        assert RANKS[there] < RANKS[here] or together, f"{here} (rank {RANKS[here]}) imports {there} (rank {RANKS[there]})"


def test_only_the_verifier_makes_verified() -> None:
    users = [str(p.relative_to(ROOT)) for p in modules() if "_VERIFIER_KEY" in p.read_text()]
    assert users == ["bpfjit/program.py", "bpfjit/verifier/admitted.py", "bpfjit/verifier/check.py"]


def test_runtime_is_the_sole_importer_of_its_extension() -> None:
    users = [str(p.relative_to(ROOT)) for p in modules() if "._rt" in p.read_text() or "runtime._rt" in p.read_text()]
    assert set(users) <= {"runtime/handles.py", "runtime/build.py", "runtime/__init__.py"}


def test_a_wheel_has_every_module_and_what_they_read() -> None:
    """Folders without __init__.py are no packages for setuptools, and files that no pattern names stay behind."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert project["packages"]["find"] == {"include": ["bpfjit*", "kernfs_sim*", "runtime"], "namespaces": False}
    assert all((path.parent / "__init__.py").is_file() for path in modules())
    for top in ("bpfjit", "kernfs_sim"):
        taken = {path for pattern in project["package-data"][top] for path in (ROOT / top).glob(pattern)}
        read = {p for p in (ROOT / top).rglob("*") if p.is_file() and p.suffix in (".h", ".btf", ".c", ".pxd", ".typed")}
        assert {p for p in read if not p.with_suffix(".pxd").is_file() or p.suffix != ".c"} <= taken
