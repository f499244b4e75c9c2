"""Whether BPF C can be compiled here: exit 0, or 1 where neither clang nor the ziglang wheel is to be had."""

from __future__ import annotations

import sys

from bpfjit.errors import CompileError
from bpfjit.loader.compile import find_compiler

try:
    find_compiler()
except CompileError:
    sys.exit(1)
