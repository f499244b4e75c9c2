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

PACKAGE = __name__.rpartition(".")[0]
SUFFIXES = tuple(importlib.machinery.EXTENSION_SUFFIXES)


class _Source:
    """Finds the package's modules as source, before the usual finders find them compiled."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def find_spec(self, name: str, path: object = None, target: object = None) -> importlib.machinery.ModuleSpec | None:
        package, _, module = name.rpartition(".")
        file = os.path.join(self.folder, f"{module}.py")
        if package != PACKAGE or not os.path.isfile(file):
            return None
        return importlib.util.spec_from_file_location(name, file)


def compiled(folder: str) -> list[str]:
    return [os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(SUFFIXES)]


def _is_stale(library: str) -> bool:
    folder, name = os.path.split(library)
    made = os.stat(library).st_mtime
    sources = (os.path.join(folder, name.partition(".")[0] + ending) for ending in (".py", ".pxd"))
    return any(os.path.isfile(p) and os.stat(p).st_mtime > made for p in sources)


def prefer_if_needed(path: Sequence[str]) -> None:
    """Let the source run where the compiled modules may not."""
    folder = path[0]
    libraries = compiled(folder)
    in_tree = os.path.isfile(os.path.join(folder, "..", "..", "pyproject.toml"))
    if libraries and (os.environ.get("BPFJIT_PURE") or (in_tree and any(map(_is_stale, libraries)))):
        sys.meta_path.insert(0, _Source(folder))
