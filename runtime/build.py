"""Builds the extension runtime._rt from runtime/src with cffi (API mode)."""

from __future__ import annotations

import os
import re
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
HEADERS = ("uapi.h", "kernel.h", "api.h")
# cffi knows these names itself.
_KNOWN = re.compile(r"^typedef .*\b(size_t|ssize_t|bool);$", re.M)


def expanded(name: str, seen: set[str] | None = None) -> str:
    """A header with the ones that it includes (each once) in their places."""
    seen = set() if seen is None else seen
    if name in seen:
        return ""
    seen.add(name)
    text = (HERE / "include" / name).read_text()
    return re.sub(r'^#include "(.+)"$', lambda m: expanded(m[1], seen), text, flags=re.M)


def declarations() -> str:
    """What Python sees: the headers without preprocessor lines."""
    text = "\n".join(expanded(name) for name in HEADERS)
    text = re.sub(r"^#.*$", "", text, flags=re.M)
    # A zero-length array stands for a flexible one, which cffi spells [].
    return _KNOWN.sub("", text).replace("[0];", "[];")


ffibuilder = FFI()
ffibuilder.cdef(declarations())
ffibuilder.set_source(
    "runtime._rt",
    '#include "rt.h"',
    sources=sorted(os.path.relpath(path) for path in (HERE / "src").glob("*.c")),
    include_dirs=[os.path.relpath(HERE / "include")],
    depends=sorted(os.path.relpath(path) for path in (HERE / "include").glob("*.h")),
    define_macros=[("_GNU_SOURCE", "1")],
    # Memory of maps and kernel objects has whatever type it is used with: no type-based aliasing.
    extra_compile_args=[
        *("-std=gnu11", "-O2", "-g", "-pthread", "-fno-strict-aliasing"),
        *("-Wall", "-Wextra", "-Wno-unused-parameter"),
    ],
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
