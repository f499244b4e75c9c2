"""C source -> BPF object: with clang where there is one, else with the clang inside the ziglang wheel."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..errors import CompileError, ObjectError

INCLUDE = Path(__file__).resolve().parent.parent / "include"
_ZIG_TARGET = "bpfel-freestanding"
CPUS = ("v1", "v2", "v3", "v4")
# Where the system keeps asm/types.h and its like, which linux/*.h need and clang does not look for under -target bpf.
_SYSTEM = [Path("/usr/include"), Path(f"/usr/include/{platform.machine()}-linux-gnu")]
_CLANG_NAMES = ("clang", *(f"clang-{n}" for n in range(24, 13, -1)))


def find_compiler() -> list[str]:
    """The command that compiles BPF C. $BPFJIT_CC names another. Raises CompileError when there is none."""
    chosen = os.environ.get("BPFJIT_CC")
    if chosen:
        command = shlex.split(chosen)
        zig = any(Path(word).name in ("zig", "ziglang") for word in command)
        return [*command, "-target", _ZIG_TARGET if zig else "bpf"]
    for name in _CLANG_NAMES:
        path = shutil.which(name)
        if path:
            return [path, "-target", "bpf"]
    if importlib.util.find_spec("ziglang") is not None:
        return [sys.executable, "-m", "ziglang", "cc", "-target", _ZIG_TARGET]
    raise CompileError("no clang found to compile BPF C; install clang, or bpfjit[clang] (the ziglang wheel)")


def compile_c(source: str | Path, *, include: Sequence[str] = (), cpu: str = "v3", flags: Sequence[str] = ()) -> bytes:
    """Compile a .bpf.c file to the bytes of a BPF object with BTF.

    Without `include` the headers of bpfjit/include are found. Raises ObjectError for a file that cannot
    be read, CompileError with the compiler's first message otherwise. `cpu` is one of CPUS.
    """
    if cpu not in CPUS:
        raise CompileError(f"cpu {cpu!r}, wanted one of {', '.join(CPUS)}", file=str(source))
    path = Path(source)
    if not path.is_file():
        raise ObjectError("no such file" if not path.exists() else "not a regular file", file=str(source))
    if not os.access(path, os.R_OK):
        raise ObjectError("permission denied", file=str(source))
    includes = [f"-I{d}" for d in include] + [f"-I{INCLUDE}"]
    for directory in _SYSTEM:
        if directory.is_dir():
            includes += ["-idirafter", str(directory)]
    with tempfile.TemporaryDirectory(prefix="bpfjit-") as scratch:
        out = Path(scratch) / "out.bpf.o"
        command = [
            *find_compiler(), f"-mcpu={cpu}", "-O2", "-g", "-Wall", "-Wno-unused-function", "-fno-stack-protector",
            "-D__TARGET_ARCH_x86", *includes, *flags, "-c", str(path), "-o", str(out),
        ]  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        except (OSError, subprocess.TimeoutExpired) as e:
            raise CompileError(f"cannot run {command[0]}: {e}", file=str(source)) from None
        if done.returncode:
            raise CompileError(_first_error(done.stderr), file=str(source))
        return out.read_bytes()


def _first_error(text: str) -> str:
    match = re.search(r"^(.*?):(\d+):\d+: (?:fatal )?error: (.*)$", text, re.M)
    if match:
        return f"line {match[2]}: {match[3]}"
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "the compiler failed without a message"
