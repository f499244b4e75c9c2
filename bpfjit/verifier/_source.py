"""Which form of the verifier runs: its compiled modules where they are there and of today, else the Python source.

BPFJIT_PURE=1 asks for the source. So does, in a source tree, a source that is newer than what was compiled from it: whoever
edits the verifier runs what was edited. In an installed wheel times say nothing, they are of the unpacking.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

PACKAGE = __name__.rpartition(".")[0]
SUFFIXES = tuple(importlib.machinery.EXTENSION_SUFFIXES)


class _Source:
    """Finds the package's modules as source, before the usual finders find them compiled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find_spec(self, name: str, path: object = None, target: object = None) -> importlib.machinery.ModuleSpec | None:
        package, _, module = name.rpartition(".")
        file = self.folder / f"{module}.py"
        if package != PACKAGE or not file.is_file():
            return None
        return importlib.util.spec_from_file_location(name, file)


def compiled(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if p.name.endswith(SUFFIXES)]


def _is_stale(library: Path) -> bool:
    name = library.name.partition(".")[0]
    made = library.stat().st_mtime
    sources = (library.with_name(name + ending) for ending in (".py", ".pxd"))
    return any(p.is_file() and p.stat().st_mtime > made for p in sources)


def prefer_if_needed(path: Sequence[str]) -> None:
    """Let the source run where the compiled modules may not."""
    folder = Path(path[0])
    libraries = compiled(folder)
    in_tree = (folder.parent.parent / "pyproject.toml").is_file()
    if libraries and (os.environ.get("BPFJIT_PURE") or (in_tree and any(map(_is_stale, libraries)))):
        sys.meta_path.insert(0, _Source(folder))
