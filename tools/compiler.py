"""Says which compiler BPF C is compiled with; exit 1 where there is none."""

from __future__ import annotations

import sys

from bpfjit.errors import CompileError
from bpfjit.loader.compile import find_compiler

try:
    print(" ".join(find_compiler()))
except CompileError as e:
    print(e, file=sys.stderr)
    sys.exit(1)
